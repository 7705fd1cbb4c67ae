"""Ciphertexts stay on their backend: what crosses to the host and back, counted at the backend's door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hecore import ckks
from hecore.backends import registry
from hecore.ckks import EncryptedTensor, PlainMatrix, evaluator, polynomial, rotation, tensor_shapes
from hecore.ckks.encoding import encode
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers

CROSSING = ("ring_upload", "ring_download", "ring_encode", "ring_encode_wide", "ring_decode")
OUT = {"ring_download", "ring_decode"}
A, B = numbers(SLOTS, seed=1), numbers(SLOTS, seed=2)
MATRIX = numbers(5, SLOTS, seed=3) / SLOTS
KEPT = PlainMatrix(MATRIX)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each operation that crosses was asked for."""
    counts: Counter[str] = Counter()
    kind = type(registry.current())

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return method(*arguments, **options)

        return call

    for name in CROSSING:
        monkeypatch.setattr(kind, name, counted(name, getattr(kind, name)))
    return counts


OPERATIONS: dict[str, Callable[[EncryptedTensor, EncryptedTensor], object]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y * x,
    "add a constant": lambda x, y: 0.5 - x,
    "multiply, relinearize, rescale": lambda x, y: x * y,
    "multiply by a constant": lambda x, y: 0.25 * x + 3 * y,
    "step by step": lambda x, y: evaluator.rescale(
        evaluator.relinearize(evaluator.multiply(x.ciphertext, y.ciphertext))
    ),
    "levels and scales": lambda x, y: x * y * x + x,
    "power": lambda x, y: x**3,
    "polynomial": lambda x, y: polynomial.evaluate(x, [0.5, 0.25, 0, -0.125]),
    "rotate": lambda x, y: x.roll(3),
    "rotate by several steps": lambda x, y: rotation.rotate_hoisted(x.ciphertext, [1, -1, 2, 5]),
    "conjugate": lambda x, y: x.conj(),
    "dot product": lambda x, y: x @ y,
    "sum": lambda x, y: x.sum(),
    "mean": lambda x, y: x.mean(),
    "stack": lambda x, y: tensor_shapes.stack([x, y]).sum(axis=0),
    "indexing": lambda x, y: tensor_shapes.stack([x, y, x])[::-1][1:],
    "matrix": lambda x, y: KEPT @ x,
    "average": lambda x, y: ckks.weighted_sum([x, y], [0.25, 0.75]),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("chain", ["gadget", "hybrid"])
def test_an_operation_stays_on_the_backend(calls: Counter[str], name: str, chain: str) -> None:
    """What an operation keeps (keys at its level, an encoded matrix) is there after the first time."""
    x, y = encrypt(A, chain), encrypt(B, chain)
    OPERATIONS[name](x, y)
    calls.clear()
    OPERATIONS[name](x, y)
    assert calls == {}


def test_a_pipeline_stays_on_the_backend(calls: Counter[str]) -> None:
    """No residue crosses at all, not even the first time, but the matrix's on its way in."""
    x, y = encrypt(A), encrypt(B)
    calls.clear()
    z = (KEPT @ (x * y + x.roll(1) - 0.5)).sum()
    assert set(calls) <= {"ring_encode"}
    assert agrees(z, (MATRIX @ (A * B + np.roll(A, 1) - 0.5)).sum())
    assert calls["ring_decode"] == 1


def test_plain_operands_come_in_once(calls: Counter[str]) -> None:
    x = encrypt(A)
    calls.clear()
    plain = encode(B, x.parameters)
    assert calls == {"ring_encode": 1}
    for _ in range(2):
        evaluator.multiply(x.ciphertext, plain)
        evaluator.add(x.ciphertext, plain)
    x * B
    assert calls == {"ring_encode": 2}


def test_encryption_brings_in_and_decryption_takes_out(calls: Counter[str]) -> None:
    made = keys()
    for key in (made.public_key, made.secret_key):
        key.encrypt(A)  # keys at this level
        calls.clear()
        x = key.encrypt(numbers(3, SLOTS), bound=1.0)
        assert not OUT & set(calls)
    made.secret_key.decrypt(x)
    calls.clear()
    made.secret_key.decrypt(x)
    assert calls == {"ring_decode": 1}


def test_bytes_cross_once(calls: Counter[str]) -> None:
    x = encrypt(A)
    calls.clear()
    sent = x.to_bytes()
    assert calls == {"ring_download": 1}
    calls.clear()
    EncryptedTensor.from_bytes(sent, keys().public_key)
    assert calls == {"ring_upload": 1}
