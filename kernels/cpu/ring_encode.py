"""Signed host integers to residues: single words, and words in little-endian limbs."""

from __future__ import annotations

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ring_convert import BLOCK
from hecore.kernels.cpu.ring_pointwise import prime_of, row_of
from hecore.kernels.cpu.ring_words import (
    FACTOR,
    KIND,
    NARROW,
    constants_at,
    factor_at,
    less,
    narrow_times,
    narrow_word,
    public,
    wide_times,
    wide_word,
)
from hecore.kernels.cpu.vector import LANES, add, and_, load, sign, store, sub, xor


@inner
def with_sign(residue, mask, q):
    """`residue`, or q - residue where the mask is all ones, in [0, q)."""
    return less(add(sub(xor(residue, mask), mask), and_(q, mask)), q)


@kernel
def encode(out, coefficients, constants, first, last):
    """Signed words (B, N) to residues (B, k, N)."""
    k, vectors = out.shape[1], out.shape[2] // LANES
    for row in range(first, last):
        polynomial, position = row // k, row % k
        x = coefficients.ctypes.data + polynomial * out.shape[2] * 8
        target, c = row_of(out, polynomial, position), constants_at(prime_of(constants, position))
        if public(constants[position, KIND]) == NARROW:
            for i in range(vectors):
                word = load(x, i)
                mask = sign(word)
                store(target, i, with_sign(narrow_word(sub(xor(word, mask), mask), c), mask, c[0]))
        else:
            for i in range(vectors):
                word = load(x, i)
                mask = sign(word)
                store(target, i, with_sign(wide_word(sub(xor(word, mask), mask), c), mask, c[0]))


@kernel
def encode_wide(out, magnitudes, negative, limb_factors, constants, scratch, first, last):
    """Magnitudes (B, N, L) with signs (B, N) to residues (B, k, N), by Horner's rule in 2^64; blocks of coefficients.

    The limbs of a block are first put into rows of their own, the signs, spread to masks, into one more.
    """
    degree, limbs = magnitudes.shape[1], magnitudes.shape[2]
    size = min(degree, BLOCK)
    blocks, rows = degree // size, scratch.ctypes.data
    signs = rows + limbs * size * 8
    for block in range(first, last):
        polynomial, at = block // blocks, block % blocks * size
        for j in range(size):
            for i in range(limbs):
                scratch[i * size + j] = magnitudes[polynomial, at + j, i]
            scratch[limbs * size + j] = -negative[polynomial, at + j]
        for position in range(out.shape[1]):
            target, c = row_of(out, polynomial, position) + at * 8, constants_at(prime_of(constants, position))
            f = factor_at(limb_factors.ctypes.data + position * FACTOR * 8)
            if public(constants[position, KIND]) == NARROW:
                for j in range(size // LANES):
                    r = narrow_word(load(rows + (limbs - 1) * size * 8, j), c)
                    for i in range(limbs - 2, -1, -1):
                        r = less(add(narrow_times(r, f, c), narrow_word(load(rows + i * size * 8, j), c)), c[0])
                    store(target, j, with_sign(r, load(signs, j), c[0]))
            else:
                for j in range(size // LANES):
                    r = wide_word(load(rows + (limbs - 1) * size * 8, j), c)
                    for i in range(limbs - 2, -1, -1):
                        r = less(add(wide_times(r, f, c), wide_word(load(rows + i * size * 8, j), c)), c[0])
                    store(target, j, with_sign(r, load(signs, j), c[0]))
