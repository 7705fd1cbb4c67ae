"""Plain matrices times encrypted vectors: the diagonal method with baby and giant steps.

y = M x for a matrix M (m, n) and a vector x whose slots repeat after p >= n of them (`Layout.period`, a power of two;
zeros beyond n). Let r be the smallest power of two with r >= m.

    slot t of P_d = M[t mod r, (t + d) mod p]   (0 outside the matrix),   t < max(r, p), d < min(r, p),

the d-th generalized diagonal (Halevi, Shoup: "Algorithms in HElib", CRYPTO 2014; for r < p the hybrid of Juvekar,
Vaikuntanathan, Chandrakasan: "GAZELLE", USENIX Security 2018). With rot_d(x)[t] = x[t + d], slot t of

    z = sum_d P_d * rot_d(x)

is sum_d M[t mod r, (t+d) mod p] x[(t+d) mod p]: all of y where r >= p; else a part of y[t mod r], and the p/r slots
that are congruent modulo r have disjoint parts, so that summing them (rotations by r, 2r, …) gives y. The result
repeats after r slots, with zeros beyond m: ready for the next product. Neither masks nor clean-up are needed.

Baby steps j < b and giant steps k*b (Halevi, Shoup, CRYPTO 2018):

    z = sum_k rot_(k*b)( sum_j rot_(-k*b)(P_(k*b+j)) * rot_j(x) ),

about 2*sqrt(d) rotations instead of d. The baby steps share decompositions (hoisting); the inner sums are one
multiply-accumulate; the giant steps add up before the division by P (`rotation.sum_of_rotations`). Diagonals are
encoded at the modulus that the rescale divides by, so that the result has exactly the scale of x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hecore.ckks import encoding, evaluator, noise, rotation
from hecore.ckks.ciphertext import Ciphertext, concatenate
from hecore.ckks.layout import Layout
from hecore.ckks.operands import Constant, as_plain, public_bound
from hecore.ckks.scale import Scale
from hecore.ckks.tensor_shapes import stack
from hecore.ckks.tensor_sums import weighted_sum
from hecore.counting import count
from hecore.errors import OperandTypeError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend
    from hecore.ckks.encoding import Plaintext
    from hecore.ckks.params import Parameters
    from hecore.ckks.tensor import EncryptedTensor

__all__ = ["LinearTransform", "PlainMatrix", "linear_transform", "matmul"]

_GIANT = 1.3
"""What a giant step costs in baby steps: a decomposition of its own against a share in one (counted in transforms)."""


class LinearTransform:
    """sum_d diagonals[d] * rot_d(x): a linear map on the slots, encoded once for each level and backend it meets.

    `diagonals` are {step: values}, real or complex arrays whose length, a power of two, divides the slots.
    """

    def __init__(self, diagonals: Mapping[int, ArrayLike]) -> None:
        if not diagonals:
            raise ShapeError("cannot make a linear transform of no diagonals")
        if not all(isinstance(step, int | np.integer) for step in diagonals):
            raise OperandTypeError("cannot rotate by a fraction of a slot: the keys of diagonals are integers")
        self._diagonals = {int(step): encoding.checked_values(d, None) for step, d in diagonals.items()}
        lengths = {d.shape for d in self._diagonals.values()}
        if any(len(shape) != 1 or shape[0] < 1 or shape[0] & (shape[0] - 1) for shape in lengths):
            raise ShapeError(
                f"cannot use diagonals of shapes {lengths}: (length,), a power of two that divides the slots"
            )
        self.baby_steps = _baby_steps(self._diagonals)
        self.largest = public_bound(np.concatenate(list(self._diagonals.values())))
        period = max(shape[0] for shape in lengths)
        sums = sum(np.tile(np.abs(d), period // len(d)) for d in self._diagonals.values())
        self.row_sum = public_bound(np.asarray(sums))
        """At least the sum of magnitudes that enter a slot: a power of two."""
        self._dtype = np.result_type(*self._diagonals.values())
        self._encoded: dict[tuple[Parameters, int, RingBackend], list[Plaintext]] = {}

    @property
    def giant_steps(self) -> list[int]:
        """Multiples of `baby_steps` that occur, ascending."""
        return sorted({step // self.baby_steps * self.baby_steps for step in self._diagonals})

    @property
    def offsets(self) -> list[int]:
        """Steps from 0 to baby_steps - 1 that occur, ascending."""
        return sorted({step % self.baby_steps for step in self._diagonals})

    def encoded(self, a: Ciphertext) -> list[Plaintext]:
        """For each giant step the plaintexts (offsets,) of its diagonals, turned back by it, at a's level; kept."""
        at = a.parameters, a.level, a.backend
        if at not in self._encoded:
            self._encoded[at] = [self._encode(a, giant) for giant in self.giant_steps]
        return self._encoded[at]

    def _encode(self, a: Ciphertext, giant: int) -> Plaintext:
        slots = a.parameters.slots
        rows = np.zeros((len(self.offsets), slots), dtype=self._dtype)
        for row, offset in zip(rows, self.offsets, strict=True):
            diagonal = self._diagonals.get(giant + offset)
            if diagonal is not None:
                if slots % len(diagonal):
                    raise ShapeError(
                        f"cannot use a diagonal of {len(diagonal)} values over {slots} slots: it must divide them"
                    )
                row[:] = np.tile(np.roll(diagonal, giant), slots // len(diagonal))
        scale = Scale.of(evaluator.last_modulus(a, "transform"))
        return encoding.encode(rows, a.parameters, level=a.level, scale=scale, bound=self.largest, backend=a.backend)


def _baby_steps(steps: Iterable[int]) -> int:
    """The power of two b for which offsets below b and multiples of b cost the least."""
    steps = list(steps)
    reach = max(abs(step) for step in steps) + 1

    def cost(b: int) -> float:
        return len({step % b for step in steps}) + _GIANT * len({step // b for step in steps})

    return min((1 << i for i in range(reach.bit_length() + 1)), key=cost)


def linear_transform(a: Ciphertext, transform: LinearTransform) -> Ciphertext:
    """The transform of the slots of every ciphertext: one level lower, at exactly the same scale.

    Raises LevelError, MissingKeyError for rotations without keys, ShapeError for diagonals that do not fit the slots.
    """
    return _transform(a.reshape(*a.shape, 1), [transform])


def _transform(a: Ciphertext, transforms: Sequence[LinearTransform]) -> Ciphertext:
    """Ciphertexts (*S, parts), a transform for each part, all of the same steps: the sum over the parts, (*S)."""
    modulus = Scale.of(evaluator.last_modulus(a, "transform"))
    offsets, giants, parts = transforms[0].offsets, transforms[0].giant_steps, len(transforms)
    row_sum = sum(t.row_sum for t in transforms)
    bound = None if a.bound is None else a.bound * row_sum
    evaluator.check_fits(a.parameters, a.level, a.scale * modulus, bound, "transform")
    babies = rotation.rotate_hoisted(a, offsets)
    stacked = _by_terms(babies)
    encoded = [t.encoded(a) for t in transforms]
    rounding = sum(row[k].noise for row in encoded for k in range(len(giants))) * len(offsets)
    count("multiply_plain", a.size * len(offsets) * len(giants))
    sums = {}
    for k, giant in enumerate(giants):
        row = encoded[0][k].polynomial if parts == 1 else a.backend.ring_concatenate([e[k].polynomial for e in encoded])
        polynomials = a.backend.residue_mul_accumulate(stacked, row)
        sums[giant] = a.derived(polynomials, scale=a.scale * modulus, bound=bound, noise=0.0)
    worst = max(baby.noise for baby in babies)
    products = noise.multiplication(a.bound, a.scale, worst, row_sum, modulus, rounding)
    out = rotation.sum_of_rotations(sums)
    return evaluator.rescale(replace(out, bound=bound, noise=out.noise + products))


def _by_terms(babies: list[Ciphertext]) -> PolynomialArray:
    """Ciphertexts of batch shape (*S, parts) as (*S, 2, parts * len(babies)): inner sums run over the last axis."""
    backend, shape = babies[0].backend, babies[0].shape
    joined = backend.ring_concatenate([baby.polynomials for baby in babies])
    order = np.arange(joined.size, dtype=np.intp).reshape(len(babies), *shape, 2)
    order = np.moveaxis(order, 0, -1)  # (*S, parts, 2, babies)
    order = np.moveaxis(order, -3, -2)
    return backend.ring_take(joined, order.reshape(*shape[:-1], 2, shape[-1] * len(babies)))


# -- matrices ----------------------------------------------------------------------------------------------


class PlainMatrix:
    """A plain real or complex matrix (m, n) whose encoding is kept: use one object for all products with a matrix.

    `matrix @ x` and `x @ matrix` as for an array; without it, a product encodes the matrix each time.
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = encoding.checked_values(values, None).copy()
        if self.values.ndim != 2 or self.values.size == 0:
            raise ShapeError(f"cannot make a plain matrix of shape {self.values.shape}: (rows, columns)")
        self.values.setflags(write=False)
        self.row_sum = public_bound(np.abs(self.values).sum(axis=1))
        """At least the sum of magnitudes in each row: a power of two."""
        self._transposed: PlainMatrix | None = None
        self._blocks: dict[tuple[int, int], list[list[LinearTransform]]] = {}

    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.values.shape
        return rows, columns

    @property
    def T(self) -> PlainMatrix:  # noqa: N802  (NumPy's name)
        """The transposed matrix; the same object each time."""
        if self._transposed is None:
            self._transposed = PlainMatrix(self.values.T)
            self._transposed._transposed = self
        return self._transposed

    def blocks(self, period: int, slots: int) -> list[list[LinearTransform]]:
        """For each chunk of the result, for each chunk of the vector, of this period, its transform; kept."""
        if (period, slots) not in self._blocks:
            rows, columns = self.shape
            self._blocks[period, slots] = [
                [
                    _diagonals(self.values[i : i + slots, j : j + slots], period, min(rows, slots))
                    for j in range(0, columns, slots)
                ]
                for i in range(0, rows, slots)
            ]
        return self._blocks[period, slots]

    def __repr__(self) -> str:
        return f"<PlainMatrix of shape {self.shape}>"


def _diagonals(matrix: NDArray[Any], period: int, rows: int) -> LinearTransform:
    """The generalized diagonals of the module's docstring; `rows` of the result, of which the matrix may have fewer."""
    repeat = 1 << (rows - 1).bit_length()
    whole = np.zeros((repeat, period), dtype=matrix.dtype)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    t = np.arange(max(repeat, period))
    return LinearTransform({d: whole[t % repeat, (t + d) % period] for d in range(min(repeat, period))})


def multiply_matrix(matrix: PlainMatrix, x: EncryptedTensor) -> EncryptedTensor:
    """M @ x along the packed axis: batch + (n,) to batch + (m,), one level lower."""
    rows, columns = matrix.shape
    layout, slots = x.layout, x.layout.slots
    if layout.shape != (columns,):
        raise ShapeError(f"cannot multiply a matrix of shape {matrix.shape} with packed values of shape {layout.shape}")
    if x.padding is None:
        x = x.without_padding()  # elsewhere the matrix has zeros
    result = Layout((rows,), slots)
    bound = None if x.ciphertext.bound is None else x.ciphertext.bound * matrix.row_sum
    chunks = []
    for transforms in matrix.blocks(layout.period, slots):
        chunk = _transform(x.ciphertext, transforms)
        if result.period < layout.period:
            chunk = rotation.inner_sum(chunk, layout.period // result.period, result.period, periodic=True)
        chunks.append(replace(chunk, bound=bound))
    ciphertext = join_chunks(chunks)
    return replace(
        x, ciphertext=ciphertext, layout=result, dtype=np.result_type(x.dtype, matrix.values.dtype), padding=0.0
    )


def join_chunks(chunks: list[Ciphertext]) -> Ciphertext:
    """Ciphertexts of batch shape S side by side: (*S, len(chunks))."""
    shape, number = chunks[0].shape, len(chunks)
    if number == 1:
        return chunks[0].reshape(*shape, 1)
    joined = concatenate(chunks)
    return joined.take(np.moveaxis(joined.flat_indices().reshape(number, *shape), 0, -1))


def matmul(x: EncryptedTensor, other: object) -> EncryptedTensor:
    """`x @ other` along the last packed axis of x, which is the only one.

    Another encrypted vector gives the dot product, as does a plain vector; a plain matrix (n, m), or PlainMatrix, gives
    batch + (m,). Raises ShapeError, LevelError, MissingKeyError.
    """
    from hecore.ckks.tensor import EncryptedTensor

    if isinstance(other, EncryptedTensor):
        if len(x.layout.shape) != 1 or other.shape != x.layout.shape:
            raise ShapeError(
                f"cannot matrix-multiply encrypted shapes {x.shape} and {other.shape}: encrypted vectors of one "
                "length, of which the first may have batch axes, or a plain matrix"
            )
        return (x * other).sum(axis=-1)
    if isinstance(other, PlainMatrix):
        return multiply_matrix(other.T, x)
    plain = as_plain(other)
    if isinstance(plain, Constant):
        raise ShapeError("cannot matrix-multiply a number: scalars need *")
    if plain.values.ndim not in (1, 2) or len(x.layout.shape) != 1:
        raise ShapeError(
            f"cannot matrix-multiply packed values of shape {x.layout.shape} with an operand of shape "
            f"{plain.values.shape}: one packed axis, and a vector or a matrix"
        )
    if plain.values.shape[0] != x.layout.size:
        raise ShapeError(f"cannot matrix-multiply shapes {x.shape} and {plain.values.shape}: the inner sizes differ")
    if plain.values.ndim == 1:
        return (x * plain.values).sum(axis=-1)
    return multiply_matrix(PlainMatrix(plain.values.T), x)


def matmul_from_left(other: object, x: EncryptedTensor) -> EncryptedTensor:
    """`other @ x`: a plain matrix (m, n), or vector (n,), times an encrypted vector, or times the rows of batch axes.

    With one batch axis (n,) the result is the linear combinations of the batch: constants alone, no rotation.
    """
    plain = other if isinstance(other, PlainMatrix) else as_plain(other)
    if isinstance(plain, Constant):
        raise ShapeError("cannot matrix-multiply a number: scalars need *")
    values = plain.values
    if values.ndim in (1, 2) and len(x.batch) == 1 and x.ndim == 2:
        if values.shape[-1] != len(x):
            raise ShapeError(f"cannot matrix-multiply shapes {values.shape} and {x.shape}: the inner sizes differ")
        rows = list(x)
        if values.ndim == 1:
            return weighted_sum(rows, values.tolist())
        return stack([weighted_sum(rows, row) for row in values.tolist()])
    if x.batch:
        raise ShapeError(f"cannot matrix-multiply shapes {values.shape} and {x.shape}: at most one batch axis")
    if isinstance(plain, PlainMatrix):
        return multiply_matrix(plain, x)
    return matmul(x, values.T if values.ndim == 2 else values)
