"""Entry points over batches: host limbs <-> residues, products, and Paillier's encode, reduce, lift and decode.

Residues lie element-major, one row of `stride` words an element (`row_words`), 52-bit digits in the low bits.
Every entry point works on lane groups first .. last-1 of LANES elements each, so that threads share a batch, in
`scratch` memory of `area(L)` vectors that the caller owns: Numba would free an array made here after the last
mention of its name, not after the last use of its address.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.elements import (
    ONE,
    PLAIN,
    SQUARE,
    V,
    canonical,
    copy,
    gather,
    join,
    multiply_element,
    multiply_one_plus,
    multiply_plain,
    multiply_single,
    multiply_two_singles,
    normalise,
    point_rows,
    scatter,
    split_canonical,
    square_element,
    subtract_if_not_below,
    zero,
)
from hecore.kernels.cpu.long_products import A, B, C, D, gather_recoded, multiply_lots, paired, square_lots
from hecore.kernels.cpu.multiplications import WORK_LENGTHS, WORK_MORE, N, multiply_two, product
from hecore.kernels.cpu.vector import (
    LANES,
    add,
    and_,
    borrow,
    load,
    low_digit,
    peek,
    poke,
    shift_left,
    shift_right,
    splat,
    store,
    sub,
    xor,
)


def row_words(length: int, kind: int) -> int:
    """Words a row: the element's digits, rounded up to whole 64-byte lines."""
    digits = length if kind == PLAIN else 2 * length
    return -(-digits // 8) * 8


def scratch_size(length: int) -> int:
    """Vectors of scratch: eight element slots of 2L digits (each padded to a line), row addresses, work space."""
    return 8 * (-(-(2 * length) // 8) * 8) + 64 + WORK_LENGTHS * length + WORK_MORE


area = inner(scratch_size)


@inner
def element_vectors(length):
    return -(-(2 * length) // 8) * 8


@inner
def slot(base, length, i):
    return base + i * element_vectors(length) * V


@inner
def rows_at(base, length):
    return slot(base, length, 8)


@inner
def work(base, length):
    return rows_at(base, length) + 64 * V


@inner
def gather_limbs(destination, rows, words):
    """`gather` for rows of any length: nothing behind a row's last word is read."""
    whole = words // LANES * LANES
    gather(destination, rows, whole)
    for j in range(whole, words):
        for k in range(LANES):
            poke(destination + j * V + 8 * k, peek(np.intp(peek(rows + 8 * k)) + 8 * j))


@inner
def bit_fields(destination, step, limbs, words, width, count):
    """`count` fields of `width` <= 52 bits of `words` vectors of limbs, `step` bytes apart; zero past the last limb."""
    mask = splat(np.uint64((1 << width) - 1))
    for i in range(count):
        at, shift = i * width >> 6, i * width & 63
        value = splat(np.uint64(0))
        if at < words:
            value = shift_right(load(limbs, at), splat(np.uint64(shift)))
            if shift + width > 64 and at + 1 < words:
                value = xor(value, shift_left(load(limbs, at + 1), splat(np.uint64(64 - shift))))
        store(destination + i * step, 0, and_(value, mask))


@inner
def limbs_to_digits(destination, limbs, group, digits, rows, spare):
    """Rows of host limbs -> a lane group of `digits` digits; lanes past the last row take the first."""
    point_rows(rows, limbs.ctypes.data, limbs.shape[1], group * LANES, limbs.shape[0], limbs.ctypes.data)
    gather_limbs(spare, rows, limbs.shape[1])
    bit_fields(destination, V, spare, limbs.shape[1], 52, digits)


@inner
def digits_to_limbs(limbs, element, source, lane_words, digits):
    """52-bit digits of one lane, as rows of `lane_words` uint64 apart -> host limbs of row `element`."""
    count = limbs.shape[1]
    for at in range(count):
        low = 64 * at // 52
        value = np.uint64(0)
        for i in range(low, low + 3):
            shift = 52 * i - 64 * at
            if i < digits and shift < 64:
                digit = source[i * lane_words]
                value |= digit >> np.uint64(-shift) if shift < 0 else digit << np.uint64(shift)
        limbs[element, at] = value


@kernel
def split_windows(out, limbs, window, scratch):
    """out[w, i] = bits w*window .. (w+1)*window-1 of row i, window <= 52; zero past the last limb. Shifts and masks.

    Columns are a multiple of LANES; those past the last row repeat the first. Scratch: a vector a limb and one more.
    """
    rows, spare = scratch.ctypes.data, scratch.ctypes.data + 8 * LANES
    windows, columns = out.shape
    for g in range(columns // LANES):
        point_rows(rows, limbs.ctypes.data, limbs.shape[1], g * LANES, limbs.shape[0], limbs.ctypes.data)
        gather_limbs(spare, rows, limbs.shape[1])
        bit_fields(out.ctypes.data + g * V, 8 * columns, spare, limbs.shape[1], window, windows)


@kernel
def import_limbs(out, limbs, context, to0, to1, length, kind, first, last, scratch):
    """Host limbs below the modulus -> Montgomery form.

    x = low + high*R with both below R; low*R = (low * (R^2)) / R and high*R^2 = (high * (R^3)) / R, with to0 = R^2
    and to1 = R^3 in element form, so no division is needed. (A plain modulus has no high part.)
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, a, b = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2)
    for g in range(first, last):
        limbs_to_digits(x, limbs, g, length if kind == PLAIN else 2 * length, rows, slot(base, length, 3))
        if kind == PLAIN:
            multiply_plain(a, x, to0.ctypes.data, c, length, w)
        else:
            multiply_single(a, x, to0.ctypes.data, c, length, w)
            multiply_single(b, x + length * V, to1.ctypes.data, c, length, w)
            for h in range(2):
                o = h * length * V
                for j in range(length):
                    store(a + o, j, add(load(a + o, j), load(b + o, j)))
                normalise(a + o, a + o, length)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(a, rows, out.shape[1])


@kernel
def export_limbs(limbs, a, context, length, kind, first, last, scratch):
    """Montgomery form -> canonical host limbs."""
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, y = slot(base, length, 0), slot(base, length, 1)
    digits = length if kind == PLAIN else 2 * length
    flat = np.empty(2 * length * LANES, np.uint64)
    for g in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
        gather(x, rows, a.shape[1])
        canonical(y, x, c, length, kind, w)
        copy(flat.ctypes.data, y, digits)
        for k in range(LANES):
            if g * LANES + k < a.shape[0]:
                digits_to_limbs(limbs, g * LANES + k, flat[k:], LANES, digits)


@kernel
def multiply_arrays(out, a, b, same, context, length, kind, first, last, scratch):
    """out = a*b row by row; `same` marks b as a, which a squaring serves."""
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, y = slot(base, length, 0), slot(base, length, 1)
    for g in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
        after = 8 * (g + 1) * LANES * a.shape[1]
        next_a, next_b, next_out = a.ctypes.data + after, b.ctypes.data + after, out.ctypes.data + after
        if kind == SQUARE and paired(length):
            gather_recoded(w, A, rows, 0, length)
            gather_recoded(w, B if same else C, rows, length, length)
            if same:
                square_lots(w, x, next_a, next_out, c, length)
            else:
                point_rows(rows, b.ctypes.data, b.shape[1], g * LANES, b.shape[0], b.ctypes.data)
                gather_recoded(w, B, rows, 0, length)
                gather_recoded(w, D, rows, length, length)
                multiply_lots(w, x, next_a, next_b, next_out, c, length)
        elif same:
            gather(x, rows, a.shape[1])
            square_element(x, x, c, length, kind, w)
        else:
            gather(x, rows, a.shape[1])
            point_rows(rows, b.ctypes.data, b.shape[1], g * LANES, b.shape[0], b.ctypes.data)
            gather(y, rows, b.shape[1])
            multiply_element(x, x, y, c, length, kind, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(x, rows, out.shape[1])


@kernel
def encode_messages(out, messages, times, context, length, first, last, scratch):
    """(1 + m*n) * times modulo n^2 in two half-size products a row; an empty `times` stands for 1."""
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, u = slot(base, length, 0), slot(base, length, 1)
    for g in range(first, last):
        limbs_to_digits(u, messages, g, length, rows, slot(base, length, 2))
        if times.shape[0] == 0:
            copy(x, ONE(c, length), 2 * length)
        else:
            point_rows(rows, times.ctypes.data, times.shape[1], g * LANES, times.shape[0], times.ctypes.data)
            gather(x, rows, times.shape[1])
        multiply_one_plus(x, x, u, c, length, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(x, rows, out.shape[1])


@inner
def combine_singles(total, parts, constants, count, part_length, c, length, scratch_element, w):
    """total <- sum of parts[i] * constants[i] / R: singles of part_length digits times constants in element form.

    At most four terms below 3n + 3 each: loose. One more product, by R in element form (1), brings it below 2n.
    """
    zero(total, 2 * length)
    for i in range(count):
        multiply_single(scratch_element, parts + i * part_length * V, constants + i * 2 * length * V, c, length, w)
        for j in range(2 * length):
            store(total, j, add(load(total, j), load(scratch_element, j)))
    normalise(total, total, length)
    normalise(total + length * V, total + length * V, length)
    multiply_element(total, total, ONE(c, length), c, length, 1, w)


@kernel
def reduce_arrays(out, a, constants, context, length, part, first, last, scratch):
    """n^2 -> p^2 with n = p*q, both in Montgomery form, without a division.

    `a` has 2*part digits x0, x1 (part = L of n). x = x0 + x1*n; each component splits at R_p into two singles below
    R_p: four singles, times the constants R_p^2/R_n, R_p^3/R_n and n times these, modulo p^2.
    """
    top = max(length, part)
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, top), rows_at(base, top)
    x, y, t = slot(base, top, 0), slot(base, top, 2), slot(base, top, 4)
    parts = slot(base, top, 5)
    for g in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
        gather(x, rows, a.shape[1])
        zero(parts, 4 * length)
        for h in range(2):
            copy(parts + 2 * h * length * V, x + h * part * V, part)
        combine_singles(y, parts, constants.ctypes.data, 4, length, c, length, t, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, top, 7))
        scatter(y, rows, out.shape[1])


@inner
def times_one_plus(x, m, shares, c, length, w, factor):
    """x1 <- x1 + x0*(m*q mod p): x*(1 + m*n) modulo p^2, for n = p*q and a message of 2L digits; x1 below 18p.

    m = low + high*R, and the shares q*R^2, q*R^3 modulo p give m*q*R in one reduction, below 3p.
    """
    size = length * V
    multiply_two(w, factor, m, shares, m + size, shares + size, N(c), c, w + 4 * size, length)
    multiply_plain(factor, factor, x, c, length, w)
    for j in range(length):
        store(x + size, j, add(load(x + size, j), load(factor, j)))
    normalise(x + size, x + size, length)


@kernel
def lift_arrays(
    out, a_p, a_q, messages, shares, constants, context_p, context_q, context, length, part, first, last, scratch
):
    """p^2 and q^2 -> n^2 by the idempotents: x = a_p*E_p + a_q*E_q, E_p = 1 mod p^2 and 0 mod q^2; where there are
    messages, times 1 + m*n.

    a_p stands as x0 + x1*p, components below 18p in Montgomery form: an integer below 19p^2, congruent to R_p times
    what it means, and a single, for 19(p^2 + q^2) < R_n. The constants, E_p*R_n^2/R_p and E_q*R_n^2/R_p, take R_p off
    again.
    """
    top = max(length, part)
    base = scratch.ctypes.data
    w, rows = work(base, top), rows_at(base, top)
    x, integer, y = slot(base, top, 0), slot(base, top, 1), slot(base, top, 2)
    m, factor, parts, spare = slot(base, top, 3), slot(base, top, 4), slot(base, top, 5), slot(base, top, 6)
    zero(parts, 2 * length)
    for g in range(first, last):
        if messages.shape[0] > 0:
            limbs_to_digits(m, messages, g, 2 * part, rows, spare)
        for h in range(2):
            a = a_p if h == 0 else a_q
            ch = context_p.ctypes.data if h == 0 else context_q.ctypes.data
            point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
            gather(x, rows, a.shape[1])
            if messages.shape[0] > 0:
                times_one_plus(x, m, shares.ctypes.data + 2 * h * part * V, ch, part, w, factor)
            join(integer, x, ch, part, w)
            copy(parts + h * length * V, integer, min(length, 2 * part))
        multiply_two_singles(y, parts, parts + length * V, constants.ctypes.data, context.ctypes.data, length, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, top, 7))
        scatter(y, rows, out.shape[1])


@inner
def log_quotient(out, x, factor, c, length, w, t):
    """out <- L(x/R) * factor/R mod n, canonical, for x/R = 1 + L*n modulo n^2 (L(x) = (x-1)/n)."""
    zero(t, 2 * length)
    one = out
    zero(one, length)
    store(one, 0, splat(np.uint64(1)))
    multiply_single(t, one, x, c, length, w)
    split_canonical(t, c, length)
    multiply_plain(out, t + length * V, factor, c, length, w)
    subtract_if_not_below(out, N(c), length)


@kernel
def decode_arrays(limbs, a_p, a_q, h_p, h_q, p_inverse, q_multiple, context_p, context_q, length, first, last, scratch):
    """Messages from c^(p-1) mod p^2 and c^(q-1) mod q^2.

    m_p = L(a_p)*h_p mod p, m_q likewise; m = m_p + p*((m_q - m_p)*p^-1 mod q). q_multiple, a multiple of q that is at
    least p, keeps the difference non-negative; factors come in Montgomery form (times R mod p or q).
    """
    base = scratch.ctypes.data
    w, rows = work(base, length), rows_at(base, length)
    x, t, mp, mq = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2), slot(base, length, 3)
    h, m = slot(base, length, 4), slot(base, length, 5)
    flat = np.empty(2 * length * LANES, np.uint64)
    cp, cq = context_p.ctypes.data, context_q.ctypes.data
    for g in range(first, last):
        point_rows(rows, a_p.ctypes.data, a_p.shape[1], g * LANES, a_p.shape[0], a_p.ctypes.data)
        gather(x, rows, a_p.shape[1])
        log_quotient(mp, x, h_p.ctypes.data, cp, length, w, t)
        point_rows(rows, a_q.ctypes.data, a_q.shape[1], g * LANES, a_q.shape[0], a_q.ctypes.data)
        gather(x, rows, a_q.shape[1])
        log_quotient(mq, x, h_q.ctypes.data, cq, length, w, t)
        k = splat(np.uint64(0))
        for j in range(length):
            v = add(add(sub(load(mq, j), load(mp, j)), load(q_multiple.ctypes.data, j)), k)
            store(t, j, low_digit(v))
            k = borrow(v)
        multiply_plain(h, t, p_inverse.ctypes.data, cq, length, w)
        subtract_if_not_below(h, N(cq), length)
        zero(w, 2 * length)
        copy(w, mp, length)
        product(w, N(cp), h, length)
        normalise(m, w, 2 * length)
        copy(flat.ctypes.data, m, 2 * length)
        for k_ in range(LANES):
            if g * LANES + k_ < limbs.shape[0]:
                digits_to_limbs(limbs, g * LANES + k_, flat[k_:], LANES, 2 * length)


@kernel
def decode_bounded(limbs, a_p, h_p, bound, context_p, length, first, last, scratch):
    """(m + bound) mod p from c^(p-1) mod p^2, m = L(a_p)*h_p mod p, for bound < p: a sum below 2p, compared once."""
    base = scratch.ctypes.data
    w, rows = work(base, length), rows_at(base, length)
    x, t, m = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2)
    flat = np.empty(length * LANES, np.uint64)
    c = context_p.ctypes.data
    for g in range(first, last):
        point_rows(rows, a_p.ctypes.data, a_p.shape[1], g * LANES, a_p.shape[0], a_p.ctypes.data)
        gather(x, rows, a_p.shape[1])
        log_quotient(m, x, h_p.ctypes.data, c, length, w, t)
        for j in range(length):
            store(m, j, add(load(m, j), load(bound.ctypes.data, j)))
        normalise(m, m, length)
        subtract_if_not_below(m, N(c), length)
        copy(flat.ctypes.data, m, length)
        for k in range(LANES):
            if g * LANES + k < limbs.shape[0]:
                digits_to_limbs(limbs, g * LANES + k, flat[k:], LANES, length)


@kernel
def logarithms(limbs, a, context, length, first, last, scratch):
    """u with a = 1 + u*n modulo n^2, as host limbs of n; whatever stands beside the 1 modulo n is not looked at."""
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, t, one = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2)
    flat = np.empty(length * LANES, np.uint64)
    zero(one, length)
    store(one, 0, splat(np.uint64(1)))
    for g in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
        gather(x, rows, a.shape[1])
        multiply_single(t, one, x, c, length, w)
        split_canonical(t, c, length)
        copy(flat.ctypes.data, t + length * V, length)
        for k in range(LANES):
            if g * LANES + k < limbs.shape[0]:
                digits_to_limbs(limbs, g * LANES + k, flat[k:], LANES, length)
