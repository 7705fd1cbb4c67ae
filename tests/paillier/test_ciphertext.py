"""EncryptedArray with NumPy's manners: the same expression on encrypted and on plain arrays."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import hecore
from hecore.backends import registry
from hecore.errors import (
    BackendMismatchError,
    HeadroomError,
    KeyMismatchError,
    OperandTypeError,
    ParameterError,
    PlaintextRangeError,
    ShapeError,
)
from hecore.paillier import (
    EncryptedArray,
    FixedPoint,
    FloatsPerElement,
    Integers,
    PublicKey,
    SecretKey,
    concatenate,
    generate_insecure_keypair,
    operation_counter,
    plain,
    public,
    stack,
)
from hecore.paillier.encoding import Encoding

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
INTS = np.arange(-12, 12).reshape(2, 3, 4)
FLOATS = np.array([[1.5, -2.25, 1e-30], [0.0, 3.0, 0.1]])


@pytest.fixture(scope="module")
def ints(insecure_keys: Keys) -> EncryptedArray:
    return insecure_keys[0].encrypt(INTS)


@pytest.fixture(scope="module")
def floats(insecure_keys: Keys) -> EncryptedArray:
    return insecure_keys[0].encrypt(FLOATS)


@pytest.fixture(scope="module")
def spread(insecure_keys: Keys) -> EncryptedArray:
    """The same floats, one exponent per element."""
    return insecure_keys[0].encrypt(FLOATS, encoding=FloatsPerElement())


def fractions(values: Any) -> Any:
    def exactly(value: Any) -> Fraction:  # Fraction(np.int8(5)) keeps the int8 inside, and it overflows
        return Fraction(value if isinstance(value, Fraction) else getattr(value, "item", lambda: value)())

    array = np.asarray(values)
    out = np.empty(array.size, dtype=object)
    out[:] = [Fraction(*v.as_integer_ratio()) if isinstance(v, np.longdouble) else exactly(v) for v in array.flat]
    return out.reshape(array.shape)


def check(keys: Keys, encrypted: Any, expected: Any) -> None:
    """An EncryptedArray of equal shape, and equal as exact rationals."""
    assert isinstance(encrypted, EncryptedArray)
    assert np.shape(encrypted.encoding.exponent) in {(), encrypted.shape}
    got = keys[1].decrypt(encrypted, exact=True)
    assert got.shape == encrypted.shape == np.shape(expected)
    assert (got == fractions(expected)).all()


# -- shapes ------------------------------------------------------------------------------------------------

INDEXINGS: list[Callable[[Any], Any]] = [
    lambda x: x[0],
    lambda x: x[-1, 2, 3],
    lambda x: x[:, ::2],
    lambda x: x[..., None, 1],
    lambda x: x[:, [2, 0, 2]],
    lambda x: x[np.array([[0, 1], [1, 0]]), 1],
    lambda x: x[np.array([True, False])],
    lambda x: x[INTS % 2 == 0],
    lambda x: x[1, ::-1, np.int64(-1)],
    lambda x: x.reshape(6, 4),
    lambda x: x.reshape((4, -1)),
    lambda x: x.reshape(-1),
    lambda x: x.ravel(),
    lambda x: x.flatten(),
    lambda x: x.T,
    lambda x: x.transpose(1, 0, 2),
    lambda x: x.transpose((2, 0, 1)),
    lambda x: x.swapaxes(0, -1),
    lambda x: x[:1].squeeze(0),
    lambda x: x.repeat(2, axis=1),
    lambda x: x.copy(),
    lambda x: np.transpose(x, (2, 1, 0)),
    lambda x: np.reshape(x, (3, 8)),
    lambda x: np.ravel(x),
    lambda x: np.moveaxis(x, 0, 2),
    lambda x: np.expand_dims(x, 1),
    lambda x: np.broadcast_to(x, (2, 2, 3, 4)),
    lambda x: np.roll(x, 1, axis=2),
    lambda x: np.flip(x),
    lambda x: np.take(x, [1, 0, 1], axis=1),
    lambda x: np.take(x, [5, 7]),
    lambda x: np.concatenate([x, x[:1]], axis=0),
    lambda x: np.concatenate([x, x], axis=-1),
    lambda x: np.concatenate([x, x], axis=None),
    lambda x: np.stack([x, x], axis=1),
    lambda x: np.vstack([x[0], x[1]]),
    lambda x: np.hstack([x[0], x[1]]),
]


@pytest.mark.parametrize("expression", INDEXINGS)
def test_rearranging(insecure_keys: Keys, ints: EncryptedArray, expression: Callable[[Any], Any]) -> None:
    check(insecure_keys, expression(ints), expression(INTS))


def test_rearranging_moves_exponents_along(insecure_keys: Keys, spread: EncryptedArray) -> None:
    check(insecure_keys, spread.T[[2, 0]].reshape(-1), FLOATS.T[[2, 0]].reshape(-1))
    check(insecure_keys, spread[1, 2], FLOATS[1, 2])


def test_attributes(ints: EncryptedArray) -> None:
    assert (ints.shape, ints.ndim, ints.size, len(ints)) == ((2, 3, 4), 3, 24, 2)
    assert (np.shape(ints), np.ndim(ints), np.size(ints)) == ((2, 3, 4), 3, 24)
    assert [row.shape for row in ints] == [(3, 4), (3, 4)]
    assert "EncryptedArray shape=(2, 3, 4)" in repr(ints)
    assert ints.device == "reference"
    with pytest.raises(OperandTypeError, match="len"):
        len(ints[0, 0, 0])
    with pytest.raises(IndexError):
        ints[2]


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x.reshape(5, 5), lambda x: x.reshape(-1, -1), lambda x: x.reshape("a"), lambda x: x.transpose(0, 1),
        lambda x: x.transpose(0, 0, 1), lambda x: x.swapaxes(0, 3), lambda x: x.squeeze(1),
        lambda x: x.broadcast_to((5, 4)),
        lambda x: np.moveaxis(x, 3, 0), lambda x: x[:0], lambda x: x[[]], lambda x: x[INTS > 99], lambda x: x.sum(3),
        lambda x: x.sum((0, 0)), lambda x: np.concatenate([x, x[0]]), lambda x: stack([x, x[0]]),
        lambda x: concatenate([]),
        lambda x: concatenate([x], axis=3),
    ],
)  # fmt: skip
def test_shapes_that_do_not_work(ints: EncryptedArray, expression: Callable[[Any], Any]) -> None:
    with pytest.raises(ShapeError, match="cannot"):
        expression(ints)


def test_joining_keeps_values_of_every_encoding(
    insecure_keys: Keys, ints: EncryptedArray, floats: EncryptedArray
) -> None:
    joined = concatenate([ints[0, :, 0], floats[0], floats[1] * np.float16(0.5)])
    check(insecure_keys, joined, [*fractions(INTS[0, :, 0]), *fractions(FLOATS[0]), *(fractions(FLOATS[1]) / 2)])
    check(insecure_keys, joined.sum(), sum(joined_ for joined_ in insecure_keys[1].decrypt(joined, exact=True)))
    assert stack([ints, ints]).encoding.kind == "integer"
    with pytest.raises(OperandTypeError, match="encrypt it first"):
        np.concatenate([ints, INTS])


# -- arithmetic with every kind of number ------------------------------------------------------------------

NUMBERS: list[Any] = [
    3, -7, True, 0, 0.1, -2.5, Fraction(-3, 8), np.bool_(True), np.float16(0.1), np.float32(-0.3), np.float64(1e-20),
    np.longdouble(0.5),
    *(np.dtype(t).type(5) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")),
    np.array(3), [1, 2, 3], (0.5, -1, 2), range(3), np.array([[1.5], [-2]]), np.array([True, False, True]),
    np.array([-1, 0, 5], dtype=np.int8), np.array([1, Fraction(1, 2), 0.25], dtype=object),
]  # fmt: skip


@pytest.mark.parametrize("other", NUMBERS, ids=lambda v: f"{type(v).__name__}-{getattr(v, 'dtype', '')}")
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul])
def test_every_number_on_either_side(insecure_keys: Keys, floats: EncryptedArray, other: Any, operation: Any) -> None:
    exactly = fractions(np.array([*other], dtype=object) if isinstance(other, list | tuple | range) else other)
    x = fractions(FLOATS)
    check(insecure_keys, operation(floats, other), operation(x, exactly))
    check(insecure_keys, operation(other, floats), operation(exactly, x))


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?"])
def test_numpy_arrays_and_ufuncs(insecure_keys: Keys, ints: EncryptedArray, dtype: str) -> None:
    other = np.array([0, 1, 100, 3]).astype(dtype)
    x, y = fractions(INTS), fractions(other.astype(object))
    check(insecure_keys, other + ints, y + x)
    check(insecure_keys, other - ints, y - x)
    check(insecure_keys, other * ints, y * x)
    check(insecure_keys, np.add(other, ints), x + y)
    check(insecure_keys, np.subtract(ints, other), x - y)
    check(insecure_keys, np.negative(ints * other), -(x * y))
    check(insecure_keys, np.positive(ints), x)


def test_extreme_factors(insecure_keys: Keys, ints: EncryptedArray) -> None:
    factors = np.array([-(2**63), 2**63 - 1, -1, 0])
    check(insecure_keys, ints * factors, INTS.astype(object) * factors.astype(object))
    check(insecure_keys, ints * np.uint64(2**64 - 1), INTS.astype(object) * (2**64 - 1))
    check(insecure_keys, ints * public(-(2**100)) + public(2**200), INTS.astype(object) * -(2**100) + 2**200)
    check(insecure_keys, plain(2**90, bits=91) - ints, 2**90 - INTS.astype(object))


def test_encrypted_operands(
    insecure_keys: Keys, ints: EncryptedArray, floats: EncryptedArray, spread: EncryptedArray
) -> None:
    x, y = fractions(INTS[0, :2, :3]), fractions(FLOATS)
    narrow = ints[0, :2, :3]
    check(insecure_keys, narrow + floats, x + y)
    check(insecure_keys, floats - narrow, y - x)
    check(insecure_keys, -floats, -y)
    check(insecure_keys, +floats, y)
    check(insecure_keys, spread + floats, y + y)
    check(insecure_keys, spread - spread[::-1], y - y[::-1])
    check(insecure_keys, floats[0] + floats[:, :1], y[0] + y[:, :1])
    check(insecure_keys, spread[0] + spread[:, :1], y[0] + y[:, :1])
    check(insecure_keys, spread[0] + floats[:, :1], y[0] + y[:, :1])
    check(insecure_keys, (spread[0] - np.ones((2, 1)))[1], y[0] - 1)
    check(insecure_keys, (spread[0] * np.array([[1], [2]]))[1, ::-1], 2 * y[0, ::-1])
    check(insecure_keys, spread + 1, y + 1)
    check(insecure_keys, 0.5 - spread * -3, Fraction(1, 2) + 3 * y)


def test_operands_are_not_changed(insecure_keys: Keys, floats: EncryptedArray) -> None:
    before = floats
    floats += 1
    assert floats is not before
    check(insecure_keys, before, FLOATS)


def test_fixed_scale_mode(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys
    grid = FixedPoint(-10, bits=30, fixed_scale=True)
    x = public_key.encrypt([0.1, 1.0], encoding=grid)
    y = fractions([round(102.4), 1024]) / 1024
    check(insecure_keys, x + 0.3, y + Fraction(round(307.2), 1024))
    check(insecure_keys, x * 0.3, y * Fraction(round(307.2), 1024))
    assert (x * 0.3).encoding.exponent == -20
    assert (x * 3).encoding.exponent == -10
    plainly = public_key.encrypt([0.1, 1.0], encoding=FixedPoint(-10, bits=30))
    check(insecure_keys, plainly + 0.3, y + Fraction(0.3))


def test_constant_time_operands_give_the_same_numbers(insecure_keys: Keys, ints: EncryptedArray) -> None:
    factors = np.array([-3, 0, 5, -128], dtype=np.int8)
    check(insecure_keys, ints * plain(factors, constant_time=True), INTS * factors.astype(int))
    check(insecure_keys, ints * plain(np.uint8(7), constant_time=True), INTS * 7)
    check(insecure_keys, ints @ plain(factors, constant_time=True), INTS @ factors.astype(int))


# -- headroom ----------------------------------------------------------------------------------------------


def test_headroom_follows_public_bounds(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys
    limit = public_key.n // 3
    zeros, ones = (public_key.encrypt([v, v], encoding=Integers(20)) for v in (0, 2**20 - 1))
    assert zeros.bound == ones.bound == 2**20 - 1
    assert (zeros + ones).bound == 2 * (2**20 - 1)
    assert (zeros * np.int8(1)).bound == 128 * (2**20 - 1)
    assert zeros.sum().bound == 2 * (2**20 - 1)
    assert (zeros - 1).bound == 2**20 - 1 + 2**63
    assert ones.bound << ones.headroom_bits <= limit < ones.bound << (ones.headroom_bits + 1)


def test_what_could_overflow_is_refused_before_it_happens(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    zeros = public_key.encrypt([0, 0])  # the data is no excuse
    x = EncryptedArray.from_residues(public_key, zeros.residues, zeros.encoding, public_key.n // 3)
    refusals: list[Callable[[], Any]] = [
        lambda: x + x,
        lambda: x - x,
        lambda: x + public(1),
        lambda: plain(1, bits=1) - x,
        lambda: x * 2,
        lambda: x.sum(),
        lambda: x.mean(),
        lambda: x @ [1, 1],
        lambda: x.segment_sum([0, 0], 1),
        lambda: x + 0.5,
        lambda: public_key.encrypt([0], encoding=Integers(public_key.key_bits)),
        lambda: x - x[::-1],
        lambda: -zeros + x,
    ]
    with operation_counter() as counts:
        for refused in refusals:
            with pytest.raises(HeadroomError, match="cannot"):
                refused()
    assert not counts
    assert secret_key.decrypt(x * public(1)).tolist() == [0, 0]
    assert (x * public(1)).headroom_bits == 0


def test_floats_too_far_apart_to_add(insecure_keys: Keys) -> None:
    public_key, _ = insecure_keys
    x = public_key.encrypt([1e300, 1e-300], encoding=FloatsPerElement())
    check(insecure_keys, x, [1e300, 1e-300])
    with pytest.raises(HeadroomError):
        x.sum()
    with pytest.raises(HeadroomError):
        x @ [1, 1]


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x == x, lambda x: x != 1, lambda x: x < x, lambda x: x >= 0, lambda x: x <= 3,
        lambda x: np.ones(3) == x,
        lambda x: bool(x), lambda x: float(x[0, 0]), lambda x: int(x[0, 0]), lambda x: complex(x[0, 0]),
        lambda x: [1][x[0, 0]],
        lambda x: hash(x), lambda x: np.asarray(x), lambda x: np.array([x, x]), lambda x: x in [1], lambda x: x * x,
        lambda x: x @ x.T, lambda x: np.dot(x, x), lambda x: x / 2, lambda x: 1 / x, lambda x: x // 2,
        lambda x: x % 2,
        lambda x: x**2, lambda x: 2**x, lambda x: abs(x), lambda x: ~x, lambda x: x & 1, lambda x: x | x,
        lambda x: x << 1,
        lambda x: np.exp(x), lambda x: np.multiply(x, x), lambda x: np.true_divide(x, 2), lambda x: np.add.reduce(x),
        lambda x: np.add(x, 1, out=np.zeros((2, 3))), lambda x: np.maximum(x, 0), lambda x: np.sort(x),
        lambda x: np.where(x, 1, 0),
        lambda x: np.median(x), lambda x: np.sum(x, dtype=float), lambda x: x + None, lambda x: x * "2",
        lambda x: x + 1j,
        lambda x: "a" + x, lambda x: x.sum(0.5), lambda x: x.sum(True), lambda x: x + object(), lambda x: [x, 1] + x,
        lambda x: operator.setitem(x, 0, 1),
    ],
)  # fmt: skip
def test_what_paillier_cannot_do(floats: EncryptedArray, expression: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        expression(floats)
    assert isinstance(caught.value, OperandTypeError) or "unhashable" in str(caught.value)


@pytest.mark.parametrize(
    "value", [float("nan"), np.array([1.0, np.inf, 0]), 1e300, 1e-300, 2**70, np.longdouble("inf")]
)
@pytest.mark.parametrize("operation", [operator.add, operator.mul, operator.sub])
def test_numbers_out_of_range(floats: EncryptedArray, value: Any, operation: Any) -> None:
    with pytest.raises(PlaintextRangeError, match="cannot encode"):
        operation(floats, value)
    with pytest.raises(PlaintextRangeError, match="cannot encode"):
        operation(value, floats)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul])
def test_shapes_that_do_not_broadcast(ints: EncryptedArray, operation: Any) -> None:
    with pytest.raises(ShapeError, match="broadcast"):
        operation(ints, np.ones(5))
    with pytest.raises(ShapeError, match="empty"):
        operation(ints, np.ones((0, 4)))
    if operation is not operator.mul:
        with pytest.raises(ShapeError, match="broadcast"):
            operation(ints, ints[:, :2])


def test_keys_do_not_mix(insecure_keys: Keys, ints: EncryptedArray) -> None:
    other_public, other_secret = generate_insecure_keypair(256)
    other = other_public.encrypt(INTS)
    for refused in (
        lambda: ints + other, lambda: ints - other, lambda: concatenate([ints, other]),
        lambda: other_secret.decrypt(ints),
        lambda: EncryptedArray.from_residues(other_public, ints.residues, Encoding()),
        lambda: EncryptedArray.from_bytes(ints.to_bytes(), other_public),
    ):  # fmt: skip
        with pytest.raises(KeyMismatchError):
            refused()


def test_backends_do_not_mix(insecure_keys: Keys, ints: EncryptedArray, monkeypatch: pytest.MonkeyPatch) -> None:
    from hecore.backends.reference import ReferenceBackend

    class Other(ReferenceBackend):
        name = "other"

    elsewhere = Other()
    monkeypatch.setattr(registry, "get", lambda name: elsewhere)
    moved = ints.to("other")
    assert moved.device == "other"
    check(insecure_keys, moved, INTS)  # decryption runs where the ciphertext is
    with pytest.raises(BackendMismatchError, match=r"\.to\('reference'\)"):
        ints + moved
    with pytest.raises(BackendMismatchError):
        concatenate([moved, ints])


@pytest.mark.parametrize("segments", [[0, 1], [[0, 1, 2]], 3])
def test_segments_of_the_wrong_shape(ints: EncryptedArray, segments: Any) -> None:
    with pytest.raises(ShapeError):
        ints[0, :, 0].segment_sum(segments, 3)


def test_segments_out_of_range(ints: EncryptedArray) -> None:
    x = ints[0, :, 0]
    for segments, count in (([0, 1, 3], 3), ([0, -1, 1], 3), ([0, 0, 0], 0)):
        with pytest.raises(ParameterError, match="segment"):
            x.segment_sum(segments, count)
    with pytest.raises(OperandTypeError, match="integers"):
        x.segment_sum([0.0, 1.0, 2.0], 3)
    with pytest.raises(OperandTypeError, match="mask"):
        x.segment_sum(np.ma.MaskedArray([0, 1, 2], mask=[False, True, False]), 3)
    with pytest.raises(ShapeError):
        ints.segment_sum([0, 1], 2)


def test_from_residues_checks(insecure_keys: Keys, floats: EncryptedArray, spread: EncryptedArray) -> None:
    public_key, _ = insecure_keys
    again = EncryptedArray.from_residues(public_key, floats.residues, floats.encoding, floats.bound)
    assert not again.randomised
    check(insecure_keys, again, FLOATS)
    unknown = EncryptedArray.from_residues(public_key, floats.residues, floats.encoding)
    check(insecure_keys, unknown, FLOATS)
    with pytest.raises(HeadroomError):
        unknown + unknown
    with pytest.raises(ShapeError, match="exponents of shape"):
        EncryptedArray.from_residues(public_key, floats.reshape(-1).residues, spread.encoding)
    with pytest.raises(ParameterError, match="'fixed'"):
        EncryptedArray.from_residues(public_key, floats.residues, Encoding("integer", -1))
    with pytest.raises(ParameterError, match="negative"):
        EncryptedArray.from_residues(public_key, floats.residues, floats.encoding, -1)
    with pytest.raises(HeadroomError):
        EncryptedArray.from_residues(public_key, floats.residues, floats.encoding, public_key.n)


# -- counting ----------------------------------------------------------------------------------------------


def test_operations_are_counted(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    with operation_counter() as counts:
        x = public_key.encrypt([1, 2, 3], encoding=Integers(8))
        secret_key.decrypt(plain([[1, 2, 3], [4, 5, 6]], bits=4) @ (x + x) + 1)
        (x * np.int8(2)).sum().rerandomize()
    assert counts == {"encrypt": 3, "add": 3 + 2 + 2, "matmul_terms": 6, "decrypt": 2, "plain_mul": 3, "rerandomize": 1}
    secret_key.decrypt(x)
    assert counts["decrypt"] == 2


def test_device_follows_use(insecure_keys: Keys) -> None:
    with hecore.use("reference"):
        assert insecure_keys[0].encrypt(1).device == "reference"


def test_dtypes_follow_the_encoding(ints: EncryptedArray, floats: EncryptedArray) -> None:
    assert ints.dtype == (ints + ints).dtype == (ints * np.uint8(3)).dtype == np.int64
    assert floats.dtype == (ints[0, 0, 0] + floats).dtype == (ints * 0.5).dtype == ints.mean().dtype == np.float64


def test_copies_are_the_array_itself(floats: EncryptedArray) -> None:
    assert copy.copy(floats) is floats
    assert copy.deepcopy([floats])[0] is floats


def test_exponents_cannot_be_changed_from_outside(insecure_keys: Keys, spread: EncryptedArray) -> None:
    exponents = np.array(spread.encoding.exponent)
    x = EncryptedArray.from_residues(insecure_keys[0], spread.residues, Encoding("fixed", exponents), spread.bound)
    exponents += 1
    check(insecure_keys, x, FLOATS)
    assert isinstance(x.encoding.exponent, np.ndarray)
    with pytest.raises(ValueError, match="read-only"):
        x.encoding.exponent[0] = 0
