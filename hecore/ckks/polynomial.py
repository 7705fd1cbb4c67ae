"""Polynomials of ciphertexts, in powers and in Chebyshev polynomials, in the least depth, with exact scales.

A polynomial p of degree d, 2^(n-1) <= d < 2^n, takes n levels (one a multiplication, one for the coefficients). With m
the largest power of two up to d, p = q*B_m + r for basis elements B_i (x^i, or T_i(x)): Paterson, Stockmeyer (SIAM J.
Comput. 1973), in the recursive form of Han, Ki (CT-RSA 2020). q is evaluated likewise, r split on. All that adds up to

    p = q_m*B_m + q_(m/2)*B_(m/2) + … + (terms c_i*B_i of degree below k)

is at one level and at one scale before anything is relinearized or rescaled, so that p costs one of each, whatever the
number of products. k = 2^(n/2) keeps powers and products in balance; terms that would come a level too late are split
on below k.

Scales are exact by choice of constants (an idea of Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021):
where p is wanted at scale s and level l, its terms are at scale s*q at level l+1, q the modulus that goes: c_i*B_i by
encoding c_i at s*q / scale(B_i), q_m*B_m by evaluating q_m at scale s*q / scale(B_m). Nothing is corrected afterwards.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from hecore.ckks import evaluator
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.scale import Scale
from hecore.ckks.tensor import EncryptedTensor
from hecore.errors import LevelError, OperandTypeError, ParameterError, PlaintextRangeError

__all__ = ["chebyshev", "depth", "evaluate", "power"]

Encrypted = TypeVar("Encrypted", Ciphertext, EncryptedTensor)
Coefficients = list[float]


def depth(degree: int) -> int:
    """Levels that a polynomial of that degree takes: ceil(log2(degree + 1))."""
    return degree.bit_length()


def evaluate(x: Encrypted, coefficients: ArrayLike) -> Encrypted:
    """sum_i coefficients[i] * x^i in every slot, real coefficients, degree 1 or more; the scale of x comes back.

    Takes `depth(degree)` levels. Raises LevelError, MissingKeyError, ParameterError, PlaintextRangeError.
    """
    checked = _checked(coefficients)
    return _slotwise(x, lambda a: _evaluate(_Powers(a), checked), np.polynomial.polynomial.Polynomial(checked))


def chebyshev(x: Encrypted, coefficients: ArrayLike, interval: tuple[float, float] = (-1.0, 1.0)) -> Encrypted:
    """sum_i coefficients[i] * T_i(u) for x in `interval`, u = (2x - a - b) / (b - a) in [-1, 1].

    As numpy.polynomial.Chebyshev(coefficients, domain=interval). Takes `depth(degree)` levels, and one more where the
    interval is not of length 2: values that come out of a product with plain weights are best brought to [-1, 1] there.
    Outside the interval Chebyshev polynomials grow fast: a declared bound that reaches beyond it is refused
    (PlaintextRangeError). Raises as `evaluate`.
    """
    checked = _checked(coefficients)
    low, high = _ends(interval)
    return _slotwise(
        inside(x, float(low), float(high)),
        lambda a: _evaluate(_Chebyshev(_stretched(a, low, high)), checked, a.scale),
        np.polynomial.Chebyshev(checked, domain=interval),
    )


def power(x: Encrypted, exponent: int) -> Encrypted:
    """x^exponent for an exponent from 1 on, in ceil(log2(exponent)) levels. Raises LevelError, MissingKeyError."""
    if isinstance(exponent, bool | np.bool_) or not isinstance(exponent, int | np.integer):
        raise OperandTypeError(f"cannot raise to a {type(exponent).__name__} power: a whole number is needed")
    exponent = int(exponent)
    if exponent < 1:
        raise ParameterError(f"cannot raise to the power {exponent}: from 1 on")
    return _slotwise(x, lambda a: _Powers(a)[exponent], lambda padding: padding**exponent)


def _slotwise(
    x: Encrypted, function: Callable[[Ciphertext], Ciphertext], plain: Callable[[complex], complex]
) -> Encrypted:
    if isinstance(x, Ciphertext):
        return function(x)
    if not isinstance(x, EncryptedTensor):
        raise OperandTypeError(f"cannot evaluate at a {type(x).__name__}: an encrypted tensor or a ciphertext")
    return x.derived(function(x.ciphertext), None if x.padding is None else complex(plain(x.padding)))


def inside(x: Encrypted, low: float, high: float) -> Encrypted:
    """x, of whose empty slots none holds what is not in [low, high], for a polynomial that grows fast outside.

    One that overflowed the modulus would take all others with it. Costs as `EncryptedTensor.with_padding`.
    """
    if not isinstance(x, EncryptedTensor) or x.layout.is_full:
        return x
    if x.padding is not None and x.padding.imag == 0 and low <= x.padding.real <= high:
        return x
    return x.with_padding(0.0 if low <= 0 <= high else (low + high) / 2)


def _ends(interval: tuple[float, float]) -> tuple[Fraction, Fraction]:
    try:
        low, high = (float(end) for end in interval)
    except (TypeError, ValueError):
        raise OperandTypeError("cannot use this interval: two real numbers are needed") from None
    if not -math.inf < low < high < math.inf:
        raise ParameterError(f"cannot use the interval {interval}: its ends must be finite and ascend")
    return Fraction(low), Fraction(high)


def _checked(coefficients: ArrayLike) -> Coefficients:
    try:
        given = np.asarray(coefficients)
    except ValueError:
        raise OperandTypeError("cannot use these coefficients: real numbers are needed") from None
    if given.dtype.kind not in "biuf":
        raise OperandTypeError(f"cannot use coefficients of dtype {given.dtype}: real numbers are needed")
    values = given.astype(np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ParameterError(f"cannot use coefficients of shape {values.shape}: degrees 0 to d in order, d at least 1")
    if not np.isfinite(values).all():
        raise PlaintextRangeError("cannot use coefficients that are NaN or infinite")
    return [float(c) for c in values]


# -- bases -------------------------------------------------------------------------------------------------


class _Basis(ABC):
    """B_1, B_2, … of one ciphertext, each made when it is first asked for, relinearized and rescaled."""

    def __init__(self, x: Ciphertext) -> None:
        self._made = {1: evaluator.relinearize(x)}

    @property
    def top(self) -> int:
        """Level of B_1."""
        return self._made[1].level

    def level(self, i: int) -> int:
        """Level of B_i."""
        return self.top - (i - 1).bit_length()

    def __getitem__(self, i: int) -> Ciphertext:
        if i not in self._made:
            self._made[i] = self._make(i)
        return self._made[i]

    def at(self, i: int, level: int) -> Ciphertext:
        return evaluator.drop_to_level(self[i], level)

    @abstractmethod
    def _make(self, i: int) -> Ciphertext:
        """B_i at its level."""

    @abstractmethod
    def split(self, coefficients: Coefficients, m: int) -> tuple[Coefficients, Coefficients]:
        """q and r of p = q*B_m + r, for m <= degree < 2m."""

    @abstractmethod
    def bound(self, coefficients: Coefficients) -> float | None:
        """Of |p| where one is known."""


class _Powers(_Basis):
    """B_i = x^i."""

    def _make(self, i: int) -> Ciphertext:
        half = 1 << ((i - 1).bit_length() - 1)  # the largest power of two below i
        return evaluator.multiply_rescale(self[half], self[i - half])

    def split(self, coefficients: Coefficients, m: int) -> tuple[Coefficients, Coefficients]:
        return coefficients[m:], coefficients[:m]

    def bound(self, coefficients: Coefficients) -> float | None:
        x = self._made[1].bound
        return None if x is None else sum(abs(c) * x**i for i, c in enumerate(coefficients))


class _Chebyshev(_Basis):
    """B_i = T_i(x), |x| <= 1: T_(a+b) = 2*T_a*T_b - T_(a-b), T_0 = 1."""

    def _make(self, i: int) -> Ciphertext:
        a, b = (i + 1) // 2, i // 2
        level = min(self.level(a), self.level(b))
        product = evaluator.multiply(self.at(a, level), self.at(b, level))
        twice = evaluator.multiply(product, 2)
        if a == b:
            total = evaluator.subtract(twice, 1)
        else:
            total = evaluator.add(twice, evaluator.multiply(self.at(1, level), -1.0, scale=twice.scale / self[1].scale))
        made = evaluator.relinearize_rescale(total)
        return made if self._made[1].bound is None else replace(made, bound=1.0)

    def split(self, coefficients: Coefficients, m: int) -> tuple[Coefficients, Coefficients]:
        rest = list(coefficients[:m])  # T_(m+j) = 2*T_m*T_j - T_(m-j)
        for j, c in enumerate(coefficients[m + 1 :], start=1):
            rest[m - j] -= c
        return [coefficients[m], *(2 * c for c in coefficients[m + 1 :])], rest

    def bound(self, coefficients: Coefficients) -> float | None:
        return None if self._made[1].bound is None else sum(abs(c) for c in coefficients)


def _stretched(a: Ciphertext, low: Fraction, high: Fraction) -> Ciphertext:
    """(2a - low - high) / (high - low)."""
    centre, radius = (low + high) / 2, (high - low) / 2
    if a.bound is not None and Fraction(a.bound) > max(abs(low), abs(high)):
        raise PlaintextRangeError(
            f"cannot evaluate on [{float(low)}, {float(high)}]: the declared bound is {a.bound}; a wider interval, or "
            "a smaller bound where the values were encrypted"
        )
    moved = evaluator.subtract(a, centre) if centre else a
    if radius != 1:
        moved = evaluator.multiply_rescale(moved, 1 / radius)
    return replace(moved, bound=None if a.bound is None else 1.0, seed=None)


# -- evaluation --------------------------------------------------------------------------------------------


def _evaluate(basis: _Basis, coefficients: Coefficients, scale: Scale | None = None) -> Ciphertext:
    """p at the lowest level it needs, at `scale`, by default that of B_1."""
    needed = depth(len(coefficients) - 1)
    if needed > basis.top:
        raise LevelError(
            f"cannot evaluate a polynomial of degree {len(coefficients) - 1} at level {basis.top}: it takes {needed} "
            f"levels; a lower degree, or a chain with {needed - basis.top} more of moduli_bits"
        )
    leaf = 1 << max(1, needed // 2)
    out = _finished(basis, coefficients, basis.top - needed, basis[1].scale if scale is None else scale, leaf)
    bound = basis.bound(coefficients)
    return out if bound is None or out.bound is None else replace(out, bound=min(bound, out.bound))


def _finished(basis: _Basis, coefficients: Coefficients, level: int, scale: Scale, leaf: int) -> Ciphertext:
    """p at exactly this level and scale, relinearized and rescaled."""
    modulus = basis[1].parameters.basis.moduli[level + 1]
    total = _unfinished(basis, coefficients, level + 1, scale * modulus, leaf)
    return evaluator.relinearize_rescale(total)


def _unfinished(basis: _Basis, coefficients: Coefficients, level: int, scale: Scale, leaf: int) -> Ciphertext:
    """p at this level and scale, of up to three components; degree 1 or more."""
    total: Ciphertext | None = None
    while True:
        degree = len(coefficients) - 1
        if degree < leaf and (degree < 2 or basis.level(degree) >= level):
            break
        m = 1 << (degree.bit_length() - 1)
        quotient, coefficients = basis.split(coefficients, m)
        if len(quotient) == 1:
            term = _term(basis, m, quotient[0], level, scale)
        else:
            factor = _finished(basis, quotient, level, scale / basis[m].scale, leaf)
            term = evaluator.multiply(factor, basis.at(m, level))
        total = term if total is None else evaluator.add(total, term)
    for i in range(1, len(coefficients)):
        if coefficients[i] or (total is None and i == len(coefficients) - 1):
            term = _term(basis, i, coefficients[i], level, scale)
            total = term if total is None else evaluator.add(total, term)
    assert total is not None, "degree 0"
    return evaluator.add(total, coefficients[0]) if coefficients[0] else total


def _term(basis: _Basis, i: int, coefficient: float, level: int, scale: Scale) -> Ciphertext:
    """coefficient * B_i, neither relinearized nor rescaled."""
    return evaluator.multiply(basis.at(i, level), coefficient, scale=scale / basis[i].scale)
