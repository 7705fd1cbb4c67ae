"""CKKS between encryption and decryption: not a byte crosses to a device or back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore import ckks
from hecore.backends import registry
from hecore.backends.kernel_backend import KernelBackend
from hecore.ckks import EncryptedTensor, PlainMatrix, evaluator, polynomial, rotation
from hecore.ckks.encoding import encode
from tests.ckks.evaluation import SLOTS, agrees, keys, numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

A, B = numbers(SLOTS, seed=1), numbers(SLOTS, seed=2)
MATRIX = PlainMatrix(numbers(5, SLOTS, seed=3) / SLOTS)


@pytest.fixture
def crossing(device: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bytes that are written to the device and read from it."""
    backend = registry.get(device)
    if not isinstance(backend, KernelBackend):
        pytest.skip("its memory is the host's")
    counts: Counter[str] = Counter()
    write, read = backend._device.write, backend._device.read

    def counted_write(buffer: Any, data: NDArray[Any], offset: int = 0) -> None:
        counts["in"] += data.nbytes
        write(buffer, data, offset)

    def counted_read(buffer: Any, out: NDArray[Any], offset: int = 0) -> None:
        counts["out"] += out.nbytes
        read(buffer, out, offset)

    monkeypatch.setattr(backend._device, "write", counted_write)
    monkeypatch.setattr(backend._device, "read", counted_read)
    return counts


def whole(x: EncryptedTensor, y: EncryptedTensor) -> EncryptedTensor:
    """Sums, products, rotations, a matrix and constants in one."""
    return (MATRIX @ (x * y + x.roll(1) - 0.5) * 3).sum()


STEPS: dict[str, Callable[[EncryptedTensor, EncryptedTensor], object]] = {
    "everything": whole,
    "step by step": lambda x, y: evaluator.rescale(
        evaluator.relinearize(evaluator.multiply(x.ciphertext, y.ciphertext))
    ),
    "hoisted": lambda x, y: rotation.rotate_hoisted(x.ciphertext, [1, -1, 2, 5]),
    "conjugate": lambda x, y: x.conj(),
    "polynomial": lambda x, y: polynomial.evaluate(x, [0.5, 0.25, 0, -0.125]),
    "shapes": lambda x, y: ckks.stack([x, y, x])[::-1][1:].sum(axis=0),
    "average": lambda x, y: ckks.weighted_sum([x, y], [0.25, 0.75]),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("chain", ["gadget", "hybrid"])
def test_evaluation_moves_nothing(device: str, crossing: Counter[str], name: str, chain: str) -> None:
    """Keys at their level, constants and an encoded matrix are there after the first time."""
    x, y = (keys(chain).public_key.encrypt(values, bound=1.0) for values in (A, B))
    STEPS[name](x, y)
    crossing.clear()
    STEPS[name](x, y)
    assert crossing == {}


def test_the_result_is_right(device: str, crossing: Counter[str]) -> None:
    x, y = (keys().public_key.encrypt(values, bound=1.0) for values in (A, B))
    assert agrees(whole(x, y), 3 * (MATRIX.values @ (A * B + np.roll(A, 1) - 0.5)).sum())


def test_messages_cross_as_they_are(device: str, crossing: Counter[str]) -> None:
    """In: a word for each coefficient, and the keys of streams. Out: the limbs that hold one, and its sign."""
    made = keys()
    values, degree = numbers(4, SLOTS), made.parameters.ring_degree
    x = made.public_key.encrypt(values, bound=1.0)
    made.secret_key.decrypt(x)
    crossing.clear()
    plain = encode(values, made.parameters)
    assert crossing == {"in": values.shape[0] * degree * 8}
    crossing.clear()
    x = made.public_key.encrypt(values, bound=1.0)
    assert crossing["out"] == 0
    assert crossing["in"] <= 2 * plain.polynomial.size * degree * 8 + 8 * 32
    crossing.clear()
    made.secret_key.decrypt(x)
    assert crossing == {"out": x.ciphertext.size * degree * (8 + 1)}
