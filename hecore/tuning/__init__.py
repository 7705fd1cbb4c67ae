"""The tuner: which of the kernels' shapes are the fastest on a device, measured there and kept for later processes.

`hecore tune` runs it. What it writes, `backends.tuned` reads when a backend starts.
"""

from __future__ import annotations

from hecore.tuning.shapes import Trial, Tuning, tune_shapes
from hecore.tuning.store import save

__all__ = ["Trial", "Tuning", "save", "tune_shapes"]
