"""Encrypted numbers: arithmetic, obfuscation, NumPy, and what is refused."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import gmpy2
import numpy as np
import pytest

import hecore
from hecore import errors
from hecore.compat import phe
from hecore.compat.phe import EncodedNumber, EncryptedNumber, PaillierPrivateKey, PaillierPublicKey, paillier

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.backends.protocol import IntegerBackend

Keys = tuple[PaillierPublicKey, PaillierPrivateKey]

pytestmark = pytest.mark.filterwarnings("ignore::hecore.compat.phe.InsecureWarning")

VALUES = [0, 1, -1, 7, -12345, 2**80, -(2**80), 0.0, 1.5, -2.25, 0.1, -1e-7, 3.0e10]


@pytest.mark.usefixtures("path")
def test_a_round_trip_and_all_operations_on_every_path() -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=256)
    for value in VALUES:
        assert private_key.decrypt(public_key.encrypt(value)) == value
    for m in (0, 1, public_key.n - 1, public_key.n // 2):
        assert private_key.raw_decrypt(public_key.raw_encrypt(m)) == m
    x, y = public_key.encrypt(3.5), public_key.encrypt(-1.25)
    assert private_key.decrypt((x + y - 2) * 3 - y / 2) == (3.5 - 1.25 - 2) * 3 + 0.625
    before = x.ciphertext(be_secure=False)
    x.obfuscate()
    assert x.ciphertext() != before
    assert private_key.decrypt(x) == 3.5


@pytest.mark.usefixtures("path")
def test_obfuscators_are_fresh_and_of_full_size() -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=256)
    seen = {public_key.encrypt(1).ciphertext() for _ in range(50)}
    assert len(seen) == 50
    assert max(seen).bit_length() > 500
    assert {private_key.raw_decrypt(c) for c in seen} == {1}


def test_decryption_settles_on_what_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=1024)
    decryptor, x = private_key._decryptor, public_key.encrypt(5)
    used: list[object] = []
    on_backend = decryptor._on

    def spy(backend: IntegerBackend, ciphertext: Any) -> int:
        used.append(backend)
        return on_backend(backend, ciphertext)

    monkeypatch.setattr(decryptor, "_on", spy)
    with hecore.use("reference") as backend:
        trials = phe._engine.WARM_UP
        assert [private_key.decrypt(x) for _ in range(2 * trials)] == [5] * 2 * trials
        assert used == [backend] * trials
        assert all(seconds > 0 for seconds in decryptor._seconds.values())
        for integers, other, expected in ((1.0, 2.0, []), (2.0, 1.0, [backend])):
            used.clear()
            decryptor._seconds = {None: integers, backend: other}
            assert private_key.decrypt(x) == 5
            assert used == expected


def test_a_real_size_uses_the_current_backend_after_a_few_calls() -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=1024)
    for value in range(12):
        assert private_key.decrypt(public_key.encrypt(value)) == value
    assert public_key._obfuscator._tables
    plain = PaillierPublicKey(public_key.n)
    assert [private_key.decrypt(plain.encrypt(v)) for v in range(10)] == list(range(10))
    assert not plain._obfuscator._tables  # an imported key never uses powers of one base


@pytest.mark.parametrize("a", [5, -3, 0, 2.5, -0.75])
@pytest.mark.parametrize("b", [4, -6, 0, 1, -1, 0.5, -1.75])
def test_arithmetic_on_either_side(keys: Keys, a: float, b: float) -> None:
    public_key, private_key = keys
    x, y = public_key.encrypt(a), public_key.encrypt(b)
    d = private_key.decrypt
    assert d(x + y) == d(x + b) == d(b + x) == a + b
    assert d(x - y) == d(x - b) == a - b
    assert d(b - x) == b - a
    assert d(x * b) == d(b * x) == a * b
    if b:
        assert d(x / b) == pytest.approx(a / b)
    encoded = EncodedNumber.encode(public_key, b)
    assert d(x + encoded) == d(encoded + x) == a + b
    assert d(x - encoded) == a - b
    assert d(encoded - x) == b - a
    assert d(x * encoded) == d(encoded * x) == a * b


def test_results_are_not_obfuscated_until_they_leave(keys: Keys) -> None:
    public_key, _ = keys
    x = public_key.encrypt(2)
    for y in (x + 1, x * 3, x + x, x - x, x.decrease_exponent_to(-2), public_key.encrypt(2, r_value=5)):
        raw = y.ciphertext(be_secure=False)
        assert raw == y.ciphertext(be_secure=False)
        left = y.ciphertext()
        assert left != raw
        assert left == y.ciphertext() == y.ciphertext(be_secure=False)  # once is enough


def test_pickle_obfuscates_and_copies_do_not(keys: Keys) -> None:
    public_key, private_key = keys
    x = public_key.encrypt(2) * 3
    raw = x.ciphertext(be_secure=False)
    assert copy.copy(x).ciphertext(be_secure=False) == raw
    assert copy.deepcopy(x).ciphertext(be_secure=False) == raw
    y = pickle.loads(pickle.dumps(x))
    assert y.ciphertext(be_secure=False) != raw
    assert private_key.decrypt(y) == 6
    assert y.public_key == public_key
    arrived = y.ciphertext(be_secure=False)
    assert y.ciphertext() != arrived  # whoever sent it may not have obfuscated it
    assert private_key.decrypt(y) == 6


class Labelled(EncryptedNumber):
    label = ""


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("_EncryptedNumber__ciphertext", 0, errors.CiphertextError),
        ("_EncryptedNumber__ciphertext", -5, errors.CiphertextError),
        ("_EncryptedNumber__ciphertext", 1 << 4096, errors.CiphertextError),
        ("_EncryptedNumber__ciphertext", 2.5, errors.OperandTypeError),
        ("exponent", "0", errors.OperandTypeError),
        ("public_key", 15, errors.OperandTypeError),
        ("public_key", None, errors.OperandTypeError),
    ],
)
def test_a_pickle_is_checked(keys: Keys, name: str, value: object, error: type[Exception]) -> None:
    x = keys[0].encrypt(2)
    with pytest.raises(error):
        EncryptedNumber.__new__(EncryptedNumber).__setstate__({**x.__getstate__(), name: value})


def test_a_subclass_survives_pickle(keys: Keys) -> None:
    x = Labelled(keys[0], keys[0].encrypt(2).ciphertext())
    x.label = "mine"
    y = pickle.loads(pickle.dumps(x))
    assert (type(y), y.label, keys[1].decrypt(y)) == (Labelled, "mine", 2)


@pytest.mark.parametrize(
    "scalar",
    [
        np.int64(3),
        np.int8(-3),
        np.uint64(2**63),
        np.float64(2.5),
        np.float32(-1.5),
        np.float16(0.25),
        np.bool_(True),
        True,
        gmpy2.mpz(7),
    ],
)
def test_numpy_and_gmp_scalars_are_numbers(keys: Keys, scalar: Any) -> None:
    public_key, private_key = keys
    value = float(scalar) if isinstance(scalar, np.floating) else int(scalar)
    x = public_key.encrypt(0.5)
    d = private_key.decrypt
    assert d(public_key.encrypt(scalar)) == value
    assert d(x + scalar) == value + 0.5
    assert d(x - scalar) == 0.5 - value
    assert d(x * scalar) == 0.5 * value
    assert d(x / scalar) == pytest.approx(0.5 / value)
    assert type(EncodedNumber.encode(public_key, scalar).encoding) is int


def test_arrays_and_lists(keys: Keys) -> None:
    public_key, private_key = keys
    decrypt = np.vectorize(private_key.decrypt, otypes=[float])
    values = np.array([1.5, -2.0, 4.25])
    x = np.array([public_key.encrypt(float(v)) for v in values])
    weights = np.array([2, -1, 3])
    one = public_key.encrypt(10)
    np.testing.assert_array_equal(decrypt(x + weights), values + weights)
    np.testing.assert_array_equal(decrypt(weights - x), weights - values)
    np.testing.assert_array_equal(decrypt(x * weights), values * weights)
    for result, wanted in (
        (one + weights, 10 + weights),
        (weights + one, 10 + weights),
        (one - weights, 10 - weights),
        (weights - one, weights - 10),
        (one * values, 10 * values),
        (values * one, 10 * values),
        (one / values, 10 / values),
    ):
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(decrypt(result), wanted, rtol=1e-15)
    assert private_key.decrypt(np.mean(x)) == pytest.approx(values.mean())
    assert private_key.decrypt(np.dot(x, weights)) == values @ weights
    assert private_key.decrypt(np.dot(list(x), list(values))) == pytest.approx(values @ values)
    assert private_key.decrypt(sum(list(x))) == values.sum()


@pytest.mark.parametrize("bad", ["1", None, 1 + 2j, [1], Fraction(1, 2), Decimal("0.5"), object()])
def test_other_types_are_refused(keys: Keys, bad: Any) -> None:
    public_key, _ = keys
    x = public_key.encrypt(1)
    with pytest.raises(errors.OperandTypeError):
        public_key.encrypt(bad)
    operations: list[Callable[[], Any]] = [
        lambda: x + bad,
        lambda: bad + x,
        lambda: x - bad,
        lambda: bad - x,
        lambda: x * bad,
        lambda: bad * x,
        lambda: x / bad,
    ]
    for operation in operations:
        with pytest.raises(TypeError):
            operation()


def test_products_of_ciphertexts_and_reciprocals_are_refused(keys: Keys) -> None:
    x: Any = keys[0].encrypt(1)
    for kind in (NotImplementedError, TypeError, phe.CiphertextProductError, errors.HecoreError):
        with pytest.raises(kind):
            x * x
    operations: list[Callable[[], Any]] = [lambda: x / x, lambda: 1 / x, lambda: x**2, lambda: x // 2, lambda: x < x]
    for operation in operations:
        with pytest.raises(TypeError):
            operation()
    with pytest.raises(ZeroDivisionError):
        x / 0
    with pytest.raises(ZeroDivisionError):
        x / np.int64(0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_nan_and_infinities_are_refused(keys: Keys, bad: float) -> None:
    public_key, _ = keys
    operations: list[Callable[[], Any]] = [
        lambda: public_key.encrypt(bad),
        lambda: public_key.encrypt(bad, precision=0.1),
        lambda: public_key.encrypt(1) + bad,
        lambda: public_key.encrypt(1) * bad,
    ]
    for operation in operations:
        with pytest.raises(errors.PlaintextRangeError):
            operation()


def test_out_of_range_is_refused_and_the_message_keeps_the_number(keys: Keys) -> None:
    public_key, _ = keys
    x = public_key.encrypt(1)
    for bad in (public_key.max_int + 1, -public_key.max_int - 1, 1 << 4000):
        for operation in (public_key.encrypt, x.__add__, x.__mul__):
            with pytest.raises(errors.PlaintextRangeError) as caught:
                operation(bad)
            assert str(abs(bad))[:20] not in str(caught.value)
    with pytest.raises(errors.PlaintextRangeError):
        x + 5e-324
    with pytest.raises(errors.PlaintextRangeError):
        x.decrease_exponent_to(-200)
    with pytest.raises(errors.ParameterError):
        x.decrease_exponent_to(1)
    with pytest.raises(TypeError):
        x.decrease_exponent_to(-1.5)  # type: ignore[arg-type]


def test_overflow_is_seen_at_decryption(keys: Keys) -> None:
    public_key, private_key = keys
    x = public_key.encrypt(public_key.max_int)
    for y in (x + 1, public_key.encrypt(-public_key.max_int) - 1):
        with pytest.raises(errors.PlaintextOverflowError):
            private_key.decrypt(y)


def test_keys_do_not_mix(keys: Keys, other_keys: Keys) -> None:
    (mine, my_private), (yours, _) = keys, other_keys
    x, y = mine.encrypt(1), yours.encrypt(1)
    encoded = EncodedNumber.encode(yours, 1)
    operations: list[Callable[[], Any]] = [
        lambda: x + y,
        lambda: x - y,
        lambda: x + encoded,
        lambda: x - encoded,
        lambda: x * encoded,
        lambda: my_private.decrypt(y),
        lambda: mine.encrypt(encoded),
        lambda: mine.encrypt_encoded(encoded, None),
    ]
    for operation in operations:
        with pytest.raises(errors.KeyMismatchError):
            operation()


def test_what_is_no_ciphertext_is_refused(keys: Keys) -> None:
    public_key, private_key = keys
    for bad in (0, -1, public_key.nsquare, public_key.nsquare + 5):
        with pytest.raises(errors.CiphertextError):
            EncryptedNumber(public_key, bad)
    for bad_type in ("5", 5.0, None, EncodedNumber(public_key, 5, 0), np.array(5)):
        with pytest.raises(errors.OperandTypeError):
            EncryptedNumber(public_key, bad_type)  # type: ignore[arg-type]
        with pytest.raises(errors.OperandTypeError):
            private_key.raw_decrypt(bad_type)  # type: ignore[arg-type]
    with pytest.raises(errors.OperandTypeError):
        EncryptedNumber(5, 5)  # type: ignore[arg-type]
    with pytest.raises(errors.OperandTypeError):
        EncryptedNumber(public_key, 5, 1.5)  # type: ignore[arg-type]
    for factor in (private_key.p, private_key.q, public_key.n, public_key.n * 3):
        number = EncryptedNumber(public_key, factor)
        with pytest.raises(errors.CiphertextError):
            private_key.decrypt(number)
        with pytest.raises(errors.CiphertextError):
            number * -1
        with pytest.raises(errors.CiphertextError):
            public_key.encrypt(1) - number
    for zero in (0, public_key.nsquare):
        with pytest.raises(errors.CiphertextError):
            private_key.raw_decrypt(zero)
    for wrong in (5, "5", None):
        with pytest.raises(errors.OperandTypeError):
            private_key.decrypt(wrong)  # type: ignore[arg-type]
        with pytest.raises(errors.OperandTypeError):
            public_key.encrypt_encoded(wrong, None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("path")
def test_what_is_no_ciphertext_is_refused_on_every_path() -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=128)
    with pytest.raises(errors.CiphertextError):
        private_key.raw_decrypt(private_key.p * 5)
    assert private_key.raw_decrypt(1 - public_key.nsquare) == 0  # any representative of a unit, as in the peer


def test_raw_operations(keys: Keys) -> None:
    public_key, private_key = keys
    x = public_key.encrypt(5)
    c = x.ciphertext()
    assert private_key.raw_decrypt(x._raw_add(c, public_key.raw_encrypt(4))) == 9
    assert private_key.raw_decrypt(x._raw_mul(3)) == 15
    assert private_key.raw_decrypt(x._raw_mul(public_key.n - 2)) == public_key.n - 10
    assert x._raw_mul(0) == 1
    for bad in (-1, public_key.n):
        with pytest.raises(errors.PlaintextRangeError):
            x._raw_mul(bad)
    with pytest.raises(errors.OperandTypeError):
        x._raw_mul(2.5)  # type: ignore[arg-type]
    for bad_type in ("5", 2.5, None):
        with pytest.raises(errors.OperandTypeError):
            public_key.raw_encrypt(bad_type)  # type: ignore[arg-type]
    with pytest.raises(errors.OperandTypeError):
        public_key.raw_encrypt(5, 2.5)  # type: ignore[arg-type]


def test_exact_types_of_results(keys: Keys) -> None:
    public_key, private_key = keys
    x = public_key.encrypt(5) + 1
    for value in (
        x.ciphertext(),
        x.ciphertext(False),
        public_key.raw_encrypt(5),
        private_key.raw_decrypt(7),
        x._raw_mul(3),
        x._raw_add(3, 4),
        private_key.decrypt(x),
        public_key.get_random_lt_n(),
        private_key.hp,
        private_key.p_inverse,
        private_key.decrypt_encoded(x).encoding,
    ):
        assert type(value) is int
    assert type(private_key.decrypt(x + 0.5)) is float


def test_alternative_encodings(keys: Keys) -> None:
    public_key, private_key = keys

    class Thirteen(EncodedNumber):
        BASE = 13
        LOG2_BASE = float(np.log2(13))

    encoded = Thirteen.encode(public_key, 0.3)
    assert isinstance(encoded, Thirteen)
    result = private_key.decrypt_encoded(public_key.encrypt(encoded), Thirteen)
    assert isinstance(result, Thirteen)
    assert result.decode() == 0.3


def test_exact_rationals_with_a_precision(keys: Keys) -> None:
    public_key, _ = keys
    for scalar in (Fraction(1, 3), Decimal("0.3333333")):
        assert EncodedNumber.encode(public_key, scalar, precision=1e-6).decode() == pytest.approx(1 / 3, abs=1e-6)
    with pytest.raises(errors.PlaintextRangeError):
        EncodedNumber.encode(public_key, Decimal("NaN"), precision=0.1)
    for precision in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(errors.ParameterError):
            EncodedNumber.encode(public_key, 1.0, precision=precision)


def test_decoding_refuses_what_is_no_encoding(keys: Keys) -> None:
    public_key, _ = keys
    for encoding in (public_key.n, public_key.n + 5, 2 * public_key.n):
        with pytest.raises(errors.PlaintextRangeError):
            EncodedNumber(public_key, encoding, 0).decode()
    for encoding in (public_key.max_int + 1, public_key.n - public_key.max_int - 1, -public_key.max_int - 1):
        with pytest.raises(errors.PlaintextOverflowError):
            EncodedNumber(public_key, encoding, 0).decode()
    big, _ = paillier.generate_paillier_keypair(n_length=1200)
    with pytest.raises(errors.PlaintextOverflowError):
        EncodedNumber(big, big.max_int, -1).decode()
