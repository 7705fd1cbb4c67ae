"""Encrypted arrays as bytes: the payload inside the frame of `wire` (docs/wire-format.md), little-endian.

=====================  =================================================================================
field                  meaning
=====================  =================================================================================
u8 version             of this payload: 1
u8 flags               1: fixed point (else integers), 2: one exponent per element, 4: fixed-scale mode,
                       8: randomised since the last deterministic operation; other bits are zero
u8 ndim, ndim * u64    the shape; at most 32 axes, none of size zero
integer bound          u32 byte count, then the bytes: the largest magnitude of a plaintext, at most n//3
i64 exponent           or one per element, C order
i64 exponent, u32 bits the grid of the fixed-scale mode, where flagged
residues               canonical ciphertexts, 8 * limbs(n^2) bytes each, C order, to the end of the payload
=====================  =================================================================================

A packed array is a frame of its own kind: u8 version, u8 flags (1: fixed point, 2: declared so), u32 slot_bits,
u32 guard_bits, u32 slots, u64 length, i64 declared exponent, i64 exponent, integer slot_bound, then the frame of its
ciphertexts.

Everything but the residues is public metadata that the receiver needs to read the numbers. What is not randomised
is rerandomised on the way out, unless `raw`: the result of a computation otherwise tells how it was computed.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from hecore import wire
from hecore.backends import registry
from hecore.errors import KeyMismatchError, ParameterError, SerializationError, SlotOverflowError
from hecore.paillier.ciphertext import EncryptedArray
from hecore.paillier.encoding import Encoding, FixedPoint, plaintext_limit
from hecore.paillier.packing import PackedArray, Packing, repunit
from hecore.paillier.validation import check_ciphertexts

if TYPE_CHECKING:
    from hecore.paillier.keys import PublicKey

PAYLOAD_VERSION = 1
MAX_EXPONENT = 1 << 20
_MAX_NDIM = 32
_FIXED, _PER_ELEMENT, _FIXED_SCALE, _RANDOMISED = 1, 2, 4, 8
_DECLARED_FIXED = 2  # of a packed array
_LIMB_BYTES = 8


def to_bytes(array: EncryptedArray, *, raw: bool = False) -> bytes:
    """The wire form of an array. `raw` sends the residues as they are: only for storage of your own.

    Raises SerializationError for exponents beyond ±2**20 and shapes of more than 32 axes.
    """
    if not raw and not array.randomised:
        array = array.rerandomize()
    encoding = array.encoding
    exponents = np.asarray(encoding.exponent, dtype="<i8")
    if np.abs(exponents).max() > MAX_EXPONENT or array.ndim > _MAX_NDIM:
        raise SerializationError(f"cannot write exponents beyond ±{MAX_EXPONENT} or more than {_MAX_NDIM} axes")
    grid = encoding.fixed_scale
    flags = (
        _FIXED * (encoding.kind == "fixed")
        | _PER_ELEMENT * encoding.per_element
        | _FIXED_SCALE * (grid is not None)
        | _RANDOMISED * array.randomised
    )
    head = [
        struct.pack(f"<BBB{array.ndim}Q", PAYLOAD_VERSION, flags, array.ndim, *array.shape),
        wire.pack_integer(array.bound),
        exponents.tobytes(),
        b"" if grid is None else struct.pack("<qI", grid.exponent, grid.bits),
    ]
    limbs = np.asarray(array.residues.backend.download(array.residues), dtype="<u8", order="C")
    return wire.write_frame(wire.Kind.ENCRYPTED_ARRAY, array.public_key.fingerprint, *head, limbs.reshape(-1).data)


def from_bytes(data: wire.Bytes, public_key: PublicKey) -> EncryptedArray:
    """Reads the wire form on the current backend.

    Nothing is trusted: the frame's checksum, every length against what is there, the metadata against its ranges,
    each ciphertext against 0 < c < n^2 and gcd(c, n) = 1. Raises SerializationError, KeyMismatchError for another
    key's array, CiphertextError and OperandTypeError.
    """
    frame = wire.read_frame(data, wire.Kind.ENCRYPTED_ARRAY)
    if frame.fingerprint != public_key.fingerprint:
        raise KeyMismatchError(f"cannot read an array of key {frame.fingerprint} with {public_key!r}")
    reader = wire.PayloadReader(frame.payload)
    version, flags, ndim = reader.u8(), reader.u8(), reader.u8()
    if version != PAYLOAD_VERSION:
        raise SerializationError(
            f"cannot read an array payload of version {version}: this release reads version {PAYLOAD_VERSION}"
        )
    if flags & ~(_FIXED | _PER_ELEMENT | _FIXED_SCALE | _RANDOMISED) or ndim > _MAX_NDIM:
        raise SerializationError(f"cannot read an array payload with flags {flags:#x} and {ndim} axes")
    shape = tuple(reader.u64() for _ in range(ndim))
    size = math.prod(shape)
    row_bytes = _LIMB_BYTES * public_key.n_squared.limbs
    if not 0 < size * row_bytes <= len(frame.payload):
        raise SerializationError(
            f"cannot read an array of shape {shape}: {len(frame.payload)} payload bytes do not hold it"
        )
    bound = reader.integer(_LIMB_BYTES * public_key.n_squared.limbs)
    if bound > plaintext_limit(public_key.n):
        raise SerializationError("cannot read an array whose bound exceeds the plaintext space")
    encoding = _read_encoding(reader, flags, shape)
    residues = np.frombuffer(reader.block(size * row_bytes), dtype="<u8").astype(np.uint64)
    reader.finish()
    checked = check_ciphertexts(residues.reshape(*shape, -1), public_key, registry.current())
    return EncryptedArray(public_key, checked, encoding, bound, randomised=bool(flags & _RANDOMISED))


def _read_encoding(reader: wire.PayloadReader, flags: int, shape: tuple[int, ...]) -> Encoding:
    number = math.prod(shape) if flags & _PER_ELEMENT else 1
    exponents = np.frombuffer(reader.block(8 * number), dtype="<i8").astype(np.int64)
    if exponents.min() < -MAX_EXPONENT or exponents.max() > MAX_EXPONENT:
        raise SerializationError(f"cannot read exponents beyond ±{MAX_EXPONENT}")
    grid = None
    if flags & _FIXED_SCALE:
        exponent, bits = reader.i64(), reader.u32()
        try:
            grid = FixedPoint(exponent, bits, fixed_scale=True)
        except ParameterError:
            raise SerializationError("cannot read the grid of a fixed-scale array: out of range") from None
    if not flags & _FIXED:
        if flags & _PER_ELEMENT or exponents[0] != 0:
            raise SerializationError("cannot read an array of integers with an exponent")
        return Encoding("integer", 0, grid)
    encoding = Encoding("fixed", int(exponents[0]), grid)
    return encoding.with_exponent(exponents.reshape(shape)) if flags & _PER_ELEMENT else encoding


_PACKED_HEAD = struct.Struct("<BBIIIQqq")


def packed_to_bytes(packed: PackedArray, *, raw: bool = False) -> bytes:
    """The wire form of a packed array; as `to_bytes`."""
    packing, exponent = packed.packing, packed.encoding.exponent
    assert isinstance(exponent, int)
    flags = _FIXED * (packed.encoding.kind == "fixed") | _DECLARED_FIXED * (packing.exponent is not None)
    sizes = (packing.slot_bits, packing.guard_bits, packed.slots, packed.length)
    head = _PACKED_HEAD.pack(PAYLOAD_VERSION, flags, *sizes, packing.exponent or 0, exponent)
    parts = [head, wire.pack_integer(packed.slot_bound), to_bytes(packed.array, raw=raw)]
    return wire.write_frame(wire.Kind.PACKED_ARRAY, packed.public_key.fingerprint, *parts)


def packed_from_bytes(data: wire.Bytes, public_key: PublicKey) -> PackedArray:
    """Reads a packed array on the current backend; checks and errors as `from_bytes`."""
    frame = wire.read_frame(data, wire.Kind.PACKED_ARRAY)
    if frame.fingerprint != public_key.fingerprint:
        raise KeyMismatchError(f"cannot read a packed array of key {frame.fingerprint} with {public_key!r}")
    reader = wire.PayloadReader(frame.payload)
    version, flags, slot_bits, guard_bits, slots, length, declared, exponent = _PACKED_HEAD.unpack(
        reader.block(_PACKED_HEAD.size)
    )
    slot_bound = reader.integer(_LIMB_BYTES * public_key.n_squared.limbs)
    if version != PAYLOAD_VERSION or flags & ~(_FIXED | _DECLARED_FIXED):
        raise SerializationError(f"cannot read a packed array of version {version} with flags {flags:#x}")
    try:
        packing = Packing(slot_bits, guard_bits, declared if flags & _DECLARED_FIXED else None, slots)
        packing.slots_in(public_key)
    except (ParameterError, SlotOverflowError):
        raise SerializationError("cannot read a packed array with this layout: out of range for the key") from None
    inner_bytes = reader.block(len(frame.payload) - _PACKED_HEAD.size - 4 - (slot_bound.bit_length() + 7) // 8)
    array = from_bytes(inner_bytes, public_key)
    fixed = bool(flags & _FIXED)
    consistent = (
        array.ndim >= 1
        and array.shape[-1] == -(-length // slots)
        and slot_bound <= packing.slot_limit
        and array.bound == slot_bound * repunit(packing.width, slots)
        and abs(exponent) <= MAX_EXPONENT
        and array.encoding.same_as(Encoding("integer"))
        and (fixed or (exponent == 0 and not flags & _DECLARED_FIXED))
    )
    if not consistent:
        raise SerializationError("cannot read a packed array whose fields contradict each other")
    encoding = Encoding("fixed", exponent) if fixed else Encoding("integer")
    return PackedArray(array, packing, slots, length, encoding, slot_bound)
