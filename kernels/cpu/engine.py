"""Host side of the kernels: arithmetic on rows of residues (see batch.py), cut over threads.

A row array is (count, context.row_words) uint64 in Montgomery form. Nothing here checks operands; `backends.cpu`
has done so.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import gcd, invert, powmod
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.errors import NotInvertibleError, ParameterError
from hecore.kernels.cpu import batch, lookup, power, single
from hecore.kernels.cpu.context import Context, empty_rows, empty_vectors, scratch_vectors
from hecore.kernels.cpu.elements import PLAIN
from hecore.kernels.cpu.vector import DIGIT_BITS, IFMA, LANES, VECTOR_BYTES
from hecore.kernels.cpu.workers import Workers

Rows = NDArray[np.uint64]
Limbs = NDArray[np.uint64]

DEFAULT_TABLE_BYTES = 96 << 20
# A wider window saves products and costs table reads: of 512 entries, by permutes, 15 % of the time of the powers
# under an own 2048-bit key; the portable scan of 64 entries takes about a quarter of a product.
TABLE_WINDOWS = range(9, 3, -1) if IFMA else range(6, 3, -1)


_scratch_size = cache(batch.scratch_size)


def groups_of(count: int) -> int:
    return -(-count // LANES)


def window_digits(limbs: Limbs, bits: int, window: int) -> NDArray[np.uint64]:
    """(N, e) limbs -> (windows, N) digits of `window` <= 52 bits, least significant first; shifts and masks alone.

    `bits` may exceed what the limbs hold: the digits above are zero.
    """
    return padded_digits(limbs, bits, window)[:, : len(limbs)]


def padded_digits(limbs: Limbs, bits: int, window: int, multiple: int = LANES) -> NDArray[np.uint64]:
    """The same, with columns up to a multiple (itself one of LANES) that repeat the first."""
    count, words = limbs.shape
    out = np.empty((max(1, -(-bits // window)), -(-count // multiple) * multiple), dtype=np.uint64)
    if count:
        batch.split_windows(out, np.ascontiguousarray(limbs), window, scratch_vectors(words + 1))
    return out


def pad_columns(digits: NDArray[np.uint64], multiple: int = LANES) -> NDArray[np.uint64]:
    """Last axis up to a multiple, with zeros."""
    short = -digits.shape[-1] % multiple
    return np.ascontiguousarray(np.pad(digits, [(0, 0)] * (digits.ndim - 1) + [(0, short)]) if short else digits)


def best_window(bits: int, *, whole: bool) -> int:
    """Window width for one exponentiation: 2^w table products, then a product and a table read every w squarings.

    Reading a table whole costs about a hundredth of a product an entry (measured at 1024 to 4096 bits).
    """
    read = 0.01 if whole else 0.0
    return min(range(1, 7), key=lambda w: (1 << w) + -(-bits // w) * (1 + read * (1 << w)))


class Engine:
    """Row arithmetic with a given number of threads."""

    def __init__(self, threads: int) -> None:
        self.workers = Workers(threads)

    def _run(self, kernel: Any, count: int, length: int, *arguments: Any, extra: int = 0, step: int = 1) -> None:
        """kernel(*arguments, first, last, scratch) over the lane groups of `count` elements."""
        vectors = _scratch_size(length) + extra
        if 0 < count <= LANES:  # one group: no shares to cut
            kernel(*arguments, 0, 1, scratch_vectors(vectors))
            return

        def task(first: int, last: int) -> None:
            kernel(*arguments, first, last, scratch_vectors(vectors))

        self.workers.run(groups_of(count), task, step=step)

    # -- transport and products --------------------------------------------------------------------------

    def import_rows(self, context: Context, limbs: Limbs) -> Rows:
        """(N, limbs) canonical -> rows."""
        out = empty_rows(limbs.shape[0], context.row_words)
        source = np.ascontiguousarray(limbs)
        arguments = (out, source, context.constants, context.to0, context.to1, context.length, context.kind)
        self._run(batch.import_limbs, len(out), context.length, *arguments)
        return out

    def export_rows(self, context: Context, rows: Rows, limbs: int) -> Limbs:
        """Rows -> (N, limbs) canonical."""
        out = np.empty((len(rows), limbs), dtype=np.uint64)
        self._run(
            batch.export_limbs, len(out), context.length, out, rows, context.constants, context.length, context.kind
        )
        return out

    def import_ints(self, context: Context, values: list[int]) -> Rows:
        limbs = -(-context.value.bit_length() // 64)
        return self.import_rows(context, limbs_from_ints(values, limbs))

    def export_ints(self, context: Context, rows: Rows) -> list[int]:
        return ints_from_limbs(self.export_rows(context, rows, -(-context.value.bit_length() // 64)))

    def ones(self, context: Context, count: int) -> Rows:
        out = empty_rows(count, context.row_words)
        out[:] = 0
        out[:, : context.digits] = np.array(context.element(context.radix), dtype=np.uint64)
        return out

    def multiply(self, context: Context, a: Rows, b: Rows) -> Rows:
        if 0 < len(a) <= single.FEW and context.length in single.LENGTHS and context.kind != PLAIN:
            return self._multiply_few(context, a, b)
        same = a is b
        if not (a.flags.c_contiguous and b.flags.c_contiguous):  # kernels take the row length for the row step
            a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        out = empty_rows(len(a), context.row_words)
        arguments = (out, a, b, same, context.constants, context.length, context.kind)
        self._run(batch.multiply_arrays, len(a), context.length, *arguments)
        return out

    def _multiply_few(self, context: Context, a: Rows, b: Rows) -> Rows:
        count = len(a)
        if count > 1 and not (a.flags.c_contiguous and b.flags.c_contiguous):
            a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        out = np.empty((count, context.row_words), dtype=np.uint64)
        scratch = scratch_vectors(context.length)  # single.py needs 3*L + 7 words of these 8*L
        single.multiply_few(out, a, b, context.single_constants, context.length, count, scratch)
        return out

    def encode(self, context: Context, messages: Limbs, times: Rows | None) -> Rows:
        out = empty_rows(len(messages), context.row_words)
        factor = empty_rows(0, context.row_words) if times is None else times
        source = np.ascontiguousarray(messages)
        self._run(
            batch.encode_messages, len(out), context.length, out, source, factor, context.constants, context.length
        )
        return out

    def product_tree(self, context: Context, rows: Rows) -> list[Rows]:
        """Level 0 is `rows`, each further level the products of the first half with the second; the last has one row.

        Level sizes: c -> ceil(c/2); an odd last row moves up as it is.
        """
        levels = [rows]
        while len(levels[-1]) > 1:
            level = levels[-1]
            half = len(level) // 2
            up = self.multiply(context, level[:half], level[half : 2 * half])
            levels.append(np.concatenate([up, level[2 * half :]]) if len(level) % 2 else up)
        return levels

    def product(self, context: Context, rows: Rows) -> Rows:
        """(S, c, words) -> (S, words) along the middle axis, c >= 1."""
        outer, count, words = rows.shape
        while count > 1:
            half = count // 2
            left = rows[:, :half].reshape(-1, words)
            up = self.multiply(context, left, rows[:, half : 2 * half].reshape(-1, words)).reshape(outer, half, words)
            rows = np.concatenate([up, rows[:, 2 * half :]], axis=1) if count % 2 else up
            count -= half
        return np.ascontiguousarray(rows[:, 0])

    def units(self, context: Context, levels: list[Rows]) -> NDArray[np.bool_]:
        """Which rows of level 0 are units: one gcd for the whole tree, more only below a node that fails."""
        suspects = np.zeros(1, dtype=np.intp)
        for depth in range(len(levels) - 1, -1, -1):
            level = levels[depth]
            values = self.export_ints(context, np.ascontiguousarray(level[suspects]))
            suspects = suspects[[gcd(value, context.root) != 1 for value in values]]
            if depth == 0 or suspects.size == 0:
                break
            below = len(levels[depth - 1])
            half = below // 2
            pairs = suspects[suspects < half]
            suspects = np.concatenate([pairs, pairs + half, suspects[suspects >= half] + half])
        good = np.ones(len(levels[0]), dtype=np.bool_)
        good[suspects] = False
        return good

    def invert(self, context: Context, rows: Rows) -> Rows:
        """Montgomery's trick (1987) over a product tree: three products a row and one inversion in all.

        Raises NotInvertibleError with the positions.
        """
        if len(rows) == 0:
            return rows
        levels = self.product_tree(context, rows)
        try:
            root = invert(self.export_ints(context, levels[-1])[0], context.value)
        except ZeroDivisionError:
            bad = tuple(np.flatnonzero(~self.units(context, levels)).tolist())
            raise NotInvertibleError(f"cannot invert {len(bad)} of {len(rows)} residues", bad) from None
        inverse = self.import_ints(context, [root])
        for level in reversed(levels[:-1]):
            half = len(level) // 2
            swapped = np.concatenate([level[half : 2 * half], level[:half]])
            below = self.multiply(context, np.concatenate([inverse[:half]] * 2), swapped)
            inverse = np.concatenate([below, inverse[half:]]) if len(level) % 2 else below
        return inverse

    # -- exponentiation ----------------------------------------------------------------------------------

    def power(self, context: Context, rows: Rows, exponents: Limbs, bits: int, *, whole: bool) -> Rows:
        """rows ** exponents; exponents (N, e), or (1, e) for one shared by all."""
        window = best_window(bits, whole=whole)
        digits = padded_digits(exponents, bits, window)[::-1]
        shared = exponents.shape[0] == 1 and len(rows) != 1
        index = np.repeat(digits[:, :1], LANES, axis=1) if len(exponents) == 1 else digits
        return self.power_windows(context, rows, np.ascontiguousarray(index), shared, window, whole=whole)

    def power_windows(
        self, context: Context, rows: Rows, index: NDArray[np.uint64], shared: bool, window: int, *, whole: bool
    ) -> Rows:
        out = empty_rows(len(rows), context.row_words)
        arguments = (out, rows, index, shared, window, whole, context.constants, context.length, context.kind)
        extra = (1 << window) * context.digits
        self._run(power.exponentiate, len(out), context.length, *arguments, extra=extra)
        return out

    # -- fixed base --------------------------------------------------------------------------------------

    def table_window(self, context: Context, exponent_bits: int, budget: int | None) -> int:
        """The widest window whose table fits the budget; the least that there is where none does.

        A product of logarithmic entries needs the sum of its logarithms below R (see `power.finish`), so more than
        2^11 windows are refused: exponents of some ten thousand bits.
        """
        limit = DEFAULT_TABLE_BYTES if budget is None else budget
        allowed = [w for w in TABLE_WINDOWS if -(-exponent_bits // w) <= power.MAX_WINDOWS]
        if not allowed:
            most = power.MAX_WINDOWS * TABLE_WINDOWS[0]
            raise ParameterError(f"cannot build a table for {exponent_bits}-bit exponents: at most {most} bits")
        for window in allowed:
            if -(-exponent_bits // window) * context.digits * lookup.row_bytes(1 << window) <= limit:
                return window
        return allowed[-1]

    def fixed_base_table(self, context: Context, base: int, exponent_bits: int, window: int) -> NDArray[np.uint64]:
        """Flat (windows, digits, 2^window): entry e of window w is base**(e * 2^(window*w)); see power.py.

        The base is public. Powers of each window's own base come by doubling: 2^i .. 2^(i+1)-1 from 0 .. 2^i-1.
        """
        windows, entries = max(1, -(-exponent_bits // window)), 1 << window
        bases = [base]
        for _ in range(windows - 1):
            bases.append(powmod(bases[-1], entries, context.value))
        step = self.import_ints(context, bases)
        rows = np.empty((entries, windows, context.row_words), dtype=np.uint64)
        rows[0] = self.ones(context, windows)
        size = 1
        while size < entries:
            flat = rows[:size].reshape(-1, context.row_words)
            factor = np.tile(step, (size, 1))
            rows[size : 2 * size] = self.multiply(context, flat, factor).reshape(size, windows, -1)
            size *= 2
            if size < entries:
                step = self.multiply(context, step, step)
        return self._digit_major(context, rows)

    def _digit_major(self, context: Context, rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """(entries, windows, words) rows -> flat (windows, digits, entries), in logarithmic form modulo a square.

        Digits of large tables become bytes (`lookup`).
        """
        entries, windows, words = rows.shape
        length = context.length
        table = np.empty((windows, context.digits, entries), dtype=np.uint64)
        table[:, :length] = rows[:, :, :length].transpose(1, 2, 0)
        if context.kind != PLAIN:
            logs = self.single_logarithms(context, rows.reshape(-1, words))
            digits = window_digits(logs, DIGIT_BITS * length, DIGIT_BITS)
            table[:, length:] = digits.reshape(length, entries, windows).transpose(2, 0, 1)
        out = empty_vectors(-(-windows * context.digits * lookup.row_bytes(entries) // VECTOR_BYTES))
        row = context.digits * lookup.row_bytes(entries)
        for window, target in zip(table, out.view("u1")[: windows * row].reshape(windows, row), strict=True):
            planes = window.astype("<u8", copy=False).view("u1").reshape(context.digits, entries, 8)
            if entries >= lookup.BYTES_FROM:
                planes = planes[:, :, : lookup.DIGIT_BYTES].transpose(0, 2, 1)
            target[:] = planes.reshape(row)
        return out

    def split_rows(self, context: Context, rows: Rows) -> tuple[Context, Rows, Rows]:
        """x0 and x1 of rows modulo n^2, as rows modulo n (the same R serves both)."""
        plain = context.plain
        parts = []
        for h in range(2):
            part = empty_rows(len(rows), plain.row_words)
            part[:] = 0
            part[:, : context.length] = rows[:, h * context.length : (h + 1) * context.length]
            parts.append(part)
        return plain, parts[0], parts[1]

    def single_logarithms(self, context: Context, rows: Rows) -> Limbs:
        """u in [0, n) with x0 + x1*n = x0*(1 + u*n), that is x1/x0 mod n; host limbs of n."""
        plain, x0, x1 = self.split_rows(context, rows)
        quotient = self.multiply(plain, x1, self.invert(plain, x0))
        return self.export_rows(plain, quotient, -(-plain.value.bit_length() // 64))

    def fixed_base_power(
        self, context: Context, table: NDArray[np.uint64], window: int, exponents: Limbs, bits: int
    ) -> Rows:
        """base ** exponents (N, e) by a table of `window`-bit windows; constant time."""
        count = exponents.shape[0]
        out = empty_rows(count, context.row_words)
        if count == 0:
            return out
        spread = LANES
        while spread > 1 and spread * count > LANES:
            spread //= 2
        extra = power.fixed_base_vectors(context.length)
        shape = (context.constants, context.length, context.kind)
        if spread == 1:
            index = padded_digits(exponents, bits, window, LANES * lookup.GROUPS)  # a read of bytes is for so many
            arguments = (out, table, 1 << window, index, power.walk_groups(context.length), *shape)
            step = lookup.GROUPS
            self._run(power.fixed_base, count, context.length, *arguments, extra=extra, step=step)
            return out
        digits = window_digits(exponents, bits, window)
        lanes = np.minimum(np.arange(LANES) // spread, count - 1)
        index = np.zeros((-(-len(digits) // spread) * spread, LANES), dtype=np.uint64)
        index[: len(digits)] = digits[:, lanes]
        offsets = np.arange(LANES, dtype=np.uint64) % np.uint64(spread)
        scratch = scratch_vectors(batch.scratch_size(context.length) + extra)
        power.fixed_base_spread(out, table, 1 << window, index, offsets, spread, *shape, scratch)
        return out
