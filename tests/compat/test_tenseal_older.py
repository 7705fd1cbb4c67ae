"""The interoperability tests again, beside the oldest TenSEAL whose bytes are promised: it holds an older SEAL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDER = "0.3.16"
FILES = ("tests/compat/test_tenseal_interop.py", "tests/ckks/test_tenseal_wire.py")


@pytest.mark.slow
def test_bytes_of_an_older_peer(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*install, f"tenseal=={OLDER}"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}  # found before what is installed

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert run("-c", "import tenseal; print(tenseal.__version__)").stdout.strip() == OLDER
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
