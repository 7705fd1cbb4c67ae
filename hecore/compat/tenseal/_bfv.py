"""The peer's BFV classes: names that say when they come."""

from __future__ import annotations

from typing import Any, NoReturn

from hecore.compat.tenseal._errors import refuse_bfv


class _BFV:
    """Every way to make one raises SchemeNotSupportedError (a ValueError)."""

    def __init__(self, *_: Any, **__: Any) -> None:
        refuse_bfv(type(self).__name__)

    @classmethod
    def load(cls, *_: Any, **__: Any) -> NoReturn:
        refuse_bfv(cls.__name__)

    @classmethod
    def lazy_load(cls, *_: Any, **__: Any) -> NoReturn:
        refuse_bfv(cls.__name__)

    @classmethod
    def pack_vectors(cls, *_: Any, **__: Any) -> NoReturn:
        refuse_bfv(cls.__name__)


class BFVVector(_BFV):
    """Vectors of integers, encrypted with BFV: a later release brings them."""


class BFVTensor(_BFV):
    """Tensors of integers, encrypted with BFV: a later release brings them."""
