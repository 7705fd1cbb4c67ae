"""Device kernels: one C text for CUDA, OpenCL and, in tests, the host's C++ compiler.

A program is one `<name>.c` file here. It includes shared headers, and the prelude of a dialect
(`prelude_cuda.h`, `prelude_opencl.h`) is put in front of it; nothing else differs between devices. What varies with
the operands' public sizes is a `-D`; no modulus, exponent or table ever is. `<name>.toml` lists a program's
definitions and kernels, with their arguments, and a test holds the two together.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent
_INCLUDE = re.compile(r'#include "([a-z0-9_]+\.h)"$')
DIALECTS = ("cuda", "opencl")


@dataclass(frozen=True)
class Kernel:
    """One entry point. Arguments are `u32`, `u64` or `i32` scalars, or pointers: `const u32*`, `u64*`, …

    `secret`: some buffer may hold a secret, so that no branch and no address may depend on the contents of any but the
    `public` ones: tables of indices that whoever launches the kernel chose.
    """

    name: str
    arguments: tuple[tuple[str, str], ...]  # (type, name)
    secret: bool
    public: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What `<program>.toml` says."""

    program: str
    defines: tuple[str, ...]
    kernels: dict[str, Kernel]


def programs() -> tuple[str, ...]:
    """The names of all programs."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.c")))


@cache
def source(program: str, dialect: str) -> str:
    """The whole text of a program for a dialect: its prelude, then the file, with every include put in once."""
    seen: set[str] = set()
    return "".join(_expanded(name, seen) for name in (f"prelude_{dialect}.h", f"{program}.c"))


def _expanded(name: str, seen: set[str]) -> str:
    """The text of a file, its includes put in; `#line` tells compilers whose line they complain of."""
    if name in seen:
        return ""
    seen.add(name)
    parts = [f'#line 1 "{name}"\n']
    for number, line in enumerate((_FOLDER / name).read_text().splitlines(), start=1):
        include = _INCLUDE.match(line)
        parts.append(f'{_expanded(include[1], seen)}#line {number + 1} "{name}"\n' if include else f"{line}\n")
    return "".join(parts)


def cuda_options(capability: str) -> tuple[str, ...]:
    """How NVRTC compiles programs for a compute capability ("90"): for that card alone, to a binary."""
    return (f"-arch=sm_{capability}", "-std=c++17")


@cache
def manifest(program: str) -> Manifest:
    """A program's manifest."""
    read = _read(program)
    kernels = {name: _kernel(name, entry) for name, entry in read["kernels"].items()}
    return Manifest(program, tuple(read["defines"]), kernels)


def _read(program: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{program}.toml").read_text())


def _kernel(name: str, entry: dict[str, Any]) -> Kernel:
    arguments = tuple(_argument(text) for text in entry["arguments"])
    return Kernel(name, arguments, bool(entry["secret"]), tuple(entry.get("public", ())))


def _argument(text: str) -> tuple[str, str]:
    kind, _, name = text.rpartition(" ")
    return kind, name
