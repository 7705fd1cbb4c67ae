"""Few bytes must not become much memory, long work, or numbers of a scale that nothing can be computed at."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.arith import rns
from hecore.ckks import Parameters, seal_wire, tenseal_wire
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.scale import Scale
from hecore.ckks.seal_stream import DEFAULT_VERSION, Compression, write_object
from hecore.errors import OperandTypeError, SerializationError

CHAIN = Parameters.insecure(ring_degree=1024, moduli_bits=[45, 30, 46], scale=2.0**30)
SMALL = Parameters.insecure(ring_degree=16, moduli_bits=[45, 30, 46], scale=2.0**30)


@pytest.fixture(autouse=True)
def on_reference() -> Iterator[None]:
    with hecore.use("reference"):
        yield


@pytest.mark.parametrize("compression", [Compression.ZLIB, Compression.ZSTD])
def test_zeros_of_the_right_length_are_a_bomb(compression: Compression) -> None:
    """A message may hold thousands of ciphertexts; each must be about as long as random residues are."""
    form: dict[str, Any] = {"compression": compression, "version": DEFAULT_VERSION}
    data = CHAIN.level_basis(1)
    level = seal_wire._parms_ids(CHAIN.basis)[1]
    top = seal_wire._key_parms_id(CHAIN)

    def zeros(parms_id: bytes, moduli: int) -> bytes:
        words = np.zeros((2, moduli, 1024), dtype=np.uint64)
        return write_object(seal_wire._ciphertext_body(parms_id, 2.0**30, words, None, DEFAULT_VERSION), **form)

    secret = seal_wire._plaintext_body(top, 1.0, np.zeros((3, 1024), dtype=np.uint64), DEFAULT_VERSION)
    bombs: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
        "ciphertext": (zeros(level, len(data)), lambda b: seal_wire.read_ciphertext(b, CHAIN, bytes(16))),
        "public key": (zeros(top, 3), lambda b: seal_wire.read_public_key(b, CHAIN, bytes(16))),
        "secret key": (write_object(secret, **form), lambda b: seal_wire.read_secret_key(b, CHAIN)),
    }
    for bomb, read in bombs.values():
        assert len(bomb) < 400
        with pytest.raises(SerializationError, match="expands to"):
            read(bomb)


def test_evaluation_keys_that_are_no_bytes() -> None:
    with pytest.raises(OperandTypeError):
        seal_wire.read_galois_keys(None, CHAIN, bytes(16))  # type: ignore[arg-type]


def test_messages_of_very_many_fields() -> None:
    for field in (b"\x08\x01", b"\x12\x00"):
        with pytest.raises(SerializationError, match="fields"):
            tenseal_wire.read_vector(field * ((1 << 18) + 1))


def test_tensors_of_very_many_axes() -> None:
    for axes, length in ((33, 1), (60_000, 2**32 - 1)):
        data = tenseal_wire.write_tensor(tenseal_wire.TensorMessage((length,) * axes, (b"a",), 1.0, None))
        with pytest.raises(SerializationError, match="axes"):
            tenseal_wire.read_tensor(data)


@pytest.mark.parametrize("exponent", [-60_000, -1080, -1, 77, 1100])
def test_scales_that_no_ciphertext_has(exponent: int) -> None:
    keys = ckks.generate_keys(SMALL)
    ciphertext = keys.secret_key.encrypt([0.5]).ciphertext
    data = replace(ciphertext, scale=Scale([(2, exponent)])).to_bytes()
    with pytest.raises(SerializationError, match="of scale"):
        Ciphertext.from_bytes(data, keys.public_key)


@pytest.mark.parametrize("scale", [5e-324, 0.5, 2.0**77, 1.7e308])
def test_scales_that_no_object_of_seal_has(scale: float) -> None:
    keys = ckks.generate_keys(SMALL)
    data = seal_wire.write_ciphertext(keys.secret_key.encrypt([0.5]).ciphertext, compression=Compression.NONE)
    at = data.index(struct.pack("<d", 2.0**30))
    with pytest.raises(SerializationError, match="of scale"):
        seal_wire.read_ciphertext(data[:at] + struct.pack("<d", scale) + data[at + 8 :], SMALL, bytes(16))


def test_moduli_of_foreign_bytes_are_not_kept_for_ever() -> None:
    assert rns.check_modulus.cache_info().maxsize is not None
    assert rns._basis.cache_info().maxsize is not None
