"""Contract suite: algebraic laws on random sizes, shapes and values (hypothesis)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.arith.modulus import CrtModulus, Modulus
from hecore.backends.protocol import ExponentArray

if TYPE_CHECKING:
    from tests.backends.conftest import Lab

few = settings(max_examples=25, deadline=None)


@st.composite
def moduli(draw: st.DrawFn, max_bits: int = 700) -> Modulus:
    """Odd, at least 3, of any size; sometimes a square that knows its root."""
    if draw(st.booleans()):
        return Modulus.square(draw(st.integers(1, (1 << draw(st.integers(2, max_bits // 2)) - 1) - 1)) * 2 + 1)
    return Modulus(draw(st.integers(1, (1 << draw(st.integers(2, max_bits)) - 1) - 1)) * 2 + 1)


@st.composite
def operands(draw: st.DrawFn, arrays: int) -> tuple[Modulus, list[list[int]]]:
    modulus = draw(moduli())
    count = draw(st.integers(0, 11))
    value = st.integers(0, modulus.value - 1)
    return modulus, [draw(st.lists(value, min_size=count, max_size=count)) for _ in range(arrays)]


def is_unit(x: int, modulus: Modulus) -> bool:
    return math.gcd(x, modulus.value) == 1


@few
@given(operands(2))
def test_multiplication_is_right_and_commutes(lab: Lab, case: tuple[Modulus, list[list[int]]]) -> None:
    modulus, (x, y) = case
    a, b = lab.up(x, modulus), lab.up(y, modulus)
    expected = [i * j % modulus.value for i, j in zip(x, y, strict=True)]
    lab.same(lab.backend.mod_mul(a, b), expected, modulus, (len(x),))
    lab.same(lab.backend.mod_mul(b, a), expected, modulus, (len(x),))


@few
@given(operands(3))
def test_multiplication_associates(lab: Lab, case: tuple[Modulus, list[list[int]]]) -> None:
    modulus, values = case
    a, b, c = (lab.up(x, modulus) for x in values)
    mul = lab.backend.mod_mul
    assert lab.down(mul(mul(a, b), c)) == lab.down(mul(a, mul(b, c)))


@few
@given(operands(1), st.integers(1, 150), st.data())
def test_exponents_add(lab: Lab, case: tuple[Modulus, list[list[int]]], bits: int, data: st.DataObject) -> None:
    modulus, (x,) = case
    exponents = st.lists(st.integers(0, (1 << bits) - 1), min_size=len(x), max_size=len(x))
    e, f = data.draw(exponents), data.draw(exponents)
    a, backend = lab.up(x, modulus), lab.backend
    total = lab.own([i + j for i, j in zip(e, f, strict=True)], bits + 1)
    product = backend.mod_mul(backend.mod_exp(a, lab.own(e, bits)), backend.mod_exp_vartime(a, lab.own(f, bits)))
    assert lab.down(product) == lab.down(backend.mod_exp(a, total))


@few
@given(moduli(), st.integers(1, 90), st.data())
def test_every_exponentiation_agrees(lab: Lab, modulus: Modulus, bits: int, data: st.DataObject) -> None:
    """Fixed base, vartime, constant time and multi_exp on the same base and exponents."""
    base = data.draw(st.integers(1, modulus.value - 1).filter(lambda x: is_unit(x, modulus)))
    e = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=9))
    expected = [pow(base, i, modulus.value) for i in e]
    backend, exponents = lab.backend, lab.own(e, bits)
    repeated = lab.up([base] * len(e), modulus)
    table = backend.fixed_base_table(base, modulus, bits, memory_budget=1 << 14)
    columns = exponents.limbs[:, np.newaxis, :]
    plus = np.zeros((len(e), 1), dtype=np.bool_)
    for result in (
        backend.mod_exp(repeated, exponents),
        backend.mod_exp_vartime(repeated, exponents),
        backend.fixed_base_exp(table, exponents),
        backend.multi_exp(lab.up([base], modulus), columns, plus, bits),
        backend.multi_exp(lab.up([base], modulus), columns, plus, bits, constant_time=True),
    ):
        lab.same(result, expected, modulus, (len(e),))
    inverse = backend.multi_exp(lab.up([base], modulus), columns, ~plus, bits)
    lab.same(inverse, [pow(x, -1, modulus.value) for x in expected], modulus, (len(e),))


@few
@given(moduli(300), st.integers(0, 4), st.integers(0, 12), st.integers(1, 40), st.booleans(), st.data())
def test_multi_exp_is_powers_multiplied(
    lab: Lab, modulus: Modulus, m: int, k: int, bits: int, constant_time: bool, data: st.DataObject
) -> None:
    unit = st.integers(1, modulus.value - 1).filter(lambda x: is_unit(x, modulus))
    bases = data.draw(st.lists(unit, min_size=k, max_size=k))
    scalar = st.integers(1 - (1 << bits), (1 << bits) - 1)
    row = st.lists(scalar, min_size=k, max_size=k)
    rows = data.draw(st.lists(row, min_size=m, max_size=m))
    magnitudes, signs = lab.magnitudes(rows, k, bits), lab.signs(rows, k)
    result = lab.backend.multi_exp(lab.up(bases, modulus), magnitudes, signs, bits, constant_time=constant_time)
    powers = [[pow(b, x, modulus.value) for b, x in zip(bases, r, strict=True)] for r in rows]
    lab.same(result, [math.prod(p) % modulus.value for p in powers], modulus, (m,))


@few
@given(operands(1))
def test_inverses_cancel(lab: Lab, case: tuple[Modulus, list[list[int]]]) -> None:
    modulus, (x,) = case
    units = [i for i in x if is_unit(i, modulus)]
    a = lab.up(units, modulus)
    lab.same(lab.backend.mod_mul(a, lab.backend.batch_invert(a)), [1] * len(units), modulus, (len(units),))
    assert lab.backend.gcd_is_one(lab.up(x, modulus)).tolist() == [is_unit(i, modulus) for i in x]


@few
@given(operands(1), st.integers(1, 6), st.data())
def test_segments_multiply_to_the_product(
    lab: Lab, case: tuple[Modulus, list[list[int]]], count: int, data: st.DataObject
) -> None:
    modulus, (x,) = case
    labels = data.draw(st.lists(st.integers(0, count - 1), min_size=len(x), max_size=len(x)))
    a, backend = lab.up(x, modulus), lab.backend
    segments = backend.segment_product(a, np.array(labels, dtype=np.intp), count)
    expected = [math.prod(v for v, s in zip(x, labels, strict=True) if s == i) % modulus.value for i in range(count)]
    lab.same(segments, expected, modulus, (count,))
    lab.same(backend.product(segments), lab.down(backend.product(a)), modulus, ())


@few
@given(st.data())
def test_lift_undoes_reduce_and_reduce_is_a_homomorphism(lab: Lab, data: st.DataObject) -> None:
    """Lift needs coprime factors only, so any two odd coprime integers do."""
    odd = st.integers(1, (1 << 149) - 1).map(lambda x: 2 * x + 1)
    p = data.draw(odd)
    q = data.draw(odd.filter(lambda x: math.gcd(x, p) == 1))
    crt, backend = CrtModulus(p, q), lab.backend
    residues = st.lists(st.integers(0, crt.n_squared.value - 1), min_size=3, max_size=3)
    x, y = data.draw(residues), data.draw(residues)
    a, b = lab.up(x, crt.n_squared), lab.up(y, crt.n_squared)
    a_p, a_q = backend.reduce(a, crt.p_squared), backend.reduce(a, crt.q_squared)
    lab.same(backend.lift(a_p, a_q, crt), x, crt.n_squared, (3,))
    reduced = backend.reduce(backend.mod_mul(a, b), crt.p_squared)
    assert lab.down(reduced) == lab.down(backend.mod_mul(a_p, backend.reduce(b, crt.p_squared)))


@few
@given(moduli(), st.data())
def test_take_composes(lab: Lab, modulus: Modulus, data: st.DataObject) -> None:
    x = data.draw(st.lists(st.integers(0, modulus.value - 1), min_size=1, max_size=9))
    first = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=9))
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=9))
    backend = lab.backend
    step = backend.take(lab.up(x, modulus), np.array(first, dtype=np.intp))
    both = backend.take(step, np.array(second, dtype=np.intp))
    lab.same(both, [x[first[i]] for i in second], modulus, (len(second),))


@few
@given(st.integers(2, 300), st.data())
def test_encode_adds_messages(lab: Lab, bits: int, data: st.DataObject) -> None:
    """(1 + m*n)(1 + m'*n) = 1 + (m + m')*n modulo n^2, for any odd n."""
    n = data.draw(st.integers(1, (1 << bits) - 1)) * 2 + 1
    modulus = Modulus.square(n)
    assert modulus.square_of is not None
    messages = st.lists(st.integers(0, n - 1), min_size=4, max_size=4)
    x, y = data.draw(messages), data.draw(messages)
    root = modulus.square_of
    first, second = (ExponentArray.from_ints(v, 64 * root.limbs).limbs for v in (x, y))
    combined = lab.backend.encode(first, modulus, lab.backend.encode(second, modulus))
    lab.same(combined, [1 + (i + j) % n * n for i, j in zip(x, y, strict=True)], modulus, (4,))
