"""Fixtures of the array tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import hecore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def on_reference() -> Iterator[None]:
    """New arrays go to the reference backend: what is tested here is above the dispatch point."""
    with hecore.use("reference"):
        yield
