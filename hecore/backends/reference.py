"""The reference backend: every operation in Python integers, written to be read.

It defines the results that every other backend must reproduce bit for bit. It is slow, and variable time
throughout: it makes no promise to hide a secret from a local observer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith import integers
from hecore.arith.integers import gcd, invert, mulmod, powmod
from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.arith.random import random_limbs
from hecore.backends import checks
from hecore.backends.protocol import ExponentArray, FixedBaseTable, ResidueArray
from hecore.backends.reference_ring import ReferenceRing
from hecore.errors import NotInvertibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.protocol import Indices, Limbs


class ReferenceBackend(ReferenceRing):
    """`Backend`: here `IntegerBackend` over Python integers; `ResidueArray.data` is a flat list of them, in C order."""

    name = "reference"
    simulated = False

    @property
    def device(self) -> str:
        return f"Python integers ({'gmpy2' if integers.gmpy2 is not None else 'no gmpy2'})"

    def __repr__(self) -> str:
        return f"<ReferenceBackend {self.device}>"

    # -- transport ---------------------------------------------------------------------------------------

    def upload(self, limbs: Limbs, modulus: Modulus) -> ResidueArray:
        shape = checks.check_host_limbs(limbs, modulus)
        return self._array(ints_from_limbs(limbs), modulus, shape)

    def download(self, a: ResidueArray) -> Limbs:
        checks.check_owned(self, a)
        return _limbs(a.data, a.shape, a.modulus)

    def synchronize(self) -> None:
        """Nothing to wait for: every operation has finished when it returns."""

    def take(self, a: ResidueArray, indices: Indices) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        return self._array([a.data[i] for i in indices.ravel()], a.modulus, indices.shape)

    def concatenate(self, arrays: Sequence[ResidueArray]) -> ResidueArray:
        checks.check_concatenate(self, arrays)
        values = [x for a in arrays for x in a.data]
        return self._array(values, arrays[0].modulus, (len(values),))

    def collect(self, chunks: Iterable[ResidueArray], size: int) -> ResidueArray:
        values: list[int] = []
        modulus: Modulus | None = None
        for chunk in chunks:
            modulus = chunk.modulus if modulus is None else modulus
            checks.check_chunk(self, chunk, modulus, len(values), size)
            values += chunk.data
        checks.check_collected(len(values), size, any_chunk=modulus is not None)
        assert modulus is not None  # for mypy: checked above
        return self._array(values, modulus, (size,))

    def reshape(self, a: ResidueArray, shape: tuple[int, ...]) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return self._array(a.data, a.modulus, shape)

    def random_exponents(self, shape: tuple[int, ...], bits: int) -> ExponentArray:
        checks.check_bits(bits)
        return ExponentArray(random_limbs(math.prod(shape), bits).reshape(*shape, limbs_for_bits(bits)), bits)

    # -- arithmetic --------------------------------------------------------------------------------------

    def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
        checks.check_pair(self, a, b)
        m = a.modulus.value
        return self._array([mulmod(x, y, m) for x, y in zip(a.data, b.data, strict=True)], a.modulus, a.shape)

    def mod_exp(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_exponents_for(a, exponents)
        e = ints_from_limbs(exponents.limbs)
        if exponents.shape == ():
            e = e * a.size
        m = a.modulus.value
        return self._array([powmod(x, k, m) for x, k in zip(a.data, e, strict=True)], a.modulus, a.shape)

    def mod_exp_vartime(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        return self.mod_exp(a, exponents)

    def fixed_base_table(
        self, base: int, modulus: Modulus, exponent_bits: int, *, memory_budget: int | None = None
    ) -> FixedBaseTable:
        checks.check_fixed_base(base, modulus, exponent_bits, memory_budget)
        return FixedBaseTable(self, modulus, exponent_bits, nbytes=0, data=base)  # the base is the whole table

    def fixed_base_exp(self, table: FixedBaseTable, exponents: ExponentArray) -> ResidueArray:
        checks.check_owned(self, table)
        checks.check_table_exponents(table, exponents)
        values = [powmod(table.data, e, table.modulus.value) for e in ints_from_limbs(exponents.limbs)]
        return self._array(values, table.modulus, exponents.shape)

    def multi_exp(
        self,
        bases: ResidueArray,
        magnitudes: Limbs,
        negative: NDArray[np.bool_] | None,
        bits: int,
        *,
        constant_time: bool = False,
        most: int | None = None,
    ) -> ResidueArray:
        checks.check_owned(self, bases)
        m, k = checks.check_multi_exp(bases, magnitudes, negative, bits, most)
        modulus = bases.modulus.value
        scalars = ints_from_limbs(magnitudes)
        minus_signs = np.zeros((m, k), dtype=np.bool_) if negative is None else negative
        positive_products, negative_products = [], []
        for i in range(m):
            row = list(zip(bases.data, scalars[i * k : (i + 1) * k], minus_signs[i].tolist(), strict=True))
            positive_products.append(_product((powmod(b, x, modulus) for b, x, minus in row if not minus), modulus))
            negative_products.append(_product((powmod(b, x, modulus) for b, x, minus in row if minus), modulus))
        inverses = self.batch_invert(self._array(negative_products, bases.modulus, (m,)))
        return self.mod_mul(self._array(positive_products, bases.modulus, (m,)), inverses)

    def product(self, a: ResidueArray) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_last_axis(a)
        count, shape = a.shape[-1], a.shape[:-1]
        rows = [a.data[i * count : (i + 1) * count] for i in range(math.prod(shape))]
        return self._array([_product(row, a.modulus.value) for row in rows], a.modulus, shape)

    def segment_product(self, a: ResidueArray, segments: Indices, count: int) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_segments(a, segments, count)
        values = [1] * count
        for x, s in zip(a.data, segments.tolist(), strict=True):
            values[s] = mulmod(values[s], x, a.modulus.value)
        return self._array(values, a.modulus, (count,))

    def batch_invert(self, a: ResidueArray) -> ResidueArray:
        bad = tuple(np.flatnonzero(~self.gcd_is_one(a)).tolist())
        if bad:
            raise NotInvertibleError(checks.not_invertible_message(bad, a.size), bad)
        return self._array([invert(x, a.modulus.value) for x in a.data], a.modulus, a.shape)

    def gcd_is_one(self, a: ResidueArray) -> NDArray[np.bool_]:
        checks.check_owned(self, a)
        return np.array([gcd(x, a.modulus.value) == 1 for x in a.data], dtype=np.bool_).reshape(a.shape)

    # -- Paillier's moduli n^2, p^2, q^2 -----------------------------------------------------------------

    def reduce(self, a: ResidueArray, modulus: Modulus) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_divides(a, modulus)
        return self._array([x % modulus.value for x in a.data], modulus, a.shape)

    def lift(
        self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus, messages: Limbs | None = None
    ) -> ResidueArray:
        checks.check_lift(self, a_p, a_q, crt, messages)
        p2, q2 = crt.p_squared.value, crt.q_squared.value
        p2_inverse = invert(p2 % q2, q2)
        values = [_garner(x, y, p2, q2, p2_inverse) for x, y in zip(a_p.data, a_q.data, strict=True)]
        lifted = self._array(values, crt.n_squared, a_p.shape)
        return lifted if messages is None else self.encode(messages, crt.n_squared, lifted)

    def encode(self, messages: Limbs, modulus: Modulus, times: ResidueArray | None = None) -> ResidueArray:
        root, shape = checks.check_encode(self, messages, modulus, times)
        n, n2 = root.value, modulus.value
        values = [(1 + m * n) % n2 for m in ints_from_limbs(messages)]
        encoded = self._array(values, modulus, shape)
        return encoded if times is None else self.mod_mul(encoded, times)

    def decode(self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_crt_halves(self, a_p, a_q, crt)
        m_p = [(x - 1) // crt.p * crt.h_p % crt.p for x in a_p.data]
        m_q = [(y - 1) // crt.q * crt.h_q % crt.q for y in a_q.data]
        values = [_garner(x, y, crt.p, crt.q, crt.p_inverse) for x, y in zip(m_p, m_q, strict=True)]
        return _limbs(values, a_p.shape, crt.n)

    def decrypt(self, a: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_owned(self, a)
        checks.check_modulus(a, crt.n_squared)
        a_p = self.mod_exp(self.reduce(a, crt.p_squared), ExponentArray.shared(crt.p - 1, crt.p.bit_length()))
        a_q = self.mod_exp(self.reduce(a, crt.q_squared), ExponentArray.shared(crt.q - 1, crt.q.bit_length()))
        return self.decode(a_p, a_q, crt)

    def decrypt_bounded(self, a: ResidueArray, crt: CrtModulus, bound: int) -> Limbs:
        checks.check_bounded(self, a, crt, bound)
        a_p = self.mod_exp(self.reduce(a, crt.p_squared), ExponentArray.shared(crt.p - 1, crt.p.bit_length()))
        values = [((x - 1) // crt.p * crt.h_p + bound) % crt.p for x in a_p.data]
        limbs = limbs_for_bits(crt.p.bit_length())
        return limbs_from_ints(values, limbs).reshape(*a.shape, limbs)

    def _array(self, values: list[int], modulus: Modulus, shape: tuple[int, ...]) -> ResidueArray:
        return ResidueArray(self, modulus, shape, values)


def _product(values: Iterable[int], modulus: int) -> int:
    result = 1
    for x in values:
        result = mulmod(result, x, modulus)
    return result


def _garner(x: int, y: int, p: int, q: int, p_inverse: int) -> int:
    """The integer in [0, p*q) that is x modulo p and y modulo q, with p_inverse = p**-1 mod q (Garner 1959)."""
    return x + p * ((y - x) * p_inverse % q)


def _limbs(values: list[int], shape: tuple[int, ...], modulus: Modulus) -> Limbs:
    return limbs_from_ints(values, modulus.limbs).reshape(*shape, modulus.limbs)
