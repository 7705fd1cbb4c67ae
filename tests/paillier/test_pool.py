"""The obfuscator pool: each obfuscator leaves once, to one taker, in one process."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hecore.arith.limbs import ints_from_limbs
from hecore.backends import registry
from hecore.backends.reference import ReferenceBackend
from hecore.errors import (
    BackendMismatchError,
    BackendUnavailableError,
    KeyMismatchError,
    OperandTypeError,
    ParameterError,
    PoolClosedError,
)
from hecore.paillier import ObfuscatorPool, PublicKey, SecretKey, generate_insecure_keypair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hecore.backends.protocol import IntegerBackend, ResidueArray

KEYS = generate_insecure_keypair(128)
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until a hang counts as one


@pytest.fixture(params=["public", "own"])
def key(request: pytest.FixtureRequest) -> PublicKey | SecretKey:
    return KEYS[0] if request.param == "public" else KEYS[1]


@pytest.fixture(params=[info.name for info in registry.devices() if info.available])
def pool(key: PublicKey | SecretKey, request: pytest.FixtureRequest) -> Iterator[ObfuscatorPool]:
    with ObfuscatorPool(key, 40, device=request.param) as pool:
        yield pool


@pytest.fixture(params=["reference", "cpu"])
def host_pool(key: PublicKey | SecretKey, request: pytest.FixtureRequest) -> Iterator[ObfuscatorPool]:
    """Only these live on in a forked child; a device refuses there."""
    with ObfuscatorPool(key, 40, device=request.param) as pool:
        yield pool


def values(residues: ResidueArray) -> list[int]:
    return ints_from_limbs(residues.backend.download(residues))


def are_obfuscators(numbers: list[int]) -> bool:
    """All encrypt zero under KEYS, and no two are equal."""
    n, crt = KEYS[0].n, KEYS[1].crt
    return len(set(numbers)) == len(numbers) and all(pow(c, (crt.p - 1) * (crt.q - 1), n * n) == 1 for c in numbers)


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 40, 257, 300])
def test_a_pool_fills_to_its_capacity(key: PublicKey | SecretKey, capacity: int) -> None:
    with ObfuscatorPool(key, capacity, device="reference") as pool:
        assert pool.wait_until_full(PATIENCE)
        assert pool.available == capacity
        assert str(capacity) in repr(pool)
        assert are_obfuscators(values(pool.take(capacity)))


def test_taking_needs_no_waiting(pool: ObfuscatorPool) -> None:
    """More than there is, from an empty pool and from a full one."""
    taken = values(pool.take(3))
    assert pool.wait_until_full(PATIENCE)
    for count in (0, 1, 5, 100):
        residues = pool.take(count)
        assert residues.shape == (count,)
        assert residues.modulus == KEYS[0].n_squared
        taken += values(residues)
    assert are_obfuscators(taken)


def test_a_pool_refills(pool: ObfuscatorPool) -> None:
    taken: list[int] = []
    for _ in range(5):
        assert pool.wait_until_full(PATIENCE)
        taken += values(pool.take(25))
    assert len(taken) == 125
    assert are_obfuscators(taken)


def test_no_two_threads_get_the_same(pool: ObfuscatorPool) -> None:
    takers = 8
    start = threading.Barrier(takers)
    taken: list[list[int]] = [[] for _ in range(takers)]

    def take(me: int) -> None:
        start.wait(PATIENCE)
        for i in range(30):
            taken[me] += values(pool.take(1 + (i + me) % 7))

    threads = [threading.Thread(target=take, args=(me,)) for me in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [len(mine) for mine in taken] == [sum(1 + (i + me) % 7 for i in range(30)) for me in range(takers)]
    assert are_obfuscators([value for mine in taken for value in mine])


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_empty(host_pool: ObfuscatorPool) -> None:
    assert host_pool.wait_until_full(PATIENCE)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            at_birth = host_pool.available
            theirs = values(host_pool.take(30))
            filled = host_pool.wait_until_full(PATIENCE)  # with a thread of its own
            os.write(writer, pickle.dumps((at_birth, theirs + values(host_pool.take(40)), filled)))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    mine = values(host_pool.take(70))
    with os.fdopen(reader, "rb") as pipe:
        at_birth, theirs, filled = pickle.loads(pipe.read())  # our own child
    assert os.waitpid(child, 0)[1] == 0
    assert at_birth == 0
    assert filled
    assert are_obfuscators(mine + theirs)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forks_while_the_pool_fills(host_pool: ObfuscatorPool) -> None:
    """The filling thread is somewhere inside a kernel, and does not exist in the child."""
    everything: list[int] = []
    for _ in range(5):
        everything += values(host_pool.take(40))  # the thread has work again
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(writer, pickle.dumps(values(host_pool.take(10))))
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            everything += pickle.loads(pipe.read())  # our own child
        assert os.waitpid(child, 0)[1] == 0
    assert len(everything) == 250
    assert are_obfuscators(everything)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock(host_pool: ObfuscatorPool) -> None:
    """The child's lock is a new one: nobody there would ever release the old."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with host_pool._changed:
            held.set()
            release.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        os._exit(0 if host_pool.take(2).shape == (2,) else 1)
    release.set()
    holder.join(PATIENCE)
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_pool_gives_nothing(key: PublicKey | SecretKey) -> None:
    pool = ObfuscatorPool(key, 10, device="reference")
    assert pool.wait_until_full(PATIENCE)
    thread = pool._thread
    assert thread is not None
    pool.close()
    pool.close()
    assert not thread.is_alive()
    assert pool.available == 0
    assert "closed" in repr(pool)
    for use in (lambda: pool.take(1), lambda: pool.take(0), pool.wait_until_full):
        with pytest.raises(PoolClosedError, match="closed"):
            use()


def test_closing_stops_who_waits(key: PublicKey | SecretKey) -> None:
    pool = ObfuscatorPool(key, 1 << 30, device="reference")
    threading.Timer(0.05, pool.close).start()
    with pytest.raises(PoolClosedError):
        pool.wait_until_full(PATIENCE)


def test_waiting_ends_with_its_timeout(key: PublicKey | SecretKey) -> None:
    with ObfuscatorPool(key, 1 << 30, device="reference") as pool:
        assert not pool.wait_until_full(0.01)


def test_a_failure_in_the_background_reaches_the_taker(
    key: PublicKey | SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(count: int, backend: IntegerBackend) -> ResidueArray:
        raise ArithmeticError(f"no {count} obfuscators on {backend.name}")

    with ObfuscatorPool(key, 4, device="reference") as pool:
        monkeypatch.setattr(pool, "_make", broken)
        with pytest.raises(ArithmeticError, match="no 1 obfuscators on reference"):
            pool.wait_until_full(PATIENCE)
        with pytest.raises(ArithmeticError, match="no 1 obfuscators on reference"):
            pool.take(1)


def test_a_pool_is_neither_pickled_nor_copied(pool: ObfuscatorPool) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(pool)


def test_an_interpreter_with_an_open_pool_ends_quietly() -> None:
    script = (
        "from hecore.paillier import ObfuscatorPool, generate_insecure_keypair\n"
        "pool = ObfuscatorPool(generate_insecure_keypair(512)[0], 1 << 20, device='reference')\n"
        "pool.take(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pool_lives_on_the_current_backend_or_the_named_one() -> None:
    with registry.use("reference"), ObfuscatorPool(KEYS[0], 4) as pool:
        assert pool.backend is registry.get("reference")
        assert pool.take(1).backend is pool.backend
        assert pool.take_on(1, pool.backend).shape == (1,)
        with pytest.raises(BackendMismatchError, match="device="):
            pool.take_on(1, ReferenceBackend())
    with pytest.raises(BackendUnavailableError, match="no-such-device"):
        ObfuscatorPool(KEYS[0], 4, device="no-such-device")


def test_bad_arguments(pool: ObfuscatorPool) -> None:
    for capacity in (0, -1):
        with pytest.raises(ParameterError, match="capacity"):
            ObfuscatorPool(KEYS[0], capacity, device="reference")
    with pytest.raises(OperandTypeError, match="capacity"):
        ObfuscatorPool(KEYS[0], 4.0, device="reference")  # type: ignore[arg-type]
    with pytest.raises(OperandTypeError, match="a key is needed"):
        ObfuscatorPool("key", 4, device="reference")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="-1"):
        pool.take(-1)
    with pytest.raises(OperandTypeError, match="count"):
        pool.take(1.5)  # type: ignore[arg-type]


def test_encryption_draws_from_the_pool(pool: ObfuscatorPool, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    take = pool.take

    def watched(count: int) -> ResidueArray:
        counts.append(count)
        return take(count)

    monkeypatch.setattr(pool, "take", watched)
    with registry.use(pool.backend.name):
        for encrypt in (KEYS[0].encrypt, KEYS[1].encrypt):
            assert KEYS[1].decrypt(encrypt([1, 2, -3], pool=pool)).tolist() == [1, 2, -3]
        assert counts == [3, 3]
        with pytest.raises(KeyMismatchError, match="another key"):
            generate_insecure_keypair(64)[0].encrypt([1], pool=pool)
        with pytest.raises(OperandTypeError, match="ObfuscatorPool"):
            KEYS[0].encrypt([1], pool=[pool])  # type: ignore[arg-type]
