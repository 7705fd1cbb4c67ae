"""Plain operands of encrypted tensors: real constants, and arrays of real or complex numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import encoding
from hecore.errors import OperandTypeError, PlaintextRangeError

__all__ = ["Constant", "Plain", "as_plain", "public_bound"]


@dataclass(frozen=True)
class Constant:
    """One real number: it multiplies and adds without a transform. An int does so exactly."""

    value: int | float | Fraction

    def negated(self) -> Constant:
        return Constant(-self.value)

    def reciprocal(self) -> Constant:
        """Raises PlaintextRangeError for zero."""
        if self.value == 0:
            raise PlaintextRangeError("cannot divide an encrypted tensor by zero")
        return Constant(1 / Fraction(self.value))


@dataclass(frozen=True)
class Plain:
    """Numbers of any shape, float64 or complex128, all finite."""

    values: NDArray[Any]

    def negated(self) -> Plain:
        return Plain(-self.values)

    def reciprocal(self) -> Plain:
        """Raises PlaintextRangeError for zero."""
        if not self.values.all():
            raise PlaintextRangeError("cannot divide an encrypted tensor by zero")
        with np.errstate(over="ignore", invalid="ignore"):
            values = 1 / self.values
        if not np.isfinite(values).all():
            raise PlaintextRangeError("cannot divide an encrypted tensor by numbers whose reciprocals are infinite")
        return Plain(values)


def as_plain(operand: object) -> Constant | Plain:
    """What a caller wrote next to a tensor. Raises OperandTypeError, PlaintextRangeError for NaN and infinities."""
    if isinstance(operand, Constant | Plain):
        return operand
    if isinstance(operand, np.ndarray) and operand.ndim == 0:
        operand = operand[()]
    if isinstance(operand, bool | np.bool_):
        return Constant(int(operand))
    if isinstance(operand, int | np.integer):
        return Constant(int(operand))
    if isinstance(operand, Fraction):
        return Constant(operand)
    if isinstance(operand, float | np.floating):
        if not math.isfinite(operand):
            raise PlaintextRangeError("cannot compute with NaN or an infinity")
        return Constant(float(operand))
    if isinstance(operand, str | bytes | dict | set) or operand is None:
        raise OperandTypeError(
            f"cannot compute with a {type(operand).__name__}: encrypted tensors, numbers and arrays of numbers"
        )
    return Plain(encoding.checked_values(operand, None))  # type: ignore[arg-type]


def public_bound(values: NDArray[Any]) -> float:
    """The largest magnitude, rounded up to a power of two: what a plain operand shows of itself in worst cases.

    Raises PlaintextRangeError where that is no double.
    """
    largest = encoding.magnitude(values)
    if largest > 2.0**1023:
        raise PlaintextRangeError("cannot compute with numbers above 2^1023")
    return 2.0 ** math.ceil(math.log2(largest)) if largest else 0.0
