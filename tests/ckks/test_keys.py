"""Keys: what they contain, which belong together, and what never leaves."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import keystore
from hecore.arith.stream import SecretStream
from hecore.ckks.evaluation_keys import (
    EvaluationKeys,
    GaloisKeys,
    element_of_conjugation,
    element_of_step,
    elements_of,
    power_of_two_steps,
)
from hecore.ckks.keys import Keys, PublicKey, SecretKey, generate_keys
from hecore.ckks.params import Parameters
from hecore.ckks.sampling import sparse
from hecore.errors import (
    InsecureParametersError,
    KeyMismatchError,
    KeystoreError,
    MalformedKeyError,
    MissingKeyError,
    OperandTypeError,
    ParameterError,
    ShapeError,
)
from hecore.ring.prng import expand_uniform

SLOTS = 32


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return Parameters.insecure(ring_degree=2 * SLOTS, moduli_bits=[50, 40, 40, 50], scale=2**40)


@pytest.fixture(scope="module")
def keys(parameters: Parameters) -> Keys:
    return generate_keys(parameters, galois=[1, -2], conjugation=True)


def numbers(count: int = SLOTS) -> np.ndarray[Any, Any]:
    return np.random.default_rng(2).uniform(-1, 1, count)


# -- what they contain -----------------------------------------------------------------------------------------


def test_the_secret_is_ternary_under_every_modulus(keys: Keys) -> None:
    digits = keys.secret_key.digits()
    assert set(np.unique(digits)) == {-1, 0, 1}
    magnitudes, negative = keys.secret_key.polynomial.backend.ring_decode(keys.secret_key.polynomial)
    assert np.array_equal(np.where(negative, -1, 1) * magnitudes[:, 0].astype(np.int64), digits)
    assert not magnitudes[:, 1:].any()


def test_the_public_key_encrypts_zero_with_a_small_error(keys: Keys) -> None:
    public, secret = keys.public_key, keys.secret_key.polynomial
    backend = secret.backend
    b, a = (backend.ring_take(public.polynomials, np.array(i)) for i in range(2))
    error = backend.residue_add(b, backend.residue_mul(a, secret))
    magnitudes, _ = backend.ring_decode(error)
    assert magnitudes[:, 0].max() <= 21
    assert 0 < magnitudes[:, 0].mean() < 10
    assert not magnitudes[:, 1:].any()
    assert public.seed is not None
    assert np.array_equal(backend.ring_download(a), expand_uniform(public.seed, keys.parameters.basis)[0])


def test_every_key_set_is_fresh(parameters: Parameters, keys: Keys) -> None:
    other = generate_keys(parameters)
    assert other.secret_key.key_id != keys.secret_key.key_id
    assert not np.array_equal(other.secret_key.digits(), keys.secret_key.digits())
    assert other.public_key.seed != keys.public_key.seed
    assert len(other.galois_keys) == 0
    assert other.relinearization_key is not None


def test_one_set_shares_one_id(keys: Keys) -> None:
    evaluation = keys.evaluation_keys
    assert keys.relinearization_key is not None
    ids = {
        part.key_id
        for part in (keys.secret_key, keys.public_key, evaluation, keys.relinearization_key, keys.galois_keys)
    }
    assert len(ids) == 1
    assert len(next(iter(ids))) == 16
    assert set(keys.secret_key.evaluation_keys.galois_keys) == set(keys.galois_keys)
    assert keys.parameters is keys.secret_key.parameters


def test_without_special_moduli_there_are_no_evaluation_keys() -> None:
    bare = Parameters.insecure(ring_degree=64, moduli_bits=[50], scale=2**30)
    keys = generate_keys(bare)
    assert keys.relinearization_key is None
    with pytest.raises(ParameterError, match="no special modulus"):
        generate_keys(bare, galois=[1])
    with pytest.raises(ParameterError, match="no special modulus"):
        keys.secret_key.make_relinearization_key()
    values = keys.secret_key.decrypt(keys.public_key.encrypt(numbers()))
    assert np.abs(values - numbers()).max() < 1e-4


def test_sparse_secrets_have_their_weight() -> None:
    signs = []
    for weight in (1, 7, 64, 128):
        parameters = Parameters.insecure(ring_degree=128, moduli_bits=[40], scale=2**20, secret_weight=weight)
        digits = generate_keys(parameters).secret_key.digits()
        assert np.count_nonzero(digits) == weight
        assert np.abs(digits).max() == 1
        signs += digits[digits != 0].tolist()
    assert abs(sum(signs)) < 6 * len(signs) ** 0.5


def test_sparse_secrets_lie_anywhere() -> None:
    stream = SecretStream()
    counts = sum(np.abs(sparse(stream, 16, 4)) for _ in range(2000))
    assert np.abs(counts - 500).max() < 6 * np.sqrt(2000 * 0.25 * 0.75)


# -- Galois keys -----------------------------------------------------------------------------------------------


def test_steps_and_elements(parameters: Parameters) -> None:
    assert element_of_step(64, 1) == 3
    assert element_of_step(64, -1) * 3 % 128 == 1
    assert element_of_step(64, 32) == 1
    assert element_of_conjugation(64) == 127
    assert power_of_two_steps(8) == [1, -1, 2, -2, 4, -4]
    assert elements_of(parameters, [0, 1, 33, 1], False) == [3]
    assert elements_of(parameters, None, True) == [127]


def test_the_power_of_two_default_is_seals() -> None:
    """22 elements at ring degree 4096, conjugation included (SEAL 4.1, native/src/seal/util/galois.cpp)."""
    elements = elements_of(Parameters(ring_degree=4096, moduli_bits=[40, 20, 40], scale=2**20), "power-of-two", True)
    order = 2 * 4096
    expected = {order - 1} | {pow(3, sign * 2**i, order) for i in range(11) for sign in (1, -1)}
    assert set(elements) == expected
    assert len(elements) == 22


def test_galois_keys_are_a_mapping(keys: Keys) -> None:
    galois = keys.galois_keys
    assert set(galois) == {3, element_of_step(64, -2), 127}
    assert galois.for_step(1) is galois[3]
    assert galois.for_step(1 - SLOTS) is galois[3]
    assert galois.for_conjugation() is galois[127]
    assert galois.has_step(-2)
    assert not galois.has_step(2)
    assert 3 in galois
    assert 5 not in galois


def test_missing_keys_name_the_call_that_makes_them(parameters: Parameters, keys: Keys) -> None:
    with pytest.raises(MissingKeyError, match=r"make_galois_keys\(\[7\]\)"):
        keys.galois_keys.for_step(7)
    with pytest.raises(MissingKeyError, match="make_galois_keys"):
        keys.galois_keys[5]
    with pytest.raises(MissingKeyError, match="conjugation=True"):
        GaloisKeys(parameters, bytes(16)).for_conjugation()


def test_more_galois_keys_later(keys: Keys) -> None:
    more = keys.secret_key.make_galois_keys([5])
    joined = keys.evaluation_keys.with_galois_keys(more)
    assert len(joined.galois_keys) == 4
    public = keys.public_key.with_evaluation_keys(joined)
    assert public.evaluation_keys.galois_keys.has_step(5)
    assert public.encrypt(numbers()).ciphertext.evaluation_keys is public.evaluation_keys
    assert keys.secret_key.with_evaluation_keys(joined).query_budget is keys.secret_key.query_budget
    made = keys.secret_key.make_relinearization_key()
    assert made.key_id == keys.secret_key.key_id


@pytest.mark.parametrize("element", [0, 2, 128, 129, -1])
def test_elements_out_of_range(parameters: Parameters, keys: Keys, element: int) -> None:
    with pytest.raises(ParameterError, match="Galois element"):
        GaloisKeys(parameters, bytes(16), {element: keys.galois_keys[3]})


def test_unknown_words_for_steps(keys: Keys) -> None:
    with pytest.raises(ParameterError, match="power-of-two"):
        keys.secret_key.make_galois_keys("all")


# -- what belongs together -------------------------------------------------------------------------------------


def test_keys_of_two_sets_do_not_mix(parameters: Parameters, keys: Keys) -> None:
    other = generate_keys(parameters)
    with pytest.raises(KeyMismatchError):
        keys.public_key.with_evaluation_keys(other.evaluation_keys)
    with pytest.raises(KeyMismatchError):
        keys.secret_key.with_evaluation_keys(other.evaluation_keys)
    with pytest.raises(KeyMismatchError, match="different keys"):
        keys.galois_keys | other.galois_keys
    with pytest.raises(KeyMismatchError):
        EvaluationKeys(parameters, keys.secret_key.key_id, other.relinearization_key, keys.galois_keys)
    with pytest.raises(KeyMismatchError, match="cannot decrypt"):
        other.secret_key.decrypt(keys.public_key.encrypt(numbers()))


def test_constructors_check_shapes(parameters: Parameters, keys: Keys) -> None:
    pair, polynomial = keys.public_key.polynomials, keys.secret_key.polynomial
    with pytest.raises(ShapeError):
        PublicKey(parameters, bytes(16), polynomial)
    with pytest.raises(ShapeError):
        SecretKey(parameters, bytes(16), pair)
    with pytest.raises(ShapeError):
        SecretKey(parameters, bytes(16), polynomial.backend.intt(polynomial))
    with pytest.raises(ParameterError, match="3 bytes"):
        PublicKey(parameters, b"abc", pair)


def test_from_words(parameters: Parameters, keys: Keys) -> None:
    backend = keys.secret_key.polynomial.backend
    words = backend.ring_download(keys.secret_key.polynomial)
    again = SecretKey.from_words(parameters, words, keys.secret_key.key_id)
    assert np.abs(again.decrypt(keys.public_key.encrypt(numbers())) - numbers()).max() < 1e-8
    assert SecretKey.from_words(parameters, words).key_id != keys.secret_key.key_id
    doubled = backend.ring_download(backend.residue_add(keys.secret_key.polynomial, keys.secret_key.polynomial))
    altered = words.copy()
    altered[1, 5] ^= np.uint64(1)
    for wrong in (doubled, altered):
        with pytest.raises(MalformedKeyError, match="-1, 0 or 1"):
            SecretKey.from_words(parameters, wrong)


# -- what leaves and what does not -----------------------------------------------------------------------------


def test_secret_keys_are_never_pickled_or_copied(keys: Keys) -> None:
    for action in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(OperandTypeError, match="keystore"):
            action(keys.secret_key)
    for action in (pickle.dumps, copy.deepcopy):
        with pytest.raises(OperandTypeError, match="keystore"):
            action(keys)


def test_reprs_show_labels_only(keys: Keys) -> None:
    label = keys.secret_key.key_id.hex()[:8]
    parts = [keys, keys.secret_key, keys.public_key, keys.evaluation_keys, keys.relinearization_key, keys.galois_keys]
    for part in parts:
        text = repr(part)
        assert label in text
        assert "array" not in text
        assert len(text) < 600


def test_bytes(keys: Keys) -> None:
    public = PublicKey.from_bytes(keys.public_key.to_bytes(), allow_insecure=True)
    assert public.seed == keys.public_key.seed
    assert set(public.evaluation_keys.galois_keys) == set(keys.galois_keys)
    assert np.abs(keys.secret_key.decrypt(public.encrypt(numbers())) - numbers()).max() < 1e-8
    secret = SecretKey.from_bytes_unprotected(keys.secret_key.to_bytes_unprotected(), allow_insecure=True)
    assert np.array_equal(secret.digits(), keys.secret_key.digits())


def test_at_rest(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "key.hks"
    with pytest.raises(InsecureParametersError, match="below 128 bits of security by the table of 2024"):
        keystore.save(keys.secret_key, path, "secret")
    keystore.save(keys.secret_key, path, "secret", allow_insecure=True, insecure_log2_n=1)
    info = keystore.inspect(path)
    assert (info.scheme, info.ring_degree, info.key_bits) == ("ckks", 2 * SLOTS, None)
    assert info.fingerprint == keys.secret_key.key_id.hex()
    for scheme in (None, "ckks"):
        loaded: Any = keystore.load(path, "secret", scheme=scheme, allow_insecure=True)
        assert isinstance(loaded, SecretKey)
        assert loaded.key_id == keys.secret_key.key_id
        assert loaded.parameters == keys.parameters
        assert np.array_equal(loaded.digits(), keys.secret_key.digits())
        assert np.abs(loaded.decrypt(keys.public_key.encrypt(numbers())) - numbers()).max() < 1e-8
    with pytest.raises(KeystoreError, match="of ckks, not of paillier"):
        keystore.load(path, "secret", scheme="paillier", allow_insecure=True)
    with pytest.raises(InsecureParametersError):
        keystore.load(path, "secret")


def test_a_secure_key_at_rest(tmp_path: Path) -> None:
    keys = generate_keys(Parameters(ring_degree=1024, moduli_bits=[26], scale=2**15))
    path = tmp_path / "key.hks"
    keystore.save(keys.secret_key, path, "secret")
    loaded = keystore.load(path, "secret", scheme="ckks")
    assert np.array_equal(loaded.digits(), keys.secret_key.digits())


# -- tensors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (5,), (SLOTS,), (3, SLOTS + 1), (2, 3, 40)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.int64, np.float32])
def test_tensors_of_any_shape(keys: Keys, shape: tuple[int, ...], dtype: Any) -> None:
    values = np.random.default_rng(3).uniform(-9, 9, shape).astype(dtype)
    if dtype is np.complex128:
        values = values * (1 - 2j)
    for key in (keys.public_key, keys.secret_key):
        tensor = key.encrypt(values, bound=30.0)
        out = keys.secret_key.decrypt(tensor)
        assert out.shape == shape
        assert out.dtype == (np.complex128 if dtype is np.complex128 else np.float64)
        assert np.abs(out - values).max() < 1e-7
        assert keys.secret_key.decrypt(tensor.ciphertext).dtype == np.complex128


def test_options_of_encrypt(keys: Keys) -> None:
    for key in (keys.public_key, keys.secret_key):
        tensor = key.encrypt(numbers(), level=0, scale=2**30, bound=1.0)
        assert (tensor.level, float(tensor.scale), tensor.ciphertext.bound) == (0, 2**30, 1.0)
        assert tensor.ciphertext.evaluation_keys is key.evaluation_keys


@pytest.mark.parametrize("x", [None, 1.0, np.ones(3), b"bytes"])
def test_what_is_no_ciphertext_is_not_decrypted(keys: Keys, x: Any) -> None:
    with pytest.raises(OperandTypeError, match=type(x).__name__):
        keys.secret_key.decrypt(x)


def test_keys_made_elsewhere(parameters: Parameters) -> None:
    with hecore.use("reference"):
        keys = generate_keys(Parameters.insecure(ring_degree=16, moduli_bits=[50, 40, 50], scale=2**40))
    assert keys.secret_key.polynomial.backend.name == "reference"
    x = keys.public_key.encrypt([1.0, 2.0])
    assert x.device == "cpu"
    assert np.abs(keys.secret_key.decrypt(x * x) - [1, 4]).max() < 1e-6


@pytest.mark.parametrize("steps", [[1.5], ["a"], 3])
def test_steps_that_are_no_integers(keys: Keys, steps: Any) -> None:
    with pytest.raises(OperandTypeError, match="integers"):
        keys.secret_key.make_galois_keys(steps)
