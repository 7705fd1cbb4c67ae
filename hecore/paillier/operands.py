"""Anything number-like as a NumPy array whose elements are exactly the numbers that were given."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.errors import OperandTypeError, PlaintextRangeError, ShapeError

FLOAT_BYTES = (2, 4, 8)


def as_numbers(values: object) -> tuple[NDArray[Any], bool]:
    """Anything number-like -> (array of dtype bool, int, uint, float16/32/64 or object, follows the int64 rule).

    Python sequences are read element by element, so that NumPy's own choice of a common dtype (float64 for
    [2**63, -1]) never changes a number. Object arrays hold Python ints or Fractions only. Masked arrays are refused:
    what their mask hides would enter as a number.
    """
    refuse_mask(values)
    if isinstance(values, np.ndarray | np.generic):
        array = np.asarray(values)
    elif isinstance(values, bool | int | float | Fraction):
        array = np.array(values, dtype=object)
    elif hasattr(values, "__array__"):
        array = np.asarray(values)
    elif isinstance(values, list | tuple | range):
        try:
            array = np.array(values, dtype=object)
        except ValueError:
            raise ShapeError("cannot read an array from nested sequences of unequal lengths") from None
    else:
        raise OperandTypeError(f"cannot encode {type(values).__name__}: numbers and arrays of numbers are allowed")
    kind = array.dtype.kind
    if kind in "bui" or (kind == "f" and array.dtype.itemsize in FLOAT_BYTES):
        return array, False
    if kind == "f":
        if not np.isfinite(array).all():
            raise PlaintextRangeError("cannot encode NaN or an infinity")
        return as_objects([Fraction(*v.as_integer_ratio()) for v in array.flat], array.shape), False
    if kind != "O":
        raise OperandTypeError(f"cannot encode dtype {array.dtype}: bool, integers, floats and Fractions are allowed")
    return _classify(array), True


def refuse_mask(values: object) -> None:
    """Raises OperandTypeError for a masked array, nested ones included: nothing here would heed the mask."""
    if isinstance(values, np.ma.MaskedArray):
        raise OperandTypeError("cannot use a masked array: its mask would be lost; fill it first, .filled(0)")
    if isinstance(values, list | tuple):
        for value in values:
            refuse_mask(value)


def _classify(array: NDArray[Any]) -> NDArray[Any]:
    """An object array of Python or NumPy scalars -> bool, float64, or objects that are ints or Fractions."""
    kinds = {type(v) for v in array.flat}
    for kind in kinds:
        if issubclass(kind, list | tuple):
            raise ShapeError("cannot read an array from nested sequences of unequal lengths")
        if not issubclass(kind, bool | np.bool_ | int | np.integer | float | np.floating | Fraction):
            raise OperandTypeError(f"cannot encode {kind.__name__}: bool, int, float and Fraction are allowed")
    if kinds and all(issubclass(k, bool | np.bool_) for k in kinds):
        return array.astype(np.bool_)
    if kinds and all(issubclass(k, float | np.float16 | np.float32) for k in kinds):
        return array.astype(np.float64)
    if all(issubclass(k, int | np.integer | np.bool_) for k in kinds):
        return as_objects([int(v) for v in array.flat], array.shape)
    return as_objects([as_fraction(v) for v in array.flat], array.shape)


def as_fraction(value: Any) -> Fraction:
    if isinstance(value, int | np.integer | np.bool_):
        return Fraction(int(value))
    if isinstance(value, Fraction):  # which may carry NumPy integers inside, and they wrap
        return Fraction(int(value.numerator), int(value.denominator))
    if not np.isfinite(value):
        raise PlaintextRangeError("cannot encode NaN or an infinity")
    return Fraction(*value.as_integer_ratio())


def as_objects(values: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out.reshape(shape)


def are_ints(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "bui" or (
        array.dtype.kind == "O" and not any(isinstance(v, Fraction) for v in array.flat)
    )
