"""`Context` and the wrappers of its keys."""

from __future__ import annotations

import warnings
from typing import Any

from hecore.compat.tenseal import _native
from hecore.compat.tenseal._errors import ContextError, InsecureWarning
from hecore.compat.tenseal._state import ENCRYPTION_TYPE, SCHEME_TYPE, LabelledKey, TenSEALContext
from hecore.errors import OperandTypeError, ParameterError


class SEALPrimitive:
    """Wraps one of SEAL's objects, `data`; there is a class for each kind, to tell them apart."""

    def __init__(self, data: Any) -> None:
        self.data = data

    @property
    def data(self) -> Any:
        """The wrapped object. Raises OperandTypeError where another kind is set."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        native = getattr(_native, type(self).__name__)
        if not isinstance(value, native):
            raise OperandTypeError(f"value must be of type {native}")
        self._data = value


class SecretKey(SEALPrimitive):
    """Never pickled or copied."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise OperandTypeError("a secret key is never pickled or copied; serialize(save_secret_key=True) writes it")


class PublicKey(SEALPrimitive):
    pass


class GaloisKeys(SEALPrimitive):
    pass


class RelinKeys(SEALPrimitive):
    pass


class SEALContext(SEALPrimitive):
    pass


class Encryptor(SEALPrimitive):
    pass


class Decryptor(SEALPrimitive):
    pass


class Context:
    """Parameters, keys and flags for CKKS tensors; tensors made under a context share it.

    scheme: SCHEME_TYPE.CKKS. poly_modulus_degree: a power of two. plain_modulus: BFV's, of no meaning here.
    coeff_mod_bit_sizes: bits of each modulus, the last one special; SEAL's default chain where empty. encryption_type:
    under the public or the secret key. n_threads: accepted; HECORE_THREADS says how many threads hecore uses.

    The moduli are held against the security table of 2018, as the peer does: InsecureParametersError (a ValueError).
    """

    def __init__(
        self,
        scheme: SCHEME_TYPE | None = None,
        poly_modulus_degree: int | None = None,
        plain_modulus: int | None = None,
        coeff_mod_bit_sizes: Any = (),
        encryption_type: ENCRYPTION_TYPE = ENCRYPTION_TYPE.ASYMMETRIC,
        n_threads: int | None = None,
        data: TenSEALContext | None = None,
    ) -> None:
        if data is not None:
            self.data = data
            return
        if scheme is SCHEME_TYPE.BFV:
            if plain_modulus is None:
                raise ParameterError("plain_modulus must be provided")
        elif scheme is SCHEME_TYPE.CKKS:
            plain_modulus = 0
        else:
            raise ParameterError("Invalid scheme type, use either SCHEME_TYPE.BFV or SCHEME_TYPE.CKKS")
        threads = n_threads if isinstance(n_threads, int) and n_threads > 0 else None
        self.data = TenSEALContext.new(
            scheme, poly_modulus_degree, plain_modulus, coeff_mod_bit_sizes, encryption_type, threads
        )

    @property
    def data(self) -> TenSEALContext:
        """What all tensors of this context share."""
        return self._data

    @data.setter
    def data(self, value: TenSEALContext) -> None:
        if not isinstance(value, TenSEALContext):
            raise OperandTypeError(f"value must be of type {TenSEALContext}")
        self._data = value

    @classmethod
    def _wrap(cls, data: TenSEALContext) -> Context:
        return cls(data=data)

    def copy(self) -> Context:
        """An independent context with the same keys, the secret one included."""
        return self._wrap(self.data.copy())

    def __copy__(self) -> Context:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Context:
        return self.copy()

    # -- bytes ---------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, data: bytes, n_threads: int | None = None) -> Context:
        """From bytes of `serialize`, the peer's or ours. Raises SerializationError (a ValueError) and OperandTypeError.

        With the secret key come no relinearization and Galois keys but the wish for them: they are made anew.
        """
        from hecore.compat.tenseal._bytes import context_from_bytes

        return cls._wrap(context_from_bytes(data, n_threads))

    def serialize(
        self,
        save_public_key: bool = True,
        save_secret_key: bool = False,
        save_galois_keys: bool = True,
        save_relin_keys: bool = True,
    ) -> bytes:
        """Bytes that the peer reads. `save_secret_key` writes the secret key in the clear, and warns."""
        from hecore.compat.tenseal._bytes import context_to_bytes

        if save_secret_key and not self.data.is_public:
            warnings.warn(
                "these bytes hold the secret key in the clear: whoever reads them decrypts everything",
                InsecureWarning,
                stacklevel=2,
            )
        return context_to_bytes(
            self.data,
            save_public_key=save_public_key,
            save_secret_key=save_secret_key,
            save_galois_keys=save_galois_keys,
            save_relin_keys=save_relin_keys,
        )

    # -- scale and flags -----------------------------------------------------------------------------------

    @property
    def global_scale(self) -> float:
        """What tensors are encoded at unless told otherwise. Raises ContextError (a ValueError) while it is not set."""
        return self.data.global_scale

    @global_scale.setter
    def global_scale(self, value: float) -> None:
        self.data.global_scale = value

    @property
    def auto_relin(self) -> bool:
        """Whether products are relinearized at once."""
        return self.data.flag("auto_relin")

    @auto_relin.setter
    def auto_relin(self, value: bool) -> None:
        self.data.set_flag("auto_relin", value)

    @property
    def auto_rescale(self) -> bool:
        """Whether products are rescaled at once."""
        return self.data.flag("auto_rescale")

    @auto_rescale.setter
    def auto_rescale(self, value: bool) -> None:
        self.data.set_flag("auto_rescale", value)

    @property
    def auto_mod_switch(self) -> bool:
        """Whether operands of different levels are brought to the lower one."""
        return self.data.flag("auto_mod_switch")

    @auto_mod_switch.setter
    def auto_mod_switch(self, value: bool) -> None:
        self.data.set_flag("auto_mod_switch", value)

    # -- keys ----------------------------------------------------------------------------------------------

    def has_galois_keys(self) -> bool:
        return self.data.has_galois_keys

    def galois_keys(self) -> GaloisKeys:
        """Raises ContextError (a ValueError) where there are none."""
        return GaloisKeys(_native.GaloisKeys(self.data.galois_keys))

    def generate_galois_keys(self, secret_key: SecretKey | None = None) -> None:
        """For every rotation, with the context's secret key or the one given. Raises KeyMismatchError for another."""
        self.data.generate_galois_keys(given_secret_key(secret_key))

    def has_relin_keys(self) -> bool:
        return self.data.has_relin_keys

    def relin_keys(self) -> RelinKeys:
        """Raises ContextError (a ValueError) where there are none."""
        return RelinKeys(_native.RelinKeys(self.data.relinearization_key))

    def generate_relin_keys(self, secret_key: SecretKey | None = None) -> None:
        """With the context's secret key or the one given. Raises KeyMismatchError for another."""
        self.data.generate_relin_keys(given_secret_key(secret_key))

    def has_secret_key(self) -> bool:
        return not self.data.is_public

    def secret_key(self) -> SecretKey:
        """Raises ContextError (a ValueError) in a public context."""
        return SecretKey(_native.SecretKey(LabelledKey(self.data.secret_key, self.data.label)))

    def has_public_key(self) -> bool:
        """Raises ContextError (a ValueError) in a symmetric context."""
        return self.data.has_public_key

    def public_key(self) -> PublicKey:
        """Raises ContextError (a ValueError) in a symmetric context; it is a TypeError, too, where there is none."""
        return PublicKey(_native.PublicKey(self.data.public_key))

    def is_private(self) -> bool:
        """Whether the context holds the secret key."""
        return not self.data.is_public

    def is_public(self) -> bool:
        return self.data.is_public

    def make_context_public(self, generate_galois_keys: bool = False, generate_relin_keys: bool = False) -> None:
        """Drop the secret key, before the context goes to who computes; first make the keys that are asked for.

        Nothing of this context decrypts any more. Raises ContextError (a ValueError) in a symmetric context.
        """
        self.data.make_public(generate_galois_keys, generate_relin_keys)

    def seal_context(self) -> SEALContext:
        return SEALContext(_native.SEALContext(self.data.parameters))

    def encryptor(self) -> Encryptor:
        """Raises ContextError (a ValueError) where there is no key to encrypt with."""
        if not self.data.can_encrypt:
            raise ContextError("this context doesn't support encryption")
        return Encryptor(_native.Encryptor(self.data.parameters))

    def decryptor(self) -> Decryptor:
        """Raises ContextError (a ValueError) in a public context."""
        if self.data.is_public:
            raise ContextError("this context doesn't support decryption")
        return Decryptor(_native.Decryptor(self.data.parameters))


def given_secret_key(secret_key: Any) -> LabelledKey | None:
    """What a user passed as a secret key. Raises OperandTypeError for anything but a SecretKey or None."""
    if secret_key is None:
        return None
    if not isinstance(secret_key, SecretKey):
        raise OperandTypeError(f"incorrect type: {type(secret_key)} != SecretKey")
    labelled: LabelledKey = secret_key.data.labelled
    return labelled
