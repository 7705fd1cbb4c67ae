"""What `bench gpu` is made of: inputs, exactness, rows, counts, targets, projections, wheels."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hecore.arith.modulus import Modulus
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.backends.kernel_ring_counts import transform_bytes
from hecore.backends.kernel_shapes import geometries
from hecore.backends.protocol import IntegerBackend
from hecore.backends.reference import ReferenceBackend
from hecore.backends.ring_protocol import RingBackend
from hecore.bench import gpu_exact, gpu_project, gpu_report, gpu_run, gpu_targets, gpu_wheels
from hecore.bench.cli import main
from hecore.bench.gpu_device import Clock, traffic
from hecore.bench.gpu_fp64 import DoubleRows
from hecore.bench.gpu_inputs import Inputs, fresh_seed
from hecore.bench.gpu_integers import Modular
from hecore.bench.gpu_machine import Card
from hecore.bench.gpu_plan import Budget, GpuPlan
from hecore.bench.gpu_project import FACTS
from hecore.bench.gpu_results import Ceiling, Check, GpuResults, GpuRow, Recorder, Work, load
from hecore.bench.gpu_rows import Bench, Case, Job
from hecore.bench.gpu_suites import jobs
from hecore.bench.gpu_work import ModularWork
from hecore.errors import BackendUnavailableError, ParameterError
from tests.backends.host_device import HostBackend
from tests.kernels.device.host import COMPILER

# Operations whose results are random, or which a problem uses to make its operands.
_NOT_COMPARED = {"upload", "ring_upload", "fixed_base_table", "synchronize"}
_RANDOM = {"random_exponents", "random_ternary", "random_errors"}


def operations_of(protocol: type) -> set[str]:
    names = {name for name in vars(protocol) if not name.startswith("_")}
    return {name for name in names if callable(getattr(protocol, name))}


def test_every_operation_of_both_protocols_is_compared() -> None:
    asked = operations_of(IntegerBackend) | operations_of(RingBackend)
    assert len(asked) > 40
    assert asked - _NOT_COMPARED - _RANDOM == gpu_exact.operations() & asked


def test_answers_repeat_by_their_seed_and_differ_without() -> None:
    problem, seed = gpu_exact.Problem("plain", 64), fresh_seed()
    first, second, other = (gpu_exact.reference_answers(problem, s) for s in (seed, seed, fresh_seed()))
    for (name, x), (_, y) in zip(first, second, strict=True):
        assert gpu_exact.difference(x, y) == "", name
    assert any(gpu_exact.difference(x, y) for (_, x), (_, y) in zip(first, other, strict=True))


def test_one_bit_is_a_difference() -> None:
    a = np.arange(12, dtype=np.uint64).reshape(3, 4)
    b = a.copy()
    b[2, 1] ^= np.uint64(1)
    assert gpu_exact.difference(a, b) == "1 of 12 words differ, first at [2, 1]"
    assert gpu_exact.difference(a, a.astype(np.int64)) != ""
    assert gpu_exact.difference(a, a.ravel()) != ""


@pytest.mark.parametrize("seed", ["", "xyz", "12 "])
def test_seeds_are_hexadecimal(seed: str) -> None:
    with pytest.raises(ParameterError):
        Inputs(seed)


# -- rows ------------------------------------------------------------------------------------------------------


def bench(seconds: float = 0.01, budget: float = 60) -> Bench:
    backend = ReferenceBackend()
    return Bench(backend, Clock(backend), None, seconds, Budget(budget))


def test_rows_grow_until_they_can_be_timed() -> None:
    sizes = []

    def make(size: int) -> Case:
        sizes.append(size)
        return Case(lambda: sum(range(100 * size)), lambda result: "" if result == sum(range(100 * size)) else "wrong")

    row = bench().row(Job("sum", "any", "number", make, 1, 1 << 30))
    assert row.good
    assert sizes == sorted(sizes)
    assert row.items == sizes[-1] < 1 << 30
    assert "asked for: time" in row.note
    assert row.rate is not None
    assert row.items / max(row.seconds) <= row.rate <= row.items / min(row.seconds)
    small = bench().row(Job("sum", "any", "number", make, 1, 8))
    assert small.items == 8
    assert small.note == ""


def test_rows_stay_within_memory() -> None:
    job = Job("nothing", "any", "byte", lambda size: Case(lambda: size, lambda _: ""), 1, 1 << 40, 1 << 30)
    assert bench(seconds=10).row(job).items == 2, "a quarter of the 8 GiB that a silent backend is taken to have"


def test_a_row_with_a_wrong_result_has_no_rate() -> None:
    row = bench().row(Job("lie", "any", "item", lambda _: Case(lambda: 1, lambda _: "one is wrong")))
    assert (row.failure, row.good, row.rate, row.per_joule) == ("one is wrong", False, None, None)


def test_modular_rows_look_at_what_the_last_round_left() -> None:
    backend = ReferenceBackend()
    for job in Modular(backend, Inputs("5eed")).jobs(quick=True):
        case = job.make(70)
        assert case.check(case.run()) == "", job.row.name
        short = backend.take(case.run(), np.arange(70, dtype=np.intp)[::-1])
        assert "wrong" in case.check(short), job.row.name


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
def test_rows_of_several_lanes_an_integer() -> None:
    """As on a card, whose shapes PoCL never sees."""
    backend = HostBackend(32)
    asked = [*Modular(backend, Inputs("5eed")).jobs(quick=True), *DoubleRows(backend, Inputs("5eed")).jobs(quick=True)]
    assert asked[-1].row.size == "1024 bits, 2 x 11"
    for job in asked:
        row = replace(bench(), backend=backend, clock=Clock(backend)).row(replace(job, most=70))
        assert row.good, row.failure
        assert row.work is not None


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
def test_traffic_is_what_passes_take() -> None:
    backend, degree, count = HostBackend(32), 64, 50
    basis = RnsBasis(degree, ntt_primes(degree, (60, 60)))
    words = Inputs("5eed").polynomials("a", count, basis)
    a = backend.ring_upload(words, basis, ntt=False)
    moved = traffic(backend, lambda: backend.ntt(a))
    passes = 2 * count * transform_bytes(backend._device.facts, degree)
    assert moved is not None
    assert passes <= moved < 1.1 * passes, "roots and primes are little beside so many polynomials"
    assert traffic(backend, lambda: None) == 0
    assert traffic(ReferenceBackend(), lambda: None) is None


def test_rows_of_targets_come_first_and_exist() -> None:
    names = [job.row.name for job in jobs(ReferenceBackend(), "5eed", quick=False)]
    wanted = gpu_targets.ROWS - {*gpu_targets.PRODUCTS_FP64}  # of kernel backends alone
    assert set(names[: len(wanted)]) == wanted
    assert len(set(names)) == len(names)


# -- counts and targets ------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_page() -> None:
    """docs/devices.md: product, square, and the plain form on twice the length."""
    shapes = geometries(FACTS)
    for bits, product, square, plain in (
        (1024, 7220, 5776, 11552),
        (2048, 28880, 23104, 46208),
        (3072, 67280, 53824, 107648),
        (4096, 115520, 92416, 184832),
    ):
        half = ModularWork.of(Modulus.square((1 << bits) - 1), shapes)
        whole = ModularWork.of(Modulus((1 << 2 * bits) - 1), shapes)
        assert (half.product.executed, half.squaring.executed) == (product, square)
        assert whole.product.executed == plain
        assert whole.product.useful == half.product.useful == 2 * (2 * bits // 32) ** 2


def results(device: str, *, quick: bool = False, rate: float = 1.0) -> GpuResults:
    """Rows of every target, at `rate` times what is asked for."""

    def row(name: str, items: int, seconds: float, work: Work | None = None, cpu: float | None = None) -> GpuRow:
        operation, _, size = name.partition("/")
        rounds = (seconds / rate,) * 3
        return GpuRow(operation, size, "item", items, rounds, rounds, work=work, cpu_seconds=cpu)

    rows = (
        row(gpu_targets.PRODUCT, 600, 1.0, Work(executed=1000)),
        row(gpu_targets.POWERS[0], 150, 1.0, cpu=1.0),
        row(gpu_targets.POWERS[1], 150, 1.0, cpu=1.0),
        row(gpu_targets.ENCRYPT, 1_500_000, 1.0),
        row(gpu_targets.DECRYPT, 250_000, 1.0),
        row(gpu_targets.MATVEC, 300_000_000, 1.0),
        row(gpu_targets.NTT, 700, 1.0, Work(bytes=1000)),
        row(gpu_targets.MULTIPLY, 10, gpu_targets.PUBLISHED_PRODUCT),
    )
    ceilings = (Ceiling("wide multiply-add", "", 1e6), Ceiling("wide multiply-add", "", 9e5), Ceiling("copy", "", 1e6))
    machine = {"device": device, "versions": {}, "cpu": "", "cores": 1, "system": "", "python": "", "commit": ""}
    plan = {"quick": quick}
    checks = (Check("mod_mul", "64 bits", 4),)
    return GpuResults({**machine, "date": ""}, plan, "5eed", "", rows=rows, ceilings=ceilings, checks=checks)


def test_targets_are_reached_or_missed_on_cards_of_the_class() -> None:
    assert [v.reached for v in gpu_targets.verdicts(results("NVIDIA H100 80GB HBM3", rate=1.001))] == [True] * 8
    assert [v.reached for v in gpu_targets.verdicts(results("NVIDIA H100 80GB HBM3", rate=0.999))] == [False] * 8
    assert "missed" in gpu_report.terminal(results("NVIDIA H100 80GB HBM3", rate=0.9))


@pytest.mark.parametrize(("device", "quick"), [("NVIDIA T4", False), ("NVIDIA H100", True)])
def test_targets_are_not_judged_elsewhere(device: str, quick: bool) -> None:
    found = gpu_targets.verdicts(results(device, quick=quick))
    assert [v.reached for v in found] == [None] * 8
    assert all(v.value is not None for v in found)
    shown = gpu_report.markdown(results(device, quick=quick))
    assert "not judged" in shown
    assert "reached" not in shown


class Ticking(Card):
    def clock(self) -> float:
        return 2e9


def test_ceilings_say_what_a_multiprocessor_does_in_a_clock() -> None:
    full = Ceiling("wide multiply-add", "multiply-adds/s", 132 * 64 * 2e9)
    assert gpu_run._per_clock(full, Ticking("", 132)) == 64
    assert gpu_run._per_clock(full, Ticking("", 0)) is None
    assert gpu_run._per_clock(full, None) is None
    found = replace(results("a card"), ceilings=(replace(full, per_clock=64.0), replace(full, per_clock=63.0)))
    assert "64.0" in gpu_report.terminal(found)


def test_results_are_whole_after_every_change(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    recorder = Recorder(results("a card"), path, lambda _: None)
    for change in range(3):
        recorder.append(unchecked=f"problem {change}", rows=GpuRow("a", str(change), "b", absent="no time"))
        assert load(path) == recorder.results
    assert list(tmp_path.iterdir()) == [path]
    assert load(path).share(recorder.results.rows[0], "executed") == pytest.approx(0.6)


def test_projections_say_what_they_are() -> None:
    shown = gpu_project.markdown()
    assert "projected, not measured" in shown
    assert "no card has run this" in shown
    product = next(p for p in gpu_project.projected() if p.operation == "4096-bit Montgomery product")
    assert product.count == 2 * (8 * 19) ** 2
    h100 = gpu_project.CARDS[0]
    assert product.rate(h100) == pytest.approx(132 * 64 * 1.98e9 / 46208)


def test_plans_and_budgets() -> None:
    assert GpuPlan("cuda", 1.0, only=("add", "mul")).wants("paillier add/2048")
    assert not GpuPlan("cuda", 1.0, only=("add",)).wants("decrypt")
    budget = Budget(0.0)
    assert (budget.left, budget.allows()) == (0.0, False)


# -- a bare machine ----------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "VALUE = 42\n")


def test_wheels_are_put_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "device_wheels.txt"
    listed.write_text("# why\nhecore_probe_wheel==1.0\n")
    monkeypatch.setattr(gpu_wheels, "LIST", listed)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(BackendUnavailableError, match=r"hecore_probe_wheel==1\.0 .*pip download"):
        gpu_wheels.provide(tmp_path / "none")
    wheel(tmp_path / "wheels", "hecore_probe_wheel")
    assert gpu_wheels.provide(tmp_path / "wheels") == []
    probe = __import__("hecore_probe_wheel")
    assert probe.VALUE == 42
    del sys.modules["hecore_probe_wheel"]


def test_what_can_be_done_without_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_wheels, "missing", lambda: ["gmpy2"])
    assert gpu_wheels.provide(tmp_path) == ["gmpy2"]


BARE = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it fails, as if it were not there
from hecore.bench.cli import main
if __name__ == "__main__":
    sys.exit(main(["gpu", "--device", "reference", "--quick", "--wheels", {folder!r}, "--output", {path!r}, *{more!r}]))
"""
NOT_THERE = ["gmpy2", "zstandard", "phe", "tenseal", "heu", "sklearn", "matplotlib", "pytest_benchmark", "pyopencl"]


def bare(folder: Path, blocked: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    """From the root of a checkout, nothing installed but what a machine with a card has."""
    program = BARE.format(blocked=blocked, folder=str(folder), path=str(folder / "run.json"), more=list(more))
    script = folder / "bare.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_bare_machine_is_told_what_to_carry(tmp_path: Path) -> None:
    done = bare(tmp_path, [*NOT_THERE, "cryptography"])
    assert done.returncode == 2
    assert "cryptography==" in done.stderr
    assert "pip download" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bare_machine_runs(tmp_path: Path) -> None:
    done = bare(tmp_path, NOT_THERE, "--budget", "40", "--only", "multiply/1024 bits, plain")
    assert done.returncode == 0, done.stderr
    assert "gmpy2 is not installed" in done.stderr
    assert load(tmp_path / "run.json").holds


def test_the_page_has_the_projections_of_today(tmp_path: Path) -> None:
    """Where it has not: `python -m hecore.bench gpu --project docs/benchmarks.md`."""
    page = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
    copy = tmp_path / page.name
    copy.write_bytes(page.read_bytes())
    assert main(["gpu", "--project", str(copy)]) == 0
    assert gpu_project.markdown() in copy.read_text(encoding="utf-8")
    assert copy.read_bytes() == page.read_bytes()
    copy.write_text(gpu_project.END + gpu_project.BEGIN)
    assert main(["gpu", "--project", str(copy)]) == 2


# -- workers -----------------------------------------------------------------------------------------------------

ORPHANED = """
import os, signal
from hecore.bench.gpu_workers import Workers
if __name__ == "__main__":
    workers = Workers(1)
    print(workers._reference.submit(os.getpid).result(), workers._cpu.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    """What they inherited, a pipe of a remote shell, say, would stay open for ever."""
    script = tmp_path / "orphaned.py"
    script.write_text(ORPHANED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said, _ = parent.communicate(timeout=60)  # ends when nobody holds the pipe any more
    workers = [int(word) for word in said.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(runs(process) for process in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(runs(process) for process in workers)
