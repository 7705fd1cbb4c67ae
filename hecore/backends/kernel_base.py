"""What both halves of a kernel backend share: buffers, launches, chunks of what fits."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from hecore.backends.programs import Programs
from hecore.backends.secret_buffer import WORD_BYTES, SecretBuffer, Wiper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hecore.backends.device import Argument, Buffer, Device
    from hecore.backends.ring_protocol import Backend

_secrecy: ContextVar[bool] = ContextVar("hecore_secrecy", default=False)


class KernelBase:
    """A device, its programs, and the way arrays get there and back."""

    name: str

    def __init__(self, device: Device) -> None:
        self._device = device
        self._programs = Programs(device)
        self._wiper = Wiper(self._programs, device.facts.block)

    @property
    def device(self) -> str:
        return self._device.facts.description

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.device}>"

    def synchronize(self) -> None:
        """Wait until everything submitted has finished."""
        self._device.synchronize()

    @contextmanager
    def secrecy(self) -> Iterator[None]:
        """What is made in a `with` of it, by this context (thread, task), is wiped when it is let go."""
        token = _secrecy.set(True)
        try:
            yield
        finally:
            _secrecy.reset(token)

    def _whole(self) -> Backend:
        """This backend, of which the class at hand is a part."""
        return cast("Backend", self)

    def _empty(self, words: int, dtype: type[np.generic]) -> Buffer:
        """Uninitialised memory for `words` of `dtype`; for secrets in the scope of `secrecy`."""
        nbytes = words * np.dtype(dtype).itemsize
        return self._secret(nbytes).buffer if _secrecy.get() else self._device.allocate(nbytes)

    def _secret(self, nbytes: int) -> SecretBuffer:
        """Uninitialised memory for secrets: overwritten where its `with` block ends, or when its buffer is let go."""
        return SecretBuffer(self._device.allocate(max(1, -(-nbytes // WORD_BYTES)) * WORD_BYTES), self._wiper)

    def _to_device(self, data: NDArray[Any]) -> Buffer:
        """A copy of a host array in memory of its own."""
        buffer = self._empty(data.nbytes, np.uint8)
        self._device.write(buffer, np.ascontiguousarray(data))
        return buffer

    def _to_host(self, buffer: Buffer, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """A host copy of the first words of a buffer."""
        out = np.empty(shape, dtype=dtype)
        self._device.read(buffer, out)
        return out

    def _launch(
        self, program: str, kernel: str, defines: Mapping[str, int], threads: int, *arguments: Argument
    ) -> None:
        self._programs.launch(program, kernel, defines, threads, *arguments)
