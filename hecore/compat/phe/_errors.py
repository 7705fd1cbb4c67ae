"""Errors and warnings that only the peer's API has a use for."""

from __future__ import annotations

import warnings

from hecore.errors import OperandTypeError, ParameterError
from hecore.paillier.params import SECURITY_FLOOR_BITS


class InsecureWarning(UserWarning):
    """Something was done because the peer allows it, and hecore itself would refuse: it is not secure."""


class CiphertextProductError(OperandTypeError, NotImplementedError):
    """Two ciphertexts were multiplied, which Paillier cannot do. The peer raises NotImplementedError."""


class DomainError(ParameterError, AssertionError):
    """An argument is outside the domain of a helper in `util`. The peer raises AssertionError."""


def warn_if_small(bits: int, stacklevel: int) -> None:
    """Warn of a modulus below the security floor; `stacklevel` 1 is the caller of this function."""
    if bits < SECURITY_FLOOR_BITS:
        warnings.warn(
            f"a {bits}-bit key protects nothing: {SECURITY_FLOOR_BITS} bits are the least for real data",
            InsecureWarning,
            stacklevel=stacklevel + 1,
        )
