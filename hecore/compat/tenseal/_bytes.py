"""Contexts, vectors and tensors as the peer's bytes, both ways.

The peer's bytes name no key. Ours add a field that it skips: the label of the key, so that a tensor read under another
key's context is an error and not noise, and how far the values repeat in the slots (`_vector`). Bytes without it,
the peer's own, are read under the label of their context.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.ckks import seal_wire, tenseal_wire
from hecore.ckks.keys import KEY_ID_BYTES
from hecore.ckks.params import Parameters
from hecore.compat.tenseal._chain import as_scale, checked_chain, scales
from hecore.compat.tenseal._errors import ContextError, ForeignBytesError, refuse_bfv
from hecore.compat.tenseal._state import ENCRYPTION_TYPE, FLAGS, Label, TenSEALContext, local_label
from hecore.compat.tenseal._tensor import TensorData
from hecore.compat.tenseal._vector import VectorData
from hecore.errors import (
    InsecureParametersError,
    KeyMismatchError,
    MalformedKeyError,
    OperandTypeError,
    ParameterError,
    SerializationError,
)

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.tenseal_wire import ContextMessage
    from hecore.ring.prng import Seed

_BFV, _CKKS = 1, 2
_EXTENSION = struct.Struct(f"<B{KEY_ID_BYTES}sI")  # version, label, extent
_EXTENSION_VERSION = 1
_MAX_MADE_BYTES = 1 << 33
"""Evaluation keys that a context may ask for by a flag: twice those of the peer's largest default chain."""


# -- contexts ----------------------------------------------------------------------------------------------


def context_to_bytes(
    context: TenSEALContext,
    *,
    save_public_key: bool = True,
    save_secret_key: bool = False,
    save_galois_keys: bool = True,
    save_relin_keys: bool = True,
) -> bytes:
    """What is asked for and there. With the secret key go only the wishes for evaluation keys, as from the peer.

    Raises ContextError for the secret key of a symmetric context that has none.
    """
    if save_secret_key and context.is_symmetric and context.is_public:
        raise ContextError("the current context is public, it doesn't hold a Secret key")
    private = save_secret_key and not context.is_public
    public_key = not context.is_symmetric and save_public_key and context.has_public_key
    relinearization = save_relin_keys and context.has_relin_keys
    galois = save_galois_keys and context.has_galois_keys
    scale = context.scale_or_none
    return tenseal_wire.write_context(
        tenseal_wire.ContextMessage(
            parameters=seal_wire.write_parameters(context.parameters),
            encryption_type=context.encryption_type.value,
            auto_flags=sum(context.flag(name) << i for i, name in enumerate(FLAGS)),
            scale=tenseal_wire.NO_SCALE if scale is None else scale,
            public_key=seal_wire.write_public_key(context.public_key) if public_key else b"",
            relinearization_keys=(
                seal_wire.write_relinearization_key(context.relinearization_key)
                if relinearization and not private
                else b""
            ),
            galois_keys=seal_wire.write_galois_keys(context.galois_keys) if galois and not private else b"",
            secret_key=seal_wire.write_secret_key_unprotected(context.secret_key) if private else b"",
            makes_relinearization_keys=relinearization and private,
            makes_galois_keys=galois and private,
            extension=_extension(context, 0),
        )
    )


def context_from_bytes(data: Any, n_threads: int | None = None) -> TenSEALContext:
    """A context from the peer's bytes or ours. Raises OperandTypeError, SerializationError, SchemeNotSupportedError."""
    if n_threads is not None and not (isinstance(n_threads, int) and n_threads >= 0):
        raise OperandTypeError("n_threads must be an integer from 0 on, or None")
    with _parsing("failed to parse stream"):
        message = tenseal_wire.read_context(_checked_bytes(data))
    parameters = _parameters(message.parameters)
    with _foreign():
        key_id, label = _label(message, parameters)
        public_key = seal_wire.read_public_key(message.public_key, parameters, key_id) if message.public_key else None
        secret_key = seal_wire.read_secret_key(message.secret_key, parameters, key_id) if message.secret_key else None
        relinearization_key = galois_keys = None
        if secret_key is None and message.relinearization_keys:
            relinearization_key = seal_wire.read_relinearization_key(message.relinearization_keys, parameters, key_id)
        if secret_key is None and message.galois_keys:
            galois_keys = seal_wire.read_galois_keys(message.galois_keys, parameters, key_id)
    context = TenSEALContext(
        parameters,
        ENCRYPTION_TYPE(message.encryption_type),
        key_id,
        label=label,
        secret_key=secret_key,
        public_key=public_key,
        relinearization_key=relinearization_key,
        galois_keys=galois_keys,
        n_threads=n_threads,
    )
    if message.scale >= 0:
        context.global_scale = message.scale
    for i, name in enumerate(FLAGS):
        context.set_flag(name, message.auto_flags >> i & 1)
    if secret_key is not None:
        _check_made(parameters, message)
    if secret_key is not None and message.makes_relinearization_keys:
        context.generate_relin_keys()
    if secret_key is not None and message.makes_galois_keys:
        context.generate_galois_keys()
    return context


def _parameters(data: bytes) -> Parameters:
    with _foreign():
        stored = seal_wire.read_parameters(data)
    if stored.scheme == _BFV:
        refuse_bfv("a BFV context")
    if stored.scheme != _CKKS:
        raise ForeignBytesError(f"cannot use a context of SEAL's scheme {stored.scheme}: {_CKKS} is CKKS")
    with _foreign():
        return checked_chain(stored.ring_degree, stored.moduli)


def _check_made(parameters: Parameters, message: ContextMessage) -> None:
    """Two bits of a message must not ask for more memory than any honest one does."""
    one = 16 * (parameters.max_level + 1) * len(parameters.basis) * parameters.ring_degree
    rotations = 2 * (parameters.ring_degree.bit_length() - 1)
    size = one * (message.makes_relinearization_keys + rotations * message.makes_galois_keys)
    if size > _MAX_MADE_BYTES:
        raise ForeignBytesError(
            f"cannot make the {size} bytes of evaluation keys that this context asks for: at most {_MAX_MADE_BYTES} on "
            "loading; serialize without them, and generate_galois_keys afterwards"
        )


def _label(message: ContextMessage, parameters: Parameters) -> tuple[bytes, Label]:
    """Whose context this is: what we wrote, or what can be told from the keys."""
    written = _read_extension(message.extension)
    if written is not None:
        return written[0], Label.GLOBAL
    if message.public_key:
        key = seal_wire.read_public_key(message.public_key, parameters, bytes(KEY_ID_BYTES))
        words = key.polynomials.backend.ring_download(key.polynomials)
        digest = hashlib.blake2b(words.tobytes(), digest_size=KEY_ID_BYTES, person=b"hecore public")
        return digest.digest(), Label.GLOBAL
    if message.secret_key:
        return local_label(seal_wire.read_secret_key(message.secret_key, parameters)), Label.LOCAL
    return bytes(KEY_ID_BYTES), Label.NONE


# -- vectors and tensors -----------------------------------------------------------------------------------


def vector_to_bytes(a: VectorData) -> bytes:
    """A vector; half as long where it is as a secret key made it."""
    message = tenseal_wire.VectorMessage(a.sizes, _objects(a), a.scale, _extension(a.context, a.extent))
    return tenseal_wire.write_vector(message)


def vector_from_bytes(context: TenSEALContext, data: bytes) -> VectorData:
    """Raises SerializationError, KeyMismatchError where our own bytes name another key than the context's."""
    with _parsing("failed to parse CKKS stream"):
        message = tenseal_wire.read_vector(data)
    slots = context.parameters.slots
    if not message.sizes or not all(1 <= size <= slots for size in message.sizes):
        raise SerializationError(
            f"cannot read a CKKS vector of {len(message.sizes)} ciphertexts of {min(message.sizes, default=0)} to "
            f"{max(message.sizes, default=0)} values: at least one, from 1 to {slots} values each"
        )
    ciphertext = _ciphertext(context, message.ciphertexts, message.scale)
    extent = _extent(context, message.extension, max(message.sizes))
    return VectorData(context, ciphertext, message.sizes, message.scale, extent, _seeds(ciphertext))


def tensor_to_bytes(a: TensorData) -> bytes:
    """A tensor; half as long where it is as a secret key made it."""
    extension = _extension(a.context, a.extent)
    return tenseal_wire.write_tensor(tenseal_wire.TensorMessage(a.shape, _objects(a), a.scale, a.batch_size, extension))


def tensor_from_bytes(context: TenSEALContext, data: bytes) -> TensorData:
    """Raises SerializationError, KeyMismatchError where our own bytes name another key than the context's."""
    with _parsing("failed to parse CKKS tensor stream"):
        message = tenseal_wire.read_tensor(data)
    width, slots = message.batch_size or 1, context.parameters.slots
    if math.prod(message.shape) != len(message.ciphertexts) or not message.ciphertexts or width > slots:
        raise SerializationError(
            f"cannot read a CKKS tensor of shape {message.shape} from {len(message.ciphertexts)} ciphertexts of "
            f"{width} values: one for each element, and at most {slots} values"
        )
    ciphertext = _ciphertext(context, message.ciphertexts, message.scale)
    extent = _extent(context, message.extension, width)
    shaped = ciphertext.reshape(*message.shape)
    return TensorData(context, shaped, message.scale, message.batch_size, extent, _seeds(ciphertext))


def _objects(a: VectorData | TensorData) -> tuple[bytes, ...]:
    flat = a.ciphertext.reshape(a.ciphertext.size)
    if a.seeds is None:
        return tuple(seal_wire.write_ciphertexts(flat))
    singles = (replace(flat.take(np.array([i], dtype=np.intp)), seed=seed) for i, seed in enumerate(a.seeds))
    return tuple(seal_wire.write_ciphertext(single) for single in singles)


def _ciphertext(context: TenSEALContext, objects: Sequence[bytes], scale: float) -> Ciphertext:
    if not (math.isfinite(scale) and scale >= 1):
        raise SerializationError(f"cannot read a CKKS tensor of scale {scale}: it must be at least 1")
    with _foreign():
        ciphertext = seal_wire.read_ciphertexts(objects, context.parameters, context.key_id)
    return _exact(ciphertext, scale)


def _exact(a: Ciphertext, scale: float) -> Ciphertext:
    """SEAL writes a scale as a double; one that our own arithmetic leads to gets back the number behind it."""
    top = as_scale(scale)
    usual = scales(a.parameters, top)[a.level]
    for candidate in (usual, top, usual**2, top**2, usual * top):
        if candidate.log2 < 1000 and float(candidate) == float(a.scale):
            return replace(a, scale=candidate)
    return a


def _seeds(a: Ciphertext) -> tuple[Seed, ...] | None:
    return None if a.seed is None else (a.seed,)


# -- our own field -----------------------------------------------------------------------------------------


def _extension(context: TenSEALContext, extent: int) -> bytes:
    if context.label is not Label.GLOBAL:
        return b""
    return _EXTENSION.pack(_EXTENSION_VERSION, context.key_id, extent)


def _read_extension(data: bytes) -> tuple[bytes, int] | None:
    """Label and extent; None where there is none, or of a version that is not known."""
    if len(data) != _EXTENSION.size or data[0] != _EXTENSION_VERSION:
        return None
    _, key_id, extent = _EXTENSION.unpack(data)
    return key_id, extent


def _extent(context: TenSEALContext, extension: bytes, least: int) -> int:
    """How many slots repeat the values: what our bytes say, else none beyond the values themselves."""
    written = _read_extension(extension)
    if written is None:
        return least
    key_id, extent = written
    if context.label is Label.GLOBAL and key_id != context.key_id:
        raise KeyMismatchError("cannot read this tensor under this context: it belongs to another key")
    if not least <= extent <= context.parameters.slots:
        raise SerializationError(f"cannot read a tensor that repeats over {extent} slots")
    return extent


# -- errors ------------------------------------------------------------------------------------------------


def _checked_bytes(data: Any) -> bytes | bytearray | memoryview:
    if isinstance(data, str):
        raise SerializationError("failed to parse stream: bytes are needed, not str")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise OperandTypeError(f"cannot read a context from {type(data).__name__}: bytes are needed")
    return data


@contextmanager
def _parsing(words: str) -> Iterator[None]:
    """Malformed messages, in the peer's words."""
    try:
        yield
    except SerializationError as error:
        raise SerializationError(f"{words}: {error}") from error


@contextmanager
def _foreign() -> Iterator[None]:
    """Malformed SEAL objects are RuntimeErrors of the peer."""
    try:
        yield
    except InsecureParametersError:
        raise
    except (SerializationError, ParameterError, MalformedKeyError) as error:
        raise ForeignBytesError(str(error)) from error
