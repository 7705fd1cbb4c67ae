"""Whatever the bytes, the readers of `hecore.compat.tenseal` return, or raise an error of hecore's tree.

The SEAL objects and messages inside have targets of their own (tests/fuzz); here it is what stands around them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import numpy as np
import pytest

from hecore.compat import tenseal as ts
from hecore.errors import HecoreError

ROUNDS = 120
Reader = Callable[[bytes], object]


@pytest.fixture(scope="module")
def context() -> ts.Context:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[30, 30])
    context.global_scale = 2.0**20
    return context


@pytest.fixture(scope="module")
def readers(context: ts.Context) -> dict[str, tuple[Reader, bytes]]:
    return {
        "context": (ts.context_from, context.serialize(save_relin_keys=False)),
        "vector": (lambda data: ts.ckks_vector_from(context, data), ts.ckks_vector(context, [1, 2]).serialize()),
        "tensor": (lambda data: ts.ckks_tensor_from(context, data), ts.ckks_tensor(context, [1, 2]).serialize()),
        "plain": (ts.plain_tensor_from, ts.plain_tensor([[1, 2.5], [3, 4]]).serialize()),
    }


def altered(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, most of them near the ends, where the fields are; or a part cut out or doubled."""
    out = bytearray(data)
    ends = [*range(min(120, len(out))), *range(max(0, len(out) - 60), len(out))]
    for _ in range(int(rng.integers(1, 4))):
        where = int(rng.choice(ends)) if rng.random() < 0.8 else int(rng.integers(len(out)))
        out[where] = int(rng.integers(256))
    start, stop = sorted(int(i) for i in rng.integers(0, len(out), 2))
    kind = rng.integers(6)
    if kind == 0:
        del out[start:stop]
    elif kind == 1:
        out[start:start] = out[start : min(stop, start + 100)]
    elif kind == 2:
        del out[start:]
    return bytes(out)


@pytest.mark.parametrize("name", ["context", "vector", "tensor", "plain"])
def test_altered_bytes(readers: dict[str, tuple[Reader, bytes]], name: str) -> None:
    read, data = readers[name]
    rng = np.random.default_rng(int(os.environ.get("HECORE_FUZZ_SEED", "7")))
    assert read(data) is not None
    refused = 0
    for _ in range(ROUNDS):
        try:
            read(altered(data, rng))
        except HecoreError:
            refused += 1
    assert refused > ROUNDS // 4


@pytest.mark.parametrize("name", ["context", "vector", "tensor", "plain"])
def test_noise(readers: dict[str, tuple[Reader, bytes]], name: str) -> None:
    read, _ = readers[name]
    rng = np.random.default_rng(3)
    for length in range(60):
        with contextlib.suppress(HecoreError):
            read(rng.bytes(length))
