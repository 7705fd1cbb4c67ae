"""Every manifest against its program's text, and no text without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hecore.kernels import device

FOLDER = Path(device.__file__).parent
KERNEL = re.compile(r"^KERNEL\((\w+)\)\((.*?)\)\s*\{", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
TYPES = {"u8", "u32", "u64", "i32", "i64"}
PRELUDES = {f"prelude_{dialect}.h" for dialect in device.DIALECTS}


def bare(name: str) -> str:
    """A file without its comments."""
    return COMMENT.sub("", (FOLDER / name).read_text())


def included(name: str) -> set[str]:
    """A program's file and all headers that it takes in."""
    found = {name}
    for header in re.findall(r'^#include "([^"]+)"$', (FOLDER / name).read_text(), re.MULTILINE):
        found |= included(header)
    return found


def argument(text: str) -> tuple[str, str]:
    """`GLOBAL const u32* RESTRICT a` as a manifest writes it."""
    words = re.sub(r"\b(GLOBAL|RESTRICT)\b", "", text).replace("*", "* ").split()
    kind = " ".join(words[:-1]).replace(" *", "*")
    return kind, words[-1]


def declared(program: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Kernels as the text has them, in order."""
    return {
        name: tuple(argument(part) for part in arguments.split(","))
        for name, arguments in KERNEL.findall(bare(f"{program}.c"))
    }


@pytest.fixture(params=device.programs())
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_kernels_and_arguments_are_those_of_the_text(program: str) -> None:
    manifest = device.manifest(program)
    assert manifest.program == program
    found = declared(program)
    assert {name: kernel.arguments for name, kernel in manifest.kernels.items()} == found
    assert len(found) == bare(f"{program}.c").count("KERNEL(")
    for arguments in found.values():
        for kind, _ in arguments:
            assert kind.removeprefix("const ").removesuffix("*") in TYPES
            assert kind.endswith("*") or kind in ("u32", "u64", "i32"), "scalars are what `Programs` checks"


def test_pointers_to_device_memory_say_so(program: str) -> None:
    for _, arguments in KERNEL.findall(bare(f"{program}.c")):
        for text in arguments.split(","):
            assert ("*" in text) == text.split()[0].startswith("GLOBAL"), text


def test_definitions_are_those_that_the_text_uses(program: str) -> None:
    """BLOCK and LANES may be left to the preludes."""
    names = device.manifest(program).defines
    assert len(set(names)) == len(names)
    text = "".join(bare(name) for name in included(f"{program}.c"))
    preludes = "".join(bare(name) for name in PRELUDES)
    for name in names:
        assert re.search(rf"\b{name}\b", text + preludes * (name in ("BLOCK", "LANES"))), f"{name} is used nowhere"
        assert not re.search(rf"^#\s*define\s+{name}\b", text, re.MULTILINE), f"{name} is given by who compiles"


def test_secrecy_is_said_of_every_kernel(program: str) -> None:
    for name, entry in device._read(program)["kernels"].items():
        assert type(entry["secret"]) is bool, name
        assert set(entry) <= {"secret", "public", "arguments"}, name
        arguments = device.manifest(program).kernels[name].arguments
        read = [argument for kind, argument in arguments if kind.startswith("const") and kind.endswith("*")]
        assert set(entry.get("public", ())) <= set(read), f"{name}: what is written is not public for that"
        assert not entry.get("public") or entry["secret"], f"{name}: where nothing is secret all is public"


def test_nothing_secret_is_compiled_in(program: str) -> None:
    """Sizes alone are definitions."""
    sizes = {"BLOCK", "LANES", "DIGITS", "RADIX", "ROWS", "SQUARE"}
    cuts = {"DEGREE_LOG", "COLUMNS_LOG", "TILE_LOG", "RADIX_LOG", "NARROW"}
    assert set(device.manifest(program).defines) <= sizes | cuts


def test_variable_time_is_known_by_name() -> None:
    """What may not see a secret; the list is here once more, so that no kernel joins it unseen."""
    found = {
        f"{program}.{name}"
        for program in device.programs()
        for name, kernel in device.manifest(program).kernels.items()
        if not kernel.secret
    }
    assert found == {
        "buckets.keys_from_magnitudes",
        "buckets.rank",
        "buckets.scan",
        "buckets.scatter",
        "ceiling.copy",
        "ceiling.multiply_add_narrow",
        "ceiling.multiply_add_wide",
        "ceiling.multiply_high",
        "ceiling.triad",
        "ceiling_fp64.double_multiply_add",
        "integer.power_vartime",
        "segments.segment_chunks",
    }


def test_every_file_is_part_of_a_program() -> None:
    used = PRELUDES | {f"{program}.toml" for program in device.programs()} | {"__init__.py"}
    for program in device.programs():
        used |= included(f"{program}.c")
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == used


@pytest.mark.parametrize("dialect", device.DIALECTS)
def test_every_include_is_put_in_once(program: str, dialect: str) -> None:
    source = device.source(program, dialect)
    assert "#include" not in source
    for name in (f"prelude_{dialect}.h", *included(f"{program}.c")):
        assert source.count(f'#line 1 "{name}"\n') == 1
    assert source.startswith(f'#line 1 "prelude_{dialect}.h"\n')
