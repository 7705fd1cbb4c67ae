"""What the ring half of the contract suite shares: bases around every threshold, awkward polynomials, exact answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.primes import is_prime
from hecore.arith.rns import RnsBasis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.backends.ring_protocol import Backend, PolynomialArray, Words

Integers = NDArray[np.object_]


@cache
def prime_near(limit: int, ring_degree: int, skip: int = 0, *, above: bool = False) -> int:
    """The prime 1 mod 2N next to `limit` (below it, or above), after `skip` others."""
    step = 2 * ring_degree
    candidate = (limit - 2) // step * step + 1 + (step if above else 0)
    while True:
        if is_prime(candidate):
            if skip == 0:
                return candidate
            skip -= 1
        candidate += step if above else -step


@cache
def basis_named(name: str, ring_degree: int) -> RnsBasis:
    """`name`: bits joined by "+"; "50-" is the prime just below 2^50, "50" one of 50 bits away from the edges."""
    moduli: list[int] = []
    for part in name.split("+"):
        below = part.endswith("-")
        limit = 1 << int(part.rstrip("-")) if below else 1 << int(part) - 1
        skip = 0
        while (q := prime_near(limit, ring_degree, skip, above=not below)) in moduli:
            skip += 1
        moduli.append(q)
    return RnsBasis(ring_degree, tuple(moduli))


# below and above 2^50 the CPU takes different arithmetic, devices below 2^29; 2^61 is the limit; primes of one size
# differ by little
NAMES = (
    "50-",
    "61-",
    "29-+20+29-",
    "29-+61-+20+30",
    "50-+51+50-+51",
    "61-+61-+60",
    "60+40+40+60",
    "20+61-+45+50-+52+33",
)
TWO = "50-+61-"


def noise(label: str, shape: tuple[int, ...], bits: int = 64) -> Words:
    """Fixed words in [0, 2^bits) that look random."""
    count = int(np.prod(shape))
    words = np.frombuffer(shake_256(label.encode()).digest(8 * count), dtype="<u8").astype(np.uint64)
    return (words >> np.uint64(64 - bits)).reshape(shape)


def objects(words: NDArray[Any]) -> Integers:
    return words.astype(object)


def column(basis: RnsBasis) -> Integers:
    """Moduli that broadcast against (*S, k, N)."""
    out = np.empty((len(basis), 1), dtype=object)
    out[:, 0] = basis.moduli
    return out


def composed(words: Words, basis: RnsBasis) -> Integers:
    """(*S, k, N) residues -> (*S, N) integers in [0, Q)."""
    moved = np.moveaxis(words, -2, -1)
    flat = [basis.compose([int(x) for x in residues]) for residues in moved.reshape(-1, len(basis))]
    out = np.empty(len(flat), dtype=object)
    out[:] = flat
    return out.reshape(moved.shape[:-1])


def split(values: Integers, basis: RnsBasis) -> Words:
    """(*S, N) integers of any sign -> (*S, k, N) residues."""
    words: Words = (values[..., None, :] % column(basis)).astype(np.uint64)
    return words


def negacyclic(x: Sequence[int], y: Sequence[int]) -> list[int]:
    """The product modulo X^N + 1 of two integer polynomials, by one big product (Kronecker)."""
    degree = len(x)
    width = (max(map(abs, x)).bit_length() + max(map(abs, y)).bit_length() + degree.bit_length() + 8) // 8 * 8
    total = _pack(x, width) * _pack(y, width)
    out, half = [], 1 << width - 1
    for _ in range(2 * degree):
        digit = (total + half) % (1 << width) - half
        out.append(digit)
        total = (total - digit) >> width
    return [low - high for low, high in zip(out[:degree], out[degree:], strict=True)]


def _pack(values: Sequence[int], width: int) -> int:
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=True)
        values, width = [low + (high << width) for low, high in pairs], 2 * width
    return values[0]


@dataclass(frozen=True)
class RingLab:
    """A backend with helpers that speak words."""

    backend: Backend

    def words(self, basis: RnsBasis, shape: tuple[int, ...], label: str = "a") -> Words:
        """(*shape, k, N): the awkward residues first (0, 1, q-1, (q-1)/2, (q+1)/2, in turns), then noise."""
        flat = noise(label, (*shape, len(basis), basis.ring_degree)).reshape(-1, len(basis), basis.ring_degree)
        for i, q in enumerate(basis.moduli):
            flat[:, i] %= np.uint64(q)
            awkward = np.array([q - 1, 0, 1, q // 2, q // 2 + 1, q - 2], dtype=np.uint64)
            if label != "a":  # a second operand should not pair 0 with 0 and 1 with 1 only
                awkward = awkward[[0, 3, 5, 1, 2, 4]]
            flat[:, i, :6] = awkward
        return flat.reshape(*shape, len(basis), basis.ring_degree)

    def up(self, words: Words, basis: RnsBasis, *, ntt: bool = True) -> PolynomialArray:
        return self.backend.ring_upload(words, basis, ntt=ntt)

    def same(
        self, a: PolynomialArray, expected: NDArray[Any], basis: RnsBasis, shape: tuple[int, ...], *, ntt: bool
    ) -> None:
        """`a` is exactly this: backend, basis, shape, domain, canonical residues; says where it is not."""
        assert a.backend is self.backend
        assert a.basis == basis
        assert a.shape == shape
        assert a.ntt is ntt
        words = self.backend.ring_download(a)
        assert words.dtype == np.uint64
        assert words.shape == (*shape, len(basis), basis.ring_degree)
        wrong = np.argwhere(words != expected.astype(np.uint64).reshape(words.shape))
        assert not len(wrong), f"{self.backend.device}: {len(wrong)} of {words.size} wrong, first at {wrong[0]}"


def switched(
    backend: Backend, basis: RnsBasis, extra: RnsBasis, digits: Sequence[tuple[int, int]], size: int = 2
) -> list[Words]:
    """What every change of basis that goes through transforms makes of `size` fixed polynomials."""
    lab, whole, kept = RingLab(backend), basis.join(extra), len(basis)
    a = lab.up(lab.words(basis, (size,)), basis)
    key = lab.up(lab.words(whole, (2, len(digits)), "b"), whole)
    total = backend.decompose_mul_accumulate(a, digits, extra, key)
    results = [total, backend.decompose(a, digits, extra)]
    results += [backend.divide_round(total, count) for count in range(1, kept)]
    results.append(backend.divide_round(total, len(extra) + 1, plus=backend.ring_moduli(total, range(kept))))
    results.append(backend.divide_round(backend.intt(total), len(extra)))
    return [backend.ring_download(x) for x in results]
