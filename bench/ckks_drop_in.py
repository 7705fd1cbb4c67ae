"""Rows about the drop-in: the same lines of TenSEAL code, once with hecore.compat.tenseal, once with the real one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from hecore.bench.ckks_peer import TensealPeer
from hecore.bench.ckks_plan import ParameterSet
from hecore.bench.ckks_workbench import TOLERANCE, CkksBench, Entry, Floats, values
from hecore.bench.contest import Case, NotApplicableError

Enter = Callable[[TensealPeer], Entry]
DROP_IN = "hecore.compat.tenseal"
INPUTS = 128


@cache
def _ours(parameters: ParameterSet) -> TensealPeer:
    return TensealPeer(parameters, module=DROP_IN)


def _case(
    bench: CkksBench, parameters: ParameterSet, enter: Enter, expected: Floats, calls: int, tolerance: float = TOLERANCE
) -> Case:
    if parameters.insecure:
        raise NotApplicableError("contexts of TenSEAL's are never insecure")
    return bench.case(enter(_ours(parameters)), expected, parameters, enter, calls=calls, tolerance=tolerance)


def drop_in_encrypt(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ckks_vector(context, plain tensor)."""
    a = values(parameters.slots, seed=30)

    def enter(peer: TensealPeer) -> Entry:
        plain = peer.plain(a)
        return Entry(lambda: peer.encrypt(plain), peer.decrypt)

    return _case(bench, parameters, enter, a, bench.plan.few_calls)


def drop_in_decrypt(bench: CkksBench, parameters: ParameterSet) -> Case:
    """vector.decrypt(), a list on both sides."""
    a = values(parameters.slots, seed=31)

    def enter(peer: TensealPeer) -> Entry:
        vector = peer.encrypt(a)
        return Entry(lambda: vector.decrypt(), np.array)

    return _case(bench, parameters, enter, a, bench.plan.few_calls)


def drop_in_multiply(bench: CkksBench, parameters: ParameterSet) -> Case:
    """vector * vector, relinearised and rescaled as the context says."""
    a, b = values(parameters.slots, seed=32), values(parameters.slots, seed=33)

    def enter(peer: TensealPeer) -> Entry:
        x, y = peer.encrypt(a), peer.encrypt(b)
        return Entry(lambda: x * y, peer.decrypt)

    return _case(bench, parameters, enter, a * b, bench.plan.few_calls)


def drop_in_dot(bench: CkksBench, parameters: ParameterSet) -> Case:
    """vector.dot(vector)."""
    a, b = values(parameters.slots, seed=34), values(parameters.slots, seed=35)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        x, y = peer.encrypt(a), peer.encrypt(b)
        return Entry(lambda: x.dot(y), peer.decrypt)

    tolerance = TOLERANCE * float(np.sqrt(a.size))
    return _case(bench, parameters, enter, np.array([a @ b]), max(1, bench.plan.few_calls // 4), tolerance)


def drop_in_matvec_128x128(bench: CkksBench, parameters: ParameterSet) -> Case:
    """vector.mm(plain tensor)."""
    a, matrix = values(INPUTS, seed=36), values((INPUTS, INPUTS), seed=37) / np.sqrt(INPUTS)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        vector, plain = peer.encrypt(a), peer.plain(matrix)
        return Entry(lambda: vector.mm(plain), peer.decrypt)

    return _case(bench, parameters, enter, a @ matrix, 1)
