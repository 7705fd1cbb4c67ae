"""What residues are composed to integers with on a device: the constants of `compose` in kernels/device/convert.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hecore.arith.limbs import LIMB_BITS, limbs_from_ints

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Words


def digits_of(basis: RnsBasis) -> int:
    """Limbs in which sums and differences of integers in about (-Q/2, Q/2) and (Q - 1)/2 keep their sign."""
    return -(-(basis.bits + 2) // LIMB_BITS)


def composition(basis: RnsBasis) -> Words:
    """(k + 3, D): Q/q_i for each prime, -Q modulo 2^(64 D), (Q - 1)/2 and Q, in D = `digits_of` limbs."""
    product, digits = basis.product, digits_of(basis)
    rows = [*(product // q for q in basis.moduli), -product % (1 << LIMB_BITS * digits), product >> 1, product]
    return limbs_from_ints(rows, digits)
