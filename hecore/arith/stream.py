"""AES-256-CTR as a stream of bytes: under a key of the caller's, or secret bytes under a key that nobody sees."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from hecore.errors import RandomnessReuseError

_SLACK = 15  # OpenSSL's update may write one block less a byte beyond its input
_ZEROS = memoryview(bytes(1 << 20))


class Keystream:
    """AES-256-CTR under one 32-byte key, from the counter block 0 on."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def seek(self, counter: bytes) -> None:
        """Go on from another counter block (16 bytes)."""
        self._cipher.reset_nonce(counter)

    def read(self, nbytes: int) -> NDArray[np.uint8]:
        """The next `nbytes` bytes, the caller's own."""
        out = np.empty(nbytes + _SLACK, dtype=np.uint8)
        target = out.data
        for start in range(0, nbytes, len(_ZEROS)):
            stop = min(nbytes, start + len(_ZEROS))
            self._cipher.update_into(_ZEROS[: stop - start], target[start : stop + _SLACK])
        return out[:nbytes]


class SecretStream:
    """Secret random bytes: AES-256-CTR under a fresh key from the operating system, which nobody else ever sees.

    Safe to share between threads. Ends in a forked child, where it would repeat the parent's (RandomnessReuseError);
    cannot be pickled or copied, for the same reason.
    """

    def __init__(self) -> None:
        self._start()
        _living.add(self)

    def _start(self) -> None:
        self._stream: Keystream | None = Keystream(os.urandom(32))
        self._lock = threading.Lock()

    def _forget(self) -> None:
        self._stream = None
        self._lock = threading.Lock()  # another thread of the parent may have held the old one

    def read(self, nbytes: int) -> NDArray[np.uint8]:
        """The next `nbytes` bytes, given to nobody else."""
        with self._lock:
            if self._stream is None:
                raise RandomnessReuseError("cannot go on with a stream of the parent process: make a new one")
            return self._stream.read(nbytes)

    def __reduce__(self) -> str:
        raise RandomnessReuseError("cannot pickle or copy a stream of secret randomness: its copy would repeat it")


_living: WeakSet[SecretStream] = WeakSet()


def _forget_all() -> None:
    for stream in list(_living):
        stream._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
