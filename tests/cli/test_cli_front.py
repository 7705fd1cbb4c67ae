"""The command line as a person meets it: the demo, progress on a terminal, the process and its exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from hecore.cli import main
from hecore.cli.progress import Progress

Fails = Callable[..., str]

# -- demo --------------------------------------------------------------------------------------------------

TINY = ["demo", "--device", "reference", "--insecure", "--key-bits", "256", "--rows", "80", "--batch", "40"]


def test_demo(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    argv = [*TINY, "--epochs", "2", "--features-guest", "2", "--features-host", "3", "--plot", "curves.png"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "AUC on 20 held-out rows" in out
    assert "INSECURE" in out
    assert err == ""  # no terminal, no progress
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    fails(argv, "curves.png: the file exists")
    assert main([*argv[:-2], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert round(result["auc"]["encrypted"], 4) == round(result["auc"]["floats"], 4)
    assert result["options"]["features_host"] == 3
    assert result["operations"]["matmul_terms"] == (3 + 1 + 3) * 80 * 2


def test_demo_user_errors(folder: Path, fails: Fails) -> None:
    fails(["demo", "--key-bits", "1024", "--device", "reference"], "floor")
    fails([*TINY, "--epochs", "0"], "epochs = 0")
    fails([*TINY, "--features-host", "40"], "would determine the other party's values")
    fails([*TINY, "--plot", "nowhere/curves.png"], "no folder")


def test_demo_without_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    fails(["demo", "--device", "reference"], "pip install hecore[demo]")


def test_a_missing_matplotlib_is_found_before_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    fails([*TINY, "--rows", str(10**9), "--plot", "curves.png"], "matplotlib", "pip install hecore[demo]")


# -- terminal ----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_draws_on_a_terminal_and_wipes_itself() -> None:
    terminal = Terminal()
    with Progress(Namespace(quiet=False), terminal) as progress:
        for done in range(1, 5):
            progress.show("encrypting", done, 4)
    text = terminal.getvalue()
    assert f"encrypting [{'#' * 30}] 4/4" in text
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text


@pytest.mark.parametrize(("quiet", "stream"), [(True, Terminal()), (False, io.StringIO())])
def test_progress_is_silent_where_nobody_looks(quiet: bool, stream: io.StringIO) -> None:
    with Progress(Namespace(quiet=quiet), stream) as progress:
        progress.show("encrypting", 4, 4)
    assert stream.getvalue() == ""


# -- as a process ------------------------------------------------------------------------------------------


def test_as_a_module_and_light_to_import() -> None:
    code = (
        "import sys, hecore.cli; code = hecore.cli.main(['devices', '--json']);"
        "heavy = {'numba', 'sklearn', 'matplotlib'} & set(sys.modules);"  # cupy and pyopencl name their devices
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([sys.executable, "-m", "hecore", "inspect", "/"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hecore: ")


def test_a_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "hecore", "devices"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")
