"""Progress for whoever looks at a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import argparse


class Progress:
    """One bar on a terminal's standard error, redrawn ten times a second and wiped at the end; else silent."""

    def __init__(self, arguments: argparse.Namespace, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._active = not arguments.quiet and self._stream.isatty()
        self._drawn = 0.0
        self._what = ""
        self._start = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, what: str, done: int, total: int) -> None:
        """`done` of `total` steps of `what` are behind us."""
        now = time.monotonic()
        if what != self._what:
            if self._what:
                self._start = now
            self._what = what
        if not self._active or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        filled = 30 * done // total
        left = (now - self._start) * (total - done) / done if done else 0.0
        self._stream.write(f"\r\x1b[K{what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}, {left:.0f} s left")
        self._stream.flush()
