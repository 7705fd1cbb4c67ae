"""The one pytest-benchmark test: every row of a run is a case of it. `hecore.bench.driver` collects this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hecore.bench.driver import Job, Runner


def test_row(runner: Runner, benchmark: Any, job: Job) -> None:
    """The row is measured, its results were right, and it claims no more than the machine can do."""
    row = runner.run_row(job, benchmark)
    assert not row.failures, "; ".join(row.failures)
