"""Constants of bases on a device: made once, kept while they are used, bounded. All are public.

A constant factor w modulo q is a pair (w, floor(w * 2^64 / q)); `kernels/device/modular.h` says why, and what the
eight words of a prime are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.rns import RnsBasis, primitive_root, root_powers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from hecore.backends.device import Buffer, Device

Words = NDArray[np.uint64]

PRIME_WORDS = 8
FIXED_BITS = 56  # of the quotient of an exact conversion
LANE_STAGES = 3  # whose roots lie by group, not in natural order (`lane_order`)
_TABLES = 512
_SHARE = 8  # of the device's memory for all tables: one in eight


def prime_words(q: int, ring_degree: int) -> tuple[int, ...]:
    """The row of one prime."""
    bits, carry, scale = q.bit_length(), (1 << 64) % q, invert(ring_degree, q)
    return (
        q,
        (1 << 64) // q,
        *pair(carry, q),
        bits - 2,
        (1 << 62 + bits) // q,
        *pair(scale, q),
    )


def pair(w: int, q: int) -> tuple[int, int]:
    """A constant factor w in [0, q) and its quotient."""
    return w, (w << 64) // q


@dataclass(frozen=True, eq=False)
class ConversionTables:
    """From k source primes with product Q to t target primes.

    `inverses` (k, 2): (Q/q_i)^-1 modulo q_i, as factors. `weights` (k, 2): 64 - b_i and floor(2^(56+b_i) / q_i), b_i
    the bits of q_i: the high word of (y << first) * second is floor(y * second / 2^b_i). For k = 1, where v = 1 for
    x > (q_0 - 1)/2, they are 0 and that limit. `matrix` (t, k + 1): Q/q_i modulo each target prime, and last -Q.
    """

    inverses: Buffer
    weights: Buffer
    matrix: Buffer


@dataclass(frozen=True)
class Slots:
    """Where the primes of a basis lie in a chain: the first `turn` from `first` on, the others from `second` on."""

    first: int
    turn: int
    second: int


@dataclass(frozen=True, eq=False)
class Roots:
    """Pairs of roots of unity (m, N, 2) of a chain of m primes, in `lane_order`, and where a basis lies in it."""

    forward: Buffer
    inverse: Buffer
    slots: Slots


@dataclass(frozen=True, eq=False)
class _Chain:
    moduli: tuple[int, ...]
    forward: Buffer
    inverse: Buffer


class KernelTables:
    """The tables of one device; the least recently used go first. Thread-safe."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.RLock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._chains: OrderedDict[tuple[int, tuple[int, ...]], _Chain] = OrderedDict()
        self._bytes = 0
        self._limit = device.facts.memory // _SHARE

    def primes(self, basis: RnsBasis) -> Buffer:
        """(k, PRIME_WORDS)."""
        rows = basis.moduli, basis.ring_degree
        return self.table(("primes", basis), lambda: [prime_words(q, rows[1]) for q in rows[0]])

    def factors(self, values: Sequence[int], moduli: Sequence[int]) -> Buffer:
        """(k, 2): one constant a modulus, each in [0, q_i), as factors."""
        both = tuple(values), tuple(moduli)
        return self.table(("factors", both), lambda: [pair(w, q) for w, q in zip(*both, strict=True)])

    def conversion(self, source: RnsBasis, target: RnsBasis) -> ConversionTables:
        """Of `source` to `target`, whose primes may be any."""
        key = source, target
        cofactors = [source.product // q for q in source.moduli]

        def inverses() -> list[tuple[int, int]]:
            return [pair(invert(c % q, q), q) for c, q in zip(cofactors, source.moduli, strict=True)]

        def weights() -> list[tuple[int, int]]:
            if len(source) == 1:
                return [(0, source.product >> 1)]
            sizes = [q.bit_length() for q in source.moduli]
            return [(64 - bits, (1 << FIXED_BITS + bits) // q) for bits, q in zip(sizes, source.moduli, strict=True)]

        return ConversionTables(
            self.table(("inverses", source), inverses),
            self.table(("weights", source), weights),
            self.table(
                ("matrix", key), lambda: [[c % p for c in (*cofactors, -source.product)] for p in target.moduli]
            ),
        )

    def scales(self, basis: RnsBasis, factors: Sequence[int]) -> Buffer:
        """(k, 4): what the last stage of an inverse transform multiplies by, 1/N times `factors`: as factors, these
        and these times the root of that stage.
        """
        both = basis, tuple(factors)

        def rows() -> list[tuple[int, ...]]:
            found: list[tuple[int, ...]] = []
            for q, factor in zip(basis.moduli, both[1], strict=True):
                plain = factor * invert(basis.ring_degree, q) % q
                turned = plain * invert(pow(primitive_root(q, basis.ring_degree), basis.ring_degree // 2, q), q) % q
                found.append((*pair(plain, q), *pair(turned, q)))
            return found

        return self.table(("scales", both), rows)

    def roots(self, basis: RnsBasis) -> Roots:
        """In a chain that has the basis in at most two runs, so that the levels of one chain share it."""
        degree = basis.ring_degree
        with self._lock:
            for key, chain in reversed(self._chains.items()):
                slots = _slots(basis.moduli, chain.moduli) if key[0] == degree else None
                if slots is not None:
                    self._chains.move_to_end(key)
                    return Roots(chain.forward, chain.inverse, slots)
            chain = _Chain(basis.moduli, *(self._root_buffer(basis, inverse) for inverse in (False, True)))
            for key, old in list(self._chains.items()):
                if key[0] == degree and _slots(old.moduli, basis.moduli) is not None:
                    self._drop_chain(key)
            self._chains[degree, basis.moduli] = chain
            self._bytes += _nbytes(chain)
            while self._bytes > self._limit and len(self._chains) > 1:
                self._drop_chain(next(iter(self._chains)))
            return Roots(chain.forward, chain.inverse, Slots(0, len(basis), 0))

    def table(self, key: Hashable, make: Callable[[], Any]) -> Buffer:
        """The words that `make` gives (anything np.array takes), on the device; the same for the same key."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0]  # type: ignore[no-any-return]
            words = np.array(make(), dtype=np.uint64)
            buffer = self._device.allocate(words.nbytes)
            self._device.write(buffer, words)
            self._kept[key] = buffer, words.nbytes
            self._bytes += words.nbytes
            while len(self._kept) > _TABLES or (self._bytes > self._limit and len(self._kept) > 1):
                _, (_, nbytes) = self._kept.popitem(last=False)
                self._bytes -= nbytes
            return buffer

    def _root_buffer(self, basis: RnsBasis, inverse: bool) -> Buffer:
        buffer = self._device.allocate(len(basis) * basis.ring_degree * 16)
        for i, q in enumerate(basis.moduli):
            words = root_pairs(q, basis.ring_degree, inverse=inverse)
            self._device.write(buffer, words, i * words.nbytes)
        return buffer

    def _drop_chain(self, key: tuple[int, tuple[int, ...]]) -> None:
        self._bytes -= _nbytes(self._chains.pop(key))


def root_pairs(q: int, ring_degree: int, *, inverse: bool) -> Words:
    """(N, 2): the powers of `arith.rns.root_powers` with their quotients, in `lane_order`."""
    roots = root_powers(q, ring_degree, inverse=inverse)
    quotients = ((roots.astype(object) << 64) // q).astype(np.uint64)
    return np.stack([roots, quotients], axis=-1)[lane_order(ring_degree)]


def lane_order(ring_degree: int) -> NDArray[np.intp]:
    """Which root lies at each place of a table.

    Stage s of a transform has 2^s blocks, and block i meets root 2^s + i. The last LANE_STAGES = 3 stages of eight
    neighbouring residues, group g of N/8, meet roots 2^t*(N/8 + g) + i for t < 3 and i < 2^t. Threads take one group
    each: so that they read neighbouring words, root i of stage t of group g lies at (2^t + i)*N/8 + g. The N/8 roots of
    the stages before stay in front.
    """
    eighth = ring_degree >> LANE_STAGES
    groups = np.arange(eighth, dtype=np.intp)
    rows = [groups]
    for t in range(LANE_STAGES):
        rows += [((eighth + groups) << t) + i for i in range(1 << t)]
    return np.concatenate(rows)


def _slots(moduli: tuple[int, ...], chain: tuple[int, ...]) -> Slots | None:
    """The runs of `moduli` within `chain`: one, or two; None where it takes more."""
    if moduli[0] not in chain:
        return None
    first = chain.index(moduli[0])
    turn = _run(moduli, chain, first)
    if turn == len(moduli):
        return Slots(first, turn, 0)
    rest = moduli[turn:]
    if rest[0] not in chain:
        return None
    second = chain.index(rest[0])
    return Slots(first, turn, second) if _run(rest, chain, second) == len(rest) else None


def _run(moduli: tuple[int, ...], chain: tuple[int, ...], start: int) -> int:
    """How many of `moduli` stand in `chain` from `start` on."""
    count = 0
    for q, p in zip(moduli, chain[start:], strict=False):
        if q != p:
            break
        count += 1
    return count


def _nbytes(chain: _Chain) -> int:
    return chain.forward.nbytes + chain.inverse.nbytes
