"""`AbstractTensor` under the peer's module name."""

from hecore.compat.tenseal._abstract import AbstractTensor

__all__ = ["AbstractTensor"]
