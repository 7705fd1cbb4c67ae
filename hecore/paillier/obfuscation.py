"""Fresh obfuscators: the random n-th powers modulo n^2 that hide a message, for three kinds of key.

- Public key with h (Damgard, Jurik, Nielsen 2010, section 4.2): hs**r, hs = h**n mod n^2, r of half the key's length.
- Public key without h (an imported modulus of unknown shape): r**n for a uniform unit r (Paillier 1999, scheme 1).
- One's own key: the same distributions by CRT, modulo p^2 and q^2, with full-length exponents.

Every exponent and unit comes from the operating system at the moment of use, or many from a stream under a key that it
gave for them alone (`arith.random`). Nothing random is kept, so there is nothing to drop in a forked child; tables hold
powers of one base and no randomness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import gcd
from hecore.arith.limbs import ints_from_limbs, less_than, limbs_for_bits, limbs_from_ints
from hecore.arith.random import random_limbs
from hecore.backends.protocol import ExponentArray
from hecore.errors import OperandTypeError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.arith.modulus import Modulus
    from hecore.backends.protocol import FixedBaseTable, IntegerBackend, Limbs, ResidueArray
    from hecore.paillier.keys import PublicKey, SecretKey

SMALL_TABLE_BYTES = 1 << 20
SMALL_BATCH = 8
LARGE_TABLE_AFTER = 4096
"""Values after which the backend's own, larger table is built: about as many as save what it costs (2048-bit keys on
the CPU: a fifth of a second, for half of each later value)."""

_TOY_MODULUS_BITS = 256


class FixedBase:
    """base**e on one backend for secret exponents, with a table that grows with demand.

    The first values use a table of about a megabyte (or the least that the backend can do with), so that a single
    encryption does not pay for a large one.
    Two threads may build the same table at once; both are right and one is dropped, so no lock is held that a
    fork could leave locked.
    """

    def __init__(self, base: int, modulus: Modulus, exponent_bits: int, backend: IntegerBackend) -> None:
        self._base = base
        self._modulus = modulus
        self._exponent_bits = exponent_bits
        self._backend = backend
        self._small: FixedBaseTable | None = None
        self._large: FixedBaseTable | None = None
        self._asked = 0

    def power(self, exponents: ExponentArray) -> ResidueArray:
        """base**e, constant time in the exponents; out.shape = exponents.shape."""
        return self._backend.fixed_base_exp(self._table(exponents.shape[0]), exponents)

    def prepare(self) -> None:
        """Build the large table now: for long runs, and to time it apart."""
        if self._large is None:
            self._large = self._build(None)

    def _table(self, count: int) -> FixedBaseTable:
        """A few values at once read less of a small table than of a large one, whatever has been built."""
        self._asked += count
        if self._asked > LARGE_TABLE_AFTER:
            self.prepare()
        if self._large is not None and count > SMALL_BATCH:
            return self._large
        if self._small is None:
            self._small = self._build(SMALL_TABLE_BYTES)
        return self._small

    def _build(self, memory_budget: int | None) -> FixedBaseTable:
        return self._backend.fixed_base_table(
            self._base, self._modulus, self._exponent_bits, memory_budget=memory_budget
        )

    def __reduce__(self) -> str | tuple[object, ...]:
        raise OperandTypeError("a table of powers may belong to a secret key and is never pickled")


def public_obfuscators(public_key: PublicKey, count: int, backend: IntegerBackend) -> ResidueArray:
    """`count` independent obfuscators modulo n^2, shape (count,), from the public key alone."""
    _check_count(count)
    if public_key.h is not None:
        exponents = backend.random_exponents((count,), public_key.randomness_bits)
        return public_key.fixed_base(backend).power(exponents)
    n = public_key.n
    units = backend.upload(_widen(_random_units(count, n), public_key.n_squared.limbs), public_key.n_squared)
    return backend.mod_exp_vartime(units, ExponentArray.shared(n, n.bit_length()))  # vartime in n, which is public


def own_obfuscators(secret_key: SecretKey, count: int, backend: IntegerBackend) -> ResidueArray:
    """`count` independent obfuscators modulo n^2, shape (count,), by way of p^2 and q^2: the key owner's fast form."""
    return backend.lift(*own_halves(secret_key, count, backend), secret_key.crt)


def own_halves(secret_key: SecretKey, count: int, backend: IntegerBackend) -> tuple[ResidueArray, ResidueArray]:
    """`count` independent obfuscators, as residues modulo p^2 and modulo q^2 that `lift` joins.

    With h. p and q = 3 mod 4 with gcd(p-1, q-1) = 2. (Z/p^2)* is cyclic of order p*(p-1); hs is an n-th power and p
    divides n, so the order of hs modulo p^2 divides p-1, and modulo q^2 it divides q-1. Hence hs**r depends only
    on (r mod p-1, r mod q-1). For r uniform modulo lambda = lcm(p-1, q-1) that pair is uniform on the pairs with
    r_p = r_q mod gcd(p-1, q-1) = 2, by the CRT. Drawing r_p and r_q so therefore gives exactly the distribution
    of hs**r with r uniform modulo lambda: uniform on the group that hs generates, what k/2-bit exponents only
    approach under an assumption. Full length and the common parity are both needed. Were r_p a short s-bit
    number independent of r_q, then hs**r_p = obfuscator modulo p but not modulo q, and a search over 2**(s/2)
    giant steps with gcds would factor n from one known plaintext (Coron, Joux, Mandal, Naccache and Tibouchi
    2011). Were the parities independent, half of all obfuscators would have Jacobi symbol -1, which no public
    encryption ever has.

    Without h. r**n modulo p^2 depends only on r mod p: two r that differ by a multiple of p have the same p-th
    power modulo p^2. The p-th powers are the subgroup of order p-1, on which r -> r**q is a bijection, because
    gcd(n, (p-1)(q-1)) = 1. For uniform units r modulo n, r**n is thus uniform and independent in both subgroups,
    and so is (r_p**p mod p^2, r_q**q mod q^2) for uniform units r_p modulo p, r_q modulo q: two exponentiations
    of half the length at half the width. A fixed base would need a generator, hence the factors of p-1.
    """
    _check_count(count)
    crt = secret_key.crt
    if secret_key.public_key.h is None:
        a_p, a_q = (
            backend.mod_exp(
                backend.upload(_widen(_uniform_positive(count, prime), square.limbs), square),
                ExponentArray.shared(prime, prime.bit_length()),
            )
            for prime, square in ((crt.p, crt.p_squared), (crt.q, crt.q_squared))
        )
        return a_p, a_q
    base_p, base_q = secret_key.fixed_bases(backend)
    r_p = uniform_below(count, crt.p - 1)
    r_q = uniform_below(count, crt.q - 1, parity=r_p[:, 0] & np.uint64(1))
    a_p = base_p.power(ExponentArray(r_p, crt.p.bit_length()))
    return a_p, base_q.power(ExponentArray(r_q, crt.q.bit_length()))


def uniform_below(count: int, bound: int, *, parity: NDArray[np.uint64] | None = None) -> Limbs:
    """`count` integers exactly uniform in [0, bound) by rejection: limbs (count, limbs of bound), bound >= 2.

    With `parity` (count,) of zeros and ones they are uniform among those of that parity; the bound is then even.
    At least half of all candidates pass, so ten thousand values cost a few milliseconds beside the bytes
    themselves. Only the rejected candidates decide what an observer sees, and they are not used.
    """
    # bit_length of the bound, not of bound-1: the limb count then is that of the prime next to it.
    bits = bound.bit_length()
    out = random_limbs(count, bits)
    if parity is not None:
        out[:, 0] = (out[:, 0] & ~np.uint64(1)) | parity
    pending = np.flatnonzero(~less_than(out, bound))
    while pending.size:
        again = random_limbs(pending.size, bits)
        if parity is not None:
            again[:, 0] = (again[:, 0] & ~np.uint64(1)) | parity[pending]
        out[pending] = again
        pending = pending[~less_than(again, bound)]
    return out


def _uniform_positive(count: int, bound: int) -> Limbs:
    """Uniform in [1, bound), by rejection of zero: for a prime bound, its uniform units."""
    out = uniform_below(count, bound)
    while not (nonzero := out.any(axis=-1)).all():
        out[~nonzero] = uniform_below(int((~nonzero).sum()), bound)
    return out


def _random_units(count: int, n: int) -> Limbs:
    """Uniform units modulo n.

    A draw from [1, n) that is no unit would factor n, so for real keys it does not happen and is not looked for
    (a gcd of a secret in variable time would cost more than it gives). Toy moduli are small enough to meet one.
    """
    if n.bit_length() >= _TOY_MODULUS_BITS:
        return _uniform_positive(count, n)
    units: list[int] = []
    while len(units) < count:
        units += [r for r in ints_from_limbs(_uniform_positive(count - len(units), n)) if gcd(r, n) == 1]
    return limbs_from_ints(units, limbs_for_bits(n.bit_length()))


def _widen(limbs: Limbs, count: int) -> Limbs:
    """The same integers in `count` limbs, which are at least as many."""
    out = np.zeros((limbs.shape[0], count), dtype=np.uint64)
    out[:, : limbs.shape[1]] = limbs
    return out


def _check_count(count: int) -> None:
    if count < 0:
        raise ParameterError(f"cannot draw {count} obfuscators: the count must be at least 0")
