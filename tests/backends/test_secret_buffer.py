"""Memory that held secrets goes back as zeros: after a `with`, an error, a last reference, whatever runs meanwhile."""

from __future__ import annotations

import copy
import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hecore.backends import secret_buffer
from hecore.errors import BackendError, DeviceLostError, DeviceMemoryError
from tests.backends.watched_device import WatchedBackend

if TYPE_CHECKING:
    from hecore.backends.device import Buffer

SECRET = np.arange(1, 14, dtype=np.uint64)


@pytest.fixture
def backend() -> WatchedBackend:
    return WatchedBackend()


def held(backend: WatchedBackend) -> Buffer:
    """A buffer with the secret in it, which nobody else refers to."""
    buffer = backend._secret(SECRET.nbytes).buffer
    backend._device.write(buffer, SECRET)
    return buffer


def read(backend: WatchedBackend, buffer: Buffer) -> list[int]:
    found: list[int] = backend._to_host(buffer, (buffer.nbytes // 8,), np.uint64).tolist()
    return found


def test_where_a_with_ends(backend: WatchedBackend) -> None:
    with backend._secret(SECRET.nbytes - 3) as buffer:  # in whole words
        backend._device.write(buffer, SECRET)
        assert read(backend, buffer) == SECRET.tolist()
    assert read(backend, buffer) == [0] * 13
    secret = backend._secret(SECRET.nbytes)
    backend._device.write(secret.buffer, SECRET)
    with pytest.raises(ZeroDivisionError), secret:
        raise ZeroDivisionError
    assert read(backend, secret.buffer) == [0] * 13


def test_when_the_last_reference_goes(backend: WatchedBackend) -> None:
    buffer = held(backend)
    same = copy.copy(buffer)
    other = buffer
    del buffer
    assert read(backend, same) == SECRET.tolist()
    del other
    assert read(backend, same) == [0] * 13


def test_in_a_cycle_when_it_is_collected(backend: WatchedBackend) -> None:
    cycle: list[Any] = [held(backend)]
    same = copy.copy(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert read(backend, same) == [0] * 13


def test_nothing_and_one_byte(backend: WatchedBackend) -> None:
    for nbytes in (0, 1):
        with backend._secret(nbytes) as buffer:
            assert buffer.nbytes == secret_buffer.WORD_BYTES
        assert read(backend, buffer) == [0]


def test_a_finaliser_in_the_middle_of_a_launch(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the garbage collector runs there: in a launch of whatever program, the wipe's own among them."""
    victims = [held(backend) for _ in range(3)]
    same = [copy.copy(buffer) for buffer in victims]
    launch = backend._programs.launch

    def interrupted(*arguments: Any) -> None:
        if victims:
            victims.pop()
        launch(*arguments)

    monkeypatch.setattr(backend._programs, "launch", interrupted)
    del victims[-1]
    for buffer in same:
        assert read(backend, buffer) == [0] * 13


def test_from_many_threads(backend: WatchedBackend) -> None:
    same = []

    def work() -> None:
        for _ in range(25):
            buffer = held(backend)
            same.append(copy.copy(buffer))
            del buffer

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not backend._wiper._pending
    assert all(read(backend, buffer) == [0] * 13 for buffer in same)


class Failing:
    """Programs whose launches fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def program(self, *arguments: object) -> None:
        """There it is."""

    def launch(self, *arguments: object) -> None:
        raise self.error


def test_what_cannot_be_wiped_is_not_given_back(backend: WatchedBackend) -> None:
    wiper = secret_buffer.Wiper(Failing(BackendError("no")), 8)  # type: ignore[arg-type]
    buffer = backend._device.allocate(64)
    with pytest.raises(BackendError, match="no"), secret_buffer.SecretBuffer(buffer, wiper):
        pass
    assert [kept.nbytes for kept in wiper._kept] == [64]
    wiper = secret_buffer.Wiper(Failing(DeviceLostError("gone")), 8)  # type: ignore[arg-type]
    with secret_buffer.SecretBuffer(backend._device.allocate(64), wiper):
        pass
    assert wiper._kept == []


def test_no_memory_is_said_at_once(backend: WatchedBackend) -> None:
    with backend.watched.refusing(64), pytest.raises(DeviceMemoryError):
        backend._secret(65)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_lets_go_in_silence(backend: WatchedBackend) -> None:
    buffer = held(backend)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            del buffer
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(backend, buffer) == SECRET.tolist()


def test_the_scope_of_secrecy(backend: WatchedBackend) -> None:
    def let_go() -> Buffer:
        buffer = backend._to_device(SECRET)
        return copy.copy(buffer)

    assert read(backend, let_go()) == SECRET.tolist()
    with backend.secrecy():
        assert read(backend, let_go()) == [0] * 13
        found = []
        thread = threading.Thread(target=lambda: found.append(let_go()))
        thread.start()
        thread.join()
        assert read(backend, found[0]) == SECRET.tolist()
    assert read(backend, let_go()) == SECRET.tolist()
