"""ChaCha20 on a device against published vectors and another implementation; keys, memory, and what crosses."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hecore.arith.limbs import ints_from_limbs
from hecore.arith.modulus import Modulus
from hecore.backends import kernel_random, registry
from hecore.backends.reference import ReferenceBackend
from hecore.ckks import Parameters, generate_keys
from hecore.errors import BackendError, DeviceMemoryError, ParameterError, SelfTestError
from hecore.paillier import PublicKey
from tests.backends.ring_lab import basis_named, noise
from tests.backends.watched_device import WatchedBackend
from tests.kernels.device import random_model as model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hecore.backends.protocol import ExponentArray
    from hecore.backends.ring_protocol import SmallArray

KEY = np.frombuffer(model.KEY, dtype=np.uint32)


@pytest.fixture
def backend() -> WatchedBackend:
    return WatchedBackend()


def blocks(backend: WatchedBackend, key: bytes, first: int, nonce: tuple[int, int], count: int) -> bytes:
    out = backend._empty(16 * count, np.uint32)
    words = (np.uint32(word) for word in nonce)
    key_words = np.frombuffer(key, dtype=np.uint32)
    backend._with_key(key_words, "stream", count, out, np.uint64(first), *words, np.uint32(count))
    return backend._to_host(out, (16 * count,), np.uint32).tobytes()


def drawn(backend: WatchedBackend, kernel: str, threads: int, words: int, *scalars: Any) -> NDArray[Any]:
    """`words` words of 64 bits that a kernel makes under KEY."""
    out = backend._empty(words, np.uint64)
    backend._with_key(KEY, kernel, threads, out, *scalars)
    return backend._to_host(out, (words,), np.uint64)


@pytest.mark.parametrize("name", model.VECTORS)
def test_published_vectors(backend: WatchedBackend, name: str) -> None:
    key, counter, nonce, expected = model.VECTORS[name]
    first, *words = model.state_of(counter, nonce)
    assert blocks(backend, bytes.fromhex(key), first, (words[0], words[1]), 1).hex() == expected


def test_many_blocks_at_any_counter(backend: WatchedBackend) -> None:
    for first in (0, 2**32 - 3, 2**40 + 5):
        found = blocks(backend, model.KEY, first, (7, 9), 21)
        assert found == b"".join(model.block(first + i, (7, 9)) for i in range(21))


@pytest.mark.parametrize("bits", [1, 31, 32, 33, 64, 65, 511, 512, 513, 1024, 1100])
def test_exponents_are_their_definition(backend: WatchedBackend, bits: int) -> None:
    count, limbs = 5, -(-bits // 64)
    scalars = np.uint32(2 * limbs), np.uint32(bits), np.uint32(count)
    found = drawn(backend, "random_bits", count * -(-2 * limbs // 16), count * limbs, *scalars)
    assert ints_from_limbs(found.reshape(count, limbs)) == model.exponents(count, 2 * limbs, bits)


@pytest.mark.parametrize("count", [16, 24, 32, 220, 221, 1024])
def test_small_polynomials_are_their_definition(backend: WatchedBackend, count: int) -> None:
    for kernel, each, expected in (("ternary", 220, model.ternary), ("binomial", 12, model.errors)):
        found = drawn(backend, kernel, -(-count // each), count, np.uint64(count)).view(np.int64)
        assert np.array_equal(found, expected(count))


def test_digits_of_every_value() -> None:
    """What `ternary` does to a value below 3^10, in whole numbers of 32 bits."""
    values = np.arange(3**10, dtype=np.uint64)
    fraction, rest = values * np.uint64(72736), np.zeros_like(values)
    assert int(fraction.max()) < 2**32
    for _ in range(10):
        product = fraction * np.uint64(3)
        rest = 3 * rest + (product >> np.uint64(32))
        fraction = product & np.uint64(2**32 - 1)
    assert np.array_equal(rest, values)


# -- keys -----------------------------------------------------------------------------------------------------


def draws(backend: WatchedBackend) -> list[Callable[[], ExponentArray | SmallArray]]:
    return [
        lambda: backend.random_exponents((3,), 100),
        lambda: backend.random_ternary((2,), 64),
        lambda: backend.random_errors((2,), 64),
    ]


def test_a_key_a_launch_wiped_behind_it(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[bytes] = []

    def urandom(count: int) -> bytes:
        keys.append(np.random.default_rng(len(keys)).bytes(count))
        return keys[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    kept = [draw() for draw in draws(backend) for _ in range(2)]
    assert len(kept) == len(keys) == len(set(keys)) == 6
    assert all(len(key) == 32 for key in keys)
    memory = b"".join(backend.watched.contents())
    assert not any(key in memory for key in keys)


def test_memory_that_is_refused_costs_no_key(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.random_exponents((1,), 1)
    with backend.watched.refusing(16), monkeypatch.context() as patch:
        patch.setattr(os, "urandom", None)
        for draw in draws(backend):
            with pytest.raises(DeviceMemoryError):
                draw()
    for draw in draws(backend):
        draw()


def test_a_wrong_stream_is_refused(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_random, "_KNOWN_BLOCK", bytes(64))
    for draw in draws(backend):
        with pytest.raises(SelfTestError, match="RFC 8439"):
            draw()


# -- exponents that stay --------------------------------------------------------------------------------------


def test_exponents_print_nothing_and_fetch_what_they_are(backend: WatchedBackend) -> None:
    e = backend.random_exponents((2, 3), 65)
    assert repr(e) == "DeviceExponents(bits=65)"
    assert (e.shape, e.limbs.shape, e.limbs.dtype.name) == ((2, 3), (2, 3, 2), "uint64")
    assert np.array_equal(e.limbs, e.limbs)
    assert e.limbs is not e.limbs
    for shape in ((), (0,), (2, 0)):
        assert backend.random_exponents(shape, 7).limbs.shape == (*shape, 1)
    with pytest.raises(ParameterError, match="0 bits"):
        backend.random_exponents((2,), 0)


def test_other_backends_take_them(backend: WatchedBackend) -> None:
    e, modulus = backend.random_exponents((4,), 90), Modulus(2**64 - 59)
    found = []
    for other in (backend, ReferenceBackend()):
        table = other.fixed_base_table(3, modulus, 90)
        found.append(other.download(other.fixed_base_exp(table, e)))
        bases = other.upload(noise("bases", (4, 1), 63), modulus)
        found.append(other.download(other.mod_exp(bases, e)))
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])


def test_what_is_drawn_is_wiped(backend: WatchedBackend) -> None:
    for draw in draws(backend):
        draw()
    first = len(backend.watched.buffers)

    def all_wiped() -> bool:
        gc.collect()
        return not any(any(data) for data in backend.watched.contents(first))

    for draw in draws(backend):
        kept = draw()
        assert not all_wiped()
        del kept
        assert all_wiped()
        with backend.watched.failing(0), pytest.raises(BackendError, match="the test says so"):
            draw()
        assert all_wiped()


# -- encryption -----------------------------------------------------------------------------------------------


class Crossings:
    """Bytes that go to and from a device."""

    def __init__(self, backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: list[int] = []
        self.down: list[int] = []
        read, write = backend.watched.read, backend.watched.write

        def counted_read(buffer: Any, out: NDArray[Any], offset: int = 0) -> None:
            self.down.append(out.nbytes)
            read(buffer, out, offset)

        def counted_write(buffer: Any, data: NDArray[Any], offset: int = 0) -> None:
            self.up.append(data.nbytes)
            write(buffer, data, offset)

        monkeypatch.setattr(backend.watched, "read", counted_read)
        monkeypatch.setattr(backend.watched, "write", counted_write)


def test_paillier_encryption_sends_a_key_and_messages(
    backend: WatchedBackend, insecure_keys: tuple[PublicKey, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 bytes go up whatever the count, and the messages; nothing comes down."""
    public_key = insecure_keys[0]
    monkeypatch.setattr(registry, "current", lambda: backend)
    public_key.encrypt(np.arange(20))
    crossings = Crossings(backend, monkeypatch)
    for count in (20, 10):
        public_key.encrypt(np.arange(count))
        assert (crossings.up, crossings.down) == ([32, count * public_key.n.bit_length() // 8], [])
        crossings.up.clear()


def test_ckks_encryption_sends_keys_and_messages(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for u, a key for errors, and the message beside a zero; nothing comes down."""
    parameters = Parameters.insecure(ring_degree=64, moduli_bits=[60, 40, 60], scale=2**40)
    monkeypatch.setattr(registry, "current", lambda: backend)
    keys = generate_keys(parameters)
    values = np.linspace(-1, 1, 5 * 32).reshape(5, 32)
    first = keys.public_key.encrypt(values)
    crossings = Crossings(backend, monkeypatch)
    again = keys.public_key.encrypt(values)
    assert (sorted(crossings.up), crossings.down) == ([32, 32, 5 * 2 * 64 * 8], [])
    for encrypted in (first, again):
        np.testing.assert_allclose(keys.secret_key.decrypt(encrypted), values, atol=1e-6)


def test_ckks_encryption_leaves_nothing_behind(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all memory that encryption, decryption and key generation took, no more than results holds anything."""
    parameters = Parameters.insecure(ring_degree=64, moduli_bits=[60, 40, 60], scale=2**40)
    monkeypatch.setattr(registry, "current", lambda: backend)
    keys = generate_keys(parameters)
    values = np.linspace(-1, 1, 32)
    keys.secret_key.decrypt(keys.public_key.encrypt(values))
    keys.secret_key.decrypt(keys.secret_key.encrypt(values))  # tables are there now, and public

    def left(operation: Callable[[], object]) -> int:
        """How many pieces of memory hold something while the result is there."""
        first = len(backend.watched.buffers)
        result = operation()
        gc.collect()
        found = sum(any(data) for data in backend.watched.contents(first))
        assert result is not None
        return found

    encrypted = keys.public_key.encrypt(values)
    assert left(lambda: keys.public_key.encrypt(values)) == 1
    assert left(lambda: keys.secret_key.encrypt(values)) <= 2  # its uniform halves came from the host
    assert left(lambda: keys.secret_key.decrypt(encrypted)) == 0


def test_small_polynomials_are_made_of_a_key_alone(backend: WatchedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    basis = basis_named("30+40+40", 64)
    backend.ring_encode(backend.random_ternary((2, 1), 64), basis)
    crossings = Crossings(backend, monkeypatch)
    for draw in (backend.random_ternary, backend.random_errors):
        backend.ring_encode(draw((5, 2), 64), basis)
    assert (crossings.up, crossings.down) == ([32, 32], [])
