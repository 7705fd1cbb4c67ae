"""Matrix products: every shape of matrix and vector, what is kept, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hecore.ckks import LinearTransform, PlainMatrix, encoding, linear, stack
from hecore.counting import operation_counter
from hecore.errors import LevelError, MissingKeyError, OperandTypeError, ShapeError
from tests.ckks.evaluation import SLOTS, agrees, encrypt, keys, numbers, raw

SHAPES = [(8, 8), (5, 3), (3, 5), (32, 32), (30, 4), (7, 20), (1, 4), (4, 1), (32, 1), (100, 6), (6, 100), (70, 40)]


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_vector_times_matrix_from_both_sides(inputs: int, outputs: int) -> None:
    a, matrix = numbers(inputs), numbers(inputs, outputs, seed=1)
    x = encrypt(a)
    product = x @ matrix
    assert agrees(product, a @ matrix)
    assert (product.level, product.scale) == (x.level - 1, x.scale)
    assert agrees(matrix.T @ x, a @ matrix)


@pytest.mark.parametrize("chain", ["gadget", "hybrid"])
def test_products_one_after_the_other(chain: str) -> None:
    a, first, second = numbers(20), numbers(20, 6, seed=1), numbers(6, 11, seed=2)
    product = (encrypt(a, chain) @ first + 0.25) @ second
    assert agrees(product, (a @ first + 0.25) @ second, chain)


def test_the_result_repeats_and_is_clean_beyond_its_values() -> None:
    a, matrix = numbers(20), numbers(20, 3, seed=1)
    slots = keys().secret_key.decrypt((encrypt(a) @ matrix).ciphertext)[0]
    expected = np.tile(np.append(a @ matrix, 0.0), SLOTS // 4)
    np.testing.assert_allclose(slots, expected, atol=1e-6)


def test_batches_of_vectors() -> None:
    a, matrix = numbers(3, 10), numbers(10, 4, seed=1)
    x = stack([encrypt(row) for row in a])
    assert agrees(x @ matrix, a @ matrix)
    assert agrees(x @ numbers(10, seed=2), a @ numbers(10, seed=2))


def test_a_plain_matrix_mixes_the_rows_of_a_batch_with_constants_alone() -> None:
    a, matrix = numbers(3, 10), numbers(2, 3, seed=1)
    x = stack([encrypt(row) for row in a])
    with operation_counter() as counts:
        mixed = matrix @ x
    assert counts["key_switch"] == 0
    assert agrees(mixed, matrix @ a)
    assert agrees(matrix[0] @ x, matrix[0] @ a)


def test_dot_products() -> None:
    a, b = numbers(20), numbers(20, seed=1)
    x, y = encrypt(a), encrypt(b)
    assert agrees(x @ y, np.asarray(a @ b))
    assert agrees(x @ b, np.asarray(a @ b))
    assert agrees(b @ x, np.asarray(a @ b))
    assert agrees(x.dot(y), np.asarray(a @ b))
    assert agrees(
        encrypt(numbers(100)) @ encrypt(numbers(100, seed=1)), np.asarray(numbers(100) @ numbers(100, seed=1))
    )


def test_complex_matrices() -> None:
    a, matrix = numbers(6), numbers(6, 4, seed=1) + 1j * numbers(6, 4, seed=2)
    product = encrypt(a) @ matrix
    assert product.dtype == np.complex128
    assert agrees(product, a @ matrix)


def test_unknown_padding_is_masked_away_first() -> None:
    a, matrix = numbers(6), numbers(6, 4, seed=1)
    x = encrypt(a)
    assert agrees((x - x.sum()) @ matrix, (a - a.sum()) @ matrix)


def test_a_plain_matrix_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a, matrix = numbers(16), PlainMatrix(numbers(16, 8, seed=1))
    x = encrypt(a)
    first = x @ matrix
    monkeypatch.setattr(encoding, "encode", lambda *_, **__: pytest.fail("encoded again"))
    assert agrees(first, a @ matrix.values)
    assert agrees(x @ matrix, a @ matrix.values)
    assert agrees(matrix.T @ x, a @ matrix.values)
    assert matrix.T.T is matrix


def test_rotations_grow_as_the_root_of_the_size() -> None:
    x, matrix = encrypt(numbers(32)), numbers(32, 32, seed=1)
    with operation_counter() as counts:
        x @ matrix
    assert counts["multiply_plain"] == 32
    assert counts["key_switch"] <= 14


def test_keys_for_the_needed_steps_alone() -> None:
    matrix = PlainMatrix(numbers(16, 16, seed=1))
    [[transform]] = matrix.T.blocks(16, SLOTS)
    steps = transform.offsets + transform.giant_steps
    own = keys().evaluation_keys
    few = replace(own, galois_keys=keys().secret_key.make_galois_keys(steps))
    assert len(few.galois_keys) <= 7
    a = numbers(16)
    assert agrees(encrypt(a).with_keys(few) @ matrix, a @ matrix.values)


def test_a_linear_transform_of_the_slots() -> None:
    a = numbers(SLOTS)
    diagonals: dict[int, Any] = {0: numbers(SLOTS, seed=1), 5: [2.0, -1.0], -3: numbers(8, seed=2)}
    expected = sum(np.tile(np.asarray(d), SLOTS // len(d)) * np.roll(a, -step) for step, d in diagonals.items())
    assert agrees(linear.linear_transform(raw(a), LinearTransform(diagonals)), np.asarray(expected)[None])


def test_refusals() -> None:
    x = encrypt(numbers(8))
    for wrong in (numbers(7), numbers(7, 3), numbers(8, 3, 2)):
        with pytest.raises(ShapeError, match="cannot matrix-multiply"):
            x @ wrong
    with pytest.raises(ShapeError, match="cannot multiply a matrix"):
        x @ PlainMatrix(numbers(7, 3))
    with pytest.raises(ShapeError, match="scalars need"):
        x @ 2.0
    with pytest.raises(ShapeError, match="scalars need"):
        2.0 @ x
    with pytest.raises(ShapeError, match="encrypted vectors of one length"):
        x @ encrypt(numbers(4))
    with pytest.raises(ShapeError, match="one packed axis"):
        encrypt(numbers(2, 4)) @ numbers(4, 2)
    with pytest.raises(OperandTypeError):
        x @ "matrix"
    with pytest.raises(ShapeError, match="plain matrix"):
        PlainMatrix(numbers(4))
    with pytest.raises(ShapeError, match="no diagonals"):
        LinearTransform({})
    with pytest.raises(ShapeError, match="power of two"):
        LinearTransform({0: numbers(3)})
    with pytest.raises(ShapeError, match="must divide"):
        linear.linear_transform(x.ciphertext, LinearTransform({0: numbers(2 * SLOTS)}))


def test_missing_levels_and_keys() -> None:
    a, matrix = numbers(8), numbers(8, 8, seed=1)
    low = encrypt(a, level=0)
    with pytest.raises(LevelError, match="moduli_bits"):
        low @ matrix
    bare = replace(keys().evaluation_keys, galois_keys=keys().secret_key.make_galois_keys([]))
    with pytest.raises(MissingKeyError, match="galois"):
        encrypt(a).with_keys(bare) @ matrix


def test_repr_shows_no_number() -> None:
    assert repr(PlainMatrix(numbers(3, 2))) == "<PlainMatrix of shape (3, 2)>"


def test_diagonals_between_slots() -> None:
    steps: Any = {0.5: [1.0, 2.0]}
    with pytest.raises(OperandTypeError, match="integers"):
        LinearTransform(steps)
