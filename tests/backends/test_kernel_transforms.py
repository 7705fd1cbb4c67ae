"""Transforms and key switching as cards run them, on warps in lockstep: their tiles, blocks, passes and word sizes.

A processor runs one thread a block, so that PoCL sees neither their shares of a tile nor the barriers between them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.backends.kernel_plan import plan
from hecore.backends.reference import ReferenceBackend
from tests.backends.host_device import HostBackend
from tests.backends.ring_lab import RingLab, basis_named, column, switched
from tests.kernels.device.host import COMPILER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hecore.backends.ring_protocol import Backend, Words

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs g++")
ONE_PASS, TWO_PASSES = (4, 5, 7, 10, 12), (13, 16)
SELDOM = (6, 8, 9, 11, 14, 15, 17)  # what is new of them is where stages are cut
MANY = 11  # polynomials: more than a block takes


@pytest.fixture(scope="module")
def made() -> HostBackend:
    return HostBackend(64)


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def backend(made: HostBackend, request: pytest.FixtureRequest) -> Iterator[HostBackend]:
    """Threads of a block run in turns, the first or the last of them first."""
    made.host.backwards = request.param
    yield made
    made.host.backwards = False


def logs() -> list[object]:
    return [*ONE_PASS, *TWO_PASSES, *(pytest.param(log, marks=pytest.mark.slow) for log in SELDOM)]


@pytest.mark.parametrize("log", logs())
def test_transforms(backend: HostBackend, log: int) -> None:
    """Narrow primes beside wide ones; the largest residues, where lazy sums are largest."""
    basis, size = basis_named("29-+61-+20+50" if log <= 13 else "29-+61-", 1 << log), MANY if log <= 10 else 3
    lab, reference = RingLab(backend), ReferenceBackend()
    words = lab.words(basis, (size,))
    words[1] = (column(basis) - 1).astype(np.uint64)
    words[2] = np.where(np.arange(1 << log) % 2, words[1], 0)
    assert plan(backend.host.facts, 1 << log).two_passes == (log in TWO_PASSES or log > 12)
    expected = reference.ring_download(reference.ntt(reference.ring_upload(words, basis, ntt=False)))
    lab.same(backend.ntt(lab.up(words, basis, ntt=False)), expected, basis, (size,), ntt=True)
    lab.same(backend.intt(lab.up(expected, basis)), words, basis, (size,), ntt=False)


CHAINS = {  # primes, special primes, digits
    "gadget": ("60+29-+45", "61-", [(0, 1), (1, 2), (2, 3)]),
    "hybrid": ("60+29-+61-+45", "59+28", [(0, 2), (2, 4)]),
    "long": ("+".join(["29-"] * 18 + ["61-"] * 18), "60", [(i, i + 1) for i in range(36)]),  # beyond what a sum holds
    "uneven": ("60+40+29-+61-", "59", [(0, 1), (1, 3), (3, 4)]),
}
OFTEN = {
    (5, "gadget"),
    (5, "hybrid"),
    (5, "long"),
    (10, "gadget"),
    (10, "uneven"),
    (12, "hybrid"),
    (13, "gadget"),
    (13, "hybrid"),
}


def chains() -> list[object]:
    return [
        pytest.param(log, chain, marks=() if (log, chain) in OFTEN else pytest.mark.slow)
        for log in (5, 10, 12, 13, 14)
        for chain in CHAINS
        if chain != "long" or log == 5
    ]


def changed(backend: Backend, log: int, chain: str) -> list[Words]:
    basis, special, digits = CHAINS[chain]
    size = MANY if log < 10 and chain != "long" else 1
    return switched(backend, basis_named(basis, 1 << log), basis_named(special, 1 << log), digits, size)


@cache
def expected_of(log: int, chain: str) -> list[Words]:
    return changed(ReferenceBackend(), log, chain)


@pytest.mark.parametrize(("log", "chain"), chains())
def test_changes_of_basis(backend: HostBackend, log: int, chain: str) -> None:
    for mine, theirs in zip(changed(backend, log, chain), expected_of(log, chain), strict=True):
        assert np.array_equal(mine, theirs)
