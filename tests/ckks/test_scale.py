"""Exact scales: a group under multiplication, equal exactly where the numbers are."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecore.ckks.scale import Scale
from hecore.errors import OperandTypeError, ScaleError

PRIMES = (1152921504606830593, 1099511480321, 1099510890497)
numbers = st.one_of(
    st.integers(1, 1 << 70),
    st.fractions(min_value=Fraction(1, 1 << 40), max_value=1 << 80).filter(bool),
    st.floats(min_value=2.0**-60, max_value=2.0**100),
    st.sampled_from(PRIMES),
)


@given(numbers, numbers, st.integers(-4, 4))
def test_arithmetic_is_that_of_fractions(a: Fraction | float, b: Fraction | float, exponent: int) -> None:
    x, y = Scale.of(a), Scale.of(b)
    exact_a, exact_b = Fraction(a), Fraction(b)
    assert (x * y).fraction() == exact_a * exact_b
    assert (x / y).fraction() == exact_a / exact_b
    assert (x**exponent).fraction() == exact_a**exponent
    assert (x * b).fraction() == (b * x).fraction() == exact_a * exact_b
    assert (b / x).fraction() == exact_b / exact_a
    assert float(x) == float(exact_a)
    assert x.log2 == pytest.approx(math.log2(exact_a), abs=1e-9)


@given(numbers, numbers)
def test_equal_where_the_numbers_are(a: Fraction | float, b: Fraction | float) -> None:
    x, y = Scale.of(a), Scale.of(b)
    assert (x == y) == (Fraction(a) == Fraction(b))
    assert x * y / y == x
    assert hash(x * y / y) == hash(x)


def test_one_number_written_in_two_ways() -> None:
    three_five, fifteen = Scale.of(3) * Scale.of(5), Scale.of(15)
    assert three_five.powers != fifteen.powers
    assert three_five == fifteen
    assert hash(three_five) == hash(fifteen)
    assert three_five != Scale.of(15) * Fraction(PRIMES[1], PRIMES[2])


def test_a_close_scale_is_not_equal() -> None:
    scale = Scale.of(2**40)
    assert scale * scale / PRIMES[1] != scale
    assert scale == 2.0**40
    assert scale != 2.0**40 + 1
    assert scale != 0
    assert scale != math.nan
    assert scale != "2^40"


def test_it_stays_short_over_many_levels() -> None:
    scale = Scale.of(2**40)
    for _ in range(200):
        scale = scale * scale / PRIMES[1]
        scale = scale / scale * 2**40
    assert len(scale.powers) == 1
    long = Scale.of(2**40) ** 100 / Scale.of(PRIMES[1]) ** 99
    assert len(long.powers) == 2


def test_a_multiple_of_the_hash_prime_has_a_hash() -> None:
    scale = Scale.of((1 << 61) - 1)
    assert hash(scale / 2) == hash(scale * 3) != 0


@pytest.mark.parametrize("value", [0, -1, -0.5, math.inf, math.nan, Fraction(-1, 3)])
def test_what_is_not_positive_and_finite_is_refused(value: float) -> None:
    with pytest.raises(ScaleError):
        Scale.of(value)


@pytest.mark.parametrize("value", [True, "2", None, 2j, np.ones(2)])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(OperandTypeError):
        Scale.of(value)  # type: ignore[arg-type]


def test_numpy_integers_are_numbers() -> None:
    assert Scale.of(np.int64(2**40)) == Scale.of(2**40)


def test_beyond_doubles() -> None:
    scale = Scale.of(2) ** 2000
    assert scale.log2 == 2000
    with pytest.raises(ScaleError, match="2\\^2000"):
        float(scale)


def test_bad_bases() -> None:
    with pytest.raises(ScaleError):
        Scale([(1, 3)])


def test_repr() -> None:
    assert repr(Scale.of(2**40)) == "<Scale 2^40>"
    assert repr(Scale.of(1)) == "<Scale 1>"
    assert "2^" in repr(Scale.of(2**40) * 3 * 5)
