"""Residue number systems for polynomial rings: NTT-friendly primes, their roots of unity, and bases of them.

Z_Q[X]/(X^N + 1) with Q = q_0*q_1*… splits into polynomials modulo each prime q_i (Chinese remainder theorem), and for
q_i = 1 mod 2N each of these into N values (negacyclic number-theoretic transform).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert, powmod
from hecore.arith.primes import is_prime
from hecore.errors import ParameterError

MIN_RING_DEGREE = 16
MAX_RING_DEGREE = 1 << 17
MAX_MODULUS_BITS = 61  # lazy residues of up to 4q fit a 64-bit word with a bit to spare


@dataclass(frozen=True)
class RnsBasis:
    """Distinct primes below 2^61, each 1 mod 2*ring_degree; ring_degree is a power of two in [16, 2^17].

    Raises ParameterError otherwise. The order of the primes is part of the value.
    """

    ring_degree: int
    moduli: tuple[int, ...]

    def __post_init__(self) -> None:
        check_ring_degree(self.ring_degree)
        if not self.moduli:
            raise ParameterError("cannot build a basis of no moduli: at least one")
        if len(set(self.moduli)) != len(self.moduli):
            raise ParameterError("cannot build a basis: the moduli are not distinct")
        for q in self.moduli:
            check_modulus(q, self.ring_degree)

    def __len__(self) -> int:
        return len(self.moduli)

    @cached_property
    def _hash(self) -> int:
        return hash((self.ring_degree, self.moduli))

    def __hash__(self) -> int:
        return self._hash  # bases key every cache

    @cached_property
    def product(self) -> int:
        return math.prod(self.moduli)

    @cached_property
    def bits(self) -> int:
        """Bits of the product."""
        return self.product.bit_length()

    def prefix(self, count: int) -> RnsBasis:
        """The first `count` moduli, 1 <= count <= len(self)."""
        return self.take(range(count))

    def take(self, positions: Iterable[int]) -> RnsBasis:
        """The moduli at these positions, in this order."""
        return _basis(self.ring_degree, tuple(self.moduli[i] for i in positions))

    def join(self, other: RnsBasis) -> RnsBasis:
        """The moduli of both, which share no modulus."""
        if other.ring_degree != self.ring_degree:
            raise ParameterError(f"cannot join bases of ring degrees {self.ring_degree} and {other.ring_degree}")
        return _basis(self.ring_degree, self.moduli + other.moduli)

    def residues(self, value: int) -> tuple[int, ...]:
        """An integer of any size and sign modulo each prime."""
        return tuple(value % q for q in self.moduli)

    def compose(self, residues: Sequence[int]) -> int:
        """The integer in [0, product) with these residues (Chinese remainder theorem)."""
        total = 0
        for q, x in zip(self.moduli, residues, strict=True):
            cofactor = self.product // q
            total += x * invert(cofactor % q, q) % q * cofactor
        return total % self.product


@lru_cache(maxsize=1 << 12)  # moduli come with foreign bytes, too
def _basis(ring_degree: int, moduli: tuple[int, ...]) -> RnsBasis:
    return RnsBasis(ring_degree, moduli)


def check_ring_degree(ring_degree: int) -> None:
    """A power of two in [16, 2^17], else ParameterError."""
    allowed = MIN_RING_DEGREE <= ring_degree <= MAX_RING_DEGREE
    if not allowed or ring_degree & (ring_degree - 1):
        raise ParameterError(
            f"cannot use ring degree {ring_degree}: a power of two from {MIN_RING_DEGREE} to {MAX_RING_DEGREE}"
        )


@lru_cache(maxsize=1 << 12)
def check_modulus(q: int, ring_degree: int) -> None:
    """A prime below 2^61 that is 1 mod 2*ring_degree, else ParameterError."""
    if q.bit_length() > MAX_MODULUS_BITS:
        raise ParameterError(f"cannot use a modulus of {q.bit_length()} bits: at most {MAX_MODULUS_BITS}")
    if q % (2 * ring_degree) != 1 or not is_prime(q):
        raise ParameterError(f"cannot use modulus {q}: it must be a prime that is 1 mod {2 * ring_degree}")


def ntt_primes(ring_degree: int, bit_sizes: Sequence[int]) -> tuple[int, ...]:
    """One prime a bit size, chosen as SEAL's `CoeffModulus::Create` chooses, so that both sides name the same chain.

    For each size b that is wanted c times: the c largest b-bit primes 1 mod 2*ring_degree, handed out from the
    smallest (SEAL 4.1, native/src/seal/modulus.cpp and util/numth.cpp). Sizes from 2 bits more than 2*ring_degree
    has to 60; ParameterError where a size is outside or has too few primes.
    """
    check_ring_degree(ring_degree)
    found: dict[int, list[int]] = {}
    for bits in set(bit_sizes):
        if not 2 <= bits <= MAX_MODULUS_BITS - 1:
            raise ParameterError(f"cannot find moduli of {bits} bits: from 2 to {MAX_MODULUS_BITS - 1}")
        found[bits] = _largest_primes(ring_degree, bits, list(bit_sizes).count(bits))
    return tuple(found[bits].pop() for bits in bit_sizes)


def _largest_primes(ring_degree: int, bits: int, count: int) -> list[int]:
    step = 2 * ring_degree
    candidate = ((1 << bits) - 1) // step * step + 1
    primes: list[int] = []
    while len(primes) < count:
        if candidate >> (bits - 1) == 0:
            raise ParameterError(f"cannot find {count} primes of {bits} bits that are 1 mod {step}")
        if candidate >> bits == 0 and is_prime(candidate):
            primes.append(candidate)
        candidate -= step
    return primes


@lru_cache(maxsize=1 << 10)
def primitive_root(q: int, ring_degree: int) -> int:
    """The smallest primitive 2N-th root of unity modulo q, for N = ring_degree: psi with psi^N = -1."""
    order = 2 * ring_degree
    exponent = (q - 1) // order
    root = next(g for g in (powmod(x, exponent, q) for x in range(2, q)) if powmod(g, ring_degree, q) == q - 1)
    square, smallest = root * root % q, root
    for _ in range(ring_degree - 1):  # the primitive 2N-th roots are the odd powers
        root = root * square % q
        smallest = min(smallest, root)
    return smallest


def bit_reversal(size: int) -> NDArray[np.intp]:
    """brv(i) for i < size, a power of two: i with its log2(size) bits in reverse order."""
    out = np.zeros(1, dtype=np.intp)
    while len(out) < size:
        out = np.concatenate([2 * out, 2 * out + 1])
    return out


@lru_cache(maxsize=1 << 8)  # half a megabyte each at degree 2^16
def root_powers(q: int, ring_degree: int, *, inverse: bool = False) -> NDArray[np.uint64]:
    """psi^i at position brv(i) for i < ring_degree: (N,) uint64, read-only; psi^-i where `inverse`."""
    psi = primitive_root(q, ring_degree)
    step = invert(psi, q) if inverse else psi
    powers = np.empty(ring_degree, dtype=np.uint64)
    value = 1
    for i in range(ring_degree):
        powers[i] = value
        value = value * step % q
    out = powers[bit_reversal(ring_degree)]
    out.setflags(write=False)
    return out


def galois_permutation(ring_degree: int, element: int) -> NDArray[np.intp]:
    """Where X -> X^element takes NTT values from: out[i] = in[permutation[i]].

    Position i holds a(psi^(2*brv(i)+1)); the image there is a(psi^(element*(2*brv(i)+1))), element odd.
    """
    reversal = bit_reversal(ring_degree)
    exponents = (2 * reversal + 1) * element % (2 * ring_degree)
    return reversal[(exponents - 1) // 2]  # brv is its own inverse
