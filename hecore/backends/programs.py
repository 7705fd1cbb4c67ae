"""Device programs, compiled once: in memory by program and definitions, on disk by the hash of all that matters."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hecore.errors import BackendError, ParameterError
from hecore.kernels import device as kernels
from hecore.kernels.private import private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hecore.backends.device import Argument, Device, Program

_SCALARS = {"u32": np.uint32, "u64": np.uint64, "i32": np.int32}


class Programs:
    """Launches kernels of `kernels/device` on one device; thread-safe."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._loaded: dict[tuple[str, tuple[tuple[str, int], ...]], Program] = {}
        self._lock = threading.RLock()

    def launch(self, program: str, kernel: str, defines: Mapping[str, int], threads: int, *arguments: Argument) -> None:
        """At least `threads` threads of `kernel` (whole blocks of BLOCK: the kernel checks its bounds). 0 runs nothing.

        Arguments are checked against the manifest: their number, and scalar types exactly.
        """
        declared = kernels.manifest(program).kernels[kernel].arguments
        if len(declared) != len(arguments):
            raise ParameterError(f"kernel {kernel} takes {len(declared)} arguments, got {len(arguments)}")
        for (kind, name), argument in zip(declared, arguments, strict=True):
            pointer = kind.endswith("*")
            if isinstance(argument, np.generic) is pointer or (not pointer and type(argument) is not _SCALARS[kind]):
                raise ParameterError(f"kernel {kernel} takes {kind} {name}, got {type(argument).__name__}")
        if threads:
            block = defines["BLOCK"]
            self.program(program, defines).launch(kernel, -(-threads // block), block, arguments)

    def program(self, program: str, defines: Mapping[str, int]) -> Program:
        """Loaded, from memory, from disk, or compiled. Raises CompileError."""
        key = (program, tuple(sorted(defines.items())))
        with self._lock:
            found = self._loaded.get(key)
            if found is None:
                found = self._loaded[key] = self._load(program, defines)
            return found

    def _load(self, program: str, defines: Mapping[str, int]) -> Program:
        expected = set(kernels.manifest(program).defines)
        if set(defines) != expected:
            raise ParameterError(f"program {program} is specialised by {sorted(expected)}, got {sorted(defines)}")
        facts = self._device.facts
        source = kernels.source(program, facts.dialect)
        options = [f"-D{name}={value}" for name, value in sorted(defines.items())]
        digest = hashlib.sha256("\0".join((source, *options, facts.identity)).encode()).hexdigest()[:40]
        folder = private_folder("device")
        path = None if folder is None else folder / f"{program}-{digest}"
        if path is not None and path.exists():
            try:
                return self._device.load(path.read_bytes())
            except BackendError:  # written by a driver that says nothing of a change: compile again
                path.unlink(missing_ok=True)
        binary = self._device.compile(source, options)
        if path is not None:
            _write(path, binary)
        return self._device.load(binary)


def _write(path: Path, binary: bytes) -> None:
    """All of it or nothing, whoever else writes the same file."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(binary)
    os.replace(name, path)
