"""Contract suite: exponentiation in all its forms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from hecore.arith.integers import powmod
from hecore.arith.limbs import limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.protocol import ExponentArray
from hecore.errors import NotInvertibleError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.backends.conftest import Lab

Form = Literal["mod_exp", "mod_exp_vartime"]
FORMS: list[Form] = ["mod_exp", "mod_exp_vartime"]
BITS = [1, 2, 5, 13, 64, 65]
BATCHES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 33]


def powers(bases: Sequence[int], exponents: Sequence[int], modulus: Modulus) -> list[int]:
    return [powmod(x, e, modulus.value) for x, e in zip(bases, exponents, strict=True)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", BATCHES)
def test_one_exponent_for_all(lab: Lab, some_modulus: Modulus, form: Form, count: int) -> None:
    x = lab.values(some_modulus, count)
    for bits in BITS:
        for e in lab.exponents(bits, 5):
            result = getattr(lab.backend, form)(lab.up(x, some_modulus), ExponentArray.shared(e, bits))
            lab.same(result, powers(x, [e] * count, some_modulus), some_modulus, (count,))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", BATCHES)
def test_an_exponent_each(lab: Lab, some_modulus: Modulus, form: Form, count: int) -> None:
    x = lab.values(some_modulus, count)
    for bits in BITS:
        e = lab.exponents(bits, count)
        result = getattr(lab.backend, form)(lab.up(x, some_modulus), lab.own(e, bits))
        lab.same(result, powers(x, e, some_modulus), some_modulus, (count,))


@pytest.mark.parametrize("form", FORMS)
def test_every_modulus_size(lab: Lab, modulus: Modulus, form: Form) -> None:
    x, e = lab.values(modulus, 9), lab.exponents(65, 9)
    a = lab.up(x, modulus)
    result = getattr(lab.backend, form)(a, lab.own(e, 65))
    lab.same(result, powers(x, e, modulus), modulus, (9,))
    result = getattr(lab.backend, form)(a, ExponentArray.shared(e[5], 65))
    lab.same(result, powers(x, [e[5]] * 9, modulus), modulus, (9,))


@pytest.mark.parametrize("form", FORMS)
def test_exponents_as_long_as_the_modulus(lab: Lab, modulus: Modulus, form: Form) -> None:
    count = 9 if modulus.bits <= 2100 else 2
    bits = modulus.bits
    x = lab.values(modulus, count + 3)[3:]
    e = lab.exponents(bits, count + 1)[1:]  # all ones first
    result = getattr(lab.backend, form)(lab.up(x, modulus), lab.own(e, bits))
    lab.same(result, powers(x, e, modulus), modulus, (count,))


@pytest.mark.parametrize("form", FORMS)
def test_zero_to_the_zero_is_one(lab: Lab, modulus: Modulus, form: Form) -> None:
    a = lab.up([0, 0, 1, modulus.value - 1], modulus)
    operation = getattr(lab.backend, form)
    lab.same(operation(a, ExponentArray.shared(0, 9)), [1] * 4, modulus, (4,))
    result = operation(a, lab.own([0, 1, 0, 0], 3))
    lab.same(result, [1, 0, 1, 1], modulus, (4,))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3), (1, 2, 5)])
def test_the_shape_stays(lab: Lab, small_modulus: Modulus, form: Form, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    x, e = lab.values(small_modulus, count), lab.exponents(20, count)
    a = lab.up(x, small_modulus, shape)
    operation = getattr(lab.backend, form)
    lab.same(operation(a, lab.own(e, 20, shape)), powers(x, e, small_modulus), small_modulus, shape)
    shared = operation(a, ExponentArray.shared(77, 20))
    lab.same(shared, powers(x, [77] * count, small_modulus), small_modulus, shape)


@pytest.mark.parametrize("form", FORMS)
def test_a_long_exponent_with_a_small_value(lab: Lab, some_modulus: Modulus, form: Form) -> None:
    x, e = lab.values(some_modulus, 9), [0, 1, 2, 3, 4, 5, 2**64 - 1, 2**64, 2**299]
    result = getattr(lab.backend, form)(lab.up(x, some_modulus), lab.own(e, 300))
    lab.same(result, powers(x, e, some_modulus), some_modulus, (9,))


def test_exponentiation_of_a_large_batch(lab: Lab, small_modulus: Modulus) -> None:
    """More elements than any block a pool of threads would cut."""
    x, e = lab.values(small_modulus, 1001), lab.exponents(13, 1001)
    a, own, backend = lab.up(x, small_modulus), lab.own(e, 13), lab.backend
    expected = powers(x, e, small_modulus)
    lab.same(backend.mod_exp(a, own), expected, small_modulus, (1001,))
    lab.same(backend.mod_exp_vartime(a, own), expected, small_modulus, (1001,))
    base = lab.units(small_modulus, 5)[4]
    result = backend.fixed_base_exp(backend.fixed_base_table(base, small_modulus, 13), own)
    lab.same(result, powers([base] * 1001, e, small_modulus), small_modulus, (1001,))


@pytest.mark.parametrize("form", FORMS)
def test_mod_exp_refuses_bad_exponents(lab: Lab, small_modulus: Modulus, form: Form) -> None:
    a = lab.up(lab.values(small_modulus, 4), small_modulus)
    operation = getattr(lab.backend, form)
    for shape_error in (
        lab.own([1, 2, 3], 5),
        lab.own([1, 2, 3, 4], 5, (2, 2)),
        ExponentArray(np.zeros((4, 2), dtype=np.uint64), 5),
        ExponentArray(np.zeros((4, 1), dtype=np.uint64), 65),
    ):
        with pytest.raises(ShapeError):
            operation(a, shape_error)
    for value_error in (
        ExponentArray(np.full((4, 1), 32, dtype=np.uint64), 5),
        ExponentArray(np.full((4, 2), 2, dtype=np.uint64), 65),
        ExponentArray(np.zeros((4, 1), dtype=np.uint64), 0),
    ):
        with pytest.raises(ParameterError):
            operation(a, value_error)
    with pytest.raises(OperandTypeError):
        operation(a, ExponentArray(np.zeros((4, 1), dtype=np.int64), 5))


@pytest.mark.parametrize("bits", [1, 2, 5, 7, 64, 65, 200])
@pytest.mark.parametrize("memory_budget", [None, 1, 1 << 12, 1 << 20])
def test_fixed_base(lab: Lab, some_modulus: Modulus, bits: int, memory_budget: int | None) -> None:
    base = lab.units(some_modulus, 5)[4]
    table = lab.backend.fixed_base_table(base, some_modulus, bits, memory_budget=memory_budget)
    assert table.backend is lab.backend
    assert table.modulus == some_modulus
    assert table.exponent_bits == bits
    assert table.nbytes >= 0
    for count in (0, 1, 8, 9, 33):
        e = lab.exponents(bits, count)
        result = lab.backend.fixed_base_exp(table, lab.own(e, bits))
        lab.same(result, powers([base] * count, e, some_modulus), some_modulus, (count,))


def test_fixed_base_at_every_size(lab: Lab, modulus: Modulus) -> None:
    for base in lab.units(modulus, 3):
        table = lab.backend.fixed_base_table(base, modulus, 70, memory_budget=1 << 16)
        e = lab.exponents(70, 9)
        result = lab.backend.fixed_base_exp(table, lab.own(e, 70))
        lab.same(result, powers([base] * 9, e, modulus), modulus, (9,))


def test_a_larger_budget_never_makes_a_smaller_table(lab: Lab, some_modulus: Modulus) -> None:
    base = lab.units(some_modulus, 5)[4]
    budgets = [1, 1 << 12, 1 << 16, 1 << 20]
    sizes = [lab.backend.fixed_base_table(base, some_modulus, 200, memory_budget=b).nbytes for b in budgets]
    assert sizes == sorted(sizes)
    assert sizes[-1] <= budgets[-1]


def test_fixed_base_takes_shorter_exponents_and_any_shape(lab: Lab, some_modulus: Modulus) -> None:
    base = lab.units(some_modulus, 5)[4]
    table = lab.backend.fixed_base_table(base, some_modulus, 130, memory_budget=1 << 16)
    for bits in (1, 64, 129, 130):
        e = lab.exponents(bits, 6)
        result = lab.backend.fixed_base_exp(table, lab.own(e, bits, (2, 3)))
        lab.same(result, powers([base] * 6, e, some_modulus), some_modulus, (2, 3))
    result = lab.backend.fixed_base_exp(table, ExponentArray.shared(2**100 + 1, 130))
    lab.same(result, powers([base], [2**100 + 1], some_modulus), some_modulus, ())


def test_fixed_base_refuses_bad_parameters(lab: Lab) -> None:
    modulus, table_of = Modulus.square(15), lab.backend.fixed_base_table
    for base in (-1, 0, 5, 225, 226):
        with pytest.raises(ParameterError):
            table_of(base, modulus, 8)
    with pytest.raises(ParameterError):
        table_of(2, modulus, 0)
    for budget in (0, -1):
        with pytest.raises(ParameterError):
            table_of(2, modulus, 8, memory_budget=budget)
    table = table_of(2, modulus, 8)
    with pytest.raises(ParameterError):
        lab.backend.fixed_base_exp(table, lab.own([1], 9))
    with pytest.raises(ParameterError):
        lab.backend.fixed_base_exp(table, ExponentArray(np.full((1, 1), 256, dtype=np.uint64), 8))


# Around where an implementation may change its method: one output or many, few terms or many, short scalars or long.
MULTI_EXP_SIZES = [
    (0, 0, 1),
    (0, 3, 5),
    (3, 0, 5),
    (1, 1, 1),
    (1, 1, 64),
    (1, 7, 31),
    (2, 8, 5),
    (5, 9, 64),
    (3, 33, 65),
    (9, 17, 24),
    (1, 65, 130),
    (40, 30, 31),
    (2, 200, 31),
    (1, 700, 12),
    (17, 260, 4),
]


def expected_multi_exp(bases: list[int], rows: Sequence[Sequence[int]], modulus: Modulus) -> list[int]:
    results = []
    for row in rows:
        value = 1
        for base, scalar in zip(bases, row, strict=True):
            value = value * powmod(base, scalar, modulus.value) % modulus.value
        results.append(value)
    return results


def run_multi_exp(
    lab: Lab,
    bases: list[int],
    rows: list[list[int]],
    bits: int,
    modulus: Modulus,
    *,
    constant_time: bool,
    most: int | None = None,
) -> None:
    k = len(bases)
    result = lab.backend.multi_exp(
        lab.up(bases, modulus),
        lab.magnitudes(rows, k, bits),
        lab.signs(rows, k),
        bits,
        constant_time=constant_time,
        most=most,
    )
    lab.same(result, expected_multi_exp(bases, rows, modulus), modulus, (len(rows),))


def scalar_rows(lab: Lab, m: int, k: int, bits: int) -> list[list[int]]:
    """Zero, all ones, one, the top bit, random; signs mixed."""
    flat = lab.exponents(bits, m * k)
    signed = [-x if i % 2 else x for i, x in enumerate(flat)]
    return [signed[i * k : (i + 1) * k] for i in range(m)]


@pytest.mark.parametrize("constant_time", [False, True])
@pytest.mark.parametrize(("m", "k", "bits"), MULTI_EXP_SIZES)
def test_multi_exp(lab: Lab, small_modulus: Modulus, m: int, k: int, bits: int, constant_time: bool) -> None:
    bases = lab.units(small_modulus, k)
    run_multi_exp(lab, bases, scalar_rows(lab, m, k, bits), bits, small_modulus, constant_time=constant_time)


@pytest.mark.parametrize("constant_time", [False, True])
@pytest.mark.parametrize("most", [0, 1, 5, 1 << 31, (1 << 31) - 1, 1 << 63, (1 << 64) + 1])
def test_multi_exp_up_to_a_bound(lab: Lab, small_modulus: Modulus, most: int, constant_time: bool) -> None:
    """The bound itself with either sign, as the least int32 is one more than the largest."""
    edges = [most, -most, max(0, most - 1), 0, -min(most, 1), most // 2]
    rows = [[edges[(i + j) % 6] for j in range(200)] for i in range(3)]
    bases = lab.units(small_modulus, 200)
    for bits in {max(1, most.bit_length()), 70}:
        run_multi_exp(lab, bases, rows, bits, small_modulus, constant_time=constant_time, most=most)


@pytest.mark.parametrize(("most", "value"), [(5, 6), (1 << 31, (1 << 31) + 1), (1 << 64, (1 << 64) + 1), (0, 1)])
def test_magnitudes_beyond_their_bound_are_refused(lab: Lab, small_modulus: Modulus, most: int, value: int) -> None:
    bases = lab.up(lab.units(small_modulus, 3), small_modulus)
    rows = [[0, value, most]]
    with pytest.raises(ParameterError, match="1 magnitudes exceed"):
        lab.backend.multi_exp(bases, lab.magnitudes(rows, 3, 65), lab.signs(rows, 3), 65, most=most)
    for wrong in (-1, 1 << 65):
        with pytest.raises(ParameterError, match="bound on magnitudes"):
            lab.backend.multi_exp(bases, lab.magnitudes(rows, 3, 65), lab.signs(rows, 3), 65, most=wrong)


@pytest.mark.parametrize("constant_time", [False, True])
def test_multi_exp_at_every_size(lab: Lab, modulus: Modulus, constant_time: bool) -> None:
    bases = lab.units(modulus, 11)
    run_multi_exp(lab, bases, scalar_rows(lab, 3, 11, 33), 33, modulus, constant_time=constant_time)


@pytest.mark.parametrize("constant_time", [False, True])
@pytest.mark.parametrize("k", [1, 9, 150])
@pytest.mark.parametrize(
    "scalar", [0, 1, -1, 2**31 - 1, 1 - 2**31, 2**30, -(2**30)], ids=["0", "1", "-1", "ones", "-ones", "top", "-top"]
)
def test_multi_exp_with_equal_scalars(
    lab: Lab, some_modulus: Modulus, scalar: int, k: int, constant_time: bool
) -> None:
    bases = lab.units(some_modulus, k)
    run_multi_exp(lab, bases, [[scalar] * k] * 2, 31, some_modulus, constant_time=constant_time)


@pytest.mark.parametrize("constant_time", [False, True])
def test_multi_exp_with_one_sign(lab: Lab, some_modulus: Modulus, constant_time: bool) -> None:
    bases = lab.units(some_modulus, 20)
    magnitudes = lab.exponents(40, 60)
    for sign in (1, -1):
        rows = [[sign * x for x in magnitudes[i : i + 20]] for i in (0, 20, 40)]
        run_multi_exp(lab, bases, rows, 40, some_modulus, constant_time=constant_time)


@pytest.mark.parametrize("constant_time", [False, True])
def test_multi_exp_with_awkward_bases(lab: Lab, modulus: Modulus, constant_time: bool) -> None:
    """Zero and other non-units are allowed where no power of them is inverted."""
    bases = lab.values(modulus, 7)
    ok = [
        abs(x) if math.gcd(b, modulus.value) != 1 else x for b, x in zip(bases, [5, -3, 7, 1, -6, 2, -7], strict=True)
    ]
    run_multi_exp(lab, bases, [ok, [0] * 7], 3, modulus, constant_time=constant_time)


@pytest.mark.parametrize("constant_time", [False, True])
def test_a_minus_sign_at_zero_means_nothing(lab: Lab, small_modulus: Modulus, constant_time: bool) -> None:
    bases = [0, *lab.units(small_modulus, 3)]
    magnitudes = lab.magnitudes([[0, 2, 0, 3]], 4, 5)
    negative = np.array([[True, False, True, True]])
    result = lab.backend.multi_exp(lab.up(bases, small_modulus), magnitudes, negative, 5, constant_time=constant_time)
    expected = expected_multi_exp(bases, [[0, 2, 0, -3]], small_modulus)
    lab.same(result, expected, small_modulus, (1,))


@pytest.mark.parametrize("constant_time", [False, True])
def test_multi_exp_names_the_outputs_that_do_not_exist(lab: Lab, small_modulus: Modulus, constant_time: bool) -> None:
    bases = lab.up([2, 0, 7], small_modulus)
    rows = [[1, 2, -3], [1, -2, 3], [-1, 0, 3], [0, -1, 0]]
    with pytest.raises(NotInvertibleError) as caught:
        lab.backend.multi_exp(bases, lab.magnitudes(rows, 3, 2), lab.signs(rows, 3), 2, constant_time=constant_time)
    assert caught.value.indices == (1, 3)


def test_multi_exp_refuses_bad_operands(lab: Lab, small_modulus: Modulus) -> None:
    bases = lab.up(lab.units(small_modulus, 3), small_modulus)
    multi_exp = lab.backend.multi_exp
    good, signs = np.ones((2, 3, 1), dtype=np.uint64), np.zeros((2, 3), dtype=np.bool_)
    for magnitudes, negative in (
        (good[:, :2], signs),
        (good[:, :2], signs[:, :2]),
        (good, signs[:1]),
        (good[..., 0], signs),
        (np.ones((2, 3, 2), dtype=np.uint64), signs),
    ):
        with pytest.raises(ShapeError):
            multi_exp(bases, magnitudes, negative, 8)
    with pytest.raises(ShapeError):
        multi_exp(lab.backend.reshape(bases, (1, 3)), good, signs, 8)
    with pytest.raises(ParameterError):
        multi_exp(bases, good * np.uint64(256), signs, 8)
    with pytest.raises(ParameterError):
        multi_exp(bases, good, signs, 0)
    with pytest.raises(OperandTypeError):
        multi_exp(bases, good, signs.astype(np.int8), 8)
    with pytest.raises(OperandTypeError):
        multi_exp(bases, good.astype(np.int64), signs, 8)


def test_multi_exp_of_an_unsigned_type_has_no_signs(lab: Lab) -> None:
    modulus = Modulus.square(1000003)
    bases = [3, 5, 1000003, 7]  # one that is no unit: nothing is inverted
    magnitudes = limbs_from_ints([1, 2, 3, 0, 9, 8, 1, 6], 1).reshape(2, 4, 1)
    for constant_time in (False, True):
        result = lab.backend.multi_exp(lab.up(bases, modulus), magnitudes, None, 4, constant_time=constant_time)
        want = [3 * 25 * 1000003**3, 3**9 * 5**8 * 1000003 * 7**6]
        lab.same(result, [x % modulus.value for x in want], modulus, (2,))


def test_tables_for_absurdly_long_exponents_are_refused_or_right(lab: Lab) -> None:
    """Beside the longest exponents that a backend serves lies a typed error, never a wrong power."""
    modulus = Modulus.square((1 << 196) - 3)
    base = modulus.value - 2
    for bits in (8192, 16384, 16388, 40000):
        try:
            table = lab.backend.fixed_base_table(base, modulus, bits, memory_budget=1)
        except ParameterError:
            assert bits > 8192
            continue
        exponents = [(1 << bits) - 1 - i for i in range(3)]
        result = lab.backend.fixed_base_exp(table, ExponentArray.from_ints(exponents, bits))
        lab.same(result, [pow(base, e, modulus.value) for e in exponents], modulus, (3,))
