"""Plaintext numbers as limbs, whole arrays at a time: signs, shifts, floats, and the way back.

A signed integer array of shape S is a pair: magnitudes as uint64 limbs (*S, L), little-endian, and a boolean
array S that flags the minus signs. Everything here is exact. Arrays are worked on in whole columns of limbs; up to
`_FEW` values go through Python integers instead, which is quicker than some hundred NumPy calls. None of it claims
constant time: Python integers, and some of the NumPy operations, take a time that depends on the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import LIMB_BITS, ints_from_limbs, less_than, limbs_for_bits, limbs_from_ints

Limbs = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Int64s = NDArray[np.int64]

MANTISSA_BITS = 53  # of an IEEE 754 binary64
_FEW = 16
_SMALLEST_NORMAL_EXPONENT = -1021  # frexp exponent of the smallest normal binary64
_VANISHING_EXPONENT = -1076  # frexp exponents up to here round to zero


def resize(magnitudes: Limbs, limbs: int) -> Limbs:
    """The same integers in `limbs` limbs; what is cut off must be zero (the caller has checked the range)."""
    have = magnitudes.shape[-1]
    if have == limbs:
        return magnitudes
    if have > limbs:
        return np.ascontiguousarray(magnitudes[..., :limbs])
    out = np.zeros((*magnitudes.shape[:-1], limbs), dtype=np.uint64)
    out[..., :have] = magnitudes
    return out


def shift_left(magnitudes: Limbs, counts: int | Int64s, limbs: int) -> Limbs:
    """Elementwise magnitude * 2**count in `limbs` limbs, for counts >= 0 of shape S or one for all.

    The product must fit: the caller has checked the range.
    """
    shape = magnitudes.shape[:-1]
    counts = np.broadcast_to(np.asarray(counts, dtype=np.int64), shape)
    words, bits = counts // LIMB_BITS, (counts % LIMB_BITS).astype(np.uint64)
    carry_bits = np.uint64(LIMB_BITS - 1) - bits  # shift by one more below: a shift by 64 is undefined
    out = np.zeros((*shape, limbs + 1), dtype=np.uint64)  # one spare limb takes the zero that falls off the top
    for i in range(magnitudes.shape[-1]):
        column = magnitudes[..., i]
        for offset, part in ((0, column << bits), (1, (column >> carry_bits) >> np.uint64(1))):
            place = np.minimum(words + i + offset, limbs)[..., None]
            np.put_along_axis(out, place, np.take_along_axis(out, place, -1) | part[..., None], -1)
    return np.ascontiguousarray(out[..., :limbs])


def fits(magnitudes: Limbs, bound: int) -> Flags:
    """Elementwise magnitude <= bound, of shape S."""
    shape = magnitudes.shape[:-1]
    if math.prod(shape) <= _FEW:
        return np.array([m <= bound for m in ints_from_limbs(magnitudes)], dtype=np.bool_).reshape(shape)
    return less_than(magnitudes, bound + 1)


def subtract(a: Limbs, b: Limbs) -> tuple[Limbs, Flags]:
    """Elementwise a - b modulo 2**(64*L) for broadcasting (*S, L), and where it is negative (S)."""
    shape: tuple[int, ...] = np.broadcast_shapes(a.shape, b.shape)
    out = np.empty(shape, dtype=np.uint64)
    borrow = np.zeros(shape[:-1], dtype=np.uint64)
    for i in range(shape[-1]):
        difference = a[..., i] - b[..., i]
        out[..., i] = difference - borrow
        borrow = ((b[..., i] > a[..., i]) | (difference < borrow)).astype(np.uint64)
    return out, borrow.astype(np.bool_)


def add(a: Limbs, b: Limbs) -> Limbs:
    """Elementwise a + b modulo 2**(64*L) for broadcasting (*S, L)."""
    shape: tuple[int, ...] = np.broadcast_shapes(a.shape, b.shape)
    out = np.empty(shape, dtype=np.uint64)
    carry = np.zeros(shape[:-1], dtype=np.uint64)
    for i in range(shape[-1]):
        partial = a[..., i] + b[..., i]
        out[..., i] = partial + carry
        carry = ((partial < a[..., i]) | (out[..., i] < partial)).astype(np.uint64)
    return out


def signed_difference(a: Limbs, b: Limbs) -> tuple[Limbs, Flags]:
    """a - b as (magnitudes, negative)."""
    difference, negative = subtract(a, b)
    return np.where(negative[..., None], subtract(b, a)[0], difference), negative


def bit_field(integers: Limbs, offset: int, width: int) -> Limbs:
    """Bits [offset, offset + width) of each integer, in limbs_for_bits(width) limbs; bits past the end are zero."""
    limbs = limbs_for_bits(width)
    word, bit = divmod(offset, LIMB_BITS)
    source = resize(integers[..., word:], limbs + 1)
    out = source[..., :limbs] >> np.uint64(bit)
    if bit:
        out = out | (source[..., 1:] << np.uint64(LIMB_BITS - bit))
    if top := width % LIMB_BITS:
        out[..., -1] &= np.uint64((1 << top) - 1)
    return out


def to_messages(magnitudes: Limbs, negative: Flags, n: int, limbs: int) -> Limbs:
    """Signed integers of magnitude below n -> their residues in [0, n), (*S, limbs of n).

    A zero must not be flagged negative. Up to `_FEW` values go through Python integers, in variable time; above, no
    branch depends on a value.

    Below the limbs that a magnitude has, n - m is a subtraction. Above, it is n's own limbs h, or h - 1 where that
    borrowed: two constants, which differ in a few limbs at most, mostly in one. So the work is that of the short
    magnitudes, and one pass to write the rest.
    """
    shape = negative.shape
    if negative.size <= _FEW:
        pairs = zip(ints_from_limbs(magnitudes), negative.flat, strict=True)
        return limbs_from_ints([(-m if minus else m) % n for m, minus in pairs], limbs).reshape(*shape, limbs)
    have = min(magnitudes.shape[-1], limbs)
    minuend, low = limbs_from_ints([n], limbs)[0], magnitudes[..., :have]
    minus = negative.astype(np.uint64)[..., None]
    out = np.empty((*shape, limbs), dtype=np.uint64)
    difference, borrowed = subtract(minuend[:have], low)
    out[..., :have] = np.where(negative[..., None], difference, low)
    if have < limbs:
        np.multiply(minus, minuend[have:], out=out[..., have:])
        above = n >> (LIMB_BITS * have)
        change = above ^ max(0, above - 1)  # where nothing is above, nothing borrows: m < n
        changed = limbs_from_ints([change], limbs - have)[0][: limbs_for_bits(change.bit_length())]
        out[..., have : have + len(changed)] ^= minus * borrowed.astype(np.uint64)[..., None] * changed
    return out


def from_messages(messages: Limbs, n: int, bound: int) -> tuple[Limbs, Flags, Flags]:
    """Residues in [0, n) -> (magnitudes, negative, in_range): signed integers of magnitude up to `bound`, below n/2.

    Magnitudes come in limbs_for_bits(length of bound) limbs. What is out of range lies in the guard band around n/2, or
    between it and the bound; its magnitude means nothing.
    """
    shape, keep = messages.shape[:-1], limbs_for_bits(bound.bit_length())
    if math.prod(shape) <= _FEW:
        signed = [m - n if m >= n - bound else m for m in ints_from_limbs(messages)]
        fine = np.array([abs(m) <= bound for m in signed], dtype=np.bool_).reshape(shape)
        return *from_ints([m if abs(m) <= bound else 0 for m in signed], shape, keep), fine
    negative = ~less_than(messages, n - bound)
    low = messages[..., :keep]
    difference, _ = subtract(limbs_from_ints([n % (1 << LIMB_BITS * keep)], keep)[0], low)
    magnitudes = np.where(negative[..., None], difference, low)
    return magnitudes, negative, negative | less_than(messages, bound + 1)


def from_shifted(shifted: Limbs, bound: int) -> tuple[Limbs, Flags, Flags]:
    """m + bound -> (magnitudes, negative, in_range) as `from_messages` gives them; above 2*bound is out of range."""
    shape, keep = shifted.shape[:-1], limbs_for_bits(bound.bit_length())
    if math.prod(shape) <= _FEW:
        signed = [m - bound for m in ints_from_limbs(shifted)]
        fine = np.array([m <= bound for m in signed], dtype=np.bool_).reshape(shape)
        return *from_ints([m if m <= bound else 0 for m in signed], shape, keep), fine
    wide = limbs_for_bits((2 * bound).bit_length())
    difference, negative = signed_difference(shifted[..., :wide], limbs_from_ints([bound], wide)[0])
    return difference[..., :keep], negative, less_than(shifted, 2 * bound + 1)


def split_floats(values: NDArray[np.float64]) -> tuple[NDArray[np.uint64], Int64s, Flags]:
    """Finite floats -> (mantissa, exponent, negative): |x| = mantissa * 2**exponent, mantissa 0 or of 53 bits."""
    fraction, exponent = np.frexp(np.abs(values))
    mantissa = np.ldexp(fraction, MANTISSA_BITS).astype(np.uint64)
    return mantissa, exponent.astype(np.int64) - MANTISSA_BITS, values < 0


def floats_to_grid(
    values: NDArray[np.float64], exponent: int, bits: int, *, rounded: bool
) -> tuple[Limbs, Flags, Flags, Flags]:
    """Finite floats as multiples of 2**exponent -> (magnitudes, negative, exact, in_range).

    `exact` is false where a value is no multiple of 2**exponent (rounded half to even if `rounded`, meaningless
    otherwise), `in_range` where its magnitude as an integer is not below 2**bits.
    """
    if values.size <= _FEW:
        return _few_to_grid(values, exponent, bits, rounded)
    mantissa, own, negative = split_floats(values)
    down = np.clip(exponent - own, 0, MANTISSA_BITS + 2).astype(np.uint64)  # 55: every mantissa is below a half
    kept = mantissa >> down
    rest = mantissa - (kept << down)
    exact = rest == 0
    if rounded:
        twice = rest << np.uint64(1)  # below 2**54, and 2**down at most 2**55
        unit = np.uint64(1) << down
        kept = kept + ((twice > unit) | ((twice == unit) & (kept & np.uint64(1) == 1)))
    up = np.where(mantissa == 0, 0, np.maximum(own - exponent, 0))
    # frexp again, since rounding may have carried into a new bit; kept <= 2**53 is exact as a float
    length = np.frexp(kept.astype(np.float64))[1] + up
    in_range = length <= bits
    limbs = max(1, -(-bits // LIMB_BITS))
    magnitudes = shift_left(np.where(in_range, kept, 0)[..., None], np.where(in_range, up, 0), limbs)
    return magnitudes, negative & (kept != 0), exact, in_range


def _few_to_grid(
    values: NDArray[np.float64], exponent: int, bits: int, rounded: bool
) -> tuple[Limbs, Flags, Flags, Flags]:
    scaled = []
    for value in values.flat:
        numerator, denominator = value.as_integer_ratio()  # the denominator is a power of two
        scaled.append(Fraction(numerator << max(0, -exponent), denominator << max(0, exponent)))
    exact = [s.denominator == 1 for s in scaled]
    integers = [round(s) if rounded else int(s) for s in scaled]
    in_range = [abs(i) < 1 << bits for i in integers]
    kept = [i if ok else 0 for i, ok in zip(integers, in_range, strict=True)]
    flags = [np.array(f, dtype=np.bool_).reshape(values.shape) for f in (exact, in_range)]
    return *from_ints(kept, values.shape, limbs_for_bits(bits)), flags[0], flags[1]


def to_floats(magnitudes: Limbs, negative: Flags, exponents: int | Int64s) -> NDArray[np.float64]:
    """±magnitude * 2**exponent, correctly rounded (half to even) to binary64; too large gives an infinity."""
    shape = negative.shape
    if negative.size <= _FEW:
        powers = np.broadcast_to(np.asarray(exponents, dtype=np.int64), shape).ravel().tolist()
        few = [_nearest_float(f) for f in to_fractions(to_ints(magnitudes, negative), powers)]
        return np.array(few, dtype=np.float64).reshape(shape)
    set_limbs = magnitudes != 0
    top = magnitudes.shape[-1] - 1 - np.argmax(set_limbs[..., ::-1], axis=-1)[..., None]
    high = np.take_along_axis(magnitudes, top, -1)[..., 0]
    below = np.maximum(top - 1, 0)
    low = np.where(top > 0, np.take_along_axis(magnitudes, below, -1), np.uint64(0))[..., 0]
    seen = np.logical_or.accumulate(set_limbs, axis=-1)
    sticky = ((top > 1) & np.take_along_axis(seen, np.maximum(top - 2, 0), -1))[..., 0]
    upper_half = (high >> np.uint64(32)).astype(np.float64)  # 32 bits a time are exact in a float
    lower_half = (high & np.uint64(0xFFFFFFFF)).astype(np.float64)
    length = np.where(upper_half > 0, np.frexp(upper_half)[1] + 32, np.frexp(lower_half)[1]).astype(np.int64)
    lead = np.where(high == 0, 0, LIMB_BITS - length).astype(np.uint64)
    # The 64 leading bits, the last one sticky: rounding to odd first makes the conversion below round once.
    word = (high << lead) | ((low >> (np.uint64(LIMB_BITS - 1) - np.minimum(lead, 63))) >> np.uint64(1))
    rest = (low << lead != 0) | sticky
    word |= rest.astype(np.uint64)
    scale = np.int64(LIMB_BITS) * top[..., 0] - lead.astype(np.int64) + np.asarray(exponents, dtype=np.int64)
    with np.errstate(over="ignore", under="ignore"):  # an infinity is the caller's to report; see below for tiny ones
        out = np.asarray(np.ldexp(word.astype(np.float64), scale)).reshape(shape)
        out = np.where(negative, -out, out)
    # A subnormal result would be rounded twice: those few go through exact rationals, one by one.
    # Below half of the smallest subnormal, 2**-1075, the zero that stands there already is right.
    reach = scale + LIMB_BITS
    tiny = (reach < _SMALLEST_NORMAL_EXPONENT) & (reach > _VANISHING_EXPONENT) & (high != 0)
    if tiny.any():
        powers = np.broadcast_to(np.asarray(exponents, dtype=np.int64), shape)[tiny]
        exact = to_fractions(to_ints(magnitudes[tiny], negative[tiny]), powers.tolist())
        out[tiny] = [float(value) for value in exact]
    return out


def _nearest_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_ints(magnitudes: Limbs, negative: Flags) -> list[int]:
    """Flat list of signed Python integers, C order."""
    return [-m if minus else m for m, minus in zip(ints_from_limbs(magnitudes), negative.flat, strict=True)]


def to_fractions(values: Sequence[int], exponents: Sequence[int]) -> list[Fraction]:
    """Flat list of value * 2**exponent."""
    return [Fraction(v << e) if e >= 0 else Fraction(v, 1 << -e) for v, e in zip(values, exponents, strict=True)]


def from_ints(values: Sequence[int], shape: tuple[int, ...], limbs: int) -> tuple[Limbs, Flags]:
    """Signed Python integers below 2**(64*limbs) in magnitude -> (magnitudes, negative) of the given shape."""
    magnitudes = limbs_from_ints([abs(v) for v in values], limbs).reshape(*shape, limbs)
    return magnitudes, np.array([v < 0 for v in values], dtype=np.bool_).reshape(shape)
