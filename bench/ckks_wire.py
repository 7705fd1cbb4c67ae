"""Rows about bytes: ciphertexts written and read, in hecore's own form and in SEAL's, beside TenSEAL."""

from __future__ import annotations

from hecore import ckks
from hecore.bench.ckks_peer import TensealPeer
from hecore.bench.ckks_plan import ParameterSet
from hecore.bench.ckks_scheme import operands
from hecore.bench.ckks_workbench import CkksBench, Entry, Floats
from hecore.bench.contest import Case


def serialise(bench: CkksBench, parameters: ParameterSet) -> Case:
    """A ciphertext of full slots to bytes: bit-packed here, zstd in the peer."""
    o = operands(bench, parameters)

    def read(data: bytes) -> Floats:
        return o.keys.decrypt(ckks.EncryptedTensor.from_bytes(data, o.keys.keys.public_key))

    def enter(peer: TensealPeer) -> Entry:
        x = peer.encrypt(o.a)
        return Entry(lambda: x.serialize(), lambda data: peer.decrypt(peer.load_vector(data)))

    return bench.case(
        Entry(lambda: o.x.to_bytes(), read),
        o.a,
        parameters,
        enter,
        item="ciphertext",
        calls=bench.plan.few_calls,
    )


def deserialise(bench: CkksBench, parameters: ParameterSet) -> Case:
    """The way back, every residue checked."""
    o = operands(bench, parameters)
    data = o.x.to_bytes()
    key = o.keys.keys.public_key

    def enter(peer: TensealPeer) -> Entry:
        theirs = peer.encrypt(o.a).serialize()
        return Entry(lambda: peer.load_vector(theirs), peer.decrypt)

    return bench.case(
        Entry(bench.finished(lambda: ckks.EncryptedTensor.from_bytes(data, key)), o.keys.decrypt),
        o.a,
        parameters,
        enter,
        item="ciphertext",
        calls=bench.plan.few_calls,
    )
