"""Arithmetic modulo one prime on LANES residues at a time: narrow (q < 2^50), and wide (q < 2^61).

Two shapes of one idea. A sum of products P is kept in columns, and reduced once by a quotient that is too small by
less than 4; with 8 lanes columns have 52 bits and come from AVX-512 IFMA, with one lane they have 64 bits and every
prime is wide. `ring_tables.prime_constants` computes the constants, all public; every function here is constant time.

**Narrow** (8 lanes, q < 2^50; B = 2^52) and **wide with one lane** (q < 2^61; B = 2^64). P = H*B + L with H, L < B.
With w = B mod q, w' = floor(w*B/q), m = floor(B/q):

    H*w - floor(H*w'/B)*q  in [0, 2q)     since H*w/q - H*w'/B < H/B < 1, and one more from the floor
    L - floor(L*m/B)*q     in [0, 2q)     likewise

so r = H*w + L - (floor(H*w'/B) + floor(L*m/B))*q is P modulo q in [0, 4q), 4q < B: computed modulo B, and two
conditional subtractions make it canonical.

**Wide with 8 lanes** (2^50 <= q < 2^61). q' = q*2^e in [2^60, 2^61); one factor of each product comes shifted by e,
so that P' = P*2^e modulo q' gives the residue, shifted. P' = c2*2^104 + c1*2^52 + c0. Let A = c2*2^52 + c1 = a1*2^52 +
a0 after a carry (c0 is dropped: less than 2^-8 of a quotient even when c0 has 64 bits), and u = floor(2^156/q') =
u1*2^52 + u0 < 2^96. The quotient A*u/2^104 is taken without the three terms below 2^104, each less than one:

    h = lo(a1*u1) + hi(a0*u1) + hi(a1*u0) + 2^52*hi(a1*u1),     P'/q' - h < 3.01 for sums of up to 2^10 products

and r = P' - h*q' modulo 2^64 lies in [0, 3.01 q') < 2^63. Two conditional subtractions, of 2q' and q', and a shift.

**Products by a constant** w < q, known beforehand, and any x < B (narrow) or x < 2^64 (wide): Shoup's quotient
floor(w*B/q), one conditional subtraction, or with 8 wide lanes floor(w*2^104/q) = s1*2^52 + s0 used as u is above, two.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    I64,
    I128,
    IFMA,
    WORD,
    add,
    carry,
    constant,
    emit_opaque,
    lanes,
    low_digit,
    mul_hi,
    mul_lo,
    splat,
    sub,
)

NARROW, WIDE = 0, 1
NARROW_BITS = 50
WORD_BITS = 52 if IFMA else 64  # B of the head, of narrow primes or one lane

# One prime's constants are eight words: its kind, q, and what its kind asks for, in the order below.
CONSTANTS = 8
KIND, Q = 0, 1
FIXED_BITS = 56  # of the quotient of an exact conversion
WEIGHT = 4  # words of one of its weights: 64 - b, w, w0, w1 (`fraction`)
RESIDUE_FACTOR = 2  # words of a constant for `narrow_add_residue` and `wide_add_residue`
FACTOR = 3  # words of a constant factor: w and its quotient in up to two limbs
MAX_TERMS = 1 << 10  # products in one sum: no column of wide primes overflows


binding.initialize_native_asmparser()  # for the comment that `public` leaves
_X86 = platform.machine() == "x86_64"


def _binary(emit: Any) -> Any:
    return intrinsic(lambda _typing, x, y: (lanes(lanes, lanes), lambda _context, b, _signature, args: emit(b, *args)))


def _emit_less(b: ir.IRBuilder, x: Any, limit: Any) -> Any:
    difference = b.sub(x, limit)
    if IFMA:  # below the limit the difference wraps around to above x
        kind = ir.FunctionType(WORD, [WORD, WORD])
        return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.umin.v8i64"), [x, difference])
    mask = emit_opaque(b, b.ashr(difference, constant(63)))
    return b.add(difference, b.and_(mask, limit))


def _wide_product(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    return b.mul(b.zext(x, I128), b.zext(y, I128))


def _high(b: ir.IRBuilder, x: Any) -> Any:
    return b.trunc(b.lshr(x, ir.Constant(I128, 64)), I64)


less = _binary(_emit_less)  # x - limit where x >= limit, else x; both below 2^63
times_low = _binary(lambda b, x, y: b.mul(x, y))  # x*y modulo 2^64
shift_left = _binary(lambda b, x, y: b.shl(x, y))
shift_right = _binary(lambda b, x, y: b.lshr(x, y))
high_word = _binary(lambda b, x, y: _high(b, _wide_product(b, x, y)))  # bits 64..127 of x*y; one lane only


def _emit_permute(b: ir.IRBuilder, x: Any, places: Any) -> Any:
    if not IFMA:
        return x
    kind = ir.FunctionType(WORD, [WORD, WORD])
    return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.permvar.di.512"), [x, places])


permute_lanes = _binary(_emit_permute)  # lane i takes lane places[i] of x


@intrinsic
def add_high(_typing: Any, high: Any, low: Any, x: Any, y: Any) -> Any:
    """`high` + bits 64..127 of (x*y + low): the upper word when x*y is added to (high, low); one lane only."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        high_, low_, x_, y_ = args
        return b.add(high_, _high(b, b.add(_wide_product(b, x_, y_), b.zext(low_, I128))))

    return lanes(lanes, lanes, lanes, lanes), codegen


@intrinsic
def word_at(_typing: Any, address: Any, index: Any) -> Any:
    """The word at `address` + 8*index."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        where = b.add(args[0], b.mul(args[1], ir.Constant(I64, 8)))
        return b.load(b.inttoptr(where, I64.as_pointer()))

    return types.uint64(types.intp, types.intp), codegen


@intrinsic
def public(_typing: Any, word: Any) -> Any:
    """A word from memory that is public, for an address or a branch: an index, a kind of prime.

    Leaves a comment in the machine code, which tests/kernels/machine_code.py takes at its word.
    """

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        if not _X86:
            return args[0]
        return b.call(ir.InlineAsm(ir.FunctionType(I64, [I64]), "# public $0", "=r,0"), [args[0]])

    return (word(word), codegen) if word in (types.intp, types.uint64) else None


@inner
def splat_at(address, index):
    """One word of a table in every lane."""
    return splat(word_at(address, index))


@inner
def zero():
    return splat(0)


@inner
def constants_at(address):
    """One prime's constants, without its kind."""
    return (
        splat_at(address, 1),
        splat_at(address, 2),
        splat_at(address, 3),
        splat_at(address, 4),
        splat_at(address, 5),
        splat_at(address, 6),
        splat_at(address, 7),
    )


@inner
def factor_at(address):
    """A constant factor and its quotient."""
    return splat_at(address, 0), splat_at(address, 1), splat_at(address, 2)


@inner
def settle(x, q):
    """[0, 4q) -> [0, q)."""
    return less(less(x, add(q, q)), q)


# -- narrow with 8 lanes: c = (q, w, w', m) ------------------------------------------------------------------


@inner
def narrow_left(x, _c):
    """The left factor of a product, made ready for `narrow_add`."""
    return x


@inner
def narrow_add(sums, x, y):
    """`sums` + x*y for x, y < 2^52, x made ready by `narrow_left`."""
    return mul_lo(sums[0], x, y), mul_hi(sums[1], x, y), sums[2]


@inner
def narrow_add_residue(sums, x, address):
    """`sums` + x*f for any x < 2^61 and a constant f of `ring_tables.residue_factor` at `address`.

    x = x1*2^52 + x0, and x1 meets f*2^52 mod q.
    """
    sums = narrow_add(sums, x, splat_at(address, 0))
    return narrow_add(sums, carry(x), splat_at(address, 1))


@inner
def narrow_reduce(sums, c):
    """A sum below 2^104 -> [0, q)."""
    high, low = add(sums[1], carry(sums[0])), low_digit(sums[0])
    quotient = mul_hi(mul_hi(zero(), high, c[2]), low, c[3])
    return settle(low_digit(sub(mul_lo(low, high, c[1]), mul_lo(zero(), quotient, c[0]))), c[0])


@inner
def narrow_word(x, c):
    """Any x < 2^64 -> [0, q)."""
    return narrow_reduce((x, zero(), zero()), c)


@inner
def narrow_times(x, f, c):
    """x*w in [0, q) for x < 2^52 and f = (w, w', _)."""
    product = sub(mul_lo(zero(), x, f[0]), mul_lo(zero(), mul_hi(zero(), x, f[1]), c[0]))
    return less(low_digit(product), c[0])


# -- wide with 8 lanes: c = (q, e, q', u0, u1, s, m); `reduce` of words takes m = floor(2^(50+b)/q), s = b - 2 -------


@inner
def _lanes_left(x, c):
    return shift_left(x, c[1])


@inner
def _lanes_add(sums, x, y):
    x1, y1 = carry(x), carry(y)
    middle = mul_lo(mul_lo(mul_hi(sums[1], x, y), x1, y), x, y1)
    top = mul_lo(mul_hi(mul_hi(sums[2], x1, y), x, y1), x1, y1)
    return mul_lo(sums[0], x, y), middle, top


@inner
def _lanes_quotient(a0, a1, u0, u1):
    """h of the head: the words of a0 above 2^52 are not looked at."""
    h = mul_hi(mul_hi(mul_lo(zero(), a1, u1), a0, u1), a1, u0)
    return add(h, shift_left(mul_hi(zero(), a1, u1), splat(DIGIT_BITS)))


@inner
def _lanes_reduce(sums, c):
    h = _lanes_quotient(sums[1], add(sums[2], carry(sums[1])), c[3], c[4])
    low = add(sums[0], shift_left(sums[1], splat(DIGIT_BITS)))
    return shift_right(settle(sub(low, times_low(h, c[2])), c[2]), c[1])


@inner
def _lanes_word(x, c):
    # the cut bits, m and the floor each leave the quotient less than 1/2, 2^-37 and 1 too small: r < 2q
    quotient = mul_hi(zero(), shift_right(x, c[5]), c[6])
    return less(sub(x, times_low(quotient, c[0])), c[0])


@inner
def _lanes_times(x, f, c):
    h = _lanes_quotient(x, carry(x), f[1], f[2])
    return settle(sub(times_low(x, f[0]), times_low(h, c[0])), c[0])


# -- wide with one lane: c = (q, w, w', m) -------------------------------------------------------------------


@inner
def _lane_add(sums, x, y):
    return add(sums[0], times_low(x, y)), add_high(sums[1], sums[0], x, y), sums[2]


@inner
def _lane_reduce(sums, c):
    low, high = sums[0], sums[1]
    quotient = add(high_word(high, c[2]), high_word(low, c[3]))
    return settle(sub(add(times_low(high, c[1]), low), times_low(quotient, c[0])), c[0])


@inner
def _lane_word(x, c):
    return less(sub(x, times_low(high_word(x, c[3]), c[0])), c[0])


@inner
def _lane_times(x, f, c):
    return less(sub(times_low(x, f[0]), times_low(high_word(x, f[1]), c[0])), c[0])


if IFMA:
    wide_left, wide_add, wide_reduce, wide_word, wide_times = (
        _lanes_left,
        _lanes_add,
        _lanes_reduce,
        _lanes_word,
        _lanes_times,
    )
else:
    wide_left, wide_add, wide_reduce, wide_word, wide_times = (
        narrow_left,
        _lane_add,
        _lane_reduce,
        _lane_word,
        _lane_times,
    )


@inner
def wide_add_residue(sums, x, address):
    """As `narrow_add_residue`; the constant comes ready as a left factor."""
    return wide_add(sums, splat_at(address, 0), x)


# -- fixed point ---------------------------------------------------------------------------------------------


@inner
def _lanes_fraction(y, address):
    """floor(y*w / 2^b) for y < 2^b and w < 2^58, exactly.

    Let t = y*2^(64-b) = t1*2^12 + t0 and w = w1*2^52 + w0. Then y*w/2^b = (t1*w + t0*w/2^12) / 2^52, where t1*w is
    whole, so that the inner fraction z may be floored first: t1*w1 + floor((t1*w0 + z) / 2^52).
    """
    w0, w1 = splat_at(address, 2), splat_at(address, 3)
    t = shift_left(y, splat_at(address, 0))
    t1 = shift_right(t, splat(12))
    t0 = sub(t, shift_left(t1, splat(12)))
    z = add(shift_left(times_low(t0, w1), splat(40)), shift_right(times_low(t0, w0), splat(12)))
    return add(mul_hi(times_low(t1, w1), t1, w0), carry(mul_lo(z, t1, w0)))


@inner
def _lane_fraction(y, address):
    return high_word(shift_left(y, splat_at(address, 0)), splat_at(address, 1))


fraction = _lanes_fraction if IFMA else _lane_fraction  # constants: 64 - b, w, w0, w1
