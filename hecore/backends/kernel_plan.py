"""How transforms are cut into passes, tiles and blocks of threads on a device (`kernels/device/ntt.h`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hecore.backends.device import DeviceFacts

NARROW_BITS = 29  # 8q < 2^32
RADIX_LOG = 4
SUMS_RADIX_LOG = 3  # where a thread keeps sums beside its residues
LARGEST_TILE_LOG = 12  # 34 kB of local memory: every CUDA device has 48 for a block
_SUMS_TILE_LOG = 11
_OPENCL_TILE_LOG = 11  # 17 kB: OpenCL promises 32
_SERIAL_BLOCK = 1  # without barriers programs compile in a third of the time
_SMALLEST_BLOCK = 32
_MOST_TOGETHER = 8
_ROUNDS = 4  # a device should have this many times its threads to do before blocks take several polynomials


@dataclass(frozen=True)
class Plan:
    """The definitions of a program for one ring degree, and how many blocks share one residue polynomial."""

    degree_log: int
    columns_log: int
    tile_log: int
    radix_log: int
    block: int

    @property
    def two_passes(self) -> bool:
        return self.columns_log > 0

    @property
    def tiles(self) -> int:
        return 1 << (self.degree_log - self.tile_log)

    def defines(self, *, narrow: bool = False) -> dict[str, int]:
        """`narrow`: arithmetic in words of 32 bits, for primes below 2^NARROW_BITS."""
        return {
            "BLOCK": self.block,
            "LANES": 1,
            "DEGREE_LOG": self.degree_log,
            "COLUMNS_LOG": self.columns_log,
            "TILE_LOG": self.tile_log,
            "RADIX_LOG": self.radix_log,
            "NARROW": int(narrow),
        }


@dataclass(frozen=True)
class Stretch:
    """Neighbouring positions of a basis, from `start` on, whose transforms take words of one size."""

    start: int
    count: int
    narrow: bool


@lru_cache(maxsize=256)
def stretches(moduli: tuple[int, ...]) -> tuple[Stretch, ...]:
    """As few as cover all positions: a launch each."""
    found: list[Stretch] = []
    for narrow, group in groupby(enumerate(moduli), key=lambda entry: entry[1].bit_length() <= NARROW_BITS):
        positions = [i for i, _ in group]
        found.append(Stretch(positions[0], len(positions), narrow))
    return tuple(found)


@lru_cache(maxsize=256)
def plan(facts: DeviceFacts, ring_degree: int, *, sums: bool = False) -> Plan:
    """`sums`: for the program that accumulates, whose tiles are smaller."""
    degree_log = ring_degree.bit_length() - 1
    most = LARGEST_TILE_LOG if facts.dialect == "cuda" or facts.serial else _OPENCL_TILE_LOG
    radix_log = RADIX_LOG
    if sums and not facts.serial:
        most, radix_log = _SUMS_TILE_LOG, SUMS_RADIX_LOG
    columns_log, tile_log = 0 if degree_log <= most else degree_log // 2, min(degree_log, most)
    block = _SERIAL_BLOCK if facts.serial else max(_SMALLEST_BLOCK, 1 << max(0, tile_log - radix_log))
    return Plan(degree_log, columns_log, tile_log, radix_log, block)


def together(facts: DeviceFacts, plan_: Plan, positions: int, size: int) -> int:
    """How many of `size` polynomials a block takes one after the other: as many as leave work for the whole device."""
    threads = positions * size * plan_.tiles * plan_.block
    return max(1, min(_MOST_TOGETHER, size, threads // (_ROUNDS * facts.parallel)))
