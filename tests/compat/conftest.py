"""Keys and the two ways in which `hecore.compat.phe` computes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

import hecore
from hecore.compat.phe import InsecureWarning, PaillierPrivateKey, PaillierPublicKey, _engine, generate_paillier_keypair

if TYPE_CHECKING:
    from collections.abc import Iterator

INSECURE_BITS = 256


@pytest.fixture(scope="session")
def keys() -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    return quiet_keypair(INSECURE_BITS)


@pytest.fixture(scope="session")
def other_keys() -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    return quiet_keypair(INSECURE_BITS)


def quiet_keypair(bits: int) -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureWarning)
        return generate_paillier_keypair(n_length=bits)


@pytest.fixture(params=["integers", "reference", "cpu"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Keys made in the test compute on integers, or on that backend from the first call on, whatever their size."""
    if request.param == "integers":
        monkeypatch.setattr(_engine, "BACKEND_BITS", 1 << 20)
        yield request.param
    else:
        monkeypatch.setattr(_engine, "BACKEND_BITS", 0)
        monkeypatch.setattr(_engine, "WARM_UP", 0)
        monkeypatch.setenv("HECORE_DEVICE", request.param)
        assert hecore.devices()
        yield request.param
        monkeypatch.undo()
