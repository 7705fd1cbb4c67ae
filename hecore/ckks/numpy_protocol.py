"""What NumPy's own functions and ufuncs do with encrypted tensors (NEP 13 and NEP 18)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hecore.ckks.tensor import EncryptedTensor
from hecore.ckks.tensor_shapes import concatenate, stack
from hecore.errors import OperandTypeError

_UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.matmul: operator.matmul,
    np.power: operator.pow,
    np.square: lambda x: x * x,
    np.negative: operator.neg,
    np.positive: operator.pos,
    np.conjugate: lambda x: x.conj(),
}

_REFLECTED: dict[np.ufunc, str] = {
    np.add: "__radd__",
    np.subtract: "__rsub__",
    np.multiply: "__rmul__",
    np.matmul: "__rmatmul__",
}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> EncryptedTensor:
    """`ufunc(*inputs)` for + - * / @, powers, signs and conjugates; everything else raises OperandTypeError."""
    encrypted_first = isinstance(inputs[0], EncryptedTensor)
    known = _UFUNCS if encrypted_first else _REFLECTED
    if method != "__call__" or kwargs or ufunc not in known:
        call = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        options = f" with {', '.join(sorted(kwargs))}" if kwargs else ""
        raise OperandTypeError(
            f"cannot apply np.{call}{options} to an encrypted tensor: + - * @, whole powers, division by plain numbers"
        )
    # Asking an ndarray on the left first would come straight back here.
    result = _UFUNCS[ufunc](*inputs) if encrypted_first else getattr(inputs[1], _REFLECTED[ufunc])(inputs[0])
    assert isinstance(result, EncryptedTensor)
    return result


def _dot(a: Any, b: Any) -> Any:
    return a * b if np.ndim(a) == 0 or np.ndim(b) == 0 else a @ b


def _inner(a: Any, b: Any) -> Any:
    """Over the last axes of both."""
    if isinstance(b, EncryptedTensor):
        if b.ndim > 1:
            raise OperandTypeError("cannot take np.inner with an encrypted matrix on the right: @ takes one axis of it")
        return _dot(a, b)
    return _dot(a, np.asarray(b).T)


_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.concatenate: concatenate,
    np.stack: stack,
    np.dot: _dot,
    np.inner: _inner,
    np.sum: lambda x, axis=None, keepdims=False: x.sum(axis, keepdims),
    np.mean: lambda x, axis=None, keepdims=False: x.mean(axis, keepdims),
    np.reshape: lambda x, shape: x.reshape(shape),
    np.ravel: lambda x: x.ravel(),
    np.roll: lambda x, shift: x.roll(shift),
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
}


def call_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`np.function(*args, **kwargs)` for functions of shape and sums; everything else raises OperandTypeError."""
    if function not in _FUNCTIONS:
        raise OperandTypeError(f"cannot apply np.{function.__name__} to an encrypted tensor: decrypt first")
    try:
        return _FUNCTIONS[function](*args, **kwargs)
    except TypeError as error:
        if isinstance(error, OperandTypeError):
            raise
        raise OperandTypeError(f"cannot apply np.{function.__name__} with these arguments: {error}") from None
