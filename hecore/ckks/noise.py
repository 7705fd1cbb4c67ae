"""Worst-case noise: bounds that hold for every input, never measured.

A noise is a bound of |e(zeta)| over all slots zeta (primitive 2N-th roots of unity) for the difference e between a
decrypted polynomial and scale times the true message: the error of a slot is at most noise / scale. Infinity stands
for "unknown". This norm (the canonical embedding's) is multiplicative: |(a*b)(zeta)| = |a(zeta)| * |b(zeta)|.

Bounds hold for all plaintexts and circuits, except with probability 2^-128 a polynomial over the randomness of keys
and encryptions. Two kinds of polynomials occur:

- coefficients any number in [-c, c], chosen by nobody knows whom (roundings inside a circuit, digits): at most c*N.
- random coefficients, independent and sub-Gaussian of variance v, that is E exp(tx) <= exp(v t^2 / 2). Uniform ternary
  digits (v = 2/3), centred binomials (v = eta/2) and uniform roundings (v = 1/12) are: compare the series term by term.
  The component of x(zeta) in any direction phi, sum_j x_j cos(j*theta + phi), has variance v * sum_j cos^2 = v*N/2,
  for sum_j zeta^(2j) = 0. A complex number longer than t has a component of at least t*cos(pi/16) in one of 16 equally
  spaced directions, so that over N/2 slots P[some |x(zeta)| > t] <= 16 * N/2 * exp(-(t*cos(pi/16))^2 / (v*N)).
  Setting that to 2^-128 gives `tail`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from hecore.backends.ring_protocol import ERROR_VARIANCE
from hecore.ckks.params import Parameters
from hecore.ckks.scale import Scale

__all__ = [
    "Parameters",
    "encoding",
    "fresh_public",
    "fresh_symmetric",
    "key_switching",
    "multiplication",
    "quotient",
    "rescaling",
    "secret_norm",
    "tail",
    "transform_error",
]

UNKNOWN = math.inf
FAILURE_BITS = 128
_TERNARY_VARIANCE = 2 / 3
_ROUNDING_VARIANCE = 1 / 12
_DIRECTIONS = 16
_SLACK = 1 + 2**-40  # roundings to nearest are off by at most 2^-46 where several primes are divided away at once


def quotient(noise: float, divisor: int) -> float:
    """noise / divisor, of which the divisor may be no double any more."""
    try:
        return noise / divisor
    except OverflowError:
        return float(Fraction(noise) / divisor) if math.isfinite(noise) else noise


@lru_cache(maxsize=1024)
def tail(ring_degree: int, variance: float) -> float:
    """|x(zeta)| of a polynomial with independent sub-Gaussian coefficients stays below this; see the module."""
    exponent = FAILURE_BITS * math.log(2) + math.log(_DIRECTIONS * ring_degree / 2)
    return math.sqrt(exponent * variance * ring_degree) / math.cos(math.pi / _DIRECTIONS)


@lru_cache(maxsize=1024)
def secret_norm(parameters: Parameters) -> float:
    """Bound of |s(zeta)|."""
    weight = parameters.secret_weight
    if weight is None:
        return tail(parameters.ring_degree, _TERNARY_VARIANCE)
    # Given the places, `weight` random signs: sum cos^2 <= weight in each direction, where `tail` has v*N/2.
    return min(float(weight), tail(parameters.ring_degree, 2 * weight / parameters.ring_degree))


def transform_error(ring_degree: int, bound: float, unit: float) -> float:
    """What a floating-point transform at unit roundoff `unit` adds to slot values of at most `bound`, either way.

    A transform of length n is off by at most 7*log2(n)*unit of the 2-norm (Higham, "Accuracy and Stability of
    Numerical Algorithms", theorem 24.2, with room for the twist), and the 2-norm of N/2 slots is sqrt(N/2) * bound.
    """
    return 7 * math.log2(ring_degree) * unit * math.sqrt(ring_degree / 2) * bound


def encoding(parameters: Parameters, bound: float | None, scale: Scale, unit: float) -> float:
    """The transform at unit roundoff `unit`, and N/2 for coefficients rounded to integers."""
    if bound is None:
        return UNKNOWN
    degree = parameters.ring_degree
    return degree / 2 + transform_error(degree, bound, unit) * float(scale)


def fresh_symmetric(parameters: Parameters) -> float:
    """The error of c_0 = -a*s + e + m."""
    return tail(parameters.ring_degree, ERROR_VARIANCE)


def fresh_public(parameters: Parameters) -> float:
    """The error of (b, a)*u + (e_0, e_1), for b = -a*s + e: e*u + e_0 + e_1*s.

    Under special primes of product P it is divided by P, and a rounding (1, s) * uniform comes in its place: what is
    rounded is a sample of ring learning with errors, indistinguishable from uniform.
    """
    degree, secret = parameters.ring_degree, secret_norm(parameters)
    error, ephemeral = tail(degree, ERROR_VARIANCE), tail(degree, _TERNARY_VARIANCE)
    total = error * (ephemeral + 1 + secret)
    if parameters.special is None:
        return total
    return quotient(total, parameters.special.product) + tail(degree, _ROUNDING_VARIANCE) * (1 + secret) * _SLACK


def multiplication(
    bound_a: float | None, scale_a: Scale, noise_a: float, bound_b: float | None, scale_b: Scale, noise_b: float
) -> float:
    """(m_a + e_a)(m_b + e_b) - m_a*m_b; unknown where a bound is, unless the other side has no noise at all."""
    if not (noise_a or noise_b):
        return 0.0
    if bound_a is None or bound_b is None:
        return UNKNOWN
    return bound_a * float(scale_a) * noise_b + bound_b * float(scale_b) * noise_a + noise_a * noise_b


def rescaling(parameters: Parameters, noise: float, divisor: int, components: int) -> float:
    """noise / divisor, and for each component a rounding of at most 1/2 a coefficient, times 1, s, s^2."""
    secret = secret_norm(parameters)
    roundings = sum(secret**i for i in range(components))
    return quotient(noise, divisor) + parameters.ring_degree / 2 * roundings * _SLACK


@lru_cache(maxsize=1024)
def key_switching(parameters: Parameters, level: int) -> float:
    """What one key switch adds: sum_j d_j*e_j / P over its digits d_j, and the rounding of two components.

    A digit of product D made of k primes has coefficients in [0, k*D). Unknown without special primes.
    """
    if parameters.special is None:
        return UNKNOWN
    degree, moduli = parameters.ring_degree, parameters.basis.moduli
    digits = sum((stop - start) * math.prod(moduli[start:stop]) for start, stop in parameters.digits(level))
    inner = float(digits * degree / parameters.special.product) * tail(degree, ERROR_VARIANCE)
    return rescaling(parameters, inner, 1, 2)
