"""Parameter names, targets, tables and the picture of CKKS runs, from small results."""

from __future__ import annotations

from pathlib import Path

import pytest

from hecore.bench import report
from hecore.bench.ckks_floor import BUTTERFLY, PRODUCT, key_switch, multiply, transforms
from hecore.bench.ckks_plan import DEEP, MAIN, PAYLOAD, PEER, CkksPlan, ParameterSet
from hecore.bench.ckks_targets import CKKS
from hecore.bench.cli import main
from hecore.bench.results import Quantity, Results, Row, Timing, Work
from hecore.bench.schemes import SCHEMES
from hecore.bench.targets import verdicts
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


def row(operation: str, size: str, factor: float, *rivals: str, **more: object) -> Row:
    """A row in which hecore takes 1 ms and every rival `factor` times as long."""
    ours = Timing("hecore", 1, (1e-3, 1e-3))
    others = tuple(Timing(name, 1, (1e-3 * factor, 1e-3 * factor)) for name in rivals)
    return Row(operation, size, "operation", ours, others, **more)  # type: ignore[arg-type]


def run(*rows: Row, quantities: tuple[Quantity, ...] = ()) -> Results:
    floor = {"vector_ns_start": 0.3, "vector_ns_end": 0.3, "lanes": 8, "reason": ""}
    return Results(MACHINE, {"scheme": "ckks", "scale": "full"}, rows, {}, floor, quantities=quantities)


RUN = run(
    row("ntt", "16384, 49 bits", 7, "SEAL", work=Work(1e7), peak_lane_ns=0.04),
    row("encrypt", MAIN.name, 3.5, PEER),
    row("multiply", MAIN.name, 2.5, PEER),
    row("rotate", MAIN.name, 2, "SEAL"),
    row("encrypt", "256 [60,40,60]", 2, insecure=True),
    quantities=(
        Quantity("symmetric ciphertext, compact", PAYLOAD.name, "bytes", 100_000, {PEER: 250_000}),
        Quantity("error of ct × ct", MAIN.name, "root mean square", 2e-7, {PEER: 1e-7}),
    ),
)


@pytest.mark.parametrize(
    ("text", "degree", "bits", "name"),
    [
        ("8192 [60,40,40,60]", 8192, (60, 40, 40, 60), "8192 [60,40,40,60]"),
        ("16384[60,40x6,60]", 16384, (60, *(40,) * 6, 60), "16384 [60,40×6,60]"),
        ("16384 [60,40×6,60]", 16384, (60, *(40,) * 6, 60), "16384 [60,40×6,60]"),
        ("64 [40×2]", 64, (40, 40), "64 [40,40]"),
    ],
)
def test_parameter_names_are_read_back(text: str, degree: int, bits: tuple[int, ...], name: str) -> None:
    parsed = ParameterSet.parse(text)
    assert parsed == ParameterSet(degree, bits)
    assert parsed.name == name
    assert ParameterSet.parse(name) == parsed


@pytest.mark.parametrize("text", ["", "8192", "8192 []", "8192 [60,]", "x [60]", "8192 [60,40×]", "8192 [60] more"])
def test_other_parameters_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="cannot read parameters"):
        CkksPlan(parameters=(text,))


def test_counts_by_hand() -> None:
    small = ParameterSet(16, (40, 40, 40))  # two data moduli, one special: a transform is 8 * 4 butterflies
    assert transforms(16, 1) == 32 * BUTTERFLY
    # One component back (2), two digits to two others each (4), two divisions: one back and two forth each (6).
    assert key_switch(small).executed == 12 * 32 * BUTTERFLY + 2 * 2 * 3 * 16 * PRODUCT
    # The divisions by the special and the last modulus joined: two back and one forth for each component.
    assert multiply(small).executed == 12 * 32 * BUTTERFLY + (4 * 2 + 12) * 16 * PRODUCT
    assert multiply(small).schoolbook == 0


def by_text(text: str) -> tuple[float | None, bool | None]:
    verdict = next(v for v in verdicts(RUN, CKKS) if v.target.text == text)
    return None if verdict.value is None else round(verdict.value, 6), verdict.reached


def test_targets_against_a_known_run() -> None:
    assert by_text("forward NTT, 16384, 49 bits, against SEAL") == (7, True)
    assert by_text("forward NTT, 16384, 49 bits, of the counted floor") == (40, True)
    assert by_text(f"encrypt, {MAIN.name}, against TenSEAL") == (3.5, True)
    assert by_text(f"ct × ct, relinearised and rescaled, {MAIN.name}, against TenSEAL") == (2.5, False)
    assert by_text(f"symmetric ciphertext, compact, {PAYLOAD.name}, over TenSEAL's") == (0.4, True)
    assert by_text(f"error of ct × ct, {MAIN.name}, over TenSEAL's") == (2, False)
    assert by_text(f"decrypt, {DEEP.name}, against TenSEAL") == (None, None)


def test_every_target_names_a_row_that_some_suite_measures() -> None:
    from hecore.bench.ckks_suites import jobs

    measured = [row(j.operation, j.size, 1e6, PEER, "SEAL", work=Work(1), peak_lane_ns=1) for j in jobs(CkksPlan())]
    known = {verdict.target.text for verdict in verdicts(run(*measured), CKKS) if verdict.value is not None}
    timed = {target.text for target in CKKS if not target.at_most}
    assert timed <= known
    assert len(CKKS) == 21


def test_jobs_of_chosen_suites_and_parameters() -> None:
    from hecore.bench.ckks_suites import jobs

    chosen = jobs(CkksPlan(suites=("encrypt",), parameters=("256 [60,40,60]",)))
    assert [(job.name, job.insecure) for job in chosen] == [
        ("encrypt/256 [60,40,60]", True),
        ("encrypt_symmetric/256 [60,40,60]", True),
        ("decrypt/256 [60,40,60]", True),
    ]
    with pytest.raises(ParameterError, match="there are ntt, encrypt"):
        jobs(CkksPlan(suites=("nonsense",)))


@pytest.mark.parametrize("render", [report.terminal, report.markdown])
def test_tables_say_what_counts(render: object) -> None:
    assert callable(render)
    text = render(RUN)
    for part in (
        "256 [60,40,60] (insecure)",
        "× TenSEAL",
        "× SEAL",
        "1.00 ms",
        "100,000",
        "250,000 (0.40×)",
        "2e-07",
        "missed",
        "reached",
        "40.0 %",
    ):
        assert part in text
    assert "schoolbook" not in text.partition("Ratios")[0]


def test_readme_gets_times_and_quantities(tmp_path: Path) -> None:
    begin, end = report.marks(SCHEMES["ckks"])
    other_begin, other_end = report.marks(SCHEMES["paillier"])
    readme = tmp_path / "README.md"
    readme.write_text(f"{other_begin}\nothers\n{other_end}\n{begin}\nold\n{end}\n")
    report.update_readme(readme, RUN, tmp_path / "docs" / "ckks.png")
    text = readme.read_text()
    assert "others" in text
    assert "old" not in text
    assert f"| encrypt, {MAIN.name} | 1.00 ms | – | 3.50 ms (3.50×) |" in text
    assert "| symmetric ciphertext, compact |" in text
    assert "![CKKS beside the peers](docs/ckks.png)" in text
    assert "insecure" not in text


def test_report_command_draws_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    saved, picture = tmp_path / "run.json", tmp_path / "docs" / "ckks.png"
    RUN.save(saved)
    assert main(["report", str(saved), "--plot", str(picture), "--markdown"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"| encrypt | {MAIN.name} |" in capsys.readouterr().out
