"""Every parser of foreign bytes: how it reads, how what it read is written again, and when two of them are equal."""

from __future__ import annotations

import io
import operator
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from hecore import keystore, tables, wire
from hecore.compat.phe import command_line
from hecore.compat.phe._errors import InsecureWarning
from hecore.compat.phe.paillier import PaillierPublicKey
from hecore.demo import channel
from hecore.errors import SerializationError
from hecore.paillier import EncryptedArray, PublicKey, SecretKey, jwk
from hecore.paillier.encoding import Encoding
from hecore.paillier.packing import PackedArray
from tests.fuzz import ckks_targets
from tests.fuzz.mutate import Mutation, change_bytes, change_frame, change_npy, change_tokens

CORPUS = Path(__file__).with_name("corpus")
PASSPHRASE = b"fuzz"
_CHEAP_LOG2_N = 4  # of scrypt: what asks for more is inspected and not opened


@dataclass(frozen=True)
class Target:
    """A parser. `write` None: what it gives has no form of its own to be read again."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes] | None
    mutation: Mutation
    same: Callable[[Any, Any], Any] = operator.eq


@cache
def corpus_keys() -> tuple[PublicKey, SecretKey]:
    """The toy keys that every array in the corpus belongs to."""
    data = (CORPUS / "secret_key" / "with_h").read_bytes()
    secret_key = SecretKey.from_bytes_unprotected(data, allow_insecure=True)
    return secret_key.public_key, secret_key


def secret_jwk(key: SecretKey) -> bytes:
    public_key = key.public_key
    text = jwk.write_secret_unprotected(public_key.n, public_key.h, key.crt.p, key.crt.q, public_key.fingerprint)
    return text.encode()


def same_encoding(a: Encoding, b: Encoding) -> bool:
    return (a.kind, a.fixed_scale) == (b.kind, b.fixed_scale) and np.array_equal(a.exponent, b.exponent)


def same_array(a: EncryptedArray, b: EncryptedArray) -> bool:
    fields = [(x.public_key, x.shape, x.bound, x.randomised) for x in (a, b)]
    limbs_a, limbs_b = (x.residues.backend.download(x.residues) for x in (a, b))
    return fields[0] == fields[1] and same_encoding(a.encoding, b.encoding) and np.array_equal(limbs_a, limbs_b)


def same_packed(a: PackedArray, b: PackedArray) -> bool:
    fields = [(x.packing, x.slots, x.length, x.slot_bound) for x in (a, b)]
    return fields[0] == fields[1] and same_encoding(a.encoding, b.encoding) and same_array(a.array, b.array)


def same_any(a: Any, b: Any) -> bool:
    if isinstance(a, EncryptedArray):
        return same_array(a, b)
    return same_packed(a, b) if isinstance(a, PackedArray) else bool(a == b)


def same_table(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _write_any(value: Any) -> bytes:
    return value.to_bytes() if isinstance(value, PublicKey) else bytes(value.to_bytes(raw=True))


def _read_pickled(data: bytes) -> Any:
    """What unpickling calls, with the bytes that it finds."""
    classes: dict[int, Any] = {wire.Kind.ENCRYPTED_ARRAY: EncryptedArray, wire.Kind.PACKED_ARRAY: PackedArray}
    function, (_, *rest) = corpus_keys()[0].__reduce__()  # type: ignore[misc]
    kind = data[5] if len(data) > 5 else 0
    if kind in classes:
        function, rest = classes[kind].from_bytes, [corpus_keys()[0]]
    return function(data, *rest)  # type: ignore[operator]


def _on_file(name: str, data: bytes, read: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return read(path)


def _table(name: str, *, integers: bool = False) -> Target:
    return Target(
        lambda data: _on_file(name, data, lambda path: tables.read_table(path, integers=integers)),
        lambda values: tables.format_table(values, Path(name)),
        change_npy if name.endswith("npy") else change_tokens,
        same_table,
    )


def _read_keystore(data: bytes) -> Any:
    def read(path: Path) -> Any:
        info = keystore.inspect(path)
        if data[12] > _CHEAP_LOG2_N:
            return info
        return keystore.load(path, PASSPHRASE, allow_insecure=True)

    return _on_file("key", data, read)


def _write_keystore(value: Any) -> bytes:
    if isinstance(value, keystore.KeystoreInfo):  # the header alone: any file with that header says the same
        value = corpus_keys()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        keystore.save(value, path, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
        return path.read_bytes()


def _same_keystore(again: Any, value: Any) -> bool:
    return isinstance(value, keystore.KeystoreInfo) or bool(again == value)


def _quietly(function: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Without the warning that a toy key is one."""

    def call(data: bytes) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureWarning)
            return function(data)

    return call


def _phe_number(data: bytes) -> Any:
    public_key = PaillierPublicKey(corpus_keys()[0].n)
    return command_line.load_encrypted_number(io.BytesIO(data), public_key)


def _phe_fields(number: Any) -> tuple[int, int]:
    return number.ciphertext(be_secure=False), number.exponent


def _phe_decrypt(data: bytes) -> None:
    """`hecore-pheutil decrypt` of a foreign number: exit status 0, or 1 with a message."""
    key = CORPUS / "secret_jwk" / "with_h"
    result = CliRunner().invoke(command_line.cli, ["decrypt", str(key), "-"], input=data)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1), result.output


def _integers(data: bytes) -> list[int]:
    if len(data) < 4:
        raise SerializationError("too short to say how many")
    return channel.unpack_integers(data, min(int.from_bytes(data[:4]), 1 << 16))


TARGETS: dict[str, Target] = {
    "frame": Target(
        wire.read_frame,
        lambda frame: wire.write_frame(frame.kind, frame.fingerprint, frame.payload),
        change_frame,
        lambda a, b: (a.kind, a.fingerprint, a.payload) == (b.kind, b.fingerprint, b.payload),
    ),
    "public_key": Target(
        lambda data: PublicKey.from_bytes(data, allow_insecure=True), PublicKey.to_bytes, change_frame
    ),
    "secret_key": Target(
        lambda data: SecretKey.from_bytes_unprotected(data, allow_insecure=True),
        SecretKey.to_bytes_unprotected,
        change_frame,
    ),
    "array": Target(
        lambda data: EncryptedArray.from_bytes(data, corpus_keys()[0]), _write_any, change_frame, same_array
    ),
    "packed": Target(
        lambda data: PackedArray.from_bytes(data, corpus_keys()[0]), _write_any, change_frame, same_packed
    ),
    "pickle": Target(_read_pickled, _write_any, change_frame, same_any),
    "public_jwk": Target(
        lambda data: PublicKey.from_jwk(data, allow_insecure=True), lambda key: key.to_jwk().encode(), change_tokens
    ),
    "secret_jwk": Target(
        lambda data: SecretKey.from_jwk_unprotected(data, allow_insecure=True),
        secret_jwk,
        change_tokens,
    ),
    "array_json": Target(
        lambda data: EncryptedArray.from_json(data.decode("utf-8", "replace"), corpus_keys()[0]),
        lambda array: array.to_json(raw=True).encode(),
        change_tokens,
        same_array,
    ),
    "phe_public": Target(
        _quietly(command_line.load_public_key),
        lambda key: jwk.write_public(key.n, None, "kid").encode(),
        change_tokens,
    ),
    "phe_private": Target(
        _quietly(command_line.load_private_key),
        lambda key: jwk.write_secret_unprotected(key.public_key.n, None, key.p, key.q, "kid").encode(),
        change_tokens,
    ),
    "phe_number": Target(
        _quietly(_phe_number),
        lambda number: jwk.write_ciphertext(*_phe_fields(number)).encode(),
        change_tokens,
        lambda a, b: _phe_fields(a) == _phe_fields(b),
    ),
    "phe_decrypt": Target(_phe_decrypt, None, change_tokens),
    "table_csv": _table("table.csv"),
    "table_csv_integers": _table("table.csv", integers=True),
    "table_npy": _table("table.npy"),
    "keystore": Target(_read_keystore, _write_keystore, change_bytes, _same_keystore),
    "channel": Target(_integers, channel.pack_integers, change_bytes),
    **{name: Target(*entry) for name, entry in ckks_targets.ENTRIES.items()},
}
"""By name, which is the name of the folder with its corpus, too."""
