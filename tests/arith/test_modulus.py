from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from hecore.arith.modulus import CrtModulus, Modulus
from hecore.errors import ParameterError

P, Q = 2**61 - 1, 2**89 - 1  # Mersenne primes


@pytest.mark.parametrize("value", [-7, -3, 0, 1, 2, 4, 2**64])
def test_even_and_tiny_moduli_are_refused(value: int) -> None:
    with pytest.raises(ParameterError):
        Modulus(value)


def test_bits_and_limbs() -> None:
    for value, bits, limbs in ((3, 2, 1), (2**64 - 59, 64, 1), (2**64 + 13, 65, 2), (2**128 - 1, 128, 2)):
        modulus = Modulus(value)
        assert (modulus.bits, modulus.limbs) == (bits, limbs)


def test_a_square_knows_its_root() -> None:
    square = Modulus.square(15)
    assert square.value == 225
    assert square.square_of == Modulus(15)
    assert square == Modulus(225, Modulus(15))
    with pytest.raises(ParameterError):
        Modulus(225, Modulus(17))


def test_equality_and_hash_are_by_value_and_root() -> None:
    assert Modulus(225) == Modulus(225)
    assert hash(Modulus(225)) == hash(Modulus(225))
    assert Modulus(225) != Modulus.square(15)
    assert Modulus(225) != Modulus(227)
    assert len({Modulus.square(15), Modulus.square(15), Modulus(225)}) == 2


def test_the_repr_tells_the_size_alone() -> None:
    assert repr(Modulus(P)) == "<Modulus 61 bits>"
    assert repr(Modulus.square(P)) == "<Modulus square, 122 bits>"
    assert repr(CrtModulus(P, Q)) == "<CrtModulus 150 bits>"


def test_they_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Modulus(15).value = 17  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        CrtModulus(P, Q).p = 5  # type: ignore[misc]


@pytest.mark.parametrize(("p", "q"), [(P, Q), (Q, P), (7, 11), (3, 2**127 - 1)])
def test_crt_constants_are_what_they_say(p: int, q: int) -> None:
    crt, n = CrtModulus(p, q), p * q
    assert crt.n == Modulus(n)
    assert crt.n_squared == Modulus.square(n)
    assert crt.p_squared == Modulus.square(p)
    assert crt.q_squared == Modulus.square(q)
    assert crt.p_inverse * p % q == 1
    # Paillier's own definition: h = L((1+n)**(p-1) mod p^2)**-1 mod p.
    for h, prime in ((crt.h_p, p), (crt.h_q, q)):
        power = pow(1 + n, prime - 1, prime * prime)
        assert h * ((power - 1) // prime) % prime == 1


@pytest.mark.parametrize(("p", "largest"), [(2**521 - 1, 2**392 - 1), (2**160 + 7, 2**31 - 1), (2**130 + 1, 1)])
def test_how_much_one_factor_decides(p: int, largest: int) -> None:
    crt = CrtModulus(p, 2**127 - 1)
    assert crt.one_factor_decides(0)
    assert crt.one_factor_decides(largest)
    assert not crt.one_factor_decides(largest + 1)
    assert not crt.one_factor_decides(-1)
    assert Fraction(2 * largest + 1, p) < Fraction(1, 2**128) <= Fraction(2 * largest + 3, p)


def test_a_short_factor_decides_nothing() -> None:
    assert not CrtModulus(2**127 - 1, 2**521 - 1).one_factor_decides(0)


@pytest.mark.parametrize(("p", "q"), [(7, 7), (15, 21), (P, P * 3)])
def test_factors_must_be_coprime(p: int, q: int) -> None:
    with pytest.raises(ParameterError):
        CrtModulus(p, q)


def test_secret_factors_are_never_pickled_or_copied() -> None:
    crt = CrtModulus(P, Q)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"hecore\.keystore"):
            leak(crt)
