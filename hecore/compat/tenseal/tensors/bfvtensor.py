"""`BFVTensor` under the peer's module name."""

from hecore.compat.tenseal._bfv import BFVTensor

__all__ = ["BFVTensor"]
