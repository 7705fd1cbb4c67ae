"""The CUDA backend: `Device` over CuPy, for NVIDIA cards of compute capability 7.5 and later.

HECORE_CUDA chooses among several cards, by number or part of the name; `CudaBackend(device=1)` opens another one beside
it. CuPy gives the memory pool, streams, NVRTC and the loading of modules; none of its arrays is used.

One stream runs everything in order, so that memory given back to the pool by a command in the queue may serve the next
one. Copies are described in `cuda_staging`, errors in `cuda_faults`. After an error that CUDA cannot recover from,
every call raises DeviceLostError with the first reason.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from hecore.backends import cuda_faults
from hecore.backends.cuda_staging import Download, Upload, pieces
from hecore.backends.device import Argument, Buffer, DeviceFacts
from hecore.backends.kernel_backend import KernelBackend
from hecore.errors import BackendError, BackendUnavailableError, CompileError, DeviceLostError, DeviceMemoryError
from hecore.kernels.device import cuda_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

ENVIRONMENT_VARIABLE = "HECORE_CUDA"
_BLOCK = 128
_LANES = 32
_OLDEST = (7, 5)  # that the compiler of CUDA 13 knows; the prelude's shuffles need 7.0

T = TypeVar("T")


class CudaBackend(KernelBackend):
    """`Backend` for one NVIDIA card."""

    name = "cuda"
    simulated = False

    def __init__(self, device: int | str | None = None) -> None:
        self._card = CudaDevice(device)
        super().__init__(self._card)

    def elapsed(self, function: Callable[[], object]) -> float:
        """Seconds that the card spent on what `function` put in the queue, by events of the card."""
        return self._card.elapsed(function)

    def record(self, function: Callable[[], T]) -> Recording[T]:
        """A CUDA graph of what `function` launches, to be launched again as one command.

        `function` runs twice: once for what is made at a first call (programs, tables), then recorded, not executed.
        It must be the same sequence each time and must neither upload nor download. A replay reads the operands where
        they lie now and writes to the same results. Raises BackendError where it cannot be recorded.
        """
        return self._card.record(function)


class CudaBuffer:
    """Memory of a pool. Commands in the queue need no reference: the pool's memory is reused in their order."""

    def __init__(self, memory: Any, nbytes: int) -> None:
        self.memory = memory
        self.nbytes = nbytes


class CudaDevice:
    """One card, one stream. Thread-safe: a command is put in the queue under a lock, and nobody waits under it."""

    def __init__(self, choice: int | str | None = None) -> None:
        import cupy

        self._cuda: Any = cupy.cuda
        self._faults = (
            self._cuda.runtime.CUDARuntimeError,
            self._cuda.driver.CUDADriverError,
            self._cuda.memory.OutOfMemoryError,
        )
        self._pid = os.getpid()
        self._lost = ""
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._index, properties = _choose(
            self._cuda.runtime, os.environ.get(ENVIRONMENT_VARIABLE, "") if choice is None else str(choice)
        )
        self._capability = f"{properties['major']}{properties['minor']}"
        self.facts = _facts(self._cuda, properties)
        self._upload: Upload | None = None  # made at the first copy
        self._download: Download | None = None
        self._recorded: list[Any] | None = None  # what a recording must keep; None while none is made
        try:
            with self._cuda.Device(self._index):
                self._pool = self._cuda.MemoryPool()
                self._stream = self._cuda.Stream(non_blocking=True)
        except self._faults as error:
            raise self._not_available(error) from error

    def allocate(self, nbytes: int) -> CudaBuffer:
        with self._guarded(f"allocating {nbytes} bytes"), self._stream:
            size = max(1, nbytes)
            return CudaBuffer(self._retried(lambda: self._pool.malloc(size)), nbytes)

    def write(self, buffer: Buffer, data: NDArray[Any], offset: int = 0) -> None:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        assert 0 <= offset <= offset + flat.nbytes <= buffer.nbytes, "a copy stays within its buffer"
        if flat.nbytes:
            with self._guarded(f"copying {flat.nbytes} bytes to the card"):
                self._not_while_recording()
                if self._upload is None:
                    self._upload = self._retried(lambda: Upload(self._cuda, self._stream))
                self._upload.copy(_memory(buffer).ptr + offset, flat)

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        what = f"copying {out.nbytes} bytes from the card"
        assert 0 <= offset <= offset + out.nbytes <= buffer.nbytes, "a copy stays within its buffer"
        assert out.flags.c_contiguous, "a copy fills whole rows"
        if not out.nbytes:
            return
        flat = out.reshape(-1).view(np.uint8)
        with self._guarded(what):
            self._not_while_recording()  # before the lock of readers: one of them may wait for ours
        with self._reading:
            with self._guarded(what):
                if self._download is None:
                    self._download = Download(self._cuda, self._stream)
                download = self._download
            source = _memory(buffer).ptr + offset
            waiting: tuple[int, Any, NDArray[np.uint8]] | None = None
            for i, (start, nbytes) in enumerate(pieces(flat.nbytes)):
                with self._guarded(what):
                    event = download.start(i % 2, source + start, nbytes)
                if waiting is not None:
                    self._waited(what, lambda piece: download.finish(*piece), waiting)
                waiting = i % 2, event, flat[start : start + nbytes]
            self._waited(what, lambda piece: download.finish(*piece), waiting)

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        self._check()
        nvrtc = self._cuda.nvrtc
        try:
            program = nvrtc.createProgram(source, "program.cu", (), ())
        except (RuntimeError, ImportError) as error:  # CuPy loads the library at its first use
            raise BackendUnavailableError(
                f"cannot compile for CUDA: {error}. Install the compiler: pip install nvidia-cuda-nvrtc"
            ) from error
        try:
            nvrtc.compileProgram(program, (*cuda_options(self._capability), *options))
            binary: bytes = nvrtc.getCUBIN(program)
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise CompileError(f"cannot compile for {self.facts.description}: {error}\n{log}") from error
        finally:
            nvrtc.destroyProgram(program)
        return binary

    def load(self, binary: bytes) -> CudaProgram:
        with self._guarded("loading a binary"):
            module = self._cuda.Module()
            module.load(binary)
            return CudaProgram(self, module)

    def synchronize(self) -> None:
        what = "waiting for the card"
        with self._guarded(what):
            self._not_while_recording()
            event = self._cuda.Event(disable_timing=True)
            event.record(self._stream)
        self._waited(what, lambda found: found.synchronize(), event)

    # -- beyond the six methods ---------------------------------------------------------------------------------

    def elapsed(self, function: Callable[[], object]) -> float:
        """Seconds between events of the card before and after what `function` puts in the queue."""
        events = [self._cuda.Event() for _ in range(2)]
        with self._guarded("timing"):
            events[0].record(self._stream)
        function()
        with self._guarded("timing"):
            events[1].record(self._stream)
        self._waited("timing", lambda found: found.synchronize(), events[1])
        return float(self._cuda.get_elapsed_time(*events)) / 1000

    def record(self, function: Callable[[], T]) -> Recording[T]:
        """See `CudaBackend.record`. Other threads wait meanwhile.

        Memory that `function` takes comes from a pool of the recording's own, so that nothing else ever gets it; what
        it uses of others is referred to by the recording. No garbage is collected: finalisers launch kernels.
        """
        function()
        collecting = gc.isenabled()
        with self._lock:
            pool, self._pool, self._recorded = self._pool, self._cuda.MemoryPool(), []
            gc.disable()
            try:
                with self._guarded("recording"):
                    self._stream.begin_capture()
                try:
                    result = function()
                except BaseException:
                    self._abandon()
                    raise
                with self._guarded("recording"):
                    graph = self._stream.end_capture()
                return Recording(self, graph, result, [self._pool, *self._recorded])
            finally:
                self._pool, self._recorded = pool, None
                if collecting:
                    gc.enable()

    def _abandon(self) -> None:
        """End a capture that failed; what it says of the failure is known already."""
        try:
            with self._guarded("recording"):
                self._stream.end_capture()
        except BackendError:
            return

    # -- faults -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise DeviceLostError(
                "cannot use a CUDA device in a process forked after it was opened: CUDA does not survive a fork. Start "
                "workers with the 'spawn' method, or first use the card in the child"
            )
        if self._lost:
            raise DeviceLostError(self._lost)

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """The card is current and the queue ours; CUDA's errors are typed."""
        self._check()
        with self._lock:
            try:
                with self._cuda.Device(self._index):
                    yield
            except self._faults as error:
                raise self._translated(error, what) from error

    def _waited(self, what: str, wait: Callable[[Any], object], argument: Any) -> None:
        """`wait(argument)`, not under the lock: other threads fill the queue meanwhile."""
        try:
            wait(argument)
        except self._faults as error:
            raise self._translated(error, what) from error

    def _retried(self, allocation: Callable[[], Any]) -> Any:
        """Memory, where need be after the pool gave back to the card what it keeps."""
        try:
            return allocation()
        except self._faults as error:
            if not isinstance(self._translated(error, "allocating"), DeviceMemoryError):
                raise
        self._pool.free_all_blocks()
        return allocation()

    def _translated(self, error: BaseException, what: str) -> BackendError:
        found = cuda_faults.translated(error, what, self.facts.description, self._memory_in_use())
        if isinstance(found, DeviceLostError):
            self._lost = self._lost or str(found)
        return found

    def _memory_in_use(self) -> str:
        """Whose the card's memory is: another process, or another library in this one, may share it."""
        try:
            with self._cuda.Device(self._index):
                free, total = self._cuda.runtime.memGetInfo()
                ours = self._pool.total_bytes()
        except self._faults:
            return ""
        others = max(0, total - free - ours)
        return f" (of {total} bytes this backend holds {ours}, other processes and libraries {others}, {free} are free)"

    def _not_available(self, error: BaseException) -> BackendUnavailableError:
        return _not_available(self._cuda.runtime, error)

    def _not_while_recording(self) -> None:
        if self._recorded is not None:
            raise BackendError(
                "cannot record: the function copies between host and card or waits for it; do that before and after"
            )


class CudaProgram:
    """Kernels of one module by name."""

    def __init__(self, device: CudaDevice, module: Any) -> None:
        self._device = device
        self._module = module
        self._kernels: dict[str, Any] = {}

    def launch(self, kernel: str, blocks: int, block: int, arguments: Sequence[Argument]) -> None:
        device = self._device
        with device._guarded(f"running kernel {kernel}"):
            found = self._kernels.get(kernel)
            if found is None:
                found = self._kernels[kernel] = self._module.get_function(kernel)
            found((blocks,), (block,), tuple(_argument(a) for a in arguments), stream=device._stream)
            if device._recorded is not None:
                device._recorded.append((self, arguments))


class Recording(Generic[T]):
    """A CUDA graph and the memory that it works in, which is its own for as long as it lives.

    NOTE: written after CuPy's documented behaviour; it has never run on a card.
    """

    def __init__(self, device: CudaDevice, graph: Any, result: T, kept: Sequence[Any]) -> None:
        self._device = device
        self._graph = graph
        self._kept = kept
        self.result = result
        """What the function returned: the same memory after each replay, empty before the first."""

    def replay(self) -> T:
        """Put the whole sequence in the queue again; `result` holds it once that has run."""
        with self._device._guarded("replaying a recording"):
            self._graph.launch(stream=self._device._stream)
        return self.result


def _memory(buffer: Buffer) -> Any:
    assert isinstance(buffer, CudaBuffer)
    return buffer.memory


def _argument(argument: Argument) -> Any:
    """As CuPy takes it. It would pass None as the address of no argument at all, not as a null pointer."""
    if isinstance(argument, CudaBuffer):
        return argument.memory
    return np.uint64(0) if argument is None else argument


def _choose(runtime: Any, choice: str) -> tuple[int, dict[str, Any]]:
    """The card that `choice` names by number or part of its name, else the first: (number, properties)."""
    try:
        found = [(i, runtime.getDeviceProperties(i)) for i in range(runtime.getDeviceCount())]
    except RuntimeError as error:
        raise _not_available(runtime, error) from error
    for i, properties in found:
        if not choice or choice == str(i) or (not choice.isdecimal() and choice in _name(properties)):
            if (properties["major"], properties["minor"]) < _OLDEST:
                raise BackendUnavailableError(
                    f"cannot use {_name(properties)}: its compute capability is "
                    f"{properties['major']}.{properties['minor']}, {_OLDEST[0]}.{_OLDEST[1]} or later is needed"
                )
            return i, properties
    listed = "; ".join(f"{i} {_name(properties)}" for i, properties in found) or "none"
    raise BackendUnavailableError(f"cannot use CUDA: looked for a card like {choice!r}, found {listed}")


def _not_available(runtime: Any, error: BaseException) -> BackendUnavailableError:
    return cuda_faults.not_available(error, runtime.driverGetVersion(), runtime.runtimeGetVersion())


def _name(properties: dict[str, Any]) -> str:
    name: bytes = properties["name"]
    return name.decode(errors="replace")


def _facts(cuda: Any, properties: dict[str, Any]) -> DeviceFacts:
    capability = f"{properties['major']}.{properties['minor']}"
    driver = cuda_faults.version(cuda.runtime.driverGetVersion())
    try:
        compiler = ".".join(map(str, cuda.nvrtc.getVersion()))
    except (RuntimeError, ImportError):  # nothing can be compiled, which `compile` says; cached binaries load
        compiler = "none"
    return DeviceFacts(
        dialect="cuda",
        description=f"{_name(properties)} (compute capability {capability}, CUDA {driver})",
        identity="\0".join((_name(properties), capability, driver, compiler)),
        lanes=_LANES,
        block=_BLOCK,
        parallel=properties["multiProcessorCount"] * properties["maxThreadsPerMultiProcessor"],
        memory=properties["totalGlobalMem"],
        largest=properties["totalGlobalMem"],
    )
