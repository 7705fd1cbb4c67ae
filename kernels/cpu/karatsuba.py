"""Products of components by one level of Karatsuba's method, three half-length products for four.

With h the lower half's digits and B = 2^(52 h), a = a0 + a1*B and b = b0 + b1*B,

    a*b = z0 + (p - z0 - z2)*B + z2*B^2,    z0 = a0*b0,  z2 = a1*b1,  p = (a0 + a1)*(b0 + b1)

(A. Karatsuba, Yu. Ofman 1962). Multiply-adds take 52 bits of a digit and no more, so the sums are carried through:
a0 + a1 = s + j*B with a bit j a lane, b0 + b1 = t + k*B, and

    p = s*t + (j*t + k*s)*B + j*k*B^2,

of which only s*t is a product. Nothing else is carried: columns are signed sums (`montgomery`), and p - z0 - z2 goes
through them column by column. Of two pairs the parts add up, with two p's.

The result is 2L columns for a reduction, and all operands are read before anything of it is written. Lengths are
multiples of 4 or 6, whose halves are whole passes of two, three or four rows. On Zen 4 one product gains from 24 digits
on, a sum of two from 20; below, carries, folding and the reduction's own passes eat what the fourth product cost. There
components of squares from 28 digits on go by pairs of digits instead (`long_products`).
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu import primitives
from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.vector import VECTOR_BYTES, add, and_, carry, load, low_digit, splat, store, sub

V = VECTOR_BYTES
ONE_FROM, TWO_FROM = 24, 20

(_fresh2, _onto2), (_fresh3, _onto3), (_fresh4, _onto4) = (
    [primitives.make_products(rows, 1, held=held) for held in (0, 2)] for rows in (2, 3, 4)
)
(_fresh_two2, _onto_two2), (_fresh_two3, _onto_two3) = (
    [primitives.make_products(rows, 2, held=held) for held in (0, 2)] for rows in (2, 3)
)

SUMS_LENGTHS, SUMS_MORE = 2, 4  # scratch: 2L + 4 vectors for the halves' sums of four operands, each with its carry


def one_pays(length: int) -> bool:
    return (length % 4 == 0 or length % 6 == 0) and length >= ONE_FROM


def two_pay(length: int) -> bool:
    return (length % 4 == 0 or length % 6 == 0) and length >= TWO_FROM


for_one, for_two = inner(one_pays), inner(two_pay)


@inner
def sum_at(sums, i, h):
    return sums + i * (h + 1) * V


@shared(5)
def add_halves(s, a, t, b, h):
    """s, t <- the h digits of a0 + a1 and of b0 + b1, then their carries as masks: all ones for 1.

    Two at once, as each is one long chain.
    """
    j, k = splat(np.uint64(0)), splat(np.uint64(0))
    for i in range(h):
        u, v = add(add(load(a, i), load(a, h + i)), j), add(add(load(b, i), load(b, h + i)), k)
        store(s, i, low_digit(u))
        store(t, i, low_digit(v))
        j, k = carry(u), carry(v)
    store(s, h, sub(splat(np.uint64(0)), j))
    store(t, h, sub(splat(np.uint64(0)), k))


@inner
def fold(acc, s, t, h):
    """z0, z2 -> z0 - (z0 + z2)*B + z2*B^2, and what `add_carried` adds."""
    of_s, of_t = load(s, h), load(t, h)
    for i in range(h):
        crossed = sub(load(acc, h + i), load(acc, 2 * h + i))
        carried = add(and_(of_s, load(t, i)), and_(of_t, load(s, i)))
        store(acc, h + i, sub(crossed, load(acc, i)))
        store(acc, 2 * h + i, sub(sub(carried, crossed), load(acc, 3 * h + i)))
    store(acc, 3 * h, add(load(acc, 3 * h), and_(and_(of_s, of_t), splat(np.uint64(1)))))


@inner
def add_carried(acc, s, t, h):
    """acc <- acc + (j*t + k*s)*B^2 + j*k*B^3, for the carries j of s and k of t."""
    of_s, of_t = load(s, h), load(t, h)
    for i in range(h):
        carried = add(and_(of_s, load(t, i)), and_(of_t, load(s, i)))
        store(acc, 2 * h + i, add(load(acc, 2 * h + i), carried))
    store(acc, 3 * h, add(load(acc, 3 * h), and_(and_(of_s, of_t), splat(np.uint64(1)))))


@inner
def fresh(acc, a, b, h):
    """acc <- a*b"""
    if h % 4 == 0:
        _fresh4(acc, a, b, h)
    elif h % 2 == 0:
        _fresh2(acc, a, b, h)
    else:
        _fresh3(acc, a, b, h)


@inner
def onto(acc, a, b, h):
    """acc <- acc + a*b"""
    if h % 4 == 0:
        _onto4(acc, a, b, h)
    elif h % 2 == 0:
        _onto2(acc, a, b, h)
    else:
        _onto3(acc, a, b, h)


@shared(5)
def multiply_columns(acc, a, b, sums, length):
    """acc <- a*b; leaves the sums of a's and of b's halves in the first two places."""
    h = length // 2
    s, t = sums, sum_at(sums, 1, h)
    add_halves(s, a, t, b, h)
    for half in range(2):
        at = half * h * V
        fresh(acc + 2 * at, a + at, b + at, h)
    fold(acc, s, t, h)
    onto(acc + h * V, s, t, h)


@shared(7)
def add_columns(acc, a, b, c, d, sums, length):
    """acc <- a*b + c*d, where the first two places have the sums of a's and of d's halves."""
    h = length // 2
    s, v, t, u = sums, sum_at(sums, 1, h), sum_at(sums, 2, h), sum_at(sums, 3, h)
    add_halves(t, b, u, c, h)
    for half in range(2):
        at = half * h * V
        if h % 2 == 0:
            _fresh_two2(acc + 2 * at, a + at, b + at, c + at, d + at, h)
        else:
            _fresh_two3(acc + 2 * at, a + at, b + at, c + at, d + at, h)
    fold(acc, s, t, h)
    add_carried(acc, u, v, h)
    if h % 2 == 0:
        _onto_two2(acc + h * V, s, t, u, v, h)
    else:
        _onto_two3(acc + h * V, s, t, u, v, h)


@shared(7)
def multiply_two_columns(acc, a, b, c, d, sums, length):
    """acc <- a*b + c*d"""
    h = length // 2
    add_halves(sums, a, sum_at(sums, 1, h), d, h)
    add_columns(acc, a, b, c, d, sums, length)
