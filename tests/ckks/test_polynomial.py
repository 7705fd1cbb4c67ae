"""Polynomials: values within the noise, least depth, exact scales, counted products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hecore.ckks import chebyshev, evaluator, polynomial
from hecore.counting import operation_counter
from hecore.errors import LevelError, MissingKeyError, OperandTypeError, ParameterError, PlaintextRangeError
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers, raw

A = numbers(SLOTS, seed=8)
DEGREES = [1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 16, 20, 31]


@pytest.mark.parametrize("degree", DEGREES)
def test_powers(degree: int) -> None:
    coefficients, x = numbers(degree + 1, seed=degree), encrypt(A, "deep")
    y = polynomial.evaluate(x, coefficients)
    assert agrees(y, np.polynomial.polynomial.polyval(A, coefficients), "deep")
    assert (y.level, y.scale) == (x.level - polynomial.depth(degree), x.scale)


@pytest.mark.parametrize("degree", DEGREES)
def test_chebyshev_series(degree: int) -> None:
    coefficients, x = numbers(degree + 1, seed=degree), encrypt(A, "deep")
    y = chebyshev(x, coefficients)
    assert agrees(y, np.polynomial.chebyshev.chebval(A, coefficients), "deep")
    assert (y.level, y.scale) == (x.level - polynomial.depth(degree), x.scale)


@pytest.mark.parametrize("chain", ["gadget", "hybrid"])
def test_short_chains_down_to_the_last_level(chain: str) -> None:
    coefficients = numbers(8, seed=3)
    y = polynomial.evaluate(encrypt(A, chain), coefficients)
    assert y.level == 0
    assert agrees(y, np.polynomial.polynomial.polyval(A, coefficients), chain)


def test_coefficients_that_are_zero() -> None:
    for coefficients in ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, -0.5], [1.0, 0.0, 0.0, 0.0, 0.5], [0.5, 0.0], [0.0] * 4):
        x = encrypt(A, "deep")
        assert agrees(polynomial.evaluate(x, coefficients), np.polynomial.polynomial.polyval(A, coefficients), "deep")
        assert agrees(chebyshev(x, coefficients), np.polynomial.chebyshev.chebval(A, coefficients), "deep")


def test_degree_seven_takes_four_relinearizations() -> None:
    with operation_counter() as counts:
        polynomial.evaluate(encrypt(A, "deep"), numbers(8))
    assert (counts["key_switch"], counts["multiply"]) == (4, 5)


def test_degree_thirty_one_takes_ten() -> None:
    with operation_counter() as counts:
        polynomial.evaluate(encrypt(A, "deep"), numbers(32))
    assert counts["key_switch"] == 10


def test_an_interval_costs_a_level_unless_it_is_of_length_two() -> None:
    values, coefficients = 2 + 5 * A, numbers(8)
    y = chebyshev(encrypt(values, "deep", bound=7.0), coefficients, (-3.0, 7.0))
    assert agrees(y, np.polynomial.Chebyshev(coefficients, domain=(-3, 7))(values), "deep")
    shifted = chebyshev(encrypt(A + 1, "deep", bound=2.0), coefficients, (0.0, 2.0))
    assert agrees(shifted, np.polynomial.chebyshev.chebval(A, coefficients), "deep")
    assert (y.level, shifted.level) == (12 - 4, 12 - 3)


@pytest.mark.parametrize("exponent", [*range(1, 10), 15, 16, 23])
def test_whole_powers(exponent: int) -> None:
    x = encrypt(A, "deep")
    assert agrees(x**exponent, A**exponent, "deep")
    assert (x**exponent).level == x.level - (exponent - 1).bit_length()


def test_ciphertexts_and_unrelinearized_products() -> None:
    x = raw(A, "deep")
    assert agrees(polynomial.evaluate(x, [0.5, 1.0, -0.25]), (0.5 + A - 0.25 * A**2)[None], "deep")
    square = evaluator.rescale(evaluator.square(x))
    assert agrees(polynomial.evaluate(square, [0.5, 1.0, -0.25]), (0.5 + A**2 - 0.25 * A**4)[None], "deep")


def test_slots_without_a_value_are_known_afterwards() -> None:
    values = A[:5]
    y = polynomial.evaluate(encrypt(values, "deep") + 1.0, [0.5, 1.0, -0.25])
    assert y.padding == pytest.approx(0.5 + 1.0 - 0.25)
    own = keys("deep")
    galois = replace(own.evaluation_keys, galois_keys=own.secret_key.make_galois_keys())
    expected = np.polynomial.polynomial.polyval(values + 1, [0.5, 1.0, -0.25]).sum()
    assert agrees(y.with_keys(galois).sum(), np.asarray(expected), "deep")


def test_without_a_bound_the_noise_is_unknown() -> None:
    y = polynomial.evaluate(encrypt(A, "deep", bound=None), [0.5, 1.0, -0.25])
    assert y.ciphertext.bound is None
    assert y.ciphertext.noise == np.inf
    np.testing.assert_allclose(keys("deep").secret_key.decrypt(y), 0.5 + A - 0.25 * A**2, atol=1e-6)


def test_too_few_levels_say_how_many_are_needed() -> None:
    with pytest.raises(LevelError, match="takes 4 levels.*1 more of moduli_bits"):
        polynomial.evaluate(encrypt(A), numbers(16))
    with pytest.raises(LevelError):
        encrypt(A) ** 9


@pytest.mark.parametrize("wrong", [[1.0], [], [[1.0, 2.0]]])
def test_degrees_below_one_are_refused(wrong: Any) -> None:
    for function in (polynomial.evaluate, chebyshev):
        with pytest.raises(ParameterError, match="degrees 0 to d"):
            function(encrypt(A), wrong)


def test_other_refusals() -> None:
    x = encrypt(A)
    with pytest.raises(PlaintextRangeError, match="NaN"):
        polynomial.evaluate(x, [1.0, np.nan])
    with pytest.raises(OperandTypeError, match="real numbers"):
        polynomial.evaluate(x, ["a", "b"])
    wrong: Any = A
    with pytest.raises(OperandTypeError, match="cannot evaluate at"):
        polynomial.evaluate(wrong, [1.0, 1.0])
    with pytest.raises(ParameterError, match="ascend"):
        chebyshev(x, [1.0, 1.0], (1.0, -1.0))
    with pytest.raises(PlaintextRangeError, match="declared bound is 1.0"):
        chebyshev(x, [1.0, 1.0], (-0.5, 0.5))
    with pytest.raises(ParameterError, match="from 1 on"):
        polynomial.power(x, 0)
    for exponent in (0, -1, 0.5, True):
        with pytest.raises(OperandTypeError, match="whole number"):
            x**exponent
    with pytest.raises(MissingKeyError, match="relinearization"):
        polynomial.evaluate(replace(x.ciphertext, evaluation_keys=None), [1.0, 1.0, 1.0])


@pytest.mark.parametrize("coefficients", [np.array([0.0, 1j]), ["0", "1"], [[1.0], [2.0, 3.0]]])
def test_coefficients_that_are_not_real(coefficients: Any) -> None:
    """NumPy would drop imaginary parts with a warning, and read digits out of text."""
    with pytest.raises(OperandTypeError):
        polynomial.evaluate(encrypt(A), coefficients)


def test_intervals_and_powers_that_are_no_numbers() -> None:
    for interval in [(float("nan"), 1.0), (-float("inf"), 1.0), (1.0, 1.0)]:
        with pytest.raises(ParameterError):
            chebyshev(encrypt(A), [0.0, 1.0], interval)
    interval_of_one: Any = (1.0,)
    with pytest.raises(OperandTypeError):
        chebyshev(encrypt(A), [0.0, 1.0], interval_of_one)
    exponent: Any = 2.0
    with pytest.raises(OperandTypeError):
        polynomial.power(encrypt(A), exponent)
