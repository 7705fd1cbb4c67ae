"""Montgomery multiplication of long components by pairs of digits (`pairs`): digits of 52 bits in, digits of 52 out.

Everything around keeps 52-bit digits; here operands become L' digits of PAIR_BITS bits and results come back. R remains
2^(52 L), which is no power of 2^51: with 52 L = 51 e + t the quotient ends t bits into digit e, and the result begins
there. A lane group's area for all this lies behind the first 8L vectors of its work area.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu import pairs
from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.pairs import PAIR_BITS, PAIR_MASK
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    IFMA,
    VECTOR_BYTES,
    add,
    and_,
    borrow,
    load,
    low_digit,
    mul_hi,
    mul_lo,
    shift_left,
    shift_right,
    sign,
    splat,
    store,
    sub,
    xor,
)

V = VECTOR_BYTES
PAIRS_FROM = 28  # on Zen 4, where additions find ports of their own; in general registers they do not pay

_one, _one_from = pairs.make_columns(1), pairs.make_columns(1, start=True)
_two, _two_from = pairs.make_columns(2), pairs.make_columns(2, start=True)
_one_fetching = pairs.make_columns(1, fetching=1)
_one_from_fetching, _two_from_fetching = (pairs.make_columns(n, start=True, fetching=2) for n in (1, 2))
_square, _low_half, _high_half = pairs.make_square_columns(), pairs.make_low_half(), pairs.make_high_half()


def pairs_pay(length: int) -> bool:
    return IFMA and length >= PAIRS_FROM


def digits_of_pairs(length: int) -> int:
    """L' for L digits: odd, and beyond R's place."""
    return (DIGIT_BITS * length // PAIR_BITS + 1) | 1


def pair_constants(n: int, length: int) -> list[int]:
    """-1/n modulo R, n, and n's least multiple from R on, L' digits each."""
    radix = 1 << DIGIT_BITS * length
    values = [-pow(n, -1, radix) % radix, n, -(-radix // n) * n]
    return [value >> PAIR_BITS * i & PAIR_MASK for value in values for i in range(digits_of_pairs(length))]


paired, pair_length = inner(pairs_pay), inner(digits_of_pairs)


# -- the area: 2L' + 2 columns, five lots of L' digits, L' + 2 prefix sums


@inner
def columns_at(w, length):
    return w + 8 * length * V


@inner
def lot_at(w, i, length):
    """The quotient, or what columns start from; a, b, c, d."""
    return columns_at(w, length) + (2 + (2 + i) * pair_length(length)) * V


@inner
def lists_at(w, length):
    return lot_at(w, 5, length)


@inner
def reciprocal_at(c, length):
    return c + (1 + 7 * length) * V


@inner
def modulus_at(c, length):
    return reciprocal_at(c, length) + pair_length(length) * V


@inner
def bias_at(c, length):
    return modulus_at(c, length) + pair_length(length) * V


# -- digits of 52 bits and of 51


@inner
def to_pairs(out, x, count, length):
    """L' digits of `count` digits of 52 bits; 51 of these make 52. A product with 2^i shifts, both ways at once."""
    mask, nought = splat(np.uint64(PAIR_MASK)), splat(np.uint64(0))
    k, at, whole = 0, 0, pair_length(length)
    while at < count:
        below, power = load(x, at), splat(np.uint64(2))
        store(out, k, and_(below, mask))
        run = min(count - at, PAIR_BITS)
        for i in range(1, run):
            here = load(x, at + i)
            store(out, k + i, and_(mul_lo(mul_hi(nought, below, power), here, power), mask))
            power, below = add(power, power), here
        if k + run < whole:
            store(out, k + run, mul_hi(nought, below, power))
        at, k = at + run, k + run + 1
    for i in range(k, whole):
        store(out, i, nought)


@inner
def from_pairs(out, x, bit, length):
    """L digits of 52 bits, from `bit` on."""
    one, whole = splat(np.uint64(1)), splat(np.uint64(PAIR_BITS))
    at = bit // PAIR_BITS
    shift = bit - PAIR_BITS * at
    j = 0
    while j < length:
        run = min(length - j, PAIR_BITS - shift)
        down = splat(np.uint64(shift))
        here = load(x, at)
        for i in range(run):
            above = load(x, at + i + 1)
            store(out, j + i, low_digit(xor(shift_right(here, down), shift_left(above, sub(whole, down)))))
            here, down = above, add(down, one)
        at, j, shift = at + run + 1, j + run, 0


@inner
def difference(w, plus, minus, length):
    """What columns start from: plus - minus, L columns each, below 2R and not negative."""
    spare = lists_at(w, length)
    k = splat(np.uint64(0))
    for j in range(length):
        t = add(sub(load(plus, j), load(minus, j)), k)
        store(spare, j, low_digit(t))
        k = borrow(t)
    store(spare, length, k)
    to_pairs(lot_at(w, 0, length), spare, length + 1, length)


@inner
def biased(w, c, length):
    """What columns start from: a multiple of n, at least R, less the quotient of the reduction before."""
    start, bias = lot_at(w, 0, length), bias_at(c, length)
    for k in range(pair_length(length)):
        store(start, k, sub(load(bias, k), load(start, k)))


# -- columns


@shared(4)
def columns_of_one(w, a, b, length):
    """a*b; leaves both operands' digits."""
    to_pairs(lot_at(w, 1, length), a, length, length)
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists = columns_at(w, length), lists_at(w, length)
    _one(columns, lists, lot_at(w, 1, length), lot_at(w, 2, length), pair_length(length))


@shared(5)
def columns_of_one_fetching(w, a, b, next_a, length):
    """Likewise, and 2L' - 2 lines from `next_a` on are asked for."""
    to_pairs(lot_at(w, 1, length), a, length, length)
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists = columns_at(w, length), lists_at(w, length)
    _one_fetching(columns, lists, next_a, lot_at(w, 1, length), lot_at(w, 2, length), pair_length(length))


@shared(6)
def columns_of_one_from(w, plus, minus, a, b, length):
    """plus - minus + a*b"""
    difference(w, plus, minus, length)
    to_pairs(lot_at(w, 1, length), a, length, length)
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists, start = columns_at(w, length), lists_at(w, length), lot_at(w, 0, length)
    _one_from(columns, lists, start, lot_at(w, 1, length), lot_at(w, 2, length), pair_length(length))


@shared(3)
def columns_of_square(w, a, length):
    to_pairs(lot_at(w, 1, length), a, length, length)
    _square(columns_at(w, length), lot_at(w, 1, length), pair_length(length))


@shared(3)
def columns_of_left(w, b, length):
    """a*b for the first operand that the columns before had."""
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists = columns_at(w, length), lists_at(w, length)
    _one(columns, lists, lot_at(w, 1, length), lot_at(w, 2, length), pair_length(length))


@shared(4)
def columns_of_left_biased(w, b, c, length):
    biased(w, c, length)
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists, start = columns_at(w, length), lists_at(w, length), lot_at(w, 0, length)
    _one_from(columns, lists, start, lot_at(w, 1, length), lot_at(w, 2, length), pair_length(length))


@shared(6)
def columns_of_left_fetching(w, b, next_a, next_out, c, length):
    """Likewise, and lines from two addresses on are asked for."""
    biased(w, c, length)
    to_pairs(lot_at(w, 2, length), b, length, length)
    columns, lists, start = columns_at(w, length), lists_at(w, length), lot_at(w, 0, length)
    a, b = lot_at(w, 1, length), lot_at(w, 2, length)
    _one_from_fetching(columns, lists, start, next_a, next_out, a, b, pair_length(length))


@inner
def rest_of_two(w, x, y, length):
    to_pairs(lot_at(w, 3, length), x, length, length)
    to_pairs(lot_at(w, 4, length), y, length, length)


@shared(4)
def columns_of_cross(w, c, d, length):
    """a*d + c*b, where `columns_of_one` has left a and b."""
    rest_of_two(w, c, d, length)
    columns, lists, a, b = columns_at(w, length), lists_at(w, length), lot_at(w, 1, length), lot_at(w, 2, length)
    _two(columns, lists, a, lot_at(w, 4, length), lot_at(w, 3, length), b, pair_length(length))


@shared(5)
def columns_of_cross_biased(w, x, y, c, length):
    rest_of_two(w, x, y, length)
    biased(w, c, length)
    columns, lists, a, b = columns_at(w, length), lists_at(w, length), lot_at(w, 1, length), lot_at(w, 2, length)
    start = lot_at(w, 0, length)
    _two_from(columns, lists, start, a, lot_at(w, 4, length), lot_at(w, 3, length), b, pair_length(length))


@shared(7)
def columns_of_cross_fetching(w, x, y, next_b, next_out, c, length):
    rest_of_two(w, x, y, length)
    biased(w, c, length)
    columns, lists, a, b = columns_at(w, length), lists_at(w, length), lot_at(w, 1, length), lot_at(w, 2, length)
    x, y, start = lot_at(w, 3, length), lot_at(w, 4, length), lot_at(w, 0, length)
    _two_from_fetching(columns, lists, start, next_b, next_out, a, y, x, b, pair_length(length))


@inner
def columns_of_two(w, a, b, c, d, length):
    """a*b + c*d"""
    to_pairs(lot_at(w, 1, length), a, length, length)
    to_pairs(lot_at(w, 2, length), d, length, length)
    columns_of_cross(w, c, b, length)


@inner
def columns_of_two_biased(w, a, b, x, y, c, length):
    to_pairs(lot_at(w, 1, length), a, length, length)
    to_pairs(lot_at(w, 2, length), y, length, length)
    columns_of_cross_biased(w, x, b, c, length)


# -- reductions


@shared(3)
def reduce_pairs(w, c, length):
    """The columns plus m*n, from bit 52 L on, at their own place; m."""
    count, columns, m, lists = pair_length(length), columns_at(w, length), lot_at(w, 0, length), lists_at(w, length)
    edge = DIGIT_BITS * length // PAIR_BITS
    bits = DIGIT_BITS * length - PAIR_BITS * edge
    _low_half(m, lists, columns, reciprocal_at(c, length), count)
    store(m, edge, and_(load(m, edge), splat(np.uint64((1 << bits) - 1))))
    for k in range(edge + 1, count):
        store(m, k, splat(np.uint64(0)))
    _high_half(columns, lists, m, modulus_at(c, length), count)
    for k in range(2 * count, 2 * count + 2):
        store(columns, k, splat(np.uint64(0)))


@shared(5)
def reduced(w, out, c, m, length):
    """out <- (columns + m*n)/R, m kept."""
    reduce_pairs(w, c, length)
    from_pairs(out, columns_at(w, length), DIGIT_BITS * length, length)
    from_pairs(m, lot_at(w, 0, length), 0, length)


@shared(4)
def reduced_alone(w, out, c, length):
    reduce_pairs(w, c, length)
    from_pairs(out, columns_at(w, length), DIGIT_BITS * length, length)


@shared(7)
def reduced_plus(w, out, quotient, complement, doubled, c, length):
    """out <- (columns + m*n)/R, twice that where `doubled` is 1, plus quotient', as `montgomery.Tail` has it."""
    reduce_pairs(w, c, length)
    from_pairs(out, columns_at(w, length), DIGIT_BITS * length, length)
    high = sign(shift_left(load(quotient, length - 1), splat(np.uint64(64 - DIGIT_BITS))))
    k, places = splat(np.uint64(0)), splat(np.uint64(doubled))
    for j in range(length):
        t = add(add(shift_left(load(out, j), places), k), add(load(quotient, j), and_(load(complement, j), high)))
        store(out, j, low_digit(t))
        k = borrow(t)
