"""The constants of a modulus on a device, and the shape that its residues have there.

An integer is W = lanes * digits digits of `radix` bits (kernels/device/digits.h), R = 2^(radix*W) at least 64 times the
modulus or, modulo a square, its root. Shapes come from short lists, so that few programs are compiled; the values of a
modulus are always data, never part of a program. Constants are kept as long as their modulus, or the secret key whose
factors they tell of, and wiped with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.errors import ParameterError

if TYPE_CHECKING:
    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.device import Buffer, DeviceFacts

    Keep = Callable[[NDArray[np.uint32]], Buffer]

SPARE_BITS = 6  # R >= 2^6 n: see kernels/device/element.h
_ONE_LANE = ((1, 4, 28), (1, 12, 28), (1, 20, 28), (1, 38, 28), (1, 57, 28), (1, 75, 28))
_ONE_LANE_LONG = ((1, 114, 27), (1, 152, 27), (1, 228, 27), (1, 304, 27))
_MANY_LANES = ((1, 4, 28), (1, 12, 28), (1, 20, 28), (2, 19, 28), (2, 29, 28), (4, 19, 28))
_MANY_LANES_LONG = ((4, 29, 27), (8, 19, 27), (8, 29, 27), (16, 19, 27))
_ON_PROCESSORS = (12, 38, 75, 114, 152, 304)  # digits: their compilers take seconds for a shape, their products less
_LOCAL_BYTES = 46 << 10  # of a block: what every device has, less what a driver keeps


@dataclass(frozen=True)
class Geometry:
    """How many neighbouring threads hold an integer, how many digits each, of how many bits; threads a block."""

    lanes: int
    digits: int
    radix: int
    block: int

    @property
    def width(self) -> int:
        """W, the digits of an integer."""
        return self.lanes * self.digits

    @property
    def bits(self) -> int:
        return self.radix * self.width

    @property
    def integers(self) -> int:
        """Integers a block."""
        return self.block // self.lanes

    @property
    def rows(self) -> int:
        """Rows of a product between two moves of its columns, a divisor of W: registers may move seldom; where arrays
        lie in memory, as in a processor's, one row is what compilers make vectors of.
        """
        return 1 if self.block == 1 else max(rows for rows in (1, 2, 3, 4) if self.width % rows == 0)

    def defines(self, *, square: bool) -> dict[str, int]:
        """What specialises `integer` and `segments`."""
        return {
            "BLOCK": self.block,
            "LANES": self.lanes,
            "DIGITS": self.digits,
            "RADIX": self.radix,
            "ROWS": self.rows,
            "SQUARE": int(square),
        }


class RowShape(Protocol):
    """What plans need to know of a modulus."""

    @property
    def geometry(self) -> Geometry: ...

    @property
    def square(self) -> bool: ...

    @property
    def row_bytes(self) -> int: ...


def geometries(facts: DeviceFacts) -> list[Geometry]:
    """All shapes on this device, the shortest first.

    Where threads run one after the other a block is one integer: compilers of OpenCL for processors unroll a block's
    threads between barriers, at twenty times the cost, and gain nothing.
    """
    if facts.serial:
        return [Geometry(*shape, 1) for shape in (*_ONE_LANE, *_ONE_LANE_LONG) if shape[1] in _ON_PROCESSORS]
    shapes = (*_ONE_LANE, *_ONE_LANE_LONG) if facts.lanes < 16 else (*_MANY_LANES, *_MANY_LANES_LONG)
    return [Geometry(*shape, _block(facts.block, *shape[:2])) for shape in shapes]


def _block(block: int, lanes: int, digits: int) -> int:
    """The largest half, quarter, … of `block` whose integers' three slots, and two more in all, fit in local memory."""
    while block > lanes and 4 * (3 * (block // lanes) * (lanes * digits | 1) + 2 * lanes * digits) > _LOCAL_BYTES:
        block //= 2
    return block


def chunks(shape: Geometry, bits: int) -> int:
    """How many chunks of W digits `import_rows` reads of integers below 2**bits."""
    return max(1, -(-bits // shape.bits))


def geometry_for(root: Modulus, shapes: list[Geometry]) -> Geometry:
    """The shortest that holds residues modulo `root`, and modulo its square. Raises ParameterError where none does."""
    for shape in shapes:
        if root.bits + SPARE_BITS <= shape.bits:
            return shape
    raise ParameterError(
        f"cannot compute modulo {root} on a device: {root.bits} bits, at most {shapes[-1].bits - SPARE_BITS} "
        f"(twice that for a square that knows its root)"
    )


class Context:
    """One modulus as the kernels see it. `keep` makes a buffer that is wiped when it is let go."""

    def __init__(self, modulus: Modulus, shapes: list[Geometry], keep: Keep) -> None:
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
        return self._keep(self.element(self._r))

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
    """What the holder of a secret key's factors computes with."""

    n: Context
    n_squared: Context
    halves: tuple[CrtHalf, CrtHalf]


def crt_constants(crt: CrtModulus, context: Callable[[Modulus], Context], keep: Keep) -> CrtConstants:
    """Made by host integers; `context` gives the constants of a modulus."""
    n, n_squared = context(crt.n), context(crt.n_squared)

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

    return CrtConstants(
        n, n_squared, (half(crt.p, crt.q, crt.p_squared, crt.h_p), half(crt.q, crt.p, crt.q_squared, crt.h_q))
    )
