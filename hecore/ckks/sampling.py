"""Secrets by the distribution that the parameters name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.ring.sampling import ternary

if TYPE_CHECKING:
    from hecore.ckks.params import Parameters
    from hecore.ring.prng import SecretStream


def secret_digits(stream: SecretStream, parameters: Parameters) -> NDArray[np.int64]:
    """(N,) digits in {-1, 0, 1}: uniform, or exactly `secret_weight` of them not zero, each sign as likely."""
    if parameters.secret_weight is None:
        return ternary(stream, 1, parameters.ring_degree).reshape(-1)
    return _sparse(stream, parameters.ring_degree, parameters.secret_weight)


def _sparse(stream: SecretStream, ring_degree: int, weight: int) -> NDArray[np.int64]:
    """A random permutation of `weight` signs and zeros, by sorting random 62-bit keys that carry them.

    Batcher's bitonic network compares fixed places, in a time that tells nothing. Two keys are equal with probability
    below ring_degree^2 / 2^63.
    """
    keys = stream.read(8 * ring_degree).view(np.uint64).copy()
    signs = keys & np.uint64(1)
    kind = np.zeros(ring_degree, dtype=np.uint64)  # 1 stands for 1, 2 for -1
    kind[:weight] = 1 + signs[:weight]
    keys = keys & ~np.uint64(3) | kind
    size = 2
    while size <= ring_degree:
        distance = size // 2
        while distance:
            pairs = keys.reshape(-1, 2, distance)
            low, high = np.minimum(pairs[:, 0], pairs[:, 1]), np.maximum(pairs[:, 0], pairs[:, 1])
            descending = (np.arange(len(pairs)) * 2 * distance // size % 2 == 1)[:, None]
            keys = np.stack([np.where(descending, high, low), np.where(descending, low, high)], axis=1).reshape(-1)
            distance //= 2
        size *= 2
    drawn: NDArray[np.int64] = (keys & np.uint64(3)).astype(np.int64)
    digits: NDArray[np.int64] = (drawn & 1) - (drawn >> 1)
    return digits
