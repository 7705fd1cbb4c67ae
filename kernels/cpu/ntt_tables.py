"""Twiddle factors of the negacyclic transforms: powers of a root of unity beside their Shoup quotients, by prime.

A product by a known w needs no division (Shoup; D. Harvey, "Faster arithmetic for number-theoretic transforms",
2014, section 3): with w < q and w' = floor(w * 2^64 / q),

    x*w - floor(x*w' / 2^64) * q   lies in [0, 2q)   for every 0 <= x < 2^64,

because w*2^64/q - 1 < w' <= w*2^64/q makes the quotient too small by less than x/2^64 + 1 < 2. Both products are taken
modulo 2^64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.rns import RnsBasis, root_powers

Words = NDArray[np.uint64]


def quotients(values: Words, q: int, bits: int) -> Words:
    """floor(w * 2^bits / q) for each w in `values`, each in [0, q)."""
    return ((values.astype(object) << bits) // q).astype(np.uint64)


@dataclass(frozen=True, eq=False)
class PrimeTables:
    """One prime's transforms in one direction.

    `twiddles` (2, N): row 0 the powers of psi (of psi^-1, backwards) in bit-reversed order, row 1 their quotients.
    `constants`: q, N^-1 and its quotient, psi^-(N/2) * N^-1 and its quotient (the last four backwards only).
    """

    twiddles: Words
    constants: Words


@cache
def prime_tables(q: int, ring_degree: int, inverse: bool) -> PrimeTables:
    roots = root_powers(q, ring_degree, inverse=inverse)
    scale = invert(ring_degree, q)
    factors = np.array([scale, scale * int(roots[1]) % q], dtype=np.uint64)
    last = quotients(factors, q, 64)
    constants = np.array([q, factors[0], last[0], factors[1], last[1]], dtype=np.uint64)
    return PrimeTables(np.stack([roots, quotients(roots, q, 64)]), constants)


@dataclass(frozen=True, eq=False)
class BasisTables:
    """Addresses of each prime's twiddles and constants: (k,) and (k, 5) uint64, and what keeps them alive."""

    addresses: NDArray[np.intp]
    constants: Words
    alive: tuple[PrimeTables, ...]


@cache
def basis_tables(basis: RnsBasis, inverse: bool) -> BasisTables:
    tables = tuple(prime_tables(q, basis.ring_degree, inverse) for q in basis.moduli)
    addresses = np.array([table.twiddles.ctypes.data for table in tables], dtype=np.intp)
    return BasisTables(addresses, np.stack([table.constants for table in tables]), tables)
