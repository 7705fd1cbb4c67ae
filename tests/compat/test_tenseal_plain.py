"""`PlainTensor`, beside the peer's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hecore.compat import tenseal as ts
from hecore.errors import HecoreError, OperandTypeError, ParameterError, PlaintextRangeError, SerializationError

A = np.arange(24).reshape(2, 3, 4)

CALLS: dict[str, Callable[[Any], Any]] = {
    "raw": lambda ts: ts.plain_tensor([1, 2, 3]).raw,
    "integers": lambda ts: ts.plain_tensor([1.5, 2], dtype="int").raw,
    "dtype": lambda ts: ts.plain_tensor([1], dtype="double"),
    "given shape": lambda ts: ts.plain_tensor([1, 2, 3, 4], shape=[2, 2]).tolist(),
    "wrong shape": lambda ts: ts.plain_tensor([1, 2, 3], shape=[2, 2]),
    "scalar": lambda ts: (ts.plain_tensor(5).shape, ts.plain_tensor(5).raw, ts.plain_tensor(5).tolist()),
    "ragged": lambda ts: ts.plain_tensor([[1], [1, 2]]),
    "text": lambda ts: ts.plain_tensor("a"),
    "numbers as text": lambda ts: ts.plain_tensor(["1", "2"]).raw,
    "empty": lambda ts: (ts.plain_tensor([]).shape, ts.plain_tensor([]).empty(), ts.plain_tensor([]).size()),
    "empty rows": lambda ts: ts.plain_tensor([[], []]).shape,
    "large": lambda ts: ts.plain_tensor([2**70]).raw,
    "large integers": lambda ts: ts.plain_tensor([2**70], dtype="int"),
    "NaN as integer": lambda ts: ts.plain_tensor([float("nan")], dtype="int"),
    "complex": lambda ts: ts.plain_tensor([1j]),
    "strides": lambda ts: (ts.plain_tensor(A).strides(), ts.plain_tensor([[[1]], [[2]]]).strides()),
    "size": lambda ts: (ts.plain_tensor(A).size(), len(ts.plain_tensor(A)), ts.plain_tensor(A).dtype),
    "at": lambda ts: ts.plain_tensor(A).at([1, 2, 3]),
    "at an array": lambda ts: ts.plain_tensor(A).at(np.array([1, 0, 0])),
    "at outside": lambda ts: ts.plain_tensor(A).at([1, 2, 4]),
    "at too few": lambda ts: ts.plain_tensor(A).at([1]),
    "at a number": lambda ts: ts.plain_tensor(A).at(1),
    "at a negative": lambda ts: ts.plain_tensor(A).at([-1, 0, 0]),
    "batch 0": lambda ts: ts.plain_tensor(A).batch(0),
    "batch 1": lambda ts: ts.plain_tensor(A).batch(1),
    "batch 2": lambda ts: ts.plain_tensor(A).batch(2),
    "batch 5": lambda ts: ts.plain_tensor(A).batch(5),
    "batch -1": lambda ts: ts.plain_tensor(A).batch(-1),
    "reshape": lambda ts: ts.plain_tensor(A).reshape([6, 4]).tolist(),
    "reshape wrong": lambda ts: ts.plain_tensor(A).reshape([7]),
    "reshape_": lambda ts: ts.plain_tensor(A).reshape_([12, 2]).shape,
    "reshape_ wrong": lambda ts: ts.plain_tensor(A).reshape_([7]),
    "reshape_ -1": lambda ts: ts.plain_tensor(A).reshape_([-1]),
    "broadcast": lambda ts: ts.plain_tensor([1, 2]).broadcast([3, 2]).tolist(),
    "broadcast_": lambda ts: ts.plain_tensor([1, 2]).broadcast_([3, 2]).tolist(),
    "broadcast wrong": lambda ts: ts.plain_tensor([1, 2]).broadcast([2, 3]),
    "transpose": lambda ts: (ts.plain_tensor(A).transpose().tolist(), ts.plain_tensor(A).transpose().raw),
    "transpose_": lambda ts: (lambda p: (p.transpose_(), p.raw, p.shape, p.strides())[1:])(ts.plain_tensor(A)),
    "serialize": lambda ts: (
        ts.plain_tensor([[1, 2.5], [1e20, 1e-9]]).serialize(),
        ts.plain_tensor([1], dtype="int").serialize(),
        ts.plain_tensor(5).serialize(),
    ),
    "load": lambda ts: ts.plain_tensor_from(b"[[1.0,2]]").tolist(),
    "load number": lambda ts: ts.plain_tensor_from(b"5").shape,
    "load dtype": lambda ts: ts.plain_tensor_from(b"[1]", "x"),
    "load cut": lambda ts: ts.plain_tensor_from(b"[1"),
    "load text": lambda ts: ts.plain_tensor_from("[1]"),
    "load object": lambda ts: ts.plain_tensor_from(b"{}"),
    "load null": lambda ts: ts.plain_tensor_from(b"[null]"),
    "load nothing": lambda ts: ts.plain_tensor_from(b""),
    "wrapped": lambda ts: ts.plain_tensor(ts.plain_tensor([1, 2]).data).raw,
    "set data": lambda ts: setattr(ts.plain_tensor([1]), "data", 5),
    "set dtype": lambda ts: setattr(ts.plain_tensor([1]), "dtype", "x"),
}


@pytest.fixture(scope="module")
def peer() -> Any:
    import tenseal

    return tenseal


def outcome(module: Any, name: str) -> tuple[type[Exception] | None, Any]:
    try:
        return None, CALLS[name](module)
    except Exception as error:  # noqa: BLE001 - whichever it is, ours is one, too
        return type(error), None


@pytest.mark.parametrize("name", CALLS)
def test_as_the_peer(peer: Any, name: str) -> None:
    kind, expected = outcome(peer, name)
    if kind is None:
        assert CALLS[name](ts) == expected
        return
    with pytest.raises(kind) as caught:
        CALLS[name](ts)
    assert isinstance(caught.value, HecoreError)


def test_dtype_converts() -> None:
    tensor = ts.plain_tensor([1.7, -2.2])
    tensor.dtype = "int"
    assert (tensor.raw, tensor.dtype) == ([1, -2], "int")
    tensor.dtype = "float"
    assert tensor.raw == [1.0, -2.0]


def test_arrays_both_ways() -> None:
    tensor = ts.plain_tensor(A, dtype="int")
    assert np.array_equal(np.asarray(tensor), A)
    assert np.asarray(tensor, dtype=np.float32).dtype == np.float32
    assert ts.plain_tensor(tensor).shape == [2, 3, 4]
    with pytest.raises(ValueError, match="read-only"):
        tensor.data[0] = 5
    tensor.data = np.array([1.5])
    assert tensor.raw == [1.5]
    assert "1.5" not in repr(tensor)
    with pytest.raises(OperandTypeError):
        ts.plain_tensor(np.array([1j]))
    with pytest.raises(OperandTypeError):
        ts.plain_tensor(np.array([1e300]), dtype="int")


def test_a_scalar_has_no_length() -> None:
    with pytest.raises(ValueError, match="no first axis"):
        len(ts.plain_tensor(5))


def test_bytes() -> None:
    assert ts.plain_tensor_from(b"[1,2]", "int").raw == [1, 2]
    assert json.loads(ts.plain_tensor(A / 3).serialize()) == (A / 3).tolist()
    with pytest.raises(PlaintextRangeError):
        ts.plain_tensor([float("nan")]).serialize()
    for data in (b"[NaN]", b"[Infinity]", b"[[1],[1,2]]", b"\xff", b"[true]", b'["1"]', b"[1e999]", b"[" * 100_000):
        with pytest.raises(SerializationError):
            ts.plain_tensor_from(data)
    with pytest.raises(ParameterError):
        ts.plain_tensor_from(b"[1]", "double")
