"""Processes beside the one that has the device: the reference's answers, and one CPU thread to compare with.

They are spawned, not forked, and never touch the device.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from statistics import median

from hecore.bench import machine
from hecore.bench.gpu_exact import Answer, Problem, reference_answers

_MOST = 12
_BATCH = 32  # powers at once on the CPU: whole vectors
_ROUNDS = 3


class Workers:
    """`answers` of the reference for problems, in the order asked for; `baseline` for modular powers on the CPU."""

    def __init__(self, processes: int) -> None:
        context = get_context("spawn")
        self.processes = processes
        self._reference = ProcessPoolExecutor(processes, context, _begin)
        self._cpu = ProcessPoolExecutor(1, context, _begin)

    def answers(self, problem: Problem, seed: str) -> Future[list[Answer]]:
        return self._reference.submit(reference_answers, problem, seed)

    def baseline(self, bits: int, exponent_bits: int) -> Future[float]:
        """Seconds that one power takes on one thread of the `cpu` backend, in plain form."""
        return self._cpu.submit(power_seconds, bits, exponent_bits)

    def stop(self, futures: Iterable[Future[list[Answer]]]) -> None:
        """Whoever is late is not waited for: processes that still work are ended with the pool."""
        for future in futures:
            future.cancel()
        _end(self._reference)

    def close(self) -> None:
        _end(self._reference)
        _end(self._cpu)


@contextmanager
def started(processes: int | None = None) -> Iterator[Workers]:
    """As many as there are processors to spare."""
    usable = len(os.sched_getaffinity(0))
    workers = Workers(processes or max(1, min(_MOST, usable - 2)))
    try:
        yield workers
    finally:
        workers.close()


def power_seconds(bits: int, exponent_bits: int) -> float:
    """In a process of one thread: an odd modulus that nobody knows the root of, exponents of full length."""
    from hecore.arith.modulus import Modulus
    from hecore.backends.cpu import CpuBackend
    from hecore.backends.protocol import ExponentArray
    from hecore.bench.gpu_inputs import Inputs, fresh_seed

    inputs, backend = Inputs(fresh_seed()), CpuBackend()
    modulus = Modulus(inputs.odd("modulus", bits))
    bases = backend.upload(inputs.limbs("bases", _BATCH, modulus.value), modulus)
    top = 1 << (exponent_bits - 1)
    exponents = ExponentArray.from_ints(
        [inputs.integer(f"e{i}", exponent_bits) | top for i in range(_BATCH)], exponent_bits
    )
    backend.mod_exp(bases, exponents)  # compiles
    taken = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        backend.mod_exp(bases, exponents)
        taken.append(time.perf_counter() - start)
    return median(taken) / _BATCH


def _begin() -> None:
    """A worker ends with its parent, however that ended: what it inherited (a pipe, say) would stay open."""
    machine.single_thread()
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """The pool's own processes, by their handles."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
