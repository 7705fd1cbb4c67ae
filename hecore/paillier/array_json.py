"""Encrypted arrays as JSON, one ciphertext a line, each line what `pheutil` writes for one number.

{"v": "<ciphertext, decimal>", "e": <exponent>} stands for plaintext * 16**e. The form carries neither shape nor bound:
reading gives a vector, and a bound only where the reader declares one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.backends import registry
from hecore.errors import CiphertextError, ParameterError, SerializationError
from hecore.paillier import jwk, linear
from hecore.paillier.array_wire import MAX_EXPONENT
from hecore.paillier.ciphertext import EncryptedArray
from hecore.paillier.encoding import Encoding, check_bound, plaintext_limit
from hecore.paillier.validation import as_integer, check_ciphertexts

if TYPE_CHECKING:
    from hecore.paillier.keys import PublicKey

_BITS_PER_DIGIT = 4  # the peer counts exponents in base 16


def to_json(array: EncryptedArray, *, raw: bool = False) -> str:
    """The array's elements in C order; rerandomised first where they are not randomised, unless `raw`.

    An exponent that is no multiple of 4 is lowered to one. Raises HeadroomError where that does not fit.
    """
    exponent = array.encoding.exponent
    lowered = exponent // _BITS_PER_DIGIT * _BITS_PER_DIGIT
    array = linear.rescale(array, lowered)
    if not raw and not array.randomised:
        array = array.rerandomize()
    ciphertexts = ints_from_limbs(array.residues.backend.download(array.residues))
    digits = np.broadcast_to(np.asarray(lowered) // _BITS_PER_DIGIT, array.shape).ravel().tolist()
    return "".join(jwk.write_ciphertext(c, e) + "\n" for c, e in zip(ciphertexts, digits, strict=True))


def from_json(text: str, public_key: PublicKey, *, bits: int | None = None) -> EncryptedArray:
    """A vector of the ciphertexts in `text`, on the current backend; every one is checked.

    Where all exponents are 0 they are integers. `bits` declares the size of the plaintexts; without it they may fill
    the plaintext space, so that they can be decrypted and not added to. The text does not say whether it was written
    `raw`, so the array counts as not randomised. Raises SerializationError, CiphertextError,
    ParameterError and HeadroomError.
    """
    pairs = [jwk.read_ciphertext(line) for line in text.splitlines() if line.strip()]
    if not pairs:
        raise SerializationError("cannot read an array from JSON without a ciphertext")
    if bits is not None and as_integer("bits", bits) < 1:
        raise ParameterError(f"cannot declare plaintexts of {bits} bits: at least 1")
    bound = plaintext_limit(public_key.n) if bits is None else (1 << bits) - 1
    check_bound(public_key, bound, "read plaintexts of the declared size")
    exponents = [e * _BITS_PER_DIGIT for _, e in pairs]
    if max(abs(e) for e in exponents) > MAX_EXPONENT:
        raise SerializationError(f"cannot read exponents beyond ±{MAX_EXPONENT // _BITS_PER_DIGIT} in base 16")
    modulus = public_key.n_squared
    if not all(0 < c < modulus.value for c, _ in pairs):
        raise CiphertextError("cannot accept a ciphertext outside (0, n^2)")
    limbs = limbs_from_ints([c for c, _ in pairs], modulus.limbs)
    residues = check_ciphertexts(limbs, public_key, registry.current())
    if not any(exponents):
        encoding = Encoding("integer")
    elif len(set(exponents)) == 1:
        encoding = Encoding("fixed", exponents[0])
    else:
        encoding = Encoding("fixed").with_exponent(np.array(exponents, dtype=np.int64))
    return EncryptedArray(public_key, residues, encoding, bound, randomised=False)
