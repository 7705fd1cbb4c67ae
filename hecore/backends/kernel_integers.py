"""Powers, products and inverses of rows in device memory, and the arithmetic that knows a modulus's factors."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import gcd, invert
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.backends import checks
from hecore.backends.kernel_rows import KernelRows, u32
from hecore.errors import NotInvertibleError

if TYPE_CHECKING:
    from hecore.backends.device import Buffer
    from hecore.backends.kernel_context import Context, CrtConstants, CrtHalf
    from hecore.backends.kernel_shapes import RowShape
    from hecore.backends.protocol import Limbs

    Exponents = tuple[Buffer, int, bool]
    """Words of all exponents, words of each, whether one serves the whole batch."""

SQUARE_COST = 0.8  # of a product, modulo a square; about as much elsewhere
SINGLE_COST = 0.8  # of a product, where one factor has one component
READ_COST = (
    4.0  # reading an entry of a table of one's own, in products of W = 1 digit: a row against a square of digits
)
SHARED_READ_COST = 1.0  # of a table that all read at once, out of the cache
TABLE_BYTES = 64 << 20  # the largest table where nobody says more
WINDOWS = range(1, 9)


def power_window(context: RowShape, bits: int, *, whole: bool) -> int:
    """The window that costs least, in products: filling a table, and per digit squarings, a product, reading."""
    read = READ_COST / context.geometry.width

    def cost(window: int) -> float:
        entries, digits = 1 << window, -(-bits // window)
        return entries + digits * (window * SQUARE_COST + 1 + read * (entries if whole else 1))

    return min(WINDOWS, key=cost)


def table_window(context: RowShape, bits: int, memory_budget: int | None) -> int:
    """The window of the fixed-base table that costs least a power and fits the budget; 1 where none fits.

    A digit costs a product, modulo a square one of logarithmic form, and reading all its entries. A larger budget
    never makes a smaller table: it chooses among more windows, and those that come in are larger.
    """
    budget = TABLE_BYTES if memory_budget is None else memory_budget
    read, product = SHARED_READ_COST / context.geometry.width, SINGLE_COST if context.square else 1.0

    def nbytes(window: int) -> int:
        return (-(-bits // window) << window) * context.row_bytes

    fitting = [window for window in WINDOWS if nbytes(window) <= budget] or [WINDOWS[0]]
    return min(fitting, key=lambda window: -(-bits // window) * (product + read * (1 << window)))


class KernelIntegers(KernelRows):
    """Arithmetic on batches of elements: (context, buffers, counts) -> buffers."""

    # -- powers ------------------------------------------------------------------------------------------

    def _power(
        self, context: Context, rows: Buffer, count: int, exponents: Exponents, bits: int, *, whole: bool
    ) -> Buffer:
        """rows[i] ** e[i] for exponents below 2**bits; tables are read whole, or else an entry by its address."""
        buffer, words, shared = exponents
        window = power_window(context, bits, whole=whole)
        entries, kernel = 1 << window, "power" if whole else "power_vartime"

        def work(start: int, stop: int) -> Buffer:
            size = stop - start
            a = self._stretch(rows, context.row_words, start, stop, count)
            own = buffer if shared else self._stretch(buffer, words, start, stop, count)
            out = self._rows(context, size)
            places = -(-size // context.geometry.integers) * context.geometry.integers  # whole blocks have tables
            with self._secret(places * entries * context.row_bytes) as scratch:
                sizes = u32(words, shared, bits, window)
                self._integer(kernel, context, size, out, a, own, *sizes, context.one, scratch)
            return out

        return self._assembled(count, context.row_words, (entries + 2) * context.row_bytes + 4 * words, work)

    def _power_of_two(self, context: Context, rows: Buffer, count: int, squarings: int) -> Buffer:
        """rows[i] ** (2 ** squarings)"""
        exponent = limbs_from_ints([1 << squarings], limbs_for_bits(squarings + 1)).view(np.uint32).ravel()
        exponents = (self._to_device(exponent), exponent.size, True)
        return self._power(context, rows, count, exponents, squarings + 1, whole=False)

    def _powers(self, context: Context, bases: Buffer, count: int, window: int) -> Buffer:
        """Tables (count, 2**window): powers 0 … 2**window - 1 of each base.

        In rounds, from powers up to m to powers up to 2m, each a product of its two halves, one rounded up and one
        rounded down. On the way powers come first: (power, base).
        """
        entries, words = 1 << window, context.row_words
        powers = self._rows(context, entries * count)
        self._move(powers, context.one, words, count, pattern=(1, 0, 0))
        self._move(powers, bases, words, count, out_at=count)
        known = 1
        while known + 1 < entries:
            top = min(2 * known, entries - 1)
            exponents = np.arange(known + 1, top + 1)
            size = len(exponents) * count
            above, below = (self._to_device(_rows_of(e, count)) for e in ((exponents + 1) // 2, exponents // 2))
            made = self._rows(context, size)
            self._multiply(context, made, powers, powers, size, a_index=above, b_index=below)
            self._move(powers, made, words, size, out_at=(known + 1) * count)
            known = top
        out = self._rows(context, entries * count)
        self._move(out, powers, words, entries * count, pattern=(entries, 1, count))
        return out

    def _fixed_base_table(self, context: Context, base: int, bits: int, window: int) -> Buffer:
        """(windows, 2**window): powers of base ** (2 ** (window * i)) for each digit i; modulo a square, as logarithms.

        The chain of these bases takes every `stride`-th one after the other, then all that follow them at once.
        """
        windows = -(-bits // window)
        stride = isqrt(windows - 1) + 1
        columns, words = -(-windows // stride), context.row_words
        current = self._upload_ints(context, [base])
        heads = self._rows(context, columns)
        self._move(heads, current, words, 1)
        for column in range(1, columns):
            current = self._power_of_two(context, current, 1, window * stride)
            self._move(heads, current, words, 1, out_at=column)
        chain = self._rows(context, stride * columns)  # base i at (i % stride, i // stride)
        self._move(chain, heads, words, columns)
        for row in range(1, stride):
            self._squared(context, heads, columns, window)
            self._move(chain, heads, words, columns, out_at=row * columns)
        bases = self._rows(context, windows)
        self._move(bases, chain, words, windows, pattern=(stride, 1, columns))
        powers = self._powers(context, bases, windows, window)
        return self._logarithmic(context, powers, windows << window) if context.square else powers

    def _logarithmic(self, context: Context, rows: Buffer, count: int) -> Buffer:
        """Units t0 + t1*n as (t0, t1/t0 mod n in normal digits), see kernels/device/power.h."""
        assert context.square_of is not None
        root, words = self._context(context.square_of), context.geometry.width
        first, second = self._rows(root, count), self._rows(root, count)
        for part, out in enumerate((first, second)):
            self._move(out, rows, words, count, in_at=part, pattern=(1, 2, 0))
        self._multiply(root, second, second, self._inverse(root, first, count), count)
        both = self._rows(context, count)
        self._move(both, first, words, count)
        self._integer("export_rows", root, count, first, second)
        self._move(both, first, words, count, out_at=count)
        self._move(rows, both, words, 2 * count, pattern=(2, 1, count))
        return rows

    def _fixed_base_power(
        self,
        context: Context,
        table: Buffer,
        window: int,
        exponents: Exponents,
        bits: int,
        count: int,
        *,
        logarithmic: bool = False,
    ) -> Buffer:
        """prod_i table[i][digit i] over the digits of `window` bits of each exponent; tables are read whole.

        `logarithmic` says that the table is in that form.
        """
        buffer, words, _ = exponents
        out = self._rows(context, count)
        kernel, last = ("fixed_base_logarithmic", context.encoding) if logarithmic else ("fixed_base", context.one)
        self._integer(kernel, context, count, out, table, buffer, *u32(words, bits, window), last)
        return out

    # -- products and inverses ---------------------------------------------------------------------------

    def _halved(self, context: Context, rows: Buffer, outer: int, count: int, *, turned: bool) -> tuple[Buffer, int]:
        """One round of `_product`: `count` factors of each of `outer` products become ceil(count / 2).

        Factor j meets factor j + count // 2; where count is odd, the last one moves up alone, to the end. rows are
        (outer, count), or (count, outer) where turned, as the result always is.
        """
        half, odd = divmod(count, 2)
        size = half * outer
        out = self._public_rows(context, size + odd * outer)
        if turned:
            second = self._places(size, (size, 0, 1), size)
            self._multiply(context, out, rows, rows, size, b_index=second)
        else:
            first, second = (self._places(start, (outer, 1, count), size) for start in (0, half))
            self._multiply(context, out, rows, rows, size, a_index=first, b_index=second)
        if odd:
            last, step = (2 * size, 1) if turned else (2 * half, count)
            self._move(out, rows, context.row_words, outer, out_at=size, in_at=last, pattern=(1, step, 0))
        return out, half + odd

    def _product(self, context: Context, rows: Buffer, outer: int, count: int) -> Buffer:
        """(outer,) products of rows (outer, count)."""
        if count == 0:
            return self._ones(context, outer)
        turned = outer == 1
        while count > 1:
            rows, count = self._halved(context, rows, outer, count, turned=turned)
            turned = True
        return rows

    def _tree(self, context: Context, rows: Buffer, count: int) -> list[tuple[Buffer, int]]:
        """The rounds of the product of at least one row, the rows themselves first: (nodes, number of nodes)."""
        levels = [(rows, count)]
        while levels[-1][1] > 1:
            rows, count = levels[-1]
            levels.append(self._halved(context, rows, 1, count, turned=True))
        return levels

    def _inverse(self, context: Context, rows: Buffer, count: int) -> Buffer:
        """Montgomery's trick (1987), one inversion on the host. Raises NotInvertibleError with all positions."""

        def work(start: int, stop: int) -> Buffer:
            part = self._stretch(rows, context.row_words, start, stop, count)
            return self._inverse_by_tree(context, self._tree(context, part, stop - start))

        try:
            return self._assembled(count, context.row_words, 5 * context.row_bytes, work, secret=False)
        except ZeroDivisionError:
            bad = tuple(np.flatnonzero(~self._units(context, rows, count)).tolist())
        raise NotInvertibleError(checks.not_invertible_message(bad, count), bad)

    def _inverse_by_tree(self, context: Context, levels: list[tuple[Buffer, int]]) -> Buffer:
        """From the root's inverse down: a node's inverse is its parent's times the other child."""
        root = self._download_ints(context, levels[-1][0], 1)[0]
        inverse = self._upload_ints(context, [invert(root, context.value)])
        for rows, count in reversed(levels[:-1]):
            half, odd = divmod(count, 2)
            out = self._public_rows(context, count)
            parent = self._places(0, (half, 0, 1), 2 * half)
            other = self._places(half, (half, -half, 1), 2 * half)
            self._multiply(context, out, inverse, rows, 2 * half, a_index=parent, b_index=other)
            if odd:
                self._move(out, inverse, context.row_words, 1, out_at=2 * half, in_at=half)
            inverse = out
        return inverse

    def _units(self, context: Context, rows: Buffer, count: int) -> NDArray[np.bool_]:
        """Which rows share no factor with the modulus: one product and one gcd a stretch, bisected on failure."""
        found = np.ones(count, dtype=np.bool_)

        def work(start: int, stop: int) -> None:
            part = self._stretch(rows, context.row_words, start, stop, count)
            found[start:stop] = self._units_by_tree(context, self._tree(context, part, stop - start))

        self._chunked(count, 4 * context.row_bytes, work)
        return found

    def _units_by_tree(self, context: Context, levels: list[tuple[Buffer, int]]) -> NDArray[np.bool_]:
        """From the root down, below nodes that share a factor alone."""
        bad = np.zeros(1, dtype=np.intp)
        for level in range(len(levels) - 1, -1, -1):
            rows, _ = levels[level]
            values = self._download_ints(context, self._gathered(context, rows, bad), len(bad))
            bad = bad[[gcd(x, context.value) != 1 for x in values]]
            if len(bad) == 0:
                break
            if level:
                below = levels[level - 1][1]
                half = below // 2
                children = np.concatenate([np.where(bad < half, bad, below - 1), bad[bad < half] + half])
                bad = np.sort(children)
        found = np.ones(levels[0][1], dtype=np.bool_)
        found[bad] = False
        return found

    # -- Paillier's moduli -------------------------------------------------------------------------------

    def _encoded(self, context: Context, messages: Limbs, times: Buffer | None) -> Buffer:
        """(1 + m*n) * times for host messages (count, limbs of n)."""
        count = len(messages)

        def work(start: int, stop: int) -> Buffer:
            size = stop - start
            digits = self._digits(self._keep(messages[start:stop]), context.root_limbs, size, context, 1)
            factors = None if times is None else self._stretch(times, context.row_words, start, stop, count)
            out = self._rows(context, size)
            self._integer("encode", context, size, out, factors, *u32(times is not None), digits, context.encoding)
            return out

        bytes_each = self._conversion_bytes(context) + context.row_bytes
        return self._assembled(count, context.row_words, bytes_each, work)

    def _reduced(self, source: Context, target: Context, rows: Buffer, count: int) -> Buffer:
        """Residues of `source` modulo a divisor."""

        def work(start: int, stop: int) -> Buffer:
            size = stop - start
            limbs = self._exported(source, self._stretch(rows, source.row_words, start, stop, count), size)
            return self._imported(target, limbs, source.limbs, source.bits, size, target.uploading)

        return self._assembled(count, target.row_words, 3 * self._conversion_bytes(source), work)

    def _lifted(self, crt: CrtConstants, halves: tuple[Buffer, Buffer], count: int) -> Buffer:
        """x = a_p*E_p + a_q*E_q modulo n^2."""

        def work(start: int, stop: int) -> Buffer:
            size, parts = stop - start, []
            for half, rows in zip(crt.halves, halves, strict=True):
                own = half.square
                limbs = self._exported(own, self._stretch(rows, own.row_words, start, stop, count), size)
                parts.append(self._imported(crt.n_squared, limbs, own.limbs, own.bits, size, half.lifting))
            return self._sum(crt.n_squared, parts[0], parts[1], size)

        return self._assembled(count, crt.n_squared.row_words, 3 * self._conversion_bytes(crt.n_squared), work)

    def _decoded(self, crt: CrtConstants, halves: tuple[Buffer, Buffer], count: int) -> Limbs:
        """Messages of powers, as host limbs."""
        out = np.empty((count, crt.n.limbs), dtype=np.uint64)

        def work(start: int, stop: int) -> None:
            parts = [
                self._stretch(rows, half.square.row_words, start, stop, count)
                for half, rows in zip(crt.halves, halves, strict=True)
            ]
            self._device.read(self._messages(crt, parts, stop - start), out[start:stop])

        self._chunked(count, 2 * self._conversion_bytes(crt.n_squared), work)
        return out

    def _messages(self, crt: CrtConstants, halves: list[Buffer], count: int) -> Buffer:
        """m = L_p(a_p)*h_p*E_p + L_q(a_q)*h_q*E_q modulo n, as (count, limbs of n) limbs."""
        parts = []
        for half, rows in zip(crt.halves, halves, strict=True):
            own, limbs = half.square, self._quotients(half, rows, count)
            parts.append(self._imported(crt.n, limbs, own.root_limbs, own.root_bits, count, half.decoding))
        return self._exported(crt.n, self._sum(crt.n, parts[0], parts[1], count), count)

    def _quotients(self, half: CrtHalf, powers: Buffer, count: int) -> Buffer:
        """L_f(a) of powers a = 1 + L*f modulo f^2, as (count, limbs of f) limbs."""
        own, shape = half.square, half.square.geometry
        digits = self._secret(4 * count * shape.width).buffer
        self._integer("export_quotient", own, count, digits, powers)
        return self._limbs(digits, shape.width, shape.radix, own.root_limbs, count)

    def _decrypted(self, crt: CrtConstants, rows: Buffer, count: int) -> Limbs:
        """Residues modulo n^2 -> messages."""
        out = np.empty((count, crt.n.limbs), dtype=np.uint64)

        def work(start: int, stop: int) -> None:
            part = self._stretch(rows, crt.n_squared.row_words, start, stop, count)
            powers = [self._half_power(crt, half, part, stop - start) for half in crt.halves]
            self._device.read(self._messages(crt, powers, stop - start), out[start:stop])

        self._chunked(count, self._decryption_bytes(crt), work)
        return out

    def _decrypted_bounded(self, crt: CrtConstants, rows: Buffer, count: int, bound: int) -> Limbs:
        """Residues modulo n^2 -> (m + bound) mod p = L_p(a_p)*h_p + bound."""
        half, p = crt.halves[0], crt.p
        out = np.empty((count, p.limbs), dtype=np.uint64)
        shift = self._keep(p.montgomery(bound))

        def work(start: int, stop: int) -> None:
            size, part = stop - start, self._stretch(rows, crt.n_squared.row_words, start, stop, count)
            quotients = self._quotients(half, self._half_power(crt, half, part, size), size)
            m = self._imported(p, quotients, p.limbs, p.bits, size, crt.h_p)
            shifts = self._rows(p, size)  # the bound is public, but not how it stands modulo p
            self._move(shifts, shift, p.row_words, size, pattern=(1, 0, 0))
            self._device.read(self._exported(p, self._sum(p, m, shifts, size), size), out[start:stop])

        self._chunked(count, self._decryption_bytes(crt), work)
        return out

    def _half_power(self, crt: CrtConstants, half: CrtHalf, rows: Buffer, count: int) -> Buffer:
        """c^(f-1) modulo f^2, f the half's factor."""
        a = self._reduced(crt.n_squared, half.square, rows, count)
        exponents = (half.exponent, half.exponent_words, True)
        return self._power(half.square, a, count, exponents, half.exponent_bits, whole=True)

    def _decryption_bytes(self, crt: CrtConstants) -> int:
        """Of one ciphertext, for `_chunked`."""
        entries = 1 << power_window(crt.halves[0].square, crt.halves[0].exponent_bits, whole=True)
        rows = max((entries + 4) * half.square.row_bytes for half in crt.halves)
        return rows + 2 * self._conversion_bytes(crt.n_squared)


def _rows_of(powers: NDArray[np.signedinteger], count: int) -> NDArray[np.uint32]:
    """Where the rows of these powers lie in (power, base) of `count` bases."""
    places: NDArray[np.uint32] = (powers[:, None] * count + np.arange(count)).astype(np.uint32).ravel()
    return places
