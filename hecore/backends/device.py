"""What a device is to hecore: an allocator, a compiler, programs, and nothing else (after tinygrad's devices).

`KernelBackend` is written once over this protocol; `cuda.py` and `opencl.py` implement it. Commands run in the order
in which they are given, so that only `read` and `synchronize` wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class DeviceFacts:
    """What a backend asks of a device before it plans.

    `lanes`: how many neighbouring threads can exchange registers (32 in a CUDA warp, 1 without shuffles).
    `parallel`: threads that keep the device busy, about. `memory`, `largest`: bytes in all, and of one buffer.
    `identity` tells devices and drivers apart whose binaries differ. `serial`: the threads of a block run one after the
    other, as on a processor.
    """

    dialect: str
    description: str
    identity: str
    lanes: int
    block: int
    parallel: int
    memory: int
    largest: int
    serial: bool = False


class Buffer(Protocol):
    """Device memory; given back (to a pool) when nothing refers to it any more.

    A plain object that can be weakly referenced; a shallow copy is a second handle to the same memory.
    """

    @property
    def nbytes(self) -> int: ...


Argument = Buffer | np.uint32 | np.uint64 | np.int32 | None
"""Of a kernel: a buffer, None for a null pointer, or a scalar of exactly the type that the kernel declares."""


class Program(Protocol):
    """A loaded binary."""

    def launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        """Put `blocks` groups of `block` threads in the queue. Raises DeviceLostError, BackendError."""


class Device(Protocol):
    """Six methods, each with one meaning."""

    @property
    def facts(self) -> DeviceFacts: ...

    def allocate(self, nbytes: int) -> Buffer:
        """Uninitialised memory, at least one byte. Raises DeviceMemoryError where there is none left."""

    def write(self, buffer: Buffer, data: NDArray[Any], offset: int = 0) -> None:
        """Host to device, at a byte offset; `data` (C order) may be changed as soon as this returns."""

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        """Device to host from a byte offset, filling `out` (C order), after everything put in the queue before."""

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        """A binary. Raises CompileError with the compiler's log."""

    def load(self, binary: bytes) -> Program:
        """The program of a binary made on the same device and driver. Raises BackendError where it does not load."""

    def synchronize(self) -> None:
        """Wait until all commands have run. Raises DeviceLostError where one failed on the device."""
