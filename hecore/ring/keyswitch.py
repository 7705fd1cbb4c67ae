"""Key switching: from a ciphertext component under one secret to two components under another.

A polynomial a modulo Q = q_0 … q_l is cut into digits: digit j keeps the residues of the moduli in its range, D_j their
product, and stands for a_j = a mod D_j. With the gadget g_j that is P modulo the moduli of digit j and 0 modulo all
others (the special ones included), a*P = sum_j a_j * g_j modulo QP, P the product of the special moduli. A key holds

    (b_j, a_j) = (e_j - a_j*s + g_j*t, a_j) modulo QP

for each digit, t what is switched from and s what is switched to, so that sum_j (digit j) * (b_j, a_j) decrypts under s
to P*a*t + sum_j (digit j)*e_j, and dividing by P leaves a*t and a small error. One modulus a digit is SEAL's gadget
(native/src/seal/keygenerator.cpp); several are hybrid key switching (Han, Ki: "Better Bootstrapping for Approximate
Homomorphic Encryption", CT-RSA 2020, section 3). Since the factor of a digit is P on its own residues alone, a key made
for all moduli serves each lower level by dropping residues and digits.

The two steps are `accumulate`, which decomposes, and `mod_down`. Several keys for one polynomial share its digits
("hoisting", Halevi, Shoup: "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018), and sums of several
results are divided by P once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hecore.backends.ring_protocol import secrecy
from hecore.counting import count as count_operation
from hecore.errors import ParameterError, ShapeError
from hecore.ring.prng import expand_uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import PolynomialArray, RingBackend
    from hecore.ring.prng import Seed

__all__ = ["SwitchingKey", "accumulate", "make_switching_key", "mod_down", "switch"]

Digits = list[tuple[int, int]]
_At = tuple["RingBackend", "RnsBasis", int, int]


@dataclass(frozen=True, eq=False, repr=False)
class SwitchingKey:
    """One key: `polynomials` (digits, 2) over all moduli, transformed; public.

    seed: where it is set, component 1 of digit j is polynomial j of `expand_uniform(seed, polynomials.basis)`.
    """

    polynomials: PolynomialArray
    seed: Seed | None = None
    _operands: dict[_At, PolynomialArray] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        shape = self.polynomials.shape
        if len(shape) != 2 or shape[0] < 1 or shape[1] != 2 or not self.polynomials.ntt:
            raise ShapeError(f"cannot make a switching key of polynomials {shape}: (digits, 2), transformed")

    @property
    def digits(self) -> int:
        """Number of digits at the highest level."""
        return self.polynomials.shape[0]

    def operand(self, backend: RingBackend, basis: RnsBasis, digits: int, element: int = 1) -> PolynomialArray:
        """The first `digits` digits over a part of the moduli, as `accumulate` reads them: (2, digits) on `backend`.

        `element`: the key as the automorphism X -> X^element will need it, see `accumulate`. Made once for each
        backend and level, and kept.
        """
        at = backend, basis, digits, element
        if at not in self._operands:
            self._operands[at] = self._restricted(*at)
        return self._operands[at]

    def _restricted(self, backend: RingBackend, basis: RnsBasis, digits: int, element: int) -> PolynomialArray:
        if digits > self.digits:
            raise ParameterError(f"cannot switch {digits} digits: this key has {self.digits}")
        own = self.polynomials
        indices = np.arange(2 * digits, dtype=np.intp).reshape(digits, 2).T.copy()
        picked = own.backend.ring_take(own, indices)
        if basis != own.basis:
            picked = own.backend.ring_moduli(picked, [own.basis.moduli.index(q) for q in basis.moduli])
        if own.backend is not backend:
            picked = backend.ring_upload(own.backend.ring_download(picked), basis, ntt=True)
        inverse = pow(element, -1, 2 * basis.ring_degree)
        return picked if inverse == 1 else backend.automorphism(picked, inverse)

    def __repr__(self) -> str:
        return f"<SwitchingKey of {self.digits} digits over {len(self.polynomials.basis)} moduli>"


def make_switching_key(
    backend: RingBackend,
    basis: RnsBasis,
    special_count: int,
    digits: Digits,
    secret: PolynomialArray,
    target: PolynomialArray,
    seed: Seed,
) -> SwitchingKey:
    """A key that takes `target` to `secret`, both polynomials (shape ()) over the whole basis, transformed.

    The last `special_count` moduli are special. The public halves come from `seed`, which must be fresh. Raises
    ParameterError without special moduli.
    """
    if not 0 < special_count < len(basis):
        raise ParameterError(f"cannot make a switching key with {special_count} special moduli of {len(basis)}")
    count = len(digits)
    product = basis.take(range(len(basis) - special_count, len(basis))).product
    a = backend.ring_upload(expand_uniform(seed, basis, count), basis, ntt=True)
    with secrecy(backend):
        scaled = [
            backend.residue_scale(target, [product % q if start <= i < stop else 0 for i, q in enumerate(basis.moduli)])
            for start, stop in digits
        ]
        e = backend.ring_encode(backend.random_errors((count,), basis.ring_degree), basis, ntt=True)
        masked = backend.residue_sub(e, backend.residue_mul(a, secret))
        b = backend.residue_add(masked, backend.ring_concatenate(scaled))
    order = np.arange(2 * count, dtype=np.intp).reshape(2, count).T.copy()
    return SwitchingKey(backend.ring_take(backend.ring_concatenate([b, a]), order), seed)


def switch(
    a: PolynomialArray,
    key: SwitchingKey,
    digits: Digits,
    special: RnsBasis,
    *,
    rescale: bool = False,
    plus: PolynomialArray | None = None,
) -> PolynomialArray:
    """Polynomials (*S) under the key's target to (*S, 2) under its secret, over the same moduli, transformed.

    `rescale` and `plus` as in `mod_down`.
    """
    raised = accumulate(a, [(key, 1)], digits, special)
    return mod_down(a.backend.ring_reshape(raised, (*a.shape, 2)), special, rescale=rescale, plus=plus)


def accumulate(
    a: PolynomialArray, keys: Sequence[tuple[SwitchingKey, int]], digits: Digits, special: RnsBasis
) -> PolynomialArray:
    """Polynomials (*S) by each of n keys: (*S, n, 2) over their moduli and the special ones, not divided by P yet.

    Each key comes with an odd element: it takes s(X^element) to s, and a(X^element) is to be switched. The result then
    is what that gives, before X -> X^element: digits of a(X^element) would serve a single rotation, those of a serve
    all, and two components are permuted instead of each digit.
    """
    backend, basis = a.backend, a.basis.join(special)
    count_operation("key_switch", a.size * len(keys))
    operands = [key.operand(backend, basis, len(digits), element) for key, element in keys]
    return backend.decompose_mul_accumulate(a, digits, special, operands)


def mod_down(
    a: PolynomialArray, special: RnsBasis, *, rescale: bool = False, plus: PolynomialArray | None = None
) -> PolynomialArray:
    """Divide by P, rounding: (*S, c) over the moduli and the special ones, which come last, to the moduli.

    `plus` (*S, up to c), over the moduli, is added to the first results. `rescale` divides all of it by the last of the
    moduli too, in one rounding.
    """
    return a.backend.divide_round(a, len(special) + rescale, plus=plus)
