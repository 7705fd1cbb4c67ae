"""Extents and steps say where polynomials are: what a kernel reads by them is what NumPy would read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecore.backends.kernel_walks import ALL, Walk, even_positions, evenly, meeting, spread, walk

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def visited(found: Walk, operand: int, size: int) -> list[int]:
    """`meeting` of kernels/device/rows.h for 0 … size-1."""
    (extent0, extent1), steps = found.extents, found.steps[operand]
    out = []
    for p in range(size):
        if extent0 == 0:
            out.append(p * steps[0])
        elif extent1 == 0:
            out.append(p % extent0 * steps[0] + p // extent0 * steps[1])
        else:
            rest = p // extent0
            out.append(p % extent0 * steps[0] + rest % extent1 * steps[1] + rest // extent1 * steps[2])
    return out


@st.composite
def broadcastable(draw: st.DrawFn) -> Shapes:
    whole = draw(st.lists(st.integers(1, 3), max_size=5))
    shapes = []
    for _ in range(2):
        own = [extent if draw(st.booleans()) else 1 for extent in whole]
        shapes.append(tuple(own[draw(st.integers(0, len(own))) :]))
    return shapes[0], shapes[1]


@given(shapes=broadcastable(), inner=st.integers(0, 2))
def test_meeting(shapes: Shapes, inner: int) -> None:
    """Each polynomial of the result meets what broadcasting says, or the walk is too long and spreading helps."""
    tail = (2, 5)[:inner]
    a, b = shapes[0] + tail, shapes[1] + tail
    shape = np.broadcast_shapes(*shapes)
    found = meeting(a, b, inner)
    if found is None:
        assert len(shape) > 3
        indices = spread(a, b, inner)
        assert all(i.shape == shape + tail for i in indices)
        found = meeting(indices[0].shape, indices[1].shape, inner)
        assert found is not None
        a, b = indices[0].shape, indices[1].shape
    step = int(np.prod(tail))
    for operand, own in enumerate((a, b)):
        outer = own[: len(own) - inner]
        expected = np.broadcast_to(np.arange(int(np.prod(outer))).reshape(outer), shape) * step
        assert visited(found, operand, int(np.prod(shape))) == expected.ravel().tolist()


def test_axes_that_run_evenly_are_one() -> None:
    assert meeting((2, 3, 4), (2, 3, 4)) == Walk((0, 0), ((1, 0, 0), (1, 0, 0)))
    assert meeting((2, 3, 4), ()) == Walk((0, 0), ((1, 0, 0), (0, 0, 0)))
    assert meeting((2, 3, 4), (3, 4)) == Walk((12, 0), ((1, 12, 0), (1, 0, 0)))
    assert meeting((4, 1, 2), (4, 3, 2)) == Walk((2, 3), ((1, 0, 2), (1, 2, 6)))
    assert meeting((2, 1, 2, 1), (1, 3, 1, 5)) is None


def test_steps_may_be_negative_and_scaled() -> None:
    found = walk([(3, (-1,))], 1)
    assert found is not None
    assert [int(n) for n in found.arguments(4)] == [0, 0, 2**32 - 4, 0, 0]


PICKED = {
    "all": np.arange(6),
    "one": np.array(4),
    "none": np.zeros((0, 2), dtype=np.intp),
    "every second": np.arange(1, 12, 2),
    "backwards": np.arange(6)[::-1],
    "repeated": np.array([3, 3, 3, 3]),
    "a column": np.arange(12).reshape(3, 4)[:, 1],
    "transposed": np.arange(12).reshape(3, 4).T,
    "pairs side by side": np.arange(12).reshape(2, 6).T.ravel(),
    "three axes": np.arange(60).reshape(3, 4, 5)[::2, 1::2, ::3],
    "moved axes": np.moveaxis(np.arange(24).reshape(2, 3, 4), 0, -1),
    "broadcast": np.broadcast_to(np.arange(3)[:, None], (3, 2)),
}


@pytest.mark.parametrize("name", PICKED)
def test_even_indices(name: str) -> None:
    indices = PICKED[name]
    found = evenly(indices)
    assert found is not None
    first, steps = found
    assert [first + i for i in visited(steps, 0, indices.size)] == indices.ravel().tolist()


def test_all_in_order() -> None:
    for indices in (np.arange(5), np.arange(6).reshape(2, 3), np.array(0)):
        assert evenly(indices) == (0, ALL)


@pytest.mark.parametrize("indices", [[0, 1, 3], [0, 2, 1], [0, 1, 2, 4, 5, 7], [5, 0, 0, 3]])
def test_uneven_indices(indices: list[int]) -> None:
    assert evenly(np.array(indices)) is None
    assert evenly(np.moveaxis(np.arange(120).reshape(2, 3, 4, 5), (0, 1, 2, 3), (3, 1, 2, 0))[..., ::-1]) is not None
    assert evenly(np.arange(81).reshape(3, 3, 3, 3)[:2, :2, :2, :2]) is None  # four axes


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_any_indices(indices: list[int]) -> None:
    found = evenly(np.array(indices))
    if found is not None:
        assert [found[0] + i for i in visited(found[1], 0, len(indices))] == indices


def test_positions() -> None:
    assert even_positions([3]) == (3, 1)
    assert even_positions(range(4)) == (0, 1)
    assert even_positions([4, 2, 0]) == (4, -2)
    assert even_positions([0, 1, 3]) is None
