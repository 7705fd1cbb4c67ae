"""The peer itself on the other side: keys, numbers and JSON in both directions, and the same results bit for bit."""

from __future__ import annotations

import json
import math
from typing import Any

import gmpy2
import numpy as np
import phe as peer
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hecore.compat import phe
from hecore.compat.phe import EncodedNumber, EncryptedNumber, PaillierPrivateKey, PaillierPublicKey

Keys = tuple[PaillierPublicKey, PaillierPrivateKey]

pytestmark = pytest.mark.filterwarnings("ignore::hecore.compat.phe.InsecureWarning")

P, Q = int(gmpy2.next_prime(0xD4A7C3E1B59F2F6D3B)), int(gmpy2.next_prime(0xE8F1B7A5C3D90B4B27))
OURS = PaillierPublicKey._from_parts(P * Q, None)
THEIRS = peer.PaillierPublicKey(P * Q)
OUR_PRIVATE = PaillierPrivateKey(OURS, P, Q)
THEIR_PRIVATE = peer.PaillierPrivateKey(THEIRS, P, Q)

integers = st.integers(-OURS.max_int, OURS.max_int)
small_floats = st.floats(-1e6, 1e6).map(lambda x: math.ldexp(round(math.ldexp(x, 20)), -20))
scalars = st.one_of(st.integers(-(2**40), 2**40), small_floats)


def outcome(function: Any, *arguments: Any) -> Any:
    """The result, or which built-in error it was."""
    try:
        return function(*arguments)
    except (ValueError, OverflowError, TypeError, ZeroDivisionError) as error:
        return next(
            kind for kind in (OverflowError, ZeroDivisionError, ValueError, TypeError) if isinstance(error, kind)
        )


def numbers(encrypted: Any) -> Any:
    """Ciphertext and exponent."""
    return encrypted if isinstance(encrypted, type) else (encrypted.ciphertext(be_secure=False), encrypted.exponent)


def test_the_peer_is_not_us() -> None:
    assert peer.paillier.__name__ == "phe.paillier"
    assert not issubclass(EncryptedNumber, peer.EncryptedNumber)


@pytest.mark.parametrize("value", [0, 5, -5, 2**100, 1.5, -0.1, 1e-20])
def test_numbers_travel_in_both_directions(keys: Keys, value: float) -> None:
    public_key, private_key = keys
    their_public = peer.PaillierPublicKey(public_key.n)
    their_private = peer.PaillierPrivateKey(their_public, private_key.p, private_key.q)
    mine = public_key.encrypt(value)
    assert their_private.decrypt(peer.EncryptedNumber(their_public, mine.ciphertext(), mine.exponent)) == value
    theirs = their_public.encrypt(value)
    assert private_key.decrypt(EncryptedNumber(public_key, theirs.ciphertext(), theirs.exponent)) == value
    assert theirs.exponent == mine.exponent


def test_keys_travel_in_both_directions(keys: Keys) -> None:
    their_public, their_private = peer.generate_paillier_keypair(n_length=256)
    public_key = PaillierPublicKey(their_public.n)
    private_key = PaillierPrivateKey(public_key, their_private.p, their_private.q)
    assert private_key.decrypt(public_key.encrypt(-7)) == -7
    for name in ("p", "q", "psquare", "qsquare", "p_inverse", "hp", "hq"):
        assert getattr(private_key, name) == getattr(their_private, name)
    for name in ("g", "n", "nsquare", "max_int"):
        assert getattr(public_key, name) == getattr(their_public, name)
    mine = peer.PaillierPrivateKey(peer.PaillierPublicKey(keys[0].n), keys[1].p, keys[1].q)
    assert mine.hp == keys[1].hp


def test_the_json_of_the_peers_documentation_travels(keys: Keys) -> None:
    public_key, private_key = keys
    values = [3.5, -2.0, 4]
    message = json.dumps(
        {
            "public_key": {"n": public_key.n},
            "values": [(str(x.ciphertext()), x.exponent) for x in map(public_key.encrypt, values)],
        }
    )
    received = json.loads(message)
    their_public = peer.PaillierPublicKey(n=int(received["public_key"]["n"]))
    theirs = [peer.EncryptedNumber(their_public, int(c), int(e)) for c, e in received["values"]]
    answer = json.dumps([(str((x * 2 + 1).ciphertext()), (x * 2 + 1).exponent) for x in theirs])
    back = [EncryptedNumber(public_key, int(c), int(e)) for c, e in json.loads(answer)]
    assert [private_key.decrypt(x) for x in back] == [8.0, -3.0, 9]


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**300), 2**300), st.integers(1, P * Q - 1))
def test_raw_encryption_gives_the_same_numbers(message: int, r: int) -> None:
    assert OURS.raw_encrypt(message, r) == THEIRS.raw_encrypt(message, r)
    assume(r % P and r % Q)
    ciphertext = OURS.raw_encrypt(message, r)
    assert OUR_PRIVATE.raw_decrypt(ciphertext) == THEIR_PRIVATE.raw_decrypt(ciphertext) == message % OURS.n


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.integers(-(2**160), 2**160), st.floats(), st.booleans()),
    st.one_of(st.none(), st.floats(1e-30, 1e30), st.sampled_from([16.0**k for k in range(-20, 8)])),
    st.one_of(st.none(), st.integers(-40, 10)),
    st.sampled_from([(2, 1.0), (13, math.log2(13)), (16, 4.0), (64, 6.0)]),
)
def test_encodings_are_the_same(scalar: Any, precision: Any, max_exponent: Any, base: tuple[int, float]) -> None:
    ours: Any = type("Ours", (EncodedNumber,), {"BASE": base[0], "LOG2_BASE": base[1]})
    theirs: Any = type("Theirs", (peer.EncodedNumber,), {"BASE": base[0], "LOG2_BASE": base[1]})
    a = outcome(ours.encode, OURS, scalar, precision, max_exponent)
    b = outcome(theirs.encode, THEIRS, scalar, precision, max_exponent)
    if isinstance(b, type):
        assert a is b or (a is ValueError and isinstance(scalar, float) and math.isinf(scalar))
        return
    assert (a.encoding, a.exponent) == (b.encoding, b.exponent)
    x, y = a.decode(), b.decode()
    assert x == y
    assert type(x) is type(y)
    lower, expected = a.decrease_exponent_to(a.exponent - 3), b.decrease_exponent_to(b.exponent - 3)
    assert (lower.encoding, lower.exponent) == (expected.encoding, expected.exponent)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, P * Q + 5), st.integers(-300, 60))
def test_decodings_are_the_same(encoding: int, exponent: int) -> None:
    ours = outcome(EncodedNumber(OURS, encoding, exponent).decode)
    theirs = outcome(peer.EncodedNumber(THEIRS, encoding, exponent).decode)
    assert ours == theirs
    assert type(ours) is type(theirs)


@settings(max_examples=150, deadline=None)
@given(scalars, scalars, st.sampled_from(["+", "-", "*", "r+", "r-", "r*", "/", "+e", "*e", "r-e"]))
def test_scalar_arithmetic_gives_the_same_ciphertexts(value: Any, scalar: Any, operation: str) -> None:
    def apply(module: Any, key: Any) -> Any:
        x = key.encrypt(value, r_value=12345)
        y = module.EncodedNumber.encode(key, scalar) if operation.endswith("e") else scalar
        match operation.rstrip("e"):
            case "+":
                return x + y
            case "-":
                return x - y
            case "*":
                return x * y
            case "r+":
                return y + x
            case "r-":
                return y - x
            case "r*":
                return y * x
            case _:
                return x / y

    assert numbers(outcome(apply, phe, OURS)) == numbers(outcome(apply, peer, THEIRS))


@settings(max_examples=60, deadline=None)
@given(scalars, scalars, st.integers(0, 12))
def test_arithmetic_on_two_numbers_gives_the_same_ciphertexts(first: Any, second: Any, lower: int) -> None:
    def apply(key: Any) -> list[Any]:
        x, y = key.encrypt(first, r_value=777), key.encrypt(second, r_value=999)
        low = x.decrease_exponent_to(x.exponent - lower)
        return [numbers(z) for z in (x + y, x - y, y - x, low, low + y, sum([x, y, low]))]

    assert outcome(apply, OURS) == outcome(apply, THEIRS)


@settings(max_examples=40, deadline=None)
@given(integers, integers)
def test_sums_wrap_and_overflow_as_in_the_peer(a: int, b: int) -> None:
    ours = outcome(lambda: OUR_PRIVATE.decrypt(OURS.encrypt(a) + b))
    theirs = outcome(lambda: THEIR_PRIVATE.decrypt(THEIRS.encrypt(a) + b))
    assert ours == theirs


@pytest.mark.parametrize(("p", "q"), [(43, 59), (293, 433), (11, 23), (3, 5), (5, 11)])
def test_tiny_keys_agree_on_every_message(p: int, q: int) -> None:
    ours, theirs = PaillierPublicKey(p * q), peer.PaillierPublicKey(p * q)
    our_private, their_private = PaillierPrivateKey(ours, p, q), peer.PaillierPrivateKey(theirs, p, q)
    for message in range(0, p * q, 1 + p * q // 200):
        assert ours.raw_encrypt(message, 2) == theirs.raw_encrypt(message, 2)
        ciphertext = ours.raw_encrypt(message)
        assert our_private.raw_decrypt(ciphertext) == their_private.raw_decrypt(ciphertext) == message


def test_raw_products_agree_around_the_sign() -> None:
    x, y = OURS.encrypt(5, r_value=3), THEIRS.encrypt(5, r_value=3)
    n, m = OURS.n, OURS.max_int
    for factor in (0, 1, 2, m, m + 1, n // 2, n - m - 1, n - m, n - m + 1, n - 2, n - 1):
        assert x._raw_mul(factor) == y._raw_mul(factor)


def test_arrays_of_the_peer_and_ours_give_the_same(keys: Keys) -> None:
    public_key, private_key = keys
    their_public = peer.PaillierPublicKey(public_key.n)
    their_private = peer.PaillierPrivateKey(their_public, private_key.p, private_key.q)
    values, weights = [0.5, -1.25, 3.0], np.array([2.0, 0.5, -4.0])
    reductions: list[Any] = [np.mean, np.sum, lambda x: np.dot(x, weights)]
    for reduce in reductions:
        ours = private_key.decrypt(reduce([public_key.encrypt(v) for v in values]))
        theirs = their_private.decrypt(reduce([their_public.encrypt(v) for v in values]))
        assert ours == theirs
