"""Ring contract: residues point by point, against Python integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.backends.ring_lab import NAMES, TWO, RingLab, basis_named, column, noise, objects

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend

SHAPES = [
    ((), ()),
    ((3,), (3,)),
    ((2, 1, 2), (3, 1)),
    ((), (2, 2)),
    ((0,), (1,)),
    ((1,), (4,)),
    ((2, 1, 2), (2, 3, 2)),
    ((2, 1, 3, 1, 2), (1, 2, 1, 2, 1)),
]


@pytest.fixture
def lab(backend: Backend) -> RingLab:
    return RingLab(backend)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ntt", [False, True])
def test_add_sub_negate(lab: RingLab, name: str, ntt: bool) -> None:
    basis = basis_named(name, 32)
    x, y = lab.words(basis, (2,)), lab.words(basis, (2,), "b")
    a, b, q = lab.up(x, basis, ntt=ntt), lab.up(y, basis, ntt=ntt), column(basis)
    lab.same(lab.backend.residue_add(a, b), (objects(x) + objects(y)) % q, basis, (2,), ntt=ntt)
    lab.same(lab.backend.residue_sub(a, b), (objects(x) - objects(y)) % q, basis, (2,), ntt=ntt)
    lab.same(lab.backend.residue_sub(a, a), np.zeros_like(x), basis, (2,), ntt=ntt)
    lab.same(lab.backend.residue_negate(a), -objects(x) % q, basis, (2,), ntt=ntt)


@pytest.mark.parametrize("name", NAMES)
def test_mul(lab: RingLab, name: str) -> None:
    basis = basis_named(name, 256)
    x, y = lab.words(basis, (2,)), lab.words(basis, (2,), "b")
    product = lab.backend.residue_mul(lab.up(x, basis), lab.up(y, basis))
    lab.same(product, objects(x) * objects(y) % column(basis), basis, (2,), ntt=True)


@pytest.mark.parametrize("shapes", SHAPES)
def test_broadcasting(lab: RingLab, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    basis = basis_named(TWO, 16)
    x, y = lab.words(basis, shapes[0]), lab.words(basis, shapes[1], "b")
    a, b, q = lab.up(x, basis), lab.up(y, basis), column(basis)
    shape = np.broadcast_shapes(*shapes)
    lab.same(lab.backend.residue_add(a, b), (objects(x) + objects(y)) % q, basis, shape, ntt=True)
    lab.same(lab.backend.residue_sub(a, b), (objects(x) - objects(y)) % q, basis, shape, ntt=True)
    lab.same(lab.backend.residue_mul(a, b), objects(x) * objects(y) % q, basis, shape, ntt=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 16, 70])
def test_mul_accumulate(lab: RingLab, name: str, count: int) -> None:
    basis = basis_named(name, 16)
    x, y = lab.words(basis, (2, count)), lab.words(basis, (2, count), "b")
    total = lab.backend.residue_mul_accumulate(lab.up(x, basis), lab.up(y, basis))
    lab.same(total, (objects(x) * objects(y)).sum(axis=1) % column(basis), basis, (2,), ntt=True)


@pytest.mark.parametrize("name", ["50-+61-+30", "51+60"])
def test_long_sums_of_the_largest_products(lab: RingLab, name: str) -> None:
    """Beyond what one lazy sum may hold; every term (q-1)^2."""
    basis, count = basis_named(name, 16), 2100
    largest = np.broadcast_to((column(basis) - 1).astype(np.uint64), (count, len(basis), 16)).copy()
    a = lab.up(largest, basis)
    lab.same(
        lab.backend.residue_mul_accumulate(a, a),
        (column(basis) * 0 + count) % column(basis) + np.zeros(16),
        basis,
        (),
        ntt=True,
    )


def test_mul_accumulate_broadcasts(lab: RingLab) -> None:
    basis, q = basis_named(TWO, 16), column(basis_named(TWO, 16))
    x, y = lab.words(basis, (2, 1, 3)), lab.words(basis, (4, 3), "b")
    total = lab.backend.residue_mul_accumulate(lab.up(x, basis), lab.up(y, basis))
    lab.same(total, (objects(x) * objects(y)).sum(axis=2) % q, basis, (2, 4), ntt=True)
    x, y = lab.words(basis, (3,)), lab.words(basis, (2, 3), "b")
    total = lab.backend.residue_mul_accumulate(lab.up(x, basis), lab.up(y, basis))
    lab.same(total, (objects(x) * objects(y)).sum(axis=1) % q, basis, (2,), ntt=True)
    x, y = lab.words(basis, (2, 1, 2, 1, 3)), lab.words(basis, (1, 2, 1, 2, 3), "b")
    total = lab.backend.residue_mul_accumulate(lab.up(x, basis), lab.up(y, basis))
    lab.same(total, (objects(x) * objects(y)).sum(axis=4) % q, basis, (2, 2, 2, 2), ntt=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shapes", [((2,), (2,)), ((3, 2), (2,)), ((1, 2), (3, 2)), ((0, 2), (2,))])
def test_tensor_product(lab: RingLab, name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    basis = basis_named(name, 16)
    x, y = lab.words(basis, shapes[0]), lab.words(basis, shapes[1], "b")
    p, r = np.moveaxis(objects(x), -3, 0), np.moveaxis(objects(y), -3, 0)
    expected = np.stack([p[0] * r[0], p[0] * r[1] + p[1] * r[0], p[1] * r[1]], axis=-3) % column(basis)
    shape = np.broadcast_shapes(*shapes)[:-1]
    lab.same(lab.backend.tensor_product(lab.up(x, basis), lab.up(y, basis)), expected, basis, (*shape, 3), ntt=True)
    square = np.stack([p[0] * p[0], 2 * p[0] * p[1], p[1] * p[1]], axis=-3) % column(basis)
    a = lab.up(x, basis)
    lab.same(lab.backend.tensor_product(a, a), square, basis, (*shapes[0][:-1], 3), ntt=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ntt", [False, True])
def test_scale_and_shift(lab: RingLab, name: str, ntt: bool) -> None:
    basis = basis_named(name, 32)
    x = lab.words(basis, (2,))
    a, q = lab.up(x, basis, ntt=ntt), column(basis)
    random = [int(word) % p for word, p in zip(noise("f", (len(basis),)), basis.moduli, strict=True)]
    for constants in ([p - 1 for p in basis.moduli], [0] * len(basis), [1] * len(basis), random):
        factors = np.array(constants, dtype=object)[:, None]
        lab.same(lab.backend.residue_scale(a, constants), objects(x) * factors % q, basis, (2,), ntt=ntt)
        addends = factors if ntt else factors * (np.arange(32) == 0).astype(object)
        lab.same(lab.backend.residue_shift(a, constants), (objects(x) + addends) % q, basis, (2,), ntt=ntt)


def test_shift_means_the_same_in_both_domains(lab: RingLab) -> None:
    basis = basis_named("60+40+40", 64)
    a, constants = lab.up(lab.words(basis, (2,)), basis, ntt=False), [3, 4, 5]
    there = lab.backend.intt(lab.backend.residue_shift(lab.backend.ntt(a), constants))
    here = lab.backend.ring_download(lab.backend.residue_shift(a, constants))
    lab.same(there, here, basis, (2,), ntt=False)
