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

from typing import TYPE_CHECKING

import numpy as np

from hecore.backends import registry
from hecore.ckks import noise
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import Message, Plaintext, decode
from hecore.counting import count as count_operation
from hecore.errors import KeyMismatchError, ParameterError
from hecore.ring.prng import SecretStream, Seed, SeedKind, expand_uniform
from hecore.ring.sampling import error, ternary

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend
    from hecore.ckks.encoding import Complex
    from hecore.ckks.keys import PublicKey, SecretKey
    from hecore.ckks.params import Parameters

__all__ = ["decrypt", "decrypt_values", "encrypt_public", "encrypt_symmetric"]


def encrypt_public(public_key: PublicKey, plaintext: Plaintext | Message) -> Ciphertext:
    """Fresh ciphertexts (*S, 2) of encoded polynomials of batch shape S, at their level and scale.

    On the plaintext's backend, a Message's on the current one. Raises ParameterError for other parameters.
    """
    parameters, level = _agree(public_key.parameters, plaintext), plaintext.level
    backend = registry.current() if isinstance(plaintext, Message) else plaintext.backend
    shape, stream = plaintext.shape, SecretStream()
    count = int(np.prod(shape))
    key = public_key.on(backend)
    if level < parameters.max_level:
        key = backend.ring_moduli(key, parameters.key_positions(level))
    u = backend.ring_encode(
        ternary(stream, count, parameters.ring_degree).reshape(*shape, 1, -1), parameters.key_basis(level), ntt=True
    )
    product = backend.residue_mul(u, key)
    errors = error(stream, 2 * count, parameters.ring_degree).reshape(*shape, 2, -1)
    rest = backend.ring_encode(errors, parameters.level_basis(level))
    if parameters.special is not None:
        rest = _rounded_part(backend, parameters, level, product, errors, rest)
        product = backend.ring_moduli(product, range(level + 1))
    if isinstance(plaintext, Message):
        rest = backend.residue_add(rest, _first_of_two(backend, plaintext.polynomial(backend, ntt=False)))
    polynomials = backend.residue_add(product, backend.ntt(rest))
    if isinstance(plaintext, Plaintext):
        polynomials = backend.residue_add(polynomials, _first_of_two(backend, plaintext.polynomial))
    added = noise.fresh_public(parameters)
    return _fresh(plaintext, polynomials, public_key, added, None)


def _rounded_part(
    backend: RingBackend,
    parameters: Parameters,
    level: int,
    product: PolynomialArray,
    errors: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    rest: PolynomialArray,
) -> PolynomialArray:
    """(e - r) / P modulo each data prime, by coefficients; `rest` is e there."""
    special = parameters.special
    assert special is not None
    positions = range(level + 1, level + 1 + len(special))
    modulo_p = backend.residue_add(
        backend.intt(backend.ring_moduli(product, positions)), backend.ring_encode(errors, special)
    )
    rounded = backend.base_convert(modulo_p, rest.basis, exact=True)
    inverse = [pow(special.product, -1, q) for q in rest.basis.moduli]
    return backend.residue_scale(backend.residue_sub(rest, rounded), inverse)


def encrypt_symmetric(
    secret_key: SecretKey, plaintext: Plaintext | Message, *, seed_kind: SeedKind = SeedKind.AES_CTR
) -> Ciphertext:
    """Fresh seeded ciphertexts (*S, 2): component 1 of the i-th is polynomial i of one fresh public seed.

    SEAL's generators (`seed_kind`) make one polynomial a seed, hence one ciphertext a call. Raises ParameterError
    for more, and for other parameters.
    """
    parameters, level = _agree(secret_key.parameters, plaintext), plaintext.level
    backend = registry.current() if isinstance(plaintext, Message) else plaintext.backend
    shape = plaintext.shape
    count = int(np.prod(shape))
    basis = parameters.level_basis(level)
    if seed_kind is not SeedKind.AES_CTR and count != 1:
        raise ParameterError(f"cannot encrypt {count} ciphertexts under one {seed_kind.name} seed: one a call")
    seed = Seed.fresh(seed_kind)
    words = expand_uniform(seed, basis, count).reshape(*shape, len(basis), parameters.ring_degree)
    a = backend.ring_upload(words, basis, ntt=True)
    errors = error(SecretStream(), count, parameters.ring_degree).reshape(*shape, -1)
    if isinstance(plaintext, Message):
        masked = plaintext.polynomial(backend, error=errors)
    else:
        masked = backend.residue_add(backend.ring_encode(errors, basis, ntt=True), plaintext.polynomial)
    secret = _key_powers(secret_key, backend, level, [1])
    c0 = backend.residue_sub(masked, backend.residue_mul(a, backend.ring_reshape(secret, ())))
    return _fresh(plaintext, _pairs(backend, c0, a), secret_key, noise.fresh_symmetric(parameters), seed)


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
    powers = _key_powers(secret_key, backend, ciphertext.level, range(ciphertext.components))
    polynomial = backend.residue_mul_accumulate(ciphertext.polynomials, powers)
    return Plaintext(
        ciphertext.parameters, polynomial, ciphertext.level, ciphertext.scale, ciphertext.bound, ciphertext.noise
    )


def decrypt_values(secret_key: SecretKey, ciphertext: Ciphertext) -> Complex:
    """The slot values: complex128 (*S, slots)."""
    return decode(decrypt(secret_key, ciphertext))


# -- shared ------------------------------------------------------------------------------------------------


def _agree(parameters: Parameters, other: Plaintext | Message | Ciphertext) -> Parameters:
    if other.parameters != parameters:
        raise ParameterError(f"cannot use {other.parameters!r} with a key of {parameters!r}")
    return parameters


def _key_powers(secret_key: SecretKey, backend: RingBackend, level: int, which: range | list[int]) -> PolynomialArray:
    """Some of 1, s, s^2 over the moduli of `level`."""
    powers = backend.ring_take(secret_key.powers_on(backend), np.array(which, dtype=np.intp))
    return powers if level == secret_key.parameters.max_level else backend.ring_moduli(powers, range(level + 1))


def _pairs(backend: RingBackend, first: PolynomialArray, second: PolynomialArray) -> PolynomialArray:
    """Two arrays of batch shape S side by side: (*S, 2)."""
    joined = backend.ring_concatenate([first, second])
    if first.size > 1:
        joined = backend.ring_take(joined, np.arange(2 * first.size, dtype=np.intp).reshape(2, -1).T.ravel())
    return backend.ring_reshape(joined, (*first.shape, 2))


def _first_of_two(backend: RingBackend, a: PolynomialArray) -> PolynomialArray:
    """(a, 0): what is added to the first component alone."""
    return _pairs(backend, a, backend.residue_scale(a, [0] * len(a.basis)))


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
