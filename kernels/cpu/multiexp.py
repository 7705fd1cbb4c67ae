"""Products of powers, prod_j b_j^x_j, many at a time: Pippenger's buckets and Straus's interleaved windows.

Pippenger (1976; as in Bernstein, Duif, Lange, Schwabe, Yang 2012, section 4): for one window of digits d_j, multiply
each base into bucket |d_j|, then sum_b b*bucket_b by the running product. A lane is one (output, window, slice of
bases); every base costs one product whatever its digit (a zero goes to bucket 0, which nobody reads), so that the
operation count tells nothing of the digits. A negative digit takes the base's inverse.

Straus (1964): one accumulator an output, one table a base, read whole; constant time.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.batch import rows_at, slot, work
from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.elements import (
    ONE,
    PLAIN,
    copy,
    gather,
    multiply_element,
    multiply_single,
    point_rows,
    scatter,
    square_element,
)
from hecore.kernels.cpu.lookup import read_table
from hecore.kernels.cpu.vector import LANES, poke

SINGLE = 2  # element kind of the bases alone: modulo n^2, one component


@inner
def multiply_into(x, y, c, length, kind, w):
    """x <- x*y where y is of `kind`, which may be SINGLE."""
    if kind == SINGLE:
        multiply_single(x, y, x, c, length, w)
    else:
        multiply_element(x, x, y, c, length, kind, w)


@inner
def point_buckets(rows, buckets, stride, count, digits, lane_digits):
    """Row addresses of every lane's bucket |digit|; bucket b of lane k is row k*count + b."""
    for k in range(LANES):
        poke(rows + 8 * k, np.uint64(buckets + (k * count + abs(np.intp(lane_digits[k]))) * stride * 8))


@kernel
def pippenger(out, bases, digits, starts, buckets, bucket_count, context, length, kind, first, last, scratch):
    """out row g*LANES + k = prod_t bases[starts[g] + t] ** digits[g, t, k] for each lane group g in first .. last-1.

    bases: (2K, words) rows, row K + j the inverse of row j; digits (groups, steps, LANES) int16; buckets
    (LANES*bucket_count, element words) scratch. Digits lie in (-bucket_count, bucket_count).
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    element = PLAIN if kind == PLAIN else 1
    size = length if kind == PLAIN else 2 * length
    x, y, run, total = slot(base, length, 0), slot(base, length, 1), slot(base, length, 2), slot(base, length, 3)
    bucket_base, stride = buckets.ctypes.data, buckets.shape[1]
    inverse = bases.shape[0] // 2
    lane = np.empty(LANES, np.int16)
    for g in range(first, last):
        copy(x, ONE(c, length), size)
        for b in range(bucket_count):
            lane[:] = b
            point_buckets(rows, bucket_base, stride, bucket_count, size, lane)
            scatter(x, rows, stride)
        for t in range(digits.shape[1]):
            row = starts[g] + t
            for k in range(LANES):
                at = min(row, inverse - 1) + (inverse if digits[g, t, k] < 0 else 0)
                poke(rows + 8 * k, np.uint64(bases.ctypes.data + at * bases.shape[1] * 8))
            gather(y, rows, bases.shape[1])
            point_buckets(rows, bucket_base, stride, bucket_count, size, digits[g, t])
            gather(x, rows, stride)
            multiply_into(x, y, c, length, kind, w)
            scatter(x, rows, stride)
        for b in range(bucket_count - 1, 0, -1):
            lane[:] = b
            point_buckets(rows, bucket_base, stride, bucket_count, size, lane)
            gather(x, rows, stride)
            if b == bucket_count - 1:
                copy(run, x, size)
                copy(total, x, size)
            else:
                multiply_element(run, run, x, c, length, element, w)
                multiply_element(total, total, run, c, length, element, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(total, rows, out.shape[1])


@kernel
def join_windows(out, parts, bits, context, length, kind, first, last, scratch):
    """out[i] = prod_w parts[i, w] ** 2**(bits*w) by Horner's rule, for parts (m, windows, words) as elements."""
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, y = slot(base, length, 0), slot(base, length, 1)
    count, windows, words = parts.shape
    for g in range(first, last):
        for window in range(windows - 1, -1, -1):
            here = parts.ctypes.data + 8 * window * words
            point_rows(rows, here, windows * words, g * LANES, count, here)
            gather(y, rows, words)
            if window == windows - 1:
                copy(x, y, words)
                continue
            for _ in range(bits):
                square_element(x, x, c, length, kind, w)
            multiply_element(x, x, y, c, length, kind, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(x, rows, out.shape[1])


@kernel
def bucket_products(buckets, a, segments, bucket_count, context, length, kind, first, last, scratch):
    """Segmented product: lane k of the one group multiplies rows k, k+LANES, ... of `a` into its own buckets.

    buckets (LANES*bucket_count, words) start at 1 and are the result; rows first .. last-1 in steps of LANES.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    x, y = slot(base, length, 0), slot(base, length, 1)
    stride = buckets.shape[1]
    for start in range(first, last, LANES):
        point_rows(rows, a.ctypes.data, a.shape[1], start, last, a.ctypes.data)
        gather(y, rows, a.shape[1])
        for k in range(LANES):
            row = k * bucket_count + segments[start + k] if start + k < last else 0
            spare = slot(base, length, 6) + k * stride * 8
            poke(rows + 8 * k, np.uint64(buckets.ctypes.data + row * stride * 8 if start + k < last else spare))
        gather(x, rows, stride)
        multiply_element(x, x, y, c, length, kind, w)
        scatter(x, rows, stride)


@kernel
def straus(out, tables, entries, bits, index, context, length, kind, first, last, scratch):
    """out[i] = prod_j base_j ** x_ij; lanes are outputs; index (windows, bases, columns) most significant first.

    tables: flat (bases, digits, entries), digit-major; read whole.
    """
    base = scratch.ctypes.data
    c, w, rows = context.ctypes.data, work(base, length), rows_at(base, length)
    digits = length if kind == PLAIN else 2 * length
    x, t = slot(base, length, 0), slot(base, length, 1)
    windows, count, columns = index.shape
    for g in range(first, last):
        copy(x, ONE(c, length), digits)
        for window in range(windows):
            if window > 0:
                for _ in range(bits):
                    square_element(x, x, c, length, kind, w)
            for j in range(count):
                at = index.ctypes.data + 8 * ((window * count + j) * columns + g * LANES)
                read_table(t, tables.ctypes.data + 8 * j * digits * entries, entries, digits, at)
                multiply_element(x, x, t, c, length, kind, w)
        point_rows(rows, out.ctypes.data, out.shape[1], g * LANES, out.shape[0], slot(base, length, 7))
        scatter(x, rows, out.shape[1])


DOT_BLOCK = 64  # rows of `values` that stay in the first-level cache


@kernel
def add_products(columns, weights, values):
    """columns (m, t) += weights (m, k) @ values (k, t) in float64, one thread, no library: exact below 2^53."""
    m, k = weights.shape
    for start in range(0, k, DOT_BLOCK):
        for i in range(m):
            for j in range(start, min(start + DOT_BLOCK, k)):
                weight = weights[i, j]
                for t in range(columns.shape[1]):
                    columns[i, t] += weight * values[j, t]
