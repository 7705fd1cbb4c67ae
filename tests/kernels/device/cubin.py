"""Programs of `kernels/device` through NVIDIA's own compiler: the binaries of two cards, where no card is.

The compiler and the disassembler come from PyPI (`pip install 'hecore[test-cuda]'`) and need neither driver nor card.
Text and options are those of `CudaDevice.compile`. What a kernel takes of a card stands in its binary.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from hecore.backends import cuda, kernel_ring, kernel_rows
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_plan import plan
from hecore.backends.kernel_shapes import geometries, tried
from hecore.bench import gpu_ceilings, gpu_fp64
from hecore.kernels import device

COMPILER, DISASSEMBLER = "nvidia-cuda-nvrtc", "nvidia-cuda-nvdisasm"
CAPABILITIES = ("80", "90")
REQUIRED = "HECORE_TEST_CUBINS"  # set where a run without the compiler would have shown nothing
FACTS = DeviceFacts("cuda", "a card that is not here", "", cuda._LANES, cuda._BLOCK, 1 << 17, 1 << 36, 1 << 36)
DEGREE_LOGS = range(4, 18)
FLAT = {"BLOCK", "LANES"}
INTEGER = {"BLOCK", "LANES", "DIGITS", "RADIX", "ROWS", "SQUARE"}
TRANSFORM = {"BLOCK", "LANES", "DEGREE_LOG", "COLUMNS_LOG", "TILE_LOG", "RADIX_LOG", "NARROW"}
DOUBLE = {"BLOCK", "LANES", "DIGITS", "ROWS"}

Defines = dict[str, int]


def definitions(program: str, facts: DeviceFacts = FACTS) -> list[Defines]:
    """All that the backends and the benchmarks specialise a program by on a device like this one."""
    expected = set(device.manifest(program).defines)
    if program.startswith("ceiling"):
        return [{"BLOCK": facts.block if facts.serial else gpu_ceilings._BLOCK, "LANES": 1}]
    if program in ("convert", "ring"):
        return [kernel_ring._DEFINES]
    if expected == FLAT:
        least = 1 if program in ("random", "wipe") else kernel_rows.BLOCK
        return [{"BLOCK": max(least, facts.block), "LANES": 1}]
    if expected == INTEGER:
        chosen = dict.fromkeys([*geometries(facts), *tried(facts)])
        return [shape.defines(square=square) for shape in chosen for square in (False, True)]
    if expected == TRANSFORM:
        plans = [plan(facts, 1 << log, sums=program == "accumulate") for log in DEGREE_LOGS]
        if program == "switch":  # where the sums take two passes and transforms one, the first of the two is here
            sums = [plan(facts, 1 << one.degree_log, sums=True) for one in plans if not one.two_passes]
            plans += [one for one in sums if one.two_passes]
        return [found.defines(narrow=narrow) for found in plans for narrow in (False, True)]
    assert expected == DOUBLE, f"{program} is specialised by {sorted(expected)}: say here with what"
    shapes = {shape for shapes in gpu_fp64.SHAPES.values() for shape in shapes}  # measured; no backend uses them
    return [{"BLOCK": gpu_fp64._BLOCK, "LANES": a, "DIGITS": b, "ROWS": c} for a, b, c in sorted(shapes)]


def named(defines: Mapping[str, int]) -> str:
    """Definitions in one line, without those that are always the same."""
    return " ".join(f"{name}={value}" for name, value in sorted(defines.items()) if (name, value) != ("LANES", 1))


# -- the compiler ----------------------------------------------------------------------------------------------------


def versions() -> str:
    """Of compiler and disassembler. Skips the test where they are not installed, or fails it where they must be."""
    try:
        return ", ".join(f"{name} {distribution(name).version}" for name in (COMPILER, DISASSEMBLER))
    except PackageNotFoundError as error:
        reason = f"needs {error.name}: pip install 'hecore[test-cuda]'"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)


def _installed(name: str, ending: str) -> Path:
    """A package's file."""
    versions()
    found = [Path(str(file.locate())) for file in distribution(name).files or () if file.name.startswith(ending)]
    assert len(found) == 1, f"{name} has {found}"
    return found[0]


class CompileFailed(AssertionError):  # noqa: N818 - a failure of the test that asked for it
    """The compiler's log."""


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(_installed(COMPILER, "libnvrtc.so")))


def _call(name: str, *arguments: object) -> int:
    return int(getattr(_library(), name)(*arguments))


def _text(program: ctypes.c_void_p, what: str) -> bytes:
    """The log or the binary."""
    size = ctypes.c_size_t()
    assert _call(f"nvrtcGet{what}Size", program, ctypes.byref(size)) == 0
    out = ctypes.create_string_buffer(size.value)
    assert _call(f"nvrtcGet{what}", program, out) == 0
    return out.raw


def compiled(source: str, defines: Mapping[str, int], capability: str) -> bytes:
    """A binary for one compute capability; any warning is a failure."""
    options = [*device.cuda_options(capability), *(f"-D{name}={value}" for name, value in sorted(defines.items()))]
    program = ctypes.c_void_p()
    assert _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"program.cu", 0, None, None) == 0
    try:
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = _call("nvrtcCompileProgram", program, len(options), array)
        log = _text(program, "ProgramLog").rstrip(b"\0").decode()
        if status or log.strip():
            raise CompileFailed(f"{status} {' '.join(options)}\n{log}")
        return _text(program, "CUBIN")
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def disassembled(binary: bytes) -> str:
    """The machine code of all kernels."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        tool = str(_installed(DISASSEMBLER, "nvdisasm"))
        done = subprocess.run(
            [tool, "--print-code", "--no-dataflow", file.name], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- what a binary says of itself ------------------------------------------------------------------------------------
# ELF, with NVIDIA's notes in sections .nv.info (of all kernels, each by its symbol) and .nv.info.KERNEL. A note is a
# form, an attribute and two bytes; in form 4 these say how many bytes follow.

_FORM_SIZED = 4
_PARAMETERS_AT, _PARAMETER, _FRAME, _REGISTERS = 0x0A, 0x17, 0x11, 0x2F


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers a thread, bytes of shared memory a block, bytes of local memory a thread."""

    registers: int
    shared: int
    local: int


@dataclass(frozen=True)
class KernelInfo:
    """A kernel as its binary describes it: where in constant memory its arguments lie, (place, bytes) each."""

    resources: Resources
    parameters: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    link: int
    size: int
    data: bytes


def kernels(binary: bytes) -> dict[str, KernelInfo]:
    """Of all entry points."""
    sections = {section.name: section for section in _sections(binary)}
    symbols = _symbols(sections)
    counts: dict[tuple[int, str], int] = {}
    for attribute, payload in _notes(sections[".nv.info"].data):
        if attribute in (_FRAME, _REGISTERS):
            symbol, value = struct.unpack("<II", payload)
            counts[attribute, symbols[symbol]] = value
    found = {}
    for name in (name.removeprefix(".nv.info.") for name in sections if name.startswith(".nv.info.")):
        shared = sections.get(f".nv.shared.{name}")
        resources = Resources(counts[_REGISTERS, name], shared.size if shared else 0, counts.get((_FRAME, name), 0))
        found[name] = KernelInfo(resources, _parameters(sections[f".nv.info.{name}"].data))
    return found


def _parameters(notes: bytes) -> tuple[tuple[int, int], ...]:
    start, found = 0, {}
    for attribute, payload in _notes(notes):
        if attribute == _PARAMETERS_AT:
            start = struct.unpack("<IHH", payload)[1]
        if attribute == _PARAMETER:
            _, ordinal, offset, flags = struct.unpack("<IHHI", payload)
            found[ordinal] = offset, flags >> 18
    return tuple((start + found[i][0], found[i][1]) for i in sorted(found))


def _notes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        at += 4
        size = size if form == _FORM_SIZED else 0
        yield attribute, data[at : at + size]
        at += size


def _sections(binary: bytes) -> Sequence[_Section]:
    assert binary[:4] == b"\x7fELF", "an ELF file"
    assert binary[4] == 2, "of 64 bits"
    (table,) = struct.unpack_from("<Q", binary, 40)
    entry, count, names = struct.unpack_from("<HHH", binary, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", binary, table + i * entry) for i in range(count)]
    strings = binary[headers[names][4] :]
    empty = 8  # SHT_NOBITS
    return [
        _Section(_string(strings, name), kind, link, size, b"" if kind == empty else binary[at : at + size])
        for name, kind, _, _, at, size, link, _, _, _ in headers
    ]


def _symbols(sections: Mapping[str, _Section]) -> list[str]:
    strings = sections[".strtab"].data
    return [_string(strings, name) for name, *_ in struct.iter_unpack("<IBBHQQ", sections[".symtab"].data)]


def _string(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()
