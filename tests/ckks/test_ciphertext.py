"""Ciphertexts as values: shapes, components, moving, and what operands must share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hecore import ckks
from hecore.ckks import Ciphertext, evaluator
from hecore.ckks.ciphertext import add_to_first, check_compatible, concatenate, join
from hecore.errors import BackendMismatchError, KeyMismatchError, OperandTypeError, ParameterError, ShapeError
from tests.ckks.evaluation import SLOTS, agrees, keys, numbers, raw


def batch() -> tuple[Ciphertext, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Six ciphertexts (6,) and their values (6, slots)."""
    values = numbers(6, SLOTS)
    return raw(values.ravel()), values


def test_what_it_says_of_itself() -> None:
    x, _ = batch()
    assert (x.shape, x.size, x.components, x.level, x.device) == ((6,), 6, 2, 3, "cpu")
    product = evaluator.square(x)
    assert (product.shape, product.components) == ((6,), 3)
    assert repr(x) == (
        f"<Ciphertext shape=(6,) components=2 level=3 scale=2^40.00 on 'cpu' under key {x.key_id.hex()[:8]}>"
    )


def test_reshaping_and_taking_move_whole_ciphertexts() -> None:
    x, values = batch()
    assert agrees(x.reshape(2, 3), values.reshape(2, 3, SLOTS))
    picked = np.array([[5, 0], [0, 3]])
    assert agrees(x.take(picked), values[picked])
    product = evaluator.square(x).take(np.array([1]))
    assert (product.shape, product.components) == ((1,), 3)
    assert agrees(product, values[1:2] ** 2)


def test_taking_everything_in_place_keeps_the_seed_and_anything_else_drops_it() -> None:
    x = keys().secret_key.encrypt(numbers(3 * SLOTS)).ciphertext
    assert x.seed is not None
    assert x.take(x.flat_indices()).seed is x.seed
    assert x.reshape(3, 1).seed is x.seed
    assert x.take(np.array([0])).seed is None
    assert x.take(np.array([1, 0, 2])).seed is None
    assert evaluator.negate(x).seed is None


def test_components_come_apart_and_together() -> None:
    x, values = batch()
    assert agrees(replace(x, polynomials=join([x.component(0), x.component(1)])), values)
    three = evaluator.square(x)
    assert three.take_components(2).shape == (6, 2)
    zero = x.backend.residue_scale(x.component(0), [0] * (x.level + 1))
    assert agrees(replace(x, polynomials=add_to_first(x.polynomials, zero)), values)


def test_another_backend_holds_the_same_numbers() -> None:
    x, values = batch()
    there = x.to("reference")
    assert there.device == "reference"
    assert there.to("reference") is there
    assert agrees(there, values)
    assert agrees(evaluator.multiply_rescale(there, there), values**2)


def test_joining_batches() -> None:
    x, values = batch()
    assert agrees(concatenate([x, x.take(np.array([2]))]), np.concatenate([values, values[2:3]]))
    with pytest.raises(OperandTypeError, match="level, scale and components"):
        concatenate([x, evaluator.drop_to_level(x, 1)])
    with pytest.raises(ShapeError, match="no ciphertexts"):
        concatenate([])


def test_worst_cases_of_a_join_are_those_of_all() -> None:
    x, _ = batch()
    loud = replace(x, noise=2 * x.noise, bound=3.0)
    joined = concatenate([x, loud])
    assert (joined.noise, joined.bound) == (loud.noise, 3.0)
    assert concatenate([x, replace(x, bound=None)]).bound is None


def test_operands_share_parameters_key_and_backend() -> None:
    x, _ = batch()
    check_compatible(x, x, "add")
    with pytest.raises(ParameterError, match="cannot add: one ciphertext was made with"):
        check_compatible(x, raw(numbers(3), "hybrid"), "add")
    other = ckks.generate_keys(keys().parameters).public_key.encrypt(numbers(3)).ciphertext
    with pytest.raises(KeyMismatchError, match=f"{x.key_id.hex()[:8]}.*{other.key_id.hex()[:8]}"):
        check_compatible(x, other, "add")
    with pytest.raises(BackendMismatchError, match=r"\.to\(device\)"):
        check_compatible(x, x.to("reference"), "add")


def test_evaluation_keys_of_another_key_are_refused() -> None:
    x, _ = batch()
    own = keys().evaluation_keys
    assert replace(x, evaluation_keys=None).with_keys(own).evaluation_keys is own
    with pytest.raises(KeyMismatchError):
        x.with_keys(ckks.generate_keys(keys().parameters).evaluation_keys)


def test_components_level_and_basis_must_fit() -> None:
    x, _ = batch()
    with pytest.raises(ShapeError, match="2 or 3 components"):
        replace(x, polynomials=x.backend.ring_reshape(x.polynomials, (3, 4)))
    with pytest.raises(ParameterError, match="another basis"):
        replace(x, level=1)
    with pytest.raises(ParameterError, match="another basis"):
        replace(x, polynomials=x.backend.intt(x.polynomials))
