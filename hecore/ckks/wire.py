"""CKKS objects as bytes: the compact form of our own (docs/wire-format.md), payloads inside the frame of `hecore.wire`.

Residues take as many bits as their prime has, and what a seed expands to is not sent: a fresh symmetric ciphertext is
half a ciphertext. The frame names the key by its id; ciphertexts name their parameters by fingerprint, keys carry them.

Nothing here is authenticated. `bound` and `noise` are the sender's word: whoever decrypts publicly what others
computed trusts them to have computed it (`hecore.ckks.public_decryption`).

Evaluation keys are large and do not travel with ciphertexts: `from_bytes` attaches those of the key at hand.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.backends import registry
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.evaluation_keys import EvaluationKeys, GaloisKeys, RelinearizationKey
from hecore.ckks.keys import Keys, PublicKey, SecretKey
from hecore.ckks.layout import Layout
from hecore.ckks.params import FINGERPRINT_BYTES, MAX_MODULI, Parameters
from hecore.ckks.scale import Scale
from hecore.ckks.security import LEVELS, SecurityTable
from hecore.ckks.tensor import EncryptedTensor
from hecore.errors import HecoreError, InsecureParametersError, KeyMismatchError, OperandTypeError, SerializationError
from hecore.ring.bits import pack_residues, packed_bytes, unpack_residues
from hecore.ring.keyswitch import SwitchingKey
from hecore.ring.prng import Seed, SeedKind, expand_uniform
from hecore.wire import Bytes, Kind, PayloadReader, pack_integer, pack_u8, pack_u32, read_frame, write_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import PolynomialArray

KeyMaterial = Parameters | Keys | PublicKey | SecretKey | EvaluationKeys

PAYLOAD_VERSION = 1
MAX_SCALE_BITS = 1 << 17
"""Of a scale's numerator and denominator together: enough for the longest chain, and little to compute with."""
_MAX_NDIM = 32
_SEEDED, _BOUNDED = 1, 2
_RELINEARIZATION, _EVALUATION_KEYS = 2, 4
_TABLES = (SecurityTable.GUIDELINES_2024, SecurityTable.STANDARD_2018)
_DTYPES = (np.dtype(np.float64), np.dtype(np.complex128))
_PADDED = 128  # slots without a value hold what depends on encrypted values, not zeros
_PARAMETERS_HEAD = struct.Struct("<BBBHHHI")  # version, table, log2 N, moduli, special, digit primes, secret weight
_CIPHERTEXT_HEAD = struct.Struct(f"<BBBH{FINGERPRINT_BYTES}sd")  # version, flags, components, level, …, noise


# -- parameters --------------------------------------------------------------------------------------------


def parameters_to_bytes(parameters: Parameters) -> bytes:
    """The wire form of parameters. Raises SerializationError for a scale beyond MAX_SCALE_BITS."""
    return write_frame(Kind.CKKS_PARAMETERS, parameters.fingerprint.hex(), _pack_parameters(parameters))


def parameters_from_bytes(data: Bytes, *, allow_insecure: bool = False) -> Parameters:
    """Inverse of `parameters_to_bytes`.

    Raises SerializationError; InsecureParametersError unless the table of 2024 promises 128 bits, or `allow_insecure`.
    """
    frame = read_frame(data, Kind.CKKS_PARAMETERS)
    reader = PayloadReader(frame.payload)
    parameters = _read_parameters(reader, allow_insecure)
    reader.finish()
    if parameters.fingerprint.hex() != frame.fingerprint:
        raise SerializationError("cannot read these parameters: their fingerprint is another's")
    return parameters


def pickles_insecure(parameters: Parameters) -> bool:
    """Whether a pickle says `allow_insecure`: whoever holds such parameters in memory chose to."""
    return parameters.table is not SecurityTable.GUIDELINES_2024 or parameters.security_bits < LEVELS[0]


def unpickle(what: str, data: bytes, allow_insecure: bool) -> object:
    """What `pickle` calls; evaluation keys that were pickled alone come in the form of the whole set."""
    if what == "parameters":
        return parameters_from_bytes(data, allow_insecure=allow_insecure)
    if what == "public_key":
        return public_key_from_bytes(data, allow_insecure=allow_insecure)
    keys = evaluation_keys_from_bytes(data, allow_insecure=allow_insecure)
    return {"relinearization_key": keys.relinearization_key, "galois_keys": keys.galois_keys}.get(what, keys)


def _pack_parameters(parameters: Parameters) -> bytes:
    head = _PARAMETERS_HEAD.pack(
        PAYLOAD_VERSION,
        _TABLES.index(parameters.table),
        parameters.ring_degree.bit_length() - 1,
        len(parameters.basis),
        parameters.special_count,
        parameters.digit_primes,
        parameters.secret_weight or 0,
    )
    moduli = struct.pack(f"<{len(parameters.basis)}Q", *parameters.basis.moduli)
    return head + moduli + _pack_scale(parameters.scale)


def _read_parameters(reader: PayloadReader, allow_insecure: bool) -> Parameters:
    fields = _PARAMETERS_HEAD.unpack(reader.block(_PARAMETERS_HEAD.size))
    version, table, log2_degree, count, special_count, digit_primes, secret_weight = fields
    if version != PAYLOAD_VERSION:
        raise SerializationError(f"cannot read a payload of version {version}: this release reads {PAYLOAD_VERSION}")
    if table >= len(_TABLES) or not 1 <= count <= MAX_MODULI or log2_degree > 17:
        raise SerializationError(f"cannot read parameters of table {table}, degree 2^{log2_degree}, {count} moduli")
    moduli = struct.unpack(f"<{count}Q", reader.block(8 * count))
    return make_parameters(
        1 << log2_degree,
        moduli,
        _read_scale(reader),
        special_count=special_count,
        digit_primes=digit_primes,
        secret_weight=secret_weight or None,
        table=_TABLES[table],
        allow_insecure=allow_insecure,
    )


def make_parameters(
    ring_degree: int,
    moduli: Sequence[int],
    scale: Scale | int | float | Fraction,
    *,
    special_count: int = 1,
    digit_primes: int = 1,
    secret_weight: int | None = None,
    table: SecurityTable = SecurityTable.GUIDELINES_2024,
    allow_insecure: bool = False,
) -> Parameters:
    """Parameters that came from elsewhere: SerializationError for impossible ones, InsecureParametersError.

    With `allow_insecure` parameters below 128 bits are taken, too; those of the table of 2018 keep its name if it
    promises as much.
    """
    if secret_weight is not None and not allow_insecure:
        raise InsecureParametersError("cannot read parameters with sparse secrets: no table promises any security")
    options: dict[str, Any] = {
        "ring_degree": ring_degree,
        "moduli": moduli,
        "scale": scale,
        "special_count": special_count,
        "digit_primes": digit_primes,
    }
    try:
        if secret_weight is not None:
            return Parameters.insecure(**options, secret_weight=secret_weight)
        if not allow_insecure:
            return Parameters(**options)
        try:
            return Parameters.with_2018_table(**options) if table is not _TABLES[0] else Parameters(**options)
        except InsecureParametersError:
            return Parameters.insecure(**options)
    except InsecureParametersError:
        raise
    except HecoreError as error:
        raise SerializationError(f"cannot read parameters: {error}") from None


def _pack_scale(scale: Scale) -> bytes:
    _check_scale(scale)
    powers = [pack_integer(base) + struct.pack("<i", exponent) for base, exponent in scale.powers]
    return pack_u32(len(powers)) + b"".join(powers)


def _read_scale(reader: PayloadReader) -> Scale:
    powers = []
    for _ in range(reader.u32()):  # each takes bytes that must be there
        base = reader.integer(MAX_SCALE_BITS // 8)
        powers.append((base, int.from_bytes(reader.block(4), "little", signed=True)))
    try:
        scale = Scale(powers)
    except HecoreError as error:
        raise SerializationError(f"cannot read a scale: {error}") from None
    if scale.powers != tuple(powers):
        raise SerializationError("cannot read a scale whose powers are not in order")
    _check_scale(scale)
    return scale


def _check_scale(scale: Scale) -> None:
    bits = sum(base.bit_length() * abs(exponent) for base, exponent in scale.powers)
    if bits > MAX_SCALE_BITS:
        raise SerializationError(f"cannot write or read a scale of {bits} bits as a fraction: at most {MAX_SCALE_BITS}")


# -- polynomials and seeds ---------------------------------------------------------------------------------


def _pack_seed(seed: Seed) -> bytes:
    return pack_u8(seed.kind) + seed.key


def _read_seed(reader: PayloadReader) -> Seed:
    code = reader.u8()
    if code not in SeedKind.__members__.values():
        raise SerializationError(f"cannot read a seed of kind {code}")
    kind = SeedKind(code)
    return Seed(kind, bytes(reader.block(kind.key_bytes)))


def _pack_polynomials(a: PolynomialArray, seeded: bool) -> memoryview:
    """All polynomials of an array (*S, components), or only the first component of each."""
    words = a.backend.ring_download(a)
    return pack_residues(words[..., 0, :, :] if seeded else words, a.basis).data


def _read_polynomials(
    reader: PayloadReader, basis: RnsBasis, shape: tuple[int, ...], components: int, seed: Seed | None
) -> PolynomialArray:
    """(*shape, components) on the current backend; component 1 from the seed where there is one."""
    size = math.prod(shape)
    present = components if seed is None else 1
    words = unpack_residues(reader.block(size * present * packed_bytes(basis)), basis, (*shape, present))
    if seed is not None:
        if seed.kind is not SeedKind.AES_CTR and size != 1:
            raise SerializationError(f"cannot read {size} polynomials of one {seed.kind.name} seed: it has one")
        second = expand_uniform(seed, basis, size).reshape(words.shape)
        words = np.concatenate([words, second], axis=-3)
    return registry.current().ring_upload(words, basis, ntt=True)


# -- keys --------------------------------------------------------------------------------------------------


def public_key_to_bytes(key: PublicKey) -> bytes:
    """The wire form of a public key with its evaluation keys."""
    flags = _SEEDED * (key.seed is not None) | _EVALUATION_KEYS * _has_keys(key.evaluation_keys)
    parts: list[Bytes] = [_pack_parameters(key.parameters), pack_u8(flags)]
    if key.seed is not None:
        parts.append(_pack_seed(key.seed))
    parts.append(_pack_polynomials(key.polynomials, key.seed is not None))
    if flags & _EVALUATION_KEYS:
        parts += _pack_evaluation_keys(key.evaluation_keys)
    return write_frame(Kind.CKKS_PUBLIC_KEY, key.key_id.hex(), *parts)


def public_key_from_bytes(data: Bytes, *, allow_insecure: bool = False) -> PublicKey:
    """Inverse of `public_key_to_bytes`, on the current backend. Raises as `parameters_from_bytes`."""
    frame = read_frame(data, Kind.CKKS_PUBLIC_KEY)
    key_id = bytes.fromhex(frame.fingerprint)
    reader = PayloadReader(frame.payload)
    parameters = _read_parameters(reader, allow_insecure)
    flags = _read_flags(reader, _SEEDED | _EVALUATION_KEYS)
    seed = _read_seed(reader) if flags & _SEEDED else None
    polynomials = _read_polynomials(reader, parameters.basis, (), 2, seed)
    evaluation_keys = _read_evaluation_keys(reader, parameters, key_id) if flags & _EVALUATION_KEYS else None
    reader.finish()
    return PublicKey(parameters, key_id, polynomials, evaluation_keys, seed)


def evaluation_keys_to_bytes(keys: EvaluationKeys) -> bytes:
    """The wire form of relinearization and Galois keys: all that a server needs beside ciphertexts."""
    parts = [_pack_parameters(keys.parameters), *_pack_evaluation_keys(keys)]
    return write_frame(Kind.CKKS_EVALUATION_KEYS, keys.key_id.hex(), *parts)


def evaluation_keys_from_bytes(data: Bytes, *, allow_insecure: bool = False) -> EvaluationKeys:
    """Inverse of `evaluation_keys_to_bytes`, on the current backend. Raises as `parameters_from_bytes`."""
    frame = read_frame(data, Kind.CKKS_EVALUATION_KEYS)
    reader = PayloadReader(frame.payload)
    parameters = _read_parameters(reader, allow_insecure)
    keys = _read_evaluation_keys(reader, parameters, bytes.fromhex(frame.fingerprint))
    reader.finish()
    return keys


def _has_keys(keys: EvaluationKeys) -> bool:
    return keys.relinearization_key is not None or len(keys.galois_keys) > 0


def _pack_evaluation_keys(keys: EvaluationKeys) -> list[Bytes]:
    relinearization = keys.relinearization_key
    parts: list[Bytes] = [pack_u8(_RELINEARIZATION * (relinearization is not None)), pack_u32(len(keys.galois_keys))]
    if relinearization is not None:
        parts += _pack_switching_key(relinearization.switching_key)
    for element in sorted(keys.galois_keys):
        parts += [pack_u32(element), *_pack_switching_key(keys.galois_keys[element])]
    return parts


def _read_evaluation_keys(reader: PayloadReader, parameters: Parameters, key_id: bytes) -> EvaluationKeys:
    flags = _read_flags(reader, _RELINEARIZATION)
    count = reader.u32()
    if parameters.special is None and (flags or count):
        raise SerializationError("cannot read evaluation keys of parameters without a special modulus")
    relinearization = None
    if flags & _RELINEARIZATION:
        relinearization = RelinearizationKey(parameters, key_id, _read_switching_key(reader, parameters))
    keys: dict[int, SwitchingKey] = {}
    last = 0
    for _ in range(count):  # each takes bytes that must be there
        element = reader.u32()
        if not (last < element < 2 * parameters.ring_degree and element % 2):
            raise SerializationError(f"cannot read a key for the Galois element {element} after {last}")
        keys[element] = _read_switching_key(reader, parameters)
        last = element
    return EvaluationKeys(parameters, key_id, relinearization, GaloisKeys(parameters, key_id, keys))


def _pack_switching_key(key: SwitchingKey) -> list[Bytes]:
    if key.seed is None:
        return [pack_u8(0), _pack_polynomials(key.polynomials, False)]
    return [pack_u8(_SEEDED), _pack_seed(key.seed), _pack_polynomials(key.polynomials, True)]


def _read_switching_key(reader: PayloadReader, parameters: Parameters) -> SwitchingKey:
    seed = _read_seed(reader) if _read_flags(reader, _SEEDED) else None
    digits = len(parameters.digits(parameters.max_level))
    return SwitchingKey(_read_polynomials(reader, parameters.basis, (digits,), 2, seed), seed)


def secret_key_to_bytes_unprotected(key: SecretKey) -> bytes:
    """A secret key in the clear, for `hecore.keystore` to encrypt: two bits a digit, without evaluation keys."""
    codes = (key.digits() + 1).astype(np.uint8)  # 0, 1, 2
    bits = np.packbits(np.stack([codes & 1, codes >> 1], axis=-1).reshape(-1), bitorder="little")
    return write_frame(
        Kind.CKKS_SECRET_KEY_UNPROTECTED, key.key_id.hex(), _pack_parameters(key.parameters), bits.tobytes()
    )


def secret_key_from_bytes_unprotected(data: Bytes, *, allow_insecure: bool = False) -> SecretKey:
    """Inverse of `secret_key_to_bytes_unprotected`. Raises as `parameters_from_bytes`."""
    frame = read_frame(data, Kind.CKKS_SECRET_KEY_UNPROTECTED)
    reader = PayloadReader(frame.payload)
    parameters = _read_parameters(reader, allow_insecure)
    packed = np.frombuffer(reader.block(parameters.ring_degree // 4), dtype=np.uint8)
    reader.finish()
    bits = np.unpackbits(packed, bitorder="little").reshape(-1, 2).astype(np.int64)
    if (bits[:, 0] & bits[:, 1]).any():
        raise SerializationError("cannot read this secret key: a digit is not -1, 0 or 1")
    digits = bits[:, 0] + 2 * bits[:, 1] - 1
    polynomial = registry.current().ring_encode(digits, parameters.basis, ntt=True)
    return SecretKey(parameters, bytes.fromhex(frame.fingerprint), polynomial)


# -- ciphertexts -------------------------------------------------------------------------------------------


def ciphertext_to_bytes(ciphertext: Ciphertext) -> bytes:
    """The wire form of a batch of ciphertexts, without evaluation keys."""
    return write_frame(Kind.CKKS_CIPHERTEXT, ciphertext.key_id.hex(), *_pack_ciphertext(ciphertext))


def ciphertext_from_bytes(data: Bytes, keys: KeyMaterial) -> Ciphertext:
    """Reads ciphertexts on the current backend, under the parameters or the key at hand.

    A key must be theirs (KeyMismatchError), and its evaluation keys come along. Raises SerializationError for
    bytes that are malformed or of other parameters.
    """
    frame = read_frame(data, Kind.CKKS_CIPHERTEXT)
    reader = PayloadReader(frame.payload)
    ciphertext = _read_ciphertext(reader, bytes.fromhex(frame.fingerprint), keys)
    reader.finish()
    return ciphertext


def tensor_to_bytes(tensor: EncryptedTensor) -> bytes:
    """The wire form of a tensor, without evaluation keys. Slots without a value are cleared where they are known."""
    if tensor.dtype not in _DTYPES:
        raise SerializationError(f"cannot write a tensor of {tensor.dtype}: float64 or complex128")
    unknown = tensor.padding is None
    if not unknown:
        tensor = tensor.without_padding()
    head = pack_u8(_DTYPES.index(tensor.dtype) | _PADDED * unknown) + _pack_shape(tensor.layout.shape)
    parts = [head, *_pack_ciphertext(tensor.ciphertext)]
    return write_frame(Kind.CKKS_TENSOR, tensor.ciphertext.key_id.hex(), *parts)


def tensor_from_bytes(data: Bytes, keys: KeyMaterial) -> EncryptedTensor:
    """Reads a tensor as `ciphertext_from_bytes` reads ciphertexts."""
    frame = read_frame(data, Kind.CKKS_TENSOR)
    reader = PayloadReader(frame.payload)
    dtype, shape = reader.u8(), _read_shape(reader)
    ciphertext = _read_ciphertext(reader, bytes.fromhex(frame.fingerprint), keys)
    reader.finish()
    try:
        layout = Layout(shape, ciphertext.parameters.slots)
        return EncryptedTensor(ciphertext, layout, _DTYPES[dtype & ~_PADDED], None if dtype & _PADDED else 0.0)
    except (HecoreError, IndexError):
        raise SerializationError(f"cannot read a tensor of shape {shape} in ciphertexts {ciphertext.shape}") from None


def _pack_ciphertext(ciphertext: Ciphertext) -> list[Bytes]:
    seed, bound = ciphertext.seed, ciphertext.bound
    flags = _SEEDED * (seed is not None) | _BOUNDED * (bound is not None)
    head = _CIPHERTEXT_HEAD.pack(
        PAYLOAD_VERSION,
        flags,
        ciphertext.components,
        ciphertext.level,
        ciphertext.parameters.fingerprint,
        ciphertext.noise,
    )
    parts: list[Bytes] = [head, _pack_scale(ciphertext.scale)]
    if bound is not None:
        parts.append(struct.pack("<d", bound))
    if seed is not None:
        parts.append(_pack_seed(seed))
    return [*parts, _pack_shape(ciphertext.shape), _pack_polynomials(ciphertext.polynomials, seed is not None)]


def _read_ciphertext(reader: PayloadReader, key_id: bytes, keys: KeyMaterial) -> Ciphertext:
    parameters, evaluation_keys = _resolve(keys, key_id)
    fields = _CIPHERTEXT_HEAD.unpack(reader.block(_CIPHERTEXT_HEAD.size))
    version, flags, components, level, fingerprint, noise = fields
    if version != PAYLOAD_VERSION:
        raise SerializationError(f"cannot read a payload of version {version}: this release reads {PAYLOAD_VERSION}")
    if fingerprint != parameters.fingerprint:
        raise SerializationError(f"cannot read ciphertexts of other parameters with {parameters!r}")
    if flags & ~(_SEEDED | _BOUNDED) or components not in (2, 3) or level > parameters.max_level:
        raise SerializationError(
            f"cannot read ciphertexts of {components} components at level {level}, flags {flags:#x}"
        )
    scale = _read_scale(reader)
    if not 0 <= scale.log2 <= parameters.level_basis(level).bits:
        raise SerializationError(
            f"cannot read ciphertexts of scale 2^{scale.log2:.1f}: at least 1, and below the modulus of level {level}"
        )
    bound = struct.unpack("<d", reader.block(8))[0] if flags & _BOUNDED else None
    if not noise >= 0 or (bound is not None and not 0 <= bound < math.inf):
        raise SerializationError("cannot read ciphertexts whose noise or bound is negative or no number")
    seed = _read_seed(reader) if flags & _SEEDED else None
    if seed is not None and components != 2:
        raise SerializationError("cannot read seeded ciphertexts of 3 components")
    shape = _read_shape(reader)
    basis = parameters.level_basis(level)
    polynomials = _read_polynomials(reader, basis, shape, components, seed)
    return Ciphertext(parameters, polynomials, level, scale, bound, noise, key_id, evaluation_keys, seed)


def _resolve(keys: KeyMaterial, key_id: bytes) -> tuple[Parameters, EvaluationKeys | None]:
    """Parameters and evaluation keys to read with; KeyMismatchError for another key's."""
    if isinstance(keys, Parameters):
        return keys, None
    if isinstance(keys, Keys):
        keys = keys.evaluation_keys
    if not isinstance(keys, PublicKey | SecretKey | EvaluationKeys):
        raise OperandTypeError(f"cannot read ciphertexts with a {type(keys).__name__}: parameters or a key are needed")
    if keys.key_id != key_id:
        raise KeyMismatchError(f"cannot read ciphertexts under key {key_id.hex()[:8]} with key {keys.key_id.hex()[:8]}")
    return keys.parameters, keys if isinstance(keys, EvaluationKeys) else keys.evaluation_keys


def _pack_shape(shape: tuple[int, ...]) -> bytes:
    if len(shape) > _MAX_NDIM or math.prod(shape) == 0:
        raise SerializationError(f"cannot write shape {shape}: at most {_MAX_NDIM} axes, none empty")
    return struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def _read_shape(reader: PayloadReader) -> tuple[int, ...]:
    ndim = reader.u8()
    if ndim > _MAX_NDIM:
        raise SerializationError(f"cannot read a shape of {ndim} axes: at most {_MAX_NDIM}")
    shape = tuple(reader.u64() for _ in range(ndim))
    if 0 in shape:
        raise SerializationError(f"cannot read the shape {shape}: an axis is empty")
    return shape


def _read_flags(reader: PayloadReader, known: int) -> int:
    flags = reader.u8()
    if flags & ~known:
        raise SerializationError(f"cannot read a payload with flags {flags:#x}")
    return flags
