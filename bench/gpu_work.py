"""What modular arithmetic costs: wide multiply-adds that the kernels of `integer` execute, and what 32-bit digits need.

Residues have W digits (kernels/device/digits.h). A product and its reduction take W^2 each modulo n; modulo n^2, in two
components of the length of n, a product takes five of these and a square four. The yardstick that is called useful is
operand scanning with full 32-bit digits modulo the whole modulus, 2 L^2 with L its words, for squares too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hecore.backends.kernel_context import geometry_for
from hecore.backends.kernel_integers import power_window, table_window
from hecore.backends.kernel_multi import WINDOWS, pippenger_cost
from hecore.bench.gpu_results import Work

if TYPE_CHECKING:
    from hecore.arith.modulus import Modulus
    from hecore.backends.kernel_context import Geometry


@dataclass(frozen=True)
class Counts:
    """Multiply-adds of a product and a square for a modulus of `bits` bits, in W digits (of its root, if square)."""

    geometry: Geometry
    square: bool
    bits: int

    @classmethod
    def of(cls, modulus: Modulus, shapes: list[Geometry]) -> Counts:
        """As a device with these shapes has it."""
        root = modulus.square_of or modulus
        return cls(geometry_for(root, shapes), modulus.square_of is not None, modulus.bits)

    @property
    def row_bytes(self) -> int:
        """Of a residue in device memory."""
        return 4 * (1 + self.square) * self.geometry.width

    @property
    def product(self) -> int:
        return (5 if self.square else 2) * self.geometry.width**2

    @property
    def squaring(self) -> int:
        return (4 if self.square else 2) * self.geometry.width**2

    @property
    def schoolbook(self) -> int:
        return 2 * (-(-self.bits // 32)) ** 2

    def _work(self, products: float, squarings: float) -> Work:
        executed = products * self.product + squarings * self.squaring
        return Work(executed=executed, useful=(products + squarings) * self.schoolbook)

    def multiply(self) -> Work:
        return self._work(1, 0)

    def squared(self) -> Work:
        return self._work(0, 1)

    def power(self, bits: int) -> Work:
        """Of `power`: the table of a window's powers, then window by window."""
        window = power_window(self, bits, whole=True)
        windows = -(-bits // window)
        return self._work((1 << window) - 2 + windows - 1, (windows - 1) * window)

    def fixed_base(self, bits: int) -> Work:
        """Of `fixed_base` with the backend's own table: a product for each of its windows."""
        return self._work(-(-bits // table_window(self, bits, None)), 0)

    def multi_exp(self, outputs: int, terms: int, bits: int) -> Work:
        """A term of `outputs` signed sums of `terms` each: one product a window, its share of buckets and squarings."""
        window = min(WINDOWS, key=lambda c: pippenger_cost(outputs, terms, bits, c, signed=True))
        rows = outputs * -(-bits // window)
        products, squarings = rows * terms + 2 * 3 * (rows << window), 2 * outputs * bits
        total = self._work(products, squarings)
        each = outputs * terms
        return Work(total.executed / each, total.useful / each)
