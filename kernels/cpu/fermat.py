"""Decryption's power: c^(p-1) modulo p^2, which is 1 + p*L(c^(p-1)), from powers of c that are known modulo p alone.

Let cR = x0 + x1*p modulo p^2 be c in Montgomery form. The table holds singles s_i = c^i*R mod p and nothing else, half
the digits of a table modulo p^2, so that reading it whole is half as long and a table product costs four half-size
products, not five. What the singles lack is put right once, at the end. Define u_i by c^i*R = s_i*(1 + u_i*p) modulo
p^2. From s_(i-1)*s_1 = s_i*R - m_i*p, which the multiplication modulo p finds beside s_i,

    u_1 = x1/s_1,    u_i = u_(i-1) + u_1 - m_i/(R*s_i)    (mod p).

Windows of w bits with digits d_j raise the singles to X = prod_j s_(d_j)^(2^(w*j)) in place of c^e, hence
c^e = X * (1 + p * sum_i E_i*u_i), E_i = sum of 2^(w*j) over the j with d_j = i: numbers of the key, not of c. With
F_k = sum_(i >= k) E_i and sum_i i*E_i = e, and one more factor s_1 for c^(e+1),

    c^(e+1) = X*s_1 * (1 + p*D),    D = E_0*u_0 + (e + 1)*u_1 - sum_(k >= 2) F_k*m_k/(R*s_k)    (mod p).

The exponent is e = p - 2. Then e + 1 = -1 modulo p, and the inverses in D are at hand: y = X mod p is c^-1 in
Montgomery form, 1/s_k = y^k/R^(k+1), and Horner's rule in y takes one reduction a term. X*s_1 = w0 - (z/R)*p in scaled
form (`elements`) and w0 = R modulo p, so that c^(p-1)*R = w0 + p*(D*R - z/R), where modulo p

    D*R - z/R = E_0*u_0*R - ((G + x1)*y + z)/R,    G = y*(sum_(k >= 2) F_k*m_k*c^-(k-2)/R)/R.

For c no unit modulo p, which no ciphertext is, the result means nothing.
"""

from __future__ import annotations

from hecore.kernels.cpu.batch import area, rows_at, slot, work
from hecore.kernels.cpu.cache import kernel
from hecore.kernels.cpu.elements import (
    R1,
    V,
    copy,
    gather,
    multiply_plain,
    normalise,
    point_rows,
    scaled_single,
    scaled_square,
    scatter,
    zero,
)
from hecore.kernels.cpu.lookup import read_powers_whole
from hecore.kernels.cpu.multiplications import N, multiply, multiply_from, multiply_two
from hecore.kernels.cpu.vector import LANES, add, borrow, load, low_digit, store, sub


def fermat_window(bits: int) -> int:
    """Window width: 2^w singles, each a table product and a term of D, and a read and a product every w squarings.

    In units of a half-size product: 2 + 3 an entry, 4 a window and, for each entry of a whole read, about 0.06.
    """
    return min(range(1, 7), key=lambda w: 5 * (1 << w) + -(-bits // w) * (4 + 0.06 * (1 << w)))


def fermat_vectors(length: int, entries: int) -> int:
    """Scratch beyond `area`: singles and quotients."""
    return 2 * entries * length


def correction_weights(prime: int, bits: int, window: int, radix: int) -> tuple[list[int], list[int]]:
    """Window digits of p - 2, most significant first, and what D needs: E_0*u_0*R + 4p, 0, F_2, F_3, ... modulo p.

    The multiple of p keeps the last difference from zero.
    """
    exponent, mask = prime - 2, (1 << window) - 1
    digits = [exponent >> (window * j) & mask for j in range(-(-bits // window))]
    weights = [0] * (1 << window)
    for j, digit in enumerate(digits):
        weights[digit] += 1 << (window * j)
    low, high = radix % prime, radix % prime**2 // prime
    first = weights[0] * high * pow(low, -1, prime) * radix % prime
    sums = [0] * (len(weights) + 1)
    for i in range(len(weights) - 1, 1, -1):
        sums[i] = (sums[i + 1] + weights[i]) % prime
    return digits[::-1], [first + 4 * prime, 0, *sums[2:-1]]


@kernel
def fermat_powers(out, a, index, bits, weights, context, length, first, last, scratch):
    """out = a**(p-1) modulo p^2, for windows of `bits` bits and weights as `correction_weights` makes them.

    index (windows, LANES) and the weights, 2**bits singles, serve every lane group.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    size = length * V
    x, t, single = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2)
    c1, g = slot(base, length, 3), slot(base, length, 4)
    table = base + area(length) * V
    entries = 1 << bits
    quotients = table + entries * size
    weight = weights.ctypes.data
    zeros = slot(base, length, 5)
    zero(zeros, length)
    for group in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], group * LANES, a.shape[0], a.ctypes.data)
        gather(x, rows, a.shape[1])
        copy(table, R1(c, length), length)
        copy(table + size, x, length)
        copy(c1, x + size, length)
        for i in range(2, entries):
            here = table + i * size
            multiply(w, here, here - size, table + size, N(c), c, quotients + i * size, length)
        for window in range(index.shape[0]):
            read_powers_whole(single, table, entries, length, index.ctypes.data + window * V)
            if window == 0:
                copy(x, single, length)
                zero(x + size, length)
                continue
            for _ in range(bits):
                scaled_square(t, x, c, length, w)
                x, t = t, x
            scaled_single(t, single, x, c, length, w)
            x, t = t, x
        scaled_single(t, table + size, x, c, length, w)
        multiply_plain(g, weight + (entries - 1) * size, quotients + (entries - 1) * size, c, length, w)
        for k in range(entries - 2, 1, -1):
            multiply_two(w, g, weight + k * size, quotients + k * size, g, x, N(c), c, w + 3 * size, length)
        multiply_plain(g, g, x, c, length, w)
        for j in range(length):
            store(g, j, add(load(g, j), load(c1, j)))
        normalise(g, g, length)
        multiply_from(w, g, t + size, zeros, g, x, N(c), c, length)
        down = load(zeros, 0)
        for j in range(length):
            v = add(sub(load(weight, j), load(g, j)), down)
            store(t + size, j, low_digit(v))
            down = borrow(v)
        point_rows(rows, out.ctypes.data, out.shape[1], group * LANES, out.shape[0], slot(base, length, 7))
        scatter(t, rows, out.shape[1])
