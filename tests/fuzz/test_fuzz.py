"""Each parser of foreign bytes on its corpus, then on mutations of it for HECORE_FUZZ_SECONDS (1 a parser).

A failure names HECORE_FUZZ_SEED, which makes the same inputs again, and the bytes to add to tests/fuzz/corpus.
"""

from __future__ import annotations

import os
import secrets
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

import hecore
from hecore import wire
from tests.fuzz.ckks_targets import compile_kernels
from tests.fuzz.harness import FIXED_BYTES, PROCESSOR_SECONDS, FindingError, check, corpus, fuzz
from tests.fuzz.mutate import change_bytes, mend_frame
from tests.fuzz.targets import CORPUS, TARGETS, Target

SECONDS = float(os.environ.get("HECORE_FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("HECORE_FUZZ_SEED") or secrets.randbits(32))


@pytest.fixture(autouse=True, scope="module")
def on_reference() -> Iterator[None]:
    with hecore.use("reference"):
        compile_kernels()
        yield


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == set(TARGETS)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    """Files called bad-* are refused, all others are read."""
    files = corpus(name)
    assert files
    for file, data in files.items():
        assert check(TARGETS[name], data) is not file.startswith("bad-") or TARGETS[name].write is None, file


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    tried, _ = fuzz(name, TARGETS[name], list(corpus(name).values()), SEED, SECONDS)
    assert tried > 0


def test_mutated_frames_get_past_the_checksum() -> None:
    """Otherwise the fuzzer tests the checksum alone."""
    for name in ("array", "packed", "public_key", "secret_key"):
        for data in corpus(name).values():
            at = wire.HEADER_BYTES
            changed = mend_frame(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert changed != data
            wire.read_frame(changed)
    assert fuzz("array", TARGETS["array"], list(corpus("array").values()), 1, 0.3)[1] > 0


# -- the harness finds what is planted -------------------------------------------------------------------


def _index_error(data: bytes) -> bytes:
    return data[: data[2]]


def _deep(data: bytes) -> bytes:
    return _deep(data) if data[:1] != b"h" else data


def _hungry(data: bytes) -> bytes:
    return bytes(FIXED_BYTES + (1 << 20))[:0] if len(data) < 4 else data


def _slow(data: bytes) -> bytes:
    stop = time.process_time() + 1.1 * PROCESSOR_SECONDS
    while len(data) < 4 and time.process_time() < stop:
        pass
    return data


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (_index_error, "IndexError"),
        (_deep, "RecursionError"),
        (_hungry, "bytes of memory"),
        (_slow, "seconds for"),
    ],
)
def test_a_planted_bug_is_found(read: object, problem: str) -> None:
    target = Target(read, lambda value: b"hello", change_bytes, lambda a, b: True)  # type: ignore[arg-type]
    with pytest.raises(FindingError, match=f"planted, input [0-9]+ of HECORE_FUZZ_SEED=7: .*{problem}"):
        fuzz("planted", target, [b"hello"], 7, 30)


def test_what_does_not_come_back_is_found() -> None:
    target = Target(bytes, lambda data: data[:3], change_bytes)
    with pytest.raises(FindingError, match="comes back as another"):
        fuzz("planted", target, [b"hello"], 7, 30)
    broken = replace(target, write=lambda data: bytes([data[99]]))
    with pytest.raises(FindingError, match="does not come back: IndexError"):
        fuzz("planted", broken, [b"hello"], 7, 30)


def test_a_seed_makes_the_same_inputs_again() -> None:
    runs: list[list[bytes]] = [[], []]
    for run in runs:
        fuzz("recorded", Target(run.append, None, change_bytes), [b"hello", b"world"], 7, 0.05)
    shortest = min(len(run) for run in runs)
    assert shortest > 10
    assert runs[0][:shortest] == runs[1][:shortest]
