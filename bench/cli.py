"""`python -m hecore.bench`: measure, report, plot. Without a command: both schemes, one after the other."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hecore.bench import machine
from hecore.bench.ckks_plan import PEER, CkksPlan
from hecore.bench.plan import KEY_BITS, PEERS, SCALES, Plan
from hecore.bench.results import SECURE_KEY_BITS, Results, load
from hecore.errors import HecoreError, ParameterError

RESULTS = Path(__file__).resolve().parent / "results"
COMMANDS = ("all", "paillier", "ckks", "ntt", "gpu", "report", "dudect", "memory")
LEAKAGE_SAMPLES = 20_000


def main(argv: Sequence[str] | None = None) -> int:
    """0: all rows hold; 1: a row failed; 2: the command line or a file was wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "all")
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (HecoreError, OSError, RuntimeError) as error:
        print(f"hecore.bench: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hecore.bench", description="Benchmarks of hecore and its peers.")
    commands = parser.add_subparsers(required=True, metavar="command")

    both = commands.add_parser("all", help="measure both schemes, each in a process of its own (the default command)")
    _size(both)
    both.set_defaults(command=_all)

    run = commands.add_parser("paillier", help="measure Paillier")
    run.add_argument("--key-bits", type=int, nargs="+", default=list(KEY_BITS), metavar="BITS")
    run.add_argument("--suite", action="append", default=[], help="modular, encrypt, … (repeat; default: all)")
    run.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, metavar="PEER", help="default: all")
    run.add_argument("--memory", action="store_true", help="also encrypt 10^6 values and measure the peak (minutes)")
    run.add_argument("--dudect", action="store_true", help="also test the secret kernels' times for leaks (minutes)")
    _output(run)
    run.set_defaults(command=_paillier)

    for name, what in (("ckks", "measure CKKS, transforms included"), ("ntt", "measure number-theoretic transforms")):
        run = commands.add_parser(name, help=what)
        if name == "ckks":
            run.add_argument("--suite", action="append", default=[], help="ntt, encrypt, … (repeat; default: all)")
            run.add_argument(
                "--parameters",
                action="append",
                default=[],
                metavar="'N [BITS,…]'",
                help="ring degree and moduli, the last special, for every row (repeat; default: each row's own)",
            )
        run.add_argument("--peers", nargs="*", default=[PEER], choices=[PEER], metavar="PEER", help="default: all")
        _output(run)
        run.set_defaults(command=_ckks, suite=["ntt"] if name == "ntt" else [], parameters=[])

    device = commands.add_parser("gpu", help="prove a device against the reference, then measure it")
    device.add_argument("--device", default="cuda", help="hecore's backend (default: cuda)")
    device.add_argument("--budget", type=float, metavar="SECONDS", help="for all of it (default: 480; quick: 60)")
    device.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    device.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows with this in their name")
    device.add_argument("--exact", action="append", default=[], metavar="TEXT", help="likewise, comparisons")
    device.add_argument("--wheels", type=Path, metavar="FOLDER", help="of missing packages (default: .whl)")
    device.add_argument("--output", type=Path, help="JSON file (default: bench/results/gpu-DEVICE-DATE-COMMIT.json)")
    device.add_argument(
        "--project",
        nargs="?",
        const="",
        metavar="FILE",
        help="measure nothing: print what instruction counts promise, or put it between the marks of this page",
    )
    device.set_defaults(command=_gpu)

    report = commands.add_parser("report", help="tables and plot of a finished run")
    report.add_argument("file", type=Path)
    report.add_argument("--readme", type=Path, help="rewrite the marked block of this file")
    report.add_argument("--plot", type=Path, help="write this PNG")
    report.add_argument("--markdown", action="store_true", help="print Markdown")
    report.set_defaults(command=_report)

    leakage = commands.add_parser("dudect", help="timing statistics of the secret kernels")
    leakage.add_argument("--samples", type=int, default=LEAKAGE_SAMPLES)
    leakage.add_argument("--key-bits", type=int, default=2048)
    _device(leakage)
    leakage.set_defaults(command=_dudect)

    peak = commands.add_parser("memory", help="peak memory of one large encryption")
    peak.add_argument("--values", type=int, default=1_000_000)
    peak.add_argument("--key-bits", type=int, default=2048)
    _device(peak)
    peak.set_defaults(command=_memory)
    return parser


def _size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", choices=SCALES, default="full", help="items a round (default: full)")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds a row (default: 7)")
    _device(parser)


def _output(parser: argparse.ArgumentParser) -> None:
    _size(parser)
    parser.add_argument("--output", type=Path, help="JSON file (default: bench/results/SCHEME-DATE-COMMIT.json)")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="hecore's backend (default: cpu)")


def _all(options: argparse.Namespace) -> int:
    """A run is a pytest session, and sessions do not share a process well."""
    shared = ["--scale", options.scale, "--rounds", str(options.rounds), "--device", options.device]
    codes = []
    for scheme in ("paillier", "ckks"):
        command = [sys.executable, "-m", "hecore.bench", scheme, *shared]
        codes.append(subprocess.run(command, check=False).returncode)
    return max(codes)


def _paillier(options: argparse.Namespace) -> int:
    machine.single_thread()  # before anything loads a peer's thread pool
    from hecore.bench import driver, suites

    plan = Plan(
        suites=tuple(options.suite),
        peers=tuple(options.peers),
        scale=options.scale,
        rounds=options.rounds,
        device=options.device,
        key_bits=tuple(options.key_bits),
    )
    results = driver.run(plan, suites.jobs(plan))
    if options.memory:
        from hecore.bench import memory

        _say(f"memory: encrypting {memory.VALUES:,} values …")
        results = replace(results, memory=memory.measure(memory.VALUES, SECURE_KEY_BITS, plan.device))
    if options.dudect:
        _say(f"dudect: {LEAKAGE_SAMPLES:,} samples an operation …")
        results = _with_leakage(results, LEAKAGE_SAMPLES, SECURE_KEY_BITS, plan.device)
    return _finish(results, options.output)


def _ckks(options: argparse.Namespace) -> int:
    machine.single_thread()  # before anything loads a peer's thread pool
    from hecore.bench import ckks_quantities, ckks_suites, driver

    plan = CkksPlan(
        suites=tuple(options.suite),
        peers=tuple(options.peers),
        scale=options.scale,
        rounds=options.rounds,
        device=options.device,
        parameters=tuple(options.parameters),
    )
    results = driver.run(plan, ckks_suites.jobs(plan))
    return _finish(replace(results, quantities=ckks_quantities.measure(plan)), options.output)


def _gpu(options: argparse.Namespace) -> int:
    from hecore.bench import gpu_wheels

    without = gpu_wheels.provide(options.wheels or gpu_wheels.FOLDER)
    if options.project is not None:
        return _project(options.project)
    from hecore.bench import gpu_plan, gpu_report, gpu_run

    for name in without:
        _say(f"{name} is not installed: the reference's answers take longer")
    plan = gpu_plan.planned(options.device, options.budget, quick=options.quick, only=options.only, exact=options.exact)
    path = options.output or _path(f"gpu-{options.device}", machine.describe())
    results = gpu_run.run(plan, path, _say)
    print(gpu_report.terminal(results))
    print(f"written to {path}")
    return 0 if results.holds else 1


def _project(page: str) -> int:
    from hecore.bench import gpu_project

    if page:
        gpu_project.update_page(Path(page))
    print(gpu_project.markdown())
    return 0


def _finish(results: Results, output: Path | None) -> int:
    from hecore.bench import report

    path = output or _path(results.scheme, results.machine)
    results.save(path)
    print(report.terminal(results))
    print(f"written to {path}")
    return 1 if results.all_failures else 0


def _report(options: argparse.Namespace) -> int:
    from hecore.bench import gpu_results, report

    if gpu_results.is_gpu(options.file):
        return _gpu_report(options)
    results = load(options.file)
    if options.plot:
        from hecore.bench import plot

        plot.draw(results, options.plot)
    if options.readme:
        report.update_readme(options.readme, results, options.plot)
    print(report.markdown(results) if options.markdown else report.terminal(results))
    return 1 if results.all_failures else 0


def _gpu_report(options: argparse.Namespace) -> int:
    from hecore.bench import gpu_report, gpu_results

    if options.plot or options.readme:
        raise ParameterError("cannot draw or publish a device's run: print it with --markdown")
    results = gpu_results.load(options.file)
    print(gpu_report.markdown(results) if options.markdown else gpu_report.terminal(results))
    return 0 if results.holds else 1


def _with_leakage(results: Results, samples: int, key_bits: int, device: str) -> Results:
    from hecore.bench import dudect

    findings = dudect.session(device, key_bits, samples)
    failures = tuple(f"dudect: {f.kernel} {f.verdict}" for f in findings if f.failed)
    return replace(results, leakage=tuple(f.record() for f in findings), failures=(*results.failures, *failures))


def _dudect(options: argparse.Namespace) -> int:
    from hecore.bench import dudect

    findings = dudect.session(options.device, options.key_bits, options.samples)
    for finding in findings:
        print(f"{finding.kernel:30} |t| = {finding.t:7.2f}   {finding.verdict}")
    return 1 if any(finding.failed for finding in findings) else 0


def _memory(options: argparse.Namespace) -> int:
    from hecore.bench import memory

    report = memory.measure(options.values, options.key_bits, options.device)
    for name, value in report.items():
        print(f"{name:20} {value:,.2f}" if isinstance(value, float) else f"{name:20} {value:,}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _path(what: str, described: Mapping[str, Any]) -> Path:
    """Where a run's results go if nobody says."""
    date = str(described["date"]).replace(" UTC", "").replace("-", "").replace(" ", "-").replace(":", "")
    return RESULTS / f"{what}-{date}-{described['commit'] or 'no-commit'}.json"
