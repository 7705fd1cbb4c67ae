"""Constant-time table reads: every entry is loaded, whatever the index; no address and no branch depends on it.

`read_table` serves digit-major tables that all lanes share, `read_powers_whole` tables with one column a lane.

A digit-major table holds, for each digit, that digit of entry 0, 1, 2, ... With eight lanes sixteen entries lie in two
registers and one vpermi2q picks, per lane, by the four low index bits; the results of the blocks are then merged
pairwise by the higher bits, a binary tree with one mask a bit. (Compare-and-keep block by block would need a compare
besides each merge.) Lane groups that read together share what bounds a single group's read, the loads from the
second-level cache. With one lane every entry is compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import shared
from hecore.kernels.cpu.montgomery import i64, loop
from hecore.kernels.cpu.vector import (
    IFMA,
    LANES,
    V_PERMUTE,
    WORD,
    constant,
    emit_load,
    emit_store,
    load,
    select_equal,
    splat,
    store,
)

GROUPS = 4  # lane groups that share a read: two at a time, the second pair finds the row in the first-level cache
BLOCK = 2 * LANES  # entries one permute chooses from


def make_read(entries: int, groups: int) -> Any:
    """read(destination, step, table, digits, index): entry `index` for `groups` lane groups (eight lanes only).

    Group g's indices are the vector at `index` + g; its result goes to `destination` + g*step bytes.
    """
    blocks = entries // BLOCK

    def emit_pair(b: ir.IRBuilder, row: Any, index: Any, first: int, targets: list[Any], digit: Any) -> None:
        # Indices are loaded and tested anew for every digit: hoisted, the masks of all groups would be spilled.
        indices = [emit_load(b, index, first + g) for g in range(len(targets))]
        masks = [
            [b.icmp_unsigned("!=", b.and_(i, constant(BLOCK << level)), constant(0)) for i in indices]
            for level in range(blocks.bit_length() - 1)
        ]
        kind = ir.FunctionType(WORD, [WORD, WORD, WORD])
        permute = cgutils.get_or_insert_function(b.module, kind, V_PERMUTE)
        partial: list[list[Any]] = [[] for _ in targets]  # one finished subtree a level, as in a binary counter
        for block in range(blocks):
            low, high = emit_load(b, row, 2 * block), emit_load(b, row, 2 * block + 1)
            for g, subtrees in enumerate(partial):
                value = b.call(permute, [low, indices[g], high])
                level = 0
                while block >> level & 1:
                    value = b.select(masks[level][g], value, subtrees.pop())
                    level += 1
                subtrees.append(value)
        for target, subtrees in zip(targets, partial, strict=True):
            emit_store(b, target, digit, subtrees.pop())

    def emit(b: ir.IRBuilder, destination: Any, step: Any, table: Any, digits: Any, index: Any) -> None:
        targets = [b.add(destination, b.mul(step, i64(g))) for g in range(groups)]
        with loop(b, i64(0), digits, 1) as d:
            row = b.add(table, b.mul(d, i64(8 * entries)))
            for first in range(0, groups, 2):
                emit_pair(b, row, index, first, targets[first : first + 2], d)

    @intrinsic
    def read(_t: Any, destination: Any, step: Any, table: Any, digits: Any, index: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit(b, *v)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), codegen

    return read


if IFMA:
    _one16, _one32, _one64, _one128, _one256 = (make_read(1 << bits, 1) for bits in range(4, 9))
    _four16, _four32, _four64, _four128, _four256 = (make_read(1 << bits, GROUPS) for bits in range(4, 9))

    @shared(5)
    def read_table(destination, table, entries, digits, index):
        """Per lane, entry `index` of a digit-major table (digits, entries): 16, 32, 64, 128 or 256 entries."""
        if entries == 16:
            _one16(destination, 0, table, digits, index)
        elif entries == 32:
            _one32(destination, 0, table, digits, index)
        elif entries == 64:
            _one64(destination, 0, table, digits, index)
        elif entries == 128:
            _one128(destination, 0, table, digits, index)
        else:
            _one256(destination, 0, table, digits, index)

    @shared(6)
    def read_table_four(destination, step, table, entries, digits, index):
        """`read_table` for GROUPS lane groups, index vectors side by side, destinations `step` bytes apart."""
        if entries == 16:
            _four16(destination, step, table, digits, index)
        elif entries == 32:
            _four32(destination, step, table, digits, index)
        elif entries == 64:
            _four64(destination, step, table, digits, index)
        elif entries == 128:
            _four128(destination, step, table, digits, index)
        else:
            _four256(destination, step, table, digits, index)

else:

    @shared(5)
    def read_table(destination, table, entries, digits, index):
        """Entry `index` of a digit-major table (digits, entries); every entry is compared."""
        chosen = load(index, 0)
        for d in range(digits):
            row = table + d * entries * 8
            value = load(row, 0)
            for e in range(1, entries):
                value = select_equal(chosen, splat(np.uint64(e)), load(row, e), value)
            store(destination, d, value)

    @shared(6)
    def read_table_four(destination, step, table, entries, digits, index):
        """`read_table` GROUPS times."""
        for g in range(GROUPS):
            read_table(destination + g * step, table, entries, digits, index + 8 * g)


def make_private_read(bits: int) -> Any:
    """read(destination, table, digits, index): entry `index` of 2**bits elements, per lane; every entry is read.

    A binary tree of choices, one mask a bit of the index: half the work of comparing the index with every number.
    """

    def emit(b: ir.IRBuilder, destination: Any, table: Any, digits: Any, index: Any) -> None:
        chosen = emit_load(b, index, 0)
        masks = [b.icmp_unsigned("!=", b.and_(chosen, constant(1 << level)), constant(0)) for level in range(bits)]
        with loop(b, i64(0), digits, 1) as d:
            subtrees: list[Any] = []  # one finished subtree a level, as in a binary counter
            for entry in range(1 << bits):
                value = emit_load(b, table, b.add(b.mul(digits, i64(entry)), d))
                level = 0
                while entry >> level & 1:
                    value = b.select(masks[level], value, subtrees.pop())
                    level += 1
                subtrees.append(value)
            emit_store(b, destination, d, subtrees.pop())

    @intrinsic
    def read(_t: Any, destination: Any, table: Any, digits: Any, index: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit(b, *v)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), codegen

    return read


if IFMA:
    _own1, _own2, _own3, _own4, _own5, _own6 = (make_private_read(bits) for bits in range(1, 7))

    @shared(5)
    def read_powers_whole(destination, table, entries, digits, index):
        """Per lane, entry `index` of a table of 2 to 64 elements; every entry is read."""
        if entries == 2:
            _own1(destination, table, digits, index)
        elif entries == 4:
            _own2(destination, table, digits, index)
        elif entries == 8:
            _own3(destination, table, digits, index)
        elif entries == 16:
            _own4(destination, table, digits, index)
        elif entries == 32:
            _own5(destination, table, digits, index)
        else:
            _own6(destination, table, digits, index)

else:

    @shared(5)
    def read_powers_whole(destination, table, entries, digits, index):
        """Per lane, entry `index` of a table of elements; every entry is compared."""
        chosen = load(index, 0)
        for d in range(digits):
            value = load(table, d)
            for i in range(1, entries):
                value = select_equal(chosen, splat(np.uint64(i)), load(table, i * digits + d), value)
            store(destination, d, value)
