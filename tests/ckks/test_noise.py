"""Worst-case noise: the inequalities behind the bounds, and the bounds against what really happens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hecore.arith.stream import SecretStream
from hecore.backends.cpu_sampling import errors, ternary
from hecore.backends.ring_protocol import ERROR_VARIANCE
from hecore.ckks import evaluator, noise
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import decode, encode
from hecore.ckks.encryption import decrypt, encrypt_public, encrypt_symmetric
from hecore.ckks.keys import Keys, generate_keys
from hecore.ckks.params import Parameters
from hecore.ckks.scale import Scale

DEGREE = 256


@pytest.fixture(scope="module")
def keys() -> Keys:
    return generate_keys(Parameters.insecure(ring_degree=DEGREE, moduli_bits=[60, 40, 40, 60], scale=2**40))


def slot_norm(coefficients: np.ndarray[Any, Any]) -> float:
    """The largest |x(zeta)| over all primitive 2N-th roots of unity."""
    degree = coefficients.shape[-1]
    turned = coefficients * np.exp(1j * np.pi * np.arange(degree) / degree)
    return float(np.abs(np.fft.fft(turned)).max())


# -- random polynomials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variance", "generating_function"),
    [
        (2 / 3, lambda t: (1 + 2 * np.cosh(t)) / 3),  # ternary digits
        (21 / 2, lambda t: np.cosh(t / 2) ** 42),  # centred binomials of 42 bits
        (1 / 12, lambda t: np.sinh(t / 2) / (t / 2)),  # uniform in [-1/2, 1/2]
    ],
)
def test_what_is_sampled_is_sub_gaussian_of_its_own_variance(variance: float, generating_function: Any) -> None:
    t = np.linspace(0.01, 12, 1000)
    assert (np.log(generating_function(t)) <= variance * t**2 / 2).all()


def test_tail_is_the_solution_of_its_equation() -> None:
    for degree in (64, 8192, 1 << 17):
        for variance in (1 / 12, 2 / 3, 10.5):
            t = noise.tail(degree, variance) * math.cos(math.pi / 16)
            exponent = t**2 / (variance * degree)
            assert math.log2(16 * degree / 2) - exponent / math.log(2) == pytest.approx(-128)


@pytest.mark.parametrize("degree", [64, 2048])
def test_tails_cover_and_are_not_absurd(degree: int) -> None:
    """64 polynomials stay below, and reach a quarter of the bound."""
    stream = SecretStream()
    for sample, variance in ((errors, ERROR_VARIANCE), (ternary, 2 / 3)):
        largest = slot_norm(sample(stream, 64 * degree).reshape(64, degree).astype(np.float64))
        assert noise.tail(degree, variance) / 5 < largest < noise.tail(degree, variance)


def test_secrets() -> None:
    parameters = Parameters.insecure(ring_degree=DEGREE, moduli_bits=[40], scale=2**20)
    assert noise.secret_norm(parameters) == noise.tail(DEGREE, 2 / 3)
    for weight in (1, 32, DEGREE):
        sparse = Parameters.insecure(ring_degree=DEGREE, moduli_bits=[40], scale=2**20, secret_weight=weight)
        assert noise.secret_norm(sparse) <= weight
        secret = generate_keys(sparse).secret_key.digits()
        assert np.count_nonzero(secret) == weight
        assert slot_norm(secret.astype(np.float64)) <= noise.secret_norm(sparse) + 1e-9


# -- operations ------------------------------------------------------------------------------------------------


def measured(keys: Keys, ciphertext: Ciphertext, expected: np.ndarray[Any, Any]) -> float:
    values = decode(decrypt(keys.secret_key, ciphertext))
    return float(np.abs(values - expected).max()) * float(ciphertext.scale)


def test_circuits_stay_within_their_noise(keys: Keys) -> None:
    """Fresh, sums, products, constants, rescales, level drops: |error| <= noise, and not by more than 2^14."""
    rng = np.random.default_rng(11)
    a, b = (rng.uniform(-1, 1, (4, DEGREE // 2)) + 1j * rng.uniform(-1, 1, (4, DEGREE // 2)) for _ in range(2))
    plain_a, plain_b = (encode(v, keys.parameters, bound=1.5) for v in (a, b))
    x = encrypt_public(keys.public_key, plain_a)
    y = encrypt_symmetric(keys.secret_key, plain_b)
    xy = evaluator.multiply_rescale(x, y)
    cases: list[tuple[Ciphertext, np.ndarray[Any, Any]]] = [
        (x, a),
        (y, b),
        (evaluator.add(x, y), a + b),
        (evaluator.subtract(x, y), a - b),
        (evaluator.add(x, plain_b), a + b),
        (evaluator.multiply(x, y), a * b),
        (evaluator.relinearize(evaluator.multiply(x, y)), a * b),
        (xy, a * b),
        (evaluator.rescale(evaluator.multiply(x, plain_b)), a * b),
        (evaluator.multiply(x, 3), 3 * a),
        (evaluator.rescale(evaluator.multiply(x, 0.3)), 0.3 * a),
        (evaluator.multiply_rescale(xy, evaluator.drop_to_level(xy, 1)), a * b * a * b),
    ]
    for ciphertext, expected in cases:
        got = measured(keys, ciphertext, expected)
        assert got <= ciphertext.noise < got * 2**14
        assert ciphertext.bound is not None
        assert np.abs(expected).max() <= ciphertext.bound


def test_the_worst_digits_stay_within_the_bound(keys: Keys) -> None:
    """Every digit polynomial at its largest: all coefficients q-1 under q, which no honest ciphertext shows."""
    from hecore.ring import keyswitch

    parameters, backend = keys.parameters, keys.secret_key.polynomial.backend
    assert keys.relinearization_key is not None
    assert parameters.special is not None
    basis = parameters.level_basis(2)
    top = np.array([q - 1 for q in basis.moduli], dtype=np.uint64)
    words = np.ascontiguousarray(np.broadcast_to(top[:, None], (3, DEGREE)))
    a = backend.ntt(backend.ring_upload(words, basis, ntt=False))
    switched = keyswitch.switch(a, keys.relinearization_key.switching_key, parameters.digits(2), parameters.special)
    powers = keys.secret_key.powers(backend, 2, 0, 3)
    got = backend.residue_mul_accumulate(switched, backend.ring_take(powers, np.array([0, 1])))
    wanted = backend.residue_mul(a, backend.ring_take(powers, np.array([2])))
    magnitudes, negative = backend.ring_decode(backend.residue_sub(got, backend.ring_reshape(wanted, ())))
    assert not magnitudes[:, 1:].any()
    difference = slot_norm(np.where(negative, -1.0, 1.0) * magnitudes[:, 0])
    bound = noise.key_switching(parameters, 2)
    assert bound / 2**12 < difference <= bound


def test_formulas() -> None:
    scale = Scale.of(2**40)
    assert noise.multiplication(1.0, scale, 3.0, 2.0, scale, 5.0) == 2**40 * 5.0 + 2 * 2**40 * 3.0 + 15.0
    assert noise.multiplication(None, scale, 3.0, 2.0, scale, 5.0) == math.inf
    assert noise.multiplication(None, scale, 0.0, None, scale, 0.0) == 0.0
    parameters = Parameters.insecure(ring_degree=64, moduli_bits=[40, 40, 40], scale=2**20)
    secret = noise.secret_norm(parameters)
    assert noise.rescaling(parameters, 1000.0, 10, 2) == pytest.approx(100 + 32 * (1 + secret))
    assert noise.rescaling(parameters, 1000.0, 10, 3) == pytest.approx(100 + 32 * (1 + secret + secret**2))
    assert noise.encoding(parameters, None, scale, 2.0**-53) == math.inf
    assert noise.encoding(parameters, 1.0, scale, 2.0**-53) == pytest.approx(32, abs=0.1)


def test_special_moduli_and_key_switching() -> None:
    def make(**options: Any) -> Parameters:
        return Parameters.insecure(ring_degree=1024, scale=2**40, **options)

    assert noise.key_switching(make(moduli_bits=[60]), 0) == math.inf
    one = make(moduli_bits=[40, 40, 40, 50])
    assert noise.key_switching(one, 0) < noise.key_switching(one, 2)
    short = make(moduli_bits=[40, 40, 40, 30])
    assert noise.key_switching(short, 2) > 2**9 * noise.key_switching(one, 2)
    hybrid = make(moduli_bits=[40] * 6 + [45, 45], special_count=2, digit_primes=2)
    assert noise.key_switching(hybrid, 5) < 2 * noise.rescaling(hybrid, 0.0, 1, 2)


def test_fresh_ciphertexts_gain_from_special_moduli() -> None:
    with_special = Parameters.insecure(ring_degree=8192, moduli_bits=[60, 40, 60], scale=2**40)
    without = Parameters.insecure(ring_degree=8192, moduli_bits=[60, 40], special_count=0, scale=2**40)
    assert noise.fresh_public(with_special) < noise.fresh_public(without) / 8
    assert noise.fresh_symmetric(with_special) < noise.fresh_public(with_special) / 8
