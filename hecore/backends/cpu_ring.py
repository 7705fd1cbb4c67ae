"""The ring half of the CPU backend: `RingBackend` over the Numba kernels, with threads of the backend's own.

`PolynomialArray.data` is C-contiguous uint64 (size, k, N) of canonical residues in memory that is used again
(`kernels.cpu.ring_memory`). Everything is constant time in the residues.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.stream import SecretStream
from hecore.backends import cpu_sampling
from hecore.backends import ring_checks as checks
from hecore.backends.ring_protocol import PolynomialArray, SmallArray
from hecore.kernels.cpu import (
    ntt,
    ntt_rows,
    ring_accumulate,
    ring_compose,
    ring_convert,
    ring_encode,
    ring_pointwise,
    ring_steps,
    ring_switch,
    ring_tables,
)
from hecore.kernels.cpu.context import scratch_vectors
from hecore.kernels.cpu.ring_convert import BLOCK
from hecore.kernels.cpu.ring_memory import empty
from hecore.kernels.cpu.vector import LANES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.rns import RnsBasis
    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import Words
    from hecore.kernels.cpu.ring_tables import Conversion
    from hecore.kernels.cpu.workers import Workers


class CpuRing:
    """`RingBackend` for the processor at hand."""

    name: str
    _workers: Workers

    # -- transport ---------------------------------------------------------------------------------------

    def ring_upload(self, words: Words, basis: RnsBasis, *, ntt: bool) -> PolynomialArray:
        shape = checks.check_words(words, basis)
        out = self._empty(math.prod(shape), basis)
        out[:] = words.reshape(out.shape)
        return PolynomialArray(self, basis, shape, ntt, out)

    def ring_download(self, a: PolynomialArray) -> Words:
        checks.check_owned(self, a)
        words: Words = a.data.reshape(*a.shape, len(a.basis), a.basis.ring_degree).copy()
        return words

    def ring_encode(
        self,
        coefficients: NDArray[np.int64] | SmallArray,
        basis: RnsBasis,
        *,
        ntt: bool = False,
        plus: SmallArray | None = None,
    ) -> PolynomialArray:
        shape = checks.check_encoding(self, coefficients, basis, plus)
        source = coefficients.data if isinstance(coefficients, SmallArray) else np.ascontiguousarray(coefficients)
        if plus is not None:
            source = source + plus.data
        out = self._empty(math.prod(shape), basis)
        self._rows(ring_encode.encode, out, source, ring_tables.basis_constants(basis))
        if ntt:
            self._transform(out, basis, inverse=False)
        return PolynomialArray(self, basis, shape, ntt, out)

    def ring_encode_wide(
        self, magnitudes: Words, negative: NDArray[np.bool_], basis: RnsBasis, *, ntt: bool = False
    ) -> PolynomialArray:
        shape = checks.check_wide(magnitudes, negative, basis)
        degree, limbs = magnitudes.shape[-2:]
        out = self._empty(math.prod(shape), basis)
        source = np.ascontiguousarray(magnitudes).reshape(-1, degree, limbs)
        signs = np.ascontiguousarray(negative).reshape(-1, degree).view(np.int8)
        constants = (ring_tables.limb_factors(basis), ring_tables.basis_constants(basis))
        self._blocks(ring_encode.encode_wide, basis, len(out), (limbs + 1) * BLOCK, out, source, signs, *constants)
        if ntt:
            self._transform(out, basis, inverse=False)
        return PolynomialArray(self, basis, shape, ntt, out)

    def ring_decode(self, a: PolynomialArray) -> tuple[Words, NDArray[np.bool_]]:
        checks.check_owned(self, a)
        data, degree, limbs = self._coefficients(a), a.basis.ring_degree, checks.limbs_of(a.basis)
        magnitudes = np.empty((a.size, degree, limbs), dtype=np.uint64)
        negative = np.empty((a.size, degree), dtype=np.uint8)
        own, table = ring_tables.conversion(a.basis, a.basis), ring_tables.composition(a.basis)
        constants = (own.inverses, own.weights, own.source, table.cofactors, table.half, table.whole)
        words = (len(a.basis) + 1) * BLOCK + (len(table.half) + limbs + 1) * LANES
        self._blocks(ring_compose.compose, a.basis, a.size, words, magnitudes, negative, data, *constants)
        return magnitudes.reshape(*a.shape, degree, limbs), negative.view(np.bool_).reshape(*a.shape, degree)

    def ring_take(self, a: PolynomialArray, indices: Indices) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        first, size = int(indices.flat[0]) if indices.size else 0, indices.size
        if size == 1 or np.array_equal(indices.ravel(), np.arange(first, first + size)):
            return PolynomialArray(self, a.basis, indices.shape, a.ntt, a.data[first : first + size])
        out = self._empty(size, a.basis)
        np.take(a.data, indices.ravel(), axis=0, out=out, mode="clip")  # "clip" writes straight into `out`
        return PolynomialArray(self, a.basis, indices.shape, a.ntt, out)

    def ring_concatenate(self, arrays: Sequence[PolynomialArray]) -> PolynomialArray:
        checks.check_concatenate(self, arrays)
        basis, size = arrays[0].basis, sum(a.size for a in arrays)
        out = np.concatenate([a.data for a in arrays], out=self._empty(size, basis))
        return PolynomialArray(self, basis, (size,), arrays[0].ntt, out)

    def ring_reshape(self, a: PolynomialArray, shape: tuple[int, ...]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return PolynomialArray(self, a.basis, shape, a.ntt, a.data)

    def ring_moduli(self, a: PolynomialArray, positions: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_positions(a, positions)
        basis = a.basis.take(positions)
        out = self._empty(a.size, basis)
        np.take(a.data, list(positions), axis=1, out=out, mode="clip")
        return PolynomialArray(self, basis, a.shape, a.ntt, out)

    # -- randomness --------------------------------------------------------------------------------------

    def random_ternary(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        checks.check_sampling(shape, ring_degree)
        digits = cpu_sampling.ternary(SecretStream(), math.prod(shape) * ring_degree)
        return SmallArray(self, ring_degree, shape, digits.reshape(*shape, ring_degree))

    def random_errors(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        checks.check_sampling(shape, ring_degree)
        errors = cpu_sampling.errors(SecretStream(), math.prod(shape) * ring_degree)
        return SmallArray(self, ring_degree, shape, errors.reshape(*shape, ring_degree))

    # -- transforms --------------------------------------------------------------------------------------

    def ntt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self, a, ntt=False)
        return self._like(a, self._transformed(a.data, a.basis, inverse=False), ntt=True)

    def intt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self, a, ntt=True)
        return self._like(a, self._transformed(a.data, a.basis, inverse=True), ntt=False)

    def automorphism(self, a: PolynomialArray, element: int) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_element(a, element)
        out = self._empty(a.size, a.basis)
        if a.ntt:
            self._rows(ring_pointwise.permute, out, a.data, *ring_tables.permutation(a.basis.ring_degree, element))
        else:
            constants = ring_tables.basis_constants(a.basis)
            self._rows(ring_pointwise.signed_permute, out, a.data, element, constants)
        return self._like(a, out, ntt=a.ntt)

    def automorphism_sum(self, a: PolynomialArray, elements: Sequence[int]) -> PolynomialArray:
        checks.check_automorphism_sum(self, a, elements)
        outer, terms, components = a.shape[:-2], a.shape[-2], a.shape[-1]
        size = math.prod(outer)
        starts = np.arange(size * terms * components, dtype=np.intp).reshape(size, terms, components)[:, 0].ravel()
        tables = ring_tables.permutations(a.basis.ring_degree, tuple(elements))
        out, constants = self._empty(size * components, a.basis), ring_tables.basis_constants(a.basis)
        step = components if terms > 1 else 0
        self._rows(ring_pointwise.permute_sum, out, a.data, starts, step, *tables, constants)
        return PolynomialArray(self, a.basis, (*outer, components), True, out)

    # -- residues ----------------------------------------------------------------------------------------

    def residue_add(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        return self._combine(a, b, ring_pointwise.ADD)

    def residue_sub(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        return self._combine(a, b, ring_pointwise.SUBTRACT)

    def residue_negate(self, a: PolynomialArray) -> PolynomialArray:
        return self._combine(a, a, ring_pointwise.NEGATE)

    def residue_mul(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        shape = checks.check_product(self, a, b)
        out = self._empty(math.prod(shape), a.basis)
        left, right = _meeting(a.shape, b.shape, 0)
        constants = ring_tables.basis_constants(a.basis)
        self._rows(ring_accumulate.multiply, out, a.data, b.data, left, right, constants)
        return PolynomialArray(self, a.basis, shape, True, out)

    def residue_mul_accumulate(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        shape, count = checks.check_accumulate(self, a, b)
        size = math.prod(shape)
        out = self._empty(size, a.basis)
        left, right = _meeting(a.shape, b.shape, 1)
        together = 2 if _in_pairs(a.shape, b.shape) else 1
        terms, constants = ring_tables.terms(a.basis), ring_tables.basis_constants(a.basis)
        fixed = (out, a.data, b.data, left, right, count, together, terms, constants)

        def task(first: int, last: int) -> None:
            addresses, scratch = np.empty(count, dtype=np.intp), scratch_vectors(ring_accumulate.SUMS)
            ring_accumulate.multiply_accumulate(*fixed, addresses, scratch, first, last)

        self._workers.run(size // together * len(a.basis), task)
        return PolynomialArray(self, a.basis, shape, True, out)

    def residue_scale(self, a: PolynomialArray, factors: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, factors)
        out = self._empty(a.size, a.basis)
        table = ring_tables.factors(factors, a.basis)
        self._rows(ring_pointwise.scale, out, a.data, table, ring_tables.basis_constants(a.basis))
        return self._like(a, out, ntt=a.ntt)

    def residue_shift(self, a: PolynomialArray, constants: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, constants)
        out = self._empty(a.size, a.basis)
        addends = np.array(constants, dtype=np.uint64)
        self._rows(ring_pointwise.shift, out, a.data, addends, a.ntt, ring_tables.basis_constants(a.basis))
        return self._like(a, out, ntt=a.ntt)

    def tensor_product(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        shape = checks.check_tensor(self, a, b)
        size = math.prod(shape)
        out = self._empty(3 * size, a.basis)
        left, right = _meeting(a.shape, b.shape, 1)
        constants = ring_tables.basis_constants(a.basis)

        def task(first: int, last: int) -> None:
            ring_pointwise.tensor(out, a.data, b.data, left, right, constants, first, last)

        self._workers.run(size * len(a.basis), task)
        return PolynomialArray(self, a.basis, (*shape, 3), True, out)

    # -- change of basis ---------------------------------------------------------------------------------

    def base_convert(self, a: PolynomialArray, target: RnsBasis, *, exact: bool) -> PolynomialArray:
        checks.check_conversion(self, a, target)
        out = self._empty(a.size, target)
        self._convert(out, a.data, a.basis, 0, target, range(len(target)), exact=exact)
        return PolynomialArray(self, target, a.shape, False, out)

    def divide_round(self, a: PolynomialArray, count: int, *, plus: PolynomialArray | None = None) -> PolynomialArray:
        checks.check_division(self, a, count, plus)
        kept = len(a.basis) - count
        remaining, dropped = a.basis.prefix(kept), a.basis.take(range(kept, len(a.basis)))
        rows, start = a.data, kept
        if a.ntt or count > 1:
            rows, start = self._empty_rows(a.size, count + (count > 1), a.basis), 0
        if a.ntt:
            if plus is not None and len(plus.basis) > kept:
                self._backward(rows, self._tail_with_multiple(a, plus, dropped), tuple(range(count)))
            else:
                self._backward(rows, a, tuple(range(kept, len(a.basis))))
        if count > 1:
            source, at = (rows, 0) if a.ntt else (a.data, kept)
            self._cofactors(rows, 0, source, at, ring_tables.conversion(dropped, remaining), exact=True)
        out, degree = self._empty(a.size, remaining), a.basis.ring_degree
        steps = ring_steps.division_steps(remaining, dropped, start, a.ntt)
        factors, constants = ring_tables.division(remaining, dropped), ring_tables.basis_constants(remaining)
        fixed = (out, a.data, rows, steps.table, factors, *ntt_rows.plan_of(degree), constants)
        added = np.array([1, 0] if plus is None else [a.shape[-1], plus.shape[-1]])
        more, multiples = a.data, factors
        if plus is not None:
            more, multiples = plus.data, ring_tables.reciprocals(remaining, plus.basis.moduli[kept:])  # R / P

        def task(first: int, last: int) -> None:
            ring_switch.divide_rows(*fixed, more, added, multiples, scratch_vectors(degree // LANES), first, last)

        self._workers.run(a.size * kept, task)
        return PolynomialArray(self, remaining, a.shape, a.ntt, out)

    def _tail_with_multiple(self, a: PolynomialArray, plus: PolynomialArray, dropped: RnsBasis) -> PolynomialArray:
        """The residues of a + R*plus modulo `dropped`, the last moduli of a; R is the product of those `plus` lacks."""
        tail, lacking = self._empty(a.size, dropped), a.basis.moduli[len(plus.basis) :]
        added = np.array([a.shape[-1], plus.shape[-1]])
        factors, constants = ring_tables.products(dropped, lacking), ring_tables.basis_constants(dropped)
        self._rows(ring_pointwise.add_multiples, tail, a.data, plus.data, added, factors, constants)
        return PolynomialArray(self, dropped, a.shape, True, tail)

    def decompose(self, a: PolynomialArray, digits: Sequence[tuple[int, int]], special: RnsBasis) -> PolynomialArray:
        checks.check_digits(self, a, digits, special)
        whole, count = a.basis.join(special), len(digits)
        steps = ring_steps.digit_steps(a.basis, tuple(digits), special)
        rows, out = self._digit_sources(a, digits), self._empty(a.size * count, whole)
        fixed = (out, a.data, rows, steps.table, *ntt_rows.plan_of(whole.ring_degree))
        units = a.size * count * len(whole)
        self._workers.run(units, lambda first, last: ring_switch.raise_digits(*fixed, first, last))
        return PolynomialArray(self, whole, (*a.shape, count), True, out)

    def decompose_mul_accumulate(
        self,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        special: RnsBasis,
        b: PolynomialArray | Sequence[PolynomialArray],
    ) -> PolynomialArray:
        keys, shape = checks.check_switch(self, a, digits, special, b)
        whole, degree, count, components = keys[0].basis, special.ring_degree, len(digits), keys[0].shape[0]
        step = count * len(whole) * degree * 8
        starts = np.array([key.data.ctypes.data + c * step for key in keys for c in range(components)], dtype=np.intp)
        steps = ring_steps.digit_steps(a.basis, tuple(digits), special)
        rows, out = self._digit_sources(a, digits), self._empty(a.size * len(starts), whole)
        terms, constants = ring_tables.terms(whole), ring_tables.basis_constants(whole)
        fixed = (out, a.data, rows, steps.table, starts, *ntt_rows.plan_of(degree), terms, constants)

        def task(first: int, last: int) -> None:
            addresses = np.empty(count, dtype=np.intp)
            scratch = scratch_vectors(ring_switch.scratch_size(count, degree))
            ring_switch.switch_digits(*fixed, addresses, scratch, first, last)

        self._workers.run(a.size * len(whole), task)
        return PolynomialArray(self, whole, (*a.shape, *shape), True, out)

    # -- kernels -----------------------------------------------------------------------------------------

    def _empty(self, size: int, basis: RnsBasis) -> Words:
        return empty((size, len(basis), basis.ring_degree))

    def _like(self, a: PolynomialArray, data: Words, *, ntt: bool) -> PolynomialArray:
        return PolynomialArray(self, a.basis, a.shape, ntt, data)

    def _rows(self, kernel: Any, out: Words, *arguments: Any) -> None:
        """A kernel over the residue polynomials of `out`, cut over threads."""
        self._workers.run(out.shape[0] * out.shape[1], lambda first, last: kernel(out, *arguments, first, last))

    def _blocks(self, kernel: Any, basis: RnsBasis, size: int, words: int, *arguments: Any) -> None:
        """A kernel over the blocks of coefficients of `size` polynomials, with scratch memory of `words`."""

        def task(first: int, last: int) -> None:
            kernel(*arguments, scratch_vectors(-(-words // LANES)), first, last)

        block = min(basis.ring_degree, BLOCK)
        self._workers.run(size * (basis.ring_degree // block), task)

    def _empty_rows(self, size: int, rows: int, basis: RnsBasis) -> Words:
        return empty((size, rows, basis.ring_degree))

    def _backward(self, out: Words, a: PolynomialArray, positions: tuple[int, ...]) -> None:
        """The coefficients of a's residues at `positions`, to rows 0, 1, … of each polynomial of `out`."""
        rows, degree = ring_steps.backward_rows(a.basis, positions, a.size, out.shape[1]), a.basis.ring_degree
        fixed = (out, a.data, rows.table, degree, *ntt_rows.plan_of(degree))
        self._workers.run(len(rows.table), lambda first, last: ntt_rows.transform_rows(*fixed, first, last))

    def _digit_sources(self, a: PolynomialArray, digits: Sequence[tuple[int, int]]) -> Words:
        """What digits are raised from: coefficients, and for digits of several primes their y_i."""
        rows = self._empty(a.size, a.basis)
        self._backward(rows, a, tuple(range(len(a.basis))))
        for start, table in ring_steps.multi_prime(digits, a.basis):
            self._cofactors(rows, start, rows, start, table, exact=False)
        return rows

    def _cofactors(
        self, out: Words, out_start: int, data: Words, start: int, table: Conversion, *, exact: bool
    ) -> None:
        """The y_i of a base conversion of rows start … of `data`, and v where `exact`, to rows out_start … of `out`."""
        fixed = (out, out_start, data, start, table.inverses, table.weights, table.source, exact)
        blocks = len(data) * max(1, data.shape[2] // BLOCK)
        self._workers.run(blocks, lambda first, last: ring_convert.cofactors(*fixed, first, last))

    def _transform(self, data: Words, basis: RnsBasis, *, inverse: bool) -> None:
        ntt.transform(self._workers, data, basis, inverse=inverse, out=data)

    def _transformed(self, data: Words, basis: RnsBasis, *, inverse: bool) -> Words:
        out = self._empty(len(data), basis)
        ntt.transform(self._workers, data, basis, inverse=inverse, out=out)
        return out

    def _coefficients(self, a: PolynomialArray) -> Words:
        data: Words = self._transformed(a.data, a.basis, inverse=True) if a.ntt else a.data
        return data

    def _combine(self, a: PolynomialArray, b: PolynomialArray, operation: int) -> PolynomialArray:
        shape = checks.check_pair(self, a, b)
        out = self._empty(math.prod(shape), a.basis)
        left, right = _meeting(a.shape, b.shape, 0)
        constants = ring_tables.basis_constants(a.basis)
        self._rows(ring_pointwise.combine, out, a.data, b.data, left, right, operation, constants)
        return PolynomialArray(self, a.basis, shape, a.ntt, out)

    def _convert(
        self,
        out: Words,
        data: Words,
        source: RnsBasis,
        start: int,
        target: RnsBasis,
        rows: Sequence[int],
        *,
        exact: bool,
        out_step: int = 1,
        out_at: int = 0,
    ) -> None:
        """Residues start … of `data` to residues `rows` of polynomials out_at, out_at + out_step, … of `out`."""
        table = ring_tables.conversion(source, target)
        positions = np.array(rows, dtype=np.intp)
        constants = (table.inverses, table.weights, table.matrix, table.source, table.target)
        words = (len(source) + 1) * BLOCK
        arguments = (out, data, start, positions, out_step, out_at, *constants, exact)
        self._blocks(ring_convert.convert, source, len(data), words, *arguments)


@lru_cache(maxsize=1024)
def _meeting(a: tuple[int, ...], b: tuple[int, ...], inner: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which polynomial of each operand meets which of the result; the last `inner` axes run within: their first."""
    outer_a, outer_b = a[: len(a) - inner], b[: len(b) - inner]
    shape = np.broadcast_shapes(outer_a, outer_b)
    found = []
    for whole, outer in ((a, outer_a), (b, outer_b)):
        first = np.arange(math.prod(outer), dtype=np.intp) * math.prod(whole[len(outer) :])
        found.append(np.broadcast_to(first.reshape(outer), shape).ravel())
    for index in found:
        index.setflags(write=False)
    return found[0], found[1]


@lru_cache(maxsize=1024)
def _in_pairs(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether results 2p and 2p + 1 come from one polynomial of `a`."""
    left, _ = _meeting(a, b, 1)
    return len(left) > 0 and len(left) % 2 == 0 and bool((left[::2] == left[1::2]).all())
