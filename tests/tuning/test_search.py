"""In which order shapes are tried, and which is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_shapes import Geometry, candidates
from hecore.tuning import tune_shapes
from hecore.tuning.shapes import Trial, Tuning, _Search
from tests.backends.host_device import HostBackend
from tests.kernels.device.host import COMPILER

CARD = DeviceFacts("cuda", "a card", "", 32, 128, 1 << 17, 1 << 36, 1 << 36)
SHAPES = [replace(shape, block=size) for shape in candidates(CARD, 3072) for size in (shape.block, shape.block // 2)]


def searched(seconds: dict[Geometry, float | None]) -> _Search:
    """To the end, on a device where shapes take so long, or 1, or are refused (None)."""
    search = _Search(SHAPES)
    for shape in search:
        took = seconds.get(shape, 1.0)
        search.tried.append(Trial(2048, shape, not search.tried, took, "" if took else "no room"))
    return search


def tried(search: _Search) -> list[Geometry]:
    return [trial.shape for trial in search.tried]


def test_largest_blocks_first_then_the_fastest_in_smaller_ones() -> None:
    fastest = next(shape for shape in SHAPES if shape.lanes == 8)
    search = searched({fastest: 0.5})
    largest = [
        max(s.block for s in SHAPES if (s.lanes, s.digits) == key)
        for key in [(shape.lanes, shape.digits) for shape in SHAPES]
    ]
    assert tried(search)[0] == SHAPES[0]
    assert set(tried(search)) == {shape for shape, most in zip(SHAPES, largest, strict=True) if shape.block == most} | {
        shape for shape in SHAPES if (shape.lanes, shape.digits) == (fastest.lanes, fastest.digits)
    }
    assert len(search.tried) == len(set(tried(search))) <= search.most_trials
    assert search.choice() == fastest


def test_smaller_blocks_can_win() -> None:
    smaller = next(shape for shape in SHAPES if shape.lanes == SHAPES[0].lanes and shape.block < SHAPES[0].block)
    assert searched({smaller: 0.9}).choice() == smaller


@pytest.mark.parametrize("seconds", [1.0, 0.99, 1.2])
def test_what_is_hardly_faster_does_not_take_the_place_of_the_shape_in_use(seconds: float) -> None:
    search = searched(dict.fromkeys(SHAPES[1:], seconds))
    assert search.choice() == SHAPES[0]


def test_what_is_refused_is_not_chosen() -> None:
    search = searched(dict.fromkeys(SHAPES[1:]))
    assert search.choice() == SHAPES[0]
    text = Tuning(tuple(search.tried), {2048: SHAPES[0]}, complete=True).to_text()
    assert text.count("refused: no room") == len(search.tried) - 1
    assert text.count("chosen") == 1


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
def test_threads_that_share_an_integer() -> None:
    """To the end on warps in lockstep, whose powers are held against integers and against each other."""
    backend, shown = HostBackend(64), []
    found = tune_shapes(backend, [512], show=lambda what, done, total: shown.append((what, done, total)))
    assert found.complete
    assert {trial.shape.lanes for trial in found.trials} == {1, 2}
    assert all(trial.seconds for trial in found.trials)
    assert found.chosen.keys() == {256, 512}
    assert [done for _, done, _ in shown] == list(range(len(found.trials)))
    assert all(len(found.trials) <= total for _, _, total in shown)
