"""The examples of docs/encodings.md run and hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hecore import paillier

PAGE = Path(__file__).parents[2] / "docs" / "encodings.md"


@pytest.mark.usefixtures("on_reference")
def test_the_examples_hold(insecure_keys: tuple[paillier.PublicKey, paillier.SecretKey]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    public_key, secret_key = insecure_keys
    names: dict[str, Any] = {"paillier": paillier, "public_key": public_key, "secret_key": secret_key}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    x, y, z, half = (secret_key.decrypt(names[name]).tolist() for name in ("x", "y", "z", "half"))
    assert (x, y) == ([1.5, -2.25, 3.0], [3.0, -0.375])
    assert (z, half) == ([4.5, 9.0, 15.0], [0.75, -1.125, 1.5])
