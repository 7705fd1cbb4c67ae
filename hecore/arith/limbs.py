"""Canonical host form of big integers: little-endian uint64 limbs, batch first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.errors import ParameterError, ShapeError

LIMB_BITS = 64
LIMB_BYTES = 8


def limbs_for_bits(bits: int) -> int:
    """Limbs that hold any value below 2**bits; at least one."""
    return max(1, -(-bits // LIMB_BITS))


def limbs_from_ints(values: Sequence[int], limbs: int) -> NDArray[np.uint64]:
    """Integers in [0, 2**(64*limbs)) -> shape (len(values), limbs).

    Raises ParameterError for a value outside that range, without printing it.
    """
    size = limbs * LIMB_BYTES
    try:
        data = b"".join([int(v).to_bytes(size, "little") for v in values])
    except OverflowError:
        raise ParameterError(f"cannot store an integer in {limbs} limbs: it is negative or too large") from None
    return np.frombuffer(data, dtype="<u8").reshape(len(values), limbs).astype(np.uint64)


def ints_from_limbs(limbs: NDArray[np.uint64]) -> list[int]:
    """Shape (..., limbs) -> flat list of integers, C order. Inverse of `limbs_from_ints`."""
    if limbs.ndim == 0:
        raise ShapeError("cannot read integers from limbs of shape (): the last axis holds the limbs")
    size = limbs.shape[-1] * LIMB_BYTES
    data = np.ascontiguousarray(limbs, dtype="<u8").tobytes()
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]


def less_than(limbs: NDArray[np.uint64], bound: int) -> NDArray[np.bool_]:
    """Elementwise value < bound for shape (*S, k) -> S. No branch or address depends on a value.

    The highest limb that differs decides. Let bit i of `below` say that limb i is below the bound's and bit i of
    `above` that it is above: then value < bound exactly where below > above, as integers with a bit a limb.
    """
    if bound >= 1 << (LIMB_BITS * limbs.shape[-1]):
        return np.ones(limbs.shape[:-1], dtype=np.bool_)
    bound_limbs = limbs_from_ints([bound], limbs.shape[-1])[0]
    below: NDArray[Any] = limbs < bound_limbs
    above: NDArray[Any] = limbs > bound_limbs
    if limbs.shape[-1] > 8:  # fewer columns are compared as they are
        below, above = _bits_as_words(below), _bits_as_words(above)
    result = np.zeros(limbs.shape[:-1], dtype=np.bool_)
    for i in range(below.shape[-1]):  # the most significant last
        result = (above[..., i] < below[..., i]) | ((above[..., i] == below[..., i]) & result)
    return result


def _bits_as_words(bits: NDArray[np.bool_]) -> NDArray[Any]:
    """Flags (*S, k) -> uint64 words (*S, ceil(k/64)), little-endian."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    words = np.zeros((*bits.shape[:-1], -(-bits.shape[-1] // LIMB_BITS)), dtype="<u8")
    words.view(np.uint8)[..., : packed.shape[-1]] = packed
    return words
