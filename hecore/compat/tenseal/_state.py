"""`TenSEALContext`: the parameters, keys and flags that a `Context` wraps and all its tensors share."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.ckks import encryption, keys
from hecore.ckks.ciphertext import Ciphertext, concatenate
from hecore.ckks.evaluation_keys import EvaluationKeys, GaloisKeys, RelinearizationKey
from hecore.ckks.keys import KEY_ID_BYTES
from hecore.compat.tenseal._chain import as_integer, make_parameters
from hecore.compat.tenseal._errors import ContextError, NoPublicKeyError, refuse_bfv
from hecore.errors import KeyMismatchError, OperandTypeError, ParameterError, ScaleError
from hecore.ring.prng import Seed, SeedKind

if TYPE_CHECKING:
    from hecore.ckks.encoding import Message
    from hecore.ckks.params import Parameters

FLAGS = ("auto_relin", "auto_rescale", "auto_mod_switch")
"""In the order of the peer's bits, the lowest first."""

_SEED_KIND = SeedKind.SHAKE256
_PROCESS_KEY = secrets.token_bytes(32)


class ENCRYPTION_TYPE(Enum):  # noqa: N801 - the peer's name
    """Whether a context encrypts under its public or its secret key."""

    ASYMMETRIC = 0
    SYMMETRIC = 1


class SCHEME_TYPE(Enum):  # noqa: N801 - the peer's name
    """Which scheme a context is for; this release has CKKS."""

    NONE = 0
    BFV = 1
    CKKS = 2


class Label(Enum):
    """What a context's key id is worth; ids of two contexts are compared where both are of one kind, not NONE.

    GLOBAL: the id is the same wherever the key goes. LOCAL: the bytes named no key, and the id was made from the secret
    key for this process alone. NONE: they did not even hold a key to tell it by; such tensors mix with any.
    """

    NONE = 0
    LOCAL = 1
    GLOBAL = 2


def local_label(secret_key: keys.SecretKey) -> bytes:
    """The same for the same key in this process, and of no meaning elsewhere: a keyed hash under a key of its own."""
    words = secret_key.polynomial.backend.ring_download(secret_key.polynomial)
    return hashlib.blake2b(words.tobytes(), digest_size=KEY_ID_BYTES, key=_PROCESS_KEY).digest()


@dataclass(frozen=True, repr=False)
class LabelledKey:
    """A secret key that came out of a context, and what its id is worth."""

    key: keys.SecretKey
    label: Label


class TenSEALContext:
    """Mutable, as the peer's is: keys may be made or dropped and flags set at any time, for all tensors at once.

    The keys themselves are immutable, so that a copy shares them and costs nothing.
    """

    def __init__(
        self,
        parameters: Parameters,
        encryption_type: ENCRYPTION_TYPE,
        key_id: bytes,
        *,
        label: Label = Label.GLOBAL,
        secret_key: keys.SecretKey | None = None,
        public_key: keys.PublicKey | None = None,
        relinearization_key: RelinearizationKey | None = None,
        galois_keys: GaloisKeys | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.parameters = parameters
        self.encryption_type = encryption_type
        self.key_id = key_id
        self.label = label
        self.n_threads = n_threads if n_threads else os.cpu_count() or 1
        self._secret_key = secret_key
        self._public_key = public_key
        self._relinearization_key = relinearization_key
        self._galois_keys = galois_keys
        self._evaluation_keys: EvaluationKeys | None = None
        self._scale: float | None = None
        self._flags = dict.fromkeys(FLAGS, True)

    @classmethod
    def new(
        cls,
        scheme: SCHEME_TYPE,
        poly_modulus_degree: Any,
        plain_modulus: Any,
        coeff_mod_bit_sizes: Any,
        encryption_type: ENCRYPTION_TYPE,
        n_threads: int | None,
    ) -> TenSEALContext:
        """Fresh keys: secret, relinearization, and in asymmetric contexts public. `plain_modulus` is BFV's."""
        if scheme is not SCHEME_TYPE.CKKS:
            refuse_bfv("SCHEME_TYPE.BFV")
        if not isinstance(encryption_type, ENCRYPTION_TYPE):
            raise OperandTypeError("encryption_type must be of ENCRYPTION_TYPE")
        as_integer(plain_modulus, "plain_modulus")
        made = keys.generate_keys(make_parameters(poly_modulus_degree, coeff_mod_bit_sizes))
        return cls(
            made.parameters,
            encryption_type,
            made.secret_key.key_id,
            secret_key=made.secret_key,
            public_key=made.public_key if encryption_type is ENCRYPTION_TYPE.ASYMMETRIC else None,
            relinearization_key=made.relinearization_key,
            n_threads=n_threads,
        )

    def copy(self) -> TenSEALContext:
        """Another context with the same keys, scale and flags; what is made or dropped in one stays so in the other."""
        other = TenSEALContext(
            self.parameters,
            self.encryption_type,
            self.key_id,
            label=self.label,
            secret_key=self._secret_key,
            public_key=self._public_key,
            relinearization_key=self._relinearization_key,
            galois_keys=self._galois_keys,
            n_threads=self.n_threads,
        )
        other._scale = self._scale
        other._flags = dict(self._flags)
        return other

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Everything but the secret key."""
        from hecore.compat.tenseal._bytes import context_from_bytes, context_to_bytes

        return context_from_bytes, (context_to_bytes(self), self.n_threads)

    # -- scale and flags -----------------------------------------------------------------------------------

    @property
    def global_scale(self) -> float:
        """What tensors are encoded at unless told otherwise. Raises ContextError while it is not set."""
        if self._scale is None:
            raise ContextError("no global scale")
        return self._scale

    @global_scale.setter
    def global_scale(self, value: Any) -> None:
        try:
            scale = float(value) if not isinstance(value, str | bytes) else None
        except (TypeError, OverflowError):
            scale = None
        if scale is None:
            raise OperandTypeError(f"global_scale must be a number below 2^1024, not {type(value).__name__}")
        if not 0 <= scale < math.inf:
            raise ScaleError("invalid scale value")
        self._scale = scale

    @property
    def scale_or_none(self) -> float | None:
        return self._scale

    def flag(self, name: str) -> bool:
        """One of FLAGS."""
        return self._flags[name]

    def set_flag(self, name: str, value: Any) -> None:
        """Raises OperandTypeError for what is neither a truth value nor a number."""
        if not (value is None or isinstance(value, int | np.bool_)):
            raise OperandTypeError(f"{name} must be True or False, not {type(value).__name__}")
        self._flags[name] = bool(value)

    # -- keys ----------------------------------------------------------------------------------------------

    @property
    def is_symmetric(self) -> bool:
        return self.encryption_type is ENCRYPTION_TYPE.SYMMETRIC

    @property
    def is_public(self) -> bool:
        """Whether there is no secret key here."""
        return self._secret_key is None

    @property
    def has_relin_keys(self) -> bool:
        return self._relinearization_key is not None

    @property
    def has_galois_keys(self) -> bool:
        return self._galois_keys is not None

    @property
    def has_public_key(self) -> bool:
        """Raises ContextError in a symmetric context."""
        if self.is_symmetric:
            raise ContextError("has_public_key is not supported for symmetric encryption")
        return self._public_key is not None

    @property
    def public_key(self) -> keys.PublicKey:
        """Raises ContextError in a symmetric context, NoPublicKeyError where none was loaded."""
        if self.is_symmetric:
            raise ContextError("public_key is not supported for symmetric encryption")
        if self._public_key is None:
            raise NoPublicKeyError("the current context doesn't hold a public key: it was serialized without")
        return self._public_key

    @property
    def secret_key(self) -> keys.SecretKey:
        """Raises ContextError in a public context."""
        if self._secret_key is None:
            raise ContextError("the current context is public, it doesn't hold a Secret key")
        return self._secret_key

    @property
    def relinearization_key(self) -> RelinearizationKey:
        """Raises ContextError without one."""
        if self._relinearization_key is None:
            raise ContextError("the current context doesn't hold Relinearization keys")
        return self._relinearization_key

    @property
    def galois_keys(self) -> GaloisKeys:
        """Raises ContextError without them."""
        if self._galois_keys is None:
            raise ContextError("the current context doesn't hold a Galois keys")
        return self._galois_keys

    @property
    def evaluation_keys(self) -> EvaluationKeys:
        """What there is, in the form that ciphertexts carry."""
        if self._evaluation_keys is None:
            galois_keys = self._galois_keys or GaloisKeys(self.parameters, self.key_id)
            self._evaluation_keys = EvaluationKeys(self.parameters, self.key_id, self._relinearization_key, galois_keys)
        return self._evaluation_keys

    def generate_galois_keys(self, secret_key: LabelledKey | None = None) -> None:
        """For rotations by ±1, ±2, ±4, …, of which all others are composed, and for conjugation."""
        self._galois_keys = self._given_or_own(secret_key).make_galois_keys("power-of-two", conjugation=True)
        self._evaluation_keys = None

    def generate_relin_keys(self, secret_key: LabelledKey | None = None) -> None:
        """A fresh relinearization key."""
        self._relinearization_key = self._given_or_own(secret_key).make_relinearization_key()
        self._evaluation_keys = None

    def _given_or_own(self, secret_key: LabelledKey | None) -> keys.SecretKey:
        if secret_key is None and self._secret_key is None:
            raise ContextError("you need to provide a secret_key")
        return self.secret_key if secret_key is None else self.relabelled(secret_key)

    def relabelled(self, given: LabelledKey) -> keys.SecretKey:
        """A given key as this context's. Raises ParameterError, KeyMismatchError where it is another's."""
        if given.key.parameters != self.parameters:
            raise ParameterError("this secret key was made for other encryption parameters than the context's")
        if given.key.key_id == self.key_id:
            return given.key
        if self.tells_apart(given.label):
            raise KeyMismatchError("this secret key is not that of the context")
        return keys.SecretKey(self.parameters, self.key_id, given.key.polynomial)

    def tells_apart(self, label: Label) -> bool:
        """Whether an id of that kind that differs from this context's means another key."""
        return label is self.label and label is not Label.NONE

    def make_public(self, generate_galois_keys: bool, generate_relin_keys: bool) -> None:
        """Drop the secret key, after making what is asked for and not there. Raises ContextError if symmetric."""
        if self.is_public:
            return
        if self.is_symmetric:
            raise ContextError("make_context_public is not supported for symmetric encryption")
        if generate_galois_keys and self._galois_keys is None:
            self.generate_galois_keys()
        if generate_relin_keys and self._relinearization_key is None:
            self.generate_relin_keys()
        self._secret_key = None

    # -- encryption ----------------------------------------------------------------------------------------

    @property
    def can_encrypt(self) -> bool:
        """Whether the key that this kind of context encrypts with is here."""
        return (self._secret_key if self.is_symmetric else self._public_key) is not None

    def encrypt(self, message: Message) -> tuple[Ciphertext, tuple[Seed, ...] | None]:
        """Fresh ciphertexts of the message's batch shape; from a secret key, also the seed of each, for SEAL's readers.

        Raises ContextError where the context has no key to encrypt with.
        """
        if not self.can_encrypt:
            raise ContextError("this context doesn't support encryption")
        if self.is_symmetric:
            singles = [_single(message, i) for i in range(math.prod(message.shape))]
            made = [encryption.encrypt_symmetric(self.secret_key, m, seed_kind=_SEED_KIND) for m in singles]
            seeds = tuple(c.seed for c in made if c.seed is not None)
            return concatenate(made).reshape(*message.shape), seeds
        return encryption.encrypt_public(self.public_key, message), None


def _single(message: Message, index: int) -> Message:
    """One polynomial of a batch, as a batch of one."""
    length = message.parameters.ring_degree
    wide = None
    if message.wide is not None:
        magnitudes, negative = message.wide
        limbs = magnitudes.reshape(-1, length, magnitudes.shape[-1])[index : index + 1]
        wide = limbs, negative.reshape(-1, length)[index : index + 1]
    return replace(message, small=message.small.reshape(-1, length)[index : index + 1], wide=wide)
