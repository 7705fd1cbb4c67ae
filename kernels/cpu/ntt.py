"""Negacyclic number-theoretic transforms of batches of residue polynomials, cut over threads.

Nothing here checks operands; the ring half of `backends.cpu` has done so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis
from hecore.kernels.cpu.ntt_rows import Row, plan_of, row_function, transform_rows
from hecore.kernels.cpu.workers import Workers

Words = NDArray[np.uint64]


def transform(
    workers: Workers, data: Words, basis: RnsBasis, *, inverse: bool, out: Words, one_lane: bool = False
) -> None:
    """Transform `data` (B, k, N), C-contiguous uint64 in [0, q_i), into `out` of the same shape, which may be `data`.

    Coefficients X^0 first <-> values a(psi^(2*brv(i)+1)) at position i, psi the smallest primitive 2N-th root modulo
    q_i; `inverse` takes the values back, the factor 1/N included. Canonical results. Constant time in the residues.
    Fastest where rows start at 64-byte boundaries. Forward takes lazy residues too: anything below 4*q_i.
    `one_lane` asks for the portable code on any machine: the same results.
    """
    degree = basis.ring_degree
    job = _job(basis, data.size // (len(basis) * degree), inverse, one_lane)
    fixed = (out, data, job.rows, degree, *plan_of(degree))
    workers.run(len(job.rows), lambda first, last: transform_rows(*fixed, first, last))


@dataclass(frozen=True, eq=False)
class _Job:
    """What `transform_rows` asks for, and what keeps the tables alive."""

    rows: NDArray[np.intp]
    alive: tuple[Row, ...]


@lru_cache(maxsize=256)
def _job(basis: RnsBasis, batch: int, inverse: bool, one_lane: bool) -> _Job:
    """Rows of one prime stand together, so that its twiddles stay in the cache."""
    primes = tuple(row_function(q, basis.ring_degree, inverse=inverse, one_lane=one_lane) for q in basis.moduli)
    rows = np.empty((len(primes), batch, 4), dtype=np.intp)
    for position, row in enumerate(primes):
        rows[position, :, 0] = (np.arange(batch) * len(primes) + position) * (8 * basis.ring_degree)
        rows[position, :, 2:] = row.tables, row.function
    rows[..., 1] = rows[..., 0]
    return _Job(rows.reshape(-1, 4), primes)
