"""What a data-centre card must reach, and what a run on one reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hecore.bench import gpu_fp64
from hecore.bench.gpu_results import WIDE, GpuResults

CLASS = ("H100", "H200")  # cards that the bounds were set for
PUBLISHED_PRODUCT = 96e-6 + 888e-6 + 88e-6
"""Seconds: FHElium 0.10.0 on an RTX A6000, one ciphertext of these parameters: product, relinearisation, rescaling
(docs/public/benchmarks/v1 of visualDust/fhelium)."""

PRODUCT = "multiply/4096 bits, plain"
PRODUCTS_FP64 = tuple(f"{gpu_fp64.OPERATION}/{gpu_fp64.size(4096, shape)}" for shape in gpu_fp64.SHAPES[4096])
POWERS = ("mod_exp/2048/1024, plain", "mod_exp/4096/2048, plain")
SQUARE_POWERS = ("mod_exp/2048/1024, square form", "mod_exp/4096/2048, square form")
ENCRYPT = "paillier encrypt, resident/2048"
DECRYPT = "paillier decrypt, resident/2048"
MATVEC = "paillier mat-vec/1024, 40 rows, 24 bits signed"
NTT = "ntt/N=65536, 512 MiB"
MULTIPLY = "ckks multiply, relinearise, rescale/N=16384, 8+1 primes, batch 32"
ROWS = frozenset((PRODUCT, *PRODUCTS_FP64, *POWERS, *SQUARE_POWERS, ENCRYPT, DECRYPT, MATVEC, NTT, MULTIPLY))

Measure = Callable[[GpuResults], float | None]


@dataclass(frozen=True)
class GpuTarget:
    """A number that a run gives (None where it was not measured) and the least it should be."""

    text: str
    bound: float
    unit: str
    measure: Measure


@dataclass(frozen=True)
class GpuVerdict:
    """`reached` is None where nothing was measured, or on a device of another class."""

    target: GpuTarget
    value: float | None
    judged: bool

    @property
    def reached(self) -> bool | None:
        return self.value >= self.target.bound if self.judged and self.value is not None else None


def _rate(name: str) -> Measure:
    def measure(results: GpuResults) -> float | None:
        row = results.named(name)
        return row.rate if row else None

    return measure


def _times_cpu(name: str) -> Measure:
    def measure(results: GpuResults) -> float | None:
        row = results.named(name)
        return row.times_cpu if row else None

    return measure


def _share(name: str, count: str) -> Measure:
    """In percent of the measured ceiling."""

    def measure(results: GpuResults) -> float | None:
        row = results.named(name)
        found = results.share(row, count) if row else None
        return None if found is None else 100 * found

    return measure


def _product(results: GpuResults) -> float | None:
    """Of the integer product, or of the FP64 product's rate in multiply-adds that the integer one would have taken."""
    integer, ceiling = results.named(PRODUCT), results.ceiling(WIDE)
    if integer is None or integer.work is None or ceiling is None:
        return None
    others = map(results.named, PRODUCTS_FP64)
    rates = [row.rate for row in (integer, *others) if row is not None and row.rate]
    return 100 * max(rates) * integer.work.executed / ceiling


def _against_published(results: GpuResults) -> float | None:
    row = results.named(MULTIPLY)
    return row.rate * PUBLISHED_PRODUCT if row and row.rate else None


TARGETS = (
    GpuTarget("4096-bit Montgomery multiplication, of the wide multiply-add ceiling", 60, " %", _product),
    GpuTarget("mod_exp 2048/1024 bits, against one CPU thread", 150, "×", _times_cpu(POWERS[0])),
    GpuTarget("mod_exp 4096/2048 bits, against one CPU thread", 150, "×", _times_cpu(POWERS[1])),
    GpuTarget("Paillier-2048 encryption with the public key, resident", 1.5e6, "/s", _rate(ENCRYPT)),
    GpuTarget("Paillier-2048 decryption", 250e3, "/s", _rate(DECRYPT)),
    GpuTarget("encrypted mat-vec 40 × 10⁶, 1024-bit key, 24-bit signed", 300e6, " terms/s", _rate(MATVEC)),
    GpuTarget("NTT, N=2^16, 512 MiB, of the memory bandwidth", 70, " %", _share(NTT, "bytes")),
    GpuTarget("ct×ct, relinearise, rescale, batch of 32, against FHElium's RTX A6000", 10, "×", _against_published),
)


def verdicts(results: GpuResults) -> list[GpuVerdict]:
    """Every target. Judged is a run of full size on a card of the class that the bounds were set for."""
    judged = not results.plan.get("quick") and any(name in str(results.machine.get("device")) for name in CLASS)
    return [GpuVerdict(target, target.measure(results), judged) for target in TARGETS]
