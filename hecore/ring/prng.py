"""Uniform residues out of a public seed, which travels in their place.

It says nothing of secrets or errors: those have keys of their own (`arith.stream`, the random operations of backends).

The AES form, our own: the key is BLAKE2b-256 keyed with the seed, personalised "hecore ckks a" for this purpose.
Polynomial i and the prime q take the words of AES-256-CTR whose initial counter block is i (u32), q (u64) and 0 (u32),
big-endian. Each little-endian 64-bit word is cut to the bits of q; those below q, in order, are the values. The
counter's 2^32 blocks last far beyond the longest polynomial (2^16 blocks and the rejected), so that no two share one.

The SEAL forms (SEAL 4.1, native/src/seal/randomgen.cpp, util/rlwe.cpp): blocks of 4096 bytes, block n being
SHAKE256(seed, n) or BLAKE2Xb keyed with the seed over n (u64). The polynomial takes 8*N*k bytes, prime by prime; a word
from floor((2^64 - 1) / q) * q - 1 on is replaced by the next 8 bytes of the stream; the words modulo q are the values.
SEAL 3.4 and 3.5 read the stream in other ways (`expand_uniform_seal_3`).
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.arith.stream import Keystream
from hecore.errors import ParameterError
from hecore.kernels.cpu import sampling as kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Words

_SEAL_BLOCK_BYTES = 4096
_SEAL_BLOCK_WORDS = _SEAL_BLOCK_BYTES // 8
_MAX_CHUNK = 1 << 32
_PURPOSE = b"hecore ckks a"
_COUNTER = struct.Struct(">IQI")


class SeedKind(IntEnum):
    """Which generator expands a seed. BLAKE2XB and SHAKE256 carry SEAL's numbers."""

    AES_CTR = 0
    BLAKE2XB = 1
    SHAKE256 = 2

    @property
    def key_bytes(self) -> int:
        return 32 if self is SeedKind.AES_CTR else 64


@dataclass(frozen=True)
class Seed:
    """A public seed: 32 bytes for AES_CTR, 64 for SEAL's generators. Use one for one ciphertext or key."""

    kind: SeedKind
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != self.kind.key_bytes:
            raise ParameterError(f"cannot use a {self.kind.name} seed of {len(self.key)} bytes: {self.kind.key_bytes}")

    @staticmethod
    def fresh(kind: SeedKind = SeedKind.AES_CTR) -> Seed:
        """A new seed from the operating system."""
        return Seed(kind, secrets.token_bytes(kind.key_bytes))


def expand_uniform(seed: Seed, basis: RnsBasis, count: int = 1, *, first: int = 0) -> Words:
    """Uniform residues (count, k, N), meant as NTT values: polynomials first … first+count-1 of the seed.

    SEAL's generators give one polynomial a seed: count 1 and first 0. Raises ParameterError otherwise, and beyond
    2^32 polynomials.
    """
    if count < 0 or first < 0 or first + count > _MAX_CHUNK:
        raise ParameterError(f"cannot expand polynomials {first} … {first + count - 1}: from 0 to {_MAX_CHUNK - 1}")
    if seed.kind is SeedKind.AES_CTR:
        return _expand_aes(seed.key, basis, count, first)
    if (count, first) != (1, 0):
        raise ParameterError(f"cannot expand {count} polynomials from a {seed.kind.name} seed: SEAL's form has one")
    return _expand_seal(seed, basis)[None]


def _expand_aes(key: bytes, basis: RnsBasis, count: int, first: int) -> Words:
    stream = Keystream(hashlib.blake2b(key=key, person=_PURPOSE, digest_size=32).digest())
    out = np.empty((count, len(basis), basis.ring_degree), dtype=np.uint64)
    for i in range(count):
        for j, q in enumerate(basis.moduli):
            stream.seek(_COUNTER.pack(first + i, q, 0))
            fill_uniform(stream.read, out[i, j], q)
    return out


def fill_uniform(read: Callable[[int], NDArray[np.uint8]], out: Words, q: int) -> None:
    """Fill `out` (any length, contiguous) with words of the stream `read`, cut to the bits of q, that are below q."""
    mask, bound = np.uint64((1 << q.bit_length()) - 1), np.uint64(q)
    filled = 0
    while filled < out.size:
        words = read(8 * (out.size - filled)).view("<u8")
        filled = kernels.accept_below(out, filled, words, mask, bound)


def _expand_seal(seed: Seed, basis: RnsBasis) -> Words:
    words = basis.ring_degree * len(basis)
    blocks = -(-words // _SEAL_BLOCK_WORDS)
    stream = _seal_stream(seed, 0, blocks)
    out = stream[:words].reshape(len(basis), basis.ring_degree).copy()
    rest = (_seal_stream(seed, block, 1) for block in itertools.count(blocks))
    spare = (word for part in itertools.chain([stream[words:]], rest) for word in part.tolist())
    for row, q in zip(out, basis.moduli, strict=True):
        bound = (2**64 - 1) // q * q - 1
        for at in np.flatnonzero(row >= np.uint64(bound)):
            row[at] = next(word for word in spare if word < bound)
        np.remainder(row, np.uint64(q), out=row)
    return out


def expand_uniform_seal_3(key: bytes, basis: RnsBasis, minor: int) -> Words:
    """The polynomial (k, N) of a BLAKE2Xb seed as SEAL 3.4 and 3.5 expanded it.

    The stream is taken as pairs (a, b) of u32: a*2^32 + b in 3.5, a*2^31 + b/2 in 3.4; numbers from the largest
    multiple of q less 1 on are left out.
    """
    limit = 2**63 - 1 if minor == 4 else 2**64 - 1
    seed = Seed(SeedKind.BLAKE2XB, key)
    stream = np.empty(0, dtype=np.uint64)
    blocks = 0

    def more() -> Words:
        nonlocal blocks
        count = max(1, basis.ring_degree // _SEAL_BLOCK_WORDS)
        words = _seal_stream(seed, blocks, count)
        blocks += count
        swapped = words << np.uint64(32) | words >> np.uint64(32)
        return swapped if minor == 5 else (swapped & ~np.uint64(2**32 - 1)) >> np.uint64(1) | words >> np.uint64(33)

    out = np.empty((len(basis), basis.ring_degree), dtype=np.uint64)
    for row, q in zip(out, basis.moduli, strict=True):
        bound = np.uint64(limit // q * q - 1)
        while (accepted := np.flatnonzero(stream < bound)).size < row.size:
            stream = np.concatenate([stream, more()])
        np.remainder(stream[accepted[: row.size]], np.uint64(q), out=row)
        stream = stream[accepted[row.size - 1] + 1 :]
    return out


def _seal_stream(seed: Seed, first: int, count: int) -> Words:
    """Blocks first … first+count-1 of SEAL's stream, as words (512 * count,)."""
    counters = [struct.pack("<Q", first + i) for i in range(count)]
    if seed.kind is SeedKind.SHAKE256:
        data = b"".join(hashlib.shake_256(seed.key + n).digest(_SEAL_BLOCK_BYTES) for n in counters)
        return np.frombuffer(data, dtype="<u8").astype(np.uint64)
    offset = _SEAL_BLOCK_BYTES << 32  # the root node's: the length of the whole output stands in the upper half
    roots = [hashlib.blake2b(n, key=seed.key, node_offset=offset).digest() for n in counters]
    digests = np.frombuffer(b"".join(roots), dtype="<u8").astype(np.uint64).reshape(count, 8)
    out = np.empty((count, _SEAL_BLOCK_BYTES // 64, 8), dtype=np.uint64)
    kernels.blake2x_nodes(out, digests, _SEAL_BLOCK_BYTES)
    return out.reshape(-1)
