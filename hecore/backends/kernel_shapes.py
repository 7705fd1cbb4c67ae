"""The shape that residues have on a device: how many threads share an integer, how many digits each holds.

An integer is W = lanes * digits digits of `radix` bits (kernels/device/digits.h), R = 2^(radix*W) at least 64 times the
modulus or, modulo a square, its root. Shapes come from short lists, so that few programs are compiled; `candidates`
are what `hecore tune` measures in their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hecore.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.modulus import Modulus
    from hecore.backends.device import DeviceFacts

SPARE_BITS = 6  # R >= 2^6 n: see kernels/device/element.h
_ONE_LANE = ((1, 4, 28), (1, 12, 28), (1, 20, 28), (1, 38, 28), (1, 57, 28), (1, 75, 28))
_ONE_LANE_LONG = ((1, 114, 27), (1, 152, 27), (1, 228, 27), (1, 304, 27))
_MANY_LANES = ((1, 4, 28), (1, 12, 28), (1, 20, 28), (2, 19, 28), (2, 29, 28), (4, 19, 28))
_MANY_LANES_LONG = ((4, 29, 27), (8, 19, 27), (8, 29, 27), (16, 19, 27))
_TRIED = ((2, 10, 28), (2, 14, 28), (2, 28, 28), (4, 10, 28), (4, 14, 28), (8, 10, 28))
_TRIED_LONG = ((8, 15, 27), (16, 8, 27), (16, 10, 27), (32, 10, 27))
_MOST_LONGER = 1.125  # than the shape in use, of those that are tried in its place
_ON_PROCESSORS = (12, 38, 75, 114, 152, 304)  # digits: their compilers take seconds for a shape, their products less
_LOCAL_BYTES = 46 << 10  # of a block: what every device has, less what a driver keeps
_LONGEST = ((28, 84), (27, 336))  # radix, digits of an integer at most: kernels/device/montgomery.h


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
    shapes = (*_MANY_LANES, *_MANY_LANES_LONG) if _most_lanes(facts) > 1 else (*_ONE_LANE, *_ONE_LANE_LONG)
    return [Geometry(*shape, _block(facts.block, *shape[:2])) for shape in shapes]


def _most_lanes(facts: DeviceFacts) -> int:
    """That share an integer: warps too narrow for the longest integers are not used."""
    return facts.lanes if facts.lanes >= 16 else 1


def _block(block: int, lanes: int, digits: int) -> int:
    """The largest half, quarter, … of `block` whose integers' three slots, and two more in all, fit in local memory."""
    while block > lanes and 4 * (3 * (block // lanes) * (lanes * digits | 1) + 2 * lanes * digits) > _LOCAL_BYTES:
        block //= 2
    return block


def chunks(shape: Geometry, bits: int) -> int:
    """How many chunks of W digits `import_rows` reads of integers below 2**bits."""
    return max(1, -(-bits // shape.bits))


def shortest(shapes: Sequence[Geometry], bits: int) -> Geometry | None:
    """The first of `shapes` that holds residues modulo roots of `bits` bits; they come in order of their length."""
    return next((shape for shape in shapes if bits + SPARE_BITS <= shape.bits), None)


def geometry_for(root: Modulus, shapes: Sequence[Geometry]) -> Geometry:
    """The shortest that holds residues modulo `root`, and modulo its square. Raises ParameterError where none does."""
    found = shortest(shapes, root.bits)
    if found is None:
        raise ParameterError(
            f"cannot compute modulo {root} on a device: {root.bits} bits, at most {shapes[-1].bits - SPARE_BITS} "
            f"(twice that for a square that knows its root)"
        )
    return found


def tried(facts: DeviceFacts) -> list[Geometry]:
    """All that `candidates` may choose from where threads share integers, the shortest first.

    A closed list, so that the machine code of every one of them can be looked at beforehand (tests/kernels/device).
    """
    shapes = (*_MANY_LANES, *_TRIED, *_MANY_LANES_LONG, *_TRIED_LONG)
    found = [Geometry(*shape, _block(facts.block, *shape[:2])) for shape in shapes if shape[0] <= facts.lanes]
    return sorted(found, key=lambda shape: (shape.bits, shape.lanes))


def candidates(facts: DeviceFacts, bits: int) -> list[Geometry]:
    """Shapes worth measuring for roots of `bits` bits, the one in use first.

    Where threads share integers: for every number of them the shortest of `tried` that holds the roots, unless that is
    an eighth longer than the one in use. Elsewhere: as few digits as hold them (an even number, so that rows move in
    pairs, but where one runs after the other) in blocks of full and half size.

    Raises ParameterError where no shape holds so many bits.
    """
    standing = shortest(geometries(facts), bits)
    if standing is None:
        raise ParameterError(f"no shape of this device holds residues modulo roots of {bits} bits")
    if _most_lanes(facts) > 1:
        shapes = tried(facts)
        by_lanes = (shortest([shape for shape in shapes if shape.lanes == 1 << i], bits) for i in range(6))
        found = [shape for shape in by_lanes if shape is not None and shape.bits <= _MOST_LONGER * standing.bits]
        return list(dict.fromkeys([standing, *found]))
    radix, digits = next(
        (radix, digits) for radix, longest in _LONGEST if (digits := -(-(bits + SPARE_BITS) // radix)) <= longest
    )
    digits += digits % 2 and not facts.serial
    block = 1 if facts.serial else _block(facts.block, 1, digits)
    found = [Geometry(1, digits, radix, size) for size in (block, block // 2) if size]
    return list(dict.fromkeys([standing, *found]))
