"""Operand checks that every ring backend shares: a typed error before any arithmetic.

Messages print shapes, sizes and names, never a residue. They are cheap: a call on a small polynomial takes a few
microseconds, and identity is asked before equality.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.limbs import limbs_for_bits
from hecore.arith.rns import RnsBasis, check_ring_degree
from hecore.backends.ring_protocol import PolynomialArray, SmallArray
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import RingBackend, Words

MAX_CONVERTED = 255  # moduli on the source side of an exact conversion


def check_owned(backend: RingBackend, a: object) -> None:
    """`a` is a PolynomialArray on `backend`."""
    if not isinstance(a, PolynomialArray):
        raise OperandTypeError(f"expected a PolynomialArray, got {type(a).__name__}")
    if a.backend is not backend:
        raise BackendMismatchError(
            f"cannot use polynomials on {a.backend.name!r} in an operation on {backend.name!r}: "
            f"move them with .to({backend.name!r})"
        )


def check_domain(backend: RingBackend, a: PolynomialArray, *, ntt: bool) -> None:
    """`a` lives on `backend`, in the domain asked for."""
    check_owned(backend, a)
    if a.ntt is not ntt:
        wanted, given = ("values", "coefficients") if ntt else ("coefficients", "values")
        raise ParameterError(f"cannot use polynomials given by {given}: transform them to {wanted} first")


def check_same_basis(a: PolynomialArray, b: PolynomialArray) -> None:
    """One basis and one domain."""
    if a.basis is not b.basis and a.basis != b.basis:
        raise ParameterError(f"cannot combine polynomials over {describe(a.basis)} and over {describe(b.basis)}")
    if a.ntt is not b.ntt:
        raise ParameterError("cannot combine polynomials given by coefficients with polynomials given by values")


def check_pair(backend: RingBackend, a: PolynomialArray, b: PolynomialArray) -> tuple[int, ...]:
    """Two operands of one elementwise operation; returns the broadcast batch shape."""
    check_owned(backend, a)
    check_owned(backend, b)
    check_same_basis(a, b)
    return broadcast(a.shape, b.shape)


def check_product(backend: RingBackend, a: PolynomialArray, b: PolynomialArray) -> tuple[int, ...]:
    """As `check_pair`, both transformed."""
    shape = check_pair(backend, a, b)
    check_domain(backend, a, ntt=True)
    return shape


def check_accumulate(backend: RingBackend, a: PolynomialArray, b: PolynomialArray) -> tuple[tuple[int, ...], int]:
    """Both transformed, with a last axis of equal length m; returns (the broadcast of the other axes, m)."""
    check_owned(backend, a)
    check_owned(backend, b)
    check_same_basis(a, b)
    check_domain(backend, a, ntt=True)
    if not a.shape or not b.shape or a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"cannot sum products of polynomials of shapes {a.shape} and {b.shape}: the last axes must be equal"
        )
    return broadcast(a.shape[:-1], b.shape[:-1]), a.shape[-1]


def check_tensor(backend: RingBackend, a: PolynomialArray, b: PolynomialArray) -> tuple[int, ...]:
    """(*S, 2) and (*S, 2), both transformed; returns the broadcast S."""
    shape, m = check_accumulate(backend, a, b)
    if m != 2:
        raise ShapeError(f"cannot form the tensor product of shapes {a.shape} and {b.shape}: last axes of 2 expected")
    return shape


def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's rule; ShapeError where it has none."""
    if a == b:
        return a
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"cannot combine batches of polynomials of shapes {a} and {b}") from None


def check_constants(a: PolynomialArray, constants: Sequence[int]) -> None:
    """One integer in [0, q_i) a modulus."""
    if len(constants) != len(a.basis):
        raise ShapeError(f"cannot use {len(constants)} constants with {len(a.basis)} moduli: one each")
    for c, q in zip(constants, a.basis.moduli, strict=True):
        if not isinstance(c, int):
            raise OperandTypeError(f"constants must be integers, got {type(c).__name__}")
        if not 0 <= c < q:
            raise ParameterError("cannot use a constant that is not in [0, q) for its modulus")


def check_element(a: PolynomialArray, element: int) -> None:
    """A Galois element: odd, in [1, 2N)."""
    if not isinstance(element, int):
        raise OperandTypeError(f"a Galois element must be an integer, got {type(element).__name__}")
    if not 0 < element < 2 * a.basis.ring_degree or element % 2 == 0:
        raise ParameterError(f"cannot apply Galois element {element}: odd, from 1 to {2 * a.basis.ring_degree - 1}")


def check_automorphism_sum(backend: RingBackend, a: PolynomialArray, elements: Sequence[int]) -> None:
    """(*S, m, c), transformed, and m >= 1 elements, or any number for m = 1."""
    check_domain(backend, a, ntt=True)
    for element in elements:
        check_element(a, element)
    if a.ndim < 2 or not elements or a.shape[-2] not in (1, len(elements)):
        raise ShapeError(
            f"cannot sum polynomials of shape {a.shape} under {len(elements)} automorphisms: (…, 1 or as many, c)"
        )


def check_words(words: Words, basis: RnsBasis) -> tuple[int, ...]:
    """uint64 (*S, k, N), each residue below its modulus; returns S."""
    _check_dtype(words, np.dtype(np.uint64), "residues")
    if words.ndim < 2 or words.shape[-2:] != (len(basis), basis.ring_degree):
        raise ShapeError(
            f"cannot read residues of shape {words.shape}: the last axes must be ({len(basis)}, {basis.ring_degree})"
        )
    moduli = np.array(basis.moduli, dtype=np.uint64)[:, None]
    if not bool((words < moduli).all()):
        raise ParameterError("cannot use residues that are not below their modulus")
    return words.shape[:-2]


def check_coefficients(coefficients: NDArray[np.int64], basis: RnsBasis) -> tuple[int, ...]:
    """int64 (*S, N); returns S."""
    _check_dtype(coefficients, np.dtype(np.int64), "coefficients")
    if coefficients.ndim < 1 or coefficients.shape[-1] != basis.ring_degree:
        raise ShapeError(
            f"cannot read coefficients of shape {coefficients.shape}: the last axis must be {basis.ring_degree}"
        )
    return coefficients.shape[:-1]


def check_small(backend: RingBackend, a: SmallArray, basis: RnsBasis) -> tuple[int, ...]:
    """Drawn by `backend`, for this ring degree; returns S."""
    if a.backend is not backend:
        raise BackendMismatchError(
            f"cannot use small polynomials of {a.backend.name!r} on {backend.name!r}: draw new ones there"
        )
    if a.ring_degree != basis.ring_degree:
        raise ShapeError(f"cannot encode polynomials of ring degree {a.ring_degree} for degree {basis.ring_degree}")
    return a.shape


def check_encoding(
    backend: RingBackend, coefficients: NDArray[np.int64] | SmallArray, basis: RnsBasis, plus: SmallArray | None
) -> tuple[int, ...]:
    """Small polynomials or int64 (*S, N), and small ones of the same shape or None; returns S."""
    if isinstance(coefficients, SmallArray):
        shape = check_small(backend, coefficients, basis)
    else:
        shape = check_coefficients(coefficients, basis)
    if plus is not None and check_small(backend, plus, basis) != shape:
        raise ShapeError(f"cannot add small polynomials of shape {plus.shape} to coefficients of shape {shape}")
    return shape


def check_sampling(shape: tuple[int, ...], ring_degree: int) -> None:
    """Every axis >= 0, a ring degree that a basis can have."""
    check_ring_degree(ring_degree)
    if any(axis < 0 for axis in shape):
        raise ShapeError(f"cannot draw polynomials of shape {shape}")


def check_wide(magnitudes: Words, negative: NDArray[np.bool_], basis: RnsBasis) -> tuple[int, ...]:
    """uint64 (*S, N, L) with L >= 1, bool (*S, N); returns S."""
    _check_dtype(magnitudes, np.dtype(np.uint64), "magnitudes")
    _check_dtype(negative, np.dtype(np.bool_), "signs")
    if magnitudes.ndim < 2 or magnitudes.shape[-2] != basis.ring_degree or magnitudes.shape[-1] < 1:
        raise ShapeError(
            f"cannot read coefficients of shape {magnitudes.shape}: the last axes must be ({basis.ring_degree}, limbs)"
        )
    if negative.shape != magnitudes.shape[:-1]:
        raise ShapeError(f"cannot give coefficients of shape {magnitudes.shape[:-1]} signs of shape {negative.shape}")
    return magnitudes.shape[:-2]


def check_indices(a: PolynomialArray, indices: Indices) -> None:
    """Flat indices of an integer type, each in [0, a.size)."""
    if not isinstance(indices, np.ndarray) or not np.issubdtype(indices.dtype, np.integer):
        raise OperandTypeError(f"indices must be an array of integers, got {_kind(indices)}")
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < a.size):
        raise ParameterError(f"indices out of range: each must lie in [0, {a.size})")


def check_positions(a: PolynomialArray, positions: Sequence[int]) -> None:
    """Distinct positions of the basis, at least one."""
    if not positions:
        raise ParameterError("cannot keep no residue: at least one position")
    k = len(a.basis)
    if len(set(positions)) != len(positions) or not all(0 <= i < k for i in positions):
        raise ParameterError(f"cannot keep residues {list(positions)}: distinct positions from 0 to {k - 1}")


def check_concatenate(backend: RingBackend, arrays: Sequence[PolynomialArray]) -> None:
    """At least one array; one backend, one basis, one domain."""
    if not arrays:
        raise ShapeError("cannot concatenate nothing: at least one array")
    for a in arrays:
        check_owned(backend, a)
        check_same_basis(arrays[0], a)


def check_reshape(a: PolynomialArray, shape: tuple[int, ...]) -> None:
    """Equal size, every axis >= 0."""
    if math.prod(shape) != a.size or any(axis < 0 for axis in shape):
        raise ShapeError(f"cannot reshape polynomials of shape {a.shape} to {shape}")


def check_conversion(backend: RingBackend, a: PolynomialArray, target: RnsBasis) -> None:
    """Coefficients, at most 255 moduli, one ring degree."""
    check_domain(backend, a, ntt=False)
    check_degree(a, target)
    if len(a.basis) > MAX_CONVERTED:
        raise ParameterError(f"cannot convert from {len(a.basis)} moduli: at most {MAX_CONVERTED}")


def check_division(backend: RingBackend, a: PolynomialArray, count: int, plus: PolynomialArray | None = None) -> None:
    """1 <= count < the number of moduli, and at most 255; `plus` over enough of the first ones, not too many of it."""
    check_owned(backend, a)
    if not 0 < count < len(a.basis) or count > MAX_CONVERTED:
        most = min(MAX_CONVERTED, len(a.basis) - 1)
        raise ParameterError(f"cannot divide by {count} of {len(a.basis)} moduli: from 1 to {most}")
    if plus is None:
        return
    check_domain(backend, a, ntt=True)
    check_domain(backend, plus, ntt=True)
    width = len(plus.basis)
    if not len(a.basis) - count <= width < len(a.basis) or plus.basis.moduli != a.basis.moduli[:width]:
        raise ParameterError(f"cannot add polynomials over {describe(plus.basis)}: not the first moduli that remain")
    if not a.shape or not plus.shape or plus.shape[:-1] != a.shape[:-1] or plus.shape[-1] > a.shape[-1]:
        raise ShapeError(f"cannot add polynomials of shape {plus.shape} to {a.shape}: the first of the last axis")


def check_digits(
    backend: RingBackend, a: PolynomialArray, digits: Sequence[tuple[int, int]], special: RnsBasis
) -> None:
    """Transformed; the ranges cover 0 … k-1 in order; the special moduli are others."""
    check_domain(backend, a, ntt=True)
    check_degree(a, special)
    cuts = [0, *(stop for _, stop in digits)]
    starts = [start for start, _ in digits]
    if starts != cuts[:-1] or cuts[-1] != len(a.basis) or any(x >= y for x, y in pairwise(cuts)):
        raise ParameterError(f"cannot decompose by {list(digits)}: ranges that cover 0 to {len(a.basis)} in order")


def check_switch(
    backend: RingBackend,
    a: PolynomialArray,
    digits: Sequence[tuple[int, int]],
    special: RnsBasis,
    b: PolynomialArray | Sequence[PolynomialArray],
) -> tuple[list[PolynomialArray], tuple[int, ...]]:
    """As `check_digits`, and each b (c, len(digits)) over the joined basis, transformed.

    Returns them as a list, and the axes that they add to a's: (c,), or (n, c) for a sequence.
    """
    check_digits(backend, a, digits, special)
    keys = [b] if isinstance(b, PolynomialArray) else list(b)
    if not keys:
        raise ShapeError("cannot switch with no keys: at least one")
    for key in keys:
        check_domain(backend, key, ntt=True)
        if key.ndim != 2 or key.shape[1] != len(digits) or key.shape != keys[0].shape:
            raise ShapeError(
                f"cannot use keys of shape {key.shape} with {len(digits)} digits: (components, {len(digits)}), "
                "all alike"
            )
        if key.basis.ring_degree != special.ring_degree or key.basis.moduli != a.basis.moduli + special.moduli:
            raise ParameterError(f"cannot use keys over {describe(key.basis)}: they must be over the digits' moduli")
    components = keys[0].shape[0]
    return keys, (components,) if isinstance(b, PolynomialArray) else (len(keys), components)


def check_degree(a: PolynomialArray, target: RnsBasis) -> None:
    """One ring degree on both sides."""
    if not isinstance(target, RnsBasis):
        raise OperandTypeError(f"expected an RnsBasis, got {type(target).__name__}")
    if target.ring_degree != a.basis.ring_degree:
        raise ParameterError(
            f"cannot go from ring degree {a.basis.ring_degree} to moduli of ring degree {target.ring_degree}"
        )


def limbs_of(basis: RnsBasis) -> int:
    """64-bit limbs of the product of the moduli."""
    return limbs_for_bits(basis.bits)


def describe(basis: RnsBasis) -> str:
    """A basis in words, short however many moduli it has."""
    return f"{len(basis)} moduli of {basis.bits} bits in all, ring degree {basis.ring_degree}"


def _check_dtype(array: object, dtype: np.dtype[np.generic], what: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise OperandTypeError(f"{what} must be an array of {dtype}, got {_kind(array)}")


def _kind(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
