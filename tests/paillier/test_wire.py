"""The binary frame and the keys in it: fixed bytes, every truncation, every flipped bit, and bytes from nowhere."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hecore import wire
from hecore.errors import (
    HecoreError,
    InsecureParametersError,
    MalformedKeyError,
    OperandTypeError,
    ParameterError,
    SerializationError,
)
from hecore.paillier import PublicKey, SecretKey, generate_insecure_keypair
from hecore.wire import Kind, PayloadReader, pack_integer, pack_u8, pack_u32, read_frame, write_frame

if TYPE_CHECKING:
    from collections.abc import Callable

FINGERPRINT = "00112233445566778899aabbccddeeff"

# n = 1019*1543, h = -25 mod n. Written out by hand from docs/wire-format.md; the fingerprint and the checksum
# computed with sha256sum.
N, P, Q = 1019 * 1543, 1019, 1543
NUMBERS = bytes.fromhex("03000000ddfd1703000000c4fd17")
KNOWN_KEY = PublicKey.insecure(N, N - 25)


def reframe(data: bytes, payload: bytes | None = None, kind: int | None = None) -> bytes:
    """The frame with another payload or kind, its length and checksum made right again: what malice would send."""
    header, old = bytearray(data[: wire.HEADER_BYTES]), data[wire.HEADER_BYTES : -wire.CHECKSUM_BYTES]
    payload = old if payload is None else payload
    header[24:32] = struct.pack("<Q", len(payload))
    header[5] = header[5] if kind is None else kind
    body = bytes(header) + payload
    return body + hashlib.sha256(body).digest()[:16]


# -- the frame -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("parts", [(), (b"",), (b"abc",), (b"ab", bytearray(b"cd"), memoryview(b"ef"))])
def test_what_is_written_is_read(kind: Kind, parts: tuple[bytes, ...]) -> None:
    data = write_frame(kind, FINGERPRINT, *parts)
    assert len(data) == wire.FRAME_OVERHEAD_BYTES + len(b"".join(parts))
    for form in (data, bytearray(data), memoryview(data)):
        frame = read_frame(form, kind)
        assert (frame.kind, frame.fingerprint, bytes(frame.payload)) == (kind, FINGERPRINT, b"".join(parts))
        assert frame.payload.readonly
    assert read_frame(data).kind is kind


def test_a_frame_has_the_documented_bytes() -> None:
    body = b"hecr" + b"\x01" + b"\x03" + b"\x00\x00" + bytes.fromhex(FINGERPRINT) + b"\x02" + bytes(7) + b"hi"
    assert write_frame(Kind.ENCRYPTED_ARRAY, FINGERPRINT, b"hi") == body + hashlib.sha256(body).digest()[:16]


def test_a_public_key_has_the_documented_bytes() -> None:
    payload = NUMBERS + bytes.fromhex("0a000000")  # randomness of 10 bits
    assert KNOWN_KEY.fingerprint == hashlib.sha256(payload).hexdigest()[:32] == "6066d89866380a0ebb91ec352f610490"
    body = b"hecr\x01\x01\x00\x00" + bytes.fromhex(KNOWN_KEY.fingerprint) + b"\x12" + bytes(7) + payload
    assert KNOWN_KEY.to_bytes() == body + hashlib.sha256(body).digest()[:16]


def test_the_example_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "wire-format.md").read_text()
    example = text.split("Example:")[1].split("```")[1]
    assert bytes.fromhex(example) == KNOWN_KEY.to_bytes()


def test_a_secret_key_has_the_documented_bytes() -> None:
    public = KNOWN_KEY.to_bytes()
    payload = struct.pack("<I", len(public)) + public + bytes.fromhex("02000000fb03020000000706")
    body = b"hecr\x01\x02\x00\x00" + bytes.fromhex(KNOWN_KEY.fingerprint) + struct.pack("<Q", len(payload)) + payload
    expected = body + hashlib.sha256(body).digest()[:16]
    assert SecretKey(KNOWN_KEY, P, Q).to_bytes_unprotected() == expected


@pytest.mark.parametrize(
    ("offset", "byte", "problem"),
    [
        (0, 0x48, "do not begin"),
        (4, 2, "version 2"),
        (4, 0, "version 0"),
        (24, 9, "announces 9"),
        (31, 255, "announces"),
    ],
)
def test_foreign_headers(offset: int, byte: int, problem: str) -> None:
    data = bytearray(write_frame(Kind.PUBLIC_KEY, FINGERPRINT, b"payload."))
    data[offset] = byte
    with pytest.raises(SerializationError, match=problem):
        read_frame(data)


@pytest.mark.parametrize("kind", [0, 128, 255])
def test_unknown_kinds(kind: int) -> None:
    with pytest.raises(SerializationError, match=f"kind {kind}"):
        read_frame(reframe(write_frame(Kind.PUBLIC_KEY, FINGERPRINT), kind=kind))


def test_reserved_bits_are_zero() -> None:
    data = bytearray(write_frame(Kind.PUBLIC_KEY, FINGERPRINT))
    data[6] = 1
    with pytest.raises(SerializationError, match="reserved bits 0x1"):
        read_frame(reframe(bytes(data)))


def test_a_frame_of_another_kind() -> None:
    with pytest.raises(SerializationError, match="kind PUBLIC_KEY as ENCRYPTED_ARRAY"):
        read_frame(write_frame(Kind.PUBLIC_KEY, FINGERPRINT), Kind.ENCRYPTED_ARRAY)
    with pytest.raises(SerializationError, match="kind PUBLIC_KEY as SECRET_KEY"):
        SecretKey.from_bytes_unprotected(KNOWN_KEY.to_bytes())


@pytest.mark.parametrize("data", ["hecr", None, 7, [1, 2], memoryview(bytes(96))[::2]])
def test_only_bytes_are_read(data: object) -> None:
    with pytest.raises(OperandTypeError):
        read_frame(data)  # type: ignore[arg-type]


# -- integers --------------------------------------------------------------------------------------------


@given(st.integers(0, 2**300))
@example(0)
@example(255)
@example(256)
def test_integers_have_one_form(value: int) -> None:
    data = pack_integer(value)
    reader = PayloadReader(data + b"x")
    assert reader.integer(38) == value
    assert bytes(reader.block(1)) == b"x"
    reader.finish()
    with pytest.raises(SerializationError, match="leading zeros"):
        PayloadReader(pack_u32(len(data) - 3) + data[4:] + b"\x00").integer(64)


def test_numbers_of_fixed_size() -> None:
    reader = PayloadReader(pack_u8(200) + pack_u32(2**32 - 1) + struct.pack("<Qq", 2**64 - 1, -(2**63)))
    assert (reader.u8(), reader.u32(), reader.u64(), reader.i64()) == (200, 2**32 - 1, 2**64 - 1, -(2**63))
    for read in (reader.u8, reader.u32, reader.u64, reader.i64):
        with pytest.raises(SerializationError, match="0 are left"):
            read()


def test_lengths_are_checked_before_they_are_used() -> None:
    with pytest.raises(SerializationError, match="at most 10"):
        PayloadReader(pack_u32(2**32 - 1)).integer(10)
    with pytest.raises(SerializationError, match="0 are left"):
        PayloadReader(pack_u32(10)).integer(10)
    with pytest.raises(SerializationError, match="left over"):
        PayloadReader(b"x").finish()


# -- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_bits", [16, 64, 512])
def test_keys_survive(key_bits: int) -> None:
    public_key, secret_key = generate_insecure_keypair(key_bits)
    assert SecretKey.from_bytes_unprotected(secret_key.to_bytes_unprotected(), allow_insecure=True) == secret_key
    short = PublicKey.insecure(public_key.n, public_key.h, randomness_bits=key_bits // 2 + 1)
    for key in (public_key, PublicKey.insecure(public_key.n), short):
        twin = PublicKey.from_bytes(key.to_bytes(), allow_insecure=True)
        assert twin == key
        assert twin.randomness_bits == key.randomness_bits
        assert twin.fingerprint == key.fingerprint


def test_a_key_read_twice_is_one_key() -> None:
    """Every array that arrives brings its key: its checks and tables are paid for once."""
    data = generate_insecure_keypair(64)[0].to_bytes()
    first = PublicKey.from_bytes(data, allow_insecure=True)
    assert PublicKey.from_bytes(bytearray(data), allow_insecure=True) is first


def test_a_short_key_needs_the_insecure_name_every_time() -> None:
    for _ in range(2):
        with pytest.raises(InsecureParametersError, match="floor"):
            PublicKey.from_bytes(KNOWN_KEY.to_bytes())
        with pytest.raises(InsecureParametersError, match="floor"):
            SecretKey.from_bytes_unprotected(SecretKey(KNOWN_KEY, P, Q).to_bytes_unprotected())
        kept = PublicKey.from_bytes(KNOWN_KEY.to_bytes(), allow_insecure=True)  # now it is known to the process
        assert kept == KNOWN_KEY


def public_payload(n: int, h: int = 0, bits: int = 10) -> bytes:
    return pack_integer(n) + pack_integer(h) + pack_u32(bits)


@pytest.mark.parametrize(
    ("payload", "error", "problem"),
    [
        (public_payload(N + 1), MalformedKeyError, "odd"),
        (public_payload(2**127 - 1), MalformedKeyError, "composite"),
        (public_payload(N * N), MalformedKeyError, "perfect power"),
        (public_payload(0), MalformedKeyError, "at least 15"),
        (public_payload(N, 1), MalformedKeyError, "h lies in"),
        (public_payload(N, N - 25, 0), InsecureParametersError, "0-bit exponents"),
        (public_payload(N, N - 25, 22), ParameterError, "add nothing"),
        (public_payload(N, N - 25) + b"\x00", SerializationError, "left over"),
        (public_payload(N, N - 25)[:-1], SerializationError, "3 are left"),
        (public_payload(1 << 8192 | 1), SerializationError, "at most 1024"),
        (public_payload(N), SerializationError, "fingerprint"),
        (b"", SerializationError, "0 are left"),
    ],
)
def test_a_well_framed_bad_key(payload: bytes, error: type[HecoreError], problem: str) -> None:
    with pytest.raises(error, match=problem):
        PublicKey.from_bytes(reframe(KNOWN_KEY.to_bytes(), payload), allow_insecure=True)


def test_a_secret_key_whose_parts_disagree() -> None:
    data = SecretKey(KNOWN_KEY, P, Q).to_bytes_unprotected()
    public = KNOWN_KEY.to_bytes()
    prefix = pack_u32(len(public)) + public
    for payload, error in [
        (prefix + pack_integer(P) + pack_integer(Q + 2), MalformedKeyError),
        (prefix + pack_integer(N) + pack_integer(1), MalformedKeyError),
        (prefix + pack_integer(P) + pack_integer(Q) + b"\x00", SerializationError),
        (pack_u32(10) + public + pack_integer(P) + pack_integer(Q), SerializationError),
        (pack_u32(2**32 - 1) + public, SerializationError),
    ]:
        with pytest.raises(error):
            SecretKey.from_bytes_unprotected(reframe(data, payload), allow_insecure=True)
    stranger = bytearray(data)
    stranger[8] ^= 1  # the fingerprint of some other key
    with pytest.raises(SerializationError, match="fingerprint"):
        SecretKey.from_bytes_unprotected(reframe(bytes(stranger)), allow_insecure=True)


# -- accidents and malice --------------------------------------------------------------------------------


def read_public(data: bytes) -> object:
    return PublicKey.from_bytes(data, allow_insecure=True)


def read_secret(data: bytes) -> object:
    return SecretKey.from_bytes_unprotected(data, allow_insecure=True)


PARSERS = [
    pytest.param(read_frame, write_frame(Kind.ENCRYPTED_ARRAY, FINGERPRINT, bytes(range(40))), id="frame"),
    pytest.param(read_public, KNOWN_KEY.to_bytes(), id="public"),
    pytest.param(read_secret, SecretKey(KNOWN_KEY, P, Q).to_bytes_unprotected(), id="secret"),
]


@pytest.mark.parametrize(("parse", "data"), PARSERS)
def test_truncated_at_every_offset(parse: Callable[[bytes], object], data: bytes) -> None:
    parse(data)
    for end in range(len(data)):
        with pytest.raises(SerializationError):
            parse(data[:end])
        with pytest.raises(SerializationError):
            parse(data[end + 1 :])


@pytest.mark.parametrize(("parse", "data"), PARSERS)
def test_every_bit_flipped(parse: Callable[[bytes], object], data: bytes) -> None:
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SerializationError):
            parse(bytes(altered))


@pytest.mark.parametrize(("parse", "data"), PARSERS)
def test_followed_by_more(parse: Callable[[bytes], object], data: bytes) -> None:
    for more in (b"\x00", data):
        with pytest.raises(SerializationError):
            parse(data + more)


@pytest.mark.parametrize(("parse", "data"), PARSERS[1:])
def test_every_bit_flipped_by_someone_who_mends_the_checksum(parse: Callable[[bytes], object], data: bytes) -> None:
    """Behind the checksum stands the fingerprint, which covers every field of a public key."""
    for bit in range(8 * (len(data) - wire.CHECKSUM_BYTES)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        if 24 <= bit // 8 < 32:
            continue  # `reframe` mends the length too
        with pytest.raises(HecoreError):
            parse(reframe(bytes(altered)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(list(Kind)))
def test_fuzz_payloads(payload: bytes, kind: Kind) -> None:
    data = write_frame(kind, KNOWN_KEY.fingerprint, payload)
    for parse in (read_public, read_secret):
        with pytest.raises(HecoreError):
            parse(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
@example(b"hecr")
@example(b"hecr\x01\x01" + bytes(42))
def test_fuzz_bytes(data: bytes) -> None:
    for parse in (read_frame, read_public, read_secret):
        with pytest.raises(SerializationError):
            parse(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_fuzz_edited_keys(data: st.DataObject) -> None:
    """Splices of a real payload, well framed: any key that comes out is the one that went in."""
    for parse, original in ((read_public, KNOWN_KEY.to_bytes()), (read_secret, PARSERS[2].values[1])):
        assert isinstance(original, bytes)
        payload = original[wire.HEADER_BYTES : -wire.CHECKSUM_BYTES]
        start = data.draw(st.integers(0, len(payload)))
        stop = data.draw(st.integers(start, len(payload)))
        edited = payload[:start] + data.draw(st.binary(max_size=8)) + payload[stop:]
        try:
            key = parse(reframe(original, edited))
        except HecoreError:
            continue
        assert key in (KNOWN_KEY, SecretKey(KNOWN_KEY, P, Q))
