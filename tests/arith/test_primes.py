from __future__ import annotations

import itertools
import math

import pytest

from hecore.arith import integers
from hecore.arith.primes import (
    _candidates,
    _rounds_for_random,
    is_prime,
    minimum_distance,
    random_blum_primes,
    small_factor,
)
from hecore.errors import ParameterError

# The smallest strong pseudoprimes to the first 4, 7, 9 and 12 prime bases (OEIS A014233).
STRONG_PSEUDOPRIMES = [3215031751, 341550071728321, 3825123056546413051, 318665857834031151167461]
CARMICHAEL = [561, 41041, 825265, 321197185, 5394826801, 232250619601, 9746347772161]


@pytest.fixture(params=["gmpy2", "python"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "gmpy2":
        pytest.importorskip("gmpy2")
    else:
        monkeypatch.setattr(integers, "gmpy2", None)


def naive_is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


@pytest.mark.usefixtures("library")
def test_small_numbers_are_judged_rightly() -> None:
    for n in range(-3, 5000):
        assert is_prime(n) == naive_is_prime(n), n
    for n in range(2039**2 - 3, 2053**2 + 3, 2):  # around where trial division stops being a proof
        if n % 997 < 9:
            assert is_prime(n) == naive_is_prime(n), n


@pytest.mark.usefixtures("library")
def test_known_primes() -> None:
    known = [2**61 - 1, 2**64 - 59, 2**89 - 1, 2**127 - 1, 2**255 - 19, 2**521 - 1]
    assert all(map(is_prime, known))


@pytest.mark.usefixtures("library")
def test_composites_made_to_fool_a_test() -> None:
    fermat = [2**32 + 1, 2**64 + 1, 2**128 + 1]
    mersenne = [2**67 - 1, 2**257 - 1]
    squares = [2053**2, (2**61 - 1) ** 2, (2**127 - 1) ** 2]
    products = [(2**61 - 1) * (2**89 - 1), 2053 * 2063, 2053 * (2**127 - 1)]
    for n in [*STRONG_PSEUDOPRIMES, *CARMICHAEL, *fermat, *mersenne, *squares, *products]:
        assert not is_prime(n), n


def test_small_factor_is_the_smallest() -> None:
    assert small_factor(1, 100) is None
    assert small_factor(2, 2) == 2
    assert small_factor(7, 7) == 7
    assert small_factor(7, 6) is None
    assert small_factor(15 * (2**127 - 1), 100) == 3
    assert small_factor(101 * 103, 100) is None
    assert small_factor(101 * 103, 101) == 101
    assert small_factor(65537 * (2**521 - 1), 1 << 17) == 65537
    for n in range(1, 400):
        for bound in (2, 3, 10, 19):
            divisors = [d for d in range(2, bound + 1) if n % d == 0]
            assert small_factor(n, bound) == (divisors[0] if divisors else None)


@pytest.mark.parametrize(("n", "bound"), [(0, 10), (-5, 10), (5, 1), (5, -1), (5, 2**27)])
def test_small_factor_refuses_other_ranges(n: int, bound: int) -> None:
    with pytest.raises(ParameterError):
        small_factor(n, bound)


def check_pair(p: int, q: int, key_bits: int) -> None:
    half = key_bits // 2
    assert is_prime(p)
    assert is_prime(q)
    assert p % 4 == q % 4 == 3
    assert p.bit_length() == q.bit_length() == half
    assert (p * q).bit_length() == key_bits
    assert math.gcd(p - 1, q - 1) == 2
    assert math.gcd(p * q, (p - 1) * (q - 1)) == 1  # what Paillier's scheme rests on
    assert abs(p - q) > minimum_distance(half)


@pytest.mark.parametrize("key_bits", [*range(16, 66, 2), 100, 256, 502])
def test_pairs_are_what_a_key_needs(key_bits: int) -> None:
    for _ in range(5):
        check_pair(*random_blum_primes(key_bits), key_bits)


def test_a_real_size() -> None:
    p, q = random_blum_primes(2048)
    check_pair(p, q, 2048)
    assert abs(p - q) > 2 ** (1024 - 100)


def test_a_pair_without_gmpy2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "gmpy2", None)
    check_pair(*random_blum_primes(512), 512)


def test_every_admissible_pair_of_the_smallest_size_is_drawn() -> None:
    """No prime is out of reach, and no p without a partner is waited for (211 has none)."""
    primes = [p for p in range(182, 256) if p % 4 == 3 and naive_is_prime(p)]
    admissible = {
        (p, q) for p in primes for q in primes if abs(p - q) > minimum_distance(8) and math.gcd(p - 1, q - 1) == 2
    }
    assert admissible
    assert not any(211 in pair for pair in admissible)
    assert {random_blum_primes(16) for _ in range(1500)} == admissible


def test_candidates_are_uniform_over_their_whole_range() -> None:
    every = {x for x in range(182, 256) if x % 4 == 3}  # 182 = ceil(2**7.5)
    draws = list(itertools.islice(_candidates(8), 3600))
    assert set(draws) == every
    # 18 classes, mean 200, standard deviation 13.7: eight of them either way
    assert all(90 < draws.count(x) < 310 for x in every)


def test_rounds_follow_the_bound_for_random_candidates() -> None:
    assert (_rounds_for_random(512), _rounds_for_random(1024), _rounds_for_random(1536)) == (6, 6, 4)


@pytest.mark.parametrize("key_bits", [-2, 0, 2, 14, 15, 17, 2049])
def test_other_sizes_are_refused(key_bits: int) -> None:
    with pytest.raises(ParameterError):
        random_blum_primes(key_bits)
