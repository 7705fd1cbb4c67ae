"""`kernel`, `shared` and `inner`: Numba functions with the project's compile flags and a private on-disk cache.

Numba's own cache keys a function by its own file alone: an edited helper leaves stale machine code behind. Here
the cache folder's name is a digest of every kernel source, the versions of Numba and llvmlite, the CPU and the
chosen code path, so that any change starts an empty folder. The folder is private (0700) and refused if it is not:
whoever can write there can run code here. Where nothing is writable, kernels work uncached and one warning says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc

from hecore.kernels.cpu.vector import LANES
from hecore.kernels.private import private_folder

_published: list[CFunc] = []  # keeps shared machine code alive for the life of the process
_FLAGS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


@cache
def source_digest() -> str:
    """Digest of everything the machine code depends on."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).resolve().parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    features = binding.get_host_cpu_features().flatten()
    facts = (numba.__version__, llvmlite.__version__, binding.get_host_cpu_name(), features, str(LANES))
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:32]


@cache
def cache_folder() -> Path | None:
    """The folder for this build of the kernels, or None (with one warning) where none can be written."""
    return private_folder("kernels", source_digest())


class _Locator(_CacheLocator):
    """Where Numba keeps one function's index and machine code."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def ensure_cache_path(self) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return str(LANES)

    @classmethod
    def from_function(cls, _function: Any, _path: str) -> _Locator | None:
        folder = cache_folder()
        return None if folder is None else cls(folder)


class _Implementation(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):
    _impl_class = _Implementation


def inner(function: Callable[..., Any]) -> Any:
    """A function that kernels call."""
    return numba.njit(**_FLAGS)(function)


def shared(arguments: int) -> Callable[[Callable[..., None]], Any]:
    """A function of `arguments` words (addresses and counts) that is compiled once and called by symbol.

    Numba copies an `inner` function into the machine code of every kernel that uses it, which for the Montgomery
    row passes would multiply compile time by the number of kernels. A shared one is compiled on import (or read
    from the cache) and published to the linker under its own name.
    """

    def decorate(function: Callable[..., None]) -> Any:
        compiled = _compiled(function, arguments)
        symbol = f"hecore_{function.__name__}"
        binding.add_symbol(symbol, compiled.address)
        _published.append(compiled)
        return types.ExternalFunction(symbol, types.void(*(types.intp,) * arguments))

    return decorate


def _compiled(function: Callable[..., None], arguments: int) -> CFunc:
    """A function of words as machine code, made now or read from the cache."""
    compiled = CFunc(function, ((types.intp,) * arguments, types.void), {}, dict(_FLAGS))
    if cache_folder() is not None:
        compiled._cache = _Cache(function)
    compiled.compile()
    return compiled


@cache
def entry(function: Callable[..., None], arguments: int) -> CFunc:
    """A function of words that kernels call by its `address`, compiled when first asked for and kept."""
    return _compiled(function, arguments)


def kernel(function: Callable[..., Any]) -> Any:
    """An entry point: compiled on first use, kept on disk, called without the GIL."""
    dispatcher = numba.njit(**_FLAGS)(function)
    if cache_folder() is not None:
        dispatcher._cache = _Cache(function)
    return dispatcher
