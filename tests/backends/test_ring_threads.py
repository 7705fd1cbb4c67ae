"""Ring contract: several Python threads at once, several threads within, and a forked child."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.backends.cpu import CpuBackend
from hecore.backends.reference import ReferenceBackend
from hecore.errors import DeviceLostError
from tests.backends.conftest import NAMES
from tests.backends.ring_lab import RingLab, basis_named

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend, Words

DIGITS = [(0, 1), (1, 3)]


def work(backend: Backend, seed: int) -> Words:
    """A bit of everything, at a size whose memory is used again."""
    basis = basis_named("60+40+50-", 256)
    special, lab = basis_named("59", 256), RingLab(backend)
    x = lab.up(lab.words(basis, (3, 2), f"thread {seed}"), basis)
    d = backend.decompose(backend.tensor_product(x, x), DIGITS, special)
    total = backend.divide_round(backend.residue_mul_accumulate(d, d), 2)
    magnitudes, negative = backend.ring_decode(backend.automorphism(total, 5))
    return magnitudes * np.where(negative, np.uint64(3), np.uint64(1))[..., None]


@cache
def expected(seed: int) -> Words:
    return work(ReferenceBackend(), seed)


@pytest.mark.skipif("cpu" not in NAMES, reason="of the CPU alone")
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_any_number_of_threads(threads: int) -> None:
    assert np.array_equal(work(CpuBackend(threads), 0), expected(0))


def test_threads_do_not_disturb_each_other(backend: Backend) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: work(backend, seed % 3), range(12)))
    assert all(np.array_equal(result, expected(i % 3)) for i, result in enumerate(results))


WRONG, LOST = 2, 3  # what a child exits with


# Python 3.12 warns of any fork with threads about; surviving one is what is tested.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_works_or_says_that_it_cannot(backend: Backend) -> None:
    """No driver of a card or of OpenCL survives a fork: there the child gets a typed error, and the parent goes on."""
    right = expected(0)
    assert np.array_equal(work(backend, 0), right)  # whatever is started lazily is running before the fork
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs dies, and the test fails
        code = 1
        try:
            code = 0 if np.array_equal(work(backend, 0), right) else WRONG
        except DeviceLostError:
            code = LOST
        finally:
            os._exit(code)  # never back into pytest
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (LOST if backend.name in ("cuda", "opencl") else 0)
    assert np.array_equal(work(backend, 0), right)  # and the parent goes on
