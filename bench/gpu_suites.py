"""Every row of a run, those that a target asks for first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hecore.bench.gpu_ckks import CkksRows
from hecore.bench.gpu_fp64 import DoubleRows
from hecore.bench.gpu_inputs import Inputs
from hecore.bench.gpu_integers import PLAIN, POWERS, QUICK_POWERS, SQUARE, Modular, power_size
from hecore.bench.gpu_paillier import PaillierRows
from hecore.bench.gpu_ring import RingRows
from hecore.bench.gpu_targets import ROWS

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_plan import GpuPlan
    from hecore.bench.gpu_rows import Job


def jobs(backend: Backend, seed: str, *, quick: bool) -> list[Job]:
    """In the order in which they are to be measured. Nothing is made or computed yet."""
    return sorted(_all(backend, Inputs(seed), quick=quick), key=lambda job: job.row.name not in ROWS)


def _all(backend: Backend, inputs: Inputs, *, quick: bool) -> Iterator[Job]:
    yield from Modular(backend, inputs).jobs(quick=quick)
    yield from PaillierRows(backend, inputs).jobs(quick=quick)
    yield from RingRows(backend, inputs).jobs(quick=quick)
    yield from CkksRows(backend, inputs).jobs(quick=quick)
    yield from DoubleRows(backend, inputs).jobs(quick=quick)


def baselines(plan: GpuPlan) -> list[tuple[int, int]]:
    """Bits of modulus and exponent of the powers that one CPU thread is to stand beside."""
    pairs = QUICK_POWERS if plan.quick else POWERS
    return [pair for pair in pairs if any(plan.wants(f"mod_exp/{power_size(*pair, form)}") for form in (PLAIN, SQUARE))]
