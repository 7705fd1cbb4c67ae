"""Encryption and decryption: round trips, the size of the error, seeds, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hecore
from hecore.backends import registry
from hecore.backends.ring_protocol import PolynomialArray
from hecore.ckks import encryption, evaluator
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import decode, encode, prepare
from hecore.ckks.encryption import decrypt, decrypt_values, encrypt_public, encrypt_symmetric
from hecore.ckks.keys import Keys, generate_keys
from hecore.ckks.params import Parameters
from hecore.errors import DeviceMemoryError, KeyMismatchError, ParameterError, PlaintextOverflowError
from hecore.ring.prng import SeedKind, expand_uniform

SHAPES = [
    {"moduli_bits": [50, 40, 40, 50]},
    {"moduli_bits": [60]},
    {"moduli_bits": [60, 40], "special_count": 0},
    {"moduli_bits": [45, 40, 40, 40, 45, 45], "special_count": 2, "digit_primes": 2},
]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "-".join(map(str, shape["moduli_bits"])))
def keys(request: pytest.FixtureRequest) -> Keys:
    return generate_keys(Parameters.insecure(ring_degree=128, scale=2**40, **request.param))


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(len(shape))
    return rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)


def encryptions(keys: Keys, values: np.ndarray[Any, Any], **options: Any) -> list[Ciphertext]:
    """Both ways, of a plaintext and of a message."""
    parameters = keys.parameters
    plaintext = encode(values, parameters, bound=2.0, **options)
    message = prepare(values, parameters, level=plaintext.level, scale=plaintext.scale, bound=2.0)
    return [
        encrypt_public(keys.public_key, plaintext),
        encrypt_public(keys.public_key, message),
        encrypt_symmetric(keys.secret_key, plaintext),
        encrypt_symmetric(keys.secret_key, message),
    ]


@pytest.mark.parametrize("shape", [(64,), (1, 64), (3, 64), (2, 2, 64)])
def test_round_trips_stay_within_the_noise(keys: Keys, shape: tuple[int, ...]) -> None:
    values = numbers(*shape)
    for ciphertext in encryptions(keys, values):
        assert ciphertext.shape == shape[:-1]
        assert ciphertext.level == keys.parameters.max_level
        assert ciphertext.key_id == keys.secret_key.key_id
        assert ciphertext.bound == 2.0
        plaintext = decrypt(keys.secret_key, ciphertext)
        assert (plaintext.shape, plaintext.noise) == (ciphertext.shape, ciphertext.noise)
        error = np.abs(decode(plaintext) - values).max() * float(ciphertext.scale)
        assert error <= ciphertext.noise


def test_levels_and_scales(keys: Keys) -> None:
    values = numbers(64)
    for level in range(keys.parameters.max_level + 1):
        for ciphertext in encryptions(keys, values, level=level, scale=2**25):
            assert ciphertext.polynomials.basis == keys.parameters.level_basis(level)
            error = np.abs(decrypt_values(keys.secret_key, ciphertext) - values).max() * 2**25
            assert error <= ciphertext.noise


def test_wide_coefficients() -> None:
    keys = generate_keys(Parameters.insecure(ring_degree=64, moduli_bits=[60, 60, 60], scale=2**100))
    values = numbers(2, 32)
    for ciphertext in encryptions(keys, values):
        error = np.abs(decrypt_values(keys.secret_key, ciphertext) - values).max()
        assert error <= 2.0**-52
        assert ciphertext.noise < 2**13


def test_three_components() -> None:
    keys = generate_keys(Parameters.insecure(ring_degree=128, moduli_bits=[50, 40, 50], scale=2**30))
    values = numbers(3, 64)
    x = encryptions(keys, values)[0]
    product = evaluator.multiply(x, x)
    assert product.components == 3
    assert np.abs(decrypt_values(keys.secret_key, product) - values**2).max() < 2.0**-8


def test_other_backends() -> None:
    """Encryption goes where new arrays go, decryption where the ciphertext is; keys follow."""
    keys = generate_keys(Parameters.insecure(ring_degree=16, moduli_bits=[50, 40, 50], scale=2**40))
    values = numbers(2, 8)
    message = prepare(values, keys.parameters, level=1, scale=keys.parameters.scale, bound=None)
    with hecore.use("reference"):
        there = [encrypt_public(keys.public_key, message), encrypt_symmetric(keys.secret_key, message)]
        keys_there = generate_keys(keys.parameters)
    for ciphertext in there:
        assert ciphertext.device == "reference"
        plaintext = decrypt(keys.secret_key, ciphertext)
        assert plaintext.backend is registry.get("reference")
        assert np.abs(decode(plaintext) - values).max() < 1e-7
        here = decrypt(keys.secret_key, ciphertext.to("cpu"))
        assert np.array_equal(decode(here), decode(plaintext))
    ours = encrypt_public(keys_there.public_key, message)  # here again, with keys made there
    assert ours.device == "cpu"
    assert np.abs(decrypt_values(keys_there.secret_key, ours) - values).max() < 1e-7


# -- randomness ------------------------------------------------------------------------------------------------


def words(ciphertext: Ciphertext) -> np.ndarray[Any, Any]:
    return ciphertext.backend.ring_download(ciphertext.polynomials)


def test_seeds_give_the_second_component(keys: Keys) -> None:
    plaintext = encode(numbers(3, 64), keys.parameters)
    ciphertext = encrypt_symmetric(keys.secret_key, plaintext)
    assert ciphertext.seed is not None
    expanded = expand_uniform(ciphertext.seed, ciphertext.polynomials.basis, 3)
    assert np.array_equal(words(ciphertext)[:, 1], expanded)
    assert encrypt_public(keys.public_key, plaintext).seed is None


@pytest.mark.parametrize("kind", list(SeedKind))
def test_kinds_of_seeds(keys: Keys, kind: SeedKind) -> None:
    values = numbers(64)
    plaintext = encode(values, keys.parameters)
    ciphertext = encrypt_symmetric(keys.secret_key, plaintext, seed_kind=kind)
    assert ciphertext.seed is not None
    assert ciphertext.seed.kind is kind
    assert np.array_equal(words(ciphertext)[1], expand_uniform(ciphertext.seed, ciphertext.polynomials.basis)[0])
    assert np.abs(decrypt_values(keys.secret_key, ciphertext) - values).max() < 1e-7
    if kind is not SeedKind.AES_CTR:
        with pytest.raises(ParameterError, match="one a call"):
            encrypt_symmetric(keys.secret_key, encode(numbers(2, 64), keys.parameters), seed_kind=kind)


def test_nothing_repeats(keys: Keys) -> None:
    """Of equal plaintexts, neither within a batch nor between calls."""
    plaintext = encode(np.zeros((2, 64)), keys.parameters)
    made = [
        *words(encrypt_public(keys.public_key, plaintext)),
        *words(encrypt_public(keys.public_key, plaintext)),
        *words(encrypt_symmetric(keys.secret_key, plaintext)),
        *words(encrypt_symmetric(keys.secret_key, plaintext)),
    ]
    components = {component.tobytes() for ciphertext in made for component in ciphertext}
    assert len(components) == 2 * len(made)


def test_ciphertexts_look_uniform() -> None:
    keys = generate_keys(Parameters.insecure(ring_degree=2048, moduli_bits=[40, 40], scale=2**30))
    plaintext = encode(np.ones((16, 1024)), keys.parameters)
    for ciphertext in (encrypt_public(keys.public_key, plaintext), encrypt_symmetric(keys.secret_key, plaintext)):
        values = words(ciphertext).astype(np.float64) / ciphertext.polynomials.basis.moduli[0]
        for component in (0, 1):
            counts = np.histogram(values[:, component], bins=64, range=(0, 1))[0]
            expected = counts.sum() / 64
            assert ((counts - expected) ** 2 / expected).sum() < 63 + 8 * np.sqrt(2 * 63)


def coefficient_errors(keys: Keys, ciphertext: Ciphertext) -> np.ndarray[Any, Any]:
    """Of an encryption of zero."""
    plaintext = decrypt(keys.secret_key, ciphertext)
    magnitudes, negative = plaintext.backend.ring_decode(plaintext.polynomial)
    assert not magnitudes[..., 1:].any()
    out = magnitudes[..., 0].astype(np.float64)
    return np.where(negative, -out, out)


def test_the_error_has_the_distribution_it_should() -> None:
    """Symmetric: the centred binomial, variance 10.5. Public: a rounding of (1, s), variance (1 + 2N/3)/12."""
    degree = 1024
    keys = generate_keys(Parameters.insecure(ring_degree=degree, moduli_bits=[50, 40, 50], scale=2**30))
    zero = encode(np.zeros((32, 8)), keys.parameters)
    errors = coefficient_errors(keys, encrypt_symmetric(keys.secret_key, zero))
    assert abs(errors).max() <= 21
    assert errors.var() == pytest.approx(10.5, rel=0.05)
    errors = coefficient_errors(keys, encrypt_public(keys.public_key, zero))
    weight = np.abs(keys.secret_key.digits()).sum()
    assert errors.var() == pytest.approx((1 + weight) / 12, rel=0.05)
    assert abs(errors.mean()) < 0.5


def test_without_a_special_modulus_the_error_is_larger() -> None:
    degree = 1024
    keys = generate_keys(Parameters.insecure(ring_degree=degree, moduli_bits=[50], scale=2**30))
    zero = encode(np.zeros((32, 8)), keys.parameters)
    errors = coefficient_errors(keys, encrypt_public(keys.public_key, zero))
    assert errors.var() == pytest.approx(10.5 * (1 + 4 * degree / 3), rel=0.2)


# -- refusals --------------------------------------------------------------------------------------------------


def test_other_keys_and_parameters_are_refused(keys: Keys) -> None:
    other = generate_keys(keys.parameters)
    plaintext = encode(numbers(64), keys.parameters)
    with pytest.raises(KeyMismatchError, match="cannot decrypt"):
        decrypt(other.secret_key, encrypt_public(keys.public_key, plaintext))
    foreign = Parameters.insecure(ring_degree=128, moduli_bits=[30, 30], scale=2**20)
    with pytest.raises(ParameterError, match="with a key of"):
        encrypt_public(keys.public_key, encode(numbers(64), foreign))
    with pytest.raises(ParameterError, match="with a key of"):
        encrypt_symmetric(keys.secret_key, encode(numbers(64), foreign))


# -- beside the peer -------------------------------------------------------------------------------------------


def test_the_error_is_no_larger_than_the_peers() -> None:
    """TenSEAL at its own standard parameters, 16 vectors of 4096 values each.

    Equal but for chance: the root mean squares of 65536 errors differ by about 1 %, the quantiles by about 3 %.
    """
    import tenseal

    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60])
    context.global_scale = 2**40
    keys = generate_keys(Parameters(ring_degree=8192, moduli_bits=[60, 40, 40, 60], scale=2**40))
    values = np.random.default_rng(5).uniform(-1, 1, (16, 4096))
    theirs = np.array([tenseal.ckks_vector(context, row).decrypt() for row in values]) - values
    ours = keys.secret_key.decrypt(keys.public_key.encrypt(values)) - values
    symmetric = keys.secret_key.decrypt(keys.secret_key.encrypt(values)) - values

    def size(errors: np.ndarray[Any, Any]) -> float:
        return float(np.sqrt((errors**2).mean()))

    assert size(ours) < 1.08 * size(theirs)
    assert np.quantile(np.abs(ours), 0.999) < 1.2 * np.quantile(np.abs(theirs), 0.999)
    assert size(symmetric) < 0.5 * size(theirs)


def test_transforms_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """3k + 3t for a public-key encryption over k data moduli and t special ones, k for a symmetric one."""
    backend = registry.get("reference")
    transforms: list[int] = []

    def counted(name: str) -> Any:
        original = getattr(backend, name)

        def run(a: PolynomialArray) -> PolynomialArray:
            transforms.append(a.size * len(a.basis))
            out: PolynomialArray = original(a)
            return out

        return run

    with hecore.use("reference"):
        keys = generate_keys(Parameters.insecure(ring_degree=16, moduli_bits=[40] * 5, special_count=2, scale=2**30))
        message = prepare(numbers(1, 8), keys.parameters, level=2, scale=keys.parameters.scale, bound=None)
        for name in ("ntt", "intt"):
            monkeypatch.setattr(backend, name, counted(name))
        encrypt_symmetric(keys.secret_key, message)
        assert sum(transforms) == 3
        transforms.clear()
        encrypt_public(keys.public_key, message)
        assert sum(transforms) == 3 * 3 + 3 * 2


@pytest.mark.parametrize("factor", [40.0, 100.0, 200.0])
def test_what_overflowed_without_a_declared_bound_is_not_decrypted(factor: float) -> None:
    keys = generate_keys(Parameters.insecure(ring_degree=1024, moduli_bits=[50, 40, 40, 50], scale=2**40))
    values = np.random.default_rng(7).uniform(-1, 1, 512)
    tensor = keys.public_key.encrypt(values) * factor  # each factor alone is fine
    assert np.allclose(keys.secret_key.decrypt(tensor), values * factor, atol=1e-4)
    with pytest.raises(PlaintextOverflowError, match="guard band"):
        keys.secret_key.decrypt(tensor * factor * 100)


# -- portions ----------------------------------------------------------------------------------------------------


class Memory:
    """Room for batches of at most `room` polynomials, and the sizes that were asked for."""

    def __init__(self) -> None:
        self.room = 100
        self.asked: list[int] = []

    def take(self, size: int) -> None:
        self.asked.append(size)
        if size > self.room:
            raise DeviceMemoryError("no room")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Of what is drawn for and of what is decoded."""
    memory, kind = Memory(), type(registry.current())
    draw, decode_there = kind.random_errors, kind.ring_decode

    def random_errors(backend: Any, shape: tuple[int, ...], ring_degree: int) -> Any:
        memory.take(shape[0])
        return draw(backend, shape, ring_degree)

    def ring_decode(backend: Any, a: PolynomialArray) -> Any:
        memory.take(a.size)
        return decode_there(backend, a)

    monkeypatch.setattr(kind, "random_errors", random_errors)
    monkeypatch.setattr(kind, "ring_decode", ring_decode)
    return memory


def test_portions_fit_a_cache_or_fill_a_card(keys: Keys, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "_BLOCK", 2 * 128)
    values = numbers(5, 64)
    for filling, sizes in ((1, [2, 2, 1]), (12, [3, 2]), (10**6, [5])):
        monkeypatch.setattr(registry.current(), "saturating_batch", filling, raising=False)
        for ciphertext in encryptions(keys, values):
            np.testing.assert_allclose(decrypt_values(keys.secret_key, ciphertext), values, atol=1e-6)
        assert memory.asked == sizes * 8
        memory.asked.clear()


def test_portions_are_halved_where_memory_is_short(keys: Keys, memory: Memory) -> None:
    memory.room, values = 2, numbers(5, 64)
    for ciphertext in encryptions(keys, values):
        np.testing.assert_allclose(decrypt_values(keys.secret_key, ciphertext), values, atol=1e-6)
    assert memory.asked == [5, 2, 2, 1] * 8
    memory.room = 0
    with pytest.raises(DeviceMemoryError):
        encryptions(keys, values)
    assert memory.asked[32:] == [5, 2, 1]
