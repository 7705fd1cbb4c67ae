"""Host side of decryption and of own-key encryption: n^2 to p^2 and q^2 and back, both halves side by side.

With eight lanes a group holds four elements modulo p^2 in its lower lanes and the same four modulo q^2 in its upper
ones, constants and exponent digits to match: a batch of one costs one exponentiation, not two.
"""

from __future__ import annotations

import numpy as np

from hecore.arith.limbs import limbs_for_bits
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.kernels.cpu import batch, fermat
from hecore.kernels.cpu.context import (
    Context,
    CrtContext,
    broadcast,
    context_for,
    digits_of,
    empty_rows,
    reduce_constants,
)
from hecore.kernels.cpu.elements import SQUARE, digits_for
from hecore.kernels.cpu.engine import Engine, Limbs, Rows
from hecore.kernels.cpu.vector import IFMA, LANES

HALF = LANES // 2


def can_reduce(source: Context, target: Context) -> bool:
    """`batch.reduce_arrays` serves: both are squares, n is a multiple of p, and n's digits fit twice p's."""
    squares = source.kind == SQUARE and target.kind == SQUARE
    return squares and source.root % target.root == 0 and source.length <= 2 * target.length


def reduce(engine: Engine, source: Context, target: Context, rows: Rows) -> Rows:
    return _reduce(engine, source, target, reduce_constants(source, target), rows)


def _reduce(engine: Engine, source: Context, target: Context, constants: Rows, rows: Rows) -> Rows:
    out = empty_rows(len(rows), target.row_words)
    top = max(source.length, target.length)
    arguments = (out, rows, constants, target.constants, target.length, source.length)
    engine._run(batch.reduce_arrays, len(out), top, *arguments)
    return out


def _adapt(engine: Engine, rows: Rows, target: Context) -> Rows:
    """Rows of the modulus's own context -> rows of `target`, whose L is the larger of two factors'."""
    if digits_for(target.root.bit_length()) == target.length:
        return rows
    return engine.import_ints(target, engine.export_ints(context_for(Modulus.square(target.root)), rows))


def lift(engine: Engine, crt: CrtContext, a_p: Rows, a_q: Rows, messages: Limbs | None = None) -> Rows:
    """CRT by idempotents, times 1 + m*n; factors so unequal that p^2 outgrows n's digits go through host integers."""
    a_p, a_q = _adapt(engine, a_p, crt.p), _adapt(engine, a_q, crt.q)
    n = crt.n
    if 19 * (crt.p.value + crt.q.value) >= n.radix:
        pp, qq = crt.p.value, crt.q.value
        inverse = pow(pp, -1, qq)
        pairs = zip(engine.export_ints(crt.p, a_p), engine.export_ints(crt.q, a_q), strict=True)
        rows = engine.import_ints(n, [x + pp * ((y - x) * inverse % qq) for x, y in pairs])
        return rows if messages is None else engine.encode(n, messages, rows)
    out = empty_rows(len(a_p), n.row_words)
    top = max(n.length, crt.p.length)
    contexts = (crt.p.constants, crt.q.constants, n.constants)
    limbs = np.empty((0, 1), dtype=np.uint64) if messages is None else np.ascontiguousarray(messages)
    arguments = (a_p, a_q, limbs, crt.shares, crt.lift, *contexts, n.length, crt.p.length)
    engine._run(batch.lift_arrays, len(out), top, out, *arguments)
    return out


def decode(engine: Engine, crt: CrtContext, a_p: Rows, a_q: Rows, limbs: int) -> Limbs:
    return _decode(engine, crt, _adapt(engine, a_p, crt.p), _adapt(engine, a_q, crt.q), limbs)


def _decode(engine: Engine, crt: CrtContext, a_p: Rows, a_q: Rows, limbs: int) -> Limbs:
    out = np.empty((len(a_p), limbs), dtype=np.uint64)
    factors = (crt.h_p, crt.h_q, crt.p_inverse, crt.q_multiple, crt.p.constants, crt.q.constants)
    engine._run(batch.decode_arrays, len(out), crt.p.length, out, a_p, a_q, *factors, crt.p.length)
    return out


def decrypt(engine: Engine, context: CrtContext, crt: CrtModulus, rows: Rows) -> Limbs:
    """c mod p^2 to the p-1 and c mod q^2 to the q-1, then `decode`."""
    halves = [
        _reduce_or_divide(engine, context.n, target, constants, rows)
        for target, constants in ((context.p, context.reduce_p), (context.q, context.reduce_q))
    ]
    if IFMA:
        powers = _both_halves(engine, context, halves)
    else:
        shapes = ((context.p, context.weights_p), (context.q, context.weights_q))
        powers = [
            _powers(engine, context, halves[h], context.window_digits(h), weights, one.constants)
            for h, (one, weights) in enumerate(shapes)
        ]
    return _decode(engine, context, powers[0], powers[1], crt.n.limbs)


def decrypt_bounded(engine: Engine, context: CrtContext, crt: CrtModulus, rows: Rows, bound: int) -> Limbs:
    """(m + bound) mod p from c mod p^2 to the p-1 alone."""
    a = _reduce_or_divide(engine, context.n, context.p, context.reduce_p, rows)
    powers = _powers(engine, context, a, context.window_digits(0), context.weights_p, context.p.constants)
    shift = broadcast(digits_of(bound, context.p.length))
    return _decode_bounded(engine, context, powers, shift, limbs_for_bits(crt.p.bit_length()))


def _decode_bounded(engine: Engine, crt: CrtContext, a_p: Rows, shift: Rows, limbs: int) -> Limbs:
    out, length = np.empty((len(a_p), limbs), dtype=np.uint64), crt.p.length
    engine._run(batch.decode_bounded, len(out), length, out, a_p, crt.h_p, shift, crt.p.constants, length)
    return out


def _reduce_or_divide(engine: Engine, source: Context, target: Context, constants: Rows, rows: Rows) -> Rows:
    """`_reduce` where it serves, else through host integers."""
    if can_reduce(source, target):
        return _reduce(engine, source, target, constants, rows)
    return engine.import_ints(target, [x % target.value for x in engine.export_ints(source, rows)])


def _powers(engine: Engine, context: CrtContext, rows: Rows, index: Rows, weights: Rows, constants: Rows) -> Rows:
    """See `fermat`."""
    length, window = context.p.length, context.window
    out = empty_rows(len(rows), rows.shape[1])
    extra = fermat.fermat_vectors(length, 1 << window)
    engine._run(
        fermat.fermat_powers, len(out), length, out, rows, index, window, weights, constants, length, extra=extra
    )
    return out


def _both_halves(engine: Engine, context: CrtContext, halves: list[Rows]) -> list[Rows]:
    """The two exponentiations in the lower and upper lanes of one pass."""
    count, words = halves[0].shape
    blocks = -(-count // HALF)
    mixed = empty_rows(blocks * LANES, words)
    lanes = mixed.reshape(blocks, 2, HALF, words)
    for h in range(2):
        for i in range(HALF):  # pad the last block with its first element
            source = halves[h][i::HALF]
            lanes[: len(source), h, i] = source
            lanes[len(source) :, h, i] = halves[h][-1:] if count else 0
    constants, index, weights = context.both
    split = _powers(engine, context, mixed, index, weights, constants).reshape(blocks, 2, HALF, words)
    return [np.ascontiguousarray(split[:, h].reshape(-1, words)[:count]) for h in range(2)]
