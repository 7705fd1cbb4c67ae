from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hecore.arith import integers

N = 2**521 - 1  # prime
numbers = st.integers(0, 2**600)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["gmpy2", "python"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test once with gmpy2 and once as where it is missing."""
    if request.param == "gmpy2":
        pytest.importorskip("gmpy2")
    else:
        monkeypatch.setattr(integers, "gmpy2", None)


@few
@given(numbers, numbers)
def test_powmod(base: int, exponent: int) -> None:
    for modulus in (3, 2**64 + 13, N):
        assert integers.powmod(base, exponent, modulus) == pow(base, exponent, modulus)


@few
@given(numbers, st.integers(1, 2**100))
def test_powmod_with_a_secret_exponent(base: int, exponent: int) -> None:
    for modulus in (3, 2**64 + 13, N):
        assert integers.powmod_secret(base, exponent, modulus) == pow(base, exponent, modulus)


@few
@given(st.integers(1, N - 1), st.integers(1, 2**70))
def test_negative_exponents_invert(base: int, exponent: int) -> None:
    assert integers.powmod(base, -exponent, N) * pow(base, exponent, N) % N == 1


def test_zero_to_the_zero_is_one() -> None:
    assert integers.powmod(0, 0, 7) == 1


@few
@given(st.integers(-(2**200), 2**200), st.integers(2, 2**130))
def test_invert(value: int, modulus: int) -> None:
    if math.gcd(value, modulus) == 1:
        inverse = integers.invert(value, modulus)
        assert 0 <= inverse < modulus
        assert inverse * value % modulus == 1
    else:
        with pytest.raises(ZeroDivisionError):
            integers.invert(value, modulus)


def test_what_has_no_inverse_raises_the_same_with_and_without_gmpy2() -> None:
    for value, modulus in ((0, 7), (14, 7), (6, 9)):
        with pytest.raises(ZeroDivisionError):
            integers.invert(value, modulus)
        with pytest.raises(ValueError, match="not invertible"):
            integers.powmod(value, -3, modulus)


@few
@given(numbers, numbers, st.integers(1, 2**300))
def test_gcd_and_mulmod(a: int, b: int, modulus: int) -> None:
    assert integers.gcd(a, b) == math.gcd(a, b)
    assert integers.mulmod(a, b, modulus) == a * b % modulus


def test_results_are_plain_python_integers() -> None:
    results = [
        integers.powmod(5, 7, 11),
        integers.powmod_secret(5, 7, 11),
        integers.invert(5, 11),
        integers.gcd(6, 9),
        integers.mulmod(5, 7, 11),
    ]
    assert {type(x) for x in results} == {int}
