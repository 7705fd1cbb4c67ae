"""A vector times a plain matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hecore.errors import ShapeError

if TYPE_CHECKING:
    from hecore.compat.tenseal._operands import Floats
    from hecore.compat.tenseal._vector import VectorData


def matmul(a: VectorData, matrix: Floats) -> VectorData:
    """a @ matrix."""
    if len(a.sizes) != 1:
        raise ShapeError("can't execute matmul_plain on chunked vectors")
    if matrix.shape[0] != a.size:
        raise ShapeError(f"matrix shape doesn't match with vector size: {matrix.shape} and {a.size}")
    raise ShapeError("later")
