"""CKKS keys: generation, and the verbs `encrypt` and `decrypt`.

The secret is a polynomial s of independent uniform digits in {-1, 0, 1}; the public key is (b, a) with a uniform and
b = -a*s + e over all moduli (Lyubashevsky, Peikert, Regev 2010). Every key of one set, and every ciphertext made with
it, carries the same random label `key_id`: operands of two keys are an error, not a wrong number.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hecore.backends import registry
from hecore.backends.ring_protocol import secrecy
from hecore.ckks import sampling
from hecore.ckks.evaluation_keys import EvaluationKeys, GaloisKeys, RelinearizationKey, elements_of
from hecore.ckks.layout import Layout
from hecore.errors import MalformedKeyError, OperandTypeError, ParameterError, ShapeError
from hecore.ring.prng import Seed, SeedKind, expand_uniform

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend, Words
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.encoding import Message
    from hecore.ckks.params import Parameters
    from hecore.ckks.scale import Scale
    from hecore.ckks.tensor import EncryptedTensor
    from hecore.ring.keyswitch import SwitchingKey

__all__ = [
    "EvaluationKeys",
    "GaloisKeys",
    "Keys",
    "PublicKey",
    "RelinearizationKey",
    "SecretKey",
    "generate_keys",
]

KEY_ID_BYTES = 16
Factor = int | float | Fraction


@dataclass(frozen=True)
class Keys:
    """One set of keys. `galois_keys` is empty unless some were asked for."""

    secret_key: SecretKey
    public_key: PublicKey

    @property
    def parameters(self) -> Parameters:
        return self.public_key.parameters

    @property
    def evaluation_keys(self) -> EvaluationKeys:
        return self.public_key.evaluation_keys

    @property
    def relinearization_key(self) -> RelinearizationKey | None:
        """None where the parameters have no special modulus."""
        return self.evaluation_keys.relinearization_key

    @property
    def galois_keys(self) -> GaloisKeys:
        return self.evaluation_keys.galois_keys


def generate_keys(
    parameters: Parameters, *, galois: str | Iterable[int] | None = None, conjugation: bool = False
) -> Keys:
    """Fresh keys on the current backend.

    `galois` names rotations: steps (left where positive), "power-of-two" for ±1, ±2, ±4, …, of which all others are
    composed, or None; `conjugation` adds complex conjugation. A relinearization key is made where the parameters have
    a special modulus. Raises ParameterError for Galois keys without one.
    """
    backend = registry.current()
    key_id = secrets.token_bytes(KEY_ID_BYTES)
    with secrecy(backend):
        secret = backend.ring_encode(sampling.secret(backend, parameters), parameters.basis, ntt=True)
    bare = SecretKey(parameters, key_id, secret)
    relinearization_key = None
    if parameters.special is not None:
        relinearization_key = bare.make_relinearization_key()
    galois_keys = GaloisKeys(parameters, key_id)
    if galois is not None or conjugation:
        galois_keys = bare.make_galois_keys(galois, conjugation=conjugation)
    evaluation_keys = EvaluationKeys(parameters, key_id, relinearization_key, galois_keys)
    return Keys(bare.with_evaluation_keys(evaluation_keys), bare.make_public_key(evaluation_keys))


@final
class PublicKey:
    """(b, a) over all moduli, transformed, and the evaluation keys that its ciphertexts take along. Immutable.

    `seed` is what a was expanded from (`expand_uniform(seed, parameters.basis)`), None where it is not known.
    """

    def __init__(
        self,
        parameters: Parameters,
        key_id: bytes,
        polynomials: PolynomialArray,
        evaluation_keys: EvaluationKeys | None = None,
        seed: Seed | None = None,
    ) -> None:
        _check_polynomials(parameters, key_id, polynomials, (2,))
        self.parameters = parameters
        self.key_id = key_id
        self.polynomials = polynomials
        self.evaluation_keys = _checked(evaluation_keys, parameters, key_id)
        self.seed = seed
        self._operands: dict[tuple[RingBackend, int], tuple[PolynomialArray, PolynomialArray | None]] = {}

    def with_evaluation_keys(self, evaluation_keys: EvaluationKeys) -> PublicKey:
        """The same key, whose ciphertexts take these along. Raises KeyMismatchError."""
        return PublicKey(self.parameters, self.key_id, self.polynomials, evaluation_keys, self.seed)

    def encrypt(
        self,
        values: ArrayLike,
        *,
        level: int | None = None,
        scale: Scale | Factor | None = None,
        bound: float | None = None,
    ) -> EncryptedTensor:
        """Encrypt real or complex numbers of any shape on the current backend.

        `level` defaults to the highest, `scale` to the parameters'. `bound` declares |values| at most, publicly: only
        then is the worst-case noise of a result known, which products and `decrypt_public` need. Raises as `encode`.
        """
        from hecore.ckks import encryption

        layout, dtype, message = _pack(self.parameters, values, level, scale, bound)
        return _tensor(encryption.encrypt_public(self, message), layout, dtype)

    def operands(self, backend: RingBackend, level: int) -> tuple[PolynomialArray, PolynomialArray | None]:
        """(b, a) on `backend` as encryption at `level` reads them; made once and kept.

        Over the level's moduli divided by the product of the special ones, and over the special ones, if there are any.
        """
        at = backend, level
        if at not in self._operands:
            parameters, special = self.parameters, self.parameters.special
            key = _moved(self.polynomials, backend)
            data = backend.ring_moduli(key, range(level + 1))
            if special is None:
                self._operands[at] = data, None
            else:
                inverse = [pow(special.product, -1, q) for q in data.basis.moduli]
                rest = backend.ring_moduli(key, range(parameters.max_level + 1, len(parameters.basis)))
                self._operands[at] = backend.residue_scale(data, inverse), rest
        return self._operands[at]

    def to_bytes(self) -> bytes:
        """The compact wire form, evaluation keys included: see `hecore.ckks.wire`."""
        from hecore.ckks import wire

        return wire.public_key_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes, *, allow_insecure: bool = False) -> PublicKey:
        """Inverse of `to_bytes`. Raises SerializationError, InsecureParametersError."""
        from hecore.ckks import wire

        return wire.public_key_from_bytes(data, allow_insecure=allow_insecure)

    def __reduce__(self) -> tuple[object, ...]:
        from hecore.ckks import wire

        return wire.unpickle, ("public_key", self.to_bytes(), wire.pickles_insecure(self.parameters))

    def __repr__(self) -> str:
        return f"<ckks.PublicKey {self.key_id.hex()[:8]} of {self.parameters!r}>"


@final
class SecretKey:
    """s over all moduli, transformed. Prints no number; never pickled or copied. Keys at rest: `hecore.keystore`."""

    def __init__(
        self,
        parameters: Parameters,
        key_id: bytes,
        polynomial: PolynomialArray,
        evaluation_keys: EvaluationKeys | None = None,
    ) -> None:
        from hecore.ckks.public_decryption import QueryBudget

        _check_polynomials(parameters, key_id, polynomial, ())
        self.parameters = parameters
        self.key_id = key_id
        self.polynomial = polynomial
        self.evaluation_keys = _checked(evaluation_keys, parameters, key_id)
        self.query_budget = QueryBudget()
        self._powers: dict[tuple[RingBackend, int, int, int], PolynomialArray] = {}

    @classmethod
    def from_words(
        cls,
        parameters: Parameters,
        words: Words,
        key_id: bytes | None = None,
        evaluation_keys: EvaluationKeys | None = None,
    ) -> SecretKey:
        """From a peer's transformed residues (k, N), on the current backend; a fresh label where there is none.

        Raises MalformedKeyError unless they are one polynomial of coefficients in {-1, 0, 1}.
        """
        backend = registry.current()
        with secrecy(backend):
            polynomial = backend.ring_upload(words, parameters.basis, ntt=True)
            magnitudes, _ = backend.ring_decode(polynomial)
        if magnitudes[..., 1:].any() or (magnitudes[..., 0] > 1).any():
            raise MalformedKeyError("cannot use this secret key: its coefficients are not all -1, 0 or 1")
        return cls(parameters, key_id or secrets.token_bytes(KEY_ID_BYTES), polynomial, evaluation_keys)

    def with_evaluation_keys(self, evaluation_keys: EvaluationKeys) -> SecretKey:
        """The same key, counting the same queries, whose ciphertexts take these along. Raises KeyMismatchError."""
        key = SecretKey(self.parameters, self.key_id, self.polynomial, evaluation_keys)
        key.query_budget = self.query_budget
        return key

    # -- use ---------------------------------------------------------------------------------------------

    def encrypt(
        self,
        values: ArrayLike,
        *,
        level: int | None = None,
        scale: Scale | Factor | None = None,
        bound: float | None = None,
        seed_kind: SeedKind = SeedKind.AES_CTR,
    ) -> EncryptedTensor:
        """As `PublicKey.encrypt`, faster, less noisy, and seeded: half the bytes on the wire.

        The generators of SEAL (`seed_kind`) make seeds that its own readers expand, one ciphertext a seed: arrays
        of more than one chunk of slots take the default.
        """
        from hecore.ckks import encryption

        layout, dtype, message = _pack(self.parameters, values, level, scale, bound)
        return _tensor(encryption.encrypt_symmetric(self, message, seed_kind=seed_kind), layout, dtype)

    def decrypt(self, x: EncryptedTensor | Ciphertext) -> NDArray[Any]:
        """The numbers in `x`, for its owner only; what others will see goes through `decrypt_public`.

        A tensor gives its shape in float64 or complex128; a Ciphertext of batch shape S complex128 (*S, slots).
        Raises KeyMismatchError.
        """
        from hecore.ckks import encryption
        from hecore.ckks.ciphertext import Ciphertext

        if isinstance(x, Ciphertext):
            return encryption.decrypt_values(self, x)
        layout, dtype, ciphertext = _unpack(x)
        values = encryption.decrypt_values(self, ciphertext)
        return layout.unpack(values if dtype.kind == "c" else values.real)

    def decrypt_public(
        self, x: EncryptedTensor, bits: int, *, statistical_security: int = 40, queries: int = 1
    ) -> NDArray[np.float64]:
        """A result that will be shown to others: noised, rounded to multiples of 2^-bits, counted.

        `hecore.ckks.public_decryption` says what it promises and raises.
        """
        from hecore.ckks import public_decryption

        return public_decryption.decrypt_public(self, x, bits, statistical_security, queries)

    # -- more keys ---------------------------------------------------------------------------------------

    def make_public_key(self, evaluation_keys: EvaluationKeys | None = None) -> PublicKey:
        """A fresh public key of this secret."""
        parameters, backend = self.parameters, self.polynomial.backend
        seed = Seed.fresh()
        a = backend.ring_upload(expand_uniform(seed, parameters.basis)[0], parameters.basis, ntt=True)
        with secrecy(backend):
            e = backend.ring_encode(backend.random_errors((), parameters.ring_degree), parameters.basis, ntt=True)
            b = backend.residue_sub(e, backend.residue_mul(a, self.polynomial))
        return PublicKey(
            parameters, self.key_id, backend.ring_concatenate([b, a]), evaluation_keys or self.evaluation_keys, seed
        )

    def make_relinearization_key(self) -> RelinearizationKey:
        """The key that takes s^2 to s. Raises ParameterError without a special modulus."""
        backend = self.polynomial.backend
        with secrecy(backend):
            key = self.make_switching_key(backend.residue_mul(self.polynomial, self.polynomial))
        return RelinearizationKey(self.parameters, self.key_id, key)

    def make_galois_keys(
        self, galois: str | Iterable[int] | None = "power-of-two", *, conjugation: bool = False
    ) -> GaloisKeys:
        """Keys for rotations, as `generate_keys` takes them. Raises ParameterError without a special modulus."""
        backend = self.polynomial.backend
        with secrecy(backend):
            made = {
                element: self.make_switching_key(backend.automorphism(self.polynomial, element))
                for element in elements_of(self.parameters, galois, conjugation)
            }
        return GaloisKeys(self.parameters, self.key_id, made)

    def make_switching_key(self, target: PolynomialArray) -> SwitchingKey:
        """A key that takes the polynomial `target` (over all moduli, transformed) to s."""
        from hecore.ring.keyswitch import make_switching_key

        parameters = self.parameters
        if parameters.special is None:
            raise ParameterError("cannot make evaluation keys: these parameters have no special modulus")
        return make_switching_key(
            self.polynomial.backend,
            parameters.basis,
            parameters.special_count,
            parameters.digits(parameters.max_level),
            self.polynomial,
            target,
            Seed.fresh(),
        )

    # -- forms -------------------------------------------------------------------------------------------

    def powers(self, backend: RingBackend, level: int, first: int, count: int) -> PolynomialArray:
        """`count` powers of s from s^first on, over the moduli of `level`, on `backend`; made once and kept. Secret."""
        at = backend, level, first, count
        if at not in self._powers:
            with secrecy(backend):
                s = backend.ring_moduli(_moved(self.polynomial, backend), range(level + 1))
                powers = [backend.residue_shift(backend.residue_sub(s, s), [1] * (level + 1))]
                while len(powers) < first + count:
                    powers.append(backend.residue_mul(powers[-1], s))
                self._powers[at] = backend.ring_concatenate(powers[first:])
        return self._powers[at]

    def digits(self) -> NDArray[np.int64]:
        """The coefficients of s in {-1, 0, 1}: (N,). Secret."""
        backend = self.polynomial.backend
        with secrecy(backend):
            magnitudes, negative = backend.ring_decode(backend.ring_moduli(self.polynomial, [0]))
        digits = magnitudes[:, 0].astype(np.int64)
        return np.where(negative, -digits, digits)

    def to_bytes_unprotected(self) -> bytes:
        """The key in the clear, without its evaluation keys, for `hecore.keystore` to encrypt."""
        from hecore.ckks import wire

        return wire.secret_key_to_bytes_unprotected(self)

    @staticmethod
    def from_bytes_unprotected(data: bytes, *, allow_insecure: bool = False) -> SecretKey:
        """Inverse of `to_bytes_unprotected`. Raises SerializationError, InsecureParametersError, MalformedKeyError."""
        from hecore.ckks import wire

        return wire.secret_key_from_bytes_unprotected(data, allow_insecure=allow_insecure)

    def __repr__(self) -> str:
        return f"<ckks.SecretKey {self.key_id.hex()[:8]} of {self.parameters!r}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise OperandTypeError("a secret key is never pickled or copied; hecore.keystore saves it encrypted")


# -- shared ------------------------------------------------------------------------------------------------


def _check_polynomials(parameters: Parameters, key_id: bytes, a: PolynomialArray, shape: tuple[int, ...]) -> None:
    if a.basis != parameters.basis or not a.ntt or a.shape != shape:
        raise ShapeError(f"cannot make a key of polynomials of shape {a.shape}: {shape}, over all moduli, transformed")
    if len(key_id) != KEY_ID_BYTES:
        raise ParameterError(f"cannot use a key id of {len(key_id)} bytes: {KEY_ID_BYTES}")


def _checked(keys: EvaluationKeys | None, parameters: Parameters, key_id: bytes) -> EvaluationKeys:
    """`keys` if they are this key's, else KeyMismatchError; an empty set for None."""
    if keys is None:
        return EvaluationKeys(parameters, key_id, None, GaloisKeys(parameters, key_id))
    return EvaluationKeys(parameters, key_id, keys.relinearization_key, keys.galois_keys)


def _moved(a: PolynomialArray, backend: RingBackend) -> PolynomialArray:
    return a if a.backend is backend else backend.ring_upload(a.backend.ring_download(a), a.basis, ntt=a.ntt)


def _pack(
    parameters: Parameters, values: ArrayLike, level: int | None, scale: Scale | Factor | None, bound: float | None
) -> tuple[Layout, np.dtype[Any], Message]:
    from hecore.ckks import encoding
    from hecore.ckks.scale import Scale

    array = encoding.checked_values(values, bound)
    layout = Layout(array.shape, parameters.slots)
    message = encoding.prepare(
        layout.pack(array),
        parameters,
        level=parameters.max_level if level is None else level,
        scale=parameters.scale if scale is None else Scale.of(scale),
        bound=bound,
    )
    return layout, array.dtype, message


def _tensor(ciphertext: Ciphertext, layout: Layout, dtype: np.dtype[Any]) -> EncryptedTensor:
    from hecore.ckks.tensor import EncryptedTensor

    return EncryptedTensor(ciphertext, layout, dtype)


def _unpack(x: object) -> tuple[Layout, np.dtype[Any], Ciphertext]:
    from hecore.ckks.tensor import EncryptedTensor

    if not isinstance(x, EncryptedTensor):
        raise OperandTypeError(f"cannot decrypt a {type(x).__name__}: an EncryptedTensor or a Ciphertext is needed")
    return x.layout, x.dtype, x.ciphertext
