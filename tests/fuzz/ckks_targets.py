"""The parsers of CKKS bytes: our compact form, SEAL's objects, TenSEAL's messages. Toy parameters, toy keys."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from hecore.ckks import EvaluationKeys, Parameters, PublicKey, SecretKey, seal_wire, tenseal_wire, wire
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.seal_stream import HEADER_BYTES
from hecore.errors import HecoreError
from hecore.wire import Kind
from tests.fuzz.mutate import change_bytes, change_frame

CORPUS = Path(__file__).with_name("corpus")
PARAMETERS = Parameters.insecure(ring_degree=16, moduli_bits=[30, 20, 31], scale=2**20)
"""Of every key and ciphertext in the corpus."""
KEY_ID = bytes(range(16))
_MAX_BODY = 1 << 17


def words(a: Any) -> bytes:
    return bytes(np.asarray(a.backend.ring_download(a)).tobytes())


def fields(value: Any) -> Any:
    """All that two equal objects have in common."""
    match value:
        case PublicKey():
            return value.parameters, value.key_id, value.seed, words(value.polynomials), fields(value.evaluation_keys)
        case SecretKey():
            return value.parameters, value.key_id, words(value.polynomial)
        case EvaluationKeys():
            relinearization = value.relinearization_key
            first = None if relinearization is None else fields(relinearization.switching_key)
            rest = [(element, fields(key)) for element, key in sorted(value.galois_keys.items())]
            return value.parameters, value.key_id, first, rest
        case Ciphertext():
            public = (value.parameters, value.key_id, value.level, value.scale, value.bound, value.noise, value.shape)
            return public, value.seed, words(value.polynomials)
    if hasattr(value, "layout"):
        return value.layout, value.dtype, fields(value.ciphertext)
    if hasattr(value, "polynomials"):
        return value.seed, words(value.polynomials)
    return value.parameters, value.level, value.scale, words(value.polynomial)


def same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and fields(a) == fields(b))


# -- the compact form --------------------------------------------------------------------------------------


def _kind(data: bytes) -> int:
    return data[5] if len(data) > 5 else 0


def read_key(data: bytes) -> Any:
    if _kind(data) == Kind.CKKS_SECRET_KEY_UNPROTECTED:
        return SecretKey.from_bytes_unprotected(data, allow_insecure=True)
    read = EvaluationKeys.from_bytes if _kind(data) == Kind.CKKS_EVALUATION_KEYS else PublicKey.from_bytes
    return read(data, allow_insecure=True)


def write_key(key: Any) -> bytes:
    return bytes(key.to_bytes_unprotected() if isinstance(key, SecretKey) else key.to_bytes())


def read_ciphertext(data: bytes) -> Any:
    read = wire.ciphertext_from_bytes if _kind(data) == Kind.CKKS_CIPHERTEXT else wire.tensor_from_bytes
    return read(data, PARAMETERS)


# -- SEAL's objects ----------------------------------------------------------------------------------------


def change_seal(data: bytes, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """A change of the body behind its compression, and then mostly the sizes that belong to it; or a blind one."""
    if len(data) <= HEADER_BYTES or rng.integers(4) == 0:
        return change_bytes(data, rng, seeds)
    header, body = bytearray(data[:HEADER_BYTES]), _expanded(data)
    body = change_bytes(body, rng, [_expanded(seed) for seed in seeds])[:_MAX_BODY]
    header[5] = int(rng.integers(3))
    if header[5] == 1:
        body = zlib.compress(body)
    elif header[5] == 2:
        body = zstandard.ZstdCompressor(write_content_size=bool(rng.integers(2))).compress(body)
    struct.pack_into("<Q", header, 8, HEADER_BYTES + len(body))
    return bytes(header) + body


def _expanded(data: bytes) -> bytes:
    body = data[HEADER_BYTES:]
    try:
        if data[5:6] == b"\1":
            return zlib.decompressobj().decompress(body, _MAX_BODY)
        if data[5:6] == b"\2" and 0 <= zstandard.frame_content_size(body) <= _MAX_BODY:
            return zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BODY)
    except (zlib.error, zstandard.ZstdError):
        return body
    return body


Entry = tuple[Callable[[bytes], Any], Callable[[Any], bytes], Any, Callable[[Any, Any], Any]]

ENTRIES: dict[str, Entry] = {
    "ckks_parameters": (
        lambda data: Parameters.from_bytes(data, allow_insecure=True),
        Parameters.to_bytes,
        change_frame,
        lambda a, b: a == b,
    ),
    "ckks_keys": (read_key, write_key, change_frame, same),
    "ckks_ciphertext": (read_ciphertext, lambda value: bytes(value.to_bytes()), change_frame, same),
    "seal_parameters": (
        seal_wire.read_parameters,
        seal_wire.write_parameters,
        change_seal,
        lambda a, b: a == b,
    ),
    "seal_plaintext": (
        lambda data: seal_wire.read_plaintext(data, PARAMETERS),
        seal_wire.write_plaintext,
        change_seal,
        same,
    ),
    "seal_ciphertext": (
        lambda data: seal_wire.read_ciphertext(data, PARAMETERS, KEY_ID),
        seal_wire.write_ciphertext,
        change_seal,
        same,
    ),
    "seal_secret_key": (
        lambda data: seal_wire.read_secret_key(data, PARAMETERS, KEY_ID),
        seal_wire.write_secret_key_unprotected,
        change_seal,
        same,
    ),
    "seal_public_key": (
        lambda data: seal_wire.read_public_key(data, PARAMETERS, KEY_ID),
        seal_wire.write_public_key,
        change_seal,
        same,
    ),
    "seal_galois_keys": (
        lambda data: seal_wire.read_galois_keys(data, PARAMETERS, KEY_ID),
        seal_wire.write_galois_keys,
        change_seal,
        lambda a, b: same(*(EvaluationKeys(PARAMETERS, KEY_ID, None, keys) for keys in (a, b))),
    ),
    "tenseal_context": (
        tenseal_wire.read_context,
        tenseal_wire.write_context,
        change_bytes,
        lambda a, b: a == b,
    ),
    "tenseal_vector": (tenseal_wire.read_vector, tenseal_wire.write_vector, change_bytes, lambda a, b: a == b),
    "tenseal_tensor": (tenseal_wire.read_tensor, tenseal_wire.write_tensor, change_bytes, lambda a, b: a == b),
}
"""Name -> read, write, mutation, equality."""


def compile_kernels() -> None:
    """Call every kernel that the parsers use: the first call compiles, which is no parser's time."""
    for name, (read, *_) in ENTRIES.items():
        for path in (CORPUS / name).iterdir():
            with contextlib.suppress(HecoreError):
                read(path.read_bytes())
