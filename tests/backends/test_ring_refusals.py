"""Ring contract: bad operands are refused with a typed error that says what is allowed, and no residue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.arith.rns import RnsBasis
from hecore.backends.reference import ReferenceBackend
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, ShapeError
from tests.backends.ring_lab import TWO, RingLab, basis_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.backends.ring_protocol import Backend

BASIS = basis_named(TWO, 16)
OTHER = basis_named("50-+60", 16)
LARGER = basis_named("60", 32)
Call = "Callable[[Backend, PolynomialArray], object]"


@pytest.fixture
def lab(backend: Backend) -> RingLab:
    return RingLab(backend)


@pytest.mark.parametrize(
    ("words", "basis", "error", "said"),
    [
        (np.zeros((2, 16), dtype=np.int64), BASIS, OperandTypeError, "uint64"),
        ([[0] * 16] * 2, BASIS, OperandTypeError, "list"),
        (np.zeros((2, 8), dtype=np.uint64), BASIS, ShapeError, r"\(2, 16\)"),
        (np.zeros((3, 16), dtype=np.uint64), BASIS, ShapeError, r"\(2, 16\)"),
        (np.zeros(16, dtype=np.uint64), BASIS, ShapeError, r"\(2, 16\)"),
        (np.full((2, 16), BASIS.moduli[0], dtype=np.uint64), BASIS, ParameterError, "below"),
        (np.full((2, 16), 2**64 - 1, dtype=np.uint64), BASIS, ParameterError, "below"),
    ],
)
def test_words(lab: RingLab, words: Any, basis: RnsBasis, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        lab.backend.ring_upload(words, basis, ntt=True)
    assert str(BASIS.moduli[0]) not in str(raised.value)


def test_one_residue_too_large(lab: RingLab) -> None:
    words = lab.words(BASIS, (3,))
    words[2, 1, 15] = BASIS.moduli[1]
    with pytest.raises(ParameterError):
        lab.up(words, BASIS)


def test_coefficients(lab: RingLab) -> None:
    encode, wide = lab.backend.ring_encode, lab.backend.ring_encode_wide
    with pytest.raises(OperandTypeError, match="int64"):
        encode(np.zeros(16), BASIS)  # type: ignore[arg-type]
    for shape in ((), (8,), (16, 2)):
        with pytest.raises(ShapeError, match="16"):
            encode(np.zeros(shape, dtype=np.int64), BASIS)
    magnitudes, signs = np.zeros((16, 2), dtype=np.uint64), np.zeros(16, dtype=np.bool_)
    with pytest.raises(OperandTypeError, match="bool"):
        wide(magnitudes, signs.astype(np.int8), BASIS)
    with pytest.raises(OperandTypeError, match="uint64"):
        wide(magnitudes.astype(np.int64), signs, BASIS)
    for bad in (magnitudes[:8], magnitudes[:, :0], magnitudes[0]):
        with pytest.raises(ShapeError, match="limbs"):
            wide(bad, signs, BASIS)
    with pytest.raises(ShapeError, match="signs"):
        wide(magnitudes, signs[:8], BASIS)


def test_another_backend_is_refused(lab: RingLab) -> None:
    stranger = RingLab(ReferenceBackend())
    theirs = stranger.up(stranger.words(BASIS, (2,)), BASIS)
    mine = lab.up(lab.words(BASIS, (2,)), BASIS)
    calls: list[Callable[[], object]] = [
        lambda: lab.backend.ring_download(theirs),
        lambda: lab.backend.residue_add(mine, theirs),
        lambda: lab.backend.residue_mul_accumulate(mine, theirs),
        lambda: lab.backend.tensor_product(theirs, mine),
        lambda: lab.backend.ring_concatenate([mine, theirs]),
        lambda: lab.backend.decompose(theirs, [(0, 2)], LARGER),
    ]
    for call in calls:
        with pytest.raises(BackendMismatchError, match=r"\.to\("):
            call()
    with pytest.raises(OperandTypeError, match="ndarray"):
        lab.backend.residue_add(mine, lab.words(BASIS, (2,)))  # type: ignore[arg-type]


def test_bases_domains_and_shapes_must_meet(lab: RingLab) -> None:
    b = lab.backend
    a, c = lab.up(lab.words(BASIS, (2,)), BASIS), lab.up(lab.words(OTHER, (2,)), OTHER)
    flat, three = lab.up(lab.words(BASIS, (2,)), BASIS, ntt=False), lab.up(lab.words(BASIS, (3,)), BASIS)
    single = lab.up(lab.words(BASIS, ()), BASIS)
    binary = [b.residue_add, b.residue_sub, b.residue_mul, b.residue_mul_accumulate, b.tensor_product]
    for operation in binary:
        with pytest.raises(ParameterError, match="2 moduli"):
            operation(a, c)
        with pytest.raises(ParameterError, match="coefficients"):
            operation(a, flat)
        with pytest.raises(ShapeError, match=r"\(2,\)"):
            operation(a, three)
    for operation in binary[2:]:
        with pytest.raises(ParameterError, match="transform"):
            operation(flat, flat)
    for operation in binary[3:]:
        with pytest.raises(ShapeError):
            operation(single, single)
    with pytest.raises(ShapeError, match="2 expected"):
        b.tensor_product(three, three)
    with pytest.raises(ParameterError, match="transform"):
        b.ntt(a)
    with pytest.raises(ParameterError, match="transform"):
        b.intt(flat)


def test_constants_and_elements(lab: RingLab) -> None:
    a = lab.up(lab.words(BASIS, (2,)), BASIS)
    for operation in (lab.backend.residue_scale, lab.backend.residue_shift):
        with pytest.raises(ShapeError, match="one each"):
            operation(a, [1])
        for bad in ([BASIS.moduli[0], 1], [0, -1]):
            with pytest.raises(ParameterError, match=r"\[0, q\)"):
                operation(a, bad)
        with pytest.raises(OperandTypeError, match="float"):
            operation(a, [1.0, 2.0])  # type: ignore[list-item]
    for element in (0, 2, -1, 32, 33):
        with pytest.raises(ParameterError, match="odd, from 1 to 31"):
            lab.backend.automorphism(a, element)
    with pytest.raises(OperandTypeError, match="float"):
        lab.backend.automorphism(a, 3.0)  # type: ignore[arg-type]


def test_sums_of_automorphisms(lab: RingLab) -> None:
    a = lab.up(lab.words(BASIS, (2, 3, 1)), BASIS)
    for elements in ([], [3], [3, 5], [3, 5, 7, 9]):
        with pytest.raises(ShapeError, match="automorphisms"):
            lab.backend.automorphism_sum(a, elements)
    with pytest.raises(ParameterError, match="odd"):
        lab.backend.automorphism_sum(a, [3, 4, 5])
    with pytest.raises(ParameterError, match="transform"):
        lab.backend.automorphism_sum(lab.backend.intt(a), [3, 5, 7])
    with pytest.raises(ShapeError, match="automorphisms"):
        lab.backend.automorphism_sum(lab.up(lab.words(BASIS, (2,)), BASIS), [3])


def test_moving_polynomials(lab: RingLab) -> None:
    b, a = lab.backend, lab.up(lab.words(BASIS, (2,)), BASIS)
    for indices in (np.array([2]), np.array([-1])):
        with pytest.raises(ParameterError, match=r"\[0, 2\)"):
            b.ring_take(a, indices)
    for wrong in (np.array([0.0]), [0]):
        with pytest.raises(OperandTypeError, match="integers"):
            b.ring_take(a, wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="nothing"):
        b.ring_concatenate([])
    with pytest.raises(ParameterError, match="moduli"):
        b.ring_concatenate([a, lab.up(lab.words(OTHER, (2,)), OTHER)])
    with pytest.raises(ParameterError, match="coefficients"):
        b.ring_concatenate([a, lab.up(lab.words(BASIS, ()), BASIS, ntt=False)])
    for shape in ((3,), (2, 2), (-1, -2)):
        with pytest.raises(ShapeError, match="reshape"):
            b.ring_reshape(a, shape)
    for positions in ([], [2], [-1], [0, 0]):
        with pytest.raises(ParameterError, match="keep"):
            b.ring_moduli(a, positions)


def test_changes_of_basis(lab: RingLab) -> None:
    b, a = lab.backend, lab.up(lab.words(BASIS, (2,)), BASIS)
    flat = b.intt(a)
    with pytest.raises(ParameterError, match="transform"):
        b.base_convert(a, OTHER, exact=True)
    with pytest.raises(ParameterError, match="ring degree"):
        b.base_convert(flat, LARGER, exact=True)
    with pytest.raises(OperandTypeError, match="RnsBasis"):
        b.base_convert(flat, 97, exact=True)  # type: ignore[arg-type]
    for count in (0, 2, -1, 3):
        with pytest.raises(ParameterError, match="from 1 to 1"):
            b.divide_round(a, count)
    one = b.ring_moduli(a, [0])
    for wrong in (b.ring_moduli(a, [1]), lab.up(lab.words(OTHER, (2,)), OTHER)):
        with pytest.raises(ParameterError, match="cannot add"):
            b.divide_round(a, 1, plus=wrong)
    with pytest.raises(ParameterError, match="transform"):
        b.divide_round(a, 1, plus=b.intt(one))
    with pytest.raises(ParameterError, match="transform"):
        b.divide_round(flat, 1, plus=one)
    for shape in ((3,), (1, 2), ()):
        with pytest.raises(ShapeError, match="cannot add"):
            b.divide_round(a, 1, plus=lab.up(lab.words(BASIS.prefix(1), shape), BASIS.prefix(1)))
    extra = basis_named("59", 16)
    with pytest.raises(ParameterError, match="transform"):
        b.decompose(flat, [(0, 2)], extra)
    with pytest.raises(ParameterError, match="ring degree"):
        b.decompose(a, [(0, 2)], LARGER)
    for digits in (
        [],
        [(0, 1)],
        [(0, 1), (1, 3)],
        [(1, 2), (0, 1)],
        [(0, 2), (2, 2)],
        [(0, 0), (0, 2)],
        [(0, 2), (1, 2)],
    ):
        with pytest.raises(ParameterError, match="cover"):
            b.decompose(a, digits, extra)
    with pytest.raises(ParameterError, match="distinct"):
        b.decompose(a, [(0, 2)], BASIS.take([0]))


def test_keys_that_do_not_fit(lab: RingLab) -> None:
    extra = basis_named("59", 16)
    whole, digits = BASIS.join(extra), [(0, 1), (1, 2)]
    a, keys = lab.up(lab.words(BASIS, ()), BASIS), lab.up(lab.words(whole, (2, 2)), whole)
    switch = lab.backend.decompose_mul_accumulate
    for shape in ((2,), (2, 3), (2, 2, 2)):
        with pytest.raises(ShapeError, match="digits"):
            switch(a, digits, extra, lab.up(lab.words(whole, shape), whole))
    with pytest.raises(ParameterError, match="over"):
        switch(a, digits, extra, lab.up(lab.words(BASIS, (2, 2)), BASIS))
    with pytest.raises(ParameterError, match="transform"):
        switch(a, digits, extra, lab.backend.intt(keys))
    with pytest.raises(ParameterError, match="cover"):
        switch(a, [(0, 1)], extra, keys)
    with pytest.raises(ShapeError, match="no keys"):
        switch(a, digits, extra, [])
    with pytest.raises(ShapeError, match="all alike"):
        switch(a, digits, extra, [keys, lab.up(lab.words(whole, (3, 2)), whole)])


def test_no_residue_in_a_repr(lab: RingLab) -> None:
    words = lab.words(BASIS, (2,))
    text = repr(lab.up(words, BASIS))
    assert str(words[0, 0, 10]) not in text
    assert "data" not in text
