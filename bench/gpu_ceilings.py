"""The most that this device does: multiply-adds of four kinds, and bytes moved, by kernels of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.bench.gpu_results import DOUBLE, MEMORY, WIDE, Ceiling
from hecore.errors import BackendError, DeviceMemoryError

if TYPE_CHECKING:
    from hecore.backends.device import Buffer, DeviceFacts
    from hecore.backends.programs import Programs
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_device import Clock

CHAINS = 8  # as in kernels/device/ceiling.c
STRIDES = 4
_SEED = 0x5EED1234
_BLOCK = 256  # threads, on a card
_FILL = 4  # times the threads that keep a card busy
_ROUNDS = 5
_LARGEST = 1 << 31  # bytes of an array that is copied: many times any cache
ARITHMETIC = (
    (WIDE, "ceiling", "multiply_add_wide"),
    ("32-bit multiply-add", "ceiling", "multiply_add_narrow"),
    ("64-bit multiply-high and add", "ceiling", "multiply_high"),
    (DOUBLE, "ceiling_fp64", "double_multiply_add"),
)


@dataclass(frozen=True)
class Bench:
    """A device with its programs and clock; `seconds` is how long one measurement may take, about."""

    backend: Backend
    clock: Clock
    seconds: float

    @property
    def _device(self) -> Any:
        return self.backend._device  # type: ignore[attr-defined]

    @property
    def _programs(self) -> Programs:
        found: Programs = self.backend._programs  # type: ignore[attr-defined]
        return found

    @property
    def _facts(self) -> DeviceFacts:
        found: DeviceFacts = self._device.facts
        return found

    @property
    def _defines(self) -> dict[str, int]:
        return {"BLOCK": self._facts.block if self._facts.serial else _BLOCK, "LANES": 1}

    def arithmetic(self, name: str, program: str, kernel: str) -> Ceiling:
        """Multiply-adds a second; the best of some rounds."""
        unit, threads = "multiply-adds/s", _FILL * self._facts.parallel
        try:
            out = self._device.allocate(8 * threads)

            def run(rounds: int) -> None:
                scalars = (np.uint32(_SEED), np.uint32(rounds), np.uint32(threads))
                self._programs.launch(program, kernel, self._defines, threads, out, *scalars)

            rounds = self._settled(run, 64)
            best = min(self.clock.measure(lambda: run(rounds))[0] for _ in range(_ROUNDS))
        except BackendError as error:
            return Ceiling(name, unit, None, str(error))
        return Ceiling(name, unit, CHAINS * rounds * threads / best)

    def _settled(self, run: Callable[[int], None], rounds: int) -> int:
        """Rounds of a launch that lasts long enough for the clock."""
        run(1)  # compiles
        while True:
            taken, _ = self.clock.measure(partial(run, rounds))
            if taken >= self.seconds / (2 * _ROUNDS) or rounds > 1 << 28:
                return rounds
            factor = self.seconds / _ROUNDS / max(taken, 1e-6)
            rounds = int(rounds * min(64.0, max(2.0, factor)))

    def memory(self, kernel: str) -> Ceiling:
        """Bytes read and written a second."""
        arrays = {"copy": 2, "triad": 3}[kernel]
        unit = "bytes/s"
        nbytes = min(_LARGEST, self._facts.largest, self._facts.memory // 8)
        if self._facts.serial:
            nbytes = min(nbytes, 1 << 26)
        try:
            buffers = self._buffers(arrays, nbytes)
            count = min(buffer.nbytes for buffer in buffers) // 8
            threads = -(-count // STRIDES)

            def run() -> None:
                scalars = (np.uint64(count), np.uint64(threads))
                self._programs.launch("ceiling", kernel, self._defines, threads, *buffers, *scalars)

            run()
            best = min(self.clock.measure(run)[0] for _ in range(_ROUNDS))
        except BackendError as error:
            return Ceiling(kernel, unit, None, str(error))
        return Ceiling(kernel, unit, 8 * count * arrays / best)

    def _buffers(self, arrays: int, nbytes: int) -> list[Buffer]:
        """Filled with no zeros; smaller where the device's memory is taken."""
        block = np.random.default_rng(_SEED).integers(1, 1 << 63, 1 << 17, dtype=np.uint64)
        while True:
            try:
                buffers = [self._device.allocate(nbytes) for _ in range(arrays)]
            except DeviceMemoryError:
                if nbytes < 1 << 20:
                    raise
                nbytes //= 2
                continue
            for buffer in buffers:
                for offset in range(0, nbytes - nbytes % block.nbytes, block.nbytes):
                    self._device.write(buffer, block, offset)
            return buffers


def measured(backend: Backend, clock: Clock, seconds: float) -> Iterator[Ceiling]:
    """All ceilings, about `seconds` each. Nothing for a backend that is no kernel backend."""
    if not hasattr(backend, "_programs"):
        return
    bench = Bench(backend, clock, seconds)
    for entry in ARITHMETIC:
        yield bench.arithmetic(*entry)
    for kernel in (MEMORY, "triad"):
        yield bench.memory(kernel)
