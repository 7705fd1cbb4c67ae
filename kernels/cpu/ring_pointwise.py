"""Residue polynomials point by point: sums, tensor products, constants, automorphisms.

Arrays are (B, k, N) C-contiguous uint64, canonical residues in and out. `rows` first..last-1 of an output are its
residue polynomials; row r belongs to prime r mod k. `left` and `right` say which polynomial of an operand meets which
of the output (broadcasting). Every operand is read once and every result written once.
"""

from __future__ import annotations

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ntt_portable import less_where_not_below
from hecore.kernels.cpu.ring_words import (
    FACTOR,
    KIND,
    NARROW,
    Q,
    constants_at,
    factor_at,
    less,
    narrow_add,
    narrow_left,
    narrow_reduce,
    narrow_times,
    permute_lanes,
    public,
    wide_add,
    wide_left,
    wide_reduce,
    wide_times,
    zero,
)
from hecore.kernels.cpu.vector import LANES, add, load, splat, store, sub

ADD, SUBTRACT, NEGATE = 0, 1, 2


@inner
def row_of(array, polynomial, position):
    """Address of one residue polynomial of (B, k, N)."""
    return array.ctypes.data + (polynomial * array.shape[1] + position) * array.shape[2] * 8


@inner
def prime_of(constants, position):
    """Address of one prime's constants."""
    return constants.ctypes.data + position * constants.shape[1] * 8


@kernel
def combine(out, a, b, left, right, operation, constants, first, last):
    """out = a + b, a - b, or -a."""
    k, vectors = out.shape[1], out.shape[2] // LANES
    for row in range(first, last):
        polynomial, position = row // k, row % k
        x, y = row_of(a, public(left[polynomial]), position), row_of(b, public(right[polynomial]), position)
        target = row_of(out, polynomial, position)
        q = splat(constants[position, Q])
        if operation == ADD:
            for i in range(vectors):
                store(target, i, less(add(load(x, i), load(y, i)), q))
        elif operation == SUBTRACT:
            for i in range(vectors):
                store(target, i, less(add(sub(load(x, i), load(y, i)), q), q))
        else:
            for i in range(vectors):
                store(target, i, less(sub(q, load(x, i)), q))


@kernel
def shift(out, a, addends, whole, constants, first, last):
    """out = a + addends[i] modulo q_i, at every position where `whole`, else at position 0."""
    k, vectors = out.shape[1], out.shape[2] // LANES
    for row in range(first, last):
        polynomial, position = row // k, row % k
        x, target = row_of(a, polynomial, position), row_of(out, polynomial, position)
        q, addend = splat(constants[position, Q]), splat(addends[position])
        if whole:
            for i in range(vectors):
                store(target, i, less(add(load(x, i), addend), q))
        else:
            for i in range(vectors):
                store(target, i, load(x, i))
            q0 = constants[position, Q]
            out[polynomial, position, 0] = less_where_not_below(out[polynomial, position, 0] + addends[position], q0)


def _make_rows(left_factor, add_product, reduce, times):
    """The row operations of one kind of prime."""

    @inner
    def tensor_row(out0, out1, out2, a0, a1, b0, b1, vectors, prime):
        c = constants_at(prime)
        nothing = (zero(), zero(), zero())
        for i in range(vectors):
            x0, x1 = left_factor(load(a0, i), c), left_factor(load(a1, i), c)
            y0, y1 = load(b0, i), load(b1, i)
            store(out0, i, reduce(add_product(nothing, x0, y0), c))
            store(out1, i, reduce(add_product(add_product(nothing, x0, y1), x1, y0), c))
            store(out2, i, reduce(add_product(nothing, x1, y1), c))

    @inner
    def scale_row(out, a, factor, vectors, prime):
        c, f = constants_at(prime), factor_at(factor)
        for i in range(vectors):
            store(out, i, times(load(a, i), f, c))

    @inner
    def divide_row(out, a, rest, factor, vectors, prime):
        """out = (a - rest) * factor."""
        c, f = constants_at(prime), factor_at(factor)
        for i in range(vectors):
            difference = less(add(sub(load(a, i), load(rest, i)), c[0]), c[0])
            store(out, i, times(difference, f, c))

    @inner
    def add_multiple(out, a, factor, vectors, prime):
        """out + a * factor, to `out`."""
        c, f = constants_at(prime), factor_at(factor)
        for i in range(vectors):
            store(out, i, less(add(load(out, i), times(load(a, i), f, c)), c[0]))

    return tensor_row, scale_row, divide_row, add_multiple


_narrow_tensor, _narrow_scale, narrow_divide, narrow_add_multiple = _make_rows(
    narrow_left, narrow_add, narrow_reduce, narrow_times
)
_wide_tensor, _wide_scale, wide_divide, wide_add_multiple = _make_rows(wide_left, wide_add, wide_reduce, wide_times)


@kernel
def tensor(out, a, b, left, right, constants, first, last):
    """out[3p], out[3p+1], out[3p+2] from a[left[p]], a[left[p]+1] and b[right[p]], b[right[p]+1]; rows of p."""
    k, degree = out.shape[1], out.shape[2]
    for row in range(first, last):
        p, position = row // k, row % k
        x0, x1 = row_of(a, public(left[p]), position), row_of(a, public(left[p]) + 1, position)
        y0, y1 = row_of(b, public(right[p]), position), row_of(b, public(right[p]) + 1, position)
        z0, z1, z2 = row_of(out, 3 * p, position), row_of(out, 3 * p + 1, position), row_of(out, 3 * p + 2, position)
        prime = prime_of(constants, position)
        if public(constants[position, KIND]) == NARROW:
            _narrow_tensor(z0, z1, z2, x0, x1, y0, y1, degree // LANES, prime)
        else:
            _wide_tensor(z0, z1, z2, x0, x1, y0, y1, degree // LANES, prime)


@kernel
def scale(out, a, factors, constants, first, last):
    """out = a * factors[i] modulo q_i."""
    k, degree = out.shape[1], out.shape[2]
    for row in range(first, last):
        polynomial, position = row // k, row % k
        x, target = row_of(a, polynomial, position), row_of(out, polynomial, position)
        factor, prime = factors.ctypes.data + position * FACTOR * 8, prime_of(constants, position)
        if public(constants[position, KIND]) == NARROW:
            _narrow_scale(target, x, factor, degree // LANES, prime)
        else:
            _wide_scale(target, x, factor, degree // LANES, prime)


@kernel
def add_multiples(out, a, plus, added, factors, constants, first, last):
    """out = the last residues of `a`, to which `plus` times a factor is added as far as it has these residues.

    To the first added[1] of each added[0] polynomials the next one of `plus`.
    """
    k, vectors, components, some = out.shape[1], out.shape[2] // LANES, public(added[0]), public(added[1])
    start = a.shape[1] - k
    for row in range(first, last):
        polynomial, position = row // k, row % k
        x, target = row_of(a, polynomial, start + position), row_of(out, polynomial, position)
        for i in range(vectors):
            store(target, i, load(x, i))
        if polynomial % components < some and start + position < plus.shape[1]:
            y = row_of(plus, polynomial // components * some + polynomial % components, start + position)
            factor, prime = factors.ctypes.data + position * FACTOR * 8, prime_of(constants, position)
            if public(constants[position, KIND]) == NARROW:
                narrow_add_multiple(target, y, factor, vectors, prime)
            else:
                wide_add_multiple(target, y, factor, vectors, prime)


@kernel
def permute(out, a, sources, patterns, first, last):
    """Rows of values: vector i of the image is vector sources[i, 0], lanes in the order of pattern sources[i, 1].

    Automorphisms move whole aligned vectors (`ring_tables.permutation`). The sources and patterns are public.
    """
    k, vectors = out.shape[1], out.shape[2] // LANES
    orders = patterns.ctypes.data
    for row in range(first, last):
        x, target = row_of(a, row // k, row % k), row_of(out, row // k, row % k)
        for i in range(vectors):
            store(target, i, permute_lanes(load(x, public(sources[i, 0])), load(orders, public(sources[i, 1]))))


@kernel
def permute_sum(out, a, starts, step, sources, patterns, constants, first, last):
    """out[p] = sum over j of a[starts[p] + j*step] as `permute` moves it by sources[j]: (m, N/LANES, 2)."""
    k, degree, count = out.shape[1], out.shape[2], sources.shape[0]
    orders = patterns.ctypes.data
    for row in range(first, last):
        polynomial, position = row // k, row % k
        target, q = row_of(out, polynomial, position), splat(constants[position, Q])
        x, stride = row_of(a, public(starts[polynomial]), position), step * k * degree * 8
        for i in range(degree // LANES):
            total = permute_lanes(load(x, public(sources[0, i, 0])), load(orders, public(sources[0, i, 1])))
            for j in range(1, count):
                y = x + j * stride
                term = permute_lanes(load(y, public(sources[j, i, 0])), load(orders, public(sources[j, i, 1])))
                total = less(add(total, term), q)
            store(target, i, total)


@kernel
def signed_permute(out, a, element, constants, first, last):
    """Rows of coefficients: X^i -> X^(i*element), X^N = -1."""
    k, degree = out.shape[1], out.shape[2]
    for row in range(first, last):
        source, target = a[row // k, row % k], out[row // k, row % k]
        q, at = constants[row % k, Q], 0
        for i in range(degree):
            x = source[i]
            if at & degree:  # i*element/N, rounded down, is odd: public
                x = less_where_not_below(q - x, q)
            target[at & (degree - 1)] = x
            at = (at + element) & (2 * degree - 1)
