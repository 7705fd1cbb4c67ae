"""Sums of products of residue polynomials: out = sum over j < m of x_j * y_j, for one row of y or for two at once.

The rows of one sum lie large powers of two apart. Read side by side, more of them than the caches and the table of
pages have ways push each other out; so a few digits are taken at a time, over a chunk of coefficients, and unreduced
sums wait in memory that stays in the first-level cache. Two rows of y (the components of a switching key) read x once.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ring_pointwise import prime_of, row_of
from hecore.kernels.cpu.ring_words import (
    KIND,
    NARROW,
    constants_at,
    narrow_add,
    narrow_left,
    narrow_reduce,
    public,
    wide_add,
    wide_left,
    wide_reduce,
    zero,
)
from hecore.kernels.cpu.vector import LANES, VECTOR_BYTES, load, store

CHUNK = 512 // LANES  # vectors
GROUP = 4  # digits; divides every number of terms that a sum may hold (`ring_tables.terms`)
SUMS = 2 * 3 * CHUNK  # vectors of waiting sums


def _make_accumulate(left_factor, add_product, reduce, columns):
    size = columns * VECTOR_BYTES

    @inner
    def load_sums(place):
        return load(place, 0), load(place, 1), load(place, 2) if columns == 3 else zero()

    @inner
    def store_sums(place, sums):
        store(place, 0, sums[0])
        store(place, 1, sums[1])
        if columns == 3:
            store(place, 2, sums[2])

    @inner
    def renew(place, count, c):
        """Reduce `count` waiting sums."""
        for _ in range(count):
            store_sums(place, (left_factor(reduce(load_sums(place), c), c), zero(), zero()))
            place += size

    @inner
    def one(out, addresses, y, step, count, terms, vectors, prime, waiting):
        """x_j at addresses[j], y_j at y + j*step; `waiting` is memory for SUMS vectors."""
        c, nothing = constants_at(prime), (zero(), zero(), zero())
        if count == 0:
            for i in range(vectors):
                store(out, i, zero())
        for start in range(0, vectors, CHUNK):
            for group in range(0, count, GROUP):
                stop, end, place = min(count, group + GROUP), min(vectors, start + CHUNK), waiting
                if group and group % terms == 0:
                    renew(waiting, end - start, c)
                for i in range(start, end):
                    sums = load_sums(place) if group else nothing
                    for j in range(group, stop):
                        sums = add_product(sums, left_factor(load(public(addresses[j]), i), c), load(y + j * step, i))
                    if stop < count:
                        store_sums(place, sums)
                    else:
                        store(out, i, reduce(sums, c))
                    place += size

    @inner
    def two(out, other, addresses, y, more, step, count, terms, vectors, prime, waiting):
        """As `one`, also with the rows at more + j*step, to `other`."""
        c, nothing = constants_at(prime), (zero(), zero(), zero())
        if count == 0:
            for i in range(vectors):
                store(out, i, zero())
                store(other, i, zero())
        for start in range(0, vectors, CHUNK):
            for group in range(0, count, GROUP):
                stop, end, place = min(count, group + GROUP), min(vectors, start + CHUNK), waiting
                if group and group % terms == 0:
                    renew(waiting, 2 * (end - start), c)
                for i in range(start, end):
                    sums = load_sums(place) if group else nothing
                    sums_more = load_sums(place + size) if group else nothing
                    for j in range(group, stop):
                        x = left_factor(load(public(addresses[j]), i), c)
                        sums = add_product(sums, x, load(y + j * step, i))
                        sums_more = add_product(sums_more, x, load(more + j * step, i))
                    if stop < count:
                        store_sums(place, sums)
                        store_sums(place + size, sums_more)
                    else:
                        store(out, i, reduce(sums, c))
                        store(other, i, reduce(sums_more, c))
                    place += 2 * size

    @inner
    def product(out, x, y, vectors, prime):
        """out = x * y."""
        c, nothing = constants_at(prime), (zero(), zero(), zero())
        for i in range(vectors):
            store(out, i, reduce(add_product(nothing, left_factor(load(x, i), c), load(y, i)), c))

    return product, one, two


_narrow_product, _narrow_one, _narrow_two = _make_accumulate(narrow_left, narrow_add, narrow_reduce, 2)
_wide_product, _wide_one, _wide_two = _make_accumulate(wide_left, wide_add, wide_reduce, 3)


@inner
def accumulate(out, other, addresses, y, more, step, count, terms, vectors, narrow, prime, waiting):
    """One sum, or two where `other` is not 0."""
    if narrow and other:
        _narrow_two(out, other, addresses, y, more, step, count, terms, vectors, prime, waiting)
    elif narrow:
        _narrow_one(out, addresses, y, step, count, terms, vectors, prime, waiting)
    elif other:
        _wide_two(out, other, addresses, y, more, step, count, terms, vectors, prime, waiting)
    else:
        _wide_one(out, addresses, y, step, count, terms, vectors, prime, waiting)


@kernel
def multiply(out, a, b, left, right, constants, first, last):
    """out[p] = a[left[p]] * b[right[p]]; rows of `out`."""
    k, vectors = out.shape[1], out.shape[2] // LANES
    for row in range(first, last):
        p, position = row // k, row % k
        x, y = row_of(a, public(left[p]), position), row_of(b, public(right[p]), position)
        if public(constants[position, KIND]) == NARROW:
            _narrow_product(row_of(out, p, position), x, y, vectors, prime_of(constants, position))
        else:
            _wide_product(row_of(out, p, position), x, y, vectors, prime_of(constants, position))


@kernel
def multiply_accumulate(out, a, b, left, right, count, together, terms, constants, addresses, scratch, first, last):
    """out[p] = sum over j < count of a[left[p] + j] * b[right[p] + j]; units of `together` polynomials and one prime.

    `together` is 2 where polynomials 2p and 2p + 1 have the same `left`.
    """
    k, degree = out.shape[1], out.shape[2]
    step, other, more = k * degree * 8, 0, 0
    for unit in range(first, last):
        p, position = unit // k * together, unit % k
        x, y, place = (
            row_of(a, public(left[p]), position),
            row_of(b, public(right[p]), position),
            row_of(out, p, position),
        )
        if together == 2:
            other, more = row_of(out, p + 1, position), row_of(b, public(right[p + 1]), position)
        for j in range(count):
            addresses[j] = x + j * step
        narrow, prime = public(constants[position, KIND]) == NARROW, prime_of(constants, position)
        limit, vectors, waiting = public(terms[position]), degree // LANES, np.intp(scratch.ctypes.data)
        accumulate(place, other, addresses, y, more, step, count, limit, vectors, narrow, prime, waiting)
