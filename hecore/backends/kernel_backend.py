"""Every OpenCL or CUDA device as a backend: written once over the six methods of `Device`."""

from __future__ import annotations

from hecore.backends.kernel_ring import KernelRing


class KernelBackend(KernelRing):
    """`Backend` over the device kernels."""

    simulated = False
