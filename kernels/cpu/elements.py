"""Arithmetic on one lane group: LANES residues modulo n, or modulo n^2 as x = x0 + x1*n, in Montgomery form.

Modulo a square, with R = 2^(52 L) and n R-invertible, the product of x = x0 + x1*n and y = y0 + y1*n needs five
half-size products where the plain one needs eight. Let m = -x0*y0/n mod R and t = (x0*y0 + m*n)/R, which is what
one Montgomery multiplication modulo n computes. Then x0*y0 = t*R - m*n exactly, so modulo n^2

    x*y/R = (x0*y0 + (x0*y1 + x1*y0)*n)/R = t + n * (x0*y1 + x1*y0 - m)/R

and the second bracket is taken modulo n only: one Montgomery reduction of a sum of two products. A multiple of n
with large digits (`BIAS`) keeps it non-negative. In units of one half-size product (2 L^2 multiply-adds):
x0*y0, m*n, x0*y1, x1*y0 and the second reduction: 5. Squaring: x0^2 (half), m*n, 2*x0*x1, reduction: 3.5.
If y1 = 0 ("single"): 4.

Ranges. R >= 2^12 n (`digits_for`). A component is *loose* when it is below 16n. Every multiplication takes loose
operands and returns components below 2n: (16n)^2*2/R + n*(1 + 2^-11) + 1 < 2n.

Scratch memory `w` of `work_vectors(L)` vectors is the caller's; results may overwrite operands.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu import montgomery
from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.karatsuba import for_one, for_two, multiply_two_columns
from hecore.kernels.cpu.multiplications import (
    BIAS,
    SUMS,
    WORK_LENGTHS,
    WORK_MORE,
    N,
    cross_biased,
    cross_plus,
    multiply,
    multiply_biased,
    multiply_by_rows,
    multiply_first,
    multiply_from,
    multiply_plus,
    multiply_twice_biased,
    multiply_twice_plus,
    multiply_two,
    multiply_two_biased,
    product,
    reduce_plus,
    square,
    square_by_rows,
    square_first,
)
from hecore.kernels.cpu.vector import (
    LANES,
    VECTOR_BYTES,
    add,
    and_,
    borrow,
    carry,
    load,
    low_digit,
    poke,
    sign,
    splat,
    store,
    sub,
    transpose_in,
    transpose_out,
    xor,
)

V = VECTOR_BYTES
PLAIN, SQUARE = 0, 1
SLACK_BITS = 12


def digits_for(bits: int) -> int:
    """L for a modulus (or the root of a square one) of `bits` bits."""
    needed = max(montgomery.MIN_DIGITS, -(-(bits + SLACK_BITS) // 52))
    return needed + needed % 2


# Further constants of a context, behind those of `multiplications`.


@inner
def R1(c, length):
    """R mod n"""
    return c + V * (1 + 2 * length)


@inner
def R2(c, length):
    """R^2 mod n"""
    return c + V * (1 + 3 * length)


@inner
def ONE(c, length):
    """R modulo the whole modulus, in element form"""
    return c + V * (1 + 4 * length)


@inner
def COMPLEMENT(c, length):
    """R - K, with K the largest multiple of n up to R/2: see `scaled form` below"""
    return c + V * (1 + 6 * length)


def context_vectors(length: int) -> int:
    """Beyond these, long lengths have their pairs' constants: see `long_products`."""
    return 1 + 7 * length


def work_vectors(length: int) -> int:
    return WORK_LENGTHS * length + WORK_MORE


@inner
def zero(p, count):
    z = splat(np.uint64(0))
    for j in range(count):
        store(p, j, z)


@inner
def copy(destination, source, count):
    for j in range(count):
        store(destination, j, load(source, j))


@shared(3)
def normalise(destination, columns, count):
    """Propagate carries: 64-bit column sums -> 52-bit digits."""
    c = splat(np.uint64(0))
    for j in range(count):
        t = add(load(columns, j), c)
        store(destination, j, low_digit(t))
        c = carry(t)


@shared(3)
def subtract_if_not_below(x, n, count):
    """x <- x - n where x >= n, else x, without a branch; digits in, digits out."""
    c = splat(np.uint64(0))
    for j in range(count):
        c = borrow(add(sub(load(x, j), load(n, j)), c))
    keep = sign(c)  # all ones where x < n
    c = splat(np.uint64(0))
    for j in range(count):
        a = load(x, j)
        d = add(sub(a, load(n, j)), c)
        c = borrow(d)
        d = low_digit(d)
        store(x, j, xor(d, and_(xor(a, d), keep)))


@shared(6)
def multiply_plain(r, x, y, c, length, w):
    """r <- x*y/R modulo n."""
    multiply_by_rows(w, r, x, y, N(c), c, w + 4 * length * V, length)


@shared(5)
def square_plain(r, x, c, length, w):
    square_by_rows(w, r, x, N(c), c, w + 4 * length * V, length)


@shared(6)
def multiply_square(r, x, y, c, length, w):
    """r <- x*y/R modulo n^2."""
    size = length * V
    low, m = w + 2 * size, w + 3 * size
    multiply_first(w, low, x, y, c, m, length)
    cross_biased(w, r + size, m, x, y, c, length)
    copy(r, low, length)


@shared(5)
def square_square(r, x, c, length, w):
    """r <- x*x/R modulo n^2."""
    size = length * V
    low, m = w + 2 * size, w + 3 * size
    square_first(w, low, x, c, m, length)
    multiply_twice_biased(w, r + size, m, x, x + size, c, length)
    copy(r, low, length)


@shared(6)
def multiply_single(r, s, y, c, length, w):
    """r <- s*y/R modulo n^2 for a single s < R (one component), y loose or, for s up to R, below 2n.

    For s < R the components stay below (2n*R)/R + n + 2 < 16n: loose.
    """
    size = length * V
    low, m = w + 2 * size, w + 3 * size
    multiply_first(w, low, s, y, c, m, length)
    multiply_biased(w, r + size, m, s, y + size, c, length)
    copy(r, low, length)


@shared(7)
def multiply_two_singles(r, s, t, y, c, length, w):
    """r <- (s*y + t*z)/R modulo n^2 for singles s + t < R and elements y, z with components below n, z behind y.

    Six half-size products: the two share their reductions. Components stay below (s + t)*n/R + n + 2 < 2n.
    """
    size = length * V
    z, low, m = y + 2 * size, w + 2 * size, w + 3 * size
    multiply_two(w, low, s, y, t, z, N(c), c, m, length)
    multiply_two_biased(w, r + size, m, s, y + size, t, z + size, c, length)
    copy(r, low, length)


@shared(6)
def multiply_one_plus(r, x, u, c, length, w):
    """r <- x * (1 + u*n) modulo n^2, for an integer u < R: only x1 changes, by u*x0 modulo n."""
    size = length * V
    factor = w + 5 * size
    multiply_plain(factor, u, R2(c, length), c, length, w)  # u*R mod n
    multiply_two(w, r + size, factor, x, R1(c, length), x + size, N(c), c, w + 3 * size, length)
    copy(r, x, length)


# -- scaled form ---------------------------------------------------------------------------------------------
#
# Inside long products the second component is kept with another sign and scale: x = x0 - (z/R)*n, z < R. Then the
# product of two singles s*t costs one Montgomery multiplication modulo n, two half-size products: s*t = x0*R - m*n
# says that s*t/R is (x0, m) in this form, the quotient m itself being z. For x = (x0, z) and y = (y0, m),
#
#     x*y/R = x0*y0/R - n/R * (x0*m + z*y0)/R = r - n/R * (m' + (x0*m + z*y0)/R),  x0*y0 = r*R - m'*n,
#
# five half-size products again, no bias, and no reduction of m'. A table product a pair of entries is thus 2 + 5, not
# 4 + 4. Ranges: with x0, y0 < 2n and m, z < R the reduced term is below (2n*R + R*2n)/R + n = 5n. From m' >= R/2 the
# tail of the last pass takes K, a multiple of n with R/2 - n < K <= R/2, so that z' < R/2 + n + 5n < R; for a squaring,
# whose term is twice x0*z/R < 3n, z' < R/2 + 7n. The mask is that of m's top bit: no branch, no further pass.


@shared(6)
def pair_singles(r, s, t, c, length, w):
    """r <- s*t/R for two singles below 2n, in scaled form."""
    multiply(w, r, s, t, N(c), c, r + length * V, length)


@shared(6)
def scaled_multiply(r, x, y, c, length, w):
    """r <- x*y/R, all in scaled form; r may be x or y."""
    size = length * V
    m, low = w + 2 * size, w + 3 * size
    if for_two(length) and not for_one(length):
        # The cross terms share no sums of halves with x0*y0, which may thus come last and overwrite x0.
        columns = w + 4 * size
        multiply_two_columns(columns, x, y + size, x + size, y, SUMS(w, length), length)
        multiply(w, r, x, y, N(c), c, m, length)
        reduce_plus(columns, r + size, m, COMPLEMENT(c, length), N(c), c, length)
        return
    multiply(w, low, x, y, N(c), c, m, length)
    cross_plus(w, r + size, m, COMPLEMENT(c, length), x, y, N(c), c, length)
    copy(r, low, length)


@shared(6)
def scaled_single(r, s, x, c, length, w):
    """r <- s*x/R for a single s below 2n and x in scaled form; r is not x."""
    size = length * V
    m = w + 2 * size
    multiply(w, r, s, x, N(c), c, m, length)
    multiply_plus(w, r + size, m, COMPLEMENT(c, length), s, x + size, N(c), c, length)


@shared(5)
def scaled_square(r, x, c, length, w):
    """r <- x*x/R in scaled form; r is not x."""
    size = length * V
    m = w + 2 * size
    square(w, r, x, N(c), c, m, length)
    multiply_twice_plus(w, r + size, m, COMPLEMENT(c, length), x, x + size, N(c), c, length)


@shared(6)
def scaled_one_plus(r, x, u, c, length, w):
    """r <- x*(1 + u*n), in split form again, for x in scaled form and an integer u < R.

    x0*u - z/R, and -z/R mod n is the reduction of BIAS - z, as BIAS is a multiple of n with columns above any digit.
    """
    size = length * V
    factor = w + 5 * size
    multiply_plain(factor, u, R2(c, length), c, length, w)  # u*R mod n
    multiply_from(w, r + size, BIAS(c, length), x + size, factor, x, N(c), c, length)
    copy(r, x, length)


@shared(3)
def split_canonical(t, c, length):
    """t0 + t1*n with t0 <= n, t1 <= n + 1 -> the same modulo n^2 with both below n (n >= 3)."""
    size = length * V
    # x0 - n >= 0 carries one into x1: find it before x0 changes
    k = splat(np.uint64(0))
    for j in range(length):
        k = borrow(add(sub(load(t, j), load(N(c), j)), k))
    up = add(sign(k), splat(np.uint64(1)))  # 0 where t0 < n, else 1
    subtract_if_not_below(t, N(c), length)
    for j in range(length):
        v = add(load(t + size, j), up)
        store(t + size, j, low_digit(v))
        up = carry(v)
    subtract_if_not_below(t + size, N(c), length)


@shared(5)
def join(integer, x, c, length, w):
    """integer (2L digits) <- x0 + x1*n."""
    zero(w + length * V, length)
    copy(w, x, length)
    product(w, N(c), x + length * V, length)
    normalise(integer, w, 2 * length)


@shared(6)
def canonical(integer, x, c, length, kind, w):
    """integer (L or 2L digits) <- x/R reduced into [0, modulus)."""
    size = length * V
    t, one = w + 5 * size, w + 7 * size
    zero(one, length)
    store(one, 0, splat(np.uint64(1)))
    if kind == PLAIN:
        multiply_plain(integer, one, x, c, length, w)
        subtract_if_not_below(integer, N(c), length)
        return
    multiply_single(t, one, x, c, length, w)
    split_canonical(t, c, length)
    join(integer, t, c, length, w)


@shared(7)
def multiply_element(r, x, y, c, length, kind, w):
    if kind == PLAIN:
        multiply_plain(r, x, y, c, length, w)
    else:
        multiply_square(r, x, y, c, length, w)


@shared(6)
def square_element(r, x, c, length, kind, w):
    if kind == PLAIN:
        square_plain(r, x, c, length, w)
    else:
        square_square(r, x, c, length, w)


# -- lanes <-> rows of element-major memory ------------------------------------------------------------------


@shared(6)
def point_rows(rows, base, stride, first, count, spare):
    """Row addresses of elements first .. first+LANES-1; lanes past `count` use the row at `spare`."""
    for k in range(LANES):
        i = first + k
        poke(rows + 8 * k, np.uint64(base + i * stride * 8) if i < count else np.uint64(spare))


@shared(3)
def gather(destination, rows, digits):
    for j in range(0, digits, LANES):
        transpose_in(destination + j * V, rows, j)


@shared(3)
def scatter(source, rows, digits):
    for j in range(0, digits, LANES):
        transpose_out(source + j * V, rows, j)
