"""The CPU backend: `IntegerBackend` over the Numba kernels, with threads of its own.

Residues lie element-major in Montgomery form, radix 2^52; modulo a square n^2 as x0 + x1*n. Everything the protocol
calls constant time runs in vector registers with tables read whole; conversions between host limbs and digits are
shifts and masks.
"""

from __future__ import annotations

import math
import platform
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.arith.random import random_limbs
from hecore.backends import checks
from hecore.backends.cpu_ring import CpuRing
from hecore.backends.protocol import ExponentArray, FixedBaseTable, ResidueArray
from hecore.errors import NotInvertibleError
from hecore.kernels.cpu import crt as crt_kernels
from hecore.kernels.cpu import multi
from hecore.kernels.cpu.context import CrtContext, context_for, empty_rows, make_crt_context
from hecore.kernels.cpu.engine import Engine
from hecore.kernels.cpu.vector import IFMA
from hecore.kernels.cpu.workers import thread_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.protocol import Indices, Limbs
    from hecore.kernels.cpu.engine import Rows


def cpu_name() -> str:
    """The processor in words."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


class CpuBackend(CpuRing):
    """`ResidueArray.data` is (size, words) uint64 rows; `threads` defaults to HECORE_THREADS or the CPUs at hand."""

    name = "cpu"
    simulated = False

    def __init__(self, threads: int | None = None) -> None:
        self._engine = Engine(thread_count() if threads is None else threads)
        self._workers = self._engine.workers
        self._crt: WeakKeyDictionary[CrtModulus, CrtContext] = WeakKeyDictionary()

    @cached_property
    def device(self) -> str:
        path = "AVX-512 IFMA" if IFMA else "portable"
        threads = self._engine.workers.threads
        return f"{cpu_name()} ({path}, {threads} thread{'s' if threads > 1 else ''})"

    def __repr__(self) -> str:
        return f"<CpuBackend {self.device}>"

    # -- transport ---------------------------------------------------------------------------------------

    def upload(self, limbs: Limbs, modulus: Modulus) -> ResidueArray:
        shape = checks.check_host_limbs(limbs, modulus)
        rows = self._engine.import_rows(context_for(modulus), limbs.reshape(-1, modulus.limbs))
        return self._array(rows, modulus, shape)

    def download(self, a: ResidueArray) -> Limbs:
        checks.check_owned(self, a)
        limbs = self._engine.export_rows(context_for(a.modulus), a.data, a.modulus.limbs)
        return limbs.reshape(*a.shape, a.modulus.limbs)

    def synchronize(self) -> None:
        """Nothing to wait for: every operation has finished when it returns."""

    def take(self, a: ResidueArray, indices: Indices) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        out = empty_rows(indices.size, a.data.shape[1])
        if indices.size:
            np.take(a.data, indices.ravel(), axis=0, out=out, mode="clip")  # "clip" writes straight into `out`
        return self._array(out, a.modulus, indices.shape)

    def concatenate(self, arrays: Sequence[ResidueArray]) -> ResidueArray:
        checks.check_concatenate(self, arrays)
        rows = empty_rows(sum(a.size for a in arrays), arrays[0].data.shape[1])
        np.concatenate([a.data for a in arrays], out=rows)
        return self._array(rows, arrays[0].modulus, (len(rows),))

    def collect(self, chunks: Iterable[ResidueArray], size: int) -> ResidueArray:
        rows: Rows | None = None
        modulus: Modulus | None = None
        at = 0
        for chunk in chunks:
            checks.check_chunk(self, chunk, chunk.modulus if modulus is None else modulus, at, size)
            if modulus is None or rows is None:
                modulus, rows = chunk.modulus, empty_rows(size, chunk.data.shape[1])
            rows[at : at + chunk.size] = chunk.data
            at += chunk.size
        checks.check_collected(at, size, any_chunk=modulus is not None)
        assert modulus is not None  # for mypy: checked above
        assert rows is not None
        return self._array(rows, modulus, (size,))

    def reshape(self, a: ResidueArray, shape: tuple[int, ...]) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return self._array(a.data, a.modulus, shape)

    def random_exponents(self, shape: tuple[int, ...], bits: int) -> ExponentArray:
        checks.check_bits(bits)
        return ExponentArray(random_limbs(math.prod(shape), bits).reshape(*shape, limbs_for_bits(bits)), bits)

    # -- arithmetic --------------------------------------------------------------------------------------

    def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
        checks.check_pair(self, a, b)
        return self._array(self._engine.multiply(context_for(a.modulus), a.data, b.data), a.modulus, a.shape)

    def mod_exp(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        return self._power(a, exponents, whole=True)

    def mod_exp_vartime(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        return self._power(a, exponents, whole=False)

    def _power(self, a: ResidueArray, exponents: ExponentArray, *, whole: bool) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_exponents_for(a, exponents)
        limbs = exponents.limbs.reshape(-1, exponents.limbs.shape[-1])
        rows = self._engine.power(context_for(a.modulus), a.data, limbs, exponents.bits, whole=whole)
        return self._array(rows, a.modulus, a.shape)

    def fixed_base_table(
        self, base: int, modulus: Modulus, exponent_bits: int, *, memory_budget: int | None = None
    ) -> FixedBaseTable:
        """See the protocol; the smallest table has four-bit windows, whatever the budget."""
        checks.check_fixed_base(base, modulus, exponent_bits, memory_budget)
        context = context_for(modulus)
        window = self._engine.table_window(context, exponent_bits, memory_budget)
        table = self._engine.fixed_base_table(context, base, exponent_bits, window)
        return FixedBaseTable(self, modulus, exponent_bits, table.nbytes, (table, window))

    def fixed_base_exp(self, table: FixedBaseTable, exponents: ExponentArray) -> ResidueArray:
        checks.check_owned(self, table)
        checks.check_table_exponents(table, exponents)
        entries, window = table.data
        limbs = exponents.limbs.reshape(-1, exponents.limbs.shape[-1])
        rows = self._engine.fixed_base_power(context_for(table.modulus), entries, window, limbs, exponents.bits)
        return self._array(rows, table.modulus, exponents.shape)

    def multi_exp(
        self,
        bases: ResidueArray,
        magnitudes: Limbs,
        negative: NDArray[np.bool_] | None,
        bits: int,
        *,
        constant_time: bool = False,
        most: int | None = None,
    ) -> ResidueArray:
        checks.check_owned(self, bases)
        m, _ = checks.check_multi_exp(bases, magnitudes, negative, bits, most)
        context = context_for(bases.modulus)
        rows = multi.multi_exp(self._engine, context, bases.data, magnitudes, negative, bits, constant_time, most)
        return self._array(rows, bases.modulus, (m,))

    def product(self, a: ResidueArray) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_last_axis(a)
        context, shape, count = context_for(a.modulus), a.shape[:-1], a.shape[-1]
        if a.size == 0:
            return self._array(self._engine.ones(context, math.prod(shape)), a.modulus, shape)
        rows = self._engine.product(context, a.data.reshape(-1, count, context.row_words))
        return self._array(np.ascontiguousarray(rows), a.modulus, shape)

    def segment_product(self, a: ResidueArray, segments: Indices, count: int) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_segments(a, segments, count)
        rows = multi.segment_product(self._engine, context_for(a.modulus), a.data, segments, count)
        return self._array(rows, a.modulus, (count,))

    def batch_invert(self, a: ResidueArray) -> ResidueArray:
        checks.check_owned(self, a)
        try:
            rows = self._engine.invert(context_for(a.modulus), a.data)
        except NotInvertibleError as error:
            message = checks.not_invertible_message(error.indices, a.size)
            raise NotInvertibleError(message, error.indices) from None
        return self._array(rows, a.modulus, a.shape)

    def gcd_is_one(self, a: ResidueArray) -> NDArray[np.bool_]:
        checks.check_owned(self, a)
        if a.size == 0:
            return np.ones(a.shape, dtype=np.bool_)
        context = context_for(a.modulus)
        return self._engine.units(context, self._engine.product_tree(context, a.data)).reshape(a.shape)

    # -- Paillier's moduli n^2, p^2, q^2 -----------------------------------------------------------------

    def reduce(self, a: ResidueArray, modulus: Modulus) -> ResidueArray:
        """Between squares of similar length (n^2 to p^2) by the kernel; any other divisor through host integers."""
        checks.check_owned(self, a)
        checks.check_divides(a, modulus)
        source, target = context_for(a.modulus), context_for(modulus)
        if crt_kernels.can_reduce(source, target):
            rows = crt_kernels.reduce(self._engine, source, target, a.data)
        else:
            values = [x % modulus.value for x in ints_from_limbs(self.download(a))]
            rows = self._engine.import_rows(target, limbs_from_ints(values, modulus.limbs))
        return self._array(rows, modulus, a.shape)

    def lift(
        self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus, messages: Limbs | None = None
    ) -> ResidueArray:
        checks.check_lift(self, a_p, a_q, crt, messages)
        flat = None if messages is None else messages.reshape(-1, crt.n.limbs)
        rows = crt_kernels.lift(self._engine, self._crt_context(crt), a_p.data, a_q.data, flat)
        return self._array(rows, crt.n_squared, a_p.shape)

    def encode(self, messages: Limbs, modulus: Modulus, times: ResidueArray | None = None) -> ResidueArray:
        root, shape = checks.check_encode(self, messages, modulus, times)
        flat = messages.reshape(-1, root.limbs)
        rows = self._engine.encode(context_for(modulus), flat, None if times is None else times.data)
        return self._array(rows, modulus, shape)

    def decode(self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_crt_halves(self, a_p, a_q, crt)
        limbs = crt_kernels.decode(self._engine, self._crt_context(crt), a_p.data, a_q.data, crt.n.limbs)
        return limbs.reshape(*a_p.shape, crt.n.limbs)

    def decrypt(self, a: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_owned(self, a)
        checks.check_modulus(a, crt.n_squared)
        limbs = crt_kernels.decrypt(self._engine, self._crt_context(crt), crt, a.data)
        return limbs.reshape(*a.shape, crt.n.limbs)

    def decrypt_bounded(self, a: ResidueArray, crt: CrtModulus, bound: int) -> Limbs:
        checks.check_bounded(self, a, crt, bound)
        limbs = crt_kernels.decrypt_bounded(self._engine, self._crt_context(crt), crt, a.data, bound)
        return limbs.reshape(*a.shape, limbs.shape[1])

    def _array(self, rows: Rows, modulus: Modulus, shape: tuple[int, ...]) -> ResidueArray:
        return ResidueArray(self, modulus, shape, rows)

    def _crt_context(self, crt: CrtModulus) -> CrtContext:
        """Constants of a secret key, kept as long as the key."""
        found = self._crt.get(crt)
        if found is None:
            found = self._crt[crt] = make_crt_context(crt)
        return found
