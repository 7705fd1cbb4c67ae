"""What the README and the page on choosing a scheme show runs and prints what its comments say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README, CHOOSING = ROOT / "README.md", ROOT / "docs" / "choosing-a-scheme.md"
EXAMPLES = [
    example
    for page in (README, CHOOSING)
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
]
SHELL_EXAMPLES = re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.DOTALL)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d*)?", text)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[-1][:40])
def test_example(example: str, tmp_path: Path, checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(checkout)!r})\n{example}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    promised = [line.split("#")[1].partition(":")[0] for line in example.splitlines() if re.match(r"print\(.*#", line)]
    if promised:
        assert numbers(done.stdout) == numbers(" ".join(promised))
    else:
        assert "reference" in done.stdout


def test_shell_example(tmp_path: Path, checkout: Path) -> None:
    (example,) = SHELL_EXAMPLES
    (tmp_path / "table.csv").write_text("1.5,-2.0\n0.0,4.25\n")
    (tmp_path / "passphrase").write_text("of a test")
    commands = example.replace("hecore ", f"{sys.executable} -m hecore ")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HECORE_PASSPHRASE_FILE": str(tmp_path / "passphrase")}
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "back.csv").read_text().split() == ["1.5,-2.0", "0.0,4.25"]


def test_there_is_an_example_for_each_kind_of_user() -> None:
    assert (len(EXAMPLES), len(SHELL_EXAMPLES)) == (8, 1)
