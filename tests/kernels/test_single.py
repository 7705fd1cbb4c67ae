"""One to three products modulo n^2, digits across a vector, against Python integers; eight lanes alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hecore.arith.modulus import Modulus
from hecore.kernels.cpu import single
from hecore.kernels.cpu.context import make_context
from hecore.kernels.cpu.elements import SLACK_BITS
from hecore.kernels.cpu.engine import Engine
from hecore.kernels.cpu.vector import DIGIT_BITS, LANES
from tests.kernels.conftest import fixed

pytestmark = pytest.mark.skipif(LANES == 1, reason="one lane has no digits side by side")


@pytest.mark.parametrize("length", [40, 80])
@pytest.mark.parametrize("name", ["largest", "smallest", "random"])
def test_few_products(length: int, name: str) -> None:
    """Edges of both components, in rows that are loose (below 16n) and in reduced ones; the result is below 2n."""
    top = DIGIT_BITS * length - SLACK_BITS
    n = {"largest": (1 << top) - 1, "smallest": 3, "random": fixed("single n", top) | 1}[name]
    context, engine = make_context(Modulus.square(n), length), Engine(1)
    edges = [0, 1, n - 1, n, 2 * n - 1, 16 * n - 1, fixed("single x", top + 64) % (16 * n)]
    elements = list(itertools.product(edges, repeat=2))
    mask = (1 << DIGIT_BITS) - 1

    def row(x0: int, x1: int) -> list[int]:
        return [x >> (DIGIT_BITS * i) & mask for x in (x0, x1) for i in range(length)]

    inverse = pow(context.radix, -1, n * n)
    for i, (x0, x1) in enumerate(elements):
        count = i % single.FEW + 1
        others = [elements[(5 * i + 11 * k) % len(elements)] for k in range(count)]
        a = np.array([row(x0, x1)] * count, dtype=np.uint64)
        b = np.array([row(*other) for other in others], dtype=np.uint64)
        found = engine.multiply(context, a, b)
        for (y0, y1), out in zip(others, found.tolist(), strict=True):
            assert max(out) <= mask
            r0, r1 = (sum(d << (DIGIT_BITS * j) for j, d in enumerate(part)) for part in (out[:length], out[length:]))
            assert max(r0, r1) < 2 * n
            assert (r0 + r1 * n) % n**2 == (x0 + x1 * n) * (y0 + y1 * n) * inverse % n**2


def test_rows_that_are_not_contiguous() -> None:
    context, engine = make_context(Modulus.square((1 << 2047) + 1)), Engine(1)
    rows = engine.import_ints(context, [3, 5, 7, 11])
    found = engine.export_ints(context, engine.multiply(context, rows[::2], rows[1::2]))
    assert found == [15, 77]
