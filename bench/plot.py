"""The picture of a run: hecore beside the peers, operation by operation and size by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hecore.bench.ckks_plan import MAIN
from hecore.bench.report import each, rate
from hecore.bench.results import Results, Row, Timing
from hecore.errors import MissingExtraError, ParameterError

PAILLIER = {
    "encrypt": "encrypt\n(public key)",
    "encrypt_own": "encrypt\n(own key)",
    "decrypt": "decrypt",
    "add": "ct + ct",
    "plain_mul": "ct × plain\n(31 bit)",
    "matvec": "mat-vec\n(terms)",
}
CKKS = {
    "encrypt": "encrypt",
    "decrypt": "decrypt",
    "add": "ct + ct",
    "multiply_plain": "ct × pt",
    "multiply": "ct × ct",
    "sum": "sum",
    "dot": "dot",
    "matvec_128x128": "128×128\n× vector",
    "matvec_784x64": "784×64\n× vector",
    "convolution": "im2col\nconvolution",
    "serialise": "write\nbytes",
}
COLOURS = {
    "hecore": "#1b6ca8",
    "phe": "#c9c9c9",
    "ZPaillier": "#e0a458",
    "IPCL": "#b5651d",
    "TenSEAL": "#e0a458",
    "SEAL": "#e0a458",
}
PREFERRED_KEY_BITS = 2048


def draw(results: Results, path: Path) -> None:
    """Write a PNG: every operation beside the peers at the published size, and how it goes with the size."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("cannot draw the plot without matplotlib: pip install 'hecore[bench]'") from error

    if not results.rows:
        raise ParameterError("cannot plot a run without rows")
    figure = Figure(figsize=(12, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    bars, lines = figure.subplots(1, 2, width_ratios=(2, 1))
    (_paillier if results.scheme == "paillier" else _ckks)(results, bars, lines)
    machine = results.machine
    figure.supxlabel(f"{machine['device']} · commit {machine['commit']} · {machine['date']}", fontsize=8, color="#555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _paillier(results: Results, bars: Any, lines: Any) -> None:
    """Items a second by operation at one key size, and encryption and decryption by key size."""
    sizes = sorted({int(row.size) for row in results.rows})
    key_bits = PREFERRED_KEY_BITS if PREFERRED_KEY_BITS in sizes else sizes[-1]
    _bars(bars, _drawable(results, str(key_bits), PAILLIER), PAILLIER, rates=True)
    bars.set_title(f"Paillier, {key_bits}-bit key, one thread: items a second", loc="left")
    for operation, style in (("encrypt", "-"), ("decrypt", "--")):
        found = [(bits, results.row(operation, str(bits))) for bits in sizes]
        _lines(lines, [(bits, row) for bits, row in found if _whole(row)], style, rates=True)
        lines.plot([], [], style, color="#555", label=operation)  # the colours are the bars' own
    lines.set_xticks(sizes, [f"{bits}" + ("\ninsecure" if bits < PREFERRED_KEY_BITS else "") for bits in sizes])
    lines.set_title("by key size", loc="left")
    _frame(lines)


def _ckks(results: Results, bars: Any, lines: Any) -> None:
    """Seconds an operation at one parameter set, and the forward transform by ring degree and size of prime."""
    size = MAIN.name if any(row.size == MAIN.name for row in results.rows) else results.rows[-1].size
    _bars(bars, _drawable(results, size, CKKS), CKKS, rates=False)
    bars.set_title(f"CKKS, {size}, one thread: time an operation (lower is better)", loc="left")
    found = [(row.size.partition(", "), row) for row in results.rows if row.operation == "ntt" and _whole(row)]
    degrees = sorted({int(degree) for (degree, _, _), _ in found})
    for bits, style in zip(sorted({bits for (_, _, bits), _ in found}), ("-", "--", ":"), strict=False):
        points = [(int(degree), row) for (degree, _, of), row in found if of == bits]
        _lines(lines, sorted(points, key=lambda point: point[0]), style, rates=False)
        lines.plot([], [], style, color="#555", label=f"prime of {bits}")
    for name in ("hecore", "SEAL"):
        lines.scatter([], [], marker="s", color=COLOURS[name], label=name)
    lines.set_xscale("log", base=2)
    lines.set_xticks(degrees, [f"{degree}" for degree in degrees])
    lines.set_title("forward transform by ring degree", loc="left")
    _frame(lines)


def _whole(row: Row | None) -> bool:
    return row is not None and row.ours is not None and not row.failures


def _drawable(results: Results, size: str, labels: dict[str, str]) -> list[Row]:
    return [row for row in results.rows if row.size == size and row.operation in labels and _whole(row)]


def _height(timing: Timing, rates: bool) -> float:
    return 1 / timing.median if rates else timing.median


def _timing(row: Row, name: str) -> Timing | None:
    return row.ours if name == "hecore" else row.rival(name)


def _bars(ax: Any, rows: list[Row], labels: dict[str, str], *, rates: bool) -> None:
    names = [name for name in COLOURS if name == "hecore" or any(row.rival(name) for row in rows)]
    width = 0.84 / max(1, len(names))
    for i, name in enumerate(names):
        ax.scatter([], [], marker="s", color=COLOURS[name], label=name)
        for j, row in enumerate(rows):
            timing = _timing(row, name)
            if timing is None:
                continue
            x, height = j + (i - (len(names) - 1) / 2) * width, _height(timing, rates)
            ax.bar(x, height, width * 0.94, color=COLOURS[name])
            ax.annotate(
                rate(timing) if rates else each(timing), (x, height), (0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize=7, rotation=90,
            )  # fmt: skip
    ax.set_yscale("log")
    ax.margins(y=0.18)
    ax.set_xticks(range(len(rows)), [labels[row.operation] for row in rows], fontsize=8)
    _frame(ax)


def _lines(ax: Any, rows: list[tuple[int, Any]], style: str, *, rates: bool) -> None:
    for name, colour in COLOURS.items():
        points = [(x, _height(t, rates)) for x, row in rows if (t := _timing(row, name))]
        if points:
            ax.plot([x for x, _ in points], [y for _, y in points], style, marker="o", ms=4, color=colour)
    ax.set_yscale("log")


def _frame(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#eee")
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8)
