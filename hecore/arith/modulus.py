"""Moduli as frozen values, with the constants that every backend derives from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from hecore.arith.integers import gcd, invert
from hecore.arith.limbs import limbs_for_bits
from hecore.errors import ParameterError

REDUNDANCY_BITS = 128


@dataclass(frozen=True, repr=False)
class Modulus:
    """An odd modulus >= 3. `square_of` is its root where it is known to be a square: n for n^2.

    Equality and hash are by value and root. The repr shows the size alone: p^2 is a secret.
    """

    value: int
    square_of: Modulus | None = None

    def __post_init__(self) -> None:
        if self.value < 3 or self.value % 2 == 0:
            raise ParameterError("cannot use a modulus that is even or below 3")
        if self.square_of is not None and self.square_of.value**2 != self.value:
            raise ParameterError("cannot build the square of a modulus: value is not square_of.value**2")

    @classmethod
    def square(cls, root: int) -> Modulus:
        """root**2, which knows its root."""
        return cls(root * root, cls(root))

    @cached_property
    def _hash(self) -> int:
        return hash((self.value, self.square_of))

    def __hash__(self) -> int:
        return self._hash  # moduli key every cache; hashing thousands of bits each time would show

    @cached_property
    def bits(self) -> int:
        return self.value.bit_length()

    @cached_property
    def limbs(self) -> int:
        """uint64 limbs of the canonical host form."""
        return limbs_for_bits(self.bits)

    def __reduce__(self) -> tuple[type[Modulus], tuple[int, Modulus | None]]:
        return Modulus, (self.value, self.square_of)  # without what backends keep beside the fields

    def __repr__(self) -> str:
        kind = "square, " if self.square_of is not None else ""
        return f"<Modulus {kind}{self.bits} bits>"


@dataclass(frozen=True, repr=False, eq=False)
class CrtModulus:
    """n = p*q with its factors: what decryption and own-key encryption need. All of it is secret but n.

    p and q are distinct odd coprime integers (primes, for Paillier). h_p = (-q)**-1 mod p is
    L_p((1+n)**(p-1) mod p^2)**-1 mod p, because (1+n)**(p-1) = 1 + (p-1)*n mod p^2; h_q likewise
    (Paillier 1999, section 7).
    """

    p: int = field()
    q: int = field()

    def __post_init__(self) -> None:
        if self.p == self.q or gcd(self.p, self.q) != 1:
            raise ParameterError("cannot build a CRT modulus: the factors are not coprime")

    @cached_property
    def n(self) -> Modulus:
        return Modulus(self.p * self.q)

    @cached_property
    def n_squared(self) -> Modulus:
        return Modulus.square(self.p * self.q)

    @cached_property
    def p_squared(self) -> Modulus:
        return Modulus.square(self.p)

    @cached_property
    def q_squared(self) -> Modulus:
        return Modulus.square(self.q)

    @cached_property
    def h_p(self) -> int:
        return invert(-self.q % self.p, self.p)

    @cached_property
    def h_q(self) -> int:
        return invert(-self.p % self.q, self.q)

    @cached_property
    def p_inverse(self) -> int:
        """p**-1 mod q."""
        return invert(self.p % self.q, self.q)

    def one_factor_decides(self, bound: int) -> bool:
        """Whether a residue modulo p tells integers in [-bound, bound] apart and from all others.

        The 2*bound + 1 residues in question have to be fewer than p * 2**-REDUNDANCY_BITS. Then an integer beyond the
        bound is mistaken for one within it with a chance of 2**-128, unless it was chosen by someone who knows p: it
        would differ from a small integer by a multiple of p, which is to factor n. Without that redundancy a reader of
        results finds p as gcd(x - (x mod p), n) (Gilbert, Gupta, Odlyzko, Quisquater 1998, on Shamir's unbalanced RSA
        of 1995).
        """
        return bound >= 0 and (2 * bound + 1) << REDUNDANCY_BITS < self.p

    def __repr__(self) -> str:
        return f"<CrtModulus {self.n.bits} bits>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a CrtModulus holds secret factors and is never pickled; use hecore.keystore")
