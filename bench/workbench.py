"""Keys and peers of one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hecore import paillier
from hecore.backends import registry
from hecore.backends.protocol import IntegerBackend
from hecore.bench.contest import Case, Contestant
from hecore.bench.peers import Peer, PeerUnavailableError, open_peer
from hecore.bench.plan import Plan
from hecore.bench.results import SECURE_KEY_BITS

OURS = "hecore"


@dataclass(frozen=True)
class Keys:
    """hecore's key pair of one size and the seconds it took to make."""

    public: paillier.PublicKey
    secret: paillier.SecretKey
    seconds: float

    def prepare_public(self, backend: IntegerBackend) -> dict[str, float]:
        """Build the large table of public-key encryption now; its seconds."""
        return {"table": _seconds(self.public.fixed_base(backend).prepare)}

    def prepare_own(self, backend: IntegerBackend) -> dict[str, float]:
        """Build the large tables of own-key encryption now; their seconds."""
        return {"tables": sum(_seconds(base.prepare) for base in self.secret.fixed_bases(backend))}


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


class Workbench:
    """Keys and peers of one run, made once a size."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.backend: IntegerBackend = registry.get(plan.device)
        self._keys: dict[int, Keys] = {}
        self._peers: dict[tuple[str, int], Peer | PeerUnavailableError] = {}

    def keys(self, key_bits: int) -> Keys:
        if key_bits not in self._keys:
            start = time.perf_counter()
            secure = key_bits >= SECURE_KEY_BITS
            generate = paillier.generate_keypair if secure else paillier.generate_insecure_keypair
            public, secret = generate(key_bits)
            self._keys[key_bits] = Keys(public, secret, time.perf_counter() - start)
        return self._keys[key_bits]

    def peer(self, name: str, key_bits: int) -> Peer:
        """The peer's key of this size; PeerUnavailableError each time where it cannot be had."""
        if (name, key_bits) not in self._peers:
            try:
                self._peers[name, key_bits] = open_peer(name, key_bits)
            except PeerUnavailableError as error:
                self._peers[name, key_bits] = error
        peer = self._peers[name, key_bits]
        if isinstance(peer, PeerUnavailableError):
            raise peer
        return peer

    def against_peers(self, case: Case, key_bits: int, enter: Callable[[Peer, str], Contestant]) -> Case:
        """The case with every planned peer that can take part; `enter(peer, name)` prepares it."""
        rivals, absent = list(case.rivals), dict(case.absent)
        for name in self.plan.peers:
            try:
                rivals.append(enter(self.peer(name, key_bits), name))
            except PeerUnavailableError as error:
                absent[name] = str(error)
        return replace(case, rivals=tuple(rivals), absent=absent)
