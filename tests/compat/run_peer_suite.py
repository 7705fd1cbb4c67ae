"""The peer's own tests on `hecore.compat.phe`: a CI lane, and what test_peer_suite.py runs in a subprocess.

    python tests/compat/run_peer_suite.py

puts our modules under the peer's names, takes `phe/tests` from the installed wheel (GPLv3: run, never copied) and
runs them with pytest. Every test passes, none is skipped, and there are exactly EXPECTED of them; anything else is a
failure, above all an empty collection.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import types
from pathlib import Path

import pytest

VERSION = "1.5.0"
EXPECTED = 234
MODULES = ("", ".__about__", ".paillier", ".encoding", ".util", ".command_line")


class Tally:
    """A pytest plugin that counts outcomes."""

    def __init__(self) -> None:
        self.collected = 0
        self.passed = 0
        self.others: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self.passed += 1
        elif report.skipped or report.failed or hasattr(report, "wasxfail"):
            self.others.append(f"{report.outcome}: {report.nodeid}")


def peer_tests() -> Path:
    """Where the wheel's tests lie, without importing the peer."""
    distribution = importlib.metadata.distribution("phe")
    if distribution.version != VERSION:
        raise SystemExit(f"phe {VERSION} is needed, found {distribution.version}")
    return Path(str(distribution.locate_file("phe/tests")))


def impersonate() -> None:
    """Our modules under the peer's names; `phe.tests` is the wheel's folder."""
    for name in MODULES:
        sys.modules[f"phe{name}"] = importlib.import_module(f"hecore.compat.phe{name}")
    tests = types.ModuleType("phe.tests")
    tests.__path__ = [str(peer_tests())]
    sys.modules["phe.tests"] = tests


def main() -> int:
    """0 if all EXPECTED tests passed."""
    impersonate()
    tally = Tally()
    names = sorted(path.stem for path in peer_tests().glob("*_test.py"))
    arguments = [
        *("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(peer_tests()), "--pyargs"),
        *("-W", "ignore::hecore.compat.phe.InsecureWarning"),
        *("-o", "python_files=*_test.py"),
        *(f"phe.tests.{name}" for name in names),
    ]
    status = pytest.main(arguments, plugins=[tally])
    mine = sys.modules["phe.paillier"]
    if mine.__name__ != "hecore.compat.phe.paillier":
        sys.stdout.write("the tests ran on another module than ours\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in tally.others)
    sys.stdout.write(f"{tally.collected} collected, {tally.passed} passed, {EXPECTED} expected\n")
    return int(not (status == 0 and tally.collected == tally.passed == EXPECTED and not tally.others))


if __name__ == "__main__":
    sys.exit(main())
