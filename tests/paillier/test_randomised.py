"""An encrypted array knows whether it is randomised, and is whenever it leaves."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hecore.errors import KeyMismatchError
from hecore.paillier import EncryptedArray, ObfuscatorPool, PublicKey, SecretKey, generate_insecure_keypair

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
INTS = np.arange(-12, 12).reshape(2, 3, 4)


@pytest.fixture(scope="module")
def ints(insecure_keys: Keys) -> EncryptedArray:
    return insecure_keys[0].encrypt(INTS)


def check(keys: Keys, encrypted: EncryptedArray, expected: Any) -> None:
    np.testing.assert_array_equal(keys[1].decrypt(encrypted), expected, strict=True)


def ciphertexts(x: EncryptedArray) -> list[bytes]:
    return [row.tobytes() for row in x.residues.backend.download(x.residues).reshape(x.size, -1)]


def test_encryption_is_randomised(insecure_keys: Keys) -> None:
    x = insecure_keys[0].encrypt(np.zeros(20, dtype=np.int8))
    assert x.randomised
    assert len(set(ciphertexts(x))) == 20


def test_results_remember_that_they_are_deterministic(insecure_keys: Keys, ints: EncryptedArray) -> None:
    x = ints[0]
    assert x.randomised
    assert x.reshape(-1).T[1:].randomised
    for result in (
        x + x,
        x + 1,
        x * 2,
        -x,
        x.sum(),
        x.take([1, 0], 0),
        x.repeat([0, 2, 1], 0),
        x @ np.ones(4, np.int8),
        x[[0, 1]],
        x[INTS[0] < 0],
        x - 1,
    ):
        assert not result.randomised
        fresh = result.rerandomize()
        assert fresh.randomised
        assert not set(ciphertexts(fresh)) & set(ciphertexts(result))
        check(insecure_keys, fresh, insecure_keys[1].decrypt(result))


def test_rerandomising_from_a_pool(insecure_keys: Keys, ints: EncryptedArray) -> None:
    _, secret_key = insecure_keys
    with ObfuscatorPool(secret_key, 32, device="reference") as pool:
        check(insecure_keys, (ints + 1).rerandomize(pool=pool), INTS + 1)
    other_key, _ = generate_insecure_keypair(256)
    with ObfuscatorPool(other_key, 4, device="reference") as pool, pytest.raises(KeyMismatchError):
        ints.rerandomize(pool=pool)


def test_leaving_rerandomises(insecure_keys: Keys, ints: EncryptedArray) -> None:
    public_key, _ = insecure_keys
    result = ints + 1
    for data in (result.to_bytes(), pickle.dumps(result)):
        loaded = pickle.loads(data) if data[:1] == b"\x80" else EncryptedArray.from_bytes(data, public_key)
        assert loaded.randomised
        assert not set(ciphertexts(loaded)) & set(ciphertexts(result))
        check(insecure_keys, loaded, INTS + 1)
    raw = EncryptedArray.from_bytes(result.to_bytes(raw=True), public_key)
    assert ciphertexts(raw) == ciphertexts(result)
    assert not raw.randomised  # and so it is rerandomised when it leaves again
    foreign = EncryptedArray.from_json(result.to_json(raw=True), public_key)
    assert ciphertexts(foreign) == ciphertexts(result)
    assert not foreign.randomised  # the text does not say
    assert not set(ciphertexts(EncryptedArray.from_json(foreign.to_json(), public_key))) & set(ciphertexts(result))
    fresh = EncryptedArray.from_bytes(ints.to_bytes(), public_key)
    assert ciphertexts(fresh) == ciphertexts(ints)  # once is enough
