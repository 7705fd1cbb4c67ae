"""Rows of modular arithmetic: products, squares and powers, modulo n and modulo n^2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.arith.integers import powmod
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.protocol import ExponentArray, ResidueArray, saturating_batch
from hecore.bench.gpu_inputs import Inputs
from hecore.bench.gpu_rows import Case, Job, places, spots, wrong
from hecore.bench.gpu_work import ModularWork

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_results import Work

BITS = (1024, 2048, 3072, 4096)
QUICK_BITS = (1024,)
POWERS = ((2048, 1024), (4096, 2048))
QUICK_POWERS = ((1024, 64),)
PLAIN, SQUARE = "plain", "square form"
_KNOWN = 256  # different values among the items
_ITEMS = 1 << 21  # beyond any cache, and many times what fills a card
_POWERS = 1 << 18


class Modular:
    """Operands for one backend, from one seed."""

    def __init__(self, backend: Backend, inputs: Inputs) -> None:
        self.backend = backend
        self.inputs = inputs

    def jobs(self, *, quick: bool) -> Iterator[Job]:
        """Powers come first: they have a target of their own and say most."""
        for bits, exponent_bits in QUICK_POWERS if quick else POWERS:
            for form in (PLAIN, SQUARE):
                yield self._power_job(bits, exponent_bits, form)
        for bits in sorted(QUICK_BITS if quick else BITS, key=lambda size: size % 4096):  # 4096 has a target
            for form in (PLAIN, SQUARE):
                for operation in ("multiply", "square"):
                    yield self._product_job(operation, bits, form)

    def modulus(self, bits: int, form: str) -> Modulus:
        """Of exactly `bits` bits; in square form the square of a root of half as many."""
        if form == PLAIN:
            return Modulus(self.inputs.odd(f"modulus {bits}", bits))
        return Modulus.square(self.inputs.odd(f"root {bits}", bits // 2) | 3 << (bits // 2 - 2))

    def costs(self, modulus: Modulus) -> ModularWork | None:
        """None for a backend that is none of the kernels'."""
        return ModularWork.of(modulus, self.backend._shapes) if isinstance(self.backend, KernelBackend) else None

    def values(self, label: str, modulus: Modulus) -> list[int]:
        return ints_from_limbs(self.inputs.limbs(label, _KNOWN, modulus.value))

    def spread(self, values: list[int], items: int, modulus: Modulus) -> ResidueArray:
        """`items` of them, item i being values[places[i]]."""
        known = self.backend.upload(limbs_from_ints(values, modulus.limbs), modulus)
        return self.backend.take(known, places(items, len(values)))

    def look(self, a: ResidueArray, at: np.ndarray[Any, np.dtype[np.intp]]) -> list[int]:
        return ints_from_limbs(self.backend.download(self.backend.take(a, at)))

    def _product_job(self, operation: str, bits: int, form: str) -> Job:
        modulus = self.modulus(bits, form)
        costs = self.costs(modulus)
        work: Work | None = None
        if costs is not None:
            work = costs.product if operation == "multiply" else costs.squaring

        def make(items: int) -> Case:
            left, right = self.values(f"a {bits} {form}", modulus), self.values(f"b {bits} {form}", modulus)[::-1]
            a = self.spread(left, items, modulus)
            b = a if operation == "square" else self.spread(right, items, modulus)

            def check(result: ResidueArray) -> str:
                at = spots(items, 33)
                known = places(items, _KNOWN)[at]
                others = left if operation == "square" else right
                expected = [left[i] * others[i] % modulus.value for i in known]
                return wrong(operation, self.look(result, at), expected)

            return Case(resident_product(a, b), check, work)

        words = 3 * costs.counts.row_bytes if costs else 3 * 8 * modulus.limbs
        return Job(
            operation, f"{bits} bits, {form}", "product", make, 64, _ITEMS, words, saturating_batch(self.backend)
        )

    def _power_job(self, bits: int, exponent_bits: int, form: str) -> Job:
        modulus = self.modulus(bits, form)

        def make(items: int) -> Case:
            bases = self.values(f"bases {bits} {form}", modulus)
            a = self.spread(bases, items, modulus)
            top = 1 << (exponent_bits - 1)
            known = [self.inputs.integer(f"exponent {i}", exponent_bits) | top for i in range(_KNOWN)]
            at_known = places(items, _KNOWN)
            limbs = ExponentArray.from_ints(known, exponent_bits).limbs[at_known]
            exponents = ExponentArray(limbs, exponent_bits)

            def check(result: ResidueArray) -> str:
                at = spots(items, 3)
                expected = [powmod(bases[i], known[i], modulus.value) for i in at_known[at]]
                return wrong("powers", self.look(result, at), expected)

            return Case(lambda: self.backend.mod_exp(a, exponents), check, work, note="exponents cross within the time")

        costs = self.costs(modulus)
        work = costs.power(exponent_bits) if costs else None
        size = power_size(bits, exponent_bits, form)
        each, enough = 80 * modulus.limbs * 8, saturating_batch(self.backend) // 2
        return Job("mod_exp", size, "power", make, 16, _POWERS, each, enough, (bits, exponent_bits))


def power_size(bits: int, exponent_bits: int, form: str) -> str:
    """As rows call it."""
    return f"{bits}/{exponent_bits}, {form}"


def resident_product(a: ResidueArray, b: ResidueArray) -> Any:
    """A function that multiplies into memory that is there, where the backend's kernels allow that; else any product.

    What is timed is then the kernel alone: an operation's own result would be overwritten with zeros when it is let go.
    """
    backend = a.backend
    if not isinstance(backend, KernelBackend):
        return lambda: backend.mod_mul(a, b)
    context, out = backend._context(a.modulus), backend.mod_mul(a, b)
    if a.data is b.data:

        def run() -> ResidueArray:
            backend._integer("square", context, a.size, out.data, a.data)
            return out

        return run

    def multiply() -> ResidueArray:
        backend._multiply(context, out.data, a.data, b.data, a.size)
        return out

    return multiply
