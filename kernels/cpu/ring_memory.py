"""Memory for polynomials that is used again.

Polynomial arrays are hundreds of kilobytes that live for one operation. Allocated anew each time, their pages are
taken from the system and cleared, which costs as much as the arithmetic: blocks that no array refers to any more are
therefore kept for the next array of the same size. What they held stays in memory until it is overwritten, as with any
allocator.
"""

from __future__ import annotations

import os
import threading

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

KEPT_BYTES = 1 << 28  # idle at most; beyond, everything idle is let go
SMALL_BYTES = 1 << 13  # smaller arrays are NumPy's own
_ALIGNMENT = 64

_idle: dict[int, list[Words]] = {}  # by size in words
_idle_words = 0
_lock = threading.Lock()


def _renew_lock() -> None:
    """A child may be forked while another thread of the parent holds the lock; that thread is not in the child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_lock)


class _Lease:
    """Holds a block while arrays refer to it (as their `base`), and then hands it back."""

    __slots__ = ("__array_interface__", "_block")

    def __init__(self, block: Words, shape: tuple[int, ...]) -> None:
        self._block = block
        self.__array_interface__ = {
            "shape": shape,
            "typestr": "<u8",
            "data": (block.ctypes.data, False),
            "version": 3,
        }

    def __del__(self) -> None:
        if _lock is not None:  # as it is at exit, when modules are emptied before what others still hold
            _give_back(self._block)


def empty(shape: tuple[int, ...]) -> Words:
    """uint64 of this shape, C-contiguous, at a 64-byte boundary where it is not small; contents undefined."""
    size = 1
    for axis in shape:
        size *= axis
    if size * 8 < SMALL_BYTES:
        return np.empty(shape, dtype=np.uint64)
    array: Words = np.asarray(_Lease(_take(size), shape))
    return array


def _take(size: int) -> Words:
    global _idle_words
    # Never waits: an array may be let go at any moment, also while this very thread holds the lock.
    if _lock.acquire(blocking=False):
        try:
            blocks = _idle.get(size)
            if blocks:
                _idle_words -= size
                return blocks.pop()
        finally:
            _lock.release()
    raw = np.empty(size + _ALIGNMENT // 8, dtype=np.uint64)
    start = -raw.ctypes.data % _ALIGNMENT // 8
    return raw[start : start + size]


def _give_back(block: Words) -> None:
    global _idle_words
    if _lock.acquire(blocking=False):
        try:
            if (_idle_words + block.size) * 8 > KEPT_BYTES:
                _idle.clear()
                _idle_words = 0
            if block.nbytes <= KEPT_BYTES:
                _idle.setdefault(block.size, []).append(block)
                _idle_words += block.size
        finally:
            _lock.release()
