"""Streams against independent implementations: NIST's vectors, SEAL itself through the `tenseal` wheel, pure Python."""

from __future__ import annotations

import hashlib
import pickle
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hecore.arith.primes import is_prime
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.errors import ParameterError
from hecore.ring.prng import Seed, SeedKind, expand_uniform

BASIS = RnsBasis(1024, ntt_primes(1024, [50, 30, 30]))


def prime_near(value: int, ring_degree: int) -> int:
    step = 2 * ring_degree
    candidate = value // step * step + 1
    while not is_prime(candidate):
        candidate += step
    return candidate


AWKWARD = RnsBasis(256, (prime_near(9 << 56, 256), prime_near(5 << 57, 256), prime_near(3 << 20, 256)))
"""Primes far from a power of two: many words are rejected."""
FULL = RnsBasis(2048, (prime_near(9 << 56, 2048),))
"""Fills its blocks of SEAL's stream: what replaces a rejected word is in the next one."""


# -- the AES form --------------------------------------------------------------------------------------------


def aes_reference(seed: bytes, basis: RnsBasis, index: int) -> list[list[int]]:
    """The definition, a word at a time."""
    key = hashlib.blake2b(b"", key=seed, person=b"hecore ckks a", digest_size=32).digest()
    rows = []
    for q in basis.moduli:
        counter = index.to_bytes(4, "big") + q.to_bytes(8, "big") + bytes(4)
        data = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(32 * basis.ring_degree))
        words = (word & ((1 << q.bit_length()) - 1) for (word,) in struct.iter_unpack("<Q", data))
        rows.append([word for word in words if word < q][: basis.ring_degree])
    return rows


@pytest.mark.parametrize("basis", [BASIS, AWKWARD])
def test_aes_form_is_its_definition(basis: RnsBasis) -> None:
    seed = Seed(SeedKind.AES_CTR, bytes(range(32)))
    words = expand_uniform(seed, basis, 3, first=7)
    assert words.shape == (3, len(basis), basis.ring_degree)
    assert words.dtype == np.uint64
    assert words.tolist() == [aes_reference(seed.key, basis, 7 + i) for i in range(3)]


def test_aes_form_known_answer() -> None:
    """Made by `aes_reference`; pins the format against changes of both."""
    words = expand_uniform(Seed(SeedKind.AES_CTR, bytes(range(32))), BASIS, 2)
    assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest() == (
        "14ce97c12d1f533f0eb10124443cb3844c8ad85634406032b68ef405bc01656e"
    )


def test_a_smaller_basis_keeps_the_residues() -> None:
    """So that a seed survives a level drop."""
    seed = Seed.fresh()
    assert np.array_equal(expand_uniform(seed, BASIS, 2)[:, :2], expand_uniform(seed, BASIS.prefix(2), 2))
    assert np.array_equal(expand_uniform(seed, BASIS, 2)[1:], expand_uniform(seed, BASIS, 1, first=1))


# -- SEAL's forms --------------------------------------------------------------------------------------------


def seal_stream(kind: SeedKind, key: bytes) -> object:
    seal = pytest.importorskip("tenseal.sealapi")
    generator = {SeedKind.SHAKE256: seal.Shake256PRNG, SeedKind.BLAKE2XB: seal.Blake2xbPRNG}[kind]
    return generator(list(struct.unpack("<8Q", key)))


@pytest.mark.parametrize("kind", [SeedKind.SHAKE256, SeedKind.BLAKE2XB])
@pytest.mark.parametrize("basis", [BASIS, AWKWARD, RnsBasis(64, AWKWARD.moduli[:1]), FULL])
def test_seal_forms_against_seal(kind: SeedKind, basis: RnsBasis) -> None:
    seal = pytest.importorskip("tenseal.sealapi")
    from tenseal.sealapi import util

    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(basis.ring_degree)
    parameters.set_coeff_modulus([seal.Modulus(q) for q in basis.moduli])
    for i in range(3):
        seed = Seed(kind, bytes(range(i, 64 + i)))
        theirs = np.array(util.sample_poly_uniform(seal_stream(kind, seed.key), parameters), dtype=np.uint64)
        ours = expand_uniform(seed, basis)
        assert np.array_equal(ours.reshape(-1), theirs.reshape(-1))


@pytest.mark.parametrize("kind", [SeedKind.SHAKE256, SeedKind.BLAKE2XB])
def test_seal_forms_known_answer(kind: SeedKind) -> None:
    """As SEAL 4.3 made them through TenSEAL 0.3.18; for runs without the wheel."""
    words = expand_uniform(Seed(kind, bytes(range(64))), BASIS)
    known = {
        SeedKind.SHAKE256: "01793c142437388d4bd16cd404b53087a33f2abb149280f3dba9d258cca3361c",
        SeedKind.BLAKE2XB: "a45aa41b313ac97f8cdc1ff9b5a0cc02536adb32578ea43da741f56155053ffd",
    }
    assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest() == known[kind]


@pytest.mark.parametrize("kind", SeedKind)
def test_range_and_spread(kind: SeedKind) -> None:
    for basis in (BASIS, AWKWARD):
        words = expand_uniform(Seed.fresh(kind), basis)[0]
        for row, q in zip(words, basis.moduli, strict=True):
            assert int(row.max()) < q
            fraction = row.astype(float) / q
            assert abs(fraction.mean() - 0.5) < 8 / np.sqrt(12 * row.size)
            assert len(np.unique(row)) > row.size * 0.99 - 1


# -- seeds ---------------------------------------------------------------------------------------------------


def test_seed() -> None:
    for kind in SeedKind:
        seed = Seed.fresh(kind)
        assert len(seed.key) == kind.key_bytes
        assert seed != Seed.fresh(kind)
        assert seed.key.hex() not in repr(seed)
        assert repr(seed.key) not in repr(seed)
        assert pickle.loads(pickle.dumps(seed)) == seed
    with pytest.raises(ParameterError, match="AES_CTR seed of 31 bytes"):
        Seed(SeedKind.AES_CTR, bytes(31))
    with pytest.raises(ParameterError, match="SHAKE256 seed of 32 bytes"):
        Seed(SeedKind.SHAKE256, bytes(32))


def test_counts_that_no_form_has() -> None:
    for kind in (SeedKind.SHAKE256, SeedKind.BLAKE2XB):
        for arguments in ({"count": 2}, {"count": 1, "first": 1}, {"count": 0}):
            with pytest.raises(ParameterError, match="SEAL's form has one"):
                expand_uniform(Seed.fresh(kind), BASIS, **arguments)
    for arguments in ({"count": 2, "first": 2**32 - 1}, {"count": -1}, {"first": -1}):
        with pytest.raises(ParameterError, match="cannot expand polynomials"):
            expand_uniform(Seed.fresh(), BASIS, **arguments)
    assert expand_uniform(Seed.fresh(), BASIS, 0).shape == (0, 3, 1024)
    assert expand_uniform(Seed.fresh(), BASIS, 1, first=2**32 - 1).shape == (1, 3, 1024)
