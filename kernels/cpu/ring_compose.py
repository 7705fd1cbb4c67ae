"""Residues to the centred integers that they stand for: the Chinese remainder theorem, in digits of 52 bits.

With y_i = x_i * (Q/q_i)^-1 mod q_i the integer is the sum of y_i * (Q/q_i) less v*Q, v the sum of y_i/q_i rounded in
fixed point (`ring_convert`): x in (-Q/2, Q/2) or, where x is next to ±Q/2 and v one off, x ± Q. The sum is taken modulo
2^(52 D), in two's complement; a magnitude above (Q-1)/2 then gives way to Q less it, with the other sign.

A product of y = y1*2^52 + y0 and a digit adds four words to three columns. Column by column: what the digits j, j-1
and j-2 of the constants give to column j, then the carry.
"""

from __future__ import annotations

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ring_convert import BLOCK, cofactor_rows
from hecore.kernels.cpu.ring_pointwise import row_of
from hecore.kernels.cpu.ring_words import shift_left, shift_right, splat_at, zero
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    LANES,
    VECTOR_BYTES,
    add,
    and_,
    carry,
    load,
    low_digit,
    mul_hi,
    mul_lo,
    sign,
    splat,
    store,
    sub,
    xor,
)

V = VECTOR_BYTES


@inner
def column(y, step, at, sources, cofactors, digits, j):
    """What the products of one vector of coefficients give to column j."""
    total = zero()
    for i in range(sources):
        word, row = load(y + i * step, at), cofactors + i * (digits + 2) * 8
        below, upper = splat_at(row, j + 1), carry(word)
        total = mul_hi(mul_lo(total, word, splat_at(row, j + 2)), word, below)
        total = mul_hi(mul_lo(total, upper, below), upper, splat_at(row, j))
    return total


@inner
def centred(y, step, at, sources, cofactors, half, whole, digits, x):
    """Digits of |x| at address x, one vector a digit; the mask of the sign."""
    rest = zero()
    for j in range(digits):
        rest = add(rest, column(y, step, at, sources, cofactors, digits, j))
        store(x, j, low_digit(rest))
        rest = carry(rest)
    negative = sign(shift_left(load(x, digits - 1), splat(64 - DIGIT_BITS)))
    rest, borrow = and_(negative, splat(1)), zero()
    for j in range(digits):  # |x| = (x ^ mask) + 1 where negative; and (Q-1)/2 - |x|, of which the borrow tells
        rest = add(rest, low_digit(xor(load(x, j), negative)))
        digit = low_digit(rest)
        store(x, j, digit)
        rest = carry(rest)
        borrow = sign(add(sub(splat_at(half, j), digit), borrow))
    beyond, borrow = borrow, zero()
    for j in range(digits):
        difference = add(sub(splat_at(whole, j), load(x, j)), borrow)
        borrow = sign(difference)
        store(x, j, xor(load(x, j), and_(beyond, xor(load(x, j), low_digit(difference)))))
    return xor(negative, beyond)


@inner
def word_of(x, digits, limb):
    """Bits 64*limb … 64*limb + 63 of digits at address x."""
    first, offset = 64 * limb // DIGIT_BITS, 64 * limb % DIGIT_BITS
    out = shift_right(load(x, first), splat(offset))
    if first + 1 < digits:
        out = xor(out, shift_left(load(x, first + 1), splat(DIGIT_BITS - offset)))
    if first + 2 < digits and 2 * DIGIT_BITS - offset < 64:
        out = xor(out, shift_left(load(x, first + 2), splat(2 * DIGIT_BITS - offset)))
    return out


@kernel
def compose(magnitudes, negative, data, inverses, weights, constants, cofactors, half, whole, scratch, first, last):
    """Residues (B, k, N) to magnitudes (B, N, L) and signs (B, N) of the centred integers; blocks of coefficients."""
    degree, k, digits, limbs = data.shape[2], inverses.shape[0], half.shape[0], magnitudes.shape[2]
    size = min(degree, BLOCK)
    blocks, y, step = degree // size, scratch.ctypes.data, size * 8
    x = y + (k + 1) * step
    group = x + digits * V  # the limbs of LANES coefficients, and their signs
    words = scratch[((k + 1) * size + digits * LANES) :]
    for block in range(first, last):
        polynomial, at = block // blocks, block % blocks * size
        cofactor_rows(
            y, step, row_of(data, polynomial, 0) + at * 8, degree * 8, size, inverses, weights, constants, True
        )
        for i in range(size // LANES):
            mask = centred(y, step, i, k + 1, cofactors.ctypes.data, half.ctypes.data, whole.ctypes.data, digits, x)
            for limb in range(limbs):
                store(group, limb, word_of(x, digits, limb))
            store(group, limbs, mask)
            for lane in range(LANES):
                place = at + i * LANES + lane
                for limb in range(limbs):
                    magnitudes[polynomial, place, limb] = words[limb * LANES + lane]
                negative[polynomial, place] = words[limbs * LANES + lane] & 1
