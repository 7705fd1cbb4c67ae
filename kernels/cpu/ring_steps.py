"""The tables that the kernels of ring_switch.py follow, made once for each pair of bases and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis
from hecore.kernels.cpu.ntt_rows import row_function
from hecore.kernels.cpu.ring_switch import CENTRED, CENTRED_WORD, DIRECT, OWN, SUM, WORD
from hecore.kernels.cpu.ring_tables import Conversion, basis_constants, conversion, is_narrow

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Steps:
    """`table` (s, 8) of addresses and public numbers; `alive` keeps what it points to."""

    table: NDArray[np.intp]
    alive: tuple[Any, ...]


@lru_cache(maxsize=1024)
def digit_steps(basis: RnsBasis, digits: tuple[tuple[int, int], ...], special: RnsBasis) -> Steps:
    """Digit by digit, one step for each prime of basis and special ones; row i of the source is residue i."""
    whole, degree = basis.join(special), basis.ring_degree
    constants, steps = basis_constants(whole), []
    alive: list[Any] = []
    for start, stop in digits:
        source = basis.take(range(start, stop))
        table = conversion(source, whole)
        alive.append(table)
        for position, p in enumerate(whole.moduli):
            if start <= position < stop:
                steps.append((OWN, position * degree * 8, 0, 0, 0, 0, 0, 0))
                continue
            row = row_function(p, degree, inverse=False)
            alive.append(row)
            small = basis.moduli[start] < 4 * p
            mode = SUM if stop - start > 1 else DIRECT if small else WORD
            where = (start * degree * 8, stop - start, table.matrix[position].ctypes.data)
            steps.append((mode, *where, constants[position].ctypes.data, is_narrow(p), row.function, row.tables))
    return Steps(np.array(steps, dtype=np.intp), (constants, *alive))


@lru_cache(maxsize=1024)
def division_steps(kept: RnsBasis, dropped: RnsBasis, start: int, ntt: bool) -> Steps:
    """One step for each prime of `kept`; rows start … of the source are residues modulo `dropped`, or y_i and v."""
    degree, count = kept.ring_degree, len(dropped)
    constants, table, steps = basis_constants(kept), conversion(dropped, kept), []
    alive: list[Any] = []
    for position, p in enumerate(kept.moduli):
        function = twiddles = 0
        if ntt:
            row = row_function(p, degree, inverse=False)
            alive.append(row)
            function, twiddles = row.function, row.tables
        if count == 1:
            product = dropped.product
            mode = CENTRED if ntt and product < 3 * p else CENTRED_WORD
            centre = np.array([product >> 1, -product % p], dtype=np.uint64)
            alive.append(centre)
            where = centre.ctypes.data
        else:
            mode, where = SUM, table.matrix[position].ctypes.data
        prime = constants[position].ctypes.data
        steps.append((mode, start * degree * 8, count + 1, where, prime, is_narrow(p), function, twiddles))
    return Steps(np.array(steps, dtype=np.intp), (constants, table, *alive))


@lru_cache(maxsize=1024)
def backward_rows(basis: RnsBasis, positions: tuple[int, ...], batch: int, width: int) -> Steps:
    """Residues at `positions` of (batch, k, N) to rows 0, 1, … of (batch, width, N), transformed backwards.

    Rows of one prime stand together.
    """
    degree, rows, alive = basis.ring_degree, [], []
    for i, position in enumerate(positions):
        row = row_function(basis.moduli[position], degree, inverse=True)
        alive.append(row)
        for p in range(batch):
            target, source = (p * width + i) * degree * 8, (p * len(basis) + position) * degree * 8
            rows.append((target, source, row.tables, row.function))
    return Steps(np.array(rows, dtype=np.intp).reshape(-1, 4), tuple(alive))


def multi_prime(digits: Sequence[tuple[int, int]], basis: RnsBasis) -> list[tuple[int, Conversion]]:
    """Start and constants of each digit of several primes."""
    return [
        (start, conversion(own, own))
        for start, stop in digits
        if stop - start > 1
        for own in [basis.take(range(start, stop))]
    ]
