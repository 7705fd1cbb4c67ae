"""What one run on a device is to do, and the time it has."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hecore.errors import ParameterError

BUDGET = 480.0
QUICK_BUDGET = 60.0
EXACT_SHARE = 0.45  # of the whole time: by then proof must give way to rows
EXACT_SHARE_QUICK = 0.6
LEAST = 3.0  # seconds that something new needs to be worth starting


@dataclass(frozen=True)
class GpuPlan:
    """`quick`: small sizes, to see that all of it runs. `budget`: seconds for all of it.

    `only`: rows whose name has one of these in it; all where there are none. `exact`: likewise problems to compare.
    """

    device: str
    budget: float
    quick: bool = False
    only: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a row of that name is to be measured."""
        return _named(name, self.only)

    def compares(self, name: str) -> bool:
        """Whether a problem of that name is to be compared with the reference."""
        return _named(name, self.exact)

    @property
    def row_seconds(self) -> float:
        """What one row's rounds may take, about."""
        return 0.15 if self.quick else 1.5

    @property
    def ceiling_seconds(self) -> float:
        return 0.1 if self.quick else 0.5


class Budget:
    """Seconds from now on, by a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._start = time.monotonic()
        self.seconds = seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - self.spent)

    def allows(self, seconds: float = LEAST) -> bool:
        return self.left >= seconds


def _named(name: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in name for part in parts)


def planned(
    device: str, budget: float | None, *, quick: bool, only: Sequence[str] = (), exact: Sequence[str] = ()
) -> GpuPlan:
    """With the usual budget where none is given. Raises ParameterError for one that is not positive."""
    if budget is not None and not 0 < budget < math.inf:
        raise ParameterError(f"cannot work for {budget} seconds: a positive number is needed")
    return GpuPlan(device, budget or (QUICK_BUDGET if quick else BUDGET), quick, tuple(only), tuple(exact))
