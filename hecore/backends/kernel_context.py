"""The constants of a modulus on a device.

The values of a modulus are always data, never part of a program. Constants are kept as long as their modulus, or the
secret key whose factors they tell of, and wiped with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.kernel_shapes import Geometry, chunks, geometry_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.modulus import CrtModulus
    from hecore.backends.device import Buffer

    Keep = Callable[[NDArray[np.uint32]], Buffer]


class Context:
    """One modulus as the kernels see it. `keep` makes a buffer that is wiped when it is let go."""

    def __init__(self, modulus: Modulus, shapes: Sequence[Geometry], keep: Keep) -> None:
        root = modulus.square_of or modulus
        self.geometry = geometry_for(root, shapes)
        self.square = modulus.square_of is not None
        self.square_of = modulus.square_of  # of a plain modulus nothing is kept: contexts end with theirs
        self.bits = modulus.bits
        self.limbs = modulus.limbs
        self.root_limbs, self.root_bits = root.limbs, root.bits
        self.defines = self.geometry.defines(square=self.square)
        self.row_words = self.geometry.width * (2 if self.square else 1)
        self._keep = keep
        self.value, self._root = modulus.value, root.value
        self._r = 1 << self.geometry.bits
        base = 1 << self.geometry.radix
        self.inverse = np.uint32(-invert(self._root % base, base) % base)
        c = -(self._r - 1) % self._root
        self.modulus = keep(self._digits([self._root, c][: 1 + self.square]))

    @property
    def row_bytes(self) -> int:
        return 4 * self.row_words

    @cached_property
    def one(self) -> Buffer:
        """1 in Montgomery form, an element."""
        return self._keep(self.montgomery(1))

    @cached_property
    def uploading(self) -> Buffer:
        """What `import_rows` takes to bring integers into Montgomery form."""
        return self._keep(self.importing(1))

    @cached_property
    def encoding(self) -> Buffer:
        """What `encode` takes, modulo a square: R^2 modulo the root, then 1."""
        both = [self._digits([self._r * self._r % self._root]), self.element(self._r)]
        return self._keep(np.concatenate(both))

    def importing(self, factor: int) -> NDArray[np.uint32]:
        """The three elements with which `import_rows` brings x into the Montgomery form of x * factor."""
        r = self._r
        return np.concatenate([self.element(r * r * factor), self.element(r * r), self.element(r)])

    def montgomery(self, value: int) -> NDArray[np.uint32]:
        """The words of value in Montgomery form."""
        return self.element(value * self._r)

    def element(self, value: int) -> NDArray[np.uint32]:
        """The words of value mod the modulus: x, or x0 then x1 of x0 + x1*n."""
        value %= self.value
        if not self.square:
            return self._digits([value])
        high, low = divmod(value, self._root)
        return self._digits([low, high])

    def chunks(self, bits: int) -> int:
        return chunks(self.geometry, bits)

    def _digits(self, values: list[int]) -> NDArray[np.uint32]:
        radix, width = self.geometry.radix, self.geometry.width
        mask = (1 << radix) - 1
        return np.array([value >> radix * j & mask for value in values for j in range(width)], dtype=np.uint32)


@dataclass(frozen=True, eq=False, repr=False)
class CrtHalf:
    """One factor f of n: residues modulo f^2, the exponent f - 1, and the way from there to n^2 and to n.

    `lifting` imports x as x*E with E = 1 modulo f^2 and 0 modulo the other factor's square; `decoding` imports L as
    L*h*E modulo n with E = 1 modulo f and 0 modulo the other factor (h as in `CrtModulus`).
    """

    square: Context
    exponent: Buffer
    exponent_words: int
    exponent_bits: int
    lifting: Buffer
    decoding: Buffer


@dataclass(frozen=True, eq=False, repr=False)
class CrtConstants:
    """What the holder of a secret key's factors computes with; `h_p` imports L as L*h_p modulo p."""

    n: Context
    n_squared: Context
    p: Context
    halves: tuple[CrtHalf, CrtHalf]
    h_p: Buffer


def crt_constants(crt: CrtModulus, context: Callable[[Modulus], Context], keep: Keep) -> CrtConstants:
    """Made by host integers; `context` gives the constants of a modulus."""
    n, n_squared, p = context(crt.n), context(crt.n_squared), context(Modulus(crt.p))

    def half(f: int, other: int, square: Modulus, h: int) -> CrtHalf:
        bits = f.bit_length()
        exponent = limbs_from_ints([f - 1], limbs_for_bits(bits)).view(np.uint32).ravel()
        idempotent_squares = other**2 * invert(other**2 % f**2, f**2)
        idempotent = other * invert(other % f, f)
        return CrtHalf(
            square=context(square),
            exponent=keep(exponent),
            exponent_words=exponent.size,
            exponent_bits=bits,
            lifting=keep(n_squared.importing(idempotent_squares)),
            decoding=keep(n.importing(h * idempotent)),
        )

    halves = half(crt.p, crt.q, crt.p_squared, crt.h_p), half(crt.q, crt.p, crt.q_squared, crt.h_q)
    return CrtConstants(n, n_squared, p, halves, keep(p.importing(crt.h_p)))
