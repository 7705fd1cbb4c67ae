"""What only moves the ciphertexts of encrypted tensors: taking parts, stacking, joining. Nothing is computed.

Every value has a place, chunk * slots + slot. NumPy does to an array of places what is asked for, and the result is
possible where it consists of whole chunks: a cut within one would take a rotation and a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import ciphertext as ciphertexts
from hecore.ckks.layout import Layout
from hecore.ckks.tensor_sums import matched
from hecore.errors import OperandTypeError, ShapeError

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.tensor import EncryptedTensor

__all__ = ["concatenate", "stack"]

Places = NDArray[np.intp]


def take(x: EncryptedTensor, key: Any) -> EncryptedTensor:
    """See `EncryptedTensor.__getitem__`."""
    return _arranged([x], lambda places: places[0][key], "take a part")


def stack(tensors: Sequence[EncryptedTensor], axis: int = 0) -> EncryptedTensor:
    """Tensors of one shape along a new batch axis."""
    return _arranged(tensors, lambda places: np.stack(places, axis=axis), "stack")


def concatenate(tensors: Sequence[EncryptedTensor], axis: int = 0) -> EncryptedTensor:
    """Tensors along a batch axis, or along the first packed axis where all but the last fill whole chunks."""
    return _arranged(tensors, lambda places: np.concatenate(places, axis=axis), "concatenate")


@dataclass(frozen=True)
class _Chunks:
    """Ciphertexts (M,), and how many values each of them holds: (M,)."""

    ciphertext: Ciphertext
    counts: Places


def _arranged(tensors: Sequence[EncryptedTensor], rule: Callable[[list[Places]], Any], verb: str) -> EncryptedTensor:
    from hecore.ckks.tensor import EncryptedTensor

    if not tensors:
        raise ShapeError(f"cannot {verb} of no tensors")
    for t in tensors:
        if not isinstance(t, EncryptedTensor):
            raise OperandTypeError(f"cannot {verb} of a {type(t).__name__}: encrypt it first")
    first = tensors[0]
    shapes = [t.shape for t in tensors]
    offsets = np.cumsum([0] + [t.ciphertext.size for t in tensors]) * first.layout.slots
    try:
        places = np.asarray(rule([_places(t) + offset for t, offset in zip(tensors, offsets, strict=False)]))
    except (IndexError, TypeError, ValueError) as error:
        raise ShapeError(f"cannot {verb} of {shapes}: {error}") from None
    if places.size == 0:
        raise ShapeError(f"cannot {verb} of {shapes}: the result would be empty")
    if any(t.layout.period != first.layout.period for t in tensors):
        raise ShapeError(f"cannot {verb} of {shapes}: their packed values repeat after different numbers of slots")
    flat = matched([t.ciphertext.reshape(t.ciphertext.size) for t in tensors], verb)
    chunks = _Chunks(
        flat[0] if len(flat) == 1 else ciphertexts.concatenate(flat), np.concatenate([_counts(t) for t in tensors])
    )
    paddings = {t.padding for t in tensors if not t.layout.is_full} or {0.0}
    like = replace(
        first,
        padding=paddings.pop() if len(paddings) == 1 else None,
        dtype=np.result_type(*(t.dtype for t in tensors)),
    )
    for axes in range(min(len(first.layout.shape), places.ndim), -1, -1):
        found = _laid_out(like, chunks, places, places.ndim - axes)
        if found is not None:
            return found
    raise ShapeError(
        f"cannot {verb} of {shapes} as shape {places.shape}: that cuts or joins within chunks of {first.layout.slots} "
        "slots. Parts that were encrypted on their own can be taken and stacked as they are"
    )


def _places(x: EncryptedTensor) -> Places:
    """chunk * slots + slot of every value, in the shape of `x`."""
    first = np.arange(x.ciphertext.size, step=x.layout.chunks, dtype=np.intp) * x.layout.slots
    return (first[:, None] + np.arange(x.layout.size, dtype=np.intp)).reshape(x.shape)


def _counts(x: EncryptedTensor) -> Places:
    layout = x.layout
    ends = np.minimum(np.arange(1, layout.chunks + 1, dtype=np.intp) * layout.slots, layout.size)
    return np.tile(np.diff(ends, prepend=0), x.ciphertext.size // layout.chunks)


def _laid_out(like: EncryptedTensor, chunks: _Chunks, places: Places, batch: int) -> EncryptedTensor | None:
    """Values at these places with so many batch axes, or None where they are not whole chunks in order."""
    layout = Layout(places.shape[batch:], like.layout.slots)
    if layout.period != like.layout.period:
        return None
    rows = places.reshape(-1, layout.size)
    starts = rows[:, :: layout.slots]
    expected = np.repeat(starts, layout.slots, axis=1)[:, : layout.size] + np.arange(layout.size) % layout.slots
    sources = starts // layout.slots
    counts = np.diff(np.minimum(np.arange(layout.chunks + 1) * layout.slots, layout.size))
    whole = not (starts % layout.slots).any() and (chunks.counts[sources] == counts).all()
    if not whole or not np.array_equal(rows, expected):
        return None
    indices = np.ascontiguousarray(sources.reshape(*places.shape[:batch], layout.chunks))
    return replace(like, ciphertext=chunks.ciphertext.take(indices), layout=layout)
