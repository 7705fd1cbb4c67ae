"""Homomorphic encryption at the speed of the hardware.

`import hecore` loads nothing heavy; a scheme and its kernels come in on first use:

    from hecore import paillier                                    # exact integers and floats; adds

    public_key, secret_key = paillier.generate_keypair()
    secret_key.decrypt(weights @ public_key.encrypt(values) + bias)

    from hecore import ckks                                        # approximate numbers; adds and multiplies

    keys = ckks.generate_keys(ckks.Parameters(ring_degree=8192, moduli_bits=[60, 40, 40, 60], scale=2**40))
    x = keys.public_key.encrypt(values)
    keys.secret_key.decrypt(x * x + 0.5)

`devices()` lists the backends of this machine (the CPU, OpenCL devices, NVIDIA cards) and `use(name)` chooses where new
arrays are made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hecore import errors

if TYPE_CHECKING:
    from hecore import ckks, keystore, paillier
    from hecore.backends.registry import devices, use

__version__ = "0.1.0"

__all__ = ["__version__", "ckks", "devices", "errors", "keystore", "paillier", "use"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would take any misspelt attribute for granted

    def __getattr__(name: str) -> object:
        """Import what is asked for, on first use (PEP 562)."""
        if name in ("ckks", "keystore", "paillier"):
            return importlib.import_module(f"hecore.{name}")
        if name in ("devices", "use"):
            return getattr(importlib.import_module("hecore.backends.registry"), name)
        raise AttributeError(f"module 'hecore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
