"""Programs of `kernels/device` as C++ of the host: compiled by g++, called through ctypes, warps in lockstep."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.kernels import device

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
# Registers stay arrays here, so that -O1 is enough; a kernel that ignores an argument shares its list with others.
OPTIONS = ("-O1", "-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
CANARY = 0xDEADBEEF
GUARD = 64

Signatures = Mapping[str, Sequence[tuple[str, str]]]
Words = NDArray[np.uint32]
Array = NDArray[Any]


class DivergedError(Exception):
    """Threads that should meet wait at different places."""


def signatures(program: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """The arguments of a program's kernels, as its manifest tells them."""
    return {name: kernel.arguments for name, kernel in device.manifest(program).kernels.items()}


def text_of(program: str) -> str:
    """A program without a prelude."""
    return device._expanded(f"{program}.c", set())


def compiled(source: Path, library: Path, text: str, kernels: Signatures, options: Sequence[str]) -> str:
    """Makes a library of a text without a prelude; returns what the compiler complains of."""
    assert COMPILER is not None, "these tests need g++"
    prelude = f'#line 1 "prelude_host.h"\n{(HERE / "prelude_host.h").read_text()}'
    source.write_text(prelude + text + "".join(_launcher(kernel, kernels[kernel]) for kernel in kernels))
    command = [COMPILER, *OPTIONS, *options, "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


class HostLibrary:
    """A compiled text. Runs block after block on this thread; one run at a time in a process."""

    def __init__(self, library: Path, kernels: Signatures, block: int) -> None:
        self.block = block
        self._kernels = kernels
        self._library = ctypes.CDLL(str(library))
        self._library.host_message.restype = ctypes.c_char_p
        self._library.host_wide.restype = ctypes.c_uint64

    @property
    def wide(self) -> int:
        """How many wide multiply-adds it has run."""
        return int(self._library.host_wide())

    def launch(self, kernel: str, threads: int, *arguments: Array | int | None, backwards: bool = False) -> None:
        """At least `threads` threads of a kernel, in whole blocks. Raises DivergedError."""
        values = [_argument(kind, value) for (kind, _), value in zip(self._kernels[kernel], arguments, strict=True)]
        function = getattr(self._library, f"launch_{kernel}")
        if function(ctypes.c_uint32(-(-threads // self.block)), ctypes.c_int(backwards), *values):
            raise DivergedError(self._library.host_message().decode())


class HostProgram(HostLibrary):
    """A text that is compiled in a folder."""

    def __init__(self, folder: Path, name: str, text: str, kernels: Signatures, defines: Mapping[str, int]) -> None:
        library = folder / f"{name}.so"
        options = [f"-D{key}={value}" for key, value in defines.items()]
        errors = compiled(folder / f"{name}.cpp", library, text, kernels, options)
        assert not errors, errors
        super().__init__(library, kernels, defines["BLOCK"])


def _argument(kind: str, value: Array | int | None) -> ctypes._SimpleCData[int] | ctypes.c_void_p:
    if kind.endswith("*"):
        assert not isinstance(value, int)
        return ctypes.c_void_p(None if value is None else value.ctypes.data)
    assert isinstance(value, int)
    return {"u32": ctypes.c_uint32, "u64": ctypes.c_uint64, "i32": ctypes.c_int32}[kind](value)


def _launcher(kernel: str, arguments: Sequence[tuple[str, str]]) -> str:
    """A C function that keeps its arguments for the fibers and runs them."""
    declared = ", ".join(f"{kind} {name}" for kind, name in arguments)
    fields = "".join(f"{kind} {name}; " for kind, name in arguments)
    names = ", ".join(name for _, name in arguments)
    held = ", ".join(f"arguments.{name}" for _, name in arguments)
    return (
        f'extern "C" int launch_{kernel}(u32 blocks, int backwards, {declared}) {{\n'
        f"    static struct {{ {fields}}} arguments;\n    arguments = {{ {names} }};\n"
        f"    return host::run([] {{ {kernel}({held}); }}, blocks, backwards);\n}}\n"
    )


class Guarded:
    """Words that a kernel may write, between words that it must not touch."""

    def __init__(self, words: int) -> None:
        self._all = np.full(words + 2 * GUARD, CANARY, dtype=np.uint32)
        self.words: Words = self._all[GUARD:-GUARD]

    def checked(self) -> Words:
        assert (self._all[:GUARD] == CANARY).all()
        assert (self._all[-GUARD:] == CANARY).all()
        return self.words
