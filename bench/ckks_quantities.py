"""What is no time: bytes on the wire and errors of results, beside TenSEAL's, at the parameters of the targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hecore import ckks
from hecore.backends import registry
from hecore.bench.ckks_linear import POLYNOMIAL, polynomial_of
from hecore.bench.ckks_plan import DEEP, MAIN, PAYLOAD, PEER, CkksPlan, ParameterSet
from hecore.bench.ckks_workbench import CkksBench, Floats, Keys, values
from hecore.bench.peers import PeerUnavailableError
from hecore.bench.results import Quantity
from hecore.ckks import polynomial, seal_wire
from hecore.ring.prng import SeedKind

Ours = Callable[[ckks.EncryptedTensor, ckks.EncryptedTensor], ckks.EncryptedTensor]
Theirs = Callable[[Any, Any], Any]


def measure(plan: CkksPlan) -> tuple[Quantity, ...]:
    """Errors, then sizes. Nothing where the plan names parameters of its own or suites alone."""
    if plan.parameters or plan.suites:
        return ()
    bench = CkksBench(plan)
    with registry.use(plan.device):
        return (
            _error(bench, "error of encryption", MAIN, lambda x, y: x, lambda x, y: x, lambda a, b: a),
            _error(bench, "error of ct × ct", MAIN, lambda x, y: x * y, lambda x, y: x * y, lambda a, b: a * b),
            _error(
                bench, "error of a dot product", MAIN, lambda x, y: x @ y, lambda x, y: x.dot(y), lambda a, b: a @ b
            ),
            _error(
                bench,
                "error of a polynomial of degree 7",
                DEEP,
                lambda x, y: polynomial.evaluate(x, POLYNOMIAL),
                lambda x, y: x.polyval(list(POLYNOMIAL)),
                lambda a, b: polynomial_of(a),
            ),
            *_sizes(bench),
        )


def _error(
    bench: CkksBench,
    name: str,
    parameters: ParameterSet,
    ours: Ours,
    theirs: Theirs,
    plain: Callable[[Floats, Floats], Floats],
) -> Quantity:
    """Root mean square over all slots of several fresh encryptions: a largest error would say more of chance."""
    keys = bench.keys(parameters, galois=True)
    squares: dict[str, list[float]] = {"hecore": [], PEER: []}
    for seed in range(bench.plan.repetitions):
        a, b = values(parameters.slots, 100 + seed), values(parameters.slots, 200 + seed)
        expected = np.atleast_1d(plain(a, b))
        got = np.atleast_1d(keys.decrypt(ours(keys.encrypt(a), keys.encrypt(b))))
        squares["hecore"].append(float(np.mean((got - expected) ** 2)))
        try:
            peer = bench.peer(parameters)
        except PeerUnavailableError:
            continue
        peer.need_galois_keys()
        got = peer.decrypt(theirs(peer.encrypt(a), peer.encrypt(b)))
        squares[PEER].append(float(np.mean((got - expected) ** 2)))
    errors = {who: float(np.sqrt(np.mean(found))) for who, found in squares.items() if found}
    return Quantity(name, parameters.name, "root mean square", errors.pop("hecore"), errors)


def _sizes(bench: CkksBench) -> list[Quantity]:
    """A ciphertext of full slots, as hecore and as TenSEAL write it."""
    found = []
    for parameters in (PAYLOAD, MAIN):
        keys, a = bench.keys(parameters), values(parameters.slots, seed=300)
        fresh = keys.keys.secret_key.encrypt(a)
        theirs = _peer_bytes(bench, parameters, a, symmetric=True)
        found += [
            Quantity("symmetric ciphertext, compact", parameters.name, "bytes", len(fresh.to_bytes()), theirs),
            Quantity("symmetric ciphertext, SEAL's form", parameters.name, "bytes", len(_seal_bytes(keys, a)), theirs),
        ]
        full = keys.encrypt(a)
        theirs = _peer_bytes(bench, parameters, a, symmetric=False)
        found.append(Quantity("public-key ciphertext, compact", parameters.name, "bytes", len(full.to_bytes()), theirs))
    return found


def _seal_bytes(keys: Keys, a: Floats) -> bytes:
    """As SEAL's own readers take it, seeded by one of SEAL's generators."""
    fresh = keys.keys.secret_key.encrypt(a, seed_kind=SeedKind.SHAKE256)
    return seal_wire.write_ciphertext(fresh.ciphertext.reshape())


def _peer_bytes(bench: CkksBench, parameters: ParameterSet, a: Floats, *, symmetric: bool) -> dict[str, float]:
    try:
        return {PEER: len(bench.peer(parameters, symmetric=symmetric).encrypt(a).serialize())}
    except PeerUnavailableError:
        return {}
