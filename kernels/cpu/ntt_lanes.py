"""Butterflies of the negacyclic transforms on eight residues at a time; every range is checked when code is emitted.

The Python below runs at compile time: it writes LLVM code and, beside each value, carries the interval that the value
lies in. A butterfly that could leave its word is an assertion that fails while compiling, on any input.

Let B = 2^b be the power of two with B/2 < q < B. Residues are lazy integers in [0, C*B), C = `capacity`: 8 for
*narrow* primes (b <= 49, C*B <= 2^52), 16 for *wide* ones (b <= 60, C*B <= 2^64), and half of these for the *tight*
ones, b = 50 and b = 61. Only y, the operand that is multiplied, must be in that range; others may pass through
negative values, all modulo the word.

**Product** y*w by a twiddle 0 <= w < q (Shoup's quotients, see ntt_tables.py).
Narrow, modulo 2^52, with w' = floor(w*2^52/q): y*w - floor(y*w'/2^52)*q + c in [c, c + 2q): three IFMA operations,
since the second adds to c and the third to the second. Bits 52..63 of the sum are garbage: they are multiples of 2^52,
which additions carry along and multiplications do not read.
Wide, modulo 2^64, with w*2^104/q = F*2^52 + G + (less than 1), y = t*2^52 + l:

    h = t*F + floor(l*F/2^52) + floor(t*G/2^52)     y*w/q - h < 3 + 2^-40

since l*(G + 1)/2^104, the two fractions cut off, and t*2^-52 are below 1, 1, 1 and 2^-40. So y*w - h*q is in
[0, 4q): two IFMA operations and three 64-bit products.

**Forward** (Cooley-Tukey, u +- y*w). Products are centred, in [-f/2, f/2) with f = 2q or 4q; a stage widens a range by
f/2 at both ends. `lift` reduces u and raises it by k*q for the stages to come: with T = C*B/8 the top three bits of u
choose floor(i*T/q)*q from a vector register, so u - that + k*q is in [k*q, (k+1)*q + T). Three stages fit, one tight.

**Backward** (Gentleman-Sande, u+v and (u-v)*w). Between groups of stages everything is in [0, f). Differences get
a multiple of q that keeps them non-negative, or none where the products before were raised instead; sums are
reduced, by sixteenths of the range (`reduce`), where they would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from hecore.kernels.cpu.vector import (
    DIGIT_BITS,
    DIGIT_MASK,
    I32,
    I64,
    V_PERMUTE,
    WORD,
    constant,
    emit_load,
    emit_mul_hi,
    emit_mul_lo,
)

Value = Any  # an LLVM value; llvmlite ships no types
Twiddle = tuple[Value, ...]

# A prime's constants, in words: see ntt_tables.py for what fills them.
NEGATIVE_Q, SHIFT, FINE_SHIFT, BARRETT = 0, 1, 2, 3
LIFTED, REDUCED, MULTIPLES, LEAST_MULTIPLE, SCALE, LAST = 8, 16, 32, -8, 64, 68
BLOCK_WORDS = 72
LANES = 8  # this path has no other


def i64(value: int) -> Value:
    return ir.Constant(I64, value)


def words_on(b: ir.IRBuilder, address: Value, words: Value | int) -> Value:
    """The address `words` words on."""
    return b.add(address, i64(8 * words) if isinstance(words, int) else b.shl(words, i64(3)))


def broadcast(b: ir.IRBuilder, address: Value, word: int = 0) -> Value:
    """The word at `address` + `word` words in every lane."""
    value = b.load(b.inttoptr(words_on(b, address, word), I64.as_pointer()), align=8)
    undefined = ir.Constant(WORD, ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(I32, 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def shuffle(b: ir.IRBuilder, x: Value, y: Value, pattern: list[int]) -> Value:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, LANES), pattern))


def call(b: ir.IRBuilder, name: str, *arguments: Value) -> Value:
    kind = ir.FunctionType(WORD, [WORD] * len(arguments))
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)


def smaller(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    return b.select(b.icmp_unsigned("<", x, y), x, y)  # one vpminuq, no branch


@dataclass(frozen=True)
class Bound:
    """The number q*`times` + B*`quarters`/4, for every q with B/2 < q < B."""

    times: int
    quarters: int = 0

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.times + other.times, self.quarters + other.quarters)

    def multiple(self) -> int:
        """A k with k*q at least this: B/4 < q/2."""
        return self.times + -(-self.quarters // 2)

    def fits(self, capacity: int) -> bool:
        """At most capacity*B."""
        times = self.times if self.times > 0 else self.times / 2
        return times + self.quarters / 4 <= capacity


@dataclass(frozen=True)
class Wire:
    """A vector of integers in [q*`low`, `high`)."""

    value: Value
    low: int
    high: Bound


@dataclass(frozen=True)
class Shape:
    """What a class of primes allows (see the module's text). `words` of a twiddle, f in q's, stages a lift serves."""

    words: int
    fresh: int
    capacity: int
    stages: int


NARROW, NARROW_TIGHT = Shape(2, 2, 8, 3), Shape(2, 2, 4, 1)
WIDE, WIDE_TIGHT = Shape(3, 4, 16, 3), Shape(3, 4, 8, 1)


class Field:
    """Arithmetic modulo one prime whose constants lie at `block`."""

    def __init__(self, b: ir.IRBuilder, shape: Shape, block: Value) -> None:
        self.b, self.shape = b, shape
        self._narrow = shape.words == 2
        self._negative_q, self._shift, self._fine_shift, self._barrett = (
            broadcast(b, block, word) for word in (NEGATIVE_Q, SHIFT, FINE_SHIFT, BARRETT)
        )
        self._lifted = emit_load(b, words_on(b, block, LIFTED), 0)
        self._reduced = [emit_load(b, words_on(b, block, REDUCED), half) for half in (0, 1)]
        self._multiples = [broadcast(b, block, MULTIPLES + i) for i in range(32)]  # LLVM drops those not used
        self.scale = tuple(broadcast(b, block, SCALE + i) for i in range(shape.words))
        self.last = tuple(broadcast(b, block, LAST + i) for i in range(shape.words))

    def multiple(self, times: int) -> Value:
        """q*times, in every lane."""
        return self._multiples[times - LEAST_MULTIPLE]

    def anything(self, value: Value) -> Wire:
        """What the forward stages leave in memory: [0, C*B)."""
        return Wire(value, 0, Bound(0, 4 * self.shape.capacity))

    def fresh(self, value: Value) -> Wire:
        """What the backward stages leave in memory, and canonical residues too: [0, f)."""
        return Wire(value, 0, Bound(self.shape.fresh))

    def fits(self, x: Wire) -> bool:
        return x.high.fits(self.shape.capacity)

    def product(self, y: Wire, w: Twiddle, raised: int) -> Wire:
        """y*w + raised*q, in [raised*q, raised*q + f)."""
        assert y.low >= 0
        assert self.fits(y)
        b = self.b
        high = Bound(raised + self.shape.fresh)
        if self._narrow:
            quotient = emit_mul_hi(b, constant(0), y.value, w[1])
            sum_ = constant(0) if raised == 0 else self.multiple(raised)
            return Wire(emit_mul_lo(b, emit_mul_lo(b, sum_, y.value, w[0]), quotient, self._negative_q), raised, high)
        top = b.lshr(y.value, constant(DIGIT_BITS))
        quotient = emit_mul_hi(b, emit_mul_hi(b, constant(-raised), y.value, w[1]), top, w[2])
        quotient = b.add(quotient, b.mul(top, w[1]))
        return Wire(b.sub(b.mul(y.value, w[0]), b.mul(quotient, self.multiple(1))), raised, high)

    def lift(self, u: Wire) -> Wire:
        """u modulo q in [k*q, (k+1)*q + T) for any u in [0, C*B), k = f/2 times the stages that follow."""
        assert u.low >= 0
        assert self.fits(u)
        index = self.b.lshr(u.value, self._shift)  # the permute reads its low three bits
        value = self.b.sub(u.value, call(self.b, "llvm.x86.avx512.permvar.di.512", self._lifted, index))
        k = self.shape.fresh // 2 * self.shape.stages
        return Wire(value, k, Bound(k + 1, self.shape.capacity // 2))

    def reduce(self, x: Wire) -> Wire:
        """x modulo q in [0, q + T/2) for any x in [0, C*B); T/2 <= f - q."""
        assert x.low >= 0
        assert self.fits(x)
        index = self.b.lshr(x.value, self._fine_shift)  # the permute reads its low four bits
        value = self.b.sub(x.value, call(self.b, V_PERMUTE, self._reduced[0], index, self._reduced[1]))
        return Wire(value, 0, Bound(1, self.shape.capacity // 4))

    def canonical(self, x: Wire) -> Value:
        """x modulo q in [0, q) for any x in [0, C*B)."""
        b = self.b
        if not self._narrow:
            return self.canonical_fresh(self.reduce(x))
        assert x.low >= 0
        assert self.fits(x)
        quotient = emit_mul_hi(b, constant(0), x.value, self._barrett)  # floor(2^52/q): too small by less than 2
        value = emit_mul_lo(b, x.value, quotient, self._negative_q)
        return self.canonical_fresh(replace(x, value=value, high=Bound(2)))

    def canonical_fresh(self, x: Wire) -> Value:
        """x modulo q in [0, q) for x in [0, f)."""
        assert x.low >= 0
        assert x.high.multiple() <= self.shape.fresh
        b = self.b
        value = b.and_(x.value, constant(DIGIT_MASK)) if self._narrow else x.value
        if not self._narrow:
            value = smaller(b, value, b.sub(value, self.multiple(2)))
        return smaller(b, value, b.sub(value, self.multiple(1)))

    # -- butterflies -------------------------------------------------------------------------------------------------

    def forward(self, x: list[Wire], i: int, j: int, w: Twiddle) -> None:
        """x[i], x[j] <- u + y*w, u - y*w."""
        half = self.shape.fresh // 2
        u, v = x[i], self.product(x[j], w, -half)
        low, high = u.low - half, u.high + Bound(half)
        x[i] = Wire(self.b.add(u.value, v.value), low, high)
        x[j] = Wire(self.b.sub(u.value, v.value), low, high)
        assert low >= 0
        assert self.fits(x[i])

    def backward(self, x: list[Wire], i: int, j: int, w: Twiddle, raised: int) -> None:
        """x[i], x[j] <- u + v, (u - v)*w + raised*q."""
        x[i], difference = self.sum_and_difference(x[i], x[j])
        x[j] = self.product(difference, w, raised)

    def sum_and_difference(self, u: Wire, v: Wire) -> tuple[Wire, Wire]:
        """u + v and u - v + (a multiple of q), both in [0, C*B)."""
        if not all(map(self.fits, self._ranges(u, v))):
            u, v = self.reduce(u), self.reduce(v)
        sum_, difference = self._ranges(u, v)
        assert self.fits(sum_)
        assert self.fits(difference)
        b, k = self.b, difference.low - u.low + v.high.multiple()
        value = b.sub(u.value, v.value)
        value = b.add(value, self.multiple(k)) if k else value
        return replace(sum_, value=b.add(u.value, v.value)), replace(difference, value=value)

    @staticmethod
    def _ranges(u: Wire, v: Wire) -> tuple[Wire, Wire]:
        """u + v, and u - v + k*q with the least k >= 0 that makes it non-negative."""
        least = u.low - v.high.multiple()
        k = max(0, -least)
        return Wire(None, u.low + v.low, u.high + v.high), Wire(None, least + k, u.high + Bound(k - v.low))

    def settle(self, x: Wire) -> Wire:
        """x in [0, f), as memory between backward passes holds it."""
        return x if x.low >= 0 and x.high.multiple() <= self.shape.fresh else self.reduce(x)


Reader = Callable[[int, int], Twiddle]  # stage and block within the group -> twiddle


def forward_stages(f: Field, x: list[Wire], read: Reader, lifted: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """log2(len(x)) stages on the wires of one block, halves before quarters; u is lifted in the stages `lifted`.

    Yields after each butterfly (i, j) of the last stage, and (-1, -1) after each other one, so that
    independent work may be emitted between them.
    """
    stages = len(x).bit_length() - 1
    for stage in range(stages):
        half = len(x) >> (stage + 1)
        for block in range(1 << stage):
            w = read(stage, block)
            for i in range(2 * half * block, 2 * half * block + half):
                x[i] = f.lift(x[i]) if stage in lifted else x[i]
                f.forward(x, i, i + half, w)
                yield (i, i + half) if half == 1 else (-1, -1)


def backward_stages(f: Field, x: list[Wire], read: Reader, *, last: bool = False) -> Iterator[tuple[int, int]]:
    """The inverse of `forward_stages` but for a factor len(x): neighbours first. Yields as that does.

    Products are raised by 1 - (the number of the next two stages, of those left, that subtract them), times f: these
    subtractions then need no multiple of q. The `last` of all stages multiplies its sum as well, by 1/N, and the
    twiddle of its difference holds that factor.
    """
    stages = len(x).bit_length() - 1
    for stage in reversed(range(stages)):
        half = len(x) >> (stage + 1)
        following = [2 * half, 4 * half][: stage if f.shape.stages > 1 else 0]
        for block in range(1 << stage):
            w = f.last if last and stage == 0 else read(stage, block)
            for i in range(2 * half * block, 2 * half * block + half):
                j = i + half
                raised = (1 - sum(bool(j & bit) for bit in following)) * f.shape.fresh if following else 0
                f.backward(x, i, j, w, raised)
                if last and stage == 0:
                    x[i] = f.product(x[i], f.scale, 0)
                yield (i, j) if stage == 0 else (-1, -1)
