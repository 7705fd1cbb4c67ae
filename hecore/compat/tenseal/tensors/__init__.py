"""The tensors under the peer's module name."""

from hecore.compat.tenseal._bfv import BFVTensor, BFVVector
from hecore.compat.tenseal._ckkstensor import CKKSTensor
from hecore.compat.tenseal._ckksvector import CKKSVector
from hecore.compat.tenseal._plain import PlainTensor

__all__ = ["BFVTensor", "BFVVector", "CKKSTensor", "CKKSVector", "PlainTensor"]
