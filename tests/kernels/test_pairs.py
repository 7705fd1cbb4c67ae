"""Products by pairs of digits, and the Montgomery multiplications made of them, against Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hecore.arith.modulus import Modulus
from hecore.kernels.cpu import long_products, pairs
from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.context import broadcast, context_for
from hecore.kernels.cpu.elements import context_vectors, work_vectors
from hecore.kernels.cpu.engine import Engine
from hecore.kernels.cpu.long_products import A, B, C, D
from hecore.kernels.cpu.pairs import MAX_PAIR_DIGITS, PAIR_BITS, PAIR_MASK
from hecore.kernels.cpu.vector import DIGIT_BITS, LANES
from tests.kernels.conftest import chunks, digits, fixed, garbage, pack

COUNTS = (9, 11, 21, 31, 41, 43, MAX_PAIR_DIGITS)  # one more than a multiple of four, and three more
LENGTHS = (28, 30, 38, 40, 50, 52, 60, 80, 102, 104, 252)  # R at every kind of place in or above digit L'-2
_one, _from = pairs.make_columns(1), pairs.make_columns(1, start=True)
_two, _two_from = pairs.make_columns(2), pairs.make_columns(2, start=True)
_two_fetching = pairs.make_columns(2, start=True, fetching=2)
_square, _low, _high = pairs.make_square_columns(), pairs.make_low_half(), pairs.make_high_half()


@inner
def one(acc, lists, a, b, count):  # type: ignore[no-untyped-def]
    _one(acc, lists, a, b, count)


@inner
def one_from(acc, lists, start, a, b, count):  # type: ignore[no-untyped-def]
    _from(acc, lists, start, a, b, count)


@inner
def two(acc, lists, a, b, c, d, count):  # type: ignore[no-untyped-def]
    _two(acc, lists, a, b, c, d, count)


@inner
def two_from(acc, lists, start, a, b, c, d, count):  # type: ignore[no-untyped-def]
    _two_from(acc, lists, start, a, b, c, d, count)


@inner
def two_fetching(acc, lists, start, a, b, c, d, count):  # type: ignore[no-untyped-def]
    _two_fetching(acc, lists, start, acc, lists, a, b, c, d, count)


@inner
def square(acc, _lists, a, count):  # type: ignore[no-untyped-def]
    _square(acc, a, count)


@inner
def low(out, lists, a, b, count):  # type: ignore[no-untyped-def]
    _low(out, lists, a, b, count)


@inner
def high(acc, lists, m, n, count):  # type: ignore[no-untyped-def]
    _high(acc, lists, m, n, count)


def packed(values: list[int], count: int) -> Any:
    """One value a lane, `count` digits of 51 bits."""
    assert all(0 <= value < 1 << PAIR_BITS * count for value in values)
    rows = [[value >> PAIR_BITS * i & PAIR_MASK for value in values] for i in range(count)]
    out = broadcast([0] * count)
    out.reshape(count, LANES)[:] = rows
    return out


def read(vectors: Any, start: int, count: int) -> list[int]:
    """Every lane's number, of digits from `start` on."""
    rows = vectors.reshape(-1, LANES)[start : start + count]
    assert int(rows.max()) <= PAIR_MASK
    return [sum(int(rows[i, k]) << PAIR_BITS * i for i in range(count)) for k in range(LANES)]


def values_of(count: int) -> list[int]:
    """Every digit at its largest, the ends alone, every second one, one, none, and random ones."""
    radix = 1 << PAIR_BITS * count
    second = sum(PAIR_MASK << PAIR_BITS * i for i in range(0, count, 2))
    ends = PAIR_MASK << PAIR_BITS * (count - 1) | PAIR_MASK
    middle = PAIR_MASK << PAIR_BITS * (count // 2)
    return [radix - 1, second, radix - 1 - second, ends, middle, 1, 0, fixed(f"pairs {count}", PAIR_BITS * count)]


def run(f: Any, count: int, columns: int, operands: list[list[int]], start: Any = None) -> Any:
    acc, lists = garbage(columns + 1), garbage(count + 3)
    given = [packed(values, count) for values in operands]
    guards = acc[-LANES:].copy(), lists[-LANES:].copy()
    first = [] if start is None else [start.ctypes.data]
    f(acc.ctypes.data, lists.ctypes.data, *first, *(x.ctypes.data for x in given), count)
    assert (acc[-LANES:] == guards[0]).all()
    assert (lists[-LANES:] == guards[1]).all()
    assert [read(x, 0, count) for x in given] == operands
    return acc


@pytest.mark.parametrize("count", COUNTS)
def test_products(count: int) -> None:
    for a, b in chunks([(a, b) for a in values_of(count) for b in values_of(count)]):
        assert read(run(one, count, 2 * count, [a, b]), 0, 2 * count) == [x * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("count", COUNTS)
def test_squares(count: int) -> None:
    for (a,) in chunks([(a,) for a in values_of(count)]):
        assert read(run(square, count, 2 * count, [a]), 0, 2 * count) == [x * x for x in a]


def cases_of_two(count: int, room: int = 0) -> list[tuple[int, ...]]:
    """Sums that leave `room` in 2L digits."""
    values = values_of(count)
    cases = [
        (a, b, values[(i + 3) % 8], values[(j + 1) % 8]) for i, a in enumerate(values) for j, b in enumerate(values)
    ]
    return [case for case in cases if case[0] * case[1] + case[2] * case[3] + room < 1 << 2 * PAIR_BITS * count]


@pytest.mark.parametrize("count", COUNTS)
def test_sums_of_two_products(count: int) -> None:
    for a, b, c, d in chunks(cases_of_two(count)):
        expected = [w * x + y * z for w, x, y, z in zip(a, b, c, d, strict=True)]
        assert read(run(two, count, 2 * count, [a, b, c, d]), 0, 2 * count) == expected


@pytest.mark.parametrize("f", [one_from, two_from, two_fetching], ids=["one", "two", "two fetching"])
@pytest.mark.parametrize("count", COUNTS)
def test_columns_may_start_from_signed_ones(count: int, f: Any) -> None:
    products = 1 if f is one_from else 2
    for case in chunks(cases_of_two(count, room=1 << PAIR_BITS * (count + 1))):
        start = garbage(count)
        columns = start.view(np.int64).reshape(count, LANES)
        signed = [(1 << 54) - i if i % 2 else 7 * i - (1 << 54) for i in range(count)]
        columns[:] = np.array(signed)[:, None] if count % 3 else PAIR_MASK
        columns[-1] = 1 << 20  # so that the whole is not negative
        plus = sum(int(columns[i, 0]) << PAIR_BITS * i for i in range(count))
        lanes = [lane[: 2 * products] for lane in zip(*case, strict=True)]
        expected = [plus + sum(x * y for x, y in zip(lane[::2], lane[1::2], strict=True)) for lane in lanes]
        assert max(expected) < 1 << 2 * PAIR_BITS * count
        assert read(run(f, count, 2 * count, list(case[: 2 * products]), start), 0, 2 * count) == expected


@pytest.mark.parametrize("count", COUNTS)
def test_low_halves(count: int) -> None:
    for a, b in chunks([(a, b) for a in values_of(count) for b in values_of(count)]):
        expected = [x * y % (1 << PAIR_BITS * count) for x, y in zip(a, b, strict=True)]
        assert read(run(low, count, count, [a, b]), 0, count) == expected


@pytest.mark.parametrize("place", [0, 1, 17, 50, 51])
@pytest.mark.parametrize("count", COUNTS)
def test_high_halves_tell_the_carry_that_was_not_computed(count: int, place: int) -> None:
    """acc + m*n, of which R = 2^(51 (L-2) + place) and more is a divisor."""
    bits = PAIR_BITS * (count - 2) + place
    radix = 1 << bits
    moduli = [n | 1 for n in values_of(count - 1)]
    for acc, n in chunks([(x, n) for x in values_of(count) for n in moduli]):
        products = [x * y >> 1 for x, y in zip(acc, reversed(acc), strict=True)]
        m = [-product * pow(modulus, -1, radix) % radix for product, modulus in zip(products, n, strict=True)]
        both = packed(products, 2 * count)
        lists, given = garbage(count + 2), [packed(m, count), packed(n, count)]
        high(both.ctypes.data, lists.ctypes.data, *(x.ctypes.data for x in given), count)
        expected = [x + y * z for x, y, z in zip(products, m, n, strict=True)]
        found = read(both, count - 3, count + 3)
        assert found == [total >> PAIR_BITS * (count - 3) for total in expected]


# -- Montgomery multiplication of digits of 52 bits


class Bench:
    """A modulus with R = 2^(52 L), its constants, and a work area."""

    def __init__(self, n: int, length: int) -> None:
        self.n, self.length, self.radix = n, length, 1 << DIGIT_BITS * length
        ahead = [0] * context_vectors(length)
        self.constants = broadcast(ahead + long_products.pair_constants(n, length))
        self.work = garbage(work_vectors(length) + 1)
        self.guard = self.work[-LANES:].copy()

    def quotient(self, total: int) -> int:
        return -total * pow(self.n, -1, self.radix) % self.radix

    def reduced(self) -> tuple[list[int], list[int]]:
        """The result and m."""
        out, m = garbage(self.length), garbage(self.length)
        finish(self.work.ctypes.data, out.ctypes.data, self.constants.ctypes.data, m.ctypes.data, self.length)
        assert (self.work[-LANES:] == self.guard).all()
        return digits(out, 0, self.length), digits(m, 0, self.length)

    def expect(self, totals: list[int]) -> None:
        found, m = self.reduced()
        quotients = [self.quotient(total) for total in totals]
        assert m == quotients
        assert found == [(total + q * self.n) // self.radix for total, q in zip(totals, quotients, strict=True)]


@inner
def finish(w, out, c, m, length):  # type: ignore[no-untyped-def]
    long_products.reduced(w, out, c, m, length)


@inner
def start_one(w, a, b, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, A, a, length, length)
    long_products.recode(w, B, b, length, length)
    long_products.columns_of_one(w, length)


@inner
def start_from(w, plus, minus, a, b, length):  # type: ignore[no-untyped-def]
    long_products.start_from(w, plus, minus, length)
    long_products.recode(w, A, a, length, length)
    long_products.recode(w, B, b, length, length)
    long_products.columns_of_one_from(w, length)


@inner
def go_on_biased(w, b, c, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, B, b, length, length)
    long_products.start_biased(w, c, length)
    long_products.columns_of_one_from(w, length)


@inner
def go_on_twice_biased(w, b, c, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, B, b, length, length)
    long_products.start_biased(w, c, length)
    long_products.columns_of_twice_from(w, length)


@inner
def start_square(w, a, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, A, a, length, length)
    long_products.columns_of_square(w, length)


@inner
def start_two(w, a, b, x, y, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, A, a, length, length)
    long_products.recode(w, B, b, length, length)
    long_products.recode(w, C, x, length, length)
    long_products.recode(w, D, y, length, length)
    long_products.columns_of_two(w, length)


@inner
def cross_biased(w, x, y, c, length):  # type: ignore[no-untyped-def]
    long_products.recode(w, C, x, length, length)
    long_products.recode(w, D, y, length, length)
    long_products.start_biased(w, c, length)
    long_products.columns_of_cross_from(w, length)


def benches(length: int) -> list[Bench]:
    top = DIGIT_BITS * length - 12
    odd = fixed(f"modulus {length}", top) | 1 | 1 << (top - 1)
    return [Bench(n, length) for n in ((1 << top) - 1, (1 << (top - 1)) + 1, odd, 3)]


def residues(bench: Bench) -> list[int]:
    """Below 16n, and below R where there is one operand of that size."""
    n = bench.n
    return [
        16 * n - 1,
        n,
        n - 1,
        1,
        0,
        bench.radix % n,
        fixed(f"r {n}", DIGIT_BITS * bench.length) % (16 * n),
        2 * n - 1,
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_multiplications(length: int) -> None:
    for bench in benches(length):
        values = residues(bench)
        w, c = bench.work.ctypes.data, bench.constants.ctypes.data
        bias = -(-bench.radix // bench.n) * bench.n
        for a, b in chunks([(a, b) for a in values for b in (*values, bench.radix - 1)]):
            pa, pb = pack(a, length), pack(b, length)
            start_one(w, pa.ctypes.data, pb.ctypes.data, length)
            products = [x * y for x, y in zip(a, b, strict=True)]
            bench.expect(products)
            go_on_biased(w, pa.ctypes.data, c, length)
            squares = [x * x + bias - bench.quotient(p) for x, p in zip(a, products, strict=True)]
            bench.expect(squares)
            start_square(w, pa.ctypes.data, length)
            bench.expect([x * x for x in a])
            go_on_twice_biased(w, pb.ctypes.data, c, length)
            bench.expect([2 * p + bias - bench.quotient(x * x) for x, p in zip(a, products, strict=True)])
            plus, minus = (pack([pick(x, y) for x, y in zip(a, b, strict=True)], length) for pick in (max, min))
            start_from(w, plus.ctypes.data, minus.ctypes.data, pa.ctypes.data, pb.ctypes.data, length)
            bench.expect([abs(y - x) + x * y for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("length", LENGTHS)
def test_sums_of_two_multiplications(length: int) -> None:
    for bench in benches(length):
        values = residues(bench)
        w, c = bench.work.ctypes.data, bench.constants.ctypes.data
        bias = -(-bench.radix // bench.n) * bench.n
        cases = [
            (a, b, values[(i + 3) % 8], values[(j + 1) % 8]) for i, a in enumerate(values) for j, b in enumerate(values)
        ]
        for lanes in chunks(cases):
            given = [pack(x, length) for x in lanes]
            at = [x.ctypes.data for x in given]
            start_two(w, *at, length)
            totals = [a * b + x * y for a, b, x, y in zip(*lanes, strict=True)]
            bench.expect(totals)
            start_one(w, at[0], at[1], length)
            products = [a * b for a, b, _, _ in zip(*lanes, strict=True)]
            bench.expect(products)
            cross_biased(w, at[2], at[3], c, length)
            crossed = [a * y + x * b for a, b, x, y in zip(*lanes, strict=True)]
            bench.expect([t + bias - bench.quotient(p) for t, p in zip(crossed, products, strict=True)])


@pytest.mark.parametrize("length", [28, 30, 40, 60, 80, 102])
def test_rows_are_read_and_written_whole(length: int) -> None:
    """Products and squares of 11 rows: two lane groups, the second not full; components end within a line."""
    n = (1 << (DIGIT_BITS * length - 12)) - 1
    context, engine = context_for(Modulus.square(n)), Engine(1)
    assert context.length == length
    a, b = ([fixed(f"{name} {length} {i}", 2 * DIGIT_BITS * length) % n**2 for i in range(11)] for name in "ab")
    a[3], b[3], a[10], b[10] = n**2 - 1, n**2 - 1, n, n + 1
    x, y = engine.import_ints(context, a), engine.import_ints(context, b)
    before = x.copy(), y.copy()
    products, squares = engine.multiply(context, x, y), engine.multiply(context, x, x)
    assert engine.export_ints(context, products) == [p * q % n**2 for p, q in zip(a, b, strict=True)]
    assert engine.export_ints(context, squares) == [p * p % n**2 for p in a]
    assert (x == before[0]).all()
    assert (y == before[1]).all()


def test_area_is_what_is_promised() -> None:
    for length in range(4, 254, 2):
        digits_of_51 = long_products.digits_of_pairs(length)
        assert digits_of_51 % 2 == 1
        assert PAIR_BITS * (digits_of_51 - 2) <= DIGIT_BITS * length < PAIR_BITS * digits_of_51
        assert digits_of_51 <= MAX_PAIR_DIGITS
        assert work_vectors(length) >= 8 * length + 8 * digits_of_51 + 4
