"""How an array lies in slots.

A packed array is flattened in C order and cut into chunks of `slots` values. One that fits a single chunk is padded
with zeros to the next power of two, its `period`, and repeated to fill all slots: cyclic rotation of the slots is then
cyclic rotation of the padded array, so that sums and matrix products need no masks, and their results repeat again.
Longer arrays have the period `slots`: every value once, zeros at the end of the last chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.errors import ShapeError


@dataclass(frozen=True)
class Layout:
    """The place of an array of `shape` in chunks of `slots` (a power of two). Raises ShapeError for an empty one."""

    shape: tuple[int, ...]
    slots: int

    def __post_init__(self) -> None:
        if self.size == 0:
            raise ShapeError(f"cannot pack an array of shape {self.shape}: it is empty")

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def chunks(self) -> int:
        """Number of ciphertexts that hold the array."""
        return -(-self.size // self.slots)

    @property
    def period(self) -> int:
        """Slots after which the content of a chunk repeats: a power of two from 1 to `slots`."""
        return min(self.slots, 1 << (self.size - 1).bit_length())

    @property
    def is_full(self) -> bool:
        """Whether every slot holds a value."""
        return self.size == self.chunks * self.period

    def pack(self, values: NDArray[Any]) -> NDArray[Any]:
        """(*batch, *shape) -> (*batch, chunks, slots), of the dtype of `values`."""
        batch = values.shape[: values.ndim - len(self.shape)]
        if values.shape != (*batch, *self.shape):
            raise ShapeError(f"cannot pack values of shape {values.shape} as {self.shape}")
        if self.is_full and self.period == self.slots:
            return values.reshape(*batch, self.chunks, self.slots)
        padded = np.zeros((*batch, self.chunks * self.period), dtype=values.dtype)
        padded[..., : self.size] = values.reshape(*batch, self.size)
        if self.chunks > 1:
            return padded.reshape(*batch, self.chunks, self.slots)
        return np.tile(padded, self.slots // self.period)[..., None, :]

    def unpack(self, values: NDArray[Any]) -> NDArray[Any]:
        """(*batch, chunks, slots) -> (*batch, *shape): the inverse of `pack`."""
        batch = values.shape[:-2]
        flat = values.reshape(*batch, self.chunks * self.slots)
        return flat[..., : self.size].reshape((*batch, *self.shape))
