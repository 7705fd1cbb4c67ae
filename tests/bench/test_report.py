"""Tables, targets, the README block and the plot, from small results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hecore.bench import report
from hecore.bench.cli import main
from hecore.bench.results import Results, Row, Timing, Work
from hecore.bench.schemes import SCHEMES
from hecore.bench.targets import KEY_BITS, PAILLIER, verdicts
from hecore.errors import ParameterError

MACHINE = {
    "cpu": "Example CPU",
    "cores": 2,
    "flags": ["avx512ifma"],
    "system": "Linux x86_64",
    "python": "3.11",
    "versions": {"numpy": "2.0"},
    "device": "Example (AVX-512 IFMA)",
    "threads": 1,
    "commit": "abc",
    "date": "2026-01-01 00:00 UTC",
}


def row(operation: str, factor: float, *rivals: str, **more: object) -> Row:
    """A row in which hecore takes 1 µs an item and every rival `factor` times as long."""
    ours = Timing("hecore", 10, (1e-5, 1e-5))
    others = tuple(Timing(name, 2, (2e-6 * factor, 2e-6 * factor)) for name in rivals)
    return Row(operation, KEY_BITS, "value", ours, others, **more)  # type: ignore[arg-type]


def run(*rows: Row, **more: object) -> Results:
    floor = {"vector_ns_start": 0.16, "vector_ns_end": 0.15, "lanes": 8, "reason": ""}
    return Results(MACHINE, {"scheme": "paillier", "scale": "full"}, rows, {}, floor, **more)  # type: ignore[arg-type]


BEGIN, END = report.marks(SCHEMES["paillier"])

ROWS = run(
    row("mod_mul_plain", 1, work=Work(40_000, 40_000), peak_lane_ns=0.02),
    row("encrypt", 12, "phe", "ZPaillier", absent={"IPCL": "refuses"}),
    replace(row("encrypt", 3, "ZPaillier"), size="1024", insecure=True),
    row("decrypt", 10, "phe"),
    replace(row("add", 2, "ZPaillier"), failures=("ZPaillier: wrong result at position 3 of 10",)),
    memory={"growth_over_size": 2.5},
)
GOOD = replace(ROWS, rows=tuple(r for r in ROWS.rows if not r.failures))


def by_text(results: Results, start: str) -> tuple[float | None, bool | None]:
    verdict = next(v for v in verdicts(results, PAILLIER) if v.target.text.startswith(start))
    return None if verdict.value is None else round(verdict.value, 6), verdict.reached


def test_targets_against_a_known_run() -> None:
    assert by_text(ROWS, "4096-bit plain") == (80, True)
    assert by_text(ROWS, "encrypt, public key only, against ZPaillier") == (12, True)
    assert by_text(ROWS, "encrypt, public key only, against phe") == (12, False)
    assert by_text(ROWS, "peak memory") == (2.5, True)
    assert by_text(ROWS, "encrypt, own key") == (None, None)


def test_a_failed_row_reaches_no_target() -> None:
    assert by_text(ROWS, "ct + ct") == (None, None)


def test_every_target_names_a_row_that_some_suite_measures() -> None:
    from hecore.bench.suites import operations

    measured = [row(name, 1e6, *RIVALS, work=Work(1, 1), peak_lane_ns=0.1) for name in operations(())]
    everything = run(*measured, memory={"growth_over_size": 0.1})
    assert all(verdict.value is not None for verdict in verdicts(everything, PAILLIER))
    assert len(PAILLIER) == 18


RIVALS = ("phe", "ZPaillier", "IPCL", "hecore plain form", "hecore product", "hecore one thread")


@pytest.mark.parametrize("render", [report.terminal, report.markdown])
def test_tables_say_what_counts(render: object) -> None:
    assert callable(render)
    text = render(ROWS)
    for part in ("1024 (insecure)", "Example CPU", "0.150–0.160 ns", "IPCL: refuses", "missed", "reached", "80.0 %"):
        assert part in text
    assert "FAILED: add/2048: ZPaillier: wrong result at position 3 of 10" in text


def test_readme_block_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    report.update_readme(readme, GOOD, tmp_path / "docs" / "throughput.png")
    once = readme.read_text()
    report.update_readme(readme, GOOD, tmp_path / "docs" / "throughput.png")
    assert readme.read_text() == once
    assert once.startswith("# Title\n\n<!-- bench:paillier:begin -->\n")
    assert once.endswith("<!-- bench:paillier:end -->\n\nThe end.\n")
    assert "![Paillier, 2048-bit key beside the peers](docs/throughput.png)" in once
    assert "| encrypt, values | 1.00 M | 83.3 k (12.0×) | 83.3 k (12.0×) |" in once
    assert "old" not in once
    assert "insecure" not in once


def test_a_small_run_is_not_published(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(ParameterError, match="scale quick"):
        report.update_readme(readme, replace(GOOD, plan={"scheme": "paillier", "scale": "quick"}))
    assert "old" in readme.read_text()


def test_a_failed_run_is_not_published(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(ParameterError, match="add/2048"):
        report.update_readme(readme, ROWS)
    assert "old" in readme.read_text()


@pytest.mark.parametrize("text", ["no marks", f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_readme_without_its_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ParameterError, match="bench:paillier:begin"):
        report.update_readme(readme, GOOD)
    assert readme.read_text() == text


def test_report_command_draws_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    saved, picture = tmp_path / "run.json", tmp_path / "docs" / "throughput.png"
    ROWS.save(saved)
    assert main(["report", str(saved), "--plot", str(picture), "--markdown"]) == 1  # one row failed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "| encrypt | 2048 |" in capsys.readouterr().out


def test_report_of_a_file_that_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stray = tmp_path / "stray.json"
    stray.write_text("{}")
    assert main(["report", str(stray)]) == 2
    assert "cannot read stray.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.994, "9.99"), (9.9999, "10.0"), (99.97, "100"), (0.5, "0.50"), (1234, "1234"), (0.0023, "0.0023"), (None, "–")],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert report.number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(1e-6, "1.00 M"), (2.5e-9, "400 M"), (1 / 92, "92.0"), (1e-3, "1.00 k")])
def test_rates(seconds: float, text: str) -> None:
    assert report.rate(Timing("hecore", 4, (4 * seconds,))) == text
