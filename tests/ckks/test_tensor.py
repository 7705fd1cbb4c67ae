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
from hecore.counting import operation_counter
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
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers

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


# -- sums --------------------------------------------------------------------------------------------------


def test_sums_over_everything(shape: tuple[int, ...]) -> None:
    a, b = numbers(*shape), numbers(*shape, seed=1)
    x, y = encrypt(a), encrypt(b)
    assert agrees(x.sum(), np.asarray(a.sum()))
    assert agrees((x * y).sum(), np.asarray((a * b).sum()))
    assert agrees(x.mean(), np.asarray(a.mean()))
    assert x.sum().shape == ()
    if shape:
        assert agrees(x.sum(keepdims=True), a.sum(keepdims=True))


def test_empty_slots_do_not_enter_sums(shape: tuple[int, ...]) -> None:
    a = numbers(*shape)
    x = encrypt(a)
    assert agrees((x + 0.5).sum(), np.asarray((a + 0.5).sum()))
    assert agrees(((x - 1) * 3).sum(), np.asarray(((a - 1) * 3).sum()))
    assert agrees(((x + 1) * (x - 2)).sum(), np.asarray(((a + 1) * (a - 2)).sum()))
    unknown = x - x.sum()  # an encrypted number in every slot: these need a mask
    assert agrees(unknown.sum(), np.asarray((a - a.sum()).sum()))
    assert agrees((unknown * a).sum(), np.asarray(((a - a.sum()) * a).sum()))


def test_sums_along_the_first_packed_axes() -> None:
    for rows in (3, 8, 20):
        a = numbers(rows, 4)
        assert agrees((encrypt(a) + 0.5).sum(axis=0), (a + 0.5).sum(axis=0))
        assert agrees(encrypt(a).sum(axis=0, keepdims=True), a.sum(axis=0, keepdims=True))
    a = numbers(3, 2, 4)
    assert agrees(encrypt(a).sum(axis=(0, 1)), a.sum(axis=(0, 1)))
    a = numbers(3, 2 * SLOTS)
    assert agrees(encrypt(a).sum(axis=0), a.sum(axis=0))
    a = numbers(1, 5)
    assert agrees(encrypt(a).sum(axis=0), a.sum(axis=0))
    with pytest.raises(ShapeError, match="power of two"):
        encrypt(numbers(4, 3)).sum(axis=0)
    with pytest.raises(ShapeError, match="only the first ones"):
        encrypt(numbers(4, 4)).sum(axis=1)


def test_sums_along_batch_axes_need_no_keys() -> None:
    a = numbers(3, 2, 10)
    x = ckks.stack([ckks.stack([encrypt(row) for row in rows]) for rows in a])
    assert x.batch == (3, 2)
    with operation_counter() as counts:
        for axis in (0, 1, (0, 1), -2):
            assert agrees(x.sum(axis=axis), a.sum(axis=axis))
            assert agrees(x.sum(axis=axis, keepdims=True), a.sum(axis=axis, keepdims=True))
    assert counts["key_switch"] == 0
    assert agrees(x.sum(axis=2), a.sum(axis=2))
    assert agrees((x + 1).sum(), np.asarray((a + 1).sum()))
    with pytest.raises(ShapeError, match="axis"):
        x.sum(axis=3)
    with pytest.raises(ShapeError, match="cannot sum along"):
        x.sum(axis="rows")


# -- federated learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(100,), (3, 4), (7, 13)])
def test_weighted_sums(shape: tuple[int, ...]) -> None:
    values = [numbers(*shape, seed=i) for i in range(4)]
    tensors = [keys().secret_key.encrypt(v, bound=1.0) for v in values]
    weights: Any
    for weights in ([0.1, 0.2, 0.3, 0.4], [100, 20, 3, 7], [1, 0.5, 2, -1.5], np.array([0.25, 0.5, 0.125, 0.125])):
        expected = sum(w * v for w, v in zip(weights, values, strict=True))
        assert agrees(ckks.weighted_sum(tensors, weights), np.asarray(expected))


def test_row_counts_cost_no_level_and_fractions_one() -> None:
    tensors = [encrypt(numbers(10, seed=i)) for i in range(3)]
    with operation_counter() as counts:
        by_rows = ckks.weighted_sum(tensors, [120, 30, np.int64(50)])
    assert (by_rows.level, by_rows.scale, counts["rescale"]) == (3, TOP, 0)
    with operation_counter() as counts:
        by_fractions = ckks.weighted_sum(tensors, [0.6, 0.15, 0.25])
    assert (by_fractions.level, by_fractions.scale, counts["rescale"]) == (2, TOP, 1)


def test_tensors_of_several_levels_are_aligned() -> None:
    a, b = numbers(10), numbers(10, seed=1)
    x, y = encrypt(a), encrypt(b)
    assert agrees(ckks.weighted_sum([x, x * y, y], [0.5, 0.25, 0.25]), 0.5 * a + 0.25 * a * b + 0.25 * b)
    assert agrees(ckks.stack([x, x * x * x]), np.stack([a, a**3]))


def test_what_weighted_sums_refuse() -> None:
    x = encrypt(numbers(10))
    for tensors, weights in (([], []), ([x], [1, 2]), ([x, encrypt(numbers(9))], [1, 2])):
        with pytest.raises(ShapeError):
            ckks.weighted_sum(tensors, weights)
    wrong: Any = numbers(10)
    with pytest.raises(OperandTypeError, match="encrypt it first"):
        ckks.weighted_sum([x, wrong], [1, 2])
    with pytest.raises(OperandTypeError, match="one real number"):
        ckks.weighted_sum([x], [numbers(10)])
    with pytest.raises(PlaintextRangeError):
        ckks.weighted_sum([x], [math.nan])
    with pytest.raises(LevelError):
        ckks.weighted_sum([encrypt(numbers(10), level=0)], [0.5])
    other = ckks.generate_keys(keys().parameters).public_key.encrypt(numbers(10))
    with pytest.raises(KeyMismatchError):
        ckks.weighted_sum([x, other], [1, 2])


# -- shapes ------------------------------------------------------------------------------------------------


def test_batch_axes_are_indexed_freely() -> None:
    a = numbers(4, 3, 10)
    x = ckks.stack([ckks.stack([encrypt(row) for row in rows]) for rows in a])
    for key in (
        0,
        -1,
        slice(1, 3),
        (2, 1),
        (slice(None), 0),
        ([0, 2],),
        (..., slice(None)),
        np.array([True, False] * 2),
    ):
        assert agrees(x[key], a[key])
    assert [row.shape for row in x] == [(3, 10)] * 4


def test_cuts_between_chunks() -> None:
    a = numbers(100)
    x = encrypt(a)
    key: Any
    for key in (slice(None), slice(0, 32), slice(32, 96), slice(64, None), slice(32, None)):
        assert agrees(x[key], a[key])
    a = numbers(3, 64)
    for key in (1, slice(1, 3), (slice(None), slice(32, None)), (2, slice(0, 32)), [2, 0]):
        assert agrees(encrypt(a)[key], a[key])


@pytest.mark.parametrize("key", [3, slice(1, 3), slice(96, None), slice(0, 31), slice(None, None, -1), [0, 1]])
def test_cuts_within_chunks_are_refused(key: Any) -> None:
    with pytest.raises(ShapeError, match="within chunks"):
        encrypt(numbers(100))[key]


def test_stacking_and_joining() -> None:
    a, b = numbers(3, 10), numbers(2, 10, seed=1)
    x, y = (ckks.stack([encrypt(row) for row in rows]) for rows in (a, b))
    assert agrees(ckks.concatenate([x, y]), np.concatenate([a, b]))
    assert agrees(ckks.stack([x, x], axis=1), np.stack([a, a], axis=1))
    parts = [numbers(64), numbers(32, seed=1), numbers(20, seed=2)]
    long = [encrypt(parts[0]), encrypt(parts[1])]
    assert agrees(ckks.concatenate(long), np.concatenate(parts[:2]))
    with pytest.raises(ShapeError, match="different numbers of slots"):
        ckks.concatenate([encrypt(numbers(20)), encrypt(numbers(10))])
    with pytest.raises(ShapeError, match="within chunks"):
        ckks.concatenate([encrypt(numbers(20)), encrypt(numbers(20))])
    with pytest.raises(ShapeError):
        ckks.stack([encrypt(numbers(20)), encrypt(numbers(21))])
    with pytest.raises(ShapeError, match="no tensors"):
        ckks.stack([])
    wrong: Any = numbers(20)
    with pytest.raises(OperandTypeError, match="encrypt it first"):
        ckks.stack([wrong])


def test_reshaping_keeps_batch_axes() -> None:
    a = numbers(2, 12)
    x = ckks.stack([encrypt(row) for row in a])
    assert agrees(x.reshape(2, 3, 4), a.reshape(2, 3, 4))
    assert agrees(x.reshape((2, -1, 6)), a.reshape(2, -1, 6))
    assert agrees(encrypt(numbers(3, 4)).ravel(), numbers(3, 4).ravel())
    with pytest.raises(ShapeError, match="batch axes"):
        x.reshape(24)
    with pytest.raises(ShapeError, match="cannot reshape"):
        x.reshape(5, 5)


def test_rolling() -> None:
    a = numbers(8)
    for shift in (0, 1, -3, 11):
        assert agrees(encrypt(a).roll(shift), np.roll(a, shift))
    a = numbers(SLOTS)
    assert agrees(np.roll(encrypt(a), 5), np.roll(a, 5))
    with pytest.raises(ShapeError, match="power of two"):
        encrypt(numbers(7)).roll(1)


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
