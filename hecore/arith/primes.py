"""Primality, small factors, and the prime pairs of Paillier keys.

Variable time throughout: key generation is not constant time (SECURITY.md says so).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from hecore.arith.integers import gcd, powmod
from hecore.arith.random import random_below
from hecore.errors import ParameterError

SMALLEST_KEY_BITS = 16
MILLER_RABIN_ROUNDS = 64
_TRIAL_BOUND = 2048
_MAX_SMALL_FACTOR_BOUND = 1 << 26


@lru_cache(maxsize=4)
def _primes_up_to(bound: int) -> tuple[int, ...]:
    """Every prime <= bound, by Eratosthenes' sieve."""
    sieve = np.ones(bound + 1, dtype=np.bool_)
    sieve[:2] = False
    for i in range(2, math.isqrt(bound) + 1):
        if sieve[i]:
            sieve[i * i :: i] = False
    return tuple(np.flatnonzero(sieve).tolist())


def small_factor(n: int, bound: int) -> int | None:
    """The smallest prime <= bound that divides n >= 1 (n itself where n is such a prime), or None.

    Raises ParameterError for n < 1 or a bound outside [2, 2**26].
    """
    if n < 1:
        raise ParameterError("cannot look for factors of an integer below 1")
    if not 2 <= bound <= _MAX_SMALL_FACTOR_BOUND:
        raise ParameterError(f"cannot search factors up to {bound}: the bound must lie in [2, 2**26]")
    return next((prime for prime in _primes_up_to(bound) if n % prime == 0), None)


def is_prime(n: int, *, rounds: int = MILLER_RABIN_ROUNDS) -> bool:
    """Whether n is prime: trial division, then Miller-Rabin with 64 random bases from the OS CSPRNG.

    A prime is never rejected. Any composite, also one chosen by an adversary, is accepted with probability at
    most 4**-rounds, 2**-128 by default, over the bases (Rabin 1980). GMP's own test is not used: its bases are
    predictable, so that its bound does not hold against an adversary.
    """
    if n < 2:
        return False
    factor = small_factor(n, _TRIAL_BOUND)
    if factor is not None:
        return n == factor
    if n < _TRIAL_BOUND**2:
        return True
    # n - 1 = odd * 2**twos; a base whose powers never meet -1 on the way to 1 is a witness that n is composite.
    twos = (n - 1 & 1 - n).bit_length() - 1
    odd = (n - 1) >> twos
    return not any(_is_witness(2 + random_below(n - 3), n, odd, twos) for _ in range(rounds))


def _is_witness(base: int, n: int, odd: int, twos: int) -> bool:
    x = powmod(base, odd, n)
    if x in (1, n - 1):
        return False
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return False
    return True


def minimum_distance(prime_bits: int) -> int:
    """What |p - q| must exceed: 2**(prime_bits - 100) (FIPS 186-5, A.1.3); for toy sizes 2**ceil(prime_bits/2)."""
    return 1 << (prime_bits - min(100, prime_bits // 2))


def random_blum_primes(key_bits: int) -> tuple[int, int]:
    """Two distinct secret primes p, q of key_bits/2 bits each, with p*q of exactly key_bits bits.

    p = q = 3 mod 4 and gcd(p-1, q-1) = 2, which Damgard, Jurik and Nielsen (2010) ask of a Blum
    modulus, and |p - q| > `minimum_distance(key_bits // 2)`. Every candidate is drawn afresh and uniformly
    from the OS CSPRNG (no search upwards from a random start, which would favour primes after long gaps);
    each prime is at least 2**(key_bits/2 - 1/2), so that the product never falls short of key_bits bits.

    `key_bits` is even and at least 16; whether a size is secure is the caller's check. Raises ParameterError.
    """
    if key_bits < SMALLEST_KEY_BITS or key_bits % 2:
        raise ParameterError(
            f"cannot make a {key_bits}-bit key: the size must be even and at least {SMALLEST_KEY_BITS}"
        )
    half = key_bits // 2
    while True:
        p = _random_candidate(half)
        if not is_prime(p):
            continue
        # About half/2 candidates are needed. Only a toy size leaves a p without any partner (211 at 16 bits).
        for _ in range(64 * half):
            q = _random_candidate(half)
            # The cheap conditions first: they do not depend on q being prime.
            if abs(p - q) > minimum_distance(half) and gcd(p - 1, q - 1) == 2 and is_prime(q):
                return p, q


def _random_candidate(bits: int) -> int:
    """Uniform among the integers = 3 mod 4 in [ceil(2**(bits - 1/2)), 2**bits)."""
    lowest = math.isqrt((1 << (2 * bits - 1)) - 1) + 1
    first = lowest + (3 - lowest) % 4
    return first + 4 * random_below(((1 << bits) - first + 3) // 4)
