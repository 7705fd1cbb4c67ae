"""Arrays stay on their backend: what crosses to the host and back, and how often a backend is called, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hecore.backends.protocol import IntegerBackend
from hecore.backends.reference import ReferenceBackend
from hecore.paillier import EncryptedArray, Integers, ObfuscatorPool, Packing, PublicKey, SecretKey, plain

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
METHODS = [
    name
    for name in vars(IntegerBackend)
    if not name.startswith("_") and name not in ("name", "device", "simulated", "reshape")
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each operation of the protocol was asked for, counted at the backend's door."""
    counts: Counter[str] = Counter()
    inside = [False]

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if inside[0]:  # one of its own steps
                return method(*arguments, **options)
            counts[name] += 1
            inside[0] = name != "collect"  # whose chunks are made by callers
            try:
                return method(*arguments, **options)
            finally:
                inside[0] = False

        return call

    for name in METHODS:
        monkeypatch.setattr(ReferenceBackend, name, counted(name, getattr(ReferenceBackend, name)))
    return counts


def integers(size: int) -> Any:
    return np.arange(size).reshape(-1, 2) - size // 2


OPERATIONS: dict[str, Callable[[EncryptedArray], object]] = {
    "add": lambda x: x + x,
    "broadcast": lambda x: x + x[0],
    "subtract": lambda x: x - x,
    "add plain": lambda x: x + integers(x.size),
    "multiply": lambda x: x * integers(x.size),
    "multiply in constant time": lambda x: x * plain(integers(x.size), Integers(bits=8), constant_time=True),
    "vector": lambda x: integers(x.size)[:, 0] @ x,
    "matrix": lambda x: np.arange(3 * len(x)).reshape(3, -1) @ x,
    "matrix on the right": lambda x: x @ np.arange(6).reshape(2, 3),
    "sum": lambda x: x.sum(axis=0),
    "mean": lambda x: x.mean(),
    "segments": lambda x: x.ravel().segment_sum(np.arange(x.size) % 3, 3),
    "indexing": lambda x: np.concatenate([x[::2], x.T.reshape(-1, 2)]),
    "rerandomize": lambda x: x.rerandomize(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_stays_on_the_backend(insecure_keys: Keys, calls: Counter[str], name: str) -> None:
    """Nothing is downloaded or uploaded but plain operands, and no operation is called element by element."""
    counts = []
    for size in (8, 40):
        x = insecure_keys[0].encrypt(integers(size))
        calls.clear()
        OPERATIONS[name](x)
        counts.append(dict(calls))
    assert counts[0] == counts[1]
    assert not {"upload", "download", "gcd_is_one"} & set(counts[0])
    assert sum(counts[0].values()) <= 8


def test_encryption_and_decryption_stay_there_too(insecure_keys: Keys, calls: Counter[str]) -> None:
    public_key, secret_key = insecure_keys
    values = integers(40)
    for key in insecure_keys:
        key.encrypt(values)  # tables
        calls.clear()
        x = key.encrypt(values)
        assert not {"upload", "download", "fixed_base_table"} & set(calls)
        assert calls["encode"] + calls["lift"] == calls["collect"] == 1
    calls.clear()
    secret_key.decrypt(x)
    assert calls == {"decrypt_bounded": 1}
    calls.clear()
    secret_key.decrypt(EncryptedArray.from_residues(public_key, x.residues, x.encoding))  # no bound: both factors
    assert calls == {"decrypt": 1}
    with ObfuscatorPool(public_key, 40) as pool:
        pool.wait_until_full()
        calls.clear()
        public_key.encrypt(values, pool=pool)
    assert "download" not in calls
    assert "upload" not in calls


def test_packed_arrays_stay_there_too(insecure_keys: Keys, calls: Counter[str]) -> None:
    packed = Packing(slot_bits=7, guard_bits=20).encrypt(insecure_keys[0], integers(40))
    calls.clear()
    np.arange(60).reshape(3, 20).astype(np.int8) @ packed + packed[:3] - 1
    assert not {"upload", "download"} & set(calls)


def test_bytes_cross_once(insecure_keys: Keys, calls: Counter[str]) -> None:
    x = insecure_keys[0].encrypt(integers(40))
    calls.clear()
    sent = x.to_bytes()
    assert calls == {"download": 1}
    calls.clear()
    EncryptedArray.from_bytes(sent, insecure_keys[0])
    assert calls == {"upload": 1, "gcd_is_one": 1}
