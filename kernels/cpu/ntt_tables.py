"""Twiddle factors of the negacyclic transforms: powers of a root of unity beside their Shoup quotients, by prime.

A product by a known w needs no division (Shoup; D. Harvey, "Faster arithmetic for number-theoretic transforms",
2014, section 3): with w < q, B a power of two and w' = floor(w*B/q),

    x*w - floor(x*w'/B)*q   lies in [0, 2q)   for every 0 <= x < B,

because w*B/q - 1 < w' <= w*B/q makes the quotient too small by less than x/B + 1 < 2; only the low word of either
product is needed. One lane has B = 2^64. Eight lanes have B = 2^52 for narrow primes; wide ones keep the quotient by
2^104 in two digits (ntt_lanes.py).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.rns import root_powers
from hecore.kernels.cpu import ntt_lanes
from hecore.kernels.cpu.context import empty_vectors
from hecore.kernels.cpu.ntt_lanes import LANES, NARROW, NARROW_TIGHT, WIDE, WIDE_TIGHT, Shape
from hecore.kernels.cpu.ntt_portable import CONSTANTS

Words = NDArray[np.uint64]

NARROW_BITS, WIDE_BITS = 50, 61  # primes below 2^50 and 2^61; one bit less leaves room for lazier ranges
DIGIT = 52


def quotients(values: Words, q: int, bits: int) -> Words:
    """floor(w * 2^bits / q) for each w in `values`, each in [0, q); the quotients must be below 2^64."""
    return ((values.astype(object) << bits) // q).astype(np.uint64)


# -- one lane --------------------------------------------------------------------------------------------------------


@cache
def scalar_tables(q: int, ring_degree: int, inverse: bool) -> Words:
    """One prime, one direction: eight words of constants, N twiddles (psi or psi^-1), their quotients by 2^64.

    Constants: q, then N^-1 and psi^-(N/2) * N^-1, each before its quotient; these serve backwards only.
    """
    roots = root_powers(q, ring_degree, inverse=inverse)
    last = _last_factors(q, roots)
    constants = np.zeros(CONSTANTS, dtype=np.uint64)
    constants[0], constants[1:5:2], constants[2:5:2] = q, last, quotients(last, q, 64)
    return np.concatenate([constants, roots, quotients(roots, q, 64)])


def _last_factors(q: int, roots: Words) -> Words:
    """1/N and the last backward stage's twiddle times 1/N."""
    scale = invert(len(roots), q)
    return np.array([scale, scale * int(roots[1]) % q], dtype=np.uint64)


# -- eight lanes -----------------------------------------------------------------------------------------------------


def shape_of(q: int) -> Shape:
    """Which butterflies serve this prime, the cheapest first."""
    bits = q.bit_length()
    if bits <= NARROW_BITS:
        return NARROW if bits < NARROW_BITS else NARROW_TIGHT
    return WIDE if bits < WIDE_BITS else WIDE_TIGHT


def _twiddle_words(values: Words, q: int, shape: Shape) -> Words:
    """(words, len(values)): each value in [0, q) with its quotient in one digit, or in two."""
    if shape.words == 2:
        return np.stack([values, quotients(values, q, DIGIT)])
    quotient = (values.astype(object) << (2 * DIGIT)) // q
    low = (quotient & ((1 << DIGIT) - 1)).astype(np.uint64)
    return np.stack([values, (quotient >> DIGIT).astype(np.uint64), low])


def _constants(q: int, shape: Shape, last: Words) -> Words:
    """What `ntt_lanes.Field` reads; its two tables go by eighths and sixteenths of C*B (B = 2^b > q > B/2)."""
    shift = q.bit_length() + shape.capacity.bit_length() - 4  # of C*B/8
    raised = shape.fresh // 2 * shape.stages
    multiples = [i * q for i in range(ntt_lanes.LEAST_MULTIPLE, ntt_lanes.LEAST_MULTIPLE + 32)]
    parts = {
        ntt_lanes.NEGATIVE_Q: [-q % (1 << DIGIT)],
        ntt_lanes.SHIFT: [shift],
        ntt_lanes.FINE_SHIFT: [shift - 1],
        ntt_lanes.BARRETT: [(1 << DIGIT) // q],
        ntt_lanes.LIFTED: [q * ((i << shift) // q - raised) for i in range(8)],
        ntt_lanes.REDUCED: [q * ((i << (shift - 1)) // q) for i in range(16)],
        ntt_lanes.MULTIPLES: multiples,
        ntt_lanes.SCALE: [int(word) for word in last[:, 0]],
        ntt_lanes.LAST: [int(word) for word in last[:, 1]],
    }
    block = np.zeros(ntt_lanes.BLOCK_WORDS, dtype=np.uint64)
    for start, values in parts.items():
        block[start : start + len(values)] = [value % (1 << 64) for value in values]
    return block


def _by_lane(twiddles: Words) -> Words:
    """The last three stages' twiddles (words, N), as (N/64 blocks, 7, words, 8 lanes): lane j takes eight-block j.

    Of the seven, one serves pairs four apart, two pairs two apart, four neighbours.
    """
    words, degree = twiddles.shape
    eighths = np.arange(degree // LANES).reshape(-1, LANES)
    out = np.empty((len(eighths), 7, words, LANES), dtype=np.uint64)
    for stage in range(3):
        for part in range(1 << stage):
            index = (degree // LANES << stage) + (eighths << stage) + part
            out[:, (1 << stage) - 1 + part] = twiddles[:, index].transpose(1, 0, 2)
    return out


@cache
def vector_tables(q: int, ring_degree: int, inverse: bool) -> Words:
    """One prime, one direction, at a 64-byte boundary: constants, the first N/8 twiddles by word, the rest by lane."""
    shape = shape_of(q)
    roots = root_powers(q, ring_degree, inverse=inverse)
    twiddles = _twiddle_words(roots, q, shape)
    constants = _constants(q, shape, _twiddle_words(_last_factors(q, roots), q, shape))
    parts = [constants, twiddles[:, : ring_degree // LANES].ravel(), _by_lane(twiddles).ravel()]
    out = empty_vectors(sum(part.size for part in parts) // LANES)
    np.concatenate(parts, out=out)
    return out
