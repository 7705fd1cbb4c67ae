"""The ring of pinned memory: no piece is given out again before what was there has left."""

from __future__ import annotations

import numpy as np
import pytest

from hecore.backends.cuda_staging import PIECE, Ring, pieces

SIZE = 4096
UNIT = 256


class Copy:
    """A copy under way, which ends when somebody waits for it."""

    def __init__(self, log: list[int], number: int) -> None:
        self._log, self._number = log, number

    def synchronize(self) -> None:
        self._log.append(self._number)


class Traffic:
    """A ring and what it waited for; spans that are still under way must not overlap."""

    def __init__(self, size: int = SIZE) -> None:
        self.ring, self.size = Ring(size), size
        self.waited: list[int] = []
        self.under_way: dict[int, tuple[int, int]] = {}
        self.count = 0

    def send(self, nbytes: int) -> tuple[int, int]:
        span = self.ring.take(nbytes)
        for number in self.waited:
            self.under_way.pop(number, None)
        assert span[0] % UNIT == span[1] % UNIT == 0
        assert 0 <= span[0] < span[0] + nbytes <= span[1] <= self.size
        for start, end in self.under_way.values():
            assert span[1] <= start or end <= span[0], f"{span} overlaps {start, end}"
        self.under_way[self.count] = span
        self.ring.give(span, Copy(self.waited, self.count))
        self.count += 1
        return span


def test_pieces_follow_each_other_without_waiting() -> None:
    traffic = Traffic()
    assert [traffic.send(nbytes) for nbytes in (UNIT, 1, UNIT + 1)] == [(0, 256), (256, 512), (512, 1024)]
    assert traffic.waited == []


def test_a_full_ring_waits_for_the_oldest_alone() -> None:
    traffic = Traffic()
    for _ in range(4):
        traffic.send(SIZE // 4)
    assert traffic.waited == []
    assert traffic.send(SIZE // 4) == (0, SIZE // 4)
    assert traffic.waited == [0]
    assert traffic.send(2 * UNIT) == (SIZE // 4, SIZE // 4 + 2 * UNIT)
    assert traffic.waited == [0, 1]
    assert traffic.send(2 * UNIT)[1] == SIZE // 2
    assert traffic.waited == [0, 1]


def test_what_does_not_fit_before_the_end_starts_anew_and_waits_for_the_rest() -> None:
    traffic = Traffic()
    for nbytes in (1024, 1024, 1024):
        traffic.send(nbytes)
    assert traffic.send(1025) == (0, 1280)  # 1024 bytes are left at the end
    assert traffic.waited == [0, 1]
    assert traffic.send(512) == (1280, 1792)
    assert traffic.waited == [0, 1]
    assert traffic.send(1024) == (1792, 2816)
    assert traffic.waited == [0, 1, 2]


def test_after_a_second_round_pieces_at_the_end_are_waited_for_in_order() -> None:
    traffic = Traffic()
    for nbytes in (3072, 1024, 2048):  # the third is at the start again
        traffic.send(nbytes)
    assert traffic.waited == [0]
    assert traffic.send(3072) == (0, 3072)  # what was before it, at the end, is older than what is in its way
    assert traffic.waited == [0, 1, 2]


def test_the_whole_ring_at_once() -> None:
    traffic = Traffic()
    for _ in range(3):
        assert traffic.send(SIZE) == (0, SIZE)
    assert traffic.waited == [0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_random_traffic_never_overlaps(seed: int) -> None:
    random = np.random.default_rng(seed)
    traffic = Traffic()
    for _ in range(400):
        traffic.send(int(random.integers(1, (UNIT, SIZE // 3, SIZE)[seed % 3] + 1)))
    assert traffic.waited == sorted(set(traffic.waited)), "each once, the oldest first"


@pytest.mark.parametrize("nbytes", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5])
def test_pieces_cover_an_array_once(nbytes: int) -> None:
    at = 0
    for start, length in pieces(nbytes):
        assert start == at
        assert 0 < length <= PIECE
        at += length
    assert at == nbytes
