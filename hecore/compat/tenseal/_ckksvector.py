"""`CKKSVector`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hecore.compat.tenseal import _linear, _native, _vector
from hecore.compat.tenseal._abstract import AbstractTensor
from hecore.compat.tenseal._chain import as_integer
from hecore.compat.tenseal._context import Context, SecretKey, given_secret_key
from hecore.compat.tenseal._operands import Floats, as_floats, as_number, as_real
from hecore.compat.tenseal._plain import PlainTensor
from hecore.compat.tenseal._vector import VectorData
from hecore.errors import OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from hecore.compat.tenseal._state import TenSEALContext


class CKKSVector(AbstractTensor[VectorData]):
    """A vector of encrypted real numbers, as many in a ciphertext as it has slots.

    context: parameters and keys. vector: 1-D numbers. scale: what they are encoded at, the context's where None.
    Vectors that need several ciphertexts have no matrix products, convolutions and packing.
    """

    def __init__(
        self,
        context: Context | None = None,
        vector: Any = None,
        scale: float | None = None,
        data: VectorData | None = None,
    ) -> None:
        if data is not None:
            self.data = data
            return
        if not isinstance(context, Context):
            raise OperandTypeError("context must be a tenseal.Context")
        if not isinstance(vector, PlainTensor):
            vector = PlainTensor(vector, dtype="float")
        values = as_floats(vector)
        if values.ndim != 1:
            raise ShapeError("can only encrypt a vector")
        self._data = _vector.encrypt(context.data, values, None if scale is None else as_real(scale, "scale"))

    @staticmethod
    def _data_type() -> type[VectorData]:
        return VectorData

    @staticmethod
    def _parse(context: TenSEALContext, data: bytes) -> VectorData:
        from hecore.compat.tenseal._bytes import vector_from_bytes

        return vector_from_bytes(context, data)

    def serialize(self) -> bytes:
        """Bytes that the peer reads. A lazily loaded vector gives back its own."""
        from hecore.compat.tenseal._bytes import vector_to_bytes

        return self._data if isinstance(self._data, bytes) else vector_to_bytes(self._data)

    def scale(self) -> float:
        """What the values were encoded at."""
        return self.data.scale

    def size(self) -> int:
        """Number of values."""
        return self.data.size

    @property
    def shape(self) -> list[int]:
        return [self.size()]

    def ciphertext(self) -> list[_native.Ciphertext]:
        """What the ciphertexts are like, one after the other."""
        return [_native.Ciphertext.of(self.data.ciphertext) for _ in self.data.sizes]

    def decrypt(self, secret_key: SecretKey | None = None) -> list[float]:
        """The values, with the context's secret key or the one given. For its owner's eyes: docs/public-results.md.

        Raises ContextError (a ValueError) where there is no secret key, KeyMismatchError for another.
        """
        return _vector.decrypt(self.data, given_secret_key(secret_key))

    @classmethod
    def pack_vectors(cls, vectors: Iterable[CKKSVector]) -> Self:
        """One vector of several of the same size, one after the other; one level lower."""
        parts = []
        for vector in vectors:
            if not isinstance(vector, cls):
                raise OperandTypeError("vectors to pack must be of type tenseal.CKKSVector")
            parts.append(vector.data)
        return cls._wrap(_vector.pack(parts))

    # -- operands ------------------------------------------------------------------------------------------

    def _operand(self, other: Any) -> float | Floats | VectorData:
        if isinstance(other, CKKSVector):
            return other.data
        number = as_number(other)
        return _vector_of(other) if number is None else number

    def _added(self, other: Any, *, subtract: bool = False) -> VectorData:
        return _vector.add(self.data, self._operand(other), subtract=subtract)

    def _multiplied(self, other: Any) -> VectorData:
        return _vector.multiply(self.data, self._operand(other))

    def _negated(self) -> VectorData:
        return _vector.negate(self.data)

    def _powered(self, exponent: int) -> VectorData:
        return _vector.power(self.data, exponent)

    def _evaluated(self, coefficients: list[float]) -> VectorData:
        return _vector.polynomial(self.data, coefficients)

    def _summed(self, axis: int) -> VectorData:
        return _vector.total(self.data)

    # -- products of vectors and matrices ------------------------------------------------------------------

    def dot(self, other: Any) -> Self:
        """The inner product with a vector, encrypted or plain: a vector of one value. Needs Galois keys."""
        return self._wrap(self._dotted(other))

    def dot_(self, other: Any) -> Self:
        self._data = self._dotted(other)
        return self

    def _dotted(self, other: Any) -> VectorData:
        operand = other.data if isinstance(other, CKKSVector) else _vector_of(other)
        return _vector.total(_vector.multiply(self.data, operand))

    def mm(self, other: Any) -> Self:
        """self @ matrix for a plain matrix with as many rows as the vector has values; one level lower."""
        return self._wrap(_linear.matmul(self.data, _matrix_of(other)))

    def mm_(self, other: Any) -> Self:
        self._data = _linear.matmul(self.data, _matrix_of(other))
        return self

    def matmul(self, other: Any) -> Self:
        """`mm`."""
        return self.mm(other)

    def matmul_(self, other: Any) -> Self:
        return self.mm_(other)

    def __matmul__(self, other: Any) -> Self:
        return self.mm(other)

    def __rmatmul__(self, other: Any) -> Self:
        """matrix @ self."""
        return self.mm(_matrix_of(other).T)

    def __imatmul__(self, other: Any) -> Self:
        return self.mm_(other)

    def enc_matmul_plain(self, other: Any, row_size: int) -> Self:
        """The matrix that `enc_matmul_encoding` encrypted, of `row_size` rows, times a plain vector."""
        return self._wrap(_vector.enc_matmul_plain(self.data, _vector_of(other), _row_count(row_size)))

    def enc_matmul_plain_(self, other: Any, row_size: int) -> Self:
        self._data = _vector.enc_matmul_plain(self.data, _vector_of(other), _row_count(row_size))
        return self

    def conv2d_im2col(self, other: Any, windows_nb: int) -> Self:
        """The image that `im2col_encoding` encrypted, convolved with a plain kernel."""
        return self._wrap(self._convolved(other, windows_nb))

    def conv2d_im2col_(self, other: Any, windows_nb: int) -> Self:
        self._data = self._convolved(other, windows_nb)
        return self

    def _convolved(self, other: Any, windows_nb: int) -> VectorData:
        kernel = _matrix_of(other)
        windows = _row_count(windows_nb)
        if len(self.data.sizes) != 1:
            raise ShapeError("can't execute conv2d_im2col on chunked vectors")
        if windows == 0:
            raise ParameterError("Windows number can't be zero")
        if kernel.size == 0:
            raise ParameterError("Kernel matrix can't be empty: tensor with empty columns")
        return _vector.enc_matmul_plain(self.data, kernel.ravel(), windows)


def im2col_encoding(
    context: Context, tensor: Any, kernel_n_rows: int, kernel_n_cols: int, stride: int
) -> tuple[CKKSVector, int]:
    """An image encrypted for `conv2d_im2col`, and how many positions the kernel's window takes on it.

    Windows are padded with zeros to a power of two of values, and stand column by column.
    """
    _check_context(context)
    image = _image_of(tensor)
    rows, columns, step = (
        as_integer(kernel_n_rows, "kernel_n_rows"),
        as_integer(kernel_n_cols, "kernel_n_cols"),
        as_integer(stride, "stride"),
    )
    if not (1 <= rows <= image.shape[0] and 1 <= columns <= image.shape[1] and step >= 1):
        raise ShapeError(f"can't move a window of {rows} by {columns} over {image.shape} in steps of {step}")
    windows = np.lib.stride_tricks.sliding_window_view(image, (rows, columns))[::step, ::step].reshape(
        -1, rows * columns
    )
    return CKKSVector(context, _padded(windows).T.ravel()), len(windows)


def enc_matmul_encoding(context: Context, tensor: Any) -> CKKSVector:
    """A matrix encrypted for `enc_matmul_plain`: rows padded with zeros to a power of two, column by column."""
    _check_context(context)
    return CKKSVector(context, _padded(_image_of(tensor)).T.ravel())


def _padded(rows: Floats) -> Floats:
    length = rows.shape[1]
    return np.pad(rows, ((0, 0), (0, (1 << max(length - 1, 0).bit_length()) - length)))


def _check_context(context: object) -> None:
    if not isinstance(context, Context):
        raise OperandTypeError("context must be of type tenseal.Context")


def _image_of(tensor: Any) -> Floats:
    matrix = as_floats(tensor if isinstance(tensor, PlainTensor) else PlainTensor(tensor))
    if matrix.ndim != 2:
        raise ShapeError("tensor must be a matrix")
    return matrix


def _vector_of(other: Any) -> Floats:
    values = as_floats(other)
    if values.ndim != 1:
        raise ShapeError("can only operate with a vector")
    return values


def _matrix_of(other: Any) -> Floats:
    values = as_floats(other)
    if values.ndim != 2:
        raise ShapeError("can only operate with a matrix")
    return values


def _row_count(value: Any) -> int:
    count = as_integer(value, "the number of rows")
    if count < 0:
        raise OperandTypeError("the number of rows must be an integer from 0 on")
    return count
