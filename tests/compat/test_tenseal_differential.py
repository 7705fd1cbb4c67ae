"""The same calls on the real peer and on ours: the same numbers, or errors of the same built-in type.

Where ours differs on purpose (docs/compat-tenseal.md), test_tenseal_differences.py says how.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

MODULI = [30, 24, 24, 31]
SCALE = 2.0**24
RTOL, ATOL = 1e-2, 0.1  # moduli this short leave the peer little precision

A = np.arange(6).reshape(2, 3) / 2
M = np.arange(9).reshape(3, 3) / 8


class World:
    """One of the two modules, with a context and operands made by it."""

    def __init__(self, name: str) -> None:
        self.ts: Any = importlib.import_module(name)
        self.context = self.new_context()
        self.context.generate_galois_keys()
        self.bare = self.new_context()
        self.public = self.context.copy()
        self.public.make_context_public()
        self.symmetric = self.new_context(encryption_type=self.ts.ENCRYPTION_TYPE.SYMMETRIC)
        self.unscaled = self.ts.context(self.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=MODULI)

    def new_context(self, **options: Any) -> Any:
        context = self.ts.context(self.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=MODULI, **options)
        context.global_scale = SCALE
        return context

    def x(self, values: Any = (1.0, 2.0, 3.0), **options: Any) -> Any:
        return self.ts.ckks_vector(self.context, values, **options)

    def t(self, values: Any = A, **options: Any) -> Any:
        return self.ts.ckks_tensor(self.context, values, **options)


@pytest.fixture(scope="module")
def peer() -> World:
    return World("tenseal")


@pytest.fixture(scope="module")
def ours() -> World:
    return World("hecore.compat.tenseal")


def outcome(world: World, call: Callable[[World], Any]) -> tuple[str, Any]:
    """What came out: plain values, or the error."""
    try:
        return "value", plain(call(world))
    except Exception as error:  # noqa: BLE001 - whichever it is, the other one has to raise it, too
        return "error", error


def plain(value: Any) -> Any:
    if hasattr(value, "decrypt"):
        value = value.decrypt()
    if hasattr(value, "tolist") and not isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple):
        return tuple(plain(part) for part in value)
    return value


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool | str | bytes | type | None):
        return bool(a == b)
    left, right = np.asarray(a), np.asarray(b)
    return left.shape == right.shape and bool(np.allclose(left, right, rtol=RTOL, atol=ATOL))


def both(peer: World, ours: World, call: Callable[[World], Any]) -> None:
    kind, expected = outcome(peer, call)
    found_kind, found = outcome(ours, call)
    assert found_kind == kind, f"the peer: {expected!r}; ours: {found!r}"
    if kind == "error":
        assert isinstance(found, type(expected)), f"the peer: {expected!r}; ours: {found!r}"
    else:
        assert same(expected, found), f"the peer: {expected!r}; ours: {found!r}"


Calls = dict[str, Callable[[World], Any]]


def vector_call(method: str, *arguments: Any, values: Any = (1.0, 2.0, 3.0)) -> Callable[[World], Any]:
    return lambda w: getattr(w.x(values), method)(*arguments)


def tensor_call(method: str, *arguments: Any, values: Any = A, batch: bool = False) -> Callable[[World], Any]:
    return lambda w: getattr(w.t(values, batch=batch), method)(*arguments)


def dot_call(left: Any, right: Any) -> Callable[[World], Any]:
    return lambda w: w.t(left).dot(w.t(right))


CONTEXTS: Calls = {
    "no scheme": lambda w: w.ts.context(),
    "scheme by name": lambda w: w.ts.context("ckks", 4096, coeff_mod_bit_sizes=MODULI),
    "NONE": lambda w: w.ts.context(w.ts.SCHEME_TYPE.NONE, 4096, coeff_mod_bit_sizes=MODULI),
    "BFV without modulus": lambda w: w.ts.context(w.ts.SCHEME_TYPE.BFV, 4096),
    "degree 1000": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 1000, coeff_mod_bit_sizes=MODULI),
    "degree 2": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 2, coeff_mod_bit_sizes=[40, 40]),
    "degree None": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, None, coeff_mod_bit_sizes=MODULI),
    "degree text": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, "4096", coeff_mod_bit_sizes=MODULI),
    "degree float": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096.0, coeff_mod_bit_sizes=MODULI),
    "bits text": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes="x"),
    "bits float": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40.0, 40]),
    "61 bits": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[61, 40]),
    "1 bit": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[1, 40]),
    "no such primes": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[14, 14]),
    "one modulus": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60]),
    "insecure": lambda w: w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60, 60]),
    "data": lambda w: w.ts.context(data=5),
    "no scale": lambda w: w.unscaled.global_scale,
    "vector without scale": lambda w: w.ts.ckks_vector(w.unscaled, [1]),
    "has": lambda w: (
        w.bare.has_galois_keys(),
        w.bare.has_relin_keys(),
        w.bare.has_public_key(),
        w.bare.has_secret_key(),
        w.bare.is_private(),
        w.bare.is_public(),
    ),
    "no Galois keys": lambda w: w.bare.galois_keys(),
    "Galois keys of 5": lambda w: w.bare.copy().generate_galois_keys(5),
    "public: secret key": lambda w: w.public.secret_key(),
    "public: Galois keys": lambda w: w.public.copy().generate_galois_keys(),
    "public: relin keys": lambda w: w.public.copy().generate_relin_keys(),
    "public: again": lambda w: w.public.copy().make_context_public(),
    "public: decrypt": lambda w: w.ts.ckks_vector(w.public, [1, 2]).decrypt(),
    "public: decrypt with the key": lambda w: w.ts.ckks_vector(w.public, [1, 2]).decrypt(w.context.secret_key()),
    "symmetric: public key": lambda w: w.symmetric.public_key(),
    "symmetric: has public key": lambda w: w.symmetric.has_public_key(),
    "symmetric: make public": lambda w: w.symmetric.copy().make_context_public(),
    "symmetric": lambda w: w.ts.ckks_vector(w.symmetric, [1, 2]) * w.ts.ckks_vector(w.symmetric, [3, 4]),
    "symmetric without secret": lambda w: w.ts.ckks_vector(w.ts.context_from(w.symmetric.serialize()), [1]),
    "no public key": lambda w: w.ts.context_from(w.bare.serialize(save_public_key=False)).public_key(),
    "encrypting without": lambda w: w.ts.ckks_vector(w.ts.context_from(w.bare.serialize(save_public_key=False)), [1]),
    "from nothing": lambda w: w.ts.context_from(b""),
    "from None": lambda w: w.ts.context_from(None),
    "from text": lambda w: w.ts.context_from("text"),
    "from garbage": lambda w: w.ts.context_from(b"\x0a\xff"),
    "threads": lambda w: w.ts.context_from(w.bare.serialize(), "a"),
    "scale of a loaded one": lambda w: w.ts.context_from(w.bare.serialize()).global_scale,
    "parms": lambda w: (
        w.bare.public_key().data.data().poly_modulus_degree(),
        w.bare.seal_context().data.key_context_data().parms().poly_modulus_degree(),
        w.bare.secret_key().data.data().coeff_count(),
        w.bare.public_key().data.data().coeff_modulus_size(),
        w.bare.seal_context().data.first_context_data().chain_index(),
        tuple(w.x().ciphertext()[0].parms_id()),
        w.x().ciphertext()[0].scale,
    ),
}
for _value in (-1, "a", None, 0, 1, 2**40, np.float32(3), np.int64(3)):

    def _set_scale(w: World, value: Any = _value) -> Any:
        context = w.bare.copy()
        context.global_scale = value
        return context.global_scale

    CONTEXTS[f"scale {_value!r}"] = _set_scale
for _value in (0, 1, 2, None, "a"):

    def _set_flag(w: World, value: Any = _value) -> Any:
        context = w.bare.copy()
        context.auto_rescale = value
        return context.auto_rescale

    CONTEXTS[f"flag {_value!r}"] = _set_flag

VECTORS: Calls = {
    "empty": lambda w: w.x([]),
    "matrix": lambda w: w.x([[1, 2]]),
    "scalar": lambda w: w.x(5),
    "text": lambda w: w.x("ab"),
    "None": lambda w: w.x(None),
    "NaN": lambda w: w.x([float("nan")]),
    "infinite": lambda w: w.x([float("inf")]),
    "too large": lambda w: w.x([1e30]),
    "no context": lambda w: w.ts.ckks_vector(5, [1]),
    "nothing": lambda w: w.ts.ckks_vector(),
    "scale 0": lambda w: w.x(scale=0),
    "scale -1": lambda w: w.x(scale=-1),
    "scale NaN": lambda w: w.x(scale=float("nan")),
    "scale text": lambda w: w.x(scale="a"),
    "scale too large": lambda w: w.x(scale=2**200),
    "own scale": lambda w: w.x(scale=np.float32(2**20)) + 1,
    "size": lambda w: (w.x().size(), w.x().shape, len(w.x().ciphertext())),
    "decrypt with 5": lambda w: w.x().decrypt(5),
    "decrypt": lambda w: w.x().decrypt(secret_key=w.context.secret_key()),
    "set data": lambda w: setattr(w.x(), "data", 5),
    "-x": lambda w: -w.x(),
    "2 - x": lambda w: 2 - w.x(),
    "list - x": lambda w: [1, 2, 3] - w.x(),
    "x / 2": lambda w: w.x() / 2,
    "len": lambda w: len(w.x()),
    "x[0]": lambda w: w.x()[0],
    "iter": lambda w: list(w.x()),
    "sizes": lambda w: w.x() + w.x([1, 2]),
    "one value": lambda w: w.x([5]) * w.x(),
    "one value on the right": lambda w: w.x() - w.x([5]),
    "one value without keys": lambda w: w.ts.ckks_vector(w.bare, [5]) - w.ts.ckks_vector(w.bare, [5]),
    "x * sum": lambda w: w.x() * w.x().sum(),
    "x*x + x": lambda w: w.x() * w.x() + w.x(),
    "x*x*x": lambda w: w.x() * w.x() * w.x(),
    "three levels": lambda w: (w.x() * w.x()) * w.x() * w.x(),
    "square": lambda w: w.x().square(),
    "sum without keys": lambda w: w.ts.ckks_vector(w.bare, [1, 2]).sum(),
    "sum of one without keys": lambda w: w.ts.ckks_vector(w.bare, [1]).sum(),
    "sum of 1000": lambda w: w.x(np.arange(1000) / 1000).sum(),
    "dot": lambda w: w.x().dot(w.x()),
    "dot plain": lambda w: w.x().dot([1, 2, 3]),
    "dot sizes": lambda w: w.x().dot([1, 2]),
    "dot number": lambda w: w.x().dot(2),
    "dot one": lambda w: w.x().dot(w.x([2])),
    "mm": lambda w: w.x().mm(M),
    "x @ M @ M": lambda w: w.x() @ M @ M[:, :2],
    "mm vector": lambda w: w.x() @ [1, 2, 3],
    "mm sizes": lambda w: w.x() @ [[1, 2]],
    "mm zero": lambda w: w.x() @ np.zeros((3, 3)),
    "mm without keys": lambda w: w.ts.ckks_vector(w.bare, [1, 2]) @ [[1, 2], [3, 4]],
    "pack": lambda w: w.ts.CKKSVector.pack_vectors([w.x(), w.x([4, 5, 6]), w.x()]),
    "pack 5": lambda w: w.ts.CKKSVector.pack_vectors([w.x(), 5]),
    "pack sizes": lambda w: w.ts.CKKSVector.pack_vectors([w.x(), w.x([1])]),
    "pack too many": lambda w: w.ts.CKKSVector.pack_vectors([w.x([1] * 1500)] * 2),
    "conv": lambda w: (lambda e: e[0].conv2d_im2col([[1, 2], [3, 4]], e[1]))(
        w.ts.im2col_encoding(w.context, (np.arange(16) / 16).reshape(4, 4), 2, 2, 1)
    ),
    "conv stride 2": lambda w: (lambda e: e[0].conv2d_im2col(M, e[1]))(
        w.ts.im2col_encoding(w.context, np.arange(49).reshape(7, 7) / 49, 3, 3, 2)
    ),
    "conv of no windows": lambda w: w.x().conv2d_im2col([[1, 2], [3, 4]], 0),
    "conv of -1 windows": lambda w: w.x().conv2d_im2col([[1, 2], [3, 4]], -1),
    "conv kernel": lambda w: w.x().conv2d_im2col([1, 2], 1),
    "conv empty kernel": lambda w: w.x().conv2d_im2col([[]], 1),
    "conv sizes": lambda w: w.x().conv2d_im2col([[1, 2], [3, 4]], 1),
    "im2col context": lambda w: w.ts.im2col_encoding(5, [[1]], 1, 1, 1),
    "im2col vector": lambda w: w.ts.im2col_encoding(w.context, [1, 2], 1, 1, 1),
    "enc_matmul": lambda w: w.ts.enc_matmul_encoding(w.context, A).enc_matmul_plain([1, 2, 3], 2),
    "enc_matmul rows": lambda w: w.ts.enc_matmul_encoding(w.context, A).enc_matmul_plain([1, 2, 3], 3),
    "enc_matmul empty": lambda w: w.x().enc_matmul_plain([], 1),
    "lazy": lambda w: (lambda v: (v.link_context(w.context), v)[1])(w.ts.lazy_ckks_vector_from(w.x().serialize())),
    "lazy decrypt": lambda w: w.ts.lazy_ckks_vector_from(w.x().serialize()).decrypt(),
    "lazy context": lambda w: w.ts.lazy_ckks_vector_from(w.x().serialize()).context(),
    "x + lazy": lambda w: w.x() + w.ts.lazy_ckks_vector_from(w.x().serialize()),
    "lazy garbage": lambda w: w.ts.lazy_ckks_vector_from(b"garbage").link_context(w.context),
    "lazy text": lambda w: w.ts.lazy_ckks_vector_from("text"),
    "load garbage": lambda w: w.ts.ckks_vector_from(w.context, b"garbage"),
    "load text": lambda w: w.ts.ckks_vector_from(w.context, "text"),
    "load context": lambda w: w.ts.ckks_vector_from(5, w.x().serialize()),
    "load": lambda w: w.ts.ckks_vector_from(w.context, w.x().serialize()),
    "load other parameters": lambda w: w.ts.ckks_vector_from(
        w.ts.context(w.ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[30, 30]), w.x().serialize()
    ),
    "chunks": lambda w: w.x(np.arange(3000) / 3000) * 2 + w.x(np.arange(3000) / 1000),
    "chunks size": lambda w: (lambda v: (v.size(), v.shape, len(v.ciphertext())))(w.x([1.0] * 5000)),
    "chunks sum": lambda w: w.x(np.arange(3000) / 3000).sum(),
    "chunks dot": lambda w: w.x(np.arange(3000) / 3000).dot(np.arange(3000) / 3000),
    "chunks mm": lambda w: w.x([1.0] * 3000).mm(np.ones((3000, 2))),
    "chunks conv": lambda w: w.x([1.0] * 3000).conv2d_im2col([[1, 2], [3, 4]], 4),
    "chunks enc_matmul": lambda w: w.x([1.0] * 3000).enc_matmul_plain([1, 2], 4),
    "chunks by one": lambda w: w.x(np.arange(3000) / 3000) * w.x([2]),
}
_OPERANDS: dict[str, Any] = {
    "True": True,
    "complex": 2j,
    "text": "a",
    "None": None,
    "short": [1, 2],
    "nested": [[1, 2, 3]],
    "empty": [],
    "array": np.array([1, 2, 3]),
    "tuple": (1, 2, 3),
    "range": range(3),
    "dict": {1: 2},
    "NaN": float("nan"),
    "infinity": float("inf"),
    "huge": 1e300,
    "list with NaN": [1, 2, float("nan")],
    "zero": 0,
    "zeros": [0, 0, 0],
}
for _name, _operand in _OPERANDS.items():
    for _method in ("add", "sub", "mul"):
        VECTORS[f"{_method} {_name}"] = vector_call(_method, _operand)
        VECTORS[f"{_method}_ {_name}"] = vector_call(f"{_method}_", _operand)
for _power in (-1, 0, 1, 2, 3, 4, 1.0, "a", None, np.int64(2), True, 20):
    VECTORS[f"power {_power!r}"] = vector_call("__pow__", _power, values=[0.5, -1, 1.5])
for _polynomial in (
    [],
    [0],
    [0, 0],
    [1, 2],
    [0, 1],
    [1, 2, 3],
    [0, 0, 1],
    [3, 2, 4, 5],
    [-3, -2, -4, -5, 1],
    [0, 0, 0, 0, 2],
    np.array([1.0, 2.0]),
    (1, 2),
    5,
    "ab",
    None,
    [1, "a"],
    [float("nan")],
    [0, 1e-30],
):
    VECTORS[f"polyval {_polynomial!r}"] = vector_call("polyval", _polynomial, values=[0.5, -1, 1.5])
for _axis in (0, 1, 1000, -1, "a", None):
    VECTORS[f"sum {_axis!r}"] = vector_call("sum", _axis)

TENSORS: Calls = {
    "scalar": lambda w: w.t(5.0),
    "scalar batch": lambda w: w.t(5.0, batch=True),
    "NaN": lambda w: w.t([float("nan")]),
    "batch too long": lambda w: w.t(np.ones((3000, 2)), batch=True),
    "no context": lambda w: w.ts.ckks_tensor(5, [1]),
    "shape": lambda w: (w.t().shape, w.t().scale(), len(w.t().ciphertext())),
    "batch shape": lambda w: (w.t(batch=True).shape, len(w.t(batch=True).ciphertext())),
    "decrypt": lambda w: (w.t(), w.t(batch=True)),
    "decrypt type": lambda w: type(w.t().decrypt()).__name__,
    "2 - t": lambda w: 2 - w.t(),
    "t + vector": lambda w: w.t([1, 2]) + w.x([1, 2]),
    "vector + t": lambda w: w.x([1, 2]) + w.t([1, 2]),
    "batch * batch": lambda w: w.t(batch=True) * w.t(batch=True),
    "batch + constants": lambda w: w.t(batch=True) + A,
    "batch * row": lambda w: w.t(batch=True) * [1, 2, 3],
    "batch * tensor": lambda w: w.t(batch=True) * w.t([1, 2, 3]),
    "t*t + t": lambda w: w.t() * w.t() + w.t(),
    "power 0": lambda w: w.t() ** 0,
    "power 3": lambda w: w.t() ** 3,
    "batch power 3": lambda w: w.t(batch=True) ** 3,
    "polyval": lambda w: w.t().polyval([1, 2, 3]),
    "batch polyval": lambda w: w.t(batch=True).polyval([1, 2, 3]),
    "polyval 0": lambda w: w.t().polyval([0]),
    "batch polyval 0": lambda w: w.t(batch=True).polyval([0]),
    "polyval []": lambda w: w.t().polyval([]),
    "sum_batch": lambda w: w.t(batch=True).sum_batch(),
    "sum_batch of none": lambda w: w.t().sum_batch(),
    "transpose": lambda w: w.t().transpose(),
    "batch transpose": lambda w: w.t(batch=True).transpose(),
    "lazy": lambda w: (lambda v: (v.link_context(w.context), v)[1])(w.ts.lazy_ckks_tensor_from(w.t().serialize())),
    "load": lambda w: w.ts.ckks_tensor_from(w.context, w.t(batch=True).serialize()),
    "integers": lambda w: w.t(w.ts.plain_tensor([1, 2], dtype="int")),
    "t @ t": lambda w: w.t() @ w.t().transpose(),
    "t @ plain": lambda w: w.t() @ A.T,
    "t @ zeros": lambda w: w.t() @ np.zeros((3, 2)),
    "t @ partly zeros": lambda w: w.t() @ np.array([[1, 0], [0, 0], [2, 0]]),
    "mm vector": lambda w: w.t().mm(w.t([1, 2, 3])),
    "mm plain vector": lambda w: w.t().mm([1, 2, 3]),
    "vector mm": lambda w: w.t([1, 2, 3]).mm(A.T),
    "mm sizes": lambda w: w.t().mm(A),
    "mm number": lambda w: w.t().mm(2),
}
for _name, _operand in {
    **_OPERANDS,
    "f32": np.float32(2),
    "0-d": np.array(3.0),
    "A": A,
    "more axes": np.ones((2, 2, 3)),
}.items():
    for _method in ("add", "mul"):
        TENSORS[f"{_method} {_name}"] = tensor_call(_method, _operand)
for _index in (0, 1, slice(None), slice(0, 1), (slice(0, 1), slice(1, 3)), [slice(0, 1)], (slice(None),) * 3):
    TENSORS[f"index {_index!r}"] = tensor_call("__getitem__", _index)
TENSORS["batch index"] = lambda w: w.t(batch=True)[0]
for _axis in (0, 1, 2, 1000, -1, "a"):
    TENSORS[f"sum {_axis!r}"] = tensor_call("sum", _axis)
    TENSORS[f"batch sum {_axis!r}"] = tensor_call("sum", _axis, batch=True)
_SHAPES: list[Any] = [[3, 2], (6,), [7], [-1], 6, [1, 2, 3]]
for _shape in _SHAPES:
    TENSORS[f"reshape {_shape!r}"] = tensor_call("reshape", _shape)
for _shape in ([2, 2, 3], [2, 4], [3]):
    TENSORS[f"broadcast {_shape!r}"] = tensor_call("broadcast", _shape)
_DOTS: dict[str, tuple[Any, Any]] = {
    "v v": ([1, 2, 3], [3, 4, 5]),
    "v 1": ([1, 2, 3], [2]),
    "v 2": ([1, 2, 3], [1, 2]),
    "v m": ([1, 2], A),
    "v m sizes": ([1, 2, 3], A),
    "m v": (A, [1, 2, 3]),
    "m v sizes": (A, [1, 2]),
    "m m": (A, A.T),
    "m m sizes": (A, A),
    "3 axes": (np.ones((1, 1, 1)), [1]),
}
for _name, (_left, _right) in _DOTS.items():
    TENSORS[f"dot {_name}"] = dot_call(_left, _right)
    TENSORS[f"dot plain {_name}"] = tensor_call("dot", _right, values=_left)


@pytest.mark.parametrize("name", CONTEXTS)
def test_contexts(peer: World, ours: World, name: str) -> None:
    both(peer, ours, CONTEXTS[name])


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(peer: World, ours: World, name: str) -> None:
    both(peer, ours, VECTORS[name])


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(peer: World, ours: World, name: str) -> None:
    both(peer, ours, TENSORS[name])
