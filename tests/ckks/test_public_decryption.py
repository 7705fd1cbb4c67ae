"""Publication: how many bits survive, what is added, and how many queries a key answers."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.ckks import public_decryption
from hecore.ckks.keys import Keys, generate_keys
from hecore.ckks.params import Parameters
from hecore.ckks.public_decryption import (
    QueryBudget,
    gaussian,
    rounded_sum,
    standard_deviation,
    surviving_bits,
)
from hecore.errors import (
    KeyMismatchError,
    OperandTypeError,
    ParameterError,
    PrecisionError,
    QueryBudgetError,
)


def make_keys() -> Keys:
    return generate_keys(Parameters.insecure(ring_degree=128, moduli_bits=[60, 60, 60, 60], scale=2**80))


@pytest.fixture(scope="module")
def keys() -> Keys:
    return make_keys()


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(4).uniform(-1, 1, shape)


def bits_left(tensor: Any, **options: int) -> int:
    noise = tensor.ciphertext.noise / float(tensor.scale)
    return surviving_bits(noise, tensor.size * (2 if tensor.dtype.kind == "c" else 1), **options)


# -- results ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (10,), (3, 50)])
def test_published_results_are_right_to_the_last_bit(shape: tuple[int, ...]) -> None:
    keys = make_keys()
    values = numbers(*shape)
    tensor = keys.public_key.encrypt(values, bound=1.0)
    bits = bits_left(tensor)
    assert bits > 35
    out = keys.secret_key.decrypt_public(tensor, bits)
    assert out.shape == shape
    assert out.dtype == np.float64
    assert np.abs(out - values).max() <= 2.0**-bits
    assert np.array_equal(np.ldexp(out, bits), np.rint(np.ldexp(out, bits)))


def test_complex_results() -> None:
    keys = make_keys()
    values = numbers(2, 70) + 1j * numbers(2, 70)[::-1]
    tensor = keys.secret_key.encrypt(values, bound=2.0)
    bits = bits_left(tensor)
    out = keys.secret_key.decrypt_public(tensor, bits)
    assert out.dtype == np.complex128
    assert np.abs(out.real - values.real).max() <= 2.0**-bits
    assert np.abs(out.imag - values.imag).max() <= 2.0**-bits


def test_a_circuit() -> None:
    keys = make_keys()
    a, b = numbers(20), numbers(20)[::-1]
    x = keys.public_key.encrypt(a, bound=1.0, scale=2**60)
    result = x * keys.public_key.encrypt(b, bound=1.0, scale=2**60) + x
    bits = bits_left(result)
    out = keys.secret_key.decrypt_public(result, bits)
    assert np.abs(out - (a * b + a)).max() <= 2.0**-bits


def test_fewer_bits_and_whole_numbers() -> None:
    keys = make_keys()
    values = np.array([3.0, -7.0, 100.0, 0.25])
    tensor = keys.public_key.encrypt(values, bound=128.0)
    assert np.abs(keys.secret_key.decrypt_public(tensor, 0, queries=2) - values).max() <= 1
    assert np.abs(keys.secret_key.decrypt_public(tensor, -2, queries=2) - values).max() <= 4


def test_noise_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Gaussian has the deviation of the formula and reaches every number."""
    keys = make_keys()
    tensor = keys.public_key.encrypt(numbers(30), bound=1.0)
    drawn: list[np.ndarray[Any, Any]] = []

    def recorded(values: Any, noise: Any, rest: Any, bits: int) -> Any:
        drawn.append(noise)
        return rounded_sum(values, noise, rest, bits)

    monkeypatch.setattr(public_decryption, "rounded_sum", recorded)
    for _ in range(100):
        keys.secret_key.decrypt_public(tensor, 10, queries=100)
    noise = np.array(drawn)
    assert noise.shape == (100, 30)
    unit = tensor.ciphertext.noise / float(tensor.scale)
    sigma = math.sqrt(12 * 100 * 30) * 2**20 * unit
    assert noise.std() == pytest.approx(sigma, rel=0.05)
    assert len(np.unique(noise)) == noise.size


# -- how much survives -----------------------------------------------------------------------------------------


def test_the_formula() -> None:
    assert standard_deviation(3.0, 1, 40, 1) == pytest.approx(math.sqrt(12) * 2**20 * 3)
    assert standard_deviation(1.0, 4, 40, 9) == pytest.approx(math.sqrt(12 * 9 * 4) * 2**20)
    assert standard_deviation(1.0, 1, 60, 1) == pytest.approx(math.sqrt(12) * 2**30)


def test_each_demand_costs_what_it_should() -> None:
    base = surviving_bits(2.0**-60, 1)
    assert base == 60 - 20 - 1 - math.ceil(math.log2(math.sqrt(12) * math.sqrt(2 * 41 * math.log(2))))
    assert surviving_bits(2.0**-60, 1, statistical_security=60) == base - 10
    assert surviving_bits(2.0**-60, 1, queries=1 << 10) == base - 5
    assert surviving_bits(2.0**-70, 1) == base + 10
    assert base - 8 <= surviving_bits(2.0**-60, 1 << 12) <= base - 6


def test_at_scale_2_40_little_survives(keys: Keys) -> None:
    """The page in docs says so: larger scales are the answer."""
    small = keys.public_key.encrypt(numbers(64), bound=1.0, scale=2**40)
    assert bits_left(small) < 2
    with pytest.raises(PrecisionError, match="40 bits of statistical security for 1 queries of 64 numbers leave"):
        keys.secret_key.decrypt_public(small, 10)
    assert bits_left(keys.public_key.encrypt(numbers(64), bound=1.0)) == bits_left(small) + 40
    assert keys.secret_key.query_budget.count == 0


def test_the_message_names_what_would_do(keys: Keys) -> None:
    tensor = keys.public_key.encrypt(numbers(64), bound=1.0)
    left = bits_left(tensor)
    with pytest.raises(PrecisionError, match=rf"leave {left} at a scale of 2\^80; a scale about 2\^5 times"):
        keys.secret_key.decrypt_public(tensor, left + 5)


def test_without_a_declared_bound_nothing_is_published(keys: Keys) -> None:
    with pytest.raises(PrecisionError, match="declare bound"):
        keys.secret_key.decrypt_public(keys.public_key.encrypt(numbers(4)), 0)


# -- queries ---------------------------------------------------------------------------------------------------


def test_a_key_answers_as_many_queries_as_were_declared() -> None:
    keys = make_keys()
    tensor = keys.public_key.encrypt(numbers(4), bound=1.0)
    for _ in range(3):
        keys.secret_key.decrypt_public(tensor, 5, queries=3)
    with pytest.raises(QueryBudgetError, match="after 3 public decryptions"):
        keys.secret_key.decrypt_public(tensor, 5, queries=3)
    assert keys.secret_key.query_budget.count == 3
    assert np.abs(keys.secret_key.decrypt(tensor) - numbers(4)).max() < 1e-9  # its owner still reads everything


def test_another_view_of_the_key_counts_along() -> None:
    keys = make_keys()
    tensor = keys.public_key.encrypt(numbers(4), bound=1.0)
    keys.secret_key.with_evaluation_keys(keys.evaluation_keys).decrypt_public(tensor, 5)
    with pytest.raises(QueryBudgetError):
        keys.secret_key.decrypt_public(tensor, 5)


def test_budgets_add_up_over_different_promises() -> None:
    budget = QueryBudget()
    budget.spend(40, 8)  # costs 2^-43 of what may be 2^-40
    budget.spend(41, 2)  # costs 2^-42, and now all may cost 2^-41
    for promise in ((40, 1), (41, 1), (42, 4)):  # too dear, too dear, and 42 bits are gone
        with pytest.raises(QueryBudgetError):
            budget.spend(*promise)
    budget.spend(41, 4)
    assert budget.count == 3


def test_budget_mixtures() -> None:
    budget = QueryBudget()
    for _ in range(500):
        budget.spend(40, 1000)
    budget.spend(40, 4)
    budget.spend(40, 4)
    with pytest.raises(QueryBudgetError):
        budget.spend(40, 10**9)
    assert budget.count == 502


def test_a_refused_query_costs_nothing() -> None:
    budget = QueryBudget()
    budget.spend(40, 2)
    for _ in range(5):
        with pytest.raises(QueryBudgetError):
            budget.spend(40, 1)
    budget.spend(40, 2)
    assert budget.count == 2


def test_threads_share_one_budget() -> None:
    budget = QueryBudget()

    def ask(_: int) -> bool:
        try:
            budget.spend(40, 50)
        except QueryBudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(400))) == 50


@pytest.mark.parametrize(
    "options", [{"statistical_security": 29}, {"queries": 0}, {"queries": -1}, {"queries": (1 << 40) + 1}]
)
def test_options_out_of_range(keys: Keys, options: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        keys.secret_key.decrypt_public(keys.public_key.encrypt(numbers(4), bound=1.0), 5, **options)


def test_wrong_operands(keys: Keys) -> None:
    tensor = keys.public_key.encrypt(numbers(4), bound=1.0)
    with pytest.raises(OperandTypeError, match="ndarray"):
        keys.secret_key.decrypt_public(numbers(4), 5)  # type: ignore[arg-type]
    other = make_keys()
    with pytest.raises(KeyMismatchError):
        other.secret_key.decrypt_public(tensor, 5)
    assert other.secret_key.query_budget.count == 0


@pytest.mark.parametrize(
    "options", [{"bits": 5.5}, {"bits": "5"}, {"bits": 5, "statistical_security": 40.0}, {"bits": 5, "queries": 2.5}]
)
def test_options_of_wrong_types(options: dict[str, Any]) -> None:
    keys = make_keys()
    tensor = keys.public_key.encrypt(numbers(4), bound=1.0)
    with pytest.raises(OperandTypeError, match="whole numbers"):
        keys.secret_key.decrypt_public(tensor, **options)
    with pytest.raises(ParameterError, match="from 30 to 256"):
        keys.secret_key.decrypt_public(tensor, 5, statistical_security=5000)
    assert keys.secret_key.query_budget.count == 0


# -- arithmetic ------------------------------------------------------------------------------------------------

floats = st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-30 else 0.0)


@settings(max_examples=300)
@given(floats, floats, st.floats(-(2.0**-40), 2.0**-40), st.integers(-3, 30))
def test_sums_are_rounded_exactly(value: float, noise: float, rest: float, bits: int) -> None:
    rest = rest * abs(value) * 2.0**-53
    out = rounded_sum(np.array([value]), np.array([noise]), np.array([rest]), bits)[0]
    exact = Fraction(value) + Fraction(noise) + Fraction(rest)
    distance = abs(Fraction(out) - exact) * Fraction(2) ** bits
    assert distance <= Fraction(1, 2) + Fraction(1, 1 << 50)
    assert (Fraction(out) * Fraction(2) ** bits).denominator == 1


def test_rest_decides_a_tie() -> None:
    half = np.array([0.5, 0.5, 2.5, 2.5])
    rest = np.array([1e-20, -1e-20, 1e-20, -1e-20])
    assert rounded_sum(half, np.zeros(4), rest, 0).tolist() == [1.0, 0.0, 3.0, 2.0]


def test_gaussians() -> None:
    sample = gaussian((400, 500))
    n = sample.size
    assert abs(sample.mean()) < 6 / math.sqrt(n)
    assert abs(sample.var() - 1) < 6 * math.sqrt(2 / n)
    assert abs((sample**4).mean() - 3) < 6 * math.sqrt(96 / n)
    for level, share in ((1.0, 0.317311), (2.0, 0.045500), (3.0, 0.0026998)):
        found = (np.abs(sample) > level).mean()
        assert abs(found - share) < 6 * math.sqrt(share / n)
    assert abs((sample[:, 1:] * sample[:, :-1]).mean()) < 6 / math.sqrt(n)
    assert np.isfinite(sample).all()
