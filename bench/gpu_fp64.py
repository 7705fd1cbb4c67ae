"""Rows of the double-precision Montgomery product, beside the integer one: it is a candidate, no backend uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.arith.integers import invert
from hecore.backends.kernel_backend import KernelBackend
from hecore.bench.gpu_results import Work
from hecore.bench.gpu_rows import Case, Job, places, spots, wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.device import DeviceFacts
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_inputs import Inputs

OPERATION = "multiply, FP64"
RADIX = 51  # as in kernels/device/fp64.c
_OPERATIONS = 3  # for a digit product: two multiply-adds and a subtraction
Shape = tuple[int, int, int]  # lanes, digits of a lane, rows between two moves of columns
SHAPES: dict[int, tuple[Shape, ...]] = {  # few lanes and many registers, or the other way round
    1024: ((2, 11, 1),),
    2048: ((2, 21, 3), (4, 11, 4)),
    4096: ((4, 21, 3), (8, 11, 4)),
}
_ONE_LANE: dict[int, tuple[Shape, ...]] = {1024: ((1, 21, 3),), 2048: ((1, 42, 3),), 4096: ((1, 84, 4),)}
_LANES = 8  # that a device must have
_KNOWN = 256
_ITEMS = 1 << 21
_BLOCK = 128


def shapes(facts: DeviceFacts, bits: int) -> tuple[Shape, ...]:
    """To try on a device, the likeliest first."""
    return (SHAPES if facts.lanes >= _LANES else _ONE_LANE)[bits]


def operations(shape: Shape) -> float:
    """Double-precision operations of one product: a product and its reduction take W^2 digit products each."""
    lanes, digits, _ = shape
    return _OPERATIONS * 2 * (lanes * digits) ** 2


def size(bits: int, shape: Shape) -> str:
    """As rows call it."""
    return f"{bits} bits, {shape[0]} x {shape[1]}"


class DoubleRows:
    """`multiply_fp64` by hand, since no operation runs it."""

    def __init__(self, backend: Backend, inputs: Inputs) -> None:
        self.backend = backend
        self.inputs = inputs

    def jobs(self, *, quick: bool) -> Iterator[Job]:
        if not isinstance(self.backend, KernelBackend):
            return
        for bits in (1024,) if quick else (4096, 2048):
            for shape in shapes(self.backend._device.facts, bits):
                yield self._job(self.backend, bits, shape)

    def _job(self, backend: KernelBackend, bits: int, shape: Shape) -> Job:
        facts = backend._device.facts
        lanes, digits, rows = shape
        width, n = lanes * digits, self.inputs.odd(f"modulus {bits}", bits)
        block = facts.block if facts.serial else _BLOCK if lanes > 1 else min(facts.block, 16)
        defines = {"BLOCK": block, "LANES": lanes, "DIGITS": digits, "ROWS": rows}
        inverse = np.uint64(-invert(n, 1 << RADIX) % (1 << RADIX))

        def make(items: int) -> Case:
            left, right = ([self.inputs.below(f"{name} {i}", n) for i in range(_KNOWN)] for name in "ab")
            at = places(items, _KNOWN)
            a, b = (backend._to_device(_digits(values, width)[at]) for values in (left, right[::-1]))
            modulus = backend._to_device(_digits([n], width))
            out = backend._empty(items * width, np.uint64)

            def run() -> Any:
                sizes = (inverse, np.uint32(items))
                backend._programs.launch("fp64", "multiply_fp64", defines, items * lanes, out, a, b, modulus, *sizes)
                return out

            def check(result: Any) -> str:
                look = spots(items, 33)
                words = backend._to_host(result, (items, width), np.uint64)[look]
                found = [sum(int(digit) << RADIX * j for j, digit in enumerate(row)) % n for row in words]
                factor = invert(pow(2, RADIX * width, n), n)
                expected = [left[i] * right[_KNOWN - 1 - i] * factor % n for i in at[look]]
                return wrong(OPERATION, found, expected)

            return Case(run, check, Work(double=operations(shape)))

        enough = facts.parallel // lanes
        return Job(OPERATION, size(bits, shape), "product", make, 64, _ITEMS, 24 * width, enough)


def _digits(values: list[int], width: int) -> NDArray[np.uint64]:
    mask = (1 << RADIX) - 1
    return np.array([[x >> RADIX * j & mask for j in range(width)] for x in values], dtype=np.uint64)
