"""How kernels find polynomials: by extents and steps, so that broadcasting and picking need no table on the device.

`kernels/device/rows.h` takes the three axes that `Walk` holds. Shapes and indices that need more are rare: they say so
by None, and a table of rows serves them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

AXES = 3
Axes = list[tuple[int, tuple[int, ...]]]
"""From the last one: the extent, and each operand's step."""


@dataclass(frozen=True)
class Walk:
    """Up to three axes, the last first; an extent of 0 says that the axis takes all that is left."""

    extents: tuple[int, int]
    steps: tuple[tuple[int, int, int], ...]  # of each operand

    def arguments(self, factor: int = 1) -> tuple[np.uint32, ...]:
        """Extents and steps as kernels take them; steps times `factor`, modulo 2^32."""
        numbers = [*self.extents, *(step * factor for steps in self.steps for step in steps)]
        return tuple(np.uint32(number % 2**32) for number in numbers)


ALL = Walk((0, 0), ((1, 0, 0),))
"""One polynomial after the other."""


def walk(axes: Axes, operands: int) -> Walk | None:
    """Axes with neighbours joined where every operand runs through both evenly; None where more than three remain."""
    joined: Axes = []
    for extent, steps in axes:
        if extent == 1:
            continue
        if joined and all(s == joined[-1][0] * t for s, t in zip(steps, joined[-1][1], strict=True)):
            joined[-1] = joined[-1][0] * extent, joined[-1][1]
        else:
            joined.append((extent, steps))
    if len(joined) > AXES:
        return None
    extents = [extent for extent, _ in joined[:-1]] + [0, 0]
    padded = [steps for _, steps in joined] + [(0,) * operands] * AXES
    return Walk((extents[0], extents[1]), tuple((padded[0][i], padded[1][i], padded[2][i]) for i in range(operands)))


@lru_cache(maxsize=1024)
def meeting(a: tuple[int, ...], b: tuple[int, ...], inner: int = 0) -> Walk | None:
    """Which polynomials of two operands meet in each of the result; the last `inner` axes run within: their first."""
    outer = [shape[: len(shape) - inner] for shape in (a, b)]
    shape = np.broadcast_shapes(*outer)
    steps = []
    for whole, own in zip((a, b), outer, strict=True):
        strides = [math.prod(whole[axis + 1 :]) if own[axis] > 1 else 0 for axis in range(len(own))]
        steps.append([0] * (len(shape) - len(own)) + strides)
    return walk([(shape[i], (steps[0][i], steps[1][i])) for i in reversed(range(len(shape)))], 2)


def spread(a: tuple[int, ...], b: tuple[int, ...], inner: int) -> list[NDArray[np.intp]]:
    """Indices that repeat each operand until both have the shape of the result before the last `inner` axes."""
    shape = np.broadcast_shapes(a[: len(a) - inner], b[: len(b) - inner])
    return [
        np.broadcast_to(np.arange(math.prod(own), dtype=np.intp).reshape(own), (*shape, *own[len(own) - inner :]))
        for own in (a, b)
    ]


def evenly(indices: NDArray[np.integer]) -> tuple[int, Walk] | None:
    """The first of flat indices and the walk that makes them all, or None where there is none."""
    rest = indices.ravel().astype(np.int64)
    first = int(rest[0]) if rest.size else 0
    if rest.size <= 1:
        return first, ALL
    axes: Axes = []
    while rest.size > 1 and len(axes) < AXES:
        step = int(rest[1] - rest[0])
        breaks = np.flatnonzero(np.diff(rest) != step)
        run = int(breaks[0]) + 1 if breaks.size else rest.size
        if rest.size % run:
            return None
        table = rest.reshape(-1, run)
        if not np.array_equal(table, table[:, :1] + step * np.arange(run)):
            return None
        axes.append((run, (step,)))
        rest = table[:, 0]
    found = walk(axes, 1) if rest.size <= 1 else None
    return None if found is None else (first, found)


def even_positions(positions: Sequence[int]) -> tuple[int, int] | None:
    """The first position and the step between neighbours, where it is one step."""
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    even = all(position == positions[0] + i * step for i, position in enumerate(positions))
    return (positions[0], step) if even else None
