from __future__ import annotations

import os

import numpy as np
import pytest

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


def test_draws_are_writable_and_never_repeat() -> None:
    draws = [value for _ in range(50) for value in ints_from_limbs(random_limbs(4, 128))]
    assert len(set(draws)) == 200  # chance of a false alarm below 2**-113
    limbs = random_limbs(1, 64)
    limbs[:] = 0
    assert not limbs.any()


def test_ones_and_zeros_balance() -> None:
    ones = int(np.bitwise_count(random_limbs(1000, 1024)).sum())
    assert abs(ones - 512_000) < 10 * 506  # ten standard deviations of 2**20 fair bits


def test_random_below_is_in_range_and_reaches_every_value() -> None:
    assert {random_below(7) for _ in range(1000)} == set(range(7))  # chance of a false alarm below 7 * 2**-222
    assert random_below(1) == 0


def test_a_forked_child_draws_its_own() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, random_limbs(1, 256).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        childs = pipe.read()
    os.waitpid(child, 0)
    assert len(childs) == 32
    assert childs != random_limbs(1, 256).tobytes()
