"""The negacyclic transforms on eight lanes: ring degrees from 2^10, one function a shape of prime and direction.

Each transforms one residue polynomial, from `source` to `target`, and is compiled when first asked for (ntt_rows.py).
A plan cuts log2(N) - 6 stages into passes of two or three, four bits each, the first one lowest; the last six stages
are the tail. Forward, the blocks that one pass leaves are finished one after the other, so that all but the first
pass work in the first-level cache; backward, the same from the end. The first pass has the widest stride, and few
stages where that stride is a large power of two, which few sets of the cache serve.

Measured on Zen 4 (32 KiB and 1 MiB of cache a core): passes of four stages gain at most 2 % at any degree, and
lose a quarter at N = 2^17.
"""

from __future__ import annotations

from typing import Any

from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.ntt_lanes import BLOCK_WORDS, NARROW, NARROW_TIGHT, WIDE, WIDE_TIGHT, Shape
from hecore.kernels.cpu.ntt_passes import make_pass, make_tail

LEAST_DEGREE = 1 << 10
PLANS = {
    1 << 10: (2, 2),
    1 << 11: (2, 3),
    1 << 12: (3, 3),
    1 << 13: (2, 2, 3),
    1 << 14: (2, 3, 3),
    1 << 15: (3, 3, 3),
    1 << 16: (2, 2, 3, 3),
    1 << 17: (2, 3, 3, 3),
}


def packed_plan(degree: int) -> tuple[int, int]:
    """The number of passes, and their stages four bits each."""
    plan = PLANS[degree]
    return len(plan), sum(stages << (4 * i) for i, stages in enumerate(plan))


def _make_forward(shape: Shape) -> Any:
    two, three = (make_pass(shape, stages) for stages in (2, 3))
    tail = make_tail(shape)
    words = shape.words

    @inner
    def forward(target, source, degree, passes, plan, tables):
        """One row, [0, C*B) -> canonical."""
        head = tables + 8 * BLOCK_WORDS
        stages = 0  # before the last pass, whose blocks are finished one after the other
        for p in range(passes - 1):
            stages += (plan >> (4 * p)) & 15
        size = degree >> stages
        blocks = size >> 6
        for leaf in range(1 << stages):
            done = 0
            for p in range(passes):
                count, left = (plan >> (4 * p)) & 15, stages - done
                if leaf & ((1 << left) - 1) == 0:
                    place = (leaf >> left) * (degree >> done) * 8
                    begin = (source if p == 0 else target) + place
                    stride, index = degree >> (done + count + 3), (1 << done) + (leaf >> left)
                    if count == 2:
                        two(target + place, begin, stride, head, degree, index, tables)
                    else:
                        three(target + place, begin, stride, head, degree, index, tables)
                done += count
            here, first = target + leaf * size * 8, leaf * blocks
            vectors = head + words * degree + first * 448 * words
            tail(here, here, blocks, head, degree, (degree >> 6) + first, vectors, tables)

    return forward


def _make_backward(shape: Shape) -> Any:
    two, three = (make_pass(shape, stages, inverse=True) for stages in (2, 3))
    last_two, last_three = (make_pass(shape, stages, inverse=True, last=True) for stages in (2, 3))
    tail = make_tail(shape, inverse=True)
    words = shape.words

    @inner
    def backward(target, source, degree, passes, plan, tables):
        """One row, canonical -> canonical."""
        head = tables + 8 * BLOCK_WORDS
        stages = 0  # as forwards
        for p in range(passes - 1):
            stages += (plan >> (4 * p)) & 15
        size = degree >> stages
        blocks = size >> 6
        for leaf in range(1 << stages):
            here, first = leaf * size * 8, leaf * blocks
            vectors = head + words * degree + first * 448 * words
            tail(target + here, source + here, blocks, head, degree, (degree >> 6) + first, vectors, tables)
            done = stages + ((plan >> (4 * (passes - 1))) & 15)
            for p in range(passes - 1, -1, -1):
                count = (plan >> (4 * p)) & 15
                done -= count
                left = stages - done
                if (leaf + 1) & ((1 << left) - 1) == 0:
                    place = target + (leaf >> left) * (degree >> done) * 8
                    stride, index = degree >> (done + count + 3), (1 << done) + (leaf >> left)
                    if p > 0:
                        if count == 2:
                            two(place, place, stride, head, degree, index, tables)
                        else:
                            three(place, place, stride, head, degree, index, tables)
                    elif count == 2:
                        last_two(place, place, stride, head, degree, index, tables)
                    else:
                        last_three(place, place, stride, head, degree, index, tables)

    return backward


_forward_narrow, _backward_narrow = _make_forward(NARROW), _make_backward(NARROW)
_forward_wide, _backward_wide = _make_forward(WIDE), _make_backward(WIDE)
_forward_narrow_tight, _backward_narrow_tight = _make_forward(NARROW_TIGHT), _make_backward(NARROW_TIGHT)
_forward_wide_tight, _backward_wide_tight = _make_forward(WIDE_TIGHT), _make_backward(WIDE_TIGHT)


# Each under a name of its own, by which compiled code is kept.


def forward_narrow(target, source, degree, passes, plan, tables):
    _forward_narrow(target, source, degree, passes, plan, tables)


def forward_wide(target, source, degree, passes, plan, tables):
    _forward_wide(target, source, degree, passes, plan, tables)


def forward_narrow_tight(target, source, degree, passes, plan, tables):
    _forward_narrow_tight(target, source, degree, passes, plan, tables)


def forward_wide_tight(target, source, degree, passes, plan, tables):
    _forward_wide_tight(target, source, degree, passes, plan, tables)


def backward_narrow(target, source, degree, passes, plan, tables):
    _backward_narrow(target, source, degree, passes, plan, tables)


def backward_wide(target, source, degree, passes, plan, tables):
    _backward_wide(target, source, degree, passes, plan, tables)


def backward_narrow_tight(target, source, degree, passes, plan, tables):
    _backward_narrow_tight(target, source, degree, passes, plan, tables)


def backward_wide_tight(target, source, degree, passes, plan, tables):
    _backward_wide_tight(target, source, degree, passes, plan, tables)


FUNCTIONS = {
    (NARROW, False): forward_narrow,
    (NARROW, True): backward_narrow,
    (WIDE, False): forward_wide,
    (WIDE, True): backward_wide,
    (NARROW_TIGHT, False): forward_narrow_tight,
    (NARROW_TIGHT, True): backward_narrow_tight,
    (WIDE_TIGHT, False): forward_wide_tight,
    (WIDE_TIGHT, True): backward_wide_tight,
}
