"""Ring contract: algebraic laws on random polynomials (hypothesis)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.ring_lab import NAMES, basis_named

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Backend, PolynomialArray, Words

few = settings(max_examples=25, deadline=None)


@st.composite
def polynomials(draw: st.DrawFn, count: int) -> tuple[RnsBasis, list[Words]]:
    basis = basis_named(draw(st.sampled_from(NAMES)), draw(st.sampled_from([16, 32])))
    seeds = [draw(st.integers(0, 2**32)) for _ in range(count)]
    moduli = np.array(basis.moduli, dtype=np.uint64)[:, None]
    shape = (len(basis), basis.ring_degree)
    out = []
    for seed in seeds:
        words = np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64) % moduli
        edge = draw(st.sampled_from(["none", "zero", "largest"]))
        out.append(
            words
            if edge == "none"
            else np.broadcast_to(moduli - moduli, shape).copy()
            if edge == "zero"
            else np.broadcast_to(moduli - np.uint64(1), shape).copy()
        )
    return basis, out


def same(backend: Backend, a: PolynomialArray, b: PolynomialArray) -> bool:
    assert (a.basis, a.shape, a.ntt) == (b.basis, b.shape, b.ntt)
    return np.array_equal(backend.ring_download(a), backend.ring_download(b))


@few
@given(case=polynomials(3))
def test_a_commutative_ring(backend: Backend, case: tuple[RnsBasis, list[Words]]) -> None:
    basis, words = case
    a, b, c = (backend.ring_upload(x, basis, ntt=True) for x in words)
    add, mul, neg = backend.residue_add, backend.residue_mul, backend.residue_negate
    assert same(backend, add(a, b), add(b, a))
    assert same(backend, mul(a, b), mul(b, a))
    assert same(backend, mul(a, mul(b, c)), mul(mul(a, b), c))
    assert same(backend, mul(a, add(b, c)), add(mul(a, b), mul(a, c)))
    assert same(backend, backend.residue_sub(a, b), add(a, neg(b)))
    assert same(backend, neg(neg(a)), a)


@few
@given(case=polynomials(2), element=st.integers(0, 15))
def test_transforms_and_automorphisms_are_ring_maps(
    backend: Backend, case: tuple[RnsBasis, list[Words]], element: int
) -> None:
    basis, words = case
    a, b = (backend.ring_upload(x, basis, ntt=False) for x in words)
    assert same(backend, backend.intt(backend.ntt(a)), a)
    assert same(backend, backend.ntt(backend.residue_add(a, b)), backend.residue_add(backend.ntt(a), backend.ntt(b)))
    turn = 2 * element + 1
    x, y = backend.ntt(a), backend.ntt(b)
    product = backend.automorphism(backend.residue_mul(x, y), turn)
    assert same(backend, product, backend.residue_mul(backend.automorphism(x, turn), backend.automorphism(y, turn)))


@few
@given(case=polynomials(4))
def test_sums_of_products(backend: Backend, case: tuple[RnsBasis, list[Words]]) -> None:
    basis, words = case
    a, b, c, d = (backend.ring_upload(x, basis, ntt=True) for x in words)
    left = backend.ring_reshape(backend.ring_concatenate([a, b]), (2,))
    right = backend.ring_reshape(backend.ring_concatenate([c, d]), (2,))
    total = backend.residue_add(backend.residue_mul(a, c), backend.residue_mul(b, d))
    assert same(backend, backend.residue_mul_accumulate(left, right), total)
    tensor = backend.tensor_product(left, right)
    cross = backend.residue_add(backend.residue_mul(a, d), backend.residue_mul(b, c))
    expected = backend.ring_concatenate([backend.residue_mul(a, c), cross, backend.residue_mul(b, d)])
    assert same(backend, tensor, expected)


@few
@given(case=polynomials(1))
def test_decoding_and_encoding_are_inverse(backend: Backend, case: tuple[RnsBasis, list[Words]]) -> None:
    basis, (words,) = case
    a = backend.ring_upload(words, basis, ntt=False)
    assert same(backend, backend.ring_encode_wide(*backend.ring_decode(a), basis), a)
