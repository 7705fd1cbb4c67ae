"""Packed arrays: the same numbers as unpacked, and no slot ever reaches its neighbour."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.errors import (
    BackendMismatchError,
    KeyMismatchError,
    OperandTypeError,
    ParameterError,
    PlaintextOverflowError,
    PlaintextRangeError,
    ShapeError,
    SlotOverflowError,
)
from hecore.paillier import (
    FixedPoint,
    FloatsPerElement,
    ObfuscatorPool,
    PackedArray,
    Packing,
    PublicKey,
    SecretKey,
    generate_insecure_keypair,
    operation_counter,
    plain,
    public,
)

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
generator = np.random.default_rng(20260102)
VALUES = generator.integers(-(2**12) + 1, 2**12, (3, 40))


def check(keys: Keys, packed: Any, expected: Any) -> None:
    assert isinstance(packed, PackedArray)
    got = keys[1].decrypt(packed, exact=True)
    assert got.shape == packed.shape == np.shape(expected)
    assert np.all(got == expected)


@pytest.fixture(scope="module")
def packed(insecure_keys: Keys) -> PackedArray:
    return Packing(slot_bits=12, guard_bits=10).encrypt(insecure_keys[0], VALUES)


def test_many_values_share_a_ciphertext(insecure_keys: Keys, packed: PackedArray) -> None:
    assert packed.slots == (insecure_keys[0].n // 3).bit_length() // 23
    assert packed.array.shape == (3, -(-40 // packed.slots))
    assert (packed.shape, packed.ndim, len(packed)) == ((3, 40), 2, 3)
    check(insecure_keys, packed, VALUES)
    with operation_counter() as counts:
        insecure_keys[1].decrypt(packed)
    assert counts == {"decrypt": packed.array.size}
    assert "22 slots of 23 bits" in repr(packed)


@given(
    data=st.data(),
    slot_bits=st.sampled_from([1, 2, 8, 31, 63, 64, 100]),
    guard_bits=st.sampled_from([0, 1, 5, 64]),
    length=st.integers(1, 12),
    slots=st.sampled_from([1, 2, None]),
)
@settings(max_examples=40, deadline=None)
def test_round_trip_at_the_edges(
    insecure_keys: Keys, data: st.DataObject, slot_bits: int, guard_bits: int, length: int, slots: int | None
) -> None:
    most = 2**slot_bits - 1
    number = st.one_of(st.sampled_from([0, most, -most, 1, -1]), st.integers(-most, most))
    values = np.array(data.draw(st.lists(number, min_size=length, max_size=length)), dtype=object)
    packing = Packing(slot_bits, guard_bits, slots=slots)
    packed = packing.encrypt(insecure_keys[0], values)
    check(insecure_keys, packed, values)
    check(insecure_keys, -packed, -values)
    if guard_bits:
        check(insecure_keys, packed + packed, 2 * values)
        check(insecure_keys, packed - packed, 0 * values)


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_slots_filled_to_the_brim(insecure_keys: Keys, data: st.DataObject) -> None:
    """The largest sums that the guard bits allow, all of one sign or mixed, stay in their slots."""
    most = 2**5 - 1
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=30, max_size=30)))
    packed = Packing(5, 4).encrypt(insecure_keys[0], np.tile(signs * most, (16, 1)))
    check(insecure_keys, packed.sum(0), signs * most * 16)
    check(insecure_keys, public([-1] * 16) @ packed, signs * most * -16)
    check(insecure_keys, packed[0] * public(-16), signs * most * -16)


def test_arithmetic(insecure_keys: Keys, packed: PackedArray) -> None:
    check(insecure_keys, packed + packed - packed, VALUES)
    check(insecure_keys, packed + VALUES, VALUES * 2)
    check(insecure_keys, VALUES[0] - packed, VALUES[0] - VALUES)
    check(insecure_keys, packed - 7, VALUES - 7)
    check(insecure_keys, 7 + packed[1], VALUES[1] + 7)
    check(insecure_keys, packed * np.int8(-3), VALUES * -3)
    factors = np.array([[1], [-2], [3]], dtype=np.int8)
    check(insecure_keys, factors * packed, VALUES * factors)
    weights = np.array([[1, -2, 0], [3, 3, -1]])
    check(insecure_keys, plain(weights, bits=2) @ packed, weights @ VALUES)
    check(insecure_keys, plain(weights[0], bits=2) @ packed, weights[0] @ VALUES)
    check(insecure_keys, packed.sum(), VALUES.sum(axis=0))
    check(insecure_keys, packed.sum(0, keepdims=True), VALUES.sum(axis=0, keepdims=True))
    check(insecure_keys, packed.rerandomize(), VALUES)


def test_rows_are_indexed(insecure_keys: Keys, packed: PackedArray) -> None:
    for key in (0, slice(1, None), [2, 0], np.array([True, False, True])):
        check(insecure_keys, packed[key], VALUES[key])
    assert packed[1:].array.randomised
    assert not packed[[2, 0]].array.randomised
    cube = Packing(4).encrypt(insecure_keys[0], VALUES.reshape(3, 5, 8) % 13)
    check(insecure_keys, cube[1, ::2], (VALUES.reshape(3, 5, 8) % 13)[1, ::2])
    check(insecure_keys, cube.sum((0, 1)), (VALUES.reshape(3, 5, 8) % 13).sum(axis=(0, 1)))
    for refused in ((0, 0), ..., (slice(None), slice(None)), None):
        with pytest.raises(OperandTypeError, match="packed axis"):
            packed[refused]
    with pytest.raises(ShapeError, match="empty"):
        packed[3:]


def test_fixed_point(insecure_keys: Keys) -> None:
    values = generator.normal(size=(4, 9))
    packing = Packing(slot_bits=20, guard_bits=12, exponent=-15)
    packed = packing.encrypt(insecure_keys[0], values)
    grid = np.vectorize(lambda v: Fraction(round(Fraction(v) * 2**15), 2**15), otypes=[object])(values)
    check(insecure_keys, packed, grid)
    check(insecure_keys, packed + 0.5, grid + Fraction(1, 2))
    weighted = packed * plain(-0.75, FixedPoint(-2, bits=3))
    check(insecure_keys, weighted, grid * Fraction(-3, 4))
    check(insecure_keys, weighted + 2, grid * Fraction(-3, 4) + 2)
    assert insecure_keys[1].decrypt(packed).dtype == np.float64
    integers = Packing(8).encrypt(insecure_keys[0], [1, 2]) * plain(0.5, FixedPoint(-1, bits=2))
    check(insecure_keys, integers, [Fraction(1, 2), 1])


def test_plain_numbers_meet_an_array_whose_exponent_has_moved(insecure_keys: Keys) -> None:
    """Products move it up or down; a sum aligns the two, exactly, whichever lies higher."""
    public_key, _ = insecure_keys
    four, half = plain(4.0, FixedPoint(2, bits=8)), plain(0.5, FixedPoint(-4, bits=8))
    for packing in (Packing(16, 30), Packing(16, 30, exponent=-8)):
        x = packing.encrypt(public_key, [[1, 2], [3, 4]])
        for factor, value in ((four, 4), (half, Fraction(1, 2))):
            y, v = x * factor, np.array([[1, 2], [3, 4]], dtype=object) * value
            check(insecure_keys, y + 1, v + 1)
            check(insecure_keys, 1 - y, 1 - v)
            check(insecure_keys, (y - 1) + (y - 1), 2 * v - 2)
            check(insecure_keys, y + [1, -3], v + [1, -3])
        row = plain([4.0, -8.0], FixedPoint(2, bits=8)) @ x
        check(insecure_keys, row + 1, [-19, -23])
        back = PackedArray.from_bytes((x * four).to_bytes(), public_key)
        check(insecure_keys, 1 - (back + 1), [[-4, -8], [-12, -16]])
    tight = Packing(8, 9).encrypt(public_key, [1, 2]) * plain(4.0, FixedPoint(2, bits=8))
    check(insecure_keys, tight, [4, 8])
    with pytest.raises(SlotOverflowError, match="add"):  # 8 bits times 8, and 2 to align
        tight + 1


def test_addends_keep_the_encoding_that_they_declare(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys
    x = Packing(8, 20, exponent=-2).encrypt(public_key, [1.0, 2.0])
    check(insecure_keys, x + 0.3, [Fraction(5, 4), Fraction(9, 4)])  # on the packing's grid
    fine = np.array([1, 2], dtype=object) + Fraction(round(0.3 * 2**10), 2**10)
    check(insecure_keys, x + plain(0.3, FixedPoint(-10, bits=10)), fine)
    check(insecure_keys, x + plain([0.3, 0.3], FixedPoint(-10, bits=10)), fine)
    check(insecure_keys, (x * plain(1.0, FixedPoint(-8, bits=9))) + 0.3, fine)  # on the finer grid, the array's
    assert (x + public(1)).slot_bound == x.slot_bound + 4
    integers = Packing(8, 20).encrypt(public_key, [1, 2])
    check(insecure_keys, integers + plain(0.5, FixedPoint(-1, bits=2)), [Fraction(3, 2), Fraction(5, 2)])
    halves = integers * plain(1.0, FixedPoint(-1, bits=2))
    check(insecure_keys, halves + 0.5, [Fraction(3, 2), Fraction(5, 2)])
    with pytest.raises(PlaintextRangeError):  # nobody declared that it may be rounded
        halves + 0.3
    with pytest.raises(PlaintextRangeError):
        x + plain(4, bits=2)


def test_factors_with_an_exponent_each(insecure_keys: Keys) -> None:
    packed = Packing(8, 80).encrypt(insecure_keys[0], [[1, 2], [3, 4]])
    for factors in ([[1.0], [1.5]], [[1.0], [6.0]]):  # one exponent for both, and two
        expected = np.array([[1, 2], [3, 4]]) * np.array(factors)
        np.testing.assert_array_equal(insecure_keys[1].decrypt(packed * plain(factors, FloatsPerElement())), expected)
        np.testing.assert_array_equal(
            insecure_keys[1].decrypt(packed + plain(np.tile(factors, 2), FloatsPerElement())),
            np.array([[1, 2], [3, 4]]) + np.array(factors),
        )


def test_slot_overflow_is_refused_before_it_happens(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys
    tight = Packing(8, 0).encrypt(public_key, np.zeros((2, 5), dtype=int))  # zeros: the data is no excuse
    roomy = Packing(8, 3).encrypt(public_key, np.zeros((8, 5), dtype=int))
    assert (tight.headroom_bits, roomy.headroom_bits) == (0, 3)
    full = roomy.sum(0)
    assert full.headroom_bits == 0
    with operation_counter() as counts:
        for refused in (
            lambda: tight + tight,
            lambda: tight - tight,
            lambda: tight + 1,
            lambda: 1 - tight,
            lambda: tight * 2,
            lambda: tight * plain(2, bits=2),
            lambda: tight.sum(),
            lambda: [1, 1] @ tight,
            lambda: roomy * np.int8(1),
            lambda: np.ones(8, np.int8) @ roomy,
            lambda: full + roomy[0],
            lambda: Packing(400, 200).encrypt(public_key, [1]),
            lambda: Packing(8, 8, slots=40).encrypt(public_key, [1]),
        ):
            with pytest.raises(SlotOverflowError, match="cannot"):
                refused()
    assert not counts
    check(insecure_keys, tight * public(1), np.zeros((2, 5), dtype=int))


def test_a_slot_beyond_its_bound_is_found_at_decryption(insecure_keys: Keys) -> None:
    from dataclasses import replace

    packed = Packing(8, 4).encrypt(insecure_keys[0], [200, 1, -200])
    with pytest.raises(PlaintextOverflowError, match="slot"):
        insecure_keys[1].decrypt(replace(packed, slot_bound=150))


def test_layouts_and_keys_do_not_mix(insecure_keys: Keys, packed: PackedArray) -> None:
    public_key, _ = insecure_keys
    for other in (
        Packing(12, 11).encrypt(public_key, VALUES),
        Packing(12, 10, slots=5).encrypt(public_key, VALUES),
        Packing(12, 10, exponent=-1).encrypt(public_key, VALUES / 4),
        Packing(12, 10).encrypt(public_key, VALUES[:, :30]),
    ):
        with pytest.raises(ShapeError, match="layouts"):
            packed + other
    other_public, other_secret = generate_insecure_keypair(256)
    with pytest.raises(KeyMismatchError):
        packed + Packing(12, 10).encrypt(other_public, VALUES)
    with pytest.raises(KeyMismatchError):
        other_secret.decrypt(packed)


def test_backends_do_not_mix(packed: PackedArray, monkeypatch: pytest.MonkeyPatch) -> None:
    from hecore.backends import registry
    from hecore.backends.reference import ReferenceBackend

    elsewhere = ReferenceBackend()
    monkeypatch.setattr(registry, "get", lambda name: elsewhere)
    with pytest.raises(BackendMismatchError):
        packed + packed.to("elsewhere")


@pytest.mark.parametrize(
    "expression",
    [
        lambda p: p @ np.ones(40), lambda p: p.sum(1), lambda p: p.sum(None), lambda p: p * p, lambda p: p * p.array,
        lambda p: p + p.array, lambda p: p == p, lambda p: bool(p), lambda p: np.asarray(p), lambda p: p / 2,
        lambda p: p + "1",
        lambda p: np.exp(p),
    ],
)  # fmt: skip
def test_what_packed_arrays_cannot_do(packed: PackedArray, expression: Any) -> None:
    with pytest.raises(TypeError):
        expression(packed)


def test_bad_values_and_shapes(insecure_keys: Keys, packed: PackedArray) -> None:
    public_key, _ = insecure_keys
    packing = Packing(12, 10)
    for values, error in (
        (5, ShapeError), ([], ShapeError), ([2**12], PlaintextRangeError), ([0.5], OperandTypeError),
        (["1"], OperandTypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            packing.encrypt(public_key, values)
    with pytest.raises(PlaintextRangeError):
        Packing(12, exponent=-4).encrypt(public_key, [float("nan")])
    with pytest.raises(PlaintextRangeError):
        packed + 2**12
    refusals: list[Callable[[], Any]] = [
        lambda: packed + np.ones(39, int), lambda: packed + np.ones((2, 40), int),
        lambda: packed * np.ones(40, np.int8),
        lambda: [1, 2] @ packed, lambda: [1] @ packed[0],
    ]  # fmt: skip
    for refused in refusals:
        with pytest.raises(ShapeError):
            refused()


@pytest.mark.parametrize(
    "arguments", [(0,), (8, -1), (8, 0, None, 0), (5000,), (8, 5000), (8, 0, 1 << 20), (8, 0, None, 5000)]
)
def test_parameters_are_checked(arguments: Any) -> None:
    with pytest.raises(ParameterError):
        Packing(*arguments)


def test_parameters_are_integers() -> None:
    with pytest.raises(OperandTypeError):
        Packing(8.0)  # type: ignore[arg-type]


def test_own_key_and_pool(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    check(insecure_keys, Packing(12).encrypt(secret_key, VALUES), VALUES)
    with ObfuscatorPool(public_key, 16, device="reference") as pool:
        check(insecure_keys, (Packing(12).encrypt(public_key, VALUES, pool=pool)), VALUES)
