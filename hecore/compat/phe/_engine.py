"""The two expensive steps, a fresh obfuscator and a decryption, on integers or on the current backend.

The first `WARM_UP` calls of a key run on integers: a script that encrypts one number should not wait for kernels and
tables. So do keys below `BACKEND_BITS`, where a batch of one costs more to send than to compute. Secret exponents
take GMP's constant-time power on integers, and the backends' constant-time operations; keys below 1024 bits, which
have no security to lose, the ordinary power. On integers the rest is GMP's ordinary arithmetic, the divisions by p^2, p
and q of a decryption included: the primes and the plaintext may show in the time.
"""

from __future__ import annotations

import math
import secrets
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import CrtModulus
from hecore.backends import registry
from hecore.compat.phe._integers import gcd, mpz, powmod, powmod_secret
from hecore.errors import CiphertextError
from hecore.paillier.keys import PublicKey
from hecore.paillier.obfuscation import SMALL_TABLE_BYTES
from hecore.paillier.params import MAX_KEY_BITS, security_bits

if TYPE_CHECKING:
    from hecore.backends.protocol import FixedBaseTable, IntegerBackend

BACKEND_BITS = 1024
WARM_UP = 8
_TOY_MODULUS_BITS = 256


class Obfuscators:
    """Fresh obfuscators for one modulus n, one a call.

    With h, which only the maker of n = p*q for Blum primes can give: hs**r (Damgard, Jurik and Nielsen 2010, section
    4.2). Without, and for small keys: r**n for a uniform r (Paillier 1999).
    """

    def __init__(self, n: int, h: int | None) -> None:
        self._h = h
        self._n = mpz(n)
        self._n_minus_1 = n - 1
        self._n_squared = mpz(n * n)
        self._is_toy = n.bit_length() < _TOY_MODULUS_BITS
        self._on_backend = h is not None and BACKEND_BITS <= n.bit_length() <= MAX_KEY_BITS
        self._calls = 0
        self._tables: dict[IntegerBackend, FixedBaseTable] = {}

    @classmethod
    def of(cls, n: int, h: int | None) -> Obfuscators:
        """The one instance for a key: its copies (unpickled ones, say) share the table that one of them built."""
        return _living.setdefault((n, h), cls(n, h))

    @cached_property
    def _scheme_key(self) -> PublicKey:
        """The same key in hecore.paillier, which checks h and derives hs."""
        return PublicKey.insecure(int(self._n), self._h)

    def __call__(self) -> Any:
        """One obfuscator modulo n^2, an mpz."""
        if self._on_backend:
            self._calls += 1
            if self._calls > WARM_UP:
                backend = registry.current()
                exponent = backend.random_exponents((1,), self._scheme_key.randomness_bits)
                power = backend.fixed_base_exp(self._table(backend), exponent)
                return mpz(ints_from_limbs(backend.download(power))[0])
        return powmod(self._unit(), self._n, self._n_squared)

    def _table(self, backend: IntegerBackend) -> FixedBaseTable:
        """Powers of hs, in a small table: for one value at a time, reading a larger one costs more than it saves."""
        table = self._tables.get(backend)
        if table is None:
            key = self._scheme_key
            assert key.hs is not None
            table = backend.fixed_base_table(
                key.hs, key.n_squared, key.randomness_bits, memory_budget=SMALL_TABLE_BYTES
            )
            self._tables[backend] = table
        return table

    def _unit(self) -> Any:
        """A uniform unit modulo n. Only a toy modulus is small enough for a draw to hit one of its factors."""
        while True:
            r = 1 + secrets.randbelow(self._n_minus_1)
            if not self._is_toy or gcd(r, self._n) == 1:
                return r


_living: WeakValueDictionary[tuple[int, int | None], Obfuscators] = WeakValueDictionary()


class Decryptor:
    """Ciphertexts to integers in [0, n), by CRT (Paillier 1999, section 7).

    Which is faster for one value, GMP or the backend, depends on the machine (AVX-512 or not), so that the first calls
    on either are timed. The exponentiation is constant time on both; the reductions and the CRT around it are on the
    backend alone (see above).
    """

    def __init__(self, p: int, q: int) -> None:
        self.crt = CrtModulus(p, q)
        self._n = mpz(p * q)
        self._p_inverse = mpz(self.crt.p_inverse)
        self._halves = tuple(
            (mpz(prime), mpz(prime - 1), mpz(prime * prime), mpz(h))
            for prime, h in ((p, self.crt.h_p), (q, self.crt.h_q))
        )
        self._power = powmod_secret if security_bits(self._n.bit_length()) else powmod
        self._may_use_backend = BACKEND_BITS <= self._n.bit_length() <= MAX_KEY_BITS
        self._calls: dict[IntegerBackend | None, int] = {}  # None: integers
        self._seconds: dict[IntegerBackend | None, float] = {}

    def __call__(self, ciphertext: Any) -> int:
        """The message of a ciphertext, any integer. Raises CiphertextError for one that is no unit modulo n."""
        if gcd(ciphertext, self._n) != 1:
            raise CiphertextError("cannot decrypt: the ciphertext shares a factor with n, no encryption does")
        if not self._may_use_backend:
            return self._on_integers(ciphertext)
        if self._calls.get(None, 0) < WARM_UP:
            return self._timed(ciphertext, None)
        backend = registry.current()
        if self._calls.get(backend, 0) < WARM_UP:
            return self._timed(ciphertext, backend)
        if self._seconds.get(backend, 0.0) <= self._seconds.get(None, math.inf):
            return self._on(backend, ciphertext)
        return self._on_integers(ciphertext)

    def _timed(self, ciphertext: Any, backend: IntegerBackend | None) -> int:
        start = time.perf_counter()
        message = self._on_integers(ciphertext) if backend is None else self._on(backend, ciphertext)
        seconds = time.perf_counter() - start
        self._calls[backend] = self._calls.get(backend, 0) + 1
        self._seconds[backend] = min(seconds, self._seconds.get(backend, math.inf))
        return message

    def _on(self, backend: IntegerBackend, ciphertext: Any) -> int:
        modulus = self.crt.n_squared
        residues = backend.upload(limbs_from_ints([ciphertext % modulus.value], modulus.limbs), modulus)
        return ints_from_limbs(backend.decrypt(residues, self.crt))[0]

    def _on_integers(self, ciphertext: Any) -> int:
        ciphertext = mpz(ciphertext)
        (p, p_minus_1, p_squared, h_p), (q, q_minus_1, q_squared, h_q) = self._halves
        m_p = (self._power(ciphertext % p_squared, p_minus_1, p_squared) - 1) // p * h_p % p
        m_q = (self._power(ciphertext % q_squared, q_minus_1, q_squared) - 1) // q * h_q % q
        return int(m_p + (m_q - m_p) * self._p_inverse % q * p)
