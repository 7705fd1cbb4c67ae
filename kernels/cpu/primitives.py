"""The staged primitives that everything else is made of; every argument is an address or a count.

`acc` is scratch of 2L columns, `out` and m are L digits, n and k0 = -1/n mod 2^52 come from a context. L > rows in all
that reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.montgomery import (
    Start,
    Tail,
    Value,
    emit_cross_products,
    emit_products,
    emit_sum_of_products,
    i64,
)
from hecore.kernels.cpu.vector import emit_load, emit_mul_hi, emit_mul_lo

_P = types.intp


def primitive(emit: Callable[..., None]) -> Any:
    """Types and code of a primitive: words in, nothing out."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, v: Any) -> Any:
        emit(b, *v)
        return context.get_dummy_value()

    return codegen


def statement(arguments: int) -> Any:
    return types.void(*[_P] * arguments)


def make_multiply(rows: int) -> Any:
    """multiply(acc, out, a, b, n, k0, m, L): out <- (a*b + m*n)/R, m kept. L > rows in all that reduce."""

    def emit(b: Any, acc: Any, out: Any, a: Any, other: Any, n: Any, k0: Any, m: Any, length: Any) -> None:
        emit_sum_of_products(b, rows, acc, [(a, other)], n, k0, m, length, Tail(b, out, length))

    @intrinsic
    def multiply(_t: Any, acc: Any, out: Any, a: Any, other: Any, n: Any, k0: Any, m: Any, length: Any) -> Any:
        return statement(8), primitive(emit)

    return multiply


def difference(b: ir.IRBuilder, plus: Value, minus: Value) -> Start:
    return lambda column, _parity: b.sub(emit_load(b, plus, column), emit_load(b, minus, column))


def make_multiply_from(rows: int) -> Any:
    """multiply_from(acc, out, plus, minus, a, b, n, k0, L): out <- (plus - minus + a*b + m*n)/R.

    plus are L columns below 2^54 that exceed minus' one by one. m is not kept.
    """

    def emit(
        b: Any, acc: Any, out: Any, plus: Any, minus: Any, a: Any, other: Any, n: Any, k0: Any, length: Any
    ) -> None:
        begin = difference(b, plus, minus)
        emit_sum_of_products(b, rows, acc, [(a, other)], n, k0, None, length, Tail(b, out, length), begin=begin)

    @intrinsic
    def multiply_from(
        _t: Any, acc: Any, out: Any, plus: Any, minus: Any, a: Any, other: Any, n: Any, k0: Any, length: Any
    ) -> Any:
        return statement(9), primitive(emit)

    return multiply_from


def make_multiply_two(rows: int) -> Any:
    """multiply_two(acc, out, a, b, c, d, n, k0, m, L): out <- (a*b + c*d + m*n)/R, m kept."""

    def emit(b: Any, acc: Any, out: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, m: Any, length: Any) -> None:
        emit_sum_of_products(b, rows, acc, [(a, o), (c, d)], n, k0, m, length, Tail(b, out, length))

    @intrinsic
    def multiply_two(
        _t: Any, acc: Any, out: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, m: Any, length: Any
    ) -> Any:
        return statement(10), primitive(emit)

    return multiply_two


def make_multiply_two_from(rows: int) -> Any:
    """multiply_two_from(acc, out, plus, minus, a, b, c, d, n, k0, L): likewise from plus - minus."""

    def emit(
        b: Any, acc: Any, out: Any, plus: Any, minus: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, length: Any
    ) -> None:
        begin = difference(b, plus, minus)
        emit_sum_of_products(b, rows, acc, [(a, o), (c, d)], n, k0, None, length, Tail(b, out, length), begin=begin)

    @intrinsic
    def multiply_two_from(
        _t: Any, acc: Any, out: Any, plus: Any, minus: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, length: Any
    ) -> Any:
        return statement(11), primitive(emit)

    return multiply_two_from


def make_multiply_plus(rows: int, *, doubled: bool = False) -> Any:
    """multiply_plus(acc, out, quotient, cut, a, b, n, k0, L): out <- (a*b + m*n)/R + quotient'.

    quotient' is the quotient, less K where it is at least R/2; cut = R - K (`Tail`); `doubled` doubles the first term.
    """

    def emit(b: Any, acc: Any, out: Any, q: Any, cut: Any, a: Any, o: Any, n: Any, k0: Any, length: Any) -> None:
        tail = Tail(b, out, length, (q, cut), doubled=doubled)
        emit_sum_of_products(b, rows, acc, [(a, o)], n, k0, None, length, tail)

    @intrinsic
    def multiply_plus(
        _t: Any, acc: Any, out: Any, q: Any, cut: Any, a: Any, o: Any, n: Any, k0: Any, length: Any
    ) -> Any:
        return statement(9), primitive(emit)

    return multiply_plus


def make_multiply_two_plus(rows: int) -> Any:
    """multiply_two_plus(acc, out, quotient, cut, a, b, c, d, n, k0, L): likewise of a*b + c*d."""

    def emit(
        b: Any, acc: Any, out: Any, q: Any, cut: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, length: Any
    ) -> None:
        tail = Tail(b, out, length, (q, cut))
        emit_sum_of_products(b, rows, acc, [(a, o), (c, d)], n, k0, None, length, tail)

    @intrinsic
    def multiply_two_plus(
        _t: Any, acc: Any, out: Any, q: Any, cut: Any, a: Any, o: Any, c: Any, d: Any, n: Any, k0: Any, length: Any
    ) -> Any:
        return statement(11), primitive(emit)

    return multiply_two_plus


def make_products(rows: int, pairs: int, *, held: int) -> Any:
    """products(acc, a, b, L), products(acc, a, b, c, d, L): acc <- acc + a*b (+ c*d), of held*L columns."""
    if pairs == 1:

        @intrinsic
        def product(_t: Any, acc: Any, a: Any, other: Any, length: Any) -> Any:
            def emit(b: Any, acc: Any, a: Any, other: Any, length: Any) -> None:
                emit_products(b, rows, acc, [(a, other)], length, held=held)

            return statement(4), primitive(emit)

        return product

    @intrinsic
    def products(_t: Any, acc: Any, a: Any, o: Any, c: Any, d: Any, length: Any) -> Any:
        def emit(b: Any, acc: Any, a: Any, o: Any, c: Any, d: Any, length: Any) -> None:
            emit_products(b, rows, acc, [(a, o), (c, d)], length, held=held)

        return statement(6), primitive(emit)

    return products


# -- reductions of 2L columns that stand in acc ----------------------------------------------------------------------


def held(b: ir.IRBuilder, acc: Value) -> Start:
    return lambda column, _parity: emit_load(b, acc, column)


def held_and_difference(b: ir.IRBuilder, acc: Value, plus: Value, minus: Value) -> Start:
    own, other = held(b, acc), difference(b, plus, minus)
    return lambda column, parity: b.add(own(column, parity), other(column, parity))


def make_reduce(rows: int) -> Any:
    """reduce(acc, out, n, k0, m, L): out <- (acc + m*n)/R, m kept."""

    def emit(b: Any, acc: Any, out: Any, n: Any, k0: Any, m: Any, length: Any) -> None:
        own, tail = held(b, acc), Tail(b, out, length)
        emit_sum_of_products(b, rows, acc, [], n, k0, m, length, tail, begin=own, above=own)

    @intrinsic
    def reduce(_t: Any, acc: Any, out: Any, n: Any, k0: Any, m: Any, length: Any) -> Any:
        return statement(6), primitive(emit)

    return reduce


def make_reduce_from(rows: int) -> Any:
    """reduce_from(acc, out, plus, minus, n, k0, L): out <- (plus - minus + acc + m*n)/R, as `multiply_from`."""

    def emit(b: Any, acc: Any, out: Any, plus: Any, minus: Any, n: Any, k0: Any, length: Any) -> None:
        begin, above, tail = held_and_difference(b, acc, plus, minus), held(b, acc), Tail(b, out, length)
        emit_sum_of_products(b, rows, acc, [], n, k0, None, length, tail, begin=begin, above=above)

    @intrinsic
    def reduce_from(_t: Any, acc: Any, out: Any, plus: Any, minus: Any, n: Any, k0: Any, length: Any) -> Any:
        return statement(7), primitive(emit)

    return reduce_from


def make_reduce_plus(rows: int, *, doubled: bool = False) -> Any:
    """reduce_plus(acc, out, quotient, cut, n, k0, L): out <- (acc + m*n)/R + quotient', as `multiply_plus`."""

    def emit(b: Any, acc: Any, out: Any, q: Any, cut: Any, n: Any, k0: Any, length: Any) -> None:
        own, tail = held(b, acc), Tail(b, out, length, (q, cut), doubled=doubled)
        emit_sum_of_products(b, rows, acc, [], n, k0, None, length, tail, begin=own, above=own)

    @intrinsic
    def reduce_plus(_t: Any, acc: Any, out: Any, q: Any, cut: Any, n: Any, k0: Any, length: Any) -> Any:
        return statement(7), primitive(emit)

    return reduce_plus


def make_square(rows: int) -> Any:
    """square(acc, out, a, n, k0, m, L): out <- (a*a + m*n)/R, m kept: the cross products, then doubled and reduced."""

    def emit(b: Any, acc: Any, out: Any, a: Any, n: Any, k0: Any, m: Any, length: Any) -> None:
        emit_cross_products(b, rows, acc, a, length)

        def begin(column: Value, parity: int) -> Value:
            digit, cross = emit_load(b, a, b.lshr(column, i64(1))), emit_load(b, acc, column)
            half = emit_mul_hi if parity else emit_mul_lo
            return half(b, b.add(cross, cross), digit, digit)

        emit_sum_of_products(b, rows, acc, [], n, k0, m, length, Tail(b, out, length), begin=begin, above=begin)

    @intrinsic
    def square(_t: Any, acc: Any, out: Any, a: Any, n: Any, k0: Any, m: Any, length: Any) -> Any:
        return statement(7), primitive(emit)

    return square
