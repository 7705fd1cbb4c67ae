"""Products of long numbers by pairs of digits: half the multiplications, two additions for each. Staged (`montgomery`).

With digits a_i and b_i of PAIR_BITS bits and D_i = a_i*b_i, column k of a*b is

    sum of (a_i + a_j)*(b_i + b_j) over i < j, i + j = k,  less D_i for every i that occurs,  plus 2*D_(k/2) for even k,

Karatsuba's identity for every pair of digits (A. Weimerskirch, C. Paar, ePrint 2006/224; M. Scott, ePrint 2015/1247).
A product of L digits by L takes L(L+1)/2 + L multiplications of digits, not L^2. Each is two multiply-adds and two
additions, for which there are other ports. A sum of two digits must fit the 52 bits that a multiply-add takes, hence
PAIR_BITS = 51; what a multiply-add calls the high half, bits 52 and up, counts 2 in the column above.

Columns are summed four at a time, in registers, low and high halves apart: pairs (i, k-i) of columns k .. k+3 share
digit i, and the others are four neighbours. As columns come in order, carries follow them at once. What D takes from a
column comes from prefix sums: let V_k be what column k holds, its low halves and twice the high halves of column k-1,
and G_k the part of D_0, D_1, ... in V_k when column k has D_0 .. D_k. A column k < L has G_k too much, column L + k
G - G_k, with G the part of all, and column L-1 is one of the first kind.

A Montgomery reduction by R is two half products here (P. Montgomery 1985, not digit by digit): m = acc*n' mod R with
n' = -1/n mod R, and then (acc + m*n)/R, of which columns below R are left out but for one tile. Let s = L-3 be the
first column that is summed in full, below R's place, so that acc + m*n = 2^(51 s)*(V_s + c + ...) with a carry c from
the columns below. As R divides the sum, the 51 low bits of V_s + c are zero, and they tell c if it is small.

Bounds. A pair's product is below 2^104, its halves below 2^52 each, and D_i is below 2^102. A column has at most L/2
pairs and one 2*D_i of each product, and two products at most: its low halves stay below (L+2)*2^52, twice its high
halves below 2(L+2)*2^52. What D takes away stays below 2L*2^52 + 4L*2^50. So |V_k| < 3(L+2)*2^52, and with what columns
start from, digits added and a carry below 4(L+2)*2^52 < 2^63. Hence |c| < 8(L+2) + 2 < 2^12 for L up to
MAX_PAIR_DIGITS. Columns may be doubled where there is one product.

L is odd and at least 9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.montgomery import Value, i64, loop
from hecore.kernels.cpu.vector import (
    VECTOR_BYTES,
    constant,
    emit_load,
    emit_mul_hi,
    emit_mul_lo,
    emit_prefetch,
    emit_splat,
    emit_store,
)

PAIR_BITS = 51
PAIR_MASK = (1 << PAIR_BITS) - 1
MAX_PAIR_DIGITS = 259
CARRY_BITS = 12  # |c| < 2^CARRY_BITS, see above
TILE = 4

Sums = list[Value]  # one running sum a column
Begin = Callable[[Value], Value]  # what a column's sum starts from, by its number
Write = Callable[[Value, Value], None]  # takes a column's number and what it holds, in order


def _slot(b: ir.IRBuilder, value: Value | None = None) -> Value:
    return cgutils.alloca_once_value(b, constant(0) if value is None else value)


def _twice(b: ir.IRBuilder, x: Value) -> Value:
    return b.add(x, x)


def staged(emit: Callable[..., None], arguments: int) -> Any:
    """A primitive of `arguments` words, addresses and counts, with the code that `emit` writes."""

    @intrinsic
    def primitive(_typing: Any, *_words: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _signature: Any, values: Any) -> Any:
            emit(b, *cgutils.unpack_tuple(b, values[0]))
            return context.get_dummy_value()

        return types.void(types.StarArgTuple((types.intp,) * arguments)), codegen

    return primitive


class Digits:
    """Takes what columns hold in order, twice that if `doubled`, adds what stands at `plus`, carries, and writes digits
    to `out`.
    """

    def __init__(self, b: ir.IRBuilder, out: Value, plus: Value | None = None, *, doubled: bool = False) -> None:
        self.b, self.out, self.plus, self.doubled = b, out, plus, doubled
        self.carry = _slot(b)

    def write(self, k: Value, value: Value) -> None:
        b = self.b
        self.store(k, b.add(self.whole(k, value), b.load(self.carry)))

    def begin(self, k: Value, value: Value) -> None:
        """`write` for the first column of a sum whose digit k is zero: that tells the carry into it."""
        b, most = self.b, constant(1 << CARRY_BITS)
        value = self.whole(k, value)
        self.store(k, b.add(value, b.sub(b.and_(b.sub(most, value), constant(PAIR_MASK)), most)))

    def whole(self, k: Value, value: Value) -> Value:
        value = _twice(self.b, value) if self.doubled else value
        return value if self.plus is None else self.b.add(value, emit_load(self.b, self.plus, k))

    def store(self, k: Value, value: Value) -> None:
        b = self.b
        emit_store(b, self.out, k, b.and_(value, constant(PAIR_MASK)))
        b.store(b.ashr(value, constant(PAIR_BITS)), self.carry)


class Products:
    """The columns of a sum of products a*b: `operands` are the addresses, L digits each.

    `lists` is room for L + 2 vectors, which hold, negated: G - G_(L-1), so that column L-1 may be asked for from either
    side, then G_0 .. G_(L-1), then G.
    """

    def __init__(self, b: ir.IRBuilder, operands: list[tuple[Value, Value]], lists: Value, length: Value) -> None:
        self.b, self.operands, self.length = b, operands, length
        self.lists = b.add(lists, i64(VECTOR_BYTES))
        self.last = b.sub(length, i64(1))
        self.phase = b.and_(self.last, i64(TILE - 1))  # 0 or 2: from there on tiles, of which one begins at column L-1
        self.low, self.high = ([_slot(b) for _ in range(TILE + 1)] for _ in range(2))
        self.below = _slot(b)  # the high halves of the column before

    def digits(self, i: Value) -> list[Value]:
        """Digit i of every operand."""
        return [emit_load(self.b, address, i) for pair in self.operands for address in pair]

    def add(self, low: Sums, high: Sums, c: int, u: Value, v: Value) -> None:
        low[c], high[c] = emit_mul_lo(self.b, low[c], u, v), emit_mul_hi(self.b, high[c], u, v)

    def pair(self, low: Sums, high: Sums, c: int, one: list[Value], other: list[Value]) -> None:
        """(a_i + a_j)*(b_i + b_j) of each product."""
        total = [self.b.add(x, y) for x, y in zip(one, other, strict=True)]
        for u, v in zip(total[::2], total[1::2], strict=True):
            self.add(low, high, c, u, v)

    def equal(self, low: Sums, high: Sums, c: int, digits: list[Value]) -> None:
        """2*D_i"""
        for u, v in zip(digits[::2], digits[1::2], strict=True):
            self.add(low, high, c, _twice(self.b, u), v)

    def prepare(self) -> None:
        """The prefix sums, negated."""
        b = self.b
        low, high = _slot(b), _slot(b)
        with loop(b, i64(0), self.length, 1) as i:
            lows, highs = [constant(0)], [constant(0)]  # of D_i alone: a chain of additions is shorter
            digits = self.digits(i)
            for u, v in zip(digits[::2], digits[1::2], strict=True):
                self.add(lows, highs, 0, u, v)
            before = b.load(high)
            sums = b.sub(b.load(low), lows[0])
            emit_store(b, self.lists, i, b.add(sums, _twice(b, before)))
            b.store(sums, low)
            b.store(b.sub(before, highs[0]), high)
        total = b.add(b.load(low), _twice(b, b.load(high)))
        emit_store(b, self.lists, self.length, total)
        emit_store(b, self.lists, i64(-1), b.sub(total, emit_load(b, self.lists, self.last)))

    def early(self, k: Value) -> Value:
        """What the sum of column k < L begins with, so that V_k comes out."""
        return emit_load(self.b, self.lists, k)

    def late(self, k: Value) -> Value:
        """Likewise for k >= L-1."""
        own, whole = (emit_load(self.b, self.lists, at) for at in (self.b.sub(k, self.length), self.length))
        return self.b.sub(whole, own)

    def single(self, k: Value, first: Value, begin: Begin) -> tuple[Sums, Sums]:
        """One column's sums, from pair (first, k - first) on."""
        b = self.b
        low, high = _slot(b, begin(k)), _slot(b)
        half = b.lshr(b.add(k, i64(1)), i64(1))
        with loop(b, first, half, 1) as i:
            lows, highs = [b.load(low)], [b.load(high)]
            self.pair(lows, highs, 0, self.digits(i), self.digits(b.sub(k, i)))
            b.store(lows[0], low)
            b.store(highs[0], high)
        lows, highs = [b.load(low)], [b.load(high)]
        even = emit_splat(b, b.sub(b.and_(k, i64(1)), i64(1)))  # where k is odd, digit `half` has no part in it
        self.equal(lows, highs, 0, [b.and_(digit, even) for digit in self.digits(half)])
        return lows, highs

    def tile(self, k: Value, first: Value, begin: Begin, width: int = TILE) -> tuple[Sums, Sums]:
        """The sums of `width` columns from an even k on, of pairs (i, k + c - i) with i >= first."""
        b = self.b
        slots = [*self.low[:width], *self.high[:width]]
        for c in range(width):
            b.store(begin(b.add(k, i64(c))), self.low[c])
            b.store(constant(0), self.high[c])
        half, at = b.lshr(k, i64(1)), b.sub(k, first)
        window = [[_slot(b, digit) for digit in self.digits(b.add(at, i64(c)))] for c in range(1, width)]
        with loop(b, first, half, 1) as i:
            low, high = self.sums(width)
            own = self.digits(i)
            others = [self.digits(b.sub(k, i)), *([b.load(slot) for slot in behind] for behind in window)]
            for c, other in enumerate(others):
                self.pair(low, high, c, own, other)
            for behind, digits in zip(window, others[:-1], strict=True):
                for slot, digit in zip(behind, digits, strict=True):
                    b.store(digit, slot)
            for slot, value in zip(slots, (*low, *high), strict=True):
                b.store(value, slot)
        low, high = self.sums(width)
        self.corner(low, high, [self.digits(b.add(half, i64(e))) for e in range(width)], 0)
        return low, high

    def sums(self, width: int) -> tuple[Sums, Sums]:
        return [self.b.load(slot) for slot in self.low[:width]], [self.b.load(slot) for slot in self.high[:width]]

    def corner(self, low: Sums, high: Sums, digits: list[list[Value]], lowest: int) -> None:
        """Column c takes the pairs of these neighbours whose places add up to c + lowest."""
        for c in range(len(low)):
            for i in range(len(digits)):
                j = c + lowest - i
                if i < j < len(digits):
                    self.pair(low, high, c, digits[i], digits[j])
                elif i == j:
                    self.equal(low, high, c, digits[i])

    def write(self, write: Write, k: Value, low: Sums, high: Sums) -> None:
        """Columns from k on."""
        b = self.b
        below = b.load(self.below)
        for c, (x, y) in enumerate(zip(low, high, strict=True)):
            write(b.add(k, i64(c)), b.add(x, _twice(b, below)))
            below = y
        b.store(below, self.below)

    def lower(self, write: Write, fetch: Callable[[Value], None], *, whole: bool = False) -> None:
        """Columns 0 .. L-2, with `whole` L-1, too."""
        b = self.b
        with loop(b, i64(0), self.phase, 1) as k:
            self.write(write, k, *self.single(k, i64(0), self.early))
        end = b.sub(self.last, i64(TILE)) if whole else self.last
        with loop(b, self.phase, end, TILE) as k:
            fetch(k)
            self.write(write, k, *self.tile(k, i64(0), self.early))
        if whole:
            self.write(write, end, *self.tile(end, i64(0), self.early, TILE + 1))

    def upper(self, write: Write, fetch: Callable[[Value], None]) -> None:
        """Columns L-1 .. 2L-1: tiles, none or two columns one by one, and five that the last five digits make."""
        b = self.b
        five = b.sub(b.add(self.last, self.last), i64(TILE))
        with loop(b, self.last, b.sub(five, self.phase), TILE) as k:
            fetch(k)
            start = b.sub(k, self.last)
            low, high = self.tile(k, b.add(start, i64(TILE - 1)), self.late)
            tops = [self.digits(b.sub(self.last, i64(r))) for r in range(TILE - 1)]
            for t in range(TILE - 1):  # pairs with smaller i, which not all four columns have
                own = self.digits(b.add(start, i64(t)))
                for r in range(t + 1):
                    self.pair(low, high, t - r, own, tops[r])
            self.write(write, k, low, high)
        with loop(b, b.sub(five, self.phase), five, 1) as k:
            self.write(write, k, *self.single(k, b.sub(k, self.last), self.late))
        fetch(five)
        low = [self.late(b.add(five, i64(c))) for c in range(TILE + 2)]
        high = [constant(0) for _ in low]
        self.corner(low, high, [self.digits(b.sub(self.last, i64(TILE - e))) for e in range(TILE + 1)], TILE)
        self.write(write, five, low, high)


class Square(Products):
    """The columns of a*a: 2*a_i times a_j, and nothing to correct."""

    def __init__(self, b: ir.IRBuilder, a: Value, length: Value) -> None:
        super().__init__(b, [(a, a)], a, length)

    def digits(self, i: Value) -> list[Value]:
        return super().digits(i)[:1]

    def pair(self, low: Sums, high: Sums, c: int, one: list[Value], other: list[Value]) -> None:
        self.add(low, high, c, _twice(self.b, one[0]), other[0])

    def equal(self, low: Sums, high: Sums, c: int, digits: list[Value]) -> None:
        self.add(low, high, c, digits[0], digits[0])

    def early(self, _k: Value) -> Value:
        return constant(0)

    def late(self, _k: Value) -> Value:
        return constant(0)


def _nothing(_column: Value) -> None:
    pass


def _fetching(b: ir.IRBuilder, wanted: list[Value]) -> Callable[[Value], None]:
    """Asks for a cache line a column from each address, a second one to write: what the next call will want.

    A few lines a tile: all at once they would fill the buffers for misses and hold up everything behind them.
    """

    def fetch(k: Value) -> None:
        for at, address in enumerate(wanted):
            for line in range(TILE):
                emit_prefetch(b, b.add(address, b.mul(b.add(k, i64(line)), i64(64))), write=at == 1)

    return fetch


def emit_columns(
    b: ir.IRBuilder, columns: Products, acc: Value, start: Value | None, wanted: list[Value], *, doubled: bool = False
) -> None:
    """acc <- 2L digits of all products, twice these if `doubled`, and of the L columns at `start`."""
    digits, fetch = Digits(b, acc, start, doubled=doubled), _fetching(b, wanted)
    columns.lower(digits.write, fetch)
    if start is not None:
        digits.plus = None
        b.store(b.add(b.load(digits.carry), emit_load(b, start, columns.last)), digits.carry)
    columns.upper(digits.write, fetch)


def make_columns(products: int, *, start: bool = False, fetching: int = 0, doubled: bool = False) -> Any:
    """columns(acc, lists, [start,] [next, [next_out,]] a, b, [c, d,] L): acc <- a*b [+ c*d] [+ start]

    One product may be `doubled`. The L columns at start are signed, below 2^54. From `fetching` addresses 2L - 2 lines
    are asked for.
    """

    def emit(b: Any, acc: Any, lists: Any, *rest: Any) -> None:
        *operands, length = rest
        first = operands.pop(0) if start else None
        wanted = [operands.pop(0) for _ in range(fetching)]
        columns = Products(b, list(zip(operands[::2], operands[1::2], strict=True)), lists, length)
        columns.prepare()
        emit_columns(b, columns, acc, first, wanted, doubled=doubled)

    return staged(emit, 3 + 2 * products + start + fetching)


def make_square_columns() -> Any:
    """square_columns(acc, a, L): acc <- a*a"""
    return staged(lambda b, acc, a, length: emit_columns(b, Square(b, a, length), acc, None, []), 3)


def make_low_half() -> Any:
    """low_half(out, lists, a, b, L): out <- a*b modulo 2^(51 L)"""

    def emit(b: Any, out: Any, lists: Any, a: Any, other: Any, length: Any) -> None:
        columns, digits = Products(b, [(a, other)], lists, length), Digits(b, out)
        columns.prepare()
        columns.lower(digits.write, _nothing, whole=True)

    return staged(emit, 5)


def make_high_half() -> Any:
    """high_half(acc, lists, m, n, L): acc <- acc + m*n from column L-3 on, for a sum that R divides, R >= 2^(51 (L-2)).

    What stands below column L-3 is left as it is.
    """

    def emit(b: Any, acc: Any, lists: Any, m: Any, n: Any, length: Any) -> None:
        columns, digits = Products(b, [(m, n)], lists, length), Digits(b, acc, acc)
        columns.prepare()
        first = b.sub(columns.last, i64(TILE))
        low, high = columns.tile(first, i64(0), columns.early)
        b.store(high[1], columns.below)
        for c, write in ((2, digits.begin), (3, digits.write)):
            columns.write(write, b.add(first, i64(c)), low[c : c + 1], high[c : c + 1])
        columns.upper(digits.write, _nothing)

    return staged(emit, 5)
