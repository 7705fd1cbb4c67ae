"""Residues modulo some primes to residues modulo others.

Works in blocks of coefficients, so that what a block needs stays in the first-level cache. A share of work is a range
of blocks: block b belongs to polynomial b // blocks.
"""

from __future__ import annotations

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ring_pointwise import prime_of, row_of
from hecore.kernels.cpu.ring_words import (
    FACTOR,
    FIXED_BITS,
    KIND,
    NARROW,
    RESIDUE_FACTOR,
    WEIGHT,
    Q,
    constants_at,
    factor_at,
    fraction,
    narrow_add_residue,
    narrow_reduce,
    narrow_times,
    narrow_word,
    public,
    shift_right,
    wide_add_residue,
    wide_left,
    wide_reduce,
    wide_times,
    wide_word,
    zero,
)
from hecore.kernels.cpu.vector import LANES, add, load, splat, store, sub

BLOCK = 512  # coefficients: 4 KiB a residue
NARROW_SOURCES = 3  # y*f of `narrow_add_residue` has columns below 2^50 + 2^7 each, and four make 2^52
WIDE_SOURCES = 60
HALF = 1 << FIXED_BITS - 1


@inner
def cofactor_rows(y, y_step, x, x_step, count, inverses, weights, constants, exact):
    """y_i = x_i * (Q/q_i)^-1 mod q_i in rows of `count` words from address y, and v in row k where `exact`.

    Rows are y_step and x_step bytes apart, and y may be x.
    """
    k, vectors = inverses.shape[0], count // LANES
    for i in range(k):
        source, target = x + i * x_step, y + i * y_step
        c, f = constants_at(prime_of(constants, i)), factor_at(inverses.ctypes.data + i * FACTOR * 8)
        if k == 1:
            for j in range(vectors):
                store(target, j, load(source, j))
        elif public(constants[i, KIND]) == NARROW:
            for j in range(vectors):
                store(target, j, narrow_times(load(source, j), f, c))
        else:
            for j in range(vectors):
                store(target, j, wide_times(load(source, j), f, c))
    rounded = y + k * y_step
    if exact and k == 1:  # one where y > (q-1)/2: the sign of (q-1)/2 - y
        half = splat(constants[0, Q] >> 1)
        for j in range(vectors):
            store(rounded, j, shift_right(sub(half, load(y, j)), splat(63)))
    elif exact:
        for i in range(k):
            row, weight = y + i * y_step, weights.ctypes.data + i * WEIGHT * 8
            for j in range(vectors):
                total = load(rounded, j) if i else splat(HALF)
                store(rounded, j, add(total, fraction(load(row, j), weight)))
        for j in range(vectors):
            store(rounded, j, shift_right(load(rounded, j), splat(FIXED_BITS)))


@kernel
def cofactors(out, out_start, data, start, inverses, weights, constants, exact, first, last):
    """`cofactor_rows` of residues start … of each polynomial of `data`, to rows out_start … of those of `out`."""
    degree = data.shape[2]
    size = min(degree, BLOCK)
    blocks, step = degree // size, degree * 8
    for block in range(first, last):
        polynomial, at = block // blocks, block % blocks * size * 8
        y, x = row_of(out, polynomial, out_start) + at, row_of(data, polynomial, start) + at
        cofactor_rows(y, step, x, step, size, inverses, weights, constants, exact)


@inner
def narrow_sum(target, y, sources, step, row, vectors, prime):
    """The sum over the rows of y times the constants of one target prime, modulo it."""
    c = constants_at(prime)
    for j in range(vectors):
        sums, room = (zero(), zero(), zero()), NARROW_SOURCES
        for i in range(sources):
            if room == 0:
                sums, room = (narrow_reduce(sums, c), zero(), zero()), NARROW_SOURCES
            sums = narrow_add_residue(sums, load(y + i * step, j), row + i * RESIDUE_FACTOR * 8)
            room -= 1
        store(target, j, narrow_reduce(sums, c))


@inner
def wide_sum(target, y, sources, step, row, vectors, prime):
    """As `narrow_sum`; `WIDE_SOURCES` products fit the columns of eight lanes and the two words of one."""
    c = constants_at(prime)
    for j in range(vectors):
        sums, room = (zero(), zero(), zero()), WIDE_SOURCES
        for i in range(sources):
            if room == 0:
                sums, room = (wide_left(wide_reduce(sums, c), c), zero(), zero()), WIDE_SOURCES
            sums = wide_add_residue(sums, load(y + i * step, j), row + i * RESIDUE_FACTOR * 8)
            room -= 1
        store(target, j, wide_reduce(sums, c))


@inner
def narrow_words(target, x, vectors, prime):
    """Any words modulo one target prime."""
    c = constants_at(prime)
    for j in range(vectors):
        store(target, j, narrow_word(load(x, j), c))


@inner
def wide_words(target, x, vectors, prime):
    c = constants_at(prime)
    for j in range(vectors):
        store(target, j, wide_word(load(x, j), c))


@kernel
def convert(
    out,
    data,
    start,
    positions,
    out_step,
    out_at,
    inverses,
    weights,
    matrix,
    source,
    target,
    exact,
    scratch,
    first,
    last,
):
    """Residues start … start+k-1 of polynomial p to row positions[t] of polynomial p*out_step + out_at of `out`."""
    degree, k = data.shape[2], inverses.shape[0]
    size = min(degree, BLOCK)
    blocks, y = degree // size, scratch.ctypes.data
    sources = k + 1 if exact else k
    for block in range(first, last):
        polynomial, at = block // blocks, block % blocks * size
        x = row_of(data, polynomial, start) + at * 8
        cofactor_rows(y, size * 8, x, degree * 8, size, inverses, weights, source, exact)
        for t in range(positions.shape[0]):
            place = row_of(out, polynomial * out_step + out_at, public(positions[t])) + at * 8
            row, prime = matrix.ctypes.data + t * (k + 1) * RESIDUE_FACTOR * 8, prime_of(target, t)
            narrow = public(target[t, KIND]) == NARROW
            if sources == 1 and narrow:
                narrow_words(place, y, size // LANES, prime)
            elif sources == 1:
                wide_words(place, y, size // LANES, prime)
            elif narrow:
                narrow_sum(place, y, sources, size * 8, row, size // LANES, prime)
            else:
                wide_sum(place, y, sources, size * 8, row, size // LANES, prime)
