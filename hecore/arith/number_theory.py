"""Jacobi symbols and perfect powers: what key validation asks of an integer. Variable time, for public integers."""

from __future__ import annotations

from hecore.arith.integers import gmpy2
from hecore.arith.primes import is_prime
from hecore.errors import ParameterError


def jacobi(a: int, n: int) -> int:
    """The Jacobi symbol (a/n) in {-1, 0, 1} for an odd n >= 1. Raises ParameterError for any other n."""
    if n < 1 or n % 2 == 0:
        raise ParameterError("cannot take a Jacobi symbol below an even or non-positive integer")
    if gmpy2 is not None:
        return int(gmpy2.jacobi(a, n))
    # Binary algorithm (Cohen 1993, algorithm 1.4.10, for odd n): take out twos, then reciprocity.
    a %= n
    sign = 1
    while a:
        twos = (a & -a).bit_length() - 1
        a >>= twos
        if twos % 2 and n % 8 in (3, 5):
            sign = -sign
        if a % 4 == 3 and n % 4 == 3:
            sign = -sign
        a, n = n % a, a
    return sign if n == 1 else 0


def integer_root(n: int, degree: int) -> int:
    """floor(n ** (1/degree)) for n >= 1, degree >= 1: Newton's iteration from above, which falls until it is right."""
    if n < 1 or degree < 1:
        raise ParameterError("cannot take an integer root: the radicand and the degree must be positive")
    root = 1 << -(-n.bit_length() // degree)  # >= the true root
    while True:
        lower = ((degree - 1) * root + n // root ** (degree - 1)) // degree
        if lower >= root:
            return root
        root = lower


def is_perfect_power(n: int) -> bool:
    """Whether n = a**b for integers a >= 1, b >= 2; n >= 1. Prime b suffice, and b <= log2(n)."""
    if n < 1:
        raise ParameterError("cannot look for powers below 1")
    if gmpy2 is not None:
        return bool(gmpy2.is_power(n))
    return n == 1 or any(integer_root(n, b) ** b == n for b in range(2, n.bit_length() + 1) if is_prime(b))
