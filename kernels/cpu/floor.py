"""The floor: how fast this machine can issue the multiply-add that everything here is made of."""

from __future__ import annotations

import time

import numpy as np

from hecore.kernels.cpu.cache import kernel
from hecore.kernels.cpu.context import empty_vectors
from hecore.kernels.cpu.vector import add, load, mul_hi, mul_lo, store

ACCUMULATORS = 16
_ROUNDS = 20_000


@kernel
def _accumulate(memory, rounds):
    """16 * rounds multiply-adds over 16 independent accumulators: latency 4 and two ports need at least 8."""
    p = memory.ctypes.data
    a, b, s = load(p, 0), load(p, 1), load(p, 2)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = s12 = s13 = s14 = s15 = s
    for _ in range(rounds):
        s0, s1, s2, s3 = mul_lo(s0, a, b), mul_hi(s1, a, b), mul_lo(s2, a, b), mul_hi(s3, a, b)
        s4, s5, s6, s7 = mul_lo(s4, a, b), mul_hi(s5, a, b), mul_lo(s6, a, b), mul_hi(s7, a, b)
        s8, s9, s10, s11 = mul_lo(s8, a, b), mul_hi(s9, a, b), mul_lo(s10, a, b), mul_hi(s11, a, b)
        s12, s13, s14, s15 = mul_lo(s12, a, b), mul_hi(s13, a, b), mul_lo(s14, a, b), mul_hi(s15, a, b)
    t = add(add(add(s0, s1), add(s2, s3)), add(add(s4, s5), add(s6, s7)))
    t = add(t, add(add(add(s8, s9), add(s10, s11)), add(add(s12, s13), add(s14, s15))))
    store(p, 3, t)


def measure_peak(repeats: int = 5) -> float:
    """Nanoseconds a vector multiply-add (LANES lanes) at full throughput on one thread: the best of `repeats`."""
    memory = empty_vectors(4)
    memory[:] = np.uint64(0x9E3779B97F4A7)
    _accumulate(memory, 1)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _accumulate(memory, _ROUNDS)
        best = min(best, time.perf_counter() - start)
    return best / (ACCUMULATORS * _ROUNDS) * 1e9
