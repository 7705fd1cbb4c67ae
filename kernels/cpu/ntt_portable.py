"""Negacyclic transforms, one residue at a time: the portable path.

D. Harvey, "Faster arithmetic for number-theoretic transforms" (2014), algorithms 2 and 3, in the merged negacyclic
form of P. Longa and M. Naehrig, "Speeding up the number theoretic transform" (2016). For primes below 2^61: 4q < 2^63,
so the sign bit of a difference says which operand was larger, and a mask made of it needs no branch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, kernel

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
def forward(x, w, quotients, q):
    """x (N,) in [0, q) -> [0, q). Residues are in [0, 4q) between stages."""
    degree = x.shape[0]
    q2 = q + q
    half, blocks = degree >> 1, 1
    while half:
        for i in range(blocks):
            start = 2 * i * half
            root, quotient = w[blocks + i], quotients[blocks + i]
            for j in range(start, start + half):
                u = less_where_not_below(x[j], q2)  # [0, 2q)
                v = shoup(x[j + half], root, quotient, q)  # [0, 2q)
                x[j], x[j + half] = u + v, u - v + q2  # [0, 4q)
        half >>= 1
        blocks <<= 1
    for j in range(degree):
        x[j] = less_where_not_below(less_where_not_below(x[j], q2), q)


@inner
def backward(x, w, quotients, constants):
    """x (N,) in [0, q) -> [0, q), with the factor 1/N. Residues are in [0, 2q) between stages."""
    degree = x.shape[0]
    q = constants[0]
    q2 = q + q
    half, blocks = 1, degree >> 1
    while blocks > 1:
        for i in range(blocks):
            start = 2 * i * half
            root, quotient = w[blocks + i], quotients[blocks + i]
            for j in range(start, start + half):
                u, v = x[j], x[j + half]
                x[j] = less_where_not_below(u + v, q2)
                x[j + half] = shoup(u - v + q2, root, quotient, q)
        half <<= 1
        blocks >>= 1
    for j in range(half):  # the last stage takes the factor 1/N along
        u, v = x[j], x[j + half]
        x[j] = less_where_not_below(shoup(u + v, constants[1], constants[2], q), q)
        x[j + half] = less_where_not_below(shoup(u - v + q2, constants[3], constants[4], q), q)


@kernel
def transform_scalar(out, data, addresses, constants, inverse, first, last):
    """Residue polynomials first..last-1 of `data` (rows, N), row r modulo prime r mod k, into `out`."""
    degree = data.shape[1]
    for row in range(first, last):
        prime = row % constants.shape[0]
        table = carray(_words(addresses[prime]), (2, degree), np.uint64)
        x = out[row]
        x[:] = data[row]
        if inverse:
            backward(x, table[0], table[1], constants[prime])
        else:
            forward(x, table[0], table[1], constants[prime, 0])


@intrinsic
def _words(_typing: Any, address: Any) -> Any:
    """An address as a pointer to words."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return b.inttoptr(args[0], _I64.as_pointer())

    return types.CPointer(types.uint64)(types.intp), codegen
