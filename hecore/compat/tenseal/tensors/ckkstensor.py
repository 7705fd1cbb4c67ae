"""`CKKSTensor` under the peer's module name."""

from hecore.compat.tenseal._ckkstensor import CKKSTensor

__all__ = ["CKKSTensor"]
