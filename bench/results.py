"""What a run measured: timings, rows, and the JSON file that every table and plot is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from hecore.errors import SerializationError

SCHEMA = 2
READABLE = (1, 2)  # 1 knew Paillier alone: a size was a number of key bits
# What a report says of the machine.
MACHINE_KEYS = ("cpu", "cores", "flags", "system", "python", "versions", "device", "threads", "commit", "date")
SECURE_KEY_BITS = 2048  # below this a row is labelled insecure


@dataclass(frozen=True)
class Work:
    """What one item costs at least, in lanes of vector instructions: one lane's share of each instruction.

    `executed`: what the kernels issue. `schoolbook`: the same number of modular multiplications and squarings, each by
    plain operand scanning modulo the full modulus (4 L^2 for L digits), 0 where nobody counted it. Where arithmetic is
    saved, the first is smaller than the second, and efficiency against the second may pass 100 %.
    """

    executed: float
    schoolbook: float = 0.0

    def __truediv__(self, items: int) -> Work:
        """Shared by `items` items."""
        return Work(self.executed / items, self.schoolbook / items)


@dataclass(frozen=True)
class Timing:
    """One contestant's rounds: seconds for `items` items each, and how busy it kept how many threads."""

    name: str
    items: int
    seconds: tuple[float, ...]
    threads: int = 1
    cpu_per_wall: float | None = None

    @property
    def best(self) -> float:
        """Seconds an item in the fastest round."""
        return min(self.seconds) / self.items

    @property
    def median(self) -> float:
        """Seconds an item in the median round."""
        return median(self.seconds) / self.items


@dataclass(frozen=True)
class Row:
    """One operation at one size: hecore, its rivals of the same rounds, and the floor.

    `size` is the key's bits, or ring degree and moduli. `failures` names everything that makes the row worthless; a
    row with failures fails the run. `peak_lane_ns` is the measured peak, nanoseconds a lane of a vector instruction.
    `absent` maps a peer to the reason it did not take part. `setup_seconds` are tables and keys, timed apart.
    """

    operation: str
    size: str
    item: str
    ours: Timing | None
    rivals: tuple[Timing, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    setup_seconds: Mapping[str, float] = field(default_factory=dict)
    work: Work | None = None
    peak_lane_ns: float | None = None
    failures: tuple[str, ...] = ()
    insecure: bool = False

    @property
    def name(self) -> str:
        return f"{self.operation}/{self.size}"

    def rival(self, name: str) -> Timing | None:
        return next((r for r in self.rivals if r.name == name), None)

    def ratio(self, name: str) -> float | None:
        """How many times faster hecore is than the rival, by medians of interleaved rounds."""
        rival = self.rival(name)
        return rival.median / self.ours.median if rival and self.ours else None

    def efficiency(self, kind: str = "executed") -> float | None:
        """Share of this machine's multiply-add peak that the best round reached, per thread."""
        if self.work is None or self.peak_lane_ns is None or self.ours is None:
            return None
        work = self.work.executed if kind == "executed" else self.work.schoolbook
        if not work:
            return None
        floor_seconds = work * self.peak_lane_ns * 1e-9
        return floor_seconds / (self.ours.best * self.ours.threads)


@dataclass(frozen=True)
class Quantity:
    """What is no time: bytes on the wire, errors of results. Less is better."""

    name: str
    size: str
    unit: str
    ours: float
    rivals: Mapping[str, float] = field(default_factory=dict)

    def share(self, rival: str) -> float | None:
        """Ours over the rival's; None where it did not take part."""
        theirs = self.rivals.get(rival)
        return self.ours / theirs if theirs else None


@dataclass(frozen=True)
class Results:
    """One run: the machine, the plan, the peers, the rows, and what the separate suites found."""

    machine: Mapping[str, Any]
    plan: Mapping[str, Any]
    rows: tuple[Row, ...]
    peers: Mapping[str, str] = field(default_factory=dict)
    floor: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, Any] | None = None
    leakage: tuple[Mapping[str, Any], ...] = ()
    quantities: tuple[Quantity, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        """What was measured: "paillier" or "ckks"."""
        return str(self.plan["scheme"])

    def row(self, operation: str, size: str) -> Row | None:
        return next((r for r in self.rows if r.operation == operation and r.size == size), None)

    def quantity(self, name: str, size: str) -> Quantity | None:
        return next((q for q in self.quantities if q.name == name and q.size == size), None)

    @property
    def all_failures(self) -> tuple[str, ...]:
        return self.failures + tuple(f"{row.name}: {failure}" for row in self.rows for failure in row.failures)

    def save(self, path: Path) -> None:
        """Write JSON, with the derived numbers beside the raw ones for readers without this code."""
        document = {"schema": SCHEMA, **asdict(self)}
        for row, record in zip(self.rows, document["rows"], strict=True):
            record["ratios"] = {rival.name: row.ratio(rival.name) for rival in row.rivals}
            record["efficiency_executed"] = row.efficiency("executed")
            record["efficiency_schoolbook"] = row.efficiency("schoolbook")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Read what `Results.save` wrote; SerializationError for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] not in READABLE:
            raise SerializationError(f"cannot read {path.name}: schema {document['schema']}, known are {READABLE}")
        if document["schema"] == 1:
            document = _from_schema_1(document)
        missing = [key for key in MACHINE_KEYS if key not in document["machine"]]
        if missing or not {"scale", "scheme"} <= set(document["plan"]):
            raise SerializationError(
                f"cannot read {path.name}: it does not say {', '.join(missing) or 'its scale or scheme'}"
            )
        rows = tuple(_row(record) for record in document["rows"])
        return Results(
            document["machine"],
            document["plan"],
            rows,
            document["peers"],
            document["floor"],
            document["memory"],
            tuple(document["leakage"]),
            tuple(Quantity(**record) for record in document["quantities"]),
            tuple(document["failures"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise SerializationError(f"cannot read {path.name}: it is not a result of hecore.bench") from error


def _row(record: Mapping[str, Any]) -> Row:
    return Row(
        record["operation"],
        record["size"],
        record["item"],
        _timing(record["ours"]) if record["ours"] else None,
        tuple(_timing(rival) for rival in record["rivals"]),
        record["absent"],
        record["setup_seconds"],
        Work(**record["work"]) if record["work"] else None,
        record["peak_lane_ns"],
        tuple(record["failures"]),
        record["insecure"],
    )


def _from_schema_1(document: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{**record, "size": str(record["key_bits"])} for record in document["rows"]]
    plan = {**document["plan"], "scheme": "paillier"}
    return {**document, "rows": rows, "plan": plan, "quantities": []}


def _timing(record: Mapping[str, Any]) -> Timing:
    return Timing(**{**record, "seconds": tuple(record["seconds"])})
