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
from hecore.arith.rns import RnsBasis, ntt_primes  # noqa: E402
from hecore.backends.cpu import CpuBackend  # noqa: E402
from hecore.backends.reference import ReferenceBackend  # noqa: E402
from hecore.kernels.cpu import crt as crt_kernels  # noqa: E402
from hecore.kernels.cpu import elements, multi  # noqa: E402
from hecore.kernels.cpu.context import (  # noqa: E402
    broadcast,
    context_for,
    digits_of,
    empty_vectors,
    make_crt_context,
)
from hecore.kernels.cpu.engine import Engine  # noqa: E402
from hecore.kernels.cpu.vector import LANES, peek  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.ring_protocol import Backend

    Words = NDArray[np.uint64]

BITS = 60


class Marks:
    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.hidden.restype = ctypes.c_size_t
        self.valgrind = bool(self._library.running())

    def _call(self, name: str, array: NDArray[Any]) -> int:
        assert array.flags.c_contiguous
        function = getattr(self._library, name)
        return int(function(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)) or 0)

    def hide(self, array: NDArray[Any]) -> NDArray[Any]:
        self._call("hide", array)
        return array

    def reveal(self, array: NDArray[Any]) -> NDArray[Any]:
        """Before anything looks at a result: memcheck must have seen the secret flow into it."""
        array = np.ascontiguousarray(array)
        if self.valgrind:
            assert self._call("hidden", array) > 0, "no secret reached this result"
        self._call("reveal", array)
        return array


class Unmarked(Marks):
    """For the reference, which is not judged."""

    def __init__(self) -> None:
        self.valgrind = False

    def _call(self, name: str, array: NDArray[Any]) -> int:
        return 0


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
    factors = (
        keys.shares,
        keys.lift,
        keys.reduce_p,
        keys.reduce_q,
        keys.h_p,
        keys.h_q,
        keys.p_inverse,
        keys.q_multiple,
    )
    for array in (*factors, keys.digits, keys.weights_p, keys.weights_q):
        marks.hide(array)
    halves = [
        crt_kernels._reduce(engine, public, target, constants, rows)
        for target, constants in ((keys.p, keys.reduce_p), (keys.q, keys.reduce_q))
    ]
    lifted = crt_kernels.lift(engine, keys, *halves)
    assert ints_from_limbs(marks.reveal(engine.export_rows(public, lifted, crt.n_squared.limbs))) == fresh
    sums = [(1 + m * n) * c % square for m, c in zip(messages, fresh, strict=True)]
    hidden = marks.hide(limbs_from_ints(messages, crt.n.limbs))
    lifted = crt_kernels.lift(engine, keys, halves[0], halves[1], hidden)
    assert ints_from_limbs(marks.reveal(engine.export_rows(public, lifted, crt.n_squared.limbs))) == sums
    powers = [
        crt_kernels._powers(engine, keys, rows, marks.hide(keys.digits[:, h].copy()), weights, half.constants)
        for h, (rows, weights, half) in enumerate(
            zip(halves, (keys.weights_p, keys.weights_q), (keys.p, keys.q), strict=True)
        )
    ]
    found = crt_kernels._decode(engine, keys, powers[0], powers[1], crt.n.limbs)
    assert ints_from_limbs(marks.reveal(found)) == messages
    shift = broadcast(digits_of(5, keys.p.length))
    found = crt_kernels._decode_bounded(engine, keys, powers[0], shift, crt.n.limbs)
    assert ints_from_limbs(marks.reveal(found)) == [(m + 5) % crt.p for m in messages]


def ring(marks: Marks, backend: Backend) -> list[NDArray[Any]]:
    """Every operation on polynomials, from hidden coefficients; results revealed."""
    basis, special = RnsBasis(16, ntt_primes(16, [60, 45, 40])), RnsBasis(16, ntt_primes(16, [59]))
    digits, shown = [(0, 1), (1, 3)], []
    signed = np.array([5, -7, 0, 1 << 62, *range(-6, 6)], dtype=np.int64)
    wide, negative = np.arange(32, dtype=np.uint64).reshape(16, 2), np.arange(16) % 3 == 0
    a = backend.ring_encode(marks.hide(np.stack([signed, signed[::-1]])), basis, ntt=True)
    b = backend.ring_encode_wide(marks.hide(wide), marks.hide(negative), basis, ntt=True)
    coefficients, pairs = backend.intt(a), backend.ring_reshape(backend.ring_concatenate([a, a]), (2, 2))
    keys = backend.decompose(a, digits, special)
    switched = backend.decompose_mul_accumulate(a, digits, special, keys)
    polynomials = [
        coefficients,
        backend.residue_add(a, b),
        backend.residue_sub(a, b),
        backend.residue_negate(a),
        backend.residue_mul(a, b),
        backend.residue_mul_accumulate(a, a),
        backend.residue_scale(a, [1, 2, 3]),
        backend.residue_shift(a, [1, 2, 3]),
        backend.residue_shift(coefficients, [1, 2, 3]),
        backend.tensor_product(a, a),
        backend.automorphism(a, 5),
        backend.automorphism(coefficients, 5),
        backend.automorphism_sum(pairs, [3, 5]),
        backend.base_convert(coefficients, special, exact=False),
        backend.base_convert(coefficients, special, exact=True),
        backend.divide_round(a, 1),
        backend.divide_round(a, 2),
        backend.divide_round(coefficients, 1),
        backend.divide_round(switched, 2, plus=backend.ring_moduli(pairs, [0, 1])),
        keys,
        switched,
    ]
    shown += [marks.reveal(backend.ring_download(polynomial)) for polynomial in polynomials]
    return shown + [marks.reveal(part) for part in backend.ring_decode(a)]


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
        results = ring(marks, CpuBackend(1))
        nothing_to_hide = ring(Unmarked(), ReferenceBackend())
        assert all(map(np.array_equal, results, nothing_to_hide))
    if job in ("fill", "plant"):
        plant(marks)
    assert job == "fill" or all(function.cache_hits for function in cache._published), "compiled under valgrind"
    sys.stdout.write(f"done {job}\n")


if __name__ == "__main__":
    main()
