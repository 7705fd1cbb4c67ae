"""Results that others will see: decryption safe against IND-CPA-D.

A CKKS decryption is the message plus a noise that depends on the secret key and on the encryption randomness; whoever
sees enough of them, or one of them whole, finds the key (Li, Micciancio, EUROCRYPT 2021). What hides the noise is
Gaussian noise above it (Li, Micciancio, Schultz, Sorrell: "Securing Approximate Homomorphic Encryption Using
Differential Privacy", CRYPTO 2022): for published vectors in which the noise of the circuit has a 2-norm of at most B,
an independent Gaussian of

    sigma = sqrt(12*tau) * 2^(s/2) * B

on each entry makes tau publications cost at most s bits of statistical security (theorem 2 there; the divergence of two
Gaussians that far apart is B^2 / (2 sigma^2)). B is the worst case of the circuit over all inputs, which ciphertexts
carry along, and is never measured: a measured B would itself be a function of secrets. Here the vector is what is
published, the real parts of the n values of a tensor, so that B = sqrt(n) * noise / scale.
"""

from __future__ import annotations

import math
import operator
import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.stream import SecretStream
from hecore.ckks.encoding import decode_parts, decoding_error
from hecore.ckks.encryption import decrypt, shortest
from hecore.errors import OperandTypeError, ParameterError, PrecisionError, QueryBudgetError

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.encoding import Complex
    from hecore.ckks.keys import SecretKey
    from hecore.ckks.tensor import EncryptedTensor

Floats = NDArray[np.float64]

MIN_STATISTICAL_SECURITY = 30
MAX_STATISTICAL_SECURITY = 256
MAX_QUERIES = 1 << 40
_FAILURE_BITS = 40


class QueryBudget:
    """What publications of one key have cost so far, and the most that was promised; shared between threads.

    A publication at (s, tau) costs 1 / (tau * 2^s) and promises that all together stay below 2^-s: so tau of them at
    one s fit, and any mixture whose sum does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent = Fraction(0)
        self._limit = Fraction(1)
        self._count = 0

    @property
    def count(self) -> int:
        """Publications so far, in this process."""
        return self._count

    def spend(self, statistical_security: int, queries: int) -> None:
        """Count one publication, or raise QueryBudgetError and count nothing."""
        cost = Fraction(1, queries << statistical_security)
        with self._lock:
            limit = min(self._limit, Fraction(1, 1 << statistical_security))
            if self._spent + cost > limit:
                raise QueryBudgetError(
                    f"cannot publish: after {self._count} public decryptions one more at queries={queries}, "
                    f"statistical_security={statistical_security} breaks what was promised; declare as many queries "
                    "as there will be from the first one on, or generate new keys"
                )
            self._spent, self._limit, self._count = self._spent + cost, limit, self._count + 1


def decrypt_public(
    secret_key: SecretKey, x: EncryptedTensor, bits: int, statistical_security: int = 40, queries: int = 1
) -> NDArray[Any]:
    """x rounded to multiples of 2^-bits, of x's shape and dtype, safe to show to those who know the inputs.

    `queries` is tau: how many publications under this key there will be in all. Each number is off by at most 2^-bits,
    except with probability 2^-40 for the whole array; complex numbers in each of their parts.

    Raises PrecisionError where noise of that size would not leave so many bits (the message says how many it leaves, or
    that the worst case is not known), QueryBudgetError where the key has answered what was declared, ParameterError,
    KeyMismatchError, OperandTypeError.
    """
    from hecore.ckks.tensor import EncryptedTensor

    if not isinstance(x, EncryptedTensor):
        raise OperandTypeError(f"cannot publish a {type(x).__name__}: an EncryptedTensor is needed")
    try:
        bits, statistical_security, queries = map(operator.index, (bits, statistical_security, queries))
    except TypeError:
        raise OperandTypeError("cannot publish: bits, statistical_security and queries are whole numbers") from None
    if not MIN_STATISTICAL_SECURITY <= statistical_security <= MAX_STATISTICAL_SECURITY:
        raise ParameterError(
            f"cannot promise {statistical_security} bits: from {MIN_STATISTICAL_SECURITY} to {MAX_STATISTICAL_SECURITY}"
        )
    if not 1 <= queries <= MAX_QUERIES:
        raise ParameterError(f"cannot plan {queries} queries: from 1 to {MAX_QUERIES}")
    count = x.size * (2 if x.dtype.kind == "c" else 1)
    deviation = _require_bits(x.ciphertext, count, bits, statistical_security, queries)
    high, low = decode_parts(decrypt(secret_key, shortest(x.ciphertext)))
    secret_key.query_budget.spend(statistical_security, queries)
    values, rest = _published(x, high), None if low is None else _published(x, low)
    return rounded_sum(values, deviation * gaussian(values.shape), rest, bits).view(x.dtype).reshape(x.shape)


def _published(x: EncryptedTensor, slots: Complex) -> Floats:
    """The numbers of a tensor out of its slots; the parts of complex ones side by side."""
    values = x.layout.unpack(slots if x.dtype.kind == "c" else slots.real)
    return np.ascontiguousarray(values).view(np.float64)


def rounded_sum(values: Floats, noise: Floats, rest: Floats | None, bits: int) -> Floats:
    """values + noise + rest, |rest| of the order of the last bit of values, as multiples of 2^-bits.

    It is the exact sum (to 2^-100) that is rounded: rounding then is post-processing. A sum in doubles would add an
    error of its own, which depends on the values and is not small beside `noise`.
    """
    total, left = _two_sum(values, noise)
    left = left if rest is None else left + rest
    steps = np.rint(np.ldexp(total, bits))
    fraction, less = _two_sum(np.ldexp(total, bits) - steps, np.ldexp(left, bits))
    steps += np.rint(fraction)  # halves to even, but for what is left beyond them
    steps += (fraction == 0.5) & (less > 0)
    steps -= (fraction == -0.5) & (less < 0)
    return np.ldexp(steps, -bits)


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Knuth: a + b as the nearest double and the exact rest."""
    total = a + b
    shifted = total - a
    return total, (a - (total - shifted)) + (b - shifted)


def standard_deviation(noise: float, count: int, statistical_security: int, queries: int) -> float:
    """sigma of the Gaussian on each of `count` published numbers, each off by at most `noise`; same units."""
    return math.sqrt(12 * queries * count) * 2 ** (statistical_security / 2) * noise


def surviving_bits(noise: float, count: int, statistical_security: int = 40, queries: int = 1) -> int:
    """The most `bits` that `decrypt_public` gives for `count` numbers with a worst-case error of `noise` each.

    `noise` is in units of the values: `ciphertext.noise / float(ciphertext.scale)`. Negative where not even whole
    numbers survive.
    """
    return math.floor(-math.log2(2 * _radius(noise, count, statistical_security, queries)))


def _radius(noise: float, count: int, statistical_security: int, queries: int) -> float:
    """How far off a noisy number is before rounding; some number exceeds it with probability 2^-40."""
    tail = math.sqrt(2 * (_FAILURE_BITS * math.log(2) + math.log(2 * count)))
    return noise + tail * standard_deviation(noise, count, statistical_security, queries)


def _require_bits(x: Ciphertext, count: int, bits: int, statistical_security: int, queries: int) -> float:
    """sigma, where rounding to 2^-bits hides it: at most half a step. Else PrecisionError."""
    if not math.isfinite(x.noise) or x.bound is None:
        raise PrecisionError(
            "cannot publish: the worst-case noise of this result is not known; declare bound=… where its inputs are "
            "encrypted"
        )
    noise = x.noise / float(x.scale) + decoding_error(x)
    left = surviving_bits(noise, count, statistical_security, queries)
    if bits > left:
        raise PrecisionError(
            f"cannot publish {bits} bits after the binary point: {statistical_security} bits of statistical security "
            f"for {queries} queries of {count} numbers leave {left} at a scale of 2^{x.scale.log2:.0f}; a scale about "
            f"2^{bits - left} times larger, or fewer numbers and queries, would"
        )
    return standard_deviation(noise, count, statistical_security, queries)


def gaussian(shape: tuple[int, ...]) -> Floats:
    """Independent standard normal numbers from the operating system's CSPRNG (Box, Muller 1958).

    The radius comes of a uniform number of 128 bits, so that its tail ends at 13 standard deviations only. What is
    published has been rounded to steps of more than 16 deviations since, and the grid of floating point is gone.
    """
    count = math.prod(shape)
    words = SecretStream().read(24 * count).view(np.uint64).reshape(3, count).astype(np.float64)
    uniform = np.ldexp(words[0] + np.ldexp(words[1] + 0.5, -64), -64)
    normal: Floats = np.sqrt(-2 * np.log(uniform)) * np.cos(np.ldexp(2 * np.pi * words[2], -64))
    return normal.reshape(shape)
