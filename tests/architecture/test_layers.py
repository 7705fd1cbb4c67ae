"""Who may know whom: the contracts in pyproject.toml hold, and each of them bites."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sysconfig.get_path("scripts")) / "lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def test_the_arrows_hold(checkout: Path) -> None:
    done = lint_imports(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("importer", "imported", "broken"),
    [
        ("hecore/errors.py", "hecore.arith.limbs", "layers"),
        ("hecore/arith/limbs.py", "hecore.backends.protocol", "layers"),
        ("kernels/cpu/__init__.py", "hecore.backends.protocol", "layers"),
        ("kernels/cpu/__init__.py", "hecore.fpga_sim", "layers"),
        ("hecore/backends/protocol.py", "hecore.paillier", "layers"),
        ("hecore/paillier/params.py", "hecore.compat", "layers"),
        ("hecore/keystore.py", "hecore.cli", "layers"),
        ("hecore/demo/__init__.py", "hecore.compat", "layers"),
        ("hecore/cli/files.py", "hecore.bench", "layers"),
        ("hecore/ring/prng.py", "hecore.ckks", "layers"),
        ("hecore/ckks/params.py", "hecore.compat", "layers"),
        ("hecore/backends/ring_protocol.py", "hecore.ring", "layers"),
        ("hecore/wire.py", "hecore.ckks", "layers"),
        ("hecore/paillier/params.py", "hecore.fpga_sim", "simulator"),
    ],
)
def test_a_planted_arrow_is_refused(copied_checkout: Path, importer: str, imported: str, broken: str) -> None:
    path = copied_checkout / importer
    path.write_text(path.read_text() + f"\nimport {imported}\n")
    done = lint_imports(copied_checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    title = {"layers": "Who may know whom", "simulator": "The FPGA simulator"}[broken]
    assert any(line.startswith(title) and line.endswith("BROKEN") for line in done.stdout.splitlines()), done.stdout
    assert importer.removesuffix(".py").removesuffix("/__init__").split("/")[-1] in done.stdout


def test_a_module_without_a_place_is_refused(copied_checkout: Path) -> None:
    (copied_checkout / "hecore" / "unplaced.py").write_text("")
    done = lint_imports(copied_checkout)
    assert done.returncode == 1
    assert "unplaced" in done.stdout
