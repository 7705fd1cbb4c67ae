"""Montgomery multiplications of components: short ones row by row (`primitives`), long ones by pairs of digits.

`w` is a lane group's work area of WORK_LENGTHS * L + WORK_MORE vectors; other arguments are those of the primitives.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu import primitives
from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.karatsuba import (
    add_columns,
    for_one,
    for_two,
    multiply_columns,
    multiply_two_columns,
)
from hecore.kernels.cpu.long_products import (
    A,
    B,
    C,
    D,
    columns_of_cross,
    columns_of_cross_from,
    columns_of_one,
    columns_of_one_from,
    columns_of_square,
    columns_of_twice_from,
    columns_of_two,
    paired,
    recode,
    reduced,
    reduced_alone,
    reduced_plus,
    start_biased,
    start_from,
)
from hecore.kernels.cpu.vector import VECTOR_BYTES, add, carry, load, low_digit, splat, store

V = VECTOR_BYTES
# 8L vectors that functions of elements divide among themselves, then Karatsuba's 2L + 4 or 8L' + 4 for pairs.
WORK_LENGTHS, WORK_MORE = 17, 24

_multiply, _from, _plus, _two, _two_from, _two_plus = (
    make(2)
    for make in (
        primitives.make_multiply,
        primitives.make_multiply_from,
        primitives.make_multiply_plus,
        primitives.make_multiply_two,
        primitives.make_multiply_two_from,
        primitives.make_multiply_two_plus,
    )
)
_twice_plus = primitives.make_multiply_plus(2, doubled=True)
_square2, _square4 = primitives.make_square(2), primitives.make_square(4)
_product = primitives.make_products(2, 1, held=1)
_reduce6, _reduce4 = primitives.make_reduce(6), primitives.make_reduce(4)
_reduce_from6, _reduce_from4 = primitives.make_reduce_from(6), primitives.make_reduce_from(4)
_reduce_plus6, _reduce_plus4 = primitives.make_reduce_plus(6), primitives.make_reduce_plus(4)
_reduce_twice6, _reduce_twice4 = (primitives.make_reduce_plus(rows, doubled=True) for rows in (6, 4))


# A context is an array of vectors, per lane: the constants of one modulus (see context.py), at these offsets.
K0 = 0


@inner
def N(c):
    return c + V


@inner
def BIAS(c, length):
    return c + V * (1 + length)


@inner
def double(destination, x, count):
    """2x for digits x < R/2."""
    k = splat(np.uint64(0))
    for j in range(count):
        t = load(x, j)
        t = add(add(t, t), k)
        store(destination, j, low_digit(t))
        k = carry(t)


@inner
def SUMS(w, length):
    return w + 8 * length * V


@inner
def recode_four(w, a, b, c, d, length):
    recode(w, A, a, length, length)
    recode(w, B, b, length, length)
    recode(w, C, c, length, length)
    recode(w, D, d, length, length)


# -- reductions of the columns, four rows a pass or six: Karatsuba's lengths are multiples of either


@shared(6)
def reduce(acc, out, n, k0, m, length):
    if length % 4 == 0:
        _reduce4(acc, out, n, k0, m, length)
    else:
        _reduce6(acc, out, n, k0, m, length)


@shared(7)
def reduce_from(acc, out, plus, minus, n, k0, length):
    if length % 4 == 0:
        _reduce_from4(acc, out, plus, minus, n, k0, length)
    else:
        _reduce_from6(acc, out, plus, minus, n, k0, length)


@shared(7)
def reduce_plus(acc, out, quotient, complement, n, k0, length):
    if length % 4 == 0:
        _reduce_plus4(acc, out, quotient, complement, n, k0, length)
    else:
        _reduce_plus6(acc, out, quotient, complement, n, k0, length)


@shared(7)
def reduce_twice_plus(acc, out, quotient, complement, n, k0, length):
    if length % 4 == 0:
        _reduce_twice4(acc, out, quotient, complement, n, k0, length)
    else:
        _reduce_twice6(acc, out, quotient, complement, n, k0, length)


@shared(8)
def multiply_by_rows(w, out, a, b, n, k0, m, length):
    if for_one(length):
        multiply_columns(w, a, b, SUMS(w, length), length)
        reduce(w, out, n, k0, m, length)
    else:
        _multiply(w, out, a, b, n, k0, m, length)


@shared(8)
def multiply(w, out, a, b, n, k0, m, length):
    if paired(length):
        recode(w, A, a, length, length)
        recode(w, B, b, length, length)
        columns_of_one(w, length)
        reduced(w, out, k0, m, length)
    else:
        multiply_by_rows(w, out, a, b, n, k0, m, length)


@shared(7)
def square_by_rows(w, out, a, n, k0, m, length):
    if length % 4 == 0 and length > 4:
        _square4(w, out, a, n, k0, m, length)
    else:
        _square2(w, out, a, n, k0, m, length)


@shared(7)
def square(w, out, a, n, k0, m, length):
    if paired(length):
        recode(w, A, a, length, length)
        columns_of_square(w, length)
        reduced(w, out, k0, m, length)
    else:
        square_by_rows(w, out, a, n, k0, m, length)


@shared(7)
def multiply_first(w, out, a, b, c, m, length):
    """`multiply` whose m nothing reads but a biased multiplication right after it; with pairs it stays with `w`."""
    if paired(length):
        recode(w, A, a, length, length)
        recode(w, B, b, length, length)
        columns_of_one(w, length)
        reduced_alone(w, out, c, length)
    else:
        multiply(w, out, a, b, N(c), c, m, length)


@shared(6)
def square_first(w, out, a, c, m, length):
    if paired(length):
        recode(w, A, a, length, length)
        columns_of_square(w, length)
        reduced_alone(w, out, c, length)
    else:
        square(w, out, a, N(c), c, m, length)


@shared(9)
def multiply_from(w, out, plus, minus, a, b, n, k0, length):
    if paired(length):
        start_from(w, plus, minus, length)
        recode(w, A, a, length, length)
        recode(w, B, b, length, length)
        columns_of_one_from(w, length)
        reduced_alone(w, out, k0, length)
        return
    if for_one(length):
        multiply_columns(w, a, b, SUMS(w, length), length)
        reduce_from(w, out, plus, minus, n, k0, length)
    else:
        _from(w, out, plus, minus, a, b, n, k0, length)


@shared(10)
def multiply_two(w, out, a, b, c, d, n, k0, m, length):
    if paired(length):
        recode_four(w, a, b, c, d, length)
        columns_of_two(w, length)
        reduced(w, out, k0, m, length)
        return
    if for_two(length):
        multiply_two_columns(w, a, b, c, d, SUMS(w, length), length)
        reduce(w, out, n, k0, m, length)
    else:
        _two(w, out, a, b, c, d, n, k0, m, length)


@shared(9)
def multiply_two_biased(w, out, m, a, b, d, e, c, length):
    """out <- (BIAS - m + a*b + d*e + m'*n)/R, where m is the quotient of the multiplication right before."""
    if paired(length):
        recode_four(w, a, e, d, b, length)
        start_biased(w, c, length)
        columns_of_cross_from(w, length)
        reduced_alone(w, out, c, length)
    elif for_two(length):
        multiply_two_columns(w, a, b, d, e, SUMS(w, length), length)
        reduce_from(w, out, BIAS(c, length), m, N(c), c, length)
    else:
        _two_from(w, out, BIAS(c, length), m, a, b, d, e, N(c), c, length)


@shared(7)
def multiply_biased(w, out, m, a, b, c, length):
    """Likewise of a*b, for an a that was the first operand of that multiplication."""
    if paired(length):
        recode(w, B, b, length, length)
        start_biased(w, c, length)
        columns_of_one_from(w, length)
        reduced_alone(w, out, c, length)
    else:
        multiply_from(w, out, BIAS(c, length), m, a, b, N(c), c, length)


@shared(7)
def multiply_twice_biased(w, out, m, a, b, c, length):
    """Likewise of 2*a*b; vectors 4L to 5L of w are for 2*b."""
    if paired(length):
        recode(w, B, b, length, length)
        start_biased(w, c, length)
        columns_of_twice_from(w, length)
        reduced_alone(w, out, c, length)
    else:
        twice = w + 4 * length * V
        double(twice, b, length)
        multiply_from(w, out, BIAS(c, length), m, a, twice, N(c), c, length)


@inner
def cross_columns(w, x, y, length):
    """The columns of x0*y1 + x1*y0, right after `multiply` of x0 and y0, which may have left their halves' sums."""
    size, sums = length * V, SUMS(w, length)
    if for_one(length):
        add_columns(w, x, y + size, x + size, y, sums, length)
    else:
        multiply_two_columns(w, x, y + size, x + size, y, sums, length)


@shared(7)
def cross_biased(w, out, m, x, y, c, length):
    """multiply_two_biased of x0, y1, x1, y0, right after `multiply` of x0 and y0."""
    size = length * V
    if paired(length):
        recode(w, C, x + size, length, length)
        recode(w, D, y + size, length, length)
        start_biased(w, c, length)
        columns_of_cross_from(w, length)
        reduced_alone(w, out, c, length)
    elif for_two(length):
        cross_columns(w, x, y, length)
        reduce_from(w, out, BIAS(c, length), m, N(c), c, length)
    else:
        _two_from(w, out, BIAS(c, length), m, x, y + size, x + size, y, N(c), c, length)


@shared(4)
def product(acc, a, b, length):
    _product(acc, a, b, length)


@shared(9)
def multiply_plus(w, out, quotient, complement, a, b, n, k0, length):
    if paired(length):
        recode(w, B, b, length, length)
        columns_of_one(w, length)
        reduced_plus(w, out, quotient, complement, 0, k0, length)
        return
    if for_one(length):
        multiply_columns(w, a, b, SUMS(w, length), length)
        reduce_plus(w, out, quotient, complement, n, k0, length)
    else:
        _plus(w, out, quotient, complement, a, b, n, k0, length)


@shared(9)
def multiply_twice_plus(w, out, quotient, complement, a, b, n, k0, length):
    if paired(length):
        recode(w, B, b, length, length)
        columns_of_one(w, length)
        reduced_plus(w, out, quotient, complement, 1, k0, length)
        return
    if for_one(length):
        multiply_columns(w, a, b, SUMS(w, length), length)
        reduce_twice_plus(w, out, quotient, complement, n, k0, length)
    else:
        _twice_plus(w, out, quotient, complement, a, b, n, k0, length)


@shared(9)
def cross_plus(w, out, quotient, complement, x, y, n, k0, length):
    """out <- (x0*y1 + x1*y0 + m*n)/R + quotient', right after `multiply` of x0 and y0."""
    size = length * V
    if paired(length):
        recode(w, C, x + size, length, length)
        recode(w, D, y + size, length, length)
        columns_of_cross(w, length)
        reduced_plus(w, out, quotient, complement, 0, k0, length)
        return
    if for_two(length):
        cross_columns(w, x, y, length)
        reduce_plus(w, out, quotient, complement, n, k0, length)
    else:
        _two_plus(w, out, quotient, complement, x, y + size, x + size, y, n, k0, length)
