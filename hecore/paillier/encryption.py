"""Encrypting and decrypting whole arrays, in chunks of bounded memory.

c = (1 + m*n) * obfuscator mod n^2 (Paillier 1999, section 4, with g = 1 + n; obfuscators after Damgård, Jurik and
Nielsen 2010, section 4). Where the obfuscators come from (public key, own key, pool) is the caller's business: a
`Cover` draws them for some messages to come, and then encrypts these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hecore.backends import registry
from hecore.backends.protocol import saturating_batch
from hecore.counting import count
from hecore.errors import KeyMismatchError, OperandTypeError, PlaintextOverflowError
from hecore.paillier import messages
from hecore.paillier.ciphertext import EncryptedArray
from hecore.paillier.encoding import EncodingChoice, check_bound, decode, encode, plaintext_limit, root_of
from hecore.paillier.obfuscation import own_halves
from hecore.paillier.packing import PackedArray, unpack

if TYPE_CHECKING:
    from hecore.backends.protocol import IntegerBackend, ResidueArray
    from hecore.paillier.keys import PublicKey, SecretKey

_CHUNK = 16384  # 8 MiB of ciphertexts under a 2048-bit key

Obfuscators = Callable[[int, "IntegerBackend"], "ResidueArray"]
Cover = Callable[[int, "IntegerBackend"], Callable[[messages.Limbs], "ResidueArray"]]
Progress = Callable[[int], None]


def covered_by(obfuscators: Obfuscators, public_key: PublicKey) -> Cover:
    """Messages times obfuscators modulo n^2."""

    def cover(count: int, backend: IntegerBackend) -> Callable[[messages.Limbs], ResidueArray]:
        masks = obfuscators(count, backend)
        return lambda plaintexts: backend.encode(plaintexts, public_key.n_squared, times=masks)

    return cover


def covered_by_owner(secret_key: SecretKey) -> Cover:
    """The same by way of p^2 and q^2, where a message costs half of what it does modulo n^2."""

    def cover(count: int, backend: IntegerBackend) -> Callable[[messages.Limbs], ResidueArray]:
        halves = own_halves(secret_key, count, backend)
        return lambda plaintexts: backend.lift(*halves, secret_key.crt, plaintexts)

    return cover


def encrypt(
    public_key: PublicKey,
    values: object,
    cover: Cover,
    *,
    encoding: EncodingChoice | None = None,
    progress: Progress | None = None,
) -> EncryptedArray:
    """Encrypt numbers of any NumPy kind and shape on the current backend.

    `cover(count, backend)` draws that many fresh obfuscators and returns the function that encrypts as many messages.
    `progress` is called after each chunk with the number of values encrypted so far. The peak memory is the
    ciphertexts, the encoded values and one chunk of work.

    Raises OperandTypeError, ShapeError and PlaintextRangeError as `encode` does and HeadroomError where the declared
    range exceeds the plaintext space, all before the first obfuscator is drawn.
    """
    if isinstance(values, EncryptedArray):
        raise OperandTypeError("cannot encrypt an EncryptedArray: it is encrypted already")
    encoded = encode(values, encoding)
    check_bound(public_key, encoded.bound, "encrypt")
    backend = registry.current()
    step = chunk_size(backend)
    n = root_of(public_key.n_squared)
    size = encoded.negative.size
    magnitudes = encoded.magnitudes.reshape(size, -1)
    negative = encoded.negative.reshape(size)

    def chunks() -> Iterator[ResidueArray]:
        for start in range(0, size, step):
            part = slice(start, min(start + step, size))
            encrypted = cover(part.stop - start, backend)  # first: a device draws while the host encodes
            yield encrypted(messages.to_messages(magnitudes[part], negative[part], n.value, n.limbs))
            if progress is not None:
                progress(part.stop)

    residues = backend.collect(chunks(), size)
    count("encrypt", size)
    return EncryptedArray(
        public_key, backend.reshape(residues, encoded.shape), encoded.encoding, encoded.bound, randomised=True
    )


def decrypt(secret_key: SecretKey, array: EncryptedArray | PackedArray, *, exact: bool = False) -> NDArray[Any]:
    """Decrypt on the array's backend: an ndarray of the array's shape.

    Integers come as int64 (as Python integers in an object array where one does not fit, or if `exact`), fixed-point
    numbers as float64, correctly rounded, or as Fractions if `exact`.

    An array whose public bound leaves 128 bits of redundancy in a factor of n (up to 894 bits under a 2048-bit key) is
    decrypted modulo that factor alone, in half the time: `CrtModulus.one_factor_decides`.

    Raises KeyMismatchError for another key's array and PlaintextOverflowError where a plaintext lies outside the
    array's bound or in the guard band around n/2. Whoever learns that this error occurred learns something about the
    plaintext: see the threat model.
    """
    if not isinstance(array, EncryptedArray | PackedArray):
        raise OperandTypeError(f"cannot decrypt {type(array).__name__}: an EncryptedArray or PackedArray is needed")
    if array.public_key != secret_key.public_key:
        raise KeyMismatchError(
            f"cannot decrypt an array of {array.public_key!r} with the secret key of {secret_key.public_key!r}"
        )
    if isinstance(array, PackedArray):
        magnitudes, negative = unpack(*decrypt_integers(secret_key, array.array), array)
        if not messages.fits(magnitudes, array.slot_bound).all():
            raise PlaintextOverflowError("cannot decrypt: a slot lies outside the packed array's bound")
    else:
        magnitudes, negative = decrypt_integers(secret_key, array)
    return decode(magnitudes, negative, array.encoding, exact=exact)


def decrypt_integers(secret_key: SecretKey, array: EncryptedArray) -> tuple[messages.Limbs, messages.Flags]:
    """The encoded integers, signed: (magnitudes (*S, L), negative S)."""
    backend = array.residues.backend
    n = secret_key.public_key.n
    flat = backend.reshape(array.residues, (array.size,))
    bound = min(array.bound, plaintext_limit(n))  # beyond the limit lies the guard band
    crt = secret_key.crt
    one_factor = crt.one_factor_decides(bound)
    parts, step = [], chunk_size(backend)
    for start in range(0, array.size, step):
        indices = np.arange(start, min(start + step, array.size), dtype=np.intp)
        chunk = flat if len(indices) == array.size else backend.take(flat, indices)
        if one_factor:
            signed = messages.from_shifted(backend.decrypt_bounded(chunk, crt, bound), bound)
        else:
            signed = messages.from_messages(backend.decrypt(chunk, crt), n, bound)
        magnitudes, negative, in_range = signed
        if not in_range.all():
            raise PlaintextOverflowError(
                "cannot decrypt: a plaintext lies outside the array's bound or in the guard band around n/2, so an "
                "operation outside hecore's tracking overflowed or the ciphertext was altered"
            )
        parts.append((magnitudes, negative))
    count("decrypt", array.size)
    shape = array.shape
    all_magnitudes = np.concatenate([m for m, _ in parts]).reshape(*shape, -1)
    return all_magnitudes, np.concatenate([s for _, s in parts]).reshape(shape)


def chunk_size(backend: IntegerBackend) -> int:
    """Values that one call of the backend gets: enough for a CPU's caches and threads, or twice what fills a card."""
    return max(_CHUNK, 2 * saturating_batch(backend))
