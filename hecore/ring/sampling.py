"""Secrets, errors and uniform residues out of a `SecretStream`, in time that tells nothing of them.

Rejection sampling shows where a word was rejected; the words that stay are independent of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.kernels.cpu import sampling as kernels
from hecore.ring.prng import fill_uniform

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Words
    from hecore.ring.prng import SecretStream

ERROR_BOUND = 21
"""Largest magnitude of an error."""
ERROR_VARIANCE = ERROR_BOUND / 2
_TERNARY_SPARE = 1.07  # 256/243 = 1.054 bytes are drawn for each that is accepted, on average


def ternary(stream: SecretStream, count: int, ring_degree: int) -> NDArray[np.int64]:
    """(count, ring_degree) independent uniform digits in {-1, 0, 1}.

    A byte below 243 = 3^5 gives five of them, exactly uniform; larger ones are rejected.
    """
    out = np.empty((count, ring_degree), dtype=np.int64)
    wanted = -(-out.size // 5)
    digits = np.empty(wanted + 1, dtype=np.uint8)
    filled = 0
    while filled < wanted:
        data = stream.read(int(_TERNARY_SPARE * (wanted - filled)) + 16)
        filled += kernels.accept_bytes(digits[filled:], data)
    kernels.trits(out.reshape(-1), digits[:wanted])
    return out


def error(stream: SecretStream, count: int, ring_degree: int) -> NDArray[np.int64]:
    """(count, ring_degree) independent errors: centred binomials of 2*21 bits, σ = √10.5 ≈ 3.24, at most 21.

    SEAL's default error (native/src/seal/util/rlwe.cpp, sample_poly_cbd).
    """
    out = np.empty((count, ring_degree), dtype=np.int64)
    kernels.binomial(out.reshape(-1), stream.read(6 * out.size).view(np.uint64))
    return out


def uniform(stream: SecretStream, basis: RnsBasis, count: int) -> Words:
    """(count, k, N) independent uniform residues, each in [0, q_i)."""
    out = np.empty((count, len(basis), basis.ring_degree), dtype=np.uint64)
    for polynomial in out:
        for row, q in zip(polynomial, basis.moduli, strict=True):
            fill_uniform(stream.read, row, q)
    return out
