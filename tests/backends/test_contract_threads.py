"""Contract suite: several Python threads at once, and a forked child. Frameworks do both."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hecore.arith.integers import powmod
from hecore.arith.limbs import ints_from_limbs
from hecore.arith.modulus import Modulus
from hecore.errors import DeviceLostError

if TYPE_CHECKING:
    from tests.backends.conftest import Lab

MODULUS = Modulus(2**521 - 1)


def powers_are_right(lab: Lab, seed: int) -> bool:
    x, e = lab.values(MODULUS, 40, f"thread {seed}"), lab.exponents(70, 40)
    result = lab.backend.mod_exp(lab.up(x, MODULUS), lab.own(e, 70))
    return lab.down(result) == [powmod(i, j, MODULUS.value) for i, j in zip(x, e, strict=True)]


def test_threads_do_not_disturb_each_other(lab: Lab) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda seed: powers_are_right(lab, seed), range(12)))


WRONG, LOST = 2, 3  # what a child exits with


# Python 3.12 warns of any fork with threads about; surviving one is what is tested.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_works_and_draws_its_own_randomness_or_says_that_it_cannot(lab: Lab) -> None:
    """No driver of a card or of OpenCL survives a fork: there the child gets a typed error, and the parent goes on."""
    assert powers_are_right(lab, 100)  # whatever is started lazily is running before the fork
    before = lab.up(lab.values(MODULUS, 9), MODULUS)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs dies, and the test fails
        code = 1
        try:
            right = powers_are_right(lab, 101) and lab.down(before) == lab.values(MODULUS, 9)
            os.write(writing, lab.backend.random_exponents((4,), 256).limbs.tobytes())
            code = 0 if right else WRONG
        except DeviceLostError:
            code = LOST
        finally:
            os._exit(code)  # never back into pytest
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        childs = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (LOST if lab.backend.name in ("cuda", "opencl") else 0)
    own = lab.backend.random_exponents((4,), 256).limbs
    assert len(childs) in (0, own.nbytes)
    assert not set(ints_from_limbs(own)) & {
        int.from_bytes(childs[i : i + 32], "little") for i in range(0, len(childs), 32)
    }
    assert powers_are_right(lab, 102)  # and the parent goes on
    assert lab.down(before) == lab.values(MODULUS, 9)
