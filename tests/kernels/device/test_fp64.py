"""The double-precision Montgomery product, bit for bit: with all lanes of a card on the host, with one on PoCL."""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.bench.gpu_fp64 import SHAPES
from tests.kernels.device.host import COMPILER, HostProgram, signatures, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hecore.backends.kernel_base import KernelBase

RADIX = 51
KINDS = ("random", "all ones", "smallest")


@pytest.fixture(scope="module")
def device() -> KernelBase:
    if find_spec("pyopencl") is None:
        pytest.skip("needs pyopencl")
    from hecore.backends.kernel_base import KernelBase
    from hecore.backends.opencl import OpenClDevice

    return KernelBase(OpenClDevice())


def digits(values: list[int], width: int) -> NDArray[np.uint64]:
    rows = [[x >> RADIX * j & (1 << RADIX) - 1 for j in range(width)] for x in values]
    return np.array(rows, dtype=np.uint64)


def almost_normal(row: NDArray[np.uint64]) -> None:
    """The same integer with digits of up to 2^51 + 2^12: what a carry that stops half way leaves."""
    for j in range(len(row) - 1):
        if row[j + 1] and row[j] <= 1 << 12:
            row[j + 1] -= np.uint64(1)
            row[j] += np.uint64(1 << RADIX)


class Problem:
    """Awkward operands modulo one n, and what must come of them."""

    def __init__(self, width: int, kind: str) -> None:
        bits = RADIX * width - 6
        self.n = {"random": secrets.randbits(bits) | 1 << bits - 1 | 1, "all ones": (1 << bits) - 1, "smallest": 3}[
            kind
        ]
        self.width, n = width, self.n
        some = [secrets.randbelow(2 * n) for _ in range(5)]
        self.left = [0, 1, n - 1, n, 2 * n - 1, 2 * n - 2, *some]
        self.right = [2 * n - 1, n - 1, n - 1, 1, 2 * n - 1, 0, *reversed(some)]
        self.a, self.b, self.modulus = (digits(x, width) for x in (self.left, self.right, [n]))
        for row in self.a:
            almost_normal(row)
        self.inverse = -pow(n, -1, 1 << RADIX) % (1 << RADIX)

    def check(self, out: NDArray[np.uint64]) -> None:
        n = self.n
        factor = pow(1 << RADIX * self.width, -1, n)
        for x, y, row in zip(self.left, self.right, out, strict=True):
            product = sum(int(digit) << RADIX * j for j, digit in enumerate(row))
            assert product % n == x * y * factor % n
            assert product < 2 * n
            assert int(row.max()) <= (1 << RADIX) + (1 << 12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "rows"), [(2, 2), (4, 4), (21, 3), (42, 3), (84, 4)])
def test_products_are_exact(device: KernelBase, width: int, rows: int, kind: str) -> None:
    problem = Problem(width, kind)
    buffers = [device._to_device(x) for x in (problem.a, problem.b, problem.modulus)]
    out = device._empty(problem.a.size, np.uint64)
    defines = {"BLOCK": 8, "LANES": 1, "DIGITS": width, "ROWS": rows}
    count = len(problem.left)
    sizes = (np.uint64(problem.inverse), np.uint32(count))
    device._launch("fp64", "multiply_fp64", defines, count, out, *buffers, *sizes)
    problem.check(device._to_host(out, problem.a.shape, np.uint64))


@pytest.mark.skipif(COMPILER is None, reason="needs g++")
@pytest.mark.parametrize(("lanes", "width", "rows"), [shape for shapes in SHAPES.values() for shape in shapes])
def test_products_are_exact_in_several_lanes(tmp_path: Path, lanes: int, width: int, rows: int) -> None:
    defines = {"BLOCK": 64, "LANES": lanes, "DIGITS": width, "ROWS": rows}
    program = HostProgram(tmp_path, "fp64", text_of("fp64"), signatures("fp64"), defines)
    for kind in KINDS:
        problem = Problem(lanes * width, kind)
        for backwards in (False, True):
            out, count = np.zeros_like(problem.a), len(problem.left)
            operands = (problem.a, problem.b, problem.modulus, problem.inverse, count)
            program.launch("multiply_fp64", count * lanes, out, *operands, backwards=backwards)
            problem.check(out)
