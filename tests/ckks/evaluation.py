"""What the tests of evaluation share: small keys, and comparison within the worst case that a result carries."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hecore.ckks import Ciphertext, EncryptedTensor, Keys, Parameters, generate_keys

CHAINS: dict[str, dict[str, Any]] = {
    "gadget": {"moduli_bits": [60, 40, 40, 40, 60]},
    "hybrid": {"moduli_bits": [50, 40, 40, 40, 45, 45], "special_count": 2, "digit_primes": 2},
    "deep": {"moduli_bits": [60, *[40] * 12, 60]},
    "flat": {"moduli_bits": [60], "special_count": 0},
}
DEGREE = 64
SLOTS = DEGREE // 2


def keys(chain: str = "gadget") -> Keys:
    """Of ring degree 64 with every power-of-two rotation, under which nothing is secret."""
    return _made(chain)


@cache
def _made(chain: str) -> Keys:
    parameters = Parameters.insecure(ring_degree=DEGREE, scale=2**40, **CHAINS[chain])
    galois = "power-of-two" if parameters.special else None
    return generate_keys(parameters, galois=galois, conjugation=parameters.special is not None)


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def encrypt(values: ArrayLike, chain: str = "gadget", **options: Any) -> EncryptedTensor:
    return keys(chain).public_key.encrypt(values, **{"bound": 1.0, **options})


def raw(values: ArrayLike, chain: str = "gadget", **options: Any) -> Ciphertext:
    """The ciphertexts alone: shape (1,) for a vector."""
    return encrypt(values, chain, **options).ciphertext


def agrees(x: Any, expected: Any, chain: str = "gadget") -> bool:
    """The decrypted numbers differ from the expected ones by no more than the noise says, which says something."""
    got = keys(chain).secret_key.decrypt(x)
    ciphertext = x.ciphertext if isinstance(x, EncryptedTensor) else x
    allowed = ciphertext.noise / float(ciphertext.scale)
    wanted = np.asarray(expected)
    if isinstance(x, EncryptedTensor):
        assert got.shape == wanted.shape
    assert allowed < 1e-2, "a bound that forbids nothing"
    assert ciphertext.bound is not None
    assert np.abs(wanted).max() <= ciphertext.bound * (1 + 1e-9)
    return bool(np.abs(got - wanted).max() <= allowed)
