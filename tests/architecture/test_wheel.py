"""The wheel holds `hecore/` alone and all of it, and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest


def build_wheel(root: Path, into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", into, root], check=True)
    (wheel,) = into.glob("*.whl")
    return wheel


def package_files(root: Path) -> set[str]:
    """Every file below hecore/, seen through the links."""
    found = set()
    for folder, _, names in os.walk(root / "hecore", followlinks=True):
        found |= {(Path(folder) / name).relative_to(root).as_posix() for name in names}
    return found


def test_the_wheel_holds_the_package_alone_and_all_of_it(copied_checkout: Path, tmp_path: Path) -> None:
    expected = package_files(copied_checkout)  # before the build leaves anything
    with zipfile.ZipFile(build_wheel(copied_checkout, tmp_path / "wheel")) as wheel:
        names = set(wheel.namelist())
        modes = {info.external_attr >> 28 for info in wheel.infolist()}
        (licence,) = (name for name in names if name.endswith("licenses/LICENSE"))
        assert wheel.read(licence).startswith(b"MIT License")
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert names - metadata == expected
    assert {"hecore/py.typed", "hecore/kernels/cpu/__init__.py", "hecore/bench/__init__.py"} < names
    assert modes <= {0o0, 0o10}  # plain files: no link travels


@pytest.mark.slow
def test_installed_outside_the_checkout_the_demo_runs(copied_checkout: Path, tmp_path: Path) -> None:
    """An empty environment, the wheel and what its metadata asks for, a folder that knows nothing of the checkout."""
    wheel = build_wheel(copied_checkout, tmp_path / "wheel")
    venv.create(tmp_path / "environment", with_pip=True)
    binaries = tmp_path / "environment" / "bin"
    subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", f"{wheel}[demo]"], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}

    where = subprocess.run(
        [binaries / "python", "-c", "import hecore; print(hecore.__file__)"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "environment")

    for options in (["--epochs", "1"], ["--scheme", "ckks", "--rounds", "1"]):
        demo = subprocess.run(
            [binaries / "hecore", "demo", "--rows", "64", *options],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert "AUC" in demo.stdout
