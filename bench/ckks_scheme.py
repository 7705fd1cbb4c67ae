"""Rows about single ciphertexts: encryption, decryption, and every operation of the evaluator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hecore import ckks
from hecore.bench import ckks_floor as floor
from hecore.bench.ckks_peer import SealOperations, TensealPeer
from hecore.bench.ckks_plan import ParameterSet
from hecore.bench.ckks_workbench import CkksBench, Entry, Floats, Keys, values
from hecore.bench.contest import Case
from hecore.ckks import evaluator, rotation

ROTATION = 1


@dataclass(frozen=True)
class Operands:
    """Two vectors that fill all slots, encrypted by hecore; `read` decrypts a result that is a tensor."""

    keys: Keys
    a: Floats
    b: Floats
    x: ckks.EncryptedTensor
    y: ckks.EncryptedTensor

    def entry(self, bench: CkksBench, run: Callable[[], ckks.EncryptedTensor]) -> Entry:
        return Entry(bench.finished(run), self.keys.decrypt)

    def raw(self, bench: CkksBench, run: Callable[[], ckks.Ciphertext]) -> Entry:
        """For the evaluator's own functions, which take and give bare ciphertexts."""

        def read(ciphertext: Any) -> Floats:
            return self.keys.decrypt_raw(ciphertext)[: len(self.a)]

        return Entry(bench.finished(run), read)


def operands(bench: CkksBench, parameters: ParameterSet, *, galois: bool = False) -> Operands:
    keys = bench.keys(parameters, galois=galois)
    a, b = values(parameters.slots, seed=1), values(parameters.slots, seed=2)
    return Operands(keys, a, b, keys.encrypt(a), keys.encrypt(b))


# -- in and out --------------------------------------------------------------------------------------------


def encrypt(bench: CkksBench, parameters: ParameterSet) -> Case:
    """Encoding and public-key encryption of a vector that fills all slots."""
    keys, a = bench.keys(parameters), values(parameters.slots, seed=3)

    def enter(peer: TensealPeer) -> Entry:
        plain = peer.plain(a)
        return Entry(lambda: peer.encrypt(plain), peer.decrypt)

    return bench.case(
        Entry(bench.finished(lambda: keys.encrypt(a)), keys.decrypt),
        a,
        parameters,
        enter,
        item="ciphertext",
        calls=bench.plan.few_calls,
        work=floor.encrypt(parameters),
        setup=keys.seconds,
    )


def encrypt_symmetric(bench: CkksBench, parameters: ParameterSet) -> Case:
    """The same under the secret key: seeded here, in full size in the peer."""
    keys, a = bench.keys(parameters), values(parameters.slots, seed=4)

    def enter(peer: TensealPeer) -> Entry:
        plain = peer.plain(a)
        return Entry(lambda: peer.encrypt(plain), peer.decrypt)

    return bench.case(
        Entry(bench.finished(lambda: keys.keys.secret_key.encrypt(a)), keys.decrypt),
        a,
        parameters,
        enter,
        item="ciphertext",
        calls=bench.plan.few_calls,
        work=floor.encrypt_symmetric(parameters),
        symmetric=True,
    )


def decrypt(bench: CkksBench, parameters: ParameterSet) -> Case:
    """Decryption and decoding to an array of floats; the peer gives a list."""
    keys, a = bench.keys(parameters), values(parameters.slots, seed=5)
    x = keys.encrypt(a)

    def enter(peer: TensealPeer) -> Entry:
        vector = peer.encrypt(a)
        return Entry(lambda: peer.decrypt(vector), lambda result: result)

    return bench.case(
        Entry(lambda: keys.decrypt(x), lambda result: result),
        a,
        parameters,
        enter,
        item="ciphertext",
        calls=bench.plan.few_calls,
        work=floor.decrypt(parameters),
    )


# -- arithmetic, as a user writes it -------------------------------------------------------------------------


def add(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct + ct."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x, y = peer.encrypt(o.a), peer.encrypt(o.b)
        return Entry(lambda: x + y, peer.decrypt)

    return bench.case(o.entry(bench, lambda: o.x + o.y), o.a + o.b, parameters, enter, calls=bench.plan.calls)


def subtract(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct - ct."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x, y = peer.encrypt(o.a), peer.encrypt(o.b)
        return Entry(lambda: x - y, peer.decrypt)

    return bench.case(o.entry(bench, lambda: o.x - o.y), o.a - o.b, parameters, enter, calls=bench.plan.calls)


def negate(bench: CkksBench, parameters: ParameterSet) -> Case:
    """-ct."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x = peer.encrypt(o.a)
        return Entry(lambda: -x, peer.decrypt)

    return bench.case(o.entry(bench, lambda: -o.x), -o.a, parameters, enter, calls=bench.plan.calls)


def add_plain(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct + vector of floats, encoding included."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x, plain = peer.encrypt(o.a), peer.plain(o.b)
        return Entry(lambda: x + plain, peer.decrypt)

    return bench.case(
        o.entry(bench, lambda: o.x + o.b),
        o.a + o.b,
        parameters,
        enter,
        calls=bench.plan.few_calls,
        work=floor.add_plain(parameters),
    )


def multiply_plain(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct * vector of floats, encoding and rescaling included."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x, plain = peer.encrypt(o.a), peer.plain(o.b)
        return Entry(lambda: x * plain, peer.decrypt)

    return bench.case(
        o.entry(bench, lambda: o.x * o.b),
        o.a * o.b,
        parameters,
        enter,
        calls=bench.plan.few_calls,
        work=floor.multiply_plain(parameters),
    )


def multiply(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct * ct, relinearised and rescaled."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x, y = peer.encrypt(o.a), peer.encrypt(o.b)
        return Entry(lambda: x * y, peer.decrypt)

    return bench.case(
        o.entry(bench, lambda: o.x * o.y),
        o.a * o.b,
        parameters,
        enter,
        calls=bench.plan.few_calls,
        work=floor.multiply(parameters),
    )


def square(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct squared, relinearised and rescaled."""
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x = peer.encrypt(o.a)
        return Entry(lambda: x.square(), peer.decrypt)

    return bench.case(
        o.entry(bench, lambda: o.x**2),
        o.a**2,
        parameters,
        enter,
        calls=bench.plan.few_calls,
        work=floor.multiply(parameters),
    )


# -- the evaluator's own functions, beside SEAL's -------------------------------------------------------------


def rotate(bench: CkksBench, parameters: ParameterSet) -> Case:
    """All slots one step to the left: one key switch."""
    o = operands(bench, parameters, galois=True)
    x = o.x.ciphertext

    def seal(api: SealOperations) -> Entry:
        theirs, keys = api.ciphertext(o.a), api.galois_keys
        run = api.into(api.evaluator.rotate_vector, theirs, ROTATION, keys)
        # SEAL's bindings take the keys before the result.
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: rotation.rotate(x, ROTATION)),
        _rolled(o.a),
        parameters,
        seal=seal,
        calls=bench.plan.few_calls,
        work=floor.key_switch(parameters),
    )


def conjugate(bench: CkksBench, parameters: ParameterSet) -> Case:
    """Complex conjugation of all slots: one key switch."""
    o = operands(bench, parameters, galois=True)
    x = o.x.ciphertext

    def seal(api: SealOperations) -> Entry:
        theirs, keys = api.ciphertext(o.a), api.galois_keys
        run = api.into(api.evaluator.complex_conjugate, theirs, keys)
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: rotation.conjugate(x)),
        o.a,
        parameters,
        seal=seal,
        calls=bench.plan.few_calls,
        work=floor.key_switch(parameters),
    )


def relinearize(bench: CkksBench, parameters: ParameterSet) -> Case:
    """Three components back to two: one key switch."""
    o = operands(bench, parameters)
    product = evaluator.multiply(o.x.ciphertext, o.y.ciphertext)

    def seal(api: SealOperations) -> Entry:
        theirs = api.into(api.evaluator.multiply, api.ciphertext(o.a), api.ciphertext(o.b))()
        run = api.into(api.evaluator.relinearize, theirs, api.relinearization_keys)
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: evaluator.relinearize(product)),
        o.a * o.b,
        parameters,
        seal=seal,
        calls=bench.plan.few_calls,
        work=floor.key_switch(parameters),
    )


def multiply_raw(bench: CkksBench, parameters: ParameterSet) -> Case:
    """ct * ct to three components, nothing else."""
    o = operands(bench, parameters)
    x, y = o.x.ciphertext, o.y.ciphertext

    def seal(api: SealOperations) -> Entry:
        run = api.into(api.evaluator.multiply, api.ciphertext(o.a), api.ciphertext(o.b))
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: evaluator.multiply(x, y)), o.a * o.b, parameters, seal=seal, calls=bench.plan.few_calls
    )


def rescale(bench: CkksBench, parameters: ParameterSet) -> Case:
    """Division of two components by the last modulus."""
    o = operands(bench, parameters)
    product = evaluator.relinearize(evaluator.multiply(o.x.ciphertext, o.y.ciphertext))

    def seal(api: SealOperations) -> Entry:
        theirs = api.into(api.evaluator.multiply, api.ciphertext(o.a), api.ciphertext(o.b))()
        api.evaluator.relinearize_inplace(theirs, api.relinearization_keys)
        run = api.into(api.evaluator.rescale_to_next, theirs)
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: evaluator.rescale(product)),
        o.a * o.b,
        parameters,
        seal=seal,
        calls=bench.plan.few_calls,
        work=floor.rescale(parameters),
    )


def drop_level(bench: CkksBench, parameters: ParameterSet) -> Case:
    """One modulus dropped, nothing divided."""
    o = operands(bench, parameters)
    x = o.x.ciphertext

    def seal(api: SealOperations) -> Entry:
        run = api.into(api.evaluator.mod_switch_to_next, api.ciphertext(o.a))
        return Entry(run, lambda result: api.decrypt(result, len(o.a)))

    return bench.case(
        o.raw(bench, lambda: evaluator.drop_to_level(x, x.level - 1)),
        o.a,
        parameters,
        seal=seal,
        calls=bench.plan.calls,
    )


def _rolled(a: Floats) -> Floats:
    import numpy as np

    return np.roll(a, -ROTATION)
