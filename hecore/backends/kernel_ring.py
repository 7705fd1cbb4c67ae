"""The ring half of every kernel backend: `RingBackend` over the device kernels.

`PolynomialArray.data` is a buffer of u64 words (size, k, N), canonical residues. An operation is one launch, and
nothing goes back to the host but what `ring_download` and `ring_decode` are asked for. Messages, keys and errors come
by `ring_encode` and leave by `ring_decode`: what these hold is overwritten before its memory is used again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.backends import kernel_walks as walks
from hecore.backends import ring_checks as checks
from hecore.backends.kernel_composition import composition, digits_of
from hecore.backends.kernel_random import KernelRandom
from hecore.backends.kernel_switch import KernelSwitch
from hecore.backends.ring_protocol import PolynomialArray, SmallArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.rns import RnsBasis
    from hecore.backends.device import Argument, Buffer
    from hecore.backends.kernel_walks import Walk
    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import Words

_ITEMS = 2  # of kernels/device/rows.h
_ELEMENTS = 4  # of one launch of `permute_sum`
_TARGETS = 8  # of kernels/device/convert.c
_ADD, _SUBTRACT = 0, 1
_WORD = 8
_DEFINES = {"BLOCK": 128, "LANES": 1}


class KernelRing(KernelSwitch, KernelRandom):
    """Transport, pointwise operations and change of basis; transforms and key switching are in `KernelSwitch`."""

    # -- transport ---------------------------------------------------------------------------------------

    def ring_upload(self, words: Words, basis: RnsBasis, *, ntt: bool) -> PolynomialArray:
        shape = checks.check_words(words, basis)
        return PolynomialArray(self, basis, shape, ntt, self._to_device(words))

    def ring_download(self, a: PolynomialArray) -> Words:
        checks.check_owned(self, a)
        return self._to_host(a.data, (*a.shape, len(a.basis), a.basis.ring_degree), np.uint64)

    def ring_encode(
        self,
        coefficients: NDArray[np.int64] | SmallArray,
        basis: RnsBasis,
        *,
        ntt: bool = False,
        plus: SmallArray | None = None,
    ) -> PolynomialArray:
        shape = checks.check_encoding(self, coefficients, basis, plus)
        size, k, degree = math.prod(shape), len(basis), basis.ring_degree
        out = self._secret(size * _bytes(basis)).buffer
        more = None if plus is None else plus.data

        def reduce(words: Buffer, first: int, last: int) -> None:
            numbers = _u32(more is not None, first, k)
            self._ring_rows("encode", basis, (last - first) * k, out, words, more, self._tables.primes(basis), *numbers)

        if isinstance(coefficients, SmallArray):
            reduce(coefficients.data, 0, size)
            return self._ring_encoded(out, basis, shape, ntt)
        source = np.ascontiguousarray(coefficients).reshape(-1, degree)

        def encode(first: int, last: int) -> None:
            with self._secret(source[first:last].nbytes) as words:
                self._device.write(words, source[first:last])
                reduce(words, first, last)

        self._ring_chunks(size, degree * _WORD, encode)
        return self._ring_encoded(out, basis, shape, ntt)

    def ring_encode_wide(
        self, magnitudes: Words, negative: NDArray[np.bool_], basis: RnsBasis, *, ntt: bool = False
    ) -> PolynomialArray:
        shape = checks.check_wide(magnitudes, negative, basis)
        degree, limbs = magnitudes.shape[-2:]
        source = np.ascontiguousarray(magnitudes).reshape(-1, degree, limbs)
        signs = np.ascontiguousarray(negative).reshape(-1, degree)
        out, k = self._secret(len(source) * _bytes(basis)).buffer, len(basis)

        def encode(first: int, last: int) -> None:
            with self._secret(source[first:last].nbytes) as words, self._secret(signs[first:last].nbytes) as flags:
                self._device.write(words, source[first:last])
                self._device.write(flags, signs[first:last])
                fixed = (out, words, flags, self._tables.primes(basis), *_u32(limbs, first, k))
                self._ring_rows("encode_wide", basis, (last - first) * k, *fixed)

        self._ring_chunks(len(source), degree * (limbs * _WORD + 1), encode)
        return self._ring_encoded(out, basis, shape, ntt)

    def _ring_encoded(self, words: Buffer, basis: RnsBasis, shape: tuple[int, ...], ntt: bool) -> PolynomialArray:
        out = PolynomialArray(self, basis, shape, False, words)
        with self.secrecy():
            return self.ntt(out) if ntt else out

    def ring_decode(self, a: PolynomialArray) -> tuple[Words, NDArray[np.bool_]]:
        checks.check_owned(self, a)
        basis, degree, limbs = a.basis, a.basis.ring_degree, checks.limbs_of(a.basis)
        magnitudes = np.empty((a.size, degree, limbs), dtype=np.uint64)
        negative = np.empty((a.size, degree), dtype=np.bool_)
        own, primes = self._tables.conversion(basis, basis), self._tables.primes(basis)
        table = self._tables.table(("composition", basis), lambda: composition(basis))
        k, digits = len(basis), digits_of(basis)

        def decode(first: int, last: int) -> None:
            threads = (last - first) * degree
            with (
                self._secret(threads * limbs * _WORD) as words,
                self._secret(threads) as signs,
                self._secret(threads * (k + digits) * _WORD) as scratch,
            ):
                residues, start = self._ring_coefficients(a, first, last)
                buffers = (words, signs, scratch, residues, primes, own.inverses, own.weights, table)
                sizes = _u32(start, k, digits, limbs, _log(degree))
                self._launch("convert", "compose", _DEFINES, threads, *buffers, *sizes, np.uint64(threads))
                self._device.read(words, magnitudes[first:last])
                self._device.read(signs, negative[first:last])

        self._ring_chunks(a.size, degree * (limbs + digits + 3 * k) * _WORD, decode)
        return magnitudes.reshape(*a.shape, degree, limbs), negative.reshape(*a.shape, degree)

    def _ring_coefficients(self, a: PolynomialArray, first: int, last: int) -> tuple[Buffer, int]:
        """A buffer with the coefficients of polynomials first … last-1, and which of its polynomials is the first."""
        if not a.ntt:
            return a.data, first
        with self.secrecy():
            part = a if last - first == a.size else self._ring_moved(a, (last - first,), first, walks.ALL)
            return self.intt(part).data, 0

    def ring_take(self, a: PolynomialArray, indices: Indices) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        even = walks.evenly(indices)
        if even == (0, walks.ALL) and indices.size == a.size:
            return self.ring_reshape(a, indices.shape)
        if even is not None:
            return self._ring_moved(a, indices.shape, *even)
        return self._ring_gathered(a, a.basis, indices.shape, indices, within=False)

    def ring_concatenate(self, arrays: Sequence[PolynomialArray]) -> PolynomialArray:
        checks.check_concatenate(self, arrays)
        basis, size, ntt = arrays[0].basis, sum(a.size for a in arrays), arrays[0].ntt
        if len(arrays) == 1:
            return self.ring_reshape(arrays[0], (size,))
        out, place, k = self._ring_empty(size, basis), 0, len(basis)
        for a in arrays:
            self._ring_rows("move", basis, a.size * k, out, a.data, *_u32(place * k, 0, 1, k), *walks.ALL.arguments(k))
            place += a.size
        return PolynomialArray(self, basis, (size,), ntt, out)

    def ring_reshape(self, a: PolynomialArray, shape: tuple[int, ...]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return PolynomialArray(self, a.basis, shape, a.ntt, a.data)

    def ring_moduli(self, a: PolynomialArray, positions: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_positions(a, positions)
        basis, even = a.basis.take(positions), walks.even_positions(positions)
        if even is None:
            return self._ring_gathered(a, basis, a.shape, np.asarray(positions), within=True)
        if even == (0, 1) and len(basis) == len(a.basis):
            return a
        out, (first, step) = self._ring_empty(a.size, basis), even
        steps = (*_u32(0, first, step, len(basis)), *walks.ALL.arguments(len(a.basis)))
        self._ring_rows("move", basis, a.size * len(basis), out, a.data, *steps)
        return PolynomialArray(self, basis, a.shape, a.ntt, out)

    # -- automorphisms -----------------------------------------------------------------------------------

    def automorphism(self, a: PolynomialArray, element: int) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_element(a, element)
        out, k = self._ring_empty(a.size, a.basis), len(a.basis)
        if a.ntt:
            self._ring_rows("permute", a.basis, a.size * k, out, a.data, *_u32(element))
        else:
            inverse = pow(element, -1, 2 * a.basis.ring_degree)
            fixed = (out, a.data, self._tables.primes(a.basis), *_u32(inverse, k))
            self._ring_rows("permute_signed", a.basis, a.size * k, *fixed)
        return self._ring_like(a, out)

    def automorphism_sum(self, a: PolynomialArray, elements: Sequence[int]) -> PolynomialArray:
        checks.check_automorphism_sum(self, a, elements)
        terms, components, k = a.shape[-2], a.shape[-1], len(a.basis)
        shape = (*a.shape[:-2], components)
        step = components if terms > 1 else 0
        out, size = self._ring_empty(math.prod(shape), a.basis), math.prod(shape)
        for first in range(0, len(elements), _ELEMENTS):
            some = [*elements[first : first + _ELEMENTS]]
            padded = some + [1] * (_ELEMENTS - len(some))
            steps = _u32(first > 0, first * step, terms * components, step, components, k)
            fixed = (out, a.data, self._tables.primes(a.basis), *_u32(len(some), *padded), *steps)
            self._ring_rows("permute_sum", a.basis, size * k, *fixed)
        return PolynomialArray(self, a.basis, shape, True, out)

    # -- residues ----------------------------------------------------------------------------------------

    def residue_add(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        return self._ring_combined(a, b, _ADD)

    def residue_sub(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        return self._ring_combined(a, b, _SUBTRACT)

    def residue_negate(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_owned(self, a)
        out, k = self._ring_empty(a.size, a.basis), len(a.basis)
        self._ring_rows("negate", a.basis, a.size * k, out, a.data, self._tables.primes(a.basis), *_u32(k))
        return self._ring_like(a, out)

    def residue_mul(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        return self._ring_products("multiply", a, b, checks.check_product(self, a, b), 0)

    def residue_mul_accumulate(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        shape, terms = checks.check_accumulate(self, a, b)
        return self._ring_products("multiply_accumulate", a, b, shape, 1, terms)

    def residue_scale(self, a: PolynomialArray, factors: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, factors)
        table = self._tables.factors(factors, a.basis.moduli)
        out, k = self._ring_empty(a.size, a.basis), len(a.basis)
        self._ring_rows("scale", a.basis, a.size * k, out, a.data, table, self._tables.primes(a.basis), *_u32(k))
        return self._ring_like(a, out)

    def residue_shift(self, a: PolynomialArray, constants: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, constants)
        table = self._tables.table(("constants", *constants), lambda: constants)
        out, k = self._ring_empty(a.size, a.basis), len(a.basis)
        self._ring_rows("shift", a.basis, a.size * k, out, a.data, table, self._tables.primes(a.basis), *_u32(a.ntt, k))
        return self._ring_like(a, out)

    def tensor_product(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        shape = checks.check_tensor(self, a, b)
        a, b, walk = self._ring_met(a, b, 1)
        size, k = math.prod(shape), len(a.basis)
        out = self._ring_empty(3 * size, a.basis)
        fixed = (out, a.data, b.data, self._tables.primes(a.basis), *walk.arguments(), *_u32(k))
        self._ring_rows("tensor", a.basis, size * k, *fixed)
        return PolynomialArray(self, a.basis, (*shape, 3), True, out)

    # -- change of basis ---------------------------------------------------------------------------------

    def base_convert(self, a: PolynomialArray, target: RnsBasis, *, exact: bool) -> PolynomialArray:
        checks.check_conversion(self, a, target)
        table, count, degree = self._tables.conversion(a.basis, target), len(target), target.ring_degree
        out = self._ring_empty(a.size, target)
        groups = -(-count // _TARGETS)
        units = a.size * groups
        constants = (self._tables.primes(a.basis), table.inverses, table.weights, self._tables.primes(target))
        sizes = _u32(len(a.basis), exact, count, -(-count // groups), groups, _log(degree), units)
        self._launch("convert", "convert", _DEFINES, units * degree, out, a.data, *constants, table.matrix, *sizes)
        return PolynomialArray(self, target, a.shape, False, out)

    # -- kernels -----------------------------------------------------------------------------------------

    def _ring_empty(self, size: int, basis: RnsBasis) -> Buffer:
        """Uninitialised memory."""
        return self._empty(size * _bytes(basis), np.uint8)

    def _ring_like(self, a: PolynomialArray, data: Buffer) -> PolynomialArray:
        return PolynomialArray(self, a.basis, a.shape, a.ntt, data)

    def _ring_rows(self, kernel: str, basis: RnsBasis, rows: int, *arguments: Argument) -> None:
        """A kernel of ring.c over rows of N residues."""
        degree = basis.ring_degree
        threads = rows * (degree // _ITEMS)
        self._launch("ring", kernel, _DEFINES, threads, *arguments, *_u32(_log(degree), rows))

    def _ring_met(
        self, a: PolynomialArray, b: PolynomialArray, inner: int
    ) -> tuple[PolynomialArray, PolynomialArray, Walk]:
        """Two operands and how they meet; shapes that repeat along too many axes in turns are spread out first."""
        found = walks.meeting(a.shape, b.shape, inner)
        if found is None:
            spread = walks.spread(a.shape, b.shape, inner)
            a, b = (self.ring_take(x, indices) for x, indices in zip((a, b), spread, strict=True))
            found = walks.meeting(a.shape, b.shape, inner)
            assert found is not None, "equal shapes are one axis"
        return a, b, found

    def _ring_combined(self, a: PolynomialArray, b: PolynomialArray, operation: int) -> PolynomialArray:
        shape = checks.check_pair(self, a, b)
        a, b, walk = self._ring_met(a, b, 0)
        size, k = math.prod(shape), len(a.basis)
        out = self._ring_empty(size, a.basis)
        fixed = (out, a.data, b.data, self._tables.primes(a.basis), *_u32(operation), *walk.arguments(), *_u32(k))
        self._ring_rows("combine", a.basis, size * k, *fixed)
        return PolynomialArray(self, a.basis, shape, a.ntt, out)

    def _ring_products(
        self, kernel: str, a: PolynomialArray, b: PolynomialArray, shape: tuple[int, ...], inner: int, *terms: int
    ) -> PolynomialArray:
        a, b, walk = self._ring_met(a, b, inner)
        basis, size, k = a.basis, math.prod(shape), len(a.basis)
        out = self._ring_empty(size, basis)
        fixed = (out, a.data, b.data, self._tables.primes(basis))
        self._ring_rows(kernel, basis, size * k, *fixed, *_u32(*terms), *walk.arguments(), *_u32(k))
        return PolynomialArray(self, basis, shape, True, out)

    def _ring_moved(self, a: PolynomialArray, shape: tuple[int, ...], first: int, walk: Walk) -> PolynomialArray:
        """The polynomials from number `first` on that `walk` meets."""
        size, k = math.prod(shape), len(a.basis)
        out = self._ring_empty(size, a.basis)
        self._ring_rows("move", a.basis, size * k, out, a.data, *_u32(0, first * k, 1, k), *walk.arguments(k))
        return PolynomialArray(self, a.basis, shape, a.ntt, out)

    def _ring_gathered(
        self, a: PolynomialArray, basis: RnsBasis, shape: tuple[int, ...], indices: Indices, *, within: bool
    ) -> PolynomialArray:
        """Polynomials by number, or the residues of each by position."""
        numbers = np.ascontiguousarray(indices, dtype=np.uint64)
        table = self._tables.table(("indices", numbers.tobytes()), lambda: numbers)
        size, k = math.prod(shape), len(basis)
        out = self._ring_empty(size, basis)
        self._ring_rows("gather_rows", basis, size * k, out, a.data, table, *_u32(within, len(a.basis), k))
        return PolynomialArray(self, basis, shape, a.ntt, out)


def _u32(*numbers: int) -> tuple[np.uint32, ...]:
    """Arguments of kernels, modulo 2^32."""
    return tuple(np.uint32(number % 2**32) for number in numbers)


def _log(degree: int) -> int:
    return degree.bit_length() - 1


def _bytes(basis: RnsBasis) -> int:
    """Of one polynomial."""
    return len(basis) * basis.ring_degree * _WORD
