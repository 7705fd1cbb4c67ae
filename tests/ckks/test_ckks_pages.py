"""The examples and the tables of docs/ckks.md and docs/public-results.md hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hecore.ckks import embedding, noise
from hecore.ckks.params import Parameters
from hecore.ckks.public_decryption import surviving_bits
from hecore.ckks.security import max_modulus_bits

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "count"), [("ckks.md", 3), ("public-results.md", 2)])
def test_the_examples_hold(page: str, count: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == count
    names: dict[str, Any] = {}
    for block in blocks:  # as a reader runs them, one after the other
        exec(compile(block, page, "exec"), names)


def test_the_security_table() -> None:
    rows = re.findall(r"^\| bits at (\d+) \|(.*)\|$", (DOCS / "ckks.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [level for level, _ in rows] == ["128", "192", "256"]
    for level, cells in rows:
        limits = [0 if cell.strip() == "–" else int(cell) for cell in cells.split("|")]
        assert limits == [max_modulus_bits(1 << i, int(level)) for i in range(10, 18)]


def test_the_table_of_surviving_bits() -> None:
    """Recomputed: ten fresh ciphertexts of values up to 1, for n numbers."""
    page = (DOCS / "public-results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (symmetric|public key) \| (\d+) \| \[(.*?)\] \| 2\^(\d+) \|(.*)\|$", page, re.MULTILINE)
    assert len(rows) == 7
    for encryption, degree, moduli, scale, cells in rows:
        parameters = Parameters(
            ring_degree=int(degree), moduli_bits=[int(x) for x in moduli.split(",")], scale=2 ** int(scale)
        )
        unit = embedding.unit_roundoff(parameters.scale)
        fresh = noise.fresh_symmetric if encryption == "symmetric" else noise.fresh_public
        total = 10 * (fresh(parameters) + noise.encoding(parameters, 1.0, parameters.scale, unit))
        error = total / float(parameters.scale) + noise.transform_error(parameters.ring_degree, 10.0, unit)
        assert [int(cell) for cell in cells.split("|")] == [surviving_bits(error, n) for n in (1, 4096, 10**6)]
