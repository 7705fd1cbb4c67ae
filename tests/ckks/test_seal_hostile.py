"""SEAL's bytes as malice would send them: every length, count, residue, version and compression."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zstandard

import hecore
from hecore import ckks
from hecore.ckks import Parameters, encryption, seal_wire
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import encode
from hecore.ckks.seal_stream import HEADER_BYTES, Compression, Version
from hecore.errors import HecoreError, MalformedKeyError, OperandTypeError, SerializationError
from hecore.ring.prng import SeedKind

SCALE = 2.0**30
VALUES = np.linspace(-1, 1, 32)


@pytest.fixture(autouse=True)
def on_reference() -> Iterator[None]:
    with hecore.use("reference"):
        yield


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return Parameters.insecure(ring_degree=64, moduli_bits=[45, 30, 30, 46], scale=SCALE)


@pytest.fixture(scope="module")
def keys(parameters: Parameters) -> ckks.Keys:
    with hecore.use("reference"):
        return ckks.generate_keys(parameters, galois=[1, -3], conjugation=True)


def encrypt(keys: ckks.Keys) -> Ciphertext:
    return encryption.encrypt_public(keys.public_key, encode(VALUES, keys.parameters))


Reader = Callable[[bytes], object]


def readers(keys: ckks.Keys) -> dict[str, tuple[bytes, Reader]]:
    """Each kind of object, not compressed, and how it is read."""
    p, key_id = keys.parameters, keys.public_key.key_id
    form: dict[str, Any] = {"compression": Compression.NONE}
    assert keys.relinearization_key is not None
    seeded = encryption.encrypt_symmetric(keys.secret_key, encode(VALUES, p), seed_kind=SeedKind.SHAKE256)
    return {
        "parameters": (seal_wire.write_parameters(p, **form), seal_wire.read_parameters),
        "plaintext": (
            seal_wire.write_plaintext(encode(VALUES, p), **form),
            lambda data: seal_wire.read_plaintext(data, p),
        ),
        "ciphertext": (
            seal_wire.write_ciphertext(encrypt(keys), **form),
            lambda data: seal_wire.read_ciphertext(data, p, key_id),
        ),
        "seeded": (
            seal_wire.write_ciphertext(seeded, **form),
            lambda data: seal_wire.read_ciphertext(data, p, key_id),
        ),
        "secret key": (
            seal_wire.write_secret_key_unprotected(keys.secret_key, **form),
            lambda data: seal_wire.read_secret_key(data, p),
        ),
        "public key": (
            seal_wire.write_public_key(keys.public_key, **form),
            lambda data: seal_wire.read_public_key(data, p, key_id),
        ),
        "relinearization key": (
            seal_wire.write_relinearization_key(keys.relinearization_key, **form),
            lambda data: seal_wire.read_relinearization_key(data, p, key_id),
        ),
        "galois keys": (
            seal_wire.write_galois_keys(keys.galois_keys, **form),
            lambda data: seal_wire.read_galois_keys(data, p, key_id),
        ),
    }


NAMES = (
    "parameters",
    "plaintext",
    "ciphertext",
    "seeded",
    "secret key",
    "public key",
    "relinearization key",
    "galois keys",
)


def resized(data: bytes) -> bytes:
    """With the size in the header that belongs."""
    return data[:8] + struct.pack("<Q", len(data)) + data[16:]


def compressed(data: bytes, compression: Compression) -> bytes:
    body = data[HEADER_BYTES:]
    body = zlib.compress(body) if compression is Compression.ZLIB else zstandard.ZstdCompressor().compress(body)
    return resized(data[:5] + bytes([compression]) + data[6:HEADER_BYTES] + body)


@pytest.mark.parametrize("name", NAMES)
def test_truncated_and_extended_objects(keys: ckks.Keys, name: str) -> None:
    data, read = readers(keys)[name]
    read(data)
    for cut in (0, 7, 15, 16, 20, len(data) // 2, len(data) - 1):
        for changed in (data[:cut], resized(data[:cut]) if cut >= 16 else b""):
            with pytest.raises(SerializationError):
                read(changed)
    for changed in (data + b"\0", resized(data + b"\0")):
        with pytest.raises(SerializationError):
            read(changed)
    for compression in (Compression.ZLIB, Compression.ZSTD):
        packed = compressed(data, compression)
        read(packed)
        for changed in (resized(packed + b"\0"), resized(packed[:-1]), resized(packed[: len(packed) // 2])):
            with pytest.raises(SerializationError):
                read(changed)
    with pytest.raises(OperandTypeError):
        read("text")  # type: ignore[arg-type]
    with pytest.raises(OperandTypeError):
        read(memoryview(data)[::2])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_compression_bombs(keys: ckks.Keys, name: str) -> None:
    """Far more zeros than any object of these parameters has, in a few bytes."""
    _, read = readers(keys)[name]
    for compression in (Compression.ZLIB, Compression.ZSTD):
        bomb = compressed(struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 1, 0, 0, 16) + bytes(8 << 20), compression)
        assert len(bomb) < 20_000
        with pytest.raises(SerializationError, match="expands to"):
            read(bomb)


def test_a_bomb_that_does_not_say_how_long_it_is(keys: ckks.Keys) -> None:
    _, read = readers(keys)["ciphertext"]
    stream = zstandard.ZstdCompressor().compressobj()
    body = stream.compress(bytes(8 << 20)) + stream.flush()
    assert zstandard.frame_content_size(body) == -1
    with pytest.raises(SerializationError, match="expands to"):
        read(resized(struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 1, 2, 0, 0) + body))


def test_a_window_that_is_too_large(keys: ckks.Keys) -> None:
    data, read = readers(keys)["ciphertext"]
    options = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=options).compressobj()
    body = stream.compress(data[HEADER_BYTES:]) + stream.flush()
    with pytest.raises(SerializationError, match="damaged"):
        read(resized(data[:5] + b"\2" + data[6:HEADER_BYTES] + body))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, b"\0"),  # magic
        (2, b"\x11"),  # header size
        (3, b"\2"),  # major version
        (3, b"\5"),
        (5, b"\3"),  # compression
        (6, b"\1"),  # reserved
    ],
)
def test_malformed_headers(keys: ckks.Keys, name: str, at: int, new: bytes) -> None:
    data, read = readers(keys)[name]
    with pytest.raises(SerializationError):
        read(data[:at] + new + data[at + len(new) :])


def test_versions_that_are_read(keys: ckks.Keys) -> None:
    data, read = readers(keys)["parameters"]
    for major, minors in ((3, (4, 5, 6, 7, 200)), (4, (0, 1, 2, 3, 4))):
        for minor in minors:
            read(data[:3] + bytes([major, minor]) + data[5:])
    for major, minor in ((3, 3), (4, 5), (0, 0)):
        with pytest.raises(SerializationError, match="version"):
            read(data[:3] + bytes([major, minor]) + data[5:])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "seeded"])  # 3.4 has another form of seeds
def test_headers_of_seal_3_4(keys: ckks.Keys, name: str) -> None:
    """u16 magic, u8 zero, u8 compression, u32 size, u64 zero; in the bytes of 3.7 every header becomes one."""
    data, read = readers(keys)[name]
    old = bytearray(data)
    at = data.find(b"\x5e\xa1\x10\x03\x07")
    while at >= 0:
        (size,) = struct.unpack_from("<Q", data, at + 8)
        struct.pack_into("<HBBIQ", old, at, 0xA15E, 0, 0, size, 0)
        at = data.find(b"\x5e\xa1\x10\x03\x07", at + 1)
    read(bytes(old))


@pytest.mark.parametrize("name", NAMES)
def test_any_other_byte_in_the_head(keys: ckks.Keys, name: str) -> None:
    """Refused or read, never another exception."""
    data, read = readers(keys)[name]
    refused = 0
    for at in range(min(len(data), 250)):
        for value in (0, 1, 0x7F, 0xFF):
            try:
                read(data[:at] + bytes([value]) + data[at + 1 :])
            except HecoreError:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("parameters", "seeded")])
def test_a_residue_that_is_not_below_its_modulus(keys: ckks.Keys, name: str) -> None:
    data, read = readers(keys)[name]
    changed = bytearray(data)
    end = len(data)
    while not any(changed[end - 8 : end]):  # Galois keys end with empty places
        end -= 8
    changed[end - 8 : end] = b"\xff" * 8
    with pytest.raises((SerializationError, MalformedKeyError)):
        read(bytes(changed))


def test_a_secret_key_that_is_not_ternary(keys: ckks.Keys) -> None:
    data, read = readers(keys)["secret key"]
    changed = data[:-8] + struct.pack("<Q", struct.unpack("<Q", data[-8:])[0] ^ 1)
    with pytest.raises(MalformedKeyError):
        read(changed)


def test_objects_of_another_kind_or_chain(keys: ckks.Keys) -> None:
    found = readers(keys)
    accepted = {("seeded", "ciphertext"), ("ciphertext", "seeded"), ("relinearization key", "galois keys")}
    for name, (data, _) in found.items():
        for other, (_, read) in found.items():
            if name != other and (name, other) not in accepted:
                with pytest.raises(HecoreError):
                    read(data)
    foreign = Parameters.insecure(ring_degree=64, moduli_bits=[45, 30, 31, 46], scale=SCALE)
    with pytest.raises(SerializationError, match="at no level"):
        seal_wire.read_ciphertext(found["ciphertext"][0], foreign, bytes(16))
    with pytest.raises(SerializationError, match="does not belong"):
        seal_wire.read_public_key(found["public key"][0], foreign, bytes(16))


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (48, b"\0"),  # coefficients, not values
        (49, struct.pack("<Q", 1)),  # components
        (49, struct.pack("<Q", 4)),
        (57, struct.pack("<Q", 128)),  # ring degree
        (65, struct.pack("<Q", 2)),  # moduli
        (73, struct.pack("<d", -1.0)),  # scale
        (73, struct.pack("<d", math.nan)),
        (73, struct.pack("<d", math.inf)),
        (97, struct.pack("<Q", 64)),  # words
        (97, struct.pack("<Q", 2**61)),
    ],
)
def test_malformed_fields_of_a_ciphertext(keys: ckks.Keys, at: int, new: bytes) -> None:
    data, read = readers(keys)["ciphertext"]
    with pytest.raises(SerializationError):
        read(data[:at] + new + data[at + len(new) :])


def test_a_correction_factor(keys: ckks.Keys) -> None:
    data = seal_wire.write_ciphertext(encrypt(keys), compression=Compression.NONE, version=Version(4, 1))
    assert data[81:89] == struct.pack("<Q", 1)
    with pytest.raises(SerializationError, match="correction factor"):
        seal_wire.read_ciphertext(data[:81] + struct.pack("<Q", 2) + data[89:], keys.parameters, bytes(16))


def test_many_places(keys: ckks.Keys) -> None:
    """Counts are held against what can be before anything is made."""
    data, read = readers(keys)["galois keys"]
    for count in (65, 2**40):
        with pytest.raises(SerializationError, match="at most 64"):
            read(data[:48] + struct.pack("<Q", count) + data[56:])
    data, read = readers(keys)["relinearization key"]
    for pairs in (1, 4, 2**60):
        with pytest.raises(SerializationError, match="digits"):
            read(data[:56] + struct.pack("<Q", pairs) + data[64:])
    with pytest.raises(SerializationError, match="none for"):
        read(resized(data[:48] + struct.pack("<QQ", 1, 0)))
