"""What a `CKKSTensor` holds, and its arithmetic: one ciphertext an element, or one for all elements of the first axis.

Without batching an element lies in every slot of its ciphertext. With it the first axis lies along the slots, repeated
to the last one (`extent` slots of that hold, as in `_vector`), and `ciphertext` has the shape of the other axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import evaluator
from hecore.ckks.ciphertext import Ciphertext, check_compatible
from hecore.compat.tenseal import _evaluation, _polynomial, _rotation
from hecore.compat.tenseal._chain import as_scale
from hecore.compat.tenseal._encode import Constants, Slots, is_zero
from hecore.compat.tenseal._errors import BroadcastError
from hecore.compat.tenseal._vector import decryption_key
from hecore.errors import ParameterError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import PolynomialArray
    from hecore.ckks.scale import Scale
    from hecore.compat.tenseal._state import LabelledKey, TenSEALContext
    from hecore.ring.prng import Seed

Floats = NDArray[np.float64]

_AT_A_TIME = 16
"""Ciphertexts in one batch: enough to keep a processor busy, few enough to stay near it."""


@dataclass(frozen=True, eq=False, repr=False)
class TensorData:
    """Encrypted values: `ciphertext` of the tensor's shape, the batched axis left out; `scale` as in `VectorData`."""

    context: TenSEALContext
    ciphertext: Ciphertext
    scale: float
    batch_size: int | None
    extent: int
    seeds: tuple[Seed, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the batched axis."""
        return self.ciphertext.shape

    @property
    def shape_with_batch(self) -> tuple[int, ...]:
        return self.shape if self.batch_size is None else (self.batch_size, *self.shape)

    @property
    def top(self) -> Scale:
        """The scale at the highest level."""
        return as_scale(self.scale)

    def with_ciphertext(self, ciphertext: Ciphertext) -> TensorData:
        """The result of an operation slot by slot."""
        return replace(self, ciphertext=ciphertext, seeds=None)

    def take(self, indices: Indices) -> TensorData:
        """A gather of flat positions."""
        return self.with_ciphertext(self.ciphertext.take(indices))


# -- in and out --------------------------------------------------------------------------------------------


def encrypt(context: TenSEALContext, values: Floats, scale: float | None, *, batch: bool) -> TensorData:
    """A fresh tensor. Raises ShapeError for a scalar and too long a batch, ParameterError if empty, and as a vector."""
    scale = context.global_scale if scale is None else scale
    if values.ndim == 0:
        raise ShapeError("invalid dimension for batching: a tensor has at least one axis")
    return _encrypt_any(context, values, scale, batch=batch)


def _encrypt_any(context: TenSEALContext, values: Floats, scale: float, *, batch: bool) -> TensorData:
    if values.size == 0:
        raise ParameterError("Attempting to encrypt an empty vector")
    parameters, slots = context.parameters, context.parameters.slots
    count = values.shape[0] if batch else None
    shape: tuple[int, ...]
    rows: Floats
    if count is None:
        shape, rows = values.shape, values.reshape(-1)
    elif count <= slots:
        shape, rows = values.shape[1:], np.moveaxis(values, 0, -1).reshape(-1, count)
        rows = np.tile(rows, -(-slots // count))[:, :slots]
    else:
        raise ShapeError(
            f"can't encrypt vectors of this size, please use a larger polynomial modulus degree: {count} values, "
            f"{slots} slots"
        )
    made: list[Ciphertext] = []
    seeds: list[Seed] = []
    for start in range(0, len(rows), _AT_A_TIME):
        part = rows[start : start + _AT_A_TIME]
        plain = Constants(part) if count is None else Slots(part)
        ciphertext, its_seeds = context.encrypt(plain.encode(parameters, parameters.max_level, as_scale(scale)))
        made.append(ciphertext)
        seeds += its_seeds or ()
    return TensorData(context, _rotation.joined(made).reshape(*shape), scale, count, slots, tuple(seeds) or None)


def decrypt(a: TensorData, secret_key: LabelledKey | None) -> Floats:
    """The values, of shape_with_batch. Raises as a vector's `decrypt`."""
    key = decryption_key(a.context, secret_key)
    flat = a.ciphertext.reshape(a.ciphertext.size)
    width = a.batch_size or 1
    rows = np.empty((flat.size, width))
    for start in range(0, flat.size, _AT_A_TIME):
        indices = np.arange(start, min(start + _AT_A_TIME, flat.size), dtype=np.intp)
        rows[indices] = key.decrypt(flat.take(indices)).real[:, :width]
    if a.batch_size is None:
        return rows.reshape(a.shape)
    return np.moveaxis(rows.reshape(*a.shape, width), -1, 0)


# -- element by element ------------------------------------------------------------------------------------


def add(a: TensorData, b: float | Floats | TensorData, *, subtract: bool = False) -> TensorData:
    """a + b or a - b; shapes broadcast. Raises BroadcastError."""
    if isinstance(b, TensorData):
        a, b = _operands(a, b)
        total = _in_parts(partial(_evaluation.add, a.context, subtract=subtract), a.ciphertext, b.ciphertext)
        return a.with_ciphertext(total)
    if isinstance(b, float):
        value = -b if subtract else b
        return a.with_ciphertext(_evaluation.add_constant(a.context, a.ciphertext, value, a.top))
    a, b = _plain_operands(a, b)

    def add_constants(part: Ciphertext, values: Floats) -> Ciphertext:
        return _evaluation.add_plain(a.context, part, Constants(values), a.top, subtract=subtract)

    return a.with_ciphertext(_in_parts(add_constants, a.ciphertext, b))


def multiply(a: TensorData, b: float | Floats | TensorData) -> TensorData:
    """a * b; shapes broadcast. Raises BroadcastError, ScaleError and LevelError where no level is left."""
    if isinstance(b, TensorData):
        same = a is b
        a, b = _operands(a, b)
        right = a.ciphertext if same else b.ciphertext
        return a.with_ciphertext(_in_parts(partial(_evaluation.multiply, a.context), a.ciphertext, right))
    if isinstance(b, float):
        return a.with_ciphertext(_evaluation.multiply_constant(a.context, a.ciphertext, b, a.top))
    a, b = _plain_operands(a, b)

    def multiply_constants(part: Ciphertext, values: Floats) -> Ciphertext:
        return _evaluation.multiply_plain(a.context, part, Constants(values), a.top)

    return a.with_ciphertext(_in_parts(multiply_constants, a.ciphertext, b))


def negate(a: TensorData) -> TensorData:
    return a.with_ciphertext(evaluator.negate(a.ciphertext))


def power(a: TensorData, exponent: int) -> TensorData:
    """a^exponent; fresh ones for 0."""
    if exponent == 0:
        return _constant(a, 1.0)

    def raised(part: Ciphertext, _: Ciphertext) -> Ciphertext:
        return _polynomial.power(a.context, part, exponent)

    return a.with_ciphertext(_in_parts(raised, a.ciphertext, a.ciphertext))


def polynomial(a: TensorData, coefficients: list[float]) -> TensorData:
    """sum_i coefficients[i] * a^i, the last one not zero; a fresh encryption where it is a constant."""
    coefficients = _polynomial.significant(coefficients, a.top)
    if len(coefficients) < 2:
        return _constant(a, sum(coefficients))

    def evaluated(part: Ciphertext, _: Ciphertext) -> Ciphertext:
        return _polynomial.polynomial(a.context, part, coefficients, a.top)

    return a.with_ciphertext(_in_parts(evaluated, a.ciphertext, a.ciphertext))


def _constant(a: TensorData, value: float) -> TensorData:
    values = np.full(a.shape_with_batch, value)
    return _encrypt_any(a.context, values, a.scale, batch=a.batch_size is not None)


def _in_parts(operation: Callable[[Ciphertext, Any], Ciphertext], a: Ciphertext, b: Ciphertext | Floats) -> Ciphertext:
    """The operation on a few elements of both, of one shape, at a time."""
    if a.size <= _AT_A_TIME:
        return operation(a, b)
    parts = []
    left, right = a.reshape(a.size), b.reshape(a.size)
    for start in range(0, a.size, _AT_A_TIME):
        indices = np.arange(start, min(start + _AT_A_TIME, a.size), dtype=np.intp)
        part = left.take(indices)
        if isinstance(right, Ciphertext):
            parts.append(operation(part, part if b is a else right.take(indices)))
        else:
            parts.append(operation(part, right[indices]))
    return _rotation.joined(parts).reshape(*a.shape)


def _operands(a: TensorData, b: TensorData) -> tuple[TensorData, TensorData]:
    """Both of the broadcast shape and of one batch; an element without batching stands for a batch of itself."""
    b = same_key(a, b)
    if a.batch_size is not None and b.batch_size is not None and a.batch_size != b.batch_size:
        raise ShapeError(f"can't compute on tensors of different batches: {a.batch_size} and {b.batch_size}")
    batch_size = b.batch_size if a.batch_size is None else a.batch_size
    shape = _broadcast_shape(a.shape, b.shape)
    a = replace(to_shape(a, shape), batch_size=batch_size, extent=min(a.extent, b.extent))
    return a, to_shape(b, shape)


def _plain_operands(a: TensorData, values: Floats) -> tuple[TensorData, Floats]:
    """Plain operands broadcast against the shape without the batched axis, as the peer's do."""
    shape = _broadcast_shape(a.shape, values.shape)
    return to_shape(a, shape), np.broadcast_to(values, shape)


def same_key(a: TensorData, b: TensorData) -> TensorData:
    """b as an operand beside a; where labels say nothing, under a's label."""
    if a.ciphertext.key_id != b.ciphertext.key_id and not a.context.tells_apart(b.context.label):
        return replace(b, ciphertext=replace(b.ciphertext, key_id=a.ciphertext.key_id, evaluation_keys=None))
    return b


# -- shapes --------------------------------------------------------------------------------------------------


def to_shape(a: TensorData, shape: tuple[int, ...]) -> TensorData:
    """Repeated to `shape` by NumPy's rules. Raises BroadcastError."""
    if a.shape == shape:
        return a
    try:
        return a.take(np.broadcast_to(a.ciphertext.flat_indices(), shape))
    except ValueError:
        raise BroadcastError(f"Incompatible dimension of arrays: {a.shape} does not broadcast to {shape}") from None


def reshape(a: TensorData, shape: tuple[int, ...]) -> TensorData:
    """Raises ShapeError for another number of elements."""
    if math.prod(shape) != a.ciphertext.size:
        raise ShapeError(f"invalid reshape input: {list(a.shape)} to {list(shape)}")
    return replace(a, ciphertext=a.ciphertext.reshape(*shape))


def transpose(a: TensorData) -> TensorData:
    """The axes in reverse order, the batched one left where it is."""
    return a.take(a.ciphertext.flat_indices().T)


def _broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        raise BroadcastError(f"Incompatible dimension of arrays: {a} and {b}") from None
    if not all(shape):
        raise BroadcastError(f"Incompatible dimension of arrays: {a} and {b}, of which one is empty")
    return shape


# -- sums and products of matrices -----------------------------------------------------------------------------


def total(a: TensorData, axis: int) -> TensorData:
    """The sum along an axis of shape_with_batch; along the batched one see `total_of_batch`. Raises ShapeError."""
    if axis >= len(a.shape_with_batch):
        raise ShapeError(f"invalid axis {axis}: the tensor has {len(a.shape_with_batch)}")
    if a.batch_size is not None:
        if axis == 0:
            return total_of_batch(a)
        axis -= 1
    indices = np.moveaxis(a.ciphertext.flat_indices(), axis, 0)
    return a.with_ciphertext(_rotation.sum_first_axis(a.ciphertext.take(indices)))


def total_of_batch(a: TensorData) -> TensorData:
    """The sum along the batched axis: a tensor without batching. Needs Galois keys. Raises ShapeError without one."""
    if a.batch_size is None:
        raise ShapeError("unsupported operation: the tensor is not batched")
    summed, extent = _rotation.window_sum(a.context, a.ciphertext, a.batch_size, a.extent)
    return replace(a.with_ciphertext(summed), batch_size=None, extent=extent)


def dot(a: TensorData, b: Floats | TensorData) -> TensorData:
    """NumPy's `dot` of vectors and matrices. Raises ShapeError, BroadcastError between vectors."""
    left, right = a.shape, b.shape
    if not (1 <= len(left) <= 2 and 1 <= len(right) <= 2):
        raise ShapeError("don't support dot operations of more than 2 dimensions, or of scalars")
    if len(left) == len(right) == 1:
        return total(multiply(a, b), 0 if a.batch_size is None and _batch_of(b) is None else 1)
    if left[-1] != right[0]:
        if len(left) == len(right) == 2:
            raise ShapeError(f"can't multiply matrices: {left} and {right}")
        raise ShapeError(f"can't perform dot: dimension mismatch: {left} and {right}")
    rows = reshape(a, left if len(left) == 2 else (1, *left))
    columns = right if len(right) == 2 else (*right, 1)
    product = _matrix_product(rows, reshape(b, columns) if isinstance(b, TensorData) else b.reshape(columns))
    return reshape(product, left[:-1] + right[1:])


def matrix_product(a: TensorData, b: Floats | TensorData) -> TensorData:
    """a @ b for matrices. Raises ShapeError."""
    if len(a.shape) != 2:
        raise ShapeError("this tensor isn't a matrix")
    if len(b.shape) != 2:
        raise ShapeError("operand tensor isn't a matrix")
    if a.shape[1] != b.shape[0]:
        raise ShapeError(f"can't multiply matrices: {a.shape} and {b.shape}")
    return _matrix_product(a, b)


def _batch_of(b: Floats | TensorData) -> int | None:
    return b.batch_size if isinstance(b, TensorData) else None


def _matrix_product(a: TensorData, b: Floats | TensorData) -> TensorData:
    """(r, n) by (n, c), both of fitting shapes."""
    if isinstance(b, TensorData):
        b = same_key(a, b)
        if a.batch_size is not None and b.batch_size is not None and a.batch_size != b.batch_size:
            raise ShapeError(f"can't compute on tensors of different batches: {a.batch_size} and {b.batch_size}")
        batch_size = b.batch_size if a.batch_size is None else a.batch_size
        product = _product_of_ciphertexts(a.context, a.ciphertext, b.ciphertext)
        return replace(a.with_ciphertext(product), batch_size=batch_size, extent=min(a.extent, b.extent))
    return a.with_ciphertext(_product_with_plain(a.context, a.ciphertext, b, a.top))


def _product_of_ciphertexts(context: TenSEALContext, a: Ciphertext, b: Ciphertext) -> Ciphertext:
    """Sums of (a_0, a_1) * (b_0, b_1) = (a_0 b_0, a_0 b_1 + a_1 b_0, a_1 b_1), relinearized once an element."""
    a, b = _evaluation.aligned(context, a, b)
    a, b = _evaluation.two_components(context, a), _evaluation.two_components(context, b)
    _evaluation.check_product(context, a, b.scale)
    check_compatible(a, b, "multiply")
    (rows, inner), columns = a.shape, b.shape[1]
    backend = a.backend
    left = np.arange(2 * rows * inner, dtype=np.intp).reshape(rows, 1, inner, 2)
    right = np.arange(2 * inner * columns, dtype=np.intp).reshape(inner, columns, 2).transpose(1, 0, 2)[None]

    def summed(i: list[int], j: list[int]) -> PolynomialArray:
        u = backend.ring_take(a.polynomials, left[..., i].reshape(rows, 1, -1))
        v = backend.ring_take(b.polynomials, right[..., j].reshape(1, columns, -1))
        return backend.ring_reshape(backend.residue_mul_accumulate(u, v), (rows * columns,))

    joined = backend.ring_concatenate([summed([0], [0]), summed([0, 1], [1, 0]), summed([1], [1])])
    order = np.arange(3 * rows * columns, dtype=np.intp).reshape(3, -1).T.reshape(rows, columns, 3)
    polynomials = backend.ring_take(joined, order)
    product = a.derived(polynomials, scale=a.scale * b.scale, bound=None, noise=math.inf)
    return _in_parts(lambda part, _: _evaluation.finished(context, part), product, product)


def _product_with_plain(context: TenSEALContext, a: Ciphertext, b: Floats, top: Scale) -> Ciphertext:
    """Sums of products with constants, rescaled once an element."""
    scale = _evaluation.plain_scale(context, a, top)
    _evaluation.check_product(context, a, scale)
    columns = [_column(a, b[:, j], scale) for j in range(b.shape[1])]
    joined = _rotation.joined([c for c, _ in columns])
    order = np.arange(joined.size, dtype=np.intp).reshape(b.shape[1], a.shape[0]).T
    zero = np.array([z for _, z in columns])
    return _evaluation.without_transparent(context, _evaluation.finished(context, joined.take(order)), zero[None])


def _column(a: Ciphertext, factors: Floats, scale: Scale) -> tuple[Ciphertext, bool]:
    """a (r, n) by factors (n,): (r,), and whether it is zero because all factors are."""
    total: Ciphertext | None = None
    zero = True
    positions = a.flat_indices()
    for start in range(0, factors.size, _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        message = Constants(factors[part]).encode(a.parameters, a.level, scale)
        zero = zero and bool(is_zero(message).all())
        components = positions[:, part][:, None, :] * a.components + np.arange(a.components)[:, None]
        taken = a.backend.ring_take(a.polynomials, components)
        product = a.backend.residue_mul_accumulate(taken, message.polynomial(a.backend))
        made = a.derived(product, scale=a.scale * scale, bound=None, noise=math.inf)
        total = made if total is None else evaluator.add(total, made)
    assert total is not None
    return total, zero
