"""What the CPU backend must reach, and what a run reached. One thread, ratios of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hecore.bench.results import Results

Measure = Callable[[Results], float | None]
KEY_BITS = "2048"


@dataclass(frozen=True)
class Target:
    """A number that a run gives (None where it was not measured) and the bound it must keep."""

    text: str
    bound: float
    measure: Measure
    unit: str = "×"
    at_most: bool = False  # the bound is an upper one


@dataclass(frozen=True)
class Verdict:
    """One target against one run; `reached` is None where nothing was measured."""

    target: Target
    value: float | None

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.target.bound if self.target.at_most else self.value >= self.target.bound


def ratio(operation: str, size: str, rival: str) -> Measure:
    """How many times faster than the rival."""

    def measure(results: Results) -> float | None:
        row = results.row(operation, size)
        return row.ratio(rival) if row and not row.failures else None

    return measure


def percent_of_floor(operation: str, size: str) -> Measure:
    """What the counted instructions would take at the measured peak, in percent of what the best round took."""

    def measure(results: Results) -> float | None:
        row = results.row(operation, size)
        efficiency = row.efficiency("executed") if row and not row.failures else None
        return None if efficiency is None else 100 * efficiency

    return measure


def share(quantity: str, size: str, rival: str) -> Measure:
    """A quantity over the rival's."""

    def measure(results: Results) -> float | None:
        found = results.quantity(quantity, size)
        return found.share(rival) if found else None

    return measure


def _memory(results: Results) -> float | None:
    return None if results.memory is None else float(results.memory["growth_over_size"])


_ratio = partial(ratio, size=KEY_BITS)
_efficiency = partial(percent_of_floor, size=KEY_BITS)

PAILLIER = (
    Target(
        "4096-bit plain Montgomery multiplication, of the multiply-add peak", 75, _efficiency("mod_mul_plain"), " %"
    ),
    Target("multiplication modulo n², against the plain form", 1.5, _ratio("mod_mul", rival="hecore plain form")),
    Target("squaring modulo n², against its multiplication", 1.25, _ratio("mod_sqr", rival="hecore product")),
    Target("encrypt, public key only, against ZPaillier", 10, _ratio("encrypt", rival="ZPaillier")),
    Target("encrypt, public key only, against phe", 120, _ratio("encrypt", rival="phe")),
    Target("encrypt, own key, against ZPaillier", 20, _ratio("encrypt_own", rival="ZPaillier")),
    Target("decrypt, against phe", 10, _ratio("decrypt", rival="phe")),
    Target("decrypt, against ZPaillier", 10, _ratio("decrypt", rival="ZPaillier")),
    Target("decrypt, against IPCL", 7, _ratio("decrypt", rival="IPCL")),
    Target("encrypt, batch of one, against phe", 20, _ratio("encrypt_one", rival="phe")),
    Target("decrypt, batch of one, against phe", 1.3, _ratio("decrypt_one", rival="phe")),
    Target("add, batch of one, against phe", 1, _ratio("add_one", rival="phe")),
    Target("ct + ct on arrays of 10⁴, against ZPaillier", 10, _ratio("add", rival="ZPaillier")),
    Target("encrypted mat-vec 40×2000, 31-bit integers, against ZPaillier", 80, _ratio("matvec", rival="ZPaillier")),
    Target("two threads against one: encrypt", 1.85, _ratio("encrypt_two_threads", rival="hecore one thread")),
    Target("two threads against one: decrypt", 1.85, _ratio("decrypt_two_threads", rival="hecore one thread")),
    Target("two threads against one: mat-vec", 1.85, _ratio("matvec_two_threads", rival="hecore one thread")),
    Target("peak memory while encrypting 10⁶ values, over the ciphertexts' size", 3, _memory, at_most=True),
)


def verdicts(results: Results, targets: Sequence[Target]) -> list[Verdict]:
    """Every target against the run, in the order of the list."""
    return [Verdict(target, target.measure(results)) for target in targets]
