"""The encoder: the embedding by its definition, exact roundings at every scale, and what it refuses."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hecore
from hecore.arith.limbs import limbs_from_ints
from hecore.backends import registry
from hecore.ckks import embedding, encoding
from hecore.ckks.encoding import Plaintext, decode, encode, prepare
from hecore.ckks.params import Parameters
from hecore.ckks.scale import Scale
from hecore.errors import (
    OperandTypeError,
    ParameterError,
    PlaintextOverflowError,
    PlaintextRangeError,
    ScaleError,
    ShapeError,
)

RING_DEGREE = 64
SLOTS = RING_DEGREE // 2
SCALES = [2**20, 2**40, 2**48, 2**49, 2**60, 2**62, 2**63, 2**80, 2**100, 2**115, 2**118, Fraction(2**90, 3)]


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return Parameters.insecure(ring_degree=RING_DEGREE, moduli_bits=[50, 50, 50, 50], scale=2**40)


def numbers(count: int | tuple[int, ...], *, real: bool = False, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, count)
    return values if real else values + 1j * rng.uniform(-1, 1, count)


def coefficients(plaintext: Plaintext) -> list[int]:
    """Of one polynomial."""
    magnitudes, negative = plaintext.backend.ring_decode(plaintext.polynomial)
    whole = [sum(int(limb) << (64 * i) for i, limb in enumerate(row)) for row in magnitudes]
    return [-x if minus else x for x, minus in zip(whole, negative, strict=True)]


def test_slots_are_the_evaluations_in_seals_order(parameters: Parameters) -> None:
    plaintext = encode(numbers(SLOTS), parameters)
    polynomial = coefficients(plaintext)
    for j, slot in enumerate(decode(plaintext)):
        zeta = cmath.exp(1j * math.pi * pow(3, j, 2 * RING_DEGREE) / RING_DEGREE)
        value = sum(c * zeta**t for t, c in enumerate(polynomial)) / 2**40
        assert abs(value - slot) < 1e-12


def test_automorphisms_rotate_and_conjugate(parameters: Parameters) -> None:
    values = numbers(SLOTS)
    plaintext = encode(values, parameters)

    def image(element: int) -> np.ndarray[Any, Any]:
        polynomial = plaintext.backend.automorphism(plaintext.polynomial, element)
        return decode(Plaintext(parameters, polynomial, plaintext.level, plaintext.scale, None, 0.0))

    assert np.abs(image(3) - np.roll(values, -1)).max() < 1e-9
    assert np.abs(image(pow(3, 5, 2 * RING_DEGREE)) - np.roll(values, -5)).max() < 1e-9
    assert np.abs(image(2 * RING_DEGREE - 1) - values.conj()).max() < 1e-9


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("real", [True, False])
def test_round_trips_are_as_exact_as_the_scale_allows(parameters: Parameters, scale: int, real: bool) -> None:
    values = numbers((3, SLOTS), real=real)
    plaintext = encode(values, parameters, scale=scale, bound=2.0)
    exact = Scale.of(scale)
    assert plaintext.scale == exact
    error = np.abs(decode(plaintext) - values).max()
    assert error <= plaintext.noise / float(scale) + 2.0**-51
    if exact.log2 > 90:  # doubles come back whole
        out = decode(plaintext)
        assert np.array_equal(out.real if real else out, values)


@pytest.mark.parametrize("scale", SCALES)
def test_coefficients_are_the_true_ones_rounded(parameters: Parameters, scale: int) -> None:
    """Against sums of exact rationals: m_t = 2/N * Re(sum_j z_j * conj(zeta^(3^j))^t), rounded."""
    values = numbers(SLOTS)
    powers = embedding._fixed_powers(RING_DEGREE)  # zeta^t for t < N; zeta^(t+N) = -zeta^t
    unit = 1 << 192

    def root(exponent: int) -> tuple[Fraction, Fraction]:
        sign, place = (-1) ** (exponent // RING_DEGREE), exponent % RING_DEGREE
        x, y = powers[place]
        return Fraction(sign * x, unit), Fraction(sign * y, unit)

    unprecise = embedding.unit_roundoff(Scale.of(scale)) > 2.0**-60
    room = Fraction(scale) * 2**-47 if unprecise else Fraction(scale) * 2**-96
    for t, got in enumerate(coefficients(encode(values, parameters, scale=scale))):
        total = Fraction(0)
        for j, z in enumerate(values):
            x, y = root(pow(3, j, 2 * RING_DEGREE) * t % (2 * RING_DEGREE))
            total += Fraction(z.real) * x + Fraction(z.imag) * y
        assert abs(got - Fraction(scale) * total * 2 / RING_DEGREE) <= Fraction(1, 2) + room


def test_roots_of_unity_in_fixed_point() -> None:
    for ring_degree in (16, 1024):
        for t, (x, y) in enumerate(embedding._fixed_powers(ring_degree)):
            expected = cmath.exp(1j * math.pi * t / ring_degree)
            assert abs(complex(x / 2**192, y / 2**192) - expected) < 1e-14
            assert abs(x * x + y * y - (1 << 384)) < 1 << 222


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6), st.sampled_from([2**10, 2**40, 2**70, Fraction(2**60, 7)]))
def test_scalars_are_constants_rounded_exactly(value: float, scale: int) -> None:
    parameters = Parameters.insecure(ring_degree=16, moduli_bits=[50, 50, 50], scale=2**40)
    plaintext = encode(value, parameters, scale=scale)
    constant = round(Fraction(value) * Fraction(scale))
    assert coefficients(plaintext) == [constant] + [0] * 15
    assert plaintext.shape == ()
    assert plaintext.noise == 0.5


def test_scalars_fill_every_slot(parameters: Parameters) -> None:
    for value in (0.75, np.float32(0.75), np.array(0.75), 3, np.int8(-3), True):
        assert np.array_equal(decode(encode(value, parameters)), np.full(SLOTS, value))
    assert np.abs(decode(encode(0.5 - 2j, parameters)) - (0.5 - 2j)).max() < 1e-9


@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (2, 3, 7), (2, 0, 4)])
def test_short_values_are_padded_with_zeros(parameters: Parameters, shape: tuple[int, ...]) -> None:
    values = numbers(shape)
    out = decode(encode(values, parameters))
    assert out.shape == (*shape[:-1], SLOTS)
    assert np.abs(out[..., : shape[-1]] - values).max(initial=0) < 1e-9
    assert np.abs(out[..., shape[-1] :]).max(initial=0) < 1e-9


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels(parameters: Parameters, level: int) -> None:
    plaintext = encode(numbers(SLOTS), parameters, level=level, scale=2**30)
    assert plaintext.polynomial.basis == parameters.level_basis(level)
    assert np.abs(decode(plaintext) - numbers(SLOTS)).max() < 1e-6


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint32, np.float16, np.float32, np.complex64, bool])
def test_dtypes(parameters: Parameters, dtype: type) -> None:
    values: np.ndarray[Any, Any] = np.array([1, 0, 1, 1], dtype=dtype)
    assert np.abs(decode(encode(values, parameters))[:4] - values).max() < 1e-9


def test_where_it_is_made(parameters: Parameters) -> None:
    reference = registry.get("reference")
    values = numbers(SLOTS)
    with hecore.use("reference"):
        assert encode(values, parameters).backend is reference
    elsewhere = encode(values, parameters, backend=reference)
    here = encode(values, parameters)
    assert elsewhere.backend is reference
    assert here.backend is registry.current()
    assert np.array_equal(reference.ring_download(elsewhere.polynomial), here.backend.ring_download(here.polynomial))


# -- noise ---------------------------------------------------------------------------------------------------


def test_noise_is_known_where_a_bound_is_declared(parameters: Parameters) -> None:
    values = numbers(SLOTS, real=True)
    assert encode(values, parameters).noise == math.inf
    assert encode(values, parameters).bound is None
    assert encode(values, parameters, bound=1.0).noise == pytest.approx(RING_DEGREE / 2, abs=1)


def test_large_scales_do_not_make_the_encoder_noisy(parameters: Parameters) -> None:
    """What decrypt_public has to hide stays the rounding of coefficients."""
    for scale in (2**60, 2**80):
        assert encode(numbers(SLOTS), parameters, scale=scale, bound=2).noise < RING_DEGREE / 2 + 1
    plaintext = encode(numbers(SLOTS), parameters, scale=2**80, bound=2)
    assert encoding.decoding_error(plaintext) < 2.0**-50
    assert encoding.decoding_error(encode(0.5, parameters)) == math.inf


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, complex(0, math.nan)])
def test_not_finite(parameters: Parameters, value: complex) -> None:
    for values in (value, [0.5, value]):
        with pytest.raises(PlaintextRangeError, match="NaN or infinite"):
            encode(values, parameters)


@pytest.mark.parametrize("values", [1e10, np.full(SLOTS, -1e10), [-1e12, 1e12]])
def test_overflow_of_the_modulus(parameters: Parameters, values: Any) -> None:
    with pytest.raises(PlaintextRangeError, match="level 0"):
        encode(values, parameters, level=0)
    with pytest.raises(PlaintextRangeError, match="level 2"):
        encode(values, parameters, scale=2**118)
    out = decode(encode(values, parameters))  # the same fit three moduli
    assert np.abs(out[: np.size(values)] - values).max() < 1e-3


def test_beyond_the_declared_bound(parameters: Parameters) -> None:
    for values in (1.5, [0.5, -1.5], [1.1j], 1.1 - 0j):
        with pytest.raises(PlaintextRangeError, match="declared bound of 1"):
            encode(values, parameters, bound=1)
    for bound in (-1.0, math.inf, math.nan):
        with pytest.raises(ParameterError, match="bound"):
            encode(0.5, parameters, bound=bound)


def test_messages_never_show_a_value(parameters: Parameters) -> None:
    secret = 123456.789
    with pytest.raises(PlaintextRangeError) as caught:
        encode([secret], parameters, bound=1)
    assert "123" not in str(caught.value)
    plaintext = encode([secret], parameters)
    message = prepare(np.array([secret]), parameters, level=2, scale=parameters.scale, bound=None)
    assert "123" not in repr(plaintext) + repr(message)


def test_too_many_slots(parameters: Parameters) -> None:
    with pytest.raises(ShapeError, match="33 values .* 32 slots"):
        encode(np.zeros(33), parameters)


@pytest.mark.parametrize("values", ["text", None, [None], [[1], [2, 3]], np.array(["1"]), [10**400], object()])
def test_what_is_no_array_of_numbers(parameters: Parameters, values: Any) -> None:
    with pytest.raises((OperandTypeError, ShapeError)):
        encode(values, parameters)


def test_bad_scale(parameters: Parameters) -> None:
    with pytest.raises(ScaleError):
        encode([0.5], parameters, scale=-(2**40))


def test_a_plaintext_checks_its_basis(parameters: Parameters) -> None:
    plaintext = encode(numbers(SLOTS), parameters)
    with pytest.raises(ParameterError, match="level 1"):
        Plaintext(parameters, plaintext.polynomial, 1, plaintext.scale, None, 0.0)


@pytest.mark.parametrize("scale", [2**40, 2**60])
@pytest.mark.parametrize("signs", ["alternating", "random", "complex"])
def test_values_whose_transform_leaves_the_doubles(signs: str, scale: int) -> None:
    """Infinities of both signs leave NaN, which is no large number to a comparison."""
    values: Any = {
        "alternating": np.resize([1e308, -1e308], SLOTS),
        "random": 1e308 * np.random.default_rng(1).choice([-1, 1], SLOTS),
        "complex": np.full(SLOTS, 1e308 * (1 + 1j)),
    }[signs]
    parameters = Parameters.insecure(ring_degree=RING_DEGREE, moduli_bits=[60, 40, 40, 60], scale=scale)
    with pytest.raises(PlaintextRangeError):
        encode(values, parameters)


def test_moduli_longer_than_any_double() -> None:
    parameters = Parameters.insecure(ring_degree=RING_DEGREE, moduli_bits=[60] * 20, scale=2**40)
    values = np.linspace(-1, 1, SLOTS)
    assert np.abs(decode(encode(values, parameters)) - values).max() < 1e-9
    assert np.abs(decode(encode(0.5, parameters)) - 0.5).max() < 1e-9


@pytest.mark.parametrize("options", [{"level": "1"}, {"level": 1.0}, {"bound": "1"}, {"bound": 1j}])
def test_options_of_wrong_types(options: dict[str, Any]) -> None:
    parameters = Parameters.insecure(ring_degree=RING_DEGREE, moduli_bits=[60, 40, 60], scale=2**40)
    with pytest.raises(OperandTypeError):
        encode([1.0], parameters, **options)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_guard_band_begins_at_seven_sixteenths_of_the_modulus(parameters: Parameters, level: int) -> None:
    backend, basis = registry.current(), parameters.level_basis(level)
    end, limbs = basis.product // 16 * 7, -(-basis.bits // 64)
    for largest, sign, within in ((end - 1, 0, True), (end - 1, 1, True), (end, 0, False), (end, 1, False)):
        magnitudes = limbs_from_ints([1, largest, *[0] * (RING_DEGREE - 2)], limbs)
        negative = np.array([0, sign, *[0] * (RING_DEGREE - 2)], dtype=np.bool_)
        polynomial = backend.ring_encode_wide(magnitudes, negative, basis, ntt=True)
        plaintext = Plaintext(parameters, polynomial, level, Scale.of(2**40), None, 0.0)
        if within:
            decode(plaintext)
        else:
            with pytest.raises(PlaintextOverflowError, match="guard band"):
                decode(plaintext)
