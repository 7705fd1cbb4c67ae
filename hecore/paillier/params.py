"""Sizes: the security floor, the default key, and how long encryption randomness must be."""

from __future__ import annotations

from hecore.errors import InsecureParametersError, ParameterError

SECURITY_FLOOR_BITS = 2048
DEFAULT_KEY_BITS = 3072
MAX_KEY_BITS = 8192
"""Bound on foreign keys, so that a parser never starts arithmetic on a modulus of any size the sender likes."""

MIN_MODULUS = 15
"""3*5, the smallest product of two distinct odd primes."""

# NIST SP 800-56B rev. 2, section 6.3: estimated strength of a factoring-based modulus. 1024 bits: SP 800-57.
_STRENGTHS = ((8192, 200), (6144, 176), (4096, 152), (3072, 128), (2048, 112), (1024, 80))


def security_bits(key_bits: int) -> int:
    """Estimated security lambda of a modulus in bits; 0 below 1024 bits, where there is none to speak of."""
    return next((strength for size, strength in _STRENGTHS if key_bits >= size), 0)


def default_randomness_bits(key_bits: int) -> int:
    """Half the key, the length for which Damgard, Jurik and Nielsen (2010, section 4.2) give their argument."""
    return key_bits // 2


def min_randomness_bits(key_bits: int) -> int:
    """2*lambda: a generic search for an exponent of b bits (kangaroo, baby-step giant-step) costs 2**(b/2)."""
    return min(max(2 * security_bits(key_bits), 1), default_randomness_bits(key_bits))


def check_key_bits(key_bits: int) -> None:
    """Raise InsecureParametersError below the security floor, ParameterError for an odd or oversized key."""
    if key_bits < SECURITY_FLOOR_BITS:
        raise InsecureParametersError(
            f"cannot make a {key_bits}-bit key: the floor is {SECURITY_FLOOR_BITS} bits; "
            "for tests and experiments there is generate_insecure_keypair"
        )
    check_key_size(key_bits)


def check_key_size(key_bits: int) -> None:
    """Raise ParameterError for a size that is odd or above MAX_KEY_BITS."""
    if key_bits % 2 or key_bits > MAX_KEY_BITS:
        raise ParameterError(f"cannot make a {key_bits}-bit key: the size must be even and at most {MAX_KEY_BITS}")


def check_randomness_bits(bits: int, key_bits: int) -> None:
    """Raise InsecureParametersError below 2*lambda, ParameterError above the key's own length."""
    least = min_randomness_bits(key_bits)
    if bits < least:
        raise InsecureParametersError(
            f"cannot encrypt with {bits}-bit exponents: a {key_bits}-bit key needs at least {least} bits"
        )
    if bits > key_bits:
        raise ParameterError(
            f"cannot encrypt with {bits}-bit exponents: more than the key's {key_bits} bits add nothing"
        )
