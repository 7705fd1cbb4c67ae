"""Encryption in chunks, progress, overflow found at decryption, both ways to encrypt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hecore.arith.limbs import limbs_from_ints
from hecore.backends import registry
from hecore.errors import HeadroomError, OperandTypeError, PlaintextOverflowError
from hecore.paillier import EncryptedArray, Integers, ObfuscatorPool, PublicKey, SecretKey, encryption
from hecore.paillier.encoding import Encoding

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]


def test_chunks_and_progress(insecure_keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    public_key, secret_key = insecure_keys
    monkeypatch.setattr(encryption, "chunk_size", lambda backend: 4)
    values = np.arange(10).reshape(5, 2) - 3
    done: list[int] = []
    x = public_key.encrypt(values, progress=done.append)
    assert done == [4, 8, 10]
    np.testing.assert_array_equal(secret_key.decrypt(x), values)
    np.testing.assert_array_equal(secret_key.decrypt(secret_key.encrypt(values, progress=done.append)), values)
    assert done == [4, 8, 10] * 2


def test_a_device_with_more_lanes_gets_larger_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    backend: Any = registry.current()
    usual = encryption.chunk_size(backend)
    monkeypatch.setattr(backend, "saturating_batch", 100_000, raising=False)
    assert encryption.chunk_size(backend) == 200_000 > usual


def test_nothing_is_drawn_for_what_is_refused(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys

    def obfuscators(count: int, backend: Any) -> Any:
        raise AssertionError("randomness was drawn")

    with pytest.raises(HeadroomError):
        encryption.encrypt(public_key, [1], obfuscators, encoding=Integers(public_key.key_bits))
    with pytest.raises(OperandTypeError):
        encryption.encrypt(public_key, ["1"], obfuscators)
    with pytest.raises(OperandTypeError, match="already"):
        public_key.encrypt(public_key.encrypt(1))


def test_keys_and_pools_encrypt_alike(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    values = [0.5, -3.25]
    with ObfuscatorPool(public_key, 4, device="reference") as pool:
        for x in (public_key.encrypt(values), secret_key.encrypt(values), public_key.encrypt(values, pool=pool)):
            assert x.public_key == public_key
            assert x.randomised
            assert secret_key.decrypt(x).tolist() == values


def test_overflow_is_found_at_decryption(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    n, backend = public_key.n, public_key.encrypt(0).residues.backend
    root = public_key.n_squared.square_of
    assert root is not None
    for message, bound, fits in (
        (n // 3, None, True), (n - n // 3, None, True), (n // 3 + 1, None, False), (n // 2, None, False),
        (n - n // 3 - 1, None, False), (100, 100, True), (101, 100, False), (n - 101, 100, False),
    ):  # fmt: skip
        residues = backend.encode(limbs_from_ints([message], root.limbs), public_key.n_squared)
        x = EncryptedArray.from_residues(public_key, residues, Encoding(), bound)
        if fits:
            assert secret_key.decrypt(x).tolist() == [message if message <= n // 3 else message - n]
        else:
            with pytest.raises(PlaintextOverflowError, match="cannot decrypt") as caught:
                secret_key.decrypt(x)
            assert str(message) not in str(caught.value)


def test_only_encrypted_arrays_are_decrypted(insecure_keys: Keys) -> None:
    with pytest.raises(OperandTypeError, match="EncryptedArray"):
        insecure_keys[1].decrypt(np.ones(3))  # type: ignore[arg-type]


def test_results_have_the_shape_and_type_of_the_encoding(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    integers = secret_key.decrypt(public_key.encrypt(np.int16(3)))
    assert integers.shape == ()
    assert integers.dtype == np.int64
    floats = secret_key.decrypt(public_key.encrypt(np.ones((1, 2), dtype=np.float32)))
    assert floats.shape == (1, 2)
    assert floats.dtype == np.float64
    assert secret_key.decrypt(public_key.encrypt(2**70, encoding=Integers(80))).item() == 2**70
