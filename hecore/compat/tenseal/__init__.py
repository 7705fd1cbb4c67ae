"""The API of TenSEAL 0.3.18 for CKKS on hecore: `from hecore.compat import tenseal as ts`, the rest stays as it is.

Written from the peer's documented API and observed behaviour. docs/compat-tenseal.md says what is covered and what
differs; new code is better off with `hecore.ckks`.
"""

from __future__ import annotations

from typing import Any

from hecore.compat.tenseal import enc_context, tensors, version
from hecore.compat.tenseal._bfv import BFVTensor, BFVVector
from hecore.compat.tenseal._ckkstensor import CKKSTensor
from hecore.compat.tenseal._ckksvector import CKKSVector, enc_matmul_encoding, im2col_encoding
from hecore.compat.tenseal._context import Context
from hecore.compat.tenseal._errors import (
    BroadcastError,
    ContextError,
    ForeignBytesError,
    IndexRangeError,
    InsecureWarning,
    ModuliError,
    NoPublicKeyError,
    SchemeNotSupportedError,
)
from hecore.compat.tenseal._plain import PlainTensor
from hecore.compat.tenseal._state import ENCRYPTION_TYPE, SCHEME_TYPE
from hecore.compat.tenseal.version import __version__

__all__ = [
    "ENCRYPTION_TYPE",
    "SCHEME_TYPE",
    "BFVTensor",
    "BFVVector",
    "BroadcastError",
    "CKKSTensor",
    "CKKSVector",
    "Context",
    "ContextError",
    "ForeignBytesError",
    "IndexRangeError",
    "InsecureWarning",
    "ModuliError",
    "NoPublicKeyError",
    "PlainTensor",
    "SchemeNotSupportedError",
    "__version__",
    "bfv_tensor",
    "bfv_tensor_from",
    "bfv_vector",
    "bfv_vector_from",
    "ckks_tensor",
    "ckks_tensor_from",
    "ckks_vector",
    "ckks_vector_from",
    "context",
    "context_from",
    "enc_context",
    "enc_matmul_encoding",
    "im2col_encoding",
    "lazy_bfv_tensor_from",
    "lazy_bfv_vector_from",
    "lazy_ckks_tensor_from",
    "lazy_ckks_vector_from",
    "plain_tensor",
    "plain_tensor_from",
    "tensors",
    "version",
]


def context(*args: Any, **kwargs: Any) -> Context:
    """`Context(…)`."""
    return Context(*args, **kwargs)


def context_from(data: bytes, n_threads: int | None = None) -> Context:
    """`Context.load(…)`."""
    return Context.load(data, n_threads)


def plain_tensor(*args: Any, **kwargs: Any) -> PlainTensor:
    """`PlainTensor(…)`."""
    return PlainTensor(*args, **kwargs)


def plain_tensor_from(data: bytes, dtype: str = "float") -> PlainTensor:
    """`PlainTensor.load(…)`."""
    return PlainTensor.load(data, dtype)


def ckks_vector(*args: Any, **kwargs: Any) -> CKKSVector:
    """`CKKSVector(…)`."""
    return CKKSVector(*args, **kwargs)


def ckks_vector_from(context: Context, data: bytes) -> CKKSVector:
    """`CKKSVector.load(…)`."""
    return CKKSVector.load(context, data)


def lazy_ckks_vector_from(data: bytes) -> CKKSVector:
    """`CKKSVector.lazy_load(…)`."""
    return CKKSVector.lazy_load(data)


def ckks_tensor(*args: Any, **kwargs: Any) -> CKKSTensor:
    """`CKKSTensor(…)`."""
    return CKKSTensor(*args, **kwargs)


def ckks_tensor_from(context: Context, data: bytes) -> CKKSTensor:
    """`CKKSTensor.load(…)`."""
    return CKKSTensor.load(context, data)


def lazy_ckks_tensor_from(data: bytes) -> CKKSTensor:
    """`CKKSTensor.lazy_load(…)`."""
    return CKKSTensor.lazy_load(data)


def bfv_vector(*args: Any, **kwargs: Any) -> BFVVector:
    """Raises SchemeNotSupportedError."""
    return BFVVector(*args, **kwargs)


def bfv_vector_from(context: Context, data: bytes) -> BFVVector:
    """Raises SchemeNotSupportedError."""
    return BFVVector.load(context, data)


def lazy_bfv_vector_from(data: bytes) -> BFVVector:
    """Raises SchemeNotSupportedError."""
    return BFVVector.lazy_load(data)


def bfv_tensor(*args: Any, **kwargs: Any) -> BFVTensor:
    """Raises SchemeNotSupportedError."""
    return BFVTensor(*args, **kwargs)


def bfv_tensor_from(context: Context, data: bytes) -> BFVTensor:
    """Raises SchemeNotSupportedError."""
    return BFVTensor.load(context, data)


def lazy_bfv_tensor_from(data: bytes) -> BFVTensor:
    """Raises SchemeNotSupportedError."""
    return BFVTensor.lazy_load(data)
