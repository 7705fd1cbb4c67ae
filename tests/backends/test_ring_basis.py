"""Ring contract: base conversion, division with rounding, decomposition, by their formulas in Python integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.backends.reference import ReferenceBackend
from tests.backends.ring_lab import (
    Integers,
    RingLab,
    basis_named,
    column,
    composed,
    objects,
    split,
    switched,
)

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Backend, Words

SOURCES = (
    "50-",
    "61-",
    "30",
    "30+40",
    "40+40+40",
    "61-+50-",
    "61-+61-+61-",
    "60+45+50-+52+61-",
    "+".join(["50-"] * 18),
)
TARGET = "20+61-+45+50-+52+33"


@pytest.fixture
def lab(backend: Backend) -> RingLab:
    return RingLab(backend)


def converted(words: Words, source: RnsBasis, *, exact: bool) -> Integers:
    """(*S, k, N) -> (*S, N): the representative that the protocol defines."""
    total, fixed = np.zeros((), dtype=object), np.zeros((), dtype=object)
    for i, q in enumerate(source.moduli):
        cofactor = source.product // q
        y = objects(words)[..., i, :] * pow(cofactor, -1, q) % q
        total = total + y * cofactor
        bits = q.bit_length()
        fixed = fixed + (y * ((1 << 56 + bits) // q) >> bits)
    if not exact:
        return total
    if len(source) == 1:
        quotient = (total > source.product // 2) * np.array(1, dtype=object)
    else:
        quotient = (fixed + (1 << 55)) >> 56
    out: Integers = total - quotient * source.product
    return out


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("degree", [16, 1024])
@pytest.mark.parametrize("exact", [False, True])
def test_base_convert(lab: RingLab, name: str, degree: int, exact: bool) -> None:
    source, target = basis_named(name, degree), basis_named(TARGET, degree)
    if degree > 16 and len(source) > 5:
        pytest.skip("the small degree shows it")
    words = lab.words(source, (2,))
    a = lab.up(words, source, ntt=False)
    expected = split(converted(words, source, exact=exact), target)
    lab.same(lab.backend.base_convert(a, target, exact=exact), expected, target, (2,), ntt=False)
    lab.same(
        lab.backend.base_convert(a, target.take([3]), exact=exact), expected[:, 3:4], target.take([3]), (2,), ntt=False
    )


@pytest.mark.parametrize("name", SOURCES)
def test_exact_conversion_is_the_centred_integer(lab: RingLab, name: str) -> None:
    """Away from ±Q/2, and exactly for one prime."""
    source, target = basis_named(name, 16), basis_named("61-+60+59+58", 16)
    product = source.product
    near = [0, 1, product - 1, product // 4, product // 2 - (product >> 40), product // 2 + (product >> 40)]
    if len(source) == 1:
        near += [product // 2, product // 2 + 1]
    values = np.array(near + [0] * (16 - len(near)), dtype=object)[None]
    centred = np.where(values > product // 2, values - product, values)
    got = lab.backend.base_convert(lab.up(split(values, source), source, ntt=False), target, exact=True)
    lab.same(got, split(centred, target), target, (1,), ntt=False)


def test_conversion_to_primes_of_the_source(lab: RingLab) -> None:
    source = basis_named("60+40+40", 16)
    words = lab.words(source, (2,))
    a = lab.up(words, source, ntt=False)
    for exact in (False, True):
        lab.same(lab.backend.base_convert(a, source, exact=exact), words, source, (2,), ntt=False)


@pytest.mark.parametrize("name", ["40+60", "60+40+40+60", "61-+50-+61-+51+50-+30", "29-+20+61-+29-", "29-+20+28"])
@pytest.mark.parametrize("ntt", [False, True])
def test_divide_round(lab: RingLab, name: str, ntt: bool) -> None:
    basis = basis_named(name, 32)
    words = lab.words(basis, (2, 2))
    a = lab.up(words, basis, ntt=False)
    given = lab.backend.ntt(a) if ntt else a
    for count in range(1, len(basis)):
        kept, dropped = basis.prefix(len(basis) - count), basis.take(range(len(basis) - count, len(basis)))
        rest = converted(words[..., len(kept) :, :], dropped, exact=True)
        inverses = np.array([pow(dropped.product, -1, q) for q in kept.moduli], dtype=object)[:, None]
        expected = (objects(words)[..., : len(kept), :] - rest[..., None, :]) * inverses % column(kept)
        out = lab.backend.divide_round(given, count)
        assert out.ntt is ntt
        lab.same(lab.backend.intt(out) if ntt else out, expected, kept, (2, 2), ntt=False)


def test_divide_round_rounds(lab: RingLab) -> None:
    """The nearest integer to x/P for centred x, ties being impossible for an odd P."""
    basis = basis_named("60+60+40", 16)
    p = basis.moduli[2]
    x = [
        0,
        1,
        -1,
        p // 2,
        p // 2 + 1,
        -(p // 2),
        -(p // 2) - 1,
        p,
        -p,
        7 * p + p // 2,
        7 * p - p // 2,
        10**20,
        -(10**20),
    ]
    values = np.array(x + [0] * (16 - len(x)), dtype=object)[None]
    out = lab.backend.divide_round(lab.up(split(values, basis), basis, ntt=False), 1)
    nearest = np.array([(2 * v + p) // (2 * p) for v in values[0]], dtype=object)[None]
    lab.same(out, split(nearest, basis.prefix(2)), basis.prefix(2), (1,), ntt=False)


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("61-+40+40", [(0, 1), (1, 2), (2, 3)]),
        ("61-+40+40", [(0, 2), (2, 3)]),
        ("61-+40+40", [(0, 3)]),
        ("50-+61-+30+51", [(0, 3), (3, 4)]),
        ("50-+61-+30+51", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("29-+61-+20+29-", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("29-+61-+20+29-", [(0, 2), (2, 4)]),
        ("45", [(0, 1)]),
    ],
)
@pytest.mark.parametrize("special", ["60", "59+28"])
def test_decompose(lab: RingLab, name: str, digits: list[tuple[int, int]], special: str) -> None:
    basis, extra = basis_named(name, 32), basis_named(special, 32)
    whole = basis.join(extra)
    words = lab.words(basis, (2,))
    raised = []
    for start, stop in digits:
        source = basis.take(range(start, stop))
        digit = split(converted(words[:, start:stop], source, exact=False), whole)
        assert np.array_equal(digit[:, start:stop], words[:, start:stop])  # its own residues are what they were
        raised.append(digit)
    a = lab.backend.ntt(lab.up(words, basis, ntt=False))
    out = lab.backend.decompose(a, digits, extra)
    assert out.ntt
    lab.same(lab.backend.intt(out), np.stack(raised, axis=1), whole, (2, len(digits)), ntt=False)


def test_digits_make_the_polynomial(lab: RingLab) -> None:
    """sum_j digit_j * (Q/D_j) * ((Q/D_j)^-1 mod D_j) = a modulo Q: what key switching rests on."""
    basis, extra = basis_named("60+40+40+50-", 16), basis_named("61-", 16)
    digits, whole = [(0, 2), (2, 4)], basis.join(extra)
    words = lab.words(basis, ())
    a = lab.backend.ntt(lab.up(words, basis, ntt=False))
    raised = composed(lab.backend.ring_download(lab.backend.intt(lab.backend.decompose(a, digits, extra))), whole)
    total = np.zeros(16, dtype=object)
    for (start, stop), digit in zip(digits, raised, strict=True):
        own = basis.take(range(start, stop)).product
        assert all(0 <= x < 2 * own for x in digit)
        cofactor = basis.product // own
        total = total + digit * cofactor * pow(cofactor, -1, own)
    assert np.array_equal(split(total, basis), words)


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("61-+40+40", [(0, 1), (1, 2), (2, 3)]),
        ("50-+61-+30+51", [(0, 3), (3, 4)]),
        ("29-+61-+20+29-", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("30+" + "+".join(["50-"] * 17), [(i, i + 1) for i in range(18)]),  # more products than one sum may hold
    ],
)
@pytest.mark.parametrize("components", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(), (2, 1), (0,)])
def test_decompose_mul_accumulate(
    lab: RingLab, name: str, digits: list[tuple[int, int]], components: int, shape: tuple[int, ...]
) -> None:
    basis, extra = basis_named(name, 16), basis_named("60+45", 16)
    whole = basis.join(extra)
    a = lab.backend.ntt(lab.up(lab.words(basis, shape), basis, ntt=False))
    keys = lab.words(whole, (components, len(digits)), "b")
    raised = objects(lab.backend.ring_download(lab.backend.decompose(a, digits, extra)))
    expected = (raised[..., None, :, :, :] * objects(keys)).sum(axis=-3) % column(whole)
    out = lab.backend.decompose_mul_accumulate(a, digits, extra, lab.up(keys, whole))
    lab.same(out, expected, whole, (*shape, components), ntt=True)


def test_digits_serve_several_keys(lab: RingLab) -> None:
    basis, extra = basis_named("61-+40+40", 16), basis_named("60+45", 16)
    whole, digits = basis.join(extra), [(0, 2), (2, 3)]
    a = lab.up(lab.words(basis, (3,)), basis)
    for components in (1, 2, 3):
        keys = [lab.up(lab.words(whole, (components, 2), label), whole) for label in "bcd"]
        alone = [lab.backend.ring_download(lab.backend.decompose_mul_accumulate(a, digits, extra, k)) for k in keys]
        together = lab.backend.decompose_mul_accumulate(a, digits, extra, keys)
        lab.same(together, np.stack(alone, axis=1), whole, (3, 3, components), ntt=True)


@pytest.mark.parametrize("name", ["60+40+40+60", "61-+29-+20+51+50-+30"])
@pytest.mark.parametrize("components", [1, 2, 3])
def test_divide_round_of_a_sum(lab: RingLab, name: str, components: int) -> None:
    """a + R*plus, R the product of the moduli that `plus` lacks."""
    basis = basis_named(name, 32)
    a = lab.up(lab.words(basis, (2, 3)), basis)
    for count in range(1, len(basis)):
        for width in range(len(basis) - count, len(basis)):
            part = basis.prefix(width)
            words = lab.words(part, (2, components), "b")
            factor = basis.product // part.product
            whole = np.zeros((2, 3, len(basis), 32), dtype=object)
            whole[:, :components, :width] = objects(words) * factor % column(part)
            total = lab.backend.residue_add(a, lab.up(whole.astype(np.uint64), basis))
            expected = lab.backend.ring_download(lab.backend.divide_round(total, count))
            out = lab.backend.divide_round(a, count, plus=lab.up(words, part))
            lab.same(out, expected, basis.prefix(len(basis) - count), (2, 3), ntt=True)


@pytest.mark.parametrize("degree", [1024, 4096])
def test_switching_at_the_degrees_of_the_fast_paths(lab: RingLab, degree: int) -> None:
    """Every way to make a residue, eight lanes included, against the reference."""
    if degree > 1024 and lab.backend.name != "cpu":
        pytest.skip("no other backend has paths of its own there (devices: test_kernel_transforms.py)")
    basis, extra = basis_named("60+40+50-+61-", degree), basis_named("59+28", degree)
    digits = [(0, 1), (1, 3), (3, 4)]
    results = [switched(backend, basis, extra, digits) for backend in (lab.backend, ReferenceBackend())]
    for mine, theirs in zip(*results, strict=True):
        assert np.array_equal(mine, theirs)
