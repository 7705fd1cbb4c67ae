"""Homomorphic operations are counted where they happen, for the context that asked."""

from __future__ import annotations

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.counting import count, operation_counter


@pytest.fixture(scope="module")
def keys() -> ckks.Keys:
    with hecore.use("reference"):
        parameters = ckks.Parameters.insecure(ring_degree=32, moduli_bits=[50, 30, 30, 50], scale=2**30)
        return ckks.generate_keys(parameters, galois="power-of-two")


def test_ckks_counts_ciphertexts(keys: ckks.Keys) -> None:
    """Forty values in sixteen slots are three ciphertexts."""
    with hecore.use("reference"), operation_counter() as counts:
        x = keys.public_key.encrypt(np.linspace(-1, 1, 40))
        assert counts == {"encrypt": 3}
        y = x * x  # relinearised, rescaled
        assert counts == {"encrypt": 3, "multiply": 3, "key_switch": 3, "rescale": 3}
        z = y + y
        keys.secret_key.decrypt(z)
    assert counts == {"encrypt": 3, "multiply": 3, "key_switch": 3, "rescale": 3, "add": 3, "decrypt": 3}


def test_plain_operands(keys: ckks.Keys) -> None:
    with hecore.use("reference"):
        x = keys.public_key.encrypt(np.linspace(-1, 1, 16))
        with operation_counter() as counts:
            x * 2
        assert counts == {"multiply_plain": 1}
        with operation_counter() as counts:
            x * np.linspace(0, 1, 16)
        assert counts == {"multiply_plain": 1, "rescale": 1}


def test_nobody_counts_outside_and_counters_do_not_nest() -> None:
    count("add", 1)
    with operation_counter() as outer:
        count("add", 1)
        with operation_counter() as inner:
            count("add", 5)
    assert outer == {"add": 1}
    assert inner == {"add": 5}
