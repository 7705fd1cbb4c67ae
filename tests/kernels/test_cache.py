"""The private folder of compiled kernels: who may write there, what it depends on, and that it serves."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from llvmlite import binding

from hecore.kernels.cpu import cache

ROOT = Path(__file__).parents[2]

# Small functions made as the real ones are: compiling those takes long, and the mechanism is the same.
SCRIPT = """
import json, sys, time
from pathlib import Path

import numpy as np
from numba.core import event

recorder = event.RecordingListener()
event.register("numba:run_pass", recorder)

from hecore.kernels.cpu import cache
from hecore.kernels.cpu.vector import add, load, store


@cache.shared(2)
def twice(out, count):
    for j in range(count):
        store(out, j, add(load(out, j), load(out, j)))


@cache.kernel
def entry(words, count):
    twice(words.ctypes.data, count)


meeting = Path(sys.argv[1]) if len(sys.argv) > 1 else None
if meeting is not None:  # wait for the other process, so that both fill the folder at once
    (meeting / sys.argv[2]).touch()
    deadline = time.monotonic() + 60
    while len(list(meeting.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(list(meeting.iterdir())) == 2
words = np.arange(64, dtype=np.uint64)
entry(words, 2)
changed = int((words != np.arange(64)).sum())
folder = cache.cache_folder()
print(json.dumps({"passes": len(recorder.buffer), "changed": changed, "folder": str(folder)}))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("HECORE_")}
    return subprocess.Popen(
        [sys.executable, "-W", "always::RuntimeWarning", script, *arguments],
        env={**cleared, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(out)
    return result, errors


def folder_for(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """What a process that starts now would use."""
    monkeypatch.setenv("HECORE_CACHE_DIR", str(base))
    return cache.cache_folder.__wrapped__()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- who may write there ---------------------------------------------------------------------------------------------


def test_the_folder_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        folder = folder_for(tmp_path / "base", monkeypatch)
    finally:
        os.umask(before)
    assert folder == tmp_path / "base" / "kernels" / cache.source_digest()
    for path in (folder, folder.parent, folder.parent.parent):
        assert mode(path) == 0o700


@pytest.mark.parametrize("inside", ["", "kernels", "kernels/digest"])
@pytest.mark.parametrize("bits", [0o770, 0o707, 0o701, 0o740])
def test_a_folder_open_to_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, bits: int
) -> None:
    folder = folder_for(tmp_path / "base", monkeypatch)
    assert folder is not None
    (tmp_path / "base" / inside.replace("digest", folder.name)).chmod(bits)
    with pytest.warns(RuntimeWarning, match="no private writable folder"):
        assert folder_for(tmp_path / "base", monkeypatch) is None


@pytest.mark.parametrize("inside", ["", "kernels", "kernels/digest"])
def test_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    """Even to a private folder: whoever can change the link decides what is run."""
    folder = folder_for(tmp_path / "base", monkeypatch)
    assert folder is not None
    place = tmp_path / "base" / inside.replace("digest", folder.name)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match="no private writable folder"):
        assert folder_for(tmp_path / "base", monkeypatch) is None


def test_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").touch()
    with pytest.warns(RuntimeWarning, match="no private writable folder"):
        assert folder_for(tmp_path / "base", monkeypatch) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir(mode=0o700)
    os.chown(tmp_path / "base", 12345, -1)
    with pytest.warns(RuntimeWarning, match="no private writable folder"):
        assert folder_for(tmp_path / "base", monkeypatch) is None


# -- where it is -----------------------------------------------------------------------------------------------------


def test_the_users_cache_serves_where_nothing_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HECORE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder.__wrapped__() == tmp_path / "xdg" / "hecore" / "kernels" / cache.source_digest()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = tmp_path / "home" / ".cache" / "hecore" / "kernels" / cache.source_digest()
    assert cache.cache_folder.__wrapped__() == expected


def test_the_next_place_serves_where_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HECORE_CACHE_DIR", raising=False)
    (tmp_path / "xdg").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = cache.cache_folder.__wrapped__()
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "home")


def test_a_relative_place_does_not_move_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_for(Path("base"), monkeypatch)
    assert folder is not None
    assert folder.is_absolute()


# -- what it depends on ----------------------------------------------------------------------------------------------


def digest_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cache, "__file__", str(folder / "cache.py"))
    return cache.source_digest.__wrapped__()


def test_a_changed_source_changes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path(cache.__file__).resolve().parent
    copied = tmp_path / "cpu"
    shutil.copytree(original, copied, ignore=shutil.ignore_patterns("__pycache__"))
    before = digest_of(copied, monkeypatch)
    assert before == digest_of(original, monkeypatch), "the same sources elsewhere are the same sources"
    for source in sorted(copied.glob("*.py")):
        text = source.read_text()
        source.write_text(text + "\n")
        assert digest_of(copied, monkeypatch) != before, source.name
        source.write_text(text)
    assert digest_of(copied, monkeypatch) == before
    (copied / "power.py").rename(copied / "powers.py")
    assert digest_of(copied, monkeypatch) != before


@pytest.mark.parametrize(
    ("place", "name"),
    [("numba", "__version__"), ("llvmlite", "__version__"), ("binding", "get_host_cpu_name")],
)
def test_the_compiler_and_the_processor_change_the_folder(
    place: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.source_digest.__wrapped__()
    other: Any = "another" if name.startswith("__") else lambda: "another"
    monkeypatch.setattr(getattr(cache, place), name, other)
    assert cache.source_digest.__wrapped__() != before


def test_the_code_path_changes_the_folder(script: Path, tmp_path: Path) -> None:
    """One folder for each path, and none for the name that it was chosen by: auto is one of the two."""
    base = str(tmp_path / "base")
    started = [start(script, HECORE_CACHE_DIR=base, HECORE_CPU=path) for path in ("auto", "portable")]
    auto, portable = (finish(process)[0]["folder"] for process in started)
    has_ifma = bool(binding.get_host_cpu_features().get("avx512ifma", False))
    assert (auto == portable) is not has_ifma
    if has_ifma:
        assert finish(start(script, HECORE_CACHE_DIR=base, HECORE_CPU="ifma"))[0]["folder"] == auto


# -- that it serves --------------------------------------------------------------------------------------------------


def test_the_next_process_compiles_nothing(script: Path, tmp_path: Path) -> None:
    base = str(tmp_path / "base")
    first, errors = finish(start(script, HECORE_CACHE_DIR=base))
    assert errors == ""
    assert first["passes"] > 0
    assert Path(first["folder"]).is_relative_to(base)
    second, errors = finish(start(script, HECORE_CACHE_DIR=base))
    assert errors == ""
    assert second == {**first, "passes": 0}


def test_two_processes_may_fill_it_at_once(script: Path, tmp_path: Path) -> None:
    base, meeting = str(tmp_path / "base"), tmp_path / "meeting"
    meeting.mkdir()
    both = [start(script, str(meeting), name, HECORE_CACHE_DIR=base) for name in ("a", "b")]
    results = [finish(process) for process in both]
    third, _ = finish(start(script, HECORE_CACHE_DIR=base))
    assert third["passes"] == 0
    for result, errors in results:
        assert errors == ""
        assert result["changed"] == third["changed"] > 0


def test_without_a_place_to_write_kernels_work_and_one_warning_says_so(script: Path) -> None:
    """/dev/null is no folder for anyone, root included."""
    for _ in range(2):
        result, errors = finish(start(script, HECORE_CACHE_DIR="/dev/null/nowhere"))
        assert result["passes"] > 0
        assert result["changed"] > 0
        assert result["folder"] == "None"
        assert errors.count("RuntimeWarning") == 1
        assert "HECORE_CACHE_DIR" in errors
