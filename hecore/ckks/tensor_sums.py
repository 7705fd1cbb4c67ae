"""Sums of encrypted tensors, along axes and over tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.ckks import ciphertext as ciphertexts
from hecore.ckks import evaluator, rotation
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.operands import Constant, as_plain
from hecore.ckks.scale import Scale
from hecore.errors import OperandTypeError, ShapeError

if TYPE_CHECKING:
    from hecore.ckks.tensor import EncryptedTensor

__all__ = ["weighted_sum"]


# -- sums along axes ---------------------------------------------------------------------------------------


def total(x: EncryptedTensor, axis: Any, keepdims: bool) -> EncryptedTensor:
    """See `EncryptedTensor.sum`."""
    axes = _axes(axis, x.ndim)
    batch_axes = tuple(a for a in axes if a < len(x.batch))
    packed = len([a for a in axes if a >= len(x.batch)])
    if axes[len(batch_axes) :] != tuple(range(len(x.batch), len(x.batch) + packed)):
        raise ShapeError(
            f"cannot sum shape {x.shape} along {axes}: of the packed axes {x.layout.shape} only the first ones can go; "
            "transpose before encryption"
        )
    out = _sum_batch(x, batch_axes)
    if packed:
        out = _sum_packed(out, packed)
    if not keepdims:
        return out
    kept = tuple(1 if a in axes else size for a, size in enumerate(x.shape))
    chunks = out.layout.chunks
    ciphertext = out.ciphertext.reshape(*kept[: len(x.batch)], chunks)
    return replace(out, ciphertext=ciphertext, layout=replace(out.layout, shape=kept[len(x.batch) :]))


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    try:
        return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"cannot sum along {axis!r} of {ndim} axes: {error}") from None


def _sum_batch(x: EncryptedTensor, axes: tuple[int, ...]) -> EncryptedTensor:
    if not axes:
        return x
    indices = np.moveaxis(x.ciphertext.flat_indices(), axes, range(len(axes)))
    number = math.prod(indices.shape[: len(axes)])
    indices = indices.reshape(number, *indices.shape[len(axes) :])
    padding = None if x.padding is None else x.padding * number
    return x.derived(_add_up([x.ciphertext.take(i) for i in indices]), padding)


def _add_up(terms: list[Ciphertext]) -> Ciphertext:
    out = terms[0]
    for term in terms[1:]:
        out = evaluator.add(out, term)
    return out


def _sum_packed(x: EncryptedTensor, axes: int) -> EncryptedTensor:
    """The first `axes` packed axes go; what is left must repeat within a chunk, or fill whole chunks."""
    layout = x.layout
    left = layout.shape[axes:]
    inner, slots = math.prod(left), layout.slots
    if inner & (inner - 1) and inner % slots and inner != layout.size:
        raise ShapeError(
            f"cannot sum the first {axes} axes of {layout.shape}: the {inner} values that are left must be a power of "
            "two; encrypt them padded"
        )
    if x.padding is None:
        x = x.without_padding()
    ciphertext, period = x.ciphertext, min(layout.period, inner)
    if inner == layout.size:  # all axes that go have length 1
        return replace(x, layout=replace(layout, shape=left))
    kept = max(1, inner // slots)
    indices = ciphertext.flat_indices()
    ciphertext = _add_up([ciphertext.take(indices[..., i : i + kept]) for i in range(0, layout.chunks, kept)])
    if period < layout.period:
        ciphertext = rotation.inner_sum(ciphertext, layout.period // period, period, periodic=True)
    empty = layout.chunks * layout.period // inner - layout.size // inner
    if empty and x.padding:
        return replace(x, ciphertext=ciphertext, layout=replace(layout, shape=left), padding=0.0) - empty * x.padding
    return replace(x, ciphertext=ciphertext, layout=replace(layout, shape=left), padding=0.0)


# -- over tensors ------------------------------------------------------------------------------------------


def weighted_sum(tensors: Sequence[EncryptedTensor], weights: Sequence[Any]) -> EncryptedTensor:
    """sum_i weights[i] * tensors[i], the aggregate of federated learning: one constant each, and one rescale in all.

    Tensors of one shape and key, real weights. Integers only (row counts, say) cost no level, others one. Raises
    ShapeError, OperandTypeError, LevelError, and ScaleError where scales cannot be aligned.
    """
    constants = [as_plain(w) for w in weights]
    if not tensors or len(tensors) != len(constants):
        raise ShapeError(f"cannot weigh {len(tensors)} tensors by {len(constants)} numbers: as many, and at least one")
    for constant in constants:
        if not isinstance(constant, Constant):
            raise OperandTypeError("cannot weigh a tensor by an array: one real number for each tensor")
    values = [constant.value for constant in constants if isinstance(constant, Constant)]
    aligned = _aligned(tensors, "sum")
    exact = all(isinstance(v, int) for v in values)
    scale = Scale.of(1 if exact else evaluator.last_modulus(aligned[0], "weigh"))
    out: Ciphertext | None = None
    for ciphertext, value in zip(aligned, values, strict=True):
        term = evaluator.multiply(ciphertext, value, scale=scale)
        out = term if out is None else evaluator.add(out, term)
    assert out is not None
    paddings = [t.padding for t in tensors]
    padding = (
        None
        if None in paddings
        else sum(p * complex(v) for p, v in zip(paddings, values, strict=True) if p is not None)
    )
    return replace(_result(tensors), ciphertext=out if exact else evaluator.rescale(out), padding=padding)


def _aligned(tensors: Sequence[EncryptedTensor], verb: str) -> list[Ciphertext]:
    """The ciphertexts of tensors of one shape, at one level and scale."""
    from hecore.ckks.tensor import EncryptedTensor

    if not tensors:
        raise ShapeError(f"cannot {verb} no tensors")
    for t in tensors:
        if not isinstance(t, EncryptedTensor):
            raise OperandTypeError(f"cannot {verb} a {type(t).__name__}: encrypt it first")
        if t.batch != tensors[0].batch or t.layout != tensors[0].layout:
            raise ShapeError(f"cannot {verb} tensors of shapes {tensors[0].shape} and {t.shape}: one shape is needed")
    return matched([t.ciphertext for t in tensors], verb)


def matched(found: list[Ciphertext], verb: str) -> list[Ciphertext]:
    """All at one level and scale: those of the last one, of the lowest level among them where `match` can go there."""
    lowest = min(found, key=lambda c: (c.level, -c.scale.log2))
    for other in found:
        ciphertexts.check_compatible(lowest, other, verb)
        lowest = evaluator.match(other, lowest)[1]
    return [evaluator.match(other, lowest)[0] for other in found]


def _result(tensors: Sequence[EncryptedTensor]) -> EncryptedTensor:
    return replace(tensors[0], dtype=np.result_type(*(t.dtype for t in tensors)))
