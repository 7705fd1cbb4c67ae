"""Encoding: slot values to integer polynomials and back, by the canonical embedding.

Slot j of a polynomial m is m(zeta^(3^j)) for zeta = exp(i*pi/N): SEAL's order, in which a rotation by r steps to the
left is the automorphism X -> X^(3^r). The N/2 exponents 3^j and their negatives are all odd numbers modulo 2N, and a
real polynomial takes conjugate values at negatives, so that the slots determine it (Cheon, Kim, Kim, Song: "Homomorphic
Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017, section 3.2).

Of each pair one exponent is 4k+1, and with n = N/2 and i = zeta^n

    m(zeta^(4k+1)) = sum_(t<n) (m_t + i*m_(t+n)) * zeta^t * exp(2*pi*i*k*t/n),

a complex Fourier transform of length n of the m_t + i*m_(t+n), each turned by zeta^t. Slots whose 3^j is 3 modulo 4
(odd j) enter it conjugated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hecore.arith.limbs import LIMB_BITS, limbs_for_bits
from hecore.backends import registry
from hecore.ckks import noise as noises
from hecore.ckks.scale import Scale
from hecore.errors import OperandTypeError, ParameterError, PlaintextRangeError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend, Words
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.params import Parameters

__all__ = ["Message", "Plaintext", "decode", "encode", "prepare"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

_DOUBLE = 2.0**-53
_SMALL = 2.0**62  # coefficients below it go as int64, with room for an error


@dataclass(frozen=True, eq=False, repr=False)
class Plaintext:
    """Encoded polynomials of batch shape S, transformed, over parameters.level_basis(level). Prints no number.

    They stand for slot values z as scale*z. bound: |z| at most, public, None where nobody declared it. noise: worst
    case of the error of scale*z in a slot, infinity where it is unknown.
    """

    parameters: Parameters
    polynomial: PolynomialArray
    level: int
    scale: Scale
    bound: float | None
    noise: float

    def __post_init__(self) -> None:
        if not self.polynomial.ntt or self.polynomial.basis != self.parameters.level_basis(self.level):
            raise ParameterError(f"cannot make a plaintext at level {self.level}: its polynomial has another basis")

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape S."""
        return self.polynomial.shape

    @property
    def backend(self) -> RingBackend:
        return self.polynomial.backend

    def __repr__(self) -> str:
        return f"<Plaintext shape={self.shape} level={self.level} scale=2^{self.scale.log2:.2f}>"


@dataclass(frozen=True, eq=False, repr=False)
class Message:
    """Encoded polynomials before they are reduced and transformed: integer coefficients (*S, N) on the host.

    Either `small`, int64 below 2^62, or magnitudes (*S, N, L) with signs (*S, N).
    """

    parameters: Parameters
    level: int
    scale: Scale
    bound: float | None
    noise: float
    small: NDArray[np.int64] | None
    wide: tuple[Words, NDArray[np.bool_]] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape S."""
        coefficients = self.wide[1] if self.small is None and self.wide is not None else self.small
        assert coefficients is not None
        return coefficients.shape[:-1]

    def polynomial(
        self, backend: RingBackend, *, error: NDArray[np.int64] | None = None, ntt: bool = True
    ) -> PolynomialArray:
        """Over the level's basis, with small `error` coefficients (*S, N) added."""
        basis = self.parameters.level_basis(self.level)
        if self.small is not None:
            return backend.ring_encode(self.small if error is None else self.small + error, basis, ntt=ntt)
        assert self.wide is not None
        if error is None:
            return backend.ring_encode_wide(*self.wide, basis, ntt=ntt)
        total = backend.residue_add(backend.ring_encode_wide(*self.wide, basis), backend.ring_encode(error, basis))
        return backend.ntt(total) if ntt else total


def encode(
    values: ArrayLike,
    parameters: Parameters,
    *,
    level: int | None = None,
    scale: Scale | int | float | Fraction | None = None,
    bound: float | None = None,
    backend: RingBackend | None = None,
) -> Plaintext:
    """Encode real or complex `values` (*S, at most parameters.slots); the slots that are left over are zero.

    A real scalar goes to every slot, without a transform. `level` is the highest and `scale` the parameters' where
    they are None. `bound` declares |values| at most, publicly; worst-case noise is known only where it is declared.

    Raises PlaintextRangeError for NaN, infinite values, values beyond `bound` and values that overflow the modulus of
    the level, ShapeError for too many slots, OperandTypeError for what is no array of numbers.
    """
    backend = registry.current() if backend is None else backend
    level = parameters.max_level if level is None else level
    scale = parameters.scale if scale is None else Scale.of(scale)
    array = checked_values(values, bound)
    if array.ndim == 0 and array.dtype.kind != "c":
        return _encode_constant(float(array), parameters, level, scale, bound, backend)
    message = prepare(array, parameters, level=level, scale=scale, bound=bound)
    return Plaintext(parameters, message.polynomial(backend), level, scale, bound, message.noise)


def prepare(values: NDArray[Any], parameters: Parameters, *, level: int, scale: Scale, bound: float | None) -> Message:
    """The integer polynomials of `checked_values` (*S, at most slots); raises as `encode`."""
    basis = parameters.level_basis(level)
    if values.ndim == 0:
        values = np.broadcast_to(values, (parameters.slots,))
    if values.shape[-1] > parameters.slots:
        raise ShapeError(f"cannot encode {values.shape[-1]} values in one plaintext: it has {parameters.slots} slots")
    noise = noises.encoding(parameters, bound, scale, _DOUBLE)
    coefficients = to_coefficients(values, parameters.ring_degree, float(scale))
    largest = float(np.abs(coefficients).max(initial=0.0))
    if not largest < basis.product / 2:
        raise PlaintextRangeError(
            f"cannot encode: at a scale of 2^{scale.log2:.1f} the values overflow the {basis.bits} bits of modulus at "
            f"level {level}; a smaller scale, a higher level or longer moduli help"
        )
    if largest < _SMALL:
        return Message(parameters, level, scale, bound, noise, coefficients.astype(np.int64), None)
    wide = _integers(coefficients, limbs_for_bits(basis.bits))
    return Message(parameters, level, scale, bound, noise, None, wide)


def decode(plaintext: Plaintext) -> Complex:
    """The slot values of every polynomial: complex128 (*S, slots)."""
    polynomial = plaintext.polynomial
    coefficients = _floats(*polynomial.backend.ring_decode(polynomial), plaintext.scale)
    return to_slots(coefficients)


def decoding_error(plaintext: Plaintext | Ciphertext) -> float:
    """Worst case of what `decode`'s own transform adds to a slot value; infinity where no bound is known."""
    if plaintext.bound is None:
        return math.inf
    largest = plaintext.bound + plaintext.noise / float(plaintext.scale)
    return noises.transform_error(plaintext.parameters.ring_degree, largest, _DOUBLE)


# -- the embedding -----------------------------------------------------------------------------------------


def to_coefficients(values: NDArray[Any], ring_degree: int, factor: float) -> Floats:
    """factor * values (*S, up to N/2) as rounded coefficients (*S, N), integers in floating point."""
    half = ring_degree // 2
    table = _table(ring_degree)
    spectrum = np.zeros((*values.shape[:-1], half), dtype=np.complex128)
    places = table.place[: values.shape[-1]]
    if values.dtype.kind == "c":
        spectrum.real[..., places] = values.real
        spectrum.imag[..., places] = values.imag * table.sign[: values.shape[-1]]
    else:
        spectrum.real[..., places] = values
    turned = np.fft.fft(spectrum)
    turned *= table.twist.conj() * (factor / half)
    out = np.empty((*values.shape[:-1], ring_degree))
    np.rint(turned.real, out=out[..., :half])
    np.rint(turned.imag, out=out[..., half:])
    return out


def to_slots(coefficients: Floats) -> Complex:
    """Coefficients (*S, N) to slot values (*S, N/2)."""
    half = coefficients.shape[-1] // 2
    table = _table(2 * half)
    turned = np.empty((*coefficients.shape[:-1], half), dtype=np.complex128)
    turned.real = coefficients[..., :half]
    turned.imag = coefficients[..., half:]
    turned *= table.twist
    values: Complex = np.fft.ifft(turned, norm="forward")[..., table.place]
    values.imag *= table.sign
    return values


@dataclass(frozen=True)
class _Table:
    """For slot j: where in the Fourier transform it stands, and 1 or -1 where it stands there conjugated."""

    place: NDArray[np.intp]
    sign: Floats
    twist: Complex


@cache
def _table(ring_degree: int) -> _Table:
    half = ring_degree // 2
    exponents = np.empty(half, dtype=np.int64)
    power = 1
    for j in range(half):
        exponents[j] = power
        power = power * 3 % (2 * ring_degree)
    straight = exponents % 4 == 1
    exponents = np.where(straight, exponents, 2 * ring_degree - exponents)
    angles = np.pi * np.arange(half) / ring_degree
    return _Table((exponents // 4).astype(np.intp), np.where(straight, 1.0, -1.0), np.cos(angles) + 1j * np.sin(angles))


# -- integers and floating point -----------------------------------------------------------------------------


def checked_values(values: ArrayLike, bound: float | None) -> NDArray[Any]:
    """An array of float64 or complex128, finite and within `bound`; else OperandTypeError or PlaintextRangeError."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ShapeError("cannot encode a ragged sequence: an array of numbers is needed") from None
    if array.dtype.kind not in "biufc":
        raise OperandTypeError(f"cannot encode an array of dtype {array.dtype}: real or complex numbers are needed")
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)
    if bound is not None and not (0 <= bound < math.inf):
        raise ParameterError(f"cannot declare a bound of {bound}: a finite number, at least 0")
    if not np.isfinite(array).all():
        raise PlaintextRangeError("cannot encode NaN or infinite values")
    if bound is not None and array.size and not np.abs(array).max() <= bound:
        raise PlaintextRangeError(f"cannot encode values beyond the declared bound of {bound}")
    return array


def _encode_constant(
    value: float,
    parameters: Parameters,
    level: int,
    scale: Scale,
    bound: float | None,
    backend: RingBackend,
) -> Plaintext:
    """The polynomial round(scale * value), exactly; its transform is the same number everywhere."""
    basis = parameters.level_basis(level)
    constant = round(Fraction(value) * scale.fraction())
    if not abs(constant) < basis.product / 2:
        raise PlaintextRangeError(
            f"cannot encode: at a scale of 2^{scale.log2:.1f} the value overflows the {basis.bits} bits of modulus at "
            f"level {level}"
        )
    residues = np.array(basis.residues(constant), dtype=np.uint64)
    words = np.ascontiguousarray(np.broadcast_to(residues[:, None], (len(basis), parameters.ring_degree)))
    return Plaintext(parameters, backend.ring_upload(words, basis, ntt=True), level, scale, bound, 0.5)


def _integers(values: Floats, limbs: int) -> tuple[Words, NDArray[np.bool_]]:
    """Integers in floating point, below 2^(64*limbs), exactly as magnitudes (…, limbs) and signs."""
    fraction, exponent = np.frexp(np.abs(values))
    mantissa = np.ldexp(fraction, 53).astype(np.uint64)
    shift = exponent.astype(np.int64) - 53
    mantissa >>= np.clip(-shift, 0, 63).astype(np.uint64)  # exact: they are integers
    shift = np.maximum(shift, 0)
    word, bits = shift // LIMB_BITS, (shift % LIMB_BITS).astype(np.uint64)
    out = np.zeros((*values.shape, limbs + 1), dtype=np.uint64)
    np.put_along_axis(out, word[..., None], (mantissa << bits)[..., None], axis=-1)
    upper = np.where(bits > 0, mantissa >> np.where(bits > 0, np.uint64(LIMB_BITS) - bits, np.uint64(0)), np.uint64(0))
    np.put_along_axis(out, word[..., None] + 1, upper[..., None], axis=-1)
    return out[..., :limbs], values < 0


def _floats(magnitudes: Words, negative: NDArray[np.bool_], scale: Scale) -> Floats:
    """Signed integers divided by the scale, in floating point; limbs (…, L), signs (…)."""
    total = magnitudes[..., -1].astype(np.float64)
    with np.errstate(over="ignore"):  # only noise that has swallowed the message gets there
        for i in range(magnitudes.shape[-1] - 2, -1, -1):
            total *= 2.0**LIMB_BITS
            total += magnitudes[..., i]
    total /= np.where(negative, -float(scale), float(scale))
    return total
