"""Transforms and key switching on a device."""

from __future__ import annotations

from hecore.backends.kernel_base import KernelBase


class KernelSwitch(KernelBase):
    """Number-theoretic transforms, division by moduli, decomposition and the key-switching sums."""
