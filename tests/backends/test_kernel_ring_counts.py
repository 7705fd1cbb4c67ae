"""What is said of passes over memory, held against the kernels that a product of ciphertexts launches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.backends.kernel_plan import plan
from hecore.backends.kernel_ring_counts import butterflies, multiplication, total_bytes, transform_bytes
from hecore.ckks import evaluator
from tests.backends.host_device import HostBackend
from tests.kernels.device.host import COMPILER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hecore.backends.device import Argument

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs g++")


class CountingBackend(HostBackend):
    """Counts residue polynomials, or tiles that make one, of each kernel. Many threads: no block takes two."""

    def __init__(self) -> None:
        super().__init__(64)
        self.host.facts = replace(self.host.facts, parallel=1 << 30)
        self.rows: Counter[str] = Counter()

    def _launch(
        self, program: str, kernel: str, defines: Mapping[str, int], threads: int, *arguments: Argument
    ) -> None:
        if program == "ring":
            self.rows[kernel] += int(arguments[-1])  # type: ignore[arg-type]
        elif "TILE_LOG" in defines:
            self.rows[kernel] += (threads // defines["BLOCK"]) >> (defines["DEGREE_LOG"] - defines["TILE_LOG"])
        super()._launch(program, kernel, defines, threads, *arguments)


@pytest.mark.parametrize("log", [7, pytest.param(12, marks=pytest.mark.slow), 13])
def test_the_passes_of_a_product(log: int) -> None:
    degree, primes, batch = 1 << log, 3, 2
    backend = CountingBackend()
    facts = backend.host.facts
    with hecore.use(backend):
        parameters = ckks.Parameters.insecure(ring_degree=degree, moduli_bits=[60, 40, 40, 60], scale=2**40)
        keys = ckks.generate_keys(parameters)
        values = np.linspace(-1, 1, batch * degree // 2).reshape(batch, -1)
        tensor = keys.public_key.encrypt(values, bound=1.0)
        x = tensor.ciphertext
        assert (x.size, x.level, parameters.digits(x.level)) == (batch, primes - 1, [(0, 1), (1, 2), (2, 3)])
        np.testing.assert_allclose(keys.secret_key.decrypt(tensor * tensor), values**2, atol=1e-4)
        backend.rows.clear()
        evaluator.multiply_rescale(x, x)
    counted: Counter[str] = Counter()
    for each in multiplication(facts, degree, primes, 1, 1, batch):
        counted[each.kernel] += each.rows * batch
    del counted["added"]  # words of another pass
    if plan(facts, degree, sums=True).two_passes:
        counted["raise"] += primes * batch  # a digit's own rows are launched, and left alone
    assert backend.rows == counted


def test_a_table_of_bytes() -> None:
    """The sums by hand: 3 primes and a special one, one pass and two."""
    facts = HostBackend(64).host.facts
    words = {
        # product, copies; back; raised; sums with the key for one; back and what is added; quotients
        1 << 10: 21 + 18 + 6 + 0 + (3 + 9 + 24 + 8) + (8 + 2) + 4 * 5,
        1 << 14: 21 + 18 + 12 + 18 + (3 + 9 + 24 + 8) + (16 + 2) + 4 * 3 + 4 * 4,
    }
    for degree, expected in words.items():
        assert total_bytes(multiplication(facts, degree, 3, 1, 1), degree) == pytest.approx(8 * degree * expected)
    assert transform_bytes(facts, 1 << 12) == 16 << 12
    assert transform_bytes(facts, 1 << 16) == 32 << 16
    assert butterflies(16) == 32
