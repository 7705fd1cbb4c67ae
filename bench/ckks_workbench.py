"""Keys, peers and operands of one CKKS run, and how a case is put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore import ckks
from hecore.backends import registry
from hecore.backends.ring_protocol import Backend
from hecore.bench.ckks_peer import SealOperations, TensealPeer
from hecore.bench.ckks_plan import PEER, SCALE, SEAL, CkksPlan, ParameterSet
from hecore.bench.contest import Case, Contestant, repeated
from hecore.bench.peers import PeerUnavailableError
from hecore.bench.results import Work

OURS = "hecore"
TOLERANCE = 2.0**-14
"""Largest error that still counts as right: some bits above the noise of a deep circuit at scale 2^40."""

Floats = NDArray[np.float64]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Keys:
    """hecore's keys for one parameter set, and the seconds it took to make them."""

    parameters: ckks.Parameters
    keys: ckks.Keys
    seconds: dict[str, float]

    def encrypt(self, values: Floats) -> ckks.EncryptedTensor:
        return self.keys.public_key.encrypt(values, bound=1.0)

    def decrypt_raw(self, ciphertext: ckks.Ciphertext) -> Floats:
        """The slots of a bare ciphertext of one chunk."""
        return np.asarray(self.keys.secret_key.decrypt(ciphertext).real.reshape(-1), dtype=np.float64)

    def decrypt(self, tensor: ckks.EncryptedTensor) -> Floats:
        return np.asarray(self.keys.secret_key.decrypt(tensor), dtype=np.float64)


@dataclass(frozen=True)
class Entry:
    """What one contestant runs, and how its result is read."""

    run: Run
    read: Callable[[Any], Floats]


def values(count: int | tuple[int, ...], seed: int) -> Floats:
    """Uniform in (-1, 1)."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, count)


def difference(got: Floats, expected: Floats, tolerance: float = TOLERANCE) -> str | None:
    """None where all values are within `tolerance`; else the first that is not. Prints no value."""
    if got.shape != expected.shape:
        return f"a result of shape {got.shape}, expected {expected.shape}"
    wrong = ~(np.abs(got - expected) <= tolerance)  # NaN is wrong too
    if not wrong.any():
        return None
    return f"wrong result at position {int(np.argmax(wrong))} of {got.size}: {int(wrong.sum())} are off"


class CkksBench:
    """Keys and peers, made once a parameter set."""

    def __init__(self, plan: CkksPlan) -> None:
        self.plan = plan
        self._keys: dict[tuple[ParameterSet, bool], Keys] = {}
        self._peers: dict[tuple[ParameterSet, bool], TensealPeer | PeerUnavailableError] = {}

    @property
    def backend(self) -> Backend:
        return registry.get(self.plan.device)

    def keys(self, parameters: ParameterSet, *, galois: bool = False) -> Keys:
        """Keys with or without the power-of-two Galois keys; the larger set serves both."""
        for known in (galois, True):
            if (parameters, known) in self._keys:
                return self._keys[parameters, known]
        make = ckks.Parameters.insecure if parameters.insecure else ckks.Parameters
        ours = make(ring_degree=parameters.ring_degree, moduli_bits=parameters.moduli_bits, scale=SCALE)
        start = time.perf_counter()
        with registry.use(self.plan.device):
            keys = ckks.generate_keys(ours, galois="power-of-two" if galois else None, conjugation=galois)
        self._keys[parameters, galois] = Keys(ours, keys, {"keys": time.perf_counter() - start})
        return self._keys[parameters, galois]

    def peer(self, parameters: ParameterSet, *, symmetric: bool = False) -> TensealPeer:
        """TenSEAL's context; PeerUnavailableError each time where it cannot be had or is not planned."""
        if PEER not in self.plan.peers:
            raise PeerUnavailableError(f"{PEER} was not asked for")
        key = (parameters, symmetric)
        if key not in self._peers:
            try:
                self._peers[key] = TensealPeer(parameters, symmetric=symmetric)
            except PeerUnavailableError as error:
                self._peers[key] = error
        peer = self._peers[key]
        if isinstance(peer, PeerUnavailableError):
            raise peer
        return peer

    def case(
        self,
        ours: Entry,
        expected: Floats,
        parameters: ParameterSet,
        enter: Callable[[TensealPeer], Entry] | None = None,
        *,
        seal: Callable[[SealOperations], Entry] | None = None,
        item: str = "operation",
        calls: int = 1,
        work: Work | None = None,
        setup: dict[str, float] | None = None,
        symmetric: bool = False,
        tolerance: float = TOLERANCE,
    ) -> Case:
        """hecore beside TenSEAL (`enter`) or SEAL (`seal`); everybody does the operation `calls` times a round."""

        def contestant(name: str, entry: Entry, setup: dict[str, float]) -> Contestant:
            def check(result: Any) -> str | None:
                return difference(entry.read(result), expected, tolerance)

            return repeated(Contestant(name, 1, entry.run, check, setup), calls)

        case = Case(contestant(OURS, ours, setup or {}), item, work=work)
        name = PEER if enter else SEAL
        try:
            peer = self.peer(parameters, symmetric=symmetric)
            if enter is not None:
                rival = contestant(name, enter(peer), peer.setup)
            elif seal is not None:
                rival = contestant(name, seal(SealOperations(peer)), peer.setup)
            else:
                return case
        except PeerUnavailableError as error:
            return replace(case, absent={name: str(error)})
        return replace(case, rivals=(rival,))

    def finished(self, run: Run) -> Run:
        """The same, done only when the device is."""

        def wait() -> Any:
            result = run()
            self.backend.synchronize()
            return result

        return wait
