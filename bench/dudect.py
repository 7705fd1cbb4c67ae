"""Does the time of a secret kernel depend on the secret? A statistical answer.

Two classes of inputs, one fixed and one random anew for each sample, are timed in random order; Welch's t-test
asks whether the means differ (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", DATE 2017:
section 2 for the classes, section 3 for cropping at percentiles). |t| above 4.5 is evidence of a leak, above 10
as good as proof; below says that this many samples on this machine show none, not that there is none.
A control that is known to leak runs beside them: a session in which the control passes proves nothing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.primes import random_blum_primes
from hecore.arith.random import random_below, random_limbs
from hecore.backends import registry
from hecore.backends.protocol import ExponentArray, IntegerBackend, Limbs, ResidueArray
from hecore.errors import ParameterError

SUSPICIOUS, CERTAIN = 4.5, 10.0
PERCENTILES = (100, 99, 95, 90, 75, 50)  # crops: the upper tail is the machine's, not the kernel's
LANES = 8  # residues of a sample: one full vector where there is one
VARIANTS = range(
    32
)  # random inputs prepared in advance; the fixed class has as many copies, so that caches tell nothing
CONTROL = "control: Python pow"


@dataclass(frozen=True)
class Subject:
    """A kernel and its two classes of prepared inputs."""

    name: str
    run: Callable[[Any], object]
    fixed: Sequence[Any]
    random: Sequence[Any]


@dataclass(frozen=True)
class Finding:
    """The largest |t| over the crops, and what it says."""

    kernel: str
    t: float
    samples: int

    @property
    def verdict(self) -> str:
        if self.kernel == CONTROL:
            return "leaks, as it must" if self.t > CERTAIN else "undetected: this session proves nothing"
        if self.t > CERTAIN:
            return "leaks"
        return "suspicious" if self.t > SUSPICIOUS else "no leak seen"

    @property
    def failed(self) -> bool:
        return self.t <= CERTAIN if self.kernel == CONTROL else self.t > CERTAIN

    def record(self) -> dict[str, Any]:
        """For the results file."""
        return {"kernel": self.kernel, "t": self.t, "samples": self.samples, "verdict": self.verdict}


def welch_t(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Welch's t statistic of two samples of at least two values each; 0 where neither varies nor differs."""
    if a.size < 2 or b.size < 2:
        raise ParameterError(f"cannot compare samples of {a.size} and {b.size} values: at least 2 each")
    difference = float(a.mean() - b.mean())
    spread = float(np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size))
    if spread == 0:
        return 0.0 if difference == 0 else float(np.copysign(np.inf, difference))
    return difference / spread


def largest_t(times: NDArray[np.float64], is_random: NDArray[np.bool_]) -> float:
    """The largest |t| over the crops of PERCENTILES; one threshold for both classes."""
    worst = 0.0
    for percentile in PERCENTILES:
        kept = times <= np.percentile(times, percentile)
        a, b = times[kept & ~is_random], times[kept & is_random]
        if a.size >= 2 and b.size >= 2:
            worst = max(worst, abs(welch_t(a, b)))
    return worst


def examine(subject: Subject, samples: int) -> Finding:
    """Time `samples` runs in random order of class."""
    order = np.random.default_rng(len(subject.name)).permutation(samples) % 2 == 0
    times = np.empty(samples)
    for prepared in (*subject.fixed[:2], *subject.random[:2]):
        subject.run(prepared)
    gc.disable()
    try:
        for i, is_random in enumerate(order):
            prepared = (subject.random if is_random else subject.fixed)[i % len(VARIANTS)]
            start = time.perf_counter_ns()
            subject.run(prepared)
            times[i] = time.perf_counter_ns() - start
    finally:
        gc.enable()
    return Finding(subject.name, largest_t(times, order), samples)


def subjects(backend: IntegerBackend, crt: CrtModulus) -> list[Subject]:
    """The control, and every operation that the protocol calls constant time in a secret.

    The fixed class is as easy as inputs get: exponents with a single bit, residues and messages 0 and 1. A kernel
    that skips zeros or carries is fastest there.
    """
    half, full = crt.p_squared, crt.n_squared
    bits = half.bits // 2
    base = _residues(backend, half, _random_integers(half))
    table = backend.fixed_base_table(random_below(full.value - 2) | 1, full, bits, memory_budget=1 << 20)
    halves = _residues(backend, half, [5] * LANES), _residues(backend, crt.q_squared, [7] * LANES)
    column = _residues(backend, full, _random_integers(full))
    sparse = 1 << (bits - 1)

    def exponents(shape: tuple[int, ...]) -> tuple[list[ExponentArray], list[ExponentArray]]:
        limbs = limbs_from_ints([sparse], limbs_for_bits(bits))[0]
        fixed = [ExponentArray(np.array(np.broadcast_to(limbs, (*shape, limbs.size))), bits) for _ in VARIANTS]
        return fixed, [backend.random_exponents(shape, bits) for _ in VARIANTS]

    def residues(modulus: Modulus) -> tuple[list[ResidueArray], list[ResidueArray]]:
        ones = [_residues(backend, modulus, [1] * LANES) for _ in VARIANTS]
        return ones, [_residues(backend, modulus, _random_integers(modulus)) for _ in VARIANTS]

    def power(e: ExponentArray) -> ResidueArray:
        return backend.mod_exp(base, e)

    def weighted(magnitudes: Limbs) -> ResidueArray:
        signs = np.zeros(magnitudes.shape[:2], dtype=np.bool_)
        return backend.multi_exp(column, magnitudes, signs, 31, constant_time=True)

    def messages() -> tuple[list[Limbs], list[Limbs]]:
        zeros = [np.zeros((LANES, crt.n.limbs), dtype=np.uint64) for _ in VARIANTS]
        return zeros, [limbs_from_ints(_random_integers(crt.n), crt.n.limbs) for _ in VARIANTS]

    zero_weights = [np.zeros((LANES, LANES, 1), dtype=np.uint64) for _ in VARIANTS]
    weights = [random_limbs(LANES * LANES, 31).reshape(LANES, LANES, 1) for _ in VARIANTS]
    any_base = random_below(half.value)  # of full length, so that a product skipped is time saved
    dense = [random_below(sparse) | sparse for _ in VARIANTS]
    found = [
        Subject(CONTROL, lambda e: pow(any_base, e, half.value), [sparse for _ in VARIANTS], dense),
        Subject("mod_mul", lambda a: backend.mod_mul(a, base), *residues(half)),
        Subject("mod_exp, one exponent", power, *exponents(())),
        Subject("mod_exp, an exponent a lane", power, *exponents((LANES,))),
        Subject("fixed_base_exp", lambda e: backend.fixed_base_exp(table, e), *exponents((LANES,))),
        Subject("multi_exp, constant time", weighted, zero_weights, weights),
        Subject("encode", lambda m: backend.encode(m, full), *messages()),
        Subject("lift", lambda m: backend.lift(*halves, crt, m), *messages()),
        Subject("decrypt", lambda c: backend.decrypt(c, crt), *residues(full)),
    ]
    if crt.one_factor_decides(1 << 64):
        found.append(Subject("decrypt_bounded", lambda c: backend.decrypt_bounded(c, crt, 1 << 64), *residues(full)))
    return found


def _random_integers(modulus: Modulus) -> list[int]:
    return [random_below(modulus.value) for _ in range(LANES)]


def _residues(backend: IntegerBackend, modulus: Modulus, values: Sequence[int]) -> ResidueArray:
    return backend.upload(limbs_from_ints(values, modulus.limbs), modulus)


def session(device: str, key_bits: int, samples: int) -> list[Finding]:
    """Examine every subject on one device with a throw-away key."""
    if samples < 4:
        raise ParameterError(f"cannot test with {samples} samples: at least 4")
    crt = CrtModulus(*random_blum_primes(key_bits))
    return [examine(subject, samples) for subject in subjects(registry.get(device), crt)]
