"""The tables of a run on a device."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from hecore.bench import report
from hecore.bench.gpu_results import GpuResults, GpuRow
from hecore.bench.gpu_targets import GpuVerdict, verdicts

Table = tuple[Sequence[str], list[Sequence[str]]]


def summary(results: GpuResults, row: GpuRow) -> str:
    """One row in one line, for progress."""
    if row.failure:
        return f"FAILED: {row.failure.splitlines()[0]}"
    rate = row.rate
    if rate is None:
        return f"none: {row.absent}"
    shares = [f"{report.percent(share)} {word}" for word, share in _shares(results, row) if share is not None]
    beside = [f"{report.number(row.times_cpu)}× a CPU thread"] if row.times_cpu else []
    return "; ".join([f"{report.scaled(rate)} {row.item}s/s", *shares, *beside])


def terminal(results: GpuResults) -> str:
    """Everything, for a fixed-width terminal."""
    tables = (_ceiling_table(results), _row_table(results), _target_table(results))
    parts = ["\n".join(_machine_lines(results)), *(report.plain_table(*table) for table in tables), _end(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown(results: GpuResults) -> str:
    """The same as Markdown."""
    tables = (_ceiling_table(results), _row_table(results), _target_table(results))
    parts = ["\n".join(_machine_lines(results)), *(report.markdown_table(*table) for table in tables), _end(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine_lines(results: GpuResults) -> list[str]:
    m, card = results.machine, results.machine.get("card", {})
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    checked, wrong = len(results.checks), sum(bool(check.failure) for check in results.checks)
    lines = [
        f"Device: {m['device']}" + (f"; driver {card['driver']}" if "driver" in card else "") + ".",
        f"Host: {m['cpu']}, {m['cores']} cores; {m['system']}, Python {m['python']}, {versions}.",
        f"Commit {m['commit']}, {m['date']}. Times by {results.clock}.",
        f"Self-test: {results.self_test}. Against the reference, seed {results.seed}: {checked} results, {wrong} wrong"
        + (f"; not compared: {', '.join(results.unchecked)}." if results.unchecked else "."),
    ]
    compiled = results.compiled
    if compiled:
        lines.append(f"Compiled: {len(compiled)} programs in {sum(entry['seconds'] for entry in compiled):.1f} s.")
    return lines


def _shares(results: GpuResults, row: GpuRow) -> list[tuple[str, float | None]]:
    words = {"executed": "executed", "useful": "useful", "double": "FP64", "bytes": "of bandwidth"}
    return [(word, results.share(row, count)) for count, word in words.items()]


def _ceiling_table(results: GpuResults) -> Table:
    body: list[Sequence[str]] = []
    for ceiling in {c.name: c for c in results.ceilings}.values():
        best = results.ceiling(ceiling.name)
        clocks = max((c.per_clock for c in results.ceilings if c.name == ceiling.name and c.per_clock), default=None)
        shown = report.MISSING if best is None else report.scaled(best)
        body.append([ceiling.name, ceiling.unit, shown, report.number(clocks)])
    return ["ceiling, measured in this run", "unit", "most", "a clock and multiprocessor"], body


def _row_table(results: GpuResults) -> Table:
    header = ["operation", "size", "items", "per second", "each", "per joule", "× CPU thread"]
    header += ["of ceiling: executed", "useful", "FP64", "bandwidth"]
    body: list[Sequence[str]] = []
    for row in results.rows:
        start = [row.operation, row.size, f"{row.items:,}" if row.items else report.MISSING]
        rate = row.rate
        if rate is None:
            body += [[*start, "FAILED", *[""] * (len(header) - 4)]] if row.failure else []
            continue
        cells = [report.scaled(rate), report.duration(1 / rate)]
        cells.append(report.scaled(row.per_joule) if row.per_joule else report.MISSING)
        cells.append(report.number(row.times_cpu))
        body.append([*start, *cells, *(report.percent(share) for _, share in _shares(results, row))])
    return header, body


def _target_table(results: GpuResults) -> Table:
    return ("target", "at least", "measured", ""), [_target_row(verdict) for verdict in verdicts(results)]


def _target_row(verdict: GpuVerdict) -> Sequence[str]:
    target, value = verdict.target, verdict.value
    words = {None: "not judged" if value is not None else "not measured", True: "reached", False: "missed"}
    measured = report.MISSING if value is None else f"{_plain(value)}{target.unit}"
    return target.text, f"{_plain(target.bound)}{target.unit}", measured, words[verdict.reached]


def _plain(value: float) -> str:
    return report.scaled(value) if value >= 1000 else report.number(value)


def _end(results: GpuResults) -> str:
    """Notes, what is missing, and what failed."""
    lines = []
    for row in results.rows:
        moved = ", ".join(f"{name} {report.duration(seconds)}" for name, seconds in row.transfers.items())
        notes = [row.note, f"transfers apart: {moved}" if moved else ""]
        slower = median(row.wall_seconds) / median(row.seconds) if row.good else 1.0
        notes.append(f"the host's clock says {slower:.2f} times as long" if slower > _SLOWER else "")
        said = "; ".join(filter(None, notes))
        lines += [f"{row.name}: {said}."] if said else []
    for reason in dict.fromkeys(row.absent for row in results.rows if row.absent):
        lines.append(f"No row, {reason}: {'; '.join(row.name for row in results.rows if row.absent == reason)}.")
    for ceiling in results.ceilings:
        lines += [f"No ceiling of {ceiling.name}: {ceiling.reason}"] if ceiling.rate is None else []
    if not results.complete:
        lines.append("The run did not come to its end.")
    elif not results.holds and not results.all_failures:
        lines.append("Nothing was compared, or nothing measured: this proves nothing.")
    return "\n".join([*lines, *(f"FAILED: {failure}" for failure in results.all_failures)])


_SLOWER = 1.2  # from here on the host's time is worth a note
