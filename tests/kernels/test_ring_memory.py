"""Memory that is used again: never while somebody looks at it, and never more than so much."""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import pytest

from hecore.kernels.cpu import ring_memory
from hecore.kernels.cpu.ring_memory import KEPT_BYTES, SMALL_BYTES, empty

SHAPE = (3, 2, 1024)


@pytest.fixture(autouse=True)
def _nothing_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    monkeypatch.setattr(ring_memory, "_idle", {})
    monkeypatch.setattr(ring_memory, "_idle_words", 0)


def test_shape_type_and_alignment() -> None:
    for shape in (SHAPE, (0, 2, 16), (1, 1, 16), (1,), (7, 1024)):
        a = empty(shape)
        assert a.shape == shape
        assert a.dtype == np.uint64
        assert a.flags.c_contiguous
        assert a.flags.writeable
        assert a.nbytes < SMALL_BYTES or a.ctypes.data % 64 == 0


def test_a_block_is_used_again() -> None:
    a = empty(SHAPE)
    where = a.ctypes.data
    assert empty(SHAPE).ctypes.data != where  # not while it is held
    del a
    found = [empty(SHAPE) for _ in range(3)]
    assert where in {b.ctypes.data for b in found}
    assert len({b.ctypes.data for b in found}) == 3
    assert empty((2, 3, 1024)).ctypes.data not in {b.ctypes.data for b in found}


def test_a_view_holds_the_block() -> None:
    a = empty(SHAPE)
    a[:] = 7
    view = a[1:, :, ::3].reshape(-1)[5:]
    del a
    others = [empty(SHAPE) for _ in range(4)]
    for other in others:
        other[:] = 9
    assert bool((view == 7).all())


def test_no_more_than_so_much_lies_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_memory, "KEPT_BYTES", 10 * empty(SHAPE).nbytes)
    held = [empty((i + 1, *SHAPE)) for i in range(9)]
    while held:
        held.pop()
        idle = sum(block.nbytes for blocks in ring_memory._idle.values() for block in blocks)
        assert idle == 8 * ring_memory._idle_words <= ring_memory.KEPT_BYTES
    assert KEPT_BYTES >= 1 << 26


def test_an_array_let_go_while_the_lock_is_held_is_dropped() -> None:
    a = empty(SHAPE)
    with ring_memory._lock:
        del a  # does not wait for itself
        b = empty(SHAPE)
    assert not ring_memory._idle
    b[:] = 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held_has_a_free_one() -> None:
    with ring_memory._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if not ring_memory._lock.locked() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_arrays_that_outlive_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """At exit names are emptied one after the other; what somebody still holds goes later, and in silence."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    a = empty(SHAPE)
    with monkeypatch.context() as emptied:
        for name in ("_lock", "_give_back", "_idle"):
            emptied.setattr(ring_memory, name, None)
        del a
    assert complaints == []
