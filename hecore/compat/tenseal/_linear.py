"""A vector times a plain matrix, by generalized diagonals (`hecore.ckks.linear`), as vectors lie in slots here.

y_k = sum_i x_i M[i, k] for x of n values and y of c. With rot_d(x)[t] = x[t + d], all of these are sums of
D_d * rot_d(x) for one diagonal D_d a step d:

- x repeats after n slots. D_d[t] = M[(t+d) mod n, t mod c] for d < n gives y, which repeats after c slots as far as x
  reaches. Where n is a power of two and x reaches to the last slot this is `hecore.ckks.linear`'s own form, which
  needs only r diagonals for c <= r < n, r a power of two, and sums what is left in n/r places.
- Nothing is known of x beyond its n values. For r a power of two, r >= c, and d < r let D_d[t] = M[t+d, t mod r] where
  0 <= t+d < n and t mod r < c, else 0, for t from -r on (slots are cyclic). Slot t then has the part of
  y_(t mod r) from i = t … t+r-1, and the blocks of r slots from the one before slot 0 to that of slot n-1 have disjoint
  parts. The rest is zero, so that the sum over all blocks of r slots is y. Where n > S - r, for S slots, the block
  before slot 0 is also the last one, but for no d do both put something into one slot: in slot S-r+u the one needs
  d >= r-u, so that i >= 0, and the other d < r-u-(S-n), so that i < n.

Diagonals are encoded so that the result has the scale of its level (`_chain`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hecore.ckks import rotation
from hecore.ckks.linear import LinearTransform, linear_transform
from hecore.compat.tenseal import _evaluation
from hecore.compat.tenseal._chain import scales
from hecore.compat.tenseal._rotation import rotatable
from hecore.errors import PlaintextRangeError, ShapeError

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.compat.tenseal._operands import Floats
    from hecore.compat.tenseal._vector import VectorData


def matmul(a: VectorData, matrix: Floats) -> VectorData:
    """a @ matrix, one level lower. Raises ShapeError, PlaintextRangeError, and as `_evaluation.multiply`."""
    if len(a.sizes) != 1:
        raise ShapeError("can't execute matmul_plain on chunked vectors")
    if matrix.shape[0] != a.size:
        raise ShapeError(f"matrix shape doesn't match with vector size: {matrix.shape} and {a.size}")
    slots = a.context.parameters.slots
    if not 1 <= matrix.shape[1] <= slots:
        raise ShapeError(f"can't multiply by a matrix of {matrix.shape[1]} columns: from 1 to {slots}")
    if not np.isfinite(matrix).all():
        raise PlaintextRangeError("values must be finite")
    ciphertext = rotatable(a.context, a.ciphertext)
    scale = _evaluation.plain_scale(a.context, ciphertext, a.top)
    _evaluation.check_product(a.context, ciphertext, scale)
    _evaluation.check_level(ciphertext)
    if not matrix.any():
        zeros = _evaluation.zeros_like_product(a.context, ciphertext, scale)
        return a.of_one_chunk(zeros, matrix.shape[1], slots)
    target = scales(a.context.parameters, a.top)[ciphertext.level - 1]
    ratio = float((target / ciphertext.scale).fraction())
    product, extent = _transformed(ciphertext, matrix * ratio, a.extent)
    return a.of_one_chunk(replace(product, scale=target), matrix.shape[1], extent)


def _transformed(x: Ciphertext, matrix: Floats, extent: int) -> tuple[Ciphertext, int]:
    """The product, at the scale of x, and how many slots repeat it."""
    slots = x.parameters.slots
    n, c = matrix.shape
    r = 1 << (c - 1).bit_length()
    if extent == slots and n & (n - 1) == 0:
        blocks = max(1, n // r)
        product = linear_transform(x, LinearTransform(_periodic(matrix, r, min(r, n))))
        return rotation.inner_sum(product, blocks, r, periodic=True), slots if c == r else c
    if n <= r and extent >= n + c - 1:
        return linear_transform(x, LinearTransform(_repeating(matrix, slots))), extent - n + 1
    product = linear_transform(x, LinearTransform(_bounded(matrix, r, slots)))
    return rotation.inner_sum(product, slots // r, r), slots if c == r else c


def _periodic(matrix: Floats, r: int, count: int) -> dict[int, Floats]:
    """For n a power of two and x that repeats in all slots: diagonals of max(n, r) values."""
    n, c = matrix.shape
    whole = np.zeros((n, r))
    whole[:, :c] = matrix
    t = np.arange(max(n, r))
    return {d: whole[(t + d) % n, t % r] for d in range(count)}


def _repeating(matrix: Floats, slots: int) -> dict[int, Floats]:
    """For x that repeats after n slots."""
    n, c = matrix.shape
    t = np.arange(slots)
    return {d: matrix[(t + d) % n, t % c] for d in range(n)}


def _bounded(matrix: Floats, r: int, slots: int) -> dict[int, Floats]:
    """For x of which slots 0 … n-1 alone are known. The block before slot 0 is the last one."""
    n, c = matrix.shape
    padded = np.zeros((n, r))
    padded[:, :c] = matrix
    t = np.arange(-r, n)
    diagonals = {}
    for d in range(r):
        inside = (t + d >= 0) & (t + d < n)
        diagonal = np.zeros(slots)
        diagonal[t[inside] % slots] = padded[t[inside] + d, t[inside] % r]
        diagonals[d] = diagonal
    return diagonals
