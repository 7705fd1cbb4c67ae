"""Threads for the kernels: shares, several callers at once, forks, errors."""

from __future__ import annotations

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.cpu import CpuBackend
from hecore.errors import ParameterError
from hecore.kernels.cpu.workers import Workers, thread_count


@pytest.mark.parametrize(
    "text", ["0", "-1", "1025", "2.5", "two", " 2", "²", "1e3", "9" * 5000], ids=lambda text: text[:4]
)
def test_bad_thread_counts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECORE_THREADS", text)
    with pytest.raises(ParameterError, match="an integer from 1 to 1024"):
        thread_count()


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("1024", 1024), ("007", 7)])
def test_thread_counts(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECORE_THREADS", text)
    assert thread_count() == count


@pytest.mark.parametrize("text", ["", None])
def test_without_a_wish_the_processors_of_this_process(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is None:
        monkeypatch.delenv("HECORE_THREADS", raising=False)
    else:
        monkeypatch.setenv("HECORE_THREADS", text)
    assert thread_count() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("step", [1, 4])
def test_shares_cover_everything_once(threads: int, count: int, step: int) -> None:
    shares: list[tuple[int, int]] = []
    Workers(threads).run(count, lambda first, last: shares.append((first, last)), step=step)
    shares.sort()
    assert [i for first, last in shares for i in range(first, last)] == list(range(count))
    assert all(first % step == 0 and first < last for first, last in shares)
    assert len(shares) <= threads


def test_shares_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=30)

    def task(_first: int, _last: int) -> None:
        barrier.wait()

    Workers(3).run(3, task)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_exception_in_any_share_comes_out(failing: int) -> None:
    """And the pool serves on."""
    workers = Workers(3)

    def task(first: int, _last: int) -> None:
        if first == failing:
            raise ZeroDivisionError(f"share {first}")

    with pytest.raises(ZeroDivisionError, match=f"share {failing}"):
        workers.run(3, task)
    done: list[int] = []
    workers.run(3, lambda first, _last: done.append(first))
    assert sorted(done) == [0, 1, 2]


def test_no_share_runs_on_after_an_exception_was_seen() -> None:
    """A caller that catches the error may free what the shares write to."""
    release, finished = threading.Event(), threading.Event()

    def task(first: int, _last: int) -> None:
        if first == 0:
            release.set()
            raise ZeroDivisionError
        release.wait(30)
        threading.Event().wait(0.05)
        finished.set()

    with pytest.raises(ZeroDivisionError):
        Workers(2).run(2, task)
    assert finished.is_set()


# -- with kernels ----------------------------------------------------------------------------------------------------

MODULUS = Modulus.square(2**89 - 1)
VALUES = [pow(3, i, MODULUS.value) for i in range(1, 70)]


def squares(backend: CpuBackend, values: list[int]) -> list[int]:
    a = backend.upload(limbs_from_ints(values, MODULUS.limbs), MODULUS)
    return ints_from_limbs(backend.download(backend.mod_mul(a, a)))


EXPECTED = [x * x % MODULUS.value for x in VALUES]


def test_callers_at_the_same_time() -> None:
    """Four Python threads on one backend of three threads: scratch memory is a thread's own."""
    backend = CpuBackend(3)
    barrier = threading.Barrier(4, timeout=30)

    def call(k: int) -> bool:
        barrier.wait()
        part = VALUES[k:] + VALUES[:k]
        return all(squares(backend, part) == EXPECTED[k:] + EXPECTED[:k] for _ in range(20))

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(call, range(4))) == [True] * 4


def test_a_forked_child_makes_a_pool_of_its_own() -> None:
    backend = CpuBackend(3)
    assert squares(backend, VALUES) == EXPECTED
    assert backend._engine.workers._pool is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads: the point here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = backend._engine.workers._pool is None
            status = 0 if fresh and squares(backend, VALUES) == EXPECTED else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert squares(backend, VALUES) == EXPECTED


def test_a_fork_while_another_thread_holds_the_lock() -> None:
    """The child's lock is a new one: it would wait for ever on a lock whose holder was not forked with it."""
    workers = Workers(2)
    with workers._lock:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(0 if workers._lock.acquire(timeout=10) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
