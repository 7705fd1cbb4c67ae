"""Rules that hold for every file of the project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hecore

MAX_LINES = 500
SUFFIXES = {".py", ".c", ".h", ".cl", ".cu", ".v", ".sh", ".toml"}


def sources(root: Path) -> list[Path]:
    """Every source file of the project, each once: links are not followed."""
    found = []
    for top in (".ci", "hecore", "kernels", "bench", "fpga_sim", "tests"):
        for folder, _, names in os.walk(root / top):
            found += [Path(folder) / name for name in names if Path(name).suffix in SUFFIXES]
    return found


def too_long(root: Path) -> list[str]:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(root)}
    return [f"{path.relative_to(root)}: {length} lines" for path, length in lengths.items() if length > MAX_LINES]


def test_files_stay_small(checkout: Path) -> None:
    assert len(sources(checkout)) > 30
    assert too_long(checkout) == []


def test_a_long_file_is_seen(copied_checkout: Path) -> None:
    (copied_checkout / "kernels" / "long.py").write_text("x = 1\n" * (MAX_LINES + 1))
    assert "kernels/long.py: 501 lines" in too_long(copied_checkout)


@pytest.mark.parametrize(
    "name",
    [
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "SECURITY.md",
        ".ci/run",
        "docs/architecture.md",
        "docs/choosing-a-scheme.md",
        "docs/threat-model.md",
        "hecore/py.typed",
    ],
)
def test_the_house_is_complete(checkout: Path, name: str) -> None:
    assert (checkout / name).is_file()


@pytest.mark.parametrize("name", ["kernels", "bench", "fpga_sim"])
def test_top_level_folders_are_sub_packages_by_a_relative_link(checkout: Path, name: str) -> None:
    assert (checkout / "hecore" / name).readlink() == Path("..") / name


def test_the_changelog_knows_this_version(checkout: Path) -> None:
    assert f"## [{hecore.__version__}]" in (checkout / "CHANGELOG.md").read_text()


def test_links_in_the_documents_lead_somewhere(checkout: Path) -> None:
    documents = [*checkout.glob("*.md"), *(checkout / "docs").glob("*.md")]
    assert len(documents) >= 5
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_a_bare_checkout_runs_without_being_installed(checkout: Path) -> None:
    """-I -S hides site-packages' .pth files, so that no editable install can stand in for the links."""
    code = "import sys; sys.path.insert(0, '.'); import hecore.bench, hecore.fpga_sim; print(hecore.bench.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == checkout / "hecore" / "bench"


def test_console_scripts_point_at_something(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    for target in project["scripts"].values():
        module, _, name = target.partition(":")
        code = f"import {module} as m; assert callable(m.{name})"
        subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True)
