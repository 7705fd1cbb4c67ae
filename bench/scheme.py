"""Rows about the scheme: encryption, decryption, arithmetic on ciphertexts, beside the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hecore.bench import floor
from hecore.bench.contest import Case, Contestant, repeated
from hecore.bench.data import VALUE_BITS, first_difference, signed_integers
from hecore.bench.peers import Peer
from hecore.bench.results import Work
from hecore.bench.workbench import OURS, Keys, Workbench
from hecore.paillier import EncryptedArray
from hecore.paillier.packing import Packing

GUARD_BITS = 16  # room for 2**16 additions


def _array_contestant(
    bench: Workbench, keys: Keys, items: int, run: Callable[[], Any], expected: Any, setup: dict[str, float]
) -> Contestant:
    """`run` gives an EncryptedArray; all of it is decrypted and compared."""

    def finish() -> Any:
        result = run()
        bench.backend.synchronize()
        return result

    def check(result: Any) -> str | None:
        return first_difference(keys.secret.decrypt(result), expected)

    return Contestant(OURS, items, finish, check, {"key": keys.seconds, **setup})


def _ones_contestant(
    keys: Keys, run: Callable[[], list[Any]], expected: Sequence[int], setup: dict[str, float]
) -> Contestant:
    """`run` gives one encrypted array of one value a call."""

    def check(result: list[Any]) -> str | None:
        return first_difference([int(np.ravel(keys.secret.decrypt(r))[0]) for r in result], expected)

    return Contestant(OURS, len(expected), run, check, {"key": keys.seconds, **setup})


def _listed(bench: Workbench, peer: str, operation: str, key_bits: int, seed: int) -> list[int]:
    """A peer's own operands: Python integers, as many as it manages in a round."""
    return _ints(signed_integers(bench.plan.items(peer, operation, key_bits), seed))


def _ints(values: Any) -> list[int]:
    return [int(v) for v in np.ravel(values)]


def encrypt(bench: Workbench, key_bits: int) -> Case:
    """Public-key encryption: fresh obfuscators, no pool, exponents of half the key's bits."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "encrypt", key_bits), seed=10)
    setup = keys.prepare_public(bench.backend)
    ours = _array_contestant(bench, keys, values.size, lambda: keys.public.encrypt(values), values, setup)
    return bench.against_peers(
        Case(ours, "value", work=floor.encrypt(key_bits)),
        key_bits,
        lambda peer, name: peer.encrypt(_listed(bench, name, "encrypt", key_bits, 11)),
    )


def encrypt_own(bench: Workbench, key_bits: int) -> Case:
    """Encryption by the key's owner, modulo p^2 and q^2; the peers have one form of encryption only."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "encrypt_own", key_bits), seed=12)
    setup = keys.prepare_own(bench.backend)
    ours = _array_contestant(bench, keys, values.size, lambda: keys.secret.encrypt(values), values, setup)
    return bench.against_peers(
        Case(ours, "value", work=floor.encrypt_own(key_bits)),
        key_bits,
        lambda peer, name: peer.encrypt(_listed(bench, name, "encrypt", key_bits, 13)),
    )


def encrypt_one(bench: Workbench, key_bits: int) -> Case:
    """Public-key encryption of one value a call."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "one", key_bits), seed=14)
    setup = keys.prepare_public(bench.backend)
    singles = [values[i : i + 1] for i in range(values.size)]
    ours = _ones_contestant(keys, lambda: [keys.public.encrypt(v) for v in singles], _ints(values), setup)
    return bench.against_peers(
        Case(ours, "value", work=floor.encrypt(key_bits)),
        key_bits,
        lambda peer, name: peer.encrypt_one(_listed(bench, name, "one", key_bits, 16)),
    )


def decrypt(bench: Workbench, key_bits: int) -> Case:
    """Decryption to an ndarray, of values whose bound one factor decides."""
    return _decryption(bench, key_bits, 20, lambda x: x, floor.decrypt(key_bits))


def decrypt_full(bench: Workbench, key_bits: int) -> Case:
    """Decryption by both factors, where no bound is known but the plaintext space: packed arrays, foreign JSON."""
    return _decryption(
        bench,
        key_bits,
        24,
        lambda x: EncryptedArray.from_residues(x.public_key, x.residues, x.encoding),
        floor.decrypt_full(key_bits),
    )


def _decryption(
    bench: Workbench, key_bits: int, seed: int, claim: Callable[[EncryptedArray], EncryptedArray], work: Work
) -> Case:
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "decrypt", key_bits), seed=seed)
    ciphertexts = claim(keys.public.encrypt(values))
    ours = Contestant(
        OURS,
        values.size,
        lambda: keys.secret.decrypt(ciphertexts),
        lambda result: first_difference(result, values),
        {"key": keys.seconds},
    )
    return bench.against_peers(
        Case(ours, "value", work=work),
        key_bits,
        lambda peer, name: peer.decrypt(_listed(bench, name, "decrypt", key_bits, seed + 1)),
    )


def decrypt_one(bench: Workbench, key_bits: int) -> Case:
    """Decryption of one value a call."""
    keys = bench.keys(key_bits)
    values = signed_integers(bench.plan.items(OURS, "one", key_bits), seed=22)
    singles = [keys.public.encrypt(values[i : i + 1]) for i in range(values.size)]
    ours = Contestant(
        OURS,
        values.size,
        lambda: [keys.secret.decrypt(c) for c in singles],
        lambda result: first_difference([int(np.ravel(r)[0]) for r in result], values),
        {"key": keys.seconds},
    )
    return bench.against_peers(
        Case(ours, "value", work=floor.decrypt(key_bits)),
        key_bits,
        lambda peer, name: peer.decrypt_one(_listed(bench, name, "one", key_bits, 23)),
    )


def add(bench: Workbench, key_bits: int) -> Case:
    """ct + ct, elementwise, on arrays of 10^4."""
    keys, count = bench.keys(key_bits), bench.plan.additions
    left, right = (signed_integers(count, seed) for seed in (30, 31))
    x, y = keys.public.encrypt(left), keys.public.encrypt(right)
    sums = left.astype(np.int64) + right
    ours = repeated(_array_contestant(bench, keys, count, lambda: x + y, sums, {}), bench.plan.repeats)
    return bench.against_peers(
        Case(ours, "sum", work=floor.multiply_square_form(key_bits)),
        key_bits,
        lambda peer, name: peer.add(_ints(left), _ints(right), count),
    )


def add_one(bench: Workbench, key_bits: int) -> Case:
    """ct + ct, one pair a call."""
    keys, count = bench.keys(key_bits), bench.plan.items(OURS, "one", key_bits)
    left, right = (signed_integers(count, seed) for seed in (32, 33))
    pairs = [(keys.public.encrypt(left[i : i + 1]), keys.public.encrypt(right[i : i + 1])) for i in range(count)]
    sums = _ints(left.astype(np.int64) + right)
    ours = _ones_contestant(keys, lambda: [x + y for x, y in pairs], sums, {})
    return bench.against_peers(
        Case(ours, "sum", work=floor.multiply_square_form(key_bits)),
        key_bits,
        lambda peer, name: peer.add_one(_ints(left), _ints(right)),
    )


def plain_mul(bench: Workbench, key_bits: int) -> Case:
    """ct * scalar, elementwise, 31-bit signed scalars."""
    keys, count = bench.keys(key_bits), bench.plan.items(OURS, "plain_mul", key_bits)
    values, scalars = (signed_integers(count, seed) for seed in (40, 41))
    x = keys.public.encrypt(values)
    ours = _array_contestant(bench, keys, count, lambda: x * scalars, values.astype(np.int64) * scalars, {})

    def enter(peer: Peer, name: str) -> Contestant:
        return peer.plain_mul(_ints(values), _listed(bench, name, "plain_mul", key_bits, 42))

    return bench.against_peers(Case(ours, "product", work=floor.plain_mul(key_bits)), key_bits, enter)


def matvec(bench: Workbench, key_bits: int) -> Case:
    """Plain matrix @ encrypted vector, 31-bit signed integers; an item is a term, weight times ciphertext."""
    keys, (outputs, terms) = bench.keys(key_bits), bench.plan.matrix
    weights, values = signed_integers((outputs, terms), seed=50), signed_integers(terms, seed=51)
    x = keys.public.encrypt(values)
    expected = weights.astype(object) @ values.astype(object)
    ours = _array_contestant(bench, keys, outputs * terms, lambda: weights @ x, expected, {})
    few = [_ints(weights[0])]  # the peers work output by output, so one output gives their seconds a term
    return bench.against_peers(
        Case(ours, "term", work=floor.matvec(key_bits, outputs, terms)),
        key_bits,
        lambda peer, name: peer.matvec(few, _ints(values)),
    )


def pack(bench: Workbench, key_bits: int) -> Case:
    """Encryption of packed 31-bit values with 16 guard bits, as many in a plaintext as fit; an item is a value."""
    keys, packing = bench.keys(key_bits), Packing(slot_bits=VALUE_BITS, guard_bits=GUARD_BITS)
    slots = packing.slots_in(keys.public)
    values = signed_integers(slots * bench.plan.items(OURS, "pack", key_bits), seed=60)
    setup = keys.prepare_public(bench.backend)
    ours = _array_contestant(bench, keys, values.size, lambda: packing.encrypt(keys.public, values), values, setup)

    def enter(peer: Peer, name: str) -> Contestant:
        return peer.pack(_ints(signed_integers(2 * bench.plan.items(name, "pack", key_bits), seed=61)))

    return bench.against_peers(Case(ours, "packed value", work=floor.encrypt(key_bits) / slots), key_bits, enter)
