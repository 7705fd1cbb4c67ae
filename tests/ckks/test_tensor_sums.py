"""Sums of encrypted tensors along axes and over tensors, and parts of them, within the noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hecore import ckks
from hecore.ckks.scale import Scale
from hecore.counting import operation_counter
from hecore.errors import KeyMismatchError, LevelError, OperandTypeError, PlaintextRangeError, ShapeError
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers

TOP = Scale.of(2**40)
SHAPES = [(5,), (32,), (100,), (3, 4), (2, 64), (), (1,)]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    assert isinstance(request.param, tuple)
    return request.param


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
