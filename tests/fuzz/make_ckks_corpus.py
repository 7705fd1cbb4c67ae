"""Write the CKKS seeds of the corpus: `python -m tests.fuzz.make_ckks_corpus`; it needs the `tenseal` wheel.

Provenance: files called seal* and tenseal* hold bytes that SEAL 4.3 (TenSEAL 0.3.18) wrote of its own keys and
ciphertexts, all others are ours. Toy parameters; the keys were made for the corpus and protect nothing. "bad-" are
refused.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np

import hecore
from hecore import ckks
from hecore import wire as frames
from hecore.ckks import Parameters, encryption, seal_wire, tenseal_wire
from hecore.ckks.encoding import encode
from hecore.ckks.seal_stream import HEADER_BYTES, Compression, Version
from hecore.ckks.tenseal_wire import ContextMessage, TensorMessage, VectorMessage
from hecore.ring.prng import SeedKind
from tests.ckks.seal_peer import Peer, save, seal
from tests.fuzz.ckks_targets import CORPUS, KEY_ID, PARAMETERS


def seeds() -> dict[str, bytes]:
    """File -> bytes, all of them made anew."""
    made = ckks.generate_keys(PARAMETERS, galois=[1], conjugation=True)
    galois_keys = ckks.GaloisKeys(PARAMETERS, KEY_ID, made.galois_keys.keys_by_element)
    assert made.relinearization_key is not None
    relinearization_key = ckks.RelinearizationKey(PARAMETERS, KEY_ID, made.relinearization_key.switching_key)
    evaluation_keys = ckks.EvaluationKeys(PARAMETERS, KEY_ID, relinearization_key, galois_keys)
    public_key = ckks.PublicKey(PARAMETERS, KEY_ID, made.public_key.polynomials, evaluation_keys, made.public_key.seed)
    secret_key = ckks.SecretKey(PARAMETERS, KEY_ID, made.secret_key.polynomial)
    bare = ckks.PublicKey(PARAMETERS, KEY_ID, made.public_key.polynomials)
    values = np.linspace(-1, 1, 8)
    plaintext = encode(values, PARAMETERS)
    public = encryption.encrypt_public(public_key, plaintext)
    seeded = encryption.encrypt_symmetric(secret_key, encode(np.stack([values] * 3), PARAMETERS, bound=1.0))
    shake, blake = (
        encryption.encrypt_symmetric(secret_key, plaintext, seed_kind=kind)
        for kind in (SeedKind.SHAKE256, SeedKind.BLAKE2XB)
    )
    files = {
        "ckks_parameters/toy": PARAMETERS.to_bytes(),
        "ckks_parameters/sparse": Parameters.insecure(
            ring_degree=16, moduli_bits=[30, 30], scale=10.1, secret_weight=4
        ).to_bytes(),
        "ckks_parameters/hybrid": Parameters(
            ring_degree=8192, moduli_bits=[40, 30, 30, 50, 50], scale=2**30, special_count=2, digit_primes=2
        ).to_bytes(),
        "ckks_keys/public": public_key.to_bytes(),
        "ckks_keys/bare": bare.to_bytes(),
        "ckks_keys/evaluation": evaluation_keys.to_bytes(),
        "ckks_keys/secret": secret_key.to_bytes_unprotected(),
        "ckks_ciphertext/public": public.to_bytes(),
        "ckks_ciphertext/seeded": seeded.to_bytes(),
        "ckks_ciphertext/shake": shake.to_bytes(),
        "ckks_ciphertext/tensor": secret_key.encrypt(np.arange(12).reshape(3, 4)).to_bytes(),
        "ckks_ciphertext/complex": public_key.encrypt(1j).to_bytes(),
        "seal_plaintext/ours": seal_wire.write_plaintext(plaintext),
        "seal_secret_key/ours": seal_wire.write_secret_key_unprotected(secret_key),
        "seal_public_key/ours": seal_wire.write_public_key(public_key),
        "seal_galois_keys/ours": seal_wire.write_galois_keys(galois_keys),
        "seal_galois_keys/relinearization": seal_wire.write_relinearization_key(relinearization_key),
    }
    files["ckks_ciphertext/bad-tensor-shape"] = _mended(files["ckks_ciphertext/tensor"], 2, struct.pack("<Q", 64))
    for compression in Compression:
        name = compression.name.lower()
        for version in (Version(3, 4), Version(3, 7), Version(4, 1)):
            label = f"{name}-{version.major}.{version.minor}"
            form = {"compression": compression, "version": version}
            files[f"seal_parameters/{label}"] = seal_wire.write_parameters(PARAMETERS, **form)  # type: ignore[arg-type]
            files[f"seal_ciphertext/{label}"] = seal_wire.write_ciphertext(public, **form)  # type: ignore[arg-type]
        files[f"seal_ciphertext/shake-{name}"] = seal_wire.write_ciphertext(shake, compression=compression)
        files[f"seal_ciphertext/blake-{name}"] = seal_wire.write_ciphertext(blake, compression=compression)
    files["seal_parameters/bfv"] = seal_wire.write_parameters(seal_wire.SealParameters(1, 16, (97, 193), 17))
    files.update(_seal_files(values))
    bomb = files["seal_ciphertext/zstd-3.7"][:HEADER_BYTES] + _zeros(8 << 20)
    for target in ("ciphertext", "galois_keys", "parameters"):
        files[f"seal_{target}/bad-bomb"] = bomb[:8] + struct.pack("<Q", len(bomb)) + bomb[16:]

    context = ContextMessage(
        parameters=files["seal_parameters/zstd-3.7"],
        scale=2.0**20,
        public_key=files["seal_public_key/ours"],
        relinearization_keys=files["seal_galois_keys/relinearization"],
        galois_keys=files["seal_galois_keys/ours"],
    )
    private = replace(context, secret_key=files["seal_secret_key/ours"], makes_galois_keys=True, encryption_type=1)
    ciphertext = files["seal_ciphertext/zstd-3.7"]
    files |= {
        "tenseal_context/public": tenseal_wire.write_context(context),
        "tenseal_context/private": tenseal_wire.write_context(private),
        "tenseal_context/short": tenseal_wire.write_context(ContextMessage(b"parameters", galois_keys=b"keys")),
        "tenseal_context/empty": b"",
        "tenseal_vector/one": tenseal_wire.write_vector(VectorMessage((8,), (ciphertext,), 2.0**20)),
        "tenseal_vector/short": tenseal_wire.write_vector(VectorMessage((1, 300), (b"a", b"b"), 0.5)),
        "tenseal_tensor/one": tenseal_wire.write_tensor(TensorMessage((2, 4), (ciphertext,) * 2, 2.0**20, 4)),
        "tenseal_tensor/short": tenseal_wire.write_tensor(TensorMessage((1, 300), (b"a", b"b"), 0.5, None)),
    }
    return files


def _seal_files(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, bytes]:
    peer = Peer(PARAMETERS.ring_degree, PARAMETERS.basis.moduli)
    plaintext = peer.encode(values, float(PARAMETERS.scale))
    public_key, galois_keys, ciphertext = seal.PublicKey(), seal.GaloisKeys(), seal.Ciphertext()
    peer.generator.create_public_key(public_key)
    peer.generator.create_galois_keys([3], galois_keys)
    encryptor = peer.encryptor()
    encryptor.encrypt(plaintext, ciphertext)
    files = {
        "seal_parameters/seal": save(peer.encryption_parameters),
        "seal_plaintext/seal": save(plaintext),
        "seal_ciphertext/seal": save(ciphertext),
        "seal_ciphertext/seal-seeded": save(encryptor.encrypt_symmetric(plaintext)),
        "seal_secret_key/seal": save(peer.secret_key),
        "seal_public_key/seal": save(public_key),
        "seal_galois_keys/seal": save(galois_keys),
        "seal_galois_keys/seal-relinearization": save(peer.generator.create_relin_keys()),
    }
    peer.evaluator.square_inplace(ciphertext)
    peer.evaluator.rescale_to_next_inplace(ciphertext)
    return files | {"seal_ciphertext/seal-square": save(ciphertext)}


def _zeros(count: int) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(bytes(count))


def _mended(data: bytes, at: int, new: bytes) -> bytes:
    body = bytearray(data[: -frames.CHECKSUM_BYTES])
    body[frames.HEADER_BYTES + at : frames.HEADER_BYTES + at + len(new)] = new
    return bytes(body) + hashlib.sha256(body).digest()[: frames.CHECKSUM_BYTES]


def main() -> None:
    with hecore.use("reference"):
        files = seeds()
    for name, data in files.items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
