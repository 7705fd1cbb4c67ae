"""A Numba type for a vector of 52-bit digits, one digit of LANES independent numbers, and its operations.

On a CPU with AVX-512 IFMA a vector has eight lanes and `mul_lo`/`mul_hi` are one instruction each. Elsewhere
(AVX2, Arm, older x86) it has one lane in a general register and the two are built from a 64x64->128-bit
multiplication: the same kernel text, the same digits in memory, the same results. HECORE_CPU=portable forces
the second form, HECORE_CPU=ifma demands the first.

A digit vector lives in memory as LANES consecutive uint64. Pointers are plain `intp` addresses: kernels move
through scratch memory of their own and never hold an array of a caller's beyond the call.

Secrets stay in vectors. Nothing here moves a lane to a general register, to flags or to an address, so code
made of these operations has no secret-dependent branch or access (tests/kernels checks the disassembly).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from hecore.errors import BackendUnavailableError

DIGIT_BITS = 52
DIGIT_MASK = (1 << DIGIT_BITS) - 1


def _choose_lanes() -> int:
    wanted = os.environ.get("HECORE_CPU", "auto")
    if wanted not in ("auto", "ifma", "portable"):
        raise BackendUnavailableError(f"HECORE_CPU={wanted!r} is unknown: allowed are auto, ifma, portable")
    present = bool(binding.get_host_cpu_features().get("avx512ifma", False))
    if wanted == "ifma" and not present:
        raise BackendUnavailableError("HECORE_CPU=ifma, but this CPU has no AVX-512 IFMA; use auto or portable")
    return 8 if present and wanted != "portable" else 1


LANES = _choose_lanes()
IFMA = LANES == 8
VECTOR_BYTES = 8 * LANES

I1, I32, I64, I128 = (ir.IntType(bits) for bits in (1, 32, 64, 128))
WORD = ir.VectorType(I64, LANES) if IFMA else I64
_WIDE = I128

Emitter = Callable[..., Any]
V_PERMUTE = "llvm.x86.avx512.vpermi2var.q.512"  # per lane, word index mod 16 of two vectors; eight lanes only


def constant(value: int) -> ir.Constant:
    """A vector constant with `value` in every lane."""
    return ir.Constant(WORD, [value] * LANES) if IFMA else ir.Constant(WORD, value)


class LanesType(types.Type):
    """The Numba type of a digit vector."""

    def __init__(self) -> None:
        super().__init__(name=f"hecore_lanes{LANES}")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend: Any) -> None:
        super().__init__(manager, frontend, WORD)


# -- code emitters, shared with montgomery.py's staged row passes -------------------------------------------


def emit_pointer(b: ir.IRBuilder, address: Any, index: Any) -> Any:
    offset = b.mul(index, ir.Constant(I64, VECTOR_BYTES)) if not isinstance(index, int) else index * VECTOR_BYTES
    if isinstance(offset, int):
        offset = ir.Constant(I64, offset)
    return b.inttoptr(b.add(address, offset), WORD.as_pointer())


def emit_load(b: ir.IRBuilder, address: Any, index: Any) -> Any:
    return b.load(emit_pointer(b, address, index), align=8)


def emit_store(b: ir.IRBuilder, address: Any, index: Any, value: Any) -> None:
    b.store(value, emit_pointer(b, address, index), align=8)


def emit_splat(b: ir.IRBuilder, word: Any) -> Any:
    """`word` in every lane."""
    if not IFMA:
        return word
    undefined = ir.Constant(WORD, ir.Undefined)
    first = b.insert_element(undefined, word, ir.Constant(I32, 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def _emit_product(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    mask = ir.Constant(I64, DIGIT_MASK)
    return b.mul(b.zext(b.and_(x, mask), _WIDE), b.zext(b.and_(y, mask), _WIDE))


def emit_mul_lo(b: ir.IRBuilder, acc: Any, x: Any, y: Any) -> Any:
    """acc + the low 52 bits of x*y, for the low 52 bits of x and of y."""
    if IFMA:
        kind = ir.FunctionType(WORD, [WORD, WORD, WORD])
        return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.vpmadd52l.uq.512"), [acc, x, y])
    return b.add(acc, b.and_(b.trunc(_emit_product(b, x, y), I64), ir.Constant(I64, DIGIT_MASK)))


def emit_mul_hi(b: ir.IRBuilder, acc: Any, x: Any, y: Any) -> Any:
    """acc + bits 52..103 of x*y, for the low 52 bits of x and of y."""
    if IFMA:
        kind = ir.FunctionType(WORD, [WORD, WORD, WORD])
        return b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.vpmadd52h.uq.512"), [acc, x, y])
    return b.add(acc, b.trunc(b.lshr(_emit_product(b, x, y), ir.Constant(_WIDE, DIGIT_BITS)), I64))


def emit_opaque(b: ir.IRBuilder, mask: Any) -> Any:
    """`mask`, of which LLVM learns nothing: with one lane it knows a sign mask for a choice and makes it a branch.

    An empty piece of assembly hides where the mask comes from. Vectors have no branches to be turned into.
    """
    if IFMA:
        return mask
    return b.call(ir.InlineAsm(ir.FunctionType(WORD, [WORD]), "", "=r,0"), [mask])


# -- the operations as Numba sees them -----------------------------------------------------------------------


def _operation(result: Any, arguments: int, emit: Emitter) -> Any:
    """A Numba function of `arguments` vectors whose body is `emit(builder, *arguments)`."""
    signature_arguments = (lanes,) * arguments

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return emit(b, *args)

    if arguments == 1:
        return intrinsic(lambda _typing, x: (result(*signature_arguments), codegen))
    if arguments == 2:
        return intrinsic(lambda _typing, x, y: (result(*signature_arguments), codegen))
    if arguments == 3:
        return intrinsic(lambda _typing, x, y, z: (result(*signature_arguments), codegen))
    return intrinsic(lambda _typing, x, y, z, w: (result(*signature_arguments), codegen))


mul_lo = _operation(lanes, 3, emit_mul_lo)
mul_hi = _operation(lanes, 3, emit_mul_hi)
add = _operation(lanes, 2, lambda b, x, y: b.add(x, y))
sub = _operation(lanes, 2, lambda b, x, y: b.sub(x, y))
and_ = _operation(lanes, 2, lambda b, x, y: b.and_(x, y))
xor = _operation(lanes, 2, lambda b, x, y: b.xor(x, y))
shift_left = _operation(lanes, 2, lambda b, x, y: b.shl(x, y))  # counts below 64
shift_right = _operation(lanes, 2, lambda b, x, y: b.lshr(x, y))
low_digit = _operation(lanes, 1, lambda b, x: b.and_(x, constant(DIGIT_MASK)))
carry = _operation(lanes, 1, lambda b, x: b.lshr(x, constant(DIGIT_BITS)))
borrow = _operation(lanes, 1, lambda b, x: b.ashr(x, constant(DIGIT_BITS)))
sign = _operation(lanes, 1, lambda b, x: emit_opaque(b, b.ashr(x, constant(63))))


def _emit_select_equal(b: ir.IRBuilder, x: Any, y: Any, z: Any, w: Any) -> Any:
    if IFMA:
        return b.select(b.icmp_unsigned("==", x, y), z, w)
    # (x ^ y) - 1 is negative just where x == y, for words below 2^63
    mask = emit_opaque(b, b.ashr(b.sub(b.xor(x, y), constant(1)), constant(63)))
    return b.xor(w, b.and_(b.xor(z, w), mask))


# z where x == y, else w, for x and y below 2^63; never a branch
select_equal = _operation(lanes, 4, _emit_select_equal)


@intrinsic
def load(_typing: Any, address: Any, index: Any) -> Any:
    """The vector at `address` + `index` vectors."""
    return lanes(types.intp, types.intp), lambda _c, b, _s, args: emit_load(b, *args)


@intrinsic
def store(_typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Write `value` at `address` + `index` vectors."""

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        emit_store(b, *args)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes), codegen


@intrinsic
def splat(_typing: Any, value: Any) -> Any:
    """`value` in every lane."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return emit_splat(b, args[0])

    return lanes(types.uint64), codegen


def _emit_transpose(b: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """An 8x8 transpose of 64-bit words in three rounds of eight two-source shuffles."""
    for step in (1, 2, 4):
        out = [None] * LANES
        for i in range(LANES):
            if i & step:
                continue
            upper, lower = rows[i], rows[i | step]
            even = [j if not j & step else (j ^ step) + LANES for j in range(LANES)]
            odd = [j | step if not j & step else j + LANES for j in range(LANES)]
            kind = ir.VectorType(I32, LANES)
            out[i] = b.shuffle_vector(upper, lower, ir.Constant(kind, even))
            out[i | step] = b.shuffle_vector(upper, lower, ir.Constant(kind, odd))
        rows = out
    return rows


@intrinsic
def transpose_in(_typing: Any, destination: Any, rows: Any, digit: Any) -> Any:
    """Eight digits (one, with one lane) of each lane's row, from `digit` on, into vectors at `destination`.

    `rows` is the address of LANES row addresses; rows are public addresses of element-major memory.
    """

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        target, table, start = args
        sources = []
        for k in range(LANES):
            row = b.load(b.inttoptr(b.add(table, ir.Constant(I64, 8 * k)), I64.as_pointer()))
            address = b.add(row, b.mul(start, ir.Constant(I64, 8)))
            sources.append(b.load(b.inttoptr(address, WORD.as_pointer()), align=8))
        for j, value in enumerate(_emit_transpose(b, sources) if IFMA else sources):
            emit_store(b, target, j, value)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def transpose_out(_typing: Any, source: Any, rows: Any, digit: Any) -> Any:
    """The inverse of `transpose_in`: vectors at `source` into each lane's row, from `digit` on."""

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        address, table, start = args
        values = [emit_load(b, address, j) for j in range(LANES)]
        for k, value in enumerate(_emit_transpose(b, values) if IFMA else values):
            row = b.load(b.inttoptr(b.add(table, ir.Constant(I64, 8 * k)), I64.as_pointer()))
            target = b.add(row, b.mul(start, ir.Constant(I64, 8)))
            b.store(value, b.inttoptr(target, WORD.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def peek(_typing: Any, address: Any) -> Any:
    """The uint64 at `address`: public data only."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return b.load(b.inttoptr(args[0], I64.as_pointer()))

    return types.uint64(types.intp), codegen


@intrinsic
def poke(_typing: Any, address: Any, value: Any) -> Any:
    """Write a uint64 at `address`."""

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        b.store(args[1], b.inttoptr(args[0], I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.uint64), codegen


def emit_prefetch(b: ir.IRBuilder, address: Any, *, write: bool = False) -> None:
    """Ask for the cache line at `address`, which need not exist; public addresses only."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    hint = [ir.Constant(I32, value) for value in (int(write), 2, 1)]  # into the second level, data
    b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0"), [b.inttoptr(address, byte), *hint])
