"""The evaluator's arithmetic: laws within the stated noise, exact scales and levels, refusals before arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore import ckks
from hecore.ckks import evaluator
from hecore.ckks.encoding import encode
from hecore.ckks.scale import Scale
from hecore.errors import (
    KeyMismatchError,
    LevelError,
    MissingKeyError,
    OperandTypeError,
    ParameterError,
    PlaintextRangeError,
    ScaleError,
)
from tests.ckks.evaluation import SLOTS, agrees, keys, numbers, raw

A, B = numbers(1, SLOTS, seed=1), numbers(1, SLOTS, seed=2)


@pytest.fixture(params=["gadget", "hybrid"])
def chain(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def pair(chain: str = "gadget") -> tuple[ckks.Ciphertext, ckks.Ciphertext]:
    return raw(A[0], chain), raw(B[0], chain)


def test_sums_and_products_of_ciphertexts(chain: str) -> None:
    x, y = pair(chain)
    assert agrees(evaluator.add(x, y), A + B, chain)
    assert agrees(evaluator.subtract(x, y), A - B, chain)
    assert agrees(evaluator.negate(x), -A, chain)
    assert agrees(evaluator.multiply(x, y), A * B, chain)
    assert agrees(evaluator.square(x), A * A, chain)
    product = evaluator.multiply_rescale(x, y)
    assert agrees(product, A * B, chain)
    assert (product.components, product.level) == (2, x.level - 1)
    assert product.scale == x.scale * y.scale / x.parameters.basis.moduli[x.level]


def test_products_with_plaintexts_and_constants(chain: str) -> None:
    x, _ = pair(chain)
    plain = encode(B[0], x.parameters, bound=1.0)
    assert agrees(evaluator.add(x, plain), A + B, chain)
    assert agrees(evaluator.subtract(x, plain), A - B, chain)
    assert agrees(evaluator.multiply(x, plain), A * B, chain)
    for constant in (0.5, -2.25, Fraction(1, 3), np.float32(0.75), 3, -7, np.int64(5), 0):
        assert agrees(evaluator.add(x, constant), A + float(constant), chain)
        assert agrees(evaluator.subtract(x, constant), A - float(constant), chain)
        assert agrees(evaluator.multiply_rescale(x, constant), A * float(constant), chain)


def test_three_components_take_part_in_sums() -> None:
    x, y = pair()
    square = evaluator.square(x)
    assert agrees(evaluator.add(square, evaluator.multiply(y, 1.0, scale=y.scale)), A * A + B)
    assert agrees(evaluator.subtract(evaluator.multiply(y, 1.0, scale=y.scale), square), B - A * A)
    assert agrees(evaluator.add(square, 0.5), A * A + 0.5)
    assert agrees(evaluator.relinearize(square), A * A)
    with pytest.raises(OperandTypeError, match="relinearize"):
        evaluator.multiply(square, x)


def test_an_integer_multiplies_exactly_and_costs_no_level() -> None:
    x, _ = pair()
    times = evaluator.multiply_rescale(x, 3)
    assert (times.level, times.scale) == (x.level, x.scale)
    assert times.noise == 3 * x.noise
    assert times.bound == 3.0


def test_other_constants_give_back_the_scale_exactly() -> None:
    x, _ = pair()
    half = evaluator.multiply_rescale(x, 0.1)
    assert (half.level, half.scale) == (x.level - 1, x.scale)


def test_constants_and_scalars_take_no_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = pair()
    for name in ("ntt", "intt"):
        monkeypatch.setattr(type(x.backend), name, lambda *_: pytest.fail("a transform"))
    evaluator.multiply(evaluator.add(x, 0.5), 0.3)


def test_one_plaintext_or_ciphertext_serves_a_batch() -> None:
    values = numbers(3, SLOTS)
    x, y = raw(values.ravel()), raw(B[0])
    assert agrees(evaluator.add(x, y), values + B)
    assert agrees(evaluator.multiply(x, y), values * B)
    plain = encode(B[0], x.parameters, bound=1.0)
    assert agrees(evaluator.multiply(x, plain), values * B)
    assert agrees(evaluator.add(x, plain), values + B)
    assert agrees(evaluator.add(y, encode(values, x.parameters, bound=1.0)), values + B)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.integers(0, 3))
def test_the_ring_laws_hold_within_the_noise(values: list[float], level: int) -> None:
    a, b, c = (np.full((1, SLOTS), v) for v in values)
    x, y, z = (evaluator.drop_to_level(raw(v[0]), max(1, level)) for v in (a, b, c))
    assert agrees(evaluator.multiply_rescale(x, evaluator.add(y, z)), a * (b + c))
    assert agrees(evaluator.multiply_rescale(evaluator.add(x, y), evaluator.subtract(x, y)), a * a - b * b)


# -- levels and scales -------------------------------------------------------------------------------------


def test_rescaling_divides_the_exact_scale() -> None:
    x, _ = pair()
    q = x.parameters.basis.moduli
    square = evaluator.relinearize(evaluator.square(x))
    assert evaluator.rescale(square).scale == Fraction(2**80, q[3])
    twice = evaluator.rescale(evaluator.multiply(square, 1.0, scale=Scale.of(2**40)), 2)
    assert (twice.level, twice.scale) == (1, Scale.of(2**120) / q[3] / q[2])
    assert agrees(twice, A * A)


def test_dropping_a_level_is_exact() -> None:
    x, _ = pair()
    dropped = evaluator.drop_to_level(x, 0)
    assert (dropped.level, dropped.scale, dropped.noise) == (0, x.scale, x.noise)
    assert agrees(dropped, A)
    with pytest.raises(LevelError, match="from 0 to 0"):
        evaluator.drop_to_level(dropped, 1)


def test_the_higher_operand_drops() -> None:
    x, y = pair()
    low = evaluator.drop_to_level(y, 1)
    assert evaluator.add(x, low).level == 1
    assert agrees(evaluator.multiply(x, low), A * B)
    assert agrees(evaluator.add(low, encode(A[0], x.parameters, bound=1.0)), A + B)
    assert agrees(evaluator.multiply(x, encode(B[0], x.parameters, level=1, bound=1.0)), A * B)


def test_scales_that_differ_are_refused_and_matched() -> None:
    x, y = pair()
    square = evaluator.multiply_rescale(x, x)
    with pytest.raises(ScaleError, match="evaluator.match"):
        evaluator.add(square, y)
    with pytest.raises(ScaleError, match="plaintext"):
        evaluator.add(square, encode(B[0], x.parameters))
    for left, right, expected in ((square, y, A * A + B), (y, square, B + A * A)):
        matched = evaluator.match(left, right)
        assert matched[0].scale == matched[1].scale
        assert matched[0].level == matched[1].level == square.level
        assert agrees(evaluator.add(*matched), expected)


def test_whole_ratios_of_scales_are_matched_exactly_and_for_no_level() -> None:
    x, _ = pair()
    y = raw(B[0], scale=3 * 2**40)
    for matched in (evaluator.match(x, y), evaluator.match(y, x)[::-1]):
        assert matched[0].scale == matched[1].scale == y.scale
        assert matched[0].level == x.level
        assert matched[0].noise == 3 * x.noise
        assert agrees(evaluator.add(*matched), A + B)


def test_what_rounding_the_correction_moves_is_counted() -> None:
    x, _ = pair()
    y = raw(B[0], scale=Fraction(2**41, 3))
    a, b = evaluator.match(x, y)
    assert a.level == b.level == x.level - 1
    assert a.scale == b.scale
    assert agrees(evaluator.add(a, b), A + B)
    assert agrees(evaluator.rescale_to(x, 1, Scale.of(2**38)), A)
    unknown = evaluator.rescale_to(replace(x, bound=None), 1, Scale.of(Fraction(2**40, 3)))
    assert unknown.noise == math.inf


def test_an_alignment_that_cannot_be_made_is_refused() -> None:
    x, _ = pair()
    far = evaluator.drop_to_level(raw(B[0], scale=Fraction(2**70, 3)), 1)
    with pytest.raises(ScaleError, match="bits"):
        evaluator.rescale_to(far, 0, Scale.of(2**30))
    low, other = evaluator.drop_to_level(x, 0), evaluator.drop_to_level(raw(B[0], scale=Fraction(2**41, 3)), 0)
    with pytest.raises(LevelError, match="longer chain"):
        evaluator.match(low, other)


# -- refusals ----------------------------------------------------------------------------------------------


def test_exhausted_levels_say_what_to_change() -> None:
    x = evaluator.drop_to_level(pair()[0], 0)
    for factor in (x, 0.5):
        with pytest.raises(LevelError, match="moduli_bits"):
            evaluator.multiply_rescale(x, factor)
    with pytest.raises(LevelError, match="longer chain of moduli_bits"):
        evaluator.rescale(x)
    with pytest.raises(ParameterError, match="at least one"):
        evaluator.rescale(pair()[0], 0)


def test_products_that_overflow_the_modulus_are_refused() -> None:
    x = evaluator.drop_to_level(pair()[0], 0)
    with pytest.raises(ScaleError, match="bits of modulus at level 0"):
        evaluator.multiply(x, x)
    with pytest.raises(ScaleError, match="bits of modulus"):
        evaluator.multiply(x, 2**40)
    with pytest.raises(ScaleError, match="bits of modulus"):
        evaluator.add(x, 2.0**30)
    unknown = replace(x, bound=None)
    with pytest.raises(ScaleError, match="bits of modulus"):
        evaluator.multiply(unknown, unknown)


def test_mixed_keys_and_parameters_are_refused() -> None:
    x, _ = pair()
    other = ckks.generate_keys(x.parameters).public_key.encrypt(A[0]).ciphertext
    for operation in (evaluator.add, evaluator.subtract, evaluator.multiply, evaluator.match):
        with pytest.raises(KeyMismatchError):
            operation(x, other)
        with pytest.raises(ParameterError):
            operation(x, raw(A[0], "hybrid"))
    with pytest.raises(ParameterError, match="plaintext"):
        evaluator.add(x, encode(A[0], keys("hybrid").parameters))


@pytest.mark.parametrize("wrong", ["1", None, True, 1j, [1.0], np.array(1.0)])
def test_what_is_no_real_number_is_refused(wrong: Any) -> None:
    x, _ = pair()
    for operation in (evaluator.add, evaluator.subtract, evaluator.multiply):
        with pytest.raises(OperandTypeError, match="cannot compute"):
            operation(x, wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, np.float32("-inf")])
def test_what_is_not_finite_is_refused(wrong: float) -> None:
    x, _ = pair()
    for operation in (evaluator.add, evaluator.subtract, evaluator.multiply):
        with pytest.raises(PlaintextRangeError, match="NaN"):
            operation(x, wrong)


def test_a_missing_relinearization_key_is_named() -> None:
    x = replace(pair()[0], evaluation_keys=None)
    with pytest.raises(MissingKeyError, match=r"ckks\.generate_keys"):
        evaluator.relinearize(evaluator.square(x))
    flat = raw(A[0], "flat", scale=2**20)
    with pytest.raises(MissingKeyError):
        evaluator.relinearize(evaluator.square(flat))


def test_the_reference_gives_the_same_residues() -> None:
    x, y = pair()
    here = evaluator.multiply_rescale(evaluator.add(x, 0.5), y)
    there = evaluator.multiply_rescale(evaluator.add(x.to("reference"), 0.5), y.to("reference"))
    np.testing.assert_array_equal(
        here.backend.ring_download(here.polynomials), there.backend.ring_download(there.polynomials)
    )


def test_the_error_of_real_parameters_stays_within_the_noise() -> None:
    parameters = ckks.Parameters(ring_degree=8192, moduli_bits=[60, 40, 40, 60], scale=2**40)
    real = ckks.generate_keys(parameters)
    values = np.random.default_rng(3).uniform(-1, 1, parameters.slots)
    x = real.public_key.encrypt(values, bound=1.0).ciphertext
    product = evaluator.multiply_rescale(x, x)
    error = np.abs(real.secret_key.decrypt(product)[0] - values**2).max()
    assert error < product.noise / float(product.scale) < 1e-3
    assert error < 1e-6


@pytest.mark.parametrize("factor", [1e60, 2**200, 10**400, Fraction(10**400), -(2**200)])
def test_constants_overflow_without_a_declared_bound(factor: Any) -> None:
    x = raw(numbers(SLOTS), bound=None)
    for operation in (evaluator.add, evaluator.subtract, evaluator.multiply):
        with pytest.raises(ScaleError, match="need more than"):
            operation(x, factor)


def test_arrays_overflow_without_a_declared_bound() -> None:
    x = keys().public_key.encrypt(numbers(SLOTS))
    with pytest.raises(ScaleError, match="need more than"):
        x * np.full(SLOTS, 1e30)


def test_rescaling_by_more_than_a_double_holds_is_refused() -> None:
    parameters = ckks.Parameters.insecure(ring_degree=64, moduli_bits=[60] * 22, scale=2**40)
    x = ckks.generate_keys(parameters).secret_key.encrypt(0.5, bound=1.0).ciphertext
    with pytest.raises(ScaleError, match="too little"):
        evaluator.rescale(x, 18)


def test_a_rescale_that_would_leave_no_scale_is_refused() -> None:
    x, _ = pair()
    with pytest.raises(ScaleError, match="too little"):
        evaluator.rescale(x, x.level)
    with pytest.raises(OperandTypeError, match="integer"):
        evaluator.rescale(x, 1.5)  # type: ignore[arg-type]


def test_evaluation_keys_of_either_operand_serve() -> None:
    x, y = pair()
    bare = replace(x, evaluation_keys=None)
    for product in (evaluator.multiply_rescale(bare, y), evaluator.multiply_rescale(evaluator.add(bare, y), x)):
        assert product.evaluation_keys is x.evaluation_keys
    assert agrees(evaluator.multiply_rescale(bare, y), A * B)
    with pytest.raises(MissingKeyError):
        evaluator.multiply_rescale(bare, bare)
