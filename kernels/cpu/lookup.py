"""Constant-time table reads: every entry is loaded, whatever the index; no address and no branch depends on it.

`read_table` serves digit-major tables that all lanes share, `read_powers_whole` tables with one column a lane.

A digit-major table holds, for each digit, that digit of entry 0, 1, 2, ... With eight lanes sixteen entries lie in two
registers and one vpermi2q picks, per lane, by the four low index bits; the results of the blocks are then merged
pairwise by the higher bits, a binary tree with one mask a bit. (Compare-and-keep block by block would need a compare
besides each merge.) Lane groups that read together share what bounds a single group's read, the loads from the
second-level cache. With one lane every entry is compared.

Large tables that many lane groups read (`BYTES_FROM` entries and more, eight lanes only) hold the DIGIT_BYTES bytes of
their digits apart: for each digit, byte 0 of every entry, then byte 1, ... Two registers then hold 128 entries, and one
vpermi2b picks for 64 numbers at once: an eighth of the permutes for an eighth less memory. The bytes of 64 numbers are
put together by unpacking, three times. What is left is the way from the second-level cache, which GROUPS lane groups
share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, shared
from hecore.kernels.cpu.montgomery import i64, loop
from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    I32,
    IFMA,
    LANES,
    V_PERMUTE,
    WORD,
    add,
    constant,
    emit_load,
    emit_store,
    load,
    select_equal,
    splat,
    store,
)

FEW = 4  # lane groups that share a read: two at a time, the second pair finds the row in the first-level cache
BLOCK = 2 * LANES  # entries one permute chooses from
BYTES_FROM = 128 if IFMA else 1 << 62  # entries
DIGIT_BYTES = -(-DIGIT_BITS // 8)
GROUPS = 16  # lane groups that share a read of bytes
_BYTES = 64  # in a register
_TOGETHER = _BYTES // LANES  # lane groups whose indices fill a register
_PERMUTE_BYTES = "llvm.x86.avx512.vpermi2var.qi.512"  # byte index mod 128 of two vectors
_VECTOR = ir.VectorType(ir.IntType(8), _BYTES)


def _reader(emit: Any) -> Any:
    """The Numba function read(destination, step, table, digits, index) of what `emit` makes."""

    @intrinsic
    def read(_t: Any, destination: Any, step: Any, table: Any, digits: Any, index: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit(b, *v)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), codegen

    return read


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

    return _reader(emit)


def make_read_bytes(entries: int, groups: int, *, added: bool = False) -> Any:
    """read(destination, step, table, digits, index) as above, of a table of bytes; 128, 256 or 512 entries.

    What was read takes the place of the destination's digits or is `added` to them.
    """
    blocks = entries // (2 * _BYTES)
    levels = range(blocks.bit_length() - 1)
    parts = range(-(-groups // _TOGETHER))

    def unpack(b: ir.IRBuilder, x: Any, y: Any, width: int, high: bool) -> Any:
        """The low or high halves of each 128 bits of x and y, parts of `width` bits in turns (vpunpck)."""
        part, count = 128 // width, 512 // width
        kind = ir.VectorType(ir.IntType(width), count)
        first = part // 2 if high else 0
        order = [chunk + first + i // 2 + i % 2 * count for chunk in range(0, count, part) for i in range(part)]
        pick = ir.Constant(ir.VectorType(I32, count), order)
        return b.shuffle_vector(b.bitcast(x, kind), b.bitcast(y, kind), pick)

    def emit_index(b: ir.IRBuilder, index: Any, first: int, shift: int) -> Any:
        """A byte of each index of _TOGETHER groups, from bit `shift` on, in the order that unpacking undoes: in each
        128 bits, those of the two lanes that lie there of the first group, then of the second, ...
        """
        given = [emit_load(b, index, g) if g < groups else constant(0) for g in range(first, first + _TOGETHER)]
        given = [b.and_(b.lshr(i, constant(shift)), constant(255)) for i in given]
        total, half = constant(0), _TOGETHER // 2
        for place in range(half):
            even, odd = (
                b.bitcast(unpack(b, given[place], given[place + half], 64, high), WORD) for high in (False, True)
            )
            total = b.or_(total, b.shl(b.or_(even, b.shl(odd, constant(8))), constant(16 * place)))
        return b.bitcast(total, _VECTOR)

    def emit(b: ir.IRBuilder, destination: Any, step: Any, table: Any, digits: Any, index: Any) -> None:
        targets = [b.add(destination, b.mul(step, i64(g))) for g in range(groups)]
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR, _VECTOR])
        permute = cgutils.get_or_insert_function(b.module, kind, _PERMUTE_BYTES)
        zero = ir.Constant(_VECTOR, [0] * _BYTES)
        indices = [emit_index(b, index, _TOGETHER * part, 0) for part in parts]
        upper = [emit_index(b, index, _TOGETHER * part, 7) for part in parts]
        masks = [
            [b.icmp_unsigned("!=", b.and_(u, ir.Constant(_VECTOR, [1 << level] * _BYTES)), zero) for level in levels]
            for u in upper
        ]
        with loop(b, i64(0), digits, 1) as d:
            row = b.add(table, b.mul(d, i64(DIGIT_BYTES * entries)))
            planes: list[list[Any]] = [[] for _ in parts]
            for plane in range(DIGIT_BYTES):
                at = 2 * blocks * plane
                entry = [b.bitcast(emit_load(b, row, at + i), _VECTOR) for i in range(2 * blocks)]
                for i, by_level, picked in zip(indices, masks, planes, strict=True):
                    found = [b.call(permute, [entry[2 * k], i, entry[2 * k + 1]]) for k in range(blocks)]
                    for mask in by_level:
                        found = [b.select(mask, odd, even) for even, odd in zip(found[::2], found[1::2], strict=True)]
                    picked.append(found[0])
            for g, target in enumerate(targets):
                merged = [*planes[g // _TOGETHER], *[zero] * (8 - DIGIT_BYTES)]
                for width, bit in ((8, 4), (16, 2), (32, 1)):  # of the group's number: which half of the 128 bits
                    pairs = zip(merged[::2], merged[1::2], strict=True)
                    merged = [unpack(b, x, y, width, bool(g & bit)) for x, y in pairs]
                value = b.bitcast(merged[0], WORD)
                emit_store(b, target, d, b.add(emit_load(b, target, d), value) if added else value)

    return _reader(emit)


@inner
def row_bytes(entries):
    """Of one digit of all entries in a digit-major table."""
    return entries * (DIGIT_BYTES if entries >= BYTES_FROM else 8)


if IFMA:
    _one16, _one32, _one64 = (make_read(1 << bits, 1) for bits in range(4, 7))
    _four16, _four32, _four64 = (make_read(1 << bits, FEW) for bits in range(4, 7))
    _bytes128, _bytes256, _bytes512 = (make_read_bytes(1 << bits, 1) for bits in (7, 8, 9))
    _all128, _all256, _all512 = (make_read_bytes(1 << bits, GROUPS) for bits in (7, 8, 9))
    _added128, _added256, _added512 = (make_read_bytes(1 << bits, GROUPS, added=True) for bits in (7, 8, 9))

    @shared(5)
    def read_table(destination, table, entries, digits, index):
        """Per lane, entry `index` of a digit-major table (digits, entries): 16 to 64 words, or 128 to 512 as bytes."""
        if entries == 16:
            _one16(destination, 0, table, digits, index)
        elif entries == 32:
            _one32(destination, 0, table, digits, index)
        elif entries == 64:
            _one64(destination, 0, table, digits, index)
        elif entries == 128:
            _bytes128(destination, 0, table, digits, index)
        elif entries == 256:
            _bytes256(destination, 0, table, digits, index)
        else:
            _bytes512(destination, 0, table, digits, index)

    @shared(6)
    def read_table_four(destination, step, table, entries, digits, index):
        """`read_table` for FEW lane groups, their index vectors side by side, destinations `step` bytes apart."""
        if entries == 16:
            _four16(destination, step, table, digits, index)
        elif entries == 32:
            _four32(destination, step, table, digits, index)
        else:
            _four64(destination, step, table, digits, index)

    @shared(6)
    def read_table_bytes(destination, step, table, entries, digits, index):
        """`read_table` for GROUPS lane groups likewise, of bytes of 128, 256 or 512 entries."""
        if entries == 128:
            _all128(destination, step, table, digits, index)
        elif entries == 256:
            _all256(destination, step, table, digits, index)
        else:
            _all512(destination, step, table, digits, index)

    @shared(6)
    def add_table_bytes(destination, step, table, entries, digits, index):
        """`read_table_bytes`, but what was read is added to the destinations' digits."""
        if entries == 128:
            _added128(destination, step, table, digits, index)
        elif entries == 256:
            _added256(destination, step, table, digits, index)
        else:
            _added512(destination, step, table, digits, index)

else:

    @inner
    def chosen_digit(row, entries, chosen):
        """Of the entries in one row, by comparing with every number."""
        value = load(row, 0)
        for e in range(1, entries):
            value = select_equal(chosen, splat(np.uint64(e)), load(row, e), value)
        return value

    @shared(5)
    def read_table(destination, table, entries, digits, index):
        """Entry `index` of a digit-major table (digits, entries); every entry is compared."""
        chosen = load(index, 0)
        for d in range(digits):
            store(destination, d, chosen_digit(table + d * entries * 8, entries, chosen))

    @shared(6)
    def read_table_four(destination, step, table, entries, digits, index):
        """`read_table` FEW times."""
        for g in range(FEW):
            read_table(destination + g * step, table, entries, digits, index + 8 * g)

    @shared(6)
    def read_table_bytes(destination, step, table, entries, digits, index):
        """`read_table` GROUPS times; tables of bytes there are none."""
        for g in range(GROUPS):
            read_table(destination + g * step, table, entries, digits, index + 8 * g)

    @shared(6)
    def add_table_bytes(destination, step, table, entries, digits, index):
        """`read_table_bytes`, but what was read is added to the destinations' digits."""
        for g in range(GROUPS):
            to, chosen = destination + g * step, load(index, g)
            for d in range(digits):
                store(to, d, add(load(to, d), chosen_digit(table + d * entries * 8, entries, chosen)))


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
