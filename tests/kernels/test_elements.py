"""Arithmetic on one lane group against Python integers: values, and the ranges that `elements` promises."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.arith.integers import invert
from hecore.arith.modulus import Modulus
from hecore.kernels.cpu import elements, lookup, power
from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.context import bias_columns, empty_rows, empty_vectors, make_context
from hecore.kernels.cpu.elements import PLAIN, SLACK_BITS, SQUARE
from hecore.kernels.cpu.montgomery import MIN_DIGITS
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES
from tests.kernels.conftest import GARBAGE, Lab, chunks, columns, compiled, digits, fixed, garbage, pack, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def components(values: Sequence[int], other: Sequence[int], length: int) -> Any:
    """x0 and x1 of every lane as one element."""
    out = empty_vectors(2 * length)
    out[: length * LANES], out[length * LANES :] = pack(values, length), pack(other, length)
    return out


def split(vectors: Any, length: int) -> tuple[list[int], list[int]]:
    return digits(vectors, 0, length), digits(vectors, length, length)


def over_radix(value: int, lab: Lab, modulus: int) -> int:
    return value * invert(lab.radix, modulus) % modulus


def some_pairs(lab: Lab) -> list[tuple[int, ...]]:
    """Every edge with every edge."""
    return pairs(lab.loose())


def elements_of(lab: Lab) -> list[tuple[int, int]]:
    """(x0, x1) with both loose: the edges together, then each edge beside something else."""
    loose = lab.loose()
    return [(x, x) for x in loose] + [(x, loose[(i + 3) % len(loose)]) for i, x in enumerate(loose)]


# -- modulo n --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", [None, 0, 1])
def test_multiply_plain(plain: Lab, alias: int | None) -> None:
    for x, y in chunks(some_pairs(plain)):
        out = plain.run("multiply_plain", 1, pack(x, plain.length), pack(y, plain.length), alias=alias)
        for value, a, b in zip(digits(out, 0, plain.length), x, y, strict=True):
            assert value < 2 * plain.n
            assert value % plain.n == over_radix(a * b, plain, plain.n)


@pytest.mark.parametrize("alias", [None, 0])
def test_square_plain(plain: Lab, alias: int | None) -> None:
    for (x,) in chunks([(x,) for x in plain.loose()]):
        out = plain.run("square_plain", 1, pack(x, plain.length), alias=alias)
        for value, a in zip(digits(out, 0, plain.length), x, strict=True):
            assert value < 2 * plain.n
            assert value % plain.n == over_radix(a * a, plain, plain.n)


@pytest.mark.parametrize("kind", [PLAIN, SQUARE])
@pytest.mark.parametrize("name", ["multiply_element", "square_element"])
def test_elements_of_either_kind(shape: tuple[int, int], kind: int, name: str) -> None:
    """The dispatch by kind reaches the right function."""
    length, n = shape
    lab, size = Lab(n, length, kind), kind + 1
    modulus = n if kind == PLAIN else n * n
    a, b = fixed("dispatch a", n.bit_length() - 1), fixed("dispatch b", n.bit_length() - 1)
    x, y = pack([a] * LANES, size * length), pack([b] * LANES, size * length)
    out = lab.run(name, size, *((x, y) if name.startswith("mul") else (x,)))
    low, high = digits(out, 0, length), digits(out, length, length) if kind == SQUARE else [0] * LANES
    expected = over_radix(a * (b if name.startswith("mul") else a), lab, modulus)
    assert [(x0 + x1 * n) % modulus for x0, x1 in zip(low, high, strict=True)] == [expected] * LANES


# -- modulo n^2 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", [None, 0, 1])
def test_multiply_square(square: Lab, alias: int | None) -> None:
    n, length = square.n, square.length
    cases = [(*x, *y) for x, y in itertools.product(elements_of(square)[::2], elements_of(square))]
    for x0, x1, y0, y1 in chunks(cases):
        out = square.run("multiply_square", 2, components(x0, x1, length), components(y0, y1, length), alias=alias)
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert max(r0, r1) < 2 * n
            product = (x0[k] + x1[k] * n) * (y0[k] + y1[k] * n)
            assert (r0 + r1 * n) % n**2 == over_radix(product, square, n**2)


@pytest.mark.parametrize("alias", [None, 0])
def test_square_square(square: Lab, alias: int | None) -> None:
    n, length = square.n, square.length
    for x0, x1 in chunks(pairs(square.loose())):
        out = square.run("square_square", 2, components(x0, x1, length), alias=alias)
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert max(r0, r1) < 2 * n
            assert (r0 + r1 * n) % n**2 == over_radix((x0[k] + x1[k] * n) ** 2, square, n**2)


@pytest.mark.parametrize("alias", [None, 1])
def test_multiply_single_loose(square: Lab, alias: int | None) -> None:
    """s loose, y loose: both components below 2n."""
    n, length = square.n, square.length
    for s, y0, y1 in chunks([(s, *y) for s, y in itertools.product(square.loose(), elements_of(square))]):
        out = square.run("multiply_single", 2, pack(s, length), components(y0, y1, length), alias=alias)
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert max(r0, r1) < 2 * n
            assert (r0 + r1 * n) % n**2 == over_radix(s[k] * (y0[k] + y1[k] * n), square, n**2)


def test_multiply_single_up_to_the_radix(square: Lab) -> None:
    """Any s < R with y below 2n: both components loose."""
    n, length = square.n, square.length
    singles = [square.radix - 1, square.radix // 2, DIGIT_MASK, fixed(f"single {length}", DIGIT_BITS * length)]
    reduced = [0, 1, n - 1, n, 2 * n - 1]
    for s, y0, y1 in chunks([(s, *y) for s, y in itertools.product(singles, pairs(reduced))]):
        out = square.run("multiply_single", 2, pack(s, length), components(y0, y1, length))
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert max(r0, r1) < 16 * n
            assert (r0 + r1 * n) % n**2 == over_radix(s[k] * (y0[k] + y1[k] * n), square, n**2)


# -- modulo n^2 in scaled form ---------------------------------------------------------------------------------------


def scaled(x0: int, z: int, lab: Lab) -> int:
    """x0 - (z/R)*n modulo n^2."""
    return (x0 - z * invert(lab.radix, lab.n) * lab.n) % lab.n**2


def scaled_edges(lab: Lab) -> list[tuple[int, int]]:
    """x0 < 2n with any z < R, at both sides of R/2 too."""
    half = lab.radix // 2
    tops = [0, 1, half - 1, half, lab.radix - 1, fixed(f"z {lab.length}", DIGIT_BITS * lab.length)]
    lows = [0, 1, lab.n, 2 * lab.n - 1, fixed("x0", 64 * lab.length) % (2 * lab.n)]
    return [(x0, tops[(i + j) % 6]) for i, x0 in enumerate(lows) for j in range(6)]


def check_scaled(lab: Lab, out: Any, values: list[int]) -> None:
    """Components in range, values right; `values` are still to be divided by R."""
    for (r0, z), value in zip(zip(*split(out, lab.length), strict=True), values, strict=True):
        assert r0 < 2 * lab.n
        assert z < lab.radix
        assert scaled(r0, z, lab) == over_radix(value, lab, lab.n**2)


def test_pair_singles(square: Lab) -> None:
    lows = [x0 for x0, _ in scaled_edges(square)][::6]
    for s, t in chunks(pairs(lows)):
        out = square.run("pair_singles", 2, pack(s, square.length), pack(t, square.length))
        check_scaled(square, out, [x * y for x, y in zip(s, t, strict=True)])


def test_scaled_products(square: Lab) -> None:
    edges, length = scaled_edges(square), square.length
    for x0, z, y0, m in chunks([(*x, *edges[(7 * i + j) % 30]) for i, x in enumerate(edges) for j in range(8)]):
        x = components(x0, z, length)
        left = [scaled(a, b, square) for a, b in zip(x0, z, strict=True)]
        right = [scaled(a, b, square) for a, b in zip(y0, m, strict=True)]
        for alias in (None, 0, 1):
            operands = components(x0, z, length), components(y0, m, length)
            product = square.run("scaled_multiply", 2, *operands, alias=alias)
            check_scaled(square, product, [a * b for a, b in zip(left, right, strict=True)])
        check_scaled(square, square.run("scaled_square", 2, x), [a * a for a in left])
        out = square.run("scaled_single", 2, pack(y0, length), x)
        check_scaled(square, out, [a * b for a, b in zip(left, y0, strict=True)])


@pytest.mark.parametrize("alias", [None, 0])
def test_scaled_one_plus(square: Lab, alias: int | None) -> None:
    """Back to split form, times 1 + u*n."""
    n, length = square.n, square.length
    factors = [0, 1, n - 1, square.radix - 1, fixed(f"u {length}", DIGIT_BITS * length)]
    for u, x0, z in chunks([(u, *x) for u, x in itertools.product(factors, scaled_edges(square))]):
        out = square.run("scaled_one_plus", 2, components(x0, z, length), pack(u, length), alias=alias)
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert max(r0, r1) < 2 * n
            assert (r0 + r1 * n) % n**2 == scaled(x0[k], z[k], square) * (1 + u[k] * n) % n**2


@pytest.mark.parametrize("alias", [None, 0])
def test_multiply_one_plus(square: Lab, alias: int | None) -> None:
    """x * (1 + u*n) for any u below R; x0 stays."""
    n, length = square.n, square.length
    factors = [0, 1, n - 1, n, square.radix - 1, fixed(f"u {length}", DIGIT_BITS * length)]
    for u, x0, x1 in chunks([(u, *x) for u, x in itertools.product(factors, elements_of(square))]):
        out = square.run("multiply_one_plus", 2, components(x0, x1, length), pack(u, length), alias=alias)
        for k, (r0, r1) in enumerate(zip(*split(out, length), strict=True)):
            assert r0 == x0[k]
            assert r1 < 2 * n
            assert (r0 + r1 * n) % n**2 == (x0[k] + x1[k] * n) * (1 + u[k] * n) % n**2


# -- out of Montgomery form ------------------------------------------------------------------------------------------


def test_canonical_plain(plain: Lab) -> None:
    multiples = [plain.n * k for k in (0, 1, 2, 15)]  # what reduces to 0
    for (x,) in chunks([(x,) for x in [*plain.loose(), *multiples]]):
        out = plain.run("canonical", 1, pack(x, plain.length))
        assert digits(out, 0, plain.length) == [over_radix(a, plain, plain.n) for a in x]


def test_canonical_square(square: Lab) -> None:
    n, length = square.n, square.length
    minus_one = square.radix * (n * n - 1) % (n * n)
    cases = [*pairs(square.loose()), (0, n), (n, n - 1), (n, 15 * n), (minus_one % n, minus_one // n)]
    for x0, x1 in chunks(cases):
        out = square.run("canonical", 2, components(x0, x1, length))
        expected = [over_radix(a + b * n, square, n**2) for a, b in zip(x0, x1, strict=True)]
        assert digits(out, 0, 2 * length) == expected


def test_split_canonical(square: Lab) -> None:
    """All of its range: t0 <= n, t1 <= n + 1."""
    n, length = square.n, square.length
    low = sorted({0, 1, n - 1, n})
    high = sorted({0, 1, n - 2, n - 1, n, n + 1})
    constants = square.context.constants
    for t0, t1 in chunks(list(itertools.product(low, high))):
        t = components(t0, t1, length)
        compiled("split_canonical")(t.ctypes.data, constants.ctypes.data, length)
        for k, (r0, r1) in enumerate(zip(*split(t, length), strict=True)):
            assert max(r0, r1) < n
            assert (r0 + r1 * n) % n**2 == (t0[k] + t1[k] * n) % n**2


def test_subtract_if_not_below(shape: tuple[int, int]) -> None:
    length, n = shape
    values = sorted({0, 1, n - 1, n, n + 1, 2 * n - 1, n + DIGIT_MASK, (1 << DIGIT_BITS * length) - 1})
    modulus = pack([n], length)
    for (x,) in chunks([(x,) for x in values]):
        vectors = pack(x, length)
        compiled("subtract_if_not_below")(vectors.ctypes.data, modulus.ctypes.data, length)
        assert digits(vectors, 0, length) == [a - n if a >= n else a for a in x]


# -- constants -------------------------------------------------------------------------------------------------------


def test_digits_for_leaves_the_slack() -> None:
    for bits in range(2, 2000):
        length = elements.digits_for(bits)
        assert length >= MIN_DIGITS
        assert length % 2 == 0
        assert DIGIT_BITS * length >= bits + SLACK_BITS
        assert length == MIN_DIGITS or DIGIT_BITS * (length - 2) < bits + SLACK_BITS


def test_bias(shape: tuple[int, int]) -> None:
    """A multiple of n in [R, R + n + 2^(52(L-1)+1)) whose columns outweigh any digit."""
    length, n = shape
    radix = 1 << DIGIT_BITS * length
    bias = bias_columns(n, length)
    value = sum(column << DIGIT_BITS * i for i, column in enumerate(bias))
    assert value % n == 0
    assert radix <= value < radix + n + (1 << DIGIT_BITS * (length - 1) + 1)
    assert min(bias) >= DIGIT_MASK
    assert max(bias) < 1 << 54


def test_a_modulus_without_slack_is_given_one_more_pair_of_digits() -> None:
    top = DIGIT_BITS * MIN_DIGITS - SLACK_BITS
    assert make_context(Modulus((1 << top) - 1)).length == MIN_DIGITS
    assert make_context(Modulus((1 << top) + 1)).length == MIN_DIGITS + 2


# -- moving elements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, LANES, LANES + 1])
@pytest.mark.parametrize("words", [8, 16, 48])
def test_gather_and_scatter(words: int, count: int) -> None:
    """Rows to lanes and back; lanes past the last row read and write the spare one."""
    source = empty_rows(count, words)
    source[:] = np.arange(source.size, dtype=np.uint64).reshape(source.shape) + np.uint64(7)
    target, spare, pointers = empty_rows(count, words), empty_rows(1, words), np.zeros(LANES, dtype=np.uint64)
    target[:] = 1
    spare[:] = 99
    lanes = empty_vectors(words)
    point, gather, scatter = compiled("point_rows"), compiled("gather"), compiled("scatter")
    for first in range(0, count, LANES):
        point(pointers.ctypes.data, source.ctypes.data, words, first, count, spare.ctypes.data)
        gather(lanes.ctypes.data, pointers.ctypes.data, words)
        rows = lanes.reshape(words, LANES).T
        for k in range(LANES):
            assert np.array_equal(rows[k], source[first + k] if first + k < count else spare[0])
        point(pointers.ctypes.data, target.ctypes.data, words, first, count, spare.ctypes.data)
        scatter(lanes.ctypes.data, pointers.ctypes.data, words)
    assert np.array_equal(target, source)


def every_index(entries: int) -> list[list[int]]:
    """Index vectors in which every lane takes every value."""
    return [[(i + 3 * k) % entries for k in range(LANES)] for i in range(entries)]


def as_bytes(table: NDArray[np.uint64], digits: int, entries: int) -> None:
    """A table (digits, entries) as `lookup` wants it where it is large: byte after byte."""
    if entries >= lookup.BYTES_FROM:
        shifts = np.arange(0, 8 * lookup.DIGIT_BYTES, 8, dtype=np.uint64)
        planes = (table[: digits * entries].reshape(digits, 1, entries) >> shifts[:, None]).astype("u1")
        table.view("u1")[: planes.size] = planes.ravel()


@pytest.mark.parametrize("entries", [16, 32, 64, 128, 256, 512])
def test_read_table(entries: int) -> None:
    """Digit-major (digits, entries), shared by all lanes."""
    size = 6
    table = empty_vectors(-(-size * entries // LANES))
    table[:] = np.arange(table.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7) & np.uint64(DIGIT_MASK)
    rows = table[: size * entries].reshape(size, entries).copy()
    as_bytes(table, size, entries)
    for index in every_index(entries):
        out, at = garbage(size), pack(index, 1)
        compiled("read_table")(out.ctypes.data, table.ctypes.data, entries, size, at.ctypes.data)
        assert np.array_equal(out.reshape(size, LANES), rows[:, index])


@pytest.mark.parametrize(
    ("name", "groups", "entries"),
    [
        *(("read_table_four", lookup.FEW, n) for n in (16, 32, 64)),
        *(("read_table_bytes", lookup.GROUPS, n) for n in (128, 256, 512)),
        *(("add_table_bytes", lookup.GROUPS, n) for n in (128, 256, 512)),
    ],
)
def test_read_table_for_several_groups(name: str, groups: int, entries: int) -> None:
    """What lies between their results stays."""
    size = 4
    table = empty_vectors(-(-size * entries // LANES))
    table[:] = np.arange(table.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7) & np.uint64(DIGIT_MASK)
    rows = table[: size * entries].reshape(size, entries).copy()
    as_bytes(table, size, entries)
    for i in range(entries):
        index = [[(i * (g + 1) + 5 * k + g) % entries for k in range(LANES)] for g in range(groups)]
        at, out = empty_vectors(groups), garbage(groups * (size + 1))
        at[:] = np.array(index, dtype=np.uint64).ravel()
        step = (size + 1) * elements.V
        compiled(name)(out.ctypes.data, step, table.ctypes.data, entries, size, at.ctypes.data)
        before = GARBAGE if name == "add_table_bytes" else np.uint64(0)
        for g in range(groups):
            found = out.reshape(groups, size + 1, LANES)[g]
            assert np.array_equal(found[:size], rows[:, index[g]] + before)
            assert (found[size] == GARBAGE).all()


@pytest.mark.parametrize("entries", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("whole", [True, False])
def test_read_powers(entries: int, *, whole: bool) -> None:
    """Element-major (entries, digits) vectors, a table of its own for every lane; whole or by address."""
    size = 6
    table = empty_vectors(entries * size)
    table[:] = np.arange(table.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7) & np.uint64(DIGIT_MASK)
    by_lane = table.reshape(entries, size, LANES)
    if whole:
        read = compiled("read_powers_whole")
    else:
        read = inner(lambda out, t, _entries, digits, at: power.read_powers_vartime(out, t, digits, at))
    for index in every_index(entries):
        out, at = garbage(size), pack(index, 1)
        read(out.ctypes.data, table.ctypes.data, entries, size, at.ctypes.data)
        expected = np.stack([by_lane[index[k], :, k] for k in range(LANES)], axis=1)
        assert np.array_equal(out.reshape(size, LANES), expected)


def test_exchange_lanes() -> None:
    size, step = 4, 1
    source, out = empty_vectors(size), garbage(size)
    source[:] = np.arange(source.size, dtype=np.uint64)
    while step < LANES:
        power.exchange_lanes(out.ctypes.data, source.ctypes.data, size, step)
        lanes = np.arange(LANES) ^ step
        assert np.array_equal(out.reshape(size, LANES), source.reshape(size, LANES)[:, lanes])
        step *= 2


def test_normalise_propagates_the_largest_columns() -> None:
    length = 6
    sums = garbage(length)
    sums[:] = (1 << 63) - 1
    expected = columns(sums, 0, length)
    out = empty_vectors(length)
    compiled("normalise")(out.ctypes.data, sums.ctypes.data, length)
    radix = 1 << DIGIT_BITS * length
    assert digits(out, 0, length) == [value % radix for value in expected]
