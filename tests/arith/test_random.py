from __future__ import annotations

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits
from hecore.arith.random import random_below, random_limbs


@pytest.mark.parametrize("bits", [1, 2, 63, 64, 65, 127, 128, 1000, 1024])
def test_random_limbs_stay_below_the_bound_and_reach_every_bit(bits: int) -> None:
    limbs = random_limbs(200, bits)
    assert limbs.shape == (200, limbs_for_bits(bits))
    assert limbs.dtype == np.uint64
    some, every = 0, (1 << bits) - 1
    for value in ints_from_limbs(limbs):
        assert value < 1 << bits
        some, every = some | value, every & value
    assert some == (1 << bits) - 1  # chance of a false alarm: bits * 2**-200
    assert every == 0


def test_no_values_are_no_values() -> None:
    assert random_limbs(0, 130).shape == (0, 3)


@pytest.mark.parametrize("count", [4, 1000])  # from the system, and from a stream
def test_draws_are_writable_and_never_repeat(count: int) -> None:
    draws = [value for _ in range(50) for value in ints_from_limbs(random_limbs(count, 128))]
    assert len(set(draws)) == 50 * count  # chance of a false alarm below 2**-96
    limbs = random_limbs(count, 64)
    limbs[:] = 0
    assert not limbs.any()


@pytest.mark.parametrize(("nbytes", "drawn"), [(4088, 4088), (4096, 32), (1 << 21, 32)])
def test_much_is_expanded_from_a_fresh_key_of_the_system(
    nbytes: int, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call asks for its own key, and the stream is AES-256-CTR under it."""
    asked: list[int] = []
    known = iter(bytes([i]) * drawn for i in (1, 2))

    def urandom(size: int) -> bytes:
        asked.append(size)
        return next(known)

    monkeypatch.setattr(os, "urandom", urandom)
    first, second = (random_limbs(nbytes // 8, 64) for _ in range(2))
    assert asked == [drawn, drawn]
    for number, limbs in ((1, first), (2, second)):
        key = bytes([number]) * drawn
        if drawn == nbytes:
            assert limbs.tobytes() == key
        else:
            cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
            assert limbs.tobytes() == cipher.update(bytes(nbytes))


def test_ones_and_zeros_balance() -> None:
    ones = int(np.bitwise_count(random_limbs(1000, 1024)).sum())
    assert abs(ones - 512_000) < 10 * 506  # ten standard deviations of 2**20 fair bits


def test_random_below_is_in_range_and_reaches_every_value() -> None:
    assert {random_below(7) for _ in range(1000)} == set(range(7))  # chance of a false alarm below 7 * 2**-222
    assert random_below(1) == 0


@pytest.mark.parametrize("count", [1, 200])
def test_a_forked_child_draws_its_own(count: int) -> None:
    random_limbs(count, 256)  # whatever could be kept is there
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, random_limbs(count, 256).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        childs = pipe.read()
    os.waitpid(child, 0)
    assert len(childs) == 32 * count
    assert childs != random_limbs(count, 256).tobytes()
