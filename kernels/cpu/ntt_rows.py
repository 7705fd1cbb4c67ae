"""Transforms of single residue polynomials, called by address from kernels that do more than transform.

Every function has the arguments (target, source, degree, passes, plan, tables): addresses of the row that is written
and the row that is read, which may be the same, and what `plan_of` and `row_function` say. Forward takes any residues
below 4q, backward canonical ones; both give canonical ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hecore.kernels.cpu import cache as kernel_cache
from hecore.kernels.cpu.cache import kernel
from hecore.kernels.cpu.ntt_portable import backward_scalar, forward_scalar
from hecore.kernels.cpu.ntt_tables import scalar_tables, shape_of, vector_tables
from hecore.kernels.cpu.ring_words import public
from hecore.kernels.cpu.vector import I64, IFMA

Words = NDArray[np.uint64]

ARGUMENTS = 6


@intrinsic
def call_row(
    _typing: Any, function: Any, target: Any, source: Any, degree: Any, passes: Any, plan: Any, tables: Any
) -> Any:
    """Call a row's function by its address."""
    arguments = (types.intp,) * (ARGUMENTS + 1)

    def codegen(context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * ARGUMENTS)
        b.call(b.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@kernel
def transform_rows(out, data, rows, degree, passes, plan, first, last):
    """Rows (target offset, source offset, tables, function) of two arrays, which may be the same; offsets in bytes.

    Arrays, not addresses: Python takes longer to find an address than a small transform takes.
    """
    target, source = out.ctypes.data, data.ctypes.data
    for r in range(first, last):
        place, begin = target + public(rows[r, 0]), source + public(rows[r, 1])
        call_row(public(rows[r, 3]), place, begin, degree, passes, plan, public(rows[r, 2]))


@dataclass(frozen=True, eq=False)
class Row:
    """One prime, one direction: addresses of the function and of its tables, and what keeps these alive."""

    function: int
    tables: int
    alive: tuple[Any, Words]


@cache
def row_function(q: int, ring_degree: int, *, inverse: bool, one_lane: bool = False) -> Row:
    """What transforms modulo q; `one_lane` asks for the portable code on any machine."""
    if vectors(ring_degree) and not one_lane:
        from hecore.kernels.cpu.ntt_vector import FUNCTIONS

        function, tables = FUNCTIONS[shape_of(q), inverse], vector_tables(q, ring_degree, inverse)
    else:
        function, tables = backward_scalar if inverse else forward_scalar, scalar_tables(q, ring_degree, inverse)
    compiled = kernel_cache.entry(function, ARGUMENTS)
    return Row(compiled.address, tables.ctypes.data, (compiled, tables))


@cache
def vectors(ring_degree: int) -> bool:
    """Whether there are eight lanes, and enough coefficients for them."""
    if not IFMA:
        return False
    from hecore.kernels.cpu.ntt_vector import LEAST_DEGREE

    return ring_degree >= LEAST_DEGREE


@cache
def plan_of(ring_degree: int) -> tuple[int, int]:
    """`passes` and `plan`."""
    if not vectors(ring_degree):
        return 0, 0
    from hecore.kernels.cpu.ntt_vector import packed_plan

    return packed_plan(ring_degree)
