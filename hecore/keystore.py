"""Secret keys of either scheme at rest, always encrypted under a passphrase.

scrypt (RFC 7914; N=2^17, r=8, p=1, a fresh salt a file) stretches the passphrase to a 256-bit key, AES-256-GCM
(NIST SP 800-38D; a fresh nonce a file) encrypts the secret key, and the whole header is its associated data: no
byte of a file can change unnoticed. `docs/keystore.md` has the format byte by byte.

A header is read before anything in it can be trusted, so every number in it is held against fixed bounds before
it is used: a hostile file can make `load` neither allocate nor compute more than an honest one does.

Files are written whole or not at all (`write_atomically`) with mode 0600.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, overload

from hecore.arith.rns import MAX_RING_DEGREE, MIN_RING_DEGREE
from hecore.errors import InsecureParametersError, KeystoreError, OperandTypeError, ParameterError, WrongPassphraseError
from hecore.paillier.params import MAX_KEY_BITS, SECURITY_FLOOR_BITS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from hecore import ckks, paillier

    SecretKey = paillier.SecretKey | ckks.SecretKey

MAGIC: Final = b"HECOREKS"
VERSION: Final = 1
LOG2_N: Final = 17
"""scrypt's cost: N = 2**17 with r = 8 takes 128 MiB and about half a second."""
BLOCK_SIZE: Final = 8
PARALLELISM: Final = 1

_KDF_SCRYPT: Final = 1
_CIPHER_AES_256_GCM: Final = 1
_MAXIMUM_LOG2_N: Final = 18  # one step of growth for a later writer: 256 MiB, the most a file may ask of a reader
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_FINGERPRINT_BYTES: Final = 16
_MAXIMUM_PAYLOAD: Final = 1 << 16

# magic, version, kind, kdf, cipher, log2 N, r, p, salt, nonce, size, fingerprint, bytes of ciphertext and tag
_HEADER: Final = struct.Struct(f">8sBBBBBII{_SALT_BYTES}s{_NONCE_BYTES}sI{_FINGERPRINT_BYTES}sI")
_MAXIMUM_FILE: Final = _HEADER.size + _MAXIMUM_PAYLOAD


@dataclass(frozen=True)
class KeystoreInfo:
    """What a keystore file says of itself without a passphrase. Authenticated only once `load` has succeeded.

    `key_bits` is None but for Paillier, `ring_degree` but for CKKS, whose `fingerprint` is the key id.
    """

    version: int
    scheme: str
    key_bits: int | None
    ring_degree: int | None
    fingerprint: str
    kdf: str
    cipher: str


@dataclass(frozen=True)
class _Kind:
    """A scheme's number in the header, and which sizes its keys have."""

    number: int
    scheme: str
    unit: str
    smallest: int
    largest: int


_PAILLIER = _Kind(1, "paillier", "key size in bits", 4, MAX_KEY_BITS)
_CKKS = _Kind(2, "ckks", "ring degree", MIN_RING_DEGREE, MAX_RING_DEGREE)
_KINDS: Final = {kind.number: kind for kind in (_PAILLIER, _CKKS)}


@dataclass(frozen=True)
class _Header:
    kind: _Kind
    log2_n: int
    salt: bytes
    nonce: bytes
    size: int
    fingerprint: bytes
    payload_bytes: int

    def pack(self) -> bytes:
        return _HEADER.pack(
            MAGIC,
            VERSION,
            self.kind.number,
            _KDF_SCRYPT,
            _CIPHER_AES_256_GCM,
            self.log2_n,
            BLOCK_SIZE,
            PARALLELISM,
            self.salt,
            self.nonce,
            self.size,
            self.fingerprint,
            self.payload_bytes,
        )


def save(
    secret_key: SecretKey,
    path: str | os.PathLike[str],
    passphrase: str | bytes,
    *,
    overwrite: bool = False,
    allow_insecure: bool = False,
    insecure_log2_n: int | None = None,
) -> None:
    """Write `secret_key` to `path`, encrypted under `passphrase`, mode 0600, whole or not at all.

    A str passphrase is normalised to NFC and encoded as UTF-8, so that it is the same on every keyboard; bytes are
    taken as they are. An existing file is replaced only with `overwrite`: a lost secret key cannot be had again.

    `allow_insecure` admits keys below the security floor of their scheme and `insecure_log2_n`, a cheaper scrypt, for
    tests: such files open only with `load(..., allow_insecure=True)`.

    Raises ParameterError for an empty passphrase, InsecureParametersError for a weak key, KeystoreError where
    `path` exists, OSError where it cannot be written.
    """
    if insecure_log2_n is not None and not allow_insecure:
        raise InsecureParametersError("cannot save with a cheap scrypt (insecure_log2_n) without allow_insecure=True")
    kind, size, fingerprint, weakness = _describe(secret_key)
    if weakness and not allow_insecure:
        raise InsecureParametersError(
            f"cannot save {weakness}; pass allow_insecure=True for a key that protects nothing"
        )
    log2_n = LOG2_N if insecure_log2_n is None else insecure_log2_n
    if not 1 <= log2_n <= _MAXIMUM_LOG2_N:
        raise ParameterError(f"cannot save with scrypt N = 2**{log2_n}: 1 to {_MAXIMUM_LOG2_N} are allowed")
    password = _passphrase_bytes(passphrase)
    target = Path(path)
    if not overwrite and os.path.lexists(target):  # `write_atomically` decides; this only spares the work before it
        raise _file_exists(target)

    plaintext = secret_key.to_bytes_unprotected()
    header = _Header(
        kind=kind,
        log2_n=log2_n,
        salt=secrets.token_bytes(_SALT_BYTES),
        nonce=secrets.token_bytes(_NONCE_BYTES),
        size=size,
        fingerprint=fingerprint,
        payload_bytes=len(plaintext) + _TAG_BYTES,
    )
    if header.payload_bytes > _MAXIMUM_PAYLOAD:
        raise KeystoreError(f"cannot save a key of {len(plaintext)} bytes: at most {_MAXIMUM_PAYLOAD} are allowed")
    associated = header.pack()
    sealed = _cipher(password, header).encrypt(header.nonce, plaintext, associated)
    write_atomically(target, associated + sealed, mode=0o600, overwrite=overwrite)


@overload
def load(
    path: str | os.PathLike[str], passphrase: str | bytes, *, scheme: None = ..., allow_insecure: bool = ...
) -> SecretKey: ...


@overload
def load(
    path: str | os.PathLike[str], passphrase: str | bytes, *, scheme: Literal["paillier"], allow_insecure: bool = ...
) -> paillier.SecretKey: ...


@overload
def load(
    path: str | os.PathLike[str], passphrase: str | bytes, *, scheme: Literal["ckks"], allow_insecure: bool = ...
) -> ckks.SecretKey: ...


def load(
    path: str | os.PathLike[str],
    passphrase: str | bytes,
    *,
    scheme: Literal["paillier", "ckks"] | None = None,
    allow_insecure: bool = False,
) -> SecretKey:
    """Read the secret key that `save` wrote to `path`: of `scheme`, or of either.

    A CKKS key comes on the current backend and without its evaluation keys, which are public and kept elsewhere.

    Raises WrongPassphraseError for a wrong passphrase or a changed byte (authenticated encryption cannot tell
    which), KeystoreError for a file that is no keystore, of another scheme, is truncated or asks for parameters out of
    bounds, InsecureParametersError for what `save` wrote only with `allow_insecure`, OSError where the file cannot be
    read.
    """
    target = Path(path)
    password = _passphrase_bytes(passphrase)
    data = _read(target)
    header = _parse(data, target)
    if scheme not in (None, header.kind.scheme):
        raise KeystoreError(f"cannot load {target}: it holds a key of {header.kind.scheme}, not of {scheme}")
    small = header.kind is _PAILLIER and header.size < SECURITY_FLOOR_BITS
    if not allow_insecure and (header.log2_n < LOG2_N or small):
        key = f"a key of {header.size} bits" if header.kind is _PAILLIER else "a key"
        least = f"{SECURITY_FLOOR_BITS} bits under " if header.kind is _PAILLIER else ""
        raise InsecureParametersError(
            f"cannot load {target}: {key} under scrypt N = 2**{header.log2_n}, at least {least}N = 2**{LOG2_N} "
            "are needed; allow_insecure=True opens it all the same"
        )
    from cryptography.exceptions import InvalidTag

    try:
        plaintext = _cipher(password, header).decrypt(header.nonce, data[_HEADER.size :], data[: _HEADER.size])
    except InvalidTag:
        raise WrongPassphraseError(
            f"cannot open {target}: the passphrase is wrong or the file was changed after it was written"
        ) from None
    secret_key = _read_key(header.kind, plaintext, allow_insecure)
    if _describe(secret_key)[:3] != (header.kind, header.size, header.fingerprint):
        raise KeystoreError(f"cannot load {target}: its header describes another key than the one inside")
    return secret_key


def inspect(path: str | os.PathLike[str]) -> KeystoreInfo:
    """What the file says of itself, without a passphrase. Raises KeystoreError as `load` does for a bad header."""
    target = Path(path)
    header = _parse(_read(target), target)
    return KeystoreInfo(
        version=VERSION,
        scheme=header.kind.scheme,
        key_bits=header.size if header.kind is _PAILLIER else None,
        ring_degree=header.size if header.kind is _CKKS else None,
        fingerprint=header.fingerprint.hex(),
        kdf=f"scrypt N=2^{header.log2_n} r={BLOCK_SIZE} p={PARALLELISM}",
        cipher="AES-256-GCM",
    )


def _describe(secret_key: SecretKey) -> tuple[_Kind, int, bytes, str]:
    """Kind, size, fingerprint, and what is weak about the key: empty for nothing."""
    from hecore import ckks
    from hecore.ckks.wire import pickles_insecure

    if isinstance(secret_key, ckks.SecretKey):
        parameters = secret_key.parameters
        insecure = pickles_insecure(parameters)  # what `load` refuses without the word
        weakness = "a key of parameters below 128 bits of security by the table of 2024" if insecure else ""
        return _CKKS, parameters.ring_degree, secret_key.key_id, weakness
    public_key = secret_key.public_key
    weakness = ""
    if public_key.key_bits < SECURITY_FLOOR_BITS:
        weakness = f"a key of {public_key.key_bits} bits: at least {SECURITY_FLOOR_BITS} are needed"
    return _PAILLIER, public_key.key_bits, bytes.fromhex(public_key.fingerprint), weakness


def _read_key(kind: _Kind, plaintext: bytes, allow_insecure: bool) -> SecretKey:
    from hecore import ckks, paillier

    if kind is _CKKS:
        return ckks.SecretKey.from_bytes_unprotected(plaintext, allow_insecure=allow_insecure)
    return paillier.SecretKey.from_bytes_unprotected(plaintext, allow_insecure=allow_insecure)


def write_atomically(
    path: str | os.PathLike[str], data: bytes | memoryview, *, mode: int = 0o666, overwrite: bool = True
) -> None:
    """Write `data` to `path` so that a reader, or a crash at any moment, sees the old file or the whole new one.

    A temporary file beside `path` (created exclusively with `mode`, less the umask) is written, fsynced and renamed
    over it; then the directory is fsynced. Whatever fails before the rename leaves `path` alone and removes the
    temporary file. Without `overwrite` it takes the name only where nothing has it, and of several processes at once
    only one does. Raises KeystoreError where the name is taken, OSError.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _take_name(temporary, target)
    except BaseException:  # an interrupt too must leave no half-written file behind; the error goes on
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # the rename itself must survive a power cut; Windows offers no handle on a directory
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _take_name(temporary: Path, target: Path) -> None:
    """Rename, to a name that nothing has yet: a hard link, unlike a rename, never replaces a file."""
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError:  # no hard links here (FAT, some network shares): an empty file takes the name instead
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            try:
                os.replace(temporary, target)
            except BaseException:
                os.unlink(target)
                raise
        else:
            os.unlink(temporary)
    except FileExistsError:
        raise _file_exists(target) from None


def _file_exists(target: Path) -> KeystoreError:
    return KeystoreError(f"cannot write {target}: the file exists; pass overwrite=True to replace it")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAXIMUM_FILE + 1)
    if len(data) > _MAXIMUM_FILE:
        raise KeystoreError(f"cannot read {path}: longer than the {_MAXIMUM_FILE} bytes a keystore may have")
    return data


def _parse(data: bytes, path: Path) -> _Header:
    """The header of a whole file, every field within bounds."""
    if data[: len(MAGIC)] != MAGIC:
        raise KeystoreError(f"cannot read {path}: it is not a hecore keystore")
    if len(data) < _HEADER.size:
        raise KeystoreError(f"cannot read {path}: truncated at {len(data)} bytes, the header has {_HEADER.size}")
    _, version, number, kdf, cipher, log2_n, r, p, salt, nonce, size, fingerprint, payload = _HEADER.unpack(
        data[: _HEADER.size]
    )
    for name, given, allowed in (
        ("version", version, VERSION),
        ("key derivation", kdf, _KDF_SCRYPT),
        ("cipher", cipher, _CIPHER_AES_256_GCM),
        ("scrypt r", r, BLOCK_SIZE),
        ("scrypt p", p, PARALLELISM),
    ):
        if given != allowed:
            raise KeystoreError(f"cannot read {path}: {name} is {given}, {allowed} is known")
    kind = _KINDS.get(number)
    if kind is None:
        raise KeystoreError(f"cannot read {path}: kind of key is {number}, {', '.join(map(str, _KINDS))} are known")
    for name, given, low, high in (
        ("scrypt log2 N", log2_n, 1, _MAXIMUM_LOG2_N),
        (kind.unit, size, kind.smallest, kind.largest),
        ("length of the encrypted key", payload, _TAG_BYTES, _MAXIMUM_PAYLOAD),
    ):
        if not low <= given <= high:
            raise KeystoreError(f"cannot read {path}: {name} is {given}, {low} to {high} are allowed")
    if len(data) != _HEADER.size + payload:
        raise KeystoreError(f"cannot read {path}: {len(data)} bytes, its header says {_HEADER.size + payload}")
    return _Header(kind, log2_n, salt, nonce, size, fingerprint, payload)


def _cipher(password: bytes, header: _Header) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    kdf = Scrypt(salt=header.salt, length=32, n=1 << header.log2_n, r=BLOCK_SIZE, p=PARALLELISM)
    return AESGCM(kdf.derive(password))


def _passphrase_bytes(passphrase: str | bytes) -> bytes:
    if isinstance(passphrase, str):
        try:
            passphrase = unicodedata.normalize("NFC", passphrase).encode()
        except UnicodeEncodeError:
            raise ParameterError("cannot use this passphrase: it is not valid Unicode; pass bytes") from None
    elif not isinstance(passphrase, bytes):
        raise OperandTypeError(f"cannot use a {type(passphrase).__name__} as a passphrase: str or bytes are allowed")
    if not passphrase:
        raise ParameterError("cannot use an empty passphrase")
    return passphrase
