"""Counting homomorphic operations, for protocols that report their cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_counter: ContextVar[Counter[str] | None] = ContextVar("hecore_operations", default=None)


@contextmanager
def operation_counter() -> Iterator[Counter[str]]:
    """Counts the homomorphic operations of this context. Counters do not nest: an inner one counts for itself alone.

    Paillier counts values: encrypt, decrypt, rerandomize, add, plain_mul, matmul_terms. A sum of k values counts k - 1
    additions, a matrix product one term for each product it adds up.
    CKKS counts ciphertexts of full slots: encrypt, decrypt, add, multiply, multiply_plain, key_switch, rescale.
    """
    counts: Counter[str] = Counter()
    token = _counter.set(counts)
    try:
        yield counts
    finally:
        _counter.reset(token)


def count(operation: str, amount: int) -> None:
    """Add to the counter of this context, where there is one."""
    counts = _counter.get()
    if counts is not None:
        counts[operation] += amount
