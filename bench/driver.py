"""Runs the planned rows under pytest with pytest-benchmark as the clock, and shows how far it is."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hecore.backends import registry
from hecore.bench import machine
from hecore.bench.contest import Case, NotApplicableError, failed, measure
from hecore.bench.floor import Peak, peak_of
from hecore.bench.plan import RunPlan
from hecore.bench.report import summary
from hecore.bench.results import Results, Row
from hecore.errors import HecoreError

HERE = Path(__file__).resolve().parent
# Of pytest only collection, fixtures and pytest-benchmark take part: no configuration, no cache, no random order.
ARGUMENTS = [
    "-c",
    os.devnull,
    f"--rootdir={HERE}",
    "--noconftest",  # pytest looks for one below the current folder, too; the tests' own takes our environment away
    "--import-mode=importlib",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "--benchmark-only",
    "--benchmark-disable-gc",
    "--benchmark-timer=time.perf_counter",
    "--pyargs",
    "hecore.bench.rows",
]
PEER_PACKAGES = {"phe": "phe", "ZPaillier": "sf-heu", "IPCL": "sf-heu", "TenSEAL": "tenseal"}


@dataclass(frozen=True)
class Job:
    """One row to be: `build` makes its case when its turn comes."""

    operation: str
    size: str
    build: Callable[[], Case]
    insecure: bool = False

    @property
    def name(self) -> str:
        return f"{self.operation}/{self.size}"


class Runner:
    """The pytest plugin behind `rows.py`: parametrises the one test, gives it the bench, keeps the rows."""

    def __init__(self, plan: RunPlan, jobs: Sequence[Job]) -> None:
        self.plan = plan
        self.jobs = jobs
        self.peak = peak_of(plan.device)
        self.rows: list[Row] = []
        self.progress = Progress(len(jobs))

    @pytest.fixture
    def runner(self) -> Runner:
        """The plugin itself."""
        return self

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a row, in the order of the jobs."""
        if "job" in metafunc.fixturenames:
            metafunc.parametrize("job", self.jobs, ids=[job.name for job in self.jobs])

    def run_row(self, job: Job, benchmark: Any) -> Row:
        """One row, or a failed one where the case could not be built or run."""
        self.progress.now(job.name)
        try:
            with registry.use(self.plan.device):
                case, rounds = job.build(), self.plan.rounds
                row = measure(case, job.operation, job.size, benchmark=benchmark, rounds=rounds, peak=self.peak.lane_ns)
        except NotApplicableError as error:
            row = Row(job.operation, job.size, "", None, absent={"hecore": str(error)})
        except (HecoreError, ArithmeticError, ImportError, RuntimeError, TypeError, ValueError) as error:
            row = failed(job.operation, job.size, error)
        row = replace(row, insecure=job.insecure)
        self.rows.append(row)
        self.progress.done(f"{row.name:{self._width}} {summary(row)}")
        return row

    @property
    def _width(self) -> int:
        return max(len(job.name) for job in self.jobs)


class Progress:
    """A line a row on standard error, and on a terminal the row in work. Survives pytest's capture of stderr."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.finished = 0
        self.started = time.perf_counter()
        self.stream = os.fdopen(os.dup(2), "w", encoding="utf-8")
        self.terminal = self.stream.isatty()

    def now(self, text: str) -> None:
        """What is being measured; on a terminal only."""
        if self.terminal:
            self.stream.write(f"\x1b[2K\r{self._head()}{text} …\r")
            self.stream.flush()

    def done(self, text: str) -> None:
        """One row finished."""
        self.finished += 1
        self.stream.write(("\x1b[2K\r" if self.terminal else "") + self._head() + text + "\n")
        self.stream.flush()

    def _head(self) -> str:
        return f"[{self.finished:3}/{self.total} {time.perf_counter() - self.started:5.0f} s] "


def run(plan: RunPlan, jobs: Sequence[Job]) -> Results:
    """Measure the rows of a plan."""
    machine.single_thread()
    description = machine.describe()
    runner = Runner(plan, jobs)
    start = runner.peak.lane_ns()
    # pytest's report would only repeat the table; it is kept for the case that pytest itself fails.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(ARGUMENTS, plugins=[runner])
    runner.progress.stream.close()
    failures = []
    if len(runner.rows) != runner.progress.total:
        tail = " | ".join(output.getvalue().splitlines()[-5:])
        failures.append(f"{len(runner.rows)} rows of {runner.progress.total}; pytest ended with {int(status)}: {tail}")
    return Results(
        {**description, "device": registry.get(plan.device).device, "threads": 1},
        {"scheme": plan.scheme, **asdict(plan)},
        tuple(runner.rows),
        {peer: machine.installed_version(PEER_PACKAGES[peer]) or "not installed" for peer in plan.peers},
        _floor(runner.peak, start),
        failures=tuple(failures),
    )


def _floor(peak: Peak, start: float | None) -> dict[str, Any]:
    """The peak before and after all rows, as nanoseconds a vector multiply-add."""
    end = peak.lane_ns()
    if start is None or end is None:
        return {"lanes": peak.lanes, "reason": peak.reason}
    return {"lanes": peak.lanes, "reason": "", "vector_ns_start": start * peak.lanes, "vector_ns_end": end * peak.lanes}
