"""Run by test_valgrind.py: the portable kernels on secrets that memcheck has been told are undefined.

`fill` compiles everything into the cache, on the bare machine; `secrets` and `plant` then run under valgrind from that
cache, since compiling there would take an hour. Valgrind shows another processor than the machine's, so the cache
folder's name must not depend on it: here it is fixed, and NUMBA_CPU_NAME=generic makes the code fit both.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.kernels.cpu import cache

cache.source_digest = lambda: "valgrind"  # type: ignore[assignment]

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints  # noqa: E402
from hecore.arith.modulus import CrtModulus  # noqa: E402
from hecore.kernels.cpu import crt as crt_kernels  # noqa: E402
from hecore.kernels.cpu import elements, multi  # noqa: E402
from hecore.kernels.cpu.context import context_for, empty_vectors, make_crt_context  # noqa: E402
from hecore.kernels.cpu.engine import Engine  # noqa: E402
from hecore.kernels.cpu.vector import LANES, peek  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

BITS = 60


class Marks:
    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.hidden.restype = ctypes.c_size_t
        self.valgrind = bool(self._library.running())

    def _call(self, name: str, array: Words) -> int:
        assert array.flags.c_contiguous
        function = getattr(self._library, name)
        return int(function(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)) or 0)

    def hide(self, array: Words) -> Words:
        self._call("hide", array)
        return array

    def reveal(self, array: Words) -> Words:
        """Before anything looks at a result: memcheck must have seen the secret flow into it."""
        array = np.ascontiguousarray(array)
        if self.valgrind:
            assert self._call("hidden", array) > 0, "no secret reached this result"
        self._call("reveal", array)
        return array


def secrets(marks: Marks) -> None:
    """Every operation that the protocol calls constant time, on a key far too small to be one."""
    engine = Engine(1)
    crt = CrtModulus((1 << 61) - 1, (1 << 89) - 1)
    n, square = crt.n.value, crt.n_squared.value
    context = context_for(crt.n_squared)
    values, exponents, messages = [3, n + 5, square - 1], [0, (1 << BITS) - 1, 0x123456789ABCDEF], [0, n - 1, 77]
    rows = engine.import_rows(context, marks.hide(limbs_from_ints(values, crt.n_squared.limbs)))

    def shown(result: Words) -> list[int]:
        return ints_from_limbs(marks.reveal(engine.export_rows(context, result, crt.n_squared.limbs)))

    assert shown(rows) == values
    assert shown(engine.multiply(context, rows, np.array(rows))) == [x * x % square for x in values]
    assert shown(engine.multiply(context, rows, rows)) == [x * x % square for x in values]

    hidden = marks.hide(limbs_from_ints(exponents, 1))
    powers = engine.power(context, rows, hidden, BITS, whole=True)
    assert shown(powers) == [pow(x, e, square) for x, e in zip(values, exponents, strict=True)]

    window = engine.table_window(context, BITS, 1)
    table = engine.fixed_base_table(context, 5, BITS, window)
    powers = engine.fixed_base_power(context, table, window, hidden, BITS)
    assert shown(powers) == [pow(5, e, square) for e in exponents]

    plain = marks.hide(limbs_from_ints(messages, crt.n.limbs))
    ciphertexts = engine.encode(context, plain, powers)
    expected = [(1 + m * n) * pow(5, e, square) % square for m, e in zip(messages, exponents, strict=True)]
    assert shown(ciphertexts) == expected

    negative = np.zeros((1, 3), dtype=np.bool_)
    weights = marks.hide(limbs_from_ints(exponents, 1)).reshape(1, 3, 1)
    product = multi._straus(engine, context, rows, weights, negative, BITS)
    total = 1
    for x, e in zip(values, exponents, strict=True):
        total = total * pow(x, e, square) % square
    assert shown(product) == [total]

    decrypt(marks, engine, crt, messages)


def decrypt(marks: Marks, engine: Engine, crt: CrtModulus, messages: list[int]) -> None:
    """The pieces of decryption and of the lift, with every constant of the secret key hidden."""
    n, square = crt.n.value, crt.n_squared.value
    fresh = [(1 + m * n) * pow(7 + m, n, square) % square for m in messages]
    keys = make_crt_context(crt)
    public = context_for(crt.n_squared)
    rows = engine.import_rows(public, limbs_from_ints(fresh, crt.n_squared.limbs))
    for half in (keys.p, keys.q):
        marks.hide(half.constants)
        marks.hide(half.to0)
        marks.hide(half.to1)
    factors = (keys.lift, keys.reduce_p, keys.reduce_q, keys.h_p, keys.h_q, keys.p_inverse, keys.q_multiple)
    for array in (*factors, keys.digits, keys.weights_p, keys.weights_q):
        marks.hide(array)
    halves = [
        crt_kernels._reduce(engine, public, target, constants, rows)
        for target, constants in ((keys.p, keys.reduce_p), (keys.q, keys.reduce_q))
    ]
    lifted = crt_kernels.lift(engine, keys, *halves)
    assert ints_from_limbs(marks.reveal(engine.export_rows(public, lifted, crt.n_squared.limbs))) == fresh
    powers = [
        crt_kernels._powers(engine, keys, rows, marks.hide(keys.digits[:, h].copy()), weights, half.constants)
        for h, (rows, weights, half) in enumerate(
            zip(halves, (keys.weights_p, keys.weights_q), (keys.p, keys.q), strict=True)
        )
    ]
    found = crt_kernels._decode(engine, keys, powers[0], powers[1], crt.n.limbs)
    assert ints_from_limbs(marks.reveal(found)) == messages


@cache.kernel
def leak(a: Any) -> int:
    """What the lane exists to catch: a jump on a digit."""
    if peek(a.ctypes.data) > np.uint64(1000):
        elements.normalise(a.ctypes.data, a.ctypes.data, 1)
    return 0


def plant(marks: Marks) -> None:
    digits = empty_vectors(LANES)
    digits[:] = 5
    leak(marks.hide(digits))


def main() -> None:
    job, library = sys.argv[1:]
    assert LANES == 1, "this run is for the portable path"
    marks = Marks(library)
    assert marks.valgrind == (job != "fill")
    if job in ("fill", "secrets"):
        secrets(marks)
    if job in ("fill", "plant"):
        plant(marks)
    assert job == "fill" or all(function.cache_hits for function in cache._published), "compiled under valgrind"
    sys.stdout.write(f"done {job}\n")


if __name__ == "__main__":
    main()
