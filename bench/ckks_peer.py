"""The peer: TenSEAL, and through its bindings the SEAL inside it. The only file of the bench that imports it.

Every doubt is decided for the peer: its plain operands are `PlainTensor`s made before the clock starts, its keys and
Galois keys are there, its results are decoded after the clock stops. It runs on one thread (`n_threads=1`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.bench.ckks_plan import SCALE, ParameterSet
from hecore.bench.peers import PeerUnavailableError

Floats = NDArray[np.float64]


def load(module: str = "tenseal") -> Any:
    """tenseal, or one of its modules; PeerUnavailableError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise PeerUnavailableError("tenseal is not installed: pip install tenseal") from error


class TensealPeer:
    """A TenSEAL context of one parameter set; `symmetric` encrypts with the secret key, in full size all the same.

    `module` "hecore.compat.tenseal" makes the same calls to hecore's drop-in.
    """

    def __init__(self, parameters: ParameterSet, *, symmetric: bool = False, module: str = "tenseal") -> None:
        self.module = load(module)
        start = time.perf_counter()
        kinds = self.module.ENCRYPTION_TYPE
        try:
            self.context = self.module.context(
                self.module.SCHEME_TYPE.CKKS,
                parameters.ring_degree,
                coeff_mod_bit_sizes=list(parameters.moduli_bits),
                encryption_type=kinds.SYMMETRIC if symmetric else kinds.ASYMMETRIC,
                n_threads=1,
            )
        except ValueError as error:
            raise PeerUnavailableError(f"TenSEAL refuses {parameters.name}: {error}") from error
        self.context.global_scale = SCALE
        self.setup = {"keys": time.perf_counter() - start}

    def need_galois_keys(self) -> None:
        """Make Galois keys, once; their seconds go to `setup`."""
        if not self.context.has_galois_keys():
            start = time.perf_counter()
            self.context.generate_galois_keys()
            self.setup["Galois keys"] = time.perf_counter() - start

    def plain(self, values: Floats) -> Any:
        """An operand that need not be converted under the clock."""
        return self.module.plain_tensor(values)

    def encrypt(self, values: Any) -> Any:
        """A CKKSVector of a vector or a PlainTensor."""
        return self.module.ckks_vector(self.context, values)

    def decrypt(self, vector: Any) -> Floats:
        return np.array(vector.decrypt())

    def load_vector(self, data: bytes) -> Any:
        """A CKKSVector from its bytes."""
        return self.module.ckks_vector_from(self.context, data)

    def image_columns(self, image: Floats, kernel: Floats, stride: int) -> tuple[Any, int]:
        """The encrypted windows of an image, and their number."""
        vector, windows = self.module.im2col_encoding(self.context, image.tolist(), *kernel.shape, stride)
        return vector, int(windows)


class SealOperations:
    """SEAL's evaluator on the ciphertexts of a peer's vectors, for what TenSEAL's vectors do not offer."""

    def __init__(self, peer: TensealPeer) -> None:
        self.api = load("tenseal.sealapi")
        self.peer = peer
        self.context = peer.context.seal_context().data
        self.evaluator = self.api.Evaluator(self.context)
        self.relinearization_keys = peer.context.relin_keys().data

    @property
    def galois_keys(self) -> Any:
        self.peer.need_galois_keys()
        return self.peer.context.galois_keys().data

    def ciphertext(self, values: Floats) -> Any:
        return self.peer.encrypt(values).ciphertext()[0]

    def into(self, operation: Callable[..., None], *arguments: Any) -> Callable[[], Any]:
        """`operation(*arguments, result)` as a call that returns a fresh result."""

        def run() -> Any:
            result = self.api.Ciphertext()
            operation(*arguments, result)
            return result

        return run

    def decrypt(self, ciphertext: Any, count: int) -> Floats:
        """The first `count` slots."""
        plain = self.api.Plaintext()
        self.api.Decryptor(self.context, self.peer.context.secret_key().data).decrypt(ciphertext, plain)
        slots: Sequence[float] = self.api.CKKSEncoder(self.context).decode_double(plain)
        return np.array(slots[:count])
