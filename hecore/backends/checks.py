"""Operand checks that every backend shares: a typed error before any arithmetic.

Messages print shapes, sizes and names, never a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import gcd
from hecore.arith.limbs import LIMB_BITS, less_than, limbs_for_bits
from hecore.backends.protocol import DeviceExponents, ExponentArray, FixedBaseTable, ResidueArray
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.protocol import Indices, IntegerBackend, Limbs

_HANDLES = (ResidueArray, FixedBaseTable)


def check_owned(backend: IntegerBackend, *operands: object) -> None:
    """Every operand lives on `backend`."""
    for operand in operands:
        if not isinstance(operand, _HANDLES):
            raise OperandTypeError(f"expected a ResidueArray, got {type(operand).__name__}")
        if operand.backend is not backend:
            raise BackendMismatchError(
                f"cannot use an operand on {operand.backend.name!r} in an operation on {backend.name!r}: "
                f"move it with .to({backend.name!r})"
            )


def check_same_modulus(*arrays: ResidueArray) -> None:
    """All arrays share one modulus (value and known root)."""
    for a in arrays[1:]:
        if a.modulus is not arrays[0].modulus and a.modulus != arrays[0].modulus:
            raise ParameterError(f"cannot combine residues of different moduli: {arrays[0].modulus} and {a.modulus}")


def check_modulus(a: ResidueArray, modulus: Modulus) -> None:
    """`a` has exactly this modulus."""
    if a.modulus is not modulus and a.modulus != modulus:
        raise ParameterError(f"cannot use residues of {a.modulus} here: expected {modulus}")


def check_same_shape(a: ResidueArray, b: ResidueArray) -> None:
    """Shapes are equal; broadcasting is the caller's business."""
    if a.shape != b.shape:
        raise ShapeError(f"cannot combine residues of shapes {a.shape} and {b.shape}: shapes must be equal")


def check_pair(backend: IntegerBackend, a: ResidueArray, b: ResidueArray) -> None:
    """Two operands of one elementwise operation: same backend, modulus and shape."""
    check_owned(backend, a, b)
    check_same_modulus(a, b)
    check_same_shape(a, b)


def check_host_limbs(limbs: Limbs, modulus: Modulus, what: str = "residues") -> tuple[int, ...]:
    """uint64 limbs (*S, modulus.limbs), each value below `modulus`; returns S."""
    _check_uint64(limbs, what)
    if limbs.ndim == 0 or limbs.shape[-1] != modulus.limbs:
        raise ShapeError(
            f"cannot read {what} from limbs of shape {limbs.shape}: the last axis must be {modulus.limbs} for {modulus}"
        )
    if not bool(less_than(limbs, modulus.value).all()):
        raise ParameterError(f"cannot use {what} that are not below the modulus {modulus}")
    return limbs.shape[:-1]


def check_bits(bits: int, what: str = "exponents") -> None:
    if bits < 1:
        raise ParameterError(f"cannot use {what} of {bits} bits: at least 1")


def check_exponents(exponents: object) -> None:
    """Well formed: bits >= 1, the limb count that belongs to it, every value below 2**bits."""
    if not isinstance(exponents, ExponentArray):
        raise OperandTypeError(f"expected an ExponentArray, got {type(exponents).__name__}")
    if isinstance(exponents, DeviceExponents):  # by construction; to look would fetch them
        return
    check_bits(exponents.bits)
    _check_bit_bound(exponents.limbs, exponents.bits, "exponents")


def check_exponents_for(a: ResidueArray, exponents: ExponentArray) -> None:
    """Well formed, and shared by the batch (shape ()) or one per element."""
    check_exponents(exponents)
    if exponents.shape not in ((), a.shape):
        raise ShapeError(f"cannot raise residues of shape {a.shape} to exponents of shape {exponents.shape}")


def check_fixed_base(base: int, modulus: Modulus, exponent_bits: int, memory_budget: int | None) -> None:
    """A unit in [0, modulus), exponents of at least one bit, a positive budget."""
    check_bits(exponent_bits)
    if not 0 <= base < modulus.value or gcd(base, modulus.value) != 1:
        raise ParameterError(f"cannot build a table: the base must be a unit in [0, modulus) for {modulus}")
    if memory_budget is not None and memory_budget < 1:
        raise ParameterError(f"cannot build a table in {memory_budget} bytes: the budget must be positive")


def check_table_exponents(table: FixedBaseTable, exponents: ExponentArray) -> None:
    """Well formed, and within what the table covers."""
    check_exponents(exponents)
    if exponents.bits > table.exponent_bits:
        raise ParameterError(
            f"cannot use {exponents.bits}-bit exponents with a table for {table.exponent_bits}-bit exponents"
        )


def check_multi_exp(
    bases: ResidueArray, magnitudes: Limbs, negative: NDArray[np.bool_] | None, bits: int, most: int | None = None
) -> tuple[int, int]:
    """`bases` (k,), magnitudes (m, k, limbs_for_bits(bits)) below 2**bits and up to `most`, negative (m, k) of bool or
    None: (m, k).
    """
    check_bits(bits, "magnitudes")
    if bases.ndim != 1:
        raise ShapeError(f"cannot multi-exponentiate bases of shape {bases.shape}: one axis expected")
    signs = magnitudes.shape[:2] if negative is None else negative.shape
    if magnitudes.ndim != 3 or magnitudes.shape[1] != bases.size or magnitudes.shape[:2] != signs:
        raise ShapeError(
            f"cannot multi-exponentiate {bases.size} bases with magnitudes {magnitudes.shape} and signs "
            f"{signs}: (m, {bases.size}, limbs) and (m, {bases.size}) expected"
        )
    if negative is not None and negative.dtype != np.bool_:
        raise OperandTypeError(f"signs must be bool, got {negative.dtype}")
    _check_bit_bound(magnitudes, bits, "magnitudes")
    if most is not None:
        if not 0 <= most < 1 << bits:
            raise ParameterError(f"a bound on magnitudes of {bits} bits lies in [0, 2**{bits}), this one does not")
        beyond = int((~less_than(magnitudes, most + 1)).sum())
        if beyond:
            raise ParameterError(f"{beyond} magnitudes exceed their declared bound")
    return magnitudes.shape[0], bases.size


def check_indices(a: ResidueArray, indices: Indices) -> None:
    """Flat indices of an integer type, each in [0, a.size)."""
    _check_integer_range(indices, a.size, "indices")


def check_segments(a: ResidueArray, segments: Indices, count: int) -> None:
    """`a` (k,), segments (k,) of an integer type, each in [0, count)."""
    if count < 0:
        raise ParameterError(f"cannot make {count} segments")
    if a.ndim != 1 or segments.shape != a.shape:
        raise ShapeError(f"cannot segment residues of shape {a.shape} by labels of shape {segments.shape}")
    _check_integer_range(segments, count, "segments")


def check_concatenate(backend: IntegerBackend, arrays: Sequence[ResidueArray]) -> None:
    """At least one array; one backend, one modulus."""
    if not arrays:
        raise ShapeError("cannot concatenate nothing: at least one array")
    check_owned(backend, *arrays)
    check_same_modulus(*arrays)


def check_chunk(backend: IntegerBackend, chunk: ResidueArray, modulus: Modulus, at: int, size: int) -> None:
    """One more chunk at flat position `at` of `size`: same backend and modulus, and it fits."""
    check_owned(backend, chunk)
    check_modulus(chunk, modulus)
    if at + chunk.size > size:
        raise ShapeError(f"cannot collect {at + chunk.size} residues or more: {size} were announced")


def check_collected(at: int, size: int, *, any_chunk: bool) -> None:
    if not any_chunk or at != size:
        raise ShapeError(f"cannot collect {size} residues: the chunks held {at}")


def check_reshape(a: ResidueArray, shape: tuple[int, ...]) -> None:
    """Equal size, every axis >= 0."""
    size = 1
    for axis in shape:
        size *= axis
    if size != a.size or any(axis < 0 for axis in shape):
        raise ShapeError(f"cannot reshape residues of shape {a.shape} to {shape}")


def check_last_axis(a: ResidueArray) -> None:
    if a.ndim == 0:
        raise ShapeError("cannot multiply along the last axis of shape (): there is none")


def check_divides(a: ResidueArray, modulus: Modulus) -> None:
    """`modulus` divides the array's modulus."""
    if a.modulus.value % modulus.value:
        raise ParameterError(f"cannot reduce residues of {a.modulus} modulo {modulus}: it does not divide")


def check_crt_halves(backend: IntegerBackend, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus) -> None:
    """Residues modulo p^2 and q^2 of one shape on one backend."""
    check_owned(backend, a_p, a_q)
    check_modulus(a_p, crt.p_squared)
    check_modulus(a_q, crt.q_squared)
    check_same_shape(a_p, a_q)


def check_lift(
    backend: IntegerBackend, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus, messages: Limbs | None
) -> None:
    """As `check_crt_halves`; messages below n, of the same shape."""
    check_crt_halves(backend, a_p, a_q, crt)
    if messages is not None:
        _check_times(check_host_limbs(messages, crt.n, "messages"), a_p)


def check_bounded(backend: IntegerBackend, a: ResidueArray, crt: CrtModulus, bound: int) -> None:
    """Ciphertexts of this key, and a bound that leaves one factor enough redundancy."""
    check_owned(backend, a)
    check_modulus(a, crt.n_squared)
    if not crt.one_factor_decides(bound):
        raise ParameterError(
            f"cannot decrypt modulo one factor of {crt.n}: a bound of {bound.bit_length()} bits leaves too little "
            "redundancy, or is negative"
        )


def check_encode(
    backend: IntegerBackend, messages: Limbs, modulus: Modulus, times: ResidueArray | None
) -> tuple[Modulus, tuple[int, ...]]:
    """`modulus` knows its root n, messages are below n, `times` fits; returns (n, S)."""
    root = modulus.square_of
    if root is None:
        raise ParameterError(f"cannot encode modulo {modulus}: it does not know its square root")
    shape = check_host_limbs(messages, root, "messages")
    if times is not None:
        check_owned(backend, times)
        check_modulus(times, modulus)
        _check_times(shape, times)
    return root, shape


def _check_times(shape: tuple[int, ...], times: ResidueArray) -> None:
    if times.shape != shape:
        raise ShapeError(f"cannot encode messages of shape {shape} times residues of shape {times.shape}")


def not_invertible_message(indices: tuple[int, ...], size: int) -> str:
    """The text of a NotInvertibleError: how many, and the first few flat positions."""
    listed = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return f"cannot invert {len(indices)} of {size} residues, which share a factor with the modulus: at {listed}"


def _check_uint64(limbs: object, what: str) -> None:
    if not isinstance(limbs, np.ndarray) or limbs.dtype != np.uint64:
        raise OperandTypeError(f"{what} must be an array of uint64 limbs, got {_kind(limbs)}")


def _check_bit_bound(limbs: Limbs, bits: int, what: str) -> None:
    """Values below 2**bits: the limb count fits and the top limb's spare bits are clear."""
    _check_uint64(limbs, what)
    expected = limbs_for_bits(bits)
    if limbs.ndim == 0 or limbs.shape[-1] != expected:
        raise ShapeError(f"cannot read {what} of {bits} bits from limbs of shape {limbs.shape}: last axis {expected}")
    top = bits - (expected - 1) * LIMB_BITS
    if top < LIMB_BITS and bool((limbs[..., -1] >> np.uint64(top)).any()):
        raise ParameterError(f"cannot use {what} that are not below 2**{bits}")


def _check_integer_range(indices: object, end: int, what: str) -> None:
    if not isinstance(indices, np.ndarray) or not np.issubdtype(indices.dtype, np.integer):
        raise OperandTypeError(f"{what} must be an array of integers, got {_kind(indices)}")
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < end):
        raise ParameterError(f"{what} out of range: each must lie in [0, {end})")


def _kind(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
