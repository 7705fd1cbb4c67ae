"""The versioned binary frame around keys and arrays (docs/wire-format.md): 32 bytes of header, payload, checksum.

The checksum finds accidents: truncation and altered bytes. It authenticates nothing; whoever alters bytes on
purpose recomputes it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from hecore.errors import OperandTypeError, SerializationError

MAGIC = b"hecr"
VERSION = 1
FINGERPRINT_BYTES = 16
CHECKSUM_BYTES = 16

_HEADER = struct.Struct(f"<4sBBH{FINGERPRINT_BYTES}sQ")  # magic, version, kind, reserved, fingerprint, payload length
HEADER_BYTES = _HEADER.size
FRAME_OVERHEAD_BYTES = HEADER_BYTES + CHECKSUM_BYTES

Bytes = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame holds."""

    PUBLIC_KEY = 1
    SECRET_KEY_UNPROTECTED = 2
    ENCRYPTED_ARRAY = 3
    PACKED_ARRAY = 4
    CKKS_PARAMETERS = 16
    CKKS_PUBLIC_KEY = 17
    CKKS_SECRET_KEY_UNPROTECTED = 18
    CKKS_EVALUATION_KEYS = 19
    CKKS_CIPHERTEXT = 20
    CKKS_TENSOR = 21


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame whose header and checksum were verified. `payload` is a view of the bytes it was read from."""

    kind: Kind
    fingerprint: str
    payload: memoryview = field(repr=False)


def write_frame(kind: Kind, fingerprint: str, *parts: Bytes) -> bytes:
    """The frame around the concatenated parts; `fingerprint` names the key, in 32 hexadecimal digits."""
    views = [memoryview(part).cast("B") for part in parts]
    length = sum(view.nbytes for view in views)
    header = _HEADER.pack(MAGIC, VERSION, kind, 0, bytes.fromhex(fingerprint), length)
    return b"".join([header, *views, _checksum([header, *views])])


def read_frame(data: Bytes, kind: Kind | None = None) -> Frame:
    """Verify a frame, of the given kind where one is named. Copies nothing and allocates by no length it reads.

    Raises SerializationError for bytes that are truncated, altered, followed by others, of another version or
    kind; OperandTypeError for anything but bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise OperandTypeError(f"cannot read a frame from {type(data).__name__}: bytes are needed")
    if isinstance(data, memoryview) and not data.c_contiguous:
        raise OperandTypeError("cannot read a frame from a memoryview that is not contiguous")
    view = memoryview(data).cast("B").toreadonly()
    if view.nbytes < FRAME_OVERHEAD_BYTES:
        raise SerializationError(f"cannot read a frame of {view.nbytes} bytes: the smallest has {FRAME_OVERHEAD_BYTES}")
    magic, version, code, reserved, fingerprint, length = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise SerializationError("cannot read these bytes: they do not begin as a hecore frame")
    if version != VERSION:
        raise SerializationError(f"cannot read a frame of version {version}: this release reads version {VERSION}")
    present = view.nbytes - FRAME_OVERHEAD_BYTES
    if length != present:
        raise SerializationError(f"cannot read the frame: it announces {length} payload bytes, {present} are there")
    body = view[:-CHECKSUM_BYTES]
    if _checksum([body]) != view[-CHECKSUM_BYTES:]:
        raise SerializationError("cannot read the frame: its checksum does not match, some byte was altered")
    if reserved != 0 or code not in Kind.__members__.values():
        raise SerializationError(f"cannot read the frame: kind {code} with reserved bits {reserved:#x} is unknown")
    if kind is not None and code != kind:
        raise SerializationError(f"cannot read a frame of kind {Kind(code).name} as {kind.name}")
    return Frame(Kind(code), fingerprint.hex(), body[HEADER_BYTES:])


def _checksum(parts: Sequence[Bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:CHECKSUM_BYTES]


def pack_u8(value: int) -> bytes:
    return struct.pack("<B", value)


def pack_u32(value: int) -> bytes:
    return struct.pack("<I", value)


def pack_integer(value: int) -> bytes:
    """A non-negative integer: u32 byte count, then little-endian bytes without leading zeros; 0 has none."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "little")
    return pack_u32(len(data)) + data


class PayloadReader:
    """Reads a payload from front to back; every length is checked against what is there before it is used."""

    def __init__(self, payload: Bytes) -> None:
        self._rest = memoryview(payload).cast("B")

    def block(self, count: int) -> memoryview:
        """The next `count` bytes, as a view."""
        if count > self._rest.nbytes:
            raise SerializationError(f"cannot read {count} bytes of the payload: {self._rest.nbytes} are left")
        block, self._rest = self._rest[:count], self._rest[count:]
        return block

    def u8(self) -> int:
        return self.block(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.block(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.block(8), "little")

    def i64(self) -> int:
        return int.from_bytes(self.block(8), "little", signed=True)

    def integer(self, max_bytes: int) -> int:
        """Inverse of `pack_integer`. Refuses more than `max_bytes` bytes and a leading zero: one form a number."""
        count = self.u32()
        if count > max_bytes:
            raise SerializationError(f"cannot read an integer of {count} bytes: at most {max_bytes} are allowed")
        data = self.block(count)
        if count and data[-1] == 0:
            raise SerializationError("cannot read an integer with leading zeros")
        return int.from_bytes(data, "little")

    def finish(self) -> None:
        """Raise unless everything was read."""
        if self._rest.nbytes:
            raise SerializationError(f"cannot read the payload: {self._rest.nbytes} bytes are left over")
