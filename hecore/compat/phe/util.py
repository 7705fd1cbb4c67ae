"""Number theory and base64 under the peer's names.

GMP does the work where `HAVE_GMP` is true; clear the flag, as for tests, and Python integers do it. Everything here
is variable time. hecore's own code uses `hecore.arith` and never this module.
"""

from __future__ import annotations

import base64
import math

from hecore.arith import primes
from hecore.arith.integers import gmpy2
from hecore.arith.random import random_below
from hecore.compat.phe._errors import DomainError
from hecore.errors import OperandTypeError, ParameterError, SerializationError

__all__ = [
    "HAVE_CRYPTO",
    "HAVE_GMP",
    "base64_to_int",
    "base64url_decode",
    "base64url_encode",
    "extended_euclidean_algorithm",
    "first_primes",
    "getprimeover",
    "improved_i_sqrt",
    "int_to_base64",
    "invert",
    "is_prime",
    "isqrt",
    "miller_rabin",
    "mulmod",
    "powmod",
]

HAVE_GMP = gmpy2 is not None
HAVE_CRYPTO = False  # the peer's second choice, PyCrypto, has been unmaintained since 2013 and is never used
_GMP_PAYS_FROM = 1 << 128  # below, converting to GMP's integers and back costs more than it saves


def powmod(a: int, b: int, c: int) -> int:
    """a**b mod c; b may be negative where a has an inverse. Raises ValueError where it has none, or c = 0."""
    if HAVE_GMP and c > _GMP_PAYS_FROM and b >= 0:
        return int(gmpy2.powmod(a, b, c))
    return pow(a, b, c)


def mulmod(a: int, b: int, c: int) -> int:
    """a*b mod c."""
    if HAVE_GMP and c > _GMP_PAYS_FROM:
        return int(gmpy2.mpz(a) * b % c)
    return a * b % c


def invert(a: int, b: int) -> int:
    """x in [0, b) with a*x = 1 mod b. Raises ZeroDivisionError where there is none, as GMP does."""
    if HAVE_GMP:
        return int(gmpy2.invert(a, b))
    try:
        return pow(a, -1, b)
    except ValueError:
        raise ZeroDivisionError("cannot invert: the number and the modulus share a factor") from None


def extended_euclidean_algorithm(a: int, b: int) -> tuple[int, int, int]:
    """(r, s, t) with r = s*a + t*b and r a greatest common divisor of a and b."""
    # Invariant: row = (r, s, t) with r = s*a + t*b.
    row, following = (a, 1, 0), (b, 0, 1)
    while following[0]:
        quotient = row[0] // following[0]
        remainder = tuple(x - quotient * y for x, y in zip(row, following, strict=True))
        row, following = following, (remainder[0], remainder[1], remainder[2])
    return row


def getprimeover(N: int) -> int:
    """A random prime of exactly N >= 2 bits, uniform, from the operating system's CSPRNG.

    The peer takes the next prime after a random start, which may have one bit more and favours primes after
    long gaps. Raises ParameterError for N < 2.
    """
    if N < 2:
        raise ParameterError(f"cannot draw a prime of {N} bits: the least is 2")
    lowest = 1 << (N - 1)
    while True:
        candidate = lowest + random_below(lowest)
        if N > 2:
            candidate |= 1
        if primes.is_prime(candidate):
            return candidate


def isqrt(N: int) -> int:
    """floor(sqrt(N)) for N >= 0. Raises ValueError below."""
    return math.isqrt(N)


def improved_i_sqrt(n: int) -> int:
    """The same as `isqrt`, under the peer's other name. Raises DomainError (an AssertionError) below 0."""
    if n < 0:
        raise DomainError("cannot take the square root of a negative integer")
    return math.isqrt(n)


def miller_rabin(n: int, k: int) -> bool:
    """k rounds of Miller-Rabin with random bases, for n >= 4: False proves that n is composite.

    A composite is taken for prime with probability at most 4**-k (Rabin 1980). Raises DomainError below 4.
    """
    if n < 4:
        raise DomainError("cannot test this number: the least is 4")
    if n % 2 == 0:
        return False
    twos = (n - 1 & 1 - n).bit_length() - 1
    odd = (n - 1) >> twos
    return all(_passes_round(2 + random_below(n - 3), n, odd, twos) for _ in range(k))


def _passes_round(base: int, n: int, odd: int, twos: int) -> bool:
    """Whether base**odd is 1, or meets -1 on its way to base**(n-1) by `twos` squarings."""
    x = powmod(base, odd, n)
    if x == 1:
        return True
    for _ in range(twos):
        if x == n - 1:
            return True
        x = x * x % n
    return False


def is_prime(n: int, mr_rounds: int = 25) -> bool:
    """Whether n is prime: trial division by `first_primes`, then `mr_rounds` of `miller_rabin`."""
    if n < 2:
        return False
    if n <= first_primes[-1]:
        return n in _first_primes
    if any(n % prime == 0 for prime in first_primes):
        return False
    return miller_rabin(n, mr_rounds)


def base64url_encode(payload: bytes | str) -> str:
    """URL-safe base64 without padding; text is taken as UTF-8."""
    data = payload.encode() if isinstance(payload, str) else payload
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def base64url_decode(payload: str) -> bytes:
    """Inverse of `base64url_encode`; padding is optional, and characters outside the alphabet are dropped."""
    if not isinstance(payload, str):
        raise OperandTypeError(f"cannot decode base64 from {type(payload).__name__}: str is needed")
    try:
        return base64.urlsafe_b64decode(payload.rstrip("=") + "=" * (-len(payload.rstrip("=")) % 4))
    except ValueError:
        raise SerializationError("cannot decode this text: it is not base64url") from None


def base64_to_int(source: str) -> int:
    """The integer whose big-endian bytes `source` encodes (Base64urlUInt of RFC 7518). Raises SerializationError."""
    data = base64url_decode(source)
    if not data:
        raise SerializationError("cannot read an integer from an empty text")
    return int.from_bytes(data, "big")


def int_to_base64(source: int) -> str:
    """Inverse of `base64_to_int`, for positive integers. Raises DomainError (an AssertionError) for others."""
    if not isinstance(source, int):
        raise OperandTypeError(f"cannot encode {type(source).__name__}: an int is needed")
    if source <= 0:
        raise DomainError("cannot encode an integer below 1")
    return base64url_encode(source.to_bytes((source.bit_length() + 7) // 8, "big"))


def _primes_below(bound: int) -> list[int]:
    """All primes below `bound`, by Eratosthenes' sieve."""
    composite = bytearray(bound)
    for i in range(2, math.isqrt(bound - 1) + 1):
        if not composite[i]:
            composite[i * i :: i] = b"\1" * len(range(i * i, bound, i))
    return [i for i in range(2, bound) if not composite[i]]


first_primes = _primes_below(17864)  # the first 2048
_first_primes = frozenset(first_primes)
