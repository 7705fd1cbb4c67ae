"""The double-precision Montgomery product, bit for bit, where one thread holds a whole integer."""

from __future__ import annotations

import secrets

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hecore.backends.kernel_base import KernelBase
from hecore.backends.opencl import OpenClDevice

RADIX = 51


@pytest.fixture(scope="module")
def device() -> KernelBase:
    return KernelBase(OpenClDevice())


def digits(values: list[int], width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    rows = [[x >> RADIX * j & (1 << RADIX) - 1 for j in range(width)] for x in values]
    return np.array(rows, dtype=np.uint64)


def almost_normal(row: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> None:
    """The same integer with digits of up to 2^51 + 2^12: what a carry that stops half way leaves."""
    for j in range(len(row) - 1):
        if row[j + 1] and row[j] <= 1 << 12:
            row[j + 1] -= np.uint64(1)
            row[j] += np.uint64(1 << RADIX)


@pytest.mark.parametrize(("width", "rows"), [(2, 2), (4, 4), (21, 3), (42, 3), (84, 4)])
@pytest.mark.parametrize("kind", ["random", "all ones", "smallest"])
def test_products_are_exact(device: KernelBase, width: int, rows: int, kind: str) -> None:
    bits = RADIX * width - 6
    n = {"random": secrets.randbits(bits) | 1 << bits - 1 | 1, "all ones": (1 << bits) - 1, "smallest": 3}[kind]
    some = [secrets.randbelow(2 * n) for _ in range(5)]
    left = [0, 1, n - 1, n, 2 * n - 1, 2 * n - 2, *some]
    right = [2 * n - 1, n - 1, n - 1, 1, 2 * n - 1, 0, *reversed(some)]
    a, b = digits(left, width), digits(right, width)
    for row in a:
        almost_normal(row)
    buffers = [device._to_device(x) for x in (a, b, digits([n], width))]
    out = device._empty(a.size, np.uint64)
    defines = {"BLOCK": 8, "LANES": 1, "DIGITS": width, "ROWS": rows}
    inverse, count = np.uint64(-pow(n, -1, 1 << RADIX) % (1 << RADIX)), np.uint32(len(left))
    device._launch("fp64", "multiply_fp64", defines, len(left), out, *buffers, inverse, count)
    for x, y, row in zip(left, right, device._to_host(out, a.shape, np.uint64), strict=True):
        product = sum(int(digit) << RADIX * j for j, digit in enumerate(row))
        assert product % n == x * y * pow(1 << RADIX * width, -1, n) % n
        assert product < 2 * n
        assert int(row.max()) <= (1 << RADIX) + (1 << 12)
