"""Arithmetic on ciphertexts as a context's flags want it, with scales that meet exactly.

Everything here works slot by slot on a batch, whatever the slots mean. Ciphertexts that were encoded at one scale
`top` and met only their like have, at level l, the scale `scales(parameters, top)[l]` (`_chain`): products keep to that
by themselves, operands that come from a higher level are corrected by one constant and one rescale.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hecore.ckks import evaluator
from hecore.ckks.ciphertext import Ciphertext, concatenate
from hecore.ckks.encoding import Message
from hecore.compat.tenseal._chain import scales
from hecore.compat.tenseal._encode import Plain, encoded_constant, is_zero, plaintext
from hecore.compat.tenseal._errors import peers_words
from hecore.errors import ParameterError, ScaleError

if TYPE_CHECKING:
    from hecore.ckks.scale import Scale
    from hecore.compat.tenseal._state import TenSEALContext


def with_keys(context: TenSEALContext, a: Ciphertext) -> Ciphertext:
    """With the evaluation keys that the context has now."""
    keys = context.evaluation_keys
    return a if a.evaluation_keys is keys else replace(a, evaluation_keys=keys)


# -- sums --------------------------------------------------------------------------------------------------


def aligned(context: TenSEALContext, a: Ciphertext, b: Ciphertext) -> tuple[Ciphertext, Ciphertext]:
    """Both at the lower level, the one that drops at the other's scale where a correction can give it.

    Raises ParameterError where levels differ and auto_mod_switch is off.
    """
    if a.level == b.level:
        return a, b
    if not context.flag("auto_mod_switch"):
        raise ParameterError(
            f"encrypted1 and encrypted2 parameter mismatch: levels {a.level} and {b.level}, and auto_mod_switch is off"
        )
    if a.level < b.level:
        b, a = aligned(context, b, a)
        return a, b
    return at_level(a, b.level, b.scale), b


def at_level(a: Ciphertext, level: int, scale: Scale) -> Ciphertext:
    """`a` at a level that is not higher, and at `scale` where one constant and the rescales on the way can give it."""
    if a.level == level or a.scale == scale:
        return evaluator.drop_to_level(a, level)
    try:
        return evaluator.rescale_to(a, level, scale)
    except ScaleError:
        return evaluator.drop_to_level(a, level)


def add(context: TenSEALContext, a: Ciphertext, b: Ciphertext, *, subtract: bool = False) -> Ciphertext:
    """a + b or a - b. Raises ScaleError where their scales cannot be made equal, KeyMismatchError, ParameterError."""
    a, b = aligned(context, a, b)
    if a.scale != b.scale:
        raise ScaleError("scale mismatch") from ScaleError(
            f"one operand has a scale of 2^{a.scale.log2:.6f}, the other of 2^{b.scale.log2:.6f}"
        )
    return evaluator.subtract(a, b) if subtract else evaluator.add(a, b)


def add_constant(context: TenSEALContext, a: Ciphertext, value: float, top: Scale) -> Ciphertext:
    """a + value in every slot. Raises PlaintextRangeError; ScaleError and ParameterError where flags are off."""
    _check_flags(context, a, top)
    encoded_constant(value, a.parameters, a.level, a.scale)
    return evaluator.add(a, value)


def add_plain(
    context: TenSEALContext, a: Ciphertext, plain: Plain, top: Scale, *, subtract: bool = False
) -> Ciphertext:
    """a ± plain; raises as `add_constant`."""
    _check_flags(context, a, top)
    encoded = plaintext(plain.encode(a.parameters, a.level, a.scale), a)
    return evaluator.subtract(a, encoded) if subtract else evaluator.add(a, encoded)


def _check_flags(context: TenSEALContext, a: Ciphertext, top: Scale) -> None:
    """The peer encodes plain summands at the highest level and at `top`, and only its flags bring them elsewhere."""
    if a.level < a.parameters.max_level and not context.flag("auto_mod_switch"):
        raise ParameterError(
            f"encrypted_ntt and plain_ntt parameter mismatch: level {a.level}, and auto_mod_switch is off"
        )
    if not context.flag("auto_rescale") and a.scale != scales(a.parameters, top)[a.level]:
        raise ScaleError("scale mismatch") from ScaleError(
            f"the ciphertext has a scale of 2^{a.scale.log2:.6f} because auto_rescale is off"
        )


# -- products ----------------------------------------------------------------------------------------------


def multiply(context: TenSEALContext, a: Ciphertext, b: Ciphertext) -> Ciphertext:
    """a * b, relinearized and rescaled as the flags say. Raises ScaleError and LevelError in the peer's words."""
    same = a is b
    a, b = aligned(context, a, b)
    a = two_components(context, a)
    b = a if same else two_components(context, b)
    check_product(context, a, b.scale)
    return finished(context, evaluator.multiply(a, b))


def finished(context: TenSEALContext, product: Ciphertext) -> Ciphertext:
    """A product that was not relinearized or rescaled, as the flags want it."""
    if product.components == 3 and context.flag("auto_relin"):
        product = two_components(context, product)
    with peers_words():
        return evaluator.rescale(product) if context.flag("auto_rescale") else product


def two_components(context: TenSEALContext, a: Ciphertext) -> Ciphertext:
    """Relinearized where it was not. Raises ContextError where the context has no key for it."""
    if a.components == 2:
        return a
    context.relinearization_key  # noqa: B018 - raises in the peer's words
    return evaluator.relinearize(with_keys(context, a))


def check_product(context: TenSEALContext, a: Ciphertext, scale: Scale) -> None:
    """Whether a product of `a` with something of that scale fits, and a rescale can follow; before any arithmetic."""
    with peers_words():
        evaluator.check_fits(a.parameters, a.level, a.scale * scale, None, "multiply")
        if context.flag("auto_rescale"):
            evaluator.last_modulus(a, "multiply")


def check_level(a: Ciphertext) -> None:
    """For what rescales whatever the flags say. Raises LevelError in the peer's words."""
    with peers_words():
        evaluator.last_modulus(a, "multiply")


def plain_scale(context: TenSEALContext, a: Ciphertext, top: Scale) -> Scale:
    """What factors of `a` are encoded at: the scale of its level where a rescale follows, else `top`."""
    return scales(a.parameters, top)[a.level] if context.flag("auto_rescale") else top


def multiply_constant(context: TenSEALContext, a: Ciphertext, value: float, top: Scale) -> Ciphertext:
    """a * value. A factor that encodes as zero gives a fresh encryption of zero, not the empty ciphertext."""
    scale = plain_scale(context, a, top)
    if encoded_constant(value, a.parameters, a.level, scale) == 0:
        return zeros_like_product(context, a, scale)
    check_product(context, a, scale)
    return finished(context, evaluator.multiply(a, value, scale=scale))


def multiply_plain(context: TenSEALContext, a: Ciphertext, plain: Plain, top: Scale) -> Ciphertext:
    """a * plain; operands that encode as zero as in `multiply_constant`."""
    scale = plain_scale(context, a, top)
    message = plain.encode(a.parameters, a.level, scale)
    check_product(context, a, scale)
    product = finished(context, evaluator.multiply(a, plaintext(message, a)))
    return without_transparent(context, product, is_zero(message))


def without_transparent(context: TenSEALContext, a: Ciphertext, zero: NDArray[np.bool_]) -> Ciphertext:
    """Fresh encryptions of zero in place of the ciphertexts where `zero`, of the batch shape, is set.

    A product with zero has only zeros for polynomials: it would tell whoever sees it that it encrypts zero.
    """
    zero = np.broadcast_to(zero, a.shape).ravel()
    if not zero.any():
        return a
    a = two_components(context, a)
    fresh = encrypt_zeros(context, int(zero.sum()), a.level, a.scale)
    joined = concatenate([a.reshape(a.size), fresh])
    indices = np.where(zero, a.size - 1 + np.cumsum(zero), np.arange(a.size))
    return joined.take(indices.astype(np.intp).reshape(a.shape))


def zeros_like_product(context: TenSEALContext, a: Ciphertext, scale: Scale) -> Ciphertext:
    """Fresh zeros in place of the product of `a` with a zero that was encoded at `scale`."""
    check_product(context, a, scale)
    level, product = a.level, a.scale * scale
    if context.flag("auto_rescale"):
        product = product / evaluator.last_modulus(a, "multiply")
        level -= 1
    return encrypt_zeros(context, a.size, level, product).reshape(*a.shape)


def encrypt_zeros(context: TenSEALContext, count: int, level: int, scale: Scale) -> Ciphertext:
    """Fresh encryptions of zero: (count,). Raises ContextError where the context cannot encrypt."""
    small = np.zeros((count, context.parameters.ring_degree), dtype=np.int64)
    return context.encrypt(Message(context.parameters, level, scale, None, math.inf, small, None))[0]
