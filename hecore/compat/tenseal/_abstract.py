"""`AbstractTensor`: what vectors and tensors share; operators and in-place forms on top of named methods."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from hecore.compat.tenseal._context import Context
from hecore.compat.tenseal._encode import coefficients_of
from hecore.compat.tenseal._errors import ContextError
from hecore.compat.tenseal._operands import as_number
from hecore.compat.tenseal._tensor import TensorData
from hecore.compat.tenseal._vector import VectorData
from hecore.errors import KeyMismatchError, OperandTypeError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hecore.compat.tenseal._state import TenSEALContext

Data = TypeVar("Data", VectorData, TensorData)


class AbstractTensor(ABC, Generic[Data]):
    """Encrypted values under a context. Methods that end in `_` change the tensor and return it; no other does.

    NumPy numbers and arrays stand on either side of an operator.
    """

    __array_ufunc__ = None
    _data: Data | bytes  # bytes until a context is linked

    # -- data and context ----------------------------------------------------------------------------------

    @property
    def data(self) -> Data:
        """The encrypted values. Raises ContextError (a ValueError) while no context is linked."""
        if isinstance(self._data, bytes):
            raise ContextError("missing context: link_context first")
        return self._data

    @data.setter
    def data(self, value: Data) -> None:
        if not isinstance(value, self._data_type()):
            raise OperandTypeError(f"value must be of type {self._data_type()}")
        self._data = value

    @staticmethod
    @abstractmethod
    def _data_type() -> type[Data]:
        """What `data` is."""

    @staticmethod
    @abstractmethod
    def _parse(context: TenSEALContext, data: bytes) -> Data:
        """From bytes. Raises SerializationError."""

    @abstractmethod
    def serialize(self) -> bytes:
        """Bytes that the peer reads; keys are not among them."""

    @classmethod
    def _wrap(cls, data: Data | bytes) -> Self:
        self = object.__new__(cls)
        self._data = data
        return self

    def context(self) -> Context:
        """The context linked to this tensor. Raises ContextError (a ValueError) where there is none."""
        return Context._wrap(self.data.context)

    def link_context(self, ctx: Context) -> None:
        """Use another context of the same key from now on; reads the bytes of a lazily loaded tensor.

        Raises KeyMismatchError, ParameterError for other encryption parameters, SerializationError.
        """
        if not isinstance(ctx, Context):
            raise OperandTypeError(f"can only link a tenseal.Context, not {type(ctx)}")
        if isinstance(self._data, bytes):
            self._data = self._parse(ctx.data, self._data)
        else:
            self._data = _linked(self._data, ctx.data)

    @classmethod
    def load(cls, context: Context, data: bytes) -> Self:
        """From bytes of `serialize`, the peer's or ours. Raises OperandTypeError, SerializationError (a ValueError)."""
        if not isinstance(context, Context) or not isinstance(data, bytes):
            raise OperandTypeError(f"Invalid input types context: {type(context)} and vector: {type(data)}")
        return cls._wrap(cls._parse(context.data, data))

    @classmethod
    def lazy_load(cls, data: bytes) -> Self:
        """From bytes that are read once a context is linked. Raises OperandTypeError."""
        if not isinstance(data, bytes):
            raise OperandTypeError(f"Invalid input types vector: {type(data)}")
        return cls._wrap(data)

    # -- copies --------------------------------------------------------------------------------------------

    def copy(self) -> Self:
        """The same values under a copy of the context, so that neither feels what is done to the other."""
        data: Any = self._data
        if not isinstance(data, bytes):
            data = replace(data, context=data.context.copy())
        return self._wrap(data)

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Self:
        return self.copy()

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickles hold the context without its secret key; tensors of one pickle share it."""
        if isinstance(self._data, bytes):
            return type(self).lazy_load, (self._data,)
        return _unpickled, (type(self), self._data.context, self.serialize())

    # -- element by element --------------------------------------------------------------------------------

    @abstractmethod
    def _added(self, other: Any, *, subtract: bool = False) -> Data: ...

    @abstractmethod
    def _multiplied(self, other: Any) -> Data: ...

    @abstractmethod
    def _negated(self) -> Data: ...

    @abstractmethod
    def _powered(self, exponent: int) -> Data: ...

    @abstractmethod
    def _evaluated(self, coefficients: list[float]) -> Data: ...

    @abstractmethod
    def _summed(self, axis: int) -> Data: ...

    def add(self, other: Any) -> Self:
        """self + other: a number, an array, a plain tensor, or an encrypted one."""
        return self._wrap(self._added(other))

    def add_(self, other: Any) -> Self:
        self._data = self._added(other)
        return self

    def sub(self, other: Any) -> Self:
        """self - other, as `add`."""
        return self._wrap(self._added(other, subtract=True))

    def sub_(self, other: Any) -> Self:
        self._data = self._added(other, subtract=True)
        return self

    def mul(self, other: Any) -> Self:
        """self * other, as `add`; one level lower."""
        return self._wrap(self._multiplied(other))

    def mul_(self, other: Any) -> Self:
        self._data = self._multiplied(other)
        return self

    def neg(self) -> Self:
        return self._wrap(self._negated())

    def neg_(self) -> Self:
        self._data = self._negated()
        return self

    def square(self) -> Self:
        """self * self."""
        return self._wrap(self._multiplied(self))

    def square_(self) -> Self:
        self._data = self._multiplied(self)
        return self

    def pow(self, power: int) -> Self:
        """self^power for an integer from 0 on, in ceil(log2(power)) levels."""
        return self._wrap(self._powered(_exponent(power)))

    def pow_(self, power: int) -> Self:
        self._data = self._powered(_exponent(power))
        return self

    def polyval(self, coefficients: Iterable[float]) -> Self:
        """coefficients[0] + coefficients[1]*self + coefficients[2]*self^2 + …"""
        return self._wrap(self._evaluated(coefficients_of(coefficients)))

    def polyval_(self, coefficients: Iterable[float]) -> Self:
        self._data = self._evaluated(coefficients_of(coefficients))
        return self

    def sum(self, axis: int = 0) -> Self:
        """The sum along an axis."""
        return self._wrap(self._summed(_axis(axis)))

    def sum_(self, axis: int = 0) -> Self:
        self._data = self._summed(_axis(axis))
        return self

    # -- operators -----------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Self:
        return self.add(other)

    def __radd__(self, other: Any) -> Self:
        return self.add(other)

    def __iadd__(self, other: Any) -> Self:
        return self.add_(other)

    def __sub__(self, other: Any) -> Self:
        return self.sub(other)

    def __rsub__(self, other: Any) -> Self:
        return self.neg().add_(other)

    def __isub__(self, other: Any) -> Self:
        return self.sub_(other)

    def __mul__(self, other: Any) -> Self:
        return self.mul(other)

    def __rmul__(self, other: Any) -> Self:
        return self.mul(other)

    def __imul__(self, other: Any) -> Self:
        return self.mul_(other)

    def __pow__(self, power: int) -> Self:
        return self.pow(power)

    def __ipow__(self, power: int) -> Self:
        return self.pow_(power)

    def __neg__(self) -> Self:
        return self.neg()


def _unpickled(cls: type[AbstractTensor[Any]], context: TenSEALContext, data: bytes) -> AbstractTensor[Any]:
    return cls._wrap(cls._parse(context, data))


def _linked(data: Data, context: TenSEALContext) -> Data:
    """The same values under another context of the same key."""
    if data.context.parameters != context.parameters:
        raise ParameterError("can't link a context with other encryption parameters than the tensor's")
    ciphertext = data.ciphertext
    if ciphertext.key_id != context.key_id:
        if context.tells_apart(data.context.label):
            raise KeyMismatchError("can't link a context of another key than the tensor's")
        ciphertext = replace(ciphertext, key_id=context.key_id, evaluation_keys=None)
    return replace(data, context=context, ciphertext=ciphertext)


def _exponent(value: Any) -> int:
    try:
        exponent = operator.index(value)
    except TypeError:
        _refuse_exponent(value)
    if exponent < 0:
        _refuse_exponent(value)
    return exponent


def _refuse_exponent(value: object) -> NoReturn:
    raise OperandTypeError(f"can't take a power of {type(value).__name__}: an integer from 0 on is needed")


def _axis(value: Any) -> int:
    number = as_number(value)
    if number is None or isinstance(value, float) or number < 0:
        raise OperandTypeError("axis must be an integer from 0 on")
    return int(number)
