"""What the kernels of `integer` are made of, through primitives.c: moves, carries, passes over columns, comparisons."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.kernels.conftest import fixed
from tests.kernels.device.conftest import HOST_SHAPES
from tests.kernels.device.host import DivergedError, Guarded
from tests.kernels.device.lab import LATE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.kernels.device.host import HostProgram, Words
    from tests.kernels.device.lab import Shape

TERMS = 3  # that a pass may add to a column


def full(shape: Shape, rows: Sequence[Sequence[int]], dtype: type[np.generic] = np.uint32) -> Words:
    """Rows for every integer of a block; the last is repeated."""
    integers = shape.block // shape.lanes
    assert 0 < len(rows) <= integers
    return np.array([rows[min(i, len(rows) - 1)] for i in range(integers)], dtype=dtype)


def blocks(shape: Shape, rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    integers = shape.block // shape.lanes
    return [rows[start : start + integers] for start in range(0, len(rows), integers)]


def digit_rows(shape: Shape) -> list[list[int]]:
    """Digits of up to 2^radix + 2^9: all of them as large as that, or carries that run through all lanes."""
    width, mask, limit = shape.width, (1 << shape.radix) - 1, (1 << shape.radix) + LATE
    return [
        [0] * width,
        [limit] * (width - 1) + [3],
        [mask + 1] + [mask] * (width - 2) + [0],
        [0] * (width - 2) + [limit, 1],
        [fixed(f"digit {j}", 40) % (limit + 1) for j in range(width - 1)] + [0],
    ]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("products", "reduce"), [(0, 1), (1, 1), (2, 1), (1, 0)])
def test_pass(shape: Shape, host: HostProgram, products: int, reduce: int, backwards: bool) -> None:
    width, radix = shape.width, 1 << shape.radix * shape.width
    n, mask = radix - 1, (1 << shape.radix) - 1  # all digits ones, and 1 = -1/n
    rows = [[mask + 1 + LATE] * width, *digit_rows(shape)]
    for late, other in itertools.product(blocks(shape, rows), blocks(shape, rows[::-1])):
        x, u, y, v = (full(shape, chosen) for chosen in (late, late, other, late))
        products_of = [
            [shape.value_of(a) * shape.value_of(b) for a, b in zip(left, right, strict=True)]
            for left, right in ((x, u), (y, v))
        ]
        # Start values that make every digit of m one less than 2^radix, where the sums are the largest.
        sums = [sum(terms[:products]) for terms in zip(*products_of, strict=True)]
        start = [(-1 - total) % radix if reduce else 0 for total in sums]
        columns = full(shape, [shape.digits_of(value) for value in start], np.uint64)
        low = Guarded(len(x) * width)
        modulus = np.array([*shape.digits_of(n), *[0] * width], dtype=np.uint32)
        arguments = (columns, x, u, y, v, low.words, products, reduce, 1, modulus, 1, len(x))
        host.launch("run_pass", shape.block, *arguments, backwards=backwards)
        for i, (total, begin) in enumerate(zip(sums, start, strict=True)):
            s = total + begin
            kept = -s * pow(n, -1, radix) % radix if reduce else s % radix
            assert shape.value_of(columns[i]) == (s + kept * n * reduce) // radix
            assert low.checked().reshape(-1, width)[i].tolist() == shape.digits_of(kept)


def test_columns_hold_what_a_pass_may_add(shape: Shape) -> None:
    limit = (1 << shape.radix) + LATE
    assert TERMS * shape.width * limit**2 + (1 << 39) < 1 << 64


def test_carry_columns(shape: Shape, host: HostProgram) -> None:
    width, limit = shape.width, TERMS * shape.width * ((1 << shape.radix) + LATE) ** 2
    top = [1 << 20, 5, 0]  # so that the value stays below R
    rows = [
        [0] * width,
        [limit] * (width - 3) + top,
        [(1 << 64) - (1 << 38)] * (width - 3) + top,
        [fixed(f"column {j}", 80) % limit for j in range(width - 3)] + top,
    ]
    for some in blocks(shape, rows):
        columns = full(shape, some, np.uint64)
        out = Guarded(columns.size)
        host.launch("run_carry_columns", shape.block, out.words, columns)
        digits = out.checked().reshape(columns.shape)
        assert int(digits.max()) <= 1 << shape.radix
        assert [shape.value_of(row) for row in digits] == [shape.value_of(row) for row in columns]


@pytest.mark.parametrize("primitive", ["normalise", "settle"])
def test_normal_digits(shape: Shape, host: HostProgram, primitive: str) -> None:
    rows = digit_rows(shape)
    for some in blocks(shape, [*rows, *([2 * digit for digit in row] for row in rows)]):
        x = full(shape, some)
        values = [shape.value_of(row) for row in x]
        host.launch(f"run_{primitive}", shape.block, x)
        assert [shape.value_of(row) for row in x] == values
        assert int(x.max()) <= (1 << shape.radix) - 1 + (LATE + 1 if primitive == "settle" else 0)


def test_subtract_once(shape: Shape, host: HostProgram) -> None:
    top = (1 << shape.radix * shape.width - 6) - 1
    for n in (top, 1 << (top.bit_length() - 1), 3, fixed(f"n {shape}", top.bit_length() - 1) | 1):
        values = [0, 1, n - 1, n, n + 1, 2 * n - 1, fixed("below", 9000) % n]
        modulus = np.array(shape.digits_of(n), dtype=np.uint32)
        for some in blocks(shape, [shape.digits_of(value) for value in values]):
            x = full(shape, some)
            before = [shape.value_of(row) for row in x]
            flags = Guarded(shape.block)
            host.launch("run_subtract_once", shape.block, x, flags.words, modulus)
            assert [shape.value_of(row) for row in x] == [value % n for value in before]
            assert int(x.max()) < 1 << shape.radix
            expected = [0xFFFFFFFF if value >= n else 0 for value in before for _ in range(shape.lanes)]
            assert flags.checked().tolist() == expected


def test_is_zero(shape: Shape, host: HostProgram) -> None:
    places = {0, shape.digits - 1, shape.width - 1}
    rows = [[0] * shape.width, *([int(j == place) << 27 for j in range(shape.width)] for place in places)]
    for some in blocks(shape, rows):
        x, flags = full(shape, some), Guarded(shape.block)
        host.launch("run_is_zero", shape.block, flags.words, x)
        assert flags.checked().tolist() == [0 if row.any() else 0xFFFFFFFF for row in x for _ in range(shape.lanes)]


@pytest.mark.parametrize("backwards", [False, True])
def test_moves(shape: Shape, host: HostProgram, backwards: bool) -> None:
    width, integers = shape.width, shape.block // shape.lanes
    stride, offset, count = 2 * width + 1, width + 1, integers + 1
    rows = np.arange(count * stride, dtype=np.uint32).reshape(count, stride)
    index = np.array([fixed(f"index {i}", 32) % count for i in range(count)], dtype=np.uint32)
    chosen = {0: np.arange(count), 1: index.astype(int), 2: np.zeros(count, dtype=int)}
    for choice, source in chosen.items():
        out = Guarded(count * stride)
        expected = out.words.reshape(count, stride).copy()
        arguments = (out.words, rows, choice, index if choice == 1 else None, stride, offset, count)
        host.launch("run_move", count * shape.lanes, *arguments, backwards=backwards)
        expected[:, offset : offset + width] = rows[source][:, offset : offset + width]
        assert (out.checked().reshape(count, stride) == expected).all()


def test_divergence_is_caught(host_program: Callable[[Shape, bool], HostProgram]) -> None:
    shape = next(shape for shape in HOST_SHAPES if shape.lanes > 1 and shape.block > 32)
    host, out = host_program(shape, True), Guarded(2 * shape.block)
    host.launch("run_wrong", 2 * shape.block, out.words, 0)
    expected = [t - t % shape.lanes + shape.lanes - 1 for t in range(shape.block)]
    assert out.checked().tolist() == 2 * expected
    for wrong in (1, 2, 3):
        with pytest.raises(
            DivergedError, match=r"block 0 diverged: thread 0 waits at primitives\.c:\d+, thread \d+ at"
        ):
            host.launch("run_wrong", shape.block, out.words, wrong)
