"""Montgomery arithmetic on LANES numbers at once, radix 2^52: three staged primitives make everything else.

`sum_of_products`  acc <- (acc + sum of a*b over P pairs + m*n) / R      for P = 0, 1, 2
`product`          acc <- acc + a*b
`square`           acc <- a*a

with R = 2^(52 L) and m = -(acc + sum a*b)/n mod R, whose digits can be kept (P. Montgomery 1985; the digit-wise
choice of m is "FIOS" in Koc, Acar and Kaliski 1996). They are *staged*: the Python below runs once, at
compile time, and its loops over rows and pairs write straight-line vector code.

The accumulator is 2L columns of plain 64-bit sums and is never shifted: a pass adds ROWS rows of every product
to columns i .. i+L+ROWS-1 in place, so that the quotient ends in columns L .. 2L-1. A row adds at most six half
products below 2^52 to a column, so a column stays below 6*L*2^52 + 2^63 for L up to `MAX_DIGITS`; carries are
propagated once, by the caller, at the end. (A product's low and high half go to neighbouring columns; two
sums x and y a column give the out-of-order engine two chains.)

The only long dependency is the choice of m, about 15 cycles a row. A pass therefore chooses the *next* pass's
digits as soon as their ROWS columns are final, and lets the rest of its own columns hide the wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    I64,
    VECTOR_BYTES,
    constant,
    emit_load,
    emit_mul_hi,
    emit_mul_lo,
    emit_store,
)

MAX_DIGITS = 320  # 6*320*2^52 < 2^63: no column overflows, see above
ROW_STEP = 2  # L is a multiple of this
MIN_DIGITS = 4  # a pass hides the next one's head behind at least ROW_STEP columns

Value = Any  # an LLVM value; llvmlite ships no types
Window = list[Value]  # digits j, j-1, ..., j-ROWS of an operand; None outside its range


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
            carry = b.lshr(emit_mul_lo(b, x, m[j], low[-1][0]), constant(DIGIT_BITS))
        return m, carry

    def sweep(
        self, acc: Value, factors: list[list[Value]], slots: list[list[Value]], start: int, *, fresh: bool
    ) -> None:
        """Columns start .. L-1 in a loop, then the ROWS columns above L, which are new where `fresh`."""
        b, rows = self.b, self.rows

        def step(index: Value, count: int) -> None:
            windows = [[None, *(b.load(slot) for slot in group)] for group in slots]
            for u in range(count):
                j = b.add(index, i64(u))
                for window, address in zip(windows, self.operands, strict=True):
                    window[0] = emit_load(b, address, j)
                emit_store(b, acc, j, self.column(emit_load(b, acc, j), factors, windows))
                windows = [[None, *window[:-1]] for window in windows]
            for group, window in zip(slots, windows, strict=True):
                for slot, digit in zip(group, window[1:], strict=True):
                    b.store(digit, slot)

        span = b.sub(self.length, i64(start))
        whole = b.sub(self.length, b.srem(span, i64(rows)))
        with loop(b, i64(start), whole, rows) as index:
            step(index, rows)
        with loop(b, whole, self.length, 1) as index:
            step(index, 1)
        windows: list[Window] = [[None, *(b.load(slot) for slot in group)] for group in slots]
        for u in range(rows):
            j = b.add(self.length, i64(u))
            emit_store(b, acc, j, self.column(constant(0) if fresh else emit_load(b, acc, j), factors, windows))
            windows = [[None, *window[:-1]] for window in windows]

    def slots(self, low: list[list[Value]]) -> list[list[Value]]:
        """Loop-carried windows: digits ROWS-1, ..., 0 of every operand (LLVM keeps them in registers)."""
        return [[cgutils.alloca_once_value(self.b, digit) for digit in reversed(digits)] for digits in low]


def _emit_sum_of_products(
    b: ir.IRBuilder,
    rows: int,
    acc: Value,
    pairs: list[tuple[Value, Value]],
    n: Value,
    k0_address: Value,
    m_address: Value | None,
    length: Value,
    *,
    fresh: bool,
) -> None:
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

    def run(row: Value, *, last: bool) -> None:
        at = _offset(b, acc, row)
        factors = [one_pass.digits(a, row, rows) for a, _ in pairs] + [[b.load(slot) for slot in m_slots]]
        low = [one_pass.digits(address, 0, rows) for address in one_pass.operands]
        slots = one_pass.slots(low)
        carry = b.load(carry_slot)
        if last:
            emit_store(b, at, rows, b.add(emit_load(b, at, rows), carry))
            one_pass.sweep(at, factors, slots, rows, fresh=fresh)
            return
        columns = []
        windows: list[Window] = [[None, *reversed(digits)] for digits in low]
        for u in range(rows):
            for window, address in zip(windows, one_pass.operands, strict=True):
                window[0] = emit_load(b, address, rows + u)
            x = emit_load(b, at, rows + u)
            columns.append(one_pass.column(b.add(x, carry) if u == 0 else x, factors, windows))
            windows = [[None, *window[:-1]] for window in windows]
        for group, window in zip(slots, windows, strict=True):
            for slot, digit in zip(group, window[1:], strict=True):
                b.store(digit, slot)
        _, m, next_carry = choose(columns, b.add(row, i64(rows)))
        one_pass.sweep(at, factors, slots, 2 * rows, fresh=fresh)
        for slot, digit in zip(m_slots, m, strict=True):
            b.store(digit, slot)
        b.store(next_carry, carry_slot)

    _, m, carry = choose([emit_load(b, acc, j) for j in range(rows)], zero)
    m_slots = [cgutils.alloca_once_value(b, digit) for digit in m]
    carry_slot = cgutils.alloca_once_value(b, carry)
    with loop(b, zero, b.sub(length, i64(rows)), rows) as row:
        run(row, last=False)
    run(b.sub(length, i64(rows)), last=True)


def _emit_product(b: ir.IRBuilder, rows: int, acc: Value, a: Value, other: Value, length: Value) -> None:
    one_pass = _Pass(b, rows, length, [other])
    with loop(b, i64(0), length, rows) as row:
        factors = [one_pass.digits(a, row, rows)]
        slots = [[cgutils.alloca_once_value(b, constant(0)) for _ in range(rows)]]
        for slot in slots[0]:
            b.store(constant(0), slot)
        one_pass.sweep(_offset(b, acc, row), factors, slots, 0, fresh=True)


def _emit_square(b: ir.IRBuilder, rows: int, acc: Value, a: Value, length: Value) -> None:
    """acc[0 .. 2L-1] <- a*a for acc[0 .. L-1] zero: the products a_i*a_j with i < j, doubled, then the a_i^2.

    Row block i .. i+ROWS-1 meets digit i+s in column 2i+w, w = r+s; s > r is a real condition only for
    w < 2*ROWS, where the terms are written out; above, the block is an ordinary pass over columns of width L-i.
    """

    def corner(at: Value, digits: list[Value], start: int, stop: int) -> None:
        for w in range(start, stop):
            x, y = emit_load(b, at, w), constant(0)
            for r in range(rows):
                if r < w - r < len(digits):
                    x = emit_mul_lo(b, x, digits[r], digits[w - r])
                if r < w - 1 - r < len(digits):
                    y = emit_mul_hi(b, y, digits[r], digits[w - 1 - r])
            emit_store(b, at, w, b.add(x, y))

    with loop(b, i64(0), b.sub(length, i64(rows)), rows) as row:
        at, here = _offset(b, acc, b.add(row, row)), _offset(b, a, row)
        one_pass = _Pass(b, rows, b.sub(length, row), [here])
        digits = one_pass.digits(here, 0, 2 * rows)
        corner(at, digits, 1, 2 * rows)
        slots = one_pass.slots([digits[rows:]])
        for slot, digit in zip(slots[0], reversed(digits[rows:]), strict=True):
            b.store(digit, slot)
        one_pass.sweep(at, [digits[:rows]], slots, 2 * rows, fresh=True)
    row = b.sub(length, i64(rows))
    at, here = _offset(b, acc, b.add(row, row)), _offset(b, a, row)
    for w in range(rows, 2 * rows):  # columns no earlier block has touched
        emit_store(b, at, w, constant(0))
    corner(at, [emit_load(b, here, r) for r in range(rows)], 1, 2 * rows)
    with loop(b, i64(0), length, 1) as i:
        digit = emit_load(b, a, i)
        even = b.add(i, i)
        odd = b.add(even, i64(1))
        x, y = emit_load(b, acc, even), emit_load(b, acc, odd)
        emit_store(b, acc, even, emit_mul_lo(b, b.add(x, x), digit, digit))
        emit_store(b, acc, odd, emit_mul_hi(b, b.add(y, y), digit, digit))


_P = types.intp


def _statement(arguments: int) -> Any:
    return types.void(*[_P] * arguments)


def make_reduce(rows: int) -> Any:
    """reduce_(acc, n, k0, m, L): acc (2L columns in) <- (acc + m*n)/R in columns L .. 2L-1; m kept."""

    @intrinsic
    def reduce_(_t: Any, acc: Any, n: Any, k0: Any, m: Any, length: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            _emit_sum_of_products(b, rows, v[0], [], v[1], v[2], v[3], v[4], fresh=False)
            return context.get_dummy_value()

        return _statement(5), codegen

    return reduce_


def make_multiply(rows: int) -> Any:
    """multiply(acc, a, b, n, k0, m, L): acc (L columns in) <- (acc + a*b + m*n)/R in columns L .. 2L-1; m kept.

    L > rows here and in `make_multiply_two`: the last pass carries into a column that an earlier one has begun.
    """

    @intrinsic
    def multiply(_t: Any, acc: Any, a: Any, other: Any, n: Any, k0: Any, m: Any, length: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            _emit_sum_of_products(b, rows, v[0], [(v[1], v[2])], v[3], v[4], v[5], v[6], fresh=True)
            return context.get_dummy_value()

        return _statement(7), codegen

    return multiply


def make_multiply_two(rows: int) -> Any:
    """multiply_two(acc, a, b, c, d, n, k0, L): acc (L columns in) <- (acc + a*b + c*d + m*n)/R, likewise."""

    @intrinsic
    def multiply_two(_t: Any, acc: Any, a: Any, b_: Any, c: Any, d: Any, n: Any, k0: Any, length: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            _emit_sum_of_products(b, rows, v[0], [(v[1], v[2]), (v[3], v[4])], v[5], v[6], None, v[7], fresh=True)
            return context.get_dummy_value()

        return _statement(8), codegen

    return multiply_two


def make_product(rows: int) -> Any:
    """product(acc, a, b, L): acc (L columns in) <- acc + a*b in columns 0 .. 2L-1."""

    @intrinsic
    def product(_t: Any, acc: Any, a: Any, other: Any, length: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            _emit_product(b, rows, v[0], v[1], v[2], v[3])
            return context.get_dummy_value()

        return _statement(4), codegen

    return product


def make_square(rows: int) -> Any:
    """square(acc, a, L): acc (columns 0 .. L-1 zero) <- a*a in columns 0 .. 2L-1."""

    @intrinsic
    def square(_t: Any, acc: Any, a: Any, length: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            _emit_square(b, rows, v[0], v[1], v[2])
            return context.get_dummy_value()

        return _statement(3), codegen

    return square
