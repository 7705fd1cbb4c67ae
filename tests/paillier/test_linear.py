"""Linear algebra on encrypted arrays against exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.backends import registry
from hecore.errors import HeadroomError, OperandTypeError, ShapeError
from hecore.paillier import (
    EncryptedArray,
    FixedPoint,
    Floats,
    FloatsPerElement,
    Integers,
    PublicKey,
    SecretKey,
    generate_insecure_keypair,
    linear,
    operation_counter,
    plain,
    public,
    stack,
)
from hecore.paillier.encoding import EncodingChoice

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
generator = np.random.default_rng(20260101)


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Long enough for products of two default float windows."""
    return generate_insecure_keypair(640)


def exact(values: Any) -> Any:
    array = np.asarray(values)
    out = np.empty(array.size, dtype=object)
    out[:] = [Fraction(v) if isinstance(v, Fraction) else Fraction(v.item()) for v in array.flat]
    return out.reshape(array.shape)


def check(keys: Keys, encrypted: Any, expected: Any) -> None:
    assert isinstance(encrypted, EncryptedArray)
    assert np.shape(encrypted.encoding.exponent) in {(), encrypted.shape}
    got = keys[1].decrypt(encrypted, exact=True)
    assert got.shape == encrypted.shape == np.shape(expected)
    assert np.all(got == expected)


# -- sums --------------------------------------------------------------------------------------------------

CUBE = generator.standard_normal((2, 3, 4))
ENCODINGS: dict[str, EncodingChoice | None] = {
    "window": None,
    "per element": FloatsPerElement(),
    "wide": Floats(-200, 80),
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (2, 0), (0, 1, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_are_the_exact_rational_sums(keys: Keys, encoding: Any, axis: Any, keepdims: bool) -> None:
    x = keys[0].encrypt(CUBE, encoding=encoding)
    check(keys, x.sum(axis, keepdims), exact(CUBE).sum(axis=axis, keepdims=keepdims))
    check(keys, np.sum(x, axis=axis, keepdims=keepdims), exact(CUBE).sum(axis=axis, keepdims=keepdims))


def test_sums_where_floats_cancel(keys: Keys) -> None:
    """NumPy says 0 or -1e-16 here; the sum is a rational number and comes out as it is."""
    values = np.array([1e16, 1.0, -1e16, 1e-20, 0.1, -0.1, 3e-33])
    expected = sum(Fraction(v) for v in values)
    total = keys[0].encrypt(values).sum()
    check(keys, total, expected)
    assert float(keys[1].decrypt(total)) == float(expected) != values.sum()


@given(values=st.lists(st.floats(-1e15, 1e15).filter(lambda v: v == 0 or abs(v) > 1e-32), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_any_sum_of_ordinary_floats_is_exact(keys: Keys, values: list[float]) -> None:
    check(keys, keys[0].encrypt(values).sum(), sum(Fraction(v) for v in values))


def test_rescaling(keys: Keys) -> None:
    x = keys[0].encrypt([3, -5], encoding=FixedPoint(-4, bits=20))
    finer = linear.rescale(x, -14)
    check(keys, finer, [3, -5])
    assert finer.bound == x.bound << 10
    assert finer.headroom_bits == x.headroom_bits - 10
    assert not finer.randomised
    with pytest.raises(HeadroomError, match="align"):
        linear.rescale(x, -2000)


def test_mean_is_the_sum_times_the_nearest_double(keys: Keys) -> None:
    x = keys[0].encrypt(CUBE)
    check(keys, x.mean(axis=0), exact(CUBE).sum(axis=0) / 2)
    check(keys, x.mean(axis=1, keepdims=True), exact(CUBE).sum(axis=1, keepdims=True) * Fraction(1 / 3))
    np.testing.assert_allclose(keys[1].decrypt(x.mean()), CUBE.mean(), rtol=1e-15)
    check(keys, keys[0].encrypt([1, 2, 4]).mean(), 7 * Fraction(1 / 3))


def test_segment_sums(keys: Keys) -> None:
    values, segments = np.arange(1, 9), np.array([2, 0, 2, 2, 5, 0, 2, 5])
    expected = [int(values[segments == s].sum()) for s in range(7)]
    check(keys, keys[0].encrypt(values).segment_sum(segments, 7), expected)
    floats = generator.standard_normal(8)
    for encoding in ENCODINGS.values():
        x = keys[0].encrypt(floats, encoding=encoding)
        check(keys, x.segment_sum(segments.tolist(), 7), [exact(floats)[segments == s].sum() for s in range(7)])


# -- products ----------------------------------------------------------------------------------------------

PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), PRODUCTS)
@pytest.mark.parametrize("encrypted_first", [False, True])
@pytest.mark.parametrize("kind", ["integers", "window", "per element"])
def test_matrix_products(keys: Keys, left: Any, right: Any, encrypted_first: bool, kind: str) -> None:
    a, b = (generator.integers(-100, 100, shape) for shape in (left, right))
    secret, weights = (a, b) if encrypted_first else (b, a)
    values = secret if kind == "integers" else secret / 7
    weights = weights.astype(np.int8)
    x = keys[0].encrypt(values, encoding=FloatsPerElement() if kind == "per element" else None)
    u, v = exact(values), exact(weights)
    if encrypted_first:
        check(keys, x @ weights, u @ v)
        check(keys, np.matmul(x, weights), u @ v)
    else:
        check(keys, weights @ x, v @ u)
        check(keys, np.matmul(weights, x), v @ u)


@pytest.mark.parametrize(("few", "many", "filling"), [(0, 1, 1), (1 << 30, 1, 1), (1 << 30, 1 << 30, 1), (0, 0, 300)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_matrix_products_on_each_path(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, few: int, many: int, filling: int, dtype: Any
) -> None:
    """Multi-exponentiations, and powers and products in chunks of one and of all; of the size of a card."""
    monkeypatch.setattr(registry.current(), "saturating_batch", filling, raising=False)
    monkeypatch.setattr(linear, "_FEW_TERMS", few)
    monkeypatch.setattr(linear, "_MANY_TERMS", many)
    values, weights = generator.integers(-100, 100, (2, 5, 3)), generator.integers(0, 100, (3, 4)).astype(dtype)
    x = keys[0].encrypt(values)
    check(keys, x @ weights, values @ weights.astype(int))
    check(keys, weights.T @ x.swapaxes(1, 2), weights.T.astype(int) @ values.swapaxes(1, 2))


def test_float_weights_are_exact(keys: Keys) -> None:
    weights, values = generator.standard_normal((2, 3)), generator.standard_normal(3)
    x = keys[0].encrypt(values)
    check(keys, weights @ x, exact(weights) @ exact(values))
    check(keys, x @ weights.T, exact(weights) @ exact(values))
    check(keys, plain(weights, FloatsPerElement()) @ x, exact(weights) @ exact(values))
    check(keys, public(weights) @ x, exact(weights) @ exact(values))
    grid = np.round(weights * 2.0**20) / 2.0**20
    check(keys, plain(weights, FixedPoint(-20, bits=24)) @ x, exact(grid) @ exact(values))
    check(keys, plain(weights, FixedPoint(-20, bits=24), constant_time=True) @ x, exact(grid) @ exact(values))


def test_dot(keys: Keys) -> None:
    a, b = np.arange(6).reshape(2, 3), np.array([3, -2, 1])
    x, y = keys[0].encrypt(a), keys[0].encrypt(b)
    check(keys, x.dot(b), a @ b)
    check(keys, np.dot(x, b), a @ b)
    check(keys, np.dot(a, y), a @ b)
    check(keys, np.dot(3, y), 3 * b)
    check(keys, y.dot(np.int8(-3)), -3 * b)
    with pytest.raises(ShapeError, match="two dimensions"):
        x.dot(np.ones((3, 2, 2)))


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x @ [1, 2, 3], lambda x: [1, 2, 3] @ x, lambda x: x @ 3, lambda x: 3 @ x,
        lambda x: x @ np.ones((2, 0)),
        lambda x: x @ np.ones((3, 2)), lambda x: np.ones((0, 2)) @ x, lambda x: x[0, 0] @ [1],
        lambda x: np.ones((3, 2, 2)) @ stack([x, x]),
    ],
)  # fmt: skip
def test_products_of_the_wrong_shape(keys: Keys, expression: Callable[[Any], Any]) -> None:
    x = keys[0].encrypt([[1, 2], [3, 4]])
    with pytest.raises(ShapeError, match="cannot"):
        expression(x)


@given(
    data=st.data(),
    rows=st.integers(1, 3),
    inner=st.integers(1, 4),
    bits=st.sampled_from([1, 7, 8, 31, 63, 64, 65, 130]),
)
@settings(max_examples=20, deadline=None)
def test_products_of_declared_sizes(keys: Keys, data: st.DataObject, rows: int, inner: int, bits: int) -> None:
    number = st.one_of(st.sampled_from([0, 1, -1, 2**bits - 1, 1 - 2**bits]), st.integers(1 - 2**bits, 2**bits - 1))
    flat = data.draw(st.lists(number, min_size=rows * inner, max_size=rows * inner))
    weights = np.array(flat, dtype=object).reshape(rows, inner)
    values = np.array(data.draw(st.lists(number, min_size=inner, max_size=inner)), dtype=object)
    x = keys[0].encrypt(values, encoding=Integers(bits))
    check(keys, plain(weights, bits=bits) @ x, weights @ values)
    check(keys, plain(weights, bits=bits) * x, weights * values)
    check(keys, x - plain(weights, bits=bits), values - weights)


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_random_programs(keys: Keys, data: st.DataObject) -> None:
    """A few random operations in a row, against Fractions; what is refused is refused for headroom alone."""
    small = st.floats(-8, 8, width=16)
    x = exact(data.draw(st.lists(small, min_size=4, max_size=4))).reshape(2, 2)
    choices: list[EncodingChoice] = [FixedPoint(-30, bits=40), FloatsPerElement(), Floats(-40, 10)]
    choice = data.draw(st.sampled_from(choices))
    y = keys[0].encrypt(x.astype(np.float64), encoding=choice)
    for _ in range(data.draw(st.integers(1, 5))):
        step = data.draw(
            st.sampled_from(["add", "sub", "rsub", "mul", "matmul", "rmatmul", "neg", "self", "T", "pick"])
        )
        operand = exact(data.draw(st.lists(small, min_size=4, max_size=4))).reshape(2, 2)
        half = operand.astype(np.float16)
        operations: dict[str, Callable[[Any, Any], Any]] = {
            "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "rsub": lambda a, b: b - a, "mul": lambda a, b: a * b,
            "matmul": lambda a, b: a @ b, "rmatmul": lambda a, b: b @ a, "neg": lambda a, b: -a,
            "self": lambda a, b: a + a[::-1], "T": lambda a, b: a.T, "pick": lambda a, b: a[[1, 0]] - a[:, :1],
        }  # fmt: skip
        try:
            y = operations[step](y, half)
        except HeadroomError:
            assert y.headroom_bits < 600
            break
        x = operations[step](x, operand)
        assert max(abs(v) for v in x.flat) <= y.bound * Fraction(2) ** int(np.max(y.encoding.exponent))
    check(keys, y, x)


# -- cost --------------------------------------------------------------------------------------------------


def test_operation_counts_do_not_depend_on_weights(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the backend is asked to do (operations, shapes, bits) is the same for all weights of a declared size."""
    x = keys[0].encrypt(np.arange(3))
    backend = x.residues.backend
    calls: list[tuple[Any, ...]] = []

    def spy(name: str) -> Callable[..., Any]:
        original = getattr(backend, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append((name, *(getattr(a, "bits", getattr(a, "shape", None)) for a in args)))
            return original(*args, **kwargs)

        return call

    for name in ("mod_exp", "mod_exp_vartime", "multi_exp", "batch_invert", "mod_mul", "product", "encode", "take"):
        monkeypatch.setattr(backend, name, spy(name))
    seen = []
    for weights in ([0, 0, 0], [127, 127, 127], [-128, -1, 5], [1, 0, -1]):
        calls.clear()
        w = np.array(weights, dtype=np.int8)
        for result in (x * w, w @ x, x + w, x - w, x * w[0], x * w.astype(np.float32)):
            assert result.shape in {(), (3,)}
        seen.append(list(calls))
    assert seen[0]
    assert all(other == seen[0] for other in seen[1:])


def test_matmul_counts_terms(keys: Keys) -> None:
    x = keys[0].encrypt(np.ones((3, 2), np.int8))
    with operation_counter() as counts:
        np.ones((5, 3), np.int8) @ x
        x @ np.ones((2, 4), np.int8)
    assert counts == {"matmul_terms": 5 * 3 * 2 + 3 * 2 * 4}


def test_axis_types(keys: Keys) -> None:
    x = keys[0].encrypt([1, 2])
    for axis in (1.0, "0", (0, None)):
        with pytest.raises(OperandTypeError, match="axis"):
            x.sum(axis)  # type: ignore[arg-type]
