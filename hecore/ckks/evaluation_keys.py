"""The public keys that evaluation needs: relinearization and Galois keys, and the two together.

Each is a gadget encryption of a function of the secret key under the key itself (`hecore.ring.keyswitch`), public like
the public key, and useless without special moduli.
"""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from hecore.errors import KeyMismatchError, MissingKeyError, OperandTypeError, ParameterError

if TYPE_CHECKING:
    from hecore.ckks.params import Parameters
    from hecore.ring.keyswitch import SwitchingKey

GENERATOR = 3
"""Slot j is the evaluation at zeta^(3^j): SEAL's order."""


def element_of_step(ring_degree: int, step: int) -> int:
    """The Galois element of a rotation by `step` slots to the left (right where it is negative): 3^step mod 2N."""
    return pow(GENERATOR, step % (ring_degree // 2), 2 * ring_degree)


def element_of_conjugation(ring_degree: int) -> int:
    """2N - 1: X -> X^-1."""
    return 2 * ring_degree - 1


def power_of_two_steps(slots: int) -> list[int]:
    """±1, ±2, ±4, … up to half the slots: from these every rotation is composed."""
    return [sign << i for i in range(slots.bit_length() - 1) for sign in (1, -1)]


@dataclass(frozen=True, eq=False, repr=False)
class RelinearizationKey:
    """Takes s^2 to s: what brings a product back to two components."""

    parameters: Parameters
    key_id: bytes
    switching_key: SwitchingKey

    def __reduce__(self) -> tuple[object, ...]:
        from hecore.ckks import wire

        alone = EvaluationKeys(self.parameters, self.key_id, self, GaloisKeys(self.parameters, self.key_id))
        data = wire.evaluation_keys_to_bytes(alone)
        return wire.unpickle, ("relinearization_key", data, wire.pickles_insecure(self.parameters))

    def __repr__(self) -> str:
        return f"<RelinearizationKey of key {self.key_id.hex()[:8]}>"


@dataclass(frozen=True, eq=False, repr=False)
class GaloisKeys:
    """Galois element -> the key that takes s(X^element) to s; iterates over elements. `|` joins two sets of one key."""

    parameters: Parameters
    key_id: bytes
    keys_by_element: Mapping[int, SwitchingKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        order = 2 * self.parameters.ring_degree
        for element in self.keys_by_element:
            if not (0 < element < order and element % 2):
                raise ParameterError(f"cannot use {element} as a Galois element: odd, from 1 to {order - 1}")
        object.__setattr__(self, "keys_by_element", MappingProxyType(dict(self.keys_by_element)))

    def __getitem__(self, element: int) -> SwitchingKey:
        """Raises MissingKeyError."""
        try:
            return self.keys_by_element[element]
        except KeyError:
            raise MissingKeyError(
                f"cannot apply the Galois element {element}: there is no key for it; SecretKey.make_galois_keys "
                "makes one"
            ) from None

    def __contains__(self, element: object) -> bool:
        return element in self.keys_by_element

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys_by_element)

    def __len__(self) -> int:
        return len(self.keys_by_element)

    def items(self) -> ItemsView[int, SwitchingKey]:
        """Elements and their keys."""
        return self.keys_by_element.items()

    def has_step(self, step: int) -> bool:
        """Whether one key rotates by `step`."""
        return element_of_step(self.parameters.ring_degree, step) in self.keys_by_element

    def for_step(self, step: int) -> SwitchingKey:
        """The key of a rotation by `step` slots to the left. Raises MissingKeyError."""
        if not self.has_step(step):
            raise MissingKeyError(
                f"cannot rotate by {step}: there is no Galois key for it; ckks.generate_keys(…, galois=[{step}]) or "
                f"secret_key.make_galois_keys([{step}]) makes one"
            )
        return self[element_of_step(self.parameters.ring_degree, step)]

    def for_conjugation(self) -> SwitchingKey:
        """The key of complex conjugation. Raises MissingKeyError."""
        element = element_of_conjugation(self.parameters.ring_degree)
        if element not in self.keys_by_element:
            raise MissingKeyError(
                "cannot conjugate: there is no Galois key for it; ckks.generate_keys(…, conjugation=True) or "
                "secret_key.make_galois_keys([], conjugation=True) makes one"
            )
        return self[element]

    def __or__(self, other: GaloisKeys) -> GaloisKeys:
        if other.key_id != self.key_id or other.parameters != self.parameters:
            raise KeyMismatchError("cannot join these Galois keys: they belong to different keys")
        return replace(self, keys_by_element={**self.keys_by_element, **other.keys_by_element})

    def __reduce__(self) -> tuple[object, ...]:
        from hecore.ckks import wire

        data = wire.evaluation_keys_to_bytes(EvaluationKeys(self.parameters, self.key_id, None, self))
        return wire.unpickle, ("galois_keys", data, wire.pickles_insecure(self.parameters))

    def __repr__(self) -> str:
        return f"<GaloisKeys {len(self)} elements, of key {self.key_id.hex()[:8]}>"


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationKeys:
    """What a server may know: parameters, key id, and the evaluation keys there are. Travels with each ciphertext."""

    parameters: Parameters
    key_id: bytes
    relinearization_key: RelinearizationKey | None
    galois_keys: GaloisKeys

    def __post_init__(self) -> None:
        for part in (self.relinearization_key, self.galois_keys):
            if part is not None and (part.key_id != self.key_id or part.parameters != self.parameters):
                raise KeyMismatchError(f"cannot use {part!r} with key {self.key_id.hex()[:8]}")

    def with_galois_keys(self, galois_keys: GaloisKeys) -> EvaluationKeys:
        """These and more Galois keys. Raises KeyMismatchError."""
        return replace(self, galois_keys=self.galois_keys | galois_keys)

    def to_bytes(self) -> bytes:
        """The compact wire form: see `hecore.ckks.wire`."""
        from hecore.ckks import wire

        return wire.evaluation_keys_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes, *, allow_insecure: bool = False) -> EvaluationKeys:
        """Inverse of `to_bytes`. Raises SerializationError, InsecureParametersError."""
        from hecore.ckks import wire

        return wire.evaluation_keys_from_bytes(data, allow_insecure=allow_insecure)

    def __reduce__(self) -> tuple[object, ...]:
        from hecore.ckks import wire

        return wire.unpickle, ("evaluation_keys", self.to_bytes(), wire.pickles_insecure(self.parameters))

    def __repr__(self) -> str:
        relinearization = "relinearization" if self.relinearization_key else "no relinearization"
        return f"<EvaluationKeys {relinearization}, {len(self.galois_keys)} Galois, of key {self.key_id.hex()[:8]}>"


def elements_of(parameters: Parameters, galois: str | Iterable[int] | None, conjugation: bool) -> list[int]:
    """Galois elements of steps, or of "power-of-two"; without repetition, the identity left out."""
    if isinstance(galois, str):
        if galois != "power-of-two":
            raise ParameterError(f'cannot make Galois keys for {galois!r}: "power-of-two" or a list of steps')
        galois = power_of_two_steps(parameters.slots)
    try:
        steps = [operator.index(step) for step in galois or ()]
    except TypeError:
        raise OperandTypeError("cannot make Galois keys for these steps: integers are needed") from None
    elements = [element_of_step(parameters.ring_degree, step) for step in steps]
    if conjugation:
        elements.append(element_of_conjugation(parameters.ring_degree))
    return [element for element in dict.fromkeys(elements) if element != 1]
