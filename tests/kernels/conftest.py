"""Kernels are called here by address, on vectors that a test packs from Python integers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numba.core.ccallback import CFunc

from hecore.arith.modulus import Modulus
from hecore.kernels.cpu import cache as kernel_cache
from hecore.kernels.cpu import elements
from hecore.kernels.cpu.context import Context, empty_vectors, make_context
from hecore.kernels.cpu.elements import SLACK_BITS, work_vectors
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Vectors = NDArray[np.uint64]

GARBAGE = 0xDEAD_BEEF_DEAD_BEEF


def fixed(label: str, bits: int) -> int:
    """A fixed integer in [0, 2**bits) that looks random: failures repeat."""
    return int.from_bytes(shake_256(label.encode()).digest(-(-bits // 8)), "little") % (1 << bits)


def garbage(vectors: int) -> Vectors:
    """Memory that a kernel may write but must not read."""
    out = empty_vectors(vectors)
    out[:] = GARBAGE
    return out


def pack(values: Sequence[int], digits: int) -> Vectors:
    """One value a lane, the last repeated, as `digits` vectors of 52-bit digits."""
    out = empty_vectors(digits)
    lanes = [values[min(k, len(values) - 1)] for k in range(LANES)]
    assert all(0 <= value < 1 << (DIGIT_BITS * digits) for value in lanes)
    rows = [[value >> (DIGIT_BITS * i) & DIGIT_MASK for i in range(digits)] for value in lanes]
    out.reshape(digits, LANES)[:] = np.array(rows, dtype=np.uint64).T
    return out


def columns(vectors: Vectors, start: int, count: int) -> list[int]:
    """The value of every lane, sum of column[j] * 2^(52 j): columns need not be digits."""
    block = vectors.reshape(-1, LANES)[start : start + count]
    return [sum(int(word) << (DIGIT_BITS * i) for i, word in enumerate(lane)) for lane in block.T]


def digits(vectors: Vectors, start: int, count: int) -> list[int]:
    """As `columns`, of what must be digits."""
    assert int(vectors.reshape(-1, LANES)[start : start + count].max()) <= DIGIT_MASK
    return columns(vectors, start, count)


def chunks(cases: Sequence[tuple[int, ...]]) -> Iterator[tuple[list[int], ...]]:
    """Cases a lane group at a time, one list of LANES values for each of a case's numbers."""
    for batch in itertools.batched(cases, LANES) if hasattr(itertools, "batched") else _batched(cases):
        filled = [batch[min(k, len(batch) - 1)] for k in range(LANES)]
        yield tuple([case[i] for case in filled] for i in range(len(batch[0])))


def _batched(cases: Sequence[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    for start in range(0, len(cases), LANES):
        yield tuple(cases[start : start + LANES])


def compiled(name: str) -> Callable[..., None]:
    """The element function `name` as kernels call it: by its published address, or compiled for this call."""
    for function in kernel_cache._published:
        if function.__name__ == name:
            assert isinstance(function, CFunc)
            call: Callable[..., None] = function.ctypes
            return call
    dispatcher: Callable[..., None] = getattr(elements, name)
    return dispatcher


@cache
def _context(n: int, length: int, kind: int) -> Context:
    return make_context(Modulus(n) if kind == elements.PLAIN else Modulus.square(n), length)


@dataclass(frozen=True)
class Lab:
    """One modulus at one length, with its context, work space and the values worth trying."""

    n: int
    length: int
    kind: int

    @property
    def context(self) -> Context:
        return _context(self.n, self.length, self.kind)

    @property
    def radix(self) -> int:
        return 1 << (DIGIT_BITS * self.length)

    def run(self, name: str, result: int, *operands: Vectors | int, alias: int | None = None) -> Vectors:
        """name(r, *operands, constants, length, work) with `result` components; `alias`: r is that operand."""
        context, work = self.context, garbage(work_vectors(self.length))
        out = garbage(result * self.length)
        if alias is not None:
            given = operands[alias]
            assert isinstance(given, np.ndarray)
            out = given
        addresses = [x if isinstance(x, int) else x.ctypes.data for x in operands]
        extra = [self.kind] if name in ("canonical", "multiply_element", "square_element") else []
        compiled(name)(
            out.ctypes.data, *addresses, context.constants.ctypes.data, self.length, *extra, work.ctypes.data
        )
        return out

    def loose(self) -> list[int]:
        """Components below 16n, the edges first."""
        edges = [0, 1, self.n - 1, self.n, 16 * self.n - 1, 2 * self.n - 1]
        ones = [(1 << DIGIT_BITS * i) - 1 for i in range(self.length, 0, -1)]
        edges.append(next((value for value in ones if value < 16 * self.n), 0))
        edges.append(fixed(f"loose {self.n} {self.length}", DIGIT_BITS * self.length + 64) % (16 * self.n))
        return edges


def moduli(length: int) -> dict[str, int]:
    """n with R >= 2^12 n, and what is special about it."""
    top = DIGIT_BITS * length - SLACK_BITS
    return {
        "largest": (1 << top) - 1,
        "top bit": (1 << (top - 1)) + 1,
        "three": 3,
        "random": fixed(f"n {length}", top) | 1 << (top - 1) | 1,
        "low digits zero": (1 << DIGIT_BITS * (length - 1)) + 1,
    }


# MIN_DIGITS, two rows, Karatsuba's method for sums of two products, for none, for all in four, in six rows,
# the largest key.
LENGTHS = (4, 6, 20, 22, 24, 30, 164)
SHAPES = [
    (length, name) for length in LENGTHS for name in moduli(length) if length < 100 or name in ("largest", "random")
]


@pytest.fixture(params=LENGTHS)
def length(request: pytest.FixtureRequest) -> int:
    value: int = request.param
    return value


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]} digits, {shape[1]}")
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    """L and a modulus for it."""
    length, name = request.param
    return length, moduli(length)[name]


@pytest.fixture
def plain(shape: tuple[int, int]) -> Lab:
    return Lab(shape[1], shape[0], elements.PLAIN)


@pytest.fixture
def square(shape: tuple[int, int]) -> Lab:
    return Lab(shape[1], shape[0], elements.SQUARE)


def pairs(values: Sequence[Any]) -> list[tuple[Any, ...]]:
    return list(itertools.product(values, repeat=2))
