"""The portable kernels under valgrind's memcheck, with secrets marked as undefined memory.

Memcheck follows every bit: a jump or an address that depends on an undefined one is an error, and errors whose
innermost frame is in no file are in code that Numba made. What Python and NumPy do around the kernels is not judged.
Valgrind knows no AVX-512, so this is the portable path alone; the machine code of the other is looked at in
test_disassembly.py. `valgrind_run.py` says what is called and what is secret.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MISSING = [tool for tool in ("valgrind", "gcc") if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="run on x86-64 alone"),
]


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = folder / "marks.so"
        source = HERE / "valgrind_marks.c"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", self.library, source], check=True)
        (folder / "cache").mkdir(mode=0o700)
        self._run("fill")

    def _run(self, job: str, *before: str) -> None:
        # the interpreter itself, not a launcher of a virtual environment that would start it anew
        command: list[str | Path] = [*before, sys.executable, HERE / "valgrind_run.py", job, self.library]
        environment = {
            **os.environ,
            "HECORE_CACHE_DIR": str(self.folder / "cache"),
            "HECORE_CPU": "portable",
            "NUMBA_CPU_NAME": "generic",
            "PYTHONPATH": str(HERE.parents[1]),
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-4000:]
        assert f"done {job}" in done.stdout

    def errors(self, job: str) -> list[str]:
        """What memcheck says of machine code that belongs to no file."""
        report = self.folder / f"{job}.xml"
        tool = ["valgrind", "--tool=memcheck", "--leak-check=no", "--error-limit=no", "--smc-check=all-non-file"]
        self._run(job, *tool, "--xml=yes", f"--xml-file={report}")
        found = []
        for error in ET.parse(report).getroot().iter("error"):
            frame = error.find("stack/frame")
            if frame is not None and frame.findtext("obj") is None and frame.findtext("fn") is None:
                found.append(f"{error.findtext('kind')}: {error.findtext('what')}")
        return found


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    return Harness(tmp_path_factory.mktemp("valgrind"))


def test_secrets_decide_nothing(harness: Harness) -> None:
    assert harness.errors("secrets") == []


def test_a_planted_leak_is_caught(harness: Harness) -> None:
    found = harness.errors("plant")
    assert any(error.startswith("UninitCondition") for error in found), found
