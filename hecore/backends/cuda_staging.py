"""Pinned host memory between arrays and a card, so that copies run while the host and the card do other things.

Uploads: the caller's array is copied to a piece of a ring of pinned memory, which frees the caller. A small piece goes
from there to its place in the compute stream. A large one goes, in a stream of its own and so beside running kernels,
to the same piece of a ring on the card; the compute stream then moves it to its place. (Straight to its place it could
not go: memory from the pool may still be read by kernels in the queue.) A piece is used again once the compute stream
has passed it.

Downloads: two pinned pieces in turn, one being filled by the card while the host empties the other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PIECE = 8 << 20
_PIECES = 4
_SMALL = 64 << 10
_ALIGNMENT = 256

Span = tuple[int, int]


class Ring:
    """Which pieces of a ring are under way. `event` is anything with `synchronize()`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._head = 0
        self._busy: deque[tuple[int, int, Any]] = deque()  # (start, end, event), oldest first

    def take(self, nbytes: int) -> Span:
        """The next `nbytes` (at most the ring's size), once whatever was there has left."""
        start = self._head
        if start + nbytes > self._size:
            while self._busy and self._busy[0][0] >= start:
                self._busy.popleft()[2].synchronize()
            start = 0
        end = start + -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        # In the order of the ring the oldest comes next, so that the first that is clear ends the wait.
        while self._busy and self._busy[0][0] < end and self._busy[0][1] > start:
            self._busy.popleft()[2].synchronize()
        self._head = end
        return start, end

    def give(self, span: Span, event: Any) -> None:
        """`span` is free again when `event` has happened."""
        self._busy.append((*span, event))


def pieces(nbytes: int) -> Iterator[tuple[int, int]]:
    """(start, bytes) of each piece."""
    for start in range(0, nbytes, PIECE):
        yield start, min(PIECE, nbytes - start)


class Upload:
    """Host to card. The caller holds the device's lock and has made the card current."""

    def __init__(self, cuda: Any, compute: Any) -> None:
        self._cuda = cuda
        self._runtime = cuda.runtime
        self._compute = compute
        self._copies = cuda.Stream(non_blocking=True)
        self._ring = Ring(_PIECES * PIECE)
        self._pinned = cuda.PinnedMemoryPointer(cuda.PinnedMemory(_PIECES * PIECE), 0)
        self._host = np.frombuffer(self._pinned, dtype=np.uint8)
        self._card = cuda.Memory(_PIECES * PIECE)

    def copy(self, target: int, data: NDArray[np.uint8]) -> None:
        """Put the copy of flat `data` to the card's address `target` in the queue; `data` is free on return."""
        for start, nbytes in pieces(data.nbytes):
            self._piece(target + start, data[start : start + nbytes])

    def _piece(self, target: int, data: NDArray[np.uint8]) -> None:
        runtime, compute, nbytes = self._runtime, self._compute.ptr, data.nbytes
        span = self._ring.take(nbytes)
        self._host[span[0] : span[0] + nbytes] = data
        pinned, card = self._pinned.ptr + span[0], self._card.ptr + span[0]
        if nbytes <= _SMALL:
            runtime.memcpyAsync(target, pinned, nbytes, runtime.memcpyHostToDevice, compute)
        else:
            runtime.memcpyAsync(card, pinned, nbytes, runtime.memcpyHostToDevice, self._copies.ptr)
            arrived = self._cuda.Event(disable_timing=True)
            arrived.record(self._copies)
            self._compute.wait_event(arrived)
            runtime.memcpyAsync(target, card, nbytes, runtime.memcpyDeviceToDevice, compute)
            runtime.memsetAsync(card, 0, nbytes, compute)  # it may have been secret, and nobody else wipes the ring
        moved = self._cuda.Event(disable_timing=True)
        moved.record(self._compute)
        self._ring.give(span, moved)


class Download:
    """Card to host, in two steps of which only the first needs the device's lock."""

    def __init__(self, cuda: Any, compute: Any) -> None:
        self._cuda = cuda
        self._compute = compute
        self._pinned = [cuda.PinnedMemoryPointer(cuda.PinnedMemory(PIECE), 0) for _ in range(2)]
        self._host = [np.frombuffer(pinned, dtype=np.uint8) for pinned in self._pinned]

    def start(self, slot: int, source: int, nbytes: int) -> Any:
        """Put the copy of a piece to slot 0 or 1 in the queue; the event of its arrival."""
        runtime = self._cuda.runtime
        runtime.memcpyAsync(self._pinned[slot].ptr, source, nbytes, runtime.memcpyDeviceToHost, self._compute.ptr)
        event = self._cuda.Event(disable_timing=True)
        event.record(self._compute)
        return event

    def finish(self, slot: int, event: Any, out: NDArray[np.uint8]) -> None:
        """Wait for the piece and empty its slot into flat `out`."""
        event.synchronize()
        out[:] = self._host[slot][: out.nbytes]
