"""Transforms and key switching on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hecore.backends.kernel_base import KernelBase
from hecore.backends.kernel_tables import KernelTables

if TYPE_CHECKING:
    from hecore.backends.device import Device


class KernelSwitch(KernelBase):
    """Number-theoretic transforms, division by moduli, decomposition and the key-switching sums."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._tables = KernelTables(device)
