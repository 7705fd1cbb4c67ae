"""From numbers to integers and back: what an encrypted array may hold, and what its metadata gives away.

A Paillier plaintext is an integer m with |m| <= n//3, kept modulo n. A number x is carried as the integer
x / 2**exponent; base 2, exact. Three things travel with an encrypted array in the clear: the exponent (one for the
array, or one per element), the `bound` on the magnitude of its integers, and whether it holds integers or fixed-point
numbers. So none of them may be computed from data that somebody means to hide:

- **Bounds come from public facts alone**: a dtype (int16: 2**15), a declared range (`Integers(bits=20)`), and the
  operations applied (a sum over 1000 elements: times 1000). An operation whose result could exceed n//3 under its
  bound raises `HeadroomError` before anything is computed. Data that is small by luck earns no headroom: declare it.
- **Exponents come from public facts too.** A float's own exponent is its magnitude. The default for floats is
  therefore one declared window per dtype, the same for every array of that dtype:

  ==========  ======================  ===============================================================
  dtype       multiples of, below     which values
  ==========  ======================  ===============================================================
  float16     2**-24, 2**16           all
  float32     2**-149, 2**128         all
  float64     2**-160, 2**64          |x| < 1.8e19; all 53 bits of any |x| >= 3.1e-33, and 0
  ==========  ======================  ===============================================================

  Inside the window every value is exact, no value is ever rounded, and a value that does not fit raises
  `PlaintextRangeError`, which names the way out. All 2098 bits of binary64 would not fit a 2048-bit key.

The choices, each an `encoding=` argument of `encrypt` and of `plain`:

`Integers(bits)`      exact integers, |v| < 2**bits. Default for integer dtypes: the dtype's own range, for Python
                      integers that of int64.
`Floats(low, high)`   exact: multiples of 2**low with |x| < 2**high, refused otherwise. Default for floats, as above.
`FixedPoint(e, bits)` rounds to multiples of 2**e (half to even), |x| < 2**(e + bits). With `fixed_scale=True` the array
                      is in fixed-scale mode: plain numbers that meet it in `+ - * @` and declare no encoding of their
                      own are rounded onto the same grid. Multiplying adds the exponents; nothing is ever cut off.
`FloatsPerElement()`  exact for every float64: each element keeps its own exponent. **This leaks the magnitude of each
                      value** (its binary exponent, and which sums it can enter) to everybody who sees the ciphertext.

Plain operands are encoded the same way. Their values belong to the computing party, so the cost of an operation
depends on the declared size alone: a float64 factor costs 224-bit exponents, an int8 factor 8-bit ones, and
`plain(weights, FixedPoint(-23, bits=24))` 24-bit ones. `public(value)` says that a factor is no secret at all: then
its own size decides cost and bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import limbs_for_bits
from hecore.errors import HeadroomError, OperandTypeError, ParameterError, PlaintextRangeError, ShapeError
from hecore.paillier import messages
from hecore.paillier.messages import Flags, Int64s, Limbs
from hecore.paillier.operands import are_ints, as_fraction, as_numbers, as_objects

if TYPE_CHECKING:
    from hecore.arith.modulus import Modulus
    from hecore.paillier.keys import PublicKey

_MAX_BITS = 1 << 16  # far above any plaintext space; keeps a declared size from exhausting memory
_FLOAT64_WINDOW = (-160, 64)
_FLOAT_WINDOWS = {2: (-24, 16), 4: (-149, 128), 8: _FLOAT64_WINDOW}
_INT64_BOUND = 1 << 63


@dataclass(frozen=True)
class Integers:
    """Exact integers with |v| < 2**bits."""

    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.bits, "bits")


@dataclass(frozen=True)
class Floats:
    """Exact floats: multiples of 2**low with |x| < 2**high. A value that is not is refused, never rounded."""

    low: int = _FLOAT64_WINDOW[0]
    high: int = _FLOAT64_WINDOW[1]

    def __post_init__(self) -> None:
        _check_exponent(self.low, "low")
        _check_exponent(self.high, "high")
        _check_bits(self.high - self.low, "high - low")


@dataclass(frozen=True)
class FixedPoint:
    """Numbers rounded half to even to multiples of 2**exponent, with |x| < 2**(exponent + bits) after rounding.

    `fixed_scale`: plain operands without an encoding of their own are rounded onto this grid as well.
    """

    exponent: int
    bits: int = 64
    fixed_scale: bool = False

    def __post_init__(self) -> None:
        _check_exponent(self.exponent, "exponent")
        _check_bits(self.bits, "bits")


@dataclass(frozen=True)
class FloatsPerElement:
    """Exact for every finite float64, one exponent per element, taken from the value: LEAKS EACH MAGNITUDE.

    A zero takes the smallest exponent among the array's other values.
    """


EncodingChoice = Integers | Floats | FixedPoint | FloatsPerElement


@dataclass(frozen=True, eq=False)
class Encoding:
    """How an array's integers are read: value = integer * 2**exponent. Public metadata, immutable.

    `exponent` is one int for the array or an int64 array of the array's shape. `fixed_scale` is the grid of the
    fixed-scale mode, if the array is in it.
    """

    kind: Literal["integer", "fixed"] = "integer"
    exponent: int | Int64s = 0
    fixed_scale: FixedPoint | None = None

    @property
    def per_element(self) -> bool:
        return not isinstance(self.exponent, int)

    def same_as(self, other: Encoding) -> bool:
        """One exponent each, and all equal: what two operands need to be combined as they are."""
        return self is other or (
            isinstance(self.exponent, int)
            and isinstance(other.exponent, int)
            and self.exponent == other.exponent
            and self.kind == other.kind
            and self.fixed_scale == other.fixed_scale
        )

    def with_exponent(self, exponent: int | Int64s) -> Encoding:
        """The same kind of numbers at another exponent; an array of shape () becomes an int."""
        if not isinstance(exponent, int):
            exponent = np.array(exponent, dtype=np.int64)
            exponent.setflags(write=False)
            if exponent.ndim == 0:
                exponent = int(exponent)
        return replace(self, exponent=exponent)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Plain numbers as signed integers of magnitude <= bound: value = ±magnitude * 2**exponent.

    `magnitudes` has shape (*S, limbs_for_bits(bound.bit_length())); `signed` is false where the declared range
    (an unsigned dtype) excludes minus signs.
    """

    magnitudes: Limbs = field(repr=False)
    negative: Flags = field(repr=False)
    encoding: Encoding
    bound: int
    signed: bool = True
    constant_time: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.negative.shape

    @property
    def bits(self) -> int:
        return max(1, self.bound.bit_length())

    def first(self) -> Encoded:
        """The first of a vector of numbers, as a scalar."""
        exponent = self.encoding.exponent
        encoding = self.encoding if isinstance(exponent, int) else self.encoding.with_exponent(exponent[0])
        return replace(self, magnitudes=self.magnitudes[0], negative=np.asarray(self.negative[0]), encoding=encoding)

    def negated(self) -> Encoded:
        nonzero = self.magnitudes.any(axis=-1)
        return replace(self, negative=~self.negative & nonzero, signed=True)

    def transposed(self) -> Encoded:
        """The last two axes swapped; a vector stays one."""
        if len(self.shape) == 1:
            return self
        exponent = self.encoding.exponent
        return replace(
            self,
            magnitudes=np.swapaxes(self.magnitudes, -2, -3),
            negative=np.swapaxes(self.negative, -1, -2),
            encoding=self.encoding.with_exponent(
                exponent if isinstance(exponent, int) else np.swapaxes(exponent, -1, -2)
            ),
        )

    def messages(self, n: Modulus) -> Limbs:
        """The residues in [0, n): (*S, n.limbs)."""
        return messages.to_messages(self.magnitudes, self.negative, n.value, n.limbs)

    def broadcast_to(self, shape: tuple[int, ...]) -> Encoded:
        """The same numbers repeated along new or single axes."""
        if shape == self.shape:
            return self
        exponent = self.encoding.exponent
        if not isinstance(exponent, int):
            exponent = np.broadcast_to(exponent, shape)
        return replace(
            self,
            magnitudes=np.broadcast_to(self.magnitudes, (*shape, self.magnitudes.shape[-1])),
            negative=np.broadcast_to(self.negative, shape),
            encoding=replace(self.encoding, exponent=exponent),
        )

    def at_exponent(self, exponent: int | Int64s) -> Encoded:
        """The same numbers at an exponent that is nowhere larger than their own."""
        own = self.encoding.exponent
        if isinstance(own, int) and isinstance(exponent, int) and own == exponent:
            return self
        shift = own - np.asarray(exponent, dtype=np.int64)
        most = int(np.max(shift))
        if most == 0 and not np.any(shift):  # per element perhaps, and all of them equal
            return replace(self, encoding=self.encoding.with_exponent(exponent)) if isinstance(exponent, int) else self
        bound = self.bound << most
        shape = np.broadcast_shapes(self.shape, shift.shape)
        magnitudes = np.broadcast_to(self.magnitudes, (*shape, self.magnitudes.shape[-1]))
        negative = np.broadcast_to(self.negative, shape)
        shifted = messages.shift_left(magnitudes, shift, limbs_for_bits(bound.bit_length()))
        new = exponent if isinstance(exponent, int) else np.broadcast_to(exponent, shape).copy()
        return replace(
            self, magnitudes=shifted, negative=negative, bound=bound, encoding=self.encoding.with_exponent(new)
        )

    def with_one_exponent(self) -> Encoded:
        """The same numbers at their smallest exponent."""
        return self.at_exponent(smallest(self.encoding.exponent))


@dataclass(frozen=True, eq=False)
class Plain:
    """A plain operand with a declared encoding; made by `plain` and `public`."""

    values: Any = field(repr=False)
    encoding: EncodingChoice | None = None
    is_public: bool = False
    constant_time: bool = False

    __array_ufunc__ = None  # lets `ndarray + plain` reach nobody, and `plain + encrypted` the encrypted array


def plain(
    values: object,
    encoding: EncodingChoice | None = None,
    *,
    bits: int | None = None,
    constant_time: bool = False,
) -> Plain:
    """A plain operand with its declared range: `plain(weights, bits=24) @ x`.

    `bits=k` is short for `Integers(k)`. `constant_time` also hides the values from an observer of memory
    addresses: tables are read whole, at some cost.
    """
    if bits is not None:
        if encoding is not None:
            raise ParameterError("cannot take both an encoding and bits: bits=k is short for Integers(k)")
        encoding = Integers(bits)
    return Plain(values, encoding, constant_time=constant_time)


def public(values: object) -> Plain:
    """A plain operand that is no secret: cost, exponent and bound follow from the values themselves."""
    return Plain(values, is_public=True)


def plaintext_limit(n: int) -> int:
    """Largest magnitude of a plaintext: n//3 on either side, the middle third is the guard band."""
    return n // 3


def check_bound(public_key: PublicKey, bound: int, operation: str) -> None:
    """Raises HeadroomError where a result of magnitude up to `bound` might not fit the plaintext space."""
    if 3 * bound > public_key.n:  # bound > n//3, without the division
        limit = plaintext_limit(public_key.n)
        raise HeadroomError(
            f"cannot {operation}: the result may take {bound.bit_length()} bits and this key's plaintexts hold "
            f"{limit.bit_length() - 1}; declare smaller ranges or use a larger key"
        )


def root_of(n_squared: Modulus) -> Modulus:
    """n as a modulus, from n^2."""
    assert n_squared.square_of is not None  # public keys build it with Modulus.square
    return n_squared.square_of


def smallest(exponent: int | Int64s) -> int:
    return exponent if isinstance(exponent, int) else int(np.min(exponent))


# -- numbers to integers -----------------------------------------------------------------------------------


def encode(values: object, choice: EncodingChoice | None = None, default: EncodingChoice | None = None) -> Encoded:
    """Plain numbers of any NumPy kind -> signed integers, under the declared encoding.

    `choice` None takes what a `Plain` declares, then (for numbers that are not integers) `default`, then the dtype's
    own range or window. What is encoded already is returned as it is.
    Raises OperandTypeError for what is no real number, ShapeError for ragged or empty input and PlaintextRangeError
    for NaN, infinities and values outside the declared range.
    """
    if isinstance(values, Encoded):
        return values
    is_public = constant_time = False
    if isinstance(values, Plain):
        choice = choice or values.encoding
        is_public, constant_time = values.is_public, values.constant_time
        values = values.values
    array, int64_rule = as_numbers(values)
    if array.size == 0:
        raise ShapeError(f"cannot encode an empty array: its shape is {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PlaintextRangeError("cannot encode NaN or an infinity")
    is_public = is_public and choice is None
    if choice is None and not is_public and not are_ints(array):
        choice = default or _default_floats(array, int64_rule)
    # A scalar goes as an array of one: NumPy warns of the wrap-around of scalars, which is wanted here.
    flat = array if array.ndim else array.reshape(1)
    encoded = _encode_public(flat) if is_public else _encode_as(flat, choice)
    if not array.ndim:
        encoded = encoded.first()
    return replace(encoded, constant_time=True) if constant_time else encoded


def _default_floats(array: NDArray[Any], int64_rule: bool) -> Floats:
    window = _FLOAT64_WINDOW if array.dtype.kind == "O" or int64_rule else _FLOAT_WINDOWS[array.dtype.itemsize]
    return Floats(*window)


def _encode_as(array: NDArray[Any], choice: EncodingChoice | None) -> Encoded:
    match choice:
        case None:  # integers: the dtype's own range, int64's for Python integers
            return _encode_dtype(array)
        case Integers(bits):
            if not are_ints(array):
                raise OperandTypeError(f"cannot encode dtype {array.dtype} as Integers: use Floats or FixedPoint")
            return _encode_integers(array, (1 << bits) - 1, f"Integers(bits={bits})")
        case Floats(low, high):
            return _encode_grid(array, low, high - low, None)
        case FixedPoint(exponent, bits):
            return _encode_grid(array, exponent, bits, choice)
        case FloatsPerElement():
            return _encode_per_element(array)
    raise OperandTypeError(
        f"cannot encode with {type(choice).__name__}: use Integers, Floats, FixedPoint or FloatsPerElement"
    )


def _encode_dtype(array: NDArray[Any]) -> Encoded:
    if array.dtype.kind == "b":
        return replace(_encode_integers(array, 1, "bool"), signed=False)
    if array.dtype.kind == "O":
        return _encode_integers(array, _INT64_BOUND, "int64, the default for Python integers")
    info = np.iinfo(array.dtype)
    encoded = _encode_integers(array, max(-int(info.min), int(info.max)), str(array.dtype))
    return encoded if info.min else replace(encoded, signed=False)


def _encode_integers(array: NDArray[Any], bound: int, what: str) -> Encoded:
    limbs = limbs_for_bits(bound.bit_length())
    if array.dtype.kind == "O":
        values = [int(v) for v in array.flat]
        if any(abs(v) > bound for v in values):
            raise PlaintextRangeError(
                f"cannot encode an integer outside {what}: "
                "declare its size with Integers(bits=...), as a plain operand with plain(value, bits=...)"
            )
        magnitudes, negative = messages.from_ints(values, array.shape, limbs)
        return Encoded(magnitudes, negative, Encoding("integer"), bound)
    negative = array < 0
    unsigned = array.astype(np.uint64)  # wraps -v to 2**64 - v
    magnitudes = np.where(negative, ~unsigned + np.uint64(1), unsigned)[..., None]
    if not messages.fits(magnitudes, bound).all():
        raise PlaintextRangeError(f"cannot encode an integer outside {what}: declare a larger size")
    return Encoded(messages.resize(magnitudes, limbs), negative, Encoding("integer"), bound)


def _encode_grid(array: NDArray[Any], exponent: int, bits: int, fixed: FixedPoint | None) -> Encoded:
    """Multiples of 2**exponent below 2**(exponent + bits): rounded where `fixed` is given, else exact or refused."""
    encoding = Encoding("fixed", exponent, fixed if fixed is not None and fixed.fixed_scale else None)
    bound = (1 << bits) - 1
    limbs = limbs_for_bits(bits)
    if array.dtype.kind == "f":
        magnitudes, negative, exact, in_range = messages.floats_to_grid(
            array.astype(np.float64), exponent, bits, rounded=fixed is not None
        )
        _check_grid(bool(exact.all()), bool(in_range.all()), exponent, bits, fixed)
        return Encoded(magnitudes, negative, encoding, bound)
    grid = Fraction(2) ** -exponent
    scaled = [Fraction(v if array.dtype.kind == "O" else int(v)) * grid for v in array.flat]
    integers = [round(v) for v in scaled]
    exact_all = all(v.denominator == 1 for v in scaled)
    _check_grid(exact_all, all(abs(v) <= bound for v in integers), exponent, bits, fixed)
    magnitudes, negative = messages.from_ints(integers, array.shape, limbs)
    return Encoded(magnitudes, negative, encoding, bound)


def _check_grid(exact: bool, in_range: bool, exponent: int, bits: int, fixed: FixedPoint | None) -> None:
    if not in_range:
        raise PlaintextRangeError(
            f"cannot encode a value outside |x| < 2**{exponent + bits}: declare a wider range, for instance "
            f"{'FixedPoint' if fixed else 'Floats'} with more bits above"
        )
    if fixed is None and not exact:
        raise PlaintextRangeError(
            f"cannot encode a value that is no multiple of 2**{exponent} exactly: FixedPoint(exponent={exponent}) "
            "rounds, Floats(low=..., high=...) declares a finer grid, FloatsPerElement() is exact for every float "
            "but shows its magnitude"
        )


def _encode_per_element(array: NDArray[Any]) -> Encoded:
    if array.dtype.kind != "f":
        raise OperandTypeError(f"cannot encode dtype {array.dtype} with FloatsPerElement: it takes floats")
    mantissa, exponent, negative = messages.split_floats(array.astype(np.float64))
    zero = mantissa == 0
    exponent = np.asarray(exponent)
    exponent[zero] = exponent[~zero].min() if not zero.all() else 0
    encoding = Encoding("fixed").with_exponent(exponent)
    return Encoded(mantissa[..., None], negative, encoding, (1 << messages.MANTISSA_BITS) - 1)


def _encode_public(array: NDArray[Any]) -> Encoded:
    """The smallest exponent and bound that hold these very values."""
    if are_ints(array):
        values = [int(v) for v in array.flat]
        exponent, kind = 0, Encoding("integer")
    else:
        ratios = [as_fraction(v) for v in array.flat]
        if any(r.denominator & (r.denominator - 1) for r in ratios):
            raise PlaintextRangeError(
                "cannot encode a Fraction whose denominator is no power of two exactly: FixedPoint rounds"
            )
        exponent = -max(r.denominator.bit_length() - 1 for r in ratios)
        values = [int(r * 2**-exponent) for r in ratios]
        kind = Encoding("fixed", exponent)
    bound = max(abs(v) for v in values)
    magnitudes, negative = messages.from_ints(values, array.shape, limbs_for_bits(bound.bit_length()))
    return Encoded(magnitudes, negative, kind, bound)


# -- integers to numbers -----------------------------------------------------------------------------------


def decode(magnitudes: Limbs, negative: Flags, encoding: Encoding, *, exact: bool = False) -> NDArray[Any]:
    """Signed integers (*S, L) -> numbers of shape S.

    Integers come as int64 where every value fits, as an object array of Python integers otherwise or if `exact`.
    Fixed point comes as float64, correctly rounded, or as an object array of Fractions if `exact`.
    Raises PlaintextRangeError where a value exceeds the largest float64.
    """
    shape = negative.shape
    if encoding.kind == "integer":
        low = magnitudes[..., 0]
        largest = np.uint64(2**63 - 1) + negative.astype(np.uint64)
        if not exact and not magnitudes[..., 1:].any() and (low <= largest).all():
            small = low.astype(np.int64)  # 2**63 wraps to -2**63, which negation leaves as it is
            return np.where(negative, -small, small)
        return as_objects(messages.to_ints(magnitudes, negative), shape)
    if exact:
        exponents = np.broadcast_to(np.asarray(encoding.exponent, dtype=np.int64), shape).reshape(-1).tolist()
        return as_objects(messages.to_fractions(messages.to_ints(magnitudes, negative), exponents), shape)
    floats = messages.to_floats(magnitudes, negative, encoding.exponent)
    if np.isinf(floats).any():
        raise PlaintextRangeError("cannot return a value beyond the largest float64: decrypt with exact=True")
    return floats


def _check_bits(bits: object, name: str) -> None:
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= _MAX_BITS:
        raise ParameterError(f"cannot use {name}={bits!r}: it must be an int in [1, {_MAX_BITS}]")


def _check_exponent(exponent: object, name: str) -> None:
    if not isinstance(exponent, int) or isinstance(exponent, bool) or abs(exponent) > _MAX_BITS:
        raise ParameterError(f"cannot use {name}={exponent!r}: it must be an int in [-{_MAX_BITS}, {_MAX_BITS}]")
