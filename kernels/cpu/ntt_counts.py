"""The counted floor of a transform: its vector instructions, and how fast this machine issues them.

Instructions are counted in the code that the kernels emit, loads, stores, broadcasts and register copies left out:
products (IFMA and 64-bit multiplications), and all. Neither can go faster than a machine's rate for it, so

    floor = max(products * time of a product, all * time of the cheapest instruction)

Both times are measured: on Zen 4 one 512-bit product a clock and two instructions of any kind, on Intel's servers
two of either. Per butterfly of eight lanes that is about 3 products of 7 to 8 instructions for a narrow prime, and 5 of
13 for a wide one, shuffles and canonical results shared out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np
from llvmlite import ir

from hecore.kernels.cpu.cache import kernel
from hecore.kernels.cpu.context import empty_vectors
from hecore.kernels.cpu.ntt_lanes import Shape
from hecore.kernels.cpu.ntt_passes import TAIL_BLOCKS, emit_pass, emit_tail
from hecore.kernels.cpu.ntt_tables import shape_of
from hecore.kernels.cpu.ntt_vector import PLANS
from hecore.kernels.cpu.vector import I64, IFMA, WORD, add, load, store, xor

_ROUNDS = 20_000
_CHAINS = 16


@dataclass(frozen=True)
class Count:
    """Vector instructions of eight lanes."""

    products: float
    all: float

    def __add__(self, other: Count) -> Count:
        return Count(self.products + other.products, self.all + other.all)

    def __mul__(self, times: float) -> Count:
        return Count(self.products * times, self.all * times)


def transform(q: int, ring_degree: int, *, inverse: bool) -> Count | None:
    """One residue polynomial; None for a degree or a machine that the vector kernels do not serve."""
    if not IFMA or ring_degree not in PLANS:
        return None
    shape, plan, vectors = shape_of(q), PLANS[ring_degree], ring_degree // 8
    total = _tail(shape, inverse) * (vectors / (8 * TAIL_BLOCKS))
    for position, stages in enumerate(plan):
        total += _pass(shape, stages, inverse, inverse and position == 0) * (vectors / (1 << stages))
    return total


@cache
def _pass(shape: Shape, stages: int, inverse: bool, last: bool) -> Count:
    b = _builder(7)
    emit_pass(b, shape, stages, list(b.function.args), inverse=inverse, last=last)
    return _count(b.function)


@cache
def _tail(shape: Shape, inverse: bool) -> Count:
    b = _builder(8)
    emit_tail(b, shape, list(b.function.args), inverse=inverse)
    return _count(b.function)


def _builder(arguments: int) -> ir.IRBuilder:
    kind = ir.FunctionType(ir.VoidType(), [I64] * arguments)
    return ir.IRBuilder(ir.Function(ir.Module(), kind, "counted").append_basic_block())


def _count(function: ir.Function) -> Count:
    """The loop's body: what comes before it is done once a call."""
    body = next(block for block in function.blocks if block.name.startswith("body"))
    vectors = [instruction for instruction in body.instructions if instruction.type == WORD]
    work = [x for x in vectors if not _is_free(x)]
    return Count(sum(_is_product(x) for x in work), len(work))


def _is_free(x: ir.Instruction) -> bool:
    """Loads, and the two steps of a broadcast from memory."""
    spread = x.opname == "shufflevector" and "undef" in str(x.operands[1])
    return spread or x.opname in ("load", "insertelement")


def _is_product(x: ir.Instruction) -> bool:
    return x.opname == "mul" or (x.opname == "call" and "vpmadd52" in x.callee.name)


@kernel
def _issue(memory, rounds):
    """32 * rounds additions and exclusive ors in 16 independent chains."""
    p = memory.ctypes.data
    a, b, s = load(p, 0), load(p, 1), load(p, 2)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = s12 = s13 = s14 = s15 = s
    for _ in range(rounds):
        s0, s1, s2, s3 = add(xor(s0, a), b), add(xor(s1, a), b), add(xor(s2, a), b), add(xor(s3, a), b)
        s4, s5, s6, s7 = add(xor(s4, a), b), add(xor(s5, a), b), add(xor(s6, a), b), add(xor(s7, a), b)
        s8, s9, s10, s11 = add(xor(s8, a), b), add(xor(s9, a), b), add(xor(s10, a), b), add(xor(s11, a), b)
        s12, s13, s14, s15 = add(xor(s12, a), b), add(xor(s13, a), b), add(xor(s14, a), b), add(xor(s15, a), b)
    t = add(add(add(s0, s1), add(s2, s3)), add(add(s4, s5), add(s6, s7)))
    t = add(t, add(add(add(s8, s9), add(s10, s11)), add(add(s12, s13), add(s14, s15))))
    store(p, 3, t)


def measure_issue(repeats: int = 5) -> float:
    """Nanoseconds a vector instruction of the cheapest kind at full throughput on one thread: the best of `repeats`."""
    memory = empty_vectors(4)
    memory[:] = np.uint64(0x9E3779B97F4A7)
    _issue(memory, 1)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _issue(memory, _ROUNDS)
        best = min(best, time.perf_counter() - start)
    return best / (2 * _CHAINS * _ROUNDS) * 1e9
