"""The exact scale of a CKKS plaintext: a positive rational number kept as a product of powers.

A message m is encoded as round(m * scale). Products multiply scales and a rescale divides by a prime, so that after
a few levels a scale is a fraction of hundreds of bits. Kept as 2^40 * q_3^-1 * …, it stays as short as the chain of
moduli, nothing is rounded, and two scales are equal exactly where they are the same number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import final

import numpy as np

from hecore.errors import OperandTypeError, ScaleError

_HASH_MODULUS = (1 << 61) - 1  # the prime of Python's own numeric hash


@final
class Scale:
    """A positive rational number as a product of integers > 1 to integer exponents; immutable, hashable.

    `Scale.of` makes one. `*`, `/` and `**` are exact; int, float and Fraction operands are taken exactly, too.
    """

    def __init__(self, powers: Iterable[tuple[int, int]] = ()) -> None:
        """From pairs (base, exponent), base > 1; a base may come several times."""
        merged: dict[int, int] = {}
        for base, exponent in powers:
            if base < 2:
                raise ScaleError(f"cannot use {base} as the base of a scale: at least 2")
            merged[base] = merged.get(base, 0) + exponent
        self.powers = tuple(sorted((base, exponent) for base, exponent in merged.items() if exponent))

    @classmethod
    def of(cls, value: Scale | int | float | Fraction | np.integer) -> Scale:
        """A positive number, exactly. Raises ScaleError for zero, negative, infinite and NaN, OperandTypeError."""
        if isinstance(value, Scale):
            return value
        if isinstance(value, np.integer):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
            raise OperandTypeError(f"cannot use a {type(value).__name__} as a scale: int, float or Fraction")
        if isinstance(value, float) and not math.isfinite(value):
            raise ScaleError(f"cannot use {value} as a scale: it must be positive and finite")
        if value <= 0:
            raise ScaleError(f"cannot use {value} as a scale: it must be positive")
        return _of(value)

    def __mul__(self, other: Scale | int | float | Fraction) -> Scale:
        return _joined(self.powers, Scale.of(other).powers, 1)

    __rmul__ = __mul__

    def __truediv__(self, other: Scale | int | float | Fraction) -> Scale:
        return _joined(self.powers, Scale.of(other).powers, -1)

    def __rtruediv__(self, other: int | float | Fraction) -> Scale:
        return Scale.of(other) / self

    def __pow__(self, exponent: int) -> Scale:
        return Scale((base, power * exponent) for base, power in self.powers)

    @cached_property
    def log2(self) -> float:
        """Binary logarithm, to about 1e-13."""
        return math.fsum(exponent * math.log2(base) for base, exponent in self.powers)

    def fraction(self) -> Fraction:
        """The number itself; long after many levels."""
        numerator = math.prod(base**exponent for base, exponent in self.powers if exponent > 0)
        denominator = math.prod(base**-exponent for base, exponent in self.powers if exponent < 0)
        return Fraction(numerator, denominator)

    @cached_property
    def _float(self) -> float:
        try:
            return float(self.fraction())
        except OverflowError:
            raise ScaleError(f"cannot take a scale of 2^{self.log2:.1f} as a float: below 2^1024") from None

    def __float__(self) -> float:
        """Correctly rounded. Raises ScaleError from 2^1024 on."""
        return self._float

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | float | Fraction) and not isinstance(other, bool):
            if not math.isfinite(other) or other <= 0:
                return False
            other = Scale.of(other)
        if not isinstance(other, Scale):
            return NotImplemented
        if self.powers == other.powers:
            return True
        # One number may be written in two ways (15 and 3*5) where a caller's own number is no prime; it is rare.
        return abs(self.log2 - other.log2) < 1e-6 and (self / other).fraction() == 1

    @cached_property
    def _hash(self) -> int:
        # The number modulo a prime is the same however it is written, and a Fraction hashes to the same.
        value = 1
        for base, exponent in self.powers:
            if base % _HASH_MODULUS == 0:  # no inverse: such numbers share one hash
                return _HASH_MODULUS
            value = value * pow(base, exponent, _HASH_MODULUS) % _HASH_MODULUS
        return value

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        text = " * ".join(f"{base}^{exponent}" if exponent != 1 else f"{base}" for base, exponent in self.powers)
        return f"<Scale {text or 1}>" if len(self.powers) < 3 else f"<Scale 2^{self.log2:.6f}>"


# Every operation on ciphertexts derives scales, the same few again and again; a scale keeps its logarithm.
@lru_cache(maxsize=1 << 10)
def _of(value: int | float | Fraction) -> Scale:
    numerator, denominator = value.as_integer_ratio()
    return Scale([*_split(numerator, 1), *_split(denominator, -1)])


@lru_cache(maxsize=1 << 12)
def _joined(a: tuple[tuple[int, int], ...], b: tuple[tuple[int, int], ...], sign: int) -> Scale:
    return Scale(a + tuple((base, sign * exponent) for base, exponent in b))


def _split(value: int, sign: int) -> list[tuple[int, int]]:
    """A positive integer as a power of two times an odd rest, each to the power of `sign`."""
    twos = (value & -value).bit_length() - 1
    odd = value >> twos
    return [(2, sign * twos)] + ([(odd, sign)] if odd > 1 else [])
