"""Negacyclic number-theoretic transforms of batches of residue polynomials, cut over threads.

Nothing here checks operands; the ring half of `backends.cpu` has done so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis
from hecore.kernels.cpu.ntt_portable import transform_scalar
from hecore.kernels.cpu.ntt_tables import basis_tables
from hecore.kernels.cpu.workers import Workers

Words = NDArray[np.uint64]


def transform(workers: Workers, data: Words, basis: RnsBasis, *, inverse: bool, out: Words) -> None:
    """Transform `data` (B, k, N), C-contiguous uint64 in [0, q_i), into `out` of the same shape, which may be `data`.

    Coefficients X^0 first <-> values a(psi^(2*brv(i)+1)) at position i, psi the smallest primitive 2N-th root modulo
    q_i; `inverse` takes the values back, the factor 1/N included. Constant time in the residues.
    """
    tables = basis_tables(basis, inverse)
    degree = basis.ring_degree
    rows, results = data.reshape(-1, degree), out.reshape(-1, degree)

    def task(first: int, last: int) -> None:
        transform_scalar(results, rows, tables.addresses, tables.constants, inverse, first, last)

    workers.run(len(rows), task)
