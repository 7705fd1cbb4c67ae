"""TenSEAL's messages: the wheel's bytes come back unchanged, it loads what we write, malformed ones are refused."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.ckks import Parameters, encryption, evaluator, seal_wire, tenseal_wire
from hecore.ckks.encoding import encode
from hecore.ckks.tenseal_wire import ContextMessage, TensorMessage, VectorMessage
from hecore.errors import OperandTypeError, SerializationError
from hecore.ring.prng import SeedKind

ts: Any = pytest.importorskip("tenseal")

FULL = ContextMessage(
    parameters=b"parameters",
    encryption_type=tenseal_wire.SYMMETRIC,
    auto_flags=3,
    scale=2.0**40,
    public_key=b"public",
    relinearization_keys=b"relinearization",
    galois_keys=b"galois" * 100,
    secret_key=b"secret",
    makes_relinearization_keys=True,
    makes_galois_keys=True,
)


def peer_context(**options: Any) -> Any:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40], **options)
    context.global_scale = 2**20
    return context


def parameters_of(message: ContextMessage) -> Parameters:
    found = seal_wire.read_parameters(message.parameters)
    return Parameters(ring_degree=found.ring_degree, moduli=found.moduli, scale=message.scale)


# -- the wheel's bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
def test_contexts_of_the_wheel(symmetric: bool) -> None:
    kind = ts.ENCRYPTION_TYPE.SYMMETRIC if symmetric else ts.ENCRYPTION_TYPE.ASYMMETRIC
    context = peer_context(encryption_type=kind)
    context.auto_rescale = False
    private = context.serialize(save_secret_key=True)
    message = tenseal_wire.read_context(private)
    assert tenseal_wire.write_context(message) == private
    assert message.encryption_type == (tenseal_wire.SYMMETRIC if symmetric else tenseal_wire.ASYMMETRIC)
    assert message.auto_flags == tenseal_wire.AUTO_RELINEARIZE | tenseal_wire.AUTO_MOD_SWITCH
    assert message.scale == 2.0**20
    assert bool(message.secret_key)
    assert message.makes_relinearization_keys
    public = context.serialize(save_secret_key=False)
    message = tenseal_wire.read_context(public)
    assert tenseal_wire.write_context(message) == public
    assert message.secret_key == b""
    assert bool(message.public_key) is not symmetric
    assert bool(message.relinearization_keys)
    assert (
        tenseal_wire.read_context(
            ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40]).serialize()
        ).scale
        == -1
    )


def test_vectors_and_tensors_of_the_wheel() -> None:
    context = peer_context()
    for made in (ts.ckks_vector(context, [1.0, 2.0, 3.0]), ts.ckks_vector(context, [0.5])):
        data = made.serialize()
        vector = tenseal_wire.read_vector(data)
        assert tenseal_wire.write_vector(vector) == data
        assert vector.sizes == (made.size(),)
        assert vector.scale == 2.0**20
    for batch, shape, size in ((False, (2, 2), None), (True, (2,), 2)):
        data = ts.ckks_tensor(context, [[1.0, 2.0], [3.0, 4.0]], batch=batch).serialize()
        tensor = tenseal_wire.read_tensor(data)
        assert tenseal_wire.write_tensor(tensor) == data
        assert (tensor.shape, tensor.batch_size) == (shape, size)
        assert len(tensor.ciphertexts) == math.prod(shape)


def test_its_ours_its() -> None:
    """Its context and its vector, our evaluation, its decryption."""
    context = peer_context()
    message = tenseal_wire.read_context(context.serialize(save_secret_key=True))
    with hecore.use("cpu"):
        parameters = parameters_of(message)
        secret_key = seal_wire.read_secret_key(message.secret_key, parameters)
        vector = tenseal_wire.read_vector(ts.ckks_vector(context, [1.0, -2.0, 3.0]).serialize())
        x = seal_wire.read_ciphertexts(vector.ciphertexts, parameters, secret_key.key_id)
        assert np.allclose(encryption.decrypt_values(secret_key, x)[0, :3], [1, -2, 3], atol=1e-2)
        y = evaluator.add(evaluator.add(x, x), encode(0.5, parameters))
        back = tenseal_wire.write_vector(replace(vector, ciphertexts=tuple(seal_wire.write_ciphertexts(y))))
    assert np.allclose(ts.ckks_vector_from(context, back).decrypt(), [2.5, -3.5, 6.5], atol=1e-2)


@pytest.mark.parametrize("seed_kind", SeedKind)
def test_ours_its_ours(seed_kind: SeedKind) -> None:
    """Our keys, context and vector (seeded: half of what it writes itself), its evaluation, our decryption."""
    with hecore.use("cpu"):
        parameters = Parameters(ring_degree=4096, moduli_bits=[40, 20, 40], scale=2**20)
        keys = ckks.generate_keys(parameters)
        assert keys.relinearization_key is not None
        message = ContextMessage(
            parameters=seal_wire.write_parameters(parameters),
            scale=2.0**20,
            public_key=seal_wire.write_public_key(keys.public_key),
            relinearization_keys=seal_wire.write_relinearization_key(keys.relinearization_key),
        )
        values = np.linspace(-1, 1, 2048)
        x = encryption.encrypt_symmetric(keys.secret_key, encode(values, parameters), seed_kind=seed_kind)
        vector = VectorMessage((2048,), (seal_wire.write_ciphertext(x),), 2.0**20)
    context = ts.context_from(tenseal_wire.write_context(message))
    assert context.is_public()
    theirs = ts.ckks_vector_from(context, tenseal_wire.write_vector(vector))
    data = (theirs * theirs + [1.0] * 2048).serialize()
    ratio = len(vector.ciphertexts[0]) / len(
        tenseal_wire.read_vector(ts.ckks_vector(context, values).serialize()).ciphertexts[0]
    )
    assert ratio < 0.55 or seed_kind is SeedKind.AES_CTR
    with hecore.use("cpu"):
        back = seal_wire.read_ciphertexts(
            tenseal_wire.read_vector(data).ciphertexts, parameters, keys.public_key.key_id
        )
        assert np.allclose(encryption.decrypt_values(keys.secret_key, back)[0], values**2 + 1, atol=1e-1)
        private = replace(message, secret_key=seal_wire.write_secret_key_unprotected(keys.secret_key))
    assert np.allclose(
        ts.ckks_vector_from(
            ts.context_from(tenseal_wire.write_context(private)), tenseal_wire.write_vector(vector)
        ).decrypt(),
        values,
        atol=1e-2,
    )


def test_payload_of_federated_learning() -> None:
    """At the peer's default for federated learning: at most 0.55 of its bytes in SEAL's form, 0.45 in ours."""
    context = ts.context(
        ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40], encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC
    )
    context.global_scale = 2**40
    values = np.random.default_rng(1).normal(size=4096)
    theirs = ts.ckks_vector(context, values.tolist()).serialize()
    with hecore.use("cpu"):
        parameters = Parameters(ring_degree=8192, moduli_bits=[60, 40, 40], scale=2**40)
        message = tenseal_wire.read_context(context.serialize(save_secret_key=True))
        secret_key = seal_wire.read_secret_key(message.secret_key, parameters)
        x = encryption.encrypt_symmetric(secret_key, encode(values, parameters), seed_kind=SeedKind.SHAKE256)
        ours = tenseal_wire.write_vector(VectorMessage((4096,), (seal_wire.write_ciphertext(x),), 2.0**40))
        assert len(ours) <= 0.55 * len(theirs)
        assert len(secret_key.encrypt(values).to_bytes()) <= 0.45 * len(theirs)
    assert np.allclose(ts.ckks_vector_from(context, ours).decrypt(), values, atol=1e-6)


# -- messages ----------------------------------------------------------------------------------------------


def test_messages_come_back() -> None:
    for context in (
        FULL,
        ContextMessage(b""),
        replace(FULL, scale=0.0, auto_flags=0),
        replace(FULL, encryption_type=0),
    ):
        assert tenseal_wire.read_context(tenseal_wire.write_context(context)) == context
    for vector in (VectorMessage((), (), 0.0), VectorMessage((1, 300, 2**32 - 1), (b"a", b"", b"c" * 300), -2.5)):
        assert tenseal_wire.read_vector(tenseal_wire.write_vector(vector)) == vector
    for tensor in (TensorMessage((), (b"a",), 1.0, None), TensorMessage((2, 0, 3), (), 1.0, 7)):
        assert tenseal_wire.read_tensor(tenseal_wire.write_tensor(tensor)) == tensor


def test_a_secret_is_not_printed() -> None:
    assert "secret'" not in repr(FULL)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_other_spellings_that_protobuf_allows() -> None:
    vector = VectorMessage((1, 2), (b"a", b"b"), 2.0)
    unpacked = b"\x08\x01" + b"\x08\x02" + tenseal_wire.write_vector(replace(vector, sizes=()))
    assert tenseal_wire.read_vector(unpacked) == vector
    split = b"\x0a\x01\x01" + b"\x0a\x01\x02" + tenseal_wire.write_vector(replace(vector, sizes=()))
    assert tenseal_wire.read_vector(split) == vector
    unknown = (
        varint(9 << 3)
        + varint(5)
        + varint(10 << 3 | 5)
        + bytes(4)
        + varint(11 << 3 | 1)
        + bytes(8)
        + varint(12 << 3 | 2)
        + b"\x01x"
    )
    assert tenseal_wire.read_vector(unknown + tenseal_wire.write_vector(vector)) == vector
    later = tenseal_wire.write_vector(vector) + b"\x19" + struct.pack("<d", 3.0)
    assert tenseal_wire.read_vector(later).scale == 3.0
    long_form = b"\x0a\x02\x81\x00" + b"\x12\x01a" + b"\x19" + struct.pack("<d", 3.0)
    assert tenseal_wire.read_vector(long_form).sizes == (1,)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",  # no length
        b"\x0a\x05ab",  # fewer bytes than announced
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80" * 11,  # a varint without an end
        b"\x0b",  # a group
        b"\x02\x00",  # field 0
        b"\x10\x01",  # ciphertexts as a number
        b"\x18\x01",  # scale as a number
        b"\x19\x00",  # half a double
        b"\x19" + struct.pack("<d", math.nan),
        b"\x19" + struct.pack("<d", math.inf),
        b"\x0a\x01\x01",  # a size without a ciphertext
        b"\x12\x01a",  # a ciphertext without a size
        b"\x0a\x06\xff\xff\xff\xff\xff\x01" + b"\x12\x01a",  # beyond 32 bits
        b"\x0d\x01\x00\x00\x00" + b"\x12\x01a",
        b"\x0a" + varint(70000) + b"\x01" * 70000,
    ],
)
def test_malformed_messages(data: bytes) -> None:
    with pytest.raises(SerializationError):
        tenseal_wire.read_vector(data)


def test_malformed_contexts() -> None:
    data = tenseal_wire.write_context(FULL)
    for cut in range(1, len(data)):
        try:
            assert tenseal_wire.read_context(data[:cut]) != FULL
        except SerializationError:
            continue
    for bad in (b"\x20\x02", b"\x12\x02\x10\x08", data + b"\x12\x00", data + b"\x1a\x00"):
        with pytest.raises(SerializationError):
            tenseal_wire.read_context(bad)
    for read in (tenseal_wire.read_context, tenseal_wire.read_vector, tenseal_wire.read_tensor):
        with pytest.raises(OperandTypeError):
            read("text")  # type: ignore[arg-type]
