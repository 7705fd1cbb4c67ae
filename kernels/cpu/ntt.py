"""Negacyclic number-theoretic transforms of batches of residue polynomials, cut over threads.

Nothing here checks operands; the ring half of `backends.cpu` has done so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis
from hecore.kernels.cpu.ntt_portable import transform_scalar
from hecore.kernels.cpu.ntt_tables import basis_tables, shape_of, vector_tables
from hecore.kernels.cpu.vector import IFMA
from hecore.kernels.cpu.workers import Workers

Words = NDArray[np.uint64]


def transform(workers: Workers, data: Words, basis: RnsBasis, *, inverse: bool, out: Words) -> None:
    """Transform `data` (B, k, N), C-contiguous uint64 in [0, q_i), into `out` of the same shape, which may be `data`.

    Coefficients X^0 first <-> values a(psi^(2*brv(i)+1)) at position i, psi the smallest primitive 2N-th root modulo
    q_i; `inverse` takes the values back, the factor 1/N included. Canonical results. Constant time in the residues.
    Fastest where rows start at 64-byte boundaries. Forward takes lazy residues too: anything below 4*q_i.
    """
    degree = basis.ring_degree
    batch = data.size // (len(basis) * degree)
    if not IFMA or degree < _least_degree():
        tables = basis_tables(basis, inverse)
        rows, results = data.reshape(-1, degree), out.reshape(-1, degree)

        def scalar(first: int, last: int) -> None:
            transform_scalar(results, rows, tables.addresses, tables.constants, inverse, first, last)

        workers.run(len(rows), scalar)
        return
    target, source = out.ctypes.data, data.ctypes.data
    for job in _jobs(basis, batch, inverse):

        def task(first: int, last: int, job: _Job = job) -> None:
            job.kernel(target, source, job.rows, degree, *job.plan, first, last)

        workers.run(len(job.rows), task)


@dataclass(frozen=True, eq=False)
class _Job:
    """Rows (target offset, source offset, table address) that one kernel serves; `alive` keeps the tables."""

    kernel: Any
    rows: NDArray[np.intp]
    plan: tuple[int, int]
    alive: tuple[Words, ...]


@lru_cache(maxsize=256)
def _jobs(basis: RnsBasis, batch: int, inverse: bool) -> tuple[_Job, ...]:
    """Rows of one prime stand together, so that its twiddles stay in the cache."""
    from hecore.kernels.cpu import ntt_vector

    shapes = [shape_of(q) for q in basis.moduli]
    plan = ntt_vector.packed_plan(basis.ring_degree)
    jobs = []
    for shape in dict.fromkeys(shapes):
        alive, parts = [], []
        for position, q in enumerate(basis.moduli):
            if shapes[position] == shape:
                table = vector_tables(q, basis.ring_degree, inverse)
                offsets = (np.arange(batch) * len(basis) + position) * (8 * basis.ring_degree)
                parts.append(np.stack([offsets, offsets, np.full(batch, table.ctypes.data)], axis=1))
                alive.append(table)
        rows = np.concatenate(parts).astype(np.intp)
        jobs.append(_Job(ntt_vector.kernel_for(shape, inverse=inverse), rows, plan, tuple(alive)))
    return tuple(jobs)


@cache
def _least_degree() -> int:
    from hecore.kernels.cpu.ntt_vector import LEAST_DEGREE

    return LEAST_DEGREE
