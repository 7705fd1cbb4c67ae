"""`import hecore` is light, one module has one name, and optional packages stay optional."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from collections import defaultdict
from pathlib import Path

import pytest

import hecore

HEAVY = {"amaranth", "cupy", "llvmlite", "matplotlib", "numba", "pyopencl", "scipy", "sklearn", "tenseal", "zstandard"}
ONE_FILE_EACH = {"amaranth", "cupy", "flwr", "heu", "matplotlib", "nvflare", "pyopencl", "sklearn", "tenseal"}


def loaded_by(statement: str, root: Path) -> set[str]:
    """Top-level names that a fresh interpreter has loaded after `statement`, run beside the package in `root`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_import_hecore_loads_nothing_heavy(checkout: Path) -> None:
    loaded = loaded_by("import hecore", checkout)
    assert "hecore" in loaded
    assert loaded & HEAVY == set()


def test_a_platform_that_cannot_fork(checkout: Path) -> None:
    modules = "hecore.paillier.pool, hecore.backends.registry, hecore.ring.prng"
    statement = f"import os\ndel os.fork, os.register_at_fork\nimport {modules}"
    assert "hecore" in loaded_by(statement, checkout)


def test_that_test_sees_a_heavy_import(copied_checkout: Path) -> None:
    package = copied_checkout / "hecore" / "__init__.py"
    package.write_text(package.read_text() + "\nimport numba\n")
    assert "numba" in loaded_by("import hecore", copied_checkout) & HEAVY


def test_every_public_name_is_there() -> None:
    for name in hecore.__all__:
        assert getattr(hecore, name) is not None
    assert dir(hecore) == sorted(hecore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'paillierr'"):
        _ = hecore.paillierr  # type: ignore[attr-defined]


def ruff(root: Path, path: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sysconfig.get_path("scripts")) / "ruff")
    command = [program, "check", "--no-cache", "--select", "TID", "--output-format", "concise", path]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", ["hecore", "kernels", "bench", "fpga_sim", "tests"])
def test_nobody_uses_a_second_name_for_a_module(checkout: Path, folder: str) -> None:
    done = ruff(checkout, folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import kernels.cpu", "TID251"),
        ("from kernels import cpu", "TID251"),
        ("import bench", "TID251"),
        ("from fpga_sim import cores", "TID251"),
        ("import random", "TID251"),
        ("import sklearn.linear_model", "TID253"),
        ("from matplotlib import pyplot", "TID253"),
        ("import cupy", "TID253"),
    ],
)
def test_the_rule_bites(copied_checkout: Path, line: str, rule: str) -> None:
    (copied_checkout / "hecore" / "planted.py").write_text(line + "\n")
    done = ruff(copied_checkout, "hecore/planted.py")
    assert done.returncode == 1
    assert rule in done.stdout


def importers(root: Path) -> dict[tuple[str, str], set[str]]:
    """For each package of ONE_FILE_EACH and each room, the files that import it, wherever the statement stands."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for folder, _, names in os.walk(root / "hecore", followlinks=True):
        for path in (Path(folder) / name for name in names if name.endswith(".py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules = [node.module or ""]
                else:
                    continue
                for package in {module.partition(".")[0] for module in modules} & ONE_FILE_EACH:
                    inside = path.relative_to(root / "hecore")
                    found[package, inside.parts[0]].add(str(inside))
    return found


def test_optional_packages_are_imported_in_one_file_of_a_room(checkout: Path) -> None:
    assert {key: files for key, files in importers(checkout).items() if len(files) > 1} == {}


def test_a_second_importer_is_seen(copied_checkout: Path) -> None:
    for name in ("one", "two"):
        (copied_checkout / "hecore" / "arith" / f"{name}.py").write_text("def f():\n    import tenseal.enc_context\n")
    assert importers(copied_checkout)["tenseal", "arith"] == {"arith/one.py", "arith/two.py"}
