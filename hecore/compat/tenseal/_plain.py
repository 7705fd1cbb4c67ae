"""`PlainTensor`: an n-dimensional array of floats or 64-bit integers, with the peer's methods around a NumPy array."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable
from typing import Any, Literal, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from hecore.compat.tenseal._errors import BroadcastError, ForeignBytesError
from hecore.errors import OperandTypeError, ParameterError, PlaintextRangeError, ShapeError

DType = Literal["float", "int"]
Array = NDArray[Any]
"""Of float64 or int64."""

_DTYPES: dict[str, type[Any]] = {"float": np.float64, "int": np.int64}


class PlainTensor:
    """An array in the clear, as operand and as result of a decryption.

    tensor: whatever `np.array` takes, rectangular; shape: replaces the shape found there; dtype: "float" or "int".
    Raises OperandTypeError (a TypeError) for what is no such array, ShapeError and ParameterError (ValueErrors).
    """

    def __init__(self, tensor: Any, shape: Iterable[int] | None = None, dtype: str = "float") -> None:
        values = as_array(tensor, dtype)
        self._array = values if shape is None else _reshaped(values, shape, "tensor with mismatched shape")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._array, dtype=dtype, copy=copy)

    @property
    def data(self) -> Array:
        """The values: a read-only NumPy array of the tensor's shape."""
        view = self._array.view()
        view.setflags(write=False)
        return view

    @data.setter
    def data(self, value: Array) -> None:
        if not isinstance(value, np.ndarray) or value.dtype.type not in _DTYPES.values():
            raise OperandTypeError("wrong data type")
        self._array = value.copy()

    @property
    def raw(self) -> list[float] | list[int]:
        """The values in C order."""
        values: list[float] | list[int] = self._array.ravel().tolist()
        return values

    @property
    def dtype(self) -> str:
        """Which of the two, "float" or "int"; setting it converts, dropping fractions."""
        return "int" if self._array.dtype.type is np.int64 else "float"

    @dtype.setter
    def dtype(self, value: str) -> None:
        self._array = as_array(self._array, value)

    def at(self, index: Iterable[int]) -> float | int:
        """The element at a full index of non-negative integers. Raises ShapeError outside the tensor."""
        position = as_shape(index)
        if len(position) != self._array.ndim:
            raise ShapeError("tensor cannot be viewed in the requested format")
        if any(i >= size for i, size in zip(position, self._array.shape, strict=True)):
            raise ShapeError("invalid dimension index")
        value: float | int = self._array[position].item()
        return value

    @property
    def shape(self) -> list[int]:
        return list(self._array.shape)

    def strides(self) -> list[int]:
        """Steps between neighbours along each axis, in elements; 0 along axes of length 1."""
        steps = np.cumprod([1, *self._array.shape[:0:-1]])[::-1].tolist() if self._array.ndim else []
        return [0 if size == 1 else step for size, step in zip(self._array.shape, steps, strict=True)]

    def empty(self) -> bool:
        """Whether there are no values."""
        return self._array.size == 0

    def size(self) -> int:
        """Length of the first axis. Raises ShapeError for a scalar."""
        if self._array.ndim == 0:
            raise ShapeError("a scalar tensor has no first axis")
        return len(self._array)

    def __len__(self) -> int:
        return self.size()

    def __repr__(self) -> str:
        return f"<PlainTensor shape={self.shape} dtype={self.dtype!r}>"

    def tolist(self) -> Any:
        """Nested lists of the tensor's shape; a number for a scalar."""
        return self._array.tolist()

    def batch(self, dim: int) -> list[list[Any]]:
        """The vectors along axis `dim`, one for each position on the other axes in C order."""
        axis = _index(dim)
        if axis >= self._array.ndim:
            raise ShapeError("invalid dimension for batching")
        batches: list[list[Any]] = np.moveaxis(self._array, axis, -1).reshape(-1, self._array.shape[axis]).tolist()
        return batches

    def reshape(self, shape: Iterable[int]) -> PlainTensor:
        """A copy of another shape and equal size. Raises ShapeError."""
        return self._wrap(_reshaped(self._array, shape, "tensor with mismatched shape"))

    def reshape_(self, shape: Iterable[int]) -> Self:
        """In place. Raises ShapeError."""
        self._array = _reshaped(self._array, shape, "invalid reshape input")
        return self

    def broadcast(self, shape: Iterable[int]) -> PlainTensor:
        """A copy repeated to `shape` by NumPy's rules. Raises BroadcastError."""
        return self._wrap(broadcast(self._array, as_shape(shape)))

    def broadcast_(self, shape: Iterable[int]) -> Self:
        """In place. Raises BroadcastError."""
        self._array = broadcast(self._array, as_shape(shape))
        return self

    def transpose(self) -> PlainTensor:
        """A copy with the axes in reverse order."""
        return self._wrap(np.ascontiguousarray(self._array.T))

    def transpose_(self) -> Self:
        """In place."""
        self._array = np.ascontiguousarray(self._array.T)
        return self

    @classmethod
    def load(cls, data: bytes, dtype: str = "float") -> PlainTensor:
        """From what `serialize` wrote. Raises OperandTypeError, ForeignBytesError (a RuntimeError), ParameterError."""
        if not isinstance(data, bytes):
            raise OperandTypeError(f"Invalid input types: vector: {type(data)}")
        _check_dtype(dtype)
        try:
            values = json.loads(data, parse_constant=_refuse_constant)
            array = np.array(values)
        except (ValueError, RecursionError) as error:
            raise ForeignBytesError("cannot read the tensor: it is no JSON of rectangular nested lists") from error
        if array.dtype.kind not in "if" or not np.isfinite(array).all():
            raise ForeignBytesError("cannot read the tensor: its elements are not all finite numbers of 64 bits")
        return cls(array, dtype=dtype)

    def serialize(self) -> bytes:
        """JSON of nested lists, as the peer writes it. Raises PlaintextRangeError for NaN and infinities."""
        if not np.isfinite(self._array).all():
            raise PlaintextRangeError("cannot serialize NaN or infinities: JSON has none")
        return json.dumps(self._array.tolist(), separators=(",", ":")).encode()

    @classmethod
    def _wrap(cls, array: Array) -> PlainTensor:
        self = object.__new__(cls)
        self._array = array
        return self


def as_array(tensor: Any, dtype: str) -> Array:
    """A fresh contiguous array of float64 or int64. Raises OperandTypeError, ParameterError."""
    _check_dtype(dtype)
    try:
        if dtype == "float" and isinstance(tensor, list) and tensor and type(tensor[0]) in (float, int):
            return np.array(tensor, dtype=np.float64)  # told its dtype, NumPy reads a long list once and not twice
        values = np.asarray(tensor)
        if values.dtype.kind == "c" or (dtype == "int" and not _fits_int64(values)):
            raise OperandTypeError("input isn't a well structured tensor")
        return np.array(values, dtype=_DTYPES[dtype], order="C")
    except (TypeError, ValueError, OverflowError):
        raise OperandTypeError("input isn't a well structured tensor") from None


def as_shape(shape: Iterable[int]) -> tuple[int, ...]:
    """Non-negative integers. Raises OperandTypeError."""
    try:
        return tuple(_index(size) for size in shape)
    except TypeError:
        raise OperandTypeError(f"cannot use a {type(shape).__name__} as a shape: non-negative integers") from None


def broadcast(array: Array, shape: tuple[int, ...]) -> Array:
    """A writable copy of `array` repeated to `shape`. Raises BroadcastError."""
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise BroadcastError(f"Incompatible dimension of arrays: {array.shape} does not broadcast to {shape}") from None


def _reshaped(array: Array, shape: Iterable[int], message: str) -> Array:
    wanted = as_shape(shape)
    try:
        return array.reshape(wanted).copy()
    except ValueError:
        raise ShapeError(f"{message}: {list(array.shape)} to {list(wanted)}") from None


def _index(value: Any) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        index = -1
    if index < 0:
        raise OperandTypeError("cannot use this as an index or a length: a non-negative integer is needed")
    return index


def _fits_int64(values: NDArray[Any]) -> bool:
    """Conversions of NaN and of what is out of range are undefined."""
    if values.dtype.kind not in "fu":
        return True  # NumPy itself checks objects, strings and Python integers
    return bool((np.abs(values) < 2.0**63).all())


def _check_dtype(dtype: str) -> None:
    if dtype not in _DTYPES:
        raise ParameterError("wrong dtype, must be either 'float' or 'int'")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
