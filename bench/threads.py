"""Rows that set two threads against one, on the same data, in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hecore.backends import registry
from hecore.bench import floor
from hecore.bench.contest import Case, Contestant, NotApplicableError
from hecore.bench.data import first_difference, signed_integers
from hecore.bench.results import Work
from hecore.bench.workbench import OURS, Workbench

ONE = "hecore one thread"


def encrypt_two_threads(bench: Workbench, key_bits: int) -> Case:
    """Public-key encryption."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "encrypt", key_bits), seed=70)

    def prepare() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        keys.prepare_public(registry.current())
        return lambda: keys.public.encrypt(values), keys.secret.decrypt

    return _case(bench, "value", values.size, values, prepare, floor.encrypt(key_bits))


def decrypt_two_threads(bench: Workbench, key_bits: int) -> Case:
    """Decryption."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "decrypt", key_bits), seed=71)

    def prepare() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        ciphertexts = keys.public.encrypt(values)
        return lambda: keys.secret.decrypt(ciphertexts), lambda result: result

    return _case(bench, "value", values.size, values, prepare, floor.decrypt(key_bits))


def matvec_two_threads(bench: Workbench, key_bits: int) -> Case:
    """Plain matrix @ encrypted vector."""
    keys, (outputs, terms) = bench.keys(key_bits), bench.plan.matrix
    weights, values = signed_integers((outputs, terms), seed=72), signed_integers(terms, seed=73)

    def prepare() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        x = keys.public.encrypt(values)
        return lambda: weights @ x, keys.secret.decrypt

    products = weights.astype(object) @ values.astype(object)
    return _case(bench, "term", weights.size, products, prepare, floor.matvec(key_bits, outputs, terms))


def _case(
    bench: Workbench,
    item: str,
    items: int,
    expected: Any,
    prepare: Callable[[], tuple[Callable[[], Any], Callable[[Any], Any]]],
    work: Work | None,
) -> Case:
    """`prepare` runs once on each backend and gives what to time and how to read its result."""
    if bench.plan.device != "cpu":
        raise NotApplicableError(f"threads are the cpu backend's, not {bench.plan.device}'s")
    if len(os.sched_getaffinity(0)) < 2:
        raise NotApplicableError("two threads need two cores, and this process may use one")
    from hecore.backends.cpu import CpuBackend

    def contestant(name: str, threads: int) -> Contestant:
        backend = CpuBackend(threads=threads)
        with registry.use(backend):
            timed, read = prepare()

        def run() -> Any:
            with registry.use(backend):
                return timed()

        return Contestant(name, items, run, lambda result: first_difference(read(result), expected), {}, threads)

    return Case(contestant(OURS, 2), item, (contestant(ONE, 1),), work=work)
