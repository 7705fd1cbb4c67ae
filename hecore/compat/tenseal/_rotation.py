"""Sums along the slots and along batch axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hecore.ckks import evaluator, rotation
from hecore.ckks.ciphertext import Ciphertext, concatenate
from hecore.compat.tenseal._evaluation import two_components, with_keys

if TYPE_CHECKING:
    from hecore.compat.tenseal._state import TenSEALContext


def rotatable(context: TenSEALContext, a: Ciphertext) -> Ciphertext:
    """Relinearized, and with the context's Galois keys. Raises ContextError where there are none."""
    context.galois_keys  # noqa: B018 - raises in the peer's words
    return with_keys(context, two_components(context, a))


def rotate(context: TenSEALContext, a: Ciphertext, step: int) -> Ciphertext:
    """Slot j of the result is slot j + step of `a`, cyclically."""
    return rotation.rotate(rotatable(context, a), step)


def window_sum(context: TenSEALContext, a: Ciphertext, size: int, extent: int) -> tuple[Ciphertext, int]:
    """The sum of slots 0 … size-1 in slot 0, and how many slots then hold it.

    The slots below `extent` repeat with the period `size`, so that a sum over any `size` neighbours among them is the
    same number.
    """
    if size == 1:
        return a, extent
    a = rotatable(context, a)
    if extent == a.parameters.slots and size & (size - 1) == 0:
        return rotation.inner_sum(a, size, periodic=True), extent
    doubled, total, width = a, None, 1
    while True:
        if size & width:  # total: of size mod width slots, moved behind the `width` that are added now
            total = doubled if total is None else rotation.sum_of_rotations({0: doubled, width: total})
        if 2 * width > size:
            assert total is not None
            return total, extent - size + 1
        doubled = rotation.sum_of_rotations({0: doubled, width: doubled})
        width *= 2


def spread(context: TenSEALContext, a: Ciphertext, extent: int) -> Ciphertext:
    """Slot 0, all others being zero, to the first `extent` slots, a power of two."""
    a = rotatable(context, a)
    if extent == a.parameters.slots:
        return rotation.inner_sum(a, extent)
    width = 1
    while width < extent:
        a = rotation.sum_of_rotations({0: a, -width: a})
        width *= 2
    return a


def fold(context: TenSEALContext, a: Ciphertext, step: int, count: int) -> Ciphertext:
    """sum_(i < count) of `a` rotated by i*step; count is a power of two."""
    if count == 1:
        return a
    a = rotatable(context, a)
    while count > 1:
        a = rotation.sum_of_rotations({0: a, step: a})
        step, count = 2 * step, count // 2
    return a


def sum_first_axis(a: Ciphertext) -> Ciphertext:
    """Ciphertexts (n, *S) to their sum (*S)."""
    shape = a.shape[1:]
    indices = a.flat_indices()
    while len(indices) > 1:
        half = len(indices) // 2
        folded = evaluator.add(a.take(indices[:half]), a.take(indices[half : 2 * half]))
        rest = indices[2 * half :]
        a = joined([folded, a.take(rest)]) if rest.size else folded
        indices = np.arange(a.size, dtype=np.intp).reshape(-1, *shape)
    return a.reshape(*shape)


def joined(parts: list[Ciphertext]) -> Ciphertext:
    """One flat batch."""
    return concatenate([part.reshape(part.size) for part in parts])
