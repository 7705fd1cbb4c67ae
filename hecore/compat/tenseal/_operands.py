"""What users put beside an encrypted tensor: numbers of Python and NumPy, arrays, lists, plain tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.compat.tenseal._plain import PlainTensor
from hecore.errors import OperandTypeError, PlaintextRangeError

Floats = NDArray[np.float64]


def as_number(value: Any) -> float | None:
    """A real number as a float, None for anything else. Raises PlaintextRangeError beyond the range of floats."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, int | float | np.bool_ | np.integer | np.floating):
        return None
    try:
        return float(value)
    except OverflowError:
        raise PlaintextRangeError("value must be finite: it is beyond the range of a float") from None


def as_floats(value: Any) -> Floats:
    """An array of float64. Raises OperandTypeError for what is none."""
    if not isinstance(value, PlainTensor):
        try:
            value = PlainTensor(value, dtype="float")
        except OperandTypeError:
            raise OperandTypeError(f"can't operate with object of type {type(value)}") from None
    return np.asarray(value, dtype=np.float64)


def as_real(value: Any, name: str) -> float:
    """A number for the parameter of that name. Raises OperandTypeError."""
    number = as_number(value)
    if number is None:
        raise OperandTypeError(f"{name} must be a number, not {type(value).__name__}")
    return number
