"""The ring half of every kernel backend: `RingBackend` over the device kernels."""

from __future__ import annotations

from hecore.backends.kernel_switch import KernelSwitch


class KernelRing(KernelSwitch):
    """Transport, pointwise operations and change of basis; transforms and key switching are in `KernelSwitch`."""
