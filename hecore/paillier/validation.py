"""What is checked of keys and of foreign ciphertexts, once, where they enter.

A public key can be checked for blunders (an even, prime or tiny modulus, a trivial h), not for malice: that n
is the product of two large primes needs a zero-knowledge proof from its owner, which this library does not ask.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import gcd, powmod
from hecore.arith.limbs import less_than
from hecore.arith.number_theory import is_perfect_power, jacobi
from hecore.arith.primes import is_prime, minimum_distance, small_factor
from hecore.errors import CiphertextError, MalformedKeyError, OperandTypeError, ShapeError
from hecore.paillier.params import MAX_KEY_BITS, MIN_MODULUS, SECURITY_FLOOR_BITS, default_randomness_bits

if TYPE_CHECKING:
    from hecore.backends.protocol import IntegerBackend, Limbs, ResidueArray
    from hecore.paillier.keys import PublicKey

MAX_IMBALANCE_BITS = 16
"""How far the lengths of p and q may differ: the smaller one decides what the elliptic-curve method costs."""

_SMALL_FACTOR_BOUND = 1 << 20
_INDICES_SHOWN = 8

_NOT_CHECKED = ("that n is the product of exactly two primes of equal length (needs a proof from its owner)",)
_NOT_CHECKED_OF_H = (
    "that p = q = 3 mod 4 and gcd(p-1, q-1) = 2 (needs a proof)",
    "that h = -x**2 mod n for some x (needs a proof; its Jacobi symbol is a necessary condition)",
)


@dataclass(frozen=True)
class Check:
    """One requirement in words, and whether the key meets it."""

    requirement: str
    passed: bool


@dataclass(frozen=True)
class ValidationReport:
    """What was checked of a public key, and what cannot be checked without a proof."""

    checks: tuple[Check, ...]
    not_checked: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[str, ...]:
        """The requirements that the key does not meet."""
        return tuple(check.requirement for check in self.checks if not check.passed)

    def __str__(self) -> str:
        lines = [f"{'ok  ' if check.passed else 'FAIL'}  {check.requirement}" for check in self.checks]
        return "\n".join(lines + [f"not checked: {text}" for text in self.not_checked])


def report(n: int, h: int | None, randomness_bits: int) -> ValidationReport:
    """What `PublicKey.validate` returns."""
    not_checked: tuple[str, ...] = _NOT_CHECKED
    if h is not None:
        not_checked += _NOT_CHECKED_OF_H
        half = default_randomness_bits(n.bit_length())
        if randomness_bits < half:
            not_checked += (
                f"that discrete logarithms of {randomness_bits} bits modulo n are hard (an assumption of its short "
                f"exponents; {half} bits need none)",
            )
    return ValidationReport(tuple(_report_checks(n, h)), not_checked)


def as_integer(name: str, value: object) -> int:
    """`value` as an int. Raises OperandTypeError for anything that is not an integer (bool included)."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
        raise OperandTypeError(f"cannot use {name} of type {type(value).__name__}: an integer is needed")
    return operator.index(value)  # type: ignore[arg-type]  # __index__ was just seen


def require(checks: Iterable[Check]) -> None:
    """Raise MalformedKeyError at the first check that failed; later ones may assume the earlier."""
    for check in checks:
        if not check.passed:
            raise MalformedKeyError(f"cannot use this key: it must hold that {check.requirement}")


def modulus_checks(n: int) -> Iterator[Check]:
    """What every modulus must meet, cheapest first."""
    yield Check(f"n is at least {MIN_MODULUS} and has at most {MAX_KEY_BITS} bits", _in_size_bounds(n))
    yield Check("n is odd", n % 2 == 1)
    yield Check("n is not a perfect power", not is_perfect_power(n))
    # Few rounds: a modulus that ought to be composite shows it at the first, and a sender of primes buys less work.
    # They err, by refusing a composite, with probability below 4**-8, and for products of two random primes never.
    yield Check("n is composite", not is_prime(n, rounds=8))


def _in_size_bounds(n: int) -> bool:
    return n >= MIN_MODULUS and n.bit_length() <= MAX_KEY_BITS


def generator_checks(n: int, h: int) -> Iterator[Check]:
    """What h = -x**2 mod n of Damgard, Jurik and Nielsen must meet, as far as n alone can tell.

    For p = q = 3 mod 4: n = 1 mod 4, and (-1/n) = (-1/p)(-1/q) = 1, so that (h/n) = (-1/n)*(x/n)**2 = 1.
    """
    yield Check("h lies in (1, n-1)", 1 < h < n - 1)
    yield Check("n = 1 mod 4, as for every Blum modulus with a generator h", n % 4 == 1)
    yield Check("gcd(h, n) = 1", gcd(h, n) == 1)
    yield Check("the Jacobi symbol (h/n) is 1", jacobi(h, n) == 1)


def _report_checks(n: int, h: int | None) -> Iterator[Check]:
    bits = n.bit_length()
    yield from modulus_checks(n)
    yield Check(f"n has at least {SECURITY_FLOOR_BITS} bits (it has {bits})", bits >= SECURITY_FLOOR_BITS)
    # Toy keys have small factors by nature: stay well below the square root.
    bound = max(2, min(_SMALL_FACTOR_BOUND, 1 << max(1, bits // 2 - 2)))
    yield Check(f"n has no prime factor up to {bound}", small_factor(n, bound) is None)
    if h is not None:
        yield from generator_checks(n, h)
        hs = powmod(h, n, n * n)
        # hs is derived, never received, so it is consistent with h; a trivial one would leave messages in the clear.
        yield Check("hs = h**n mod n**2 is neither 1 nor -1", hs not in (1, n * n - 1))


def factor_checks(n: int, h: int | None, p: int, q: int) -> Iterator[Check]:
    """What the factors of a secret key must meet. No message carries a number."""
    bits = n.bit_length()
    yield Check("p and q are odd, distinct and at least 3", p >= 3 and q >= 3 and p % 2 == q % 2 == 1 and p != q)
    yield Check("p * q = n", p * q == n)
    yield Check("p and q are prime", is_prime(p) and is_prime(q))
    yield Check("gcd(n, (p-1)*(q-1)) = 1", gcd(n, (p - 1) * (q - 1)) == 1)
    if bits >= SECURITY_FLOOR_BITS:
        imbalance = abs(p.bit_length() - q.bit_length())
        yield Check(
            f"the lengths of p and q differ by at most {MAX_IMBALANCE_BITS} bits", imbalance <= MAX_IMBALANCE_BITS
        )
        yield Check("|p - q| is large enough against Fermat's method", abs(p - q) > minimum_distance(bits // 2))
    if h is not None:
        yield Check("p = q = 3 mod 4", p % 4 == q % 4 == 3)
        yield Check("gcd(p-1, q-1) = 2", gcd(p - 1, q - 1) == 2)
        # -1 is a non-residue modulo a prime = 3 mod 4, and so is -x**2.
        yield Check("h = -x**2 for some x", jacobi(h, p) == jacobi(h, q) == -1)


def check_ciphertexts(limbs: Limbs, public_key: PublicKey, backend: IntegerBackend) -> ResidueArray:
    """Foreign ciphertexts as residues modulo n^2 on `backend`, after 0 < c < n^2 and gcd(c, n) = 1.

    limbs: uint64 of shape (*S, n_squared.limbs), any values. The gcd costs one product and one gcd a batch. A
    zero has no inverse and fails it too. Raises CiphertextError naming flat indices, ShapeError,
    OperandTypeError.
    """
    modulus = public_key.n_squared
    if not isinstance(limbs, np.ndarray) or limbs.dtype != np.uint64:
        raise OperandTypeError("cannot read ciphertexts: limbs must be a uint64 array")
    if limbs.ndim == 0 or limbs.shape[-1] != modulus.limbs:
        raise ShapeError(
            f"cannot read ciphertexts of shape {limbs.shape}: the last axis must hold {modulus.limbs} limbs"
        )
    _require_all(less_than(limbs, modulus.value) & limbs.any(axis=-1), "lie outside (0, n^2)")
    residues = backend.upload(limbs, modulus)
    _require_all(backend.gcd_is_one(residues), "share a factor with n")
    return residues


def _require_all(passed: np.typing.NDArray[np.bool_], problem: str) -> None:
    bad = np.flatnonzero(~passed)
    if bad.size:
        shown = ", ".join(str(i) for i in bad[:_INDICES_SHOWN])
        more = f" and {bad.size - _INDICES_SHOWN} more" if bad.size > _INDICES_SHOWN else ""
        raise CiphertextError(f"cannot accept ciphertexts that {problem}: flat indices {shown}{more}")
