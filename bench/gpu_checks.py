"""Before anything is timed: the self-test, and every operation against the reference on fresh inputs, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from hecore.backends.ring_protocol import Backend
from hecore.bench.gpu_device import poisoned
from hecore.bench.gpu_exact import Answer, Problem, answers, difference
from hecore.bench.gpu_plan import LEAST, Budget
from hecore.bench.gpu_results import Check, Recorder, reason
from hecore.bench.gpu_workers import Workers
from hecore.errors import DeviceLostError

_MANY = 6  # processes


def compare(
    backend: Backend, problems: Sequence[Problem], workers: Workers, recorder: Recorder, budget: Budget, until: float
) -> None:
    """Each problem on the device, beside the reference's answers, until `until` seconds of the budget are spent.

    Problems come in the order of their importance; those that found no time are listed. Memory is poisoned meanwhile.
    Raises DeviceLostError.
    """
    seed = recorder.results.seed
    futures = {problem: workers.answers(problem, seed) for problem in _order(problems, workers.processes)}
    open_problems: dict[Problem, tuple[list[Answer], str]] = {}
    try:
        for problem in problems:
            if until - budget.spent < LEAST:
                recorder.append(unchecked=problem.name)
                continue
            with poisoned(backend):
                open_problems[problem] = _device_answers(backend, problem, seed)
            for known in [known for known in open_problems if futures[known].done()]:
                _judge(recorder, known, *open_problems.pop(known), futures[known], 0.0)
    finally:  # what a device did before it was lost is judged, too
        for problem, (found, failure) in open_problems.items():
            _judge(recorder, problem, found, failure, futures[problem], until - budget.spent)
        workers.stop(futures.values())


def _order(problems: Sequence[Problem], processes: int) -> Sequence[Problem]:
    """Many processes begin with what takes longest, few with what is asked for first."""
    if processes < _MANY:
        return problems
    return sorted(problems, key=lambda problem: problem.weight, reverse=True)


def _device_answers(backend: Backend, problem: Problem, seed: str) -> tuple[list[Answer], str]:
    """What came out, and why no more did."""
    found: list[Answer] = []
    try:
        for answer in answers(backend, problem, seed):
            found.append(answer)  # noqa: PERF402  # what came before an error stays
    except DeviceLostError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever an untried device does wrong is a finding
        return found, reason(error)
    return found, ""


def _judge(
    recorder: Recorder, problem: Problem, found: list[Answer], failure: str, future: Future[list[Answer]], left: float
) -> None:
    """Enter a check an operation; those that the device did not reach fail with what stopped it."""
    try:
        expected = future.result(timeout=max(0.0, left))
    except (LateError, BrokenProcessPool) as error:
        if failure:
            recorder.append(checks=Check(_next(found), problem.name, 0, failure))
        recorder.append(unchecked=f"{problem.name} (no answers of the reference: {type(error).__name__})")
        return
    checks = list(_checks(problem, found, failure, expected))
    wrong = sum(bool(check.failure) for check in checks)
    recorder.update(checks=(*recorder.results.checks, *checks))
    recorder.say(f"exact  {problem.name}: {len(checks)} results" + (f", {wrong} WRONG" if wrong else ""))


def _checks(problem: Problem, found: list[Answer], failure: str, expected: list[Answer]) -> Iterator[Check]:
    for (name, actual), (label, right) in zip(found, expected, strict=False):
        wrong = f"answered {name} instead" if name != label else difference(actual, right)
        yield Check(label, problem.name, right.size, wrong)
    stopped = failure
    for label, _ in islice(expected, len(found), None):
        yield Check(label, problem.name, 0, stopped or "not reached")
        stopped = ""


def _next(found: list[Answer]) -> str:
    return f"after {found[-1][0]}" if found else "start"
