"""Scalar arithmetic on GMP integers where gmpy2 is installed, on Python's where it is not.

Results are of type `mpz`: a chain of scalar operations then converts nothing. All of it is variable time but
`powmod_secret`.
"""

from __future__ import annotations

from typing import Any

from hecore.arith.integers import gmpy2
from hecore.errors import CiphertextError

mpz: Any
powmod: Any
powmod_secret: Any
gcd: Any
if gmpy2 is not None:
    mpz, powmod, gcd = gmpy2.mpz, gmpy2.powmod, gmpy2.gcd
    powmod_secret = gmpy2.powmod_sec  # mpn_sec_powm: side-channel silent by GMP's documentation
else:
    import math

    mpz, powmod, gcd = int, pow, math.gcd
    powmod_secret = pow  # variable time: SECURITY.md says so


def invert_modulo_square(value: Any, n: Any, n_squared: Any) -> Any:
    """value**-1 mod n^2. Raises CiphertextError where value shares a factor with n.

    x0 = value**-1 mod n is right modulo n; with value*x0 = 1 + e*n, x0*(2 - value*x0) = x0*(1 - e*n) is right modulo
    n^2 (Newton's iteration). One inversion of half the size is cheaper than a whole one.
    """
    try:
        x0 = gmpy2.invert(value, n) if gmpy2 is not None else pow(value, -1, n)
    except (ZeroDivisionError, ValueError):
        raise CiphertextError("cannot invert the ciphertext: it shares a factor with n") from None
    return x0 * (2 - value * x0 % n_squared) % n_squared
