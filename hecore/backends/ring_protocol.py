"""The dispatch point for polynomials in Z_Q[X]/(X^N + 1): what a backend must offer beside `IntegerBackend`.

`hecore.backends.reference` defines every operation; a backend is right when it returns the same residues, bit for
bit. Conventions that hold throughout:

- A `PolynomialArray` of batch shape S over a basis of k primes stands for S polynomials. Its host form is uint64 words
  (*S, k, N), each in [0, q_i): coefficients X^0 first, or, where `ntt` is set, the values of the negacyclic transform
  at position i: a(psi^(2*brv(i)+1)), psi the smallest primitive 2N-th root modulo q_i (SEAL's order). How a backend
  stores them, lazily reduced or not, is its own secret.
- Operands of one call share one backend, one basis and one domain, unless an operation says otherwise. Batch shapes
  broadcast as NumPy's do.
- Every operation is constant time in the residues: no branch, address or division depends on one. Bases, shapes,
  Galois elements, factors and constants are public.
- Arrays are immutable: each operation returns a new one (views are allowed).
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hecore.backends.protocol import IntegerBackend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from hecore.arith.rns import RnsBasis
    from hecore.backends.protocol import Indices

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class PolynomialArray:
    """Polynomials over one basis, resident on one backend. `data` is the backend's secret; nobody else reads it."""

    backend: RingBackend
    basis: RnsBasis
    shape: tuple[int, ...]
    ntt: bool
    data: Any = field(repr=False)

    @property
    def size(self) -> int:
        """Number of polynomials."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


ERROR_BOUND = 21
"""Largest magnitude of an error: centred binomials of 42 bits."""
ERROR_VARIANCE = ERROR_BOUND / 2


@dataclass(frozen=True, eq=False)
class SmallArray:
    """Secret polynomials with small signed coefficients, drawn by a backend; `ring_encode` takes them, to any basis.

    `data` is the backend's secret, and nobody fetches it.
    """

    backend: RingBackend
    ring_degree: int
    shape: tuple[int, ...]
    data: Any = field(repr=False)


def secrecy(backend: RingBackend) -> AbstractContextManager[None]:
    """In a `with` of it, arrays are made that hold secrets: a device overwrites them when they are let go.

    An optional method of this name does so, for the arrays of this context (thread, task) alone. Arrays that hold
    randomness or messages by their operation (`random_ternary`, `ring_encode`, …) need none.
    """
    scope = getattr(backend, "secrecy", None)
    return nullcontext() if scope is None else scope()


@runtime_checkable
class RingBackend(Protocol):
    """Batches of polynomials in residue number systems."""

    @property
    def name(self) -> str:
        """Registry name: "cpu", "reference", …"""

    # -- transport ---------------------------------------------------------------------------------------

    def ring_upload(self, words: Words, basis: RnsBasis, *, ntt: bool) -> PolynomialArray:
        """Host words (*S, k, N), each in [0, q_i). Raises ParameterError for a residue that is not, ShapeError."""

    def ring_download(self, a: PolynomialArray) -> Words:
        """Host words (*S, k, N), canonical, in the array's domain; the caller's own copy."""

    def ring_encode(
        self,
        coefficients: NDArray[np.int64] | SmallArray,
        basis: RnsBasis,
        *,
        ntt: bool = False,
        plus: SmallArray | None = None,
    ) -> PolynomialArray:
        """Signed coefficients (*S, N), |c| < 2^63, modulo each prime; transformed where `ntt` is set.

        `plus`: small polynomials of the same shape S that are added to them; the sums are below 2^63, too.
        """

    def ring_encode_wide(
        self, magnitudes: Words, negative: NDArray[np.bool_], basis: RnsBasis, *, ntt: bool = False
    ) -> PolynomialArray:
        """As `ring_encode` for magnitudes (*S, N, L) of L little-endian limbs with signs (*S, N)."""

    def ring_decode(self, a: PolynomialArray) -> tuple[Words, NDArray[np.bool_]]:
        """The centred coefficients, in (-Q/2, Q/2): magnitudes (*S, N, L), L = limbs of Q, and signs (*S, N).

        Takes either domain. Zero is not negative.
        """

    def ring_take(self, a: PolynomialArray, indices: Indices) -> PolynomialArray:
        """Flat gather over the batch: out.shape = indices.shape, out.flat[i] = a.flat[indices.flat[i]]."""

    def ring_concatenate(self, arrays: Sequence[PolynomialArray]) -> PolynomialArray:
        """Flatten each batch and join them: shape (total size,). At least one array."""

    def ring_reshape(self, a: PolynomialArray, shape: tuple[int, ...]) -> PolynomialArray:
        """Same polynomials in C order under a new batch shape of equal size; no copy."""

    def ring_moduli(self, a: PolynomialArray, positions: Sequence[int]) -> PolynomialArray:
        """Keep the residues at these positions of the basis, in this order: level drop, and picking primes apart."""

    # -- randomness --------------------------------------------------------------------------------------
    # From the operating system's CSPRNG, or a stream under a key that it gave for this call alone; in constant time.

    def random_ternary(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        """Batch shape S: independent coefficients, uniform in {-1, 0, 1}.

        Exactly, or 2^43 of them together within a statistical distance of 2^-128.
        """

    def random_errors(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        """Batch shape S: independent centred binomials, how many of 42 bits are set less 21: σ = √10.5 ≈ 3.24.

        SEAL's default error (native/src/seal/util/rlwe.cpp, sample_poly_cbd).
        """

    # -- transforms --------------------------------------------------------------------------------------

    def ntt(self, a: PolynomialArray) -> PolynomialArray:
        """Coefficients -> values. Raises ParameterError where `a` is transformed already."""

    def intt(self, a: PolynomialArray) -> PolynomialArray:
        """Values -> coefficients, the inverse of `ntt`."""

    def automorphism(self, a: PolynomialArray, element: int) -> PolynomialArray:
        """X -> X^element for an odd element in [1, 2N), in either domain (`arith.rns.galois_permutation`)."""

    def automorphism_sum(self, a: PolynomialArray, elements: Sequence[int]) -> PolynomialArray:
        """sum_j a[…, j, :] under X -> X^elements[j]: (*S, m, c), transformed, to (*S, c); m may be 1 for all elements.

        At least one element.
        """

    # -- residues ----------------------------------------------------------------------------------------

    def residue_add(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        """a + b."""

    def residue_sub(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        """a - b."""

    def residue_negate(self, a: PolynomialArray) -> PolynomialArray:
        """-a."""

    def residue_mul(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        """Elementwise product of residues: the product of polynomials, so both operands are transformed."""

    def residue_mul_accumulate(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        """sum_j a[…, j] * b[…, j] over the last batch axis, whose length m is the same; the others broadcast.

        Both operands are transformed. m = 0 gives zero. One pass over both operands.
        """

    def residue_scale(self, a: PolynomialArray, factors: Sequence[int]) -> PolynomialArray:
        """a * factors[i] modulo q_i: an integer constant by its k residues, each in [0, q_i)."""

    def residue_shift(self, a: PolynomialArray, constants: Sequence[int]) -> PolynomialArray:
        """a + constants[i] modulo q_i, as a constant polynomial: to every value, or to the coefficient of X^0."""

    def tensor_product(self, a: PolynomialArray, b: PolynomialArray) -> PolynomialArray:
        """(*S, 2) and (*S, 2) -> (*S, 3): (a0*b0, a0*b1 + a1*b0, a1*b1), both transformed. S broadcasts."""

    # -- change of basis ---------------------------------------------------------------------------------

    def base_convert(self, a: PolynomialArray, target: RnsBasis, *, exact: bool) -> PolynomialArray:
        """Coefficients modulo Q to residues modulo each prime of `target`, whose primes may be any.

        With y_i = x_i * (Q/q_i)^-1 mod q_i the sum of y_i * (Q/q_i) is x + u*Q for x in [0, Q) and some 0 <= u < k.
        Not exact ("fast"): that sum modulo the target primes (Bajard, Eynard, Hasan, Zucca, SAC 2016).
        Exact: the sum less v*Q, the representative of x in about [-Q/2, Q/2] (Halevi, Polyakov, Shoup, CT-RSA 2019, in
        fixed point): v = (2^55 + sum_i floor(y_i * w_i / 2^b_i)) >> 56 with b_i the bits of q_i and
        w_i = floor(2^(56+b_i) / q_i).
        Where |x|/Q is within k*2^-55 of 1/2 the other representative may come out, the same on every backend. k < 256.
        Takes coefficients, gives coefficients. For k = 1 "fast" is x mod p for x in [0, q_0), and "exact" centres
        exactly: v = 1 where x > (q_0-1)/2, else 0.
        """

    def divide_round(self, a: PolynomialArray, count: int, *, plus: PolynomialArray | None = None) -> PolynomialArray:
        """Divide by the product P of the last `count` moduli, rounding, and drop them: rescaling and mod-down.

        out = (a - r) * P^-1 modulo each remaining prime, r = base_convert of a's last `count` residues, exact: the
        representative of a mod P in about [-P/2, P/2]. For count = 1 it is in [-(P-1)/2, (P-1)/2] exactly. Takes and
        gives either domain, the same; transforms only what must be.

        `plus`: what is divided is a + R*plus. It is over the first moduli of a, at least those that remain but not all,
        and R is the product of the others (so that R*plus is zero modulo them): where all others are divided away,
        `plus` is what is added to the result. Both are transformed; a is (*S, c), plus (*S, j), added to the first
        j <= c.
        """

    def decompose(self, a: PolynomialArray, digits: Sequence[tuple[int, int]], special: RnsBasis) -> PolynomialArray:
        """The digits of a transformed array over Q = (q_0 … q_(k-1)), each raised to Q and the special primes (mod-up).

        `digits` are half-open ranges [start, stop) of positions that cover 0 … k-1 in order. Out:
        (*S, len(digits)) over a.basis.join(special), transformed: digit j is `base_convert` of the residues in its
        range (fast, so its representative is in [0, (stop-start)*D_j)) to all other primes, and a's own residues
        within the range.
        """

    def decompose_mul_accumulate(
        self,
        a: PolynomialArray,
        digits: Sequence[tuple[int, int]],
        special: RnsBasis,
        b: PolynomialArray | Sequence[PolynomialArray],
    ) -> PolynomialArray:
        """Key switching before the division: (*S) and b (c, len(digits)) over a.basis.join(special) -> (*S, c).

        out[…, i] = sum_j digit_j * b[i, j], with the digits of `decompose`, which are never stored. All transformed.
        A sequence of n >= 1 such b, of one shape, gives (*S, n, c): the digits are made once for all of them.
        """


@runtime_checkable
class Backend(IntegerBackend, RingBackend, Protocol):
    """What a device offers: integers for Paillier, polynomials for CKKS."""
