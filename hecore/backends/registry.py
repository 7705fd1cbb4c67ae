"""Which backends exist, and which one new arrays go to.

A backend is created at its first use, once a process, and proves itself against the reference before anyone
gets hold of it. A named device that cannot be used is an error; nothing falls through to another one.
Third parties register a class that implements `Backend` under the entry point group `hecore.backends`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from weakref import WeakSet

from hecore.backends import drivers
from hecore.backends.protocol import IntegerBackend
from hecore.backends.ring_protocol import Backend, RingBackend
from hecore.backends.selftest import self_test
from hecore.errors import BackendError, BackendUnavailableError, SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

AUTO = "auto"
ENTRY_POINT_GROUP = "hecore.backends"
ENVIRONMENT_VARIABLE = "HECORE_DEVICE"
_AUTO_CHOICE = "cpu"  # never a simulated device, never the reference


@dataclass(frozen=True)
class DeviceInfo:
    """One backend by name. `simulated` is None while a third party's backend has not been started: unknown."""

    name: str
    device: str
    simulated: bool | None
    available: bool
    reason: str  # why it is not available; empty where it is


@dataclass(frozen=True)
class _Entry:
    """Where a backend's class lies, and what it needs, known without importing it."""

    name: str
    target: str  # "module:Class"
    device: str
    simulated: bool | None
    requires: tuple[str, ...]  # packages that must be importable
    install: str
    driver: Callable[[], str] | None = None  # why none is found; loads nothing heavy

    def missing(self) -> tuple[str, ...]:
        return tuple(package for package in self.requires if importlib.util.find_spec(package) is None)


_BUILT_IN = (
    _Entry(
        name="cpu",
        target="hecore.backends.cpu:CpuBackend",
        device=f"this machine's CPU ({platform.machine()})",
        simulated=False,
        requires=("numba",),
        install="pip install numba",
    ),
    _Entry(
        name="reference",
        target="hecore.backends.reference:ReferenceBackend",
        device="Python integers",
        simulated=False,
        requires=(),
        install="",
    ),
    _Entry(
        name="opencl",
        target="hecore.backends.opencl:OpenClBackend",
        device="an OpenCL device (HECORE_OPENCL chooses among several)",
        simulated=False,
        requires=("pyopencl",),
        install="pip install 'hecore[opencl]'",
        driver=drivers.opencl,
    ),
    _Entry(
        name="cuda",
        target="hecore.backends.cuda:CudaBackend",
        device="an NVIDIA GPU (HECORE_CUDA chooses among several)",
        simulated=False,
        requires=("cupy",),
        install="pip install 'hecore[cuda]'",
        driver=drivers.cuda,
    ),
)

_current: ContextVar[Backend | None] = ContextVar("hecore_backend", default=None)
_started: dict[str, Backend] = {}
_refused: dict[str, str] = {}
_made_by_hand: WeakSet[Backend] = WeakSet()  # those that passed the self-test
_lock = threading.RLock()


def _renew_lock() -> None:
    """A child may be forked while another thread of the parent holds the lock; that thread is not in the child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_lock)


def devices(*, ask: bool = False) -> list[DeviceInfo]:
    """Every known backend, usable or not. Starts none and imports none; a driver that is there may still refuse.

    With `ask` the drivers are loaded and name their devices, first the one that would be used.
    """
    return [_describe(name, entries, ask) for name, entries in _entries().items()]


def get(name: str) -> Backend:
    """The backend of that name, or of "auto"; created and self-tested at the first call in a process.

    Raises BackendUnavailableError where it is unknown or cannot run here (the message says what was looked
    for, what was found and what to install), SelfTestError where it disagrees with the reference, now or
    earlier in this process, and BackendError where two packages register the name or the device cannot compute (as
    CompileError, DeviceMemoryError, DeviceLostError: these are tried again at the next call).
    """
    if name == AUTO:
        name = _AUTO_CHOICE
    started = _started.get(name)
    if started is not None:
        return started
    with _lock:
        if name not in _started:
            _started[name] = _start(_find(name))
        return _started[name]


def use(device: str | Backend) -> AbstractContextManager[Backend]:
    """From now on, new arrays of this context (thread, task) go to `device`.

    A name is looked up by `get`; a backend made by hand (`CpuBackend(threads=2)`) is self-tested at its first use.

    Takes effect at once; used in a `with` statement it also restores the previous choice at the end. A new
    thread starts without a choice: there HECORE_DEVICE, or else "auto", holds. Raises as `get` does.
    """
    return _Use(get(device) if isinstance(device, str) else _proved(device))


def current() -> Backend:
    """Where new arrays go: the choice made with `use`, else HECORE_DEVICE, else "auto" (the CPU).

    Raises as `get` does.
    """
    chosen = _current.get()
    if chosen is not None:
        return chosen
    name = os.environ.get(ENVIRONMENT_VARIABLE)
    if not name:
        return get(AUTO)
    try:
        return get(name)
    except BackendUnavailableError as error:
        raise BackendUnavailableError(f"{error} (asked for by {ENVIRONMENT_VARIABLE}={name})") from error


def _proved(backend: Backend) -> Backend:
    if backend not in _made_by_hand and backend not in _started.values():
        self_test(backend)
        _made_by_hand.add(backend)
    return backend


class _Use:
    """What `use` returns: already in force, and restoring on exit."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._previous = _current.get()
        _current.set(backend)

    def __enter__(self) -> Backend:
        return self._backend

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _current.set(self._previous)


def _entries() -> dict[str, list[_Entry]]:
    """All registrations by name: built-in ones first, third parties in order of their names."""
    found = {entry.name: [entry] for entry in _BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value)):
        package = point.module.partition(".")[0]
        source = point.dist.name if point.dist is not None else package
        entry = _Entry(point.name, point.value, f"package {source}", None, (package,), f"pip install {source}")
        found.setdefault(point.name, []).append(entry)
    return found


def _describe(name: str, entries: list[_Entry], ask: bool) -> DeviceInfo:
    entry = entries[0]
    if len(entries) > 1:
        return DeviceInfo(name, entry.device, entry.simulated, available=False, reason=_duplicate(name, entries))
    if name in _refused:
        return DeviceInfo(name, entry.device, entry.simulated, available=False, reason=_refused[name])
    backend = _started.get(name)
    if backend is not None:
        return DeviceInfo(name, backend.device, backend.simulated, available=True, reason="")
    missing = entry.missing()
    reason = f"needs {', '.join(missing)}: {entry.install}" if missing else entry.driver() if entry.driver else ""
    device = entry.device
    if ask and entry.driver and not reason:
        device, reason = _asked(entry)
    return DeviceInfo(name, device, entry.simulated, available=not reason, reason=reason)


def _asked(entry: _Entry) -> tuple[str, str]:
    """What the driver finds, by the class's own `found`, in words; and why nothing."""
    module, _, attribute = entry.target.partition(":")
    try:
        found = getattr(getattr(import_module(module), attribute), "found", lambda: [entry.device])
        return "; or ".join(found()), ""
    except (ImportError, BackendUnavailableError) as error:
        return entry.device, str(error)


def _find(name: str) -> _Entry:
    known = _entries()
    if name not in known:
        raise BackendUnavailableError(
            f"cannot use device {name!r}: looked for a built-in backend and for an entry point in the group "
            f"{ENTRY_POINT_GROUP!r} of that name; found {', '.join(known)}. Use one of these, or install the package "
            f"that provides {name!r}"
        )
    if len(known[name]) > 1:
        raise BackendError(_duplicate(name, known[name]))
    return known[name][0]


def _duplicate(name: str, entries: list[_Entry]) -> str:
    return (
        f"cannot use device {name!r}: registered more than once, by {' and by '.join(e.target for e in entries)}; "
        f"uninstall all packages but one"
    )


def _start(entry: _Entry) -> Backend:
    """Create and self-test; a backend that failed once is not tried again."""
    if entry.name in _refused:
        raise SelfTestError(_refused[entry.name])
    backend = _create(entry)
    if entry.name != "reference":
        try:
            self_test(backend)
        except SelfTestError as error:
            _refused[entry.name] = str(error)
            raise
    return backend


def _create(entry: _Entry) -> Backend:
    """Import and create; no self-test yet."""
    module, _, attribute = entry.target.partition(":")
    try:
        factory = getattr(import_module(module), attribute, None)
        backend = factory() if factory is not None else None
    except ImportError as error:
        missing = entry.missing()
        found = f"found no {', '.join(missing)}" if missing else f"importing it failed ({error})"
        advice = f"install it: {entry.install}" if missing else "reinstall the package"
        raise BackendUnavailableError(
            f"cannot use device {entry.name!r}: looked for {entry.target}, {found}; {advice}. "
            f"The slow exact backend needs nothing: hecore.use('reference') or {ENVIRONMENT_VARIABLE}=reference"
        ) from error
    if not isinstance(backend, IntegerBackend) or backend.name != entry.name:
        raise BackendError(f"cannot use device {entry.name!r}: {entry.target} is no backend of that name")
    if not isinstance(backend, RingBackend):
        raise BackendError(
            f"cannot use device {entry.name!r}: {entry.target} offers integers alone; a backend also implements "
            f"hecore.backends.ring_protocol.RingBackend"
        )
    return backend
