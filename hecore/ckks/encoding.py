"""Encoding: slot values to integer polynomials over a level's moduli and back (`embedding` has the mathematics)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hecore.arith.limbs import LIMB_BITS, less_than, limbs_for_bits, limbs_from_ints
from hecore.backends import registry
from hecore.ckks import embedding
from hecore.ckks import noise as noises
from hecore.ckks.scale import Scale
from hecore.errors import OperandTypeError, ParameterError, PlaintextOverflowError, PlaintextRangeError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend, SmallArray, Words
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.params import Parameters

__all__ = ["Message", "Plaintext", "decode", "encode", "prepare"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

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

    def part(self, start: int, stop: int) -> Plaintext:
        """Polynomials start … stop-1 of the flattened batch."""
        if self.shape == (stop - start,):
            return self
        indices = np.arange(start, stop, dtype=np.intp)
        return replace(self, polynomial=self.backend.ring_take(self.polynomial, indices))

    def __repr__(self) -> str:
        return f"<Plaintext shape={self.shape} level={self.level} scale=2^{self.scale.log2:.2f}>"


@dataclass(frozen=True, eq=False, repr=False)
class Message:
    """Encoded polynomials before they are reduced and transformed: integer coefficients (*S, N) on the host.

    They are the sum of `small`, int64 below 2^62, and, where that is too short, of `wide` ones: magnitudes (*S, N, L)
    with signs (*S, N).
    """

    parameters: Parameters
    level: int
    scale: Scale
    bound: float | None
    noise: float
    small: NDArray[np.int64]
    wide: tuple[Words, NDArray[np.bool_]] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape S."""
        return self.small.shape[:-1]

    def part(self, start: int, stop: int) -> Message:
        """Polynomials start … stop-1 of the flattened batch."""
        degree = self.small.shape[-1]
        wide = self.wide
        if wide is not None:
            magnitudes, negative = wide
            wide = magnitudes.reshape(-1, *magnitudes.shape[-2:])[start:stop], negative.reshape(-1, degree)[start:stop]
        return replace(self, small=self.small.reshape(-1, degree)[start:stop], wide=wide)

    def beside_zero(self) -> Message:
        """(*S, 2): each polynomial, and a zero."""
        zeros = np.zeros_like(self.small)
        wide = self.wide
        if wide is not None:
            magnitudes, negative = wide
            wide = np.stack([magnitudes, np.zeros_like(magnitudes)], axis=-3), np.stack([negative, negative], axis=-2)
        return replace(self, small=np.stack([self.small, zeros], axis=-2), wide=wide)

    def polynomial(self, backend: RingBackend, *, plus: SmallArray | None = None, ntt: bool = True) -> PolynomialArray:
        """Over the level's basis, with small polynomials of shape S added."""
        basis = self.parameters.level_basis(self.level)
        small = backend.ring_encode(self.small, basis, ntt=ntt and self.wide is None, plus=plus)
        if self.wide is None:
            return small
        total = backend.residue_add(backend.ring_encode_wide(*self.wide, basis), small)
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
    coefficients, rest, largest = embedding.to_coefficients(values, parameters.ring_degree, scale)
    # A bit of room on top: noise is added, and `rest` may be.
    if not largest < basis.product // 4:  # NaN is not, either
        raise PlaintextRangeError(
            f"cannot encode: at a scale of 2^{scale.log2:.1f} the values overflow the {basis.bits} bits of modulus at "
            f"level {level}; a smaller scale, a higher level or longer moduli help"
        )
    small, wide = _integers(coefficients, rest, largest, limbs_for_bits(basis.bits))
    noise = noises.encoding(parameters, bound, scale, embedding.unit_roundoff(scale))
    return Message(parameters, level, scale, bound, noise, small, wide)


def decode(plaintext: Plaintext) -> Complex:
    """The slot values of every polynomial: complex128 (*S, slots). Raises PlaintextOverflowError."""
    return decode_parts(plaintext)[0]


def decode_parts(plaintext: Plaintext) -> tuple[Complex, Complex | None]:
    """The same, to the last bit that the scale gives: what `decode` returns, and what it leaves out if there is any.

    No operation that was checked leaves a coefficient beyond a quarter of the modulus (`evaluator.check_fits`). What
    overflowed all the same, because nobody declared a bound or it was not true, wraps around: by little into the guard
    band, the outer eighth of (-Q/2, Q/2), by more to anywhere, so that each of N coefficients has a chance of one in
    eight to lie there. One that does raises PlaintextOverflowError.
    """
    polynomial = plaintext.polynomial
    magnitudes, negative = polynomial.backend.ring_decode(polynomial)
    if not _within(magnitudes, polynomial.basis.product // 16 * 7):
        raise PlaintextOverflowError(
            f"cannot decode: coefficients lie in the guard band of the {polynomial.basis.bits} bits of modulus at "
            f"level {plaintext.level}, so the values overflowed it. Declare bound=… where values are encrypted to "
            "have the operation refused; a longer first modulus, a smaller scale or smaller values make room"
        )
    return embedding.to_slots(magnitudes, negative, plaintext.scale)


def decoding_error(plaintext: Plaintext | Ciphertext) -> float:
    """Worst case of what `decode_parts` itself adds to a slot value; infinity where no bound is known."""
    if plaintext.bound is None:
        return math.inf
    largest = plaintext.bound + plaintext.noise / float(plaintext.scale)
    unit = embedding.unit_roundoff(plaintext.scale)
    return noises.transform_error(plaintext.parameters.ring_degree, largest, unit)


# -- numbers in, integers out ----------------------------------------------------------------------------------


def checked_values(values: ArrayLike, bound: float | None) -> NDArray[Any]:
    """An array of float64 or complex128, finite and within `bound`; else OperandTypeError or PlaintextRangeError."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ShapeError("cannot encode a ragged sequence: an array of numbers is needed") from None
    if array.dtype.kind not in "biufc":
        raise OperandTypeError(f"cannot encode an array of dtype {array.dtype}: real or complex numbers are needed")
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)
    if bound is not None and not isinstance(bound, int | float | Fraction | np.integer | np.floating):
        raise OperandTypeError(f"cannot declare a {type(bound).__name__} as a bound: a number is needed")
    if bound is not None and not (0 <= bound < math.inf):
        raise ParameterError(f"cannot declare a bound of {bound}: a finite number, at least 0")
    largest = magnitude(array)
    if not math.isfinite(largest) and not np.isfinite(array).all():
        raise PlaintextRangeError("cannot encode NaN or infinite values")
    if bound is not None and not largest <= bound:
        raise PlaintextRangeError(f"cannot encode values beyond the declared bound of {bound}")
    return array


def _within(magnitudes: Words, end: int) -> bool:
    """Whether all magnitudes (…, L) are below `end`: by their highest limbs, and by all where that leaves a doubt."""
    top = end >> LIMB_BITS * (magnitudes.shape[-1] - 1)
    if not magnitudes.size or int(magnitudes[..., -1].max()) < top:
        return True
    return bool(less_than(magnitudes, end).all())


def magnitude(values: NDArray[Any]) -> float:
    """The largest |value|, 0 for none; not finite where one is not, or where that of a complex number overflows."""
    if not values.size:
        return 0.0
    if values.dtype.kind == "c":
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.abs(values).max())
    return float(max(values.max(), -values.min()))  # NaN is the maximum of what holds one


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
    if not abs(constant) < basis.product // 2:
        raise PlaintextRangeError(
            f"cannot encode: at a scale of 2^{scale.log2:.1f} the value overflows the {basis.bits} bits of modulus at "
            f"level {level}"
        )
    residues = np.array(basis.residues(constant), dtype=np.uint64)
    words = np.ascontiguousarray(np.broadcast_to(residues[:, None], (len(basis), parameters.ring_degree)))
    return Plaintext(parameters, backend.ring_upload(words, basis, ntt=True), level, scale, bound, 0.5)


def _integers(
    coefficients: Floats, rest: Floats | None, largest: float, limbs: int
) -> tuple[NDArray[np.int64], tuple[Words, NDArray[np.bool_]] | None]:
    """Integers in floating point, the sum of one or two, as a small and, where they are larger, a wide part."""
    if largest < _SMALL:
        small = coefficients.astype(np.int64)
        return (small if rest is None else small + rest.astype(np.int64)), None
    if rest is None:
        return np.zeros(coefficients.shape, dtype=np.int64), _limbs(coefficients, limbs)
    if largest < _SMALL * 2.0**52:  # at most half a unit in the last place of the larger part
        return rest.astype(np.int64), _limbs(coefficients, limbs)
    exact = [int(x) + int(y) for x, y in zip(coefficients.ravel(), rest.ravel(), strict=True)]
    magnitudes = limbs_from_ints([abs(x) for x in exact], limbs).reshape(*coefficients.shape, limbs)
    negative = np.array([x < 0 for x in exact]).reshape(coefficients.shape)
    return np.zeros(coefficients.shape, dtype=np.int64), (magnitudes, negative)


def _limbs(values: Floats, limbs: int) -> tuple[Words, NDArray[np.bool_]]:
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
