"""Ring contract: transforms and automorphisms, against their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs
from hecore.arith.rns import RnsBasis, bit_reversal, ntt_primes, primitive_root
from hecore.backends.reference import ReferenceBackend
from tests.backends.ring_lab import NAMES, RingLab, basis_named, column, composed, negacyclic, noise, objects

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend, Words

DEGREES = (16, 32, 64, 128, 256, 512, 1024, 2048)


@pytest.fixture
def lab(backend: Backend) -> RingLab:
    return RingLab(backend)


def values_by_definition(words: Words, basis: RnsBasis) -> Words:
    """(k, N) coefficients -> a(psi^(2*brv(i)+1)) at position i."""
    degree, out = basis.ring_degree, np.empty_like(words)
    for i, q in enumerate(basis.moduli):
        psi = primitive_root(q, degree)
        for j, at in enumerate(bit_reversal(degree)):
            point, value = pow(psi, 2 * int(at) + 1, q), 0
            for c in words[i, ::-1]:
                value = (value * point + int(c)) % q
            out[i, j] = value
    return out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [16, 64])
def test_ntt_is_the_values_at_odd_powers(lab: RingLab, name: str, degree: int) -> None:
    basis = basis_named(name, degree)
    words = lab.words(basis, (2,))
    expected = np.stack([values_by_definition(one, basis) for one in words])
    a = lab.up(words, basis, ntt=False)
    lab.same(lab.backend.ntt(a), expected, basis, (2,), ntt=True)
    lab.same(lab.backend.intt(lab.up(expected, basis)), words, basis, (2,), ntt=False)
    lab.same(a, words, basis, (2,), ntt=False)  # arrays do not change


@pytest.mark.parametrize("degree", DEGREES)
def test_transforms_of_every_degree(lab: RingLab, degree: int) -> None:
    """Against the reference, which the test above ties to the definition; extreme polynomials too."""
    basis = basis_named("61-+50-+51+30", degree)
    words = lab.words(basis, (3,))
    words[1] = (column(basis) - 1).astype(np.uint64)
    words[2] = np.where(np.arange(degree) % 2, words[1], 0)
    reference = ReferenceBackend()
    expected = reference.ring_download(reference.ntt(reference.ring_upload(words, basis, ntt=False)))
    lab.same(lab.backend.ntt(lab.up(words, basis, ntt=False)), expected, basis, (3,), ntt=True)
    lab.same(lab.backend.intt(lab.up(expected, basis)), words, basis, (3,), ntt=False)


@pytest.mark.parametrize("degree", [4096, pytest.param(32768, marks=pytest.mark.slow)])
def test_products_at_large_degrees(lab: RingLab, degree: int) -> None:
    """Transform, multiply, transform back: the negacyclic product, by an oracle of its own."""
    if lab.backend.name == "reference" and degree > 4096:
        pytest.skip("the reference takes minutes")
    basis = RnsBasis(degree, ntt_primes(degree, [60, 45]))
    x, y = (noise(label, (degree,), 30).astype(np.int64) - 2**29 for label in "xy")
    a, b = (lab.backend.ring_encode(z, basis, ntt=True) for z in (x, y))
    magnitudes, negative = lab.backend.ring_decode(lab.backend.residue_mul(a, b))
    signs = np.where(negative, -1, 1).tolist()
    got = [sign * value for sign, value in zip(signs, ints_from_limbs(magnitudes), strict=True)]
    assert got == negacyclic(x.tolist(), y.tolist())


@pytest.mark.parametrize("name", ["50-+61-+40", "30"])
@pytest.mark.parametrize("degree", [16, 128])
def test_automorphism(lab: RingLab, name: str, degree: int) -> None:
    basis = basis_named(name, degree)
    words = lab.words(basis, (2,))
    a = lab.up(words, basis, ntt=False)
    for element in (1, 3, 5, 27, degree - 1, degree + 1, 2 * degree - 1):
        expected = np.zeros_like(objects(words))
        for i in range(degree):
            sign = -1 if i * element // degree % 2 else 1
            expected[..., i * element % degree] = sign * objects(words)[..., i]
        image = lab.backend.automorphism(a, element)
        lab.same(image, expected % column(basis), basis, (2,), ntt=False)
        values = lab.backend.automorphism(lab.backend.ntt(a), element)
        lab.same(values, lab.backend.ring_download(lab.backend.ntt(image)), basis, (2,), ntt=True)


@pytest.mark.parametrize("degree", [16, 32, 64, 1024])
@pytest.mark.parametrize("name", ["50-+61-", "61-"])
def test_sums_of_automorphisms(lab: RingLab, name: str, degree: int) -> None:
    basis, elements = basis_named(name, degree), [3, 1, 2 * degree - 1, 27 % (2 * degree), 3]
    words = lab.words(basis, (2, 5, 3))
    terms = [
        lab.backend.ring_download(lab.backend.automorphism(lab.up(words[:, j], basis), element))
        for j, element in enumerate(elements)
    ]
    expected = sum(objects(term) for term in terms) % column(basis)
    lab.same(lab.backend.automorphism_sum(lab.up(words, basis), elements), expected, basis, (2, 3), ntt=True)
    shared = lab.up(words[:, :1], basis)
    repeated = lab.up(np.repeat(words[:, :1], 5, axis=1), basis)
    for part in (elements, elements[:1]):
        same = lab.backend.ring_download(lab.backend.automorphism_sum(shared, part))
        wanted = lab.backend.automorphism_sum(lab.backend.ring_reshape(repeated, (2, 5, 3)), elements)
        if part is elements:
            np.testing.assert_array_equal(same, lab.backend.ring_download(wanted))
        else:
            np.testing.assert_array_equal(same, terms[0])


def test_automorphisms_compose(lab: RingLab) -> None:
    basis = basis_named("60+40", 1024)
    a = lab.up(lab.words(basis, ()), basis)
    both = lab.backend.automorphism(lab.backend.automorphism(a, 5), 2047)
    lab.same(both, lab.backend.ring_download(lab.backend.automorphism(a, 5 * 2047 % 2048)), basis, (), ntt=True)


def test_an_oracle_for_the_oracle() -> None:
    """The big product against schoolbook multiplication."""
    x, y = [3, -1, 4, 1], [-2, 7, 1, -8]
    expected = [0] * 4
    for i, u in enumerate(x):
        for j, v in enumerate(y):
            expected[(i + j) % 4] += u * v * (-1) ** ((i + j) // 4)
    assert negacyclic(x, y) == expected


def test_composition_helper() -> None:
    basis = basis_named("30+40+40", 16)
    values = composed(np.array([[[q - 1] * 16 for q in basis.moduli]], dtype=np.uint64)[0], basis)
    assert set(values.tolist()) == {basis.product - 1}
