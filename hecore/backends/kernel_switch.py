"""Transforms and key switching on a device.

Transforms take one pass over memory or two (`kernel_plan.py`). What a change of basis asks for rides along: the factors
of its residues on the inverse transforms, the conversion on the first pass forwards, and division or the sums of key
switching on the last.
"""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import invert
from hecore.backends import ring_checks as checks
from hecore.backends.kernel_base import KernelBase
from hecore.backends.kernel_plan import Plan, plan, stretches, together
from hecore.backends.kernel_tables import KernelTables
from hecore.backends.ring_protocol import PolynomialArray
from hecore.errors import DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hecore.arith.rns import RnsBasis
    from hecore.backends.device import Argument, Buffer, Device
    from hecore.backends.kernel_tables import Slots

_PLAIN, _WORD, _SUM, _CENTRED, _EXACT = range(5)  # of kernels/device/ntt_source.h
_BYTES = 8
_PAIR = 2  # components of one launch of the sums


@dataclass(frozen=True)
class _Run:
    """Digits `first` … `last` - 1, of `width` positions each from `start` on; the last may have fewer, up to `stop`."""

    first: int
    last: int
    start: int
    width: int
    stop: int


class KernelSwitch(KernelBase):
    """Number-theoretic transforms, division by moduli, decomposition and the key-switching sums."""

    _budget: int
    """Bytes that an operation may take for what it needs in between."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._tables = KernelTables(device)

    # -- transforms --------------------------------------------------------------------------------------

    def ntt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self._whole(), a, ntt=False)
        out, cut, width = self._polynomials(a.size, a.basis), self._plan(a.basis), len(a.basis)
        roots, primes = self._tables.roots(a.basis), self._tables.primes(a.basis)
        fixed, source = (primes, roots.forward, *_slots(roots.slots), *_u32(width)), a.data
        if cut.two_passes:
            self._pass("ntt", "columns_forward", cut, a.basis, a.size, out, source, *fixed)
            source = out
        self._pass("ntt", "rows_forward", cut, a.basis, a.size, out, source, *fixed)
        return PolynomialArray(self._whole(), a.basis, a.shape, True, out)

    def intt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self._whole(), a, ntt=True)
        out = self._polynomials(a.size, a.basis)
        self._backward(out, a, 0, a.basis, [1] * len(a.basis), 0, a.size)
        return PolynomialArray(self._whole(), a.basis, a.shape, False, out)

    # -- change of basis ---------------------------------------------------------------------------------

    def divide_round(self, a: PolynomialArray, count: int, *, plus: PolynomialArray | None = None) -> PolynomialArray:
        checks.check_division(self._whole(), a, count, plus)
        kept = len(a.basis) - count
        remaining, dropped = a.basis.prefix(kept), a.basis.take(range(kept, len(a.basis)))
        out, step = self._polynomials(a.size, remaining), 1 if plus is None else a.shape[-1]
        each = (count + kept) * a.basis.ring_degree * _BYTES

        def divide(first: int, last: int) -> None:
            if a.ntt:
                self._divide_values(out, a, remaining, dropped, plus, first * step, (last - first) * step)
            else:
                self._divide_coefficients(out, a, remaining, dropped, first, last - first)

        self._ring_chunks(a.size // step if step else 0, each * step, divide)
        return PolynomialArray(self._whole(), remaining, a.shape, a.ntt, out)

    def decompose(self, a: PolynomialArray, digits: Sequence[tuple[int, int]], special: RnsBasis) -> PolynomialArray:
        checks.check_digits(self._whole(), a, digits, special)
        whole, count = a.basis.join(special), len(digits)
        out = self._polynomials(a.size * count, whole)

        def raise_part(first: int, last: int) -> None:
            self._raise(out, a, digits, whole, first, first, last - first)

        self._ring_chunks(a.size, len(a.basis) * whole.ring_degree * _BYTES, raise_part)
        return PolynomialArray(self._whole(), whole, (*a.shape, count), True, out)

    def decompose_mul_accumulate(
        self,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        special: RnsBasis,
        b: PolynomialArray | Sequence[PolynomialArray],
    ) -> PolynomialArray:
        keys, shape = checks.check_switch(self._whole(), a, digits, special, b)
        whole = keys[0].basis
        out = self._polynomials(a.size * math.prod(shape), whole)
        runs = _runs(digits)
        fused = len(runs) == 1 and len(keys) == 1 and keys[0].shape[0] <= _PAIR
        rows = len(a.basis) + len(digits) * len(whole)

        def switch(first: int, last: int) -> None:
            if fused:
                self._switch(out, a, runs[0], keys[0], first, last - first)
            else:
                self._switch_raised(out, a, digits, keys, first, last - first)

        self._ring_chunks(a.size if math.prod(shape) else 0, rows * whole.ring_degree * _BYTES, switch)
        return PolynomialArray(self._whole(), whole, (*a.shape, *shape), True, out)

    # -- parts of them, for polynomials first … first + size - 1 -----------------------------------------

    def _backward(
        self,
        out: Buffer,
        a: PolynomialArray,
        at: int,
        basis: RnsBasis,
        factors: Sequence[int],
        first: int,
        size: int,
        plus: PolynomialArray | None = None,
    ) -> None:
        """Coefficients of a's residues modulo `basis`, from position `at` on, times `factors`, to (size, k, N).

        Of a + R*plus where `plus` is given, see `divide_round`.
        """
        cut, width = self._plan(basis), len(basis)
        roots, primes = self._tables.roots(basis), self._tables.primes(basis)
        scales = self._tables.scales(basis, factors)
        more: tuple[Buffer | None, Buffer | None] = (None, None)
        rows, shared, components, some = 0, 0, 1, 0
        if plus is not None and len(plus.basis) > at:
            rows, shared, components, some = len(plus.basis), len(plus.basis) - at, a.shape[-1], plus.shape[-1]
            lacking = math.prod(a.basis.moduli[rows:])
            more = plus.data, self._tables.factors([lacking % q for q in basis.moduli], basis.moduli)
        sizes = _u32(len(a.basis), at, width, rows, at, shared, components, some, first)
        fixed = (primes, roots.inverse, scales, *_slots(roots.slots))
        self._pass("ntt", "rows_inverse", cut, basis, size, out, a.data, *more, *fixed, *sizes)
        if cut.two_passes:
            self._pass("ntt", "columns_inverse", cut, basis, size, out, *fixed, *_u32(width))

    def _divide_values(
        self,
        out: Buffer,
        a: PolynomialArray,
        remaining: RnsBasis,
        dropped: RnsBasis,
        plus: PolynomialArray | None,
        first: int,
        size: int,
    ) -> None:
        cut, kept, count = self._plan(remaining), len(remaining), len(dropped)
        rows = self._polynomials(size, dropped)
        self._backward(rows, a, kept, dropped, _cofactor_inverses(dropped), first, size, plus)
        mode = _CENTRED if count == 1 else _EXACT
        tables, primes = self._tables.conversion(dropped, remaining), self._tables.primes(remaining)
        if cut.two_passes:
            scratch = self._polynomials(size, remaining)
            whole = _Run(0, 1, 0, count, count)
            self._raise_run(
                cut,
                scratch,
                None,
                rows,
                tables.matrix,
                tables.weights,
                remaining,
                whole,
                mode,
                count + 1,
                count,
                1,
                0,
                size,
            )
            rows, mode = scratch, _PLAIN
        roots = self._tables.roots(remaining)
        factors = self._tables.factors([invert(dropped.product % q, q) for q in remaining.moduli], remaining.moduli)
        more: tuple[Buffer | None, Buffer | None] = (None, None)
        width, components, some = 0, 1, 0
        if plus is not None:
            width, components, some = len(plus.basis), a.shape[-1], plus.shape[-1]
            reciprocals = [invert(math.prod(plus.basis.moduli[kept:]) % q, q) for q in remaining.moduli]  # R / P
            more = plus.data, self._tables.factors(reciprocals, remaining.moduli)
        buffers = (out, a.data, rows, tables.matrix, tables.weights, factors, *more, primes, roots.forward)
        sizes = _u32(mode, count, count + 1, count, len(a.basis), width, components, some, kept, first)
        self._pass("switch", "divide", cut, remaining, size, *buffers, *_slots(roots.slots), *sizes)

    def _divide_coefficients(
        self, out: Buffer, a: PolynomialArray, remaining: RnsBasis, dropped: RnsBasis, first: int, size: int
    ) -> None:
        cut, kept, count, degree = self._plan(remaining), len(remaining), len(dropped), remaining.ring_degree
        rows, words = self._polynomials(size, dropped), size * degree
        inverses = self._tables.factors(_cofactor_inverses(dropped), dropped.moduli)
        picked, total = _u32(len(a.basis), kept, count, first), words * count
        buffers = (rows, a.data, inverses, self._tables.primes(dropped))
        self._launch("switch", "cofactors", cut.defines(), total, *buffers, *picked, np.uint64(total))
        tables, primes = self._tables.conversion(dropped, remaining), self._tables.primes(remaining)
        factors = self._tables.factors([invert(dropped.product % q, q) for q in remaining.moduli], remaining.moduli)
        mode = _CENTRED if count == 1 else _EXACT
        sizes, total = _u32(mode, count, count + 1, count, 0, len(a.basis), kept, first), words * kept
        given = (out, a.data, rows, tables.matrix, tables.weights, factors, primes)
        self._launch("switch", "divide_coefficients", cut.defines(), total, *given, *sizes, np.uint64(total))

    def _raise(
        self,
        out: Buffer,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        whole: RnsBasis,
        place: int,
        first: int,
        size: int,
    ) -> None:
        """The digits of `decompose`, to polynomials place, place + 1, … of out (…, d, k', N)."""
        cut, rows, width = self._plan(whole), self._digit_sources(a, digits, first, size), len(whole)
        roots, primes, count = self._tables.roots(whole), self._tables.primes(whole), len(digits)
        for run in _runs(digits):
            mode, matrix = self._digit_tables(a.basis, run, whole)
            own = (a, first)
            self._raise_run(
                cut, out, own, rows, matrix, matrix, whole, run, mode, run.width, len(a.basis), count, place, size
            )
            if cut.two_passes:
                sizes = _u32(run.start, run.width, run.stop, len(a.basis), count, run.first, width, place, first)
                fixed = (out, a.data, primes, roots.forward, *_slots(roots.slots), *sizes)
                self._pass("switch", "raise_rows", cut, whole, size, *fixed, digits=run.last - run.first)

    def _raise_run(
        self,
        cut: Plan,
        out: Buffer,
        own: tuple[PolynomialArray, int] | None,
        rows: Buffer,
        matrix: Buffer,
        weights: Buffer,
        target: RnsBasis,
        run: _Run,
        mode: int,
        matrix_step: int,
        rows_width: int,
        out_digits: int,
        place: int,
        size: int,
    ) -> None:
        """First passes, or the only ones: `raise` of kernels/device/switch.c."""
        width, roots, primes = len(target), self._tables.roots(target), self._tables.primes(target)
        values, values_width, values_first = (None, 0, 0) if own is None else (own[0].data, len(own[0].basis), own[1])
        buffers = (out, values, rows, matrix, weights, primes, roots.forward, *_slots(roots.slots))
        shape = _u32(mode, run.start, run.width, run.stop, own is not None, matrix_step, rows_width, values_width)
        sizes = _u32(out_digits, run.first, width, place, values_first)
        self._pass("switch", "raise", cut, target, size, *buffers, *shape, *sizes, digits=run.last - run.first)

    def _digit_sources(self, a: PolynomialArray, digits: Sequence[tuple[int, int]], first: int, size: int) -> Buffer:
        """What digits are raised from: coefficients, and for digits of several primes their y_i; (size, k, N)."""
        rows = self._polynomials(size, a.basis)
        factors = [x for start, stop in digits for x in _cofactor_inverses(a.basis.take(range(start, stop)))]
        self._backward(rows, a, 0, a.basis, factors, first, size)
        return rows

    def _digit_tables(self, basis: RnsBasis, run: _Run, whole: RnsBasis) -> tuple[int, Buffer]:
        """How the digits of a run are raised, and D_j/q_i modulo each prime: (digits, k', width)."""
        sources = [
            basis.take(range(start, min(start + run.width, run.stop)))
            for start in range(run.start, run.stop, run.width)
        ]
        if run.width == 1:
            small = max(basis.moduli[run.start : run.stop]) < 4 * min(whole.moduli)
            return (_PLAIN if small else _WORD), self._tables.primes(whole)

        def matrix() -> list[list[list[int]]]:
            cofactors = [[source.product // q for q in source.moduli] for source in sources]
            padded = [row + [0] * (run.width - len(row)) for row in cofactors]
            return [[[c % p for c in row] for p in whole.moduli] for row in padded]

        return _SUM, self._tables.table(("digits", basis, run, whole), matrix)

    def _switch(self, out: Buffer, a: PolynomialArray, run: _Run, key: PolynomialArray, first: int, size: int) -> None:
        """Key switching of digits of one width with one key of one or two components: the digits are never stored."""
        whole, width, digits = key.basis, len(key.basis), run.last
        rows = self._digit_sources(a, _ranges(run), first, size)
        mode, matrix = self._digit_tables(a.basis, run, whole)
        cut, columns = plan(self._device.facts, whole.ring_degree, sums=True), self._plan(whole)
        if cut.two_passes:
            scratch = self._polynomials(size * digits, whole)
            own, columns = (a, first), columns if columns.two_passes else cut
            self._raise_run(
                columns, scratch, own, rows, matrix, matrix, whole, run, mode, run.width, len(a.basis), digits, 0, size
            )
            rows, mode = scratch, _PLAIN
        roots, primes = self._tables.roots(whole), self._tables.primes(whole)
        buffers = (out, a.data, rows, matrix, key.data, primes, roots.forward, *_slots(roots.slots))
        sizes = _u32(mode, digits, run.width, len(a.basis), width, key.shape[0], first)
        for part in stretches(whole.moduli):
            blocks, defines = part.count * cut.tiles * size, cut.defines(narrow=part.narrow)
            where = _u32(part.start, size)
            self._launch("accumulate", "accumulate", defines, blocks * cut.block, *buffers, *sizes, *where)

    def _switch_raised(
        self,
        out: Buffer,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        keys: Sequence[PolynomialArray],
        first: int,
        size: int,
    ) -> None:
        """Key switching of any digits with any keys: the digits are stored, and read once for two components."""
        whole, width, components = keys[0].basis, len(keys[0].basis), keys[0].shape[0]
        raised = self._polynomials(size * len(digits), whole)
        self._raise(raised, a, digits, whole, 0, first, size)
        defines = plan(self._device.facts, whole.ring_degree, sums=True).defines()
        primes, words = self._tables.primes(whole), size * width * whole.ring_degree
        for number, key in enumerate(keys):
            for c in range(0, components, _PAIR):
                some, at = min(_PAIR, components - c), number * components + c
                sizes = _u32(len(digits), width, some, c, len(keys) * components, at, first)
                arguments = (out, raised, key.data, primes, *sizes, np.uint64(words))
                self._launch("accumulate", "accumulate_raised", defines, words, *arguments)

    # -- kernels -----------------------------------------------------------------------------------------

    def _plan(self, basis: RnsBasis) -> Plan:
        return plan(self._device.facts, basis.ring_degree)

    def _pass(
        self, program: str, kernel: str, cut: Plan, basis: RnsBasis, size: int, *arguments: Argument, digits: int = 0
    ) -> None:
        """A kernel over the tiles of `size` polynomials modulo `basis`, or of `digits` digits of each: to `arguments`
        are added where a launch begins, with digits for how many primes it is, and how polynomials share a block.
        """
        for part in stretches(basis.moduli):
            rows = part.count * max(1, digits)
            share = together(self._device.facts, cut, rows, size)
            blocks, defines = rows * cut.tiles * -(-size // share), cut.defines(narrow=part.narrow)
            where = _u32(part.start, *([part.count] if digits else []), size, share)
            self._launch(program, kernel, defines, blocks * cut.block, *arguments, *where)

    def _polynomials(self, size: int, basis: RnsBasis) -> Buffer:
        """Uninitialised memory."""
        return self._empty(size * len(basis) * basis.ring_degree, np.uint64)

    def _ring_chunks(self, count: int, each: int, run: Callable[[int, int], None]) -> None:
        """`run(first, last)` over parts of `count` polynomials whose temporaries, `each` bytes for one, fit the budget.

        A part that finds no memory is run again at half its size, down to one polynomial: then DeviceMemoryError.
        """
        step, first = max(1, self._budget // each), 0
        while first < count:
            last = min(count, first + step)
            try:
                run(first, last)
                first = last
            except DeviceMemoryError:
                if last - first == 1:
                    raise
                step = (last - first) // 2
                gc.collect()  # arrays that only a cycle of references keeps


def _u32(*numbers: int) -> tuple[np.uint32, ...]:
    return tuple(np.uint32(number) for number in numbers)


def _slots(slots: Slots) -> tuple[np.uint32, ...]:
    return _u32(slots.first, slots.turn, slots.second)


def _cofactor_inverses(basis: RnsBasis) -> list[int]:
    """(Q/q_i)^-1 modulo each q_i, Q their product."""
    return [invert(basis.product // q % q, q) if len(basis) > 1 else 1 for q in basis.moduli]


def _ranges(run: _Run) -> list[tuple[int, int]]:
    return [(start, min(start + run.width, run.stop)) for start in range(run.start, run.stop, run.width)]


def _runs(digits: Sequence[tuple[int, int]]) -> list[_Run]:
    """The digits as runs of one width each, whose last may be narrower."""
    runs: list[_Run] = []
    for j, (start, stop) in enumerate(digits):
        last = runs[-1] if runs else None
        full = last is not None and last.stop - last.start == (last.last - last.first) * last.width
        if last is not None and full and stop - start <= last.width:
            runs[-1] = _Run(last.first, j + 1, last.start, last.width, stop)
        else:
            runs.append(_Run(j, j + 1, start, stop - start, stop))
    return runs
