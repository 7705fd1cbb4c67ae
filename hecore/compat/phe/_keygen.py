"""Primes for the peer's `generate_paillier_keypair`, tiny sizes included, and checks of given ones."""

from __future__ import annotations

import secrets

from hecore.arith import primes
from hecore.arith.integers import gcd, gmpy2
from hecore.errors import MalformedKeyError, ParameterError

SMALLEST_KEY_BITS = 6


def random_primes(n_length: int) -> tuple[int, int]:
    """Distinct secret primes with a product n of exactly n_length >= 6 bits and gcd(n, (p-1)(q-1)) = 1.

    Even sizes from 16 bits up give the Blum primes of `random_blum_primes`. Tinier and odd sizes are for toys:
    p and q are then uniform among the primes of half the size (p of one bit more where n_length is odd).
    """
    if n_length < SMALLEST_KEY_BITS:
        raise ParameterError(f"cannot make a {n_length}-bit key: there is none below {SMALLEST_KEY_BITS} bits")
    if n_length >= primes.SMALLEST_KEY_BITS and n_length % 2 == 0:
        return primes.random_blum_primes(n_length)
    while True:
        p, q = _random_prime(n_length - n_length // 2), _random_prime(n_length // 2)
        if p != q and (p * q).bit_length() == n_length and gcd(p * q, (p - 1) * (q - 1)) == 1:
            return p, q


def random_generator(n: int) -> int:
    """h = -x**2 mod n for a random unit x: what a Blum modulus needs for fast encryption."""
    while True:
        x = secrets.randbelow(n)
        h = n - x * x % n
        if gcd(x, n) == 1 and 1 < h < n - 1:
            return h


def check_factors(p: int, q: int) -> None:
    """Raise MalformedKeyError unless p and q are distinct odd primes.

    The owner of a key has no reason to deceive himself, so GMP's test with predictable bases is enough here.
    """
    if p == q:
        raise MalformedKeyError("cannot use these factors: p and q have to be different")
    if not all(prime >= 3 and prime % 2 and _looks_prime(prime) for prime in (p, q)):
        raise MalformedKeyError("cannot use these factors: p and q have to be odd primes")


def _looks_prime(number: int) -> bool:
    return bool(gmpy2.is_prime(number)) if gmpy2 is not None else primes.is_prime(number)


def _random_prime(bits: int) -> int:
    """A uniform prime of exactly `bits` >= 3 bits."""
    lowest = 1 << (bits - 1)
    while True:
        candidate = lowest + secrets.randbelow(lowest) | 1
        if primes.is_prime(candidate):
            return candidate
