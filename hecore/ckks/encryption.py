"""Encryption and decryption of batches.

Public key, under the special primes of product P (as in key switching, Gentry, Halevi, Smart, CRYPTO 2012): with u
ternary and e_0, e_1 errors, (b*u + e_0 + P*m, a*u + e_1) modulo Q*P is divided by P, rounding. Its error is that of the
rounding, an order of magnitude below that of encrypting modulo Q directly. With v = (b, a)*u, r the centred
representative of v + e modulo P and 1/P the inverse modulo each q_i,

    c = (v + e - r) / P + m = v/P + ((e - r)/P + m),

where the bracket is known by coefficients: the message, the error and the rounding share one transform. A key that is
stored divided by P makes v/P for nothing. Over k data and t special primes that is k + t transforms for u and, for each
of two components, t back and k forth: 3k + 3t in all, where the same steps one by one take 6k + 5t.

Symmetric: a is expanded from a seed and c_0 = (e + m) - a*s, with k transforms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hecore.backends import registry
from hecore.backends.protocol import saturating_batch
from hecore.backends.ring_protocol import secrecy
from hecore.ckks import noise
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import Message, Plaintext, decode
from hecore.ckks.evaluator import drop_to_level
from hecore.counting import count as count_operation
from hecore.errors import DeviceMemoryError, KeyMismatchError, ParameterError, ShapeError
from hecore.ring.prng import Seed, SeedKind, expand_uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend
    from hecore.ckks.encoding import Complex
    from hecore.ckks.keys import PublicKey, SecretKey
    from hecore.ckks.params import Parameters

__all__ = ["decrypt", "decrypt_values", "encrypt_public", "encrypt_symmetric", "shortest"]

_BLOCK = 1 << 15
"""Coefficients a step: beyond, what one operation leaves has left a CPU's cache when the next one wants it."""
_FILLING = 32
"""Coefficients a step for each residue of `saturating_batch`: a card wants several for each of its threads."""

T = TypeVar("T")


def encrypt_public(public_key: PublicKey, plaintext: Plaintext | Message) -> Ciphertext:
    """Fresh ciphertexts (*S, 2) of encoded polynomials of batch shape S, at their level and scale.

    On the plaintext's backend, a Message's on the current one. Raises ParameterError for other parameters.
    """
    parameters = _agree(public_key.parameters, plaintext)
    backend = _backend(plaintext)
    with secrecy(backend):
        parts = _in_blocks(
            backend, plaintext, lambda start, stop: _public_block(backend, public_key, plaintext.part(start, stop))
        )
    polynomials = _joined(backend, parts, plaintext.shape)
    return _fresh(plaintext, polynomials, public_key, noise.fresh_public(parameters), None)


def _public_block(backend: RingBackend, public_key: PublicKey, plaintext: Plaintext | Message) -> PolynomialArray:
    """(count, 2) of a flat batch."""
    (count,), degree, basis = plaintext.shape, plaintext.parameters.ring_degree, _basis(plaintext)
    key, special_key = public_key.operands(backend, plaintext.level)
    u = backend.random_ternary((count, 1), degree)
    errors = backend.random_errors((count, 2), degree)
    bracket = backend.ring_encode(errors, basis)
    if special_key is not None:
        special = special_key.basis
        product = backend.residue_mul(backend.ring_encode(u, special, ntt=True), special_key)
        masked = backend.residue_add(backend.intt(product), backend.ring_encode(errors, special))
        rounded = backend.base_convert(masked, basis, exact=True)
        inverse = [pow(special.product, -1, q) for q in basis.moduli]
        bracket = backend.residue_scale(backend.residue_sub(bracket, rounded), inverse)
    if isinstance(plaintext, Message):
        bracket = backend.residue_add(bracket, plaintext.beside_zero().polynomial(backend, ntt=False))
    polynomials = backend.residue_add(
        backend.residue_mul(backend.ring_encode(u, basis, ntt=True), key), backend.ntt(bracket)
    )
    if isinstance(plaintext, Plaintext):
        zero = backend.residue_sub(plaintext.polynomial, plaintext.polynomial)
        polynomials = backend.residue_add(polynomials, _pairs(backend, plaintext.polynomial, zero))
    return polynomials


def encrypt_symmetric(
    secret_key: SecretKey, plaintext: Plaintext | Message, *, seed_kind: SeedKind = SeedKind.AES_CTR
) -> Ciphertext:
    """Fresh seeded ciphertexts (*S, 2): component 1 of the i-th is polynomial i of one fresh public seed.

    SEAL's generators (`seed_kind`) make one polynomial a seed, hence one ciphertext a call. Raises ParameterError
    for more, and for other parameters.
    """
    parameters, count = _agree(secret_key.parameters, plaintext), math.prod(plaintext.shape)
    if seed_kind is not SeedKind.AES_CTR and count != 1:
        raise ParameterError(f"cannot encrypt {count} ciphertexts under one {seed_kind.name} seed: one a call")
    backend, seed = _backend(plaintext), Seed.fresh(seed_kind)
    with secrecy(backend):
        parts = _in_blocks(
            backend,
            plaintext,
            lambda start, stop: _symmetric_block(backend, secret_key, plaintext.part(start, stop), seed, start),
        )
    polynomials = _joined(backend, parts, plaintext.shape)
    return _fresh(plaintext, polynomials, secret_key, noise.fresh_symmetric(parameters), seed)


def _symmetric_block(
    backend: RingBackend,
    secret_key: SecretKey,
    plaintext: Plaintext | Message,
    seed: Seed,
    first: int,
) -> PolynomialArray:
    """(count, 2) of a flat batch, whose first polynomial of the seed is `first`."""
    (count,), basis = plaintext.shape, _basis(plaintext)
    a = backend.ring_upload(expand_uniform(seed, basis, count, first=first), basis, ntt=True)
    errors = backend.random_errors((count,), basis.ring_degree)
    if isinstance(plaintext, Message):
        masked = plaintext.polynomial(backend, plus=errors)
    else:
        masked = backend.residue_add(backend.ring_encode(errors, basis, ntt=True), plaintext.polynomial)
    c0 = backend.residue_sub(masked, backend.residue_mul(a, secret_key.powers(backend, plaintext.level, 1, 1)))
    return _pairs(backend, c0, a)


def decrypt(secret_key: SecretKey, ciphertext: Ciphertext) -> Plaintext:
    """c_0 + c_1*s (+ c_2*s^2): the plaintexts, of the ciphertext's batch shape, where the ciphertext lives.

    Raises KeyMismatchError, and ParameterError for other parameters.
    """
    if ciphertext.key_id != secret_key.key_id:
        raise KeyMismatchError(
            f"cannot decrypt: the ciphertext is under key {ciphertext.key_id.hex()[:8]}, this is "
            f"{secret_key.key_id.hex()[:8]}"
        )
    _agree(secret_key.parameters, ciphertext)
    count_operation("decrypt", ciphertext.size)
    backend = ciphertext.backend
    powers = secret_key.powers(backend, ciphertext.level, 0, ciphertext.components)
    with secrecy(backend):
        polynomial = backend.residue_mul_accumulate(ciphertext.polynomials, powers)
    return Plaintext(
        ciphertext.parameters, polynomial, ciphertext.level, ciphertext.scale, ciphertext.bound, ciphertext.noise
    )


def decrypt_values(secret_key: SecretKey, ciphertext: Ciphertext) -> Complex:
    """The slot values: complex128 (*S, slots)."""
    ciphertext = shortest(ciphertext)
    whole, indices = ciphertext.reshape(ciphertext.size), np.arange(ciphertext.size, dtype=np.intp)
    out = np.empty((ciphertext.size, ciphertext.parameters.slots), dtype=np.complex128)

    def fill(start: int, stop: int) -> None:
        out[start:stop] = decode(decrypt(secret_key, whole.take(indices[start:stop])))

    _in_blocks(ciphertext.backend, ciphertext, fill)
    return out.reshape(*ciphertext.shape, -1)


def shortest(ciphertext: Ciphertext) -> Ciphertext:
    """The same message under as few moduli as surely hold it: for one that is only to be decrypted, less work.

    A coefficient is at most as large as the largest slot (it is an average of slots, turned). Without a declared bound
    all moduli stay.
    """
    if ciphertext.bound is None or not math.isfinite(ciphertext.noise):
        return ciphertext
    largest = ciphertext.bound * float(ciphertext.scale) + ciphertext.noise
    levels = range(ciphertext.level)
    level = next((i for i in levels if 4 * largest < ciphertext.parameters.level_basis(i).product), ciphertext.level)
    return drop_to_level(ciphertext, level)


# -- shared ------------------------------------------------------------------------------------------------


def _agree(parameters: Parameters, other: Plaintext | Message | Ciphertext) -> Parameters:
    if other.parameters != parameters:
        raise ParameterError(f"cannot use {other.parameters!r} with a key of {parameters!r}")
    return parameters


def _backend(plaintext: Plaintext | Message) -> RingBackend:
    return registry.current() if isinstance(plaintext, Message) else plaintext.backend


def _basis(plaintext: Plaintext | Message) -> RnsBasis:
    return plaintext.parameters.level_basis(plaintext.level)


def _in_blocks(backend: RingBackend, batch: Plaintext | Message | Ciphertext, work: Callable[[int, int], T]) -> list[T]:
    """work(start, stop) over the flat batch, in parts that fit a cache or fill a card.

    A part for which a device has no memory is done again at half its size, with randomness of its own.
    """
    count, start, parts = math.prod(batch.shape), 0, []
    step = max(1, max(_BLOCK, _FILLING * saturating_batch(backend)) // batch.parameters.ring_degree)
    while start < count:
        stop = min(count, start + step)
        try:
            parts.append(work(start, stop))
            start = stop
        except DeviceMemoryError:
            if stop - start == 1:
                raise
            step = (stop - start) // 2
    return parts


def _joined(backend: RingBackend, parts: list[PolynomialArray], shape: tuple[int, ...]) -> PolynomialArray:
    """Blocks (count, 2) as one array (*shape, 2)."""
    if not parts:
        raise ShapeError(f"cannot encrypt a batch of shape {shape}: it is empty")
    joined = parts[0] if len(parts) == 1 else backend.ring_concatenate(parts)
    return backend.ring_reshape(joined, (*shape, 2))


def _pairs(backend: RingBackend, first: PolynomialArray, second: PolynomialArray) -> PolynomialArray:
    """Two arrays of batch shape (count,) side by side: (count, 2)."""
    joined = backend.ring_concatenate([first, second])
    if first.size > 1:
        joined = backend.ring_take(joined, np.arange(2 * first.size, dtype=np.intp).reshape(2, -1).T.ravel())
    return backend.ring_reshape(joined, (first.size, 2))


def _fresh(
    plaintext: Plaintext | Message,
    polynomials: PolynomialArray,
    key: PublicKey | SecretKey,
    added: float,
    seed: Seed | None,
) -> Ciphertext:
    count_operation("encrypt", polynomials.size // 2)
    return Ciphertext(
        plaintext.parameters,
        polynomials,
        plaintext.level,
        plaintext.scale,
        plaintext.bound,
        plaintext.noise + added,
        key.key_id,
        key.evaluation_keys,
        seed,
    )
