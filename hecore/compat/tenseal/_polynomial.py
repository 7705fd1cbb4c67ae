"""Powers and polynomials of ciphertexts, in no more levels than the peer takes and with fewer products."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from hecore.ckks import evaluator
from hecore.compat.tenseal._chain import scales
from hecore.compat.tenseal._errors import peers_words
from hecore.compat.tenseal._evaluation import add, at_level, check_product, multiply, two_components
from hecore.errors import LevelError, ParameterError, ScaleError

if TYPE_CHECKING:
    from hecore.ckks.ciphertext import Ciphertext
    from hecore.ckks.scale import Scale
    from hecore.compat.tenseal._state import TenSEALContext


def significant(coefficients: list[float], top: Scale) -> list[float]:
    """With zero for what encodes as zero, and without zeros at the end."""
    return _stripped([c if abs(c) * float(top) >= 0.5 else 0.0 for c in coefficients])


def power(context: TenSEALContext, a: Ciphertext, exponent: int) -> Ciphertext:
    """a^exponent for exponent >= 1, in ceil(log2(exponent)) levels."""
    made = {1: a}

    def of(e: int) -> Ciphertext:
        if e not in made:
            half = 1 << ((e - 1).bit_length() - 1)  # the largest power of two below e
            left = of(half)
            made[e] = multiply(context, left, left if e == 2 * half else of(e - half))
        return made[e]

    return of(exponent)


def polynomial(context: TenSEALContext, x: Ciphertext, coefficients: list[float], top: Scale) -> Ciphertext:
    """sum_i coefficients[i] * x^i, degree d >= 1, in ceil(log2(d+1)) levels, or log2(d) where the leading term is x^d.

    With d < 2^k and the level l of the result: p = sum_j q_j(x) * x^(2^j) + c_1*x + c_0, where q_j has the coefficients
    2^j … 2^(j+1)-1 and is itself evaluated at level l+1. All products then have one level and one scale, and
    are summed before the one relinearization and the one rescale.
    """
    _check_polynomial(context, coefficients)
    degree = len(coefficients) - 1
    depth = degree.bit_length()
    powers = _Powers(context, x, top)
    monic = coefficients[-1] == 1.0 and degree & (degree - 1) == 0
    if monic:
        depth -= 1
        coefficients = coefficients[:-1]
    if depth > x.level:
        _refuse_depth(x, depth)
    level = x.level - depth
    if not monic:
        return _evaluate(context, powers, coefficients, level)
    leading = powers.at(degree, level)
    rest = _stripped(coefficients)
    if len(rest) < 2:
        return evaluator.add(leading, rest[0]) if rest else leading
    return add(context, leading, _evaluate(context, powers, rest, level))


class _Powers:
    """x^(2^j), each at the levels it is asked for."""

    def __init__(self, context: TenSEALContext, x: Ciphertext, top: Scale) -> None:
        self._context = context
        self.scales = scales(x.parameters, top)
        self._made = {1: two_components(context, x)}
        self._at: dict[tuple[int, int], Ciphertext] = {}

    def at(self, exponent: int, level: int) -> Ciphertext:
        """At `level` and its scale."""
        key = exponent, level
        if key not in self._at:
            self._at[key] = at_level(self._natural(exponent), level, self.scales[level])
        return self._at[key]

    def _natural(self, exponent: int) -> Ciphertext:
        if exponent not in self._made:
            root = self._natural(exponent // 2)
            check_product(self._context, root, root.scale)
            product = evaluator.multiply(root, root)
            self._made[exponent] = evaluator.rescale(two_components(self._context, product))
        return self._made[exponent]


def _evaluate(context: TenSEALContext, powers: _Powers, coefficients: list[float], level: int) -> Ciphertext:
    """The polynomial of degree 1 or more at `level` and its scale."""
    total: Ciphertext | None = None
    for j in reversed(range(len(coefficients).bit_length())):
        part = _stripped(coefficients[1 << j : 2 << j])
        if not part:
            continue
        term = _term(context, powers, part, 1 << j, level + 1)
        total = term if total is None else evaluator.add(total, term)
    assert total is not None
    total = evaluator.add(total, coefficients[0])
    return evaluator.rescale(two_components(context, total))


def _term(context: TenSEALContext, powers: _Powers, part: list[float], exponent: int, level: int) -> Ciphertext:
    """q(x) * x^exponent, neither relinearized nor rescaled; part: the coefficients of q."""
    base = powers.at(exponent, level)
    if len(part) == 1:
        check_product(context, base, powers.scales[level])
        return evaluator.multiply(base, part[0], scale=powers.scales[level])
    factor = _evaluate(context, powers, part, level)
    check_product(context, base, factor.scale)
    return evaluator.multiply(factor, base)


def _stripped(coefficients: list[float]) -> list[float]:
    """Without zeros at the end."""
    end = len(coefficients)
    while end and coefficients[end - 1] == 0.0:
        end -= 1
    return coefficients[:end]


def _check_polynomial(context: TenSEALContext, coefficients: list[float]) -> None:
    """Terms of several degrees have several levels and scales; only the flags bring them together."""
    if coefficients[1:] == [1.0]:
        return
    if not context.flag("auto_rescale"):
        raise ScaleError("scale mismatch") from ScaleError("polynomials need auto_rescale, which is off")
    if not context.flag("auto_mod_switch"):
        raise ParameterError("encrypted1 and encrypted2 parameter mismatch: polynomials need auto_mod_switch")


def _refuse_depth(x: Ciphertext, depth: int) -> NoReturn:
    """Raise what the peer says at level 0, where this polynomial would have to go below."""
    with peers_words():
        evaluator.check_fits(x.parameters, 0, x.scale**2, None, "multiply")
        raise LevelError(
            f"cannot evaluate a polynomial of depth {depth} at level {x.level}: use more coeff_mod_bit_sizes"
        )
