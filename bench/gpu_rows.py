"""One timed row: as many items as the device has memory and the run has time for, checked, warm, many rounds.

A row counts only after what its last round left was compared with a result worked out elsewhere.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.bench.gpu_results import GpuRow, Work, reason
from hecore.errors import BackendError, DeviceLostError, HecoreError

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_device import Clock
    from hecore.bench.gpu_machine import Card
    from hecore.bench.gpu_plan import Budget

_ROUNDS = range(3, 41)
_GROWTH = (2, 32)  # how much larger the next try at a size is, at least and at most
_SHARE_OF_MEMORY = 4  # operands of a row may take a quarter
_ENERGY_SECONDS = 0.3  # below, the card's counter says little
_MEMORY_ELSEWHERE = 8 << 30  # of a backend that does not say


@dataclass(frozen=True)
class Case:
    """Operands that lie ready. `run` is what is timed; `check` of its last result gives "" or what is wrong.

    `transfers`: steps timed apart, by name. `counted`: items of `run`, where that is not the size asked for.
    """

    run: Callable[[], Any]
    check: Callable[[Any], str]
    work: Work | None = None
    transfers: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    counted: int = 0
    note: str = ""


@dataclass(frozen=True)
class Job:
    """A row to be: `make(size)` for a size between `least` and `most`, where one more takes `each` bytes.

    `most` is what is asked for, `enough` what fills the device. `baseline`: which CPU figure stands beside it, by the
    bits of modulus and exponent.
    """

    operation: str
    size: str
    item: str
    make: Callable[[int], Case]
    least: int = 1
    most: int = 1
    each: int = 0
    enough: int = 0
    baseline: tuple[int, int] | None = None

    @property
    def row(self) -> GpuRow:
        return GpuRow(self.operation, self.size, self.item)


@dataclass(frozen=True)
class Bench:
    """The device with its clock and card; `seconds`: what the rounds of a row may take, about; `budget`: all rows."""

    backend: Backend
    clock: Clock
    card: Card | None
    seconds: float
    budget: Budget

    def row(self, job: Job) -> GpuRow:
        """Measured, or with the failure. Raises DeviceLostError, with nothing left to measure on."""
        try:
            return self._measured(job)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an untried device does wrong is the row's failure
            return replace(job.row, failure=reason(error))
        finally:
            gc.collect()

    def usable(self) -> str:
        """Empty where the device still works, else why not."""
        try:
            self.backend.synchronize()
        except BackendError as error:
            return str(error)
        return ""

    def _measured(self, job: Job) -> GpuRow:
        size, most = min(job.least, job.most), self._most(job)
        first = 0.0
        while True:
            case = job.make(size)
            start = time.perf_counter()
            result = case.run()
            self.backend.synchronize()
            first = first or time.perf_counter() - start
            taken, _ = self.clock.measure(case.run)
            settled = taken >= self.seconds or (taken >= self.seconds / 6 and size >= job.enough)
            if size >= most or settled or not self.budget.left:
                break
            factor = min(_GROWTH[1], max(_GROWTH[0], self.seconds / 3 / max(taken, 1e-6)))
            size = min(most, int(size * factor))
            del case, result
        row = replace(job.row, items=case.counted or size, first_seconds=first, work=case.work, note=case.note)
        if size < job.most:
            short = f"{size:,} of {job.most:,} asked for: {'memory' if size >= most else 'time'}"
            row = replace(row, note="; ".join(filter(None, (short, case.note))))
        row, result = self._rounds(row, case, taken)
        wrong = case.check(result)
        transfers = {name: min(self.clock.measure(step)[1] for _ in range(2)) for name, step in case.transfers.items()}
        return replace(row, failure=wrong, transfers=transfers)

    def _most(self, job: Job) -> int:
        """What fits in the device's memory."""
        facts = getattr(getattr(self.backend, "_device", None), "facts", None)
        memory = facts.memory if facts is not None else _MEMORY_ELSEWHERE
        largest = facts.largest if facts is not None else memory
        fitting = min(memory // _SHARE_OF_MEMORY, largest) // job.each if job.each else job.most
        return max(job.least, min(job.most, fitting))

    def _rounds(self, row: GpuRow, case: Case, taken: float) -> tuple[GpuRow, Any]:
        """Rounds that follow each other, and the last one's result."""
        count = min(_ROUNDS.stop - 1, max(_ROUNDS.start, int(self.seconds / max(taken, 1e-6))))
        joules = self.card.joules() if self.card else None
        seconds, wall = [], []
        results: list[Any] = [None]

        def once() -> None:
            results[0] = case.run()

        for _ in range(count):
            by_device, by_host = self.clock.measure(once)
            seconds.append(by_device)
            wall.append(by_host)
            if not self.budget.left:
                break
        used = None
        if joules is not None and self.card is not None and sum(wall) >= _ENERGY_SECONDS:
            after = self.card.joules()
            used = None if after is None else after - joules
        return replace(row, seconds=tuple(seconds), wall_seconds=tuple(wall), joules=used), results[0]


def places(items: int, known: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Which of `known` values item i has, so that neighbours differ: a bijection on each stretch of `known`."""
    return np.arange(items, dtype=np.intp) * 7 % known if known % 7 else np.arange(items, dtype=np.intp) % known


def spots(items: int, count: int = 5) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Positions to look at: both ends and between."""
    return np.unique(np.linspace(0, items - 1, min(items, count)).astype(np.intp))


def wrong(what: str, found: list[int], expected: list[int]) -> str:
    """Empty, or which of the looked-at values is not right. Prints none."""
    bad = [i for i, (x, y) in enumerate(zip(found, expected, strict=True)) if x != y]
    return f"{what}: {len(bad)} of {len(expected)} results looked at are wrong" if bad else ""


def unavailable(job: Job, reason: str | HecoreError) -> GpuRow:
    """A row that there is no use in trying."""
    return replace(job.row, absent=str(reason))
