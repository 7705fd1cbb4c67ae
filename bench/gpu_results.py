"""What a run on a device found, kept in a JSON file that is whole after every line, wherever the run is cut off."""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from hecore.errors import HecoreError, SerializationError

KIND = "gpu"
SCHEMA = 1
WIDE = "wide multiply-add"
DOUBLE = "double-precision multiply-add"
MEMORY = "copy"
CEILINGS = {"executed": WIDE, "useful": WIDE, "double": DOUBLE, "bytes": MEMORY}
"""What each count of `Work` is divided by."""


@dataclass(frozen=True)
class Check:
    """One operation at one size against the reference, on fresh inputs. `failure` is empty where all bits agree."""

    operation: str
    size: str
    values: int
    failure: str = ""


@dataclass(frozen=True)
class Ceiling:
    """The most this device did of one thing in a second; `rate` is None with the reason where it could not be measured.

    `unit` is what is counted: multiply-adds, or bytes read and written.
    """

    name: str
    unit: str
    rate: float | None
    reason: str = ""
    per_clock: float | None = None  # a clock and multiprocessor, at the clock read right after


@dataclass(frozen=True)
class Work:
    """What one item costs.

    `executed`: the 32-by-32-bit multiply-adds that the kernels issue. `useful`: those that the same modular products
    need by plain operand scanning with full 32-bit digits modulo the full modulus. Where a radix below 2^32 is used the
    second is smaller, where arithmetic is saved (squares, five half products) larger. `double`: double-precision
    operations. `bytes`: device memory read and written, each pass over the data counted once. 0 where nobody counted.
    """

    executed: float = 0.0
    useful: float = 0.0
    double: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class GpuRow:
    """One operation at one size, `items` of them a round.

    `seconds` are rounds by the device's clock (`GpuResults.clock`), `wall_seconds` the same rounds by the host's.
    `first_seconds`: the first call, compiling included. `transfers`: seconds to bring a round's operands there and its
    results back, where the timed part has none. `joules` is the card's energy over all rounds, `cpu_seconds` one item
    on one CPU thread. `failure`: what makes the row worthless; `absent`: why there is none.
    """

    operation: str
    size: str
    item: str
    items: int = 0
    seconds: tuple[float, ...] = ()
    wall_seconds: tuple[float, ...] = ()
    first_seconds: float = 0.0
    transfers: Mapping[str, float] = field(default_factory=dict)
    work: Work | None = None
    joules: float | None = None
    cpu_seconds: float | None = None
    failure: str = ""
    absent: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.operation}/{self.size}"

    @property
    def good(self) -> bool:
        return bool(self.seconds) and not self.failure

    @property
    def rate(self) -> float | None:
        """Items a second of the median round."""
        return self.items / median(self.seconds) if self.good else None

    @property
    def per_joule(self) -> float | None:
        return self.items * len(self.seconds) / self.joules if self.good and self.joules else None

    @property
    def times_cpu(self) -> float | None:
        """How many CPU threads it stands for."""
        return self.rate * self.cpu_seconds if self.rate and self.cpu_seconds else None


@dataclass(frozen=True)
class GpuResults:
    """One run so far. `complete` is set by its last step, `seed` repeats its random inputs."""

    machine: Mapping[str, Any]
    plan: Mapping[str, Any]
    seed: str
    clock: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds each
    compiled: tuple[Mapping[str, Any], ...] = ()
    self_test: str = "not run"
    checks: tuple[Check, ...] = ()
    unchecked: tuple[str, ...] = ()  # what the budget left no time for
    ceilings: tuple[Ceiling, ...] = ()
    rows: tuple[GpuRow, ...] = ()
    failures: tuple[str, ...] = ()
    complete: bool = False

    def named(self, name: str) -> GpuRow | None:
        """The row of that name, if it was measured and holds."""
        return next((row for row in self.rows if row.name == name and row.good), None)

    def ceiling(self, name: str) -> float | None:
        """The best of all measurements of that name."""
        return max((c.rate for c in self.ceilings if c.name == name and c.rate), default=None)

    def share(self, row: GpuRow, count: str) -> float | None:
        """Of the measured ceiling, by a count of `Work`."""
        work = getattr(row.work, count) if row.work else 0
        ceiling = self.ceiling(CEILINGS[count])
        return row.rate * work / ceiling if row.rate and work and ceiling else None

    @property
    def holds(self) -> bool:
        """Whether it came to its end, compared and measured something, and nothing failed."""
        return self.complete and bool(self.checks) and any(row.good for row in self.rows) and not self.all_failures

    @property
    def all_failures(self) -> tuple[str, ...]:
        checks = tuple(f"{c.operation}, {c.size}: {c.failure}" for c in self.checks if c.failure)
        return self.failures + checks + tuple(f"{r.name}: {r.failure}" for r in self.rows if r.failure)

    def save(self, path: Path) -> None:
        """All of it or nothing, with the derived numbers beside the raw ones for readers without this code."""
        document = {"kind": KIND, "schema": SCHEMA, **asdict(self)}
        for row, record in zip(self.rows, document["rows"], strict=True):
            record["rate"], record["per_joule"], record["times_cpu"] = row.rate, row.per_joule, row.times_cpu
            for count in CEILINGS:
                record[f"share_{count}"] = self.share(row, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=1) + "\n")
        os.replace(name, path)


def reason(error: BaseException) -> str:
    """What was raised, and where if it is no error of our own: nobody may be there to try again."""
    said = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, HecoreError) or not frames:
        return said
    return f"{said} ({Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name})"


class Recorder:
    """The results so far, written out after every change."""

    def __init__(self, results: GpuResults, path: Path, say: Callable[[str], None]) -> None:
        self.results = results
        self.path = path
        self.say = say
        self._save()

    def update(self, **changes: Any) -> None:
        """Replace fields."""
        self.results = replace(self.results, **changes)
        self._save()

    def append(self, **entries: Any) -> None:
        """Add one entry to each of these fields."""
        self.update(**{name: (*getattr(self.results, name), entry) for name, entry in entries.items()})

    def _save(self) -> None:
        self.results.save(self.path)


def is_gpu(path: Path) -> bool:
    """Whether a results file is one of these."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(document, dict) and document.get("kind") == KIND


def load(path: Path) -> GpuResults:
    """Read what `save` wrote; SerializationError for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("kind") != KIND or document.pop("schema") != SCHEMA:
            raise SerializationError(f"cannot read {path.name}: it is no result of `bench gpu` of schema {SCHEMA}")
        checks = tuple(Check(**record) for record in document.pop("checks"))
        ceilings = tuple(Ceiling(**record) for record in document.pop("ceilings"))
        rows = tuple(_row(record) for record in document.pop("rows"))
        lists = {name: tuple(document.pop(name)) for name in ("compiled", "unchecked", "failures")}
        return GpuResults(**{**document, **lists, "checks": checks, "ceilings": ceilings, "rows": rows})
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SerializationError(f"cannot read {path.name}: it is no result of `bench gpu`") from error


def _row(record: dict[str, Any]) -> GpuRow:
    known = {name: record[name] for name in GpuRow.__dataclass_fields__}
    known["work"] = Work(**known["work"]) if known["work"] else None
    return GpuRow(**{**known, "seconds": tuple(known["seconds"]), "wall_seconds": tuple(known["wall_seconds"])})
