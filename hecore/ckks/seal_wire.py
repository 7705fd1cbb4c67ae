"""Reading and writing what Microsoft SEAL stores of CKKS: parameters, plaintexts, keys, ciphertexts.

Byte layouts: SEAL 4.1 to 4.4, native/src/seal/{encryptionparams,plaintext,ciphertext,kswitchkeys}.cpp, and the
section of docs/wire-format.md. SEAL's chain is ours with one special modulus and one modulus a digit; it names a
level by the BLAKE2b hash of its parameters (`parms_id`) and a scale by a double.

SEAL's bytes carry no key id: the caller says whose they are. What a ciphertext went through is not in them either, so
its worst-case noise is unknown (infinity) and its values have no declared bound.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.rns import MAX_RING_DEGREE
from hecore.backends import registry
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.encoding import Plaintext
from hecore.ckks.evaluation_keys import EvaluationKeys, GaloisKeys, RelinearizationKey
from hecore.ckks.keys import PublicKey, SecretKey
from hecore.ckks.params import MAX_MODULI, Parameters
from hecore.ckks.scale import Scale
from hecore.ckks.seal_stream import (
    DEFAULT_VERSION,
    HEADER_BYTES,
    Compression,
    SealReader,
    Version,
    nested,
    read_object,
    words_object,
    write_object,
)
from hecore.errors import ParameterError, SerializationError, ShapeError
from hecore.ring.keyswitch import SwitchingKey
from hecore.ring.prng import Seed, SeedKind, expand_uniform, expand_uniform_seal_3

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Words
    from hecore.wire import Bytes

CKKS_SCHEME = 2
_PARMS_ID_BYTES = 32
_SEED_BYTES = 64
_SEED_INFO_SINCE = Version(3, 6)  # before: the seed alone, always for BLAKE2Xb
_CIPHERTEXT_OVERHEAD = 73 + 2 * HEADER_BYTES + 8 + 1 + _SEED_BYTES
_MAX_RELIN_KEYS = 14  # SEAL's ciphertexts have at most 16 components
_PLAINTEXT_OVERHEAD = 48 + HEADER_BYTES + 8


@dataclass(frozen=True)
class SealParameters:
    """SEAL's EncryptionParameters as they are stored: `scheme` 1 is BFV, 2 CKKS, 3 BGV. Not checked any further."""

    scheme: int
    ring_degree: int
    moduli: tuple[int, ...]
    plain_modulus: int = 0


# -- parameters --------------------------------------------------------------------------------------------


def write_parameters(
    parameters: Parameters | SealParameters,
    *,
    compression: Compression = Compression.ZSTD,
    version: Version = DEFAULT_VERSION,
) -> bytes:
    """EncryptionParameters; the scale and the security level have no place in them.

    Raises ParameterError for parameters that SEAL does not have.
    """
    if isinstance(parameters, Parameters):
        _check_chain(parameters)
        parameters = SealParameters(CKKS_SCHEME, parameters.ring_degree, parameters.basis.moduli)
    head = struct.pack("<BQQ", parameters.scheme, parameters.ring_degree, len(parameters.moduli))
    moduli = [nested(version, struct.pack("<Q", q)) for q in (*parameters.moduli, parameters.plain_modulus)]
    return write_object([head, *moduli], compression=compression, version=version)


def read_parameters(data: Bytes) -> SealParameters:
    """EncryptionParameters of any scheme."""
    reader = read_object(data, 17 + (HEADER_BYTES + 8) * (MAX_MODULI + 1))
    scheme, ring_degree, count = reader.u8(), reader.u64(), reader.u64()
    if not 1 <= count <= MAX_MODULI or ring_degree > MAX_RING_DEGREE or scheme > 3:
        raise SerializationError(
            f"cannot read SEAL parameters of scheme {scheme}, ring degree {ring_degree} and {count} moduli"
        )
    values = []
    for _ in range(count + 1):
        modulus = reader.nested()
        values.append(modulus.u64())
        modulus.finish()
    reader.finish()
    return SealParameters(scheme, ring_degree, tuple(values[:-1]), values[-1])


def _check_chain(parameters: Parameters) -> None:
    """ParameterError unless SEAL has this chain: the last of several moduli special, one modulus a digit."""
    wanted = 0 if len(parameters.basis) == 1 else 1
    if parameters.special_count != wanted or parameters.digit_primes != 1:
        raise ParameterError(
            f"cannot use {parameters!r} with SEAL: it has one special modulus and digits of one modulus"
        )


@lru_cache(maxsize=64)
def _parms_ids(basis: RnsBasis) -> tuple[bytes, ...]:
    """parms_id of the first 1, 2, … moduli."""
    words = [(CKKS_SCHEME, basis.ring_degree, *basis.moduli[: i + 1], 0) for i in range(len(basis))]
    return tuple(hashlib.blake2b(struct.pack(f"<{len(w)}Q", *w), digest_size=_PARMS_ID_BYTES).digest() for w in words)


def _key_parms_id(parameters: Parameters) -> bytes:
    return _parms_ids(parameters.basis)[-1]


def _level_of(parms_id: bytes, parameters: Parameters) -> int:
    ids = _parms_ids(parameters.basis)[: parameters.max_level + 1]
    if parms_id not in ids:
        raise SerializationError(f"cannot read a SEAL object that is at no level of {parameters!r}")
    return ids.index(parms_id)


# -- scales ------------------------------------------------------------------------------------------------


def exact_scale(value: float, parameters: Parameters, level: int) -> Scale:
    """The scale that SEAL keeps as the double `value`, exactly where it is one that this chain leads to.

    Those are s = the parameters' scale and, for each rescale so far, s' = s^2 / q; their squares and products with
    the parameters' scale; otherwise the double itself.
    """
    start = scale = parameters.scale
    for dropped in range(parameters.max_level, level, -1):
        scale = scale * scale / parameters.basis.moduli[dropped]
    for candidate in (start, scale, start * start, scale * scale, start * scale):
        if candidate.log2 < 1000 and float(candidate) == value:
            return candidate
    return Scale.of(value)


def _read_scale(reader: SealReader, parameters: Parameters, level: int) -> Scale:
    value = reader.f64()
    if not (math.isfinite(value) and 0 <= math.log2(max(value, 0.5)) <= parameters.level_basis(level).bits):
        raise SerializationError(
            f"cannot read a SEAL object of scale {value}: at least 1, and below the modulus of level {level}"
        )
    return exact_scale(value, parameters, level)


# -- plaintexts and secret keys ----------------------------------------------------------------------------


def write_plaintext(
    plaintext: Plaintext, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """One encoded plaintext (batch shape ())."""
    _check_single(plaintext.shape)
    _check_chain(plaintext.parameters)
    words = plaintext.backend.ring_download(plaintext.polynomial)
    parms_id = _parms_ids(plaintext.parameters.basis)[plaintext.level]
    body = _plaintext_body(parms_id, float(plaintext.scale), words, version)
    return write_object(body, compression=compression, version=version)


def read_plaintext(data: Bytes, parameters: Parameters) -> Plaintext:
    """A plaintext on the current backend, of unknown noise."""
    _check_chain(parameters)
    reader = read_object(data, _PLAINTEXT_OVERHEAD + 8 * len(parameters.basis) * parameters.ring_degree)
    level = _level_of(bytes(reader.block(_PARMS_ID_BYTES)), parameters)
    basis = parameters.level_basis(level)
    count = reader.u64()
    scale = _read_scale(reader, parameters, level)
    words = _read_residues(reader, basis, (), count)
    reader.finish()
    polynomial = registry.current().ring_upload(words, basis, ntt=True)
    return Plaintext(parameters, polynomial, level, scale, None, math.inf)


def write_secret_key_unprotected(
    key: SecretKey, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """A secret key in the clear, as SEAL stores it. Nothing here protects it."""
    _check_chain(key.parameters)
    words = key.polynomial.backend.ring_download(key.polynomial)
    body = _plaintext_body(_key_parms_id(key.parameters), 1.0, words, version)
    return write_object(body, compression=compression, version=version)


def read_secret_key(
    data: Bytes, parameters: Parameters, key_id: bytes | None = None, evaluation_keys: EvaluationKeys | None = None
) -> SecretKey:
    """A secret key on the current backend; a fresh label where `key_id` is None.

    Raises SerializationError, and MalformedKeyError for coefficients other than -1, 0 and 1.
    """
    _check_chain(parameters)
    most = _PLAINTEXT_OVERHEAD + 8 * len(parameters.basis) * parameters.ring_degree
    reader = read_object(data, most, expansion=_expansion(parameters.basis))
    _check_key_level(reader, parameters)
    count, _ = reader.u64(), reader.f64()
    words = _read_residues(reader, parameters.basis, (), count)
    reader.finish()
    return SecretKey.from_words(parameters, words, key_id, evaluation_keys)


def _plaintext_body(parms_id: bytes, scale: float, words: Words, version: Version) -> list[Bytes]:
    return [parms_id, struct.pack("<Qd", words.size, scale), words_object(words, version)]


def _read_residues(reader: SealReader, basis: RnsBasis, batch: tuple[int, ...], announced: int) -> Words:
    """(*batch, k, N) words, each below its modulus."""
    shape = (*batch, len(basis), basis.ring_degree)
    if announced != math.prod(shape):
        raise SerializationError(f"cannot read {announced} coefficients of SEAL data: {math.prod(shape)} belong")
    return _below(reader.words([announced]).reshape(shape), basis)


def _expansion(basis: RnsBasis) -> float:
    """How many times their compressed form residues can be at most: random, only their leading zeros compress."""
    return 1.25 * 64 / min(q.bit_length() - 1 for q in basis.moduli)


def _below(words: Words, basis: RnsBasis) -> Words:
    if (words >= np.array(basis.moduli, dtype=np.uint64)[:, None]).any():
        raise SerializationError("cannot read SEAL data: a residue is not below its modulus")
    return words


def _check_key_level(reader: SealReader, parameters: Parameters) -> None:
    if bytes(reader.block(_PARMS_ID_BYTES)) != _key_parms_id(parameters):
        raise SerializationError(f"cannot read a SEAL key that does not belong to {parameters!r}")


# -- ciphertexts -------------------------------------------------------------------------------------------


def write_ciphertexts(
    ciphertext: Ciphertext, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> list[bytes]:
    """Each ciphertext of a batch, in C order. One with a seed of SEAL's generators is written with it: half as long.

    Raises ParameterError for parameters that SEAL does not have.
    """
    _check_chain(ciphertext.parameters)
    basis = ciphertext.polynomials.basis
    words = ciphertext.backend.ring_download(ciphertext.polynomials)
    seed = ciphertext.seed if ciphertext.size == 1 else None
    parms_id = _parms_ids(ciphertext.parameters.basis)[ciphertext.level]
    scale = float(ciphertext.scale)
    return [
        write_object(_ciphertext_body(parms_id, scale, one, seed, version), compression=compression, version=version)
        for one in words.reshape(-1, ciphertext.components, len(basis), basis.ring_degree)
    ]


def write_ciphertext(
    ciphertext: Ciphertext, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """A batch of one ciphertext; see `write_ciphertexts`."""
    _check_single(ciphertext.shape)
    return write_ciphertexts(ciphertext, compression=compression, version=version)[0]


def read_ciphertexts(
    objects: Sequence[Bytes], parameters: Parameters, key_id: bytes, evaluation_keys: EvaluationKeys | None = None
) -> Ciphertext:
    """Ciphertexts of one level, scale and component count as a batch (n,) on the current backend, under `key_id`.

    A single one keeps its seed.
    """
    if not objects:
        raise SerializationError("cannot read a batch of no ciphertexts")
    _check_chain(parameters)
    parts = [_read_one(data, parameters) for data in objects]
    first = parts[0]
    for part in parts:
        if (part.level, part.scale, part.words.shape) != (first.level, first.scale, first.words.shape):
            raise SerializationError("cannot read SEAL ciphertexts of different levels, scales or sizes as one batch")
    basis = parameters.level_basis(first.level)
    polynomials = registry.current().ring_upload(np.stack([part.words for part in parts]), basis, ntt=True)
    seed = first.seed if len(parts) == 1 else None
    return Ciphertext(parameters, polynomials, first.level, first.scale, None, math.inf, key_id, evaluation_keys, seed)


def read_ciphertext(
    data: Bytes, parameters: Parameters, key_id: bytes, evaluation_keys: EvaluationKeys | None = None
) -> Ciphertext:
    """One ciphertext, batch shape (); see `read_ciphertexts`."""
    return read_ciphertexts([data], parameters, key_id, evaluation_keys).reshape()


@dataclass(frozen=True, eq=False)
class _Parts:
    """One ciphertext as it was read: words (components, k, N)."""

    level: int
    scale: Scale
    words: Words
    seed: Seed | None


def _read_one(data: Bytes, parameters: Parameters) -> _Parts:
    most = _CIPHERTEXT_OVERHEAD + 3 * 8 * len(parameters.basis) * parameters.ring_degree
    reader = read_object(data, most, expansion=_expansion(parameters.basis))  # a message may hold many
    level = _level_of(bytes(reader.block(_PARMS_ID_BYTES)), parameters)
    basis = parameters.level_basis(level)
    components = _read_sizes(reader, basis)
    scale = _read_scale(reader, parameters, level)
    words, seed = _read_components(reader, basis, components)
    reader.finish()
    return _Parts(level, scale, words, seed)


def _read_sizes(reader: SealReader, basis: RnsBasis) -> int:
    """The fields between parms_id and scale; the number of components."""
    is_ntt, components, ring_degree, count = reader.u8(), reader.u64(), reader.u64(), reader.u64()
    if is_ntt != 1 or components not in (2, 3) or (ring_degree, count) != (basis.ring_degree, len(basis)):
        raise SerializationError(
            f"cannot read a SEAL ciphertext of {components} components, ring degree {ring_degree} and {count} moduli, "
            f"{'transformed' if is_ntt else 'not transformed'}: 2 or 3, {basis.ring_degree} and {len(basis)} belong, "
            "transformed"
        )
    return components


def _read_components(reader: SealReader, basis: RnsBasis, components: int) -> tuple[Words, Seed | None]:
    """What follows the scale: (components, k, N), and the seed that component 1 was expanded from, if there is one."""
    if reader.version.major == 4 and reader.u64() != 1:
        raise SerializationError("cannot read a SEAL ciphertext with a correction factor: CKKS has none")
    one = len(basis) * basis.ring_degree
    counts = (components * one,) if components != 2 else (2 * one, one)
    words = reader.words(counts)
    words = _below(words.reshape(-1, len(basis), basis.ring_degree), basis)
    if len(words) == components:
        return words, None
    second, seed = _read_seed(reader, basis)
    return np.stack([words[0], second]), seed


def _read_seed(reader: SealReader, basis: RnsBasis) -> tuple[Words, Seed | None]:
    """The polynomial of a seed, and the seed where it is one of ours."""
    if reader.version < _SEED_INFO_SINCE:
        return expand_uniform_seal_3(bytes(reader.block(_SEED_BYTES)), basis, reader.version.minor), None
    info = reader.nested()
    code = info.u8()
    if code not in (SeedKind.BLAKE2XB, SeedKind.SHAKE256):
        raise SerializationError(f"cannot read a SEAL seed of generator {code}: 1 BLAKE2Xb, 2 SHAKE256")
    seed = Seed(SeedKind(code), bytes(info.block(_SEED_BYTES)))
    info.finish()
    return expand_uniform(seed, basis)[0], seed


def _ciphertext_body(parms_id: bytes, scale: float, words: Words, seed: Seed | None, version: Version) -> list[Bytes]:
    """words (components, k, N); with a seed of SEAL's generators component 1 stays away."""
    components, count, ring_degree = words.shape
    head = struct.pack("<BQQQd", 1, components, ring_degree, count, scale)
    correction = struct.pack("<Q", 1) if version.major == 4 else b""
    if seed is None or seed.kind is SeedKind.AES_CTR or version < _SEED_INFO_SINCE:
        return [parms_id, head, correction, words_object(words, version)]
    info = nested(version, bytes([seed.kind]), seed.key)
    return [parms_id, head, correction, words_object(words[0], version), info]


def _check_single(shape: tuple[int, ...]) -> None:
    if math.prod(shape) != 1:
        raise ShapeError(f"cannot write a batch of shape {shape} as one SEAL object: write_ciphertexts writes each")


# -- public and evaluation keys ----------------------------------------------------------------------------


def write_public_key(
    key: PublicKey, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """The public key alone."""
    _check_chain(key.parameters)
    words = key.polynomials.backend.ring_download(key.polynomials)
    body = _ciphertext_body(_key_parms_id(key.parameters), 1.0, words, key.seed, version)
    return write_object(body, compression=compression, version=version)


def read_public_key(
    data: Bytes, parameters: Parameters, key_id: bytes, evaluation_keys: EvaluationKeys | None = None
) -> PublicKey:
    """A public key on the current backend, under the label `key_id`."""
    _check_chain(parameters)
    most = _CIPHERTEXT_OVERHEAD + 2 * 8 * len(parameters.basis) * parameters.ring_degree
    reader = read_object(data, most, expansion=_expansion(parameters.basis))
    words, seed = _read_key_pair(reader, parameters)
    polynomials = registry.current().ring_upload(words, parameters.basis, ntt=True)
    return PublicKey(parameters, key_id, polynomials, evaluation_keys, seed)


def _read_key_pair(reader: SealReader, parameters: Parameters) -> tuple[Words, Seed | None]:
    """The body of a PublicKey: two components over all moduli."""
    _check_key_level(reader, parameters)
    components = _read_sizes(reader, parameters.basis)
    if components != 2:
        raise SerializationError(f"cannot read a SEAL key of {components} components: 2")
    reader.f64()  # the scale of a key means nothing
    pair = _read_components(reader, parameters.basis, 2)
    reader.finish()
    return pair


def write_relinearization_key(
    key: RelinearizationKey, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """SEAL's RelinKeys, of the one key that takes s^2 to s."""
    _check_chain(key.parameters)
    body = _switching_keys_body(key.parameters, [key.switching_key], version)
    return write_object(body, compression=compression, version=version)


def read_relinearization_key(data: Bytes, parameters: Parameters, key_id: bytes) -> RelinearizationKey:
    """SEAL's RelinKeys on the current backend; of several keys (for s^3 and on) the first."""
    keys = dict(_read_switching_keys(data, parameters, most=_MAX_RELIN_KEYS))
    if 0 not in keys:
        raise SerializationError("cannot read SEAL relinearization keys: there is none for s^2")
    return RelinearizationKey(parameters, key_id, keys[0])


def write_galois_keys(
    keys: GaloisKeys, *, compression: Compression = Compression.ZSTD, version: Version = DEFAULT_VERSION
) -> bytes:
    """SEAL's GaloisKeys: the key of element g at place (g - 1) / 2 of as many places as the ring has coefficients."""
    _check_chain(keys.parameters)
    places: list[SwitchingKey | None] = [None] * keys.parameters.ring_degree
    for element, key in keys.items():
        places[element // 2] = key
    return write_object(
        _switching_keys_body(keys.parameters, places, version), compression=compression, version=version
    )


def read_galois_keys(data: Bytes, parameters: Parameters, key_id: bytes) -> GaloisKeys:
    """SEAL's GaloisKeys on the current backend."""
    found = _read_switching_keys(data, parameters, most=parameters.ring_degree)
    return GaloisKeys(parameters, key_id, {2 * place + 1: key for place, key in found})


def _switching_keys_body(
    parameters: Parameters, places: Sequence[SwitchingKey | None], version: Version
) -> list[Bytes]:
    parms_id = _key_parms_id(parameters)
    parts: list[Bytes] = [parms_id, struct.pack("<Q", len(places))]
    for key in places:
        if key is None:
            parts.append(struct.pack("<Q", 0))
            continue
        digits = key.polynomials.backend.ring_download(key.polynomials)
        parts.append(struct.pack("<Q", len(digits)))
        parts += [nested(version, *_ciphertext_body(parms_id, 1.0, pair, None, version)) for pair in digits]
    return parts


def _read_switching_keys(data: Bytes, parameters: Parameters, *, most: int) -> Iterator[tuple[int, SwitchingKey]]:
    """Place and key for each place of SEAL's KSwitchKeys that holds one; at most `most` places."""
    _check_chain(parameters)
    basis = parameters.basis
    if parameters.special is None:
        raise SerializationError("cannot read evaluation keys of parameters without a special modulus")
    digits = parameters.max_level + 1
    pair_bytes = HEADER_BYTES + _CIPHERTEXT_OVERHEAD + 2 * 8 * len(basis) * basis.ring_degree
    places = _PARMS_ID_BYTES + 8 + 8 * most
    # Residues are random and do not compress: what is there bounds what can honestly come of it.
    length = memoryview(data).nbytes if isinstance(data, bytes | bytearray | memoryview) else 0  # read_object refuses
    expanded = int(length * _expansion(basis)) + digits * 2 * HEADER_BYTES
    reader = read_object(data, places + min(most * (digits * pair_bytes), (1 << 16) + expanded))
    _check_key_level(reader, parameters)
    count = reader.u64()
    if count > most:
        raise SerializationError(f"cannot read {count} SEAL key-switching keys: at most {most} belong")
    backend = registry.current()
    for place in range(count):
        pairs = reader.u64()
        if pairs == 0:
            continue
        if pairs != digits:
            raise SerializationError(f"cannot read a SEAL key-switching key of {pairs} digits: {digits}")
        words = np.stack([_read_key_pair(reader.nested(), parameters)[0] for _ in range(digits)])
        yield place, SwitchingKey(backend.ring_upload(words, basis, ntt=True))
    reader.finish()
