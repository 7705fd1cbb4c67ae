"""Sigmoid, inverse and sign: the stated errors are those found, encrypted as in plain."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hecore import ckks
from hecore.ckks import approximation
from hecore.errors import LevelError, ParameterError, PlaintextRangeError
from tests.ckks.evaluation import agrees, encrypt, keys


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def table(function: Callable[..., Any]) -> list[list[str]]:
    """The rows of the table in a docstring, without its head."""
    assert function.__doc__ is not None
    lines = [line.strip() for line in function.__doc__.splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def within(x: Any, expected: Any, error: float, chain: str = "deep") -> bool:
    """Off by at most the approximation's error and the noise."""
    noise = x.ciphertext.noise / float(x.scale)
    return bool(np.abs(keys(chain).secret_key.decrypt(x) - expected).max() <= error + noise)


def test_sigmoid() -> None:
    values = np.linspace(-8, 8, 31)
    y = ckks.sigmoid(encrypt(values, "deep", bound=8.0))
    found = approximation.sigmoid_approximation()
    assert within(y, logistic(values), found.error)
    assert agrees(y, np.polynomial.Chebyshev(found.coefficients, domain=found.interval)(values), "deep")
    assert y.level == 12 - found.depth


def test_inverse() -> None:
    values = np.linspace(0.125, 1, 31)
    y = ckks.inverse(encrypt(values, "deep"))
    assert within(y, 1 / values, approximation.inverse_approximation().error)
    negative = ckks.inverse(encrypt(-values, "deep"), interval=(-1.0, -0.125))
    assert within(negative, -1 / values, approximation.inverse_approximation().error)


@pytest.mark.parametrize("separation", [0.125, 0.25])
def test_sign(separation: float) -> None:
    values = np.concatenate([np.linspace(-1, -separation, 16), np.linspace(separation, 1, 16)])
    y = ckks.sign(encrypt(values, "deep"), separation)
    assert within(y, np.sign(values), 2.0**-10)
    assert y.ciphertext.bound == 1.0


def test_stated_errors_of_sigmoid_and_inverse_are_those_found() -> None:
    rows = table(approximation.sigmoid)
    assert len(rows) == 5
    for radius, degree, error, levels in rows:
        found = approximation.sigmoid_approximation(float(radius), int(degree))
        assert f"{found.error:.2g}" == error
        assert found.depth == int(levels)
    rows = table(approximation.inverse)
    assert len(rows) == 5
    for interval, degree, error, levels in rows:
        low, high = (float(Fraction(end)) for end in interval.split(" … "))
        found = approximation.inverse_approximation((low, high), int(degree))
        assert f"{found.error:.2g}" == error
        assert found.depth == int(levels)


def test_stated_steps_of_sign_suffice() -> None:
    rows = table(approximation.sign)
    assert len(rows) == 5
    for separation, error, steps, levels in rows:
        power = re.fullmatch(r"2\^(-\d+)", error)
        assert power is not None
        allowed = 2.0 ** int(power[1])
        spread, pull = approximation.sign_steps(float(Fraction(separation)), allowed)
        assert f"{spread} + {pull}" == steps
        assert 3 * (spread + pull) == int(levels)
        points: Any = np.linspace(float(Fraction(separation)), 1, 5_000)
        for _ in range(spread):
            points = np.polynomial.polynomial.polyval(points, approximation._SPREAD)
        for _ in range(pull):
            points = np.polynomial.polynomial.polyval(points, approximation._PULL)
        assert np.abs(1 - points).max() <= allowed


def test_the_polynomials_of_sign_stay_within_one() -> None:
    points = np.linspace(-1, 1, 100_001)
    for coefficients in (approximation._SPREAD, approximation._PULL):
        assert np.abs(np.polynomial.polynomial.polyval(points, coefficients)).max() <= 1 + 1e-12


def test_errors_fall_with_the_degree() -> None:
    errors = [approximation.inverse_approximation((0.125, 1.0), degree).error for degree in (7, 15, 31)]
    assert errors[0] > 10 * errors[1] > 1000 * errors[2]


def test_values_outside_the_interval_are_refused_where_they_are_known() -> None:
    with pytest.raises(PlaintextRangeError, match="bound is 9"):
        ckks.sigmoid(encrypt(np.zeros(3), "deep", bound=9.0))
    with pytest.raises(PlaintextRangeError, match="bound is 2"):
        ckks.sign(encrypt(np.zeros(3), "deep", bound=2.0))


def test_too_few_levels_say_how_many_are_needed() -> None:
    with pytest.raises(LevelError, match="take 9 levels"):
        ckks.sign(encrypt(np.ones(3)))
    with pytest.raises(LevelError):
        ckks.sigmoid(encrypt(np.ones(3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: approximation.sigmoid_approximation(0.0),
        lambda: approximation.sigmoid_approximation(8.0, 0),
        lambda: approximation.sigmoid_approximation(8.0, 1000),
        lambda: approximation.inverse_approximation((-1.0, 1.0)),
        lambda: approximation.inverse_approximation((1.0, 0.5)),
        lambda: approximation.inverse_approximation((0.0, 1.0)),
        lambda: approximation.sign_steps(0.0, 0.5),
        lambda: approximation.sign_steps(0.5, 0.0),
        lambda: approximation.sign_steps(1.0, 0.5),
    ],
)
def test_numbers_out_of_range_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ParameterError, match="cannot"):
        call()


def test_empty_slots_stay_in_the_interval() -> None:
    """1/x on [0.5, 1.5] by degree 31 is -210 at 0, which sums would take away again, with all its error."""
    values = np.array([0.5, 0.8, 1.1, 1.4, 1.5])
    y = ckks.inverse(encrypt(values, "deep", bound=1.5), (0.5, 1.5), 31)
    assert agrees(y, 1 / values, "deep")
    assert agrees(y.sum(), (1 / values).sum(), "deep")
    assert y.padding is not None
    assert abs(y.padding) <= 2
    signed = ckks.sign(encrypt([-3.5, -2.5, -3.7], "deep", bound=None) + 3, 0.25, 2.0**-5)
    assert np.abs(keys("deep").secret_key.decrypt(signed) - [-1, 1, -1]).max() < 2.0**-4
