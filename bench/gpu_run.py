"""A whole run on one device: self-test, exactness, ceilings, rows; each finding is on disk as soon as it is there."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hecore.backends import registry, tuned
from hecore.backends.kernel_backend import KernelBackend
from hecore.bench import gpu_ceilings, gpu_checks, gpu_exact, gpu_machine, gpu_suites, gpu_workers
from hecore.bench.gpu_device import Clock, CompileLog
from hecore.bench.gpu_inputs import fresh_seed
from hecore.bench.gpu_plan import EXACT_SHARE, EXACT_SHARE_QUICK, LEAST, Budget, GpuPlan
from hecore.bench.gpu_report import summary
from hecore.bench.gpu_results import Ceiling, GpuResults, GpuRow, Recorder, reason
from hecore.bench.gpu_rows import Bench, Job, unavailable
from hecore.errors import DeviceLostError, SelfTestError

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend

_GRACE = 60.0  # seconds beyond the budget after which a device that never answers is given up


def run(plan: GpuPlan, path: Path, say: Callable[[str], None], backend: Backend | None = None) -> GpuResults:
    """Everything that the budget allows. `backend`: measure this one, not the registry's of the plan's name.

    Raises BackendUnavailableError where there is none; a device that fails later is a failure in the results.
    """
    budget = Budget(plan.budget)
    opened = registry._create(registry._find(plan.device)) if backend is None else backend
    with gpu_workers.started() as workers, _ended_when_hanging(plan.budget + _GRACE):
        baselines = {key: workers.baseline(*key) for key in gpu_suites.baselines(plan)}
        log = CompileLog()
        machine = gpu_machine.describe(plan.device)
        results = GpuResults(
            machine=machine, plan={**asdict(plan), "only": [*plan.only], "exact": [*plan.exact]}, seed=fresh_seed()
        )
        recorder = Recorder(results, path, say)
        say(f"seed {results.seed}; {plan.budget:g} s")
        session = _Session(plan, budget, recorder, log, workers, baselines)
        try:
            session.run(opened)
        except DeviceLostError as error:
            session.lost(error)
        return recorder.results


class _Session:
    """The stages, in their order."""

    def __init__(
        self,
        plan: GpuPlan,
        budget: Budget,
        recorder: Recorder,
        log: CompileLog,
        workers: gpu_workers.Workers,
        baselines: dict[tuple[int, int], Future[float]],
    ) -> None:
        self.plan = plan
        self.budget = budget
        self.recorder = recorder
        self.log = log
        self.workers = workers
        self.baselines = baselines
        self.pending: list[Job] = []
        self.beside: dict[str, tuple[int, int] | None] = {}

    def run(self, backend: Backend) -> None:
        with self._stage("self-test"):
            self._test(backend)
        card = gpu_machine.card_of(getattr(backend, "_device", None))
        clock = Clock(backend)
        machine = {**self.recorder.results.machine, "device": backend.device, "card": card.state() if card else {}}
        if isinstance(backend, KernelBackend):  # those that `hecore tune` chose, where it ran
            machine["shapes"] = [tuned.to_json(shape) for shape in backend._shapes]
        self.recorder.update(machine=machine, clock=clock.name)
        with self.log.attached(backend):
            with self._stage("exactness"):
                self._exact(backend)
            with self._stage("ceilings"):
                self._ceilings(backend, clock, card)
            with self._stage("rows"):
                self._rows(Bench(backend, clock, card, self.plan.row_seconds, self.budget))
            with self._stage("ceilings again"):  # warm by then, and the clock may be another
                self._ceilings(backend, clock, card)
        with self._stage("CPU figures"):
            self.recorder.update(rows=tuple(map(self._beside, self.recorder.results.rows)))
        card_after = {"card_after": card.state()} if card else {}
        self.recorder.update(
            compiled=tuple(self.log.entries), machine={**self.recorder.results.machine, **card_after}, complete=True
        )

    def lost(self, error: DeviceLostError) -> None:
        """Nothing more can be measured: what was left has no row but a reason."""
        rows = tuple(unavailable(job, "the device was lost before") for job in self.pending)
        self.recorder.update(
            failures=(*self.recorder.results.failures, f"device lost: {error}"),
            rows=(*self.recorder.results.rows, *rows),
            compiled=tuple(self.log.entries),
        )

    def _test(self, backend: Backend) -> None:
        """A backend that fails its self-test is looked at all the same, to learn where it is wrong."""
        try:
            with self.log.attached(backend), registry.use(backend):
                self.recorder.update(self_test="passed")
        except SelfTestError as error:
            self.recorder.update(self_test=str(error), failures=(str(error),))
        self.recorder.say(f"self-test on {backend.device}: {self.recorder.results.self_test}")

    def _exact(self, backend: Backend) -> None:
        found = gpu_exact.QUICK if self.plan.quick else gpu_exact.FULL
        problems = [problem for problem in found if self.plan.compares(problem.name)]
        others = tuple(f"{problem.name} (not asked for)" for problem in found if problem not in problems)
        self.recorder.update(unchecked=others)
        share = EXACT_SHARE_QUICK if self.plan.quick else EXACT_SHARE
        until = share * self.plan.budget
        gpu_checks.compare(backend, problems, self.workers, self.recorder, self.budget, until)

    def _ceilings(self, backend: Backend, clock: Clock, card: gpu_machine.Card | None) -> None:
        for found in gpu_ceilings.measured(backend, clock, self.plan.ceiling_seconds):
            ceiling = replace(found, per_clock=_per_clock(found, card))
            self.recorder.append(ceilings=ceiling)
            shown = ceiling.reason if ceiling.rate is None else f"{ceiling.rate:.4g} {ceiling.unit}"
            self.recorder.say(f"ceiling  {ceiling.name}: {shown}")
            if not self.budget.allows():
                break

    def _rows(self, bench: Bench) -> None:
        jobs = gpu_suites.jobs(bench.backend, self.recorder.results.seed, quick=self.plan.quick)
        self.pending = [job for job in jobs if self.plan.wants(job.row.name)]
        self.beside = {job.row.name: job.baseline for job in jobs if job.baseline in self.baselines}
        while self.pending:
            job = self.pending[0]
            if not self.budget.allows():
                self._enter(unavailable(job, "no time was left"))
            else:
                row = bench.row(job)
                self._enter(row)
                if row.failure and (why := bench.usable()):
                    raise DeviceLostError(why)

    def _enter(self, row: GpuRow) -> None:
        self.pending.pop(0)
        self.recorder.append(rows=row)
        self.recorder.say(f"{self.budget.left:5.0f} s left  {row.name}: {summary(self.recorder.results, row)}")

    def _beside(self, row: GpuRow) -> GpuRow:
        """With the CPU's figure, if there is to be one: waited for at the end, its kernels take long to compile."""
        baseline = self.beside.get(row.name)
        if baseline is None or not row.good:
            return row
        try:
            return replace(row, cpu_seconds=self.baselines[baseline].result(timeout=max(LEAST, self.budget.left)))
        except Exception as error:  # noqa: BLE001  # the row holds without it, and says why it is not there
            return replace(row, note=f"{row.note}; no CPU figure: {reason(error)}".strip("; "))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Its seconds are kept; what goes wrong in it is a failure of the run."""
        start = time.monotonic()
        try:
            yield
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001  # the next stage may say more of what is wrong
            self.recorder.append(failures=f"{name}: {reason(error)}")
            self.recorder.say(f"{name} FAILED: {reason(error)}")
        finally:
            stages = {**self.recorder.results.stages, name: time.monotonic() - start}
            self.recorder.update(stages=stages, compiled=tuple(self.log.entries))


def _per_clock(ceiling: Ceiling, card: gpu_machine.Card | None) -> float | None:
    """What one multiprocessor does in a clock: 64 multiply-adds are full rate, 32 half."""
    hertz = card.clock() if card and card.multiprocessors and ceiling.rate else None
    return ceiling.rate / hertz / card.multiprocessors if card and ceiling.rate and hertz else None


@contextmanager
def _ended_when_hanging(seconds: float) -> Iterator[None]:
    """A kernel that never ends cannot be interrupted: the process is, with its stacks printed."""
    stderr = sys.__stderr__
    if stderr is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
