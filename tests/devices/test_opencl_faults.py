"""What can go wrong with an OpenCL device: each a typed error that says what to do, and what is usable afterwards.

PoCL provokes what it can. It never gets lost by itself and has as much memory as the machine, so that for these two its
own errors of failed commands and of buffers that are too large stand for a card's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

import hecore
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends import drivers, opencl_faults, registry
from hecore.backends.opencl import OpenClBackend, OpenClDevice, _facts
from hecore.backends.protocol import ExponentArray
from hecore.backends.selftest import self_test
from hecore.errors import (
    BackendError,
    BackendUnavailableError,
    CompileError,
    DeviceLostError,
    DeviceMemoryError,
    SelfTestError,
)
from hecore.kernels import device as kernels
from tests.backends.watched_device import WatchedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hecore.backends.device import Buffer

ROOT = Path(__file__).parents[2]
MODULUS = Modulus(2**64 - 59)
VALUES = [0, 1, 5, 2**64 - 60]


@pytest.fixture(scope="module")
def opened() -> OpenClDevice:
    try:
        return OpenClDevice()
    except BackendUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for binaries that nobody else uses."""
    monkeypatch.setenv("HECORE_CACHE_DIR", str(tmp_path))
    return tmp_path / "device"


def squares(backend: OpenClBackend) -> None:
    a = backend.upload(limbs_from_ints(VALUES, 1), MODULUS)
    assert ints_from_limbs(backend.download(backend.mod_mul(a, a))) == [x * x % MODULUS.value for x in VALUES]


def in_a_process(code: str, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, since a driver is looked for once."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# -- no device ------------------------------------------------------------------------------------------------


ASKING = """
import hecore
try:
    hecore.use("opencl")
except hecore.errors.BackendUnavailableError as error:
    print(error)
"""


def test_without_a_driver(tmp_path: Path) -> None:
    said, _ = in_a_process(ASKING, OCL_ICD_VENDORS=str(tmp_path / "nowhere")).communicate(timeout=60)
    assert said == (
        "cannot use OpenCL: no driver found. Install your card's, or PoCL for the processor: "
        "pip install pocl-binary-distribution\n"
    )


def test_a_driver_beside_the_loader_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not a wheel's loader finds one beside itself, the list of devices agrees with it."""
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))  # empty
    look = "import pyopencl\ntry:\n    print(len(pyopencl.get_platforms()))\nexcept pyopencl.Error:\n    print(0)"
    found, _ = in_a_process(look).communicate(timeout=60)
    assert (drivers.opencl() == "") is (found != "0\n")


def test_no_device_of_that_name(opened: OpenClDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    name, listed = opened._device.name, r"looked for a device like 'Riva 128', found 0:0 .+\. Set HECORE_OPENCL to part"
    monkeypatch.setenv("HECORE_OPENCL", "Riva 128")
    for start in (OpenClDevice, OpenClBackend.found):
        with pytest.raises(BackendUnavailableError, match=listed) as caught:
            start()
        assert name in str(caught.value)
    with pytest.raises(BackendUnavailableError, match="looked for a device like '9:9'"):
        OpenClDevice("9:9")
    assert OpenClDevice(name.split()[0]).facts == OpenClDevice("0:0").facts == opened.facts


class Described:
    """A real device with some properties replaced: there is none with an old driver here."""

    def __init__(self, device: Any, **replaced: Any) -> None:
        self._device = device
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"version": "OpenCL 1.1 Mesa"}, "'OpenCL 1.1 Mesa' with a compiler, needed are OpenCL 1.2 .* a newer driver"),
        ({"compiler_available": False}, "without a compiler, needed are"),
        ({"address_bits": 32}, "not little-endian with 64 bits"),
        ({"endian_little": False}, "not little-endian with 64 bits"),
    ],
)
def test_a_driver_that_is_too_old(opened: OpenClDevice, replaced: dict[str, Any], said: str) -> None:
    assert _facts(opened._cl, Described(opened._device)) == opened.facts
    with pytest.raises(BackendUnavailableError, match=said):
        _facts(opened._cl, Described(opened._device, **replaced))


# -- compilers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "line", "name"), [("pack", 5, "pack.c"), ("integer", 40, "digits.h")])
def test_an_error_names_the_line(opened: OpenClDevice, program: str, line: int, name: str) -> None:
    text = kernels.source(program, "opencl")
    head, mark, rest = text.partition(f'#line 1 "{name}"\n')
    lines = rest.split("\n")
    assert mark
    lines[line - 1] = "surely not C"
    options = [f"-D{key}=1" for key in ("BLOCK", "LANES", "ROWS", "SQUARE")] + ["-DDIGITS=12", "-DRADIX=28"]
    with pytest.raises(CompileError) as caught:
        opened.compile("".join([head, mark, "\n".join(lines)]), options)
    assert f"{name}:{line}:" in str(caught.value)
    assert opened.facts.description in str(caught.value)
    assert opened.compile(kernels.source("wipe", "opencl"), options)  # and the device compiles what is right


def test_options_and_binaries_that_are_none(opened: OpenClDevice) -> None:
    with pytest.raises(CompileError):
        opened.compile("__kernel void f() {}", ["-no-such-option"])
    for binary in (b"", b"no binary"):
        with pytest.raises(BackendError):
            opened.load(binary)


def test_a_spoilt_binary_is_made_again(cache: Path) -> None:
    squares(OpenClBackend())
    kept = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(kept) > 2
    for path in kept:
        path.write_bytes(b"spoilt")
    squares(OpenClBackend())
    assert {path: path.read_bytes() != b"spoilt" for path in cache.iterdir()} == dict.fromkeys(kept, True)


class Strict(OpenClDevice):
    """A compiler that does not take the text as it is."""

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        return super().compile(source.replace("x[j] = carry & MASK;", "surely not C"), options)


def test_a_kernel_that_does_not_compile_is_an_error_at_the_start(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiler's own words, and no judgement on what the device computes."""
    monkeypatch.setattr("hecore.backends.opencl.OpenClDevice", Strict)
    monkeypatch.setattr(registry, "_started", {})
    monkeypatch.setattr(registry, "_refused", {})
    for _ in range(2):
        with pytest.raises(CompileError, match=r"digits\.h:\d+:"):
            hecore.use("opencl")
    assert registry._refused == {}
    assert not any(path.name.startswith("integer") for path in cache.iterdir())


class Misled(OpenClDevice):
    """A compiler that gets one shift wrong."""

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        return super().compile(source.replace("<< (64 - offset)", "<< (63 - offset)"), options)


def test_a_device_that_computes_wrongly_refuses_to_work(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hecore.backends.opencl.OpenClDevice", Misled)
    monkeypatch.setattr(registry, "_started", {})
    monkeypatch.setattr(registry, "_refused", {})
    for _ in range(2):
        with pytest.raises(SelfTestError, match="'opencl' refuses to work"):
            hecore.use("opencl")
    info = {info.name: info for info in hecore.devices()}["opencl"]
    assert not info.available
    assert "refuses to work" in info.reason
    with pytest.raises(SelfTestError, match="'opencl' refuses to work"):
        hecore.use(OpenClBackend())
    assert any(cache.iterdir())


# -- memory ---------------------------------------------------------------------------------------------------


def test_more_than_a_buffer_holds(opened: OpenClDevice) -> None:
    largest = opened.facts.largest
    with pytest.raises(DeviceMemoryError, match=rf"{largest + 1} bytes in one buffer: the device allows {largest}"):
        opened.allocate(largest + 1)


def test_a_driver_that_refuses_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, where nobody looked before: what the driver says is told."""
    backend = OpenClBackend()
    facts = backend._device.facts
    squares(backend)
    monkeypatch.setattr(backend._device, "facts", replace(facts, largest=1 << 60))
    for nbytes in (1 << 50, facts.largest + (1 << 30)):
        with pytest.raises(DeviceMemoryError, match=r"INVALID_BUFFER_SIZE.*Use smaller arrays"):
            backend._device.allocate(nbytes)
    squares(backend)


def test_a_shortage_at_the_start_is_no_reason_to_refuse_for_ever(opened: OpenClDevice) -> None:
    backend = WatchedBackend()
    with backend.watched.refusing(100), pytest.raises(DeviceMemoryError):
        self_test(backend)
    self_test(backend)


def test_buffers_close_to_the_limit(opened: OpenClDevice) -> None:
    """A pool that rounds sizes up may not ask for more than there is. PoCL gives memory where it is touched."""
    for nbytes in (opened.facts.largest, opened.facts.largest // 2 + 1, opened.facts.largest // 8 * 5):
        buffer = opened.allocate(nbytes)
        last, out = np.array([7], dtype=np.uint8), np.zeros(1, dtype=np.uint8)
        opened.write(buffer, last, nbytes - 1)
        opened.read(buffer, out, nbytes - 1)
        assert (buffer.nbytes, out[0]) == (nbytes, 7)


# -- a device that is lost ------------------------------------------------------------------------------------


class Losing(OpenClDevice):
    """Its reads fail as they do where a command before them failed: with the driver's own error."""

    reads = 1 << 30

    def read(self, buffer: Buffer, out: NDArray[Any], offset: int = 0) -> None:
        self.reads -= 1
        if self.reads < 0:
            self._guarded("copying from the device", self._fail)
        super().read(buffer, out, offset)

    def _fail(self) -> None:
        failing = self._cl.UserEvent(self._context)
        waiting = self._cl.enqueue_marker(self._queue, wait_for=[failing])
        failing.set_status(-1)
        self._cl.wait_for_events([waiting])


def test_a_device_lost_in_the_middle_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hecore.backends.opencl.OpenClDevice", Losing)
    backend = OpenClBackend()
    a = backend.upload(limbs_from_ints(VALUES[1:], 1), MODULUS)
    squares(backend)
    lost: Any = backend._device
    lost.reads = 0
    reason = r"the device is gone.*EXEC_STATUS_ERROR.*not usable any more in this process.*Start a new process"
    with pytest.raises(DeviceLostError, match=reason) as first:
        backend.batch_invert(a)  # reads the root of a tree of products
    lost.reads = 1 << 30
    later: list[Callable[[], object]] = [
        lambda: backend.mod_mul(a, a),
        lambda: backend.mod_exp(a, ExponentArray.shared(5, 3)),
        lambda: backend.download(a),
        lambda: backend.upload(limbs_from_ints(VALUES, 1), MODULUS),
        backend.synchronize,
    ]
    for operation in later:
        with pytest.raises(DeviceLostError) as caught:
            operation()
        assert str(caught.value) == str(first.value)
    squares(OpenClBackend())


def test_the_numbers_are_those_of_the_drivers() -> None:
    import pyopencl as cl

    named = {name: getattr(cl.status_code, name) for name in dir(cl.status_code) if name.isupper()}
    for table in (opencl_faults.NO_MEMORY, opencl_faults.LOST, opencl_faults.NOT_COMPILED):
        for code, name in table.items():
            assert named.get(name, code) == code
            assert name in named or code == -9999


class NumberedError(Exception):
    """Like PyOpenCL's, with a number of the test's choice: only drivers can make theirs."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"clFinish failed: {name}")
        self.code = code


@pytest.mark.parametrize(
    ("table", "kind"),
    [("NO_MEMORY", DeviceMemoryError), ("LOST", DeviceLostError), ("NOT_COMPILED", CompileError)],
)
def test_errors_by_their_numbers(table: str, kind: type[BackendError]) -> None:
    for code, name in getattr(opencl_faults, table).items():
        found = opencl_faults.translated(NumberedError(code, name), "running kernel multiply", "Some Card")
        assert type(found) is kind
        assert str(found).startswith("running kernel multiply failed on Some Card: ")
        assert f"clFinish failed: {name}" in str(found)
    assert type(opencl_faults.translated(NumberedError(-30, "INVALID_VALUE"), "this", "Some Card")) is BackendError


# -- processes ------------------------------------------------------------------------------------------------

WORKER = """
import sys
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.opencl import OpenClBackend
from hecore.backends.protocol import ExponentArray
from hecore.backends.selftest import self_test

backend, modulus, x = OpenClBackend(), Modulus(2**64 - 59), list(range(2, 2000))
for e in (65537, 2**40 - 1):
    powers = backend.mod_exp(backend.upload(limbs_from_ints(x, 1), modulus), ExponentArray.shared(e, 40))
    assert ints_from_limbs(backend.download(powers)) == [pow(i, e, modulus.value) for i in x]
print("right")
"""


def test_processes_share_a_device_and_a_cache(opened: OpenClDevice, cache: Path) -> None:
    workers = [in_a_process(WORKER) for _ in range(2)]
    assert [worker.communicate(timeout=120)[0] for worker in workers] == ["right\n"] * 2
    binaries = sorted(cache.iterdir())
    assert {path.name.partition("-")[0] for path in binaries} == {"integer", "pack", "wipe"}  # and no half-written one
    for path in binaries:
        opened.load(path.read_bytes())
    stamps = [path.stat().st_mtime_ns for path in binaries]
    assert in_a_process(WORKER).communicate(timeout=120)[0] == "right\n"
    assert [path.stat().st_mtime_ns for path in binaries] == stamps  # loaded, not made again
