"""The staged primitives against Python integers, on columns and digits at the edges of what they may hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from hecore.arith.integers import invert
from hecore.kernels.cpu import montgomery, primitives
from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES
from tests.kernels.conftest import chunks, columns, digits, fixed, garbage, pack

COLUMN = (1 << 54) - 1  # what callers put into a column: a bias, sums of a few digits


@cache
def primitive(name: str, rows: int) -> Any:
    """The staged function, callable on addresses."""
    doubled = {"doubled": True} if "_twice_" in name else {}
    if name == "product":
        f = primitives.make_products(rows, 1, held=1)
    else:
        f = getattr(primitives, f"make_{name.replace('_twice', '')}")(rows, **doubled)
    wrappers: dict[int, Any] = {
        4: lambda a, b, c, d: f(a, b, c, d),
        6: lambda a, b, c, d, e, g: f(a, b, c, d, e, g),
        7: lambda a, b, c, d, e, g, h: f(a, b, c, d, e, g, h),
        8: lambda a, b, c, d, e, g, h, i: f(a, b, c, d, e, g, h, i),
        9: lambda a, b, c, d, e, g, h, i, j: f(a, b, c, d, e, g, h, i, j),
        10: lambda a, b, c, d, e, g, h, i, j, k: f(a, b, c, d, e, g, h, i, j, k),
        11: lambda a, b, c, d, e, g, h, i, j, k, m: f(a, b, c, d, e, g, h, i, j, k, m),
    }
    arguments = {"product": 4, "reduce": 6, "square": 7, "multiply": 8, "multiply_two": 10}.get(
        name, 7 if name.startswith("reduce") else 11 if "_two_" in name else 9
    )
    call = inner(wrappers[arguments])
    return lambda *values: call(*(x if isinstance(x, int) else x.ctypes.data for x in values))


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


def quotient_of(total: int, n: int, radix: int) -> tuple[int, int]:
    """m and (total + m*n)/R; what leaves the primitives is that modulo R."""
    m = -total * invert(n, radix) % radix
    return m, (total + m * n) // radix % radix


@by_more_than_rows
def test_multiply(length: int, rows: int) -> None:
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        for a, b in chunks([(a, b) for a in operands(length) for b in operands(length)]):
            acc, m, out = garbage(2 * length), garbage(length), garbage(length)
            packed = pack(a, length), pack(b, length), pack([n], length)
            primitive("multiply", rows)(acc, out, *packed, factor(n, radix), m, length)
            found = list(zip(digits(m, 0, length), digits(out, 0, length), strict=True))
            assert found == [quotient_of(x * y, n, radix) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("fill", [DIGIT_MASK, COLUMN])
@by_more_than_rows
def test_multiply_from(length: int, rows: int, fill: int) -> None:
    """Starts from columns that exceed a number's digits one by one."""
    radix = 1 << DIGIT_BITS * length
    plus = garbage(length)
    plus[:] = fill
    start = columns(plus, 0, length)[0]
    for n in odd_moduli(length):
        values = operands(length)
        cases = [(a, b, values[(i + 2) % 6]) for i, a in enumerate(values) for b in values]
        for a, b, minus in chunks(cases):
            acc, out = garbage(2 * length), garbage(length)
            packed = [pack(x, length) for x in (minus, a, b, [n])]
            primitive("multiply_from", rows)(acc, out, plus, *packed, factor(n, radix), length)
            expected = [quotient_of(start - d + x * y, n, radix)[1] for d, x, y in zip(minus, a, b, strict=True)]
            assert digits(out, 0, length) == expected


def four_operands(length: int) -> list[tuple[int, ...]]:
    values = operands(length)
    cases = [
        (a, b, values[(i + 3) % 6], values[(j + 1) % 6]) for i, a in enumerate(values) for j, b in enumerate(values)
    ]
    return [*cases, ((1 << DIGIT_BITS * length) - 1,) * 4]


@pytest.mark.parametrize("fill", [None, DIGIT_MASK, COLUMN])
def test_multiply_two(length: int, fill: int | None) -> None:
    radix = 1 << DIGIT_BITS * length
    plus = garbage(length)
    plus[:] = 0 if fill is None else fill
    for n in odd_moduli(length):
        minus = 0 if fill is None else operands(length)[-1]
        start = columns(plus, 0, length)[0] - minus
        for a, b, c, d in chunks(four_operands(length)):
            acc, out = garbage(2 * length), garbage(length)
            packed = [pack(x, length) for x in (a, b, c, d, [n])]
            between = [] if fill is None else [plus, pack([minus], length)]
            name = "multiply_two" if fill is None else "multiply_two_from"
            m = [garbage(length)] if fill is None else []
            primitive(name, 2)(acc, out, *between, *packed, factor(n, radix), *m, length)
            expected = [quotient_of(start + w * x + y * z, n, radix) for w, x, y, z in zip(a, b, c, d, strict=True)]
            assert digits(out, 0, length) == [value for _, value in expected]
            if m:
                assert digits(m[0], 0, length) == [value for value, _ in expected]


PLUS = [(*shape, name) for shape in SHAPES if shape[0] > shape[1] for name in ("multiply_plus", "multiply_twice_plus")]
PLUS += [(length, 2, "multiply_two_plus") for length in LENGTHS]


@pytest.mark.parametrize(("length", "rows", "name"), PLUS)
def test_multiply_plus_a_quotient(length: int, rows: int, name: str) -> None:
    """The quotient counts less K from R/2 on; all modulo R here."""
    radix, factor_ = 1 << DIGIT_BITS * length, 2 if name == "multiply_twice_plus" else 1
    for n in odd_moduli(length):
        k = radix // 2 // n * n
        for i, (a, b, c, d) in enumerate(chunks(four_operands(length))):
            quotients = [(radix // 2 - 1 + i + lane) % radix if lane % 2 else x for lane, x in enumerate(c)]
            acc, out = garbage(2 * length), garbage(length)
            given = (a, b, c, d, [n]) if name == "multiply_two_plus" else (a, b, [n])
            packed = [pack(x, length) for x in (quotients, [(radix - k) % radix], *given)]
            primitive(name, rows)(acc, out, *packed, factor(n, radix), length)
            for lane, value in enumerate(digits(out, 0, length)):
                total = a[lane] * b[lane] + (c[lane] * d[lane] if name == "multiply_two_plus" else 0)
                m = -total * invert(n, radix) % radix
                quotient = quotients[lane] - (k if quotients[lane] >= radix // 2 else 0)
                assert value == (factor_ * ((total + m * n) // radix) + quotient) % radix


@pytest.mark.parametrize("fill", [0, COLUMN])
@by_rows
def test_product(length: int, rows: int, fill: int) -> None:
    for a, b in chunks([(a, b) for a in operands(length) for b in operands(length)]):
        acc = accumulator(length, fill)
        start = columns(acc, 0, length)
        primitive("product", rows)(acc, pack(a, length), pack(b, length), length)
        out = columns(acc, 0, 2 * length)
        assert out == [start[k] + a[k] * b[k] for k in range(LANES)]


def some_columns(length: int, lowest: int, highest: int) -> Any:
    """2L signed columns: all at an edge, then as they come."""
    acc = garbage(2 * length)
    rows = acc.reshape(2 * length, LANES)
    for k in range(LANES):
        for j in range(2 * length):
            edge = (lowest, highest, lowest if j % 2 else highest)
            value = edge[k] if k < len(edge) else lowest + fixed(f"column {k} {j}", 60) % (highest - lowest + 1)
            rows[j, k] = value % (1 << 64)
    return acc


def signed_columns(acc: Any, length: int) -> list[int]:
    rows = acc.reshape(-1, LANES)[: 2 * length].astype("int64")
    return [sum(int(rows[j, k]) << DIGIT_BITS * j for j in range(2 * length)) for k in range(LANES)]


@pytest.mark.parametrize("name", ["reduce", "reduce_from", "reduce_plus", "reduce_twice_plus"])
@pytest.mark.parametrize(("length", "rows"), [*(shape for shape in SHAPES if shape[1] == 4 < shape[0]), (30, 6)])
def test_reductions_of_signed_columns(length: int, rows: int, name: str) -> None:
    """Columns of either sign, as Karatsuba's method leaves them; modulo R, as everything here."""
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        acc = some_columns(length, -(1 << 60), 1 << 60)
        totals, out, m = signed_columns(acc, length), garbage(length), garbage(length)
        minus = [fixed(f"minus {k}", 52 * length) for k in range(LANES)]
        plus = garbage(length)
        plus[:] = COLUMN
        k = radix // 2 // n * n
        before = {"reduce": [], "reduce_from": [plus, pack(minus, length)]}.get(
            name, [pack(minus, length), pack([(radix - k) % radix], length)]
        )
        after = [m] if name == "reduce" else []
        primitive(name, rows)(acc, out, *before, pack([n], length), factor(n, radix), *after, length)
        start = columns(plus, 0, length)[0]
        for lane, value in enumerate(digits(out, 0, length)):
            total = totals[lane] + (start - minus[lane] if name == "reduce_from" else 0)
            quotient = -total * invert(n, radix) % radix
            reduced, added = (total + quotient * n) // radix, 0
            if "plus" in name:
                added = minus[lane] - (k if minus[lane] >= radix // 2 else 0)
            assert value == (reduced * (2 if "twice" in name else 1) + added) % radix
            if name == "reduce":
                assert digits(m, 0, length)[lane] == quotient


@by_more_than_rows
def test_square(length: int, rows: int) -> None:
    radix = 1 << DIGIT_BITS * length
    for n in odd_moduli(length):
        for (a,) in chunks([(a,) for a in operands(length)]):
            acc, m, out = garbage(2 * length), garbage(length), garbage(length)
            primitive("square", rows)(acc, out, pack(a, length), pack([n], length), factor(n, radix), m, length)
            found = list(zip(digits(m, 0, length), digits(out, 0, length), strict=True))
            assert found == [quotient_of(x * x, n, radix) for x in a]


def test_no_column_overflows_at_the_largest_length() -> None:
    """Every digit 2^52 - 1 in every operand, every column at its largest start, MAX_DIGITS columns."""
    length = montgomery.MAX_DIGITS
    radix = 1 << DIGIT_BITS * length
    ones, zeros = pack([radix - 1], length), pack([0], length)
    plus, out = garbage(length), garbage(length)
    plus[:] = COLUMN
    start = columns(plus, 0, length)[0]
    k0 = factor(radix - 1, radix)
    primitive("multiply_two_from", 2)(garbage(2 * length), out, plus, zeros, ones, ones, ones, ones, ones, k0, length)
    assert digits(out, 0, length) == [quotient_of(start + 2 * (radix - 1) ** 2, radix - 1, radix)[1]] * LANES
    primitive("multiply_twice_plus", 4)(garbage(2 * length), out, ones, ones, ones, ones, ones, k0, length)
    m = -((radix - 1) ** 2) * invert(radix - 1, radix) % radix
    expected = (2 * (((radix - 1) ** 2 + m * (radix - 1)) // radix) + 2 * (radix - 1)) % radix
    assert digits(out, 0, length) == [expected] * LANES


def test_lanes_do_not_mix() -> None:
    """Changing one lane changes nothing in the others."""
    length = 8
    values = [fixed(f"lane {k}", 52 * length) for k in range(LANES)]

    def run(a: list[int]) -> list[int]:
        out = garbage(length)
        n = (1 << DIGIT_BITS * length) - 1
        k0 = factor(n, n + 1)
        acc, m = garbage(2 * length), garbage(length)
        primitive("square", 4)(acc, out, pack(a, length), pack([n], length), k0, m, length)
        return columns(out, 0, length)

    before = run(values)
    for k in range(LANES):
        changed = [value ^ (1 if i == k else 0) for i, value in enumerate(values)]
        after = run(changed)
        assert [i for i in range(LANES) if before[i] != after[i]] == [k]
