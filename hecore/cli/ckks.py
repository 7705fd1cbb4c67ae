"""What the commands do with CKKS keys and tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hecore import ckks, keystore, wire
from hecore.ckks import EncryptedTensor, Parameters, PublicKey, SecretKey
from hecore.cli import files
from hecore.errors import OperandTypeError, ParameterError

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

MODULI_BITS = (60, 40, 40, 60)


def keygen(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """A set of keys in two files; the public one takes the evaluation keys along."""
    secret_path, public_path = Path(arguments.file), Path(f"{arguments.file}.pub")
    make = Parameters.insecure if arguments.insecure else Parameters
    parameters = make(
        ring_degree=arguments.ring_degree, moduli_bits=arguments.moduli_bits, scale=2.0**arguments.scale_bits
    )
    passphrase = files.passphrase(arguments, f"New passphrase for {secret_path}: ", confirm=True)
    keys = ckks.generate_keys(parameters, galois="power-of-two" if arguments.rotations else None)
    keystore.save(
        keys.secret_key, secret_path, passphrase, overwrite=arguments.overwrite, allow_insecure=arguments.insecure
    )
    keystore.write_atomically(public_path, keys.public_key.to_bytes(), overwrite=arguments.overwrite)
    result = {"secret_key": str(secret_path), "public_key": str(public_path), **_describe_key(keys.public_key)}
    return result, f"{parameters!r}, key {keys.public_key.key_id.hex()}"


def encrypt(arguments: argparse.Namespace, key: PublicKey | SecretKey, values: NDArray[Any]) -> EncryptedTensor:
    """A table under a key. Raises ParameterError for Paillier's encodings."""
    if arguments.integers is not None or arguments.fixed_point is not None:
        raise ParameterError(
            "cannot encrypt with --integers or --fixed-point: CKKS is approximate, and this key is its"
        )
    return key.encrypt(values, bound=arguments.bound)


def decrypt(arguments: argparse.Namespace, key: object, data: bytes) -> NDArray[Any]:
    """The numbers in a tensor's bytes, with the error of CKKS."""
    if not isinstance(key, SecretKey):
        raise OperandTypeError(f"cannot decrypt with {arguments.key}: it is a public key, the keystore is needed")
    return key.decrypt(EncryptedTensor.from_bytes(data, key.evaluation_keys))


def describe(tensor: EncryptedTensor) -> dict[str, Any]:
    """What is public of a tensor."""
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
        "level": tensor.level,
        "scale_bits": round(tensor.scale.log2, 3),
        "key_id": tensor.ciphertext.key_id.hex(),
    }


def inspect(arguments: argparse.Namespace, path: Path, frame: wire.Frame) -> dict[str, Any]:
    """What a frame of this scheme holds."""
    size = len(frame.payload) + wire.FRAME_OVERHEAD_BYTES
    if frame.kind is wire.Kind.CKKS_PUBLIC_KEY:
        key = PublicKey.from_bytes(path.read_bytes(), allow_insecure=True)
        return {"kind": "public key (CKKS)", **_describe_key(key), "bytes": size}
    if frame.kind is wire.Kind.CKKS_SECRET_KEY_UNPROTECTED:
        warning = "SECRET KEY WITHOUT PROTECTION: encrypt it with hecore.keystore and destroy this file"
        return {"kind": warning, "key_id": frame.fingerprint}
    names = {
        wire.Kind.CKKS_PARAMETERS: "parameters (CKKS)",
        wire.Kind.CKKS_EVALUATION_KEYS: "evaluation keys (CKKS)",
        wire.Kind.CKKS_CIPHERTEXT: "ciphertext (CKKS)",
        wire.Kind.CKKS_TENSOR: "encrypted tensor (CKKS)",
    }
    result = {"kind": names[frame.kind], "key_id": frame.fingerprint, "bytes": size}
    if arguments.key is not None and frame.kind is wire.Kind.CKKS_TENSOR:
        other = files.public_key(Path(arguments.key), allow_insecure=True)
        if not isinstance(other, PublicKey):
            raise OperandTypeError(f"cannot use {arguments.key} here: it is a Paillier key, the file is CKKS's")
        result |= describe(EncryptedTensor.from_bytes(path.read_bytes(), other))
    return result


def _describe_key(key: PublicKey) -> dict[str, Any]:
    parameters, evaluation_keys = key.parameters, key.evaluation_keys
    return {
        "ring_degree": parameters.ring_degree,
        "moduli_bits": [q.bit_length() for q in parameters.basis.moduli],
        "special_moduli": parameters.special_count,
        "scale_bits": round(parameters.scale.log2, 3),
        "security_bits": parameters.security_bits,
        "relinearization_key": evaluation_keys.relinearization_key is not None,
        "galois_keys": len(evaluation_keys.galois_keys),
        "key_id": key.key_id.hex(),
    }
