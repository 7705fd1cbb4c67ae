"""Signed integers and floats as integers modulo n, with exponents of base 16: the peer's encoding.

A number is int_rep * BASE**exponent; int_rep modulo n is what gets encrypted, the exponent is public. Values up to
n/3 are positive, from 2n/3 negative, and what lies between is an overflow. `hecore.paillier` has another encoding
(base 2, bounds tracked); this one exists for interchange with the peer.
"""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hecore.errors import OperandTypeError, ParameterError, PlaintextOverflowError, PlaintextRangeError

if TYPE_CHECKING:
    from hecore.compat.phe.paillier import PaillierPublicKey

__all__ = ["EncodedNumber"]

_PLAIN = (int, float)


class EncodedNumber:
    """An integer `encoding` in [0, n) with an `exponent`: the number decode(encoding) * BASE**exponent.

    A subclass may set another BASE >= 2, with LOG2_BASE = log2(BASE). Nothing is checked here; `decode` does.
    """

    BASE = 16
    LOG2_BASE = math.log2(BASE)
    FLOAT_MANTISSA_BITS = 53

    def __init__(self, public_key: PaillierPublicKey, encoding: int, exponent: int) -> None:
        self.public_key = public_key
        self.encoding = encoding
        self.exponent = exponent

    @classmethod
    def encode(
        cls,
        public_key: PaillierPublicKey,
        scalar: Any,
        precision: float | None = None,
        max_exponent: int | None = None,
    ) -> Self:
        """Encode an integer or a float (NumPy's scalars included), with |int_rep| <= public_key.max_int.

        Without `precision`, integers get exponent 0 and floats the largest exponent that loses nothing, to the
        mantissa's last bit. With it, the exponent is the largest with BASE**exponent <= precision, and the number is
        rounded (half to even); fractions.Fraction and decimal.Decimal are then allowed, too. `max_exponent` lowers
        the exponent further. The exponent is public and tells the magnitude of a float: fix it by `precision` or
        `max_exponent` where that matters.

        Raises OperandTypeError for other types, PlaintextRangeError for NaN, infinities and numbers out of range.
        """
        value: int | float | Fraction | None = plain_number(scalar)
        if value is None:
            if precision is None or not hasattr(scalar, "as_integer_ratio"):
                raise OperandTypeError(f"cannot encode a {type(scalar).__name__}: an int or a float is needed")
            value = _exact(scalar)
        int_rep, exponent = cls.represent(public_key, value, precision, max_exponent)
        return cls(public_key, int_rep if int_rep >= 0 else int_rep + public_key.n, exponent)

    @classmethod
    def represent(
        cls,
        public_key: PaillierPublicKey,
        value: int | float | Fraction,
        precision: float | None = None,
        max_exponent: int | None = None,
    ) -> tuple[int, int]:
        """(int_rep, exponent) as `encode` chooses them, int_rep signed."""
        if precision is not None:
            exponent = _exponent_of(precision, cls.BASE)
        elif type(value) is float:
            exponent = math.floor((math.frexp(value)[1] - cls.FLOAT_MANTISSA_BITS) / cls.LOG2_BASE)
        else:
            exponent = 0
        if max_exponent is not None and max_exponent < exponent:
            exponent = operator.index(max_exponent)
        if type(value) is int and exponent <= 0:
            int_rep = value * cls.BASE**-exponent if exponent else value
        else:
            int_rep = _scaled(value, cls.BASE, -exponent)
        if abs(int_rep) > public_key.max_int:
            raise PlaintextRangeError(
                f"cannot encode this number at exponent {exponent}: the key holds integers up to n//3 - 1, of "
                f"{public_key.max_int.bit_length()} bits"
            )
        return int_rep, exponent

    def decode(self) -> int | float:
        """The number: an int where the exponent is at least 0, the nearest float where it is negative.

        Raises PlaintextRangeError (a ValueError) where `encoding` is not below n, PlaintextOverflowError (an
        OverflowError) where it lies in the overflow band or the result is too large for a float.
        """
        int_rep, key = self.encoding, self.public_key
        if int_rep > key.max_int:
            int_rep -= key.n
            if int_rep >= 0:
                raise PlaintextRangeError("cannot decode an integer that is not below n")
        if int_rep < 0 and -int_rep > key.max_int:
            raise PlaintextOverflowError("cannot decode: an operation overflowed, the number is beyond n/3")
        exponent = self.exponent
        if not exponent:
            return int_rep
        try:
            if exponent < 0:
                # Python rounds a quotient of integers correctly.
                return int_rep / self.BASE**-exponent  # type: ignore[no-any-return]
            return int_rep * int(self.BASE**exponent)
        except OverflowError:
            raise PlaintextOverflowError("cannot decode: the result is too large for a float") from None

    def decrease_exponent_to(self, new_exp: int) -> Self:
        """The same number at a lower exponent. Raises ParameterError where `new_exp` is above the present one."""
        if new_exp > self.exponent:
            raise _exponent_rises(self.exponent, new_exp)
        encoding = self.encoding * self.BASE ** (self.exponent - new_exp) % self.public_key.n
        return type(self)(self.public_key, encoding, new_exp)


def plain_number(scalar: Any) -> int | float | None:
    """A Python int or float equal to `scalar`; None where its type is neither, nor NumPy's or GMP's like of them."""
    if type(scalar) in _PLAIN:
        return scalar  # type: ignore[no-any-return]
    if isinstance(scalar, int | np.bool_):
        return int(scalar)
    if isinstance(scalar, float | np.float32 | np.float16):
        return float(scalar)
    if hasattr(scalar, "__index__") and not isinstance(scalar, np.ndarray):
        return operator.index(scalar)
    return None


def base_power(base: int, old_exponent: int, new_exponent: int) -> int:
    """base**(old - new): the factor that lowers an exponent. Raises ParameterError where it would rise."""
    if new_exponent > old_exponent:
        raise _exponent_rises(old_exponent, new_exponent)
    return int(base ** (old_exponent - operator.index(new_exponent)))


def _exponent_rises(old: int, new: int) -> ParameterError:
    return ParameterError(f"cannot change exponent {old} to {new}: without decryption it can only go down")


def _exponent_of(precision: float, base: int) -> int:
    """The largest exponent with base**exponent <= precision, as floating point sees it."""
    try:
        return math.floor(math.log(precision, base))
    except (ValueError, OverflowError):
        raise ParameterError("cannot use this precision: it must be positive and finite") from None


def _scaled(value: int | float | Fraction, base: int, power: int) -> int:
    """value * base**power, rounded half to even."""
    try:
        numerator, denominator = value.as_integer_ratio()
    except (ValueError, OverflowError):
        raise PlaintextRangeError("cannot encode NaN or an infinity") from None
    if power >= 0:
        numerator *= base**power
    else:
        denominator *= base**-power
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def _exact(scalar: Any) -> Fraction:
    try:
        return Fraction(*scalar.as_integer_ratio())
    except (ValueError, OverflowError):
        raise PlaintextRangeError("cannot encode NaN or an infinity") from None
