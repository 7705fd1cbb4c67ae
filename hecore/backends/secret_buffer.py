"""Device memory that held secrets is overwritten with zeros before it goes back to its pool.

A buffer is guarded by a finaliser that holds a second handle to the same memory: whether a `with` block ends, an error
unwinds the stack or the last array that used it is let go, the zeros are in the queue before the memory is given back,
and commands run in their order. The rules of finalisers decide the rest:

- They run wherever Python drops an object, which may be in the middle of a launch. `wipe` is a program of its own, that
  nothing else launches, and its lock is only ever tried: who fails leaves the buffer to the one who holds it.
- They cannot report. A buffer whose zeros could not be written is kept for ever rather than given back.
- They also run in a forked child, where the memory is not the child's to touch: there the device refuses.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from hecore.errors import BackendError, DeviceLostError

if TYPE_CHECKING:
    from types import TracebackType

    from hecore.backends.device import Buffer
    from hecore.backends.programs import Programs

WORD_BYTES = 8
"""The size of a guarded buffer is a multiple of it."""


class Wiper:
    """Writes zeros on one device, from any thread and from any finaliser."""

    def __init__(self, programs: Programs, block: int) -> None:
        self._programs = programs
        self._defines = {"BLOCK": block, "LANES": 1}
        self._pending: deque[Buffer] = deque()
        self._kept: list[Buffer] = []
        self._lock = threading.Lock()

    def guard(self, buffer: Buffer) -> weakref.finalize[[Buffer], Buffer]:
        """Wipe `buffer` when it is let go, or when the finaliser is called. Raises CompileError, now and not then."""
        self._programs.program("wipe", self._defines)
        return weakref.finalize(buffer, self.wipe, copy.copy(buffer))

    def wipe(self, buffer: Buffer) -> None:
        """Put zeros in the queue for the whole buffer; a DeviceLostError is none here: the memory went with it."""
        self._pending.append(buffer)
        while self._pending and self._lock.acquire(blocking=False):  # asked again after each release: none is missed
            try:
                self._sweep()
            finally:
                self._lock.release()

    def _sweep(self) -> None:
        while self._pending:
            buffer = self._pending.popleft()
            words = buffer.nbytes // WORD_BYTES
            try:
                self._programs.launch("wipe", "wipe", self._defines, words, buffer, np.uint64(words))
            except DeviceLostError:
                continue
            except BackendError:
                self._kept.append(buffer)
                raise


class SecretBuffer:
    """Memory for secrets: wiped where its `with` block ends, or else when `buffer` is let go.

    `with backend._secret(nbytes) as buffer` suits what one operation needs; `backend._secret(nbytes).buffer` is a
    buffer like any other, for arrays that stay.
    """

    def __init__(self, buffer: Buffer, wiper: Wiper) -> None:
        self.buffer = buffer
        self._finalizer = wiper.guard(buffer)

    def __enter__(self) -> Buffer:
        return self.buffer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finalizer()
