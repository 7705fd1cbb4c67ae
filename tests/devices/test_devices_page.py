"""The examples and the tables of docs/devices.md hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hecore
from hecore.arith.modulus import Modulus
from hecore.backends import opencl, registry
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_shapes import geometries, geometry_for

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")


def numbers(text: str) -> list[int]:
    return [int(number.replace(" ", "")) for number in re.findall(r"\d[\d ]*", text)]


def facts(lanes: int) -> DeviceFacts:
    return DeviceFacts("", "", "", lanes=lanes, block=128, parallel=1 << 17, memory=1 << 36, largest=1 << 34)


def test_the_examples_print_what_they_say() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 1
    for example in examples:
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        said = re.findall(r"^print\(.*\)  # (.*)$", example, flags=re.MULTILINE)
        assert [re.sub(r"[\[\],\s]+", " ", line).strip() for line in done.stdout.splitlines()] == [
            re.sub(r"[\[\],\s]+", " ", line).strip() for line in said
        ]


def test_the_counts_are_those_of_the_geometries() -> None:
    """Five half-size products, four for a square, of W^2 wide multiply-adds; plain, two of twice the digits."""
    rows = re.findall(r"^\| (\d{4}) \|(.*)\|$", PAGE, re.MULTILINE)
    assert [int(bits) for bits, _ in rows] == [1024, 2048, 3072, 4096]
    for bits, row in rows:
        one, shape, product, square, plain = row.split("|")
        n = Modulus((1 << int(bits)) - 1)
        alone, together = (geometry_for(n, geometries(facts(lanes))) for lanes in (1, 32))
        twice = geometry_for(Modulus((1 << 2 * int(bits)) - 1), geometries(facts(32)))
        width = together.width
        assert numbers(one) == [alone.width]
        assert [int(part) for part in shape.split("×")] == [together.lanes, together.digits]
        assert numbers(product) == [5 * width**2]
        assert numbers(square) == [4 * width**2]
        assert numbers(plain) == [2 * twice.width**2]


def test_every_device_and_variable_is_named() -> None:
    for info in hecore.devices():
        assert f"| `{info.name}` |" in PAGE
    for variable in (registry.ENVIRONMENT_VARIABLE, opencl.ENVIRONMENT_VARIABLE, "HECORE_CUDA"):
        assert f"| `{variable}` |" in PAGE
