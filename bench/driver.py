"""Runs the planned rows under pytest with pytest-benchmark as the clock, and shows how far it is."""

from __future__ import annotations

import contextlib
import io
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hecore.backends import registry
from hecore.bench import machine
from hecore.bench.contest import NotApplicableError, failed, measure
from hecore.bench.floor import Peak, peak_of
from hecore.bench.plan import Plan
from hecore.bench.report import summary
from hecore.bench.results import Results, Row
from hecore.bench.suites import Build, operations
from hecore.bench.workbench import Workbench
from hecore.errors import HecoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent
# Of pytest only collection, fixtures and pytest-benchmark take part: no configuration, no cache, no random order.
ARGUMENTS = [
    "-c",
    os.devnull,
    f"--rootdir={HERE}",
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
PEER_PACKAGES = {"phe": "phe", "ZPaillier": "sf-heu", "IPCL": "sf-heu"}


class Runner:
    """The pytest plugin behind `rows.py`: parametrises the one test, gives it the bench, keeps the rows."""

    def __init__(self, plan: Plan, builds: Mapping[str, Build]) -> None:
        self.plan = plan
        self.builds = builds
        self.workbench = Workbench(plan)
        self.peak = peak_of(plan.device)
        self.rows: list[Row] = []
        self.progress = Progress(len(builds) * len(plan.key_bits))

    @pytest.fixture
    def runner(self) -> Runner:
        """The plugin itself."""
        return self

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a row, sizes outermost, so that a key serves all rows of its size in turn."""
        if "operation" in metafunc.fixturenames:
            names = [(operation, bits) for bits in self.plan.key_bits for operation in self.builds]
            metafunc.parametrize(("operation", "key_bits"), names, ids=[f"{name}-{bits}" for name, bits in names])

    def run_row(self, operation: str, key_bits: int, benchmark: Any) -> Row:
        """One row, or a failed one where the case could not be built or run."""
        self.progress.now(f"{operation}/{key_bits}")
        try:
            with registry.use(self.plan.device):
                case = self.builds[operation](self.workbench, key_bits)
                row = measure(
                    case, operation, key_bits, benchmark=benchmark, rounds=self.plan.rounds, peak=self.peak.lane_ns
                )
        except NotApplicableError as error:
            row = Row(operation, key_bits, "", None, absent={"hecore": str(error)})
        except (HecoreError, ArithmeticError, ImportError, RuntimeError, TypeError, ValueError) as error:
            row = failed(operation, key_bits, error)
        self.rows.append(row)
        self.progress.done(f"{row.name:24} {summary(row)}")
        return row


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


def run(plan: Plan, builds: Mapping[str, Build] | None = None) -> Results:
    """Measure the planned rows; `builds` replaces the suites (tests of the bench plant cases that way)."""
    machine.single_thread()
    description = machine.describe()
    runner = Runner(plan, operations(plan.suites) if builds is None else builds)
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
        {**description, "device": runner.workbench.backend.device, "threads": 1},
        asdict(plan),
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
