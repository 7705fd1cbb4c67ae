"""One product modulo n^2 at a time, a vector holding eight digits of one number: for batches that leave lanes idle.

The form and the derivation are `elements`' (x0 + x1*n, five half-size products), the loop over rows is FIOS as in
`montgomery`: row i adds a_i*b, chooses m_i from the lowest column, adds m_i*n and moves all columns one digit down. Lo
halves are added before the move, hi halves after it, so that both meet their own columns. Columns are plain 64-bit sums
in registers; L rows add less than 6*L*2^52 to one, and carries are propagated once, at the end, in general registers:
additions and shifts, no branch or address. A row waits for its m, some 17 cycles, where eight products side by side
take four times as long for each of their rows.

Served are lengths of whole vectors, 2048-bit and 4096-bit keys, on eight lanes alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.montgomery import i64, loop
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    DIGIT_MASK,
    I32,
    I64,
    IFMA,
    LANES,
    VECTOR_BYTES,
    WORD,
    constant,
    emit_load,
    emit_mul_hi,
    emit_mul_lo,
    emit_store,
    peek,
    poke,
)

LENGTHS = (40, 80) if IFMA else ()
FEW = 3  # products that are quicker one after the other than eight side by side
_MASK = np.uint64(DIGIT_MASK)
_SHIFT = np.uint64(DIGIT_BITS)
V = VECTOR_BYTES


def _shuffle(b: ir.IRBuilder, low: Any, high: Any, lanes: list[int]) -> Any:
    return b.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, LANES), lanes))


def _digit(b: ir.IRBuilder, address: Any, index: Any) -> Any:
    """Digit `index` of the number at `address` in every lane."""
    word = b.load(b.inttoptr(b.add(address, b.mul(index, i64(8))), I64.as_pointer()))
    undefined = ir.Constant(WORD, ir.Undefined)
    return _shuffle(b, b.insert_element(undefined, word, ir.Constant(I32, 0)), undefined, [0] * LANES)


def make_rows(vectors: int, *, pairs: int) -> Any:
    """rows(out, start, minus, a, b, c, d, n, k0, m): out columns <- (start - minus + a*b [+ c*d] + m*n)/R.

    m, of which L + 7 words are written, is kept; with one pair c and d are not looked at, nor start and minus.
    """

    def emit(
        b: ir.IRBuilder, out: Any, start: Any, minus: Any, operands: list[tuple[Any, Any]], n: Any, k0: Any, m: Any
    ) -> None:
        slots = [cgutils.alloca_once_value(b, constant(0)) for _ in range(vectors)]
        for v, slot in enumerate(slots):
            begin = b.sub(emit_load(b, start, v), emit_load(b, minus, v)) if pairs == 2 else constant(0)
            b.store(begin, slot)
        factor = _digit(b, k0, i64(0))
        lowest = ir.Constant(WORD, [(1 << 64) - 1] + [0] * (LANES - 1))
        with loop(b, i64(0), i64(vectors * LANES), 1) as row:
            x = [b.load(slot) for slot in slots]
            products = [(_digit(b, a, row), other) for a, other in operands]
            for digit, other in products:
                x = [emit_mul_lo(b, column, digit, emit_load(b, other, v)) for v, column in enumerate(x)]
            chosen = emit_mul_lo(b, constant(0), x[0], factor)
            chosen = _shuffle(b, chosen, chosen, [0] * LANES)
            b.store(chosen, b.inttoptr(b.add(m, b.mul(row, i64(8))), WORD.as_pointer()), align=8)
            products.append((chosen, n))
            x = [emit_mul_lo(b, column, chosen, emit_load(b, n, v)) for v, column in enumerate(x)]
            carry = b.and_(b.lshr(x[0], constant(DIGIT_BITS)), lowest)
            x = [
                _shuffle(b, low, high, list(range(1, LANES + 1)))
                for low, high in zip(x, [*x[1:], constant(0)], strict=True)
            ]
            x[0] = b.add(x[0], carry)
            for digit, other in products:
                x = [emit_mul_hi(b, column, digit, emit_load(b, other, v)) for v, column in enumerate(x)]
            for slot, column in zip(slots, x, strict=True):
                b.store(column, slot)
        for v, slot in enumerate(slots):
            emit_store(b, out, v, b.load(slot))

    @intrinsic
    def rows(_t: Any, out: Any, start: Any, minus: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, m: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit(b, v[0], v[1], v[2], [(v[3], v[4]), (v[5], v[6])][:pairs], v[7], v[8], v[9])
            return context.get_dummy_value()

        return types.void(*[types.intp] * 10), codegen

    return rows


@inner
def carry_digits(out, columns, length):
    """Column sums -> digits."""
    c = np.uint64(0)
    for j in range(length):
        t = peek(columns + 8 * j) + c
        poke(out + 8 * j, t & _MASK)
        c = t >> _SHIFT


if IFMA:
    _one5, _two5 = make_rows(5, pairs=1), make_rows(5, pairs=2)
    _one10, _two10 = make_rows(10, pairs=1), make_rows(10, pairs=2)

    @kernel
    def multiply_few(out, a, b, constants, length, count, scratch):
        """out = a*b for the first `count` rows modulo n^2; `constants`: k0 in a line, then n and BIAS, L words each."""
        k0 = constants.ctypes.data
        n, size = k0 + V, 8 * length
        bias = n + size
        low = scratch.ctypes.data
        high, m = low + size, low + 2 * size
        for i in range(count):
            x, y, r = (
                a.ctypes.data + 8 * i * a.shape[1],
                b.ctypes.data + 8 * i * b.shape[1],
                out.ctypes.data + 8 * i * out.shape[1],
            )
            if length == 40:
                _one5(low, bias, bias, x, y, x, y, n, k0, m)
                _two5(high, bias, m, x, y + size, x + size, y, n, k0, m)
            else:
                _one10(low, bias, bias, x, y, x, y, n, k0, m)
                _two10(high, bias, m, x, y + size, x + size, y, n, k0, m)
            carry_digits(r, low, length)
            carry_digits(r + size, high, length)
