from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.arith.limbs import ints_from_limbs, less_than, limbs_for_bits, limbs_from_ints
from hecore.errors import ParameterError, ShapeError


@pytest.mark.parametrize(
    ("bits", "limbs"), [(0, 1), (1, 1), (63, 1), (64, 1), (65, 2), (128, 2), (129, 3), (4096, 64), (8192, 128)]
)
def test_limbs_for_bits(bits: int, limbs: int) -> None:
    assert limbs_for_bits(bits) == limbs


def test_limbs_are_little_endian() -> None:
    limbs = limbs_from_ints([1, 2**64, 2**128 - 1, 3 + (5 << 64)], 2)
    assert limbs.dtype == np.uint64
    assert limbs.tolist() == [[1, 0], [0, 1], [2**64 - 1, 2**64 - 1], [3, 5]]


def test_nothing_is_a_batch_too() -> None:
    assert limbs_from_ints([], 3).shape == (0, 3)
    assert ints_from_limbs(np.zeros((0, 3), dtype=np.uint64)) == []
    assert ints_from_limbs(np.zeros((2, 0, 3), dtype=np.uint64)) == []


def test_the_result_is_writable_and_the_callers_own() -> None:
    limbs = limbs_from_ints([1, 2], 1)
    limbs[0, 0] = 7
    assert ints_from_limbs(limbs) == [7, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.integers(0, (1 << 64 * k) - 1)))))
def test_round_trip(case: tuple[int, list[int]]) -> None:
    count, values = case
    assert ints_from_limbs(limbs_from_ints(values, count)) == values


def test_any_leading_shape_and_layout_reads_in_c_order() -> None:
    values = list(range(2**64 - 6, 2**64 + 6))
    limbs = limbs_from_ints(values, 2).reshape(3, 4, 2)
    assert ints_from_limbs(limbs) == values
    assert ints_from_limbs(np.asfortranarray(limbs)) == values
    assert ints_from_limbs(limbs[::-1, ::2]) == [values[4 * i + j] for i in (2, 1, 0) for j in (0, 2)]
    assert ints_from_limbs(limbs[0, 0]) == values[:1]
    assert ints_from_limbs(limbs.astype(">u8")) == values


@pytest.mark.parametrize("bad", [-1, 2**128, 2**200])
def test_what_does_not_fit_is_refused_without_being_printed(bad: int) -> None:
    with pytest.raises(ParameterError) as caught:
        limbs_from_ints([0, bad], 2)
    assert str(bad) not in str(caught.value).replace("2 limbs", "")
    assert caught.value.__cause__ is None


def test_a_scalar_has_no_limbs() -> None:
    with pytest.raises(ShapeError):
        ints_from_limbs(np.array(5, dtype=np.uint64))


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from((1, 2, 3, 4, 8, 9, 64, 65)).flatmap(
        lambda k: st.tuples(
            st.just(k),
            st.lists(st.integers(0, (1 << 64 * k) - 1), max_size=6),
            st.integers(0, (1 << 64 * k + 3) - 1),
        )
    )
)
def test_less_than_is_less_than(case: tuple[int, list[int], int]) -> None:
    count, values, bound = case
    near = [x for x in (bound - 1, bound, bound + 1, bound ^ 1 << 63) if 0 <= x < 1 << 64 * count]
    every = values + near
    assert less_than(limbs_from_ints(every, count), bound).tolist() == [x < bound for x in every]


def test_less_than_keeps_the_shape() -> None:
    limbs = limbs_from_ints([0, 1, 2, 3, 4, 5], 1).reshape(2, 3, 1)
    assert less_than(limbs, 4).tolist() == [[True, True, True], [True, False, False]]
    assert less_than(limbs[:0], 4).shape == (0, 3)
    assert less_than(limbs[0, 0], 1).shape == ()
