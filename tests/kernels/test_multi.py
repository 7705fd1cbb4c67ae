"""Multi-exponentiation's host side: digits, dot products, choices, rounds, and counts that tell nothing of values."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.errors import NotInvertibleError
from hecore.kernels.cpu import multi, multiexp
from hecore.kernels.cpu.context import Context, context_for
from hecore.kernels.cpu.engine import Engine, window_digits
from hecore.kernels.cpu.vector import LANES
from tests.kernels.conftest import fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

N = 2**89 - 1
SQUARE, PLAIN = Modulus.square(N), Modulus(N)


def edges(bits: int) -> list[int]:
    top = 1 << bits
    alternating = (top - 1) // 3
    return sorted({x % top for x in (0, 1, 2, top - 1, top // 2, top // 2 - 1, top // 2 + 1, alternating)})


# -- digits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 8, 13, 51, 52])
@pytest.mark.parametrize("bits", [1, 63, 64, 65, 200])
def test_window_digits(bits: int, window: int) -> None:
    values = [*edges(bits), fixed("digits", bits)]
    limbs = limbs_from_ints(values, limbs_for_bits(bits))
    digits = window_digits(limbs, bits, window)
    assert digits.shape == (-(-bits // window), len(values))
    for i, value in enumerate(values):
        expected = [(value >> (window * w)) & ((1 << window) - 1) for w in range(len(digits))]
        assert digits[:, i].tolist() == expected


def test_window_digits_above_the_limbs_are_zero() -> None:
    digits = window_digits(limbs_from_ints([2**64 - 1], 1), 200, 5)
    assert digits.shape == (40, 1)
    assert sum(int(d) << (5 * w) for w, d in enumerate(digits[:, 0])) == 2**64 - 1


def check_signed(values: Sequence[int], signs: Sequence[bool], bits: int, window: int, most: int | None = None) -> None:
    limbs = limbs_from_ints(values, limbs_for_bits(bits))
    digits, owed = multi._signed_digits(limbs, np.array(signs), (1 << bits) - 1 if most is None else most, window)
    if most is None:
        assert digits.shape == (-(-(bits + 1) // window), len(values))
    assert int(np.abs(digits.astype(np.int64)).max()) <= 1 << (window - 1)
    debts = ints_from_limbs(owed)
    for i, (value, negative) in enumerate(zip(values, signs, strict=True)):
        column = [int(d) for d in digits[:, i]]
        assert sum(d << (window * w) for w, d in enumerate(column)) == (-value if negative else value)
        assert debts[i] == sum(-d << (window * w) for w, d in enumerate(column) if d < 0)
        assert debts[i] < 1 << (bits + 1), "what `_dot` is told of it"


@pytest.mark.parametrize("window", range(2, 13))
def test_signed_digits_of_every_small_value(window: int) -> None:
    for bits in range(1, 10):
        both = [(value, negative) for value in range(1 << bits) for negative in (False, True)]
        check_signed([value for value, _ in both], [negative for _, negative in both], bits, window)


@pytest.mark.parametrize("window", range(2, 13))
@pytest.mark.parametrize("bits", [31, 63, 64, 65, 127, 128, 191, 2048])
def test_signed_digits(bits: int, window: int) -> None:
    half = sum(1 << (window * w + window - 1) for w in range(bits // window))  # every digit at its limit
    values = [*edges(bits), half, half + 1, *(fixed(f"signed {i}", bits) for i in range(20))]
    for negative in (False, True):
        check_signed(values, [negative] * len(values), bits, window)


@pytest.mark.parametrize("window", range(2, 7))
def test_as_many_signed_digits_as_a_bound_needs(window: int) -> None:
    """Every bound of some bits, with every value up to it: no digit more than it takes, none too few."""
    for most in range(1, 150):
        bits, values = most.bit_length(), list(range(most + 1))
        for negative in (False, True):
            check_signed(values, [negative] * len(values), bits, window, most)
        count = multi.signed_windows(most, window)
        reach = [sum(1 << (window * i + window - 1) for i in range(j)) for j in range(count + 1)]
        assert reach[count] >= most > reach[count - 1] or count == 1


def test_integers_of_a_machine_word_take_no_digit_more() -> None:
    for bits in (8, 16, 32, 64):
        assert multi.signed_windows(1 << (bits - 1), 8) == bits // 8
        assert multi.signed_windows((1 << bits) - 1, 8) == bits // 8 + 1
        low = 1 << (bits - 1)
        check_signed([low, low - 1, 1, 0], [True, False, True, False], bits, 8, low)


@pytest.mark.parametrize("bits", [1, 7, 62, 63, 64, 65, 127, 128])
def test_shift_signed(bits: int) -> None:
    values = edges(bits)
    magnitudes = limbs_from_ints(values, limbs_for_bits(bits)).reshape(1, len(values), -1)
    for negative in (False, True):
        shifted = multi._shift_signed(magnitudes, np.full((1, len(values)), negative), bits)
        expected = [(1 << bits) - value if negative else value + (1 << bits) for value in values]
        assert ints_from_limbs(shifted) == expected


# -- dot products ----------------------------------------------------------------------------------------------------


def test_a_cut_of_terms_is_exact_in_a_double() -> None:
    assert multi.DOT_TERMS * (2**16 - 1) ** 2 < 2**53


def check_dot(weights: list[list[int]], values: list[int], bits: int) -> None:
    m, k = len(weights), len(values)
    packed = limbs_from_ints([abs(x) for row in weights for x in row], limbs_for_bits(bits)).reshape(m, k, -1)
    pieces = multi._pieces(packed, bits)
    assert pieces.shape == (-(-bits // 16), m, k)
    pieces *= np.array([[-1.0 if x < 0 else 1.0 for x in row] for row in weights])
    other = limbs_from_ints(values, limbs_for_bits(max(value.bit_length() for value in values)))
    expected = [sum(x * y for x, y in zip(row, values, strict=True)) for row in weights]
    assert multi._dot(Engine(2), [(pieces, other)]) == expected
    ones = limbs_from_ints([1] * (m * k), limbs_for_bits(bits + 1)).reshape(m, k, -1)
    wider = multi._pieces(ones, bits + 1)
    both = [x - sum(values) for x in expected]
    assert multi._dot(Engine(2), [(pieces, other), (-wider, other)]) == both
    assert multi._dot(Engine(1), [(-wider, other), (pieces, other)]) == both


@pytest.mark.parametrize("terms", [1, 3, 1 << 21])
@pytest.mark.parametrize("bits", [1, 16, 17, 64, 65, 130])
def test_dot(bits: int, terms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi, "DOT_TERMS", terms)
    k = 10
    values = [fixed(f"value {j}", 200) for j in range(k - 2)] + [0, 2**200 - 1]
    largest = (1 << bits) - 1
    random = [fixed(f"weight {j}", bits) * (-1 if j % 3 else 1) for j in range(k)]
    check_dot([[largest] * k, [-largest] * k, [0] * k, random], values, bits)
    check_dot([[abs(x) for x in random]], values, bits)


def test_dot_of_many_terms_at_their_largest() -> None:
    k = 20_000
    check_dot([[-(2**32 - 1)] * k, [2**32 - 1] * k], [2**64 - 1] * k, 32)


def test_carry() -> None:
    """Signed columns of any size that a double holds exactly."""
    largest = 2**53 - 1
    rows = [[0, 0, 0], [-1, 0, 0], [largest] * 3, [-largest] * 3, [largest, -largest, largest], [65535, 65536, -65536]]
    expected = [sum(x << (16 * i) for i, x in enumerate(row)) for row in rows]
    assert multi._carry(np.array(rows, dtype=np.int64)) == expected


# -- whole products --------------------------------------------------------------------------------------------------


@dataclass
class Problem:
    """m products of k powers, and the answer by Python integers."""

    modulus: Modulus
    bases: list[int]
    exponents: list[list[int]]
    bits: int
    engine: Engine = field(default_factory=lambda: Engine(2))

    @property
    def context(self) -> Context:
        return context_for(self.modulus)

    @property
    def arguments(self) -> tuple[Engine, Context, Any, Any, Any, int]:
        m, k = len(self.exponents), len(self.bases)
        flat = [abs(x) for row in self.exponents for x in row]
        magnitudes = limbs_from_ints(flat, limbs_for_bits(self.bits)).reshape(m, k, -1)
        negative = np.array([[x < 0 for x in row] for row in self.exponents])
        rows = self.engine.import_ints(self.context, self.bases)
        return self.engine, self.context, rows, magnitudes, negative, self.bits

    def answer(self) -> list[int]:
        out = []
        for row in self.exponents:
            total = 1
            for base, x in zip(self.bases, row, strict=True):
                total = total * pow(base, x, self.modulus.value) % self.modulus.value
            out.append(total)
        return out

    def solved_by(self, method: Callable[..., Any], *extra: Any) -> bool:
        return self.engine.export_ints(self.context, method(*self.arguments, *extra)) == self.answer()


def problem(modulus: Modulus, m: int, k: int, bits: int, *, signed: bool = True) -> Problem:
    bases = [fixed(f"base {j}", 300) % modulus.value for j in range(k)]
    special = itertools.cycle([0, 1, (1 << bits) - 1, 1 << (bits - 1)])
    exponents = [
        [
            (next(special) if (i + j) % 3 == 0 else fixed(f"x {i} {j}", bits)) * (-1 if signed and (i ^ j) & 1 else 1)
            for j in range(k)
        ]
        for i in range(m)
    ]
    return Problem(modulus, bases, exponents, bits)


@pytest.mark.parametrize("modulus", [SQUARE, PLAIN], ids=["square", "plain"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("m", "k", "bits"), [(1, 1, 1), (1, 33, 16), (2, 70, 64), (9, 5, 65), (17, 2, 130)])
def test_both_methods(modulus: Modulus, m: int, k: int, bits: int, *, signed: bool) -> None:
    task = problem(modulus, m, k, bits, signed=signed)
    assert task.solved_by(multi._straus)
    assert task.solved_by(multi._pippenger)


@pytest.mark.parametrize("window", [2, 7, 12])
@pytest.mark.parametrize("modulus", [SQUARE, PLAIN], ids=["square", "plain"])
def test_every_width_of_window(modulus: Modulus, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = multi.pippenger_cost
    monkeypatch.setattr(multi, "pippenger_cost", lambda m, k, most, c: cost(m, k, most, c) if c == window else 1e99)
    assert problem(modulus, 2, 40, 64).solved_by(multi._pippenger)


def test_slices_fill_the_lanes() -> None:
    assert multi.slices_for(1, 10_000) == LANES
    assert multi.slices_for(1, 31) == 1
    for jobs, k in itertools.product((1, 2, 3, 7, 8, 9, 1000), (1, 15, 16, 17, 100, 5000)):
        slices = multi.slices_for(jobs, k)
        assert slices >= 1
        assert slices == 1 or (slices * jobs <= LANES and k // slices >= 16)


@pytest.mark.parametrize("k", [15, 16, 17, 31, 32, 33, 127, 128, 129])
def test_slices_of_any_length(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last slice is short: its missing bases count as the last one to the power 0."""
    monkeypatch.setattr(multi, "slices_for", lambda _jobs, k: max(1, min(LANES, k // 4)) if LANES > 1 else 3)
    assert problem(SQUARE, 1, k, 3).solved_by(multi._pippenger)


def choice(m: int, k: int, bits: int) -> str:
    best = min(multi.pippenger_cost(m, k, (1 << bits) - 1, c) for c in range(2, 13))
    return "_straus" if multi.straus_cost(m, k, bits) < best else "_pippenger"


def boundaries(m: int, bits: int) -> list[int]:
    return [k for k in range(2, 400) if choice(m, k - 1, bits) != choice(m, k, bits)]


@pytest.mark.parametrize("bits", [8, 64])
@pytest.mark.parametrize("m", [1, 3])
def test_the_cheaper_method_on_both_sides_of_the_boundary(m: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = boundaries(m, bits)
    assert found, "both methods are somewhere the cheaper one"
    taken: list[str] = []

    def recorded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            taken.append(name)
            return original(*arguments)

        return call

    for name in ("_straus", "_pippenger"):
        monkeypatch.setattr(multi, name, recorded(name, getattr(multi, name)))
    for k in (found[0] - 1, found[0]):
        taken.clear()
        assert problem(SQUARE, m, k, bits).solved_by(multi.multi_exp, False)
        assert taken == [choice(m, k, bits)]
        taken.clear()
        assert problem(SQUARE, m, k, bits).solved_by(multi.multi_exp, True)
        assert taken == ["_straus"]


def test_rounds_of_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = problem(SQUARE, 7, 20, 16)
    sizes: list[int] = []
    original = multi._round

    def counted(*arguments: Any, **options: Any) -> Any:
        sizes.append(len(arguments[3]))
        return original(*arguments, **options)

    monkeypatch.setattr(multi, "_round", counted)
    for budget, expected in ((64 << 20, [7]), (1, [1] * 7)):
        sizes.clear()
        monkeypatch.setattr(multi, "DIGIT_BYTES", budget)
        assert task.solved_by(multi._pippenger)
        assert sizes == expected
    sizes.clear()
    monkeypatch.setattr(multi, "DIGIT_BYTES", 1000)
    assert task.solved_by(multi._pippenger)
    assert len(sizes) > 1
    assert sum(sizes) == 7


@pytest.mark.parametrize("modulus", [SQUARE, PLAIN], ids=["square", "plain"])
@pytest.mark.parametrize("method", [multi._straus, multi._pippenger])
def test_a_base_that_is_no_unit(modulus: Modulus, method: Callable[..., Any]) -> None:
    """Is an error where an output wants its inverse, named by that output, and a factor like any other elsewhere."""
    composite = Modulus.square(3 * N) if modulus.square_of else Modulus(3 * N)
    task = problem(composite, 3, 6, 20, signed=False)
    task.bases = [1 + 3 * i for i in range(5)] + [6]
    task.exponents = [[1, -2, 3, -4, 5, 6], [7, 8, 9, 1, 2, 3], [-1, 1, 1, 1, 1, 0]]
    assert task.solved_by(method)
    task.exponents[1][5] = -3
    with pytest.raises(NotInvertibleError) as caught:
        method(*task.arguments)
    assert caught.value.indices == (1,)


# -- segments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 3, 4, 4096])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 10])
def test_segments_in_blocks(block: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi, "SEGMENT_BLOCK", block)
    engine, context = Engine(2), context_for(SQUARE)
    rows = 29 if count else 0
    values = [fixed(f"row {i}", 170) for i in range(rows)]
    labels = np.array([(i * i + 1) % count for i in range(rows)], dtype=np.intp)
    out = multi.segment_product(engine, context, engine.import_ints(context, values), labels, count)
    expected = [1] * count
    for value, label in zip(values, labels.tolist(), strict=True):
        expected[label] = expected[label] * value % SQUARE.value
    assert engine.export_ints(context, out) == expected


# -- operation counts ------------------------------------------------------------------------------------------------


class Trace:
    """Everything the host asks the kernels for, by size; no value of an operand is among it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Any, ...]] = []
        for owner, name in [
            *((Engine, name) for name in ("multiply", "encode", "invert", "import_rows", "export_rows", "product")),
            *((multiexp, name) for name in ("pippenger", "straus", "bucket_products", "add_products")),
        ]:
            monkeypatch.setattr(owner, name, self._recorded(name, getattr(owner, name)))

    def _recorded(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            sizes = tuple(
                x.shape if isinstance(x, np.ndarray) else x for x in arguments if isinstance(x, np.ndarray | int)
            )
            same = name == "multiply" and arguments[2] is arguments[3]
            self.calls.append((name, same, *sizes))
            return original(*arguments, **options)

        return call

    def of(self, method: Callable[..., Any], *arguments: Any) -> list[tuple[Any, ...]]:
        self.calls = []
        method(*arguments)
        return self.calls


def values_of_one_shape(m: int, k: int, bits: int) -> list[tuple[NDArray[np.uint64], NDArray[np.bool_]]]:
    """Zeros, ones, all bits set, random, a single one; signs many, few and none."""
    largest = (1 << bits) - 1
    some = [fixed(f"count {i}", bits) for i in range(m * k)]
    cases = [[0] * (m * k - 1) + [1], [1] * m * k, [largest] * m * k, some, [1] + [0] * (m * k - 2) + [largest]]
    out = []
    for i, values in enumerate(cases):
        magnitudes = limbs_from_ints(values, limbs_for_bits(bits)).reshape(m, k, -1)
        negative = np.array([(j * j + i) % (i + 2) == 0 for j in range(m * k)]).reshape(m, k)
        out.append((magnitudes, negative))
    out.append((out[-1][0], np.zeros((m, k), dtype=np.bool_)))
    return out


@pytest.mark.parametrize("modulus", [SQUARE, PLAIN], ids=["square", "plain"])
@pytest.mark.parametrize(("m", "k", "bits"), [(2, 12, 20), (1, 300, 16), (40, 3, 64)])
@pytest.mark.parametrize("method", [multi._straus, multi._pippenger, multi.multi_exp])
def test_counts_do_not_depend_on_values(
    modulus: Modulus, m: int, k: int, bits: int, method: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, context = Engine(1), context_for(modulus)
    bases = engine.import_ints(context, [fixed(f"base {j}", 300) % modulus.value for j in range(k)])
    trace = Trace(monkeypatch)
    extra = [False] if method is multi.multi_exp else []
    traces = [
        trace.of(method, engine, context, bases, magnitudes, negative, bits, *extra)
        for magnitudes, negative in values_of_one_shape(m, k, bits)
    ]
    assert len(traces[0]) > 3
    assert all(other == traces[0] for other in traces)


def test_counts_of_segments_do_not_depend_on_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, context = Engine(1), context_for(SQUARE)
    rows = engine.import_ints(context, list(range(1, 41)))
    trace = Trace(monkeypatch)
    labels = [np.zeros(40, dtype=np.intp), np.arange(40, dtype=np.intp) % 7, np.full(40, 6, dtype=np.intp)]
    traces = [trace.of(multi.segment_product, engine, context, rows, label, 7) for label in labels]
    assert traces[0]
    assert traces == [traces[0]] * 3


def test_a_trace_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: the shape is in the trace."""
    engine, context = Engine(1), context_for(SQUARE)
    trace = Trace(monkeypatch)
    bases = engine.import_ints(context, [2, 3])
    seen = [
        trace.of(multi._straus, engine, context, bases, *values_of_one_shape(1, 2, bits)[0], bits) for bits in (8, 12)
    ]
    assert seen[0] != seen[1]
