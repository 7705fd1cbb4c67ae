"""Device programs: compiled once, kept on disk by all that decides what comes out, launched with what they declare."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.arith.limbs import limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends import programs as module
from hecore.backends import registry
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.protocol import ExponentArray
from hecore.backends.selftest import self_test
from hecore.errors import BackendUnavailableError, CompileError, ParameterError
from hecore.kernels import device as kernels
from hecore.kernels.private import private_folder
from tests.kernels.device.cubin import definitions

pytest.importorskip("pyopencl")

from hecore.backends.opencl import OpenClDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hecore.backends.device import Argument, Buffer, DeviceFacts, Program

WORDS = 100
MODULI = (Modulus((1 << 255) - 19), Modulus((1 << 256) - 189))


class CountingDevice:
    """An OpenCL device that counts what it compiles; `facts` may be changed."""

    def __init__(self) -> None:
        self._device = OpenClDevice()
        self.facts: DeviceFacts = self._device.facts
        self.compiled = 0

    def allocate(self, nbytes: int) -> Buffer:
        return self._device.allocate(nbytes)

    def write(self, buffer: Buffer, data: Any, offset: int = 0) -> None:
        self._device.write(buffer, data, offset)

    def read(self, buffer: Buffer, out: Any, offset: int = 0) -> None:
        self._device.read(buffer, out, offset)

    def compile(self, source: str, options: Sequence[str]) -> bytes:
        self.compiled += 1
        return self._device.compile(source, options)

    def load(self, binary: bytes) -> Program:
        return self._device.load(binary)

    def synchronize(self) -> None:
        self._device.synchronize()


class CountingBackend(KernelBackend):
    name = "opencl"

    def __init__(self) -> None:
        self.counting = CountingDevice()
        super().__init__(self.counting)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a process that starts now keeps binaries: empty."""
    try:
        registry.get("opencl")
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("HECORE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "device"


@pytest.fixture
def device(folder: Path) -> CountingDevice:
    return CountingDevice()


def defines(device: CountingDevice) -> dict[str, int]:
    return {"BLOCK": device.facts.block, "LANES": 1}


def fill(device: CountingDevice, value: int = 7) -> None:
    """A process's first use of a program: from disk where it is there; the result is looked at."""
    buffer, out = device.allocate(4 * WORDS), np.empty(WORDS, dtype=np.uint32)
    arguments = buffer, np.uint32(value), np.uint64(WORDS)
    module.Programs(device).launch("pack", "fill", defines(device), WORDS, *arguments)
    device.read(buffer, out)
    assert (out == value).all()


# -- what is compiled, and when -------------------------------------------------------------------------------------


def test_a_program_is_compiled_once_in_all_processes(device: CountingDevice, folder: Path) -> None:
    for _ in range(3):
        fill(device)
    assert device.compiled == 1
    assert len(list(folder.iterdir())) == 1


def test_in_one_process_nothing_is_read_again(device: CountingDevice, folder: Path) -> None:
    programs = module.Programs(device)
    first = programs.program("pack", defines(device))
    next(folder.iterdir()).unlink()
    assert programs.program("pack", dict(reversed(defines(device).items()))) is first
    assert device.compiled == 1


def other_text(device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    source = kernels.source
    monkeypatch.setattr(kernels, "source", lambda program, dialect: source(program, dialect) + "/* changed */\n")


def other_definitions(device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    device.facts = replace(device.facts, block=2 * device.facts.block)


def other_driver(device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    device.facts = replace(device.facts, identity=device.facts.identity + " updated")


@pytest.mark.parametrize("change", [other_text, other_definitions, other_driver])
def test_what_decides_the_binary_is_part_of_its_name(
    device: CountingDevice,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[CountingDevice, pytest.MonkeyPatch], None],
) -> None:
    fill(device)
    change(device, monkeypatch)
    fill(device)
    assert device.compiled == 2
    assert len(list(folder.iterdir())) == 2
    fill(device)
    assert device.compiled == 2


@pytest.mark.parametrize("damaged", [b"", b"no binary at all", bytes(4096)])
def test_a_binary_that_does_not_load_is_compiled_again(device: CountingDevice, folder: Path, damaged: bytes) -> None:
    fill(device)
    path = next(folder.iterdir())
    path.write_bytes(damaged)
    fill(device)
    assert device.compiled == 2
    assert path.read_bytes() != damaged
    fill(device)
    assert device.compiled == 2


def test_without_a_place_to_write_programs_are_compiled_in_every_process(
    device: CountingDevice, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    for number in (1, 2):
        with pytest.warns(RuntimeWarning, match="no private writable folder"):
            fill(device)
        assert device.compiled == number
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_text_that_does_not_compile_says_where(device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    source = kernels.source
    monkeypatch.setattr(kernels, "source", lambda program, dialect: source(program, dialect) + "nonsense here;\n")
    with pytest.raises(CompileError, match=r"pack\.c:\d+.*nonsense"):
        fill(device)
    monkeypatch.undo()


def test_what_a_backend_compiles_is_known_beforehand() -> None:
    """Tests of the CUDA text take their definitions from the same list, for a card."""
    backend = CountingBackend()
    self_test(backend)
    assert len(backend._programs._loaded) > 10
    for program, defined in backend._programs._loaded:
        assert dict(defined) in definitions(program, backend.counting.facts), program


# -- what a launch is given -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, np.uint32(7)), "takes 3 arguments, got 2"),
        ((None, np.uint32(7), np.uint64(1), np.uint64(1)), "takes 3 arguments, got 4"),
        ((None, np.uint64(7), np.uint64(1)), "takes u32 value, got uint64"),
        ((None, np.int32(7), np.uint64(1)), "takes u32 value, got int32"),
        ((None, 7, np.uint64(1)), "takes u32 value, got int"),
        ((None, None, np.uint64(1)), "takes u32 value, got NoneType"),
        ((None, np.uint32(7), np.uint32(1)), r"takes u64 count, got uint32"),
        ((np.uint64(0), np.uint32(7), np.uint64(1)), r"takes u32\* out, got uint64"),
    ],
)
def test_arguments_are_what_the_manifest_declares(
    device: CountingDevice, arguments: tuple[Argument, ...], message: str
) -> None:
    with pytest.raises(ParameterError, match=f"kernel fill {message}"):
        module.Programs(device).launch("pack", "fill", defines(device), 1, *arguments)
    assert device.compiled == 0


@pytest.mark.parametrize("names", [("BLOCK",), ("BLOCK", "LANES", "DIGITS"), ("BLOCK", "WIDTH")])
def test_definitions_are_what_the_manifest_declares(device: CountingDevice, names: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError, match=r"specialised by \['BLOCK', 'LANES'\]") as caught:
        module.Programs(device).program("pack", dict.fromkeys(names, 1))
    assert str(sorted(names)) in str(caught.value)
    assert device.compiled == 0


def test_no_threads_run_nothing(device: CountingDevice) -> None:
    module.Programs(device).launch("pack", "fill", defines(device), 0, None, np.uint32(7), np.uint64(0))
    assert device.compiled == 0


# -- what a key leaves on disk --------------------------------------------------------------------------------------


def use(backend: CountingBackend, modulus: Modulus, exponent: int) -> None:
    """What a key's moduli, exponents and tables are used for."""
    a = backend.upload(limbs_from_ints([3, modulus.value - 2], modulus.limbs), modulus)
    power = backend.mod_exp(a, ExponentArray.shared(exponent, exponent.bit_length()))
    assert int.from_bytes(backend.download(power)[0].tobytes(), "little") == pow(3, exponent, modulus.value)
    table = backend.fixed_base_table(3, modulus, 255)
    backend.fixed_base_exp(table, ExponentArray.from_ints([exponent], 255))


def test_keys_leave_nothing_on_disk() -> None:
    """Another modulus and another exponent of the same sizes need nothing new, and none is in a name or a binary."""
    backend = CountingBackend()
    folder = private_folder("device")
    assert folder is not None, "the cache of this run"
    first, second = (1 << 254) + 0x1234567890ABCDEF1234567, (1 << 254) + 0xFEDCBA09876543210
    use(backend, MODULI[0], first)
    compiled, loaded = backend.counting.compiled, set(backend._programs._loaded)
    kept = {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("tmp")
    }  # others write
    use(backend, MODULI[1], second)
    again = CountingBackend()
    use(again, MODULI[1], second)
    assert (backend.counting.compiled, again.counting.compiled) == (compiled, 0)
    assert set(backend._programs._loaded) == set(again._programs._loaded) == loaded
    for value in (first, second):
        assert not any(value.to_bytes(32, "little")[:8] in binary for binary in kept.values())
    for program, defined in loaded:
        assert sum(name.startswith(f"{program}-") for name in kept) > 0
        assert all(0 <= size < 1 << 16 for _, size in defined), "sizes alone are definitions"
    names = "|".join(kernels.programs())
    assert all(re.fullmatch(rf"({names})-[0-9a-f]{{40}}", name) for name in kept)
