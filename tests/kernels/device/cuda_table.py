"""What every kernel takes of two cards, as a table: `cuda_resources.tsv`, made anew by

    python -m tests.kernels.device.cuda_table [PROGRAM …]

The compiler's version stands on top: another one divides registers otherwise. The same pass over the binaries looks at
the machine code of kernels that see secrets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from hecore.kernels import device
from tests.kernels.device import cubin, sass
from tests.kernels.device.cubin import CAPABILITIES, Defines, KernelInfo
from tests.kernels.device.sass_analysis import Findings, analysed

TABLE = Path(__file__).with_name("cuda_resources.tsv")
_COLUMNS = ("registers", "shared", "local")
_HEADER = "\t".join(
    ["program", "definitions", "kernel", *(f"sm_{c} {column}" for c in CAPABILITIES for column in _COLUMNS)]
)

Row = tuple[str, str, str]  # program, definitions, kernel
Table = dict[Row, tuple[int, ...]]


@dataclass(frozen=True)
class Compiled:
    """A program for one capability: all its kernels, and what its machine code shows of those that see secrets."""

    program: str
    defines: Defines
    capability: str
    infos: dict[str, KernelInfo]
    findings: dict[str, Findings]

    @property
    def name(self) -> str:
        return f"{self.program} {cubin.named(self.defines)} sm_{self.capability}"


def compiled(program: str, defines: Defines, capability: str) -> Compiled:
    binary = cubin.compiled(device.source(program, "cuda"), defines, capability)
    infos, listing = cubin.kernels(binary), cubin.disassembled(binary)
    secret = {k.name: k for k in device.manifest(program).kernels.values() if k.secret and k.name in infos}
    functions = sass.parse(listing, secret)
    assert set(functions) == set(secret), "the disassembler shows every kernel"
    findings = {name: analysed(functions[name], infos[name], k.arguments, k.public) for name, k in secret.items()}
    return Compiled(program, defines, capability, infos, findings)


def looked_at(binary: bytes, kernel: str, arguments: Sequence[tuple[str, str]], public: Collection[str]) -> Findings:
    """One kernel alone."""
    function = sass.parse(cubin.disassembled(binary), [kernel])[kernel]
    return analysed(function, cubin.kernels(binary)[kernel], arguments, public)


def everything(programs: Sequence[str]) -> Iterator[Compiled]:
    """All definitions for all capabilities, by as many processes as there are processors."""
    jobs = [(p, defines, c) for p in programs for defines in cubin.definitions(p) for c in CAPABILITIES]
    # Spawned: the compiler, once loaded here, has threads that a fork would leave behind.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        yield from pool.map(compiled, *zip(*jobs, strict=True), chunksize=4)


def rows(binaries: Sequence[Compiled]) -> Table:
    found: Table = {}
    for capability in CAPABILITIES:
        for binary in binaries:
            if binary.capability == capability:
                for name in sorted(binary.infos):
                    taken = binary.infos[name].resources
                    row = (binary.program, cubin.named(binary.defines), name)
                    found[row] = (*found.get(row, ()), taken.registers, taken.shared, taken.local)
    return found


def written() -> tuple[str, Table]:
    """The committed table: the versions it was made with, and its rows."""
    top, header, *lines = TABLE.read_text().splitlines()
    assert header == _HEADER, "a table of these columns"
    cells = [line.split("\t") for line in lines]
    return top.removeprefix("# "), {(a, b, c): tuple(int(number) for number in rest) for a, b, c, *rest in cells}


def write(versions: str, table: Table) -> None:
    lines = ["\t".join((*row, *map(str, numbers))) for row, numbers in sorted(table.items())]
    TABLE.write_text("\n".join([f"# {versions}", _HEADER, *lines]) + "\n")


def main(programs: Sequence[str]) -> None:
    """All rows of these programs anew, those of others as they are."""
    kept = {row: numbers for row, numbers in written()[1].items() if row[0] not in programs} if TABLE.exists() else {}
    found = rows(list(everything(programs)))
    write(cubin.versions(), {**kept, **found})
    for row, numbers in found.items():
        if numbers[2] or numbers[5]:
            sys.stdout.write(f"local memory: {' '.join(row)} {numbers}\n")


if __name__ == "__main__":
    main(sys.argv[1:] or device.programs())
