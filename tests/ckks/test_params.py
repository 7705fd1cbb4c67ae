"""Parameters: an unchecked literal in, a checked and immutable value out."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from hecore.arith.rns import ntt_primes
from hecore.ckks.params import Parameters
from hecore.ckks.scale import Scale
from hecore.ckks.security import SecurityTable
from hecore.errors import InsecureParametersError, LevelError, OperandTypeError, ParameterError, ScaleError

STANDARD: dict[str, Any] = {"ring_degree": 8192, "moduli_bits": [60, 40, 40, 60], "scale": 2**40}


def small(**changes: Any) -> Parameters:
    literal: dict[str, Any] = {"ring_degree": 64, "moduli_bits": [50, 40, 40, 50], "scale": 2**40}
    return Parameters.insecure(**literal | changes)


def test_what_is_derived() -> None:
    parameters = Parameters(**STANDARD)
    moduli = parameters.basis.moduli
    assert moduli == ntt_primes(8192, [60, 40, 40, 60])
    assert parameters.slots == 4096
    assert parameters.max_level == 2
    assert parameters.special is not None
    assert parameters.special.moduli == moduli[3:]
    assert parameters.level_basis(1).moduli == moduli[:2]
    assert parameters.key_basis(1).moduli == (*moduli[:2], moduli[3])
    assert parameters.key_positions(1) == [0, 1, 3]
    assert parameters.digits(2) == [(0, 1), (1, 2), (2, 3)]
    assert parameters.scale == Scale.of(2**40)
    assert parameters.security_bits == 128
    assert parameters.table is SecurityTable.GUIDELINES_2024
    assert parameters.secret_distribution == "uniform ternary"
    assert 3.19 <= parameters.error_deviation < 3.25


def test_hybrid_digits() -> None:
    parameters = small(moduli_bits=[40] * 7 + [50] * 2, special_count=2, digit_primes=2)
    assert parameters.max_level == 6
    assert parameters.digits(6) == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert parameters.digits(4) == [(0, 2), (2, 4), (4, 5)]
    assert parameters.digits(0) == [(0, 1)]
    assert len(parameters.key_basis(3)) == 6


def test_a_single_modulus_is_never_special() -> None:
    parameters = Parameters.insecure(ring_degree=64, moduli_bits=[50], scale=2**30)
    assert parameters.special is None
    assert parameters.max_level == 0
    assert parameters.key_basis(0) == parameters.level_basis(0)
    assert small(special_count=0).max_level == 3


def test_moduli_themselves() -> None:
    primes = ntt_primes(8192, [60, 40, 40, 60])
    assert Parameters(ring_degree=8192, moduli=primes, scale=2**40) == Parameters(**STANDARD)


@pytest.mark.parametrize(
    ("ring_degree", "bits", "level"),
    [
        (8192, [60, 40, 40, 60], 128),
        (8192, [57, 40, 40, 40], 128),
        (16384, [60] + [40] * 4, 256),
        (4096, [30, 20], 256),
    ],
)
def test_security_counts_every_modulus(ring_degree: int, bits: list[int], level: int) -> None:
    assert Parameters(ring_degree=ring_degree, moduli_bits=bits, scale=2**20).security_bits == level


def test_too_long_a_chain_is_refused_and_says_what_is_allowed() -> None:
    with pytest.raises(InsecureParametersError, match=r"at most 214 give 128 .*Parameters\.insecure"):
        Parameters(ring_degree=8192, moduli_bits=[60, 40, 60, 58], scale=2**40)
    with pytest.raises(InsecureParametersError, match="147 give 192"):
        Parameters(**STANDARD, security=192)
    with pytest.raises(ParameterError, match="80 bits of security"):
        Parameters(**STANDARD, security=80)
    assert Parameters.insecure(ring_degree=8192, moduli_bits=[60] * 5, scale=2**40).security_bits == 0


def test_the_table_of_2018_is_asked_for_by_name() -> None:
    chain: dict[str, Any] = {"ring_degree": 8192, "moduli_bits": [43, 43, 44, 44, 44], "scale": 2**40}
    with pytest.raises(InsecureParametersError, match="214"):
        Parameters(**chain)
    parameters = Parameters.with_2018_table(**chain)
    assert (parameters.security_bits, parameters.table) == (128, SecurityTable.STANDARD_2018)
    with pytest.raises(InsecureParametersError, match="218 .* 2018"):
        Parameters.with_2018_table(ring_degree=8192, moduli_bits=[60, 60, 60, 60], scale=2**40)


def test_sparse_secrets_have_no_level() -> None:
    parameters = Parameters.insecure(**STANDARD, secret_weight=64)
    assert parameters.security_bits == 0
    assert parameters.secret_distribution == "ternary of weight 64"
    assert parameters != Parameters(**STANDARD)
    assert "INSECURE" in repr(parameters)
    assert "128 bits" in repr(Parameters(**STANDARD))


@pytest.mark.parametrize(
    "changes",
    [
        {"ring_degree": 100},
        {"ring_degree": 8},
        {"ring_degree": 1 << 18},
        {"moduli_bits": []},
        {"moduli_bits": [61, 40]},
        {"moduli_bits": [5, 40]},
        {"moduli_bits": [40] * 257},
        {"moduli": [97]},
        {"moduli_bits": None},
        {"moduli_bits": None, "moduli": [2**40 + 1, 97]},
        {"special_count": 4},
        {"special_count": -1},
        {"digit_primes": 0},
        {"digit_primes": 2},
        {"scale": 2**131},
        {"scale": 0.25},
        {"secret_weight": 0},
        {"secret_weight": 65},
    ],
)
def test_bad_literals(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        small(**changes)


@pytest.mark.parametrize("changes", [{"ring_degree": 64.0}, {"moduli_bits": [50.0]}, {"special_count": "1"}])
def test_bad_types(changes: dict[str, Any]) -> None:
    with pytest.raises(OperandTypeError):
        small(**changes)


def test_bad_scales() -> None:
    with pytest.raises(ScaleError):
        small(scale=-1)


@pytest.mark.parametrize("level", [-1, 3])
def test_levels_out_of_range(level: int) -> None:
    for ask in (small().level_basis, small().key_basis, small().digits):
        with pytest.raises(LevelError, match="0 to 2"):
            ask(level)


def test_a_value_compared_hashed_and_pickled() -> None:
    parameters = small()
    again = pickle.loads(pickle.dumps(parameters))
    assert again == parameters
    assert hash(again) == hash(parameters)
    assert again.fingerprint == parameters.fingerprint
    different = [
        small(ring_degree=128),
        small(moduli_bits=[50, 40, 40, 40]),
        small(scale=2**39),
        small(special_count=2),
        small(special_count=2, digit_primes=2),
        small(secret_weight=3),
    ]
    prints = {p.fingerprint for p in [parameters, *different]}
    assert len(prints) == len(different) + 1
    assert len({parameters, *different}) == len(different) + 1
    assert all(len(p) == 16 for p in prints)
    assert parameters != "parameters"


def test_immutable() -> None:
    parameters = small()
    with pytest.raises(AttributeError):
        parameters.scale = Scale.of(2)
    with pytest.raises(AttributeError):
        del parameters.scale
    assert parameters.scale == Scale.of(2**40)
