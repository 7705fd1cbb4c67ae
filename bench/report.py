"""Tables of a run: for a terminal, for Markdown, and for the marked block of the README."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hecore.bench.results import Quantity, Results, Row, Timing
from hecore.bench.schemes import SCHEMES, Scheme
from hecore.bench.targets import Verdict, verdicts
from hecore.errors import ParameterError

MISSING = "–"
OURS = "hecore"
IDLE_LOAD = 0.5
KINDS = {"of peak, executed": "executed", "of peak, schoolbook": "schoolbook"}


def summary(row: Row) -> str:
    """One row in one line, for progress."""
    if row.failures:
        return "FAILED: " + "; ".join(row.failures)
    if row.ours is None:
        return "; ".join(row.absent.values())
    ratios = ", ".join(f"{number(row.ratio(r.name))}× {r.name}" for r in row.rivals)
    floor = f"; {percent(row.efficiency())} of peak" if row.efficiency() is not None else ""
    return f"{rate(row.ours)} {row.item}s/s" + (f"; {ratios}" if ratios else "") + floor


def rate(timing: Timing) -> str:
    """Items a second of the median round, three digits."""
    return scaled(1 / timing.median)


def each(timing: Timing) -> str:
    """Time an item of the median round, three digits, in the unit that suits it."""
    return duration(timing.median)


def markdown(results: Results) -> str:
    """Machine, targets, rows."""
    parts = [
        "\n".join(_machine_lines(results)),
        markdown_table(*_target_table(results)),
        markdown_table(*_row_table(results)),
        markdown_table(*_quantity_table(results)),
        "\n".join(_notes(results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def terminal(results: Results) -> str:
    """The same for a fixed-width terminal."""
    parts = [
        "\n".join(_machine_lines(results)),
        plain_table(*_row_table(results)),
        plain_table(*_quantity_table(results)),
        plain_table(*_target_table(results)),
        "\n".join(_notes(results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def update_readme(path: Path, results: Results, picture: Path | None = None) -> None:
    """Put picture, rows, quantities and targets at the published sizes between the scheme's two marks.

    Raises ParameterError where the marks are not there once, in order, where a row of the run failed, or where
    the run was not of full scale.
    """
    if results.all_failures:
        raise ParameterError(f"cannot publish a run with failures: {results.all_failures[0]}")
    if results.plan["scale"] != "full":
        raise ParameterError(f"cannot publish a run of scale {results.plan['scale']}: the targets' sizes need full")
    begin, end = marks(_scheme(results))
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ParameterError(f"cannot update {path.name}: it needs the line {begin} and after it {end}, once each")
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    path.write_text(f"{head}{begin}\n{_published(path, results, picture)}\n{end}{tail}", encoding="utf-8")


def marks(scheme: Scheme) -> tuple[str, str]:
    """The lines of a document between which a scheme's tables stand."""
    return f"<!-- bench:{scheme.name}:begin -->", f"<!-- bench:{scheme.name}:end -->"


def _published(readme: Path, results: Results, picture: Path | None) -> str:
    link = os.path.relpath(picture, readme.parent) if picture else ""
    scheme = _scheme(results)
    rows = replace(results, rows=tuple(row for row in results.rows if scheme.is_published(row)))
    parts = [
        f"![{scheme.title} beside the peers]({link})" if picture else "",
        markdown_table(*_peer_table(rows)),
        markdown_table(*_quantity_table(rows)),
        markdown_table(*_target_table(rows)),
        "\n".join(_machine_lines(rows)),
        "\n".join(_notes(rows)),
    ]
    return "\n\n".join(part for part in parts if part)


def _machine_lines(results: Results) -> list[str]:
    m = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    peaks = [results.floor.get(key) for key in ("vector_ns_start", "vector_ns_end")]
    known = [peak for peak in peaks if peak is not None]
    lanes = results.floor.get("lanes")
    floor = (
        f"Peak: {min(known):.3f}–{max(known):.3f} ns a vector multiply-add ({lanes} lanes), measured in the run."
        if known
        else results.floor.get("reason") or "Peak: not measured."
    )
    return [
        f"{m['cpu']}, {m['cores']} cores ({', '.join(m['flags'])}); {m['system']}, Python {m['python']}, {versions}.",
        f"Device: {m['device']}. Threads: {m['threads']} each. Commit {m['commit']}, {m['date']}.",
        floor,
    ]


def _scheme(results: Results) -> Scheme:
    return SCHEMES[results.scheme]


def _row_table(results: Results) -> tuple[Sequence[str], list[Sequence[str]]]:
    """A column a peer; rivals within hecore (another form, one thread) share one, each named in its cell."""
    rivals = dict.fromkeys(r.name for row in results.rows for r in row.rivals)
    peers = [name for name in rivals if not name.startswith(OURS)]
    own = [r.name for row in results.rows for r in row.rivals if r.name.startswith(OURS)]
    kinds = [text for text, kind in KINDS.items() if any(row.efficiency(kind) is not None for row in results.rows)]
    header = ["operation", _scheme(results).size, "per second", "per item", *(f"× {name}" for name in peers)]
    header += ["× hecore's own"] * bool(own) + kinds
    body: list[Sequence[str]] = []
    for row in results.rows:
        size = row.size + (" (insecure)" if row.insecure else "")
        if row.ours is None or row.failures:
            body.append([row.operation, size, "FAILED" if row.failures else MISSING, *[""] * (len(header) - 3)])
            continue
        cells = [row.operation, size, rate(row.ours), each(row.ours)]
        cells += [number(row.ratio(name)) for name in peers]
        inner = [r.name for r in row.rivals if r.name.startswith(OURS)]
        beside = ", ".join(f"{number(row.ratio(name))} {name.removeprefix(OURS).strip()}" for name in inner)
        cells += [beside or MISSING] * bool(own) + [percent(row.efficiency(KINDS[text])) for text in kinds]
        body.append(cells)
    return header, body


def _peer_table(results: Results) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Everybody's items a second or seconds an item, and how many times as fast hecore is."""
    scheme = _scheme(results)
    rivals = dict.fromkeys(r.name for row in results.rows for r in row.rivals if not r.name.startswith(OURS))
    shown, word = (rate, "per second") if scheme.rates else (each, "each")
    header = [f"{scheme.title}, one thread", f"hecore, {word}", *rivals, "of the peak"]
    body: list[Sequence[str]] = []
    for row in results.rows:
        beside = [row.rival(name) for name in rivals]
        if row.ours is None or not any(beside):
            continue
        cells = [f"{shown(r)} ({number(row.ratio(r.name))}×)" if r else MISSING for r in beside]
        body.append([scheme.label(row), shown(row.ours), *cells, percent(row.efficiency())])
    return header, body


def _quantity_table(results: Results) -> tuple[Sequence[str], list[Sequence[str]]]:
    """What is no time, beside the peers: the share is hecore's over theirs."""
    rivals = dict.fromkeys(name for quantity in results.quantities for name in quantity.rivals)
    header = ["less is better", _scheme(results).size, "unit", "hecore", *rivals]
    return header, [_quantity_row(quantity, list(rivals)) for quantity in results.quantities]


def _quantity_row(quantity: Quantity, rivals: Sequence[str]) -> Sequence[str]:
    def show(value: float) -> str:
        return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"

    cells = [
        f"{show(quantity.rivals[name])} ({number(quantity.share(name))}×)" if name in quantity.rivals else MISSING
        for name in rivals
    ]
    return [quantity.name, quantity.size, quantity.unit, show(quantity.ours), *cells]


def _target_table(results: Results) -> tuple[Sequence[str], list[Sequence[str]]]:
    scheme = _scheme(results)
    header = (f"target ({scheme.targets_at})", "bound", "measured", "")
    return header, [_target_row(v) for v in verdicts(results, scheme.targets)]


def _target_row(verdict: Verdict) -> Sequence[str]:
    target = verdict.target
    bound = f"{'≤' if target.at_most else '≥'} {target.bound:g}{target.unit}"
    measured = MISSING if verdict.value is None else f"{number(verdict.value)}{target.unit}"
    words = {None: "not measured", True: "reached", False: f"missed ({number(_share(verdict))} of it)"}
    return target.text, bound, measured, words[verdict.reached]


def _share(verdict: Verdict) -> float | None:
    return None if verdict.value is None else verdict.value / verdict.target.bound


def _notes(results: Results) -> list[str]:
    notes = [
        f"Ratios are medians of interleaved rounds of one run; above 1 hecore is faster. {_scheme(results).floor_note}",
    ]
    if results.plan["scale"] != "full":
        notes.append(f"A run of scale {results.plan['scale']}: smaller than the targets ask for.")
    load = results.machine.get("load_at_start", 0.0)
    if load > IDLE_LOAD:
        notes.append(f"The machine was not idle: load {load:.2f} at the start.")
    absent = dict.fromkeys(f"{peer}: {why}" for row in results.rows for peer, why in row.absent.items())
    notes += [f"Absent: {text}." for text in absent]
    for finding in results.leakage:
        notes.append(
            f"Leakage {finding['kernel']}: |t| = {finding['t']:.1f} over {finding['samples']} samples, "
            f"{finding['verdict']}."
        )
    notes += [f"FAILED: {failure}" for failure in results.all_failures]
    return notes


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Empty where there are no rows."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *body)) if body else ""


def plain_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Empty where there are no rows."""
    if not body:
        return ""
    widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *body)
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def number(value: float | None) -> str:
    """Three digits; two of what is below a tenth."""
    if value is None:
        return MISSING
    if 0 < value < 0.0995:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A share."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def scaled(value: float) -> str:
    """Three digits and a letter for thousands and more."""
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * factor:
            return number(value / factor) + letter
    return number(value)


def duration(seconds: float) -> str:
    """Three digits, in the unit that suits."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * factor:
            return f"{number(seconds / factor)} {unit}"
    return f"{number(seconds / 1e-9)} ns"
