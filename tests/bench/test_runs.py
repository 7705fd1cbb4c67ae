"""Whole runs at tiny size, each in a process of its own: a run is a pytest session, and sessions do not nest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hecore.bench import results
from hecore.bench.cli import main
from hecore.bench.contest import Contestant, too_many_threads
from hecore.bench.machine import THREAD_VARIABLES
from hecore.bench.results import Results
from hecore.bench.suites import SUITES, operations

pytest.importorskip("pytest_benchmark")

# What a planted case needs; `{cases}` defines `builds`.
PLANTED = """
import sys
from importlib.util import find_spec
from pathlib import Path
from hecore.bench.contest import Case, Contestant
from hecore.bench.driver import Job, run
from hecore.bench.plan import Plan
from hecore.bench.results import Work
right = lambda result: None
{cases}
plan = Plan(scale="tiny", rounds=3, device="reference", peers=())
jobs = [Job(name, "256", lambda build=build: build(None, 256)) for name, build in builds.items()]
run(plan, jobs).save(Path(sys.argv[1]))
"""


def planted(cases: str, folder: Path) -> Results:
    path = folder / "planted.json"
    subprocess.run([sys.executable, "-c", PLANTED.format(cases=cases), str(path)], check=True, capture_output=True)
    return results.load(path)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hecore.bench", *arguments], capture_output=True, text=True, check=False
    )


def test_every_suite_runs_once(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    done = bench(
        "paillier",
        "--scale",
        "tiny",
        "--rounds",
        "2",
        "--key-bits",
        "256",
        "--device",
        "reference",
        "--output",
        str(path),
    )
    assert done.returncode == 0, done.stderr
    run = results.load(path)
    assert [row.operation for row in run.rows] == list(operations(tuple(SUITES)))
    threaded = [row for row in run.rows if row.operation.endswith("_two_threads")]
    assert len(threaded) == 3
    assert all("cpu backend's" in row.absent["hecore"] for row in threaded)
    rows = [row for row in run.rows if row not in threaded]
    assert all(row.ours is not None and len(row.ours.seconds) == 2 for row in rows)
    assert all(len(rival.seconds) == 2 for row in rows for rival in row.rivals)
    reasons = {why for row in rows for why in row.absent.values()}
    assert all("no packing" in why or "not installed" in why for why in reasons)
    if find_spec("phe"):
        assert sum(row.rival("phe") is not None for row in rows) == 10
    assert "256 (insecure)" in done.stdout
    assert f"[ {len(run.rows)}/{len(run.rows)}" in done.stderr
    assert "cpu" in run.machine
    assert run.machine["threads"] == 1


def test_without_a_command_both_schemes_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def remember(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command[1:])
        return subprocess.CompletedProcess(command, len(ran) - 1)  # the second run has a row that failed

    monkeypatch.setattr(subprocess, "run", remember)
    assert main(["--scale", "quick", "--rounds", "3"]) == 1
    shared = ["--scale", "quick", "--rounds", "3", "--device", "cpu"]
    assert ran == [["-m", "hecore.bench", scheme, *shared] for scheme in ("paillier", "ckks")]


def test_two_threads_run_beside_one(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two threads need two cores")
    path = tmp_path / "run.json"
    done = bench(
        "paillier", "--suite", "threads", "--scale", "tiny", "--rounds", "2", "--key-bits", "256", "--output", str(path)
    )
    assert done.returncode == 0, done.stderr
    rows = results.load(path).rows
    assert len(rows) == 3
    for row in rows:
        assert row.ours is not None
        assert (row.ours.threads, row.rivals[0].threads) == (2, 1)
        assert row.ratio("hecore one thread") is not None
    efficiency = rows[0].efficiency()
    assert efficiency is not None
    assert 0 < efficiency <= 1


def test_a_suite_and_peers_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    done = bench(
        "paillier", "--suite", "add", "--peers", "--scale", "tiny", "--rounds", "1", "--key-bits", "256", "512",
        "--device", "reference", "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [row.name for row in results.load(path).rows]
    assert names == ["add/256", "add_one/256", "add/512", "add_one/512"]


def test_a_wrong_result_fails_the_row_and_the_run(tmp_path: Path) -> None:
    run = planted(
        """
ours = Contestant("hecore", 1, lambda: 1, right)
liar = Contestant("liar", 1, lambda: 2, lambda result: "wrong result at position 0 of 1")
builds = {"honest": lambda bench, bits: Case(ours, "value"), "lying": lambda bench, bits: Case(liar, "value"),
          "beside_a_liar": lambda bench, bits: Case(ours, "value", (liar,))}
""",
        tmp_path,
    )
    honest, lying, beside = run.rows
    assert honest.failures == ()
    assert honest.ours is not None
    assert beside.failures == lying.failures == ("liar: wrong result at position 0 of 1",)
    assert beside.ours is None, "no time counts beside a failed check"
    assert len(run.all_failures) == 2


def test_a_result_that_goes_wrong_during_the_rounds_fails_too(tmp_path: Path) -> None:
    run = planted(
        """
from itertools import count
calls = count()
late = Contestant("hecore", 1, lambda: next(calls), lambda result: None if result < 3 else "wrong at last")
builds = {"late": lambda bench, bits: Case(late, "value")}
""",
        tmp_path,
    )
    assert run.rows[0].failures == ("hecore: wrong at last",)


def test_a_case_that_raises_fails_its_row_alone(tmp_path: Path) -> None:
    run = planted(
        """
from hecore.errors import HeadroomError
def broken(bench, bits):
    raise HeadroomError("no room")
builds = {"broken": broken, "fine": lambda bench, bits: Case(Contestant("hecore", 1, lambda: 1, right), "value")}
""",
        tmp_path,
    )
    assert run.rows[0].failures == ("HeadroomError: no room",)
    assert run.rows[1].failures == ()


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    run = planted(
        """
order = []
ours = Contestant("hecore", 1, lambda: order.append("o"), right)
peer = Contestant("peer", 1, lambda: order.append("p"), right)
builds = {"row": lambda bench, bits: Case(ours, "value", (peer,)), "order": lambda bench, bits: Case(
    Contestant("hecore", 1, lambda: None, right), "".join(order))}
""",
        tmp_path,
    )
    assert run.rows[1].item == "oopp" + "po" * 3  # two rehearsals each, then a round each in turn


@pytest.mark.parametrize(
    ("cores", "threads", "ok"), [(None, 1, True), (1.02, 1, True), (1.9, 1, False), (1.9, 2, True)]
)
def test_a_contestant_on_too_many_threads_fails(cores: float | None, threads: int, ok: bool) -> None:
    contestant = Contestant("peer", 1, lambda: 1, lambda result: None, threads=threads)
    failure = too_many_threads(contestant, cores)
    assert (failure is None) == ok
    assert ok or failure == "peer used 1.90 cores, allowed 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paillier", "--suite", "nonsense"], "nonsense"),
        (["paillier", "--key-bits", "127"], "127 bits"),
        (["paillier", "--rounds", "0"], "0 rounds"),
        (["ckks", "--rounds", "0"], "0 rounds"),
        (["ckks", "--suite", "nonsense"], "nonsense"),
        (["ckks", "--parameters", "many"], "many"),
        (["paillier", "--device", "abacus", "--scale", "tiny"], "abacus"),
        (["report", "/nowhere/run.json"], "run.json"),
    ],
)
def test_user_errors_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREAD_VARIABLES:  # a run sets them for its process
        monkeypatch.setenv(name, "1")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\\n") <= 1


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hecore.bench.memory", "--values", "600", "--key-bits", "256", "--device", "reference"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["values"] == 600
    assert report["ciphertext_bytes"] == 600 * 64
    assert report["growth_over_size"] == report["peak_growth_bytes"] / report["ciphertext_bytes"]
