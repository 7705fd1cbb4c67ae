"""The CUDA backend against CuPy itself, which needs no card to be imported and to compile.

What the backend asks of CuPy is there, by name; its compiler takes the kernels' text as the backend gives it and says
where a mistake stands; without a driver the backend says so.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.backends import cuda, cuda_staging
from hecore.backends.device import DeviceFacts
from hecore.errors import BackendUnavailableError, CompileError, DeviceLostError
from hecore.kernels import device

if TYPE_CHECKING:
    from collections.abc import Iterator

cupy = pytest.importorskip("cupy", reason="pip install 'hecore[cuda]'")

ROOTS = {"_cuda": "", "cuda": "", "_runtime": "runtime.", "runtime": "runtime.", "nvrtc": "nvrtc."}


def asked_for(path: Path) -> Iterator[str]:
    """`MemoryPool`, `runtime.memcpyAsync`, …: the longest names that start at a module of CuPy."""
    tree = ast.parse(path.read_text())
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        names, at = [], node
        while isinstance(at, ast.Attribute) and id(node) not in inner:
            names.append(at.attr)
            if at.attr in ROOTS and isinstance(at.value, ast.Name) and at.value.id == "self":
                break
            at = at.value
        if isinstance(at, ast.Name) and at.id in ROOTS:
            names.append(at.id)
        if len(names) > 1 and names[-1] in ROOTS:
            yield ROOTS[names[-1]] + ".".join(reversed(names[:-1]))


def test_cupy_has_what_the_backend_asks_for() -> None:
    names = {name for module in (cuda, cuda_staging) for name in asked_for(Path(str(module.__file__)))}
    assert {"MemoryPool", "runtime.memcpyAsync", "nvrtc.getCUBIN", "Stream"} <= names
    for name in sorted(names):
        found: Any = cupy.cuda
        for part in name.split("."):
            found = getattr(found, part)


@pytest.fixture
def unopened() -> cuda.CudaDevice:
    """All of a device that compiling needs: there is no card to open."""
    found = cuda.CudaDevice.__new__(cuda.CudaDevice)
    found._cuda, found._capability, found._pid, found._lost = cupy.cuda, "90", os.getpid(), ""
    found.facts = DeviceFacts("cuda", "a card of compute capability 9.0", "", 32, 128, 1, 1, 1)
    return found


@pytest.mark.parametrize("capability", ["".join(map(str, cuda._OLDEST)), "80", "90"])
def test_its_compiler_takes_the_text(unopened: cuda.CudaDevice, capability: str) -> None:
    unopened._capability = capability
    for program in ("pack", "random"):
        binary = unopened.compile(device.source(program, "cuda"), ["-DBLOCK=128", "-DLANES=1"])
        assert binary.startswith(b"\x7fELF")
        for kernel in device.manifest(program).kernels:
            assert kernel.encode() in binary


def test_a_mistake_is_shown_with_its_file_and_line(unopened: cuda.CudaDevice) -> None:
    text = device.source("pack", "cuda")
    broken = text.replace("value;", "valeu;", 1)
    assert broken != text
    with pytest.raises(CompileError, match=r"pack\.c\(\d+\): error.*valeu") as caught:
        unopened.compile(broken, ["-DBLOCK=128", "-DLANES=1"])
    assert unopened.facts.description in str(caught.value)


def test_a_forked_child_compiles_nothing(unopened: cuda.CudaDevice) -> None:
    unopened._pid += 1
    with pytest.raises(DeviceLostError, match="spawn"):
        unopened.compile("", [])


def test_without_a_driver_the_backend_says_so() -> None:
    if cupy.cuda.runtime.driverGetVersion():
        pytest.skip("there is a driver here")
    with pytest.raises(BackendUnavailableError, match=r"found no NVIDIA driver\. Install the driver"):
        cuda.CudaBackend()


def test_pinned_memory_is_an_array_of_bytes() -> None:
    """What `cuda_staging` takes for granted of a pointer: NumPy reads it as a buffer."""
    if not cupy.cuda.runtime.driverGetVersion():
        pytest.skip("pinning memory needs a driver")
    pinned = cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(64), 0)
    assert np.frombuffer(pinned, dtype=np.uint8).size == 64
