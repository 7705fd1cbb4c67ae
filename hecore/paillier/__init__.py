"""Paillier encryption on arrays: keys, encrypted arrays, encodings.

public_key, secret_key = generate_keypair()
encrypted = public_key.encrypt(values)
secret_key.decrypt(weights @ encrypted + bias)
"""

from hecore.paillier.ciphertext import EncryptedArray, concatenate, operation_counter, stack
from hecore.paillier.encoding import Encoding, FixedPoint, Floats, FloatsPerElement, Integers, Plain, plain, public
from hecore.paillier.keys import PublicKey, SecretKey, generate_insecure_keypair, generate_keypair
from hecore.paillier.packing import PackedArray, Packing
from hecore.paillier.pool import ObfuscatorPool
from hecore.paillier.validation import ValidationReport

__all__ = [
    "Encoding",
    "EncryptedArray",
    "FixedPoint",
    "Floats",
    "FloatsPerElement",
    "Integers",
    "ObfuscatorPool",
    "PackedArray",
    "Packing",
    "Plain",
    "PublicKey",
    "SecretKey",
    "ValidationReport",
    "concatenate",
    "generate_insecure_keypair",
    "generate_keypair",
    "operation_counter",
    "plain",
    "public",
    "stack",
]
