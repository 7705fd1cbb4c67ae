"""The property that every parser must have, and the loop that looks for bytes without it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from hecore.errors import HecoreError
from tests.fuzz.mutate import hostile
from tests.fuzz.targets import CORPUS, Target

FIXED_BYTES = 64 << 20
BYTES_PER_BYTE = 8
PROCESSOR_SECONDS = 1.0


class FindingError(AssertionError):
    """A parser did with some bytes what no parser may do."""


def corpus(name: str) -> dict[str, bytes]:
    """File name -> bytes, of one target."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


def check(target: Target, data: bytes) -> bool:
    """Whether the parser took the bytes.

    Raises FindingError unless it did and what it made is written and read again as an equal object, or it raised a
    HecoreError; either way within FIXED_BYTES + BYTES_PER_BYTE * len(data) of traced memory and PROCESSOR_SECONDS.
    """
    tracemalloc.reset_peak()
    before, start = tracemalloc.get_traced_memory()[0], time.process_time()
    try:
        value = target.read(data)
    except HecoreError:
        accepted = False
    except Exception as error:  # whatever it is, it is the finding
        raise FindingError(f"raised {type(error).__name__}: {error}") from error
    else:
        accepted = True
    used, took = tracemalloc.get_traced_memory()[1] - before, time.process_time() - start
    if took > PROCESSOR_SECONDS:
        raise FindingError(f"took {took:.1f} seconds for {len(data)} bytes of input")
    if used > FIXED_BYTES + BYTES_PER_BYTE * len(data):
        raise FindingError(f"took {used} bytes of memory for {len(data)} bytes of input")
    if accepted and target.write is not None:
        try:
            again = target.read(target.write(value))
        except Exception as error:
            raise FindingError(f"what it accepted does not come back: {type(error).__name__}: {error}") from error
        if not target.same(again, value):
            raise FindingError("what it accepted comes back as another")
    return accepted


def fuzz(name: str, target: Target, seeds: Sequence[bytes], seed: int, seconds: float) -> tuple[int, int]:
    """Inputs tried and accepted in that time. The sequence of inputs depends on name, seed and corpus alone."""
    rng = np.random.default_rng([seed, crc32(name.encode())])
    tried = accepted = 0
    stop = time.monotonic() + seconds
    tracemalloc.start()
    try:
        while tried == 0 or time.monotonic() < stop:
            data = hostile(seeds, rng, target.mutation)
            tried += 1
            try:
                accepted += check(target, data)
            except FindingError as finding:
                shown = data.hex() if len(data) <= 2048 else f"{data[:2048].hex()}... ({len(data)} bytes)"
                raise FindingError(
                    f"{name}, input {tried} of HECORE_FUZZ_SEED={seed}: {finding}\nadd to its corpus: {shown}"
                ) from finding
    finally:
        tracemalloc.stop()
    return tried, accepted
