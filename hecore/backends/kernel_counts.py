"""Wide multiply-adds that the kernels of `integer` execute: the one instruction that their time is made of.

Residues have W digits (kernels/device/digits.h). A product of W by W digits takes W^2 of them, its reduction as many:
2 W^2 modulo n. Modulo n^2, in two components of the length of n, a product takes five halves and a square four
(kernels/device/element.h). What else a kernel does, moves, carries, one narrow product a row, is not counted. Tests
hold these numbers against what the kernels' own text executes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hecore.arith.modulus import Modulus
from hecore.backends.kernel_integers import power_window, table_window
from hecore.backends.kernel_shapes import Geometry, chunks, geometry_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.modulus import CrtModulus

SUMMED = 60  # logarithms in one sum: kernels/device/power.h


@dataclass(frozen=True)
class ResidueCounts:
    """What one residue costs, modulo one modulus in one shape."""

    geometry: Geometry
    square: bool
    bits: int  # of the modulus

    @classmethod
    def of(cls, modulus: Modulus, shapes: Sequence[Geometry]) -> ResidueCounts:
        """As a device with these shapes has it."""
        root = modulus.square_of or modulus
        return cls(geometry_for(root, shapes), modulus.square_of is not None, modulus.bits)

    @property
    def half(self) -> int:
        """A product of digits without its reduction, or a reduction."""
        return self.geometry.width**2

    @property
    def row_bytes(self) -> int:
        return 4 * self.geometry.width * (1 + self.square)

    @property
    def product(self) -> int:
        return (5 if self.square else 2) * self.half

    @property
    def squaring(self) -> int:
        return (4 if self.square else 2) * self.half

    @property
    def canonical(self) -> int:
        """Out of Montgomery form."""
        return (2 if self.square else 1) * self.half

    @property
    def exported(self) -> int:
        """As an integer: of a square, x0 + x1*n is a product more."""
        return self.canonical + self.half * self.square

    def imported(self, bits: int) -> int:
        """An integer below 2**bits, brought into Montgomery form: two products a chunk of W digits."""
        return 2 * self.product * chunks(self.geometry, bits)

    def power(self, bits: int, *, whole: bool = True, window: int | None = None) -> int:
        """By an exponent below 2**bits with the window that `mod_exp` (`whole`) or `mod_exp_vartime` takes.

        Powers 2 … 2**window - 1 of the base, then for each digit but the first `window` squarings and a product.
        """
        window = power_window(self, bits, whole=whole) if window is None else window
        digits = -(-bits // window)
        return ((1 << window) - 2 + digits - 1) * self.product + (digits - 1) * window * self.squaring

    def fixed_base(self, bits: int, memory_budget: int | None = None, *, window: int | None = None) -> int:
        """By a table of that budget: a product for each digit but the first.

        Modulo a square, where the table is in logarithmic form, one by a single component, and for each SUMMED digits
        the product by 1 + n * (the sum of logarithms).
        """
        window = table_window(self, bits, memory_budget) if window is None else window
        digits = -(-bits // window)
        if not self.square:
            return (digits - 1) * self.product
        return (digits - 1) * 4 * self.half + max(1, -(-digits // SUMMED)) * self.encoded

    @property
    def encoded(self) -> int:
        """(1 + m*n) * times: m into Montgomery form, and a sum of two products."""
        return 5 * self.half


def encryption(n_squared: Modulus, randomness_bits: int, shapes: Sequence[Geometry]) -> int:
    """Of one message with a public key: a power of a fixed base with the largest table, and (1 + m*n) times it."""
    counts = ResidueCounts.of(n_squared, shapes)
    return counts.fixed_base(randomness_bits) + counts.encoded


def decryption(crt: CrtModulus, shapes: Sequence[Geometry]) -> int:
    """Of one ciphertext: modulo p^2 and q^2 a reduction, a power and its quotient by p and q; their sum modulo n."""
    n = ResidueCounts.of(crt.n, shapes)
    factors = ((crt.p, crt.p_squared), (crt.q, crt.q_squared))
    halves = sum(_half(crt, *factor, shapes) + n.imported(factor[0].bit_length()) for factor in factors)
    return halves + n.product + n.exported  # of the sum


def decryption_bounded(crt: CrtModulus, shapes: Sequence[Geometry]) -> int:
    """Of one ciphertext, modulo p^2 alone; L_p modulo p, and the bound added to it."""
    p = ResidueCounts.of(Modulus(crt.p), shapes)
    return _half(crt, crt.p, crt.p_squared, shapes) + p.imported(p.bits) + p.product + p.exported


def _half(crt: CrtModulus, factor: int, square: Modulus, shapes: Sequence[Geometry]) -> int:
    """A reduction from n^2 to factor^2, a power and its quotient."""
    n_squared, half = ResidueCounts.of(crt.n_squared, shapes), ResidueCounts.of(square, shapes)
    return n_squared.exported + half.imported(n_squared.bits) + half.power(factor.bit_length()) + half.canonical
