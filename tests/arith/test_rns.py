"""RNS bases, their primes and roots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecore.arith.primes import is_prime
from hecore.arith.rns import (
    RnsBasis,
    bit_reversal,
    galois_permutation,
    ntt_primes,
    primitive_root,
    root_powers,
)
from hecore.errors import ParameterError

SMALL = RnsBasis(16, (97, 193, 257))


def test_a_basis() -> None:
    assert len(SMALL) == 3
    assert SMALL.product == 97 * 193 * 257
    assert SMALL.bits == SMALL.product.bit_length()
    assert SMALL.prefix(2) == RnsBasis(16, (97, 193))
    assert SMALL.prefix(2) is SMALL.prefix(2)  # cached: equality in hot paths is identity
    assert SMALL.take([2, 0]).moduli == (257, 97)
    assert SMALL.take([2]).join(SMALL.prefix(2)).moduli == (257, 97, 193)
    assert hash(SMALL) == hash(RnsBasis(16, (97, 193, 257)))
    assert RnsBasis(16, (97, 193)) != RnsBasis(16, (193, 97))


@pytest.mark.parametrize(
    ("degree", "moduli", "said"),
    [
        (16, (), "at least one"),
        (16, (97, 97), "not distinct"),
        (24, (97,), "power of two"),
        (8, (97,), "from 16"),
        (1 << 18, (97,), "to 131072"),
        (16, (101,), "1 mod 32"),
        (16, (33,), "prime"),
        (16, (33 * 97,), "prime"),
        (16, ((1 << 61) + 32 * 15 + 1,), "at most 61"),
    ],
)
def test_what_is_no_basis(degree: int, moduli: tuple[int, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        RnsBasis(degree, moduli)


def test_bases_that_cannot_join() -> None:
    with pytest.raises(ParameterError, match="distinct"):
        SMALL.join(SMALL.prefix(1))
    with pytest.raises(ParameterError, match="ring degrees"):
        SMALL.join(RnsBasis(32, (193,)))


@given(st.integers(-(10**9), 10**9))
def test_residues_and_back(value: int) -> None:
    assert SMALL.residues(value) == tuple(value % q for q in SMALL.moduli)
    assert SMALL.compose(SMALL.residues(value)) == value % SMALL.product


def test_compose_wants_one_residue_a_modulus() -> None:
    with pytest.raises(ValueError, match="zip"):
        SMALL.compose([1, 2])


@pytest.mark.parametrize(
    ("degree", "bits"), [(8192, (60, 40, 40, 60)), (4096, (30, 20)), (16, (9, 10, 9)), (1024, (45, 45, 45, 45))]
)
def test_the_largest_primes_of_each_size_from_the_smallest(degree: int, bits: tuple[int, ...]) -> None:
    found = ntt_primes(degree, bits)
    assert [q.bit_length() for q in found] == list(bits)
    for size in set(bits):
        mine = [q for q in found if q.bit_length() == size]
        candidates = range(mine[0], 1 << size, 2 * degree)
        assert mine == [q for q in candidates if is_prime(q)]
        assert all(q % (2 * degree) == 1 for q in mine)


def test_a_chain_that_seal_makes() -> None:
    chain = (1152921504606748673, 1099510890497, 1099511480321, 1152921504606830593)
    assert ntt_primes(8192, [60, 40, 40, 60]) == chain


@pytest.mark.parametrize(("bits", "said"), [([1], "from 2 to 60"), ([61], "from 2 to 60"), ([6], "1 primes of 6 bits")])
def test_primes_that_are_not_there(bits: list[int], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        ntt_primes(16, bits)
    with pytest.raises(ParameterError, match="power of two"):
        ntt_primes(17, [30])


@pytest.mark.parametrize(("q", "degree"), [(97, 16), (193, 32), (12289, 1024), (ntt_primes(2048, [60])[0], 2048)])
def test_the_smallest_root(q: int, degree: int) -> None:
    psi = primitive_root(q, degree)
    assert pow(psi, degree, q) == q - 1
    if q < 1 << 20:
        assert all(pow(x, degree, q) != q - 1 for x in range(2, psi))
    else:
        assert psi == min(pow(psi, odd, q) for odd in range(1, 2 * degree, 2))


def test_bit_reversal() -> None:
    assert bit_reversal(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    assert bit_reversal(1).tolist() == [0]
    order = bit_reversal(1024)
    assert np.array_equal(order[order], np.arange(1024))
    assert order[1] == 512


@pytest.mark.parametrize("inverse", [False, True])
def test_powers_of_the_root(inverse: bool) -> None:
    q, degree = 193, 32
    powers, order = root_powers(q, degree, inverse=inverse), bit_reversal(32)
    psi = primitive_root(q, degree)
    for i in range(degree):
        assert int(powers[order[i]]) == pow(psi, -i if inverse else i, q)
    with pytest.raises(ValueError, match="read-only"):
        powers[0] = 0


@pytest.mark.parametrize("element", [1, 3, 5, 31, 33, 63])
def test_where_automorphisms_take_values_from(element: int) -> None:
    q, degree = 193, 32
    psi, order = primitive_root(q, degree), bit_reversal(degree)
    coefficients = [i * i + 1 for i in range(degree)]

    def at(exponent: int) -> int:
        return sum(c * pow(psi, exponent * j, q) for j, c in enumerate(coefficients)) % q

    values = [at(2 * int(i) + 1) for i in order]
    image = [at(element * (2 * int(i) + 1)) for i in order]
    assert [values[i] for i in galois_permutation(degree, element)] == image
    assert math.gcd(element, 2 * degree) == 1
