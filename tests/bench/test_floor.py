"""Counts of multiply-adds by hand, and the measured peak."""

from __future__ import annotations

import pytest

from hecore.bench import floor
from hecore.bench.suites import SUITES, operations
from hecore.kernels.cpu.vector import LANES

# 2048-bit root: 2048 + 12 spare bits in 52-bit digits, rounded up to even.
L = 40


def test_products_by_hand() -> None:
    plain, square_form, squaring = floor.multiply(4096), floor.multiply_square_form(2048), floor.square_form(2048)
    schoolbook = 4 * 79**2  # 4096 bits are 79 digits
    rows = 3 * 2 * (L // 2) ** 2  # by Karatsuba's method
    assert (plain.executed, plain.schoolbook) == (4 * rows + 2 * (4 * L**2 + L), schoolbook)
    product, square, reduction, recoding = by_hand()
    assert (square_form.executed, square_form.schoolbook) == (3 * product + 2 * reduction + 4 * recoding, schoolbook)
    assert (squaring.executed, squaring.schoolbook) == (square + product + 2 * reduction + 2 * recoding, schoolbook)


def by_hand() -> tuple[int, int, int, int]:
    """Multiply-adds of a product, a square, a reduction and of recoding, of 40 digits or of 41 of 51 bits."""
    if LANES != 8:
        rows = 3 * 2 * (L // 2) ** 2
        return rows, L**2 + L, 2 * L**2 + L, 0
    pairs = 2 * sum(1 for i in range(41) for j in range(i, 41))  # digit i with digit j >= i
    prefix = 2 * 41
    low = 2 * sum(1 for i in range(41) for j in range(i, 41) if i + j <= 40)
    high = 2 * sum(1 for i in range(41) for j in range(i, 41) if i + j in (38, 39) or i + j >= 40)
    halves_below = sum(1 for i in range(41) for j in range(i, 41) if i + j == 37)
    return pairs + prefix, pairs, low + high + halves_below + 2 * prefix, 2 * L - 1


@pytest.mark.parametrize("secret", [False, True])
def test_power_by_hand(secret: bool) -> None:
    # 15 bits in 8 windows of 2: a square and a cube for the table, then 7 times 2 squarings and a product.
    # The square of a 100-bit root has 4 digits.
    assert floor.power(100, 15, secret=secret).schoolbook == (2 + 7 * 3) * 4 * 4**2


def test_encryption_by_hand() -> None:
    # 1024-bit exponents by 114 windows of 9 bits: 113 products, one more for the message.
    if LANES != 8:
        pytest.skip("the portable path has smaller tables")
    assert floor.encrypt(2048).schoolbook == 114 * 4 * 79**2
    own_halves = 2 * 113 * 4 * 40**2  # the same number of windows, at half the size: 2048 bits are 40 digits
    assert floor.encrypt_own(2048).schoolbook == own_halves + 3 * 4 * 79**2


@pytest.mark.parametrize("key_bits", [1024, 2048, 3072, 4096])
def test_saved_arithmetic_is_counted_as_saved(key_bits: int) -> None:
    for work in (
        floor.encrypt(key_bits),
        floor.encrypt_own(key_bits),
        floor.decrypt(key_bits),
        floor.decrypt_full(key_bits),
    ):
        assert 1.2 < work.schoolbook / work.executed < 4
    assert floor.plain_mul(key_bits).executed < floor.plain_mul(key_bits).schoolbook


def test_a_matrix_product_costs_less_a_term_than_a_power() -> None:
    work = floor.matvec(2048, 40, 2000)
    assert work is not None
    assert work.executed < floor.plain_mul(2048).executed / 4
    assert floor.matvec(2048, 64, 2) is None, "Straus' method serves it"


def test_the_peak_is_measured_on_the_cpu_alone() -> None:
    peak = floor.peak_of("cpu")
    lane_ns = peak.lane_ns()
    assert lane_ns is not None
    assert 0.001 < lane_ns < 50
    assert peak.lanes == LANES
    none = floor.peak_of("reference")
    assert none.lane_ns() is None
    assert "reference" in none.reason


def test_operations_have_distinct_names() -> None:
    assert len(operations(())) == sum(len(suite) for suite in SUITES.values())
