"""Contestants, the cases they meet in, and the one way a case is timed.

Ours and every rival run in turn within each round, so that a drifting clock touches all alike. Our rounds are
timed by pytest-benchmark's pedantic mode; the rivals run in its untimed setup step, under a clock of their own
of the same kind.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hecore.bench.results import Row, Timing, Work
from hecore.errors import HecoreError

# A single-threaded contestant's CPU time over its wall time is 1, give or take the interpreter's own threads.
BUSY_LIMIT = 1.25
BUSY_SECONDS = 0.02  # a shorter run says nothing about threads


@dataclass(frozen=True)
class Contestant:
    """One implementation of one operation, ready to run on data that is already prepared.

    `run` does `items` items and returns its results; `check` decrypts and compares them and returns what is
    wrong, or None. Key generation and tables happened before; their seconds are in `setup_seconds`.
    """

    name: str
    items: int
    run: Callable[[], Any]
    check: Callable[[Any], str | None]
    setup_seconds: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1


@dataclass(frozen=True)
class Case:
    """One row to be: hecore, rivals, what one item is called, and what it costs at least."""

    ours: Contestant
    item: str
    rivals: tuple[Contestant, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    work: Work | None = None


def repeated(contestant: Contestant, times: int) -> Contestant:
    """The same, `times` calls a round; the last call's results are checked."""

    def run() -> Any:
        for _ in range(times - 1):
            contestant.run()
        return contestant.run()

    return replace(contestant, items=times * contestant.items, run=run)


@dataclass(frozen=True)
class Rehearsal:
    """A contestant's first run, checked: its verdict and how many cores it kept busy."""

    failure: str | None
    cpu_per_wall: float | None


def rehearse(contestant: Contestant) -> Rehearsal:
    """Warm up, then run once more, and check the results before any time counts."""
    contestant.run()
    cpu, wall = time.process_time(), time.perf_counter()
    result = contestant.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    busy = cpu / wall if wall > BUSY_SECONDS else None
    wrong = contestant.check(result)
    return Rehearsal(f"{contestant.name}: {wrong}" if wrong else too_many_threads(contestant, busy), busy)


def too_many_threads(contestant: Contestant, cpu_per_wall: float | None) -> str | None:
    """What to say of a contestant that kept more cores busy than its row allows; None where it did not."""
    if cpu_per_wall is None or cpu_per_wall <= BUSY_LIMIT * contestant.threads:
        return None
    return f"{contestant.name} used {cpu_per_wall:.2f} cores, allowed {contestant.threads}"


def measure(
    case: Case, operation: str, size: str, *, benchmark: Any, rounds: int, peak: Callable[[], float | None]
) -> Row:
    """Check, time in interleaved rounds, check the last results again, and judge against the floor.

    `benchmark` is pytest-benchmark's fixture, `peak()` gives nanoseconds a lane of a vector instruction, or
    None where there is no floor.
    """
    everyone = (case.ours, *case.rivals)
    rehearsals = {c.name: rehearse(c) for c in everyone}
    failures = [r.failure for r in rehearsals.values() if r.failure]
    setup = {c.name + ": " + what: s for c in everyone for what, s in c.setup_seconds.items()}
    if failures:
        return Row(operation, size, case.item, None, (), case.absent, setup, case.work, None, tuple(failures))

    seconds: dict[str, list[float]] = {c.name: [] for c in case.rivals}
    last: dict[str, Any] = {}
    peaks: list[float | None] = []

    def rivals_round() -> None:
        for rival in case.rivals:
            elapsed, last[rival.name] = _timed(rival.run)
            seconds[rival.name].append(elapsed)
        peaks.append(peak())  # right before our own round, on the clock of the moment

    last[case.ours.name] = benchmark.pedantic(case.ours.run, setup=rivals_round, rounds=rounds)
    peaks.append(peak())
    failures = [f"{c.name}: {wrong}" for c in everyone if (wrong := c.check(last[c.name]))]

    def timing(contestant: Contestant, data: list[float]) -> Timing:
        busy = rehearsals[contestant.name].cpu_per_wall
        return Timing(contestant.name, contestant.items, tuple(data), contestant.threads, busy)

    row = Row(
        operation,
        size,
        case.item,
        timing(case.ours, list(benchmark.stats.stats.data)),
        tuple(timing(rival, seconds[rival.name]) for rival in case.rivals),
        case.absent,
        setup,
        case.work,
        min((ns for ns in peaks if ns is not None), default=None),
        tuple(failures),
    )
    return judge(row)


def judge(row: Row) -> Row:
    """The row, failed where it claims more vector instructions than the machine can do."""
    efficiency = row.efficiency("executed")
    if efficiency is None or efficiency <= 1.0:
        return row
    above = f"{efficiency:.1%} of the measured peak: the count or the clock is wrong"
    return Row(**{**vars(row), "failures": (*row.failures, above)})


class NotApplicableError(HecoreError, RuntimeError):
    """A row that this machine or device cannot have; the message says why. It fails nothing."""


def failed(operation: str, size: str, error: Exception) -> Row:
    """A row whose case could not be built or run."""
    return Row(operation, size, "", None, failures=(f"{type(error).__name__}: {error}",))


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result, the garbage collector paused as pytest-benchmark pauses it for ours."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        result = run()
        return time.perf_counter() - start, result
    finally:
        if collecting:
            gc.enable()
