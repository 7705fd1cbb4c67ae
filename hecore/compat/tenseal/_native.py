"""What the peer's key wrappers hold in `data`: SEAL's objects there, hecore's own behind the same few methods here.

SEAL's classes are out of scope (docs/compat-tenseal.md); what remains answers the questions of size and shape that
users of the peer ask of a context.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hecore.ckks import keys
from hecore.ckks.evaluation_keys import GaloisKeys as HecoreGaloisKeys
from hecore.ckks.evaluation_keys import RelinearizationKey

if TYPE_CHECKING:
    from hecore.arith.rns import RnsBasis
    from hecore.ckks.ciphertext import Ciphertext as HecoreCiphertext
    from hecore.ckks.params import Parameters
    from hecore.compat.tenseal._state import LabelledKey

_CKKS = 2  # SEAL's scheme_type


def _parms_id(basis: RnsBasis) -> list[int]:
    """SEAL's identity of a level: BLAKE2b of scheme, ring degree, moduli and the absent plain modulus."""
    words = struct.pack(f"<{len(basis) + 3}Q", _CKKS, basis.ring_degree, *basis.moduli, 0)
    return list(struct.unpack("<4Q", hashlib.blake2b(words, digest_size=32).digest()))


@dataclass(frozen=True, repr=False)
class Ciphertext:
    """One ciphertext of a tensor, or of a public key."""

    basis: RnsBasis
    scale: float
    _components: int

    @classmethod
    def of(cls, ciphertext: HecoreCiphertext) -> Ciphertext:
        return cls(ciphertext.polynomials.basis, float(ciphertext.scale), ciphertext.components)

    def size(self) -> int:
        """Number of polynomials."""
        return self._components

    def poly_modulus_degree(self) -> int:
        return self.basis.ring_degree

    def coeff_modulus_size(self) -> int:
        """Number of moduli left."""
        return len(self.basis)

    def is_ntt_form(self) -> bool:
        return True

    def parms_id(self) -> list[int]:
        return _parms_id(self.basis)


@dataclass(frozen=True, repr=False)
class Plaintext:
    """The polynomial of a secret key; says how long it is and nothing of what it holds."""

    basis: RnsBasis

    def coeff_count(self) -> int:
        return len(self.basis) * self.basis.ring_degree

    def is_ntt_form(self) -> bool:
        return True

    def parms_id(self) -> list[int]:
        return _parms_id(self.basis)


@dataclass(frozen=True, repr=False)
class PublicKey:
    key: keys.PublicKey

    def data(self) -> Ciphertext:
        return Ciphertext(self.key.parameters.basis, 1.0, 2)

    def parms_id(self) -> list[int]:
        return self.data().parms_id()


@dataclass(frozen=True, repr=False)
class SecretKey:
    labelled: LabelledKey

    def data(self) -> Plaintext:
        return Plaintext(self.labelled.key.parameters.basis)

    def parms_id(self) -> list[int]:
        return self.data().parms_id()


@dataclass(frozen=True, repr=False)
class RelinKeys:
    key: RelinearizationKey

    def size(self) -> int:
        return 1

    def parms_id(self) -> list[int]:
        return _parms_id(self.key.parameters.basis)


@dataclass(frozen=True, repr=False)
class GaloisKeys:
    keys: HecoreGaloisKeys

    def size(self) -> int:
        """Number of Galois elements that have a key."""
        return len(self.keys)

    def has_key(self, galois_elt: int) -> bool:
        return galois_elt in self.keys

    def parms_id(self) -> list[int]:
        return _parms_id(self.keys.parameters.basis)


@dataclass(frozen=True, repr=False)
class EncryptionParameters:
    basis: RnsBasis

    def scheme(self) -> int:
        return _CKKS

    def poly_modulus_degree(self) -> int:
        return self.basis.ring_degree

    def coeff_modulus(self) -> list[int]:
        """The primes; SEAL's binding has objects of a class it does not export."""
        return list(self.basis.moduli)


@dataclass(frozen=True, repr=False)
class ContextData:
    """One level of the chain of moduli."""

    basis: RnsBasis
    _index: int

    def parms(self) -> EncryptionParameters:
        return EncryptionParameters(self.basis)

    def parms_id(self) -> list[int]:
        return _parms_id(self.basis)

    def chain_index(self) -> int:
        return self._index

    def total_coeff_modulus_bit_count(self) -> int:
        return self.basis.bits


@dataclass(frozen=True, repr=False)
class SEALContext:
    parameters: Parameters

    def parameters_set(self) -> bool:
        return True

    def using_keyswitching(self) -> bool:
        return self.parameters.special is not None

    def key_context_data(self) -> ContextData:
        """All moduli, the special one included."""
        return ContextData(self.parameters.basis, self.parameters.max_level + 1)

    def first_context_data(self) -> ContextData:
        """What fresh ciphertexts live over."""
        return ContextData(self.parameters.level_basis(self.parameters.max_level), self.parameters.max_level)

    def last_context_data(self) -> ContextData:
        """What is left after the last rescale."""
        return ContextData(self.parameters.level_basis(0), 0)


@dataclass(frozen=True, repr=False)
class Encryptor:
    """Says that the context can encrypt; `ckks_vector` and `ckks_tensor` do it."""

    parameters: Parameters


@dataclass(frozen=True, repr=False)
class Decryptor:
    """Says that the context can decrypt; `decrypt` of a tensor does it."""

    parameters: Parameters
