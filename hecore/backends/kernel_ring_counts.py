"""What transforms and a ciphertext's product take of a device's memory: each pass over it counted once.

A pass works through residue polynomials of N words (rows); `words` says how many it reads and writes for each place of
one. Roots and other constants are small or shared by a whole batch and are not counted; keys are, once a batch. Tests
hold the rows against what a backend launches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hecore.backends.kernel_plan import plan

if TYPE_CHECKING:
    from hecore.backends.device import DeviceFacts

WORD_BYTES = 8


@dataclass(frozen=True)
class Pass:
    """One kernel over `rows` residue polynomials."""

    kernel: str
    rows: int
    words: float


def total_bytes(passes: list[Pass], ring_degree: int) -> float:
    return sum(each.rows * each.words for each in passes) * ring_degree * WORD_BYTES


def transform_bytes(facts: DeviceFacts, ring_degree: int) -> float:
    """One residue polynomial, either way."""
    return total_bytes(_inverse(1, two=plan(facts, ring_degree).two_passes), ring_degree)


def butterflies(ring_degree: int) -> int:
    """Of one residue polynomial: each takes one high word of 64 by 64 bits and two low ones."""
    return (ring_degree // 2) * (ring_degree.bit_length() - 1)


def multiplication(
    facts: DeviceFacts, ring_degree: int, primes: int, special: int, digit: int, batch: int = 1
) -> list[Pass]:
    """a * b, relinearised and rescaled, of one ciphertext of a batch: `primes` of its level and `special` ones.

    Digits have `digit` primes. Key switching raises each digit to all primes but its own, which are there already, and
    division drops the special primes and one more.
    """
    whole, kept, dropped = primes + special, primes - 1, special + 1
    sizes = [min(digit, primes - start) for start in range(0, primes, digit)]
    two, sums = plan(facts, ring_degree).two_passes, plan(facts, ring_degree, sums=True).two_passes
    keys = 2 * len(sizes) * whole / batch
    sources = sum((whole - size) * size for size in sizes)  # where digits are raised within the last pass
    raised = len(sizes) * whole - primes
    passes = [
        Pass("tensor", primes, 4 + 3),
        Pass("move", 2 * primes, 2),  # two components aside, and one
        Pass("move", primes, 2),
        *_inverse(primes, two=two),
    ]
    if sums:
        passes += [Pass("raise", (whole - size), size + 1) for size in sizes]
    passes += [
        Pass("accumulate", whole, (primes + (raised if sums else sources) + keys) / whole + 2),
        *_inverse(2 * dropped, two=two),
        Pass("added", 2, 1),  # the dropped prime of what the product already has
    ]
    if two:
        passes.append(Pass("raise", 2 * kept, dropped + 1))
    return [*passes, Pass("divide", 2 * kept, (1 if two else dropped) + 3)]


def _inverse(rows: int, *, two: bool) -> list[Pass]:
    passes = [Pass("rows_inverse", rows, 2), Pass("columns_inverse", rows, 2)]
    return passes if two else passes[:1]
