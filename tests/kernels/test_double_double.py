"""Double-double transforms, against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.arith.rns import bit_reversal
from hecore.kernels.cpu import double_double

Array = np.ndarray[Any, np.dtype[np.float64]]
Exact = tuple[Fraction, Fraction]

parts = st.floats(-1e9, 1e9).map(lambda x: x if abs(x) > 1e-20 else 0.0)


def split(value: Fraction) -> tuple[float, float]:
    high = float(value)
    return high, float(value - Fraction(high))


def array(numbers: list[Exact]) -> Array:
    return np.array([[*split(x), *split(y)] for x, y in numbers]).T.copy()


def exact(values: Array) -> list[Exact]:
    return [(Fraction(a) + Fraction(b), Fraction(c) + Fraction(d)) for a, b, c, d in values.T.tolist()]


def times(a: Exact, b: Exact) -> Exact:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[parts] * 8), parts)
def test_products(numbers: tuple[float, ...], factor: float) -> None:
    """Each number the sum of a double and of one far below it."""
    x = Fraction(numbers[0]) + Fraction(numbers[1]) / 2**60, Fraction(numbers[2]) + Fraction(numbers[3]) / 2**60
    y = Fraction(numbers[4]) + Fraction(numbers[5]) / 2**60, Fraction(numbers[6]) + Fraction(numbers[7]) / 2**60
    a, b = array([x]), array([y])
    ((real, imag),) = [times(p, q) for p, q in zip(exact(a), exact(b), strict=True)]
    size = max(abs(v) for v in exact(a)[0]) * max(abs(v) for v in exact(b)[0]) * abs(Fraction(factor))
    double_double.multiply(a, b, factor, 0.0)
    ((got_real, got_imag),) = exact(a)
    assert abs(got_real - real * Fraction(factor)) <= size * Fraction(1, 2**100)
    assert abs(got_imag - imag * Fraction(factor)) <= size * Fraction(1, 2**100)


def twiddles(n: int) -> Array:
    """As the transforms want them, from rational points near the circle: any numbers do for the identities below."""
    rows = []
    h = 1
    while h < n:
        rows += [(Fraction(np.cos(np.pi * j / h)), Fraction(np.sin(np.pi * j / h))) for j in range(h)]
        h *= 2
    return array(rows)


@pytest.mark.parametrize("n", [2, 8, 32])
def test_transforms_are_the_sums_they_claim(n: int) -> None:
    rng = np.random.default_rng(n)
    numbers = [(Fraction(x), Fraction(y)) for x, y in rng.uniform(-1, 1, (n, 2))]
    spectrum = np.fft.ifft([float(x) + 1j * float(y) for x, y in numbers], norm="forward")
    order = bit_reversal(n)

    natural = array(numbers)
    double_double.from_natural(natural, twiddles(n))
    assert np.abs(natural[0] + 1j * natural[2] - spectrum[order]).max() < 1e-13

    reversed_ = array(numbers)[:, order]
    double_double.to_natural(reversed_, twiddles(n))
    assert np.abs(reversed_[0] + 1j * reversed_[2] - spectrum).max() < 1e-13


@pytest.mark.parametrize("n", [2, 16])
def test_every_butterfly_keeps_a_hundred_bits(n: int) -> None:
    """Against the same transform in rationals, with the same twiddles."""
    rng = np.random.default_rng(n)
    numbers = [(Fraction(x), Fraction(y)) for x, y in rng.uniform(-1, 1, (n, 2))]
    table = exact(twiddles(n))
    wanted = list(numbers)
    h = n // 2
    while h:
        for start in range(0, n, 2 * h):
            for j in range(h):
                (xr, xi), (yr, yi) = wanted[start + j], wanted[start + h + j]
                wanted[start + j] = xr + yr, xi + yi
                wanted[start + h + j] = times((xr - yr, xi - yi), table[h - 1 + j])
        h //= 2
    values = array(numbers)
    double_double.from_natural(values, twiddles(n))
    for (x, y), (p, q) in zip(exact(values), wanted, strict=True):
        assert abs(x - p) + abs(y - q) < Fraction(n * n, 2**100)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**192 - 1), st.booleans(), st.integers(-100, 20))
def test_limbs(value: int, negative: bool, exponent: int) -> None:
    limbs = np.array([[value >> (64 * i) & (2**64 - 1) for i in range(3)]], dtype=np.uint64)
    out = np.empty((2, 1))
    double_double.from_limbs(out, limbs, np.array([negative]), 2.0**exponent, 0.0)
    wanted = (-value if negative else value) * Fraction(2) ** exponent
    assert abs(Fraction(out[0, 0]) + Fraction(out[1, 0]) - wanted) <= abs(wanted) * Fraction(1, 2**100)
    assert out[0, 0] == float(out[0, 0] + out[1, 0])
