"""`Ciphertext`: a batch of CKKS ciphertexts over one key, with the public metadata that evaluation needs.

A ciphertext of components (c_0, c_1[, c_2]) at level l decrypts to m = c_0 + c_1*s [+ c_2*s^2] modulo the first l+1
primes; m = round(scale * z) + e for slot values z. `scale` is exact, `bound` and `noise` are worst cases over all
inputs, never measured: |z| <= bound and |e| <= noise in every slot (units of m, hence a slot error of noise/scale).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hecore.backends import registry
from hecore.errors import BackendMismatchError, KeyMismatchError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.protocol import Indices
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend
    from hecore.ckks.keys import EvaluationKeys, PublicKey
    from hecore.ckks.params import Parameters
    from hecore.ckks.scale import Scale
    from hecore.ring.prng import Seed

__all__ = ["Ciphertext", "add_to_first", "check_compatible", "concatenate", "join"]


@dataclass(frozen=True, eq=False, repr=False)
class Ciphertext:
    """Ciphertexts of batch shape S: `polynomials` is (*S, 2 or 3), transformed, over parameters.level_basis(level).

    bound: |slot value| at most this, None where nobody declared it. noise: worst-case error of a slot times scale;
    infinity where it cannot be known. seed: where it is set, component 1 of the i-th ciphertext is polynomial i of
    `expand_uniform(seed, …)`; any evaluation drops it. Made by `encrypt` and the evaluator; the constructor checks
    shapes only.
    """

    parameters: Parameters
    polynomials: PolynomialArray
    level: int
    scale: Scale
    bound: float | None
    noise: float
    key_id: bytes
    evaluation_keys: EvaluationKeys | None = None
    seed: Seed | None = None

    def __post_init__(self) -> None:
        if self.polynomials.shape[-1:] not in ((2,), (3,)):
            raise ShapeError(f"cannot make ciphertexts of polynomials {self.polynomials.shape}: 2 or 3 components last")
        if self.polynomials.basis != self.parameters.level_basis(self.level) or not self.polynomials.ntt:
            raise ParameterError(f"cannot make a ciphertext at level {self.level}: its polynomials have another basis")

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape S."""
        return self.polynomials.shape[:-1]

    @property
    def size(self) -> int:
        """Number of ciphertexts."""
        return self.polynomials.size // self.components

    @property
    def components(self) -> int:
        """2, or 3 for a product that was not relinearized."""
        return self.polynomials.shape[-1]

    @property
    def backend(self) -> RingBackend:
        return self.polynomials.backend

    @property
    def device(self) -> str:
        """Name of the backend the polynomials live on."""
        return self.polynomials.backend.name

    def __repr__(self) -> str:
        return (
            f"<Ciphertext shape={self.shape} components={self.components} level={self.level} "
            f"scale=2^{self.scale.log2:.2f} on {self.device!r} under key {self.key_id.hex()[:8]}>"
        )

    def to_bytes(self) -> bytes:
        """The compact wire form, without evaluation keys: see `hecore.ckks.wire`."""
        from hecore.ckks import wire

        return wire.ciphertext_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes, keys: Parameters | PublicKey | EvaluationKeys) -> Ciphertext:
        """Inverse of `to_bytes` on the current backend; a key must be the ciphertext's, and lends its evaluation keys.

        Raises SerializationError, KeyMismatchError.
        """
        from hecore.ckks import wire

        return wire.ciphertext_from_bytes(data, keys)

    def __reduce__(self) -> tuple[object, ...]:
        """A pickle carries no evaluation keys."""
        return Ciphertext.from_bytes, (self.to_bytes(), self.parameters)

    def __copy__(self) -> Ciphertext:
        return self  # immutable

    def __deepcopy__(self, memo: object) -> Ciphertext:
        return self

    # -- shapes --------------------------------------------------------------------------------------------

    def derived(
        self,
        polynomials: PolynomialArray,
        *,
        level: int | None = None,
        scale: Scale | None = None,
        bound: float | None,
        noise: float,
    ) -> Ciphertext:
        """What an operation made of this ciphertext: the same key, no seed; level and scale where they changed."""
        return Ciphertext(
            self.parameters,
            polynomials,
            self.level if level is None else level,
            self.scale if scale is None else scale,
            bound,
            noise,
            self.key_id,
            self.evaluation_keys,
        )

    def reshape(self, *shape: int) -> Ciphertext:
        """The same ciphertexts in C order under another batch shape; keeps a seed."""
        polynomials = self.backend.ring_reshape(self.polynomials, (*shape, self.components))
        return replace(self, polynomials=polynomials)

    def take(self, indices: Indices) -> Ciphertext:
        """Flat gather over the batch: out.shape == indices.shape. Drops a seed unless everything stays in place."""
        if indices.shape == self.shape and np.array_equal(indices.ravel(), np.arange(self.size)):
            return self
        components = indices[..., None] * self.components + np.arange(self.components, dtype=np.intp)
        return replace(self, polynomials=self.backend.ring_take(self.polynomials, components), seed=None)

    def flat_indices(self) -> Indices:
        """0 … size-1 in the batch shape, C order."""
        return np.arange(self.size, dtype=np.intp).reshape(self.shape)

    def component(self, position: int) -> PolynomialArray:
        """One component of every ciphertext: shape S."""
        return self.backend.ring_take(self.polynomials, np.asarray(self.flat_indices() * self.components + position))

    def take_components(self, count: int) -> PolynomialArray:
        """The first `count` components of every ciphertext: (*S, count)."""
        firsts = self.flat_indices()[..., None] * self.components + np.arange(count, dtype=np.intp)
        return self.backend.ring_take(self.polynomials, firsts)

    def with_keys(self, keys: EvaluationKeys) -> Ciphertext:
        """The same ciphertexts with other evaluation keys. Raises KeyMismatchError, ParameterError."""
        if keys.key_id != self.key_id:
            raise KeyMismatchError(f"cannot evaluate ciphertexts under key {self.key_id.hex()[:8]} with {keys!r}")
        if keys.parameters != self.parameters:
            raise ParameterError(f"cannot evaluate ciphertexts of {self.parameters!r} with keys of {keys.parameters!r}")
        return replace(self, evaluation_keys=keys)

    def sharing_keys(self, other: Ciphertext) -> Ciphertext:
        """These ciphertexts, with the evaluation keys of `other` (under the same key) where none came along."""
        return self if self.evaluation_keys is not None else replace(self, evaluation_keys=other.evaluation_keys)

    def to(self, device: str) -> Ciphertext:
        """The same ciphertexts on another backend."""
        backend = registry.get(device)
        if backend is self.backend:
            return self
        words = self.backend.ring_download(self.polynomials)
        return replace(self, polynomials=backend.ring_upload(words, self.polynomials.basis, ntt=True))


@lru_cache(maxsize=256)
def _component_places(shape: tuple[int, ...], components: int, position: int) -> Indices:
    """Where one component of each ciphertext is, in the shape of the batch."""
    places = np.arange(math.prod(shape), dtype=np.intp).reshape(shape) * components + position
    places.setflags(write=False)
    return places


def check_compatible(a: Ciphertext, b: Ciphertext, verb: str) -> None:
    """Two operands of one operation: one parameter set, one key, one backend; else a typed error."""
    if a.parameters != b.parameters:
        raise ParameterError(
            f"cannot {verb}: one ciphertext was made with {a.parameters!r}, the other with {b.parameters!r}"
        )
    if a.key_id != b.key_id:
        raise KeyMismatchError(
            f"cannot {verb}: one ciphertext is under key {a.key_id.hex()[:8]}, the other under {b.key_id.hex()[:8]}"
        )
    if a.backend is not b.backend:
        raise BackendMismatchError(
            f"cannot {verb}: one ciphertext lives on {a.device!r}, the other on {b.device!r}; .to(device) moves one"
        )


def join(components: list[PolynomialArray]) -> PolynomialArray:
    """Components, each of batch shape S, side by side: (*S, len(components))."""
    backend, number = components[0].backend, len(components)
    shape, size = components[0].shape, components[0].size
    flat = backend.ring_concatenate(components)
    if size > 1:
        flat = backend.ring_take(flat, np.arange(number * size, dtype=np.intp).reshape(number, size).T.ravel())
    return backend.ring_reshape(flat, (*shape, number))


def add_to_first(polynomials: PolynomialArray, first: PolynomialArray) -> PolynomialArray:
    """`first`, of batch shape S, added to component 0 of `polynomials` (*T, components); S and T broadcast."""
    backend, components = polynomials.backend, polynomials.shape[-1]
    zero = backend.residue_sub(first, first)
    return backend.residue_add(polynomials, join([first, *[zero] * (components - 1)]))


def concatenate(ciphertexts: list[Ciphertext]) -> Ciphertext:
    """All ciphertexts in one flat batch. They share parameters, key, backend, level, scale and component count."""
    if not ciphertexts:
        raise ShapeError("cannot concatenate no ciphertexts")
    first = ciphertexts[0]
    for other in ciphertexts[1:]:
        check_compatible(first, other, "concatenate")
        if (other.level, other.scale, other.components) != (first.level, first.scale, first.components):
            raise OperandTypeError(
                f"cannot concatenate {other!r} to {first!r}: level, scale and components must be the same; "
                "evaluator.match aligns two"
            )
    joined = first.backend.ring_concatenate([c.polynomials for c in ciphertexts])
    polynomials = first.backend.ring_reshape(joined, (joined.size // first.components, first.components))
    bounds = [c.bound for c in ciphertexts]
    return first.derived(
        polynomials,
        bound=None if None in bounds else max(b for b in bounds if b is not None),
        noise=max(c.noise for c in ciphertexts),
    )
