"""`bench gpu` at small size on each device: every operation exact on poisoned memory, and a row of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.registry import get
from hecore.bench.cli import main
from hecore.bench.gpu_results import load

if TYPE_CHECKING:
    from pathlib import Path

ROWS = ("mod_exp", "multiply", "paillier encrypt, resident", "paillier mat-vec", "ntt", "ckks multiply by plain")


def test_a_quick_run_holds(device: str, tmp_path: Path) -> None:
    if not isinstance(get(device), KernelBackend):
        pytest.skip("it is for devices with kernels of their own")
    path = tmp_path / "run.json"
    only = [option for name in ROWS for option in ("--only", name)]
    code = main(["gpu", "--device", device, "--quick", "--budget", "300", "--output", str(path), *only])
    results = load(path)
    assert code == 0, results.all_failures
    assert results.holds
    assert not results.unchecked
    assert results.machine["shapes"]
    assert len(results.checks) > 150
    assert {"wide multiply-add", "copy", "double-precision multiply-add"} <= {
        ceiling.name for ceiling in results.ceilings if ceiling.rate
    }
    names = [row.name for row in results.rows if row.good]
    assert all(any(part in name for name in names) for part in ROWS)
    assert any(row.operation == "multiply, FP64" and results.share(row, "double") for row in results.rows)
    product = next(row for row in results.rows if row.operation == "multiply")
    assert (results.share(product, "executed") or 0) > (results.share(product, "useful") or 0) > 0
