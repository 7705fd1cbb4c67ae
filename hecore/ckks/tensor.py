"""`EncryptedTensor`: an array of any size in the slots of CKKS ciphertexts, with NumPy's manners.

Operators relinearize, rescale and align scales as needed: `x * y` ends one level lower and ready for the next
operation. A Python or NumPy integer multiplies without costing a level. Tensors are immutable.

Worst cases travel with a tensor, for `decrypt_public` and for checks: a plain operand enters them by its largest
magnitude, rounded up to a power of two. Slots that hold no value hold a public number, `padding`, which follows from
the operations (0.5 after `x + 0.5`) and which sums take away again; where it is unknown, because an encrypted number
was added to all slots, they need a mask, and a level for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import encoding, evaluator, tensor_shapes, tensor_sums
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.layout import Layout
from hecore.ckks.operands import Constant, Plain, as_plain, public_bound
from hecore.ckks.refusals import Refusals
from hecore.ckks.scale import Scale
from hecore.errors import OperandTypeError, ShapeError

if TYPE_CHECKING:
    from hecore.ckks.keys import EvaluationKeys, PublicKey
    from hecore.ckks.params import Parameters

__all__ = ["EncryptedTensor"]


@dataclass(frozen=True, eq=False, repr=False)
class EncryptedTensor(Refusals):
    """Encrypted values of shape batch + layout.shape, in ciphertexts of shape (*batch, layout.chunks).

    `layout` says how the packed axes, the last ones, lie in the slots; batch axes (from `stack`) hold ciphertexts of
    their own. Made by `PublicKey.encrypt`, `SecretKey.encrypt` and `from_bytes`.
    """

    ciphertext: Ciphertext
    layout: Layout
    dtype: np.dtype[Any]
    """What `decrypt` returns: float64 or complex128."""
    padding: complex | None = 0.0
    """What slots without a value hold, up to the noise; public. None where it depends on encrypted values."""

    __array_priority__ = 1000.0

    def __post_init__(self) -> None:
        if self.ciphertext.shape[-1:] != (self.layout.chunks,):
            raise ShapeError(
                f"cannot use ciphertexts of shape {self.ciphertext.shape} for values of shape {self.layout.shape}: "
                f"{self.layout.chunks} chunks of {self.layout.slots} slots are needed"
            )

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def batch(self) -> tuple[int, ...]:
        return self.ciphertext.shape[:-1]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.batch + self.layout.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def parameters(self) -> Parameters:
        return self.ciphertext.parameters

    @property
    def level(self) -> int:
        """Rescales left."""
        return self.ciphertext.level

    @property
    def scale(self) -> Scale:
        return self.ciphertext.scale

    @property
    def device(self) -> str:
        """Name of the backend the ciphertexts live on."""
        return self.ciphertext.device

    def __len__(self) -> int:
        if not self.shape:
            raise OperandTypeError("cannot take len() of an encrypted scalar")
        return self.shape[0]

    def __iter__(self) -> Iterator[EncryptedTensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<EncryptedTensor shape={self.shape} {self.dtype} in {self.ciphertext!r}>"

    def to(self, device: str) -> EncryptedTensor:
        """The same ciphertexts on another backend."""
        return replace(self, ciphertext=self.ciphertext.to(device))

    def with_keys(self, keys: EvaluationKeys) -> EncryptedTensor:
        """The same ciphertexts with other evaluation keys of their key. Raises KeyMismatchError, ParameterError."""
        return replace(self, ciphertext=self.ciphertext.with_keys(keys))

    def copy(self) -> EncryptedTensor:
        """Itself: tensors are immutable."""
        return self

    # -- shapes --------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> EncryptedTensor:
        """NumPy's indexing of batch axes, and cuts between chunks of the first packed axis.

        Raises ShapeError for a cut within a chunk, which would need a rotation and a mask.
        """
        return tensor_shapes.take(self, key)

    def reshape(self, *shape: int | tuple[int, ...]) -> EncryptedTensor:
        """The packed axes in another shape, C order; batch axes stay as they are. One size may be -1."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        try:
            new = np.broadcast_to(np.False_, self.shape).reshape(wanted).shape  # type: ignore[arg-type]
        except (ValueError, TypeError):
            raise ShapeError(f"cannot reshape {self.shape} into {wanted}") from None
        axes = len(self.batch)
        if new[:axes] != self.batch:
            raise ShapeError(f"cannot reshape {self.shape} into {new}: the batch axes {self.batch} stay as they are")
        return replace(self, layout=replace(self.layout, shape=new[axes:]))

    def ravel(self) -> EncryptedTensor:
        return self.reshape(*self.batch, -1)

    flatten = ravel

    # -- arithmetic ----------------------------------------------------------------------------------------

    def __add__(self, other: object) -> EncryptedTensor:
        if isinstance(other, EncryptedTensor):
            return self._with(other, _add_matched, _sum)
        plain = as_plain(other)
        if isinstance(plain, Constant):
            total = evaluator.add(self.ciphertext, plain.value)
            return self.derived(total, _sum(self.padding, complex(plain.value)))
        return self._with_array(plain, self.scale, evaluator.add, _sum)

    __radd__ = __add__

    def __sub__(self, other: object) -> EncryptedTensor:
        if isinstance(other, EncryptedTensor):
            return self._with(other, _subtract_matched, lambda a, b: _sum(a, _product(b, -1)))
        return self + as_plain(other).negated()

    def __rsub__(self, other: object) -> EncryptedTensor:
        return -self + other

    def __neg__(self) -> EncryptedTensor:
        return self.derived(evaluator.negate(self.ciphertext), _product(self.padding, -1))

    def __pos__(self) -> EncryptedTensor:
        return self

    def __mul__(self, other: object) -> EncryptedTensor:
        if isinstance(other, EncryptedTensor):
            return self._with(other, evaluator.multiply_rescale, _product)
        plain = as_plain(other)
        if isinstance(plain, Constant):
            product = evaluator.multiply_rescale(self.ciphertext, plain.value)
            return self.derived(product, _product(self.padding, complex(plain.value)))
        scale = Scale.of(evaluator.last_modulus(self.ciphertext, "multiply"))
        return self._with_array(plain, scale, evaluator.multiply_rescale, _product)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> EncryptedTensor:
        """Product with the reciprocals of plain numbers."""
        if isinstance(other, EncryptedTensor):
            raise OperandTypeError("cannot divide by an encrypted tensor: ckks.inverse approximates its reciprocal")
        return self * as_plain(other).reciprocal()

    def __pow__(self, exponent: object) -> EncryptedTensor:
        """Whole powers from 1 on, in ceil(log2(exponent)) levels."""
        from hecore.ckks import polynomial

        if isinstance(exponent, bool | np.bool_) or not isinstance(exponent, int | np.integer) or exponent < 1:
            raise OperandTypeError("cannot raise an encrypted tensor to this power: a whole number from 1 on is needed")
        return polynomial.power(self, int(exponent))

    def __matmul__(self, other: object) -> EncryptedTensor:
        """`x @ y` of two vectors, `x @ vector`, `x @ matrix`; `x` may have batch axes. See `hecore.ckks.linear`."""
        from hecore.ckks import linear

        return linear.matmul(self, other)

    def __rmatmul__(self, other: object) -> EncryptedTensor:
        from hecore.ckks import linear

        return linear.matmul_from_left(other, self)

    def dot(self, other: object) -> EncryptedTensor:
        """`self @ other`."""
        return self @ other

    def sum(self, axis: Any = None, keepdims: bool = False) -> EncryptedTensor:
        """The sum along axes: additions along batch axes, rotations along packed ones, of which the first ones can go.

        Raises ShapeError for other packed axes, MissingKeyError without Galois keys.
        """
        return tensor_sums.total(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> EncryptedTensor:
        """The sum, times the reciprocal of the count: one level."""
        out = self.sum(axis, keepdims)
        return out * (out.size / self.size)

    def conj(self) -> EncryptedTensor:
        """Complex conjugates. Raises MissingKeyError."""
        from hecore.ckks import rotation

        return self.derived(
            rotation.conjugate(self.ciphertext), None if self.padding is None else self.padding.conjugate()
        )

    conjugate = conj

    def roll(self, shift: SupportsIndex) -> EncryptedTensor:
        """`np.roll` of packed values that fill a power of two of one chunk. Raises ShapeError, MissingKeyError."""
        from hecore.ckks import rotation

        if self.layout.size != self.layout.period:
            raise ShapeError(
                f"cannot roll {self.layout.size} values that lie in {self.layout.chunks} chunks of period "
                f"{self.layout.period}: a power of two up to {self.layout.slots} is needed"
            )
        step = -int(shift.__index__()) % self.layout.period
        return self.derived(rotation.rotate(self.ciphertext, step), self.padding)

    # -- how operands meet ---------------------------------------------------------------------------------

    def _with(self, other: EncryptedTensor, operation: Callable[..., Ciphertext], rule: Rule) -> EncryptedTensor:
        """Two tensors: of one layout, batch axes broadcasting, or one of a single value, which is in all slots."""
        a, b = self.layout, other.layout
        if a.shape != b.shape and a.size != 1 and b.size != 1:
            raise ShapeError(
                f"cannot broadcast packed shapes {a.shape} and {b.shape}: they are the same, or one is a single value"
            )
        _broadcast(self.shape, other.shape)
        layout = max(a, b, key=lambda layout: (layout.size, len(layout.shape)))
        result = operation(self._beside(layout), other._beside(layout))
        padding = rule(self._filler(layout), other._filler(layout))
        return EncryptedTensor(result, layout, np.result_type(self.dtype, other.dtype), padding)

    def _beside(self, layout: Layout) -> Ciphertext:
        """The ciphertexts, their batch axes where NumPy puts them: before the packed axes of `layout`."""
        if len(self.layout.shape) == len(layout.shape):
            return self.ciphertext
        batch = self.shape[: max(0, self.ndim - len(layout.shape))]
        if math.prod(batch) != math.prod(self.batch):
            raise ShapeError(
                f"cannot broadcast shape {self.shape}, of one value a ciphertext, along the packed axes "
                f"{layout.shape}: reshape puts axes of length 1 behind the batch axes"
            )
        return self.ciphertext.reshape(*batch, 1)

    def _filler(self, layout: Layout) -> complex | None:
        """What this operand puts where `layout` has no value: a single value is in all slots."""
        return None if self.layout.size == 1 and not layout.is_full else self.padding

    def _with_array(
        self, plain: Plain, scale: Scale, operation: Callable[..., Ciphertext], rule: Rule
    ) -> EncryptedTensor:
        """A tensor and an array of plain numbers, broadcasting; a single encrypted value is in all slots already."""
        shape = _broadcast(self.shape, plain.values.shape)
        axes = len(shape) - len(self.layout.shape)
        packed = shape[axes:]
        if self.layout.size == 1 and not self.batch:
            packed = shape
        elif packed != self.layout.shape and self.layout.size != 1:
            raise ShapeError(f"cannot broadcast packed values of shape {self.layout.shape} to {packed}")
        layout = self.layout if packed == self.layout.shape else Layout(packed, self.layout.slots)
        batch = plain.values.shape[: max(0, plain.values.ndim - len(packed))]
        given = plain.values
        values = layout.pack(given if given.shape == (*batch, *packed) else np.broadcast_to(given, (*batch, *packed)))
        result = operation(self.ciphertext, self._encoded(values, scale))
        padding = rule(self._filler(layout), 0.0)
        return EncryptedTensor(result, layout, np.result_type(self.dtype, plain.values.dtype), padding)

    def without_padding(self) -> EncryptedTensor:
        """The same values with zeros in the slots that hold none; see `with_padding`."""
        return self.with_padding(0.0)

    def with_padding(self, value: float) -> EncryptedTensor:
        """The same values with `value` in the slots that hold none.

        For nothing where it is there already, by one plain addition where they are known, else by a mask, which costs
        a level (LevelError at level 0).
        """
        if self.layout.is_full or self.padding == value:
            return replace(self, padding=complex(value))
        values = self.layout.pack(np.ones(self.layout.shape))
        if self.padding is None:
            scale = Scale.of(evaluator.last_modulus(self.ciphertext, "mask"))
            masked = evaluator.multiply_rescale(self.ciphertext, self._encoded(values, scale))
            return self.derived(masked, 0.0).with_padding(value)
        missing = value - (self.padding.real if self.dtype.kind == "f" else self.padding)
        filled = evaluator.add(self.ciphertext, self._encoded((1.0 - values) * missing, self.scale))
        bound = self.ciphertext.bound  # no slot holds the sum of both
        return self.derived(replace(filled, bound=None if bound is None else max(bound, abs(value))), complex(value))

    def _encoded(self, values: NDArray[Any], scale: Scale) -> encoding.Plaintext:
        """Slots (…, slots), checked already, next to this tensor's ciphertexts."""
        bound = public_bound(values)
        message = encoding.prepare(values, self.parameters, level=self.level, scale=scale, bound=bound)
        polynomial = message.polynomial(self.ciphertext.backend)
        return encoding.Plaintext(self.parameters, polynomial, self.level, scale, bound, message.noise)

    def derived(self, ciphertext: Ciphertext, padding: complex | None) -> EncryptedTensor:
        """What an operation on every slot made of this tensor."""
        return replace(self, ciphertext=ciphertext, padding=padding)

    # -- NumPy's protocols ---------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> EncryptedTensor:
        from hecore.ckks.numpy_protocol import call_ufunc

        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        from hecore.ckks.numpy_protocol import call_function

        return call_function(function, args, kwargs)

    # -- bytes ---------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The compact wire form: see `hecore.ckks.wire`.

        Slots without a value are cleared where `padding` is known. Where it is not (after `x - x.sum()` they hold the
        sum), whoever decrypts could read them: `without_padding` clears them for one level.
        """
        from hecore.ckks import wire

        return wire.tensor_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes, keys: Parameters | PublicKey | EvaluationKeys) -> EncryptedTensor:
        """Reads the wire form on the current backend; under a key, checks that it is the tensor's: see `wire`."""
        from hecore.ckks import wire

        return wire.tensor_from_bytes(data, keys)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle carries no keys; `with_keys` brings evaluation keys back."""
        return EncryptedTensor.from_bytes, (self.to_bytes(), self.parameters)


Rule = Callable[["complex | None", "complex | None"], "complex | None"]


def _sum(a: complex | None, b: complex | None) -> complex | None:
    return None if a is None or b is None else a + b


def _product(a: complex | None, b: complex | None) -> complex | None:
    if a == 0 or b == 0:
        return 0.0
    return None if a is None or b is None else a * b


def _add_matched(a: Ciphertext, b: Ciphertext) -> Ciphertext:
    return evaluator.add(*evaluator.match(a, b))


def _subtract_matched(a: Ciphertext, b: Ciphertext) -> Ciphertext:
    return evaluator.subtract(*evaluator.match(a, b))


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a == b:
        return a
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"cannot broadcast shapes {a} and {b}") from None
