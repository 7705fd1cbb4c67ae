"""The dispatch point: what a backend must offer, and what each operation means.

`hecore.backends.reference` defines every operation below with Python integers; a backend is right when it
returns the same integers, bit for bit. Conventions that hold throughout:

- Host form of a residue array of shape S: uint64 limbs of shape (*S, modulus.limbs), little-endian, batch
  first, each value in [0, modulus). How a backend stores residues (Montgomery form, digit radix, lane
  layout, the split x0 + x1*n modulo n^2) is its own secret behind `ResidueArray.data`.
- Every modulus is odd and at least 3. Operands of one call share one modulus and one backend; shapes are
  equal. Broadcasting is the caller's business, by `take`.
- "Constant time" means: no branch, address or division depends on the operand's value. What may show is
  stated per operation; shapes, moduli and every `bits` argument are public.
- Arrays are immutable: each operation returns a new one (views are allowed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hecore.arith.limbs import limbs_for_bits, limbs_from_ints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hecore.arith.modulus import CrtModulus, Modulus

Limbs = NDArray[np.uint64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ResidueArray:
    """Residues modulo one modulus, resident on one backend.

    `data` is the backend's secret; nobody else reads it. `size` is the number of residues.
    """

    backend: IntegerBackend
    modulus: Modulus
    shape: tuple[int, ...]
    data: Any = field(repr=False)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, eq=False)
class ExponentArray:
    """Non-negative exponents below 2**bits: `limbs` has shape (*shape, limbs_for_bits(bits)).

    Shape () means one exponent shared by a whole batch. `bits` is public, the values may be secret and
    never show in a repr.
    """

    limbs: Limbs = field(repr=False)
    bits: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.limbs.shape[:-1]

    @classmethod
    def from_ints(cls, values: Sequence[int], bits: int) -> ExponentArray:
        """Exponents of shape (len(values),), each in [0, 2**bits)."""
        return cls(limbs_from_ints(values, limbs_for_bits(bits)), bits)

    @classmethod
    def shared(cls, value: int, bits: int) -> ExponentArray:
        """One exponent in [0, 2**bits) for a whole batch (shape ())."""
        return cls(limbs_from_ints([value], limbs_for_bits(bits))[0], bits)


class DeviceExponents(ExponentArray):
    """Secret exponents that a backend drew in memory of its own: below 2**bits by construction.

    Their backend reads `data`; everybody else may read `limbs`, which fetches them: a new copy on the host each time.
    """

    backend: IntegerBackend
    data: Any
    _shape: tuple[int, ...]
    _fetch: Callable[[], Limbs]

    def __init__(
        self, backend: IntegerBackend, shape: tuple[int, ...], bits: int, data: Any, fetch: Callable[[], Limbs]
    ) -> None:
        for name, value in {"bits": bits, "backend": backend, "data": data, "_shape": shape, "_fetch": fetch}.items():
            object.__setattr__(self, name, value)

    @property
    def limbs(self) -> Limbs:
        return self._fetch()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape


@dataclass(frozen=True, eq=False)
class FixedBaseTable:
    """Precomputed powers of one public base on one backend, for exponents below 2**exponent_bits."""

    backend: IntegerBackend
    modulus: Modulus
    exponent_bits: int
    nbytes: int
    data: Any = field(repr=False)


SATURATING_BATCH = 256


def saturating_batch(backend: object) -> int:
    """Residues that a call holds, at least, where all of `backend` is to be busy; no result depends on it.

    An optional attribute of this name says so; some hundreds serve vector lanes and threads of a CPU. Whoever cuts
    work into calls asks: a graphics card that gets a CPU's portions stands idle.
    """
    return int(getattr(backend, "saturating_batch", SATURATING_BATCH))


@runtime_checkable
class IntegerBackend(Protocol):
    """Batches of exact arithmetic modulo an odd modulus or the square of one."""

    @property
    def name(self) -> str:
        """Registry name: "cpu", "reference", …"""

    @property
    def device(self) -> str:
        """The device in words, with the code path chosen: "AMD EPYC (AVX-512 IFMA, 2 threads)"."""

    @property
    def simulated(self) -> bool:
        """True where time on this backend says nothing about real time."""

    # -- transport ---------------------------------------------------------------------------------------

    def upload(self, limbs: Limbs, modulus: Modulus) -> ResidueArray:
        """Host limbs (*S, modulus.limbs), each value in [0, modulus) -> residues of shape S.

        Raises ParameterError where a value is not below the modulus, ShapeError on a wrong limb count.
        """

    def download(self, a: ResidueArray) -> Limbs:
        """Residues of shape S -> host limbs (*S, modulus.limbs), canonical in [0, modulus)."""

    def synchronize(self) -> None:
        """Wait until everything submitted has finished."""

    def take(self, a: ResidueArray, indices: Indices) -> ResidueArray:
        """Flat gather: out.shape = indices.shape, out.flat[i] = a.flat[indices.flat[i]]; 0 <= index < size.

        Slicing, transposing, reshaping and broadcasting are all a `take` of the right index array.
        """

    def concatenate(self, arrays: Sequence[ResidueArray]) -> ResidueArray:
        """Flatten each array and join them: shape (total size,). At least one array."""

    def collect(self, chunks: Iterable[ResidueArray], size: int) -> ResidueArray:
        """Join chunks of `size` residues in all, each let go before the next is asked for: shape (size,).

        A long array is held once, not twice as by `concatenate`. At least one chunk; ShapeError where the sizes do
        not add up.
        """

    def reshape(self, a: ResidueArray, shape: tuple[int, ...]) -> ResidueArray:
        """Same residues in C order under a new shape of equal size; no copy."""

    def random_exponents(self, shape: tuple[int, ...], bits: int) -> ExponentArray:
        """Independent uniform exponents in [0, 2**bits).

        From the operating system's CSPRNG, or from a stream under a key that it gave for this call alone.
        """

    # -- arithmetic --------------------------------------------------------------------------------------

    def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
        """Elementwise a*b. Constant time in both."""

    def mod_exp(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        """Elementwise a**e; exponents of shape a.shape, or () for one shared exponent.

        Constant time in base and exponent: the operation count depends on `exponents.bits` alone and tables
        are read whole. 0**0 is 1.
        """

    def mod_exp_vartime(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        """As `mod_exp`, for exponents that are public or the caller's own: addresses may depend on them.

        The operation count still depends on `exponents.bits` alone.
        """

    def fixed_base_table(
        self, base: int, modulus: Modulus, exponent_bits: int, *, memory_budget: int | None = None
    ) -> FixedBaseTable:
        """Powers of a public base for `fixed_base_exp`; gcd(base, modulus) must be 1.

        `memory_budget` in bytes bounds the table and so chooses the window; None takes the backend's default.

        Exponents of up to 8192 bits are served everywhere; beyond, a backend may raise ParameterError.
        """

    def fixed_base_exp(self, table: FixedBaseTable, exponents: ExponentArray) -> ResidueArray:
        """base**e for each secret exponent, exponents.bits <= table.exponent_bits; out.shape = exponents.shape.

        Constant time in the exponents: tables are read whole.
        """

    def multi_exp(
        self,
        bases: ResidueArray,
        magnitudes: Limbs,
        negative: NDArray[np.bool_] | None,
        bits: int,
        *,
        constant_time: bool = False,
        most: int | None = None,
    ) -> ResidueArray:
        """out[i] = prod_j bases[j] ** (±magnitudes[i, j]): encrypted matrix-vector products.

        bases (k,), magnitudes (m, k, limbs_for_bits(bits)) below 2**bits, negative (m, k) flags the minus
        signs, None for operands of an unsigned type; out (m,). `most` is a public bound on the magnitudes where that
        is below 2**bits - 1 (2**31 for an int32): it may save a window. The operation count depends on (m, k, bits,
        most) and on whether there are signs at all, not on their values, as long as every base is a unit. Addresses
        may depend on the magnitudes and signs unless `constant_time`. Raises NotInvertibleError where a negative
        product has no inverse, and ParameterError for a magnitude beyond its bound.
        """

    def product(self, a: ResidueArray) -> ResidueArray:
        """Product along the last axis: (*S, c) -> S. An empty axis gives 1."""

    def segment_product(self, a: ResidueArray, segments: Indices, count: int) -> ResidueArray:
        """out[s] = product of a[i] where segments[i] == s, for a of shape (k,); out (count,); empty gives 1."""

    def batch_invert(self, a: ResidueArray) -> ResidueArray:
        """Elementwise inverse, Montgomery's trick. Raises NotInvertibleError naming flat indices.

        Variable time: for public residues (ciphertexts) only.
        """

    def gcd_is_one(self, a: ResidueArray) -> NDArray[np.bool_]:
        """Elementwise gcd(a, modulus) == 1, by one product and one gcd a batch, bisected on failure.

        Variable time: for public residues only.
        """

    # -- Paillier's moduli n^2, p^2, q^2 -----------------------------------------------------------------

    def reduce(self, a: ResidueArray, modulus: Modulus) -> ResidueArray:
        """a modulo `modulus`, which divides a.modulus (from n^2 to p^2). Constant time."""

    def lift(
        self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus, messages: Limbs | None = None
    ) -> ResidueArray:
        """The residue modulo n^2 that is a_p modulo p^2 and a_q modulo q^2: CRT, inverse of `reduce`.

        With messages, `encode(messages, n^2, times=lift(a_p, a_q, crt))`. Constant time.
        """

    def encode(self, messages: Limbs, modulus: Modulus, times: ResidueArray | None = None) -> ResidueArray:
        """(1 + m*n) * times modulo n^2, for messages (*S, limbs of n) in [0, n); times of shape S or None for 1.

        `modulus` is n^2 and knows `square_of`. Constant time in the messages. Raises ParameterError where a
        message is not below n.
        """

    def decode(self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus) -> Limbs:
        """Messages in [0, n) from a_p = c**(p-1) mod p^2 and a_q = c**(q-1) mod q^2.

        m_p = L_p(a_p)*h_p mod p with L_p(x) = (x-1)/p and h_p = (-q)**-1 mod p, likewise m_q; then CRT
        (Paillier 1999, section 7). Constant time.
        """

    def decrypt(self, a: ResidueArray, crt: CrtModulus) -> Limbs:
        """reduce, mod_exp and decode in one call; (*S, limbs of n). Constant time. Both halves run side by side."""

    def decrypt_bounded(self, a: ResidueArray, crt: CrtModulus, bound: int) -> Limbs:
        """m + bound, for plaintexts m expected in [-bound, bound]: half of `decrypt`'s work; (*S, limbs of p).

        The result is (m + bound) mod p = (L_p(c**(p-1) mod p^2)*h_p + bound) mod p. For any other m it is above
        2*bound but for a chance of 2**-128: see `CrtModulus.one_factor_decides`, which has to hold for the bound, or
        ParameterError is raised. Constant time.
        """
