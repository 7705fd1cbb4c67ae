"""Negacyclic transforms, one residue at a time: the portable path.

D. Harvey, "Faster arithmetic for number-theoretic transforms" (2014), algorithms 2 and 3, in the merged negacyclic
form of P. Longa and M. Naehrig, "Speeding up the number theoretic transform" (2016). For primes below 2^61: 4q < 2^63,
so the sign bit of a difference says which operand was larger, and a mask made of it needs no branch.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner
from hecore.kernels.cpu.vector import peek, poke

CONSTANTS = 8  # words before a prime's twiddles: q, 1/N, the last backward twiddle times that, each with its quotient
_I64, _I128 = ir.IntType(64), ir.IntType(128)


@intrinsic
def high_product(_typing: Any, x: Any, y: Any) -> Any:
    """Bits 64..127 of x*y."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        product = b.mul(b.zext(args[0], _I128), b.zext(args[1], _I128))
        return b.trunc(b.lshr(product, ir.Constant(_I128, 64)), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def less_where_not_below(_typing: Any, x: Any, limit: Any) -> Any:
    """x - limit where x >= limit, else x; x < 2^63 + limit. An empty piece of assembly keeps LLVM from branching."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        value, limit_ = args
        difference = b.sub(value, limit_)
        mask = b.ashr(difference, ir.Constant(_I64, 63))
        mask = b.call(ir.InlineAsm(ir.FunctionType(_I64, [_I64]), "", "=r,0"), [mask])
        return b.add(difference, b.and_(mask, limit_))

    return types.uint64(types.uint64, types.uint64), codegen


@inner
def shoup(x, w, quotient, q):
    """x*w mod q in [0, 2q), for any x < 2^64 (ntt_tables.py)."""
    return x * w - high_product(x, quotient) * q


@inner
def forward(x, table, degree, q):
    """N residues at x, in [0, 4q) at first and between stages -> [0, q). `table`: powers, then their quotients."""
    q2 = q + q
    half, blocks = degree >> 1, 1
    while half:
        for i in range(blocks):
            here = table + 8 * (blocks + i)
            root, quotient = peek(here), peek(here + 8 * degree)
            for j in range(2 * i * half, 2 * i * half + half):
                low, high = x + 8 * j, x + 8 * (j + half)
                u = less_where_not_below(peek(low), q2)  # [0, 2q)
                v = shoup(peek(high), root, quotient, q)  # [0, 2q)
                poke(low, u + v)  # [0, 4q)
                poke(high, u - v + q2)
        half >>= 1
        blocks <<= 1
    for j in range(degree):
        poke(x + 8 * j, less_where_not_below(less_where_not_below(peek(x + 8 * j), q2), q))


@inner
def backward(x, table, degree, q, constants):
    """N residues at x, in [0, 2q) at first and between stages -> [0, q), with the factor 1/N."""
    q2 = q + q
    half, blocks = 1, degree >> 1
    while blocks > 1:
        for i in range(blocks):
            here = table + 8 * (blocks + i)
            root, quotient = peek(here), peek(here + 8 * degree)
            for j in range(2 * i * half, 2 * i * half + half):
                low, high = x + 8 * j, x + 8 * (j + half)
                u, v = peek(low), peek(high)
                poke(low, less_where_not_below(u + v, q2))
                poke(high, shoup(u - v + q2, root, quotient, q))
        half <<= 1
        blocks >>= 1
    scale, scale_quotient, last, last_quotient = (
        peek(constants + 8),
        peek(constants + 16),
        peek(constants + 24),
        peek(constants + 32),
    )
    for j in range(half):  # the last stage takes the factor 1/N along
        low, high = x + 8 * j, x + 8 * (j + half)
        u, v = peek(low), peek(high)
        poke(low, less_where_not_below(shoup(u + v, scale, scale_quotient, q), q))
        poke(high, less_where_not_below(shoup(u - v + q2, last, last_quotient, q), q))


@inner
def copy_row(target, source, degree):
    if target != source:
        for j in range(degree):
            poke(target + 8 * j, peek(source + 8 * j))


def forward_scalar(target, source, degree, _passes, _plan, tables):
    copy_row(target, source, degree)
    forward(target, tables + 8 * CONSTANTS, degree, peek(tables))


def backward_scalar(target, source, degree, _passes, _plan, tables):
    copy_row(target, source, degree)
    backward(target, tables + 8 * CONSTANTS, degree, peek(tables), tables)
