"""Randomness from the operating system's CSPRNG; where it is much, from a stream under a key of it."""

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
    out = _random_bytes(count * limbs * LIMB_BYTES).view(np.uint64).reshape(count, limbs)
    top = bits - (limbs - 1) * LIMB_BITS
    if top < LIMB_BITS:
        out[:, -1] &= np.uint64((1 << top) - 1)
    return out


_EXPAND_FROM = 1 << 12  # bytes


def _random_bytes(nbytes: int) -> NDArray[np.uint8]:
    """From `_EXPAND_FROM` on AES-256-CTR under a fresh key, for this call alone: twenty times as fast as the system is.

    Nothing is kept, so that there is nothing to drop in a forked child.
    """
    if nbytes < _EXPAND_FROM:
        return np.frombuffer(bytearray(os.urandom(nbytes)), dtype=np.uint8)  # bytearray: writable, no second copy
    from hecore.arith.stream import Keystream  # small draws do without `cryptography`, which takes a while to load

    return Keystream(os.urandom(32)).read(nbytes)
