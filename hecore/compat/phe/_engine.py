"""The two expensive steps, a fresh obfuscator and a decryption, on integers or on the current backend.

Up to `WARM_UP` calls of a key run on integers: a script that encrypts one number should not wait for kernels and
tables. So do keys below `BACKEND_BITS`, where a batch of one costs more to send than to compute. Secret exponents
take GMP's constant-time power on integers, and the backends' constant-time operations. The plaintext's size, like all
scalar arithmetic here, may show in the time; `hecore.paillier` encodes in constant time.
"""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import CrtModulus
from hecore.backends import registry
from hecore.compat.phe._integers import gcd, mpz, powmod, powmod_secret
from hecore.errors import CiphertextError
from hecore.paillier.keys import PublicKey
from hecore.paillier.obfuscation import public_obfuscators
from hecore.paillier.params import MAX_KEY_BITS

BACKEND_BITS = 1024
WARM_UP = 4
_TOY_MODULUS_BITS = 256


class Obfuscators:
    """Fresh obfuscators for one modulus n, one a call.

    With h, which only the maker of n = p*q for Blum primes can give: hs**r (Damgard, Jurik and Nielsen 2010, section
    4.2). Without, and for small keys: r**n for a uniform r (Paillier 1999).
    """

    def __init__(self, n: int, h: int | None) -> None:
        self._h = h
        self._n = mpz(n)
        self._n_squared = mpz(n * n)
        self._on_backend = h is not None and BACKEND_BITS <= n.bit_length() <= MAX_KEY_BITS
        self._calls = 0

    @classmethod
    def of(cls, n: int, h: int | None) -> Obfuscators:
        """The one instance for a key: its copies (unpickled ones, say) share the table that one of them built."""
        return _living.setdefault((n, h), cls(n, h))

    @cached_property
    def _scheme_key(self) -> PublicKey:
        """The same key in hecore.paillier, which keeps the table of powers."""
        return PublicKey.insecure(int(self._n), self._h)

    def __call__(self) -> Any:
        """One obfuscator modulo n^2, an mpz."""
        if self._on_backend:
            self._calls += 1
            if self._calls > WARM_UP:
                backend = registry.current()
                return mpz(ints_from_limbs(backend.download(public_obfuscators(self._scheme_key, 1, backend)))[0])
        return powmod(self._unit(), self._n, self._n_squared)

    def _unit(self) -> Any:
        """A uniform unit modulo n. Only a toy modulus is small enough for a draw to hit one of its factors."""
        while True:
            r = mpz(1 + secrets.randbelow(int(self._n) - 1))
            if self._n.bit_length() >= _TOY_MODULUS_BITS or gcd(r, self._n) == 1:
                return r


_living: WeakValueDictionary[tuple[int, int | None], Obfuscators] = WeakValueDictionary()


class Decryptor:
    """Ciphertexts to integers in [0, n), by CRT (Paillier 1999, section 7)."""

    def __init__(self, p: int, q: int) -> None:
        self.crt = CrtModulus(p, q)
        self._n = mpz(p * q)
        self._halves = tuple(
            (mpz(prime), mpz(prime - 1), mpz(prime * prime), mpz(h))
            for prime, h in ((p, self.crt.h_p), (q, self.crt.h_q))
        )
        self._on_backend = BACKEND_BITS <= self._n.bit_length() <= MAX_KEY_BITS
        self._calls = 0

    def __call__(self, ciphertext: Any) -> int:
        """The message of a ciphertext, any integer. Raises CiphertextError for one that is no unit modulo n."""
        if gcd(ciphertext, self._n) != 1:
            raise CiphertextError("cannot decrypt: the ciphertext shares a factor with n, no encryption does")
        if self._on_backend:
            self._calls += 1
            if self._calls > WARM_UP:
                modulus = self.crt.n_squared
                backend = registry.current()
                residues = backend.upload(limbs_from_ints([ciphertext % modulus.value], modulus.limbs), modulus)
                return ints_from_limbs(backend.decrypt(residues, self.crt))[0]
        ciphertext = mpz(ciphertext)
        m_p, m_q = (
            (powmod_secret(ciphertext % square, exponent, square) - 1) // prime * h % prime
            for prime, exponent, square, h in self._halves
        )
        p, q = self._halves[0][0], self._halves[1][0]
        return int(m_p + (m_q - m_p) * self.crt.p_inverse % q * p)
