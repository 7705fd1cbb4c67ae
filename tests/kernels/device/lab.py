"""One shape of integers, one modulus, and the `integer` kernels on them: on the host's fibers or on an OpenCL device.

Operands are rows of digits, not values: most of what can go wrong is in digits that carry late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from hecore.kernels import device
from tests.kernels.conftest import fixed
from tests.kernels.device.host import CANARY, Array, Guarded, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.backends.device import Argument

SLACK_BITS = 6  # R >= 64 n
SHORT = 39  # digits: what only digits' values decide is tried below
LATE = 1 << 9  # a digit is at most 2^radix + LATE


@dataclass(frozen=True)
class Shape:
    """How many threads share an integer, the digits of each, and how many integers' threads make a block."""

    lanes: int
    digits: int
    radix: int
    block: int

    def __str__(self) -> str:
        return f"{self.lanes}x{self.digits}"

    @property
    def width(self) -> int:
        return self.lanes * self.digits

    @property
    def bits(self) -> int:
        """Of the largest modulus."""
        return self.radix * self.width - SLACK_BITS

    def defines(self, rows: int, *, square: bool) -> dict[str, int]:
        return {
            "BLOCK": self.block,
            "LANES": self.lanes,
            "DIGITS": self.digits,
            "RADIX": self.radix,
            "ROWS": rows,
            "SQUARE": int(square),
        }

    def digits_of(self, value: int, width: int | None = None) -> list[int]:
        """Normal digits."""
        width = self.width if width is None else width
        assert 0 <= value < 1 << self.radix * width
        return [value >> self.radix * j & (1 << self.radix) - 1 for j in range(width)]

    def value_of(self, digits: Sequence[int] | Words) -> int:
        return sum(int(digit) << self.radix * j for j, digit in enumerate(digits))

    def late_digits(self, bound: int, label: str | None = None) -> list[int] | None:
        """Digits as large as they may be (with a label: any up to that), of a value below `bound`, if there is one."""
        limit = (1 << self.radix) + LATE
        low = [limit if label is None else fixed(f"{label} {j}", 40) % (limit + 1) for j in range(self.width - 1)]
        rest = bound - 1 - self.value_of(low)
        if rest < 0:
            return None
        return [*low, min(rest >> self.radix * (self.width - 1), (1 << self.radix) - 1)]


class Runner(Protocol):
    """Launches a program's kernels on host arrays; what kernels write they find there."""

    def launch(self, kernel: str, threads: int, *arguments: Array | int | None, backwards: bool = False) -> None: ...


class OpenClRunner:
    """A program on the first OpenCL device. Skips the test where pyopencl is not installed."""

    def __init__(self, program: str, defines: dict[str, int]) -> None:
        pytest.importorskip("pyopencl")
        from hecore.backends.kernel_base import KernelBase
        from hecore.backends.opencl import OpenClDevice

        self._device, self._program, self._defines = KernelBase(OpenClDevice()), program, defines

    def launch(self, kernel: str, threads: int, *arguments: Array | int | None, backwards: bool = False) -> None:
        kinds = [kind for kind, _ in device.manifest(self._program).kernels[kernel].arguments]
        buffers = {id(a): self._device._to_device(a) for a in arguments if isinstance(a, np.ndarray)}
        passed: list[Argument] = [
            (np.uint64 if kind == "u64" else np.uint32)(a) if isinstance(a, int) else buffers.get(id(a))
            for kind, a in zip(kinds, arguments, strict=True)
        ]
        self._device._launch(self._program, kernel, self._defines, threads, *passed)
        for kind, array in zip(kinds, arguments, strict=True):
            if isinstance(array, np.ndarray) and kind.endswith("*") and not kind.startswith("const"):
                self._device._device.read(buffers[id(array)], array)


class Lab:
    """A modulus n, or n^2 with `square`, at a shape."""

    def __init__(self, runner: Runner, shape: Shape, n: int, *, square: bool) -> None:
        self.runner, self.shape, self.n, self.square = runner, shape, n, square
        self.modulus = n * n if square else n
        self.radix = 1 << shape.radix * shape.width  # R
        self.words = (1 + square) * shape.width
        rows = [n, -(self.radix - 1) % n] if square else [n]
        self.tail = (
            self.array([digit for row in rows for digit in shape.digits_of(row)]),
            -pow(n, -1, 1 << shape.radix) % (1 << shape.radix),
        )

    @staticmethod
    def array(rows: Sequence[object]) -> Words:
        return np.ascontiguousarray(np.array(rows, dtype=np.uint32))

    def element(self, residue: int) -> list[int]:
        """The row of a residue that is in Montgomery form already."""
        parts = [residue % self.n, residue // self.n] if self.square else [residue]
        return [digit for part in parts for digit in self.shape.digits_of(part)]

    def montgomery(self, residue: int) -> list[int]:
        return self.element(residue * self.radix % self.modulus)

    def value(self, row: Sequence[int] | Words) -> int:
        """The residue of an element row: out of Montgomery form."""
        width = self.shape.width
        total = self.shape.value_of(row[:width]) + (self.shape.value_of(row[width:]) * self.n if self.square else 0)
        return total * pow(self.radix, -1, self.modulus) % self.modulus

    def components(self) -> list[list[int]]:
        """Digits of values below 2n, the awkward ones first."""
        n, shape = self.n, self.shape
        values = [0, 1, n - 1, n, 2 * n - 1, fixed(f"component {n}", shape.bits + 64) % (2 * n)]
        late = [shape.late_digits(2 * n), shape.late_digits(2 * n, f"late {n}")]
        return [*(shape.digits_of(value) for value in values), *(digits for digits in late if digits)]

    def operands(self, shift: int) -> Words:
        """Element rows; with another shift, other components meet."""
        parts = self.components()
        rows = [[*part, *(parts[(i * 3 + shift) % len(parts)] if self.square else [])] for i, part in enumerate(parts)]
        return self.array(rows[shift:] + rows[:shift])

    def run(
        self, kernel: str, words: int, count: int, *arguments: Array | int | None, backwards: bool = False
    ) -> Words:
        """What a kernel writes: `count` rows of `words`. Its first argument is that buffer, its last the modulus's."""
        out = Guarded(count * words)
        threads = count * self.shape.lanes
        self.runner.launch(kernel, threads, out.words, *arguments, *self.tail, count, backwards=backwards)
        return out.checked().reshape(count, words)

    def elements(self, kernel: str, count: int, *arguments: Array | int | None, backwards: bool = False) -> list[int]:
        """The residues that a kernel writes, components below 2n in almost normal digits."""
        rows = self.run(kernel, self.words, count, *arguments, backwards=backwards)
        assert int(rows.max(initial=0)) <= (1 << self.shape.radix) + LATE
        for row in rows:
            for start in range(0, self.words, self.shape.width):
                assert self.shape.value_of(row[start : start + self.shape.width]) < 2 * self.n
        return [self.value(row) for row in rows]

    def scratch(self, count: int, window: int) -> Words:
        integers = self.shape.block // self.shape.lanes
        return np.full(-(-count // integers) * integers * (self.words << window), CANARY, dtype=np.uint32)


def moduli(shape: Shape) -> dict[str, int]:
    """n with R >= 64 n, and what is special about it."""
    bits = shape.bits
    some = {"largest": (1 << bits) - 1}
    if shape.width < SHORT:
        some |= {"random": fixed(f"n {shape}", bits) | 1 << (bits - 1) | 1, "three": 3, "sparse": (1 << bits - 1) + 1}
    return some
