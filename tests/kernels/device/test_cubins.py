"""The CUDA text as binaries of two cards: nothing spills, what kernels take is in the table, secrets decide nothing.

Programs that take seconds to compile are left to `make test-cuda`; so is everything where no compiler is installed.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from hecore.kernels import device
from tests.kernels.device import cubin, cuda_table
from tests.kernels.device.cuda_table import Compiled

LONG = ("accumulate", "fp64", "integer", "ntt", "segments", "switch")
PROGRAMS = [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in device.programs()]
SIZES = {"u32": 4, "i32": 4, "u64": 8}
SHARED = 48 << 10  # bytes of a block that a kernel may have without asking
ROOT = Path(__file__).resolve().parents[3]


@cache
def binaries(program: str) -> list[Compiled]:
    cubin.versions()
    return list(cuda_table.everything([program]))


@pytest.mark.parametrize("program", PROGRAMS)
def test_kernels_and_arguments_are_those_of_the_manifest(program: str) -> None:
    expected = device.manifest(program).kernels
    for binary in binaries(program):
        assert set(binary.infos) <= set(expected), binary.name
        for name, info in binary.infos.items():
            sizes = [SIZES.get(kind, 8) for kind, _ in expected[name].arguments]
            assert [size for _, size in info.parameters] == sizes, f"{binary.name} {name}"
    assert {name for binary in binaries(program) for name in binary.infos} == set(expected)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_is_spilled(program: str) -> None:
    """No array and no register lies in local memory, which is far away."""
    spilled = [
        f"{binary.name} {name}: {info.resources.local} bytes"
        for binary in binaries(program)
        for name, info in binary.infos.items()
        if info.resources.local
    ]
    assert spilled == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_kernels_take_is_what_the_table_says(program: str) -> None:
    versions, table = cuda_table.written()
    assert versions == cubin.versions(), "the table is of other compilers: pip install 'hecore[test-cuda]'"
    found = cuda_table.rows(binaries(program))
    expected = {row: numbers for row, numbers in table.items() if row[0] == program}
    changed = [
        f"{' '.join(row)}: {expected.get(row)} in the table, {found.get(row)} now"
        for row in sorted(found.keys() | expected.keys())
        if found.get(row) != expected.get(row)
    ]
    assert changed == [], f"if it is meant: python -m tests.kernels.device.cuda_table {program}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_secrets_decide_no_jump_and_no_address(program: str) -> None:
    kernels = device.manifest(program).kernels
    for binary in binaries(program):
        assert set(binary.findings) == {name for name in binary.infos if kernels[name].secret}
        for name, found in binary.findings.items():
            assert found.violations == set(), f"{binary.name} {name}"
            reads = [
                n for kind, n in kernels[name].arguments if kind.startswith("const") and n not in kernels[name].public
            ]
            assert found.loads > 0 or not reads, "an analysis that saw no memory saw nothing"


def test_every_public_argument_has_to_be_one() -> None:
    """Of one shape each; without the declaration the analysis finds the address that depends on it."""
    cubin.versions()
    for program in device.programs():
        kernels = device.manifest(program).kernels
        if any(kernel.public for kernel in kernels.values()):
            source, defines = device.source(program, "cuda"), cubin.definitions(program)[0]
            binary = cubin.compiled(source, defines, cubin.CAPABILITIES[0])
            for name, kernel in kernels.items():
                for argument in kernel.public:
                    others = [a for a in kernel.public if a != argument]
                    found = cuda_table.looked_at(binary, name, kernel.arguments, others)
                    assert {v.kind for v in found.violations} == {"address"}, f"{program} {name} {argument}"


# -- the table itself: nothing has to be compiled for these ---------------------------------------------------------


def test_the_table_is_of_all_that_backends_compile() -> None:
    _, table = cuda_table.written()
    expected = {(p, cubin.named(defines)) for p in device.programs() for defines in cubin.definitions(p)}
    assert {row[:2] for row in table} == expected


def test_the_table_says_that_all_fits() -> None:
    _, table = cuda_table.written()
    for row, numbers in table.items():
        block = int(re.search(r"BLOCK=(\d+)", row[1])[1])  # type: ignore[index]
        for registers, shared, local in (numbers[:3], numbers[3:]):
            assert registers * block <= 1 << 16, row
            assert shared <= SHARED, row
            assert local == 0, row


def test_the_compilers_are_pinned() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test-cuda"]
    versions, _ = cuda_table.written()
    assert [name.replace("==", " ") for name in extra if name.startswith("nvidia")] == versions.split(", ")
