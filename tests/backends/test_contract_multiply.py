"""Contract suite: multiplication, products, inverses and greatest common divisors."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.modulus import CrtModulus, Modulus
from hecore.errors import NotInvertibleError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from tests.backends.conftest import Lab

BATCHES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 33]


def product_of(values: list[int], modulus: Modulus) -> int:
    return reduce(lambda x, y: x * y % modulus.value, values, 1)


@pytest.mark.parametrize("count", BATCHES)
def test_mod_mul(lab: Lab, modulus: Modulus, count: int) -> None:
    x, y = lab.values(modulus, count), lab.values(modulus, count, "b")
    a, b = lab.up(x, modulus), lab.up(y, modulus)
    expected = [i * j % modulus.value for i, j in zip(x, y, strict=True)]
    lab.same(lab.backend.mod_mul(a, b), expected, modulus, (count,))
    lab.same(a, x, modulus, (count,))  # operands are left alone
    lab.same(b, y, modulus, (count,))


@pytest.mark.parametrize("count", BATCHES)
def test_mod_mul_of_an_array_with_itself(lab: Lab, modulus: Modulus, count: int) -> None:
    x = lab.values(modulus, count)
    a = lab.up(x, modulus)
    lab.same(lab.backend.mod_mul(a, a), [i * i % modulus.value for i in x], modulus, (count,))


def test_mod_mul_of_every_pair_of_awkward_values(lab: Lab, modulus: Modulus) -> None:
    awkward = lab.values(modulus, 7)
    x, y = [i for i in awkward for _ in awkward], awkward * 7
    result = lab.backend.mod_mul(lab.up(x, modulus, (7, 7)), lab.up(y, modulus, (7, 7)))
    lab.same(result, [i * j % modulus.value for i, j in zip(x, y, strict=True)], modulus, (7, 7))


def test_mod_mul_over_several_steps(lab: Lab, modulus: Modulus) -> None:
    """Results of one operation feed the next: a value kept above the modulus in between must not show."""
    x = lab.values(modulus, 16)
    a = lab.up(x, modulus)
    current, expected = a, list(x)
    for _ in range(12):
        current = lab.backend.mod_mul(lab.backend.mod_mul(current, current), a)
        expected = [i * i * j % modulus.value for i, j in zip(expected, x, strict=True)]
    lab.same(current, expected, modulus, (16,))


def test_mod_mul_of_a_large_batch(lab: Lab, small_modulus: Modulus) -> None:
    """More elements than any block a pool of threads would cut."""
    x, y = lab.values(small_modulus, 3001), lab.values(small_modulus, 3001, "b")
    result = lab.backend.mod_mul(lab.up(x, small_modulus), lab.up(y, small_modulus))
    lab.same(result, [i * j % small_modulus.value for i, j in zip(x, y, strict=True)], small_modulus, (3001,))


def test_mod_mul_of_taken_and_reshaped_arrays(lab: Lab, some_modulus: Modulus) -> None:
    x = lab.values(some_modulus, 20)
    a = lab.up(x, some_modulus, (4, 5))
    turned = lab.backend.take(a, np.arange(20).reshape(4, 5).T)
    b = lab.backend.reshape(a, (5, 4))
    order = [5 * j + i for i in range(5) for j in range(4)]
    expected = [x[i] * y % some_modulus.value for i, y in zip(order, x, strict=True)]
    lab.same(lab.backend.mod_mul(turned, b), expected, some_modulus, (5, 4))


@pytest.mark.parametrize("shape", [(), (0, 4), (2, 3), (2, 2, 2)])
def test_mod_mul_keeps_the_shape(lab: Lab, some_modulus: Modulus, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    x, y = lab.values(some_modulus, count), lab.values(some_modulus, count, "b")
    result = lab.backend.mod_mul(lab.up(x, some_modulus, shape), lab.up(y, some_modulus, shape))
    lab.same(result, [i * j % some_modulus.value for i, j in zip(x, y, strict=True)], some_modulus, shape)


def test_mod_mul_refuses_other_shapes_and_moduli(lab: Lab) -> None:
    a = lab.up([1, 2, 3, 4], Modulus(49))
    mul = lab.backend.mod_mul
    with pytest.raises(ShapeError):
        mul(a, lab.up([1, 2, 3], Modulus(49)))
    with pytest.raises(ShapeError):
        mul(a, lab.up([1, 2, 3, 4], Modulus(49), (2, 2)))
    with pytest.raises(ShapeError):
        mul(a, lab.up([1], Modulus(49), ()))
    with pytest.raises(ParameterError):
        mul(a, lab.up([1, 2, 3, 4], Modulus(51)))
    with pytest.raises(ParameterError):
        mul(a, lab.up([1, 2, 3, 4], Modulus.square(7)))


@pytest.mark.parametrize("count", [*BATCHES, 64, 100, 2000])
def test_product(lab: Lab, some_modulus: Modulus, count: int) -> None:
    x = lab.values(some_modulus, count + 1)[1:]  # without the zero
    lab.same(lab.backend.product(lab.up(x, some_modulus)), [product_of(x, some_modulus)], some_modulus, ())


def test_product_at_every_size(lab: Lab, modulus: Modulus) -> None:
    x = lab.values(modulus, 27, "p")
    rows = [product_of(x[i : i + 9], modulus) for i in (0, 9, 18)]
    lab.same(lab.backend.product(lab.up(x, modulus, (3, 9))), rows, modulus, (3,))


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (2, 3, 5), (9, 2), (2, 17), (40, 3), (700, 2), (3, 1000)])
def test_product_along_the_last_axis(lab: Lab, some_modulus: Modulus, shape: tuple[int, ...]) -> None:
    x, count = lab.units(some_modulus, math.prod(shape)), shape[-1]
    expected = [product_of(x[i : i + count], some_modulus) for i in range(0, len(x), count)]
    lab.same(lab.backend.product(lab.up(x, some_modulus, shape)), expected, some_modulus, shape[:-1])


def test_product_over_nothing_is_one(lab: Lab, some_modulus: Modulus) -> None:
    product = lab.backend.product
    lab.same(product(lab.up([], some_modulus)), [1], some_modulus, ())
    lab.same(product(lab.up([], some_modulus, (3, 0))), [1, 1, 1], some_modulus, (3,))
    lab.same(product(lab.up([], some_modulus, (0, 3))), [], some_modulus, (0,))
    lab.same(product(lab.up([], some_modulus, (2, 0, 0))), [], some_modulus, (2, 0))


def test_product_needs_an_axis(lab: Lab, small_modulus: Modulus) -> None:
    with pytest.raises(ShapeError):
        lab.backend.product(lab.up([1], small_modulus, ()))


SEGMENTS = {
    "in order": ([0, 0, 1, 1, 1, 2], 3),
    "unsorted": ([2, 0, 1, 2, 0, 2, 1, 0, 2], 3),
    "empty ones": ([4, 1, 4, 1], 7),
    "all in one": ([3] * 33, 4),
    "one each": (list(range(17))[::-1], 17),
    "no elements": ([], 4),
    "nothing at all": ([], 0),
    "many": ([i * i % 23 for i in range(200)], 23),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_segment_product(lab: Lab, some_modulus: Modulus, name: str) -> None:
    labels, count = SEGMENTS[name]
    x = lab.units(some_modulus, len(labels))
    expected = [product_of([v for v, s in zip(x, labels, strict=True) if s == i], some_modulus) for i in range(count)]
    segments = np.array(labels, dtype=np.intp)
    lab.same(lab.backend.segment_product(lab.up(x, some_modulus), segments, count), expected, some_modulus, (count,))


def test_segment_product_at_every_size(lab: Lab, modulus: Modulus) -> None:
    x, labels = lab.values(modulus, 20), [i * 7 % 5 for i in range(20)]
    expected = [product_of([v for v, s in zip(x, labels, strict=True) if s == i], modulus) for i in range(6)]
    result = lab.backend.segment_product(lab.up(x, modulus), np.array(labels, dtype=np.intp), 6)
    lab.same(result, expected, modulus, (6,))


def test_segment_product_refuses_bad_segments(lab: Lab, small_modulus: Modulus) -> None:
    a = lab.up(lab.units(small_modulus, 4), small_modulus)
    segment_product = lab.backend.segment_product
    for labels in ([0, 1, 2, 3], [0, 0, 0, -1]):
        with pytest.raises(ParameterError):
            segment_product(a, np.array(labels, dtype=np.intp), 3)
    with pytest.raises(ParameterError):
        segment_product(lab.up([], small_modulus), np.zeros(0, dtype=np.intp), -1)
    with pytest.raises(ShapeError):
        segment_product(a, np.zeros(3, dtype=np.intp), 3)
    with pytest.raises(ShapeError):
        segment_product(lab.backend.reshape(a, (2, 2)), np.zeros((2, 2), dtype=np.intp), 3)
    with pytest.raises(OperandTypeError):
        segment_product(a, np.zeros(4), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [*BATCHES, 100, 2000])
def test_batch_invert(lab: Lab, some_modulus: Modulus, count: int) -> None:
    x = lab.units(some_modulus, count)
    result = lab.backend.batch_invert(lab.up(x, some_modulus))
    lab.same(result, [pow(v, -1, some_modulus.value) for v in x], some_modulus, (count,))


def test_batch_invert_at_every_size(lab: Lab, modulus: Modulus) -> None:
    x = lab.units(modulus, 10)
    result = lab.backend.batch_invert(lab.up(x, modulus, (2, 5)))
    lab.same(result, [pow(v, -1, modulus.value) for v in x], modulus, (2, 5))


def planted(lab: Lab, crt: CrtModulus, count: int, bad: dict[int, int]) -> list[int]:
    x = lab.units(crt.n_squared, count)
    for i, value in bad.items():
        x[i] = value % crt.n_squared.value
    return x


def test_batch_invert_names_what_has_no_inverse(lab: Lab, some_crt: CrtModulus) -> None:
    p, q, n = some_crt.p, some_crt.q, some_crt.n.value
    for count, bad in (
        (1, {0: 0}),
        (9, {0: p}),
        (9, {8: q * 5}),
        (33, {3: n, 4: 0, 17: p * q * 7, 32: p * p}),
        (8, dict.fromkeys(range(8), n * (n - 1))),
        (1000, {511: p, 999: q}),
    ):
        a = lab.up(planted(lab, some_crt, count, bad), some_crt.n_squared)
        with pytest.raises(NotInvertibleError) as caught:
            lab.backend.batch_invert(a)
        assert caught.value.indices == tuple(bad)
        assert str(next(iter(bad))) in str(caught.value)
        assert str(p) not in str(caught.value)


def test_zero_has_no_inverse(lab: Lab, modulus: Modulus) -> None:
    with pytest.raises(NotInvertibleError) as caught:
        lab.backend.batch_invert(lab.up([1, 0, modulus.value - 1], modulus))
    assert caught.value.indices == (1,)


def test_gcd_is_one_finds_planted_factors(lab: Lab, some_crt: CrtModulus) -> None:
    p, q, n = some_crt.p, some_crt.q, some_crt.n.value
    for count, bad in (
        (0, {}),
        (1, {}),
        (33, {}),
        (1, {0: 0}),
        (9, {0: p}),
        (9, {8: q}),
        (33, {0: p, 32: q}),
        (33, {5: p * 3, 6: p * 3, 7: q, 31: n}),
        (16, dict.fromkeys(range(16), n)),
        (2000, {0: p, 1023: q, 1024: n, 1999: p}),
    ):
        x = planted(lab, some_crt, count, bad)
        result = lab.backend.gcd_is_one(lab.up(x, some_crt.n_squared))
        assert result.dtype == np.bool_
        assert result.tolist() == [i not in bad for i in range(count)]


def test_gcd_is_one_at_every_size(lab: Lab, modulus: Modulus) -> None:
    x = lab.values(modulus, 14)
    result = lab.backend.gcd_is_one(lab.up(x, modulus, (2, 7)))
    assert result.shape == (2, 7)
    assert result.ravel().tolist() == [math.gcd(v, modulus.value) == 1 for v in x]
