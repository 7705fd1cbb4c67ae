"""Paillier whole on a device: equal numbers, and the very ciphertexts of the CPU wherever nothing random enters."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hecore
from hecore.arith.limbs import limbs_from_ints
from hecore.backends import registry
from hecore.errors import BackendMismatchError, CiphertextError, NotInvertibleError, PlaintextOverflowError
from hecore.paillier import (
    EncryptedArray,
    FixedPoint,
    FloatsPerElement,
    Integers,
    ObfuscatorPool,
    PackedArray,
    Packing,
    PublicKey,
    SecretKey,
    plain,
)
from hecore.paillier.validation import check_ciphertexts

Keys = tuple[PublicKey, SecretKey]
random = np.random.default_rng(20270114)
FLOATS = random.standard_normal((3, 20))
INTS: Any = random.integers(-1000, 1000, (4, 6))
WEIGHTS: Any = random.integers(-100, 100, (5, 4)).astype(np.int8)
SEGMENTS = random.integers(0, 7, 24)


def limbs(x: EncryptedArray) -> Any:
    return x.residues.backend.download(x.residues)


def moved(device: str, x: EncryptedArray) -> EncryptedArray:
    there = x.to(device)
    assert there.device == device
    assert (there.encoding, there.bound, there.randomised) == (x.encoding, x.bound, x.randomised)
    return there


# -- what is random: the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["insecure_keys", "textbook_keys"])
def test_encryption_in_all_its_forms(device: str, keys: str, request: pytest.FixtureRequest) -> None:
    public_key, secret_key = request.getfixturevalue(keys)
    for key in (public_key, secret_key):
        for values, encoding in (
            (FLOATS, None),
            (FLOATS, FloatsPerElement()),
            (FLOATS.round(3), FixedPoint(-20, bits=30)),
            (INTS, Integers(bits=11)),
            (np.int64(-7), None),
        ):
            x = key.encrypt(values, encoding=encoding)
            assert x.device == device
            assert x.shape == np.shape(values)
            got = secret_key.decrypt(x)
            if isinstance(encoding, FixedPoint):
                assert np.abs(got - values).max() <= 2.0**-21
            else:
                np.testing.assert_array_equal(got, values)
    twice = public_key.encrypt(np.zeros(40, dtype=np.int8))
    assert len(np.unique(limbs(twice), axis=0)) == 40  # no obfuscator serves two


def test_batches_beyond_a_chunk(device: str, insecure_keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret_key = insecure_keys
    monkeypatch.setattr("hecore.paillier.encryption.chunk_size", lambda backend: 16)
    done: list[int] = []
    values = np.arange(-20, 21)
    x = secret_key.encrypt(values, progress=done.append)
    assert done == [16, 32, 41]
    np.testing.assert_array_equal(secret_key.decrypt(x), values)
    assert len(np.unique(limbs(x), axis=0)) == 41


def test_rerandomised_results_cannot_be_linked(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    x = public_key.encrypt(INTS)
    fresh = x.rerandomize()
    assert not (limbs(fresh) == limbs(x)).all(axis=-1).any()
    np.testing.assert_array_equal(secret_key.decrypt(fresh), INTS)


@pytest.mark.parametrize("own", [False, True])
def test_a_pool_on_the_device(device: str, insecure_keys: Keys, own: bool) -> None:
    public_key, secret_key = insecure_keys
    with ObfuscatorPool(secret_key if own else public_key, 24, device) as pool:
        assert pool.wait_until_full(60)
        x = public_key.encrypt(INTS, pool=pool)
        assert x.device == device
        np.testing.assert_array_equal(secret_key.decrypt(x.rerandomize(pool=pool)), INTS)
        with hecore.use("reference"), pytest.raises(BackendMismatchError, match="device='reference'"):
            public_key.encrypt(INTS, pool=pool)


# -- what is not: the ciphertexts ----------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "add": lambda x: x + x[::-1],
    "subtract": lambda x: x - x[0],
    "negate": lambda x: -x,
    "add plain": lambda x: x + INTS,
    "subtract from plain": lambda x: 5 - x,
    "multiply by a scalar": lambda x: x * np.int16(-321),
    "multiply elementwise": lambda x: x * INTS,
    "multiply in constant time": lambda x: x * plain(INTS, Integers(bits=11), constant_time=True),
    "multiply by floats": lambda x: x * np.float32(0.75),
    "sum": lambda x: x.sum(),
    "sum along an axis": lambda x: x.sum(axis=0),
    "mean": lambda x: x.mean(axis=1),
    "matrix on the left": lambda x: WEIGHTS @ x,
    "matrix on the right": lambda x: x.T @ WEIGHTS.T,
    "vector": lambda x: INTS[:, 0] @ x,
    "unsigned matrix": lambda x: np.abs(WEIGHTS).astype(np.uint8) @ x,
    "long vector": lambda x: np.tile(INTS.ravel(), 15) @ x.ravel()[np.arange(360) % 24],
    "matrix in constant time": lambda x: plain(WEIGHTS, Integers(bits=8), constant_time=True) @ x,
    "segments": lambda x: x.ravel().segment_sum(SEGMENTS, 9),
    "shapes": lambda x: np.concatenate([x.T, np.stack([x[0], x[-1]], axis=1)], axis=1).reshape(2, -1)[:, ::3],
}


@pytest.fixture(scope="module")
def on_cpu(insecure_keys: Keys) -> EncryptedArray:
    with hecore.use("cpu"):
        return insecure_keys[0].encrypt(INTS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_ciphertexts_of_the_cpu(
    device: str, insecure_keys: Keys, on_cpu: EncryptedArray, name: str
) -> None:
    operation = OPERATIONS[name]
    result, expected = operation(moved(device, on_cpu)), operation(on_cpu)
    assert result.device == device
    assert result.shape == expected.shape
    assert (result.bound, result.randomised) == (expected.bound, expected.randomised)
    np.testing.assert_array_equal(limbs(result), limbs(expected))
    decrypt = insecure_keys[1].decrypt
    np.testing.assert_array_equal(decrypt(result, exact=True), decrypt(expected, exact=True))


def test_unequal_exponents(device: str, insecure_keys: Keys) -> None:
    with hecore.use("cpu"):
        x = insecure_keys[0].encrypt(FLOATS, encoding=FloatsPerElement())
        y = insecure_keys[0].encrypt(FLOATS[0], encoding=FixedPoint(-40, bits=44))
    result, expected = moved(device, x) + moved(device, y), x + y
    np.testing.assert_array_equal(limbs(result), limbs(expected))


def test_packed_arrays(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    packed = Packing(slot_bits=7, guard_bits=20).encrypt(public_key, WEIGHTS)
    assert packed.array.device == device
    total = plain(3, Integers(bits=2)) * packed + packed - 1
    np.testing.assert_array_equal(secret_key.decrypt(total), 4 * WEIGHTS.astype(int) - 1)
    product, expected = WEIGHTS.T @ packed, WEIGHTS.T.astype(int) @ WEIGHTS
    np.testing.assert_array_equal(secret_key.decrypt(product), expected)
    np.testing.assert_array_equal(secret_key.decrypt(product.sum(axis=0)), expected.sum(axis=0))
    with hecore.use("cpu"):
        back = PackedArray.from_bytes(product.to_bytes(), public_key)
        assert back.array.device == "cpu"
        np.testing.assert_array_equal(secret_key.decrypt(back), secret_key.decrypt(product))


# -- moving, and bytes ---------------------------------------------------------------------------------------------


def test_bytes_go_from_device_to_cpu_and_back(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    x = public_key.encrypt(FLOATS) * 3
    raw = x.to_bytes(raw=True)
    assert raw == x.to("cpu").to_bytes(raw=True)
    sent = x.to_bytes()
    assert sent != raw  # rerandomised on the way out
    with hecore.use("cpu"):
        there = EncryptedArray.from_bytes(sent, public_key)
        assert there.device == "cpu"
        reply = (there + there).to_bytes()
    back = EncryptedArray.from_bytes(reply, public_key)
    assert back.device == device
    np.testing.assert_array_equal(secret_key.decrypt(back), 6 * FLOATS)
    np.testing.assert_array_equal(secret_key.decrypt(back.to("cpu")), 6 * FLOATS)
    np.testing.assert_array_equal(secret_key.decrypt(pickle.loads(pickle.dumps(x))), 3 * FLOATS)
    np.testing.assert_array_equal(
        secret_key.decrypt(EncryptedArray.from_json(public_key.encrypt(INTS).to_json(), public_key)), INTS.ravel()
    )


def test_an_array_stays_where_it_is(device: str, insecure_keys: Keys) -> None:
    """Where new arrays go has no say in operations on old ones, and decryption runs where the ciphertexts are."""
    public_key, secret_key = insecure_keys
    x = public_key.encrypt(INTS)
    with hecore.use("reference"):
        total = x + x[0] * 2
        assert total.device == device
        np.testing.assert_array_equal(secret_key.decrypt(total), INTS + 2 * INTS[0])
        elsewhere = public_key.encrypt(INTS)
    if device != "reference":
        with pytest.raises(BackendMismatchError, match=rf"\.to\('{device}'\)"):
            x + elsewhere
        with pytest.raises(BackendMismatchError):
            np.concatenate([x, elsewhere])


# -- what must not pass --------------------------------------------------------------------------------------------


def test_hostile_bytes_meet_the_same_errors(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    p, modulus = secret_key.crt.p, public_key.n_squared
    values = [5, 7, 11, 13, 17, 19]
    for place, bad in ((0, 0), (3, p), (5, modulus.value), (2, 3 * p * p)):
        wrong = list(values)
        wrong[place] = bad
        with pytest.raises(CiphertextError, match=f"flat indices {place}$"):
            check_ciphertexts(limbs_from_ints(wrong, modulus.limbs), public_key, registry.current())
    fine = check_ciphertexts(limbs_from_ints(values, modulus.limbs), public_key, registry.current())
    assert fine.backend.name == device


def test_an_altered_ciphertext_is_noticed(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    x = public_key.encrypt(INTS, encoding=Integers(bits=11))
    other = public_key.encrypt(INTS * 1000)
    with pytest.raises(PlaintextOverflowError):
        secret_key.decrypt(EncryptedArray.from_residues(public_key, other.residues, x.encoding, x.bound))


def test_no_unit_has_no_negative(device: str, insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    modulus = public_key.n_squared
    residues = registry.current().upload(limbs_from_ints([2, 3, secret_key.crt.q, 5], modulus.limbs), modulus)
    with pytest.raises(NotInvertibleError, match="2"):
        registry.current().batch_invert(residues)
