"""Hostile inputs out of honest ones: blind changes of bytes, and changes that survive a parser's first line of defence.

A checksum or a length that no longer fits stops a parser at the door; so most mutated frames and .npy headers are
mended afterwards, as malice would, and JSON is changed token by token.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Sequence

import numpy as np

from hecore import wire

Mutation = Callable[[bytes, np.random.Generator, Sequence[bytes]], bytes]

MAX_BYTES = 1 << 17
_EDGES = (0, 1, 2, 127, 128, 255, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_TOKEN = re.compile(rb'"[^"]*"|\'[^\']*\'|-?[0-9.]+|\w+|\s+|.', re.DOTALL)
_TOKENS = (
    *(b"null", b"true", b"False", b"None", b"NaN", b"Infinity", b"1e400", b"-0", b"0", b"-1", b"1.5", b"7L", b"0or 1"),
    *(b"{", b"}", b"[", b"]", b"(", b")", b",", b":", b'"', b"'", b"\\", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(
        b'""',
        b'"v"',
        b'"e"',
        b'"n"',
        b'"h"',
        b'"p"',
        b'"q"',
        b'"pub"',
        b'"\\ud800"',
        b'"AA"',
        b'"\xd9\xa3"',
        b"\xd9\xa3",
    ),
    *(b"'<f8'", b"'|O'", b"'<U0'", b"'<M8[Y]'", b"[('a', '<f8')]", b"((1, 2), 3)", b"(-1,)", b"(99999999,)"),
    *(str(edge).encode() for edge in _EDGES),
    *(b"9" * 5000, b"[" * 20000, b"(" * 200, b'{"a":' * 3000, b'"' + b"_" * 1366 + b'"'),
)


def change_bytes(data: bytes, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """One blind change: a flip, a cut, a copy, a splice, a number at the edge of its range."""
    start = int(rng.integers(len(data) + 1))
    stop = min(len(data), start + int(rng.integers(1, 17)))
    match int(rng.integers(7)):
        case 0 if start < len(data):
            return data[:start] + bytes([data[start] ^ 1 << int(rng.integers(8))]) + data[start + 1 :]
        case 1:
            return data[:start]
        case 2:
            return data[:start] + data[stop:]
        case 3:
            return data[:start] + rng.bytes(int(rng.integers(1, 17))) + data[start:]
        case 4:
            return data[:stop] + data[start:]
        case 5:
            other = seeds[int(rng.integers(len(seeds)))]
            return data[:start] + other[int(rng.integers(len(other) + 1)) :]
        case _:
            size = int(rng.choice([1, 2, 4, 8]))
            edge = _EDGES[int(rng.integers(len(_EDGES)))] % (1 << 8 * size)
            number = edge.to_bytes(size, "little" if rng.integers(2) else "big")
            return data[:start] + number + data[start + size :]


def change_tokens(data: bytes, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """One change of text: a token replaced, dropped, doubled, exchanged with another, or one byte of it changed."""
    tokens = _TOKEN.findall(data)
    if not tokens or rng.integers(4) == 0:
        return change_bytes(data, rng, seeds)
    i, j = (int(k) for k in rng.integers(len(tokens), size=2))
    match int(rng.integers(4)):
        case 0:
            tokens[i] = _TOKENS[int(rng.integers(len(_TOKENS)))]
        case 1:
            del tokens[i]
        case 2:
            tokens.insert(i, tokens[j])
        case _:
            tokens[i], tokens[j] = tokens[j], tokens[i]
    return b"".join(tokens)


def change_frame(data: bytes, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """A blind change, and then mostly the lengths, fingerprints and checksums that belong to it."""
    changed = change_bytes(data, rng, seeds)
    return changed if rng.integers(8) == 0 else mend_frame(changed, fingerprint=bool(rng.integers(4)))


def change_npy(data: bytes, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """A change of the header's text, its length made to fit; or a blind one."""
    if len(data) < 10 or rng.integers(4) == 0:
        return change_bytes(data, rng, seeds)
    end = 10 + int.from_bytes(data[8:10], "little")
    header = change_tokens(data[10:end], rng, [seed[10:128] for seed in seeds])[: 2**16 - 1]
    return data[:8] + len(header).to_bytes(2, "little") + header + data[end:]


def mend_frame(data: bytes, *, fingerprint: bool = True) -> bytes:
    """The bytes with the frames in them, the inner first, made whole again; too few for a frame stay as they are."""
    if len(data) < wire.FRAME_OVERHEAD_BYTES:
        return data
    header, payload = bytearray(data[: wire.HEADER_BYTES]), data[wire.HEADER_BYTES : -wire.CHECKSUM_BYTES]
    header[:5] = wire.MAGIC + bytes([wire.VERSION])
    header[24:32] = struct.pack("<Q", len(payload))
    inner = payload.find(wire.MAGIC)
    if inner >= 0:
        stop = len(payload)
        if header[5] == wire.Kind.SECRET_KEY_UNPROTECTED:
            stop = min(stop, inner + int.from_bytes(payload[max(0, inner - 4) : inner], "little"))
        mended = mend_frame(payload[inner:stop], fingerprint=fingerprint)
        payload = payload[:inner] + mended + payload[stop:]
        if fingerprint:
            header[8:24] = mended[8:24].ljust(16, b"\0")
    elif fingerprint and header[5] == wire.Kind.PUBLIC_KEY:
        header[8:24] = hashlib.sha256(payload).digest()[:16]
    body = bytes(header) + payload
    return body + hashlib.sha256(body).digest()[: wire.CHECKSUM_BYTES]


def hostile(seeds: Sequence[bytes], rng: np.random.Generator, mutation: Mutation) -> bytes:
    """One of the seeds after one to four mutations, cut to MAX_BYTES."""
    data = seeds[int(rng.integers(len(seeds)))]
    for _ in range(int(rng.integers(1, 5))):
        data = mutation(data, rng, seeds)[:MAX_BYTES]
    return data
