"""Linear arithmetic on encrypted arrays: sums, products with plain numbers, matrix products.

Every function checks types, shapes and headroom first and then computes; results are deterministic functions of
their operands, hence not randomised. Costs are in products modulo n^2 (M): they depend on shapes and declared
sizes, never on values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.backends.protocol import ExponentArray
from hecore.errors import BackendMismatchError, KeyMismatchError, OperandTypeError, ShapeError
from hecore.paillier.counting import count
from hecore.paillier.encoding import Encoding, check_bound, encode, public, root_of, smallest

if TYPE_CHECKING:
    from hecore.backends.protocol import ResidueArray
    from hecore.paillier.ciphertext import EncryptedArray
    from hecore.paillier.encoding import Encoded
    from hecore.paillier.messages import Int64s


# -- exponents ---------------------------------------------------------------------------------------------


def rescale(x: EncryptedArray, exponent: int | Int64s) -> EncryptedArray:
    """The same values at an exponent that is nowhere larger: integers times 2**(difference), about that many M each.

    Exact; exponents are public, so one shared public power serves all elements with the same difference.
    """
    shift = np.asarray(x.encoding.exponent, dtype=np.int64) - exponent
    most = int(shift.max())
    if most == 0:
        return x
    bound = x.bound << most
    check_bound(x.public_key, bound, "align exponents")
    encoding = x.encoding.with_exponent(exponent)
    if shift.ndim == 0:
        return replace(
            x, residues=_times_power_of_two(x.residues, most), encoding=encoding, bound=bound, randomised=False
        )
    backend = x.residues.backend
    flat = np.broadcast_to(shift, x.shape).ravel()
    order, parts = [], []
    for step in np.unique(flat):
        indices = np.flatnonzero(flat == step)
        order.append(indices)
        parts.append(_times_power_of_two(backend.take(x.residues, indices), int(step)))
    back = np.empty(x.size, dtype=np.intp)
    back[np.concatenate(order)] = np.arange(x.size, dtype=np.intp)
    residues = backend.take(backend.concatenate(parts), back.reshape(x.shape))
    return replace(x, residues=residues, encoding=encoding, bound=bound, randomised=False)


def _times_power_of_two(residues: ResidueArray, shift: int) -> ResidueArray:
    if shift == 0:
        return residues
    return residues.backend.mod_exp_vartime(residues, ExponentArray.shared(1 << shift, shift + 1))


def _common_exponent(a: int | Int64s, b: int | Int64s) -> int | Int64s:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return np.minimum(a, b)


def _joint_encoding(a: Encoding, b: Encoding, exponent: int | Int64s) -> Encoding:
    return joint_encoding([a, b]).with_exponent(exponent)


def joint_encoding(encodings: list[Encoding]) -> Encoding:
    """Integers if all are; in fixed-scale mode if all that declare a grid declare the same one. Exponent 0."""
    grids = {e.fixed_scale for e in encodings if e.fixed_scale is not None}
    grid = grids.pop() if len(grids) == 1 else None
    return Encoding("integer" if all(e.kind == "integer" for e in encodings) else "fixed", 0, grid)


# -- addition ----------------------------------------------------------------------------------------------


def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a == b:
        return a
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"cannot broadcast shapes {a} and {b} together") from None
    if 0 in shape:
        raise ShapeError(f"cannot combine shapes {a} and {b}: the result would be empty")
    return shape


def check_compatible(a: EncryptedArray, b: EncryptedArray) -> None:
    """One key, one backend."""
    if a.public_key is not b.public_key and a.public_key != b.public_key:
        raise KeyMismatchError(f"cannot combine arrays of different keys: {a.public_key!r} and {b.public_key!r}")
    if a.residues.backend is not b.residues.backend:
        ours, theirs = a.residues.backend.name, b.residues.backend.name
        raise BackendMismatchError(f"cannot combine arrays on {ours!r} and {theirs!r}: move one with .to({ours!r})")


def add(a: EncryptedArray, b: EncryptedArray) -> EncryptedArray:
    """Elementwise a + b, broadcasting: one M an element, and what aligning exponents costs."""
    check_compatible(a, b)
    encoding = a.encoding
    if b.encoding is not encoding or encoding.per_element or a.shape != b.shape:
        shape = broadcast_shape(a.shape, b.shape)
        ours, theirs = a.encoding.exponent, b.encoding.exponent
        exponent = _common_exponent(ours, theirs)
        encoding = _joint_encoding(a.encoding, b.encoding, exponent)
        check_bound(a.public_key, _aligned(a, exponent) + _aligned(b, exponent), "add")
        a = rescale(a if isinstance(exponent, int) else a.broadcast_to(shape), exponent).broadcast_to(shape)
        b = rescale(b if isinstance(exponent, int) else b.broadcast_to(shape), exponent).broadcast_to(shape)
    bound = a.bound + b.bound
    check_bound(a.public_key, bound, "add")
    residues = a.residues.backend.mod_mul(a.residues, b.residues)
    count("add", residues.size)
    return replace(a, residues=residues, encoding=encoding, bound=bound, randomised=False)


def _aligned(x: EncryptedArray | Encoded, exponent: int | Int64s) -> int:
    return x.bound << int(np.max(np.asarray(x.encoding.exponent, dtype=np.int64) - exponent))


def add_plain(x: EncryptedArray, plain: Encoded) -> EncryptedArray:
    """Elementwise x + plain, broadcasting: one half-size product and one M an element."""
    shape = broadcast_shape(x.shape, plain.shape)
    exponent = _common_exponent(x.encoding.exponent, plain.encoding.exponent)
    bound = _aligned(x, exponent) + _aligned(plain, exponent)
    check_bound(x.public_key, bound, "add")
    x = rescale(x if isinstance(exponent, int) else x.broadcast_to(shape), exponent).broadcast_to(shape)
    plaintexts = plain.at_exponent(exponent).broadcast_to(shape).messages(root_of(x.public_key.n_squared))
    residues = x.residues.backend.encode(plaintexts, x.public_key.n_squared, times=x.residues)
    count("add", residues.size)
    encoding = _joint_encoding(x.encoding, plain.encoding, exponent)
    return replace(x, residues=residues, encoding=encoding, bound=bound, randomised=False)


def negate(x: EncryptedArray) -> EncryptedArray:
    """Elementwise -x: about 3 M an element and one inversion."""
    return replace(x, residues=x.residues.backend.batch_invert(x.residues), randomised=False)


# -- products with plain numbers ---------------------------------------------------------------------------


def multiply_plain(x: EncryptedArray, plain: Encoded) -> EncryptedArray:
    """Elementwise x * plain, broadcasting: about `plain.bits` squarings and the window's products an element.

    For a signed range every base is inverted and the right one of the two picked, so that neither the number of
    negative factors nor their places change what is computed.
    """
    shape = broadcast_shape(x.shape, plain.shape)
    bound = x.bound * plain.bound
    check_bound(x.public_key, bound, "multiply")
    ours, theirs = x.encoding.exponent, plain.encoding.exponent
    exponent: int | Int64s = ours + theirs
    if not isinstance(exponent, int):
        exponent = np.broadcast_to(exponent, shape).copy()
    encoding = _joint_encoding(x.encoding, plain.encoding, exponent)
    count("plain_mul", int(np.prod(shape, dtype=np.int64)))
    backend = x.residues.backend
    if plain.shape:  # a scalar stays one exponent shared by all elements
        plain = plain.broadcast_to(shape)
    if plain.constant_time and plain.signed:
        # Picking a base by sign is an address; two exponentiations, one of them by zero, are not.
        residues = backend.mod_mul(
            _power(x.broadcast_to(shape).residues, plain, ~plain.negative),
            _power(negate(x).broadcast_to(shape).residues, plain, plain.negative),
        )
    else:
        indices = np.broadcast_to(np.arange(x.size, dtype=np.intp).reshape(x.shape), shape)
        bases = x.residues
        if plain.signed:
            bases = backend.concatenate([bases, backend.batch_invert(bases)])
            indices = indices + x.size * plain.negative.astype(np.intp)
        bases = backend.take(bases, np.asarray(indices, order="C"))
        residues = _power(bases, plain, None)
    return replace(x, residues=residues, encoding=encoding, bound=bound, randomised=False)


def _power(bases: ResidueArray, plain: Encoded, mask: NDArray[np.bool_] | None) -> ResidueArray:
    magnitudes = plain.magnitudes
    if mask is not None:
        magnitudes = magnitudes * mask[..., None].astype(np.uint64)
    exponents = ExponentArray(np.ascontiguousarray(magnitudes), plain.bits)
    operation = bases.backend.mod_exp if plain.constant_time else bases.backend.mod_exp_vartime
    return operation(bases, exponents)


def matmul(x: EncryptedArray, plain: Encoded, *, plain_first: bool) -> EncryptedArray:
    """plain @ x or x @ plain with NumPy's rules for 1-D, 2-D and stacked operands; multi-exponentiation inside."""
    left, right = (plain.shape, x.shape) if plain_first else (x.shape, plain.shape)
    if not left or not right:
        raise ShapeError(f"cannot matrix-multiply shapes {left} and {right}: scalars need *")
    if left[-1] != right[max(0, len(right) - 2)]:
        raise ShapeError(f"cannot matrix-multiply shapes {left} and {right}: the inner sizes differ")
    inner = left[-1]
    if not plain_first:  # x @ W = (W.T @ x.T).T, on the last two axes of each
        out = matmul(_swap(x), _swap_plain(plain), plain_first=True)
        return out.swapaxes(-1, -2) if x.ndim > 1 and len(plain.shape) > 1 else out
    plain = plain.with_one_exponent()
    bound = x.bound * plain.bound * inner
    check_bound(x.public_key, bound, "matrix-multiply")
    matrix = plain.shape if len(plain.shape) > 1 else (1, inner)
    vectors = x if x.ndim > 1 else x.reshape(inner, 1)
    batch = broadcast_shape(matrix[:-2], vectors.shape[:-2])
    rows, columns = matrix[-2], vectors.shape[-1]
    if 0 in (*batch, rows):
        raise ShapeError(f"cannot matrix-multiply shapes {left} and {right}: the result would be empty")
    exponent = vectors.encoding.exponent
    if not isinstance(exponent, int):
        exponent = exponent.min(axis=-2, keepdims=True)
        vectors = rescale(vectors, np.broadcast_to(exponent, vectors.shape).copy())
        check_bound(x.public_key, vectors.bound * plain.bound * inner, "matrix-multiply")
        bound = vectors.bound * plain.bound * inner
        exponent = np.broadcast_to(exponent, (*batch, rows, columns))
    exponent = exponent + smallest(plain.encoding.exponent)
    limbs = plain.magnitudes.shape[-1]
    weights = np.broadcast_to(plain.magnitudes.reshape(*matrix, limbs), (*batch, rows, inner, limbs))
    signs = np.broadcast_to(plain.negative.reshape(matrix), (*batch, rows, inner))
    which = np.broadcast_to(vectors.flat_indices(), (*batch, inner, columns))
    backend = x.residues.backend
    outputs = []
    for place in np.ndindex(*batch):
        magnitudes, negative = np.ascontiguousarray(weights[place]), np.ascontiguousarray(signs[place])
        for j in range(columns):
            bases = backend.take(vectors.residues, np.ascontiguousarray(which[place][:, j]))
            outputs.append(
                backend.multi_exp(bases, magnitudes, negative, plain.bits, constant_time=plain.constant_time)
            )
    residues = backend.reshape(backend.concatenate(outputs), (*batch, columns, rows))
    count("matmul_terms", residues.size * inner)
    swapped = exponent if isinstance(exponent, int) else np.swapaxes(exponent, -1, -2).copy()
    out = replace(
        x,
        residues=residues,
        encoding=_joint_encoding(x.encoding, plain.encoding, swapped),
        bound=bound,
        randomised=False,
    ).swapaxes(-1, -2)
    shape = out.shape
    if len(plain.shape) == 1:
        shape = (*shape[:-2], shape[-1])
    if x.ndim == 1:
        shape = shape[:-1]
    return out.reshape(shape)


def _swap(x: EncryptedArray) -> EncryptedArray:
    return x if x.ndim == 1 else x.swapaxes(-1, -2)


def _swap_plain(plain: Encoded) -> Encoded:
    if len(plain.shape) == 1:
        return plain
    exponent = plain.encoding.exponent
    return replace(
        plain,
        magnitudes=np.swapaxes(plain.magnitudes, -2, -3),
        negative=np.swapaxes(plain.negative, -1, -2),
        encoding=plain.encoding
        if isinstance(exponent, int)
        else plain.encoding.with_exponent(np.swapaxes(exponent, -1, -2).copy()),
    )


# -- sums --------------------------------------------------------------------------------------------------


def total(x: EncryptedArray, axis: int | tuple[int, ...] | None, keepdims: bool) -> EncryptedArray:
    """The sum along axes (all of them for None): one M less than there are elements."""
    axes = normalise_axes(axis, x.ndim)
    number = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    kept = [a for a in range(x.ndim) if a not in axes]
    bound = x.bound * number
    check_bound(x.public_key, bound, "sum")
    exponent = x.encoding.exponent
    if not isinstance(exponent, int):
        lowest = exponent.min(axis=axes, keepdims=True)
        x = rescale(x, np.broadcast_to(lowest, x.shape).copy())
        bound = x.bound * number
        check_bound(x.public_key, bound, "sum")
        exponent = lowest.reshape([x.shape[a] for a in kept])
    moved = x.transpose(*kept, *axes) if axes else x
    backend = x.residues.backend
    outer = tuple(x.shape[a] for a in kept)
    residues = backend.product(backend.reshape(moved.residues, (*outer, number)))
    count("add", x.size - residues.size)
    out = replace(x, residues=residues, encoding=x.encoding.with_exponent(exponent), bound=bound, randomised=False)
    return out.reshape(tuple(1 if a in axes else s for a, s in enumerate(x.shape))) if keepdims else out


def average(x: EncryptedArray, axis: int | tuple[int, ...] | None, keepdims: bool) -> EncryptedArray:
    """The exact sum times the float64 nearest to 1/count (count is public): exact where it is a power of two."""
    number = int(np.prod([x.shape[a] for a in normalise_axes(axis, x.ndim)], dtype=np.int64))
    return multiply_plain(total(x, axis, keepdims), encode(public(1.0 / number)))


def segment_total(x: EncryptedArray, segments: NDArray[np.intp], number: int) -> EncryptedArray:
    """out[s] = sum of x[i] where segments[i] == s: the histograms of gradient boosting, at most one M an element.

    An empty segment gives an encryption of zero.
    """
    exponent = smallest(x.encoding.exponent)
    bound = _aligned(x, exponent) * x.size
    check_bound(x.public_key, bound, "sum segments")
    x = rescale(x, exponent if not x.encoding.per_element else np.full(x.shape, exponent, dtype=np.int64))
    residues = x.residues.backend.segment_product(x.residues, segments, number)
    count("add", x.size)
    return replace(x, residues=residues, encoding=x.encoding.with_exponent(exponent), bound=bound, randomised=False)


def normalise_axes(axis: object, ndim: int) -> tuple[int, ...]:
    """None, an int or a tuple of ints -> distinct axes in [0, ndim)."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    out = []
    for a in axes:
        if not isinstance(a, int | np.integer) or isinstance(a, bool):
            raise OperandTypeError(
                f"cannot use {type(a).__name__} as an axis: an int, a tuple of ints or None is needed"
            )
        if not -ndim <= a < ndim:
            raise ShapeError(f"cannot use axis {a} of an array with {ndim} axes")
        out.append(int(a) % ndim)
    if len(set(out)) != len(out):
        raise ShapeError("cannot use one axis twice")
    return tuple(out)
