"""Whole runs of `bench gpu` on the reference, and on backends with planted faults: a wrong answer must not pass."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.backends.reference import ReferenceBackend
from hecore.bench import gpu_ckks, gpu_exact, gpu_report, gpu_run, gpu_suites
from hecore.bench.cli import main
from hecore.bench.gpu_inputs import Inputs
from hecore.bench.gpu_plan import GpuPlan
from hecore.bench.gpu_results import GpuResults, load
from hecore.ckks import EncryptedTensor, evaluator
from hecore.ckks.ciphertext import Ciphertext
from hecore.errors import DeviceLostError, DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hecore.backends.protocol import ExponentArray, ResidueArray

_TESTED = 9  # residues of the self-test: what is wrong beyond them it cannot see


class FlipsABit(ReferenceBackend):
    """Products of large batches are wrong in their last residue's lowest bit."""

    def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
        right = super().mod_mul(a, b)
        if a.size <= _TESTED:
            return right
        limbs = self.download(right)
        limbs.reshape(a.size, -1)[-1, 0] ^= np.uint64(1)
        limbs.reshape(a.size, -1)[-1] %= np.uint64(min(a.modulus.value, (1 << 64) - 1))
        return self.upload(limbs, a.modulus)


class Fails(ReferenceBackend):
    """Powers of more than the self-test's batch raise `error`, and so does everything after a lost device."""

    error: type[Exception] = DeviceMemoryError

    def mod_exp(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        if a.size > _TESTED and exponents.bits == 64:
            raise self.error("no more")
        return super().mod_exp(a, exponents)


class Loses(Fails):
    error = DeviceLostError


class Odd(Fails):
    """What an untried driver may do."""

    error = TypeError


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> GpuPlan:
    """Products and powers alone, after one problem."""
    monkeypatch.setattr(gpu_exact, "QUICK", gpu_exact.QUICK[:1])
    monkeypatch.setattr(gpu_suites, "baselines", lambda _: [])  # no CPU kernels compiled here
    return GpuPlan("reference", 60.0, quick=True, only=("mod_exp/1024/64, plain", "multiply/1024 bits, plain"))


def run(plan: GpuPlan, folder: Path, backend: ReferenceBackend | None = None) -> tuple[GpuResults, list[str]]:
    said: list[str] = []
    results = gpu_run.run(plan, folder / "run.json", said.append, backend)
    assert load(folder / "run.json") == results
    return results, said


def test_a_right_device_passes(plan: GpuPlan, tmp_path: Path) -> None:
    results, said = run(plan, tmp_path)
    assert results.holds, results.all_failures
    assert results.self_test == "passed"
    assert results.seed in said[0]
    assert {check.operation for check in results.checks} >= {
        "mod_mul",
        "mod_exp",
        "batch_invert",
        "multi_exp (24 bits)",
    }
    assert [row.name for row in results.rows if row.good] == ["mod_exp/1024/64, plain", "multiply/1024 bits, plain"]
    assert all(len(row.seconds) >= 3 and row.first_seconds > 0 for row in results.rows)
    assert results.stages.keys() >= {"self-test", "exactness", "ceilings", "rows"}
    shown = gpu_report.terminal(results)
    assert "multiply" in shown
    assert "not measured" in shown
    assert "FAILED" not in shown


def test_a_wrong_bit_fails_the_check_and_the_row(plan: GpuPlan, tmp_path: Path) -> None:
    results, _ = run(plan, tmp_path, FlipsABit())
    assert results.self_test == "passed", "it is beyond what the self-test sees"
    wrong = [check for check in results.checks if check.failure]
    assert {check.operation for check in wrong} == {"mod_mul", "mod_mul (square)"}
    assert all("1 of" in check.failure for check in wrong)
    product = next(row for row in results.rows if row.operation == "multiply")
    assert "wrong" in product.failure
    assert not product.good
    assert product.rate is None
    assert results.named(product.name) is None
    assert results.complete
    assert not results.holds
    assert "FAILED" in gpu_report.terminal(results)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [(Fails(), "DeviceMemoryError: no more"), (Odd(), r"TypeError: no more \(test_gpu_run.py:\d+, in mod_exp\)")],
)
def test_an_error_is_the_rows_own(plan: GpuPlan, tmp_path: Path, backend: Fails, reason: str) -> None:
    results, _ = run(plan, tmp_path, backend)
    power, product = results.rows
    assert re.fullmatch(reason, power.failure)
    assert product.good
    assert results.complete
    assert not results.holds


class Untimed(ReferenceBackend):
    """A clock that does not work, as a driver's might not."""

    def elapsed(self, function: Callable[[], object]) -> float:
        raise AttributeError("no events")


def test_what_is_wrong_with_a_device_is_in_its_results(plan: GpuPlan, tmp_path: Path) -> None:
    results, _ = run(plan, tmp_path, Untimed())
    assert results.clock == "events of the card"
    assert all("no events (test_gpu_run.py" in row.failure for row in results.rows)
    assert results.checks
    assert results.complete
    assert not results.holds


def test_a_lost_device_ends_the_run(plan: GpuPlan, tmp_path: Path) -> None:
    results, _ = run(plan, tmp_path, Loses())
    assert [row.absent for row in results.rows] == ["the device was lost before"] * 2
    assert results.failures == ("device lost: no more",)
    assert results.checks
    assert not results.complete
    assert "did not come to its end" in gpu_report.terminal(results)


def test_what_found_no_time_is_listed(plan: GpuPlan, tmp_path: Path) -> None:
    results, _ = run(replace(plan, budget=0.01), tmp_path)
    assert results.unchecked == ("64 bits",)
    assert [row.absent for row in results.rows] == ["no time was left"] * 2
    assert results.complete
    assert not results.holds, "it proves nothing"
    assert "proves nothing" in gpu_report.terminal(results)


def test_what_was_not_asked_for_is_listed(plan: GpuPlan, tmp_path: Path) -> None:
    results, _ = run(replace(plan, exact=("521",)), tmp_path)
    assert results.unchecked == ("64 bits (not asked for)",)
    assert not results.checks
    assert not results.holds


def test_exit_codes(plan: GpuPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    common = ["--device", "reference", "--quick", "--output", str(path)]
    only = [option for name in plan.only for option in ("--only", name)]
    assert main(["gpu", *common, *only, "--budget", "60"]) == 0
    assert main(["gpu", *common, *only, "--budget", "0.01"]) == 1
    assert "proves nothing" in capsys.readouterr().out
    assert main(["gpu", *common, "--budget", "-1"]) == 2
    assert main(["gpu", "--device", "no such device", "--output", str(tmp_path / "none.json")]) == 2
    assert not (tmp_path / "none.json").exists()
    capsys.readouterr()
    assert main(["report", str(path), "--markdown"]) == 1
    assert capsys.readouterr().out.startswith("Device: Python integers")
    assert main(["report", str(path), "--plot", str(tmp_path / "a.png")]) == 2
    path.write_text(json.dumps({"kind": "gpu", "schema": 99}))
    assert main(["report", str(path)]) == 2


class Recording:
    """As a device's: the same sequence again, or, where `broken`, the first result less a bit."""

    def __init__(self, function: Callable[[], Ciphertext], *, broken: bool) -> None:
        self.function, self.broken = function, broken

    def replay(self) -> Ciphertext:
        found = self.function()
        if not self.broken:
            return found
        words = found.backend.ring_download(found.polynomials)
        words[0, 0, 0, 0] ^= np.uint64(words[0, 0, 0, 0] > 0)
        return replace(found, polynomials=found.backend.ring_upload(words, found.polynomials.basis, ntt=True))


class Records(ReferenceBackend):
    broken = False

    def record(self, function: Callable[[], Ciphertext]) -> Recording:
        return Recording(function, broken=self.broken)


@pytest.mark.parametrize("broken", [False, True])
def test_a_replay_must_give_the_same_residues(
    plan: GpuPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(gpu_ckks, "QUICK_DEGREE", 64)
    backend = Records()
    backend.broken = broken
    results, _ = run(replace(plan, only=("recorded", "batch 1")), tmp_path, backend)
    eager, replayed = results.rows
    assert eager.good
    assert "recorded" in replayed.name
    assert ("other residues" in replayed.failure) is broken
    assert results.holds is not broken


def test_ckks_rows_notice_wrong_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_ckks, "QUICK_DEGREE", 64)
    for job in gpu_ckks.CkksRows(ReferenceBackend(), Inputs("5eed")).jobs(quick=True):
        case = job.make(2)
        right = case.run()
        assert case.check(right) == "", job.row.name
        assert case.check(_other(right)) != "", job.row.name


def _other(right: object) -> object:
    """Something of the right form that is not the result."""
    if isinstance(right, list):
        return right[1:] + right[:1]
    if isinstance(right, np.ndarray):
        return right + 0.01
    if isinstance(right, EncryptedTensor):
        return replace(right, ciphertext=evaluator.negate(right.ciphertext))
    assert isinstance(right, Ciphertext)
    return evaluator.negate(right)
