"""Ready approximations of functions that are no polynomials: sigmoid, inverse, sign.

Each holds on a stated interval with a stated error, of the polynomial itself; the noise of its evaluation comes on top
(`ciphertext.noise`). Values outside the interval give anything at all: a declared bound that reaches beyond it is
refused. Errors are the largest deviation found on 20 000 points of the interval.

sigmoid and inverse interpolate at Chebyshev points, within a small factor of the best polynomial of a degree
(Trefethen: "Approximation Theory and Approximation Practice", theorem 16.1). sign composes g(g(…f(f(x)))) of odd
polynomials of degree 7 (Cheon, Kim, Kim: "Efficient Homomorphic Comparison Methods with Optimal Complexity", ASIACRYPT
2020): g spreads values away from zero, f pulls them to ±1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import polynomial
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.polynomial import Encrypted
from hecore.errors import LevelError, ParameterError, PlaintextRangeError

__all__ = [
    "Approximation",
    "inverse",
    "inverse_approximation",
    "sigmoid",
    "sigmoid_approximation",
    "sign",
    "sign_steps",
]

Floats = NDArray[np.float64]

_POINTS = 20_000
_MAX_DEGREE = 511
_SPREAD = np.array([0.0, 4589.0, 0.0, -16577.0, 0.0, 25614.0, 0.0, -12860.0]) / 2**10
_PULL = np.array([0.0, 35.0, 0.0, -35.0, 0.0, 21.0, 0.0, -5.0]) / 2**4
_SPREAD_LIMIT = 0.3
"""Values beyond it are close enough to ±1 for the second polynomial to finish."""


@dataclass(frozen=True)
class Approximation:
    """A Chebyshev series on an interval, for `ckks.chebyshev(x, coefficients, interval)`."""

    coefficients: tuple[float, ...]
    interval: tuple[float, float]
    error: float
    """Largest deviation from the function on the interval."""

    @property
    def depth(self) -> int:
        """Levels it takes."""
        return polynomial.depth(len(self.coefficients) - 1) + (self.interval[1] - self.interval[0] != 2)

    def __call__(self, x: Encrypted) -> Encrypted:
        return polynomial.chebyshev(x, self.coefficients, self.interval)


def sigmoid(x: Encrypted, radius: float = 8.0, degree: int = 15) -> Encrypted:
    """1 / (1 + exp(-x)) for |x| <= radius.

    | radius | degree | error   | levels |
    |--------|--------|---------|--------|
    | 4      | 7      | 0.002   | 4      |
    | 8      | 15     | 0.0014  | 5      |
    | 8      | 31     | 3e-06   | 6      |
    | 16     | 31     | 0.0012  | 6      |
    | 16     | 63     | 2.4e-06 | 7      |

    Others: `sigmoid_approximation(radius, degree).error`. Raises as `ckks.chebyshev`.
    """
    return sigmoid_approximation(radius, degree)(x)


@cache
def sigmoid_approximation(radius: float = 8.0, degree: int = 15) -> Approximation:
    """The series behind `sigmoid`. Raises ParameterError for a radius or degree out of range."""
    if not 0 < radius <= 64:
        raise ParameterError(f"cannot approximate the sigmoid for |x| <= {radius}: above 0, up to 64")
    return _interpolated(lambda x: 1 / (1 + np.exp(-x)), (-radius, radius), degree)


def inverse(x: Encrypted, interval: tuple[float, float] = (0.125, 1.0), degree: int = 15) -> Encrypted:
    """1 / x for x in an interval of positive (or of negative) numbers.

    | interval   | degree | error   | levels |
    |------------|--------|---------|--------|
    | 1/2 … 3/2  | 7      | 0.00011 | 4      |
    | 1/8 … 1    | 15     | 0.00012 | 5      |
    | 1/8 … 1    | 31     | 8.6e-10 | 6      |
    | 1/32 … 1   | 31     | 0.00069 | 6      |
    | 1/32 … 1   | 63     | 7.5e-09 | 7      |

    The error falls with the degree by a factor of (sqrt(b) + sqrt(a)) / (sqrt(b) - sqrt(a)) each, for [a, b]. Others:
    `inverse_approximation(interval, degree).error`. Raises as `ckks.chebyshev`.
    """
    return inverse_approximation(interval, degree)(x)


@cache
def inverse_approximation(interval: tuple[float, float] = (0.125, 1.0), degree: int = 15) -> Approximation:
    """The series behind `inverse`. Raises ParameterError for intervals that touch zero and degrees out of range."""
    low, high = interval
    if not low < high or low * high <= 0:
        raise ParameterError(f"cannot approximate 1/x on {interval}: ascending ends of one sign, zero outside")
    return _interpolated(lambda x: 1 / x, (float(low), float(high)), degree)


def _interpolated(function: Callable[[Floats], Floats], interval: tuple[float, float], degree: int) -> Approximation:
    if not 1 <= degree <= _MAX_DEGREE:
        raise ParameterError(f"cannot interpolate by degree {degree}: from 1 to {_MAX_DEGREE}")
    series: Any = np.polynomial.Chebyshev.interpolate(function, degree, domain=interval)
    points = np.linspace(*interval, _POINTS)
    error = float(np.abs(series(points) - function(points)).max())
    return Approximation(tuple(float(c) for c in series.coef), interval, error)


# -- sign --------------------------------------------------------------------------------------------------


def sign(x: Encrypted, separation: float = 0.125, error: float = 2.0**-10) -> Encrypted:
    """-1 for x in [-1, -separation], 1 for x in [separation, 1], off by at most `error`; between the two anything.

    Three levels a step, `sum(sign_steps(separation, error))` steps:

    | separation | error | steps | levels |
    |------------|-------|-------|--------|
    | 1/4        | 2^-5  | 1 + 1 | 6      |
    | 1/8        | 2^-10 | 1 + 2 | 9      |
    | 1/8        | 2^-20 | 1 + 3 | 12     |
    | 1/32       | 2^-10 | 2 + 2 | 12     |
    | 1/256      | 2^-10 | 3 + 3 | 18     |

    Comparison of u and v in [0, 1] is sign(u - v). Raises LevelError with the levels it takes, PlaintextRangeError for
    a declared bound above 1, MissingKeyError.
    """
    spread, pull = sign_steps(separation, error)
    ciphertext = x if isinstance(x, Ciphertext) else x.ciphertext
    if ciphertext.bound is not None and ciphertext.bound > 1:
        raise PlaintextRangeError(
            f"cannot take the sign on [-1, 1]: the declared bound is {ciphertext.bound}; scale the values down first"
        )
    needed = 3 * (spread + pull)
    if needed > ciphertext.level:
        raise LevelError(
            f"cannot take the sign at level {ciphertext.level}: separation {separation} and error {error} take "
            f"{needed} levels; a longer chain of moduli_bits, a larger separation or a larger error"
        )
    x = polynomial.inside(x, -1.0, 1.0)
    for coefficients in [_SPREAD] * spread + [_PULL] * pull:
        x = _within_one(polynomial.evaluate(x, coefficients))
    return x


@cache
def sign_steps(separation: float, error: float) -> tuple[int, int]:
    """How often each polynomial is applied: (g, f). Raises ParameterError for numbers out of range."""
    if not 2.0**-20 <= separation < 1:
        raise ParameterError(f"cannot separate signs at {separation}: from 2^-20, below 1")
    if not 2.0**-40 <= error < 1:
        raise ParameterError(f"cannot reach an error of {error}: from 2^-40, below 1")
    points: NDArray[Any] = np.geomspace(separation, 1.0, _POINTS)
    spread = pull = 0
    while points.min() < _SPREAD_LIMIT:
        points, spread = np.polynomial.polynomial.polyval(points, _SPREAD), spread + 1
    while np.abs(1 - points).max() > error:
        points, pull = np.polynomial.polynomial.polyval(points, _PULL), pull + 1
    return spread, pull


def _within_one(x: Encrypted) -> Encrypted:
    """Both polynomials take [-1, 1] into itself, whatever the sum of their coefficients."""
    if isinstance(x, Ciphertext):
        return replace(x, bound=None if x.bound is None else 1.0)
    return x.derived(_within_one(x.ciphertext), x.padding)
