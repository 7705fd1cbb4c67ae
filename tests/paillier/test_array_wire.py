"""Arrays as bytes: round trips, and every way in which foreign bytes can be wrong."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore import wire
from hecore.errors import CiphertextError, HecoreError, KeyMismatchError, OperandTypeError, SerializationError
from hecore.paillier import (
    EncryptedArray,
    FixedPoint,
    FloatsPerElement,
    PackedArray,
    Packing,
    PublicKey,
    SecretKey,
    generate_insecure_keypair,
)
from hecore.paillier.array_wire import MAX_EXPONENT
from hecore.paillier.encoding import Encoding, EncodingChoice

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]


@pytest.fixture(scope="module")
def keys() -> Keys:
    return generate_insecure_keypair(128)


def payload_of(data: bytes) -> bytes:
    return bytes(wire.read_frame(data).payload)


def framed(keys: Keys, payload: bytes, kind: wire.Kind = wire.Kind.ENCRYPTED_ARRAY) -> bytes:
    """A frame with a right checksum around a payload that may be anything: what a forger sends."""
    return wire.write_frame(kind, keys[0].fingerprint, payload)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("kind", ["int", "float", "per element", "fixed scale"])
def test_round_trip(keys: Keys, shape: tuple[int, ...], kind: str) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) - 1
    encodings: dict[str, EncodingChoice] = {
        "per element": FloatsPerElement(),
        "fixed scale": FixedPoint(-7, 30, fixed_scale=True),
    }
    encoding = encodings.get(kind)
    x = keys[0].encrypt(values if kind == "int" else (values / 4).astype(np.float16), encoding=encoding)
    for y in (EncryptedArray.from_bytes(x.to_bytes(), keys[0]), pickle.loads(pickle.dumps(x))):
        assert (y.shape, y.bound, y.encoding.kind, y.encoding.fixed_scale, y.randomised) == (
            x.shape, x.bound, x.encoding.kind, x.encoding.fixed_scale, True,
        )  # fmt: skip
        np.testing.assert_array_equal(y.encoding.exponent, x.encoding.exponent)
        np.testing.assert_array_equal(keys[1].decrypt(y), keys[1].decrypt(x))
        assert y.public_key == keys[0]


def test_packed_round_trip(keys: Keys) -> None:
    for packing, values in ((Packing(5, 3), [1, -2, 31, 4, 5]), (Packing(9, 3, exponent=-4), [0.5, -1.25])):
        p = packing.encrypt(keys[0], [values, values])
        for q in (p.sum(), p * FORTH):
            for r in (PackedArray.from_bytes(q.to_bytes(), keys[0]), pickle.loads(pickle.dumps(q))):
                assert r.array.randomised
                assert r.slot_bound == q.slot_bound
                assert r.packing.encoding == packing.encoding
                np.testing.assert_array_equal(keys[1].decrypt(r), keys[1].decrypt(q))
                np.testing.assert_array_equal(keys[1].decrypt(r + q), 2 * keys[1].decrypt(q))


FORTH = np.array([[True], [False]])


@pytest.fixture(scope="module")
def frame(keys: Keys) -> bytes:
    return keys[0].encrypt(np.array([1.0, -2.5]), encoding=FixedPoint(-4, 20)).to_bytes()


@pytest.fixture(scope="module")
def packed_frame(keys: Keys) -> bytes:
    return Packing(5, 3).encrypt(keys[0], [[1, -2, 31, 4, 5]]).to_bytes()


def test_truncated_at_every_offset(keys: Keys, frame: bytes, packed_frame: bytes) -> None:
    for length in range(len(frame)):
        with pytest.raises(SerializationError):
            EncryptedArray.from_bytes(frame[:length], keys[0])
    for length in range(len(packed_frame)):
        with pytest.raises(SerializationError):
            PackedArray.from_bytes(packed_frame[:length], keys[0])
    with pytest.raises(SerializationError):
        EncryptedArray.from_bytes(frame + b"\0", keys[0])


def test_a_bit_flipped_at_every_offset(keys: Keys, frame: bytes, packed_frame: bytes) -> None:
    for position in range(8 * len(frame)):
        with pytest.raises(SerializationError):
            EncryptedArray.from_bytes(flipped(frame, position), keys[0])
    for position in range(0, 8 * len(packed_frame), 3):
        with pytest.raises(SerializationError):
            PackedArray.from_bytes(flipped(packed_frame, position), keys[0])


def flipped(data: bytes, position: int) -> bytes:
    out = bytearray(data)
    out[position // 8] ^= 1 << position % 8
    return bytes(out)


def test_payload_cut_and_flipped_under_a_right_checksum(keys: Keys, frame: bytes, packed_frame: bytes) -> None:
    """A forger writes a right checksum: nothing but a hecore error or a well-formed array may come out."""
    public_key, _ = keys
    for data, read in ((frame, EncryptedArray.from_bytes), (packed_frame, PackedArray.from_bytes)):
        kind, payload = wire.read_frame(data).kind, payload_of(data)
        for length in range(len(payload)):
            with pytest.raises(SerializationError):
                read(framed(keys, payload[:length], kind), public_key)
        with pytest.raises(SerializationError):
            read(framed(keys, payload + b"\0", kind), public_key)
        for position in range(8 * len(payload)):
            well_formed(read, framed(keys, flipped(payload, position), kind), keys)


def well_formed(read: Any, data: bytes, keys: Keys) -> None:
    try:
        array = read(data, keys[0])
    except HecoreError:
        return
    inner = array.array if isinstance(array, PackedArray) else array
    assert inner.bound <= keys[0].n // 3
    assert inner.size * 8 * keys[0].n_squared.limbs <= len(data)
    exponent = np.asarray(inner.encoding.exponent)
    assert exponent.ndim == 0 or exponent.shape == inner.shape
    assert np.abs(exponent).max() <= MAX_EXPONENT


@given(payload=st.binary(max_size=300), packed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_fuzz_payloads(keys: Keys, payload: bytes, packed: bool) -> None:
    if packed:
        well_formed(PackedArray.from_bytes, framed(keys, payload, wire.Kind.PACKED_ARRAY), keys)
    else:
        well_formed(EncryptedArray.from_bytes, framed(keys, payload), keys)


@given(data=st.data(), packed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_fuzz_edited_payloads(keys: Keys, frame: bytes, packed_frame: bytes, data: st.DataObject, packed: bool) -> None:
    """Valid payloads with a few bytes replaced, cut out or put in: deeper than random bytes reach."""
    payload = bytearray(payload_of(packed_frame if packed else frame))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(payload)))
        payload[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    read = PackedArray.from_bytes if packed else EncryptedArray.from_bytes
    well_formed(
        read, framed(keys, bytes(payload), wire.Kind.PACKED_ARRAY if packed else wire.Kind.ENCRYPTED_ARRAY), keys
    )


def write(keys: Keys, *, version: int = 1, flags: int = 9, shape: tuple[int, ...] = (1,), bound: int = 5,
          exponents: tuple[int, ...] = (0,), residues: bytes | None = None) -> bytes:  # fmt: skip
    limbs = keys[0].n_squared.limbs
    one = (1).to_bytes(8 * limbs, "little") * int(np.prod(shape, dtype=object)) if residues is None else residues
    return framed(
        keys,
        struct.pack(f"<BBB{len(shape)}Q", version, flags, len(shape), *shape)
        + wire.pack_integer(bound)
        + struct.pack(f"<{len(exponents)}q", *exponents)
        + one,
    )


def test_the_forged_frame_is_readable_when_nothing_is_wrong(keys: Keys) -> None:
    x = EncryptedArray.from_bytes(write(keys, shape=(2,)), keys[0])
    assert keys[1].decrypt(x).tolist() == [0, 0]
    assert x.bound == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"flags": 16}, "flags"),
        ({"shape": (0,), "residues": b""}, "do not hold"),
        ({"shape": (1 << 62, 1 << 62), "residues": b"1" * 64}, "do not hold"),
        ({"shape": (3,), "residues": b"1" * 32}, "do not hold|left"),
        ({"shape": (1,) * 33}, "axes"),
        ({"flags": 8, "exponents": (-1,)}, "integers with an exponent"),
        ({"flags": 10}, "integers with an exponent"),
        ({"exponents": (MAX_EXPONENT + 1,)}, "exponents beyond"),
        ({"exponents": (-(2**63),)}, "exponents beyond"),
        ({"flags": 13, "exponents": (0, 1 << 40, 0)}, "grid"),
        ({"bound": 1 << 127}, "bound"),
        ({"bound": 1 << 5000}, "integer of"),
    ],
)
def test_fields_out_of_range(keys: Keys, change: dict[str, Any], words: str) -> None:
    with pytest.raises(SerializationError, match=words):
        EncryptedArray.from_bytes(write(keys, **change), keys[0])


def test_ciphertexts_out_of_range(keys: Keys) -> None:
    n, secret_key = keys[0].n, keys[1]
    size = 8 * keys[0].n_squared.limbs
    for bad in (0, n * n, n * n + 1, 2 ** (8 * size) - 1, n, secret_key.crt.p, n * 5):
        residues = b"".join(c.to_bytes(size, "little") for c in (1, bad, 2))
        with pytest.raises(CiphertextError, match="flat indices 1"):
            EncryptedArray.from_bytes(write(keys, shape=(3,), residues=residues), keys[0])


def test_packed_fields_that_contradict_each_other(keys: Keys) -> None:
    """Each field of a packed array changed alone: the layout, the bound, the kind of number."""
    packed = Packing(5, 3, slots=4).encrypt(keys[0], [[1, -2, 31, 4, 5]])
    head = struct.Struct("<BBIIIQqq")
    payload = payload_of(packed.to_bytes())
    fields = head.unpack_from(payload)
    bound = wire.pack_integer(packed.slot_bound)
    rest = payload[head.size + len(bound) :]

    def forged(**changes: Any) -> bytes:
        names = ("version", "flags", "slot_bits", "guard_bits", "slots", "length", "declared", "exponent")
        values = [changes.get(name, value) for name, value in zip(names, fields, strict=True)]
        part = wire.pack_integer(changes.get("bound", packed.slot_bound)) + rest
        return framed(keys, head.pack(*values) + part, wire.Kind.PACKED_ARRAY)

    np.testing.assert_array_equal(keys[1].decrypt(PackedArray.from_bytes(forged(), keys[0])), [[1, -2, 31, 4, 5]])
    for changes in (
        {"version": 2}, {"flags": 4}, {"flags": 2}, {"slot_bits": 0}, {"slot_bits": 6}, {"guard_bits": 4}, {"slots": 0},
        {"slots": 3}, {"slots": 1000}, {"length": 0}, {"length": 4}, {"length": 9}, {"length": 2**64 - 1},
        {"exponent": 1}, {"flags": 1, "exponent": 2**40}, {"flags": 2, "declared": 2**40}, {"bound": 30}, {"bound": 32},
        {"bound": 1 << 9},
    ):  # fmt: skip
        with pytest.raises(SerializationError, match="packed"):
            PackedArray.from_bytes(forged(**changes), keys[0])


def test_kinds_and_keys_do_not_mix(keys: Keys, frame: bytes, packed_frame: bytes) -> None:
    other_key, _ = generate_insecure_keypair(128)
    with pytest.raises(KeyMismatchError):
        EncryptedArray.from_bytes(frame, other_key)
    with pytest.raises(SerializationError, match="PACKED_ARRAY as ENCRYPTED_ARRAY"):
        EncryptedArray.from_bytes(packed_frame, keys[0])
    with pytest.raises(SerializationError, match="ENCRYPTED_ARRAY as PACKED_ARRAY"):
        PackedArray.from_bytes(frame, keys[0])
    with pytest.raises(OperandTypeError, match="bytes"):
        EncryptedArray.from_bytes("hecr", keys[0])  # type: ignore[arg-type]


def test_what_cannot_be_written(keys: Keys) -> None:
    x = keys[0].encrypt([1])
    far = EncryptedArray.from_residues(keys[0], x.residues, Encoding("fixed", MAX_EXPONENT + 1))
    deep = EncryptedArray.from_residues(keys[0], x.reshape((1,) * 33).residues, Encoding())
    for refused in (far, deep):
        with pytest.raises(SerializationError, match="cannot write"):
            refused.to_bytes()
