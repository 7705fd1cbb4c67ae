"""The compact form: what comes back, how long it is, and what is refused."""

from __future__ import annotations

import copy
import hashlib
import math
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore import wire as frames
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.ckks import Parameters, Scale, encryption, wire
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import encode
from hecore.errors import (
    HecoreError,
    InsecureParametersError,
    KeyMismatchError,
    OperandTypeError,
    SerializationError,
)
from hecore.kernels.cpu import bitpack
from hecore.ring.bits import pack_residues, packed_bytes, unpack_residues
from hecore.ring.prng import SeedKind
from hecore.wire import CHECKSUM_BYTES, HEADER_BYTES, Kind

TENSEAL_BYTES = 235_087
"""One symmetric ciphertext of TenSEAL 0.3.18 at N=8192, [60, 40, 40], scale 2^40; tests/ckks/test_seal_peer.py."""


@pytest.fixture(autouse=True)
def on_reference() -> Iterator[None]:
    with hecore.use("reference"):
        yield


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return Parameters.insecure(ring_degree=32, moduli_bits=[40, 30, 30, 41], scale=2**30)


@pytest.fixture(scope="module")
def keys(parameters: Parameters) -> ckks.Keys:
    with hecore.use("reference"):
        return ckks.generate_keys(parameters, galois=[1, 2], conjugation=True)


def words_of(a: Any) -> np.ndarray[Any, Any]:
    return np.asarray(a.backend.ring_download(a))


def same_ciphertext(a: Ciphertext, b: Ciphertext) -> bool:
    fields = [(c.parameters, c.level, c.scale, c.bound, c.noise, c.key_id, c.seed, c.shape) for c in (a, b)]
    return fields[0] == fields[1] and np.array_equal(words_of(a.polynomials), words_of(b.polynomials))


def mended(data: bytes, at: int, new: bytes) -> bytes:
    """Another payload with a checksum that fits."""
    body = bytearray(data[:-CHECKSUM_BYTES])
    start = HEADER_BYTES + at
    body[start : start + len(new)] = new
    return bytes(body) + hashlib.sha256(body).digest()[:CHECKSUM_BYTES]


def reframed(data: bytes, payload: bytes) -> bytes:
    frame = frames.read_frame(data)
    return frames.write_frame(frame.kind, frame.fingerprint, payload)


def payload_of(data: bytes) -> bytes:
    return data[HEADER_BYTES:-CHECKSUM_BYTES]


# -- packed bits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [[8], [9, 17], [31, 32, 33], [57, 58], [59, 60, 61], [20, 60, 21]])
@pytest.mark.parametrize("ring_degree", [8, 16, 64])
def test_packing_is_its_definition(bits: list[int], ring_degree: int) -> None:
    rng = np.random.default_rng(ring_degree + sum(bits))
    rows = [[int(x) for x in rng.integers(0, 1 << b, ring_degree, dtype=np.uint64)] for b in bits]
    rows[0][0], rows[-1][-1] = (1 << bits[0]) - 1, (1 << bits[-1]) - 1
    expected = b""
    for row, b in zip(rows, bits, strict=True):
        expected += sum(value << b * i for i, value in enumerate(row)).to_bytes(b * ring_degree // 8, "little")
    out = np.empty(len(expected) + bitpack.SLACK_BYTES, dtype=np.uint8)
    words, widths = np.array(rows, dtype=np.uint64), np.array(bits, dtype=np.int64)
    bitpack.pack_rows(out, words, widths)
    assert out[: len(expected)].tobytes() == expected
    back = np.empty_like(words)
    data = np.frombuffer(expected, dtype=np.uint8)
    assert bitpack.unpack_rows(back, data, widths, words.max(axis=1) + np.uint64(1))
    assert np.array_equal(back, words)
    for at in range(len(bits)):
        bounds = words.max(axis=1) + np.uint64(1)
        bounds[at] -= np.uint64(1)
        assert not bitpack.unpack_rows(back, data, widths, bounds)


def test_residues_come_back() -> None:
    basis = RnsBasis(16, (97, *ntt_primes(16, [60, 33]), 193))
    rng = np.random.default_rng(3)
    words = np.stack([rng.integers(0, q, (2, 3, 16), dtype=np.uint64) for q in basis.moduli], axis=2)
    data = pack_residues(words, basis).tobytes()
    assert len(data) == 6 * packed_bytes(basis) == 6 * 16 * (8 + 60 + 33 + 8) // 8
    assert np.array_equal(unpack_residues(data, basis, (2, 3)), words)
    words[1, 2, 3, 15] = 193
    with pytest.raises(SerializationError, match="residue is not below its modulus"):
        unpack_residues(pack_residues(words, basis).tobytes(), basis, (2, 3))


# -- parameters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        Parameters(ring_degree=4096, moduli_bits=[40, 20, 40], scale=2**20),
        Parameters(ring_degree=8192, moduli_bits=[60, 40, 50, 60], scale=2**40, special_count=2, digit_primes=1),
        Parameters.insecure(ring_degree=64, moduli_bits=[30], scale=3**5),
        Parameters.insecure(ring_degree=64, moduli_bits=[30, 30, 31, 31], scale=10.1, special_count=2, digit_primes=2),
        Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20, secret_weight=8),
        Parameters.with_2018_table(ring_degree=8192, moduli_bits=[60, 60, 38, 60], scale=2**40),
    ],
)
def test_parameters_come_back(made: Parameters) -> None:
    again = Parameters.from_bytes(made.to_bytes(), allow_insecure=True)
    assert again == made
    assert (again.table, again.fingerprint) == (made.table, made.fingerprint)
    assert pickle.loads(pickle.dumps(made)) == made
    if wire.pickles_insecure(made):
        with pytest.raises(InsecureParametersError):
            Parameters.from_bytes(made.to_bytes())
    else:
        assert Parameters.from_bytes(made.to_bytes()) == made


def test_what_names_the_2018_table_without_meeting_it_is_insecure() -> None:
    made = Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20)
    data = mended(made.to_bytes(), 1, b"\1")
    assert Parameters.from_bytes(data, allow_insecure=True).security_bits == 0
    with pytest.raises(InsecureParametersError):
        Parameters.from_bytes(data)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, b"\2"),  # version
        (1, b"\2"),  # table
        (2, b"\x13"),  # ring degree 2^19
        (2, b"\3"),  # ring degree 8
        (3, b"\0\0"),  # no moduli
        (3, b"\1\1"),  # 257
        (5, b"\2\0"),  # all special
        (7, b"\0\0"),  # digits of no moduli
        (9, b"\xff\xff\xff\xff"),  # more weight than coefficients
        (13, b"\0" * 8),  # a modulus
        (13, b"\xff" * 8),
        (29, b"\xff" * 4),  # powers of the scale
        (33, b"\xff" * 4),
    ],
)
def test_malformed_parameters(at: int, new: bytes) -> None:
    data = Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20).to_bytes()
    with pytest.raises(SerializationError):
        Parameters.from_bytes(mended(data, at, new), allow_insecure=True)


def test_parameters_of_another_fingerprint() -> None:
    data = Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20).to_bytes()
    other = frames.write_frame(Kind.CKKS_PARAMETERS, "00" * 16, payload_of(data))
    with pytest.raises(SerializationError, match="fingerprint"):
        Parameters.from_bytes(other, allow_insecure=True)


def scale_bytes(*powers: tuple[int, int]) -> bytes:
    parts = [frames.pack_integer(base) + struct.pack("<i", exponent) for base, exponent in powers]
    return frames.pack_u32(len(powers)) + b"".join(parts)


@pytest.mark.parametrize(
    "powers",
    [
        ((0, 1),),
        ((1, 1),),
        ((2, 0),),
        ((3, 1), (2, 1)),
        ((2, 1), (2, 1)),
        ((2, 1 << 30),),
        ((2, -(1 << 30)),),
        ((1 << wire.MAX_SCALE_BITS, 2),),
    ],
)
def test_malformed_scales(powers: tuple[tuple[int, int], ...]) -> None:
    made = Parameters.insecure(ring_degree=64, moduli_bits=[30, 30], scale=2**20)
    payload = payload_of(made.to_bytes())[: 13 + 16] + scale_bytes(*powers)
    with pytest.raises(SerializationError):
        Parameters.from_bytes(reframed(made.to_bytes(), payload), allow_insecure=True)


# -- keys --------------------------------------------------------------------------------------------------


def test_public_key_comes_back(keys: ckks.Keys) -> None:
    key = keys.public_key
    again = ckks.PublicKey.from_bytes(key.to_bytes(), allow_insecure=True)
    assert (again.parameters, again.key_id, again.seed) == (key.parameters, key.key_id, key.seed)
    assert np.array_equal(words_of(again.polynomials), words_of(key.polynomials))
    check_evaluation_keys(again.evaluation_keys, key.evaluation_keys)
    values = np.linspace(-1, 1, 16)
    x = encryption.encrypt_public(again, encode(values, key.parameters))
    assert np.allclose(encryption.decrypt_values(keys.secret_key, x), values, atol=1e-5)
    with pytest.raises(InsecureParametersError):
        ckks.PublicKey.from_bytes(key.to_bytes())


def check_evaluation_keys(a: ckks.EvaluationKeys, b: ckks.EvaluationKeys) -> None:
    assert (a.parameters, a.key_id) == (b.parameters, b.key_id)
    pairs = [(a.galois_keys[element], b.galois_keys[element]) for element in b.galois_keys]
    assert set(a.galois_keys) == set(b.galois_keys)
    assert (a.relinearization_key is None) == (b.relinearization_key is None)
    if a.relinearization_key is not None and b.relinearization_key is not None:
        pairs.append((a.relinearization_key.switching_key, b.relinearization_key.switching_key))
    for x, y in pairs:
        assert x.seed == y.seed
        assert np.array_equal(words_of(x.polynomials), words_of(y.polynomials))


def test_keys_without_a_seed_come_back(keys: ckks.Keys) -> None:
    key = keys.public_key
    bare = ckks.PublicKey(key.parameters, key.key_id, key.polynomials)
    again = ckks.PublicKey.from_bytes(bare.to_bytes(), allow_insecure=True)
    assert again.seed is None
    assert again.evaluation_keys.relinearization_key is None
    assert np.array_equal(words_of(again.polynomials), words_of(key.polynomials))
    galois_keys = ckks.GaloisKeys(
        key.parameters, key.key_id, {e: replace(k, seed=None) for e, k in keys.galois_keys.items()}
    )
    evaluation_keys = ckks.EvaluationKeys(key.parameters, key.key_id, None, galois_keys)
    check_evaluation_keys(
        ckks.EvaluationKeys.from_bytes(evaluation_keys.to_bytes(), allow_insecure=True), evaluation_keys
    )


def test_secret_key_comes_back(keys: ckks.Keys) -> None:
    key = keys.secret_key
    data = key.to_bytes_unprotected()
    again = ckks.SecretKey.from_bytes_unprotected(data, allow_insecure=True)
    assert (again.parameters, again.key_id) == (key.parameters, key.key_id)
    assert np.array_equal(again.digits(), key.digits())
    assert np.array_equal(words_of(again.polynomial), words_of(key.polynomial))
    size = len(payload_of(data))
    with pytest.raises(SerializationError, match="digit"):
        ckks.SecretKey.from_bytes_unprotected(mended(data, size - 1, b"\xff"), allow_insecure=True)


def test_pickles(keys: ckks.Keys) -> None:
    key = keys.public_key
    check_evaluation_keys(pickle.loads(pickle.dumps(keys.evaluation_keys)), keys.evaluation_keys)
    assert pickle.loads(pickle.dumps(key)).key_id == key.key_id
    assert set(pickle.loads(pickle.dumps(keys.galois_keys))) == set(keys.galois_keys)
    relinearization_key = pickle.loads(pickle.dumps(keys.relinearization_key))
    assert isinstance(relinearization_key, ckks.RelinearizationKey)
    x = encryption.encrypt_symmetric(keys.secret_key, encode([1.0], key.parameters))
    assert same_ciphertext(pickle.loads(pickle.dumps(x)), x)
    assert copy.copy(x) is x
    assert copy.deepcopy(x) is x
    for secret in (keys.secret_key, keys):
        with pytest.raises(OperandTypeError, match="never pickled"):
            pickle.dumps(secret)


def test_a_pickle_holds_no_secret(keys: ckks.Keys) -> None:
    words = words_of(keys.secret_key.polynomial)
    x = keys.secret_key.encrypt([1.0, 2.0])
    for value in (keys.public_key, keys.evaluation_keys, x, x.ciphertext):
        data = pickle.dumps(value)
        assert keys.secret_key.to_bytes_unprotected()[HEADER_BYTES + 40 : -CHECKSUM_BYTES] not in data
        assert words[0].tobytes() not in data


# -- ciphertexts -------------------------------------------------------------------------------------------


def ciphertexts(keys: ckks.Keys) -> dict[str, Ciphertext]:
    p = keys.secret_key.parameters
    values = np.linspace(-1, 1, 2 * 3 * 16).reshape(2, 3, 16)
    seeded = encryption.encrypt_symmetric(keys.secret_key, encode(values, p, bound=1.0))
    low = encryption.encrypt_public(keys.public_key, encode(values[0, 0], p, level=0))
    three = seeded.backend.ring_concatenate([low.polynomials, low.component(0)])
    return {
        "seeded": seeded,
        "public": encryption.encrypt_public(keys.public_key, encode(values, p)),
        "level 0": low,
        "scalar": encryption.encrypt_symmetric(keys.secret_key, encode(0.5, p)),
        "shake": encryption.encrypt_symmetric(keys.secret_key, encode(0.5, p), seed_kind=SeedKind.SHAKE256),
        "blake": encryption.encrypt_symmetric(keys.secret_key, encode([[0.5]], p), seed_kind=SeedKind.BLAKE2XB),
        "three": replace(low, polynomials=three),
        "odd scale": replace(low, scale=Scale.of(2**40) / p.basis.moduli[2] * 3, noise=math.inf),
    }


def test_ciphertexts_come_back(keys: ckks.Keys) -> None:
    for name, x in ciphertexts(keys).items():
        for known in (keys.public_key, keys.secret_key, keys.evaluation_keys, keys, x.parameters):
            again = Ciphertext.from_bytes(x.to_bytes(), known)  # type: ignore[arg-type]
            assert same_ciphertext(again, x), name
            assert (again.evaluation_keys is None) == (known is x.parameters)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (5, 16), (2, 2, 2)])
def test_tensors_come_back(keys: ckks.Keys, dtype: type, shape: tuple[int, ...]) -> None:
    values: np.ndarray[Any, Any] = (np.arange(math.prod(shape)).reshape(shape) / 10).astype(dtype)
    for x in (keys.secret_key.encrypt(values), keys.public_key.encrypt(values)):
        for again in (
            ckks.tensor.EncryptedTensor.from_bytes(x.to_bytes(), keys.public_key),
            pickle.loads(pickle.dumps(x)),
        ):
            assert (again.shape, again.dtype, again.layout) == (x.shape, x.dtype, x.layout)
            assert same_ciphertext(again.ciphertext, x.ciphertext)
            assert np.allclose(keys.secret_key.decrypt(again), values, atol=1e-5)


def test_the_seed_halves_a_fresh_ciphertext(keys: ckks.Keys) -> None:
    found = ciphertexts(keys)
    full, seeded = (len(found[name].to_bytes()) for name in ("public", "seeded"))
    polynomials = packed_bytes(found["public"].polynomials.basis) * found["public"].size
    assert full - seeded == polynomials - 1 - 32 - 8  # a seed, and the bound that this one declares


def test_payload_of_federated_learning() -> None:
    """At most 0.45 of TenSEAL's bytes, at its own default parameters for federated learning."""
    with hecore.use("cpu"):
        p = Parameters(ring_degree=8192, moduli_bits=[60, 40, 40], scale=2**40)
        keys = ckks.generate_keys(p)
        x = keys.secret_key.encrypt(np.random.default_rng(1).normal(size=4096))
        assert len(x.to_bytes()) <= 0.45 * TENSEAL_BYTES
        y = keys.secret_key.encrypt(np.random.default_rng(1).normal(size=10 * 4096))
        assert len(y.to_bytes()) <= 10 * 0.45 * TENSEAL_BYTES
        assert np.allclose(keys.secret_key.decrypt(type(y).from_bytes(y.to_bytes(), p)), keys.secret_key.decrypt(y))


# -- refusals ----------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[ckks.Keys], tuple[bytes, Callable[[bytes], object]]]] = {
    "parameters": lambda k: (
        k.parameters.to_bytes(),
        lambda data: Parameters.from_bytes(data, allow_insecure=True),
    ),
    "public key": lambda k: (
        k.public_key.to_bytes(),
        lambda data: ckks.PublicKey.from_bytes(data, allow_insecure=True),
    ),
    "evaluation keys": lambda k: (
        k.evaluation_keys.to_bytes(),
        lambda data: ckks.EvaluationKeys.from_bytes(data, allow_insecure=True),
    ),
    "secret key": lambda k: (
        k.secret_key.to_bytes_unprotected(),
        lambda data: ckks.SecretKey.from_bytes_unprotected(data, allow_insecure=True),
    ),
    "ciphertext": lambda k: (
        k.secret_key.encrypt([0.5]).ciphertext.to_bytes(),
        lambda data: Ciphertext.from_bytes(data, k.public_key),
    ),
    "tensor": lambda k: (
        k.public_key.encrypt([0.5]).to_bytes(),
        lambda data: ckks.tensor.EncryptedTensor.from_bytes(data, k.public_key),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_truncated_extended_and_altered_bytes(keys: ckks.Keys, name: str) -> None:
    data, read = READERS[name](keys)
    read(data)
    payload = payload_of(data)
    for cut in (0, 1, len(payload) // 2, len(payload) - 1):
        with pytest.raises(SerializationError):
            read(reframed(data, payload[:cut]))
    with pytest.raises(SerializationError):
        read(reframed(data, payload + b"\0"))
    with pytest.raises(SerializationError, match="checksum"):
        read(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    for other in READERS:
        if other != name:
            with pytest.raises(SerializationError):
                read(READERS[other](keys)[0])
    with pytest.raises(OperandTypeError):
        read("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", READERS)
def test_any_other_byte_in_the_head_is_refused_or_read(keys: ckks.Keys, name: str) -> None:
    """Never another exception; what is read is written again as it was read."""
    data, read = READERS[name](keys)
    refused = 0
    for at in range(min(len(payload_of(data)), 120)):
        for value in (0, 1, 0x7F, 0xFF):
            try:
                read(mended(data, at, bytes([value])))
            except HecoreError:
                refused += 1
    assert refused > 20


def test_a_residue_that_is_not_below_its_modulus(keys: ckks.Keys) -> None:
    for name in ("public key", "ciphertext", "tensor"):
        data, read = READERS[name](keys)
        size = len(payload_of(data))
        at = size - 40 if name != "public key" else payload_of(data).index(keys.public_key.seed.key) + 32 + 8  # type: ignore[union-attr]
        with pytest.raises(SerializationError, match="residue is not below"):
            read(mended(data, at, b"\xff" * 16))


def test_anothers_ciphertext(keys: ckks.Keys) -> None:
    x = keys.secret_key.encrypt([1.0])
    other = ckks.generate_keys(keys.parameters)
    for known in (other.public_key, other.evaluation_keys, other.secret_key, other):
        with pytest.raises(KeyMismatchError):
            type(x).from_bytes(x.to_bytes(), known)  # type: ignore[arg-type]
    parameters = Parameters.insecure(ring_degree=32, moduli_bits=[40, 30, 30, 41], scale=2**29)
    with pytest.raises(SerializationError, match="other parameters"):
        type(x).from_bytes(x.to_bytes(), parameters)
    with pytest.raises(OperandTypeError):
        type(x).from_bytes(x.to_bytes(), "key")  # type: ignore[arg-type]


def test_a_tensor_whose_shape_is_not_its_ciphertexts(keys: ckks.Keys) -> None:
    data = keys.public_key.encrypt(np.zeros(40)).to_bytes()
    with pytest.raises(SerializationError, match="cannot read a tensor of shape"):
        type(keys.public_key.encrypt([1.0])).from_bytes(mended(data, 2, struct.pack("<Q", 64)), keys.public_key)


def test_scales_that_are_too_long_are_not_written(keys: ckks.Keys) -> None:
    x = ciphertexts(keys)["level 0"]
    with pytest.raises(SerializationError, match="scale of"):
        replace(x, scale=Scale.of(3) ** wire.MAX_SCALE_BITS).to_bytes()
