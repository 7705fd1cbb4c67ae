"""The staged primitives against Python integers, on columns and digits at the edges of what they may hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from hecore.arith.integers import invert
from hecore.kernels.cpu import montgomery
from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.context import empty_vectors
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES
from tests.kernels.conftest import chunks, columns, digits, fixed, garbage, pack

COLUMN = (1 << 54) - 1  # what callers put into a column: a bias, sums of a few digits


@cache
def primitive(name: str, rows: int) -> Any:
    """The staged function, callable on addresses."""
    f = getattr(montgomery, f"make_{name}")(rows)
    wrappers: dict[str, Any] = {
        "multiply": lambda acc, a, b, n, k0, m, length: f(acc, a, b, n, k0, m, length),
        "multiply_two": lambda acc, a, b, c, d, n, k0, length: f(acc, a, b, c, d, n, k0, length),
        "reduce": lambda acc, n, k0, m, length: f(acc, n, k0, m, length),
        "product": lambda acc, a, b, length: f(acc, a, b, length),
        "square": lambda acc, a, length: f(acc, a, length),
    }
    call = inner(wrappers[name])
    return lambda *arguments: call(*(x if isinstance(x, int) else x.ctypes.data for x in arguments))


def accumulator(length: int, fill: int, *, width: int | None = None) -> Any:
    """2L columns, the first `width` (default L) at `fill`, the others not to be read."""
    acc = garbage(2 * length)
    acc[: (length if width is None else width) * LANES] = fill
    return acc


def factor(n: int, radix: int) -> Any:
    return pack([-invert(n, radix) % (1 << DIGIT_BITS)], 1)


LENGTHS = (4, 6, 8, 22, 24, 40, 164)
SHAPES = [(length, rows) for length in LENGTHS for rows in (2, 4) if length % rows == 0]
by_rows = pytest.mark.parametrize(("length", "rows"), SHAPES)
by_more_than_rows = pytest.mark.parametrize(("length", "rows"), [(n, rows) for n, rows in SHAPES if n > rows])


def operands(length: int) -> list[int]:
    """Digits at the edges: all ones, one digit of ones in the middle or on top, 0, 1, random."""
    radix = 1 << DIGIT_BITS * length
    middle = DIGIT_MASK << DIGIT_BITS * (length // 2)
    return [radix - 1, DIGIT_MASK << DIGIT_BITS * (length - 1), middle, 0, 1, fixed(f"x {length}", 52 * length)]


def odd_moduli(length: int) -> list[int]:
    """Any odd n below R serves the primitives; that it leaves slack is the element functions' need."""
    radix = 1 << DIGIT_BITS * length
    return [radix - 1, 1, radix // 2 + 1, fixed(f"odd {length}", 52 * length) | 1]


@pytest.mark.parametrize("fill", [0, COLUMN])
@by_more_than_rows
def test_multiply(length: int, rows: int, fill: int) -> None:
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        cases = [(a, b) for a in operands(length) for b in operands(length)]
        for a, b in chunks(cases):
            acc, m = accumulator(length, fill), garbage(length)
            start = columns(acc, 0, length)
            primitive("multiply", rows)(
                acc, pack(a, length), pack(b, length), pack([n], length), factor(n, radix), m, length
            )
            kept, out = digits_of_m(m, length), columns(acc, length, length)
            for k in range(LANES):
                assert kept[k] == -(start[k] + a[k] * b[k]) * invert(n, radix) % radix
                assert out[k] * radix == start[k] + a[k] * b[k] + kept[k] * n


def digits_of_m(m: Any, length: int) -> list[int]:
    """m as kept: the low 52 bits of every word are its digits."""
    return digits(m, 0, length)


@pytest.mark.parametrize("fill", [0, COLUMN])
def test_multiply_two(length: int, fill: int) -> None:
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        values = operands(length)
        cases = [
            (a, b, values[(i + 3) % 6], values[(j + 1) % 6]) for i, a in enumerate(values) for j, b in enumerate(values)
        ]
        cases.append((radix - 1,) * 4)
        for a, b, c, d in chunks(cases):
            acc = accumulator(length, fill)
            start = columns(acc, 0, length)
            packed = [pack(x, length) for x in (a, b, c, d, [n])]
            primitive("multiply_two", 2)(acc, *packed, factor(n, radix), length)
            out = columns(acc, length, length)
            for k in range(LANES):
                total = start[k] + a[k] * b[k] + c[k] * d[k]
                m = -total * invert(n, radix) % radix
                assert out[k] * radix == total + m * n


@pytest.mark.parametrize("fill", [0, COLUMN])
@by_rows
def test_reduce(length: int, rows: int, fill: int) -> None:
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        for (value,) in chunks([(x,) for x in [*operands(2 * length), *operands(length)]]):
            acc, m = pack(value, 2 * length), garbage(length)
            acc += np.uint64(fill)
            start = columns(acc, 0, 2 * length)
            primitive("reduce", rows)(acc, pack([n], length), factor(n, radix), m, length)
            kept, out = digits_of_m(m, length), columns(acc, length, length)
            for k in range(LANES):
                assert kept[k] == -start[k] * invert(n, radix) % radix
                assert out[k] * radix == start[k] + kept[k] * n


@pytest.mark.parametrize("fill", [0, COLUMN])
@by_rows
def test_product(length: int, rows: int, fill: int) -> None:
    for a, b in chunks([(a, b) for a in operands(length) for b in operands(length)]):
        acc = accumulator(length, fill)
        start = columns(acc, 0, length)
        primitive("product", rows)(acc, pack(a, length), pack(b, length), length)
        out = columns(acc, 0, 2 * length)
        assert out == [start[k] + a[k] * b[k] for k in range(LANES)]


@by_rows
def test_square(length: int, rows: int) -> None:
    for (a,) in chunks([(a,) for a in operands(length)]):
        acc = accumulator(length, 0)
        primitive("square", rows)(acc, pack(a, length), length)
        assert columns(acc, 0, 2 * length) == [a[k] ** 2 for k in range(LANES)]


def test_no_column_overflows_at_the_largest_length() -> None:
    """Every digit 2^52 - 1 in every operand, every column at its largest start, MAX_DIGITS columns."""
    length = montgomery.MAX_DIGITS
    radix = 1 << DIGIT_BITS * length
    ones = pack([radix - 1], length)
    acc = accumulator(length, COLUMN)
    start = columns(acc, 0, length)[0]
    primitive("multiply_two", 2)(acc, ones, ones, ones, ones, ones, factor(radix - 1, radix), length)
    total = start + 2 * (radix - 1) ** 2
    m = -total * invert(radix - 1, radix) % radix
    assert columns(acc, length, length) == [(total + m * (radix - 1)) // radix] * LANES


def test_lanes_do_not_mix() -> None:
    """Changing one lane changes nothing in the others."""
    length = 8
    values = [fixed(f"lane {k}", 52 * length) for k in range(LANES)]

    def run(a: list[int]) -> list[int]:
        acc = accumulator(length, 0)
        primitive("square", 4)(acc, pack(a, length), length)
        return columns(acc, 0, 2 * length)

    before = run(values)
    for k in range(LANES):
        changed = [value ^ (1 if i == k else 0) for i, value in enumerate(values)]
        after = run(changed)
        assert [i for i in range(LANES) if before[i] != after[i]] == [k]


def test_the_work_memory_is_not_read(length: int) -> None:
    """The columns that a pass says are fresh hold garbage above, and so does memory here: same result for both."""
    radix = 1 << DIGIT_BITS * length
    n, value = radix - 1, operands(length)[-1]
    results = []
    for fill in (0, 1 << 63):
        acc, m = empty_vectors(2 * length), empty_vectors(length)
        acc[:], m[:] = fill, fill
        acc[: length * LANES] = 0
        packed = pack([value], length)
        primitive("multiply", 2)(acc, packed, packed, pack([n], length), factor(n, radix), m, length)
        results.append(columns(acc, length, length))
    assert results[0] == results[1]
