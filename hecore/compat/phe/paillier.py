"""Keys and encrypted numbers with the peer's API: what `from phe import paillier` gives.

Scalar by scalar, and as permissive as the peer: any key size, unrandomised ciphertexts by `raw_encrypt`, products that
may overflow unseen. `hecore.paillier` offers arrays, tracked headroom and a security floor instead. Scalar arithmetic
is variable time; docs/compat-phe.md lists what differs from the peer.
"""

from __future__ import annotations

import operator
import secrets
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from hecore.compat.phe._engine import Decryptor, Obfuscators
from hecore.compat.phe._errors import CiphertextProductError, InsecureWarning, warn_if_small
from hecore.compat.phe._integers import invert_modulo_square, mpz
from hecore.compat.phe._integers import powmod as _powmod
from hecore.compat.phe._keygen import check_factors, random_generator, random_primes
from hecore.compat.phe.encoding import EncodedNumber, base_power, plain_number
from hecore.compat.phe.util import getprimeover, invert, isqrt, mulmod, powmod
from hecore.errors import (
    CiphertextError,
    KeyMismatchError,
    MalformedKeyError,
    OperandTypeError,
    PlaintextRangeError,
)
from hecore.paillier.params import MIN_MODULUS, SECURITY_FLOOR_BITS

__all__ = [
    "DEFAULT_KEYSIZE",
    "EncodedNumber",
    "EncryptedNumber",
    "PaillierPrivateKey",
    "PaillierPrivateKeyring",
    "PaillierPublicKey",
    "generate_paillier_keypair",
    "getprimeover",
    "invert",
    "isqrt",
    "mulmod",
    "powmod",
]

DEFAULT_KEYSIZE = 3072
_FLOOR = 1 << (SECURITY_FLOOR_BITS - 1)


def generate_paillier_keypair(
    private_keyring: PaillierPrivateKeyring | None = None, n_length: int = DEFAULT_KEYSIZE
) -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    """A fresh key pair with n of exactly `n_length` >= 6 bits; the private key also joins `private_keyring`, if given.

    Even sizes from 16 bits up give Blum primes, and a public key that encrypts by powers of one base. Below 2048 bits
    an InsecureWarning says so. Raises OperandTypeError, ParameterError. Variable time.
    """
    n_length = _integer("n_length", n_length)
    p, q = random_primes(n_length)
    warn_if_small(n_length, stacklevel=2)
    public_key = PaillierPublicKey._from_parts(p * q, random_generator(p * q) if p % 4 == q % 4 == 3 else None)
    private_key = PaillierPrivateKey._from_primes(public_key, p, q)
    if private_keyring is not None:
        private_keyring.add(private_key)
    return public_key, private_key


class PaillierPublicKey:
    """n, with g = n+1, nsquare = n**2 and max_int = n//3 - 1, the largest integer that `EncodedNumber` holds.

    Equal and hashed by n. An imported n, of unknown shape, encrypts by the textbook; a key that
    `generate_paillier_keypair` made also has what fast encryption needs, and keeps it through pickle.

    Raises OperandTypeError for an n that is no integer, MalformedKeyError for one that is even or below 15;
    InsecureWarning below 2048 bits. Whether n is a product of two primes cannot be told from n, and is not checked.
    """

    _h: int | None = None  # class-level, so that a key restored from the peer's own pickle has it, too

    def __init__(self, n: int) -> None:
        self._set(_integer("n", n))
        if n < _FLOOR:
            warn_if_small(self.n.bit_length(), stacklevel=2)

    def _set(self, n: int) -> None:
        if n < MIN_MODULUS or not n & 1:
            raise MalformedKeyError(f"cannot use a modulus that is even or below {MIN_MODULUS}")
        self.g = n + 1
        self.n = n
        self.nsquare = n * n
        self.max_int = n // 3 - 1

    @classmethod
    def _from_parts(cls, n: int, h: int | None) -> PaillierPublicKey:
        """Without the warning: for keys that are no news to the caller."""
        key = cls.__new__(cls)
        key._set(n)
        if h is not None:
            key._h = h
        return key

    @cached_property
    def _n(self) -> Any:
        return mpz(self.n)

    @cached_property
    def _n_squared(self) -> Any:
        return mpz(self.nsquare)

    @cached_property
    def _obfuscator(self) -> Obfuscators:
        return Obfuscators.of(self.n, self._h)

    def get_random_lt_n(self) -> int:
        """Uniform in [1, n), from the operating system's CSPRNG."""
        return 1 + secrets.randbelow(self.n - 1)

    def raw_encrypt(self, plaintext: int, r_value: int | None = None) -> int:
        """(1 + plaintext*n) * r_value**n mod n^2, for any integer (n encrypts 0, n+1 encrypts 1).

        r_value None or 0 draws fresh randomness. A given r_value is not secret: whoever knows it can decrypt.
        Raises OperandTypeError.
        """
        message = _integer("plaintext", plaintext)
        if not r_value:
            obfuscator = self._obfuscator()
        else:
            r_value = _integer("r_value", r_value)
            obfuscator = mpz(1) if r_value == 1 else _powmod(r_value, self._n, self._n_squared)
        return int(_times_message(obfuscator, message, self._n, self._n_squared))

    def encrypt(self, value: Any, precision: float | None = None, r_value: int | None = None) -> EncryptedNumber:
        """Encrypt an int, a float or an `EncodedNumber`; `EncodedNumber.encode` states types, ranges and errors.

        `precision` sets the exponent of a number that is not yet encoded. With an `r_value`, the result is
        reproducible and counts as not obfuscated.
        """
        encoding = value if isinstance(value, EncodedNumber) else EncodedNumber.encode(self, value, precision)
        return self.encrypt_encoded(encoding, r_value)

    def encrypt_encoded(self, encoding: EncodedNumber, r_value: int | None) -> EncryptedNumber:
        """Encrypt an `EncodedNumber` of this key. Raises KeyMismatchError for one of another key."""
        if not isinstance(encoding, EncodedNumber):
            raise OperandTypeError(f"cannot encrypt a {type(encoding).__name__}: an EncodedNumber is needed")
        if encoding.public_key is not self and encoding.public_key != self:
            raise KeyMismatchError("cannot encrypt: the number was encoded for a different key")
        if r_value is None:
            ciphertext = _times_message(self._obfuscator(), encoding.encoding, self._n, self._n_squared)
        else:
            ciphertext = self.raw_encrypt(encoding.encoding, r_value or 1)
        return EncryptedNumber._of(self, ciphertext, encoding.exponent, r_value is None)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self.n == other.n if isinstance(other, PaillierPublicKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.n)

    def __repr__(self) -> str:
        return f"<PaillierPublicKey {hash(self):x}"[:29] + ">"

    def __reduce__(self) -> tuple[object, ...]:
        return PaillierPublicKey._from_parts, (self.n, self._h)


class PaillierPrivateKey:
    """The factors p < q of n, and what the peer derives of them: psquare, qsquare, p_inverse, hp, hq.

    Raises KeyMismatchError where p*q is not the public key's n, MalformedKeyError where p and q are equal or not odd
    primes, OperandTypeError. Prints no number. Equal and hashed by (p, q). Pickle writes it in the clear, with an
    InsecureWarning; `hecore.keystore` keeps keys safely.
    """

    def __init__(self, public_key: PaillierPublicKey, p: int, q: int) -> None:
        if not isinstance(public_key, PaillierPublicKey):
            raise OperandTypeError(
                f"cannot build a private key on a {type(public_key).__name__}: a PaillierPublicKey is needed"
            )
        p, q = _integer("p", p), _integer("q", q)
        if p * q != public_key.n:
            raise KeyMismatchError("cannot build the private key: p and q do not match the public key")
        check_factors(p, q)
        self._set(public_key, p, q)

    def _set(self, public_key: PaillierPublicKey, p: int, q: int) -> None:
        self.public_key = public_key
        self.p, self.q = (p, q) if p < q else (q, p)
        self.psquare = self.p * self.p
        self.qsquare = self.q * self.q
        self._decryptor = Decryptor(self.p, self.q)
        crt = self._decryptor.crt
        self.p_inverse, self.hp, self.hq = crt.p_inverse, crt.h_p, crt.h_q

    @classmethod
    def _from_primes(cls, public_key: PaillierPublicKey, p: int, q: int) -> PaillierPrivateKey:
        """Without the checks: for primes that were just made."""
        key = cls.__new__(cls)
        key._set(public_key, p, q)
        return key

    @staticmethod
    def from_totient(public_key: PaillierPublicKey, totient: int) -> PaillierPrivateKey:
        """The private key from (p-1)*(q-1). Raises KeyMismatchError where that does not fit n."""
        # p + q = n + 1 - totient, and (q - p)**2 = (p + q)**2 - 4*n.
        total = public_key.n + 1 - _integer("totient", totient)
        square = total * total - 4 * public_key.n
        difference = isqrt(square) if square >= 0 else 0
        p = (total - difference) // 2
        if p < 3 or p * (total - p) != public_key.n:
            raise KeyMismatchError("cannot build the private key: the totient does not match the public key")
        return PaillierPrivateKey(public_key, p, total - p)

    def decrypt(self, encrypted_number: EncryptedNumber) -> int | float:
        """The int or float in an `EncryptedNumber`, encoded by the default `EncodedNumber`.

        Raises OperandTypeError, KeyMismatchError, CiphertextError for a number that is no encryption, and what
        `EncodedNumber.decode` raises.
        """
        encoded: EncodedNumber = self.decrypt_encoded(encrypted_number)
        return encoded.decode()

    def decrypt_encoded(self, encrypted_number: EncryptedNumber, Encoding: Any = None) -> Any:
        """The `EncodedNumber` in an `EncryptedNumber`, or the instance of the subclass `Encoding` that made it."""
        if not isinstance(encrypted_number, EncryptedNumber):
            raise OperandTypeError(f"cannot decrypt a {type(encrypted_number).__name__}: an EncryptedNumber is needed")
        if self.public_key != encrypted_number.public_key:
            raise KeyMismatchError("cannot decrypt: the number was encrypted with a different key")
        message = self._decryptor(encrypted_number.ciphertext(be_secure=False))
        return (EncodedNumber if Encoding is None else Encoding)(self.public_key, message, encrypted_number.exponent)

    def raw_decrypt(self, ciphertext: int) -> int:
        """The integer in [0, n) in a raw ciphertext. Raises OperandTypeError, CiphertextError."""
        return self._decryptor(_integer("ciphertext", ciphertext))

    def h_function(self, x: int, xsquare: int) -> int:
        """L(g**(x-1) mod x^2)**-1 mod x, for x = p or q (Paillier 1999, section 7)."""
        return invert(self.l_function(powmod(self.public_key.g, x - 1, xsquare), x), x)

    def l_function(self, x: int, p: int) -> int:
        """L(x) = (x - 1)/p."""
        return (x - 1) // p

    def crt(self, mp: int, mq: int) -> int:
        """The integer in [0, n) that is mp modulo p and mq modulo q, for mp in [0, p)."""
        return mp + (mq - mp) * self.p_inverse % self.q * self.p

    def __eq__(self, other: object) -> bool:
        return (self.p, self.q) == (other.p, other.q) if isinstance(other, PaillierPrivateKey) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.p, self.q))

    def __repr__(self) -> str:
        return f"<PaillierPrivateKey for {self.public_key!r}>"

    def __copy__(self) -> PaillierPrivateKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PaillierPrivateKey:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        warnings.warn("a private key is being pickled in the clear", InsecureWarning, stacklevel=2)
        return PaillierPrivateKey._from_primes, (self.public_key, self.p, self.q)


class PaillierPrivateKeyring(Mapping[PaillierPublicKey, PaillierPrivateKey]):
    """Private keys by their public keys, which decrypts with whichever fits."""

    def __init__(self, private_keys: Iterable[PaillierPrivateKey] | None = None) -> None:
        self.__keyring: dict[PaillierPublicKey, PaillierPrivateKey] = {}
        for private_key in private_keys or ():
            self.add(private_key)

    def __getitem__(self, key: PaillierPublicKey) -> PaillierPrivateKey:
        return self.__keyring[key]

    def __len__(self) -> int:
        return len(self.__keyring)

    def __iter__(self) -> Iterator[PaillierPublicKey]:
        return iter(self.__keyring)

    def __delitem__(self, public_key: PaillierPublicKey) -> None:
        del self.__keyring[public_key]

    def add(self, private_key: PaillierPrivateKey) -> None:
        """Add a key, or replace an equal one. Raises OperandTypeError."""
        if not isinstance(private_key, PaillierPrivateKey):
            raise OperandTypeError(
                f"cannot add a {type(private_key).__name__} to the keyring: a PaillierPrivateKey is needed"
            )
        self.__keyring[private_key.public_key] = private_key

    def decrypt(self, encrypted_number: EncryptedNumber) -> int | float:
        """As `PaillierPrivateKey.decrypt`. Raises KeyError where the ring does not hold the key."""
        if not isinstance(encrypted_number, EncryptedNumber):
            raise OperandTypeError(f"cannot decrypt a {type(encrypted_number).__name__}: an EncryptedNumber is needed")
        return self[encrypted_number.public_key].decrypt(encrypted_number)


class EncryptedNumber:
    """A ciphertext with its public key and its public exponent: what `PaillierPublicKey.encrypt` returns.

    Made by hand only to read a number that somebody else wrote: `ciphertext` in (0, n^2). Raises OperandTypeError,
    CiphertextError. Results of arithmetic are not obfuscated; `ciphertext()` does that once, when the number leaves,
    and so does pickle. A sum may overflow into the band that `decode` refuses, a product wrap around it unseen.
    """

    def __init__(self, public_key: PaillierPublicKey, ciphertext: int, exponent: int = 0) -> None:
        if not isinstance(public_key, PaillierPublicKey):
            raise OperandTypeError(f"cannot use a {type(public_key).__name__} as key: a PaillierPublicKey is needed")
        if type(ciphertext) is not int:
            ciphertext = _integer("ciphertext", ciphertext)
        if not 0 < ciphertext < public_key.nsquare:
            raise CiphertextError("cannot use a ciphertext outside (0, n^2)")
        self.public_key = public_key
        self.__ciphertext = ciphertext
        self.exponent = exponent if type(exponent) is int else _integer("exponent", exponent)
        self.__is_obfuscated = False

    @classmethod
    def _of(cls, public_key: PaillierPublicKey, ciphertext: Any, exponent: int, obfuscated: bool) -> EncryptedNumber:
        """Without the checks: for results of our own, which stay GMP integers until somebody looks at them."""
        number = cls.__new__(cls)
        number.public_key = public_key
        number.__ciphertext = ciphertext
        number.exponent = exponent
        number.__is_obfuscated = obfuscated
        return number

    def ciphertext(self, be_secure: bool = True) -> int:
        """The ciphertext, obfuscated first where that was not done since the last arithmetic.

        With be_secure=False it is left as it is: it may tell what scalars it was computed with, so keep it local.
        """
        if be_secure and not self.__is_obfuscated:
            self.obfuscate()
        ciphertext = self.__ciphertext
        if type(ciphertext) is int:
            return ciphertext
        self.__ciphertext = value = int(ciphertext)
        return value

    def obfuscate(self) -> None:
        """Multiply, in place, by a fresh encryption of zero: unlinkable to what it was computed from."""
        key = self.public_key
        self.__ciphertext = key._obfuscator() * self.__ciphertext % key._n_squared
        self.__is_obfuscated = True

    def decrease_exponent_to(self, new_exp: int) -> EncryptedNumber:
        """The same number at a lower exponent: a new object, not obfuscated.

        Raises ParameterError where `new_exp` is above the present one, PlaintextRangeError where the factor alone
        exceeds the key. Whether the number itself still fits cannot be seen.
        """
        key = self.public_key
        factor = base_power(EncodedNumber.BASE, self.exponent, new_exp)
        if factor > key.max_int:
            raise PlaintextRangeError(f"cannot lower exponent {self.exponent} to {new_exp}: the key is too small")
        ciphertext = self.__ciphertext if factor == 1 else _powmod(self.__ciphertext, factor, key._n_squared)
        return EncryptedNumber._of(key, ciphertext, operator.index(new_exp), False)

    # -- arithmetic: NotImplemented lets an ndarray on the other side take its elements one by one -----------------

    def __add__(self, other: Any) -> EncryptedNumber:
        """Add an EncryptedNumber, an EncodedNumber or a plain number. Raises KeyMismatchError, PlaintextRangeError."""
        if isinstance(other, EncryptedNumber):
            return self.__combine(other, subtract=False)
        plain = self.__plain(other, self.exponent)
        return NotImplemented if plain is None else self.__add_plain(*plain)

    __radd__ = __add__

    def __sub__(self, other: Any) -> EncryptedNumber:
        if isinstance(other, EncryptedNumber):
            return self.__combine(other, subtract=True)
        plain = self.__plain(other, self.exponent)
        return NotImplemented if plain is None else self.__add_plain(-plain[0], plain[1])

    def __rsub__(self, other: Any) -> EncryptedNumber:
        plain = self.__plain(other, self.exponent)
        return NotImplemented if plain is None else (self * -1).__add_plain(*plain)

    def __mul__(self, other: Any) -> EncryptedNumber:
        """Multiply by a plain number or an EncodedNumber; exponents add up, and so do the bits inside.

        Raises CiphertextProductError (a TypeError and a NotImplementedError) for another ciphertext.
        """
        if isinstance(other, EncryptedNumber):
            raise CiphertextProductError(
                "cannot multiply two encrypted numbers: Paillier adds, and scales by plain ones"
            )
        plain = self.__plain(other, None)
        if plain is None:
            return NotImplemented
        return EncryptedNumber._of(self.public_key, self.__power(plain[0]), self.exponent + plain[1], False)

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> EncryptedNumber:
        """Multiply by 1/scalar, as a float. Raises ZeroDivisionError."""
        value = plain_number(scalar)
        return NotImplemented if value is None else self * (1 / value)

    def __plain(self, other: Any, max_exponent: int | None) -> tuple[int, int] | None:
        """(int_rep, exponent) of a plain or encoded operand; None where its type is neither."""
        if isinstance(other, EncodedNumber):
            if other.public_key is not self.public_key and other.public_key != self.public_key:
                raise KeyMismatchError("cannot combine: the plain number was encoded for a different key")
            encoding, key = other.encoding, self.public_key
            return (encoding - key.n if encoding >= key.n - key.max_int else encoding), other.exponent
        value = plain_number(other)
        return None if value is None else EncodedNumber.represent(self.public_key, value, None, max_exponent)

    def __combine(self, other: EncryptedNumber, *, subtract: bool) -> EncryptedNumber:
        key = self.public_key
        if other.public_key is not key and other.public_key != key:
            raise KeyMismatchError("cannot combine numbers encrypted with different keys")
        if self.exponent > other.exponent:
            self = self.decrease_exponent_to(other.exponent)
        elif self.exponent < other.exponent:
            other = other.decrease_exponent_to(self.exponent)
        factor = invert_modulo_square(other.__ciphertext, key._n, key._n_squared) if subtract else other.__ciphertext
        return EncryptedNumber._of(key, mpz(self.__ciphertext) * factor % key._n_squared, self.exponent, False)

    def __add_plain(self, int_rep: int, exponent: int) -> EncryptedNumber:
        key = self.public_key
        if self.exponent > exponent:
            self = self.decrease_exponent_to(exponent)
        elif self.exponent < exponent:
            int_rep *= base_power(EncodedNumber.BASE, exponent, self.exponent)
        ciphertext = _times_message(mpz(self.__ciphertext), int_rep, key._n, key._n_squared)
        return EncryptedNumber._of(key, ciphertext, self.exponent, False)

    def __power(self, int_rep: int) -> Any:
        key = self.public_key
        if int_rep >= 0:
            return _powmod(self.__ciphertext, int_rep, key._n_squared)
        inverse = invert_modulo_square(mpz(self.__ciphertext), key._n, key._n_squared)
        return _powmod(inverse, -int_rep, key._n_squared)

    def _raw_add(self, e_a: int, e_b: int) -> int:
        """The ciphertext of the sum of two raw ciphertexts."""
        return int(mpz(e_a) * e_b % self.public_key._n_squared)

    def _raw_mul(self, plaintext: int) -> int:
        """The raw ciphertext times a plaintext in [0, n). Raises OperandTypeError, PlaintextRangeError."""
        plaintext, key = _integer("plaintext", plaintext), self.public_key
        if not 0 <= plaintext < key.n:
            raise PlaintextRangeError("cannot multiply by a raw plaintext outside [0, n)")
        return int(self.__power(plaintext - key.n if plaintext >= key.n - key.max_int else plaintext))

    # -- copies ----------------------------------------------------------------------------------------------------

    def __copy__(self) -> EncryptedNumber:
        return EncryptedNumber._of(self.public_key, self.__ciphertext, self.exponent, self.__is_obfuscated)

    def __deepcopy__(self, memo: dict[int, Any]) -> EncryptedNumber:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        """What pickle writes: obfuscated, because it may be on its way to somebody else."""
        self.ciphertext()
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What unpickling gives, checked as `__init__` does; whether it was obfuscated is not taken on trust."""
        self.__dict__.update(state)  # a subclass may have more of it
        ciphertext: Any = state.get("_EncryptedNumber__ciphertext")
        EncryptedNumber.__init__(self, state.get("public_key"), ciphertext, state.get("exponent"))  # type: ignore[arg-type]  # checked there


def _times_message(ciphertext: Any, message: int, n: Any, n_squared: Any) -> Any:
    """ciphertext * (1 + message*n) mod n^2, for a ciphertext in [0, n^2) and any message.

    The product is ciphertext + n*(ciphertext*message), where only ciphertext*message mod n counts: one product of half
    the size and no division by n^2.
    """
    result = ciphertext + n * (ciphertext * message % n)
    return result - n_squared if result >= n_squared else result


def _integer(name: str, value: Any) -> int:
    """`value` as an int, NumPy's and GMP's integers included. Raises OperandTypeError."""
    if type(value) is int:
        return value
    if isinstance(value, np.ndarray) or not hasattr(value, "__index__"):
        raise OperandTypeError(f"cannot use {name} of type {type(value).__name__}: an int is needed")
    return operator.index(value)
