"""The canonical embedding in floating point: slot values to coefficients and back.

Slot j of a polynomial m is m(zeta^(3^j)) for zeta = exp(i*pi/N): SEAL's order, in which a rotation by r steps to the
left is the automorphism X -> X^(3^r). The N/2 exponents 3^j and their negatives are all odd numbers modulo 2N, and a
real polynomial takes conjugate values at negatives, so that the slots determine it (Cheon, Kim, Kim, Song: "Homomorphic
Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017, section 3.2).

Of each pair one exponent is 4k+1, and with n = N/2 and i = zeta^n

    m(zeta^(4k+1)) = sum_(t<n) (m_t + i*m_(t+n)) * zeta^t * exp(2*pi*i*k*t/n),

a complex Fourier transform of length n of the m_t + i*m_(t+n), each turned by zeta^t. Slots whose 3^j is 3 modulo 4
(odd j) enter it conjugated.

Up to scales of 2^48 it runs in doubles: there their roundings stay below that of the coefficients to integers. Beyond,
in double-double arithmetic (`hecore.kernels.cpu.double_double`): at a scale of 2^80 doubles would add an error of 2^27
units to every value, and with it ten times the bits that `decrypt_public` must hide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import bit_reversal
from hecore.kernels.cpu import double_double
from hecore.kernels.cpu import embedding as kernels

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Words
    from hecore.ckks.scale import Scale

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

_DOUBLE = 2.0**-53
_DOUBLE_DOUBLE = 2.0**-102
_LARGEST_DOUBLE_SCALE = 48.0
_FIXED_BITS = 192  # of the fixed-point numbers that roots of unity are computed with


def unit_roundoff(scale: Scale) -> float:
    """Of the arithmetic that is used at this scale."""
    return _DOUBLE if scale.log2 <= _LARGEST_DOUBLE_SCALE else _DOUBLE_DOUBLE


def to_coefficients(values: NDArray[Any], ring_degree: int, scale: Scale) -> tuple[Floats, Floats | None, float]:
    """scale * values, float64 or complex128 (*S, at most N/2), as integer coefficients (*S, N).

    They are the sum of one or two parts; the largest magnitude among the first ones comes with them.
    """
    if unit_roundoff(scale) == _DOUBLE:
        coefficients, largest = _to_coefficients(values, ring_degree, float(scale))
        return coefficients, None, largest
    whole, rest = _to_coefficients_precise(values, ring_degree, scale)
    return whole, rest, float(np.abs(whole).max(initial=0.0))


def to_slots(magnitudes: Words, negative: NDArray[np.bool_], scale: Scale) -> tuple[Complex, Complex | None]:
    """Signed coefficients, limbs (*S, N, L) and signs (*S, N), divided by the scale: slot values (*S, N/2).

    They are the sum of one or two parts, of which the first is the nearest double.
    """
    if unit_roundoff(scale) == _DOUBLE:
        return _to_slots(magnitudes, negative, scale), None
    return _to_slots_precise(magnitudes, negative, scale)


# -- which slot is where -------------------------------------------------------------------------------------


@cache
def _places(ring_degree: int) -> tuple[NDArray[np.intp], Floats]:
    """For slot j: where in the Fourier transform it stands, and 1 or, where it stands there conjugated, -1."""
    half = ring_degree // 2
    exponents = np.empty(half, dtype=np.int64)
    power = 1
    for j in range(half):
        exponents[j] = power
        power = power * 3 % (2 * ring_degree)
    straight = exponents % 4 == 1
    exponents = np.where(straight, exponents, 2 * ring_degree - exponents)
    return (exponents // 4).astype(np.intp), np.where(straight, 1.0, -1.0)


# -- doubles ---------------------------------------------------------------------------------------------------


@cache
def _twist(ring_degree: int) -> Complex:
    """zeta^t for t < N/2."""
    angles = np.pi * np.arange(ring_degree // 2) / ring_degree
    return np.cos(angles) + 1j * np.sin(angles)


def _to_coefficients(values: NDArray[Any], ring_degree: int, factor: float) -> tuple[Floats, float]:
    half = ring_degree // 2
    place, sign = _places(ring_degree)
    shape = values.shape[:-1]
    rows = np.ascontiguousarray(values).reshape(math.prod(shape), values.shape[-1])
    real = values.dtype.kind != "c"
    placed = np.zeros((len(rows), half), dtype=np.float64 if real else np.complex128)
    if real:
        kernels.place_real(placed, rows, place)
    else:
        kernels.place_complex(placed, rows, place, sign)
    out = np.empty((len(rows), ring_degree))
    with np.errstate(over="ignore", invalid="ignore"):
        spectrum = np.fft.rfft(placed) if real else np.fft.fft(placed)
        largest: float = kernels.rounded_product(out, spectrum, _twist(ring_degree), factor / half)
        if not math.isfinite(out.sum()):  # the kernel's maximum passes over NaN, what infinities leave of each other
            largest = math.inf
    return out.reshape(*shape, ring_degree), largest


def _to_slots(magnitudes: Words, negative: NDArray[np.bool_], scale: Scale) -> Complex:
    ring_degree, limbs = magnitudes.shape[-2:]
    half = ring_degree // 2
    spectrum = np.empty((negative.size // ring_degree, half), dtype=np.complex128)
    kernels.turned(
        spectrum,
        magnitudes.reshape(-1, ring_degree, limbs),
        negative.reshape(-1, ring_degree),
        _twist(ring_degree),
        1 / float(scale),
    )
    values = np.empty_like(spectrum)
    kernels.picked(values, np.fft.ifft(spectrum, norm="forward"), *_places(ring_degree))
    return values.reshape(*negative.shape[:-1], half)


# -- double-double ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Roots:
    """Double-double complex numbers (4, …) for length n = N/2: zeta^t, the twiddles of both directions, and brv."""

    twist: Floats
    conjugate_twist: Floats
    twiddles: Floats
    conjugate_twiddles: Floats
    reversal: NDArray[np.intp]


_CONJUGATE = np.array([[1.0], [1.0], [-1.0], [-1.0]])


@cache
def _roots(ring_degree: int) -> _Roots:
    half = ring_degree // 2
    powers = _fixed_powers(ring_degree)  # zeta^t for t < 2n = N
    twist = _double_doubles(powers[:half])
    stages = [1 << i for i in range(half.bit_length() - 1)]
    # w_(2h) = exp(2*pi*i/(2h)) = zeta^(N/h)
    twiddles = _double_doubles([powers[ring_degree // h * j] for h in stages for j in range(h)])
    return _Roots(twist, twist * _CONJUGATE, twiddles, twiddles * _CONJUGATE, bit_reversal(half))


def _fixed_powers(ring_degree: int) -> list[tuple[int, int]]:
    """zeta^t for t < N, as integers: cos and sin times 2^192, off by less than 2^20 units."""
    one = 1 << _FIXED_BITS
    cosine, sine = 0, one  # the angle pi/2
    for _ in range(ring_degree.bit_length() - 2):  # halved down to pi/N
        cosine = math.isqrt((one + cosine) << (_FIXED_BITS - 1))
        sine = (sine << (_FIXED_BITS - 1)) // cosine
    powers = [(one, 0)]
    for _ in range(ring_degree - 1):
        x, y = powers[-1]
        powers.append(((x * cosine - y * sine) >> _FIXED_BITS, (x * sine + y * cosine) >> _FIXED_BITS))
    return powers


def _double_doubles(numbers: list[tuple[int, int]]) -> Floats:
    out = np.empty((4, len(numbers)))
    for i, (x, y) in enumerate(numbers):
        for row, value in ((0, x), (2, y)):
            high = float(value)
            out[row, i] = math.ldexp(high, -_FIXED_BITS)
            out[row + 1, i] = math.ldexp(float(value - int(high)), -_FIXED_BITS)
    return out


def _pair(number: Fraction) -> tuple[float, float]:
    high = float(number)
    return high, float(number - Fraction(high))


def _to_coefficients_precise(values: NDArray[Any], ring_degree: int, scale: Scale) -> tuple[Floats, Floats]:
    half = ring_degree // 2
    place, sign = _places(ring_degree)
    place, sign = place[: values.shape[-1]], sign[: values.shape[-1]]
    roots, factor = _roots(ring_degree), _pair(scale.fraction() / half)
    rows = values.reshape(math.prod(values.shape[:-1]), values.shape[-1])
    high = np.empty((len(rows), ring_degree))
    low = np.empty_like(high)
    for i, row in enumerate(rows):
        work = np.zeros((4, half))
        work[0, place] = row.real
        if row.dtype.kind == "c":
            work[2, place] = row.imag * sign
        double_double.from_natural(work, roots.conjugate_twiddles)
        work = work[:, roots.reversal]
        double_double.multiply(work, roots.conjugate_twist, *factor)
        parts = work.reshape(2, 2, half)
        high[i] = parts[:, 0].ravel()
        low[i] = parts[:, 1].ravel()
    whole = np.rint(high)
    rest = np.rint((high - whole) + low)
    shape = (*values.shape[:-1], ring_degree)
    return whole.reshape(shape), rest.reshape(shape)


def _to_slots_precise(magnitudes: Words, negative: NDArray[np.bool_], scale: Scale) -> tuple[Complex, Complex]:
    ring_degree, limbs = magnitudes.shape[-2:]
    half = ring_degree // 2
    place, sign = _places(ring_degree)
    roots, factor = _roots(ring_degree), _pair(1 / scale.fraction())
    shape = negative.shape[:-1]
    high = np.empty((math.prod(shape), half), dtype=np.complex128)
    low = np.empty_like(high)
    flat = magnitudes.reshape(-1, ring_degree, limbs), negative.reshape(-1, ring_degree)
    for i, (numbers, signs) in enumerate(zip(*flat, strict=True)):
        halves = np.empty((2, ring_degree))
        double_double.from_limbs(halves, numbers, signs, *factor)
        work = np.concatenate([halves[:, :half], halves[:, half:]])
        double_double.multiply(work, roots.twist, 1.0, 0.0)
        work = work[:, roots.reversal]
        double_double.to_natural(work, roots.twiddles)
        work = work[:, place]
        high[i].real, low[i].real = work[:2]
        high[i].imag, low[i].imag = work[2:] * sign
    return high.reshape(*shape, half), low.reshape(*shape, half)
