"""Both schemes end to end on each device of this machine, beside the CPU.

HECORE_TEST_DEVICE=name runs these tests on that device alone, where one that cannot be used is an error and no reason
to skip. Without it, a device that is not there is skipped, and the reason says what is missing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import hecore
from hecore.backends import registry
from hecore.errors import BackendUnavailableError
from hecore.paillier import PublicKey, SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = os.environ.get("HECORE_TEST_DEVICE", "")
NAMES = [WANTED] if WANTED else [info.name for info in hecore.devices() if info.name != "reference"]


@pytest.fixture(scope="session", params=NAMES)
def started(request: pytest.FixtureRequest) -> str:
    """The name of a device that runs here."""
    try:
        registry.get(request.param)
    except BackendUnavailableError as error:
        if WANTED:
            raise
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def device(started: str) -> Iterator[str]:
    """Its name; new arrays go there."""
    with hecore.use(started):
        yield started


@pytest.fixture(scope="session")
def textbook_keys(insecure_keys: tuple[PublicKey, SecretKey]) -> tuple[PublicKey, SecretKey]:
    """The same modulus as a peer would send it, without h: encryption then is r**n."""
    public_key = PublicKey.insecure(insecure_keys[0].n)
    crt = insecure_keys[1].crt
    return public_key, SecretKey(public_key, crt.p, crt.q)
