"""The command line on a device: the demos, files, the list of devices, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hecore.backends import registry
from hecore.cli import main

ROOT = Path(__file__).resolve().parents[2]
DEMOS = {
    "paillier": "--key-bits 512 --rows 40 --batch 20 --epochs 1 --features-guest 3 --features-host 4",
    "ckks": "--ring-degree 256 --rows 40 --clients 2 --rounds 2 --local-steps 2 --features 4",
}


@pytest.mark.parametrize("scheme", DEMOS)
def test_the_demos(started: str, device: str, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scheme", scheme, "--insecure", *DEMOS[scheme].split()]
    with registry.use("reference"):  # --device alone decides
        assert main(["demo", "--device", device, *options, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["device"] == registry.get(device).device
    assert report["operations"]["encrypt"] > 0
    found = report["auc"]
    assert abs(found["encrypted"] - found["floats"]) < 0.02


def test_files(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pass").write_text("correct horse\n")
    values = np.arange(-6, 6).reshape(4, 3)
    np.save("values.npy", values)
    own = ["--device", device, "--insecure", "--passphrase-file", "pass", "--quiet"]
    assert main(["keygen", "key", "--key-bits", "512", *own]) == 0
    assert main(["encrypt", *own, "--key", "key.pub", "values.npy", "out"]) == 0
    assert main(["encrypt", *own, "--key", "key", "values.npy", "own"]) == 0
    for name in ("out", "own"):
        assert main(["decrypt", *own, "--key", "key", name, f"{name}.npy"]) == 0
        np.testing.assert_array_equal(np.load(f"{name}.npy"), values)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "HECORE_DEVICE"}
    command = [sys.executable, "-m", "hecore", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_variable_chooses(device: str) -> None:
    options = ["--insecure", *DEMOS["paillier"].split(), "--json"]
    done = run("demo", *options, HECORE_DEVICE=device)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"] == registry.get(device).device


def test_the_list_names_what_the_drivers_find(device: str) -> None:
    done = run("devices", "--json")
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["devices"]}[device]
    assert found["available"]
    if device in ("opencl", "cuda"):
        assert registry.get(device).device in found["device"]


@pytest.mark.skipif(importlib.util.find_spec("pyopencl") is None, reason="needs pyopencl")
def test_without_a_driver() -> None:
    nowhere = {"OCL_ICD_VENDORS": "/nowhere"}
    for done in (run("demo", "--device", "opencl", **nowhere), run("demo", HECORE_DEVICE="opencl", **nowhere)):
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert "pip install pocl-binary-distribution" in done.stderr
    listed = run("devices", **nowhere)
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith("opencl")]
    assert "not available" in line
    assert "pip install pocl-binary-distribution" in line


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="cupy is installed")
def test_without_a_package() -> None:
    done = run("demo", "--device", "cuda")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'hecore[cuda]'" in done.stderr
