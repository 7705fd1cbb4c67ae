"""`CKKSTensor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hecore.compat.tenseal import _native, _tensor
from hecore.compat.tenseal._abstract import AbstractTensor
from hecore.compat.tenseal._context import Context, SecretKey, given_secret_key
from hecore.compat.tenseal._errors import IndexRangeError
from hecore.compat.tenseal._operands import Floats, as_floats, as_number, as_real
from hecore.compat.tenseal._plain import PlainTensor, as_shape
from hecore.compat.tenseal._tensor import TensorData
from hecore.errors import OperandTypeError

if TYPE_CHECKING:
    from hecore.compat.tenseal._state import TenSEALContext


class CKKSTensor(AbstractTensor[TensorData]):
    """An n-dimensional tensor of encrypted real numbers: one ciphertext for each element.

    context: parameters and keys. tensor: numbers of any shape but a scalar. scale: what they are encoded at, the
    context's where None. batch: one ciphertext for all elements along the first axis, which `shape` then leaves out.
    """

    def __init__(
        self,
        context: Context | None = None,
        tensor: Any = None,
        scale: float | None = None,
        batch: bool = False,
        data: TensorData | None = None,
    ) -> None:
        if data is not None:
            self.data = data
            return
        if not isinstance(context, Context):
            raise OperandTypeError("context must be a tenseal.Context")
        if not isinstance(tensor, PlainTensor):
            tensor = PlainTensor(tensor, dtype="float")
        number = None if scale is None else as_real(scale, "scale")
        self._data = _tensor.encrypt(context.data, as_floats(tensor), number, batch=bool(batch))

    @staticmethod
    def _data_type() -> type[TensorData]:
        return TensorData

    @staticmethod
    def _parse(context: TenSEALContext, data: bytes) -> TensorData:
        from hecore.compat.tenseal._bytes import tensor_from_bytes

        return tensor_from_bytes(context, data)

    def serialize(self) -> bytes:
        """Bytes that the peer reads. A lazily loaded tensor gives back its own."""
        from hecore.compat.tenseal._bytes import tensor_to_bytes

        return self._data if isinstance(self._data, bytes) else tensor_to_bytes(self._data)

    def scale(self) -> float:
        """What the values were encoded at."""
        return self.data.scale

    @property
    def shape(self) -> list[int]:
        """Without the batched axis."""
        return list(self.data.shape)

    def ciphertext(self) -> list[_native.Ciphertext]:
        """What the ciphertexts are like, in C order."""
        return [_native.Ciphertext.of(self.data.ciphertext) for _ in range(self.data.ciphertext.size)]

    def decrypt(self, secret_key: SecretKey | None = None) -> PlainTensor:
        """The values, with the context's secret key or the one given. For its owner's eyes: docs/public-results.md.

        Raises ContextError (a ValueError) where there is no secret key, KeyMismatchError for another.
        """
        return PlainTensor(_tensor.decrypt(self.data, given_secret_key(secret_key)))

    def __getitem__(self, item: Any) -> Self:
        """Elements by an integer, a slice, or a tuple of these; an integer keeps its axis, of length 1.

        The batched axis is not counted. Raises IndexRangeError (an IndexError), OperandTypeError.
        """
        indices = self.data.ciphertext.flat_indices()
        items = item if isinstance(item, tuple | list) else (item,)
        if len(items) > indices.ndim:
            raise IndexRangeError(f"too many indices: {len(items)} for a tensor of {indices.ndim} axes")
        slices = tuple(_as_slice(i, size) for i, size in zip(items, indices.shape, strict=False))
        picked = indices[slices]
        if picked.size == 0:
            raise IndexRangeError("the index selects nothing")
        return self._wrap(self.data.take(picked))

    # -- operands ------------------------------------------------------------------------------------------

    def _operand(self, other: Any) -> float | Floats | TensorData:
        if isinstance(other, CKKSTensor):
            return other.data
        number = as_number(other)
        return as_floats(other) if number is None else number

    def _added(self, other: Any, *, subtract: bool = False) -> TensorData:
        return _tensor.add(self.data, self._operand(other), subtract=subtract)

    def _multiplied(self, other: Any) -> TensorData:
        return _tensor.multiply(self.data, self._operand(other))

    def _negated(self) -> TensorData:
        return _tensor.negate(self.data)

    def _powered(self, exponent: int) -> TensorData:
        return _tensor.power(self.data, exponent)

    def _evaluated(self, coefficients: list[float]) -> TensorData:
        return _tensor.polynomial(self.data, coefficients)

    def _summed(self, axis: int) -> TensorData:
        return _tensor.total(self.data, axis)

    # -- sums and products ---------------------------------------------------------------------------------

    def sum_batch(self) -> Self:
        """The sum along the batched axis: a tensor without batching. Needs Galois keys."""
        return self._wrap(_tensor.total_of_batch(self.data))

    def sum_batch_(self) -> Self:
        self._data = _tensor.total_of_batch(self.data)
        return self

    def dot(self, other: Any) -> Self:
        """NumPy's `dot` of vectors and matrices, the other one encrypted or plain; one level lower."""
        return self._wrap(_tensor.dot(self.data, self._array(other)))

    def dot_(self, other: Any) -> Self:
        self._data = _tensor.dot(self.data, self._array(other))
        return self

    def mm(self, other: Any) -> Self:
        """The product of two matrices, the other one encrypted or plain; one level lower."""
        return self._wrap(_tensor.matrix_product(self.data, self._array(other)))

    def mm_(self, other: Any) -> Self:
        self._data = _tensor.matrix_product(self.data, self._array(other))
        return self

    def __matmul__(self, other: Any) -> Self:
        return self.mm(other)

    def __rmatmul__(self, other: Any) -> Self:
        """plain @ self."""
        return self.transpose().mm(as_floats(other).T).transpose_()

    def __imatmul__(self, other: Any) -> Self:
        return self.mm_(other)

    def _array(self, other: Any) -> Floats | TensorData:
        operand = self._operand(other)
        if isinstance(operand, float):
            raise OperandTypeError(f"can't take a product of matrices with {type(other)}")
        return operand

    # -- shapes --------------------------------------------------------------------------------------------

    def reshape(self, shape: Iterable[int]) -> Self:
        """The same elements in C order under another shape, the batched axis not counted."""
        return self._wrap(_tensor.reshape(self.data, as_shape(shape)))

    def reshape_(self, shape: Iterable[int]) -> Self:
        self._data = _tensor.reshape(self.data, as_shape(shape))
        return self

    def broadcast(self, shape: Iterable[int]) -> Self:
        """Repeated to `shape` by NumPy's rules. Raises BroadcastError (a RuntimeError)."""
        return self._wrap(_tensor.to_shape(self.data, as_shape(shape)))

    def broadcast_(self, shape: Iterable[int]) -> Self:
        self._data = _tensor.to_shape(self.data, as_shape(shape))
        return self

    def transpose(self) -> Self:
        """The axes in reverse order, the batched one not counted."""
        return self._wrap(_tensor.transpose(self.data))

    def transpose_(self) -> Self:
        self._data = _tensor.transpose(self.data)
        return self


def _as_slice(index: Any, size: int) -> slice:
    if isinstance(index, slice):
        return index
    if not isinstance(index, int | np.integer):
        raise OperandTypeError(f"can't index with {type(index).__name__}: integers, slices, or a tuple of these")
    position = int(index) + (size if index < 0 else 0)
    if not 0 <= position < size:
        raise IndexRangeError(f"index {int(index)} is outside an axis of length {size}")
    return slice(position, position + 1)
