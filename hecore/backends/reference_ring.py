"""The ring half of the reference backend: every operation in Python integers, written to be read.

It defines the residues that every other backend must reproduce bit for bit. It is slow (NumPy arrays of Python
integers), and variable time throughout: it makes no promise to hide a secret from a local observer.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.random import random_below
from hecore.arith.rns import RnsBasis, galois_permutation, root_powers
from hecore.backends import ring_checks as checks
from hecore.backends.ring_protocol import ERROR_BOUND, PolynomialArray, SmallArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import Words

Integers = NDArray[np.object_]


class ReferenceRing:
    """`RingBackend` over Python integers; `PolynomialArray.data` is an object array (*S, k, N), canonical."""

    name = "reference"

    # -- transport ---------------------------------------------------------------------------------------

    def ring_upload(self, words: Words, basis: RnsBasis, *, ntt: bool) -> PolynomialArray:
        checks.check_words(words, basis)
        return self._ring(words.astype(object), basis, ntt)

    def ring_download(self, a: PolynomialArray) -> Words:
        checks.check_owned(self, a)
        words: Words = a.data.astype(np.uint64)
        return words

    def ring_encode(
        self,
        coefficients: NDArray[np.int64] | SmallArray,
        basis: RnsBasis,
        *,
        ntt: bool = False,
        plus: SmallArray | None = None,
    ) -> PolynomialArray:
        checks.check_encoding(self, coefficients, basis, plus)
        values = coefficients.data if isinstance(coefficients, SmallArray) else coefficients.astype(object)
        return self._encode(values if plus is None else values + plus.data, basis, ntt)

    def ring_encode_wide(
        self, magnitudes: Words, negative: NDArray[np.bool_], basis: RnsBasis, *, ntt: bool = False
    ) -> PolynomialArray:
        checks.check_wide(magnitudes, negative, basis)
        values = _objects(ints_from_limbs(magnitudes), negative.shape)
        return self._encode(np.where(negative, -values, values), basis, ntt)

    def _encode(self, values: Integers, basis: RnsBasis, ntt: bool) -> PolynomialArray:
        coefficients = self._ring(values[..., None, :] % _column(basis), basis, ntt=False)
        return self.ntt(coefficients) if ntt else coefficients

    def ring_decode(self, a: PolynomialArray) -> tuple[Words, NDArray[np.bool_]]:
        checks.check_owned(self, a)
        product = a.basis.product
        values = _compose(_coefficients(a), a.basis)
        centred = np.where(values > product // 2, values - product, values)
        flat = [abs(x) for x in centred.ravel()]
        limbs = checks.limbs_of(a.basis)
        negative: NDArray[np.bool_] = (centred < 0).astype(np.bool_)
        return limbs_from_ints(flat, limbs).reshape(*centred.shape, limbs), negative

    def ring_take(self, a: PolynomialArray, indices: Indices) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        flat = a.data.reshape(-1, *a.data.shape[-2:])
        return self._ring(flat[indices], a.basis, a.ntt)

    def ring_concatenate(self, arrays: Sequence[PolynomialArray]) -> PolynomialArray:
        checks.check_concatenate(self, arrays)
        flat = [a.data.reshape(-1, *a.data.shape[-2:]) for a in arrays]
        return self._ring(np.concatenate(flat), arrays[0].basis, arrays[0].ntt)

    def ring_reshape(self, a: PolynomialArray, shape: tuple[int, ...]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return self._ring(a.data.reshape(*shape, *a.data.shape[-2:]), a.basis, a.ntt)

    def ring_moduli(self, a: PolynomialArray, positions: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_positions(a, positions)
        return self._ring(a.data[..., list(positions), :], a.basis.take(positions), a.ntt)

    # -- randomness --------------------------------------------------------------------------------------

    def random_ternary(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        return self._small(lambda: random_below(3) - 1, shape, ring_degree)

    def random_errors(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        bits = 2 * ERROR_BOUND
        return self._small(lambda: random_below(1 << bits).bit_count() - ERROR_BOUND, shape, ring_degree)

    def _small(self, draw: Callable[[], int], shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        checks.check_sampling(shape, ring_degree)
        values = [draw() for _ in range(math.prod(shape) * ring_degree)]
        return SmallArray(self, ring_degree, shape, _objects(values, (*shape, ring_degree)))

    # -- transforms --------------------------------------------------------------------------------------

    def ntt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self, a, ntt=False)
        return self._ring(_forward(a.data, a.basis), a.basis, ntt=True)

    def intt(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_domain(self, a, ntt=True)
        return self._ring(_inverse(a.data, a.basis), a.basis, ntt=False)

    def automorphism(self, a: PolynomialArray, element: int) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_element(a, element)
        degree = a.basis.ring_degree
        if a.ntt:
            return self._ring(a.data[..., galois_permutation(degree, element)], a.basis, ntt=True)
        out = np.empty_like(a.data)
        for i in range(degree):  # X^i -> X^(i*element), and X^N = -1
            turns, j = divmod(i * element, degree)
            out[..., j] = a.data[..., i] * (-1) ** turns
        return self._reduced(out, a)

    def automorphism_sum(self, a: PolynomialArray, elements: Sequence[int]) -> PolynomialArray:
        checks.check_automorphism_sum(self, a, elements)
        out = np.zeros((), dtype=object)
        for j, element in enumerate(elements):
            term = a.data[..., j if a.shape[-2] > 1 else 0, :, :, :]
            out = out + term[..., galois_permutation(a.basis.ring_degree, element)]
        return self._reduced(out, a)

    # -- residues ----------------------------------------------------------------------------------------

    def residue_add(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        checks.check_pair(self, a, b)
        return self._reduced(a.data + b.data, a)

    def residue_sub(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        checks.check_pair(self, a, b)
        return self._reduced(a.data - b.data, a)

    def residue_negate(self, a: PolynomialArray) -> PolynomialArray:
        checks.check_owned(self, a)
        return self._reduced(-a.data, a)

    def residue_mul(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        checks.check_product(self, a, b)
        return self._reduced(a.data * b.data, a)

    def residue_mul_accumulate(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        checks.check_accumulate(self, a, b)
        return self._reduced((a.data * b.data).sum(axis=-3), a)

    def residue_scale(self, a: PolynomialArray, factors: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, factors)
        return self._reduced(a.data * _objects(factors, (-1, 1)), a)

    def residue_shift(self, a: PolynomialArray, constants: Sequence[int]) -> PolynomialArray:
        checks.check_owned(self, a)
        checks.check_constants(a, constants)
        shifted = a.data.copy()
        if a.ntt:
            shifted += _objects(constants, (-1, 1))
        else:
            shifted[..., 0] += _objects(constants, (-1,))
        return self._reduced(shifted, a)

    def tensor_product(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        checks.check_tensor(self, a, b)
        a0, a1 = a.data[..., 0, :, :], a.data[..., 1, :, :]
        b0, b1 = b.data[..., 0, :, :], b.data[..., 1, :, :]
        return self._reduced(np.stack([a0 * b0, a0 * b1 + a1 * b0, a1 * b1], axis=-3), a)

    # -- change of basis ---------------------------------------------------------------------------------

    def base_convert(self, a: PolynomialArray, target: RnsBasis, *, exact: bool) -> PolynomialArray:
        checks.check_conversion(self, a, target)
        return self._ring(_convert(a.data, a.basis, target, exact=exact), target, ntt=False)

    def divide_round(self, a: PolynomialArray, count: int, *, plus: PolynomialArray | None = None) -> PolynomialArray:
        checks.check_division(self, a, count, plus)
        if plus is not None:
            a = self._with_multiple(a, plus)
        kept = len(a.basis) - count
        remaining, dropped = a.basis.prefix(kept), a.basis.take(range(kept, len(a.basis)))
        coefficients = _coefficients(a)
        r = _convert(coefficients[..., kept:, :], dropped, remaining, exact=True)
        inverses = _objects([invert(dropped.product % q, q) for q in remaining.moduli], (-1, 1))
        out = self._ring((coefficients[..., :kept, :] - r) * inverses % _column(remaining), remaining, ntt=False)
        return self.ntt(out) if a.ntt else out

    def decompose(self, a: PolynomialArray, digits: Sequence[tuple[int, int]], special: RnsBasis) -> PolynomialArray:
        checks.check_digits(self, a, digits, special)
        whole = a.basis.join(special)
        coefficients = _coefficients(a)
        raised = []
        for start, stop in digits:
            source = a.basis.take(range(start, stop))
            digit = _convert(coefficients[..., start:stop, :], source, whole, exact=False)
            digit[..., start:stop, :] = coefficients[..., start:stop, :]
            raised.append(digit)
        return self.ntt(self._ring(np.stack(raised, axis=-3), whole, ntt=False))

    def _with_multiple(self, a: PolynomialArray, plus: PolynomialArray) -> PolynomialArray:
        """a + R*plus, R the product of the moduli that `plus` lacks."""
        width, components = len(plus.basis), plus.shape[-1]
        product = a.basis.take(range(width, len(a.basis))).product
        data = a.data.copy()
        data[..., :components, :width, :] += product * plus.data
        return self._reduced(data, a)

    def decompose_mul_accumulate(
        self,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        special: RnsBasis,
        b: PolynomialArray | Sequence[PolynomialArray],
    ) -> PolynomialArray:
        keys, shape = checks.check_switch(self, a, digits, special, b)
        raised = self.decompose(a, digits, special)
        rows = self.ring_reshape(raised, (*a.shape, 1, len(digits)))
        found = [self.residue_mul_accumulate(rows, key).data for key in keys]
        out = np.stack(found, axis=-4)
        return self._ring(out.reshape(*a.shape, *shape, *out.shape[-2:]), keys[0].basis, ntt=True)

    def _ring(self, data: Integers, basis: RnsBasis, ntt: bool) -> PolynomialArray:
        return PolynomialArray(self, basis, data.shape[:-2], ntt, data)

    def _reduced(self, data: Integers, like: PolynomialArray) -> PolynomialArray:
        return self._ring(data % _column(like.basis), like.basis, like.ntt)


def _coefficients(a: PolynomialArray) -> Integers:
    data: Integers = _inverse(a.data, a.basis) if a.ntt else a.data
    return data


def _forward(data: Integers, basis: RnsBasis) -> Integers:
    """Cooley-Tukey butterflies from X^N + 1 down to linear factors (Longa and Naehrig, CANS 2016, algorithm 1)."""
    degree, x = basis.ring_degree, data.copy()
    moduli, powers = _column(basis)[..., None], _powers(basis, inverse=False)
    blocks = 1
    while blocks < degree:
        # block i holds a polynomial modulo X^(2t) - s^2, s = powers[blocks + i]; its halves go modulo X^t -+ s
        view = x.reshape(*x.shape[:-1], blocks, 2, degree // (2 * blocks))
        low, high = view[..., 0, :], view[..., 1, :] * powers[:, blocks : 2 * blocks, None]
        view[..., 0, :], view[..., 1, :] = (low + high) % moduli, (low - high) % moduli
        blocks *= 2
    return x


def _inverse(data: Integers, basis: RnsBasis) -> Integers:
    """Gentleman-Sande butterflies, the stages of `_forward` undone in reverse; the factor N comes off at the end."""
    degree, x = basis.ring_degree, data.copy()
    moduli, powers = _column(basis)[..., None], _powers(basis, inverse=True)
    blocks = degree // 2
    while blocks:
        view = x.reshape(*x.shape[:-1], blocks, 2, degree // (2 * blocks))
        low, high = view[..., 0, :].copy(), view[..., 1, :].copy()
        view[..., 0, :] = (low + high) % moduli
        view[..., 1, :] = (low - high) * powers[:, blocks : 2 * blocks, None] % moduli
        blocks //= 2
    out: Integers = x * _objects([invert(degree, q) for q in basis.moduli], (-1, 1)) % _column(basis)
    return out


def _convert(x: Integers, source: RnsBasis, target: RnsBasis, *, exact: bool) -> Integers:
    """(*S, k, N) over `source` to (*S, len(target), N): see `RingBackend.base_convert`."""
    cofactors = [source.product // q for q in source.moduli]
    inverses = _objects([invert(c % q, q) for c, q in zip(cofactors, source.moduli, strict=True)], (-1, 1))
    y = x * inverses % _column(source)
    total = (y * _objects(cofactors, (-1, 1))).sum(axis=-2)
    if exact:
        total = total - _quotient(y, source) * source.product
    out: Integers = total[..., None, :] % _column(target)
    return out


def _quotient(y: Integers, source: RnsBasis) -> Integers:
    """v with sum_i y_i * (Q/q_i) - v*Q in about [-Q/2, Q/2]: the sum of y_i/q_i, rounded, in fixed point."""
    if len(source) == 1:
        return (y[..., 0, :] > source.product // 2).astype(np.int64).astype(object)
    fractions = []
    for i, q in enumerate(source.moduli):
        bits = q.bit_length()
        fractions.append(y[..., i, :] * ((1 << 56 + bits) // q) >> bits)
    out: Integers = (np.sum(fractions, axis=0) + (1 << 55)) >> 56
    return out


def _compose(x: Integers, basis: RnsBasis) -> Integers:
    """(*S, k, N) residues -> (*S, N) integers in [0, Q)."""
    cofactors = [basis.product // q for q in basis.moduli]
    factors = [c * invert(c % q, q) for c, q in zip(cofactors, basis.moduli, strict=True)]
    out: Integers = (x * _objects(factors, (-1, 1))).sum(axis=-2) % basis.product
    return out


def _column(basis: RnsBasis) -> Integers:
    """The moduli, to broadcast against (*S, k, N)."""
    return _objects(basis.moduli, (-1, 1))


def _objects(values: Sequence[int], shape: tuple[int, ...]) -> Integers:
    out = np.empty(len(values), dtype=object)
    out[:] = [int(x) for x in values]
    return out.reshape(shape)


@cache
def _powers(basis: RnsBasis, *, inverse: bool) -> Integers:
    """(k, N) powers of each modulus's root, bit-reversed."""
    rows: list[Any] = [root_powers(q, basis.ring_degree, inverse=inverse).astype(object) for q in basis.moduli]
    return np.stack(rows)
