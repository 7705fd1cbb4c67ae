"""EncryptedTensor: NumPy's manners within the noise, what stands in empty slots, and what is refused."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hecore
from hecore import ckks
from hecore.ckks import evaluator
from hecore.ckks.scale import Scale
from hecore.errors import (
    HecoreError,
    KeyMismatchError,
    LevelError,
    MissingKeyError,
    OperandTypeError,
    ParameterError,
    PlaintextRangeError,
    ShapeError,
)
from tests.ckks.evaluation import agrees, encrypt, keys, numbers

TOP = Scale.of(2**40)
SHAPES = [(5,), (32,), (100,), (3, 4), (2, 64), (), (1,)]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    assert isinstance(request.param, tuple)
    return request.param


def test_what_it_says_of_itself() -> None:
    x = encrypt(numbers(3, 50))
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((3, 50), 2, 150, 3, np.dtype(np.float64))
    assert (x.batch, x.layout.chunks, x.level, x.scale, x.device) == ((), 5, 3, TOP, "cpu")
    assert x.parameters is keys().parameters
    assert repr(x) == f"<EncryptedTensor shape=(3, 50) float64 in {x.ciphertext!r}>"
    assert x.copy() is copy.copy(x) is copy.deepcopy(x) is x
    with pytest.raises(OperandTypeError, match=r"len\(\)"):
        len(encrypt(0.5))


# -- arithmetic --------------------------------------------------------------------------------------------


def test_tensors_with_tensors(shape: tuple[int, ...]) -> None:
    a, b = numbers(*shape), numbers(*shape, seed=1)
    x, y = encrypt(a), keys().secret_key.encrypt(b, bound=1.0)
    assert agrees(x + y, a + b)
    assert agrees(x - y, a - b)
    assert agrees(x * y, a * b)
    assert agrees(-x, -a)
    assert +x is x
    assert agrees(x * x + y, a * a + b)
    assert agrees(y - x * y, b - a * b)


def test_tensors_with_numbers(shape: tuple[int, ...]) -> None:
    a = numbers(*shape)
    x = encrypt(a)
    for number in (2, -3, 0.75, np.float32(0.5), np.int16(2), np.array(0.25), True, 1.5 - 0.5j):
        assert agrees(x + number, a + number)
        assert agrees(number + x, number + a)
        assert agrees(x - number, a - number)
        assert agrees(number - x, number - a)
        assert agrees(x * number, a * number)
        assert agrees(number * x, number * a)
        assert agrees(x / number, a / number)


def test_tensors_with_arrays(shape: tuple[int, ...]) -> None:
    a, b = numbers(*shape), numbers(*shape, seed=1)
    x = encrypt(a)
    for other in (b, b.tolist(), b + 1j * b):
        assert agrees(x + other, a + other)
        assert agrees(other + x, other + a)
        assert agrees(x - other, a - other)
        assert agrees(other - x, other - a)
        assert agrees(x * other, a * other)
        assert agrees(other * x, other * a)
        assert agrees(x / (2 + np.asarray(other)), a / (2 + np.asarray(other)))


@pytest.mark.parametrize("shape", [(4,), (3, 1), (3, 4), (2, 3, 4)])
def test_plain_arrays_broadcast(shape: tuple[int, ...]) -> None:
    b = numbers(*shape, seed=1)
    a = numbers(3, 4)
    assert agrees(encrypt(a) + b, a + b)
    assert agrees(encrypt(a) * b, a * b)
    assert agrees(encrypt(0.5) * b, 0.5 * b)
    assert agrees(b - encrypt(0.5), b - 0.5)


def test_a_single_encrypted_value_meets_any_shape() -> None:
    a = numbers(3, 4)
    x, one = encrypt(a), encrypt(0.25)
    assert agrees(x + one, a + 0.25)
    assert agrees(one - x, 0.25 - a)
    assert agrees(x * one, a * 0.25)
    assert agrees(x - x.mean(), a - a.mean())


def test_batch_axes_broadcast() -> None:
    a, b = numbers(3, 10), numbers(10, seed=1)
    x, y = ckks.stack([encrypt(row) for row in a]), encrypt(b)
    assert x.batch == (3,)
    assert agrees(x * y, a * b)
    assert agrees(y + x, b + a)
    assert agrees(x + a, a + a)
    assert agrees(x * b, a * b)
    assert agrees(y * a, b * a)


def test_levels_and_scales_take_care_of_themselves() -> None:
    a = numbers(10)
    x = encrypt(a)
    assert (x * 3).level == x.level
    assert (x * 0.5).scale == x.scale
    assert agrees(x * x * x + x * x + x + 1, a**3 + a**2 + a + 1)
    assert agrees((x * x + x) * (x - 1), (a * a + a) * (a - 1))


def test_complex_values() -> None:
    a = numbers(10) + 1j * numbers(10, seed=1)
    x = encrypt(a, bound=2.0)
    assert x.dtype == np.complex128
    assert agrees(x * x, a * a)
    assert agrees(x.conj(), a.conj())
    assert agrees(x * x.conjugate(), a * a.conj())
    assert agrees(x * 1j, a * 1j)
    assert agrees(x.sum(), np.asarray(a.sum()))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.floats(-4, 4), st.floats(-4, 4))
def test_laws_of_the_ring(size: int, u: float, v: float) -> None:
    a, b = numbers(size), numbers(size, seed=1)
    x, y = encrypt(a), encrypt(b)
    assert agrees((x + u) * (y + v), (a + u) * (b + v))
    assert agrees(x * u + y * v, a * u + b * v)


# -- NumPy's protocols ---------------------------------------------------------------------------------------


def test_numpys_functions() -> None:
    a, b = numbers(8), numbers(8, seed=1)
    x: Any
    y: Any
    x, y = encrypt(a), encrypt(b)
    assert agrees(np.add(x, b), a + b)
    assert agrees(np.subtract(b, x), b - a)
    assert agrees(np.multiply(b, x), a * b)
    assert agrees(np.divide(x, 4), a / 4)
    assert agrees(np.square(x), a * a)
    assert agrees(np.power(x, 3), a**3)
    assert agrees(np.negative(x), -a)
    assert np.positive(x) is x
    assert agrees(np.conjugate(x), a)
    assert agrees(np.matmul(x, numbers(8, 3)), a @ numbers(8, 3))
    assert agrees(np.dot(x, y), np.asarray(a @ b))
    assert agrees(np.sum(x), np.asarray(a.sum()))
    assert agrees(np.mean(x), np.asarray(a.mean()))
    assert agrees(np.stack([x, y]), np.stack([a, b]))
    assert agrees(np.reshape(x, (2, 4)), a.reshape(2, 4))
    assert agrees(np.ravel(x), a)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((8,), 1, 8)
    assert agrees(np.float64(2) * x, 2 * a)


@pytest.mark.parametrize(
    "call",
    [
        np.exp,
        np.abs,
        np.sort,
        np.argmax,
        np.asarray,
        lambda x: np.add.reduce(x),
        lambda x: np.add(x, 1, where=True),
        lambda x: np.add(x, 1, out=np.zeros(8)),
        lambda x: np.divide(1.0, x),
        lambda x: np.sum(x, dtype=float),
        lambda x: np.roll(x, 1, axis=0),
    ],
)
def test_what_numpy_cannot_do_with_ciphertexts_is_refused(call: Callable[[Any], Any]) -> None:
    with pytest.raises(OperandTypeError, match="cannot"):
        call(encrypt(numbers(8)))


@pytest.mark.parametrize(
    "operation",
    [operator.eq, operator.lt, operator.floordiv, operator.mod, operator.and_, operator.lshift, lambda a, b: b / a],
)
def test_operators_that_would_need_the_key_are_refused(operation: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(OperandTypeError, match="cannot"):
        operation(encrypt(numbers(8)), 2)


@pytest.mark.parametrize("convert", [bool, int, float, complex, hash, abs, operator.invert, operator.index])
def test_conversions_are_refused(convert: Callable[[Any], Any]) -> None:
    with pytest.raises((OperandTypeError, TypeError)):
        convert(encrypt(0.5))


def test_tensors_are_immutable() -> None:
    x: Any = encrypt(numbers(8))
    with pytest.raises(OperandTypeError, match="immutable"):
        x[0] = 1.0
    with pytest.raises(AttributeError):
        x.padding = 1.0


# -- refusals ----------------------------------------------------------------------------------------------


def test_shapes_that_do_not_meet_are_refused() -> None:
    x = encrypt(numbers(3, 4))
    for other in (encrypt(numbers(4)), encrypt(numbers(4, 3)), encrypt(numbers(2, 3, 4)), numbers(5), numbers(3, 5)):
        for operation in (operator.add, operator.sub, operator.mul):
            with pytest.raises(ShapeError, match="cannot broadcast"):
                operation(x, other)
    with pytest.raises(ShapeError, match="cannot broadcast"):
        encrypt(numbers(1, 4)) + numbers(3, 4)


@pytest.mark.parametrize("wrong", ["1", None, {}, object(), np.array(["a"]), np.array([object()])])
def test_operands_that_are_no_numbers_are_refused(wrong: Any) -> None:
    for operation in (operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul):
        with pytest.raises(OperandTypeError, match="cannot"):
            operation(encrypt(numbers(1)), wrong)


def test_numbers_out_of_range_are_refused() -> None:
    x = encrypt(numbers(3))
    for wrong in (math.nan, [1.0, math.inf, 2.0]):
        for operation in (operator.add, operator.sub, operator.mul):
            with pytest.raises(PlaintextRangeError):
                operation(x, wrong)
    for zero in (0, 0.0, [1.0, 0.0, 2.0]):
        with pytest.raises(PlaintextRangeError, match="zero"):
            x / zero
    with pytest.raises(OperandTypeError, match=r"ckks\.inverse"):
        x / x
    with pytest.raises(HecoreError, match="bits of modulus"):
        x + 1e60


def test_exhausted_levels_and_missing_keys() -> None:
    x = encrypt(numbers(3), level=0)
    for factor in (x, 0.5, numbers(3)):
        with pytest.raises(LevelError, match="moduli_bits"):
            x * factor
    with pytest.raises(LevelError, match="moduli_bits"):
        x.mean()
    assert agrees(x * 2 + 1, numbers(3) * 2 + 1)
    bare = keys("flat").public_key.encrypt(numbers(3), scale=2**20, bound=1.0)
    with pytest.raises(MissingKeyError):
        bare.sum()


def test_mixed_keys_parameters_and_backends_are_refused() -> None:
    x = encrypt(numbers(3))
    other = ckks.generate_keys(keys().parameters).public_key.encrypt(numbers(3))
    for operation in (operator.add, operator.sub, operator.mul, operator.matmul):
        with pytest.raises(KeyMismatchError):
            operation(x, other)
        with pytest.raises(ParameterError):
            operation(x, encrypt(numbers(3), "hybrid"))
        with pytest.raises(hecore.errors.BackendMismatchError, match=r"\.to\(device\)"):
            operation(x, x.to("reference"))
    with pytest.raises(KeyMismatchError):
        x.with_keys(ckks.generate_keys(keys().parameters).evaluation_keys)


# -- bytes and backends --------------------------------------------------------------------------------------


def test_bytes_come_back_with_keys_and_clean_padding() -> None:
    a = numbers(5)
    x = encrypt(a) + 0.5
    assert x.padding == 0.5
    back = ckks.EncryptedTensor.from_bytes(x.to_bytes(), keys().public_key)
    assert back.padding == 0.0
    assert agrees(back, a + 0.5)
    assert agrees(back.sum(), np.asarray((a + 0.5).sum()))
    assert agrees(back * back, (a + 0.5) ** 2)


def test_unknown_padding_is_unknown_to_the_reader_too() -> None:
    a = numbers(5)
    x = encrypt(a) - encrypt(a).sum()
    assert x.padding is None
    back = ckks.EncryptedTensor.from_bytes(x.to_bytes(), keys().public_key)
    assert back.padding is None
    assert back.level == x.level
    assert agrees(back.without_padding(), a - a.sum())
    assert agrees(back.sum(), np.asarray((a - a.sum()).sum()))


def test_a_pickle_carries_no_keys() -> None:
    a = numbers(5)
    back = pickle.loads(pickle.dumps(encrypt(a) * encrypt(a)))
    assert back.ciphertext.evaluation_keys is None
    assert agrees(back, a * a)
    assert agrees(back.with_keys(keys().evaluation_keys) * back, a**4)


def test_the_reference_agrees() -> None:
    a = numbers(10)
    x = encrypt(a)
    there = x.to("reference")
    assert there.to("reference").device == there.device == "reference"
    here, other = (t * t + t * 0.5 - 1 for t in (x, there))
    for y, z in ((here, other), (x.sum(), there.sum())):
        left, right = (t.ciphertext.backend.ring_download(t.ciphertext.polynomials) for t in (y, z))
        np.testing.assert_array_equal(left, right)


def test_what_a_plain_operand_shows_in_worst_cases_is_a_power_of_two() -> None:
    x = encrypt(numbers(3))
    assert (x * [0.3, -0.7, 0.1]).ciphertext.bound == 1.0
    assert (x * [0.3, -5.0, 0.1]).ciphertext.bound == 8.0
    assert (x + [0.0, 0.0, 0.0]).ciphertext.bound == 1.0
    assert evaluator.multiply(x.ciphertext, 0).bound == 0.0
