"""Foreign bytes as tables: numbers or a typed error."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.errors import HecoreError
from hecore.tables import read_table


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_a_table_or_an_error(data: bytes, integers: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("table.csv", "table.npy"):
            path = Path(folder, name)
            path.write_bytes(data if name.endswith("csv") else b"\x93NUMPY\x01\x00" + data)
            with contextlib.suppress(HecoreError):
                assert read_table(path, integers=integers).size
