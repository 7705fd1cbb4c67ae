"""SEAL's bytes, in both directions with SEAL itself: its context, our evaluation, its decryption; ours, its, ours."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hecore
from hecore import ckks
from hecore.ckks import Parameters, Scale, encryption, evaluator, seal_wire
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import encode
from hecore.ckks.seal_stream import HEADER_BYTES, Compression, Version
from hecore.errors import (
    ParameterError,
    SerializationError,
    ShapeError,
)
from hecore.ring.prng import SeedKind
from tests.ckks.seal_peer import Peer, load, save, seal

VERSIONS = [Version(3, 4), Version(3, 5), Version(3, 6), Version(3, 7), Version(4, 3)]
"""That SEAL 4.3 reads; it refuses 4.y of another y."""
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


@pytest.fixture(scope="module")
def peer(parameters: Parameters) -> Peer:
    return Peer(parameters.ring_degree, parameters.basis.moduli)


@pytest.fixture(scope="module")
def its_key(peer: Peer, parameters: Parameters) -> ckks.SecretKey:
    with hecore.use("reference"):
        return seal_wire.read_secret_key(save(peer.secret_key), parameters)


@pytest.fixture(scope="module")
def our_key(peer: Peer, keys: ckks.Keys) -> Any:
    """Our secret key as SEAL loaded it."""
    return load(seal.SecretKey(), seal_wire.write_secret_key_unprotected(keys.secret_key), peer.context)


def encrypt(keys: ckks.Keys, values: Any = VALUES, **options: Any) -> Ciphertext:
    return encryption.encrypt_public(keys.public_key, encode(values, keys.parameters, **options))


def close(a: NDArray[Any], b: NDArray[Any], error: float = 1e-5) -> bool:
    return bool(np.abs(np.asarray(a).reshape(-1) - np.asarray(b).reshape(-1)).max() < error)


def words_of(a: Any) -> NDArray[np.uint64]:
    return np.asarray(a.backend.ring_download(a))


# -- ours to SEAL ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compression", Compression)
def test_seal_loads_what_we_write(
    peer: Peer, keys: ckks.Keys, our_key: Any, version: Version, compression: Compression
) -> None:
    form: dict[str, Any] = {"compression": compression, "version": version}
    made = load(seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS), seal_wire.write_parameters(keys.parameters, **form))
    assert [q.value() for q in made.coeff_modulus()] == list(keys.parameters.basis.moduli)
    assert made.poly_modulus_degree() == 64
    for kind in SeedKind:
        plaintext = encode(VALUES, keys.parameters)
        x = encryption.encrypt_symmetric(keys.secret_key, plaintext, seed_kind=kind)
        data = seal_wire.write_ciphertext(x, **form)
        assert close(peer.decrypt(load(seal.Ciphertext(), data, peer.context), our_key), VALUES)
    loaded = load(seal.Plaintext(), seal_wire.write_plaintext(plaintext, **form), peer.context)
    assert close(peer.decode(loaded), VALUES)
    secret_key = load(seal.SecretKey(), seal_wire.write_secret_key_unprotected(keys.secret_key, **form), peer.context)
    public_key = load(seal.PublicKey(), seal_wire.write_public_key(keys.public_key, **form), peer.context)
    ciphertext = seal.Ciphertext()
    seal.Encryptor(peer.context, public_key).encrypt(peer.encode(VALUES, SCALE), ciphertext)
    assert close(peer.decrypt(ciphertext, secret_key), VALUES)
    assert keys.relinearization_key is not None
    relin_keys = load(
        seal.RelinKeys(), seal_wire.write_relinearization_key(keys.relinearization_key, **form), peer.context
    )
    galois_keys = load(seal.GaloisKeys(), seal_wire.write_galois_keys(keys.galois_keys, **form), peer.context)
    peer.evaluator.square_inplace(ciphertext)
    peer.evaluator.relinearize_inplace(ciphertext, relin_keys)
    peer.evaluator.rescale_to_next_inplace(ciphertext)
    assert close(peer.decrypt(ciphertext, our_key), VALUES**2)
    peer.evaluator.rotate_vector_inplace(ciphertext, 1, galois_keys)
    peer.evaluator.rotate_vector_inplace(ciphertext, -3, galois_keys)
    peer.evaluator.complex_conjugate_inplace(ciphertext, galois_keys)
    assert close(peer.decrypt(ciphertext, our_key), np.roll(VALUES**2, 2))


def test_seeded_ciphertexts_are_half_as_long(keys: ckks.Keys) -> None:
    sizes = {}
    for kind in SeedKind:
        x = encryption.encrypt_symmetric(keys.secret_key, encode(VALUES, keys.parameters), seed_kind=kind)
        sizes[kind] = len(seal_wire.write_ciphertext(x, compression=Compression.NONE))
    words = 8 * 3 * 64
    assert sizes[SeedKind.AES_CTR] == HEADER_BYTES + 65 + 16 + 8 + 2 * words
    assert sizes[SeedKind.SHAKE256] == sizes[SeedKind.BLAKE2XB] == HEADER_BYTES + 65 + 16 + 8 + words + 81


def test_ours_its_ours(peer: Peer, keys: ckks.Keys) -> None:
    """Three components, lower levels and rescaled scales go there and come back."""
    x, y = (encrypt(keys, values) for values in (VALUES, VALUES[::-1]))
    a, b = (load(seal.Ciphertext(), seal_wire.write_ciphertext(z), peer.context) for z in (x, y))
    product = seal.Ciphertext()
    peer.evaluator.multiply(a, b, product)
    three = seal_wire.read_ciphertext(save(product), keys.parameters, x.key_id, keys.evaluation_keys)
    assert (three.components, three.level) == (3, 2)
    assert three.scale == x.scale * y.scale
    assert close(encryption.decrypt_values(keys.secret_key, three), VALUES * VALUES[::-1])
    two = evaluator.rescale(evaluator.relinearize(three))
    assert close(encryption.decrypt_values(keys.secret_key, two), VALUES * VALUES[::-1])
    peer.evaluator.rescale_to_next_inplace(product)
    rescaled = seal_wire.read_ciphertext(save(product), keys.parameters, x.key_id)
    assert rescaled.level == 1
    assert rescaled.scale == two.scale  # exactly: SEAL's double stands for it
    assert rescaled.noise == math.inf
    assert close(encryption.decrypt_values(keys.secret_key, rescaled), VALUES * VALUES[::-1])


def test_its_ours_its(peer: Peer, its_key: ckks.SecretKey, parameters: Parameters) -> None:
    """Its context and keys, our evaluation, its decryption."""
    public, relin, galois = seal.PublicKey(), seal.RelinKeys(), seal.GaloisKeys()
    peer.generator.create_public_key(public)
    peer.generator.create_relin_keys(relin)
    peer.generator.create_galois_keys(galois)
    key_id = its_key.key_id
    relinearization_key = seal_wire.read_relinearization_key(save(relin), parameters, key_id)
    galois_keys = seal_wire.read_galois_keys(save(galois), parameters, key_id)
    assert {galois_keys.has_step(sign << i) for i in range(5) for sign in (1, -1)} == {True}
    evaluation_keys = ckks.EvaluationKeys(parameters, key_id, relinearization_key, galois_keys)
    public_key = seal_wire.read_public_key(save(public), parameters, key_id, evaluation_keys)

    ciphertext = seal.Ciphertext()
    peer.encryptor().encrypt(peer.encode(VALUES, SCALE), ciphertext)
    x = seal_wire.read_ciphertext(save(ciphertext), parameters, key_id, evaluation_keys)
    y = encryption.encrypt_public(public_key, encode(VALUES + 1, parameters))
    z = evaluator.rescale(evaluator.relinearize(evaluator.multiply(x, y)))
    for made, expected in ((y, VALUES + 1), (z, VALUES * (VALUES + 1))):
        loaded = load(seal.Ciphertext(), seal_wire.write_ciphertext(made), peer.context)
        assert close(peer.decrypt(loaded), expected)
        assert close(encryption.decrypt_values(its_key, made), expected)


@pytest.mark.parametrize("step", [1, -4])
def test_its_galois_keys_rotate(peer: Peer, its_key: ckks.SecretKey, parameters: Parameters, step: int) -> None:
    from hecore.ckks import rotation

    galois = seal.GaloisKeys()
    peer.generator.create_galois_keys(galois)
    galois_keys = seal_wire.read_galois_keys(save(galois), parameters, its_key.key_id)
    evaluation_keys = ckks.EvaluationKeys(parameters, its_key.key_id, None, galois_keys)
    x = encryption.encrypt_symmetric(its_key, encode(VALUES, parameters))
    turned = rotation.rotate(replace(x, evaluation_keys=evaluation_keys), step)
    loaded = load(seal.Ciphertext(), seal_wire.write_ciphertext(turned), peer.context)
    assert close(peer.decrypt(loaded), np.roll(VALUES, -step))


def test_seal_writes_seeded_objects(peer: Peer, its_key: ckks.SecretKey, parameters: Parameters) -> None:
    data = save(peer.encryptor().encrypt_symmetric(peer.encode(VALUES, SCALE)))
    x = seal_wire.read_ciphertext(data, parameters, its_key.key_id)
    assert x.seed is not None
    assert x.seed.kind is SeedKind.BLAKE2XB
    assert close(encryption.decrypt_values(its_key, x), VALUES)
    again = load(seal.Ciphertext(), seal_wire.write_ciphertext(x), peer.context)
    assert close(peer.decrypt(again), VALUES)
    relinearization_key = seal_wire.read_relinearization_key(
        save(peer.generator.create_relin_keys()), parameters, its_key.key_id
    )
    evaluation_keys = ckks.EvaluationKeys(
        parameters, its_key.key_id, relinearization_key, ckks.GaloisKeys(parameters, its_key.key_id)
    )
    square = evaluator.relinearize(evaluator.square(replace(x, evaluation_keys=evaluation_keys)))
    assert close(encryption.decrypt_values(its_key, square), VALUES**2)


def test_its_plaintexts(peer: Peer, parameters: Parameters) -> None:
    from hecore.ckks.encoding import decode

    plaintext = peer.encode(VALUES, SCALE)
    assert close(decode(seal_wire.read_plaintext(save(plaintext), parameters)), VALUES)
    peer.evaluator.mod_switch_to_next_inplace(plaintext)
    read = seal_wire.read_plaintext(save(plaintext), parameters)
    assert read.level == 1
    assert read.scale == Scale.of(SCALE)
    assert close(decode(read), VALUES)


def test_batches(keys: ckks.Keys) -> None:
    x = encrypt(keys, np.stack([VALUES, 2 * VALUES, -VALUES]))
    objects = seal_wire.write_ciphertexts(x)
    assert len(objects) == 3
    again = seal_wire.read_ciphertexts(objects, keys.parameters, x.key_id)
    assert np.array_equal(words_of(again.polynomials), words_of(x.polynomials))
    with pytest.raises(ShapeError, match="write_ciphertexts"):
        seal_wire.write_ciphertext(x)
    low = seal_wire.write_ciphertext(encrypt(keys, level=1))
    with pytest.raises(SerializationError, match="different levels"):
        seal_wire.read_ciphertexts([objects[0], low], keys.parameters, x.key_id)
    with pytest.raises(SerializationError, match="no ciphertexts"):
        seal_wire.read_ciphertexts([], keys.parameters, x.key_id)


def test_one_modulus(parameters: Parameters) -> None:
    """No special modulus: the level of keys is the level of data."""
    alone = Parameters.insecure(ring_degree=64, moduli_bits=[45], scale=2**30)
    keys = ckks.generate_keys(alone)
    peer = Peer(64, alone.basis.moduli)
    x = encrypt(keys)
    loaded = load(seal.Ciphertext(), seal_wire.write_ciphertext(x), peer.context)
    secret_key = load(seal.SecretKey(), seal_wire.write_secret_key_unprotected(keys.secret_key), peer.context)
    assert close(peer.decrypt(loaded, secret_key), VALUES)
    with pytest.raises(SerializationError, match="without a special modulus"):
        seal_wire.read_relinearization_key(b"", alone, keys.public_key.key_id)


# -- scales ------------------------------------------------------------------------------------------------


def test_exact_scales(parameters: Parameters) -> None:
    q = parameters.basis.moduli
    start = parameters.scale
    once = start * start / q[2]
    twice = once * once / q[1]
    for level, scale in ((2, start), (2, start * start), (1, once), (1, once * once), (0, twice), (0, start)):
        found = seal_wire.exact_scale(float(scale), parameters, level)
        assert found == scale
    assert seal_wire.exact_scale(float(once), parameters, 2) == Scale.of(float(once))
    assert seal_wire.exact_scale(12345.5, parameters, 1) == Scale.of(12345.5)


# -- what SEAL does not have -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        Parameters.insecure(ring_degree=64, moduli_bits=[30, 30, 30, 31, 31], scale=2**20, special_count=2),
        Parameters.insecure(
            ring_degree=64, moduli_bits=[30, 30, 30, 31, 31], scale=2**20, special_count=2, digit_primes=2
        ),
        Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20, special_count=0),
    ],
)
def test_chains_that_seal_does_not_have(other: Parameters) -> None:
    keys = ckks.generate_keys(other)
    x = encryption.encrypt_public(keys.public_key, encode(VALUES, other))
    for write in (
        lambda: seal_wire.write_parameters(other),
        lambda: seal_wire.write_ciphertext(x),
        lambda: seal_wire.write_public_key(keys.public_key),
        lambda: seal_wire.write_secret_key_unprotected(keys.secret_key),
        lambda: seal_wire.read_ciphertext(b"", other, x.key_id),
        lambda: seal_wire.read_secret_key(b"", other),
    ):
        with pytest.raises(ParameterError, match="one special modulus and digits of one modulus"):
            write()


def test_versions_that_nobody_reads(keys: ckks.Keys) -> None:
    for version in (Version(3, 3), Version(4, 5), Version(5, 0), Version(2, 9)):
        with pytest.raises(ParameterError, match="cannot write SEAL version"):
            seal_wire.write_parameters(keys.parameters, version=version)


def test_seeds_of_seal_3_4_and_3_5(peer: Peer, keys: ckks.Keys, our_key: Any) -> None:
    """A seed alone, expanded in two other ways: SEAL says what we must read."""
    x = encrypt(keys)
    for minor in (4, 5):
        data = seal_wire.write_ciphertext(x, compression=Compression.NONE, version=Version(3, minor))
        words = 8 * 3 * 64
        head, body = bytearray(data[: -2 * words]), data[-2 * words : -words]
        struct.pack_into("<QQ", head, len(head) - 16, HEADER_BYTES + 8 + words, 3 * 64)
        seeded = bytes(head) + body + bytes(range(64))
        seeded = seeded[:8] + struct.pack("<Q", len(seeded)) + seeded[16:]
        ours = seal_wire.read_ciphertext(seeded, keys.parameters, x.key_id)
        theirs = load(seal.Ciphertext(), seeded, peer.context)
        again = seal_wire.read_ciphertext(save(theirs), keys.parameters, x.key_id)
        assert ours.seed is None
        assert np.array_equal(words_of(ours.polynomials), words_of(again.polynomials))
