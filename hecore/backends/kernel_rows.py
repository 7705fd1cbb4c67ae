"""Rows of residues in device memory: where they lie, how they move, how they come and go.

A batch is a buffer of elements, one after the other, as kernels/device/element.h lays them out, and their number.
Memory is of two kinds: `_rows` is wiped when it is let go, since it may hold randomness, a message or a residue modulo
a secret factor; `_public_rows` holds what a ciphertext's receiver may see anyway. Batches beyond the memory set aside
for what an operation needs in between go in chunks.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.backends import tuned
from hecore.backends.kernel_base import KernelBase
from hecore.backends.kernel_context import Context, CrtConstants, crt_constants
from hecore.errors import DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.device import Argument, Buffer, Device
    from hecore.backends.kernel_shapes import Geometry
    from hecore.backends.protocol import Limbs

BUDGET_SHARE = 8  # of the device's memory, one part for what an operation needs in between
FLOOR = 64  # elements: shorter stretches are not tried
BLOCK = 64  # threads, at least, of kernels that hold no integers
A_INDEX, B_INDEX, B_SHARED = 1, 2, 4  # `indexed` of `multiply`


def u32(*values: int) -> tuple[np.uint32, ...]:
    """Scalars as kernels take them."""
    return tuple(np.uint32(value) for value in values)


class KernelRows(KernelBase):
    """Batches of residues in device memory. `memory_budget` bounds what one operation needs in between, in bytes;
    `shapes` those of its integers, the shortest first (default: what `tuned` knows of the device).
    """

    def __init__(
        self, device: Device, memory_budget: int | None = None, shapes: Sequence[Geometry] | None = None
    ) -> None:
        super().__init__(device)
        facts = device.facts
        share = min(facts.largest, facts.memory // BUDGET_SHARE)
        self._budget = share if memory_budget is None else memory_budget
        self._shapes = tuned.shapes(facts) if shapes is None else list(shapes)
        self._flat = {"BLOCK": max(facts.block, BLOCK), "LANES": 1}
        self._contexts: WeakKeyDictionary[Modulus, Context] = WeakKeyDictionary()
        self._crt: WeakKeyDictionary[CrtModulus, CrtConstants] = WeakKeyDictionary()

    # -- constants ---------------------------------------------------------------------------------------

    def _context(self, modulus: Modulus) -> Context:
        """Constants of a modulus, kept as long as it. Two threads may make them at once: they are equal."""
        found = self._contexts.get(modulus)
        if found is None:
            found = self._contexts[modulus] = Context(modulus, self._shapes, self._keep)
        return found

    def _crt_constants(self, crt: CrtModulus) -> CrtConstants:
        """Constants of a secret key, kept as long as the key."""
        found = self._crt.get(crt)
        if found is None:
            found = self._crt[crt] = crt_constants(crt, self._context, self._keep)
        return found

    # -- memory ------------------------------------------------------------------------------------------

    def _keep(self, words: NDArray[Any]) -> Buffer:
        """Host words in memory that is wiped when it is let go."""
        buffer = self._secret(words.nbytes).buffer
        self._device.write(buffer, np.ascontiguousarray(words))
        return buffer

    def _rows(self, context: Context, count: int) -> Buffer:
        """Memory for elements, wiped when it is let go."""
        return self._secret(count * context.row_bytes).buffer

    def _public_rows(self, context: Context, count: int) -> Buffer:
        """Memory for elements that anyone may see."""
        return self._empty(count * context.row_words, np.uint32)

    def _chunked(self, count: int, bytes_each: int, work: Callable[[int, int], None], *, floor: int = FLOOR) -> None:
        """work(start, stop) for stretches of 0 … count-1 whose temporaries, `bytes_each` an element, fit the budget.

        A stretch that finds no memory is tried again at half the length, which must not harm: what it wrote is written
        again. Raises DeviceMemoryError where `floor` elements do not fit.
        """
        step = max(1, min(count, max(floor, self._budget // max(1, bytes_each))))
        start = 0
        while start < count:
            try:
                work(start, min(count, start + step))
            except DeviceMemoryError:
                if step <= floor:
                    raise
                step = max(floor, step // 2)
                gc.collect()  # arrays that only a cycle of references keeps
            else:
                start += step

    def _assembled(
        self,
        count: int,
        words: int,
        bytes_each: int,
        work: Callable[[int, int], Buffer],
        *,
        floor: int = FLOOR,
        secret: bool = True,
    ) -> Buffer:
        """Rows of `words` words, made by `work` as in `_chunked` and joined; one stretch that is all is not copied."""
        whole: list[Buffer] = []

        def place(start: int, stop: int) -> None:
            if stop - start == count:
                whole[:] = [work(start, stop)]
                return
            if not whole:
                size = 4 * count * words
                whole.append(self._secret(size).buffer if secret else self._empty(size, np.uint8))
            self._move(whole[0], work(start, stop), words, stop - start, out_at=start)

        self._chunked(count, bytes_each, place, floor=floor)
        return whole[0] if whole else self._device.allocate(0)

    def _stretch(self, rows: Buffer, words: int, start: int, stop: int, count: int) -> Buffer:
        """Rows start … stop-1 of `count` rows of `words` words: themselves where that is all."""
        if stop - start == count:
            return rows
        out = self._secret(4 * (stop - start) * words).buffer
        self._move(out, rows, words, stop - start, in_at=start)
        return out

    def _flat_kernel(self, program: str, kernel: str, threads: int, *arguments: Argument) -> None:
        """A kernel whose threads do not share integers."""
        self._launch(program, kernel, self._flat, threads, *arguments)

    def _move(
        self,
        out: Buffer,
        rows: Buffer,
        words: int,
        count: int,
        *,
        out_at: int = 0,
        in_at: int = 0,
        pattern: tuple[int, int, int] = (1, 1, 0),
    ) -> None:
        """out[out_at + i] = rows[in_at + place i] for `count` rows of `words` words; places by (inner, outer, step)."""
        at = (np.uint64(out_at), rows, np.uint64(in_at))
        self._flat_kernel("moves", "move_rows", count * words, out, *at, *u32(*pattern, words), np.uint64(count))

    def _gathered(self, context: Context, rows: Buffer, indices: NDArray[Any]) -> Buffer:
        """rows[indices], flat."""
        index, words, count = self._to_device(indices.astype(np.uint32).ravel()), context.row_words, indices.size
        out = self._rows(context, count)
        self._flat_kernel("pack", "gather", count * words, out, rows, index, *u32(words), np.uint64(count))
        return out

    def _places(self, first: int, pattern: tuple[int, int, int], count: int) -> Buffer:
        """The index list first + place i, modulo 2^32."""
        index = self._empty(count, np.uint32)
        places = u32(*(x % (1 << 32) for x in (first, *pattern)))
        self._flat_kernel("moves", "places", count, index, *places, *u32(count))
        return index

    # -- kernels of `integer` ----------------------------------------------------------------------------

    def _integer(self, kernel: str, context: Context, count: int, *arguments: Argument) -> None:
        """A kernel over `count` elements; modulus, inverse and count follow the arguments."""
        lanes, last = context.geometry.lanes, (context.modulus, context.inverse, np.uint32(count))
        self._launch("integer", kernel, context.defines, count * lanes, *arguments, *last)

    def _multiply(
        self,
        context: Context,
        out: Buffer,
        a: Buffer,
        b: Buffer,
        count: int,
        *,
        a_index: Buffer | None = None,
        b_index: Buffer | None = None,
        shared: bool = False,
    ) -> Buffer:
        """out[i] = a[i or a_index[i]] * b[i, b_index[i], or 0 where shared]; returns `out`."""
        indexed = A_INDEX * (a_index is not None) | B_INDEX * (b_index is not None) | B_SHARED * shared
        self._integer("multiply", context, count, out, a, a_index, b, b_index, *u32(indexed))
        return out

    def _squared(self, context: Context, rows: Buffer, count: int, times: int) -> None:
        """rows[i] <- rows[i] ** (2 ** times)"""
        for _ in range(times):
            self._integer("square", context, count, rows, rows)

    def _sum(self, context: Context, a: Buffer, b: Buffer, count: int) -> Buffer:
        """a <- a + b"""
        self._integer("add", context, count, a, a, b, context.one)
        return a

    def _ones(self, context: Context, count: int) -> Buffer:
        out = self._public_rows(context, count)
        self._move(out, context.one, context.row_words, count, pattern=(1, 0, 0))
        return out

    # -- to and from limbs -------------------------------------------------------------------------------

    def _digits(self, limbs: Buffer, limb_count: int, count: int, context: Context, chunks: int) -> Buffer:
        """(count, limb_count) limbs as (count, chunks, W) digits."""
        width, radix = context.geometry.width * chunks, context.geometry.radix
        digits = self._secret(4 * count * width).buffer
        sizes = u32(limb_count, width, radix)
        self._flat_kernel("pack", "digits_from_limbs", count * width, digits, limbs, *sizes, np.uint64(count))
        return digits

    def _limbs(self, digits: Buffer, width: int, radix: int, limb_count: int, count: int) -> Buffer:
        """(count, width) digits as (count, limb_count) limbs."""
        limbs = self._secret(8 * count * limb_count).buffer
        sizes = u32(width, limb_count, radix)
        self._flat_kernel("pack", "limbs_from_digits", count * limb_count, limbs, digits, *sizes, np.uint64(count))
        return limbs

    def _imported(
        self, context: Context, limbs: Buffer, limb_count: int, bits: int, count: int, constants: Buffer
    ) -> Buffer:
        """Integers below 2**bits as elements, times what `constants` say."""
        chunks = context.chunks(bits)
        digits = self._digits(limbs, limb_count, count, context, chunks)
        out = self._rows(context, count)
        self._integer("import_rows", context, count, out, digits, constants, *u32(chunks))
        return out

    def _exported(self, context: Context, rows: Buffer, count: int) -> Buffer:
        """Residues as (count, context.limbs) limbs."""
        digits = self._secret(4 * count * context.row_words).buffer
        self._integer("export_rows", context, count, digits, rows)
        return self._limbs(digits, context.row_words, context.geometry.radix, context.limbs, count)

    def _conversion_bytes(self, context: Context) -> int:
        """Of limbs, digits and a row of one element, for `_chunked`."""
        return 8 * context.limbs + 3 * 8 * context.geometry.width

    def _upload(self, context: Context, limbs: Limbs) -> Buffer:
        """(count, context.limbs) host limbs as elements."""

        def work(start: int, stop: int) -> Buffer:
            part = self._keep(limbs[start:stop])
            return self._imported(context, part, context.limbs, context.bits, stop - start, context.uploading)

        return self._assembled(len(limbs), context.row_words, self._conversion_bytes(context), work)

    def _download(self, context: Context, rows: Buffer, count: int) -> Limbs:
        """(count, context.limbs) host limbs."""
        out = np.empty((count, context.limbs), dtype=np.uint64)

        def work(start: int, stop: int) -> None:
            part = self._stretch(rows, context.row_words, start, stop, count)
            self._device.read(self._exported(context, part, stop - start), out[start:stop])

        self._chunked(count, self._conversion_bytes(context) + context.row_bytes, work)
        return out

    def _download_ints(self, context: Context, rows: Buffer, count: int) -> list[int]:
        return ints_from_limbs(self._download(context, rows, count))

    def _upload_ints(self, context: Context, values: list[int]) -> Buffer:
        return self._upload(context, limbs_from_ints(values, context.limbs))
