"""What modular arithmetic costs: what kernels execute (`backends.kernel_counts`), and what 32-bit digits would need.

The second, called useful, is the yardstick between kernels: operand scanning with full 32-bit digits modulo the whole
modulus, 2 L^2 multiply-adds with L its words for a product, squares too, for as many products as the kernels make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hecore.backends import kernel_counts
from hecore.backends.kernel_counts import ResidueCounts
from hecore.backends.kernel_integers import power_window, table_window
from hecore.backends.kernel_multi import WINDOWS, pippenger_cost
from hecore.bench.gpu_results import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.kernel_shapes import Geometry


@dataclass(frozen=True)
class ModularWork:
    """Of one residue modulo one modulus, on a device with these shapes."""

    counts: ResidueCounts

    @classmethod
    def of(cls, modulus: Modulus, shapes: Sequence[Geometry]) -> ModularWork:
        return cls(ResidueCounts.of(modulus, shapes))

    @property
    def schoolbook(self) -> int:
        return 2 * (-(-self.counts.bits // 32)) ** 2

    @property
    def product(self) -> Work:
        return Work(self.counts.product, self.schoolbook)

    @property
    def squaring(self) -> Work:
        return Work(self.counts.squaring, self.schoolbook)

    def power(self, bits: int) -> Work:
        """Constant time, by an exponent below 2**bits."""
        window = power_window(self.counts, bits, whole=True)
        windows = -(-bits // window)
        products = (1 << window) - 2 + (windows - 1) * (window + 1)
        return Work(self.counts.power(bits), products * self.schoolbook)

    def fixed_base(self, bits: int) -> Work:
        """By the largest table that the backend makes."""
        windows = -(-bits // table_window(self.counts, bits, None))
        return Work(self.counts.fixed_base(bits), (windows - 1) * self.schoolbook)

    def multi_exp(self, outputs: int, terms: int, bits: int) -> Work:
        """Of a term of `outputs` signed sums of `terms` each, by buckets.

        For each window of an output a product a term; three a bucket, of two signs; squarings and products to join.
        """
        window = min(WINDOWS, key=lambda c: pippenger_cost(outputs, terms, bits, c, signed=True))
        rows = outputs * -(-bits // window)
        products, squarings = rows * terms + 2 * 3 * (rows << window), 2 * outputs * bits
        executed = products * self.counts.product + squarings * self.counts.squaring
        each = outputs * terms
        return Work(executed / each, (products + squarings) * self.schoolbook / each)


def encryption(n_squared: Modulus, randomness_bits: int, shapes: Sequence[Geometry]) -> Work:
    """With a public key: a power of a fixed base, and the message times it."""
    found = ModularWork.of(n_squared, shapes)
    executed = kernel_counts.encryption(n_squared, randomness_bits, shapes)
    return Work(executed, found.fixed_base(randomness_bits).useful + found.schoolbook)


def decryption(crt: CrtModulus, shapes: Sequence[Geometry]) -> Work:
    """With both factors: useful are the two powers alone."""
    useful = sum(_power(*half, shapes) for half in ((crt.p, crt.p_squared), (crt.q, crt.q_squared)))
    return Work(kernel_counts.decryption(crt, shapes), useful)


def decryption_bounded(crt: CrtModulus, shapes: Sequence[Geometry]) -> Work:
    """With one factor, which decides values below a bound."""
    return Work(kernel_counts.decryption_bounded(crt, shapes), _power(crt.p, crt.p_squared, shapes))


def _power(factor: int, square: Modulus, shapes: Sequence[Geometry]) -> float:
    return ModularWork.of(square, shapes).power(factor.bit_length()).useful
