"""Errors and warnings that only the peer's API has a use for.

Where the peer raises RuntimeError or AttributeError, the error here is both that and a typed leaf of hecore's tree.
Messages that the peer's users are known to compare are the peer's, word for word; the chained cause says more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hecore.errors import (
    HecoreError,
    LevelError,
    MissingKeyError,
    ParameterError,
    ScaleError,
    SerializationError,
    ShapeError,
)


class InsecureWarning(UserWarning):
    """Something was done because the peer allows it, and hecore itself would refuse: it is not secure."""


class ContextError(MissingKeyError):
    """A context, or the lack of one, does not allow the call: no scale, no key of that kind, no context at all."""


class NoPublicKeyError(ContextError, TypeError):
    """A context was loaded without its public key. The peer raises TypeError."""


class SchemeNotSupportedError(HecoreError, ValueError):
    """BFV was asked for, which a later release of hecore brings."""


class BroadcastError(ShapeError, RuntimeError):
    """Shapes do not broadcast. The peer raises RuntimeError."""


class IndexRangeError(ShapeError, IndexError):
    """An index is outside the tensor, or selects nothing."""


class ModuliError(ParameterError, RuntimeError):
    """The moduli asked for do not exist, or leave none for switching keys. The peer raises RuntimeError."""


class ForeignBytesError(SerializationError, RuntimeError):
    """Bytes that parse but hold nothing this context can use. The peer raises RuntimeError."""


def refuse_bfv(what: str) -> NoReturn:
    """Raise SchemeNotSupportedError."""
    raise SchemeNotSupportedError(f"cannot use {what}: this release of hecore has CKKS; BFV comes with a later release")


@contextmanager
def peers_words() -> Iterator[None]:
    """Errors of scales and levels in the peer's words, the typed error that says what to change as their cause."""
    try:
        yield
    except ScaleError as error:
        raise ScaleError("scale out of bounds") from error
    except LevelError as error:
        raise LevelError("end of modulus switching chain reached") from error
