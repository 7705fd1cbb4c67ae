"""Transforms against their definition, against SEAL, and one path against the other, at the edges of every range."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.integers import powmod
from hecore.arith.primes import is_prime
from hecore.arith.rns import RnsBasis, bit_reversal, ntt_primes, primitive_root
from hecore.kernels.cpu import ntt_counts, ntt_tables, ntt_vector
from hecore.kernels.cpu.context import empty_rows
from hecore.kernels.cpu.ntt import transform
from hecore.kernels.cpu.ntt_lanes import NARROW, NARROW_TIGHT, WIDE, WIDE_TIGHT
from hecore.kernels.cpu.vector import IFMA
from hecore.kernels.cpu.workers import Workers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

ONE = Workers(1)
DEGREES = [1 << log for log in range(4, 18)]
# Sizes around every choice of butterfly: narrow below 2^49 and 2^50, wide below 2^60 and 2^61.
BITS = (30, 49, 50, 51, 60, 61)


@cache
def prime(degree: int, bits: int, *, smallest: bool = False) -> int:
    """The largest or smallest prime of that many bits that serves the degree."""
    step = 2 * degree
    if not smallest and bits < 61:
        return ntt_primes(degree, [bits])[0]
    first = (1 << (bits - 1)) // step * step + 1 + step if smallest else ((1 << bits) - 1) // step * step + 1
    return next(q for q in range(first, first + (step << 20) * (1 if smallest else -1), step if smallest else -step)
                if q.bit_length() == bits and is_prime(q))  # fmt: skip


def basis_of(degree: int, *bits: int) -> RnsBasis:
    return RnsBasis(degree, tuple(prime(degree, b) for b in bits))


def random_words(basis: RnsBasis, batch: int, seed: int = 1) -> Words:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, q, (batch, basis.ring_degree), dtype=np.uint64) for q in basis.moduli]
    return np.ascontiguousarray(np.stack(rows, axis=1))


def ours(data: Words, basis: RnsBasis, *, inverse: bool = False, workers: Workers = ONE) -> Words:
    out = np.full_like(data, 0xDEAD)
    transform(workers, data, basis, inverse=inverse, out=out)
    return out


def by_one_lane(data: Words, basis: RnsBasis, *, inverse: bool = False) -> Words:
    """The portable kernel, which the first tests hold against the definition."""
    out = np.empty_like(data)
    transform(ONE, data, basis, inverse=inverse, out=out, one_lane=True)
    return out


def value_at(coefficients: Words, q: int, position: int) -> int:
    """a(psi^(2*brv(position) + 1)) by Horner's rule."""
    degree = len(coefficients)
    exponent = 2 * int(bit_reversal(degree)[position]) + 1
    point = powmod(primitive_root(q, degree), exponent, q)
    value = 0
    for coefficient in reversed(coefficients.tolist()):
        value = (value * point + coefficient) % q
    return value


@pytest.mark.parametrize("degree", [16, 32, 64])
@pytest.mark.parametrize("bits", [20, *BITS])
def test_every_value_of_a_small_ring_is_the_definitions(degree: int, bits: int) -> None:
    basis = basis_of(degree, bits)
    data = random_words(basis, 2)
    expected = [[value_at(row, basis.moduli[0], i) for i in range(degree)] for row in data[:, 0]]
    assert by_one_lane(data, basis)[:, 0].tolist() == expected
    assert ours(data, basis)[:, 0].tolist() == expected


@pytest.mark.parametrize("degree", DEGREES)
def test_some_values_of_every_ring_are_the_definitions(degree: int) -> None:
    basis = basis_of(degree, 49, 60)
    data = random_words(basis, 1)
    found = ours(data, basis)
    for row, q in enumerate(basis.moduli):
        for position in (0, 1, degree // 2 + 3, degree - 1):
            assert found[0, row, position] == value_at(data[0, row], q, position)


@pytest.mark.parametrize("degree", DEGREES)
def test_both_paths_agree_on_every_kind_of_prime(degree: int) -> None:
    """Eight lanes and one, all sizes in one basis, two polynomials; backward as well, and the inverse law."""
    basis = basis_of(degree, *BITS)
    data = random_words(basis, 2)
    found = ours(data, basis)
    assert np.array_equal(found, by_one_lane(data, basis))
    assert np.array_equal(ours(data, basis, inverse=True), by_one_lane(data, basis, inverse=True))
    assert np.array_equal(ours(found, basis, inverse=True), data)


def edges(basis: RnsBasis) -> dict[str, Words]:
    """Inputs whose sums and differences reach the ends of lazy ranges."""
    q = np.array(basis.moduli, dtype=np.uint64)[:, None]
    degree = basis.ring_degree
    position = np.arange(degree)[None, :]
    full = np.broadcast_to(q - 1, (len(q), degree))
    return {
        "zero": np.zeros_like(full),
        "one": np.ones_like(full),
        "largest": full,
        "half": np.broadcast_to(q // 2, full.shape),
        "alternating": np.where(position % 2 == 0, full, 0),
        "first half": np.where(position < degree // 2, full, 0),
        "second half": np.where(position >= degree // 2, full, 0),
        "constant": np.where(position == 0, full, 0),
        "last": np.where(position == degree - 1, full, 0),
        "eights": np.where(position % 16 < 8, full, 0),
    }


@pytest.mark.parametrize("degree", [1024, 8192])
@pytest.mark.parametrize("smallest", [False, True])
def test_ranges_at_the_edges(degree: int, smallest: bool) -> None:
    """The largest residues of primes just below and just above powers of two, where ranges are tightest."""
    basis = RnsBasis(degree, tuple(prime(degree, bits, smallest=smallest) for bits in (24, 30, 48, 49, 50, 51, 60, 61)))
    for name, words in edges(basis).items():
        data = np.ascontiguousarray(words[None])
        for inverse in (False, True):
            expected = by_one_lane(data, basis, inverse=inverse)
            assert np.array_equal(ours(data, basis, inverse=inverse), expected), (name, inverse)
            assert np.array_equal(ours(expected, basis, inverse=not inverse), data), (name, inverse)


@pytest.mark.parametrize("degree", [16, 2048])
def test_lazy_residues_go_forward(degree: int) -> None:
    """Anything below 4q, as a switch of modulus leaves it."""
    basis = basis_of(degree, 40, 49, 50, 60, 61)
    data = random_words(basis, 1)
    q = np.array(basis.moduli, dtype=np.uint64)[:, None]
    lazy = data + 3 * q * (np.arange(degree, dtype=np.uint64) % 2)
    lazy[..., 0] = (4 * q - 1)[:, 0]
    assert np.array_equal(ours(lazy, basis), ours(lazy % q, basis))


@pytest.mark.parametrize("degree", [64, 4096])
def test_products_are_negacyclic(degree: int) -> None:
    """X^(N-1) * X^2 = -X, through values alone."""
    basis = basis_of(degree, 49, 60)
    data = np.zeros((2, 2, degree), dtype=np.uint64)
    data[0, :, degree - 1] = data[1, :, 2] = 1
    values = ours(data, basis)
    moduli = np.array(basis.moduli, dtype=object)[:, None]
    product = (values[0].astype(object) * values[1].astype(object) % moduli).astype(np.uint64)
    found = ours(product[None], basis, inverse=True)[0]
    expected = np.zeros((2, degree), dtype=np.uint64)
    expected[:, 1] = np.array(basis.moduli, dtype=np.uint64) - 1
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("degree", [32, 1024])
@pytest.mark.parametrize("inverse", [False, True])
def test_in_place_and_on_threads(degree: int, inverse: bool) -> None:
    basis = basis_of(degree, 60, 40, 49, 50)
    data = random_words(basis, 5)
    expected = ours(data, basis, inverse=inverse)
    workers = Workers(3)
    assert np.array_equal(ours(data, basis, inverse=inverse, workers=workers), expected)
    transform(workers, data, basis, inverse=inverse, out=data)
    assert np.array_equal(data, expected)


def test_alignment_does_not_matter() -> None:
    """Rows at any multiple of eight bytes, and nothing outside them is written."""
    basis = basis_of(1024, 49, 60)
    data = random_words(basis, 1)
    expected = ours(data, basis)
    for shift in range(8):
        room = np.full(data.size + 16, 0xABCD, dtype=np.uint64)
        view = room[shift : shift + data.size].reshape(data.shape)
        view[:] = data
        transform(ONE, view, basis, inverse=False, out=view)
        assert np.array_equal(view, expected)
        assert (room[:shift] == 0xABCD).all()
        assert (room[shift + data.size :] == 0xABCD).all()


def test_an_empty_batch() -> None:
    for degree in (16, 1024):
        basis = basis_of(degree, 40, 60)
        assert ours(np.empty((0, 2, degree), dtype=np.uint64), basis).shape == (0, 2, degree)


@pytest.mark.parametrize(("degree", "bits"), [(16, 20), (1024, 49), (4096, 60), (8192, 50)])
def test_against_seal(degree: int, bits: int) -> None:
    """SEAL's own transforms, through TenSEAL's binding of its utilities."""
    api, util = (pytest.importorskip(name) for name in ("tenseal.sealapi", "tenseal.sealapi.util"))
    basis = basis_of(degree, bits)
    q = basis.moduli[0]
    tables = util.NTTTables(degree.bit_length() - 1, api.Modulus(q))
    assert tables.get_root() == primitive_root(q, degree)
    data = random_words(basis, 1)
    values = util.ntt_negacyclic_harvey(data.ravel().tolist(), tables)
    assert ours(data, basis).ravel().tolist() == values
    found = ours(np.array(values, dtype=np.uint64).reshape(data.shape), basis, inverse=True)
    assert np.array_equal(found, data)  # the binding of SEAL's inverse is wrong above 50 bits; its evaluator is not


def test_plans_cover_their_degrees() -> None:
    assert set(ntt_vector.PLANS) == {1 << log for log in range(10, 18)}
    for degree, plan in ntt_vector.PLANS.items():
        assert (1 << sum(plan)) * 64 == degree
        assert set(plan) <= {2, 3}
    assert empty_rows(16, 1024).ctypes.data % 64 == 0


@pytest.mark.skipif(not IFMA, reason="counts are of the kernels of eight lanes")
def test_counts_are_those_of_the_butterflies() -> None:
    """Three products a narrow butterfly and five a wide one, and the last reductions."""
    for bits, products, last in ((49, 3, 2), (60, 5, 0)):
        found = ntt_counts.transform(prime(16384, bits), 16384, inverse=False)
        assert found is not None
        assert found.products == 16384 / 16 * 14 * products + 16384 / 8 * last
        assert found.all > 2 * found.products
    assert ntt_counts.transform(prime(512, 40), 512, inverse=False) is None


def test_shapes_by_size() -> None:
    expected = {20: NARROW, 49: NARROW, 50: NARROW_TIGHT, 51: WIDE}
    expected |= {60: WIDE, 61: WIDE_TIGHT}
    assert {bits: ntt_tables.shape_of(prime(64, bits)) for bits in expected} == expected
