"""The search for shapes of integers: how many threads share one, how many digits each holds, how large a block is.

What keys make a device compute modulo are squares of n and of its factors, half as long. For each such length every
candidate of full blocks raises the same residues to the same exponent, then the fastest does so in smaller blocks too:
a search along one coordinate after the other, since each trial compiles a program for seconds. A time counts only
after its results were found equal to those of the shape in use, some of which Python's integers confirm.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import powmod
from hecore.arith.limbs import ints_from_limbs
from hecore.arith.modulus import Modulus
from hecore.arith.random import random_limbs
from hecore.backends.kernel_shapes import Geometry, candidates
from hecore.backends.protocol import ExponentArray
from hecore.backends.tuned import to_json
from hecore.errors import CompileError, DeviceMemoryError, ParameterError, SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hecore.backends.kernel_backend import KernelBackend
    from hecore.backends.protocol import Limbs

    Show = Callable[[str, int, int], None]

EXPONENT_BITS = 64
MARGIN = 0.98  # of the time of the shape in use: what is hardly faster does not take its place
KEY_BITS = range(512, 8193, 64)
_CHECKED = 3  # residues
_FEWEST = 64
_RUNS = 3
_SECONDS = 0.3  # of one trial's runs, at least


@dataclass(frozen=True)
class Trial:
    """One shape for one length. `seconds` a residue took, or None where `refusal` says why it cannot run."""

    bits: int
    shape: Geometry
    standing: bool  # the shape that an untuned device uses
    seconds: float | None
    refusal: str = ""


@dataclass(frozen=True)
class Tuning:
    """What was tried, and what was chosen for each length that was tried to the end."""

    trials: tuple[Trial, ...]
    chosen: dict[int, Geometry]
    complete: bool  # no length was left out for want of time

    def to_json(self) -> list[dict[str, int | float | bool | str | None]]:
        """A record a trial; `seconds` a residue and power of EXPONENT_BITS bits."""
        return [
            {
                "root_bits": trial.bits,
                **to_json(trial.shape),
                "standing": trial.standing,
                "seconds": trial.seconds,
                "refusal": trial.refusal,
                "chosen": self.chosen.get(trial.bits) == trial.shape,
            }
            for trial in self.trials
        ]

    def to_text(self) -> str:
        """A table: powers a second of each shape, and how they stand to the shape that untuned devices use."""
        lines = [f"{'root':>6} {'threads × digits':>17} {'block':>6} {'powers/s':>10} {'ratio':>6}"]
        standing = {trial.bits: trial.seconds for trial in self.trials if trial.standing}
        for trial in self.trials:
            shape, before = trial.shape, standing[trial.bits]
            name = f"{trial.bits:>6} {f'{shape.lanes} × {shape.digits}':>17} {shape.block:>6}"
            if trial.seconds is None or before is None:
                lines.append(f"{name} refused: {trial.refusal}")
                continue
            mark = "  chosen" if self.chosen.get(trial.bits) == shape else ""
            lines.append(f"{name} {1 / trial.seconds:>10,.0f} {before / trial.seconds:>6.2f}{mark}")
        return "\n".join(lines)


def tune_shapes(
    backend: KernelBackend,
    key_bits: Sequence[int],
    *,
    budget: float | None = None,
    show: Show | None = None,
) -> Tuning:
    """Measure the candidates for keys of so many bits, lengths in order; `show(what, done, total)` hears of progress.

    No trial begins when `budget` seconds are over, and a length that is not done then is not decided. Raises
    ParameterError for other than multiples of 64 from 512 to 8192 bits or a budget that is no positive number, and
    SelfTestError where a shape computes something else than the shape in use.
    """
    wrong = [bits for bits in key_bits if bits not in KEY_BITS]
    if wrong or not key_bits:
        raise ParameterError(f"key_bits are multiples of 64 from {KEY_BITS[0]} to {KEY_BITS[-1]}, got {list(key_bits)}")
    if budget is not None and not 0 < budget < float("inf"):
        raise ParameterError(f"the budget is a positive number of seconds, got {budget}")
    deadline = float("inf") if budget is None else time.monotonic() + budget
    lengths = sorted({bits for key in key_bits for bits in (key // 2, key)})
    searches = {bits: _Search(candidates(backend.facts, bits)) for bits in lengths}
    total = sum(search.most_trials for search in searches.values())
    done: list[Trial] = []
    chosen: dict[int, Geometry] = {}
    for bits, search in searches.items():
        bench = _Bench(backend, bits)
        for shape in search:
            if time.monotonic() > deadline:
                return Tuning(tuple(done), chosen, complete=False)
            if show is not None:
                show("shapes", len(done), total)
            search.tried.append(bench.trial(shape, standing=not search.tried))
            done.append(search.tried[-1])
        chosen[bits] = search.choice()
    return Tuning(tuple(done), chosen, complete=True)


class _Search:
    """What to try next for one length, by what was tried: the shape in use, each other integer in its largest block,
    then the fastest of them in its smaller blocks.
    """

    def __init__(self, shapes: Sequence[Geometry]) -> None:
        self.tried: list[Trial] = []
        self._blocks: dict[tuple[int, int, int], list[Geometry]] = {}  # the largest first, as candidates come
        for shape in shapes:
            self._blocks.setdefault(_integer(shape), []).append(shape)

    @property
    def most_trials(self) -> int:
        return len(self._blocks) + max(len(blocks) - 1 for blocks in self._blocks.values())

    def __iter__(self) -> Iterator[Geometry]:
        for blocks in self._blocks.values():
            yield blocks[0]
        yield from self._blocks[_integer(self.choice())][1:]

    def choice(self) -> Geometry:
        """The fastest, unless that of the shape in use is as good as its time."""
        standing = self.tried[0]
        best, fastest = standing.shape, MARGIN * (standing.seconds or 0)
        for trial in self.tried[1:]:
            if trial.seconds is not None and trial.seconds < fastest:
                best, fastest = trial.shape, trial.seconds
        return best


def _integer(shape: Geometry) -> tuple[int, int, int]:
    return shape.lanes, shape.digits, shape.radix


class _Bench:
    """The same residues for all shapes of a length, and what they must become."""

    def __init__(self, backend: KernelBackend, bits: int) -> None:
        facts = backend.facts
        count = max(_FEWEST, facts.parallel // 2)
        self._backend, self._bits = backend, bits
        self._modulus = Modulus.square(1 << (bits - 1) | secrets.randbits(bits - 1) | 1)
        self._residues = random_limbs(count, 2 * (bits - 1))  # below n^2, in as many limbs: bits is a multiple of 32
        self._power = secrets.randbits(EXPONENT_BITS)
        self._exponent = ExponentArray.shared(self._power, EXPONENT_BITS)
        self._expected: Limbs | None = None

    def trial(self, shape: Geometry, *, standing: bool) -> Trial:
        try:
            seconds = self._measured(shape)
        except (CompileError, DeviceMemoryError) as error:
            if standing:
                raise
            return Trial(self._bits, shape, standing, None, str(error).partition("\n")[0])
        return Trial(self._bits, shape, standing, seconds)

    def _measured(self, shape: Geometry) -> float:
        backend = self._backend.with_shapes([shape])
        a = backend.upload(self._residues, self._modulus)
        self._check(shape, backend.download(backend.mod_exp(a, self._exponent)))  # and the program is compiled
        times: list[float] = []
        while len(times) < _RUNS or sum(times) < _SECONDS:
            backend.synchronize()
            start = time.perf_counter()
            backend.mod_exp(a, self._exponent)
            backend.synchronize()
            times.append(time.perf_counter() - start)
        return median(times) / len(self._residues)

    def _check(self, shape: Geometry, found: Limbs) -> None:
        if self._expected is None:
            bases = ints_from_limbs(self._residues[:_CHECKED])
            right = [powmod(base, self._power, self._modulus.value) for base in bases]
            if ints_from_limbs(found[:_CHECKED]) != right:
                raise SelfTestError(f"{self._backend.device} computes wrong powers of {self._bits} bits with {shape}")
            self._expected = found
        elif not np.array_equal(found, self._expected):
            raise SelfTestError(f"{self._backend.device} computes wrong powers of {self._bits} bits with {shape}")
