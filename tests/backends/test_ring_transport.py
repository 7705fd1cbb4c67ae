"""Ring contract: between host and backend, in words and in integers, and moving polynomials about."""

from __future__ import annotations

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.backends.ring_protocol import Backend, RingBackend
from tests.backends.ring_lab import NAMES, TWO, RingLab, basis_named, column, composed, noise, objects, split


@pytest.fixture
def lab(backend: Backend) -> RingLab:
    return RingLab(backend)


def test_both_halves(backend: Backend) -> None:
    assert isinstance(backend, RingBackend)
    assert isinstance(backend, Backend)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,), (2, 0, 1)])
@pytest.mark.parametrize("ntt", [False, True])
def test_upload_and_download(lab: RingLab, name: str, shape: tuple[int, ...], ntt: bool) -> None:
    basis = basis_named(name, 16)
    words = lab.words(basis, shape)
    a = lab.up(words, basis, ntt=ntt)
    assert (a.size, a.ndim) == (int(np.prod(shape)), len(shape))
    lab.same(a, words, basis, shape, ntt=ntt)


def test_neither_side_sees_the_other_change(lab: RingLab) -> None:
    basis = basis_named(TWO, 1024)  # also where memory is used again
    words = lab.words(basis, (2,))
    given = words.copy()
    a = lab.up(given, basis)
    given[:] = 0
    got = lab.backend.ring_download(a)
    got[:] = 1
    lab.same(a, words, basis, (2,), ntt=True)


def test_strided_words(lab: RingLab) -> None:
    basis = basis_named(TWO, 16)
    words = lab.words(basis, (4,))
    lab.same(lab.up(words[::2], basis), words[::2], basis, (2,), ntt=True)
    assert not lab.backend.ring_download(lab.up(words, basis))[1:3].flags.owndata


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [16, 1024])
def test_encode(lab: RingLab, name: str, degree: int) -> None:
    basis = basis_named(name, degree)
    signed = noise("signed", (2, degree)).view(np.int64).copy()
    signed[0, :6] = 0, 1, -1, 2**63 - 1, 1 - 2**63, -(2**63)
    signed[1, :16] = [s * x for q in (basis.moduli * 4)[:4] for x in (q, q - 1) for s in (1, -1)]
    expected = split(objects(signed), basis)
    a = lab.backend.ring_encode(signed, basis)
    lab.same(a, expected, basis, (2,), ntt=False)
    transformed = lab.backend.ring_encode(signed, basis, ntt=True)
    lab.same(lab.backend.ntt(a), lab.backend.ring_download(transformed), basis, (2,), ntt=True)
    lab.same(lab.backend.ring_encode(signed[0, ::1], basis), expected[0], basis, (), ntt=False)
    strided = np.repeat(signed, 2, axis=1)[:, ::2]
    lab.same(lab.backend.ring_encode(strided, basis), expected, basis, (2,), ntt=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limbs", [1, 2, 3, 7])
def test_encode_wide(lab: RingLab, name: str, limbs: int) -> None:
    basis = basis_named(name, 16)
    magnitudes = noise("wide", (3, 16, limbs))
    magnitudes[:, 0], magnitudes[:, 1], magnitudes[:, 2, 1:] = 0, 2**64 - 1, 0
    negative = noise("signs", (3, 16), 1).astype(np.bool_)
    negative[:, :2] = [[False, True], [True, False], [True, True]]
    values = np.array(ints_from_limbs(magnitudes), dtype=object).reshape(3, 16)
    expected = split(np.where(negative, -values, values), basis)
    a = lab.backend.ring_encode_wide(magnitudes, negative, basis)
    lab.same(a, expected, basis, (3,), ntt=False)
    transformed = lab.backend.ring_encode_wide(magnitudes, negative, basis, ntt=True)
    lab.same(lab.backend.intt(transformed), expected, basis, (3,), ntt=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ntt", [False, True])
def test_decode(lab: RingLab, name: str, ntt: bool) -> None:
    basis = basis_named(name, 32)
    product, limbs = basis.product, limbs_for_bits(basis.bits)
    values = composed(lab.words(basis, (3,)), basis)
    edges = [0, 1, product - 1, product // 2, product // 2 + 1, product // 2 - 1, product // 2 + 2, *basis.moduli]
    values[0, : len(edges)] = edges
    values[1, : len(edges)] = [product - x for x in edges[1:]] + [0]
    a = lab.up(split(values, basis), basis, ntt=False)
    magnitudes, negative = lab.backend.ring_decode(lab.backend.ntt(a) if ntt else a)
    centred = np.where(values > product // 2, values - product, values)
    assert magnitudes.shape == (3, 32, limbs)
    assert magnitudes.dtype == np.uint64
    assert negative.dtype == np.bool_
    assert np.array_equal(negative, centred < 0)
    assert ints_from_limbs(magnitudes) == [abs(x) for x in centred.ravel()]


def test_decode_of_a_long_basis(lab: RingLab) -> None:
    """As many primes as make the fixed-point quotient round the wrong way now and then."""
    basis = basis_named("+".join(["61-"] * 40), 16)
    product = basis.product
    near = [product // 2 + sign * (product >> 50 + i) for i in range(8) for sign in (1, -1)]
    values = np.array(near, dtype=object)[None]
    magnitudes, negative = lab.backend.ring_decode(lab.up(split(values, basis), basis, ntt=False))
    assert negative.tolist() == [[x > product // 2 for x in near]]
    assert ints_from_limbs(magnitudes) == [min(x, product - x) for x in near]


def test_encode_undoes_decode(lab: RingLab) -> None:
    basis = basis_named("60+40+40+60", 1024)
    words = lab.words(basis, (2,))
    decoded = lab.backend.ring_decode(lab.up(words, basis, ntt=False))
    lab.same(lab.backend.ring_encode_wide(*decoded, basis), words, basis, (2,), ntt=False)


@pytest.mark.parametrize("ntt", [False, True])
def test_take(lab: RingLab, ntt: bool) -> None:
    basis = basis_named(TWO, 16)
    words = lab.words(basis, (2, 3))
    flat = words.reshape(6, 2, 16)
    a = lab.up(words, basis, ntt=ntt)
    order = np.arange(6).reshape(2, 3)
    even = (order, order[0, 1:], order[1, ::-1], order.T, order[::-1, ::2], np.array([4, 4]))
    for indices in (np.array([[5, 0], [0, 3]]), np.array(4), np.zeros((0, 2), dtype=np.intp), *even):
        lab.same(lab.backend.ring_take(a, indices), flat[indices], basis, indices.shape, ntt=ntt)


def test_concatenate_and_reshape(lab: RingLab) -> None:
    basis = basis_named(TWO, 16)
    parts = [lab.words(basis, shape, str(shape)) for shape in [(2, 2), (), (0,), (3,)]]
    joined = lab.backend.ring_concatenate([lab.up(part, basis) for part in parts])
    expected = np.concatenate([part.reshape(-1, 2, 16) for part in parts])
    lab.same(joined, expected, basis, (8,), ntt=True)
    lab.same(lab.backend.ring_reshape(joined, (2, 1, 4)), expected.reshape(2, 1, 4, 2, 16), basis, (2, 1, 4), ntt=True)


def test_moduli(lab: RingLab) -> None:
    basis = basis_named("60+40+50-+61-", 16)
    words = lab.words(basis, (3,))
    a = lab.up(words, basis, ntt=False)
    for positions in ([0, 1, 2], [3], [2, 0], [3, 2, 1, 0], [0, 1, 2, 3], [3, 0, 1]):
        kept = lab.backend.ring_moduli(a, positions)
        lab.same(kept, words[:, positions], basis.take(positions), (3,), ntt=False)


def test_small_answers_are_hand_made(lab: RingLab) -> None:
    """One answer that no other code had a part in: 5 - X modulo 193, the prime next to 2^8, twice."""
    basis = basis_named("8-", 16)
    assert basis.moduli == (193,)
    a = lab.backend.ring_encode(np.array([5, -1] + [0] * 14), basis)
    double = lab.backend.ring_download(lab.backend.residue_add(a, a))
    assert double.tolist() == [[10, 191] + [0] * 14]
    magnitudes, negative = lab.backend.ring_decode(a)
    assert limbs_from_ints([5, 1], 1).tolist() == magnitudes[:2].tolist()
    assert negative.tolist() == [False, True] + [False] * 14
    assert column(basis).tolist() == [[193]]
