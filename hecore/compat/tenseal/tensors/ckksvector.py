"""`CKKSVector` under the peer's module name."""

from hecore.compat.tenseal._ckksvector import CKKSVector

__all__ = ["CKKSVector"]
