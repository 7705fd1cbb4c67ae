"""Rotations of the slots, conjugation, and sums of rotations.

A rotation by r steps to the left is X -> X^(3^r) followed by a key switch. Both orders of the two are right: here the
ciphertext is decomposed and multiplied by the keys first (`keyswitch.accumulate`), so that several rotations of one
ciphertext share a decomposition, and sums of rotations share the division by P.

Steps without a key of their own are walked in steps that have one: a sum of as few powers of two as there can be, which
the default keys (±1, ±2, ±4, …) allow for every step. Steps that begin alike walk together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hecore.backends.ring_protocol import PolynomialArray
from hecore.ckks import noise
from hecore.ckks.ciphertext import Ciphertext
from hecore.ckks.evaluation_keys import GaloisKeys, element_of_conjugation, element_of_step
from hecore.ckks.evaluator import check_fits, required_special
from hecore.ckks.params import whole_number
from hecore.errors import MissingKeyError, OperandTypeError, ParameterError
from hecore.ring import keyswitch
from hecore.ring.keyswitch import SwitchingKey

__all__ = ["conjugate", "inner_sum", "rotate", "rotate_hoisted", "sum_of_rotations"]

Automorphism = tuple[SwitchingKey, int]
"""The key of an element, and the element."""


def rotate(a: Ciphertext, step: int) -> Ciphertext:
    """Slot j of the result is slot j + step of `a`, cyclically. Raises MissingKeyError, OperandTypeError."""
    return rotate_hoisted(a, [step])[0]


def rotate_hoisted(a: Ciphertext, steps: Sequence[int]) -> list[Ciphertext]:
    """`rotate` by each of several steps, at the price of one decomposition and, for each, a product with its key."""
    steps = [whole_number("a step", step) for step in steps]
    made = {0: a}
    _expand(a, 0, _walks(a, steps), made)
    return [made[step % a.parameters.slots] for step in steps]


def conjugate(a: Ciphertext) -> Ciphertext:
    """The complex conjugate in every slot. Raises MissingKeyError, OperandTypeError."""
    key = galois_keys(a).for_conjugation()
    return _automorphisms(a, [(key, element_of_conjugation(a.parameters.ring_degree))])[0]


def _expand(a: Ciphertext, at: int, node: Walks, made: dict[int, Ciphertext]) -> None:
    """All rotations that a walk from here, where `a` is rotated by `at` already, passes through."""
    if not node.further:
        return
    rotated = _automorphisms(a, [_rotation(a, step) for step in node.further])
    for (step, further), there in zip(node.further.items(), rotated, strict=True):
        place = (at + step) % a.parameters.slots
        made[place] = there
        _expand(there, place, further, made)


def _automorphisms(a: Ciphertext, keys: Sequence[Automorphism]) -> list[Ciphertext]:
    """`a` under each of several automorphisms."""
    backend, special, first = a.backend, required_special(a), _first(a)
    raised = _raised(a, keys)
    error = a.noise + noise.key_switching(a.parameters, a.level)
    out = []
    for i, (_, element) in enumerate(keys):
        indices = np.arange(a.size, dtype=np.intp)[:, None] * (2 * len(keys)) + np.array([2 * i, 2 * i + 1])
        one = backend.ring_take(raised, indices.reshape(*a.shape, 2))
        polynomials = backend.automorphism(keyswitch.mod_down(one, special, plus=first), element)
        out.append(a.derived(polynomials, bound=a.bound, noise=error))
    return out


def _raised(a: Ciphertext, keys: Sequence[Automorphism]) -> PolynomialArray:
    """Component 1 by each key, before the automorphism and the division: (*S, keys, 2)."""
    return keyswitch.accumulate(a.component(1), keys, a.parameters.digits(a.level), required_special(a))


def _first(a: Ciphertext) -> PolynomialArray:
    """Component 0 as (*S, 1)."""
    return a.backend.ring_reshape(a.component(0), (*a.shape, 1))


# -- sums of rotations -------------------------------------------------------------------------------------


def sum_of_rotations(terms: Mapping[int, Ciphertext]) -> Ciphertext:
    """The sum of ciphertexts, each rotated by its step: {step: ciphertext}, at least one.

    All share key, level, scale and batch shape. Terms whose walks end alike are added up before they walk on together,
    and each sum divides by P once.
    """
    first = next(iter(terms.values()))
    wanted = {step % first.parameters.slots: a for step, a in terms.items()}
    if len(wanted) < len(terms):
        raise ParameterError(f"cannot rotate by {sorted(terms)}: some are the same step modulo the slots")
    return _contract(wanted, 0, _walks(first, wanted))


def _contract(terms: Mapping[int, Ciphertext], at: int, node: Walks) -> Ciphertext:
    """The sum of all terms at this node and beyond, each rotated by the steps between."""
    slots = next(iter(terms.values())).parameters.slots
    beyond = [(step, _contract(terms, (at + step) % slots, further)) for step, further in node.further.items()]
    own = terms[at] if node.ends else None
    if not beyond:
        assert own is not None, "walks end at terms"
        return own
    return _add_rotated(own, [(a, _rotation(a, step)) for step, a in beyond])


def _add_rotated(own: Ciphertext | None, arrivals: Sequence[tuple[Ciphertext, Automorphism]]) -> Ciphertext:
    """own + the arrivals, each under its automorphism: digits of one ciphertext are made once, P divides once."""
    a = arrivals[0][0]
    backend = a.backend
    by_source: dict[int, tuple[Ciphertext, list[Automorphism]]] = {}
    for arrival, key in arrivals:
        by_source.setdefault(id(arrival), (arrival, []))[1].append(key)
    sums = []
    for source, keys in by_source.values():
        elements = [element for _, element in keys]
        first = backend.ring_reshape(_first(source), (*a.shape, 1, 1))
        sums.append(
            (backend.automorphism_sum(_raised(source, keys), elements), backend.automorphism_sum(first, elements))
        )
    raised, first = sums[0]
    for more_raised, more_first in sums[1:]:
        raised, first = backend.residue_add(raised, more_raised), backend.residue_add(first, more_first)
    polynomials = keyswitch.mod_down(raised, required_special(a), plus=first)
    everything = [arrival for arrival, _ in arrivals]
    if own is not None:
        polynomials = backend.residue_add(polynomials, own.polynomials)
        everything.append(own)
    bound = None if any(x.bound is None for x in everything) else sum(x.bound or 0.0 for x in everything)
    error = sum(x.noise for x in everything) + len(arrivals) * noise.key_switching(a.parameters, a.level)
    check_fits(a.parameters, a.level, a.scale, bound, "add rotations")
    return a.derived(polynomials, bound=bound, noise=error)


def inner_sum(a: Ciphertext, length: int, stride: int = 1, *, periodic: bool = False) -> Ciphertext:
    """Slot j of the result: the sum of slots j, j + stride, …, j + (length-1)*stride of `a`, cyclically.

    `periodic` says that the slots repeat after length*stride, a divisor of all slots: then the sum may begin anywhere,
    which two steps at a time use: x[-1] + x[0] + x[1] + x[2] needs powers of two only, one decomposition and one
    division. That holds by itself where length*stride is all slots. Raises MissingKeyError, OperandTypeError,
    ParameterError.
    """
    slots = a.parameters.slots
    length, stride = whole_number("length", length), whole_number("stride", stride)
    if length < 1 or stride < 1 or length * stride > slots:
        raise ParameterError(f"cannot sum {length} slots {stride} apart: together from 1 to {slots}")
    if length == 1:
        return a
    if length & (length - 1) == 0:
        stages = _stages(galois_keys(a), length, stride, periodic=periodic or length * stride == slots)
        if stages is not None:
            for steps in stages:
                a = _add_rotated(a, [(a, _rotation(a, step)) for step in steps])
            return a
    total: Ciphertext | None = None  # of the slots that are done
    covered = 0
    while length > 1:
        if length % 2:
            total, covered = _with(total, covered, a), covered + stride
        a = sum_of_rotations({0: a, stride: a})
        length, stride = length // 2, stride * 2
    return _with(total, covered, a)


def _stages(keys: GaloisKeys, length: int, stride: int, *, periodic: bool) -> list[tuple[int, ...]] | None:
    """Steps of each stage of a sum: what it adds to itself, rotated by them. None where one has no key of its own."""
    stages: list[tuple[int, ...]] = []
    while length > 1:
        four = stride, -stride, 2 * stride
        steps = four if periodic and length % 4 == 0 and all(map(keys.has_step, four)) else four[:1]
        if not keys.has_step(stride):
            return None
        stages.append(steps)
        length, stride = length // (len(steps) + 1), stride * (len(steps) + 1)
    return stages


def _with(total: Ciphertext | None, covered: int, a: Ciphertext) -> Ciphertext:
    """total + `a` from where the total ends."""
    return a if total is None else sum_of_rotations({0: total, covered: a})


# -- keys and walks ----------------------------------------------------------------------------------------


@dataclass
class Walks:
    """Walks from one place, as a tree: the next steps, and where they go on. `ends`: one of them ends here.

    Another walk may pass through the place where one ends, by other steps: what is wanted there counts once.
    """

    further: dict[int, Walks] = field(default_factory=dict)
    ends: bool = False

    def add(self, steps: Sequence[int]) -> None:
        if steps:
            self.further.setdefault(steps[0], Walks()).add(steps[1:])
        else:
            self.ends = True


def _walks(a: Ciphertext, steps: Iterable[int]) -> Walks:
    keys, root = galois_keys(a), Walks()
    for step in steps:
        root.add(_walk(keys, step % a.parameters.slots))
    return root


def _walk(keys: GaloisKeys, step: int) -> list[int]:
    """Steps that have keys and add up to `step`, modulo the slots. Raises MissingKeyError."""
    if step == 0 or keys.has_step(step):
        return [step] if step else []
    slots = keys.parameters.slots
    walk = []
    power, rest = 1, min(step, step - slots, key=abs)
    while rest:  # the non-adjacent form: digits -1, 0, 1, the fewest that are not 0
        if rest & 1:
            digit = 2 - (rest & 3)
            rest -= digit
            walk.append(digit * power % slots)
        rest, power = rest >> 1, power << 1
    if not all(keys.has_step(s) for s in walk):
        keys.for_step(step)  # raises: names the key that is missing
    return walk[::-1]


def galois_keys(a: Ciphertext) -> GaloisKeys:
    """The Galois keys that came with the ciphertext. Raises MissingKeyError; OperandTypeError for 3 components."""
    if a.components != 2:
        raise OperandTypeError("cannot rotate a ciphertext of three components: relinearize it first")
    if a.evaluation_keys is None:
        raise MissingKeyError(
            'cannot rotate: no evaluation keys came with the ciphertext; ckks.generate_keys(…, galois="power-of-two") '
            "makes Galois keys"
        )
    return a.evaluation_keys.galois_keys


def _rotation(a: Ciphertext, step: int) -> Automorphism:
    return galois_keys(a).for_step(step), element_of_step(a.parameters.ring_degree, step)
