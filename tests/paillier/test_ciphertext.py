"""EncryptedArray against NumPy: the same expression on encrypted and on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hecore.paillier import PublicKey, SecretKey

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]


def test_slice_of_everything(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    x = np.array([[1.5, -2.25, 1e-30], [0.0, 3.0, 0.1]])
    weights = np.array([[3, -1], [0, 7]], dtype=np.int8)
    result = secret_key.decrypt(weights @ public_key.encrypt(x) + np.float32(2))
    np.testing.assert_array_equal(result, weights @ x + 2)
