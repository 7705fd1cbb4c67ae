"""CKKS: approximate arithmetic on encrypted arrays of real or complex numbers.

parameters = Parameters(ring_degree=8192, moduli_bits=[60, 40, 40, 60], scale=2**40)
keys = generate_keys(parameters)
x = keys.public_key.encrypt(values)
keys.secret_key.decrypt(x * x + 0.5)
"""

from hecore.ckks.approximation import Approximation, inverse, sigmoid, sign
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import Plaintext, decode, encode
from hecore.ckks.keys import (
    EvaluationKeys,
    GaloisKeys,
    Keys,
    PublicKey,
    RelinearizationKey,
    SecretKey,
    generate_keys,
)
from hecore.ckks.linear import LinearTransform, PlainMatrix
from hecore.ckks.params import Parameters
from hecore.ckks.polynomial import chebyshev
from hecore.ckks.scale import Scale
from hecore.ckks.security import SecurityTable
from hecore.ckks.tensor import EncryptedTensor
from hecore.ckks.tensor_shapes import concatenate, stack
from hecore.ckks.tensor_sums import weighted_sum

__all__ = [
    "Approximation",
    "Ciphertext",
    "EncryptedTensor",
    "EvaluationKeys",
    "GaloisKeys",
    "Keys",
    "LinearTransform",
    "Parameters",
    "PlainMatrix",
    "Plaintext",
    "PublicKey",
    "RelinearizationKey",
    "Scale",
    "SecretKey",
    "SecurityTable",
    "chebyshev",
    "concatenate",
    "decode",
    "encode",
    "generate_keys",
    "inverse",
    "sigmoid",
    "sign",
    "stack",
    "weighted_sum",
]
