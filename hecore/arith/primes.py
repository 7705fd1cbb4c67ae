"""Primality, small factors, and the prime pairs of Paillier keys.

Variable time throughout: key generation is not constant time (SECURITY.md says so).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import numpy as np

from hecore.arith import integers
from hecore.arith.integers import gcd, powmod
from hecore.arith.random import random_below
from hecore.errors import ParameterError

SMALLEST_KEY_BITS = 16
MILLER_RABIN_ROUNDS = 64
_TRIAL_BOUND = 2048
_SMALLEST_PRIME_BITS = 512  # of a prime of a key that somebody might once have used; toys below
_BLOCK = 32  # candidates a system call
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
    from the OS CSPRNG (no search upwards from a random start, which would favour primes after long gaps), and
    passes `_passes_rounds`. Each prime is at least 2**(key_bits/2 - 1/2), so that the product never falls short
    of key_bits bits.

    `key_bits` is even and at least 16; whether a size is secure is the caller's check. Raises ParameterError.
    """
    if key_bits < SMALLEST_KEY_BITS or key_bits % 2:
        raise ParameterError(
            f"cannot make a {key_bits}-bit key: the size must be even and at least {SMALLEST_KEY_BITS}"
        )
    half = key_bits // 2
    candidates = _candidates(half)
    while True:
        p = next(p for p in candidates if _may_be_prime(p) and _passes_rounds(p))
        # About half/2 candidates are needed. Only a toy size leaves a p without any partner (211 at 16 bits).
        for q in islice(candidates, 64 * half):
            # The cheap conditions first: none depends on q being prime.
            if (
                _may_be_prime(q)
                and gcd(p - 1, q - 1) == 2
                and abs(p - q) > minimum_distance(half)
                and _passes_rounds(q)
            ):
                return p, q


def _candidates(bits: int) -> Iterator[int]:
    """Endlessly: uniform among the integers = 3 mod 4 in [ceil(2**(bits - 1/2)), 2**bits).

    Random bytes are fetched in blocks, because a system call each would cost more than the bytes; what is left of
    a block is dropped with the iterator.
    """
    lowest = math.isqrt((1 << (2 * bits - 1)) - 1) + 1
    first = lowest + (3 - lowest) % 4
    count = ((1 << bits) - first + 3) // 4
    size = (count.bit_length() + 7) // 8
    surplus = 8 * size - count.bit_length()
    while True:
        block = secrets.token_bytes(size * _BLOCK)
        for start in range(0, len(block), size):
            value = int.from_bytes(block[start : start + size], "little") >> surplus
            if value < count:  # rejection keeps it uniform
                yield first + 4 * value


def _may_be_prime(n: int) -> bool:
    """A cheap test that every prime passes: no small factor, or for toy sizes all that `_passes_rounds` asks."""
    bits = n.bit_length()
    if bits < _SMALLEST_PRIME_BITS:
        return _passes_rounds(n)
    # The second product pays where a Miller-Rabin round costs more than a gcd with it, of 3000 or of 94 000 bits.
    return gcd(n, _product_of_primes(256)) == 1 and gcd(n, _product_of_primes(2048 if bits < 1024 else 65536)) == 1


def _passes_rounds(n: int) -> bool:
    """Whether a number that was drawn at random, by nobody's choice, is prime.

    From 512 bits up, as many random Miller-Rabin rounds as the bound of Damgard, Landrock and Pomerance (1993;
    Handbook of Applied Cryptography, fact 4.48) asks for. That bound speaks of a uniform odd number of k bits; ours
    is uniform on a part of these that holds more than a quarter of their primes, so that two bits are added. Toy
    sizes: GMP's Baillie-PSW test, which no composite is known to pass.
    """
    bits = n.bit_length()
    if bits < _SMALLEST_PRIME_BITS:
        return bool(integers.gmpy2.is_prime(n, 1)) if integers.gmpy2 is not None else is_prime(n)
    twos = (n - 1 & 1 - n).bit_length() - 1
    odd = (n - 1) >> twos
    if _is_witness(2, n, odd, twos):  # nearly every composite ends here, and powers of 2 are the cheapest
        return False
    return not any(_is_witness(2 + random_below(n - 3), n, odd, twos) for _ in range(_rounds_for_random(bits)))


@lru_cache(maxsize=8)
def _rounds_for_random(bits: int) -> int:
    """The least t with bits**1.5 * 2**t * t**-0.5 * 4**(2 - sqrt(t*bits)) <= 2**-error, valid for 3 <= t <= bits/9.

    The error is 2**-128 from 1024 bits up and 2**-80, the strength of a 1024-bit modulus, below.
    """
    error = 2 + (128 if bits >= 1024 else 80)
    return next(
        t
        for t in range(3, bits // 9 + 1)
        if 1.5 * math.log2(bits) + t - math.log2(t) / 2 + 4 - 2 * math.sqrt(t * bits) <= -error
    )


@lru_cache(maxsize=3)
def _product_of_primes(bound: int) -> int:
    """The product of all primes up to `bound`, as a GMP integer where there is one: converting it is what costs."""
    product = math.prod(_primes_up_to(bound))
    return integers.gmpy2.mpz(product) if integers.gmpy2 is not None else product
