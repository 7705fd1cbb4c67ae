"""The checkout under test, and copies of it into which a test may plant a violation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = ("hecore", "kernels", "bench", "fpga_sim")


@pytest.fixture(scope="session")
def checkout() -> Path:
    return ROOT


@pytest.fixture
def copied_checkout(tmp_path: Path) -> Path:
    """What packaging and linting read, links kept as links, in a folder of the test's own."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in CODE_FOLDERS:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy
