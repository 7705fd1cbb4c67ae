"""Montgomery arithmetic on LANES numbers at once, radix 2^52: the code behind the staged primitives (`primitives`).

`multiply`, `multiply_two`   out <- (start + sum of a*b over P pairs + m*n) / R      for P = 1, 2
`square`                     out <- (a*a + m*n) / R
`products`                   acc <- acc + sum of a*b over P pairs
`reduce`                     out <- (acc + m*n) / R

with R = 2^(52 L) and m = -(start + sum a*b)/n mod R, whose digits can be kept (P. Montgomery 1985; the digit-wise
choice of m is "FIOS" in Koc, Acar and Kaliski 1996). They are *staged*: the Python below runs once, at
compile time, and its loops over rows and pairs write straight-line vector code.

The accumulator is 2L columns of plain signed 64-bit sums and is never shifted: a pass adds ROWS rows of every product
to columns i .. i+L+ROWS-1 in place, so that the quotient ends in columns L .. 2L-1. A row adds at most six half
products below 2^52 to a column, so a column stays below 6*L*2^52 + 2^54 for L up to `MAX_DIGITS`. (A product's low
and high half go to neighbouring columns; two sums x and y a column give the out-of-order engine two chains.)

Nothing walks over the accumulator beside the passes. What a column starts from is asked for when the first pass
reaches it (`start`), and the last pass, after which columns L .. 2L-1 are final one after the other, carries and
writes digits (`Tail`): it reads digit j of every operand before it writes digit j, so `out` may be any of the operands
that a multiplication names second, and any named first, whose last ROWS digits it has loaded beforehand.

The only long dependency is the choice of m, about 15 cycles a row. A pass therefore chooses the *next* pass's
digits as soon as their ROWS columns are final, and lets the rest of its own columns hide the wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    DIGIT_MASK,
    I64,
    VECTOR_BYTES,
    constant,
    emit_load,
    emit_mul_hi,
    emit_mul_lo,
    emit_opaque,
    emit_store,
)

MAX_DIGITS = 252  # 8*252*2^52 < 2^63: neither a column nor its double overflows, see above
ROW_STEP = 2  # L is a multiple of this
MIN_DIGITS = 4  # a pass hides the next one's head behind at least ROW_STEP columns

Value = Any  # an LLVM value; llvmlite ships no types
Window = list[Value]  # digits j, j-1, ..., j-ROWS of an operand; None outside its range
Start = Callable[[Value, int], Value]  # what a column holds before its first pass; by its number and that mod ROW_STEP


def i64(value: int) -> Value:
    return ir.Constant(I64, value)


@contextmanager
def loop(b: ir.IRBuilder, start: Value, stop: Value, step: int) -> Iterator[Value]:
    """for index in range(start, stop, step)"""
    slot = cgutils.alloca_once_value(b, start)
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    index = b.load(slot)
    b.cbranch(b.icmp_signed("<", index, stop), body, done)
    b.position_at_end(body)
    yield index
    b.store(b.add(index, i64(step)), slot)
    b.branch(head)
    b.position_at_end(done)


def _offset(b: ir.IRBuilder, address: Value, vectors: Value) -> Value:
    return b.add(address, b.mul(vectors, i64(VECTOR_BYTES)))


class Tail:
    """Carries through the columns of the last pass: digit j of the result is written when column L + j is final.

    With `quotient` the result is 2*column (`doubled`; else column) + m' - K where m' >= R/2, for digits m' and a
    constant K <= R/2: mod R that adds R - K, whose digits stand at `complement`, and drops the last carry.
    """

    def __init__(
        self,
        b: ir.IRBuilder,
        out: Value,
        length: Value,
        quotient: tuple[Value, Value] | None = None,
        *,
        doubled: bool = False,
    ) -> None:
        self.b, self.out, self.quotient, self.doubled = b, out, quotient, doubled
        self.carry = cgutils.alloca_once_value(b, constant(0))
        if quotient is not None:
            top = emit_load(b, quotient[0], b.sub(length, i64(1)))
            high = b.ashr(b.shl(top, constant(64 - DIGIT_BITS)), constant(63))
            self.mask = cgutils.alloca_once_value(b, emit_opaque(b, high))

    def begin(self, carry: Value) -> None:
        """The carry that the lower columns leave, in their measure."""
        self.b.store(self.b.shl(carry, constant(1)) if self.doubled else carry, self.carry)

    def write(self, index: Value, column: Value) -> None:
        b = self.b
        value = b.add(b.shl(column, constant(1)) if self.doubled else column, b.load(self.carry))
        if self.quotient is not None:
            own, complement = (emit_load(b, address, index) for address in self.quotient)
            value = b.add(value, b.add(own, b.and_(complement, b.load(self.mask))))
        emit_store(b, self.out, index, b.and_(value, constant(DIGIT_MASK)))
        b.store(b.ashr(value, constant(DIGIT_BITS)), self.carry)


@dataclass
class _Pass:
    """ROWS rows: the row digits `factors` of every pair's a (and m for n), and the other operands' addresses."""

    b: ir.IRBuilder
    rows: int
    length: Value
    operands: list[Value]  # addresses of every pair's b, then of n

    def digits(self, address: Value, start: Value | int, count: int) -> list[Value]:
        base = address if isinstance(start, int) and start == 0 else _offset(self.b, address, start)
        return [emit_load(self.b, base, r) for r in range(count)]

    def column(self, x: Value, factors: list[list[Value]], windows: list[Window]) -> Value:
        """x + everything this pass adds to one column."""
        y = constant(0)
        for r in range(self.rows):
            for digits, window in zip(factors, windows, strict=True):
                if window[r] is not None:
                    x = emit_mul_lo(self.b, x, digits[r], window[r])
                if window[r + 1] is not None:
                    y = emit_mul_hi(self.b, y, digits[r], window[r + 1])
        return self.b.add(x, y)

    def head(
        self, columns: list[Value], factors: list[list[Value]], k0: Value, low: list[list[Value]]
    ) -> tuple[list[Value], Value]:
        """The digits m of this pass, from its ROWS lowest columns, and the carry into the next column.

        `low` holds the ROWS lowest digits of every pair's b, then of n. m_j = column_j * k0 mod 2^52 with
        k0 = -1/n mod 2^52 makes column j divisible by 2^52.
        """
        b, carry = self.b, constant(0)
        m: list[Value] = []
        for j in range(self.rows):
            x, y = b.add(columns[j], carry), constant(0)
            for r in range(j + 1):
                for digits, other in zip(factors, low[:-1], strict=True):
                    x = emit_mul_lo(b, x, digits[r], other[j - r])
            for r in range(j):
                for digits, other in zip([*factors, m], low, strict=True):
                    y = emit_mul_hi(b, y, digits[r], other[j - r - 1])
                x = emit_mul_lo(b, x, m[r], low[-1][j - r])
            x = b.add(x, y) if j else x
            m.append(emit_mul_lo(b, constant(0), x, k0))
            carry = b.ashr(emit_mul_lo(b, x, m[j], low[-1][0]), constant(DIGIT_BITS))
        return m, carry

    def sweep(
        self,
        acc: Value,
        factors: list[list[Value]],
        slots: list[list[Value]],
        first: int,
        *,
        begin: Start | None,
        above: Start | None,
        shift: int = 0,
        tail: Tail | None = None,
    ) -> None:
        """Columns first .. L-1 in a loop, then the ROWS columns above L; L - first is a multiple of ROWS.

        Columns below L start from `begin`, those above from `above`, or, where that is None, from what they hold. They
        go `shift` places down or, with `tail`, out.
        """
        b, rows = self.b, self.rows

        def step(index: Value, source: Start | None, *, more: bool) -> list[Window]:
            windows: list[Window] = [[None, *(b.load(slot) for slot in group)] for group in slots]
            for u in range(rows):
                j = b.add(index, i64(u))
                if more:
                    for window, address in zip(windows, self.operands, strict=True):
                        window[0] = emit_load(b, address, j)
                start = emit_load(b, acc, j) if source is None else source(j, u % ROW_STEP)
                column = self.column(start, factors, windows)
                if tail is None:
                    emit_store(b, acc, b.sub(j, i64(shift)), column)
                else:
                    tail.write(b.sub(j, i64(rows)), column)
                windows = [[None, *window[:-1]] for window in windows]
            return windows

        with loop(b, i64(first), self.length, rows) as index:
            windows = step(index, begin, more=True)
            for group, window in zip(slots, windows, strict=True):
                for slot, digit in zip(group, window[1:], strict=True):
                    b.store(digit, slot)
        step(self.length, above, more=False)

    def slots(self, low: list[list[Value]]) -> list[list[Value]]:
        """Loop-carried windows: digits ROWS-1, ..., 0 of every operand (LLVM keeps them in registers)."""
        return [[cgutils.alloca_once_value(self.b, digit) for digit in reversed(digits)] for digits in low]


def nothing(_column: Value, _parity: int) -> Value:
    return constant(0)


def emit_sum_of_products(
    b: ir.IRBuilder,
    rows: int,
    acc: Value,
    pairs: list[tuple[Value, Value]],
    n: Value,
    k0_address: Value,
    m_address: Value | None,
    length: Value,
    tail: Tail,
    *,
    begin: Start = nothing,
    above: Start = nothing,
) -> None:
    """L > ROWS. `begin` gives the columns below L, `above` those from L on (also by their number from column 0)."""
    one_pass = _Pass(b, rows, length, [other for _, other in pairs] + [n])
    k0 = emit_load(b, k0_address, 0)
    zero = i64(0)

    def choose(columns: list[Value], row: Value) -> tuple[list[list[Value]], list[Value], Value]:
        factors = [one_pass.digits(a, row, rows) for a, _ in pairs]
        low = [one_pass.digits(address, 0, rows) for address in one_pass.operands]
        m, carry = one_pass.head(columns, factors, k0, low)
        if m_address is not None:
            for r, digit in enumerate(m):
                emit_store(b, _offset(b, m_address, row), r, digit)
        return factors, m, carry

    def run(row: Value, *, first: bool = False, last: bool = False) -> None:
        factors = [one_pass.digits(a, row, rows) for a, _ in pairs] + [[b.load(slot) for slot in m_slots]]
        low = [one_pass.digits(address, 0, rows) for address in one_pass.operands]
        slots = one_pass.slots(low)
        carry = b.load(carry_slot)
        source = begin if first else None

        def fresh(column: Value, parity: int) -> Value:
            return above(b.add(row, column), parity)

        def column_at(u: int) -> Value:
            return emit_load(b, acc, rows + u) if source is None else source(i64(rows + u), u % ROW_STEP)

        if last:
            tail.begin(carry)
            one_pass.sweep(acc, factors, slots, rows, begin=None, above=fresh, tail=tail)
            return
        columns = []
        windows: list[Window] = [[None, *reversed(digits)] for digits in low]
        for u in range(rows):
            for window, address in zip(windows, one_pass.operands, strict=True):
                window[0] = emit_load(b, address, rows + u)
            x = column_at(u)
            columns.append(one_pass.column(b.add(x, carry) if u == 0 else x, factors, windows))
            windows = [[None, *window[:-1]] for window in windows]
        for group, window in zip(slots, windows, strict=True):
            for slot, digit in zip(group, window[1:], strict=True):
                b.store(digit, slot)
        _, m, next_carry = choose(columns, b.add(row, i64(rows)))
        one_pass.sweep(acc, factors, slots, 2 * rows, begin=source, above=fresh, shift=rows)
        for slot, digit in zip(m_slots, m, strict=True):
            b.store(digit, slot)
        b.store(next_carry, carry_slot)

    _, m, carry = choose([begin(i64(j), j % ROW_STEP) for j in range(rows)], zero)
    m_slots = [cgutils.alloca_once_value(b, digit) for digit in m]
    carry_slot = cgutils.alloca_once_value(b, carry)
    run(zero, first=True)
    with loop(b, i64(rows), b.sub(length, i64(rows)), rows) as row:
        run(row)
    run(b.sub(length, i64(rows)), last=True)


def emit_products(
    b: ir.IRBuilder, rows: int, acc: Value, pairs: list[tuple[Value, Value]], length: Value, *, held: int
) -> None:
    """acc <- acc + sum of a*b over the pairs, of whose 2L columns the first held*L (held = 0, 1, 2) hold something."""
    one_pass = _Pass(b, rows, length, [other for _, other in pairs])

    def block(row: Value, *, first: bool) -> None:
        at = _offset(b, acc, row)
        begin, above = nothing if first and held == 0 else None, nothing if held < 2 else None
        factors = [one_pass.digits(a, row, rows) for a, _ in pairs]
        low = [one_pass.digits(address, 0, rows) for address in one_pass.operands]
        windows: list[Window] = [[None] * (rows + 1) for _ in pairs]
        for u, digits in enumerate(zip(*low, strict=True)):
            windows = [[digit, *window[:-1]] for digit, window in zip(digits, windows, strict=True)]
            start = constant(0) if begin else emit_load(b, at, u)
            emit_store(b, at, u, one_pass.column(start, factors, windows))
        one_pass.sweep(at, factors, one_pass.slots(low), rows, begin=begin, above=above)

    block(i64(0), first=True)
    with loop(b, i64(rows), length, rows) as row:
        block(row, first=False)


def emit_cross_products(b: ir.IRBuilder, rows: int, acc: Value, a: Value, length: Value) -> None:
    """acc[0 .. 2L-1] <- sum over i < j of a_i*a_j: half of what a square has beside the a_i^2. L > ROWS.

    Row block i .. i+ROWS-1 meets digit i+s in column 2i+w, w = r+s; s > r is a real condition only for
    w < 2*ROWS, where the terms are written out; above, the block is an ordinary pass over columns of width L-i.
    """

    def corner(at: Value, digits: list[Value], fresh_from: int) -> None:
        for w in range(1, 2 * rows):
            x, y = constant(0) if w >= fresh_from else emit_load(b, at, w), constant(0)
            for r in range(rows):
                if r < w - r < len(digits):
                    x = emit_mul_lo(b, x, digits[r], digits[w - r])
                if r < w - 1 - r < len(digits):
                    y = emit_mul_hi(b, y, digits[r], digits[w - 1 - r])
            emit_store(b, at, w, b.add(x, y))

    def block(row: Value, *, first: bool) -> None:
        at, here = _offset(b, acc, b.add(row, row)), _offset(b, a, row)
        one_pass = _Pass(b, rows, b.sub(length, row), [here])
        digits = one_pass.digits(here, 0, 2 * rows)
        corner(at, digits, 0 if first else 2 * rows)
        slots = one_pass.slots([digits[rows:]])
        for slot, digit in zip(slots[0], reversed(digits[rows:]), strict=True):
            b.store(digit, slot)
        one_pass.sweep(at, [digits[:rows]], slots, 2 * rows, begin=nothing if first else None, above=nothing)

    emit_store(b, acc, 0, constant(0))
    block(i64(0), first=True)
    with loop(b, i64(rows), b.sub(length, i64(rows)), rows) as row:
        block(row, first=False)
    row = b.sub(length, i64(rows))
    at, here = _offset(b, acc, b.add(row, row)), _offset(b, a, row)
    corner(at, [emit_load(b, here, r) for r in range(rows)], rows)  # earlier blocks end below column ROWS
