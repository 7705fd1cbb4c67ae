"""Shared fixtures, and a clean slate for each test."""

from __future__ import annotations

import contextvars
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hecore.paillier import PublicKey, SecretKey

# Chosen for a whole run (`HECORE_CPU=portable make test`), or of no consequence for what is tested.
LANE_VARIABLES = (
    "HECORE_CPU",
    "HECORE_OPENCL",
    "HECORE_CUDA",
    "HECORE_TEST_DEVICE",
    "HECORE_TEST_CUBINS",
    "HECORE_CACHE_DIR",
    "HECORE_FUZZ_SEED",
    "HECORE_FUZZ_SECONDS",
)

WANTED = os.environ.get("HECORE_TEST_DEVICE", "")
DEVICE_ROOMS = ("backends", "devices")  # folders whose tests run on the device of a fixture `backend` or `device`
passed_in: set[str] = set()


def pytest_configure() -> None:
    """What a developer exported for daily work must not decide what the tests test."""
    for name in [name for name in os.environ if name.startswith("HECORE_") and name not in LANE_VARIABLES]:
        del os.environ[name]


def pytest_report_header() -> list[str]:
    """Say which devices this run can test, so that a missing one is seen."""
    from hecore.backends.registry import devices

    lane = [f"{name}={os.environ[name]}" for name in LANE_VARIABLES if name in os.environ]
    found = [
        f"{info.name} ({info.device if info.available else f'not available: {info.reason}'})" for info in devices()
    ]
    return [f"hecore devices: {', '.join(found)}", *lane]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    arguments = getattr(item, "funcargs", {})
    used = arguments.get("device", getattr(arguments.get("backend"), "name", None))
    if used == WANTED and report.when == "call" and report.passed:
        passed_in.add(item.path.parent.name)
    return report  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A lane that was asked for a device and ran nothing on it has shown nothing."""
    asked = {item.path.parent.name for item in session.items} & set(DEVICE_ROOMS)
    if WANTED and not session.config.option.collectonly and (not asked or asked - passed_in):
        rooms = ", ".join(f"tests/{room}" for room in sorted(asked - passed_in) or DEVICE_ROOMS)
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"\nHECORE_TEST_DEVICE={WANTED}, but no test passed on it in {rooms}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run each test in a context of its own: what it chose with `hecore.use` ends with it."""
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    result = contextvars.copy_context().run(pyfuncitem.obj, **arguments)
    assert result is None, "a test asserts; what it returns nobody reads"
    return True


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    """A test that sets HECORE_* uses monkeypatch; one that leaves it set would decide what later tests test."""
    before = {name: value for name, value in os.environ.items() if name.startswith("HECORE_")}
    yield
    assert {name: value for name, value in os.environ.items() if name.startswith("HECORE_")} == before


@pytest.fixture(scope="session")
def insecure_keys() -> tuple[PublicKey, SecretKey]:
    """One pair of toy keys for tests that need any pair; far too short to protect anything."""
    from hecore.paillier import generate_insecure_keypair

    return generate_insecure_keypair(512)
