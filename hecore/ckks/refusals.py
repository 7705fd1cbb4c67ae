"""What encrypted tensors refuse, in one place and in words: everything that would need the secret key."""

from __future__ import annotations

from typing import Any, NoReturn, Self

from numpy.typing import NDArray

from hecore.errors import OperandTypeError


class Refusals:
    """Comparisons, truth value, conversion to numbers, and arithmetic that CKKS lacks raise OperandTypeError."""

    __slots__ = ()

    def _refuse_comparison(self, other: object) -> NoReturn:
        raise OperandTypeError("cannot compare encrypted tensors: decrypt first, or approximate with ckks.sign")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse_comparison
    __hash__ = None  # type: ignore[assignment]

    def _refuse_conversion(self, *_: object) -> NoReturn:
        raise OperandTypeError("cannot turn an encrypted tensor into numbers: decrypt it with the secret key")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = _refuse_conversion

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        self._refuse_conversion()

    def _refuse_operation(self, *_: object) -> NoReturn:
        raise OperandTypeError(
            "cannot do this to an encrypted tensor: CKKS has + - * @, whole powers, and division by plain numbers"
        )

    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __rpow__ = _refuse_operation
    __abs__ = __invert__ = __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _refuse_operation

    def __copy__(self) -> Self:
        return self  # immutable

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise OperandTypeError(
            "cannot assign into an encrypted tensor: tensors are immutable; use concatenate or stack"
        )
