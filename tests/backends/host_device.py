"""A device whose kernels are C++ of the host: warps in lockstep, so that several lanes share an integer as on a card.

PoCL has no shuffles; with it alone nobody would see a backend plan for more lanes than one.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_backend import KernelBackend
from hecore.errors import CompileError
from hecore.kernels import device as kernels
from tests.kernels.device.host import HERE, OPTIONS, HostLibrary, compiled, signatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hecore.backends.device import Argument, Buffer
    from tests.kernels.device.host import Signatures

WARP = 32
MEMORY = 1 << 30
DIALECT = "cuda"  # whose prelude is put aside
ABSENT = {  # kernels that a definition takes out of a program
    "-DSQUARE=0": ("encode", "export_quotient", "fixed_base_logarithmic"),
    "-DCOLUMNS_LOG=0": ("columns_forward", "columns_inverse", "raise_rows"),
}


class HostBuffer:
    """Bytes of this process; what is fresh holds no zeros."""

    def __init__(self, nbytes: int) -> None:
        self.data = np.full(max(8, nbytes), 0xA5, dtype=np.uint8)
        self.nbytes = nbytes


class HostDevice:
    """`Device` over g++. Counts the wide multiply-adds of what it ran."""

    def __init__(self, block: int) -> None:
        prelude = (HERE / "prelude_host.h").read_text()
        identity = hashlib.sha256("".join([prelude, *OPTIONS]).encode()).hexdigest()
        self.facts = DeviceFacts(DIALECT, "C++ of the host", identity, WARP, block, block, MEMORY, MEMORY)
        self.launches: list[tuple[str, int]] = []  # kernel, wide multiply-adds that each integer took
        self.backwards = False  # the last thread of a block goes first

    def allocate(self, nbytes: int) -> HostBuffer:
        return HostBuffer(nbytes)

    def write(self, buffer: Buffer, data: NDArray[Any], offset: int = 0) -> None:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        _held(buffer)[offset : offset + flat.size] = flat

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        out.reshape(-1).view(np.uint8)[:] = _held(buffer)[offset : offset + out.nbytes]

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        program = re.findall(r'^#line 1 "(\w+)\.c"$', source, re.MULTILINE)[0]
        text = source.removeprefix(kernels._expanded(f"prelude_{DIALECT}.h", set()))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            library = folder / "program.so"
            errors = compiled(folder / "program.cpp", library, text, _signatures(program, options), options)
            if errors:
                raise CompileError(errors)
            return "\n".join((program, *options, "\n")).encode() + library.read_bytes()

    def load(self, binary: bytes) -> LoadedProgram:
        head, _, library = binary.partition(b"\n\n")
        program, *options = head.decode().split("\n")
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            file.write(library)
            file.flush()
            defines = {name: int(value) for name, value in (option[2:].split("=") for option in options)}
            built = HostLibrary(Path(file.name), _signatures(program, options), defines["BLOCK"])
        return LoadedProgram(self, built, defines["LANES"])

    def synchronize(self) -> None:
        pass


class LoadedProgram:
    """`Program` of a `HostDevice`."""

    def __init__(self, device: HostDevice, library: HostLibrary, lanes: int) -> None:
        self._device, self._library, self._lanes = device, library, lanes

    def launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        assert block == self._library.block
        values = [_value(argument) for argument in arguments]
        before = self._library.wide
        self._library.launch(kernel, blocks * block, *values, backwards=self._device.backwards)
        integers = blocks * block // self._lanes
        each, rest = divmod(self._library.wide - before, integers)
        assert rest == 0
        self._device.launches.append((kernel, each))


class HostBackend(KernelBackend):
    """A backend on such a device."""

    name = "opencl"
    simulated = True

    def __init__(self, block: int, memory_budget: int | None = None) -> None:
        self.host = HostDevice(block)
        super().__init__(self.host, memory_budget)


def _signatures(program: str, options: Sequence[str]) -> Signatures:
    """Of the kernels that a program has with these definitions."""
    absent = {name for option in options for name in ABSENT.get(option, ())}
    return {name: arguments for name, arguments in signatures(program).items() if name not in absent}


def _value(argument: Argument) -> NDArray[np.uint8] | int | None:
    if isinstance(argument, np.generic):
        return int(argument)
    assert argument is None or isinstance(argument, HostBuffer)
    return None if argument is None else argument.data


def _held(buffer: Buffer) -> NDArray[np.uint8]:
    assert isinstance(buffer, HostBuffer)
    return buffer.data
