"""Montgomery multiplication of long components by pairs of digits (`pairs`): digits of 52 bits in, digits of 52 out.

Everything around keeps 52-bit digits; here operands become L' digits of PAIR_BITS bits and results come back. R remains
2^(52 L), which is no power of 2^51: with 52 L = 51 e + t the quotient ends t bits into digit e, and the result begins
there. A lane group's area for all this lies behind the first 8L vectors of its work area.
"""

from __future__ import annotations

import numpy as np

from hecore.arith.integers import invert
from hecore.kernels.cpu import pairs
from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.pairs import PAIR_BITS, PAIR_MASK
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    IFMA,
    LANES,
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
    transpose_in,
    xor,
)

V = VECTOR_BYTES
PAIRS_FROM = 28  # on Zen 4, where additions find ports of their own; in general registers they do not pay

_one, _one_from = pairs.make_columns(1), pairs.make_columns(1, start=True)
_two, _two_from = pairs.make_columns(2), pairs.make_columns(2, start=True)
_twice_from = pairs.make_columns(1, start=True, doubled=True)
_one_fetching, _two_fetching = pairs.make_columns(1, fetching=1), pairs.make_columns(2, start=True, fetching=2)
_twice_fetching = pairs.make_columns(1, start=True, doubled=True, fetching=2)
_square, _low_half, _high_half = pairs.make_square_columns(), pairs.make_low_half(), pairs.make_high_half()

QUOTIENT, A, B, C, D = range(5)  # lots of L' digits; the quotient's also holds what columns start from


def pairs_pay(length: int) -> bool:
    return IFMA and length >= PAIRS_FROM


def digits_of_pairs(length: int) -> int:
    """L' for L digits: odd, and beyond R's place."""
    return (DIGIT_BITS * length // PAIR_BITS + 1) | 1


def pair_constants(n: int, length: int) -> list[int]:
    """-1/n modulo R, n, and n's least multiple from R on, L' digits each."""
    radix = 1 << DIGIT_BITS * length
    values = [-invert(n, radix) % radix, n, -(-radix // n) * n]
    return [value >> PAIR_BITS * i & PAIR_MASK for value in values for i in range(digits_of_pairs(length))]


paired, pair_length = inner(pairs_pay), inner(digits_of_pairs)


# -- the area: 2L' + 2 columns, five lots of L' digits, L' + 2 prefix sums


@inner
def columns_at(w, length):
    return w + 8 * length * V


@inner
def lot_at(w, i, length):
    return columns_at(w, length) + (2 + (2 + i) * pair_length(length)) * V


@inner
def lists_at(w, length):
    return lot_at(w, 5, length)


@inner
def reciprocal_at(c, length):
    """Behind `elements.context_vectors`."""
    return c + (1 + 7 * length) * V


@inner
def modulus_at(c, length):
    return reciprocal_at(c, length) + pair_length(length) * V


@inner
def bias_at(c, length):
    return modulus_at(c, length) + pair_length(length) * V


# -- digits of 52 bits and of 51


@shared(5)
def recode(w, lot, x, count, length):
    """A lot of the digits at x, `count` of 52 bits: 51 of them are 52 of 51 bits."""
    out, whole, nought = lot_at(w, lot, length), pair_length(length), splat(np.uint64(0))
    mask = splat(np.uint64(PAIR_MASK))
    k, at = 0, 0
    while at < count:
        below, power = load(x, at), splat(np.uint64(2))
        store(out, k, and_(below, mask))
        run = min(count - at, PAIR_BITS)
        for i in range(1, run):  # a product with 2^i shifts, both ways at once
            here = load(x, at + i)
            store(out, k + i, and_(mul_lo(mul_hi(nought, below, power), here, power), mask))
            power, below = add(power, power), here
        if k + run < whole:
            store(out, k + run, mul_hi(nought, below, power))
        at, k = at + run, k + run + 1
    for i in range(k, whole):
        store(out, i, nought)


@shared(5)
def gather_recoded(w, lot, rows, start, length):
    """`recode` of words start .. start+L-1 of rows (`elements.gather`), eight at a time, L >= 8."""
    out, whole, nought, spare = lot_at(w, lot, length), pair_length(length), splat(np.uint64(0)), lists_at(w, length)
    mask = splat(np.uint64(PAIR_MASK))
    k, phase, first = 0, 0, 0
    below, power = nought, nought
    for at in range(length):
        if at % LANES == 0:
            first = min(at, length - LANES)
            transpose_in(spare, rows, start + first)
        here = load(spare, at - first)
        if phase == 0:
            store(out, k, and_(here, mask))
            power = splat(np.uint64(1))
        else:
            store(out, k, and_(mul_lo(mul_hi(nought, below, power), here, power), mask))
        power, below = add(power, power), here
        k, phase = k + 1, phase + 1
        if phase == PAIR_BITS or at == length - 1:
            store(out, k, mul_hi(nought, below, power))
            k, phase = k + 1, 0
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


@shared(4)
def start_from(w, plus, minus, length):
    """What columns start from: plus - minus, L columns each, below 2R and not negative."""
    spare = lists_at(w, length)
    k = splat(np.uint64(0))
    for j in range(length):
        t = add(sub(load(plus, j), load(minus, j)), k)
        store(spare, j, low_digit(t))
        k = borrow(t)
    store(spare, length, k)
    recode(w, QUOTIENT, spare, length + 1, length)


@shared(3)
def start_biased(w, c, length):
    """What columns start from: a multiple of n, at least R, less the quotient of the reduction before."""
    start, bias = lot_at(w, QUOTIENT, length), bias_at(c, length)
    for k in range(pair_length(length)):
        store(start, k, sub(load(bias, k), load(start, k)))


# -- columns, of what stands in the lots


@shared(2)
def columns_of_one(w, length):
    """a*b"""
    a, b = lot_at(w, A, length), lot_at(w, B, length)
    _one(columns_at(w, length), lists_at(w, length), a, b, pair_length(length))


@shared(3)
def columns_of_one_fetching(w, next_a, length):
    """Likewise, and 2L' - 2 lines from `next_a` on are asked for."""
    a, b = lot_at(w, A, length), lot_at(w, B, length)
    _one_fetching(columns_at(w, length), lists_at(w, length), next_a, a, b, pair_length(length))


@shared(2)
def columns_of_one_from(w, length):
    """start + a*b"""
    start, a, b = lot_at(w, QUOTIENT, length), lot_at(w, A, length), lot_at(w, B, length)
    _one_from(columns_at(w, length), lists_at(w, length), start, a, b, pair_length(length))


@shared(2)
def columns_of_twice_from(w, length):
    """start + 2*a*b"""
    start, a, b = lot_at(w, QUOTIENT, length), lot_at(w, A, length), lot_at(w, B, length)
    _twice_from(columns_at(w, length), lists_at(w, length), start, a, b, pair_length(length))


@shared(4)
def columns_of_twice_fetching(w, next_a, next_out, length):
    start, a, b = lot_at(w, QUOTIENT, length), lot_at(w, A, length), lot_at(w, B, length)
    columns, lists = columns_at(w, length), lists_at(w, length)
    _twice_fetching(columns, lists, start, next_a, next_out, a, b, pair_length(length))


@shared(2)
def columns_of_square(w, length):
    """a*a"""
    _square(columns_at(w, length), lot_at(w, A, length), pair_length(length))


@shared(2)
def columns_of_two(w, length):
    """a*b + c*d"""
    a, b, c, d = lot_at(w, A, length), lot_at(w, B, length), lot_at(w, C, length), lot_at(w, D, length)
    _two(columns_at(w, length), lists_at(w, length), a, b, c, d, pair_length(length))


@shared(2)
def columns_of_cross(w, length):
    """a*d + c*b"""
    a, b, c, d = lot_at(w, A, length), lot_at(w, B, length), lot_at(w, C, length), lot_at(w, D, length)
    _two(columns_at(w, length), lists_at(w, length), a, d, c, b, pair_length(length))


@shared(2)
def columns_of_cross_from(w, length):
    a, b, c, d = lot_at(w, A, length), lot_at(w, B, length), lot_at(w, C, length), lot_at(w, D, length)
    columns, lists, start = columns_at(w, length), lists_at(w, length), lot_at(w, QUOTIENT, length)
    _two_from(columns, lists, start, a, d, c, b, pair_length(length))


@shared(4)
def columns_of_cross_fetching(w, next_b, next_out, length):
    a, b, c, d = lot_at(w, A, length), lot_at(w, B, length), lot_at(w, C, length), lot_at(w, D, length)
    columns, lists, start = columns_at(w, length), lists_at(w, length), lot_at(w, QUOTIENT, length)
    _two_fetching(columns, lists, start, next_b, next_out, a, d, c, b, pair_length(length))


# -- reductions


@shared(3)
def reduce_pairs(w, c, length):
    """The columns plus m*n, whose bits from 52 L on stand at their own place, and m, the quotient."""
    count, columns = pair_length(length), columns_at(w, length)
    m, lists = lot_at(w, QUOTIENT, length), lists_at(w, length)
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
    from_pairs(m, lot_at(w, QUOTIENT, length), 0, length)


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


# -- whole products modulo n^2, of lots: a + c*n times b + d*n, and the square of a + b*n


@shared(7)
def multiply_lots(w, r, next_a, next_b, next_out, c, length):
    """The next group's lines are asked for on the way: a gather touches more than the hardware foresees."""
    columns_of_one_fetching(w, next_a, length)
    reduced_alone(w, r, c, length)
    start_biased(w, c, length)
    columns_of_cross_fetching(w, next_b, next_out, length)
    reduced_alone(w, r + length * V, c, length)


@shared(6)
def square_lots(w, r, next_a, next_out, c, length):
    columns_of_square(w, length)
    reduced_alone(w, r, c, length)
    start_biased(w, c, length)
    columns_of_twice_fetching(w, next_a, next_out, length)
    reduced_alone(w, r + length * V, c, length)
