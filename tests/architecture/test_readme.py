"""What the README shows runs and prints what its comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


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


def test_there_is_an_example_for_each_kind_of_user() -> None:
    assert len(EXAMPLES) == 4
