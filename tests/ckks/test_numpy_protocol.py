"""NumPy's functions and shapes with encrypted tensors: its axes, or an exception, never other axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hecore import ckks
from hecore.errors import OperandTypeError, PlaintextRangeError, ShapeError
from tests.ckks.evaluation import agrees, encrypt, numbers

A = numbers(3, 3)
V = numbers(3, seed=1)


def scalars(count: int) -> Any:
    """Shape (count,), every value in a ciphertext of its own."""
    return ckks.stack([encrypt(v) for v in numbers(count, seed=2)])


def rows(count: int) -> Any:
    return ckks.stack([encrypt(row) for row in numbers(count, 3, seed=3)])


@pytest.mark.parametrize("function", [np.inner, np.dot, np.matmul])
def test_products_with_matrices(function: Callable[..., Any]) -> None:
    assert agrees(function(encrypt(V), A), function(V, A))
    assert agrees(function(A, encrypt(V)), function(A, V))
    assert agrees(function(rows(3), A), function(numbers(3, 3, seed=3), A))


@pytest.mark.parametrize("function", [np.inner, np.dot])
def test_products_with_numbers(function: Callable[..., Any]) -> None:
    assert agrees(function(encrypt(V), 0.5), function(V, 0.5))
    assert agrees(function(2, encrypt(V)), function(2, V))


def test_inner_with_encrypted_rows() -> None:
    with pytest.raises(OperandTypeError, match=r"np\.inner"):
        np.inner(A, rows(3))


def test_products_that_numpy_takes_along_another_axis() -> None:
    for left, right in [(rows(3), rows(3)), (encrypt(V), rows(3))]:
        with pytest.raises(ShapeError, match="batch axes"):
            left @ right
    with pytest.raises(ShapeError):
        A @ ckks.stack([encrypt(A) for _ in range(3)])


def test_single_values_meet_numpys_axes() -> None:
    for a, b in [((), (1,)), ((1,), ()), ((3,), (1, 1, 1)), ((1, 1), (3,))]:
        x, y = numbers(*a), numbers(*b, seed=1)
        assert agrees(encrypt(x) + encrypt(y), x + y)
    for tensor in (encrypt(V), rows(3)):  # NumPy's last axis is not the one that `scalars` lie along
        with pytest.raises(ShapeError, match="reshape"):
            tensor + scalars(3)
    assert agrees(rows(3) + scalars(3).reshape(3, 1), numbers(3, 3, seed=3) + numbers(3, seed=2)[:, None])


def test_reciprocals_and_magnitudes_at_the_end_of_doubles() -> None:
    x = encrypt(V)
    for divisor in (np.array([1, 5e-324, 1]), np.array([1, 5e-324j, 1])):
        with pytest.raises(PlaintextRangeError):
            x / divisor
    for values in (np.full(3, 1.7e308), np.full(3, 1.7e308 * (1 + 1j))):
        with pytest.raises(PlaintextRangeError):
            x + values
