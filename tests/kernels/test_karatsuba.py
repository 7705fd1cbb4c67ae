"""Karatsuba's products on columns against Python integers, at the edges of the halves and of their sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hecore.kernels.cpu import counts, karatsuba
from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES
from tests.kernels.conftest import chunks, digits, fixed, garbage, pack

LENGTHS = (12, 18, 20, 24, 30, 40, 60, 160)


@inner
def _one(acc, a, b, sums, length):  # type: ignore[no-untyped-def]
    karatsuba.multiply_columns(acc, a, b, sums, length)


@inner
def _two(acc, a, b, c, d, sums, length):  # type: ignore[no-untyped-def]
    karatsuba.multiply_two_columns(acc, a, b, c, d, sums, length)


def values_of(length: int) -> list[int]:
    """Halves whose sum carries in every digit, in none, just at the top; halves of nothing; random ones."""
    half = 1 << DIGIT_BITS * (length // 2)
    radix = half * half
    at_top = (half - 1) * half + 1
    below = (half // 2 - 1) * half + half // 2
    return [radix - 1, at_top, below, half, half - 1, 0, 1, DIGIT_MASK, fixed(f"k {length}", 52 * length)]


def value_of(acc: Any, length: int) -> list[int]:
    """The numbers that signed columns stand for."""
    rows = acc.reshape(-1, LANES)[: 2 * length].astype(np.int64)
    return [sum(int(rows[j, k]) << DIGIT_BITS * j for j in range(2 * length)) for k in range(LANES)]


def run(f: Any, length: int, operands: list[list[int]]) -> tuple[Any, Any]:
    acc = garbage(2 * length)
    sums = garbage(karatsuba.SUMS_LENGTHS * length + karatsuba.SUMS_MORE + 1)
    packed = [pack(x, length) for x in operands]
    before = sums[-LANES:].copy()
    f(acc.ctypes.data, *(x.ctypes.data for x in packed), sums.ctypes.data, length)
    assert (sums[-LANES:] == before).all()
    assert [digits(x, 0, length) for x in packed] == [list(x) for x in operands]
    return acc, sums


@pytest.mark.parametrize("length", LENGTHS)
def test_one_product(length: int) -> None:
    for a, b in chunks([(a, b) for a in values_of(length) for b in values_of(length)]):
        acc, _ = run(_one, length, [a, b])
        assert value_of(acc, length) == [x * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("length", LENGTHS)
def test_two_products(length: int) -> None:
    values = values_of(length)
    cases = [
        (a, b, values[(i + 4) % 9], values[(j + 2) % 9]) for i, a in enumerate(values) for j, b in enumerate(values)
    ]
    for a, b, c, d in chunks([*cases, (values[0],) * 4, (values[1],) * 4]):
        acc, _ = run(_two, length, [a, b, c, d])
        assert value_of(acc, length) == [w * x + y * z for w, x, y, z in zip(a, b, c, d, strict=True)]


@pytest.mark.parametrize("length", LENGTHS)
def test_sums_are_left_where_the_next_product_looks(length: int) -> None:
    half = 1 << DIGIT_BITS * (length // 2)
    for a, b in chunks([(a, b) for a in values_of(length) for b in values_of(length)]):
        _, sums = run(_one, length, [a, b])
        step = length // 2 + 1
        for place, operand in enumerate((a, b)):
            masks = sums.reshape(-1, LANES)[place * step + length // 2]
            for k, (value, found) in enumerate(zip(operand, digits(sums, place * step, length // 2), strict=True)):
                total = value % half + value // half
                assert found == total % half
                assert int(masks[k]) == (total // half) * (2**64 - 1)


def test_three_quarters_are_counted() -> None:
    assert counts.product_by_rows(40) * 4 == 3 * 2 * 40**2
    assert counts.two_products(20) * 4 == 3 * 4 * 20**2
    assert counts.product_by_rows(20) == 2 * 20**2
    assert counts.two_products(22) == 4 * 22**2
