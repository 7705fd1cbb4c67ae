"""Paillier keys: generation, checks, and the two verbs `encrypt` and `decrypt`.

Paillier 1999 with g = n+1, and the encryption of Damgard, Jurik and Nielsen (2010, section 4.2) where the key
carries h = -x**2 mod n. Keys below the security floor exist only behind names that say `insecure`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakValueDictionary

from hecore import wire
from hecore.arith.integers import gcd, powmod
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.primes import random_blum_primes
from hecore.arith.random import random_below
from hecore.errors import (
    InsecureParametersError,
    KeyMismatchError,
    MalformedKeyError,
    OperandTypeError,
    PlaintextRangeError,
    SerializationError,
)
from hecore.paillier import jwk, validation
from hecore.paillier.obfuscation import FixedBase, public_obfuscators
from hecore.paillier.params import (
    DEFAULT_KEY_BITS,
    MAX_KEY_BITS,
    SECURITY_FLOOR_BITS,
    check_key_bits,
    check_key_size,
    check_randomness_bits,
    default_randomness_bits,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.protocol import IntegerBackend
    from hecore.paillier.ciphertext import EncryptedArray
    from hecore.paillier.encoding import EncodingChoice
    from hecore.paillier.encryption import Progress
    from hecore.paillier.packing import PackedArray
    from hecore.paillier.pool import ObfuscatorPool

_MAX_INTEGER_BYTES = MAX_KEY_BITS // 8


def generate_keypair(
    key_bits: int = DEFAULT_KEY_BITS, *, randomness_bits: int | None = None
) -> tuple[PublicKey, SecretKey]:
    """A fresh key pair: Blum primes with gcd(p-1, q-1) = 2 and a random h = -x**2 mod n.

    `key_bits` is even, at least 2048 and at most 8192. `randomness_bits` is the length of an encryption
    exponent; see `PublicKey` for what a shorter one than key_bits/2 assumes. Variable time. Raises
    InsecureParametersError, ParameterError, OperandTypeError.
    """
    key_bits = validation.as_integer("key_bits", key_bits)
    check_key_bits(key_bits)
    return _generate(key_bits, randomness_bits)


def generate_insecure_keypair(key_bits: int, *, randomness_bits: int | None = None) -> tuple[PublicKey, SecretKey]:
    """As `generate_keypair`, for any even size from 16 bits up: for tests and experiments, never for data."""
    key_bits = validation.as_integer("key_bits", key_bits)
    check_key_size(key_bits)
    return _generate(key_bits, randomness_bits)


def _generate(key_bits: int, randomness_bits: int | None) -> tuple[PublicKey, SecretKey]:
    p, q = random_blum_primes(key_bits)
    n = p * q
    while True:
        x = random_below(n)
        h = n - x * x % n
        if gcd(x, n) == 1 and 1 < h < n - 1:
            break
    public_key = PublicKey.insecure(n, h, randomness_bits=randomness_bits)  # the caller checked the size
    return public_key, SecretKey(public_key, p, q)


@final
class PublicKey:
    """n, and h where the owner made one. Immutable; equal, hashed and fingerprinted by (n, h, randomness_bits).

    With h, an encryption multiplies by hs**r for hs = h**n mod n^2 and r of `randomness_bits` bits. By default
    these are key_bits/2, secure under the decisional composite residuosity assumption and, for short exponents
    modulo a Blum integer, factoring (Damgard, Jurik and Nielsen 2010, section 4.2). Fewer bits are faster and an
    explicit choice: they add the assumption that discrete logarithms of that length modulo n are hard, beyond
    what factoring gives, and are refused below twice the security level; a key that arrives with them is read
    only where the reader takes that assumption, too (`allow_short_randomness`). Without h (an imported modulus of
    unknown shape, for which that argument fails) it multiplies by r**n, r uniform.

    The constructor raises MalformedKeyError for a modulus that is even, prime, a perfect power or out of size
    bounds, and for an h that is out of range, trivial, not coprime to n or of Jacobi symbol other than 1;
    InsecureParametersError below 2048 bits, for which `PublicKey.insecure` exists.
    """

    n: Final[int]
    h: Final[int | None]
    randomness_bits: Final[int]

    def __init__(
        self, n: int, h: int | None = None, *, randomness_bits: int | None = None, allow_insecure: bool = False
    ) -> None:
        n = validation.as_integer("n", n)
        if not allow_insecure and n.bit_length() < SECURITY_FLOOR_BITS:
            raise InsecureParametersError(
                f"cannot use a modulus of {n.bit_length()} bits: the floor is {SECURITY_FLOOR_BITS} bits; "
                "for tests and experiments there is PublicKey.insecure"
            )
        validation.require(validation.modulus_checks(n))
        if h is not None:
            h = validation.as_integer("h", h)
            validation.require(validation.generator_checks(n, h))
        if randomness_bits is None:
            randomness_bits = default_randomness_bits(n.bit_length())
        randomness_bits = validation.as_integer("randomness_bits", randomness_bits)
        check_randomness_bits(randomness_bits, n.bit_length())
        self.n = n
        self.h = h
        self.randomness_bits = randomness_bits
        self._fixed_bases: dict[IntegerBackend, FixedBase] = {}

    @classmethod
    def insecure(cls, n: int, h: int | None = None, *, randomness_bits: int | None = None) -> PublicKey:
        """As the constructor, without the floor of 2048 bits: for tests, experiments and peers' tiny keys."""
        return cls(n, h, randomness_bits=randomness_bits, allow_insecure=True)

    # -- derived -----------------------------------------------------------------------------------------

    @property
    def key_bits(self) -> int:
        """Length of n in bits."""
        return self.n.bit_length()

    @cached_property
    def n_squared(self) -> Modulus:
        """n^2, where ciphertexts live; it knows its root."""
        return Modulus.square(self.n)

    @cached_property
    def hs(self) -> int | None:
        """h**n mod n^2, derived and never received; None without h."""
        return None if self.h is None else powmod(self.h, self.n, self.n * self.n)

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: the first 16 bytes of SHA-256 over n, h and randomness_bits as in the wire form."""
        return hashlib.sha256(self._payload()).digest()[: wire.FINGERPRINT_BYTES].hex()

    def fixed_base(self, backend: IntegerBackend) -> FixedBase:
        """Powers of hs modulo n^2 on `backend`, kept for the life of this key. Raises MalformedKeyError without h."""
        if backend not in self._fixed_bases:
            if self.hs is None:
                raise MalformedKeyError("cannot take powers of hs: this key has no h")
            base = FixedBase(self.hs, self.n_squared, self.randomness_bits, backend)
            self._fixed_bases.setdefault(backend, base)  # of two threads, the first one's table is kept
        return self._fixed_bases[backend]

    # -- use ---------------------------------------------------------------------------------------------

    def encrypt(
        self,
        values: object,
        *,
        encoding: EncodingChoice | None = None,
        pool: ObfuscatorPool | None = None,
        progress: Progress | None = None,
    ) -> EncryptedArray:
        """Encrypt numbers of any shape; `hecore.paillier.encryption.encrypt` states ranges, encodings and errors.

        `pool` supplies obfuscators made in advance for this key; `progress` is told how many values are done.
        Raises KeyMismatchError for a pool of another key.
        """
        from hecore.paillier.encryption import covered_by, encrypt  # it builds on this module

        if pool is None:
            cover = covered_by(partial(public_obfuscators, self), self)
            return encrypt(self, values, cover, encoding=encoding, progress=progress)
        from hecore.paillier.pool import ObfuscatorPool  # so does it

        if not isinstance(pool, ObfuscatorPool):
            raise OperandTypeError(f"cannot draw obfuscators from a {type(pool).__name__}: an ObfuscatorPool is needed")
        if pool.public_key != self:
            raise KeyMismatchError("cannot encrypt with this pool: its obfuscators belong to another key")
        return encrypt(self, values, covered_by(pool.take_on, self), encoding=encoding, progress=progress)

    def raw_encrypt_unrandomised_insecure(self, message: int) -> int:
        """1 + message*n, which anybody reads back as (c-1)/n: NOT an encryption until an obfuscator multiplies it.

        0 <= message < n, else PlaintextRangeError.
        """
        message = validation.as_integer("the message", message)
        if not 0 <= message < self.n:
            raise PlaintextRangeError("cannot encode a message outside [0, n)")
        return 1 + message * self.n

    def validate(self, *, strict: bool = False) -> validation.ValidationReport:
        """Report what can be checked of this key without a proof from its owner, small factors included.

        With `strict`, raise MalformedKeyError naming the failures instead of reporting them.
        """
        report = validation.report(self.n, self.h, self.randomness_bits)
        if strict and not report.passed:
            raise MalformedKeyError(f"cannot trust this key: it must hold that {'; '.join(report.failures)}")
        return report

    # -- forms -------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The binary form of docs/wire-format.md."""
        return wire.write_frame(wire.Kind.PUBLIC_KEY, self.fingerprint, self._payload())

    @classmethod
    def from_bytes(
        cls, data: wire.Bytes, *, allow_insecure: bool = False, allow_short_randomness: bool = False
    ) -> PublicKey:
        """Inverse of `to_bytes`. An equal key that still lives is returned itself, with the tables it has built.

        Raises SerializationError for malformed bytes, InsecureParametersError for encryption exponents shorter than
        key_bits/2 without `allow_short_randomness`, and what the constructor raises.
        """
        frame = wire.read_frame(data, wire.Kind.PUBLIC_KEY)
        payload = bytes(frame.payload)
        key = _living_keys.get(payload)
        if key is None or (key.key_bits < SECURITY_FLOOR_BITS and not allow_insecure):
            reader = wire.PayloadReader(payload)
            n = reader.integer(_MAX_INTEGER_BYTES)
            h = reader.integer(_MAX_INTEGER_BYTES)
            randomness_bits = reader.u32()
            reader.finish()
            key = cls(n, h or None, randomness_bits=randomness_bits, allow_insecure=allow_insecure)
        if frame.fingerprint != key.fingerprint:
            raise SerializationError("cannot read the public key: its fingerprint does not match its numbers")
        least = default_randomness_bits(key.key_bits)
        if key.randomness_bits < least and not allow_short_randomness:
            raise InsecureParametersError(
                f"cannot use a foreign key with exponents of {key.randomness_bits} bits: fewer than {least} assume "
                "that discrete logarithms of that length modulo n are hard; allow_short_randomness=True accepts that"
            )
        return _living_keys.setdefault(payload, key)

    def to_jwk(self, *, kid: str | None = None) -> str:
        """JSON as `pheutil` writes it, with h as an additional member where there is one; `kid` names the key."""
        return jwk.write_public(self.n, self.h, kid or self.fingerprint)

    @classmethod
    def from_jwk(cls, text: str | bytes, *, allow_insecure: bool = False) -> PublicKey:
        """Read a public JWK, `pheutil`'s own included. Raises SerializationError, and what the constructor raises."""
        n, h = jwk.read_public(text)
        return cls(n, h, allow_insecure=allow_insecure)

    def _payload(self) -> bytes:
        return wire.pack_integer(self.n) + wire.pack_integer(self.h or 0) + wire.pack_u32(self.randomness_bits)

    @property
    def _identity(self) -> tuple[int, int | None, int]:
        return self.n, self.h, self.randomness_bits

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return self is other or self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"<PublicKey {self.key_bits} bits, {self.fingerprint}>"

    def __reduce__(self) -> tuple[object, ...]:
        # Whoever holds an insecure key in memory chose to; its pickle says so again. For short exponents it does not:
        # they are read where an equal key lives already, as this one now does in this process and in its forks.
        _living_keys.setdefault(self._payload(), self)
        return _from_pickle, (self.to_bytes(), self.key_bits < SECURITY_FLOOR_BITS)


def _from_pickle(data: bytes, allow_insecure: bool) -> PublicKey:
    known = bytes(wire.read_frame(data, wire.Kind.PUBLIC_KEY).payload) in _living_keys
    return PublicKey.from_bytes(data, allow_insecure=allow_insecure, allow_short_randomness=known)


# Every unpickled array brings its key; one key value is checked and builds its tables once.
_living_keys: WeakValueDictionary[bytes, PublicKey] = WeakValueDictionary()


@final
class SecretKey:
    """The factors of n, and what they make fast. Prints no number; never pickled or copied.

    SecretKey(public_key, p, q) raises MalformedKeyError unless p and q are distinct primes with p*q = n and
    gcd(n, (p-1)(q-1)) = 1, of nearly equal length and far apart (from 2048 bits up); and, where the public key
    has h, p = q = 3 mod 4, gcd(p-1, q-1) = 2 and h = -x**2. Keys at rest: `hecore.keystore`.
    """

    public_key: Final[PublicKey]
    crt: Final[CrtModulus]

    def __init__(self, public_key: PublicKey, p: int, q: int) -> None:
        if not isinstance(public_key, PublicKey):
            raise OperandTypeError(f"cannot build a secret key on a {type(public_key).__name__}: a PublicKey is needed")
        p, q = sorted((validation.as_integer("p", p), validation.as_integer("q", q)))
        validation.require(validation.factor_checks(public_key.n, public_key.h, p, q))
        self.public_key = public_key
        self.crt = CrtModulus(p, q)
        self._fixed_bases: dict[IntegerBackend, tuple[FixedBase, FixedBase]] = {}

    def fixed_bases(self, backend: IntegerBackend) -> tuple[FixedBase, FixedBase]:
        """Powers of hs modulo p^2 and modulo q^2 on `backend`, kept for the life of this key."""
        if backend not in self._fixed_bases:
            hs = self.public_key.hs
            if hs is None:
                raise MalformedKeyError("cannot take powers of hs: this key has no h")
            crt = self.crt
            base_p = FixedBase(hs % crt.p_squared.value, crt.p_squared, crt.p.bit_length(), backend)
            base_q = FixedBase(hs % crt.q_squared.value, crt.q_squared, crt.q.bit_length(), backend)
            self._fixed_bases.setdefault(backend, (base_p, base_q))
        return self._fixed_bases[backend]

    def encrypt(
        self,
        values: object,
        *,
        encoding: EncodingChoice | None = None,
        pool: ObfuscatorPool | None = None,
        progress: Progress | None = None,
    ) -> EncryptedArray:
        """As `PublicKey.encrypt`, faster: obfuscators by way of p^2 and q^2."""
        from hecore.paillier.encryption import covered_by_owner, encrypt  # they build on this module

        if pool is not None:
            return self.public_key.encrypt(values, encoding=encoding, pool=pool, progress=progress)
        return encrypt(self.public_key, values, covered_by_owner(self), encoding=encoding, progress=progress)

    def decrypt(self, array: EncryptedArray | PackedArray, *, exact: bool = False) -> NDArray[Any]:
        """The numbers in `array`, an ndarray of its shape; `hecore.paillier.encryption.decrypt` states the rest."""
        from hecore.paillier.encryption import decrypt  # it builds on this module

        return decrypt(self, array, exact=exact)

    def to_bytes_unprotected(self) -> bytes:
        """The key in the clear, for `hecore.keystore` to encrypt. Do not write it anywhere."""
        parts = (self.public_key.to_bytes(), self.crt.p, self.crt.q)
        payload = wire.pack_u32(len(parts[0])) + parts[0] + wire.pack_integer(parts[1]) + wire.pack_integer(parts[2])
        return wire.write_frame(wire.Kind.SECRET_KEY_UNPROTECTED, self.public_key.fingerprint, payload)

    @classmethod
    def from_bytes_unprotected(cls, data: wire.Bytes, *, allow_insecure: bool = False) -> SecretKey:
        """Inverse of `to_bytes_unprotected`. Raises SerializationError, and what the constructors raise.

        The length of the exponents is the owner's own choice, so that short ones are read without being asked about.
        """
        frame = wire.read_frame(data, wire.Kind.SECRET_KEY_UNPROTECTED)
        reader = wire.PayloadReader(frame.payload)
        public_key = PublicKey.from_bytes(
            reader.block(reader.u32()), allow_insecure=allow_insecure, allow_short_randomness=True
        )
        p, q = reader.integer(_MAX_INTEGER_BYTES), reader.integer(_MAX_INTEGER_BYTES)
        reader.finish()
        if frame.fingerprint != public_key.fingerprint:
            raise SerializationError("cannot read the secret key: its fingerprint is not that of its public key")
        return cls(public_key, p, q)

    @classmethod
    def from_jwk_unprotected(cls, text: str | bytes, *, allow_insecure: bool = False) -> SecretKey:
        """Read a private JWK, `pheutil`'s own included. Raises SerializationError, and what the constructors raise."""
        n, h, p, q = jwk.read_secret_unprotected(text)
        return cls(PublicKey(n, h, allow_insecure=allow_insecure), p, q)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretKey):
            return NotImplemented
        return self.public_key == other.public_key  # the factors of n are unique, and sorted

    def __hash__(self) -> int:
        return hash((SecretKey, self.public_key))

    def __repr__(self) -> str:
        return f"<SecretKey {self.public_key.key_bits} bits, of public key {self.public_key.fingerprint}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise OperandTypeError("a secret key is never pickled or copied; hecore.keystore saves it encrypted")
