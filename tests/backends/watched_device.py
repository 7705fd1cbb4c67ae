"""An OpenCL device that tells what was asked of it, keeps what was given back, and refuses what it is told to."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.opencl import OpenClDevice
from hecore.errors import BackendError, DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hecore.backends.device import Argument, Buffer, Program


class WatchedDevice:
    """`Device`. No memory goes back to the pool, so that what was left in it can be read."""

    def __init__(self) -> None:
        self._device = OpenClDevice()
        self.facts = self._device.facts
        self.buffers: list[Buffer] = []  # second handles: the first are let go as ever
        self.launches: list[tuple[str, int]] = []  # kernel, threads
        self.largest = self.facts.largest  # of what is given
        self.fails_at: int | None = None  # number of the launch that fails

    def allocate(self, nbytes: int) -> Buffer:
        if nbytes > self.largest:
            raise DeviceMemoryError(f"{nbytes} bytes are more than the test allows")
        buffer = self._device.allocate(nbytes)
        self._device.write(buffer, np.full(nbytes, 0xA5, dtype=np.uint8))  # nothing may count on zeros
        self.buffers.append(copy.copy(buffer))
        return buffer

    def write(self, buffer: Buffer, data: NDArray[Any], offset: int = 0) -> None:
        self._device.write(buffer, data, offset)

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        self._device.read(buffer, out, offset)

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        return self._device.compile(source, options)

    def load(self, binary: bytes) -> Program:
        return WatchedProgram(self, self._device.load(binary))

    def synchronize(self) -> None:
        self._device.synchronize()

    def contents(self, first: int = 0) -> list[bytes]:
        """Of all memory given from number `first` on."""
        found = []
        for buffer in self.buffers[first:]:
            out = np.empty(buffer.nbytes, dtype=np.uint8)
            self.read(buffer, out)
            found.append(out.tobytes())
        return found

    @contextmanager
    def refusing(self, nbytes: int) -> Iterator[None]:
        """Buffers beyond `nbytes` are refused."""
        self.largest = nbytes
        try:
            yield
        finally:
            self.largest = self.facts.largest

    @contextmanager
    def failing(self, launch: int) -> Iterator[None]:
        """The launch of that number from now on fails; wipes do not count."""
        self.fails_at = launch
        try:
            yield
        finally:
            self.fails_at = None


class WatchedProgram:
    """`Program` of a `WatchedDevice`."""

    def __init__(self, device: WatchedDevice, program: Program) -> None:
        self._device = device
        self._program = program

    def launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        if kernel != "wipe":
            self._device.launches.append((kernel, blocks * block))
            if self._device.fails_at is not None:
                self._device.fails_at -= 1
                if self._device.fails_at < 0:
                    raise BackendError(f"{kernel} fails because the test says so")
        self._program.launch(kernel, blocks, block, arguments)


class WatchedBackend(KernelBackend):
    """A backend on such a device."""

    name = "opencl"

    def __init__(self, memory_budget: int | None = None) -> None:
        self.watched = WatchedDevice()
        super().__init__(self.watched, memory_budget)
