"""Obfuscators made in advance by a background thread; each leaves the pool once.

A pool belongs to one key and one backend. It is empty in a forked child (both processes would otherwise use the
same randomness), refuses to be pickled, and makes what it lacks on the spot, so that `take` never waits for the thread.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from hecore.backends import registry
from hecore.backends.protocol import saturating_batch
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, PoolClosedError
from hecore.paillier.keys import PublicKey, SecretKey
from hecore.paillier.obfuscation import own_obfuscators, public_obfuscators
from hecore.paillier.validation import as_integer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from hecore.backends.protocol import IntegerBackend, ResidueArray


class ObfuscatorPool:
    """Up to `capacity` obfuscators for one key, refilled in the background. Close it, or use it in a `with` block.

    `key` is a PublicKey, or a SecretKey for its faster way to the same distribution (such a pool is secret
    material: its memory tells nothing that ciphertexts do not, but its key is the secret one). `device` names the
    backend, the current one by default. Safe to share between threads.
    """

    def __init__(self, key: PublicKey | SecretKey, capacity: int, device: str | None = None) -> None:
        capacity = as_integer("capacity", capacity)
        if capacity < 1:
            raise ParameterError(f"cannot make a pool of capacity {capacity}: it must hold at least one obfuscator")
        make: Callable[[int, IntegerBackend], ResidueArray]
        if isinstance(key, PublicKey):
            self.public_key, make = key, partial(public_obfuscators, key)
        elif isinstance(key, SecretKey):
            self.public_key, make = key.public_key, partial(own_obfuscators, key)
        else:
            raise OperandTypeError(f"cannot make a pool for a {type(key).__name__}: a key is needed")
        self.capacity = capacity
        self.backend = registry.current() if device is None else registry.get(device)
        self._make = make
        # Made at a time: enough to fill the device, few enough to stop soon after `close`.
        self._chunk = min(saturating_batch(self.backend), -(-capacity // 4))
        self._closed = False
        self._start_empty()
        _living.add(self)

    def _start_empty(self) -> None:
        """A new lock, no obfuscators and no thread: at birth, and again in a forked child."""
        self._changed = threading.Condition()
        # Chunks with the range still to be given out. A range moves forward under the lock and never back.
        self._chunks: deque[tuple[ResidueArray, int, int]] = deque()
        self._available = 0
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def available(self) -> int:
        """Obfuscators ready now."""
        return self._available

    def take(self, count: int) -> ResidueArray:
        """`count` obfuscators modulo n^2, shape (count,), given to nobody else; those missing are made here.

        Raises PoolClosedError after `close`, and whatever stopped the background thread.
        """
        count = as_integer("count", count)
        if count < 0:
            raise ParameterError(f"cannot take {count} obfuscators: the count must be at least 0")
        ranges: list[tuple[ResidueArray, int, int]] = []
        missing = count
        with self._changed:
            self._check_open()
            while missing and self._chunks:
                chunk, start, stop = self._chunks.popleft()
                end = min(stop, start + missing)
                ranges.append((chunk, start, end))
                missing -= end - start
                if end < stop:
                    self._chunks.appendleft((chunk, end, stop))
            self._available -= count - missing
            self._ensure_thread()
            self._changed.notify_all()
        parts = [self.backend.take(chunk, np.arange(start, stop)) for chunk, start, stop in ranges]
        if missing or not parts:
            parts.append(self._make(missing, self.backend))
        return parts[0] if len(parts) == 1 else self.backend.concatenate(parts)

    def take_on(self, count: int, backend: IntegerBackend) -> ResidueArray:
        """`take`, for a caller who works on `backend`; BackendMismatchError where the pool lives elsewhere."""
        if backend is not self.backend:
            raise BackendMismatchError(
                f"cannot use obfuscators on {self.backend.name!r} in an operation on {backend.name!r}: "
                f"make the pool with device={backend.name!r}"
            )
        return self.take(count)

    def wait_until_full(self, timeout: float | None = None) -> bool:
        """Start the thread and wait until `capacity` obfuscators are ready; False where `timeout` seconds pass first.

        Raises PoolClosedError, and whatever stopped the background thread.
        """
        with self._changed:
            self._check_open()
            self._ensure_thread()
            self._changed.wait_for(
                lambda: self._closed or self._failure is not None or self._available >= self.capacity, timeout
            )
            self._check_open()
            return self._available >= self.capacity

    def close(self) -> None:
        """Stop the thread and drop every obfuscator. A second call does nothing."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._available = 0
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> ObfuscatorPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._available} of {self.capacity}"
        return f"<ObfuscatorPool {state}, key {self.public_key.fingerprint}, on {self.backend.name}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise OperandTypeError("an obfuscator pool is never pickled or copied: its randomness would be used twice")

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosedError("cannot use this obfuscator pool: it was closed")
        if self._failure is not None:
            raise self._failure

    def _ensure_thread(self) -> None:
        """Start the filling thread on first use, in a forked child again. The lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fill, name="hecore-obfuscator-pool", daemon=True)
            self._thread.start()

    def _missing(self) -> int:
        """How many to make next."""
        with self._changed:
            return 0 if self._closed else min(self._chunk, self.capacity - self._available)

    def _fill(self) -> None:
        try:
            while True:
                with self._changed:
                    # Begin when a whole chunk is missing: one at a time would leave most lanes of a device idle.
                    self._changed.wait_for(lambda: self._closed or self._available + self._chunk <= self.capacity)
                while (size := self._missing()) > 0:
                    chunk = self._make(size, self.backend)
                    with self._changed:
                        if not self._closed:
                            self._chunks.append((chunk, 0, size))
                            self._available += size
                            self._changed.notify_all()
                if self._closed:
                    return
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever takes next, who gets it
            with self._changed:
                self._failure = error
                self._changed.notify_all()


_living: WeakSet[ObfuscatorPool] = WeakSet()


def _empty_after_fork() -> None:
    for pool in _living:
        pool._start_empty()


def _close_all() -> None:
    # A daemon thread inside a native kernel while the interpreter ends is a crash waiting to happen.
    for pool in list(_living):
        pool.close()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_empty_after_fork)
atexit.register(_close_all)
