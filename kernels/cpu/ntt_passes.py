"""The negacyclic transforms as passes over memory: radix 4, radix 8, and the last six stages of 64 neighbours.

Stage s (0 first, forwards) has 2^s blocks of N/2^s residues; block i meets the twiddle at 2^s + i of the bit-reversed
powers of psi. A pass does the stages of one block that need its residues a power of two apart, eight neighbours
a vector. The last three stages pair residues within a vector; there eight vectors are transposed, by shuffles of two
sources that keep one lane bit each (Zen 4 and Intel run these at twice the rate of a general permutation):

    lanes (l2 l1 l0), vectors (v2 v1 v0)     UNPACK: l0 <-> v     HALVES: l2 <-> v     QUARTERS: v -> l2 -> l1 -> v

With residue 8*j + e at lane e = (e2 e1 e0) of vector j, three of them make vector e of lane j, and back.

Blocks of 64 go two at a time, the second some steps behind the first: an out-of-order core looks about a hundred
vector instructions ahead, so shuffles overlap with products only if the code has both close together (measured on
Zen 4: a quarter less time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.montgomery import loop
from hecore.kernels.cpu.ntt_lanes import (
    Field,
    Reader,
    Shape,
    Twiddle,
    Wire,
    backward_stages,
    broadcast,
    forward_stages,
    i64,
    shuffle,
    words_on,
)
from hecore.kernels.cpu.vector import emit_load, emit_store

Value = Any  # an LLVM value; llvmlite ships no types
Patterns = tuple[list[int], list[int]]

UNPACK: Patterns = ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])
HALVES: Patterns = ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
QUARTERS: Patterns = ([0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15])
TAIL_BLOCKS = 2  # blocks of 64 in one iteration
TAIL_DELAY = 6  # steps between their starts
_P = types.intp


def _reader(b: ir.IRBuilder, f: Field, table: Value, row_bytes: Value, index: Value) -> Reader:
    """Twiddles in every lane: stage s, block i of the group at `index` is entry 2^s*index + i of each row."""

    def read(stage: int, block: int) -> Twiddle:
        address = words_on(b, table, b.shl(index, i64(stage)))
        found = []
        for _ in range(f.shape.words):
            found.append(broadcast(b, address, block))
            address = b.add(address, row_bytes)
        return tuple(found)

    return read


def _vector_reader(b: ir.IRBuilder, f: Field, address: Value) -> Reader:
    """Twiddles by lane: seven groups of as many vectors as a twiddle has words."""

    def read(stage: int, block: int) -> Twiddle:
        first = ((1 << stage) - 1 + block) * f.shape.words
        return tuple(emit_load(b, address, first + word) for word in range(f.shape.words))

    return read


def _lifted(shape: Shape, stages: int) -> tuple[int, ...]:
    """Stages in which u is lifted: the first, and as many later ones as the range asks for."""
    groups = -(-stages // shape.stages)
    return tuple(-(-stages * i // groups) for i in range(groups))


def _merge(steps: list[Iterator[None]], delay: int) -> None:
    """Run emitters in turn, one step each, starting another every `delay` rounds."""
    running: list[Iterator[None]] = []
    rounds = 0
    while steps or running:
        if steps and rounds % delay == 0:
            running.append(steps.pop(0))
        running = [step for step in running if next(step, running) is None]
        rounds += 1


def emit_pass(b: ir.IRBuilder, shape: Shape, stages: int, v: list[Value], *, inverse: bool, last: bool) -> None:
    """The code of `make_pass`, whose arguments are `v`."""
    target, source, stride, table, row_bytes, index, constants = v
    f = Field(b, shape, constants)
    read = _reader(b, f, table, row_bytes, index)
    with loop(b, i64(0), stride, 1) as j:
        places = [b.add(j, b.mul(stride, i64(k))) for k in range(1 << stages)]
        loaded = [emit_load(b, source, place) for place in places]
        if not inverse:
            x = [f.anything(value) for value in loaded]
            list(forward_stages(f, x, read, _lifted(shape, stages)))
            out = [wire.value for wire in x]
        else:
            x = [f.fresh(value) for value in loaded]
            list(backward_stages(f, x, read, last=last))
            out = [f.canonical_fresh(wire) if last else f.settle(wire).value for wire in x]
        for place, value in zip(places, out, strict=True):
            emit_store(b, target, place, value)


def make_pass(shape: Shape, stages: int, *, inverse: bool = False, last: bool = False) -> Any:
    """pass_(target, source, stride, table, row_bytes, index, constants): `stages` stages of one block.

    The block is 2^stages * `stride` vectors; `index` is that of its first stage's twiddle. Memory ranges: forward any
    to any, backward f to f; the `last` backward pass leaves canonical residues, times 1/N.
    """

    @intrinsic
    def pass_(
        _t: Any, target: Any, source: Any, stride: Any, table: Any, row_bytes: Any, index: Any, constants: Any
    ) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit_pass(b, shape, stages, v, inverse=inverse, last=last)
            return context.get_dummy_value()

        return types.void(*[_P] * 7), codegen

    return pass_


def _exchange(b: ir.IRBuilder, x: list[Wire], i: int, bit: int, patterns: Patterns) -> None:
    """Swap a lane bit with vector bit `bit` in x[i] and x[i | bit], whose ranges are the same."""
    first, second = x[i], x[i | bit]
    assert (first.low, first.high) == (second.low, second.high)
    x[i], x[i | bit] = (Wire(shuffle(b, first.value, second.value, p), first.low, first.high) for p in patterns)


def _exchange_all(b: ir.IRBuilder, x: list[Wire], bit: int, patterns: Patterns) -> Iterator[None]:
    for i in range(8):
        if not i & bit:
            _exchange(b, x, i, bit, patterns)
            yield


def _forward_tail(
    f: Field, target: Value, source: Value, across: Reader, within: Reader, here: Value
) -> Iterator[None]:
    """Six stages on the 64 residues from vector `here` on; any range to canonical."""
    b, lifted = f.b, _lifted(f.shape, 3)
    x = [f.anything(emit_load(b, source, b.add(here, i64(k)))) for k in range(8)]
    yield
    for i, j in forward_stages(f, x, across, lifted):
        yield
        if j >= 0:
            _exchange(b, x, i, 1, UNPACK)
            yield
    yield from _exchange_all(b, x, 2, QUARTERS)
    yield from _exchange_all(b, x, 4, QUARTERS)
    for i, j in forward_stages(f, x, within, lifted):
        yield
        if j >= 0:
            _exchange(b, x, i, 1, UNPACK)
            yield
    yield from _exchange_all(b, x, 2, QUARTERS)
    for i in range(4):
        _exchange(b, x, i, 4, QUARTERS)
        yield
        for k in (i, i + 4):
            emit_store(b, target, b.add(here, i64(k)), f.canonical(x[k]))
            yield


def _backward_tail(
    f: Field, target: Value, source: Value, across: Reader, within: Reader, here: Value
) -> Iterator[None]:
    """The inverse: canonical to [0, f)."""
    b = f.b
    x = [f.fresh(emit_load(b, source, b.add(here, i64(k)))) for k in range(8)]
    yield
    yield from _exchange_all(b, x, 1, UNPACK)
    yield from _exchange_all(b, x, 2, QUARTERS)
    yield from _exchange_all(b, x, 4, QUARTERS)
    for _ in backward_stages(f, x, within):
        yield
    x = [Wire(wire.value, 0, f.fresh(None).high) for wire in map(f.settle, x)]
    yield from _exchange_all(b, x, 1, UNPACK)
    yield from _exchange_all(b, x, 2, QUARTERS)
    yield from _exchange_all(b, x, 4, QUARTERS)
    for _ in backward_stages(f, x, across):
        yield
    for k in range(8):
        emit_store(b, target, b.add(here, i64(k)), f.settle(x[k]).value)
        yield


def emit_tail(b: ir.IRBuilder, shape: Shape, v: list[Value], *, inverse: bool) -> None:
    """The code of `make_tail`, whose arguments are `v`."""
    target, source, blocks, table, row_bytes, index, vectors, constants = v
    emit: Callable[..., Iterator[None]] = _backward_tail if inverse else _forward_tail
    f = Field(b, shape, constants)
    with loop(b, i64(0), blocks, TAIL_BLOCKS) as i:
        steps = []
        for k in range(TAIL_BLOCKS):
            block = b.add(i, i64(k))
            across = _reader(b, f, table, row_bytes, b.add(index, block))
            within = _vector_reader(b, f, words_on(b, vectors, b.mul(block, i64(56 * shape.words))))
            steps.append(emit(f, target, source, across, within, b.shl(block, i64(3))))
        _merge(steps, TAIL_DELAY)


def make_tail(shape: Shape, *, inverse: bool = False) -> Any:
    """tail(target, source, blocks, table, row_bytes, index, vectors, constants): the six stages of 64 neighbours.

    `blocks`, a multiple of TAIL_BLOCKS, of 64 residues each; `index` is that of the first one's first twiddle and
    `vectors` the address of its twiddles by lane.
    """

    @intrinsic
    def tail(
        _t: Any,
        target: Any,
        source: Any,
        blocks: Any,
        table: Any,
        row_bytes: Any,
        index: Any,
        vectors: Any,
        constants: Any,
    ) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, _s: Any, v: Any) -> Any:
            emit_tail(b, shape, v, inverse=inverse)
            return context.get_dummy_value()

        return types.void(*[_P] * 8), codegen

    return tail
