"""Plain operands, and what is encrypted, as integer polynomials at any level and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.ckks import encoding
from hecore.ckks.encoding import Message, Plaintext
from hecore.errors import OperandTypeError, ParameterError, PlaintextRangeError, ScaleError

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.params import Parameters
    from hecore.ckks.scale import Scale

Floats = NDArray[np.float64]

_SMALL = 1 << 62  # what fits int64 with room for an error


class Plain(Protocol):
    """Numbers that can be encoded once a level and a scale are known."""

    def encode(self, parameters: Parameters, level: int, scale: Scale) -> Message:
        """Raises PlaintextRangeError for NaN, infinities and what overflows the modulus."""


@dataclass(frozen=True)
class Slots:
    """Values of slots, (*S, 1 … slots); those left over are zero."""

    values: Floats

    def encode(self, parameters: Parameters, level: int, scale: Scale) -> Message:
        """Batch shape S."""
        if not np.isfinite(self.values).all():
            raise PlaintextRangeError("values must be finite")
        _check_scale(parameters, level, scale)
        return encoding.prepare(self.values, parameters, level=level, scale=scale, bound=None)


@dataclass(frozen=True)
class Constants:
    """One value for all slots of each plaintext: (*S,). Costs no Fourier transform."""

    values: Floats

    def encode(self, parameters: Parameters, level: int, scale: Scale) -> Message:
        """Batch shape S."""
        _check_scale(parameters, level, scale)
        integers = [encoded_constant(v, parameters, level, scale) for v in self.values.ravel().tolist()]
        shape, degree = self.values.shape, parameters.ring_degree
        small = np.zeros((*shape, degree), dtype=np.int64)
        if all(-_SMALL < c < _SMALL for c in integers):
            small[..., 0] = np.array(integers, dtype=np.int64).reshape(shape)
            return Message(parameters, level, scale, None, 0.5, small, None)
        limbs = limbs_for_bits(parameters.level_basis(level).bits)
        magnitudes = np.zeros((*shape, degree, limbs), dtype=np.uint64)
        magnitudes[..., 0, :] = limbs_from_ints([abs(c) for c in integers], limbs).reshape(*shape, limbs)
        negative = np.zeros((*shape, degree), dtype=np.bool_)
        negative[..., 0] = np.array([c < 0 for c in integers]).reshape(shape)
        return Message(parameters, level, scale, None, 0.5, small, (magnitudes, negative))


def plaintext(message: Message, a: Ciphertext) -> Plaintext:
    """The operand of `a` that a message is, on a's backend."""
    polynomial = message.polynomial(a.backend)
    return Plaintext(message.parameters, polynomial, message.level, message.scale, message.bound, message.noise)


def is_zero(message: Message) -> NDArray[np.bool_]:
    """Which polynomials are zero: of the batch shape."""
    zero: NDArray[np.bool_] = np.asarray(~message.small.any(axis=-1))
    return zero if message.wide is None else zero & ~message.wide[0].any(axis=(-1, -2))


def encoded_constant(value: float, parameters: Parameters, level: int, scale: Scale) -> int:
    """round(value * scale), exactly. Raises PlaintextRangeError for NaN, infinities and what overflows the modulus."""
    if not math.isfinite(value):
        raise PlaintextRangeError("value must be finite")
    constant = round(Fraction(value) * scale.fraction())
    basis = parameters.level_basis(level)
    if 2 * abs(constant) >= basis.product:
        raise PlaintextRangeError(
            f"encoded value is too large for the {basis.bits} bits of modulus at level {level}; a smaller scale helps"
        )
    return constant


def coefficients_of(values: Any) -> list[float]:
    """A polynomial's coefficients, the lowest first, without zeros at the end.

    Raises OperandTypeError for what is no sequence of numbers, ParameterError where it is empty, PlaintextRangeError.
    """
    try:
        array = np.asarray(values)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "biuf"):
            raise OperandTypeError("polynomial coefficients must be a list of numbers")
    except ValueError:
        raise OperandTypeError("polynomial coefficients must be a list of numbers") from None
    if not array.size:
        raise ParameterError("the coefficients vector need to have at least one element")
    coefficients: list[float] = array.astype(np.float64).tolist()
    if not all(map(math.isfinite, coefficients)):
        raise PlaintextRangeError("values must be finite")
    while coefficients and coefficients[-1] == 0.0:
        coefficients.pop()
    return coefficients


def _check_scale(parameters: Parameters, level: int, scale: Scale) -> None:
    """A message below 1 would be lost; one at a scale beyond the modulus could not be told from another."""
    if scale.log2 < 0 or scale.log2 >= parameters.level_basis(level).bits - 1:
        raise ScaleError("scale out of bounds") from ScaleError(
            f"a scale of 2^{scale.log2:.1f} under {parameters.level_basis(level).bits} bits of modulus"
        )
