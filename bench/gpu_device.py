"""A kernel backend as the bench sees it: its clock, what it compiles, and memory that holds rubbish at first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hecore.backends.device import Buffer
    from hecore.backends.ring_protocol import Backend

_POISON = 0xA5A5A5A5A5A5A5A5  # no digit, no residue below 2^61
_POISON_BYTES = 1 << 22  # of a buffer: what a bench of exactness needs, and quickly written


@dataclass(frozen=True)
class Clock:
    """`measure(function)` gives seconds by the device's clock and by the host's, from an idle device to an idle one."""

    backend: Backend

    @property
    def name(self) -> str:
        return "events of the card" if hasattr(self.backend, "elapsed") else "the host's clock around a wait"

    def measure(self, function: Callable[[], object]) -> tuple[float, float]:
        self.backend.synchronize()
        start = time.perf_counter()
        elapsed = getattr(self.backend, "elapsed", None)
        by_device: float | None = None
        if elapsed is None:
            function()
        else:
            by_device = float(elapsed(function))
        self.backend.synchronize()
        wall = time.perf_counter() - start
        return (wall if by_device is None else by_device), wall


@dataclass
class CompileLog:
    """What was compiled while it was attached: program, definitions, seconds and bytes of the binary."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def attached(self, backend: Backend) -> Iterator[CompileLog]:
        """Each compilation on `backend` meanwhile leaves an entry. Backends without a compiler leave none."""
        device = getattr(backend, "_device", None)
        compile_program = getattr(device, "compile", None)
        if compile_program is None:
            yield self
            return

        def timed(source: str, options: Sequence[str]) -> bytes:
            start = time.perf_counter()
            binary: bytes = compile_program(source, options)
            seconds = time.perf_counter() - start
            defines = [option.removeprefix("-D") for option in options if option.startswith("-D")]
            self.entries.append(
                {"program": _program(source), "defines": defines, "seconds": seconds, "bytes": len(binary)}
            )
            return binary

        with _replaced(device, "compile", timed):
            yield self


def _program(source: str) -> str:
    """The last file that is no header."""
    names = [line.split('"')[1] for line in source.splitlines() if line.startswith('#line 1 "')]
    return next((name.removesuffix(".c") for name in reversed(names) if name.endswith(".c")), "?")


@contextmanager
def poisoned(backend: Backend) -> Iterator[None]:
    """Fresh memory holds rubbish meanwhile, up to 4 MiB a buffer: what a kernel leaves unwritten shows."""
    device: Any = getattr(backend, "_device", None)
    allocate = getattr(device, "allocate", None)
    if allocate is None:
        yield
        return

    def rubbish(nbytes: int) -> Buffer:
        buffer: Buffer = allocate(nbytes)
        size = min(nbytes, _POISON_BYTES)
        if size:
            words = np.full(-(-size // 8), _POISON, dtype=np.uint64)
            device.write(buffer, words.view(np.uint8)[:size])
        return buffer

    with _replaced(device, "allocate", rubbish):
        yield


def traffic(backend: Backend, function: Callable[[], object]) -> int | None:
    """Bytes of device memory that `function` reads and writes, if each launch takes every buffer that it names once.

    That is what passes over whole arrays take; a launch that works on a part of an array counts too much. None for a
    backend without kernels.
    """
    programs: Any = getattr(backend, "_programs", None)
    if programs is None:
        return None
    launch, seen = programs.launch, 0

    def counted(program: str, kernel: str, defines: Mapping[str, int], threads: int, *arguments: Any) -> None:
        nonlocal seen
        if threads:
            seen += sum(
                {id(a): a.nbytes for a in arguments if a is not None and not isinstance(a, np.generic)}.values()
            )
        launch(program, kernel, defines, threads, *arguments)

    with _replaced(programs, "launch", counted):
        function()
    return seen


@contextmanager
def _replaced(target: Any, name: str, value: object) -> Iterator[None]:
    """An attribute of this one object, taken away again at the end."""
    setattr(target, name, value)
    try:
        yield
    finally:
        delattr(target, name)
