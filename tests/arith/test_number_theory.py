"""Jacobi symbols, roots and perfect powers, with GMP and without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hecore.arith import number_theory
from hecore.arith.number_theory import integer_root, is_perfect_power, jacobi
from hecore.errors import ParameterError

ODD_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23)


@pytest.fixture(params=["gmpy2", "python"])
def _arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(number_theory, "gmpy2", None)


def legendre(a: int, p: int) -> int:
    """Euler's criterion."""
    power = pow(a, (p - 1) // 2, p)
    return power if power < 2 else -1


@pytest.mark.usefixtures("_arithmetic")
def test_jacobi_is_the_product_of_legendre_symbols() -> None:
    for p in ODD_PRIMES:
        for q in ODD_PRIMES:
            for a in range(-p * q, p * q):
                assert jacobi(a, p * q) == legendre(a, p) * legendre(a, q)


def test_jacobi_agrees_with_gmp_on_large_numbers() -> None:
    gmpy2 = pytest.importorskip("gmpy2")

    @given(st.integers(0, 2**300), st.integers(0, 2**300))
    def check(a: int, half: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(number_theory, "gmpy2", None)
            assert jacobi(a, 2 * half + 1) == gmpy2.jacobi(a, 2 * half + 1)

    check()


@pytest.mark.parametrize("n", [0, -3, 2, 10])
def test_jacobi_refuses_what_is_not_odd_and_positive(n: int) -> None:
    with pytest.raises(ParameterError, match="Jacobi"):
        jacobi(1, n)


@pytest.mark.usefixtures("_arithmetic")
def test_perfect_powers_below_a_thousand() -> None:
    powers = {1} | {a**b for a in range(2, 32) for b in range(2, 11)}
    assert [n for n in range(1, 1001) if is_perfect_power(n)] == sorted(n for n in powers if n <= 1000)


@pytest.mark.usefixtures("_arithmetic")
@pytest.mark.parametrize("degree", [2, 3, 5, 7, 64])
def test_large_perfect_powers(degree: int) -> None:
    base = 2**61 - 1
    assert is_perfect_power(base**degree)
    assert not is_perfect_power(base**degree + 2)


@given(st.integers(1, 2**400), st.integers(1, 40))
def test_integer_root_is_the_floor(n: int, degree: int) -> None:
    root = integer_root(n, degree)
    assert root**degree <= n < (root + 1) ** degree


def test_powers_and_roots_refuse_integers_below_one() -> None:
    with pytest.raises(ParameterError):
        is_perfect_power(0)
    with pytest.raises(ParameterError):
        integer_root(0, 2)
    with pytest.raises(ParameterError):
        integer_root(8, 0)
