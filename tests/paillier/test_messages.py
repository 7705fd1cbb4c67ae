"""Limb arithmetic of plaintexts against Python integers and Fractions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.paillier import messages

BITS = 320
LIMBS = BITS // 64
EDGES = [0, 1, (1 << 64) - 1, 1 << 64, (1 << 128) - 1, (1 << BITS) - 1, 1 << (BITS - 1), (1 << BITS) - (1 << 64)]

integers = st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << BITS) - 1)), min_size=1, max_size=8)


@pytest.fixture(scope="module", params=[0, 1 << 20], ids=["columns", "integers"], autouse=True)
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to work: whole columns of limbs, and Python integers for a few values."""
    before, messages._FEW = messages._FEW, request.param
    yield
    messages._FEW = before


fast = settings(max_examples=60, deadline=None)


def limbs(values: list[int], count: int = LIMBS) -> messages.Limbs:
    return limbs_from_ints(values, count)


@fast
@given(integers, st.data())
def test_shift_left(values: list[int], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 200), min_size=len(values), max_size=len(values)))
    shifted = messages.shift_left(limbs(values), np.array(counts), LIMBS + 4)
    assert ints_from_limbs(shifted) == [v << c for v, c in zip(values, counts, strict=True)]


@fast
@given(integers, integers)
def test_add_and_subtract(a: list[int], b: list[int]) -> None:
    size = min(len(a), len(b))
    a, b = a[:size], b[:size]
    difference, negative = messages.subtract(limbs(a), limbs(b))
    pairs = list(zip(a, b, strict=True))
    assert ints_from_limbs(difference) == [(x - y) % (1 << BITS) for x, y in pairs]
    assert negative.tolist() == [x < y for x, y in pairs]
    assert ints_from_limbs(messages.add(limbs(a), limbs(b))) == [(x + y) % (1 << BITS) for x, y in pairs]
    assert messages.to_ints(*messages.signed_difference(limbs(a), limbs(b))) == [x - y for x, y in pairs]


@fast
@given(integers, st.integers(0, BITS + 70), st.integers(1, 150))
def test_bit_field(values: list[int], offset: int, width: int) -> None:
    expected = [(v >> offset) % (1 << width) for v in values]
    assert ints_from_limbs(messages.bit_field(limbs(values), offset, width)) == expected


# The last ones have limbs of zeros, from which a subtraction borrows on.
MODULI = st.one_of(
    st.integers(1 << 300, (1 << BITS) - 1), st.sampled_from([(1 << 319) + 1, (1 << 300) + (1 << 130) + 1])
)


@fast
@given(st.data())
def test_messages_and_back(data: st.DataObject) -> None:
    n = data.draw(MODULI) | 1
    limit = n // 3
    bound = data.draw(st.sampled_from([limit, 1 << 200, (1 << 64) - 1, 1 << 64, 5, 0]))
    some = st.one_of(st.sampled_from([0, min(1, bound), -min(1, bound), bound, -bound]), st.integers(-bound, bound))
    values = data.draw(st.lists(some, min_size=3, max_size=3))
    magnitudes, negative = messages.from_ints(values, (3,), limbs_for_bits(bound.bit_length()))
    encoded = messages.to_messages(magnitudes, negative, n, LIMBS)
    assert ints_from_limbs(encoded) == [v % n for v in values]
    back, signs, in_range = messages.from_messages(encoded, n, bound)
    assert in_range.all()
    assert back.shape == magnitudes.shape
    assert messages.to_ints(back, signs) == values


@fast
@given(st.data(), st.sampled_from([3, 17]))
def test_what_was_shifted_by_its_bound(data: st.DataObject, count: int) -> None:
    bound = data.draw(st.sampled_from([0, 1, 5, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 200]))
    inside = st.one_of(st.sampled_from([0, bound, -bound, min(1, bound), -min(1, bound)]), st.integers(-bound, bound))
    values = data.draw(st.lists(inside, min_size=count, max_size=count))
    magnitudes, negative, in_range = messages.from_shifted(limbs([v + bound for v in values]), bound)
    assert in_range.all()
    assert magnitudes.shape == (count, limbs_for_bits(bound.bit_length()))
    assert messages.to_ints(magnitudes, negative) == values
    outside = data.draw(st.lists(st.integers(bound + 1, (1 << BITS) - 1 - bound), min_size=count, max_size=count))
    assert not messages.from_shifted(limbs([v + bound for v in outside]), bound)[2].any()


@fast
@given(integers, st.integers(0, (1 << BITS) - 1))
def test_fits(values: list[int], bound: int) -> None:
    assert messages.fits(limbs(values), bound).tolist() == [v <= bound for v in values]
    assert messages.fits(limbs(values), values[0])[0]


def test_guard_band() -> None:
    n = (1 << BITS) - 1
    inside, outside = n // 3, n // 3 + 1
    values = limbs([inside, outside, n // 2, n - outside, n - inside])
    assert messages.from_messages(values, n, inside)[2].tolist() == [True, False, False, False, True]
    values = limbs([5, 6, n // 2, n - 6, n - 5, n - 1, 0])
    assert messages.from_messages(values, n, 5)[2].tolist() == [True, False, False, False, True, True, True]


@fast
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
@example([5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -0.0, 1.0, 0.1])
def test_split_floats(values: list[float]) -> None:
    mantissa, exponent, negative = messages.split_floats(np.array(values))
    signed = messages.to_ints(mantissa[:, None], negative)
    assert messages.to_fractions(signed, exponent.tolist()) == [Fraction(v) for v in values]


@fast
@given(
    st.lists(st.floats(-(2.0**70), 2.0**70), min_size=1, max_size=8),
    st.integers(-140, 20),
    st.integers(1, 220),
)
@example([0.5, 1.5, 2.5, -0.5, -1.5, 0.5 + 2**-52, 0.5 - 2**-54, 3.75], 0, 3)
@example([2.0**53 - 1, 2.0**53, -(2.0**52) - 1], 1, 53)
def test_grid_rounds_half_to_even(values: list[float], exponent: int, bits: int) -> None:
    scaled = [Fraction(v) / Fraction(2) ** exponent for v in values]
    array = np.array(values)
    magnitudes, negative, exact, in_range = messages.floats_to_grid(array, exponent, bits, rounded=True)
    assert exact.tolist() == [s.denominator == 1 for s in scaled]
    assert in_range.tolist() == [abs(round(s)) < 1 << bits for s in scaled]
    assert magnitudes.shape == (len(values), limbs_for_bits(bits))
    got = messages.to_ints(magnitudes, negative)
    assert [g for g, ok in zip(got, in_range, strict=True) if ok] == [
        round(s) for s, ok in zip(scaled, in_range, strict=True) if ok
    ]


@fast
@given(integers, st.booleans(), st.integers(-1500, 650))
@example([(1 << 53) + 1, (1 << 54) + 2, (1 << 54) + 3, (1 << 118) + (1 << 65), (1 << 118) + (1 << 65) + 1], False, 0)
@example([(1 << 1), (1 << 1) + 1, 1, 3, 4], False, -1076)  # around half of the smallest subnormal
@example([(1 << 120) + 1, (1 << 120) - 1, 1 << 120, 1 << 119, (1 << 121) - 1], True, -1195)
@example([1, 5], True, -(1 << 20))
@example([(1 << 54) + 2, (1 << 300) + (1 << 246), 1, 3], True, -1128)  # halfway cases among the subnormals
def test_to_floats_rounds_once(values: list[int], minus: bool, exponent: int) -> None:
    negative = np.full(len(values), minus)
    got = messages.to_floats(limbs(values), negative, exponent)
    expected = [float(Fraction(-v if minus else v) * Fraction(2) ** exponent) for v in values]
    np.testing.assert_array_equal(got, expected)


def test_to_floats_overflows_to_infinity() -> None:
    got = messages.to_floats(limbs([1 << 300, 1 << 10]), np.array([True, False]), np.array([800, 800]))
    assert got.tolist() == [float("-inf"), 2.0**810]
