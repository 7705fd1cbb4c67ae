"""Paillier encryption on arrays: keys, encrypted arrays, encodings.

public_key, secret_key = generate_keypair()
encrypted = public_key.encrypt(values)
secret_key.decrypt(weights @ encrypted + bias)
"""

from hecore.paillier.keys import PublicKey, SecretKey, generate_insecure_keypair, generate_keypair
from hecore.paillier.pool import ObfuscatorPool
from hecore.paillier.validation import ValidationReport

__all__ = [
    "ObfuscatorPool",
    "PublicKey",
    "SecretKey",
    "ValidationReport",
    "generate_insecure_keypair",
    "generate_keypair",
]
