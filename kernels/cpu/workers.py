"""Threads for the kernels: our own pool, because Numba's aborts or deadlocks where frameworks thread and fork.

Kernels release the GIL; a batch is cut into as many contiguous shares as there are threads and the calling thread
takes the first. The pool is dropped in a forked child and made anew there on first use.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hecore.errors import ParameterError


def thread_count() -> int:
    """HECORE_THREADS, or the CPUs this process may use."""
    text = os.environ.get("HECORE_THREADS", "")
    if text:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= 1024):
            raise ParameterError(f"HECORE_THREADS={text!r} is not allowed: an integer from 1 to 1024")
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class Workers:
    """`threads` threads in all, the caller's included."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool = None
        self._lock = threading.Lock()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="hecore")
            return self._pool

    def run(self, count: int, task: Callable[[int, int], None], *, step: int = 1) -> None:
        """task(first, last) over [0, count), cut at multiples of `step`; returns when every share is done."""
        blocks = -(-count // step)
        shares = min(self.threads, blocks)
        if shares <= 1:
            if count:
                task(0, count)
            return
        cuts = [min(count, step * (blocks * i // shares)) for i in range(shares + 1)]
        pool = self._executor()
        futures = [pool.submit(task, cuts[i], cuts[i + 1]) for i in range(1, shares)]
        try:
            task(cuts[0], cuts[1])
        finally:
            for future in futures:
                future.result()
