"""What a `CKKSVector` holds, and its arithmetic: immutable values, so that in-place forms only swap one for another.

A vector is cut into chunks of as many values as there are slots. A fresh chunk of n values repeats them to the last
slot: slot j holds value j mod n. Operations keep to that as far as they can, and `extent` says how far: in the slots
0 … extent-1. Where it reaches, sums are cyclic, a vector of one value needs no replication and packing no rotation;
where it does not (bytes do not say), the longer way gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import evaluator
from hecore.compat.tenseal import _evaluation, _polynomial, _rotation
from hecore.compat.tenseal._chain import as_scale
from hecore.compat.tenseal._encode import Slots
from hecore.compat.tenseal._errors import ContextError
from hecore.errors import ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.keys import SecretKey
    from hecore.ckks.scale import Scale
    from hecore.compat.tenseal._state import LabelledKey, TenSEALContext
    from hecore.ring.prng import Seed

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class VectorData:
    """Encrypted values: `ciphertext` (chunks,), of `sizes` values each; `scale` is what they were encoded at.

    seeds: of the ciphertexts as they are, where each was made from one; no operation keeps them.
    """

    context: TenSEALContext
    ciphertext: Ciphertext
    sizes: tuple[int, ...]
    scale: float
    extent: int
    seeds: tuple[Seed, ...] | None = None

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def top(self) -> Scale:
        """The scale at the highest level."""
        return as_scale(self.scale)

    def with_ciphertext(self, ciphertext: Ciphertext, *, extent: int | None = None) -> VectorData:
        """The result of an operation slot by slot."""
        return replace(self, ciphertext=ciphertext, seeds=None, extent=self.extent if extent is None else extent)

    def of_one_chunk(self, ciphertext: Ciphertext, size: int, extent: int) -> VectorData:
        """The result of an operation that moved slots: one ciphertext with `size` values."""
        return VectorData(self.context, ciphertext.reshape(1), (size,), self.scale, max(size, extent))


# -- in and out --------------------------------------------------------------------------------------------


def encrypt(context: TenSEALContext, values: Floats, scale: float | None) -> VectorData:
    """A fresh vector of 1-D values. Raises ParameterError if empty, ContextError, ScaleError, PlaintextRangeError."""
    scale = context.global_scale if scale is None else scale
    if values.size == 0:
        raise ParameterError("Attempting to encrypt an empty vector")
    parameters = context.parameters
    chunks = Slots(_replicated(values, parameters.slots))
    ciphertext, seeds = context.encrypt(chunks.encode(parameters, parameters.max_level, as_scale(scale)))
    return VectorData(context, ciphertext, _chunk_sizes(values.size, parameters.slots), scale, parameters.slots, seeds)


def decrypt(a: VectorData, secret_key: LabelledKey | None) -> list[float]:
    """The values. Raises ContextError without a secret key, KeyMismatchError for another than the vector's."""
    key = decryption_key(a.context, secret_key)
    slots = key.decrypt(a.ciphertext).real
    values: list[float] = np.concatenate([row[:n] for row, n in zip(slots, a.sizes, strict=True)]).tolist()
    return values


def decryption_key(context: TenSEALContext, secret_key: LabelledKey | None) -> SecretKey:
    """The one given, or the context's."""
    if secret_key is not None:
        return context.relabelled(secret_key)
    if context.is_public:
        raise ContextError(
            "the current context of the tensor doesn't hold a secret_key, please provide one as argument"
        )
    return context.secret_key


def _chunk_sizes(size: int, slots: int) -> tuple[int, ...]:
    full, rest = divmod(size, slots)
    return (slots,) * full + ((rest,) if rest else ())


def _replicated(values: Floats, slots: int) -> Floats:
    """(chunks, slots): each chunk of values repeated to the last slot."""
    if values.size <= slots:
        return np.resize(values, (1, slots))
    return np.stack([np.resize(values[i : i + slots], slots) for i in range(0, values.size, slots)])


# -- slot by slot --------------------------------------------------------------------------------------------


def add(a: VectorData, b: float | Floats | VectorData, *, subtract: bool = False) -> VectorData:
    """a + b or a - b. Raises ShapeError for other sizes."""
    verb = "sub" if subtract else "add"
    if isinstance(b, VectorData):
        a, b = _same_size(a, b, verb)
        total = _evaluation.add(a.context, a.ciphertext, b.ciphertext, subtract=subtract)
        return a.with_ciphertext(total, extent=min(a.extent, b.extent))
    if isinstance(b, float):
        value = -b if subtract else b
        return a.with_ciphertext(_evaluation.add_constant(a.context, a.ciphertext, value, a.top))
    plain = Slots(_plain_operand(a, b, verb))
    return a.with_ciphertext(_evaluation.add_plain(a.context, a.ciphertext, plain, a.top, subtract=subtract))


def multiply(a: VectorData, b: float | Floats | VectorData) -> VectorData:
    """a * b. Raises ShapeError for other sizes, ScaleError and LevelError where no level is left."""
    if isinstance(b, VectorData):
        same = a is b
        a, b = _same_size(a, b, "multiply")
        right = a.ciphertext if same else b.ciphertext
        product = _evaluation.multiply(a.context, a.ciphertext, right)
        return a.with_ciphertext(product, extent=min(a.extent, b.extent))
    if isinstance(b, float):
        return a.with_ciphertext(_evaluation.multiply_constant(a.context, a.ciphertext, b, a.top))
    plain = Slots(_plain_operand(a, b, "multiply"))
    return a.with_ciphertext(_evaluation.multiply_plain(a.context, a.ciphertext, plain, a.top))


def negate(a: VectorData) -> VectorData:
    return a.with_ciphertext(evaluator.negate(a.ciphertext))


def power(a: VectorData, exponent: int) -> VectorData:
    """a^exponent; fresh ones for 0."""
    if exponent == 0:
        return encrypt(a.context, np.ones(a.size), a.scale)
    return a.with_ciphertext(_polynomial.power(a.context, a.ciphertext, exponent))


def polynomial(a: VectorData, coefficients: list[float]) -> VectorData:
    """sum_i coefficients[i] * a^i, the last one not zero; a fresh encryption where it is a constant."""
    coefficients = _polynomial.significant(coefficients, a.top)
    if len(coefficients) < 2:
        return encrypt(a.context, np.full(a.size, sum(coefficients)), a.scale)
    return a.with_ciphertext(_polynomial.polynomial(a.context, a.ciphertext, coefficients, a.top))


def _plain_operand(a: VectorData, values: Floats, verb: str) -> Floats:
    if values.size != a.size:
        raise ShapeError(f"can't {verb} vectors of different sizes: {a.size} and {values.size}")
    slots = a.context.parameters.slots
    if len(a.sizes) == 1:
        return np.resize(values, (1, slots))
    offsets = np.cumsum((0, *a.sizes))
    return np.stack([np.resize(values[i : i + n], slots) for i, n in zip(offsets, a.sizes, strict=False)])


def _same_size(a: VectorData, b: VectorData, verb: str) -> tuple[VectorData, VectorData]:
    b = same_key(a, b, verb)
    if a.sizes == b.sizes:
        return a, b
    if a.size == 1:
        return replicated(a, b.sizes), b
    if b.size == 1:
        return a, replicated(b, a.sizes)
    raise ShapeError(f"can't compute on vectors of different sizes: {a.size} and {b.size}")


def same_key(a: VectorData, b: VectorData, verb: str) -> VectorData:
    """b as an operand beside a: of the same parameters and scale, and where labels say nothing, under a's label."""
    mine, theirs = a.context, b.context
    if mine is theirs:
        return b
    if mine.parameters != theirs.parameters or mine.scale_or_none != theirs.scale_or_none:
        raise ContextError(f"can't {verb} vectors that have different contexts")
    if a.ciphertext.key_id != b.ciphertext.key_id and not mine.tells_apart(theirs.label):
        return replace(b, ciphertext=replace(b.ciphertext, key_id=a.ciphertext.key_id, evaluation_keys=None))
    return b


def replicated(a: VectorData, sizes: tuple[int, ...]) -> VectorData:
    """A vector of one value as one of `sizes`. Where it does not reach, costs a level and needs Galois keys."""
    slots = a.context.parameters.slots
    needed = max(sizes)
    ciphertext, extent = a.ciphertext, a.extent
    if extent < needed:
        masked = _evaluation.multiply_plain(a.context, ciphertext, Slots(np.ones((1, 1))), a.top)
        extent = min(slots, 1 << (needed - 1).bit_length())
        ciphertext = _rotation.spread(a.context, masked, extent)
    chunks = ciphertext.take(np.zeros(len(sizes), dtype=np.intp))
    return VectorData(a.context, chunks, sizes, a.scale, extent)


# -- across slots --------------------------------------------------------------------------------------------


def total(a: VectorData) -> VectorData:
    """The sum of all values, a vector of one. Needs Galois keys where there is more than one."""
    if a.size == 1:
        return replace(a, seeds=None)
    slots = a.context.parameters.slots
    full = [i for i, n in enumerate(a.sizes) if n == slots]
    parts = [(a.ciphertext.take(np.array([i])), n, a.extent) for i, n in enumerate(a.sizes) if n != slots]
    if full:
        whole = _rotation.sum_first_axis(a.ciphertext.take(np.array(full, dtype=np.intp)))
        parts.insert(0, (whole.reshape(1), slots, slots))
    sums = [_rotation.window_sum(a.context, c, n, extent) for c, n, extent in parts]
    ciphertext = sums[0][0]
    for other, _ in sums[1:]:
        ciphertext = evaluator.add(ciphertext, other)
    return a.of_one_chunk(ciphertext, 1, min(extent for _, extent in sums))


def pack(vectors: Sequence[VectorData]) -> VectorData:
    """Vectors of one size n, each in one chunk, one after the other. Costs a level."""
    if not vectors:
        raise ParameterError("can't pack no vectors: empty input vector")
    first = vectors[0]
    slots, n = first.context.parameters.slots, first.size
    if n * len(vectors) > slots:
        raise ShapeError(f"output size is bigger than slot count: {n * len(vectors)} and {slots}")
    if any(v.size != n for v in vectors):
        raise ShapeError("vectors sizes are different")
    packed: Ciphertext | None = None
    for i, vector in enumerate(vectors):
        vector = same_key(first, vector, "pack")
        mask = np.zeros((1, n * len(vectors)))
        mask[0, i * n : (i + 1) * n] = 1.0
        placed = vector.ciphertext
        if vector.extent < (i + 1) * n:
            placed = _rotation.rotate(first.context, placed, -i * n)
        part = _evaluation.multiply_plain(first.context, placed, Slots(mask), vector.top)
        packed = part if packed is None else _evaluation.add(first.context, packed, part)
    assert packed is not None
    return first.of_one_chunk(packed, n * len(vectors), n * len(vectors))


def enc_matmul_plain(a: VectorData, vector: Floats, rows: int) -> VectorData:
    """The encrypted matrix of `rows` rows, its columns one after the other, times a plain vector.

    The columns are as many as the vector has values, or the next power of two. Costs a level; needs Galois keys.
    """
    if vector.size == 0:
        raise ParameterError("Plain vector can't be empty")
    if len(a.sizes) != 1:
        raise ShapeError("can't execute enc_matmul_plain on chunked vectors")
    columns = 1 << (vector.size - 1).bit_length()
    if rows < 1 or a.size // rows != columns:
        raise ShapeError(
            f"Matrix shape doesn't match with vector size: {rows} rows, {columns} columns, {a.size} values"
        )
    slots = a.context.parameters.slots
    factors = np.repeat(np.concatenate([vector, np.zeros(columns - vector.size)]), rows)
    extent = a.extent if factors.size == a.size else a.size
    plain = Slots(np.resize(factors, (1, slots)))
    product = _evaluation.multiply_plain(a.context, a.ciphertext, plain, a.top)
    folded = _rotation.fold(a.context, product, rows, columns)
    return a.of_one_chunk(folded, rows, extent - rows * (columns - 1))
