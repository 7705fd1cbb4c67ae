"""Microsoft SEAL through the `tenseal` wheel: contexts, objects from bytes and to bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

seal: Any = pytest.importorskip("tenseal.sealapi")


def load(made: Any, data: bytes, context: Any = None) -> Any:
    """`made`, an empty SEAL object, with these bytes loaded into it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "object")
        path.write_bytes(data)
        made.load(*([] if context is None else [context]), str(path))
    return made


def save(made: Any) -> bytes:
    """What SEAL writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "object")
        made.save(str(path))
        return path.read_bytes()


class Peer:
    """A SEAL context of its own with keys; security is not checked."""

    def __init__(self, ring_degree: int, moduli: Sequence[int]) -> None:
        self.encryption_parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        self.encryption_parameters.set_poly_modulus_degree(ring_degree)
        self.encryption_parameters.set_coeff_modulus([seal.Modulus(q) for q in moduli])
        self.context = seal.SEALContext(self.encryption_parameters, True, seal.SEC_LEVEL_TYPE.NONE)
        self.encoder = seal.CKKSEncoder(self.context)
        self.evaluator = seal.Evaluator(self.context)
        self.generator = seal.KeyGenerator(self.context)
        self.secret_key = self.generator.secret_key()

    def encode(self, values: NDArray[Any], scale: float) -> Any:
        plaintext = seal.Plaintext()
        self.encoder.encode([float(x) for x in values], scale, plaintext)
        return plaintext

    def decode(self, plaintext: Any) -> NDArray[np.complex128]:
        return np.array(self.encoder.decode_complex(plaintext))

    def encryptor(self) -> Any:
        public_key = seal.PublicKey()
        self.generator.create_public_key(public_key)
        return seal.Encryptor(self.context, public_key, self.secret_key)

    def decrypt(self, ciphertext: Any, secret_key: Any = None) -> NDArray[np.complex128]:
        plaintext = seal.Plaintext()
        seal.Decryptor(self.context, secret_key or self.secret_key).decrypt(ciphertext, plaintext)
        return self.decode(plaintext)
