"""Residues <-> a dense string of bits: value i of a row of b-bit values lies at bits b*i … b*i+b-1, low bits first.

Rows have a multiple of eight values and so end at whole bytes; b is from 8 to 61. Which bytes are touched depends on
positions and widths alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, kernel

SLACK_BYTES = 8
"""`pack_rows` may write so many bytes more than it fills."""

_WORD, _BYTE = ir.IntType(64), ir.IntType(8)


@intrinsic
def _load(_typing: Any, address: Any) -> Any:
    """The uint64 at any address."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return b.load(b.inttoptr(args[0], _WORD.as_pointer()), align=1)

    return types.uint64(types.intp), codegen


@intrinsic
def _store(_typing: Any, address: Any, value: Any) -> Any:
    """Write a uint64 at any address."""

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        b.store(args[1], b.inttoptr(args[0], _WORD.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.uint64), codegen


@kernel
def pack_rows(out, words, widths):
    """words (rows, N) -> `out`, which has SLACK_BYTES more than the sum of N * widths[row] / 8; widths >= 8.

    A store of eight bytes begins in the byte where its value begins, whose lower bits are the top of the value before
    it. What a store leaves out or writes too much, the next one mends.
    """
    base = out.ctypes.data
    for row in range(words.shape[0]):
        width = widths[row]
        before = np.uint64(0)
        for i in range(words.shape[1]):
            bit = i * width
            shift = bit & 7
            value = words[row, i]
            _store(base + (bit >> 3), (value << np.uint64(shift)) | (before >> np.uint64(width - shift)))
            before = value
        base += words.shape[1] * width >> 3


@inner
def _careful(data, at, shift):
    """64 bits from bit `shift` of byte `at` on; zeros beyond the end."""
    word = np.uint64(0)
    for k in range(9):
        place = 8 * k - shift
        if at + k < data.size and place < 64:
            byte = np.uint64(data[at + k])
            word |= byte << np.uint64(place) if place >= 0 else byte >> np.uint64(-place)
    return word


@kernel
def unpack_rows(out, data, widths, bounds):
    """The inverse of `pack_rows`, into out (rows, N); False where a value of a row is not below its bound."""
    address = data.ctypes.data
    at = 0
    excess = 0
    for row in range(out.shape[0]):
        width = widths[row]
        mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
        bound = bounds[row]
        # the values whose nine bytes are all there: 8*(at + 9) + width*i + 7 <= 8*size
        fast = max(0, min(out.shape[1], (8 * (data.size - at - 9) - 7) // width))
        for i in range(fast):
            bit = i * width
            shift = np.uint64(bit & 7)
            place = address + at + (bit >> 3)
            high = np.uint64(data[at + (bit >> 3) + 8])
            value = ((_load(place) >> shift) | ((high << np.uint64(1)) << (np.uint64(63) - shift))) & mask
            out[row, i] = value
            excess += value >= bound
        for i in range(fast, out.shape[1]):
            bit = i * width
            value = _careful(data, at + (bit >> 3), bit & 7) & mask
            out[row, i] = value
            excess += value >= bound
        at += out.shape[1] * width >> 3
    return excess == 0
