"""Residues on the wire, without the bits that they cannot have: those of q_i take as many bits each as q_i has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.errors import SerializationError
from hecore.kernels.cpu import bitpack as kernels

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Words

_MIN_WIDTH = 8


def _widths(basis: RnsBasis) -> list[int]:
    return [max(_MIN_WIDTH, q.bit_length()) for q in basis.moduli]


def packed_bytes(basis: RnsBasis) -> int:
    """Bytes of one packed polynomial."""
    return sum(_widths(basis)) * basis.ring_degree // 8


def pack_residues(words: Words, basis: RnsBasis) -> NDArray[np.uint8]:
    """Residues (*S, k, N), each in [0, q_i), as packed_bytes(basis) bytes a polynomial, C order.

    Residue i of a prime of b bits (8 for shorter primes) lies at bits b*i … b*i+b-1 of the prime's bytes, low bits
    first.
    """
    rows = np.ascontiguousarray(words).reshape(-1, basis.ring_degree)
    count = rows.shape[0] // len(basis)
    size = count * packed_bytes(basis)
    out = np.empty(size + kernels.SLACK_BYTES, dtype=np.uint8)
    kernels.pack_rows(out, rows, np.array(_widths(basis) * count, dtype=np.int64))
    return out[:size]


def unpack_residues(data: bytes | memoryview, basis: RnsBasis, shape: tuple[int, ...]) -> Words:
    """The inverse of `pack_residues`, for a batch shape S; `data` has the bytes of exactly so many polynomials.

    Raises SerializationError for a residue that is not in [0, q_i).
    """
    count = math.prod(shape)
    packed = np.frombuffer(data, dtype=np.uint8)
    assert packed.size == count * packed_bytes(basis)
    out = np.empty((*shape, len(basis), basis.ring_degree), dtype=np.uint64)
    bounds = np.array(basis.moduli * count, dtype=np.uint64)
    widths = np.array(_widths(basis) * count, dtype=np.int64)
    if not kernels.unpack_rows(out.reshape(-1, basis.ring_degree), packed, widths, bounds):
        raise SerializationError("cannot read these polynomials: a residue is not below its modulus")
    return out
