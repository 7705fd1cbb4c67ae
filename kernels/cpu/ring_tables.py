"""Constants of primes and of pairs of bases for the ring kernels, made once a basis and kept. All are public."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.rns import RnsBasis, galois_permutation
from hecore.kernels.cpu.context import digits_of
from hecore.kernels.cpu.ring_accumulate import GROUP
from hecore.kernels.cpu.ring_words import CONSTANTS, FACTOR, FIXED_BITS, MAX_TERMS, NARROW, NARROW_BITS, WIDE, WORD_BITS
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, IFMA, LANES

Words = NDArray[np.uint64]
WIDE_BITS = 61


def is_narrow(q: int) -> bool:
    return IFMA and q >> NARROW_BITS == 0


def _words(rows: Sequence[int] | Sequence[Sequence[int]] | Sequence[Sequence[tuple[int, ...]]]) -> Words:
    out = np.array(rows, dtype=np.uint64)
    out.setflags(write=False)
    return out


@cache
def prime_constants(q: int) -> tuple[int, ...]:
    """The eight words of one prime: kind, then the constants that the head of ring_words.py names."""
    if IFMA and not is_narrow(q):
        bits = q.bit_length()
        shift = WIDE_BITS - bits
        u = (1 << 3 * DIGIT_BITS) // (q << shift)
        return WIDE, q, shift, q << shift, u & DIGIT_MASK, u >> DIGIT_BITS, bits - 2, (1 << DIGIT_BITS + bits - 2) // q
    base = 1 << WORD_BITS
    return (NARROW if IFMA else WIDE), q, base % q, (base % q * base) // q, base // q, 0, 0, 0


@cache
def basis_constants(basis: RnsBasis) -> Words:
    """(k, 8)."""
    table = _words([prime_constants(q) for q in basis.moduli])
    assert table.shape == (len(basis), CONSTANTS)
    return table


def factor(w: int, q: int) -> tuple[int, int, int]:
    """A constant w in [0, q) as `narrow_times` and `wide_times` take it."""
    if IFMA and not is_narrow(q):
        quotient = (w << 2 * DIGIT_BITS) // q
        return w, quotient & DIGIT_MASK, quotient >> DIGIT_BITS
    return w, (w << WORD_BITS) // q, 0


def factors(values: Sequence[int], basis: RnsBasis) -> Words:
    """(k, 3), one constant a modulus."""
    table = _words([factor(w, q) for w, q in zip(values, basis.moduli, strict=True)])
    assert table.shape == (len(basis), FACTOR)
    return table


def residue_factor(w: int, q: int) -> tuple[int, int]:
    """A constant w in [0, q) as `narrow_add_residue` and `wide_add_residue` take it."""
    if not IFMA:
        return w, 0
    if is_narrow(q):
        return w, (w << DIGIT_BITS) % q
    return w << WIDE_BITS - q.bit_length(), 0


@cache
def terms(basis: RnsBasis) -> NDArray[np.intp]:
    """(k,): how many products of residues one sum may hold before it is reduced, one residue more included.

    At least 15 for primes below 2^50, 63 for one lane; a multiple of the digits that are taken at a time.
    """
    limits = []
    for q in basis.moduli:
        room = (1 << 2 * WORD_BITS) // (q * q) - 1 if is_narrow(q) or not IFMA else MAX_TERMS
        limits.append(min(MAX_TERMS, room) // GROUP * GROUP)
    return np.array(limits, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Conversion:
    """From k source primes with product Q to t target primes.

    `inverses` (k, 3): (Q/q_i)^-1 modulo q_i. `weights` (k, 4): of `ring_words.fraction`. `matrix` (t, k + 1, 2): Q/q_i
    modulo each target prime, and last -Q.
    """

    source: Words
    target: Words
    inverses: Words
    weights: Words
    matrix: Words


@lru_cache(maxsize=4096)
def conversion(source: RnsBasis, target: RnsBasis) -> Conversion:
    cofactors = [source.product // q for q in source.moduli]
    inverses = [invert(c % q, q) for c, q in zip(cofactors, source.moduli, strict=True)]
    weights = []
    for q in source.moduli:
        bits = q.bit_length()
        w = (1 << FIXED_BITS + bits) // q
        weights.append((64 - bits, w, w & DIGIT_MASK, w >> DIGIT_BITS))
    products = [*cofactors, -source.product]
    matrix = [[residue_factor(c % p, p) for c in products] for p in target.moduli]
    return Conversion(
        basis_constants(source), basis_constants(target), factors(inverses, source), _words(weights), _words(matrix)
    )


@dataclass(frozen=True, eq=False)
class Composition:
    """What integers below Q are composed with, in D digits of 52 bits, D enough for -Q … Q in two's complement.

    `cofactors` (k + 1, D + 2): two zeros, and Q/q_i; last -Q modulo 2^(52 D). `half` (D,): (Q-1)/2. `whole` (D,): Q.
    """

    cofactors: Words
    half: Words
    whole: Words


@cache
def composition(basis: RnsBasis) -> Composition:
    product, digits = basis.product, -(-(basis.bits + 1) // DIGIT_BITS)
    cofactors = [product // q for q in basis.moduli] + [-product % (1 << DIGIT_BITS * digits)]
    return Composition(
        _words([[0, 0, *digits_of(c, digits)] for c in cofactors]),
        _words(digits_of(product >> 1, digits)),
        _words(digits_of(product, digits)),
    )


@cache
def limb_factors(basis: RnsBasis) -> Words:
    """(k, 3): 2^64 modulo each prime, as a constant factor."""
    return factors([(1 << 64) % q for q in basis.moduli], basis)


@lru_cache(maxsize=4096)
def division(kept: RnsBasis, dropped: RnsBasis) -> Words:
    """(k, 3): the inverse of the product of `dropped` modulo each prime of `kept`, as a constant factor."""
    return factors([invert(dropped.product % q, q) for q in kept.moduli], kept)


@lru_cache(maxsize=1024)
def products(basis: RnsBasis, moduli: tuple[int, ...]) -> Words:
    """(k, 3): the product of `moduli` modulo each prime of `basis`, as a constant factor."""
    return factors(basis.residues(math.prod(moduli)), basis)


@lru_cache(maxsize=1024)
def reciprocals(kept: RnsBasis, moduli: tuple[int, ...]) -> Words:
    """(k, 3): the inverse of the product of `moduli`, maybe of none, modulo each prime of `kept`."""
    return factors([invert(math.prod(moduli) % q, q) for q in kept.moduli], kept)


@lru_cache(maxsize=256)
def permutations(ring_degree: int, elements: tuple[int, ...]) -> tuple[NDArray[np.intp], Words]:
    """`permutation` by each of several elements: sources (m, N/LANES, 2), and the patterns of all."""
    found = [permutation(ring_degree, element) for element in elements]
    offsets = np.cumsum([0] + [len(patterns) for _, patterns in found[:-1]])
    sources = np.stack([own + [0, offset] for (own, _), offset in zip(found, offsets, strict=True)])
    sources.setflags(write=False)
    return sources, np.concatenate([patterns for _, patterns in found])


@lru_cache(maxsize=256)
def permutation(ring_degree: int, element: int) -> tuple[NDArray[np.intp], Words]:
    """X -> X^element on values, by vectors: (N/LANES, 2) source vector and pattern, and the patterns (p, LANES).

    The values at 8B … 8B+7 belong to exponents e + t*N/4 for t < 8 in bit-reversed order, e < N/4 that of 8B. Times
    the element these are e*element + t*element*N/4 modulo 2N: eight that again differ by multiples of N/4, hence one
    aligned vector, turned and permuted in one of at most eight ways.
    """
    places = galois_permutation(ring_degree, element).reshape(-1, LANES)
    patterns, which = np.unique(places % LANES, axis=0, return_inverse=True)
    sources = np.stack([places[:, 0] // LANES, which.ravel()], axis=1).astype(np.intp)
    assert bool((places // LANES == sources[:, :1]).all())
    sources.setflags(write=False)
    return sources, patterns.astype(np.uint64)
