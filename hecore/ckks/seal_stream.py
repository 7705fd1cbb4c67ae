"""SEAL's container: a header, then a body that may be compressed, in which further objects are nested.

Little-endian. The header (native/src/seal/serialization.h): u16 magic 0xA15E, u8 header size 16, u8 major and u8 minor
version, u8 compression (0 none, 1 zlib, 2 zstd), u16 zero, u64 bytes in all. SEAL 3.4 wrote u16 magic, u8 zero,
u8 compression, u32 bytes in all, u64 zero. The outermost object is compressed or not, nested ones never.

SEAL accepts every 3.x from 3.4 on, but of 4.y only its own y (4.4: every y up to it); so (3, 7) is written by default.
What is read is bounded before it is expanded: callers say how long a body of theirs can be.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import zstandard

from hecore.errors import OperandTypeError, ParameterError, SerializationError
from hecore.wire import Bytes, PayloadReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hecore.backends.ring_protocol import Words

_MAGIC = 0xA15E
_HEADER = struct.Struct("<HBBBBHQ")
_HEADER_3_4 = struct.Struct("<HBBIQ")
HEADER_BYTES = _HEADER.size
_ZSTD_LEVEL = 1  # residues are random: higher levels gain a few percent for several times the time
_ZSTD_MAX_WINDOW = 1 << 23  # SEAL's writer asks for 2 MiB; a window is allocated before anything is read
_ZSTD_MAGIC = 0xFD2FB528
_EXPANSION_SLACK = 1 << 12  # headers, which do compress


class Compression(IntEnum):
    """How the body of an outermost object is stored."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2


class Version(NamedTuple):
    """Version of SEAL in a header."""

    major: int
    minor: int


DEFAULT_VERSION = Version(3, 7)
_READ = {3: range(4, 256), 4: range(5)}


def nested(version: Version, *parts: Bytes) -> bytes:
    """An object inside another one: a header and the concatenated parts, not compressed."""
    size = HEADER_BYTES + sum(len(part) for part in parts)
    return b"".join([_HEADER.pack(_MAGIC, HEADER_BYTES, *version, Compression.NONE, 0, size), *parts])


def write_object(parts: Iterable[Bytes], *, compression: Compression, version: Version) -> bytes:
    """An outermost object. Raises ParameterError for a version that nobody reads."""
    if version.minor not in _READ.get(version.major, ()):
        raise ParameterError(f"cannot write SEAL version {version.major}.{version.minor}: 3.4 and later, 4.0 to 4.4")
    body = b"".join(parts)
    if compression is Compression.ZLIB:
        body = zlib.compress(body, 1)
    elif compression is Compression.ZSTD:
        body = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    return _HEADER.pack(_MAGIC, HEADER_BYTES, *version, compression, 0, HEADER_BYTES + len(body)) + body


def words_object(words: Words, version: Version) -> bytes:
    """SEAL's DynArray of uint64: a nested object of u64 count, then the words."""
    flat = np.ascontiguousarray(words, dtype="<u8").reshape(-1)
    return nested(version, struct.pack("<Q", flat.size), flat.data.cast("B"))


class SealReader(PayloadReader):
    """Reads the body of one SEAL object from front to back."""

    def __init__(self, body: Bytes, version: Version) -> None:
        super().__init__(body)
        self.version = version

    def f64(self) -> float:
        value: float = struct.unpack("<d", self.block(8))[0]
        return value

    def nested(self) -> SealReader:
        """The object that begins here; the reader goes on behind it."""
        version, compression, size = _read_header(self.block(HEADER_BYTES))
        if compression is not Compression.NONE or size < HEADER_BYTES:
            raise SerializationError(f"cannot read a nested SEAL object of {size} bytes, compression {compression}")
        return SealReader(self.block(size - HEADER_BYTES), version)

    def words(self, counts: Iterable[int]) -> Words:
        """A DynArray of one of these counts of words."""
        inner = self.nested()
        count = inner.u64()
        if count not in counts:
            raise SerializationError(f"cannot read {count} words of SEAL data: {' or '.join(map(str, counts))} belong")
        words = np.frombuffer(inner.block(8 * count), dtype="<u8").astype(np.uint64)
        inner.finish()
        return words


def read_object(data: Bytes, limit: int, *, expansion: float | None = None) -> SealReader:
    """Open an outermost object that is all of `data` and whose body has at most `limit` bytes.

    `expansion`: how many times as long as its compressed form an honest body can be, where that is known.
    Raises SerializationError for bytes that are truncated, too long, of another version or compression;
    OperandTypeError for anything but bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise OperandTypeError(f"cannot read a SEAL object from {type(data).__name__}: bytes are needed")
    view = memoryview(data)
    if not view.c_contiguous:
        raise OperandTypeError("cannot read a SEAL object from a memoryview that is not contiguous")
    view = view.cast("B").toreadonly()
    if view.nbytes < HEADER_BYTES:
        raise SerializationError(f"cannot read a SEAL object of {view.nbytes} bytes: its header has {HEADER_BYTES}")
    version, compression, size = _read_header(view[:HEADER_BYTES])
    if size != view.nbytes:
        raise SerializationError(f"cannot read a SEAL object: it announces {size} bytes, {view.nbytes} are there")
    body = view[HEADER_BYTES:]
    if expansion is not None:
        limit = min(limit, _EXPANSION_SLACK + int(expansion * body.nbytes))
    if compression is Compression.NONE:
        if body.nbytes > limit:
            raise SerializationError(f"cannot read a SEAL object of {body.nbytes} bytes: at most {limit} belong")
        return SealReader(body, version)
    expand = _expand_zlib if compression is Compression.ZLIB else _expand_zstd
    return SealReader(expand(body, limit), version)


def _read_header(header: memoryview) -> tuple[Version, Compression, int]:
    magic, header_size, major, minor, code, reserved, size = _HEADER.unpack(header)
    if magic == _MAGIC and header_size == 0:
        _, _, code, size, reserved = _HEADER_3_4.unpack(header)
        header_size, major, minor = HEADER_BYTES, 3, 4
    if magic != _MAGIC or header_size != HEADER_BYTES or reserved:
        raise SerializationError("cannot read these bytes: they do not begin as a SEAL object")
    if minor not in _READ.get(major, ()):
        raise SerializationError(f"cannot read SEAL version {major}.{minor}: 3.4 and later, 4.0 to 4.4")
    if code not in Compression.__members__.values():
        raise SerializationError(f"cannot read SEAL compression {code}: 0 none, 1 zlib, 2 zstd")
    return Version(major, minor), Compression(code), size


def _expand_zlib(body: memoryview, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error:
        raise SerializationError("cannot read a SEAL object: its zlib stream is damaged") from None
    if len(data) > limit:
        raise SerializationError(f"cannot read a SEAL object: it expands to more than the {limit} bytes that belong")
    if not stream.eof or stream.unused_data:
        raise SerializationError("cannot read a SEAL object: its zlib stream ends early or is followed by others")
    return data


def _expand_zstd(body: memoryview, limit: int) -> bytes:
    if _zstd_frame_bytes(body) != body.nbytes:
        raise SerializationError("cannot read a SEAL object: its body is not one zstd frame")
    try:
        announced = zstandard.frame_content_size(body)  # -1: not in the frame
        if announced > limit:
            raise SerializationError(
                f"cannot read a SEAL object: it expands to {announced} bytes, at most {limit} belong"
            )
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
        return decompressor.decompress(body, max_output_size=limit)
    except zstandard.ZstdError:
        raise SerializationError(
            f"cannot read a SEAL object: its zstd frame is damaged or expands to more than {limit} bytes"
        ) from None


def _zstd_frame_bytes(body: memoryview) -> int:
    """Bytes of the zstd frame that `body` begins with, or -1 for none (RFC 8878, section 3.1.1).

    The library does not say whether anything follows.
    """
    if body.nbytes < 5 or int.from_bytes(body[:4], "little") != _ZSTD_MAGIC:
        return -1
    descriptor = body[4]
    single_segment, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    at = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3] + content_size
    last = False
    while not last:
        if at + 3 > body.nbytes:
            return -1
        block = int.from_bytes(body[at : at + 3], "little")
        last = bool(block & 1)
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)  # a run of one byte stores that byte
    return at + 4 * has_checksum
