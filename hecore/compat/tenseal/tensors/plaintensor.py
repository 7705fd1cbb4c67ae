"""`PlainTensor` under the peer's module name."""

from hecore.compat.tenseal._plain import PlainTensor

__all__ = ["PlainTensor"]
