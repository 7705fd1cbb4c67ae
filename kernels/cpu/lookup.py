"""Constant-time table reads: every entry is loaded, whatever the index; no address and no branch depends on it.

`read_table` serves digit-major tables that all lanes share, `read_powers_whole` tables with one column a lane.

A digit-major table holds, for each digit, that digit of entry 0, 1, 2, ... With eight lanes sixteen entries lie in two
registers and one vpermi2q picks, per lane, by the four low index bits; the results of the blocks are then merged
pairwise by the higher bits, a binary tree with one mask a bit. (Compare-and-keep block by block would need a compare
besides each merge.) Lane groups that read together share what bounds a single group's read, the loads from the
second-level cache. With one lane every entry is compared.

Large tables that many lane groups read (`WORDS_FROM` entries and more, eight lanes only) hold their digits in PIECES
words of 16 bits: for each digit, word 0 of every entry, then word 1, ... Two registers then hold 64 entries, and one
vpermi2w picks for 32 numbers at once: a fourth of the permutes, a fifth of the merges. The words of 32 numbers are
put together by unpacking, twice. Measured: half the time a group for 256 entries (docs/benchmarks.md).
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
    I32,
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

FEW = 4  # lane groups that share a read: two at a time, the second pair finds the row in the first-level cache
BLOCK = 2 * LANES  # entries one permute chooses from
GROUPS = 8  # lane groups that share a read of words
PIECES = 4  # words of 16 bits in a digit
WORDS_FROM = 128 if IFMA else 1 << 62  # entries
_WORDS = 32  # in a register
_PERMUTE_WORDS = "llvm.x86.avx512.vpermi2var.hi.512"  # word index mod 64 of two vectors
_VECTOR = ir.VectorType(ir.IntType(16), _WORDS)


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


def make_read_words(entries: int, groups: int) -> Any:
    """read(destination, step, table, digits, index) as above, of a table of words; 64 entries or more."""
    blocks = entries // (2 * _WORDS)
    halves = -(-groups // FEW)  # of so many lane groups one register holds the words

    def unpack(b: ir.IRBuilder, x: Any, y: Any, width: int, high: bool) -> Any:
        """The low or high halves of each 128 bits of x and y, parts of `width` bits in turns (vpunpck)."""
        part, count = 128 // width, 512 // width
        kind = ir.VectorType(ir.IntType(width), count)
        first = part // 2 if high else 0
        order = [chunk + first + i // 2 + i % 2 * count for chunk in range(0, count, part) for i in range(part)]
        pick = ir.Constant(ir.VectorType(I32, count), order)
        return b.shuffle_vector(b.bitcast(x, kind), b.bitcast(y, kind), pick)

    def emit_index(b: ir.IRBuilder, index: Any, first: int) -> Any:
        """The indices of four groups as words; unpacking what these pick gives the groups one after the other."""
        given = [emit_load(b, index, g) if g < groups else constant(0) for g in range(first, first + FEW)]
        total = constant(0)
        for place, (pair, high) in enumerate((pair, high) for pair in (0, 1) for high in (False, True)):
            lanes = b.bitcast(unpack(b, given[pair], given[pair + 2], 64, high), WORD)
            total = b.or_(total, b.shl(lanes, constant(16 * place)))
        return b.bitcast(total, _VECTOR)

    def emit(b: ir.IRBuilder, destination: Any, step: Any, table: Any, digits: Any, index: Any) -> None:
        targets = [b.add(destination, b.mul(step, i64(g))) for g in range(groups)]
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR, _VECTOR])
        permute = cgutils.get_or_insert_function(b.module, kind, _PERMUTE_WORDS)
        indices = [emit_index(b, index, FEW * h) for h in range(halves)]
        zero = ir.Constant(_VECTOR, [0] * _WORDS)
        bits = [ir.Constant(_VECTOR, [2 * _WORDS << level] * _WORDS) for level in range(blocks.bit_length() - 1)]
        masks = [[b.icmp_unsigned("!=", b.and_(i, bit), zero) for bit in bits] for i in indices]
        with loop(b, i64(0), digits, 1) as d:
            row = b.add(table, b.mul(d, i64(8 * entries)))
            pieces: list[list[Any]] = [[] for _ in indices]
            for piece in range(PIECES):
                partial: list[list[Any]] = [[] for _ in indices]
                for block in range(blocks):
                    at = 2 * (piece * blocks + block)
                    low, high = (b.bitcast(emit_load(b, row, at + i), _VECTOR) for i in (0, 1))
                    for h, subtrees in enumerate(partial):
                        value, level = b.call(permute, [low, indices[h], high]), 0
                        while block >> level & 1:
                            value = b.select(masks[h][level], value, subtrees.pop())
                            level += 1
                        subtrees.append(value)
                for found, subtrees in zip(pieces, partial, strict=True):
                    found.append(subtrees.pop())
            for h, found in enumerate(pieces):
                for i, target in enumerate(targets[FEW * h : FEW * (h + 1)]):
                    low, high = (unpack(b, found[j], found[j + 1], 16, i >= FEW // 2) for j in (0, 2))
                    emit_store(b, target, d, b.bitcast(unpack(b, low, high, 32, i % 2 == 1), WORD))

    return _reader(emit)


if IFMA:
    _one16, _one32, _one64 = (make_read(1 << bits, 1) for bits in range(4, 7))
    _four16, _four32, _four64 = (make_read(1 << bits, FEW) for bits in range(4, 7))
    _words128, _words256 = (make_read_words(1 << bits, 1) for bits in (7, 8))
    _eight128, _eight256 = (make_read_words(1 << bits, GROUPS) for bits in (7, 8))

    @shared(5)
    def read_table(destination, table, entries, digits, index):
        """Per lane, entry `index` of a digit-major table (digits, entries): 16, 32 or 64, or words of 128 or 256."""
        if entries == 16:
            _one16(destination, 0, table, digits, index)
        elif entries == 32:
            _one32(destination, 0, table, digits, index)
        elif entries == 64:
            _one64(destination, 0, table, digits, index)
        elif entries == 128:
            _words128(destination, 0, table, digits, index)
        else:
            _words256(destination, 0, table, digits, index)

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
    def read_table_eight(destination, step, table, entries, digits, index):
        """`read_table` for GROUPS lane groups likewise, of words of 128 or 256 entries."""
        if entries == 128:
            _eight128(destination, step, table, digits, index)
        else:
            _eight256(destination, step, table, digits, index)

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
        """`read_table` FEW times."""
        for g in range(FEW):
            read_table(destination + g * step, table, entries, digits, index + 8 * g)

    @shared(6)
    def read_table_eight(destination, step, table, entries, digits, index):
        """`read_table` GROUPS times; tables of words there are none."""
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
