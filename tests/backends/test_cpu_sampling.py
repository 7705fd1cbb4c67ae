"""The CPU's secrets and errors against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hecore.arith.stream import SecretStream
from hecore.backends import cpu_sampling
from hecore.kernels.cpu import sampling as kernels


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
    assert cpu_sampling.ternary(Recorded(data), size).tolist() == expected


def test_ternary_goes_on_where_many_bytes_are_rejected() -> None:
    data = np.concatenate([np.full(40, 255, np.uint8), random_bytes(400)])
    out = cpu_sampling.ternary(Recorded(data), 64)
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
    assert cpu_sampling.errors(Recorded(data), size).tolist() == samples[:size]


def test_error_at_its_ends() -> None:
    for byte, value in ((0, -21), (255, 21)):
        assert (cpu_sampling.errors(Recorded(np.full(96, byte, np.uint8)), 16) == value).all()


def test_accept_below_fills_exactly() -> None:
    words = np.array([1, 9, 2, 3, 8, 4, 5], dtype=np.uint64)
    out = np.zeros(5, dtype=np.uint64)
    assert kernels.accept_below(out, 0, words, np.uint64(15), np.uint64(8)) == 5
    assert out.tolist() == [1, 2, 3, 4, 5]
    assert kernels.accept_below(out, 3, words, np.uint64(7), np.uint64(8)) == 5
    assert out.tolist() == [1, 2, 3, 1, 1]
    assert kernels.accept_below(out, 2, words[1:3], np.uint64(15), np.uint64(8)) == 3
    assert out[:3].tolist() == [1, 2, 2]
