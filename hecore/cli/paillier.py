"""What the commands do with Paillier keys and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore import keystore, paillier, wire
from hecore.backends.protocol import SATURATING_BATCH, saturating_batch
from hecore.cli import files
from hecore.cli.progress import Progress
from hecore.errors import OperandTypeError, ParameterError
from hecore.paillier import EncryptedArray, PackedArray, PublicKey, SecretKey, params

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

DECRYPT_CHUNK = 4096  # values between two steps of the progress bar; more on a device with more lanes


def keygen(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """A key pair in two files."""
    secret_path, public_path = Path(arguments.file), Path(f"{arguments.file}.pub")
    # The passphrase comes first, so that nobody waits for primes in vain.
    if arguments.insecure:
        generate, check = paillier.generate_insecure_keypair, params.check_key_size
    else:
        generate, check = paillier.generate_keypair, params.check_key_bits
    check(arguments.key_bits)
    passphrase = files.passphrase(arguments, f"New passphrase for {secret_path}: ", confirm=True)
    public_key, secret_key = generate(arguments.key_bits)
    keystore.save(secret_key, secret_path, passphrase, overwrite=arguments.overwrite, allow_insecure=arguments.insecure)
    keystore.write_atomically(public_path, public_key.to_bytes(), overwrite=arguments.overwrite)
    result = {
        "secret_key": str(secret_path),
        "public_key": str(public_path),
        "key_bits": public_key.key_bits,
        "fingerprint": public_key.fingerprint,
    }
    return result, f"{public_key.key_bits} bits, fingerprint {public_key.fingerprint}"


def encrypt(arguments: argparse.Namespace, key: PublicKey | SecretKey, values: NDArray[Any]) -> EncryptedArray:
    """A table under a key, in the encoding that was asked for. Raises ParameterError for what is CKKS's."""
    if arguments.bound is not None:
        raise ParameterError("cannot encrypt with --bound: it belongs to CKKS, and this key is Paillier's")
    encoding: paillier.Integers | paillier.FixedPoint | None = None
    if arguments.integers is not None:
        encoding = paillier.Integers(bits=arguments.integers)
    elif arguments.fixed_point is not None:
        encoding = paillier.FixedPoint(arguments.fixed_point[0], bits=arguments.fixed_point[1])
    with Progress(arguments) as progress:
        return key.encrypt(
            values, encoding=encoding, progress=lambda done: progress.show("encrypting", done, values.size)
        )


def decrypt(arguments: argparse.Namespace, key: object, data: bytes) -> NDArray[Any]:
    """The numbers in an array's bytes."""
    if not isinstance(key, SecretKey):
        raise OperandTypeError(f"cannot decrypt with {arguments.key}: it is a public key, the keystore is needed")
    array = read_array(data, key.public_key)
    with Progress(arguments) as progress:
        if isinstance(array, PackedArray):
            return key.decrypt(array)
        step = DECRYPT_CHUNK * max(1, saturating_batch(array.residues.backend) // SATURATING_BATCH)
        flat, parts = array.reshape(-1), []
        for start in range(0, array.size, step):
            parts.append(key.decrypt(flat[start : start + step]))
            progress.show("decrypting", min(start + step, array.size), array.size)
        return np.concatenate(parts).reshape(array.shape)


def read_array(data: bytes, public_key: PublicKey) -> EncryptedArray | PackedArray:
    """An array's bytes, packed or not."""
    packed = wire.read_frame(data).kind is wire.Kind.PACKED_ARRAY
    return PackedArray.from_bytes(data, public_key) if packed else EncryptedArray.from_bytes(data, public_key)


def describe(array: EncryptedArray | PackedArray) -> dict[str, Any]:
    """What is public of an array."""
    return {
        "shape": list(array.shape),
        "encoding": array.encoding.kind,
        "headroom_bits": array.headroom_bits,
        "key_bits": array.public_key.key_bits,
        "fingerprint": array.public_key.fingerprint,
    }


def inspect(arguments: argparse.Namespace, path: Path, frame: wire.Frame) -> dict[str, Any]:
    """What a frame of this scheme holds."""
    if frame.kind is wire.Kind.PUBLIC_KEY:
        key = _public_key(path)
        report = key.validate()
        return {
            "kind": "public key",
            "key_bits": key.key_bits,
            "fingerprint": key.fingerprint,
            "randomness_bits": key.randomness_bits,
            "checks": {check.requirement: check.passed for check in report.checks},
            "not_checked": list(report.not_checked),
        }
    if frame.kind is wire.Kind.SECRET_KEY_UNPROTECTED:
        warning = "SECRET KEY WITHOUT PROTECTION: encrypt it with hecore.keystore and destroy this file"
        return {"kind": warning, "fingerprint": frame.fingerprint}
    packed = ", packed" if frame.kind is wire.Kind.PACKED_ARRAY else ""
    result = {
        "kind": f"encrypted array{packed}",
        "fingerprint": frame.fingerprint,
        "bytes": len(frame.payload) + wire.FRAME_OVERHEAD_BYTES,
    }
    if arguments.key is not None:
        result |= describe(read_array(path.read_bytes(), _public_key(Path(arguments.key))))
    return result


def _public_key(path: Path) -> PublicKey:
    key = files.public_key(path, allow_insecure=True, allow_short_randomness=True)
    if not isinstance(key, PublicKey):
        raise OperandTypeError(f"cannot use {path} here: it is a CKKS key, the file is Paillier's")
    return key
