"""The OpenCL backend: `Device` over PyOpenCL, for any platform, PoCL among them.

HECORE_OPENCL chooses among several devices: part of a platform's or device's name, or "platform:device" by number.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.backends.device import Argument, Buffer, DeviceFacts
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.opencl_faults import translated
from hecore.errors import BackendError, BackendUnavailableError, DeviceLostError, DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ENVIRONMENT_VARIABLE = "HECORE_OPENCL"
_BLOCK_ON_CPU = 8
_BLOCK_ON_GPU = 64
_OLDEST = (1, 2)


class OpenClBackend(KernelBackend):
    """`Backend` for one OpenCL device."""

    name = "opencl"
    simulated = False

    def __init__(self, choice: str | None = None) -> None:
        super().__init__(OpenClDevice(choice))

    @staticmethod
    def found() -> list[str]:
        """Devices in words, the one that would be opened first; opens none. Raises BackendUnavailableError."""
        import pyopencl as cl

        return [_described(device) for device in _matching(cl, os.environ.get(ENVIRONMENT_VARIABLE, ""))]


class OpenClBuffer:
    """Memory of a pool; PyOpenCL keeps what queued commands use."""

    def __init__(self, memory: Any, nbytes: int) -> None:
        self.memory = memory
        self.nbytes = nbytes


class OpenClDevice:
    """One device, one in-order queue. Once it is lost, every call raises DeviceLostError with the first reason."""

    def __init__(self, choice: str | None = None) -> None:
        import pyopencl as cl

        self._cl = cl
        self._device = _matching(cl, os.environ.get(ENVIRONMENT_VARIABLE, "") if choice is None else choice)[0]
        self._pid = os.getpid()
        self._lost = ""
        try:
            self._context = cl.Context([self._device])
            self._queue = cl.CommandQueue(self._context)
        except cl.Error as error:
            raise BackendUnavailableError(f"cannot use OpenCL device {self._device.name!r}: {error}") from error
        self._allocator = cl.tools.ImmediateAllocator(self._queue)
        self._pool = cl.tools.MemoryPool(self._allocator)
        self.facts = _facts(cl, self._device)

    def allocate(self, nbytes: int) -> OpenClBuffer:
        self._check()
        if nbytes > self.facts.largest:
            raise DeviceMemoryError(f"cannot hold {nbytes} bytes in one buffer: the device allows {self.facts.largest}")
        return OpenClBuffer(self._guarded(f"allocating {nbytes} bytes", lambda: self._taken(max(1, nbytes))), nbytes)

    def _taken(self, nbytes: int) -> Any:
        if nbytes <= self.facts.largest // 2:
            return self._pool.allocate(nbytes)
        try:  # the pool rounds up, here perhaps beyond what one buffer may be
            return self._allocator(nbytes)
        except self._cl.Error:
            self._pool.free_held()
            return self._allocator(nbytes)

    def write(self, buffer: Buffer, data: NDArray[Any], offset: int = 0) -> None:
        self._check()
        if data.nbytes:
            self._guarded(
                f"copying {data.nbytes} bytes to the device",
                lambda: self._cl.enqueue_copy(
                    self._queue, _memory(buffer), np.ascontiguousarray(data), dst_offset=offset, is_blocking=True
                ),
            )

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        self._check()
        if out.nbytes:
            self._guarded(
                f"copying {out.nbytes} bytes from the device",
                lambda: self._cl.enqueue_copy(self._queue, out, _memory(buffer), src_offset=offset, is_blocking=True),
            )

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        self._check()

        def build() -> Any:
            program = self._cl.Program(self._context, source)
            program.build(options=["-cl-std=CL1.2", *options], devices=[self._device])
            return program.get_info(self._cl.program_info.BINARIES)[0]

        return bytes(self._guarded("compiling", build))

    def load(self, binary: bytes) -> OpenClProgram:
        self._check()

        def build() -> Any:
            return self._cl.Program(self._context, [self._device], [binary]).build()

        return OpenClProgram(self, self._guarded("loading a binary", build))

    def synchronize(self) -> None:
        self._check()
        self._guarded("waiting for the device", self._queue.finish)

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise DeviceLostError(
                "cannot use an OpenCL device in a process forked after it was opened: its driver's threads stayed "
                "behind. Start workers with the 'spawn' method, or first use the device in the child"
            )
        if self._lost:
            raise DeviceLostError(self._lost)

    def _guarded(self, what: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except self._cl.Error as error:
            raise self._translated(error, what) from error

    def _translated(self, error: Exception, what: str) -> BackendError:
        found = translated(error, what, self.facts.description)
        if isinstance(found, DeviceLostError):
            self._lost = str(found)
        return found


class OpenClProgram:
    """Kernels by name. Setting arguments and queueing is one step, under a lock: a kernel object keeps arguments."""

    def __init__(self, device: OpenClDevice, program: Any) -> None:
        self._device = device
        self._program = program
        self._kernels: dict[str, Any] = {}
        self._lock = threading.Lock()

    def launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        self._device._check()
        self._device._guarded(f"running kernel {kernel}", lambda: self._launch(kernel, blocks, block, arguments))

    def _launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        with self._lock:
            found = self._kernels.get(kernel)
            if found is None:
                found = self._kernels[kernel] = self._device._cl.Kernel(self._program, kernel)
            found.set_args(*(_memory(a) if isinstance(a, OpenClBuffer) else a for a in arguments))
            self._device._cl.enqueue_nd_range_kernel(self._device._queue, found, (blocks * block,), (block,))


def _memory(buffer: Buffer) -> Any:
    assert isinstance(buffer, OpenClBuffer)
    return buffer.memory


def _matching(cl: Any, choice: str) -> list[Any]:
    """The devices that `choice` names, or all: GPUs first, then accelerators, then processors. At least one."""
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        raise BackendUnavailableError(
            "cannot use OpenCL: no driver found. Install your card's, or PoCL for the processor: "
            "pip install pocl-binary-distribution"
        ) from error
    found = [(f"{i}:{j}", p, d) for i, p in enumerate(platforms) for j, d in enumerate(p.get_devices())]
    matching = [
        entry for entry in found if not choice or choice == entry[0] or choice in f"{entry[1].name} {entry[2].name}"
    ]
    if not matching:
        listed = "; ".join(f"{at} {p.name}, {d.name}" for at, p, d in found) or "none"
        raise BackendUnavailableError(
            f"cannot use OpenCL: looked for a device like {choice!r}, found {listed}. Set {ENVIRONMENT_VARIABLE} to "
            f"part of such a name or to its number, or install the driver of the device that you want"
        )
    kinds = (cl.device_type.GPU, cl.device_type.ACCELERATOR, cl.device_type.CPU)
    return sorted(
        (d for _, _, d in matching), key=lambda d: [*(bool(d.type & kind) for kind in kinds), True].index(True)
    )


def _described(device: Any) -> str:
    return f"{device.name.strip()} ({device.platform.name}, {device.version.strip()})"


def _facts(cl: Any, device: Any) -> DeviceFacts:
    if not device.endian_little or device.address_bits != 64:
        raise BackendUnavailableError(f"cannot use OpenCL device {device.name!r}: it is not little-endian with 64 bits")
    spoken = tuple(int(part) for part in device.version.split()[1].split("."))  # "OpenCL 1.2 and more words"
    if spoken < _OLDEST or not device.compiler_available:
        raise BackendUnavailableError(
            f"cannot use OpenCL device {device.name!r}: its driver speaks {device.version.strip()!r} "
            f"{'with' if device.compiler_available else 'without'} a compiler, needed are OpenCL 1.2 and a compiler. "
            f"Install a newer driver"
        )
    on_cpu = bool(device.type & cl.device_type.CPU)
    block = min(_BLOCK_ON_CPU if on_cpu else _BLOCK_ON_GPU, device.max_work_group_size)
    return DeviceFacts(
        dialect="opencl",
        description=_described(device),
        identity="\0".join((device.platform.version, device.name, device.version, device.driver_version)),
        lanes=1,
        block=block,
        parallel=device.max_compute_units * (block if on_cpu else 2048),
        memory=device.global_mem_size,
        largest=device.max_mem_alloc_size,
        serial=on_cpu,
    )
