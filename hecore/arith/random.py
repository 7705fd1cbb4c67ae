"""Randomness from the operating system's CSPRNG, and nothing else."""

from __future__ import annotations

import os
import secrets

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import LIMB_BITS, LIMB_BYTES, limbs_for_bits


def random_below(bound: int) -> int:
    """Uniform in [0, bound)."""
    return secrets.randbelow(bound)


def random_limbs(count: int, bits: int) -> NDArray[np.uint64]:
    """`count` independent uniform integers in [0, 2**bits) as limbs (count, limbs_for_bits(bits))."""
    limbs = limbs_for_bits(bits)
    raw = bytearray(os.urandom(count * limbs * LIMB_BYTES))  # bytearray: writable, no second copy
    out = np.frombuffer(raw, dtype=np.uint64).reshape(count, limbs)
    top = bits - (limbs - 1) * LIMB_BITS
    if top < LIMB_BITS:
        out[:, -1] &= np.uint64((1 << top) - 1)
    return out
