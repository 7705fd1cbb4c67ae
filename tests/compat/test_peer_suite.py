"""The peer's own test suite passes on our modules, every test of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_peer_suite.py")
ROOT = RUNNER.parents[2]


@pytest.mark.slow
def test_the_peers_tests_pass_on_our_modules() -> None:
    run = subprocess.run(
        [sys.executable, str(RUNNER)], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert "234 collected, 234 passed" in run.stdout


def environment() -> dict[str, str]:
    """A subprocess knows nothing of pytest's `pythonpath`."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_the_runner_fails_where_nothing_runs(tmp_path: Path) -> None:
    """An empty collection, or one test too few, must not pass for success."""
    code = f"""
import runpy, sys, pathlib
module = runpy.run_path({str(RUNNER)!r})
module["main"].__globals__["peer_tests"] = lambda: pathlib.Path({str(tmp_path)!r})
sys.exit(module["main"]())
"""
    for content in (None, "def test_one(): pass", "import pytest\ndef test_one(): pytest.skip()"):
        if content is not None:
            (tmp_path / "one_test.py").write_text(content)
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert run.returncode == 1, run.stdout
        assert "234 expected" in run.stdout
