"""The peer's own test suite passes on our modules, every test of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).with_name("run_peer_suite.py")
ROOT = RUNNER.parents[2]


def test_the_peers_tests_pass_on_our_modules() -> None:
    run = subprocess.run(
        [sys.executable, str(RUNNER)], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert "234 collected, 234 passed" in run.stdout


def environment() -> dict[str, str]:
    """A subprocess knows nothing of pytest's `pythonpath`."""
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
