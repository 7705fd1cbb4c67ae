"""The picture of a run: throughput beside the peers, and how far from the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hecore.bench.report import rate
from hecore.bench.results import Results, Row
from hecore.errors import MissingExtraError, ParameterError

LABELS = {
    "encrypt": "encrypt\n(public key)",
    "encrypt_own": "encrypt\n(own key)",
    "decrypt": "decrypt",
    "add": "ct + ct",
    "plain_mul": "ct × plain\n(31 bit)",
    "matvec": "mat-vec\n(terms)",
}
COLOURS = {"hecore": "#1b6ca8", "phe": "#c9c9c9", "ZPaillier": "#e0a458", "IPCL": "#b5651d"}
PREFERRED_KEY_BITS = 2048


def draw(results: Results, path: Path) -> None:
    """Write a PNG: items a second by operation at one key size, and encryption and decryption by key size."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("cannot draw the plot without matplotlib: pip install 'hecore[bench]'") from error

    sizes = sorted({row.key_bits for row in results.rows})
    if not sizes:
        raise ParameterError("cannot plot a run without rows")
    key_bits = PREFERRED_KEY_BITS if PREFERRED_KEY_BITS in sizes else sizes[-1]
    figure = Figure(figsize=(12, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    bars, lines = figure.subplots(1, 2, width_ratios=(2, 1))
    _bars(bars, [row for row in results.rows if row.key_bits == key_bits and _drawable(row)])
    bars.set_title(f"Paillier, {key_bits}-bit key, one thread: items a second", loc="left")
    _lines(lines, results, sizes)
    lines.set_title("by key size", loc="left")
    machine = results.machine
    figure.supxlabel(f"{machine['device']} · commit {machine['commit']} · {machine['date']}", fontsize=8, color="#555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _drawable(row: Row) -> bool:
    return row.operation in LABELS and row.ours is not None and not row.failures


def _bars(ax: Any, rows: list[Row]) -> None:
    names = [name for name in COLOURS if name == "hecore" or any(row.rival(name) for row in rows)]
    width = 0.84 / max(1, len(names))
    for i, name in enumerate(names):
        for j, row in enumerate(rows):
            timing = row.ours if name == "hecore" else row.rival(name)
            if timing is None:
                continue
            x = j + (i - (len(names) - 1) / 2) * width
            ax.bar(x, 1 / timing.median, width * 0.94, color=COLOURS[name], label=name if j == 0 else None)
            ax.annotate(
                rate(timing), (x, 1 / timing.median), (0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize=7, rotation=90,
            )  # fmt: skip
    ax.set_yscale("log")
    ax.margins(y=0.18)
    ax.set_xticks(range(len(rows)), [LABELS[row.operation] for row in rows])
    _frame(ax)


def _lines(ax: Any, results: Results, sizes: list[int]) -> None:
    for operation, style in (("encrypt", "-"), ("decrypt", "--")):
        rows = [row for bits in sizes if (row := results.row(operation, bits)) and _drawable(row)]
        for name, colour in COLOURS.items():
            points = [(r.key_bits, t) for r in rows if (t := r.ours if name == "hecore" else r.rival(name))]
            if points:
                xs, ys = [bits for bits, _ in points], [1 / t.median for _, t in points]
                ax.plot(xs, ys, style, marker="o", ms=4, color=colour)
        ax.plot([], [], style, color="#555", label=operation)  # the colours are the bars' own

    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{bits}" + ("\ninsecure" if bits < PREFERRED_KEY_BITS else "") for bits in sizes])
    _frame(ax)


def _frame(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#eee")
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8)
