"""Moduli as the peer chooses them, and the scale that a vector has at each level."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from hecore.arith.rns import MAX_MODULUS_BITS, check_ring_degree, ntt_primes
from hecore.ckks import Parameters
from hecore.ckks.scale import Scale
from hecore.compat.tenseal._errors import ModuliError
from hecore.errors import OperandTypeError, ParameterError, ScaleError

_DEFAULT_BITS: dict[int, tuple[int, ...]] = {
    4096: (36, 36, 37),
    8192: (43, 43, 44, 44, 44),
    16384: (48,) * 3 + (49,) * 6,
    32768: (55,) * 15 + (56,),
}
"""SEAL's `CoeffModulus::BFVDefault` at 128 bits: of each size the largest primes, the largest first."""


def make_parameters(poly_modulus_degree: Any, coeff_mod_bit_sizes: Any) -> Parameters:
    """Parameters with the moduli that the peer picks, held against the security table of 2018, as the peer's are.

    A context's scale may change at any time and is no part of them: theirs is 1. Raises OperandTypeError,
    ParameterError, InsecureParametersError, ModuliError (a RuntimeError) for moduli that do not exist.
    """
    degree = as_integer(poly_modulus_degree, "poly_modulus_degree")
    sizes = _sizes(coeff_mod_bit_sizes)
    if degree < 1 or degree & (degree - 1):
        raise ParameterError("poly_modulus_degree is invalid: it must be a power of two")
    check_ring_degree(degree)
    if any(not 2 <= size < MAX_MODULUS_BITS for size in sizes):
        raise ParameterError(f"bit_sizes is invalid: from 2 to {MAX_MODULUS_BITS - 1} bits a modulus")
    return checked_chain(degree, _find(degree, sizes) if sizes else _default(degree))


def checked_chain(ring_degree: int, moduli: tuple[int, ...]) -> Parameters:
    """Parameters of these primes, the last one special; raises as `make_parameters`."""
    if len(moduli) == 1:
        raise ModuliError("keyswitching is not supported by the context: at least two moduli are needed")
    return Parameters.with_2018_table(ring_degree=ring_degree, moduli=moduli, scale=1)


def as_integer(value: Any, name: str) -> int:
    """A Python integer. Raises OperandTypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise OperandTypeError(f"{name} must be an integer, not {type(value).__name__}") from None


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise OperandTypeError("coeff_mod_bit_sizes must be a list of integers")
    return tuple(as_integer(size, "each of coeff_mod_bit_sizes") for size in values)


def _find(degree: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return ntt_primes(degree, sizes)
    except ParameterError as error:
        raise ModuliError("failed to find enough qualifying primes") from error


def _default(degree: int) -> tuple[int, ...]:
    if degree not in _DEFAULT_BITS:
        raise ModuliError(
            f"no default moduli for poly_modulus_degree {degree}: give coeff_mod_bit_sizes, or use one of "
            f"{', '.join(map(str, _DEFAULT_BITS))}"
        )
    bits = _DEFAULT_BITS[degree]
    ascending = ntt_primes(degree, bits)
    return tuple(q for size in dict.fromkeys(bits) for q in ascending[::-1] if q.bit_length() == size)


@lru_cache(maxsize=256)
def scales(parameters: Parameters, top: Scale) -> tuple[Scale, ...]:
    """The scale at levels 0 … max_level of what was encoded at `top` and only ever multiplied by its like.

    A product at level l has the square of its operands' scale, and a rescale divides it by q_l:
    s_(l-1) = s_l^2 / q_l, exactly. Operands that meet at one level therefore have one scale, whatever route they
    took, as long as those that drop are corrected on the way, and plain operands are encoded at the scale of the
    level. The peer declares every result to have the scale `top` instead, which is wrong by the ratio of the two.
    """
    out = [top]
    for level in range(parameters.max_level, 0, -1):
        out.append(out[-1] ** 2 / parameters.basis.moduli[level])
    return tuple(out[::-1])


@lru_cache(maxsize=256)
def as_scale(value: float) -> Scale:
    """A positive finite scale. Raises ScaleError."""
    try:
        return Scale.of(value)
    except ScaleError as error:
        raise ScaleError("scale out of bounds") from error
