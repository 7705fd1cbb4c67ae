"""What a device's memory holds of a secret key and of messages: something while they live, nothing when they are gone.

On a device that keeps every buffer that was given back, so that its contents can be read.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import hecore
from hecore import ckks, paillier
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.errors import DeviceMemoryError

pytest.importorskip("pyopencl")

from tests.backends.watched_device import WatchedBackend

VALUES = np.arange(-20, 21)


@pytest.fixture(scope="module")
def made() -> WatchedBackend:
    try:
        return WatchedBackend()
    except hecore.errors.BackendUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def backend(made: WatchedBackend) -> WatchedBackend:
    hecore.use(made)
    return made


def forms(value: int) -> list[bytes]:
    """An integer as limbs and as digits of both lengths: eight words in the middle of each are enough to know it."""
    bits = value.bit_length()
    digits = [[value >> at & (1 << radix) - 1 for at in range(0, bits, radix)] for radix in (27, 28)]
    words = [limbs_from_ints([value], limbs_for_bits(bits)).view(np.uint32).ravel().tolist(), *digits]
    return [np.array(word[8:16], dtype=np.uint32).tobytes() for word in words]


def found(backend: WatchedBackend, needles: list[bytes]) -> int:
    """How many of the device's buffers hold one of the needles."""
    gc.collect()
    backend.synchronize()
    return sum(any(needle in held for needle in needles) for held in backend.watched.contents())


def test_of_paillier_keys_and_messages_nothing_is_left(backend: WatchedBackend) -> None:
    with hecore.use(backend):
        public_key, secret_key = paillier.generate_insecure_keypair(1024)
        p, q = secret_key.crt.p, secret_key.crt.q
        key = [form for value in (p, q, p - 1, q - 1) for form in forms(value)]
        message = pow(3, 600)  # 951 bits that nothing else has
        numbers, encoding = np.array([message] * 20, dtype=object), paillier.Integers(bits=960)
        x = public_key.encrypt(numbers, encoding=encoding)
        y = secret_key.encrypt(numbers, encoding=encoding) * paillier.plain(3, paillier.Integers(bits=2))
        assert (secret_key.decrypt(x) == message).all()
        assert (secret_key.decrypt(y) == 3 * message).all()
        assert found(backend, key)
        assert not found(backend, forms(message))
        del secret_key
        assert not found(backend, key)


def test_of_a_ckks_key_nothing_is_left(backend: WatchedBackend) -> None:
    with hecore.use(backend):
        parameters = ckks.Parameters.insecure(ring_degree=64, moduli_bits=[60, 40, 40, 60], scale=2**40)
        keys = ckks.generate_keys(parameters, galois=[1])
        words = backend.ring_download(keys.secret_key.polynomial)
        digits = keys.secret_key.digits()
        needles = [row[:8].tobytes() for row in words] + [digits[:16].tobytes()]
        assert found(backend, needles)
        x = keys.public_key.encrypt(VALUES[:32] / 32)
        z = keys.secret_key.encrypt(VALUES[:32] / 32)
        keys.secret_key.decrypt(x * z)
        keys.secret_key.make_galois_keys([3], conjugation=True)
        again = ckks.SecretKey.from_words(parameters, words)
        again.decrypt(again.encrypt(VALUES[:32] / 32))
        del keys, again
        assert not found(backend, needles)


def short_of_memory(backend: WatchedBackend, work: Callable[[], object]) -> None:
    """An error where hardly a buffer can be had, no wrong number and no broken backend."""
    with backend.watched.refusing(1 << 8), pytest.raises(DeviceMemoryError):
        work()
    work()


def test_schemes_survive_a_shortage(backend: WatchedBackend) -> None:
    with hecore.use(backend):
        public_key, secret_key = paillier.generate_insecure_keypair(512)
        x = public_key.encrypt(VALUES)
        for work in (
            partial(public_key.encrypt, VALUES),
            partial(secret_key.encrypt, VALUES),
            partial(secret_key.decrypt, x),
            lambda: x * VALUES,
        ):
            short_of_memory(backend, work)
        np.testing.assert_array_equal(secret_key.decrypt(x), VALUES)
        parameters = ckks.Parameters.insecure(ring_degree=64, moduli_bits=[60, 40, 40, 60], scale=2**40)
        keys = ckks.generate_keys(parameters)
        y = keys.public_key.encrypt(np.linspace(-1, 1, 32), bound=1.0)
        for step in (
            partial(keys.public_key.encrypt, np.linspace(-1, 1, 32)),
            partial(keys.secret_key.decrypt, y),
            lambda: y * y,
        ):
            short_of_memory(backend, step)
        np.testing.assert_allclose(keys.secret_key.decrypt(y), np.linspace(-1, 1, 32), atol=1e-5)
