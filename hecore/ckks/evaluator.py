"""Arithmetic on ciphertexts: sums, products, relinearization, rescaling, and alignment of levels and scales.

Every function takes and gives whole batches and computes nothing before its operands are checked. It returns the
exact scale, and worst cases `bound` and `noise` derived from those of the operands (`hecore.ckks.noise`).

Levels never differ silently: the higher operand drops, which is exact. Scales are never absorbed: sums of two scales
raise ScaleError, and `match` is the one place that aligns them. Products do not rescale and do not relinearize here;
`multiply_rescale` does all three, as the operators of `EncryptedTensor` do.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from hecore.arith.rns import RnsBasis
from hecore.backends.ring_protocol import PolynomialArray, RingBackend
from hecore.ckks import noise
from hecore.ckks.ciphertext import Ciphertext, add_to_first, check_compatible, join
from hecore.ckks.encoding import Plaintext
from hecore.ckks.params import whole_number
from hecore.ckks.scale import Scale
from hecore.counting import count as count_operation
from hecore.errors import LevelError, MissingKeyError, OperandTypeError, ParameterError, PlaintextRangeError, ScaleError
from hecore.ring import keyswitch

Number = int | float | Fraction | np.integer | np.floating
"""A real constant: the same in every slot, and encoded without a transform."""

_ROUNDING = 0.5  # of a constant, in units of the scaled plaintext
_ALIGNMENT_BITS = 20
"""`match` accepts a correction constant of at least so many bits: its rounding moves values by less than 2^-20."""


# -- sums --------------------------------------------------------------------------------------------------


def add(a: Ciphertext, b: Ciphertext | Plaintext | Number) -> Ciphertext:
    """a + b at the lower of both levels; batch shapes broadcast.

    Raises ScaleError where the scales are not exactly equal (`match` aligns two ciphertexts; a plaintext is encoded
    again at `a.scale`), KeyMismatchError, ParameterError, BackendMismatchError.
    """
    if isinstance(b, Ciphertext):
        a, b = _summands(a, b, "add")
        polynomials = a.backend.residue_add(a.polynomials, b.polynomials)
        count_operation("add", polynomials.size // a.components)
        return a.derived(polynomials, bound=_sum(a.bound, b.bound), noise=a.noise + b.noise)
    if isinstance(b, Plaintext):
        a, plain = _with_plaintext(a, b, "add")
        if plain.scale != a.scale:
            raise ScaleError(f"cannot add: the ciphertext's scale is {a.scale!r}, the plaintext's {plain.scale!r}")
        polynomials = add_to_first(a.polynomials, plain.polynomial)
        count_operation("add", polynomials.size // a.components)
        return a.derived(polynomials, bound=_sum(a.bound, plain.bound), noise=a.noise + plain.noise)
    constant = _encode_constant(b, a.scale)
    magnitude = _magnitude(b)
    bound = _sum(a.bound, magnitude)
    check_fits(a.parameters, a.level, a.scale, magnitude if bound is None else bound, "add")
    first = a.backend.residue_shift(a.component(0), a.polynomials.basis.residues(constant))
    count_operation("add", first.size)
    rest = [a.component(i) for i in range(1, a.components)]
    return a.derived(join([first, *rest]), bound=bound, noise=a.noise + _ROUNDING)


def subtract(a: Ciphertext, b: Ciphertext | Plaintext | Number) -> Ciphertext:
    """a - b, as `add`."""
    if isinstance(b, Ciphertext):
        a, b = _summands(a, b, "subtract")
        polynomials = a.backend.residue_sub(a.polynomials, b.polynomials)
        count_operation("add", polynomials.size // a.components)
        return a.derived(polynomials, bound=_sum(a.bound, b.bound), noise=a.noise + b.noise)
    return negate(add(negate(a), b))


def negate(a: Ciphertext) -> Ciphertext:
    """-a, exactly."""
    return a.derived(a.backend.residue_negate(a.polynomials), bound=a.bound, noise=a.noise)


def _summands(a: Ciphertext, b: Ciphertext, verb: str) -> tuple[Ciphertext, Ciphertext]:
    check_compatible(a, b, verb)
    if a.scale != b.scale:
        raise ScaleError(
            f"cannot {verb}: one ciphertext has the scale {a.scale!r}, the other {b.scale!r}; "
            "evaluator.match aligns them, or rescale first"
        )
    level = min(a.level, b.level)
    check_fits(a.parameters, level, a.scale, _sum(a.bound, b.bound), verb)
    components = max(a.components, b.components)
    return _padded(drop_to_level(a.sharing_keys(b), level), components), _padded(drop_to_level(b, level), components)


def _padded(a: Ciphertext, components: int) -> Ciphertext:
    """With a third component of zero where one is asked for."""
    if a.components == components:
        return a
    zero = a.backend.residue_scale(a.component(0), [0] * (a.level + 1))
    return a.derived(join([a.component(0), a.component(1), zero]), bound=a.bound, noise=a.noise)


# -- products ----------------------------------------------------------------------------------------------


def multiply(a: Ciphertext, b: Ciphertext | Plaintext | Number, *, scale: Scale | None = None) -> Ciphertext:
    """a * b, neither relinearized nor rescaled; the scales multiply, batch shapes broadcast.

    Two ciphertexts of two components give one of three. A Python or NumPy integer multiplies exactly and leaves the
    scale alone; another real constant is rounded at `scale`, by default the modulus that the next rescale divides by,
    so that the rescale gives back a's scale exactly. Raises as `add`, and ScaleError where the product cannot fit.
    """
    if isinstance(b, Ciphertext):
        check_compatible(a, b, "multiply")
        if a.components != 2 or b.components != 2:
            raise OperandTypeError("cannot multiply a ciphertext of three components: relinearize it first")
        level = min(a.level, b.level)
        bound = _product(a.bound, b.bound)
        check_fits(a.parameters, level, a.scale * b.scale, _known_product(a.bound, b.bound), "multiply")
        same = a is b
        a = drop_to_level(a.sharing_keys(b), level)
        b = a if same else drop_to_level(b, level)
        polynomials = a.backend.tensor_product(a.polynomials, b.polynomials)
        count_operation("multiply", polynomials.size // 3)
        error = noise.multiplication(a.bound, a.scale, a.noise, b.bound, b.scale, b.noise)
        return a.derived(polynomials, scale=a.scale * b.scale, bound=bound, noise=error)
    if isinstance(b, Plaintext):
        a, plain = _with_plaintext(a, b, "multiply")
        bound = _product(a.bound, plain.bound)
        check_fits(a.parameters, a.level, a.scale * plain.scale, _known_product(a.bound, plain.bound), "multiply")
        factor = a.backend.ring_reshape(plain.polynomial, (*plain.polynomial.shape, 1))
        polynomials = a.backend.residue_mul(a.polynomials, factor)
        count_operation("multiply_plain", polynomials.size // a.components)
        error = noise.multiplication(a.bound, a.scale, a.noise, plain.bound, plain.scale, plain.noise)
        return a.derived(polynomials, scale=a.scale * plain.scale, bound=bound, noise=error)
    return _multiply_constant(a, b, scale)


def square(a: Ciphertext) -> Ciphertext:
    """a * a, neither relinearized nor rescaled."""
    return multiply(a, a)


def _multiply_constant(a: Ciphertext, b: Number, scale: Scale | None) -> Ciphertext:
    if scale is None:
        scale = Scale.of(1) if isinstance(b, int | np.integer) else Scale.of(last_modulus(a, "multiply"))
    constant, magnitude = _encode_constant(b, scale), _magnitude(b)
    bound = _product(a.bound, magnitude)
    check_fits(a.parameters, a.level, a.scale * scale, _known_product(a.bound, magnitude), "multiply")
    polynomials = a.backend.residue_scale(a.polynomials, a.polynomials.basis.residues(constant))
    count_operation("multiply_plain", a.size)
    rounding = 0.0 if scale == 1 else _ROUNDING
    error = noise.multiplication(a.bound, a.scale, a.noise, magnitude, scale, rounding)
    return a.derived(polynomials, scale=a.scale * scale, bound=bound, noise=error)


def multiply_rescale(a: Ciphertext, b: Ciphertext | Plaintext | Number) -> Ciphertext:
    """a * b, relinearized and rescaled: two components, one level lower (the same level for an integer)."""
    if isinstance(b, int | np.integer):
        return multiply(a, b)
    if isinstance(b, Ciphertext):
        last_modulus(drop_to_level(a, min(a.level, b.level)), "multiply")
        return relinearize_rescale(multiply(a, b))
    last_modulus(a, "multiply")
    return rescale(multiply(a, b))


def relinearize(a: Ciphertext) -> Ciphertext:
    """Three components to two by the relinearization key that came with the ciphertext; two stay as they are.

    Raises MissingKeyError where there is none.
    """
    if a.components == 2:
        return a
    polynomials = _switch_square(a, rescale=False)
    return a.derived(polynomials, bound=a.bound, noise=a.noise + noise.key_switching(a.parameters, a.level))


def relinearize_rescale(a: Ciphertext) -> Ciphertext:
    """`rescale(relinearize(a))`, with one division and one rounding for both."""
    if a.components == 2:
        return rescale(a)
    _check_rescale(a, 1)
    count_operation("rescale", a.size)
    modulus = a.polynomials.basis.moduli[-1]
    polynomials = _switch_square(a, rescale=True)
    error = noise.rescaling(a.parameters, a.noise + noise.key_switching(a.parameters, a.level), modulus, 2)
    return a.derived(polynomials, level=a.level - 1, scale=a.scale / modulus, bound=a.bound, noise=error)


def _switch_square(a: Ciphertext, *, rescale: bool) -> PolynomialArray:
    key = None if a.evaluation_keys is None else a.evaluation_keys.relinearization_key
    if key is None:
        raise MissingKeyError(
            "cannot relinearize: no relinearization key came with the ciphertext; ckks.generate_keys makes one where "
            "the parameters have a special modulus"
        )
    digits, special = a.parameters.digits(a.level), required_special(a)
    two = a.take_components(2)
    return keyswitch.switch(a.component(2), key.switching_key, digits, special, rescale=rescale, plus=two)


def rescale(a: Ciphertext, count: int = 1) -> Ciphertext:
    """Divide by the last `count` moduli and drop them: level - count, and the exact scale divided by each.

    Raises LevelError where there are not so many, ScaleError where less than a scale of 1 would be left.
    """
    _check_rescale(a, count)
    polynomials = a.backend.divide_round(a.polynomials, count)
    count_operation("rescale", a.size)
    divisor = math.prod(a.polynomials.basis.moduli[-count:])
    error = noise.rescaling(a.parameters, a.noise, divisor, a.components)
    return a.derived(polynomials, level=a.level - count, scale=a.scale / divisor, bound=a.bound, noise=error)


def _check_rescale(a: Ciphertext, count: int) -> None:
    if whole_number("count", count) < 1:
        raise ParameterError(f"cannot rescale by {count} moduli: at least one")
    if count > a.level:
        raise LevelError(
            f"cannot rescale by {count} moduli: the ciphertext is at level {a.level}. A longer chain of moduli_bits "
            "gives more levels"
        )
    left = a.scale / math.prod(a.polynomials.basis.moduli[-count:])
    if left.log2 < 0:
        raise ScaleError(
            f"cannot rescale by {count} moduli: of the scale {a.scale!r} 2^{left.log2:.1f} would be left, too "
            "little to hold a value; multiply first"
        )


# -- levels and scales -------------------------------------------------------------------------------------


def drop_to_level(a: Ciphertext, level: int) -> Ciphertext:
    """The same message and scale under fewer moduli: exact, and free. Raises LevelError for a higher level."""
    if level == a.level:
        return a
    if not 0 <= level < a.level:
        raise LevelError(f"cannot go from level {a.level} to level {level}: from 0 to {a.level}")
    check_fits(a.parameters, level, a.scale, a.bound, f"drop to level {level}")
    polynomials = a.backend.ring_moduli(a.polynomials, range(level + 1))
    return a.derived(polynomials, level=level, bound=a.bound, noise=a.noise)


def match(a: Ciphertext, b: Ciphertext) -> tuple[Ciphertext, Ciphertext]:
    """Both at one level and one exact scale.

    Equal scales only need a level drop. Where one scale is a whole multiple of the other, the smaller is multiplied
    by it, exactly. Else one is multiplied by the integer c nearest to q * (wanted scale) / (its scale) and rescaled by
    q, which takes a level of it unless it was the higher one; what the rounding of c moves, at most 1/(2c) of the
    value, is added to the noise. Raises ScaleError where no such c of 20 bits or more fits, LevelError where the last
    level would be needed.
    """
    check_compatible(a, b, "match")
    if a.scale == b.scale:
        level = min(a.level, b.level)
        return drop_to_level(a, level), drop_to_level(b, level)
    if a.level < b.level or (a.level == b.level and a.scale.log2 > b.scale.log2):
        b, a = match(b, a)
        return a, b
    ratio = (b.scale / a.scale).fraction()
    if ratio.denominator == 1:  # a's scale divides b's
        return match(_with_scale(a, ratio.numerator, b.scale, 1), b)
    inverse = 1 / ratio
    if inverse.denominator == 1:
        return match(a, _with_scale(b, inverse.numerator, a.scale, 1))
    # a has the higher level, or the same and the smaller scale; it pays the rescale.
    level = b.level if a.level > b.level else b.level - 1
    if level < 0:
        raise LevelError(
            f"cannot align the scales {a.scale!r} and {b.scale!r} at level 0: it takes a rescale; a longer chain of "
            "moduli_bits gives more levels"
        )
    return rescale_to(a, level, b.scale), drop_to_level(b, level)


def rescale_to(a: Ciphertext, level: int, scale: Scale) -> Ciphertext:
    """a at a lower level and exactly that scale, by one constant and one rescale; see `match`."""
    a = drop_to_level(a, level + 1)
    modulus = a.polynomials.basis.moduli[-1]
    return rescale(_with_scale(a, round((scale * modulus / a.scale).fraction()), scale * modulus, _ALIGNMENT_BITS))


def _with_scale(a: Ciphertext, constant: int, scale: Scale, bits: int) -> Ciphertext:
    """a times `constant`, declared to have `scale`: the relative deviation of the two is counted as noise."""
    wanted = (scale / a.scale).fraction()
    deviation = abs(float(constant / wanted - 1))
    if constant.bit_length() < bits:
        raise ScaleError(
            f"cannot align the scale {a.scale!r} with {scale!r}: the correction would have {constant.bit_length()} "
            f"bits, at least {bits} are needed; rescale the larger one first"
        )
    check_fits(a.parameters, a.level, scale, a.bound, "align scales")
    polynomials = a.backend.residue_scale(a.polynomials, a.polynomials.basis.residues(constant))
    moved = 0.0 if deviation == 0 else math.inf if a.bound is None else a.bound * float(scale) * deviation
    return a.derived(polynomials, scale=scale, bound=a.bound, noise=a.noise * constant + moved)


# -- checks and constants ----------------------------------------------------------------------------------


def check_fits(parameters: noise.Parameters, level: int, scale: Scale, bound: float | None, verb: str) -> None:
    """|scale * value| stays below half the modulus (|value| taken as 1 where no bound is known), else ScaleError."""
    size = scale.log2 + (math.log2(bound) if bound and bound > 1 else 0.0)
    available = parameters.level_basis(level).bits - 2
    if size > available:
        raise ScaleError(
            f"cannot {verb}: values up to 2^{size - scale.log2:.1f} at a scale of 2^{scale.log2:.1f} need more than "
            f"the {available + 2} bits of modulus at level {level}; rescale first, use a longer chain of moduli_bits, "
            "a smaller scale, or declare a smaller bound"
        )


def last_modulus(a: Ciphertext, verb: str) -> int:
    """The modulus that the next rescale divides by. Raises LevelError at level 0."""
    if a.level == 0:
        raise LevelError(
            f"cannot {verb}: the ciphertext is at level 0 and a rescale would have to follow; this chain of "
            f"{len(a.parameters.basis)} moduli allows {a.parameters.max_level} rescales. Use more moduli_bits"
        )
    return a.polynomials.basis.moduli[-1]


def required_special(a: Ciphertext) -> RnsBasis:
    """The special moduli, else MissingKeyError: without them there are no switching keys."""
    special = a.parameters.special
    if special is None:
        raise MissingKeyError("cannot switch keys: these parameters have no special modulus, hence no keys for it")
    return special


def on_backend(plain: Plaintext, backend: RingBackend) -> PolynomialArray:
    """A plaintext's polynomial where the ciphertext is; plain operands follow."""
    polynomial = plain.polynomial
    if polynomial.backend is backend:
        return polynomial
    return backend.ring_upload(polynomial.backend.ring_download(polynomial), polynomial.basis, ntt=polynomial.ntt)


def _with_plaintext(a: Ciphertext, plain: Plaintext, verb: str) -> tuple[Ciphertext, Plaintext]:
    """Both at the lower level, on the ciphertext's backend."""
    if a.parameters != plain.parameters:
        raise ParameterError(
            f"cannot {verb}: the ciphertext was made with {a.parameters!r}, the plaintext with {plain.parameters!r}"
        )
    level = min(a.level, plain.level)
    polynomial = on_backend(plain, a.backend)
    if plain.level > level:
        polynomial = a.backend.ring_moduli(polynomial, range(level + 1))
    return drop_to_level(a, level), replace(plain, polynomial=polynomial, level=level)


def _encode_constant(value: Number, scale: Scale) -> int:
    """round(value * scale), exactly. Raises OperandTypeError for what is no real number, PlaintextRangeError."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Number):
        raise OperandTypeError(f"cannot compute with a {type(value).__name__}: ciphertexts, plaintexts, real numbers")
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        raise PlaintextRangeError("cannot compute with NaN or an infinity")
    exact = Fraction(int(value)) if isinstance(value, int | np.integer) else Fraction(*value.as_integer_ratio())
    return round(exact * scale.fraction())


def _magnitude(value: Number) -> float:
    """|value|; infinity, which fits nowhere, where it is no double any more."""
    try:
        return abs(float(value))
    except OverflowError:
        return math.inf


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _product(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _known_product(a: float | None, b: float | None) -> float:
    """What the product of the bounds is at least: an unknown one counts as 1."""
    return (1.0 if a is None else a) * (1.0 if b is None else b)
