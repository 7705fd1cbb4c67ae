"""The peer's number theory and base64, with and without GMP."""

from __future__ import annotations

import math
from typing import Any

import phe.util as peer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore import errors
from hecore.compat.phe import DomainError, util


@pytest.fixture(params=[True, False], ids=["gmp", "python"])
def gmp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(util, "HAVE_GMP", request.param)
    return bool(request.param)


@pytest.mark.usefixtures("gmp")
@pytest.mark.parametrize("c", [2, 7, 1000, 2**130 + 1, 2**2100 - 1])
@pytest.mark.parametrize("a", [0, 1, -3, 5, 2**90 + 3, 2**3000 - 17])
def test_modular_arithmetic(a: int, c: int) -> None:
    for b in (0, 1, 2, 77, 2**70):
        assert util.powmod(a, b, c) == pow(a, b, c) == peer.powmod(a, b, c)
        assert util.mulmod(a, b, c) == a * b % c
    if math.gcd(a, c) == 1:
        assert util.invert(a, c) * a % c == 1
        assert util.powmod(a, -2, c) == pow(a, -2, c)
    else:
        with pytest.raises(ZeroDivisionError):
            util.invert(a, c)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**80), st.integers(0, 2**80))
def test_extended_euclid(a: int, b: int) -> None:
    r, s, t = util.extended_euclidean_algorithm(a, b)
    assert r == s * a + t * b == math.gcd(a, b)
    assert (r, s, t) == peer.extended_euclidean_algorithm(a, b)


@pytest.mark.usefixtures("gmp")
def test_primes() -> None:
    assert util.first_primes == peer.first_primes
    for n in [*range(-5, 2000), 17863, 17881, 17863**2, 561, 3215031751, 2**127 - 1, 2**67 - 1]:
        assert util.is_prime(n) == peer.is_prime(n), n
    assert util.is_prime(2**89 - 1, 5)
    for n in (4, 9, 15, 17863 * 17881):
        assert not util.miller_rabin(n, 10)
    assert util.miller_rabin(10007, 3)
    for n in (3, 1, 0, -7):
        with pytest.raises(DomainError):
            util.miller_rabin(n, 1)


@pytest.mark.usefixtures("gmp")
def test_drawn_primes() -> None:
    assert {util.getprimeover(2) for _ in range(60)} == {2, 3}
    assert {util.getprimeover(5) for _ in range(200)} == {17, 19, 23, 29, 31}
    for bits in (3, 16, 100, 256):
        prime = util.getprimeover(bits)
        assert prime.bit_length() == bits
        assert util.is_prime(prime)
    for bits in (1, 0, -3):
        with pytest.raises(errors.ParameterError):
            util.getprimeover(bits)


def test_square_roots() -> None:
    for n in (0, 1, 2, 17, 10**40, 10**40 - 1):
        assert util.isqrt(n) == util.improved_i_sqrt(n) == math.isqrt(n)
    with pytest.raises(ValueError, match="nonnegative"):
        util.isqrt(-1)
    with pytest.raises(AssertionError):
        util.improved_i_sqrt(-1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**600))
def test_base64_of_integers(n: int) -> None:
    text = util.int_to_base64(n)
    assert text == peer.int_to_base64(n)
    assert util.base64_to_int(text) == util.base64_to_int(text + "==") == n


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_base64_of_bytes(data: bytes) -> None:
    text = util.base64url_encode(data)
    assert text == peer.base64url_encode(data)
    assert util.base64url_decode(text) == data


def test_what_is_no_base64_is_refused() -> None:
    assert util.base64url_encode("a") == "YQ"
    for bad in (0, -1):
        with pytest.raises(DomainError):
            util.int_to_base64(bad)
    bad_types: list[Any] = [b"_w", None, 5]
    for bad_type in bad_types:
        with pytest.raises(errors.OperandTypeError):
            util.base64_to_int(bad_type)
    with pytest.raises(errors.OperandTypeError):
        util.int_to_base64("5")  # type: ignore[arg-type]
    for text in ("", "A", "AAAAA", "é"):
        with pytest.raises(errors.SerializationError):
            util.base64_to_int(text)
