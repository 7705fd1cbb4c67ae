"""Linear arithmetic on encrypted arrays: sums, products with plain numbers, matrix products.

Every function checks types, shapes and headroom first and then computes; results are deterministic functions of
their operands, hence not randomised. Costs are in products modulo n^2 (M): they depend on shapes and declared
sizes, never on values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.backends.protocol import SATURATING_BATCH, ExponentArray, saturating_batch
from hecore.counting import count
from hecore.errors import BackendMismatchError, KeyMismatchError, OperandTypeError, ShapeError
from hecore.paillier.encoding import Encoding, check_bound, encode, public, root_of, smallest

if TYPE_CHECKING:
    from hecore.backends.protocol import Indices, Limbs, ResidueArray
    from hecore.paillier.ciphertext import EncryptedArray
    from hecore.paillier.encoding import Encoded
    from hecore.paillier.messages import Flags, Int64s

# A multi-exponentiation fills a device's lanes when its outputs times terms are some hundreds; below, one batch of
# powers over all of them is faster (measured on the CPU backend: 2048-bit keys, 4 to 300 terms, 1 to 32 outputs). A
# card has more lanes; there a power takes some ten times the products of a term of a multi-exponentiation, so that the
# batch is expected to lose well before the terms fill the card: at a quarter, which no card has confirmed yet.
_FEW_TERMS = 200
_MANY_TERMS = 1 << 14  # powers held at once on that path: 8 MiB of them under a 2048-bit key


# -- exponents ---------------------------------------------------------------------------------------------


def rescale(x: EncryptedArray, exponent: int | Int64s) -> EncryptedArray:
    """The same values at an exponent that is nowhere larger: integers times 2**(difference), about that many M each.

    Exact. Exponents are public, so all elements with the same difference share one public power. An exponent per
    element has the shape of x.
    """
    own = x.encoding.exponent
    if isinstance(own, int) and isinstance(exponent, int) and own == exponent:
        return x
    shift = np.asarray(own, dtype=np.int64) - exponent
    most = int(shift.max())
    if most == 0:
        return x
    bound = x.bound << most
    check_bound(x.public_key, bound, "align exponents")
    encoding = x.encoding.with_exponent(exponent)
    if shift.ndim == 0:
        return x.derived(_times_power_of_two(x.residues, most), encoding, bound)
    backend = x.residues.backend
    flat = np.broadcast_to(shift, x.shape).ravel()
    order, parts = [], []
    for step in np.unique(flat):
        indices = np.flatnonzero(flat == step)
        order.append(indices)
        parts.append(_times_power_of_two(backend.take(x.residues, indices), int(step)))
    back = np.empty(x.size, dtype=np.intp)
    back[np.concatenate(order)] = np.arange(x.size, dtype=np.intp)
    return x.derived(backend.take(backend.concatenate(parts), back.reshape(x.shape)), encoding, bound)


def _times_power_of_two(residues: ResidueArray, shift: int) -> ResidueArray:
    if shift == 0:
        return residues
    return residues.backend.mod_exp_vartime(residues, ExponentArray.shared(1 << shift, shift + 1))


def _bound_at(x: EncryptedArray | Encoded, exponent: int | Int64s) -> int:
    """The bound that x will have at that exponent."""
    own = x.encoding.exponent
    if isinstance(own, int) and isinstance(exponent, int):  # the common case, without a dozen microseconds of NumPy
        return x.bound << (own - exponent)
    return x.bound << int(np.max(np.asarray(x.encoding.exponent, dtype=np.int64) - exponent))


def _align(x: EncryptedArray, exponent: int | Int64s, shape: tuple[int, ...]) -> EncryptedArray:
    """x at that exponent and shape: before it is repeated where one exponent serves all, after where not."""
    if isinstance(exponent, int):
        return rescale(x, exponent).broadcast_to(shape)
    return rescale(x.broadcast_to(shape), np.broadcast_to(exponent, shape))


def _common_exponent(a: int | Int64s, b: int | Int64s) -> int | Int64s:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else np.minimum(a, b)


def joint_encoding(encodings: list[Encoding]) -> Encoding:
    """Integers if all are; in fixed-scale mode if all that declare a grid declare the same one. Exponent 0."""
    grids = {e.fixed_scale for e in encodings if e.fixed_scale is not None}
    grid = grids.pop() if len(grids) == 1 else None
    return Encoding("integer" if all(e.kind == "integer" for e in encodings) else "fixed", 0, grid)


def _combined(a: Encoding, b: Encoding, exponent: int | Int64s, shape: tuple[int, ...]) -> Encoding:
    """How a result of that shape, made of an a and a b, is read."""
    if not isinstance(exponent, int):
        exponent = np.broadcast_to(exponent, shape)
    return joint_encoding([a, b]).with_exponent(exponent)


# -- addition ----------------------------------------------------------------------------------------------


def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's common shape. Raises ShapeError where there is none or it is empty."""
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


def add(a: EncryptedArray, b: EncryptedArray, *, minus: bool = False) -> EncryptedArray:
    """Elementwise a + b (a - b), broadcasting: one M an element, and what aligning exponents or inverting costs."""
    check_compatible(a, b)
    encoding = a.encoding
    if a.shape != b.shape or not encoding.same_as(b.encoding):
        shape = broadcast_shape(a.shape, b.shape)
        exponent = _common_exponent(a.encoding.exponent, b.encoding.exponent)
        encoding = _combined(a.encoding, b.encoding, exponent, shape)
        bound = _bound_at(a, exponent) + _bound_at(b, exponent)
        check_bound(a.public_key, bound, "add")
        a, b = _align(a, exponent, shape), _align(negate(b) if minus else b, exponent, shape)
    else:
        bound = a.bound + b.bound
        check_bound(a.public_key, bound, "add")
        b = negate(b) if minus else b
    residues = a.residues.backend.mod_mul(a.residues, b.residues)
    count("add", residues.size)
    return a.derived(residues, encoding, bound)


def add_plain(x: EncryptedArray, plain: Encoded, *, minus: bool = False) -> EncryptedArray:
    """Elementwise x + plain (plain - x), broadcasting: one half-size product and one M an element."""
    shape = broadcast_shape(x.shape, plain.shape)
    exponent = _common_exponent(x.encoding.exponent, plain.encoding.exponent)
    bound = _bound_at(x, exponent) + _bound_at(plain, exponent)
    check_bound(x.public_key, bound, "add")
    encoding = _combined(x.encoding, plain.encoding, exponent, shape)
    x = _align(negate(x) if minus else x, exponent, shape)
    plaintexts = plain.at_exponent(exponent).messages(root_of(x.public_key.n_squared))
    if plaintexts.shape[:-1] != shape:
        plaintexts = np.broadcast_to(plaintexts, (*shape, plaintexts.shape[-1]))
    residues = x.residues.backend.encode(plaintexts, x.public_key.n_squared, times=x.residues)
    count("add", residues.size)
    return x.derived(residues, encoding, bound)


def negate(x: EncryptedArray) -> EncryptedArray:
    """Elementwise -x: about 3 M an element and one inversion."""
    return x.derived(x.residues.backend.batch_invert(x.residues), x.encoding, x.bound)


# -- products with plain numbers ---------------------------------------------------------------------------


def multiply_plain(x: EncryptedArray, plain: Encoded) -> EncryptedArray:
    """Elementwise x * plain, broadcasting: about `plain.bits` squarings and the window's products an element.

    For a signed range every base is inverted and the right one of the two picked, so that neither the number of
    negative factors nor their places change what is computed.
    """
    shape = broadcast_shape(x.shape, plain.shape)
    bound = x.bound * plain.bound
    check_bound(x.public_key, bound, "multiply")
    encoding = _combined(x.encoding, plain.encoding, x.encoding.exponent + plain.encoding.exponent, shape)
    count("plain_mul", math.prod(shape))
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
    return x.derived(residues, encoding, bound)


def _power(bases: ResidueArray, plain: Encoded, mask: NDArray[np.bool_] | None) -> ResidueArray:
    magnitudes = plain.magnitudes
    if mask is not None:
        magnitudes = magnitudes * mask[..., None].astype(np.uint64)
    exponents = ExponentArray(np.ascontiguousarray(magnitudes), plain.bits)
    operation = bases.backend.mod_exp if plain.constant_time else bases.backend.mod_exp_vartime
    return operation(bases, exponents)


def matmul(x: EncryptedArray, plain: Encoded, *, plain_first: bool) -> EncryptedArray:
    """plain @ x or x @ plain by NumPy's rules for vectors, matrices and stacks of them.

    One multi-exponentiation for each column of the encrypted operand: its bases are that column, its exponents the
    rows of the plain one. Where these are tiny and many, one batch of powers and products instead.
    """
    left, right = (plain.shape, x.shape) if plain_first else (x.shape, plain.shape)
    if not left or not right:
        raise ShapeError(f"cannot matrix-multiply shapes {left} and {right}: scalars need *")
    if left[-1] != right[max(0, len(right) - 2)]:
        raise ShapeError(f"cannot matrix-multiply shapes {left} and {right}: the inner sizes differ")
    inner = left[-1]
    plain = plain.with_one_exponent() if plain_first else plain.with_one_exponent().transposed()
    vectors = x.ndim == 1, len(plain.shape) == 1
    # (*batch, p, inner), (*batch, m, inner): the bases of one multi-exponentiation lie side by side, and its exponents
    columns = x.reshape(1, inner) if vectors[0] else x.swapaxes(-1, -2) if plain_first else x
    weights = plain.magnitudes[None] if vectors[1] else plain.magnitudes
    signs = plain.negative[None] if vectors[1] else plain.negative
    batch = broadcast_shape(signs.shape[:-2], columns.shape[:-2])
    exponent = columns.encoding.exponent
    if not isinstance(exponent, int):
        exponent = exponent.min(axis=-1, keepdims=True)
    bound = _bound_at(columns, exponent) * plain.bound * inner
    check_bound(x.public_key, bound, "matrix-multiply")
    columns = _align(columns, exponent, columns.shape)
    residues = _multi_exponentiate(columns, weights, signs, plain, batch)
    count("matmul_terms", residues.size * inner)
    encoding = _combined(x.encoding, plain.encoding, exponent + smallest(plain.encoding.exponent), residues.shape)
    out = x.derived(residues, encoding, bound)
    kept = [size for size, vector in zip(residues.shape[-2:], vectors, strict=True) if not vector]
    if plain_first and len(kept) == 2:
        return out.swapaxes(-1, -2)
    return out.reshape(*residues.shape[:-2], *kept)


def _multi_exponentiate(
    columns: EncryptedArray, weights: Limbs, signs: Flags, plain: Encoded, batch: tuple[int, ...]
) -> ResidueArray:
    """columns (…, p, k), weights (…, m, k, limbs): residues (*batch, p, m) of all products of a row with a row."""
    backend = columns.residues.backend
    number, inner = columns.shape[-2:]
    rows = signs.shape[-2]
    indices = np.broadcast_to(columns.flat_indices(), (*batch, number, inner))
    weights = np.broadcast_to(weights, (*batch, *weights.shape[-3:]))
    signs = np.broadcast_to(signs, (*batch, *signs.shape[-2:]))
    filling = saturating_batch(backend)
    few, many = (_FEW_TERMS, _MANY_TERMS) if filling <= SATURATING_BATCH else (filling // 4, 2 * filling)
    one_by_one = number > 1 and rows * inner < few and not plain.constant_time
    bases = columns.residues
    if one_by_one and plain.signed:
        bases = backend.concatenate([bases, backend.batch_invert(bases)])
    outputs = []
    for place in np.ndindex(*batch):
        magnitudes, negative = np.ascontiguousarray(weights[place]), np.ascontiguousarray(signs[place])
        if one_by_one:
            step = max(1, many // (rows * inner))
            outputs += [
                _products(bases, indices[place][start : start + step], magnitudes, negative, columns.size, plain.bits)
                for start in range(0, number, step)
            ]
        else:
            outputs += [
                backend.multi_exp(
                    backend.take(bases, np.ascontiguousarray(column)),
                    magnitudes,
                    negative if plain.signed else None,
                    plain.bits,
                    constant_time=plain.constant_time,
                    most=plain.bound,
                )
                for column in indices[place]
            ]
    joined = outputs[0] if len(outputs) == 1 else backend.concatenate(outputs)
    return backend.reshape(joined, (*batch, number, rows))


def _products(
    bases: ResidueArray, columns: Indices, magnitudes: Limbs, negative: Flags, inverses: int, bits: int
) -> ResidueArray:
    """Few terms in each of many products: all powers in one batch, then a product along the terms.

    columns (p, k) indexes bases, whose inverses lie `inverses` places on; magnitudes (m, k, limbs); the result (p, m).
    """
    backend = bases.backend
    shape = (len(columns), *negative.shape)
    picked = backend.take(bases, columns[:, None, :] + inverses * negative.astype(np.intp))
    exponents = np.ascontiguousarray(np.broadcast_to(magnitudes, (*shape, magnitudes.shape[-1])))
    return backend.product(backend.mod_exp_vartime(picked, ExponentArray(exponents, bits)))


# -- sums --------------------------------------------------------------------------------------------------


def total(x: EncryptedArray, axis: object, keepdims: bool) -> EncryptedArray:
    """The sum along axes (all of them for None): one M less than there are elements."""
    axes = normalise_axes(axis, x.ndim)
    number = math.prod(x.shape[a] for a in axes)
    kept = [a for a in range(x.ndim) if a not in axes]
    outer = tuple(x.shape[a] for a in kept)
    exponent = x.encoding.exponent
    if not isinstance(exponent, int):
        exponent = exponent.min(axis=axes, keepdims=True)
    bound = _bound_at(x, exponent) * number
    check_bound(x.public_key, bound, "sum")
    x = _align(x, exponent, x.shape)
    moved = x.transpose(*kept, *axes) if axes != tuple(range(len(kept), x.ndim)) else x
    backend = x.residues.backend
    residues = backend.product(backend.reshape(moved.residues, (*outer, number)))
    count("add", x.size - residues.size)
    if not isinstance(exponent, int):
        exponent = exponent.reshape(outer)
    out = x.derived(residues, x.encoding.with_exponent(exponent), bound)
    return out.reshape(tuple(1 if a in axes else s for a, s in enumerate(x.shape))) if keepdims else out


def average(x: EncryptedArray, axis: object, keepdims: bool) -> EncryptedArray:
    """The exact sum times the float64 nearest to 1/count (count is public): exact where it is a power of two."""
    number = math.prod(x.shape[a] for a in normalise_axes(axis, x.ndim))
    factor = encode(public(1.0 / number))
    check_bound(x.public_key, _bound_at(x, smallest(x.encoding.exponent)) * number * factor.bound, "average")
    return multiply_plain(total(x, axis, keepdims), factor)


def segment_total(x: EncryptedArray, segments: NDArray[np.intp], number: int) -> EncryptedArray:
    """out[s] = sum of x[i] where segments[i] == s: the histograms of gradient boosting, at most one M an element.

    An empty segment gives an encryption of zero.
    """
    exponent = smallest(x.encoding.exponent)
    bound = _bound_at(x, exponent) * x.size
    check_bound(x.public_key, bound, "sum segments")
    x = rescale(x, exponent)
    residues = x.residues.backend.segment_product(x.residues, segments, number)
    count("add", x.size)
    return x.derived(residues, x.encoding.with_exponent(exponent), bound)


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
