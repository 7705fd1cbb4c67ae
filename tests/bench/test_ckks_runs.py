"""Whole CKKS runs at tiny size, each in a process of its own: a run is a pytest session, and sessions do not nest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hecore.bench import results
from hecore.bench.ckks_plan import PEER, SEAL, CkksPlan
from hecore.bench.ckks_suites import jobs

pytest.importorskip("pytest_benchmark")

SMALL = "256 [60,40×4,60]"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hecore.bench", "ckks", *arguments], capture_output=True, text=True, check=False
    )


def test_every_suite_runs_once_without_a_peer(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    done = bench(
        "--scale", "tiny", "--rounds", "1", "--peers", "--parameters", SMALL, "--device", "reference",
        "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = results.load(path)
    assert run.scheme == "ckks"
    planned = jobs(CkksPlan(scale="tiny", peers=(), parameters=(SMALL,), device="reference"))
    assert [row.name for row in run.rows] == [job.name for job in planned]
    idle = {row.operation: row.absent["hecore"] for row in run.rows if row.ours is None}
    drop_in = {operation for operation in idle if operation.startswith("drop_in_")}
    assert len(drop_in) == 5
    assert set(idle) - drop_in == {"ntt", "intt", "matvec_784x64", "convolution"}
    reasons = ("do not fit", "does not fit", "on cpu alone", "never insecure")
    assert all(any(reason in why for reason in reasons) for why in idle.values())
    assert all(len(row.ours.seconds) == 1 for row in run.rows if row.ours is not None)
    assert not any(row.rivals for row in run.rows)
    assert all(row.insecure for row in run.rows if row.operation not in ("ntt", "intt"))
    assert f"{SMALL} (insecure)" in done.stdout
    assert run.quantities == ()  # they have parameters of their own


def test_rows_beside_the_peer(tmp_path: Path) -> None:
    pytest.importorskip("tenseal")
    path = tmp_path / "run.json"
    done = bench(
        "--suite", "encrypt", "--suite", "arithmetic", "--suite", "evaluator", "--suite", "wire", "--suite", "ntt",
        "--scale", "tiny", "--rounds", "1", "--parameters", "8192 [60,40,60]", "--device", "cpu",
        "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = results.load(path)
    assert run.peers[PEER] == "0.3.18"
    assert "1 thread" in run.machine["device"]
    for row in run.rows:
        assert len(row.rivals) == 1, row.absent
        assert row.rivals[0].name in (PEER, SEAL)
        assert row.ratio(row.rivals[0].name) is not None


def test_a_peer_that_refuses_the_parameters_is_absent(tmp_path: Path) -> None:
    pytest.importorskip("tenseal")
    path = tmp_path / "run.json"
    done = bench(
        "--suite", "encrypt", "--scale", "tiny", "--rounds", "1", "--parameters", "256 [60,40,60]",
        "--device", "reference", "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for row in results.load(path).rows:
        assert row.rivals == ()
        assert "TenSEAL refuses 256 [60,40,60]" in row.absent[PEER]
