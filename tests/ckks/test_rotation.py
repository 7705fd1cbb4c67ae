"""Rotations, conjugation and sums of them: values, walks over the keys there are, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore import ckks
from hecore.ckks import evaluator, rotation
from hecore.counting import operation_counter
from hecore.errors import MissingKeyError, OperandTypeError, ParameterError
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers, raw

A = numbers(SLOTS, seed=4)


def left(
    step: int, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = A
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.roll(values, -step)[None]


def with_steps(*steps: int, conjugation: bool = False) -> ckks.Ciphertext:
    """A, with Galois keys of these steps alone."""
    galois = keys().secret_key.make_galois_keys(steps, conjugation=conjugation)
    own = keys().evaluation_keys
    return raw(A).with_keys(ckks.EvaluationKeys(own.parameters, own.key_id, own.relinearization_key, galois))


@pytest.mark.parametrize("chain", ["gadget", "hybrid"])
@pytest.mark.parametrize("step", [0, 1, -1, 2, 7, 21, 31, 32, -45])
def test_a_rotation_goes_to_the_left_and_around(chain: str, step: int) -> None:
    assert agrees(rotation.rotate(raw(A, chain), step), left(step), chain)


def test_rotations_below_the_highest_level_and_of_batches() -> None:
    values = numbers(3, SLOTS)
    x = evaluator.drop_to_level(raw(values.ravel()), 1)
    assert agrees(rotation.rotate(x, 5), np.roll(values, -5, axis=1))


def test_conjugation() -> None:
    values = numbers(SLOTS, seed=5) / 2 + 0.5j * numbers(SLOTS, seed=6)
    assert agrees(rotation.conjugate(raw(values)), values.conj()[None])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-SLOTS, SLOTS), min_size=1, max_size=5))
def test_hoisted_rotations_are_those_one_by_one(steps: list[int]) -> None:
    for step, rotated in zip(steps, rotation.rotate_hoisted(raw(A), steps), strict=True):
        assert agrees(rotated, left(step))


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, SLOTS - 1), min_size=1, max_size=6))
def test_a_sum_of_rotations(steps: set[int]) -> None:
    terms = {step: raw(numbers(SLOTS, seed=step)) for step in steps}
    expected = sum(left(step, numbers(SLOTS, seed=step)) for step in steps)
    assert agrees(rotation.sum_of_rotations(terms), np.asarray(expected))


def test_a_term_on_the_way_of_another_counts_once() -> None:
    x = with_steps(-1, -4, 16, 12)
    for steps in ((27, 28), (12, 11)):  # 28 is -4, on the way to 27 = -4 - 1; 12 has a key, and 11 is 16 - 4 - 1
        got = rotation.sum_of_rotations(dict.fromkeys(steps, x))
        assert agrees(got, np.asarray(sum(left(step) for step in steps)))


def test_walks_take_the_fewest_steps_and_share_them() -> None:
    with operation_counter() as counts:
        rotation.rotate(raw(A), 7)  # 8 - 1
    assert counts["key_switch"] == 2
    with operation_counter() as counts:
        rotation.rotate_hoisted(raw(A), [8, 7, 9, 10])  # 8, and from there -1, +1, +2
    assert counts["key_switch"] == 4
    with operation_counter() as counts:
        rotation.rotate(with_steps(7), 7)
    assert counts["key_switch"] == 1
    with operation_counter() as counts:
        rotation.sum_of_rotations({step: raw(A) for step in (0, 7, 9, 10)})  # three terms move, their sum by 8
    assert counts["key_switch"] == 4


@pytest.mark.parametrize(
    ("length", "stride"), [(1, 1), (2, 1), (4, 1), (8, 2), (16, 1), (32, 1), (8, 4), (3, 1), (5, 2), (7, 3), (11, 2)]
)
def test_inner_sums(length: int, stride: int) -> None:
    expected = sum(left(i * stride) for i in range(length))
    assert agrees(rotation.inner_sum(raw(A), length, stride), np.asarray(expected))


@pytest.mark.parametrize(("period", "stride"), [(8, 1), (8, 2), (16, 1), (16, 4), (2, 1), (1, 1)])
def test_sums_over_a_period(period: int, stride: int) -> None:
    values = numbers(period, seed=7)
    x = encrypt(values).ciphertext  # repeats after `period` slots
    expected = values.reshape(period // stride, stride).sum(axis=0)
    got = rotation.inner_sum(x, period // stride, stride, periodic=True)
    assert agrees(got, np.tile(expected, SLOTS // stride)[None])


def test_two_steps_at_a_time_where_the_order_does_not_matter() -> None:
    with operation_counter() as counts:
        rotation.inner_sum(raw(A), SLOTS)  # 4 * 4 * 2
    assert counts["key_switch"] == 3 + 3 + 1
    with operation_counter() as counts:
        rotation.inner_sum(raw(A), SLOTS // 2)
    assert counts["key_switch"] == 4


def test_sums_with_other_keys_than_powers_of_two() -> None:
    expected = sum(left(i) for i in range(8))
    for steps in ((1, 2, 4), (1, 2, -1, 4), (1, 2, 3, 4), (1, -1, 2, 5, 4)):
        assert agrees(rotation.inner_sum(with_steps(*steps), 8), np.asarray(expected))
    whole = np.full((1, SLOTS), A.sum())
    assert agrees(rotation.inner_sum(with_steps(1, 2, 4, 8, 16), SLOTS), whole)
    with pytest.raises(MissingKeyError, match=r"galois=\[2\]"):
        rotation.inner_sum(with_steps(1, 4, 8, 16), SLOTS)


def test_sums_of_batches() -> None:
    values = numbers(3, SLOTS)
    expected = np.repeat(values.sum(axis=1, keepdims=True), SLOTS, axis=1)
    assert agrees(rotation.inner_sum(raw(values.ravel()), SLOTS), expected)
    low = evaluator.drop_to_level(raw(values.ravel()).reshape(3, 1), 0)
    assert agrees(rotation.inner_sum(low, SLOTS), expected[:, None])


def test_a_missing_key_names_the_call_that_makes_it() -> None:
    with pytest.raises(MissingKeyError, match=r"galois=\[7\]"):
        rotation.rotate(with_steps(1, 2), 7)
    with pytest.raises(MissingKeyError, match="conjugation=True"):
        rotation.conjugate(with_steps(1))
    with pytest.raises(MissingKeyError, match="power-of-two"):
        rotation.rotate(replace(raw(A), evaluation_keys=None), 1)
    with pytest.raises(MissingKeyError):
        rotation.rotate(raw(A, "flat", scale=2**20), 1)


def test_refusals() -> None:
    x = raw(A)
    with pytest.raises(OperandTypeError, match="relinearize"):
        rotation.rotate(evaluator.square(x), 1)
    with pytest.raises(ParameterError, match="same step"):
        rotation.sum_of_rotations({1: x, 1 + SLOTS: x})
    for length, stride in ((0, 1), (1, 0), (SLOTS, 2), (-4, 1)):
        with pytest.raises(ParameterError, match="cannot sum"):
            rotation.inner_sum(x, length, stride)


def test_steps_and_lengths_are_integers() -> None:
    x = raw(np.zeros(8))
    with pytest.raises(OperandTypeError, match="integer"):
        rotation.rotate(x, 1.5)  # type: ignore[arg-type]
    with pytest.raises(OperandTypeError, match="integer"):
        rotation.inner_sum(x, 3.0)  # type: ignore[arg-type]
