"""TenSEAL's messages around SEAL's objects: contexts, CKKS vectors and CKKS tensors.

Protocol buffers, proto3 (tenseal/proto/*.proto of TenSEAL 0.3); each `bytes` field that is not a message holds one
complete SEAL object for `hecore.ckks.seal_wire`. Fields without a value are not written, unknown ones are skipped, of
repeated singular fields the last one counts; two of one message would have to be merged, and are refused.

=================  ====================================================================================
message            fields
=================  ====================================================================================
Context            1 parameters, 2 Public, 3 Private, 4 encryption type (0 asymmetric, 1 symmetric)
Public             1 public key, 2 flags, 3 double scale, 4 relinearization keys, 5 Galois keys
Private            1 secret key, 2 bool: relinearization keys are made anew on loading, 3 bool: Galois keys
CKKSVector         1 packed sizes, 2 repeated ciphertext, 3 double scale
CKKSTensor         1 packed shape, 2 repeated ciphertext, 3 double scale, 4 batch size
any of the three   1000 our extension, which TenSEAL skips as it skips any unknown field
=================  ====================================================================================
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from hecore.errors import OperandTypeError, SerializationError
from hecore.wire import Bytes, PayloadReader

AUTO_RELINEARIZE, AUTO_RESCALE, AUTO_MOD_SWITCH = 1, 2, 4
ASYMMETRIC, SYMMETRIC = 0, 1
NO_SCALE = -1.0
"""The scale of a context whose owner set none."""
EXTENSION = 1000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DIMENSIONS = 1 << 16
_MAX_AXES = 32  # of a tensor, as in our own form
_MAX_FIELDS = 1 << 18  # a field of two bytes takes a hundred to keep
_U32 = (1 << 32) - 1

Value = int | memoryview
Fields = dict[int, list[tuple[int, Value]]]


@dataclass(frozen=True)
class ContextMessage:
    """A context. Its SEAL objects are bytes, empty where there is none; `secret_key` is not printed."""

    parameters: bytes = field(repr=False)
    encryption_type: int = ASYMMETRIC
    auto_flags: int = AUTO_RELINEARIZE | AUTO_RESCALE | AUTO_MOD_SWITCH
    scale: float = NO_SCALE
    public_key: bytes = field(default=b"", repr=False)
    relinearization_keys: bytes = field(default=b"", repr=False)
    galois_keys: bytes = field(default=b"", repr=False)
    secret_key: bytes = field(default=b"", repr=False)
    makes_relinearization_keys: bool = False
    makes_galois_keys: bool = False
    extension: bytes = b""


@dataclass(frozen=True)
class VectorMessage:
    """A CKKS vector: values in each ciphertext, the ciphertexts, the scale they were encrypted with."""

    sizes: tuple[int, ...]
    ciphertexts: tuple[bytes, ...] = field(repr=False)
    scale: float
    extension: bytes = b""


@dataclass(frozen=True)
class TensorMessage:
    """A CKKS tensor: one ciphertext an element of `shape` in C order, each holding `batch_size` values."""

    shape: tuple[int, ...]
    ciphertexts: tuple[bytes, ...] = field(repr=False)
    scale: float
    batch_size: int | None
    extension: bytes = b""


def write_context(message: ContextMessage) -> bytes:
    """A context's bytes."""
    public = (
        _bytes_field(1, message.public_key)
        + _uint_field(2, message.auto_flags)
        + _double_field(3, message.scale)
        + _bytes_field(4, message.relinearization_keys)
        + _bytes_field(5, message.galois_keys)
    )
    private = (
        _bytes_field(1, message.secret_key)
        + _uint_field(2, message.makes_relinearization_keys)
        + _uint_field(3, message.makes_galois_keys)
    )
    return (
        _bytes_field(1, message.parameters)
        + _bytes_field(2, public)
        + (_bytes_field(3, private) if message.secret_key else b"")
        + _uint_field(4, message.encryption_type)
        + _bytes_field(EXTENSION, message.extension)
    )


def read_context(data: Bytes) -> ContextMessage:
    """Inverse of `write_context`. Raises SerializationError."""
    fields = _fields(data)
    public, private = (_fields(_message(fields, number)) for number in (2, 3))
    return ContextMessage(
        parameters=_bytes(fields, 1),
        encryption_type=_uint(fields, 4, SYMMETRIC),
        auto_flags=_uint(public, 2, AUTO_RELINEARIZE | AUTO_RESCALE | AUTO_MOD_SWITCH),
        scale=_double(public, 3),
        public_key=_bytes(public, 1),
        relinearization_keys=_bytes(public, 4),
        galois_keys=_bytes(public, 5),
        secret_key=_bytes(private, 1),
        makes_relinearization_keys=bool(_uint(private, 2, 1)),
        makes_galois_keys=bool(_uint(private, 3, 1)),
        extension=_bytes(fields, EXTENSION),
    )


def write_vector(message: VectorMessage) -> bytes:
    """A CKKS vector's bytes."""
    return _array(message.sizes, message.ciphertexts, message.scale) + _bytes_field(EXTENSION, message.extension)


def read_vector(data: Bytes) -> VectorMessage:
    """Inverse of `write_vector`. Raises SerializationError, also unless each ciphertext has a size."""
    fields = _fields(data)
    sizes, ciphertexts = _uints(fields, 1), _all_bytes(fields, 2)
    if len(sizes) != len(ciphertexts):
        raise SerializationError(f"cannot read a vector of {len(ciphertexts)} ciphertexts and {len(sizes)} sizes")
    return VectorMessage(sizes, ciphertexts, _double(fields, 3), _bytes(fields, EXTENSION))


def write_tensor(message: TensorMessage) -> bytes:
    """A CKKS tensor's bytes."""
    return (
        _array(message.shape, message.ciphertexts, message.scale)
        + _uint_field(4, message.batch_size or 0)
        + _bytes_field(EXTENSION, message.extension)
    )


def read_tensor(data: Bytes) -> TensorMessage:
    """Inverse of `write_tensor`. Raises SerializationError; whether shape and ciphertexts agree, the caller checks."""
    fields = _fields(data)
    shape = _uints(fields, 1)
    if len(shape) > _MAX_AXES:
        raise SerializationError(f"cannot read a tensor of {len(shape)} axes: at most {_MAX_AXES}")
    return TensorMessage(
        shape,
        _all_bytes(fields, 2),
        _double(fields, 3),
        _uint(fields, 4, _U32) or None,
        _bytes(fields, EXTENSION),
    )


def _array(sizes: tuple[int, ...], ciphertexts: tuple[bytes, ...], scale: float) -> bytes:
    parts = [_bytes_field(1, b"".join(_varint(size) for size in sizes))]
    parts += [_varint(2 << 3 | _BYTES) + _varint(len(data)) + data for data in ciphertexts]
    return b"".join([*parts, _double_field(3, scale)])


# -- writing fields ----------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _uint_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value) if value else b""


def _bytes_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data if data else b""


def _double_field(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value) if value else b""


# -- reading fields ----------------------------------------------------------------------------------------


class _FieldReader(PayloadReader):
    def varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1
            shift += 7
        raise SerializationError("cannot read a varint of more than ten bytes")

    @property
    def left(self) -> int:
        return self._rest.nbytes


def _fields(data: Bytes) -> Fields:
    """Number -> (wire type, value) in order. Values are views: nothing is copied."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise OperandTypeError(f"cannot read a message from {type(data).__name__}: bytes are needed")
    reader = _FieldReader(data)
    fields: Fields = {}
    count = 0
    while reader.left:
        count += 1
        if count > _MAX_FIELDS:
            raise SerializationError(f"cannot read a message of more than {_MAX_FIELDS} fields")
        key = reader.varint()
        number, kind = key >> 3, key & 7
        value: Value
        if kind == _VARINT:
            value = reader.varint()
        elif kind == _BYTES:
            value = reader.block(reader.varint())
        elif kind in (_FIXED64, _FIXED32):
            value = reader.block(8 if kind == _FIXED64 else 4)
        else:
            raise SerializationError(f"cannot read a field of wire type {kind}")
        if not 1 <= number < 1 << 29:
            raise SerializationError(f"cannot read a field of number {number}")
        fields.setdefault(number, []).append((kind, value))
    return fields


def _values(fields: Fields, number: int, kind: int) -> Iterator[Value]:
    for found, value in fields.get(number, ()):
        if found != kind:
            raise SerializationError(f"cannot read field {number} of wire type {found}: {kind}")
        yield value


def _all_bytes(fields: Fields, number: int) -> tuple[bytes, ...]:
    return tuple(bytes(value) for value in _values(fields, number, _BYTES))


def _bytes(fields: Fields, number: int) -> bytes:
    return (b"", *_all_bytes(fields, number))[-1]


def _message(fields: Fields, number: int) -> bytes:
    found = _all_bytes(fields, number)
    if len(found) > 1:
        raise SerializationError(f"cannot read message {number} twice")
    return (b"", *found)[-1]


def _uint(fields: Fields, number: int, most: int) -> int:
    value = (0, *_values(fields, number, _VARINT))[-1]
    assert isinstance(value, int)
    if value > most:
        raise SerializationError(f"cannot read {value} in field {number}: at most {most}")
    return value


def _double(fields: Fields, number: int) -> float:
    value = 0.0
    for data in _values(fields, number, _FIXED64):
        assert isinstance(data, memoryview)
        (value,) = struct.unpack("<d", data)
    if not math.isfinite(value):
        raise SerializationError(f"cannot read {value} in field {number}: a finite number is needed")
    return value


def _uints(fields: Fields, number: int) -> tuple[int, ...]:
    """A repeated uint32, packed or not."""
    out: list[int] = []
    for kind, value in fields.get(number, ()):
        if isinstance(value, int):
            out.append(value)
            continue
        if kind != _BYTES:
            raise SerializationError(f"cannot read field {number} of wire type {kind}: 0 or 2")
        reader = _FieldReader(value)
        while reader.left:
            out.append(reader.varint())
            if len(out) > _MAX_DIMENSIONS:
                raise SerializationError(f"cannot read more than {_MAX_DIMENSIONS} numbers in field {number}")
    if any(value > _U32 for value in out):
        raise SerializationError(f"cannot read a number beyond 32 bits in field {number}")
    return tuple(out)
