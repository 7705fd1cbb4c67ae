"""Contexts and keys under the peer's module name; the classes live in private modules, so that they exist once."""

from hecore.compat.tenseal._context import (
    Context,
    Decryptor,
    Encryptor,
    GaloisKeys,
    PublicKey,
    RelinKeys,
    SEALContext,
    SEALPrimitive,
    SecretKey,
)
from hecore.compat.tenseal._state import ENCRYPTION_TYPE, SCHEME_TYPE

__all__ = [
    "ENCRYPTION_TYPE",
    "SCHEME_TYPE",
    "Context",
    "Decryptor",
    "Encryptor",
    "GaloisKeys",
    "PublicKey",
    "RelinKeys",
    "SEALContext",
    "SEALPrimitive",
    "SecretKey",
]
