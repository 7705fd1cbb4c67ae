"""How arrays lie in slots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecore.ckks.layout import Layout
from hecore.errors import ShapeError

shapes = st.lists(st.integers(1, 7), max_size=3).map(tuple)


@given(shapes, shapes)
def test_unpacking_undoes_packing(batch: tuple[int, ...], shape: tuple[int, ...]) -> None:
    layout = Layout(shape, 8)
    values = np.arange(1.0, math.prod(batch) * math.prod(shape) + 1).reshape(batch + shape)
    packed = layout.pack(values)
    assert packed.shape == (*batch, layout.chunks, 8)
    np.testing.assert_array_equal(layout.unpack(packed), values)


@given(shapes)
def test_chunks_repeat_after_the_period_and_hold_zeros_beyond_the_values(shape: tuple[int, ...]) -> None:
    layout = Layout(shape, 8)
    packed = layout.pack(np.ones(shape))
    assert 8 % layout.period == 0
    np.testing.assert_array_equal(packed, np.roll(packed, layout.period, axis=-1))
    assert packed.sum() == layout.size * (8 // layout.period)
    assert layout.is_full == bool(packed.all())


@pytest.mark.parametrize(
    ("shape", "chunks", "period"),
    [((), 1, 1), ((1,), 1, 1), ((3,), 1, 4), ((2, 2), 1, 4), ((8,), 1, 8), ((9,), 2, 8), ((3, 8), 3, 8)],
)
def test_chunks_and_period(shape: tuple[int, ...], chunks: int, period: int) -> None:
    layout = Layout(shape, 8)
    assert (layout.chunks, layout.period) == (chunks, period)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="empty"):
        Layout((3, 0), 8)
    with pytest.raises(ShapeError, match="as \\(3,\\)"):
        Layout((3,), 8).pack(np.ones(4))
