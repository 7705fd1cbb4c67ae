"""Secrets by the distribution that the parameters name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.arith.stream import SecretStream

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import RingBackend, SmallArray
    from hecore.ckks.params import Parameters


def secret(backend: RingBackend, parameters: Parameters) -> SmallArray | NDArray[np.int64]:
    """Digits in {-1, 0, 1} for `ring_encode`: uniform, or exactly `secret_weight` of them not zero, signs as likely.

    Uniform ones are drawn by the backend.
    """
    if parameters.secret_weight is None:
        return backend.random_ternary((), parameters.ring_degree)
    return sparse(SecretStream(), parameters.ring_degree, parameters.secret_weight)


def sparse(stream: SecretStream, ring_degree: int, weight: int) -> NDArray[np.int64]:
    """(N,): a random permutation of `weight` signs and zeros, by sorting random 62-bit keys that carry them.

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
