"""Exponentiation: fixed windows over any base, and tables for one public base.

Secret exponents enter as vectors of window digits and never leave vectors: tables are read whole, by compare and
select (any base) or by register permutes over a digit-major table (fixed base).

A fixed-base table modulo n^2 holds its entries in logarithmic form, t = t0 * (1 + u*n) with t0 < n: the product of
entries is the product of the singles t0 (four half-size products each, not five) times 1 + n * (sum of u), and the
sum costs additions alone. See `multiply_single` and `multiply_one_plus`.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.batch import area, rows_at, slot, work
from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.elements import (
    ONE,
    PLAIN,
    SQUARE,
    V,
    copy,
    gather,
    multiply_element,
    multiply_one_plus,
    multiply_plain,
    multiply_single,
    normalise,
    pair_singles,
    point_rows,
    scaled_multiply,
    scaled_one_plus,
    scatter,
    square_element,
    zero,
)
from hecore.kernels.cpu.lookup import (
    BYTES_FROM,
    FEW,
    add_table_bytes,
    read_powers_whole,
    read_table,
    read_table_bytes,
    read_table_four,
    row_bytes,
)
from hecore.kernels.cpu.lookup import GROUPS as SHARED_READS
from hecore.kernels.cpu.vector import (
    LANES,
    add,
    load,
    peek,
    poke,
    select_equal,
    splat,
    store,
)


@inner
def read_powers_vartime(destination, table, digits, indices):
    """As above for public indices, by address."""
    for k in range(LANES):
        entry = table + np.intp(peek(indices + 8 * k)) * digits * V + 8 * k
        for d in range(digits):
            poke(destination + d * V + 8 * k, peek(entry + d * V))


@kernel
def exponentiate(out, a, index, shared, bits, whole, context, length, kind, first, last, scratch):
    """out = a**e, windows of `bits` bits, most significant first in `index` (windows, columns) uint64.

    `shared` marks an index of LANES columns that serves every group; `whole` reads tables whole (constant time).
    The scratch holds 2**bits elements beyond `area`.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    digits = length if kind == PLAIN else 2 * length
    x, t = slot(base, length, 0), slot(base, length, 1)
    size = digits * V
    table = base + area(length) * V
    columns = index.shape[1]
    entries = 1 << bits
    for g in range(first, last):
        point_rows(rows, a.ctypes.data, a.shape[1], g * LANES, a.shape[0], a.ctypes.data)
        gather(x, rows, a.shape[1])
        copy(table, ONE(c, length), digits)
        copy(table + size, x, digits)
        for i in range(2, entries, 2):
            square_element(table + i * size, table + (i // 2) * size, c, length, kind, w)
            multiply_element(table + (i + 1) * size, table + i * size, table + size, c, length, kind, w)
        for window in range(index.shape[0]):
            at = index.ctypes.data + 8 * (window * columns + (0 if shared else g * LANES))
            if whole:
                read_powers_whole(t, table, entries, digits, at)
            else:
                read_powers_vartime(t, table, digits, at)
            if window == 0:
                copy(x, t, digits)
                continue
            for _ in range(bits):
                square_element(x, x, c, length, kind, w)
            multiply_element(x, x, t, c, length, kind, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(x, rows, out.shape[1])


@inner
def absorb(x, u, t, fresh, c, length, kind, w):
    """Multiply the running product (x, sum of logarithms u) by the table entry t."""
    size = length * V
    if kind == PLAIN:
        if fresh:
            copy(x, t, length)
        else:
            multiply_plain(x, x, t, c, length, w)
        return
    if fresh:
        copy(x, t, length)
        zero(x + size, length)
        copy(u, t + size, length)
        return
    multiply_single(x, t, x, c, length, w)
    for j in range(length):
        store(u, j, add(load(u, j), load(t + size, j)))


@inner
def finish(x, u, c, length, kind, w):
    """x * (1 + n*u): MAX_WINDOWS logarithms below n make u < 2^11 n < R, and its columns stay below 2^63."""
    if kind == SQUARE:
        normalise(u, u, length)
        multiply_one_plus(x, x, u, c, length, w)


MAX_WINDOWS = 1 << 11
STATE_BYTES = 1 << 21  # running products, streamed past one window's table after the other


def walk_groups(length: int) -> int:
    """Lane groups that walk the windows of a table together, so that each window is fetched once for all of them:
    tables lie in memory, products at worst in the third-level cache.
    """
    return max(SHARED_READS, STATE_BYTES // (3 * length * V) // SHARED_READS * SHARED_READS)


def fixed_base_vectors(length: int) -> int:
    """Scratch beyond `area`: two entries a group of a shared read, then a product and a logarithm a walking group."""
    return SHARED_READS * 2 * length + walk_groups(length) * 3 * length


@inner
def read_window(destination, step, table, entries, digits, index, count):
    """Entries for `count` <= SHARED_READS lane groups, `step` bytes apart; of bytes for all of these."""
    if entries >= BYTES_FROM:
        read_table_bytes(destination, step, table, entries, digits, index)
        return
    whole = count // FEW * FEW
    for i in range(0, whole, FEW):
        read_table_four(destination + i * step, step, table, entries, digits, index + i * V)
    for i in range(whole, count):
        read_table(destination + i * step, table, entries, digits, index + i * V)


@inner
def add_window(destination, step, table, entries, digits, index, count, spare):
    """`read_window`, but what was read is added to the destinations' digits; spare holds SHARED_READS entries."""
    if entries >= BYTES_FROM:
        add_table_bytes(destination, step, table, entries, digits, index)
        return
    read_window(spare, digits * V, table, entries, digits, index, count)
    for i in range(count):
        for j in range(digits):
            to = destination + i * step
            store(to, j, add(load(to, j), load(spare + i * digits * V, j)))


@kernel
def fixed_base(out, table, entries, index, walk, context, length, kind, first, last, scratch):
    """base**e for window digits `index` (windows, columns), least significant first; columns a multiple of LANES, and
    of a shared read's where the table is one of bytes.

    `table` is flat (windows, digits, entries), its rows as `lookup` has them. `walk` lane groups take the windows in
    turn, SHARED_READS to a read: modulo a square two windows at a time, of which the first stands alone where their
    number is odd. There a group's state is its product in scaled form, then the sum of its logarithms, to which the
    reads add; the two windows' singles are multiplied with each other before they go on to the product.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    size = length * V
    half = row_bytes(entries) * length
    row = half if kind == PLAIN else 2 * half
    one = base + area(length) * V
    two = one + SHARED_READS * size
    state = two + SHARED_READS * size
    windows, columns = index.shape
    line, pair = slot(base, length, 0), slot(base, length, 1)
    step = 1 if kind == PLAIN else 2
    head = windows % step
    for start in range(first, last, walk):
        stop = min(start + walk, last)
        for turn in range((windows + step - 1) // step):
            window = max(turn * step - head, 0)
            alone = kind == PLAIN or (turn == 0 and head == 1)
            here = table.ctypes.data + window * row
            for g in range(start, stop, SHARED_READS):
                count = min(SHARED_READS, stop - g)
                at, to = index.ctypes.data + 8 * (window * columns + g * LANES), state + (g - start) * 3 * size
                if kind == SQUARE:
                    for i in range(SHARED_READS if turn == 0 else 0):
                        zero(to + i * 3 * size + 2 * size, length)
                    for ahead in range(1 if alone else 2):
                        logs, digits = here + ahead * row + half, at + ahead * 8 * columns
                        add_window(to + 2 * size, 3 * size, logs, entries, length, digits, count, one)
                read_window(one, size, here, entries, length, at, count)
                if not alone:
                    read_window(two, size, here + row, entries, length, at + 8 * columns, count)
                for i in range(count):
                    x, s, t = to + i * 3 * size, one + i * size, two + i * size
                    if turn == 0 and alone:
                        copy(x, s, length)
                        zero(x + size, length)
                    elif turn == 0:
                        pair_singles(x, s, t, c, length, w)
                    elif alone:
                        multiply_plain(x, x, s, c, length, w)
                    else:
                        pair_singles(pair, s, t, c, length, w)
                        scaled_multiply(x, x, pair, c, length, w)
        for g in range(start, stop):
            x = state + (g - start) * 3 * size
            if kind == SQUARE:
                normalise(x + 2 * size, x + 2 * size, length)
                scaled_one_plus(line, x, x + 2 * size, c, length, w)
            else:
                copy(line, x, length)
            point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
            scatter(line, rows, out.shape[1])


@inner
def exchange_lanes(destination, source, digits, step):
    """Lane k receives lane k xor step."""
    for d in range(digits):
        for k in range(LANES):
            poke(destination + d * V + 8 * k, peek(source + d * V + 8 * (k ^ step)))


@kernel
def fixed_base_spread(out, table, entries, index, offsets, spread, context, length, kind, scratch):
    """`fixed_base` for LANES // spread elements at most: the windows of one element share `spread` lanes.

    `index` (windows, LANES) holds in every lane the digit of that lane's element, windows padded to a multiple of
    `spread` with zeros; `offsets` holds k mod spread in lane k. Lane k multiplies windows k, k + spread, ...; the
    lanes' products are then multiplied across.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    digits = length if kind == PLAIN else 2 * length
    size = length * V
    entry = base + area(length) * V
    other, x, u = entry + 2 * size, entry + 4 * size, entry + 6 * size
    row = row_bytes(entries) * digits
    last_window = 8 * table.shape[0] // row - 1
    own = load(offsets.ctypes.data, 0)
    for start in range(0, index.shape[0], spread):
        for o in range(spread):
            window = start + o
            here = table.ctypes.data + min(window, last_window) * row
            read_table(other, here, entries, digits, index.ctypes.data + window * V)
            lane = splat(np.uint64(o))
            for d in range(digits):
                store(entry, d, select_equal(own, lane, load(other, d), load(entry, d)))
        absorb(x, u, entry, start == 0, c, length, kind, w)
    if kind == SQUARE:
        normalise(u, u, length)
    step = 1
    while step < spread:
        exchange_lanes(other, x, digits, step)
        multiply_element(x, x, other, c, length, kind, w)
        if kind == SQUARE:
            exchange_lanes(other, u, length, step)
            for j in range(length):
                store(u, j, add(load(u, j), load(other, j)))
            normalise(u, u, length)
        step *= 2
    finish(x, u, c, length, kind, w)
    line = slot(base, length, 0)
    copy(line, x, digits)
    for k in range(LANES):
        element = k // spread
        address = out.ctypes.data + 8 * element * out.shape[1]
        keep = k % spread == 0 and element < out.shape[0]
        poke(rows + 8 * k, np.uint64(address) if keep else np.uint64(slot(base, length, 7)))
    scatter(line, rows, out.shape[1])
