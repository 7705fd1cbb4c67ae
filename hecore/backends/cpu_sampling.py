"""Secrets and errors out of a `SecretStream`, in time that tells nothing of them.

Rejection sampling shows where a byte was rejected; the bytes that stay are independent of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.kernels.cpu import sampling as kernels

if TYPE_CHECKING:
    from hecore.arith.stream import SecretStream

_TERNARY_SPARE = 1.07  # 256/243 = 1.054 bytes are drawn for each that is accepted, on average


def ternary(stream: SecretStream, count: int) -> NDArray[np.int64]:
    """(count,) independent uniform digits in {-1, 0, 1}.

    A byte below 243 = 3^5 gives five of them, exactly uniform; larger ones are rejected.
    """
    out = np.empty(count, dtype=np.int64)
    wanted = -(-count // 5)
    digits = np.empty(wanted + 1, dtype=np.uint8)
    filled = 0
    while filled < wanted:
        data = stream.read(int(_TERNARY_SPARE * (wanted - filled)) + 16)
        filled += kernels.accept_bytes(digits[filled:], data)
    kernels.trits(out, digits[:wanted])
    return out


def errors(stream: SecretStream, count: int) -> NDArray[np.int64]:
    """(count,) independent centred binomials of 42 bits; `count` is a multiple of 4."""
    out = np.empty(count, dtype=np.int64)
    kernels.binomial(out, stream.read(6 * count).view(np.uint64))
    return out
