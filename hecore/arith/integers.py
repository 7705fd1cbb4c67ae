"""Single big integers: gmpy2 where it is installed, plain Python where it is not. Same results."""

from __future__ import annotations

import math
from typing import Any

try:
    import gmpy2 as _gmpy2
except ImportError:  # the device machines carry no gmpy2; everything works, slower
    _gmpy2 = None
gmpy2: Any = _gmpy2


def powmod(base: int, exponent: int, modulus: int) -> int:
    """base**exponent mod modulus, variable time; exponent may be negative where the inverse exists."""
    if gmpy2 is not None:
        return int(gmpy2.powmod(base, exponent, modulus))
    return pow(base, exponent, modulus)


def powmod_secret(base: int, exponent: int, modulus: int) -> int:
    """base**exponent mod an odd modulus with a secret exponent > 0.

    GMP's mpz_powm_sec (side-channel resistant by its documentation) where gmpy2 is installed; without it
    Python's pow, which is variable time: SECURITY.md says so.
    """
    if gmpy2 is not None:
        return int(gmpy2.powmod_sec(base, exponent, modulus))
    return pow(base, exponent, modulus)


def invert(value: int, modulus: int) -> int:
    """value**-1 mod modulus, variable time. Raises ZeroDivisionError where none exists."""
    if gmpy2 is not None:
        return int(gmpy2.invert(value, modulus))
    try:
        return pow(value, -1, modulus)
    except ValueError:
        raise ZeroDivisionError("no inverse exists") from None


def gcd(a: int, b: int) -> int:
    """Greatest common divisor, variable time."""
    return int(gmpy2.gcd(a, b)) if gmpy2 is not None else math.gcd(a, b)


def mulmod(a: int, b: int, modulus: int) -> int:
    """a*b mod modulus, variable time."""
    return int(gmpy2.mpz(a) * b % modulus) if gmpy2 is not None else a * b % modulus
