"""Rows, ratios, the peak rule, and results files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hecore.bench import results
from hecore.bench.contest import judge
from hecore.bench.results import Quantity, Results, Row, Timing, Work
from hecore.errors import SerializationError

OURS = Timing("hecore", 100, (0.03, 0.01, 0.02), cpu_per_wall=1.0)
PEER = Timing("phe", 10, (0.2, 0.1, 0.4))
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


@pytest.fixture
def checkout_results() -> Path:
    return Path(results.__file__).resolve().parent / "results" / "20261123-0611-5f7652dc1d57.json"


def example_row(**changes: object) -> Row:
    # 100 items in 10 ms at best: 100 µs an item. 8e5 digit multiply-adds at 0.5 ns a vector of 8: 50 µs.
    row = Row("encrypt", "2048", "value", OURS, (PEER,), work=Work(8e5, 16e5), peak_lane_ns=0.5 / 8)
    return replace(row, **changes)  # type: ignore[arg-type]


def example_results(*rows: Row) -> Results:
    floor = {"vector_ns_start": 0.5, "vector_ns_end": 0.51, "lanes": 8, "reason": ""}
    return Results(MACHINE, {"scheme": "paillier", "scale": "tiny"}, rows or (example_row(),), {"phe": "1.5.0"}, floor)


def test_times_and_ratios_by_hand() -> None:
    row = example_row()
    assert OURS.best == pytest.approx(1e-4)
    assert OURS.median == pytest.approx(2e-4)
    assert row.ratio("phe") == pytest.approx(0.02 / 2e-4)
    assert row.ratio("nobody") is None


def test_efficiency_by_hand() -> None:
    row = example_row()
    assert row.efficiency("executed") == pytest.approx(0.5)
    assert row.efficiency("schoolbook") == pytest.approx(1.0)
    two_threads = replace(OURS, threads=2)
    assert example_row(ours=two_threads).efficiency("executed") == pytest.approx(0.25)
    assert example_row(peak_lane_ns=None).efficiency() is None


def test_more_than_the_peak_fails_the_row() -> None:
    assert judge(example_row()).failures == ()
    above = judge(example_row(work=Work(16.1e5, 16.1e5)))
    assert len(above.failures) == 1
    assert "100.6%" in above.failures[0]
    # Saved arithmetic may pass 100 % of schoolbook: that is what it is for.
    assert judge(example_row(work=Work(8e5, 40e5))).failures == ()


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    original = replace(
        example_results(example_row(), example_row(operation="add", ours=None, work=None, failures=("wrong",))),
        quantities=(Quantity("ciphertext", "8192 [60,40]", "bytes", 100, {"TenSEAL": 250}),),
    )
    original.save(path)
    assert results.load(path) == original
    record = json.loads(path.read_text())["rows"][0]
    assert record["ratios"]["phe"] == pytest.approx(100)
    assert record["efficiency_executed"] == pytest.approx(0.5)


def test_files_of_the_first_schema_are_read(checkout_results: Path) -> None:
    """The first published run, which knew Paillier alone."""
    run = results.load(checkout_results)
    assert run.scheme == "paillier"
    row = run.row("encrypt", "2048")
    assert row is not None
    assert not row.insecure
    small = run.row("encrypt", "1024")
    assert small is not None
    assert small.insecure


def test_shares_of_quantities() -> None:
    quantity = Quantity("ciphertext", "8192 [60,40]", "bytes", 100, {"TenSEAL": 250})
    assert quantity.share("TenSEAL") == pytest.approx(0.4)
    assert quantity.share("nobody") is None
    run = replace(example_results(), quantities=(quantity,))
    assert run.quantity("ciphertext", "8192 [60,40]") is quantity
    assert run.quantity("ciphertext", "elsewhere") is None


def test_failures_of_rows_and_run_are_collected() -> None:
    run = replace(example_results(example_row(failures=("wrong",))), failures=("missing",))
    assert run.all_failures == ("missing", "encrypt/2048: wrong")


def test_a_file_without_its_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    replace(example_results(), machine={"cpu": "Example CPU"}).save(path)
    with pytest.raises(SerializationError, match="does not say cores"):
        results.load(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "rows": [{}]}', '{"schema": 1, "rows": 3}']
)
def test_foreign_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(SerializationError, match="cannot read"):
        results.load(path)
