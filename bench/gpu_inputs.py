"""Random operands from one seed, the same in every process: a failure can be repeated by its seed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.primes import is_prime, small_factor
from hecore.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.arith.rns import RnsBasis

_SIEVE = 2048
_ROUNDS = 4  # of Miller and Rabin's test: operands of a benchmark, not keys


def fresh_seed() -> str:
    """128 bits of the operating system's CSPRNG in hexadecimal."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Inputs:
    """SHAKE-256 of the seed and a label: nobody's secrets."""

    seed: str

    def __post_init__(self) -> None:
        if not self.seed or not all(c in "0123456789abcdef" for c in self.seed):
            raise ParameterError(f"cannot use {self.seed!r} as a seed: hexadecimal digits expected")

    def bytes(self, label: str, count: int) -> bytes:
        return shake_256(f"{self.seed}/{label}".encode()).digest(count)

    def words(self, label: str, shape: tuple[int, ...]) -> NDArray[np.uint64]:
        """Uniform 64-bit words."""
        count = int(np.prod(shape))
        return np.frombuffer(self.bytes(label, 8 * count), dtype="<u8").astype(np.uint64).reshape(shape)

    def integer(self, label: str, bits: int) -> int:
        """In [0, 2^bits)."""
        return int.from_bytes(self.bytes(label, -(-bits // 8)), "little") % (1 << bits)

    def below(self, label: str, bound: int) -> int:
        return self.integer(label, bound.bit_length() + 64) % bound

    def indices(self, label: str, shape: tuple[int, ...], end: int) -> NDArray[np.intp]:
        """Below `end`."""
        return (self.words(label, shape) % np.uint64(end)).astype(np.intp)

    def limbs(self, label: str, count: int, bound: int) -> NDArray[np.uint64]:
        """`count` values below `bound`: (count, limbs)."""
        width = limbs_for_bits(bound.bit_length())
        wide = ints_from_limbs(self.words(label, (count, width + 1)))
        return limbs_from_ints([x % bound for x in wide], width)

    def magnitudes(self, label: str, shape: tuple[int, ...], bits: int) -> NDArray[np.uint64]:
        """Below 2^bits, bits <= 64: (*shape, 1)."""
        return self.words(label, (*shape, 1)) >> np.uint64(64 - bits)

    def flags(self, label: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Uniform."""
        count = int(np.prod(shape))
        bits = np.unpackbits(np.frombuffer(self.bytes(label, -(-count // 8)), dtype=np.uint8))
        return bits[:count].astype(np.bool_).reshape(shape)

    def odd(self, label: str, bits: int) -> int:
        """Of exactly `bits` bits."""
        return self.integer(label, bits) | 1 << (bits - 1) | 1

    def modulus(self, bits: int) -> Modulus:
        """Of exactly `bits` bits, the product of two odd numbers: some residues are no units."""
        first, second = self._factors(bits)
        return Modulus(first * second)

    def _factors(self, bits: int) -> tuple[int, int]:
        attempt = 0
        while True:
            first = self.odd(f"factor {bits} {attempt} a", bits // 2)
            second = self.odd(f"factor {bits} {attempt} b", bits - bits // 2)
            if (first * second).bit_length() == bits:
                return first, second
            attempt += 1

    def non_unit(self, bits: int) -> int:
        """A residue that shares a factor with `modulus(bits)`."""
        return self._factors(bits)[0]

    def crt(self, key_bits: int) -> CrtModulus:
        """p and q of half the bits each, primes."""
        return CrtModulus(
            _prime(self.seed, f"p {key_bits}", key_bits // 2), _prime(self.seed, f"q {key_bits}", key_bits // 2)
        )

    def polynomials(self, label: str, count: int, basis: RnsBasis) -> NDArray[np.uint64]:
        """(count, k, N): the awkward residues first, 0, 1, (q-1)/2, (q+1)/2 and q-1, then random ones."""
        out = self.words(label, (count, len(basis), basis.ring_degree))
        for i, q in enumerate(basis.moduli):
            out[:, i] %= np.uint64(q)
            out[:, i, :5] = 0, 1, q // 2, q // 2 + 1, q - 1
        return out


@cache
def _prime(seed: str, label: str, bits: int) -> int:
    """= 3 mod 4, both top bits set. Variable time: it protects nothing."""
    inputs = Inputs(seed)
    attempt = 0
    while True:
        candidate = inputs.integer(f"{label} {attempt}", bits) | 3 << (bits - 2) | 3
        if small_factor(candidate, _SIEVE) is None and is_prime(candidate, rounds=_ROUNDS):
            return candidate
        attempt += 1
