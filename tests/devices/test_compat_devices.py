"""The drop-ins for phe and TenSEAL on a device, in code that does not know of devices."""

from __future__ import annotations

import numpy as np
import pytest

import hecore
from hecore.compat import phe
from hecore.compat import tenseal as ts
from hecore.compat.phe import _engine


def test_phe(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "WARM_UP", 1)  # the later calls are the device's
    with pytest.warns(UserWarning, match="1024"):
        public_key, private_key = phe.generate_paillier_keypair(n_length=1024)
    values = [3.5, -1, 2, 0.25]
    encrypted = [public_key.encrypt(value) for value in values]
    total = sum(encrypted[1:], encrypted[0]) * 2 - 1.5
    assert private_key.decrypt(total) == 2 * sum(values) - 1.5
    assert [private_key.decrypt(x) for x in encrypted] == values
    with hecore.use("cpu"):
        assert private_key.decrypt(total) == 2 * sum(values) - 1.5


def test_tenseal(device: str) -> None:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[30, 24, 24, 31])
    context.global_scale = 2.0**24
    context.generate_galois_keys()
    a, b = np.linspace(-1, 1, 8), np.linspace(0, 2, 8)
    x, y = ts.ckks_vector(context, a), ts.ckks_vector(context, b)
    np.testing.assert_allclose((x * y + x).decrypt(), a * b + a, atol=1e-2)
    np.testing.assert_allclose(x.dot(y).decrypt(), [a @ b], atol=1e-2)
    matrix = np.arange(16).reshape(8, 2) / 8
    np.testing.assert_allclose(x.matmul(matrix.tolist()).decrypt(), a @ matrix, atol=1e-2)
    sent = (x - y).serialize()
    with hecore.use("cpu"):
        np.testing.assert_allclose(ts.ckks_vector_from(context, sent).decrypt(), a - b, atol=1e-2)
