"""CKKS parameters: an unchecked literal goes in, an immutable and checked value comes out.

The moduli of RNS-CKKS (Cheon, Han, Kim, Kim, Song: "A Full RNS Variant of Approximate Homomorphic Encryption", SAC
2018) in order: q_0, …, q_L carry ciphertexts, one of them is lost at each rescale, the last first; the special ones
after them, of product P, only ever exist inside key switching and public-key encryption (Gentry, Halevi, Smart,
"Homomorphic Evaluation of the AES Circuit", CRYPTO 2012, section 3.1).
"""

from __future__ import annotations

import hashlib
import math
import operator
import struct
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, SupportsIndex, final

from hecore.arith.rns import MAX_MODULUS_BITS, RnsBasis, check_ring_degree, ntt_primes
from hecore.backends.ring_protocol import ERROR_VARIANCE
from hecore.ckks.scale import Scale
from hecore.ckks.security import LEVELS, SecurityTable, max_modulus_bits, security_bits
from hecore.errors import InsecureParametersError, LevelError, OperandTypeError, ParameterError

MAX_MODULI: Final = 256  # as SEAL; bounds what foreign bytes can ask for
FINGERPRINT_BYTES: Final = 16


@final
class Parameters:
    """Ring degree, moduli, scale and the shape of key switching; immutable, compared by value.

    `moduli_bits` (from 2 to 60 a prime; the primes are those that SEAL picks) or `moduli` (the primes themselves):
    one of the two. The last `special_count` moduli are special; a single modulus is never special. Key switching cuts
    a ciphertext into digits of `digit_primes` moduli: 1 is SEAL's gadget, more make fewer and larger keys, for which
    the special primes together must be at least as long as a digit (Han, Ki: "Better Bootstrapping for Approximate
    Homomorphic Encryption", CT-RSA 2020, section 3). `scale` is what `encode` multiplies by unless told otherwise.

    Raises ParameterError; InsecureParametersError where the security tables promise less than `security` (128, 192 or
    256) bits for all moduli together.
    """

    ring_degree: int
    basis: RnsBasis
    special_count: int
    digit_primes: int
    scale: Scale
    secret_weight: int | None
    table: SecurityTable

    def __init__(
        self,
        *,
        ring_degree: int,
        moduli_bits: Iterable[int] | None = None,
        moduli: Iterable[int] | None = None,
        scale: Scale | int | float | Fraction,
        special_count: int = 1,
        digit_primes: int = 1,
        security: int = 128,
    ) -> None:
        if security not in LEVELS:
            raise ParameterError(f"cannot promise {security} bits of security: one of {', '.join(map(str, LEVELS))}")
        self._build(ring_degree, moduli_bits, moduli, scale, special_count, digit_primes)
        self._require(security)

    @classmethod
    def insecure(
        cls,
        *,
        ring_degree: int,
        moduli_bits: Iterable[int] | None = None,
        moduli: Iterable[int] | None = None,
        scale: Scale | int | float | Fraction,
        special_count: int = 1,
        digit_primes: int = 1,
        secret_weight: int | None = None,
    ) -> Parameters:
        """As the constructor, with no security floor: for tests and experiments, never for data.

        `secret_weight` makes secrets of exactly so many coefficients that are not zero, for which no table promises
        any security.
        """
        self = object.__new__(cls)
        self._build(ring_degree, moduli_bits, moduli, scale, special_count, digit_primes, secret_weight)
        return self

    @classmethod
    def with_2018_table(
        cls,
        *,
        ring_degree: int,
        moduli_bits: Iterable[int] | None = None,
        moduli: Iterable[int] | None = None,
        scale: Scale | int | float | Fraction,
        special_count: int = 1,
        digit_primes: int = 1,
    ) -> Parameters:
        """As the constructor, held against the limits of 2018, which SEAL still uses: for peers' contexts."""
        self = object.__new__(cls)
        self._build(
            ring_degree,
            moduli_bits,
            moduli,
            scale,
            special_count,
            digit_primes,
            table=SecurityTable.STANDARD_2018,
        )
        self._require(128)
        return self

    def _build(
        self,
        ring_degree: int,
        moduli_bits: Iterable[int] | None,
        moduli: Iterable[int] | None,
        scale: Scale | int | float | Fraction,
        special_count: int,
        digit_primes: int,
        secret_weight: int | None = None,
        table: SecurityTable = SecurityTable.GUIDELINES_2024,
    ) -> None:
        ring_degree = whole_number("ring_degree", ring_degree)
        check_ring_degree(ring_degree)
        primes = _primes(ring_degree, moduli_bits, moduli)
        special_count = whole_number("special_count", special_count)
        digit_primes = whole_number("digit_primes", digit_primes)
        if len(primes) == 1:
            special_count = 0
        if not 0 <= special_count < len(primes):
            raise ParameterError(
                f"cannot make {special_count} of {len(primes)} moduli special: from 0 to {len(primes) - 1}"
            )
        if digit_primes < 1:
            raise ParameterError(f"cannot cut digits of {digit_primes} moduli: at least 1")
        if secret_weight is not None and not 1 <= whole_number("secret_weight", secret_weight) <= ring_degree:
            raise ParameterError(f"cannot use secrets of weight {secret_weight}: from 1 to {ring_degree}")
        set_ = object.__setattr__
        set_(self, "ring_degree", ring_degree)
        set_(self, "basis", RnsBasis(ring_degree, primes))
        set_(self, "special_count", special_count)
        set_(self, "digit_primes", digit_primes)
        set_(self, "scale", Scale.of(scale))
        set_(self, "secret_weight", secret_weight)
        set_(self, "table", table)
        self._check_digits()
        data_bits = self.level_basis(self.max_level).bits
        if not 0 <= self.scale.log2 < data_bits:
            raise ParameterError(
                f"cannot use a scale of 2^{self.scale.log2:.1f}: at least 1, and below the {data_bits} bits of the "
                "moduli that are not special"
            )

    def _check_digits(self) -> None:
        if self.digit_primes == 1 or self.special is None:
            return
        longest = max(math.prod(self.basis.moduli[start:stop]) for start, stop in self.digits(self.max_level))
        if self.special.product < longest:
            raise ParameterError(
                f"cannot switch keys by digits of {longest.bit_length()} bits under special moduli of "
                f"{self.special.bits} bits: the noise would drown the message; more special moduli, or smaller digits"
            )

    def _require(self, security: int) -> None:
        if self.security_bits < security:
            limit = max_modulus_bits(self.ring_degree, security, self.table)
            raise InsecureParametersError(
                f"cannot use moduli of {self.basis.bits} bits together at ring degree {self.ring_degree}: at most "
                f"{limit} give {security} bits of security (table of {self.table.value}, special moduli included). "
                "A larger ring degree or fewer bits help; for tests there is Parameters.insecure"
            )

    # -- derived -----------------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Complex numbers in one plaintext: ring_degree / 2."""
        return self.ring_degree // 2

    @cached_property
    def max_level(self) -> int:
        """Level of a fresh ciphertext, and the number of rescales it can take: data moduli - 1."""
        return len(self.basis) - self.special_count - 1

    @cached_property
    def special(self) -> RnsBasis | None:
        """The special moduli, of product P; None where there are none."""
        return self.basis.take(range(self.max_level + 1, len(self.basis))) if self.special_count else None

    @property
    def security_bits(self) -> int:
        """128, 192 or 256 by `table`, or 0."""
        return security_bits(self.ring_degree, self.basis.bits, table=self.table, secret_weight=self.secret_weight)

    @property
    def secret_distribution(self) -> str:
        """Of the secret key's coefficients, in words."""
        return "uniform ternary" if self.secret_weight is None else f"ternary of weight {self.secret_weight}"

    @property
    def error_deviation(self) -> float:
        """Standard deviation of an error, a centred binomial: sqrt(10.5) = 3.24, at least the tables' 3.19."""
        return math.sqrt(ERROR_VARIANCE)

    def check_level(self, level: int) -> int:
        """`level` itself, from 0 to max_level, else LevelError; OperandTypeError for what is no integer."""
        level = whole_number("level", level)
        if not 0 <= level <= self.max_level:
            raise LevelError(f"cannot use level {level}: these parameters have levels 0 to {self.max_level}")
        return level

    def level_basis(self, level: int) -> RnsBasis:
        """q_0 … q_level, what ciphertexts of this level live over. Raises LevelError."""
        return self._level_bases[self.check_level(level)]

    @cached_property
    def _level_bases(self) -> list[RnsBasis]:
        return [self.basis.prefix(level + 1) for level in range(self.max_level + 1)]

    def key_basis(self, level: int) -> RnsBasis:
        """q_0 … q_level and the special moduli. Raises LevelError."""
        return self.basis.take(self.key_positions(level))

    def key_positions(self, level: int) -> list[int]:
        """Where in `basis` the moduli of `key_basis(level)` are."""
        return [*range(self.check_level(level) + 1), *range(self.max_level + 1, len(self.basis))]

    def digits(self, level: int) -> list[tuple[int, int]]:
        """Half-open ranges of moduli, `digit_primes` each and the last maybe fewer, that cover 0 … level."""
        count = self.check_level(level) + 1
        return [(start, min(start + self.digit_primes, count)) for start in range(0, count, self.digit_primes)]

    # -- identity ----------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes of SHA-256 over all that two parties must agree on."""
        scale = self.scale.fraction()
        words = (self.ring_degree, self.special_count, self.digit_primes, self.secret_weight or 0, *self.basis.moduli)
        text = f"{scale.numerator:x}/{scale.denominator:x}".encode()
        packed = struct.pack(f">{len(words)}Q", *words) + text
        return hashlib.sha256(b"hecore ckks parameters" + packed).digest()[:FINGERPRINT_BYTES]

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.basis, self.special_count, self.digit_primes, self.secret_weight, self.scale

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return self is other or self._identity == other._identity

    @cached_property
    def _hash(self) -> int:
        return hash(self._identity)

    def __hash__(self) -> int:
        return self._hash

    def to_bytes(self) -> bytes:
        """The compact wire form: see `hecore.ckks.wire`."""
        from hecore.ckks import wire

        return wire.parameters_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes, *, allow_insecure: bool = False) -> Parameters:
        """Inverse of `to_bytes`. Raises SerializationError, InsecureParametersError."""
        from hecore.ckks import wire

        return wire.parameters_from_bytes(data, allow_insecure=allow_insecure)

    def __reduce__(self) -> tuple[object, ...]:
        from hecore.ckks import wire

        return wire.unpickle, ("parameters", wire.parameters_to_bytes(self), wire.pickles_insecure(self))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: parameters are immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: parameters are immutable")

    def __repr__(self) -> str:
        bits = [q.bit_length() for q in self.basis.moduli]
        level = f"{self.security_bits} bits of security" if self.security_bits else "INSECURE"
        return (
            f"<Parameters ring_degree={self.ring_degree} moduli_bits={bits} special_count={self.special_count} "
            f"scale=2^{self.scale.log2:.6g}, {level}>"
        )


def whole_number(name: str, value: SupportsIndex) -> int:
    """`value` as an int, where it is an integer of any kind; else OperandTypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise OperandTypeError(f"cannot use a {type(value).__name__} as {name}: an integer is needed") from None


def _primes(ring_degree: int, bits: Iterable[int] | None, moduli: Iterable[int] | None) -> tuple[int, ...]:
    given: Any = moduli if bits is None else bits
    if (bits is None) == (moduli is None):
        raise ParameterError("cannot choose moduli: give moduli_bits or moduli, one of the two")
    numbers = tuple(whole_number("a modulus", x) for x in given)
    if not 1 <= len(numbers) <= MAX_MODULI:
        raise ParameterError(f"cannot use {len(numbers)} moduli: from 1 to {MAX_MODULI}")
    if bits is None:
        return numbers
    if any(b >= MAX_MODULUS_BITS for b in numbers):
        raise ParameterError(f"cannot use moduli of {max(numbers)} bits: at most {MAX_MODULUS_BITS - 1}")
    return ntt_primes(ring_degree, numbers)
