"""`BFVVector` under the peer's module name."""

from hecore.compat.tenseal._bfv import BFVVector

__all__ = ["BFVVector"]
