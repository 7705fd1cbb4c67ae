"""Operands: reproducible, uniform, and as hard as real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VALUE_BITS = 31


def signed_integers(shape: int | tuple[int, ...], seed: int, bits: int = VALUE_BITS) -> NDArray[np.int32]:
    """Uniform magnitudes in [1, 2**bits), half of them negative (exactly, for an even count), as int32."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    magnitudes = rng.integers(1, 1 << bits, size, dtype=np.int64)
    negative = rng.permutation(size) < size // 2
    return np.where(negative, -magnitudes, magnitudes).astype(np.int32).reshape(shape)


def residues(count: int, modulus: int, seed: int) -> list[int]:
    """Uniform integers in [0, modulus), to within 2**-64."""
    rng = np.random.default_rng(seed)
    size = (modulus.bit_length() + 64 + 7) // 8
    return [int.from_bytes(rng.bytes(size), "little") % modulus for _ in range(count)]


def first_difference(got: object, expected: object) -> str | None:
    """None where two flat sequences of integers are equal; else where they first differ. Prints no value."""
    ours, theirs = list(np.ravel(np.asarray(got, dtype=object))), list(np.ravel(np.asarray(expected, dtype=object)))
    if len(ours) != len(theirs):
        return f"{len(ours)} results, expected {len(theirs)}"
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if int(a) != int(b):
            return f"wrong result at position {i} of {len(ours)}"
    return None
