"""Distributions of secrets, errors and uniform residues, and the kernels against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.kernels.cpu import sampling as kernels
from hecore.ring import sampling
from hecore.ring.prng import SecretStream
from tests.ring.test_prng import AWKWARD

SIGMAS = 7  # of a statistic's own deviation: a false alarm in 10^11 runs


class Recorded(SecretStream):
    """A stream whose bytes the test chooses."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        super().__init__()
        self.data = data

    def read(self, nbytes: int) -> NDArray[np.uint8]:
        head, self.data = self.data[:nbytes], self.data[nbytes:]
        assert head.size == nbytes
        return head


def random_bytes(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, count, dtype=np.uint8)


@pytest.mark.parametrize(("count", "ring_degree"), [(1, 16), (3, 16), (0, 32), (2, 1024), (7, 128)])
def test_ternary_is_its_definition(count: int, ring_degree: int) -> None:
    data = random_bytes(4 * count * ring_degree + 64)
    size = count * ring_degree
    columns = -(-size // 5)
    accepted = [int(byte) for byte in data if byte < 243][:columns]
    expected = [byte // 3**k % 3 - 1 for k in range(5) for byte in accepted][:size]
    out = sampling.ternary(Recorded(data), count, ring_degree)
    assert out.shape == (count, ring_degree)
    assert out.reshape(-1).tolist() == expected


def test_ternary_goes_on_where_many_bytes_are_rejected() -> None:
    data = np.concatenate([np.full(40, 255, np.uint8), random_bytes(400)])
    out = sampling.ternary(Recorded(data), 1, 64)
    assert set(np.unique(out)) == {-1, 0, 1}


def test_every_accepted_byte_gives_its_digits() -> None:
    digits = np.arange(243, dtype=np.uint8)
    out = np.empty(5 * 243, dtype=np.int64)
    kernels.trits(out, digits.copy())
    rows = out.reshape(5, 243)
    assert (sum((rows[k] + 1) * 3**k for k in range(5)) == np.arange(243)).all()
    buffer = np.empty(257, dtype=np.uint8)
    assert kernels.accept_bytes(buffer, np.arange(256, dtype=np.uint8)) == 243
    assert np.array_equal(buffer[:243], digits)


@pytest.mark.parametrize(("count", "ring_degree"), [(1, 16), (3, 16), (0, 32), (2, 1024)])
def test_error_is_its_definition(count: int, ring_degree: int) -> None:
    size = count * ring_degree
    columns = -(-size // 4)
    data = random_bytes(24 * columns)
    words = [[int(w) for w in row] for row in data.view(np.uint64).reshape(3, columns)]
    samples = [(word & (2**42 - 1)).bit_count() - 21 for row in words for word in row]
    samples += [((a >> 42) + (b >> 44 << 22)).bit_count() - 21 for a, b in zip(words[0], words[1], strict=True)]
    out = sampling.error(Recorded(data), count, ring_degree)
    assert out.shape == (count, ring_degree)
    assert out.reshape(-1).tolist() == samples[:size]


def test_error_at_its_ends() -> None:
    for byte, value in ((0, -21), (255, 21)):
        assert (sampling.error(Recorded(np.full(96, byte, np.uint8)), 1, 16) == value).all()


def test_distribution_of_ternary() -> None:
    values = sampling.ternary(SecretStream(), 16, 8192)
    size = values.size
    for digit in (-1, 0, 1):
        assert abs((values == digit).mean() - 1 / 3) < SIGMAS * math.sqrt(2 / 9 / size)
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < SIGMAS * (2 / 3) / math.sqrt(size)


def test_distribution_of_error() -> None:
    values = sampling.error(SecretStream(), 16, 8192)
    size = values.size
    chances = np.array([math.comb(42, 21 + x) / 2**42 for x in range(-21, 22)])
    counts = np.bincount((values + 21).reshape(-1), minlength=43)
    assert counts.size == 43
    deviation = np.sqrt(size * chances * (1 - chances)) + 1
    assert (np.abs(counts - size * chances) < SIGMAS * deviation).all()
    assert abs(values.std() - math.sqrt(10.5)) < 0.1
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < SIGMAS * 10.5 / math.sqrt(size)


@pytest.mark.parametrize("basis", [AWKWARD, RnsBasis(1024, ntt_primes(1024, [60, 40, 30]))])
def test_uniform(basis: RnsBasis) -> None:
    words = sampling.uniform(SecretStream(), basis, 8)
    assert words.shape == (8, len(basis), basis.ring_degree)
    for j, q in enumerate(basis.moduli):
        values = words[:, j].reshape(-1)
        assert int(values.max()) < q
        counts = np.bincount((values.astype(object) * 16 // q).astype(int), minlength=16)
        assert (np.abs(counts - values.size / 16) < SIGMAS * math.sqrt(values.size / 16)).all()


def test_accept_below_fills_exactly() -> None:
    words = np.array([1, 9, 2, 3, 8, 4, 5], dtype=np.uint64)
    out = np.zeros(5, dtype=np.uint64)
    assert kernels.accept_below(out, 0, words, np.uint64(15), np.uint64(8)) == 5
    assert out.tolist() == [1, 2, 3, 4, 5]
    assert kernels.accept_below(out, 3, words, np.uint64(7), np.uint64(8)) == 5
    assert out.tolist() == [1, 2, 3, 1, 1]
    assert kernels.accept_below(out, 2, words[1:3], np.uint64(15), np.uint64(8)) == 3
    assert out[:3].tolist() == [1, 2, 2]


def test_two_calls_differ() -> None:
    stream = SecretStream()
    assert (sampling.ternary(stream, 1, 1024) != sampling.ternary(stream, 1, 1024)).any()
    assert (sampling.error(stream, 1, 1024) != sampling.error(stream, 1, 1024)).any()
