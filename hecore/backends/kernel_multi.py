"""Products of powers on a device, prod_j b_j ** x_j for many outputs at once, and products by label.

Pippenger (1976; as in Bernstein, Doumen, Lange, Oosterwijk 2012). A row is one window of one output: the window's
digits of all scalars, as keys, are sorted on the device, and the runs of equal keys become buckets, one product a base
whatever its digit (`segments`). Then prod_b bucket_b ** b, digit bit by digit bit: halving the buckets of a row by
their top bit, the upper half's product is the factor of that bit, and products of both halves' entries are the buckets
of what is left; all rounds together cost two products a bucket. Negative terms have buckets of their own, and their
products one inversion.

Straus (1964): tables of all bases, read whole, one accumulator an output and window. To the kernel for fixed bases, the
digits of all scalars of an output, side by side, are one long exponent, and the bases' tables its windows.

What runs depends on sizes and on whether there are signs, never on values, but for what a base without inverse forces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert, powmod
from hecore.backends import checks
from hecore.backends.kernel_integers import KernelIntegers
from hecore.backends.kernel_rows import u32
from hecore.errors import NotInvertibleError

if TYPE_CHECKING:
    from hecore.backends.device import Argument, Buffer
    from hecore.backends.kernel_context import Context
    from hecore.backends.protocol import Indices, Limbs

WINDOWS = range(1, 15)
STRAUS_WINDOW = 4
PLUS_PART, MINUS_PART, SHIFTED = range(3)  # forms of signed_values
GROUPS_A_PLACE = 4  # chunks of sorted positions for each that the device works on at once
SHORTEST_CHUNK = 32  # positions: below, rounds of carries cost more than parallel work gains
KEY_WORDS = 4  # words of keys, ranks, order and sorted keys that a position takes


@dataclass(frozen=True)
class Scalars:
    """(m, k) magnitudes below 2**bits on the device, `words` words each, and signs as bytes where there are any."""

    m: int
    k: int
    bits: int
    words: int
    magnitudes: Buffer
    negative: Buffer | None


def straus_cost(m: int, k: int, bits: int, *, signed: bool) -> float:
    """Products: tables, a product and reading per term and digit, the outputs' squarings, the shift's correction."""
    digits = -(-(bits + signed) // STRAUS_WINDOW)
    return k * (1 << STRAUS_WINDOW) + 1.2 * m * k * digits + m * bits + signed * 2 * k


def pippenger_cost(m: int, k: int, bits: int, window: int, *, signed: bool) -> float:
    """Products: a term and digit each, three a bucket, and the outputs' squarings."""
    rows = m * -(-bits // window)
    return 1.1 * rows * k + (1 + signed) * (3 * (rows << window) + m * bits)


class KernelMulti(KernelIntegers):
    """Multi-exponentiation and segmented products."""

    def _multi_exp(
        self,
        context: Context,
        bases: Buffer,
        magnitudes: Limbs,
        negative: NDArray[np.bool_] | None,
        bits: int,
        *,
        constant_time: bool,
    ) -> Buffer:
        """(m,) products of powers of bases (k,). Raises NotInvertibleError."""
        m, k, limbs = magnitudes.shape
        if m == 0 or k == 0:
            return self._ones(context, m)
        signed = negative is not None
        window = min(WINDOWS, key=lambda c: pippenger_cost(m, k, bits, c, signed=signed))
        straus = constant_time or (
            straus_cost(m, k, bits, signed=signed) <= pippenger_cost(m, k, bits, window, signed=signed)
        )
        if straus:
            window = STRAUS_WINDOW
        rows = -(-(bits + signed) // window)
        elements = rows * (4 if straus else 4 + (3 * (1 + signed) << window))
        bytes_each = k * (16 * limbs + signed + 4 * KEY_WORDS * rows) + elements * context.row_bytes
        bad: set[int] = set()

        def work(start: int, stop: int) -> Buffer:
            signs = None if negative is None else self._keep(negative[start:stop].view(np.uint8))
            part = self._keep(magnitudes[start:stop])
            scalars = Scalars(stop - start, k, bits, 2 * limbs, part, signs)
            try:
                if straus:
                    return self._straus(context, bases, scalars)
                return self._pippenger(context, bases, scalars, window)
            except NotInvertibleError as error:  # name those of all stretches
                bad.update(start + i for i in error.indices)
                return self._ones(context, stop - start)

        out = self._assembled(m, context.row_words, bytes_each, work, floor=1, secret=False)
        if bad:
            raise NotInvertibleError(checks.not_invertible_message(tuple(sorted(bad)), m), tuple(sorted(bad)))
        return out

    # -- Straus ------------------------------------------------------------------------------------------

    def _straus(self, context: Context, bases: Buffer, scalars: Scalars) -> Buffer:
        """Signs without branches: x + 2^bits >= 0 is raised, and (prod of all bases)^(2^bits) divided out once.

        A base without inverse rules the shift out: then plus and minus parts are raised apart and divided.
        """
        if scalars.negative is None:
            return self._straus_unsigned(context, bases, scalars)
        m, k = scalars.m, scalars.k
        total = self._download_ints(context, self._product(context, bases, 1, k), 1)[0]
        try:
            inverse = invert(powmod(total, 1 << scalars.bits, context.value), context.value)
        except ZeroDivisionError:
            above, below = (
                self._straus_unsigned(context, bases, self._values(scalars, form)) for form in (PLUS_PART, MINUS_PART)
            )
            return self._multiply(context, above, above, self._inverse(context, below, m), m)
        out = self._straus_unsigned(context, bases, self._values(scalars, SHIFTED))
        return self._multiply(context, out, out, self._upload_ints(context, [inverse]), m, shared=True)

    def _values(self, scalars: Scalars, form: int) -> Scalars:
        """Unsigned scalars: the parts of one sign, or those of both shifted up by 2^bits."""
        bits = scalars.bits + (form == SHIFTED)
        words, count = -(-bits // 32), scalars.m * scalars.k
        out = self._secret(4 * words * count).buffer
        sizes = u32(scalars.words, words, form, scalars.bits)
        signed = (scalars.magnitudes, scalars.negative)
        self._flat_kernel("scalars", "signed_values", count, out, *signed, *sizes, np.uint64(count))
        return Scalars(scalars.m, scalars.k, bits, words, out, None)

    def _straus_unsigned(self, context: Context, bases: Buffer, scalars: Scalars) -> Buffer:
        """The bases' tables stretch by stretch; products of all windows of all outputs at once."""
        m, k, entries = scalars.m, scalars.k, 1 << STRAUS_WINDOW
        windows = -(-scalars.bits // STRAUS_WINDOW)
        sums: list[Buffer] = []

        def work(start: int, stop: int) -> None:
            size = stop - start
            table = self._powers(context, self._stretch(bases, context.row_words, start, stop, k), size, STRAUS_WINDOW)
            packed = -(-size * STRAUS_WINDOW // 32)
            count = windows * m * packed
            digits = self._secret(4 * count).buffer
            sizes = u32(scalars.words, STRAUS_WINDOW, start, size, k, m, packed)
            self._flat_kernel("scalars", "packed_digits", count, digits, scalars.magnitudes, *sizes, np.uint64(count))
            exponents = (digits, packed, False)
            part = self._fixed_base_power(context, table, STRAUS_WINDOW, exponents, size * STRAUS_WINDOW, windows * m)
            sums[:] = [part if not sums else self._multiply(context, part, part, sums[0], windows * m)]

        self._chunked(k, 3 * entries * context.row_bytes, work)
        return self._joined(context, sums[0], windows, m, STRAUS_WINDOW)

    def _joined(self, context: Context, rows: Buffer, windows: int, count: int, window: int) -> Buffer:
        """(count,) products of rows[t] ** (2 ** (window * t)) for rows (windows, count), by Horner's rule."""
        out = self._rows(context, count)
        self._move(out, rows, context.row_words, count, in_at=(windows - 1) * count)
        for t in range(windows - 2, -1, -1):
            self._squared(context, out, count, window)
            index = self._places(t * count, (count, 0, 1), count)
            self._multiply(context, out, out, rows, count, b_index=index)
        return out

    # -- Pippenger ---------------------------------------------------------------------------------------

    def _pippenger(self, context: Context, bases: Buffer, scalars: Scalars, window: int) -> Buffer:
        m, k = scalars.m, scalars.k
        signs = 1 if scalars.negative is None else 2
        windows = -(-scalars.bits // window)
        count, buckets = windows * m * k, signs << window
        keys = self._empty(count, np.uint32)
        signed = (scalars.magnitudes, scalars.negative)
        sizes = u32(signs == 2, scalars.words, window, k, m)
        self._flat_kernel("buckets", "keys_from_magnitudes", count, keys, *signed, *sizes, np.uint64(count))
        order, keys = self._sorted(keys, windows * m, k, buckets)
        sums = self._segments(context, bases, order, keys, windows * m, k, buckets)
        powers = self._weighted(context, sums, windows * m * signs, window)
        out = self._joined(context, powers, windows, m * signs, window)
        if signs == 1:
            return out
        above, below = self._public_rows(context, m), self._public_rows(context, m)
        for part, first in ((above, 0), (below, 1)):
            self._move(part, out, context.row_words, m, in_at=first, pattern=(1, 2, 0))
        return self._multiply(context, above, above, self._inverse(context, below, m), m)

    def _sorted(self, keys: Buffer, rows: int, positions: int, buckets: int) -> tuple[Buffer, Buffer]:
        """For rows of keys below `buckets`: their positions by key, and the keys in that order."""
        count = rows * positions
        counts, ranks, order, ordered = (self._empty(n, np.uint32) for n in (rows * buckets, count, count, count))
        sizes: tuple[Argument, ...] = (*u32(positions, buckets), np.uint64(count))
        self._flat_kernel("pack", "fill", rows * buckets, counts, np.uint32(0), np.uint64(rows * buckets))
        self._flat_kernel("buckets", "rank", count, counts, ranks, keys, *sizes)
        self._flat_kernel("buckets", "scan", rows * self._flat["BLOCK"], counts, np.uint32(buckets))
        self._flat_kernel("buckets", "scatter", count, order, ordered, keys, ranks, counts, *sizes)
        return order, ordered

    def _segments(
        self, context: Context, values: Buffer, order: Buffer, keys: Buffer, rows: int, positions: int, buckets: int
    ) -> Buffer:
        """(rows, buckets) products of values[order[row][i]] where keys[row][i] is the bucket; 1 where it has none.

        Chunks leave carries, which are walked through like the positions before, until one chunk is a row.
        """
        places, ordered = order, True
        out: Buffer | None = None
        while True:
            chunk = self._chunk_length(context, rows, positions)
            chunks = -(-positions // chunk)
            found = self._ones(context, rows * buckets)
            carry = self._public_rows(context, rows * chunks if chunks > 1 else 0)
            carry_keys = self._empty(rows * chunks if chunks > 1 else 0, np.uint32)
            sizes = u32(positions, chunk, chunks, buckets)
            outs, ins = (found, carry, carry_keys), (values, places, *u32(ordered), keys)
            last = (context.one, context.modulus, context.inverse, np.uint32(rows * chunks))
            threads = rows * chunks * context.geometry.lanes
            self._launch("segments", "segment_chunks", context.defines, threads, *outs, *ins, *sizes, *last)
            out = found if out is None else self._multiply(context, out, out, found, rows * buckets)
            if chunks == 1:
                return out
            values, keys, positions, ordered = carry, carry_keys, chunks, False

    def _chunk_length(self, context: Context, rows: int, positions: int) -> int:
        """Positions that a group walks through: as many as leave enough groups to keep the device busy."""
        places = max(1, self._device.facts.parallel // context.geometry.lanes)
        return max(SHORTEST_CHUNK, -(-rows * positions // (GROUPS_A_PLACE * places)))

    def _weighted(self, context: Context, buckets: Buffer, rows: int, window: int) -> Buffer:
        """(rows,) products of buckets[row][b] ** b over b < 2**window.

        After l rounds a row has 2^(window - l) nodes; `parts` holds their products of buckets, then, for each of the l
        top bits from the top on, the products of the buckets with that bit: (l + 1, rows, nodes).
        """
        words, parts = context.row_words, buckets
        for done in range(window):
            half = 1 << (window - done - 1)
            block = rows * half
            size = (done + 1) * block
            merged = self._public_rows(context, size + block)
            lower, upper = (self._places(first, (half, 2 * half, 1), size) for first in (0, half))
            self._multiply(context, merged, parts, parts, size, a_index=lower, b_index=upper)
            self._move(merged, parts, words, block, out_at=size, in_at=half, pattern=(half, 2 * half, 1))
            parts = merged
        out = self._public_rows(context, rows)
        self._move(out, parts, words, rows, in_at=rows)
        for bit in range(2, window + 1):
            self._squared(context, out, rows, 1)
            index = self._places(bit * rows, (rows, 0, 1), rows)
            self._multiply(context, out, out, parts, rows, b_index=index)
        return out

    # -- products by label -------------------------------------------------------------------------------

    def _segment_product(self, context: Context, rows: Buffer, labels: Indices, count: int) -> Buffer:
        """(count,) products of the rows with each label."""
        if len(labels) == 0 or count == 0:
            return self._ones(context, count)
        keys = self._to_device(labels.astype(np.uint32))
        order, keys = self._sorted(keys, 1, len(labels), count)
        return self._segments(context, rows, order, keys, 1, len(labels), count)
