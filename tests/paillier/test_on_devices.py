"""The same arrays on every device of this machine: residency, moves between devices, equal numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hecore
from hecore.errors import BackendMismatchError, BackendUnavailableError
from hecore.paillier import EncryptedArray, FixedPoint, FloatsPerElement, Packing, PublicKey, SecretKey, plain

Keys = tuple[PublicKey, SecretKey]
DEVICES = [info.name for info in hecore.devices() if info.available]
generator = np.random.default_rng(20260103)
VALUES = generator.standard_normal((3, 20))
WEIGHTS: Any = generator.integers(-100, 100, (5, 3)).astype(np.int8)


@pytest.mark.parametrize("device", DEVICES)
def test_everything_once(insecure_keys: Keys, device: str) -> None:
    public_key, secret_key = insecure_keys
    hecore.use(device)
    x = public_key.encrypt(VALUES)
    assert x.device == device
    other = secret_key.encrypt(VALUES, encoding=FloatsPerElement())
    np.testing.assert_array_equal(secret_key.decrypt(x + other - 0.5), VALUES + VALUES - 0.5)
    np.testing.assert_array_equal(secret_key.decrypt(-x[::2, [0, 5]].T * np.int16(-3)), VALUES[::2, [0, 5]].T * 3)
    np.testing.assert_allclose(secret_key.decrypt(WEIGHTS @ x), WEIGHTS @ VALUES, atol=1e-12)
    np.testing.assert_allclose(secret_key.decrypt(x.T @ WEIGHTS.T), VALUES.T @ WEIGHTS.T, atol=1e-12)
    weights: Any = plain(VALUES[0], FixedPoint(-40, bits=44), constant_time=True)
    np.testing.assert_allclose(secret_key.decrypt(x @ weights), VALUES @ VALUES[0], atol=1e-9)
    np.testing.assert_allclose(secret_key.decrypt(x.mean(axis=1)), VALUES.mean(axis=1), rtol=1e-13)
    segments = generator.integers(0, 4, 20)
    sums = [VALUES[0][segments == s].sum() for s in range(4)]
    np.testing.assert_allclose(secret_key.decrypt(x[0].segment_sum(segments, 4)), sums, atol=1e-13)
    back = EncryptedArray.from_bytes((x + 1).to_bytes(), public_key)
    assert back.device == device
    np.testing.assert_array_equal(secret_key.decrypt(back), VALUES + 1)
    packed = Packing(slot_bits=7, guard_bits=20).encrypt(public_key, WEIGHTS)
    np.testing.assert_array_equal(secret_key.decrypt(WEIGHTS.T @ packed), WEIGHTS.T.astype(int) @ WEIGHTS)


@pytest.mark.parametrize("device", DEVICES)
def test_arrays_move_between_devices(insecure_keys: Keys, device: str) -> None:
    public_key, secret_key = insecure_keys
    with hecore.use("reference"):
        x = public_key.encrypt(VALUES)
    moved = x.to(device)
    assert moved.device == device
    assert moved.randomised
    np.testing.assert_array_equal(secret_key.decrypt(moved), VALUES)
    np.testing.assert_array_equal(secret_key.decrypt(moved.to("reference") + x), VALUES + VALUES)
    if device != "reference":
        with pytest.raises(BackendMismatchError, match=rf"\.to\('{device}'\)"):
            moved + x


def test_an_unknown_device(insecure_keys: Keys) -> None:
    with hecore.use("reference"), pytest.raises(BackendUnavailableError, match="abacus"):
        insecure_keys[0].encrypt(1).to("abacus")
