"""What NumPy's own functions and ufuncs do with encrypted arrays (NEP 13 and NEP 18)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hecore.errors import OperandTypeError
from hecore.paillier.ciphertext import EncryptedArray, concatenate, dot, stack

_UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.matmul: operator.matmul,
    np.negative: operator.neg,
    np.positive: operator.pos,
}

_REFLECTED: dict[np.ufunc, str] = {
    np.add: "__radd__",
    np.subtract: "__rsub__",
    np.multiply: "__rmul__",
    np.matmul: "__rmatmul__",
}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> EncryptedArray:
    """`ufunc(*inputs)` for + - * @ and signs; everything else raises OperandTypeError."""
    if method != "__call__" or kwargs or ufunc not in _UFUNCS:
        call = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        options = f" with {', '.join(sorted(kwargs))}" if kwargs else ""
        raise OperandTypeError(
            f"cannot apply np.{call}{options} to an encrypted array: + - * @ and negation are allowed"
        )
    if isinstance(inputs[0], EncryptedArray):
        result = _UFUNCS[ufunc](*inputs)
    else:  # asking ndarray first would come straight back here
        result = getattr(inputs[1], _REFLECTED[ufunc])(inputs[0])
    assert isinstance(result, EncryptedArray)
    return result


def _shape_function(name: str) -> Callable[..., EncryptedArray]:
    function = getattr(np, name)

    def call(x: EncryptedArray, *args: Any, **kwargs: Any) -> EncryptedArray:
        return x.rearrange(lambda indices: function(indices, *args, **kwargs))

    return call


def _stacker(name: str) -> Callable[..., EncryptedArray]:
    function = getattr(np, name)

    def call(arrays: Any) -> EncryptedArray:
        from hecore.paillier.ciphertext import _join

        return _join(list(arrays), function, name)

    return call


_SHAPES = (
    "transpose swapaxes moveaxis squeeze expand_dims broadcast_to tile "
    "flip fliplr flipud roll rot90 atleast_1d atleast_2d atleast_3d"
)
_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.concatenate: concatenate,
    np.stack: stack,
    np.dot: dot,
    np.sum: lambda x, axis=None, keepdims=False: x.sum(axis, keepdims),
    np.mean: lambda x, axis=None, keepdims=False: x.mean(axis, keepdims),
    np.reshape: lambda x, shape: x.reshape(shape),
    np.ravel: lambda x: x.ravel(),
    np.take: lambda x, indices, axis=None: x.take(indices, axis),
    np.repeat: lambda x, repeats, axis=None: x.repeat(repeats, axis),
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
    **{getattr(np, name): _shape_function(name) for name in _SHAPES.split()},
    **{getattr(np, name): _stacker(name) for name in ("vstack", "hstack", "dstack", "column_stack")},
}


def call_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`np.function(*args, **kwargs)` for functions of shape and sums; everything else raises OperandTypeError."""
    if function not in _FUNCTIONS:
        raise OperandTypeError(f"cannot apply np.{function.__name__} to an encrypted array: decrypt first")
    try:
        return _FUNCTIONS[function](*args, **kwargs)
    except TypeError as error:
        if isinstance(error, OperandTypeError):
            raise
        raise OperandTypeError(f"cannot apply np.{function.__name__} with these arguments: {error}") from None
