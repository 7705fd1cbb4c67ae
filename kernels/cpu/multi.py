"""Host side of multi-exponentiation and segmented products: digits, the choice of method, recombination.

Modulo n^2 Pippenger runs on logarithmic bases. Write c = t*(1 + u*n) with t = x0/R; every digit then multiplies a
bucket by the single x0 (four half-size products instead of five), and the factors 1 + u*n are settled once an output
by an integer dot product: prod_j c_j^x_j = prod_j t_j^x_j * (1 + n * sum_j x_j*u_j). A negative digit takes
s = t^-1 mod n, again a single, though not t's inverse modulo n^2: t*s = 1 + v*n, so each use of s^|d| owes a factor
1 - |d|*v*n. With d+ and d- the positive and negative parts of x's digits,

    prod_j c_j^x_j = prod_j t_j^(d+_j) * s_j^(d-_j) * (1 + n * sum_j (x_j*u_j - d-_j*v_j)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert, powmod
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.errors import NotInvertibleError
from hecore.kernels.cpu import batch, multiexp
from hecore.kernels.cpu.context import Context, empty_rows, empty_vectors, scratch_vectors
from hecore.kernels.cpu.elements import SQUARE
from hecore.kernels.cpu.engine import Engine, Limbs, Rows, groups_of, pad_columns, window_digits
from hecore.kernels.cpu.vector import LANES

Signs = NDArray[np.bool_]
Floats = NDArray[np.float64]
STRAUS_WINDOW = 4
DIGIT_BYTES = 64 << 20  # digits of one round of outputs
SEGMENT_BLOCK = 4096


def multi_exp(
    engine: Engine,
    context: Context,
    bases: Rows,
    magnitudes: Limbs,
    negative: Signs | None,
    bits: int,
    constant_time: bool,
    most: int | None = None,
) -> Rows:
    """See `IntegerBackend.multi_exp`; (m, words) rows."""
    most = (1 << bits) - 1 if most is None else most
    m, k, _ = magnitudes.shape
    if m == 0 or k == 0:
        return engine.ones(context, m)
    if negative is not None:
        negative = negative & magnitudes.any(axis=2)  # a minus sign at zero means nothing
    if constant_time or straus_cost(m, k, bits) < min(pippenger_cost(m, k, most, c) for c in range(2, 13)):
        return _straus(engine, context, bases, magnitudes, negative, bits)
    return _pippenger(engine, context, bases, magnitudes, negative, bits, most)


# -- Straus ----------------------------------------------------------------------------------------------------


def straus_cost(m: int, k: int, bits: int) -> float:
    """Group products, tables included (a table read is about a tenth of a product), and the shift's one inversion.

    Constants here and in `pippenger_cost` are fitted to measurements at 2048-bit keys; only their ratio matters.
    """
    windows = -(-(bits + 1) // STRAUS_WINDOW)
    return groups_of(m) * windows * (1.1 * k + 0.7 * STRAUS_WINDOW) + k * (1 << STRAUS_WINDOW) / LANES + 40 + bits


def _straus(
    engine: Engine, context: Context, bases: Rows, magnitudes: Limbs, negative: Signs | None, bits: int
) -> Rows:
    """Signs without branches: x + 2^bits >= 0 is raised, and (prod of all bases)^(2^bits) divided out once.

    Operands of an unsigned type need no shift. A base that is no unit rules the shift out: then positive and negative
    parts are raised apart and divided.
    """
    m, k, _ = magnitudes.shape
    if negative is None:
        return _straus_unsigned(engine, context, bases, magnitudes, bits)
    total = engine.product(context, bases.reshape(1, k, -1))
    try:
        owed = powmod(engine.export_ints(context, total)[0], 1 << bits, context.value)
        correction = engine.import_ints(context, [invert(owed, context.value)])
    except ZeroDivisionError:
        parts = [np.where(keep[..., None], magnitudes, np.uint64(0)) for keep in (~negative, negative)]
        above, below = (_straus_unsigned(engine, context, bases, part, bits) for part in parts)
        return engine.multiply(context, above, engine.invert(context, below))
    out = _straus_unsigned(engine, context, bases, _shift_signed(magnitudes, negative, bits), bits + 1)
    return engine.multiply(context, out, np.concatenate([correction] * m))


def _straus_unsigned(engine: Engine, context: Context, bases: Rows, values: Limbs, bits: int) -> Rows:
    """(m, words): prod_j bases[j] ** values[i, j], values (m, k, limbs) below 2^bits."""
    m, k, _ = values.shape
    digits = window_digits(values.reshape(m * k, -1), bits, STRAUS_WINDOW)[::-1].reshape(-1, m, k).transpose(0, 2, 1)
    entries = 1 << STRAUS_WINDOW
    powers = np.empty((entries, k, context.row_words), dtype=np.uint64)
    powers[0], powers[1] = engine.ones(context, k), bases
    for e in range(2, entries):
        powers[e] = engine.multiply(context, powers[e - 1], bases)
    table = empty_vectors(groups_of(k * context.digits * entries))[: k * context.digits * entries]
    table.reshape(k, context.digits, entries)[:] = powers[:, :, : context.digits].transpose(1, 2, 0)
    out = empty_rows(m, context.row_words)
    shape = (context.constants, context.length, context.kind)
    arguments = (out, table, entries, STRAUS_WINDOW, pad_columns(digits), *shape)
    engine._run(multiexp.straus, m, context.length, *arguments)
    return out


def _shift_signed(magnitudes: Limbs, negative: Signs, bits: int) -> Limbs:
    """x + 2^bits for x = -magnitude where `negative`: masks and carries, no branch on the values."""
    limbs = limbs_for_bits(bits + 1)
    out = np.zeros((*negative.shape, limbs), dtype=np.uint64)
    out[..., : magnitudes.shape[-1]] = magnitudes
    mask = (-negative.astype(np.int64)).view(np.uint64)
    carry = negative.astype(np.uint64)
    for i in range(limbs):
        value = (out[..., i] ^ mask) + carry
        carry = carry & (value == 0)
        if i == bits // 64:
            value = value + np.uint64(1 << (bits % 64))
        out[..., i] = value
    top = (bits + 1) % 64
    if top:
        out[..., -1] &= np.uint64((1 << top) - 1)
    return out


# -- Pippenger ---------------------------------------------------------------------------------------------------


def signed_windows(most: int, window: int) -> int:
    """How many digits in [-2^(w-1), 2^(w-1)] hold every integer up to `most` and its negative.

    With both ends allowed, j digits reach 2^(w-1) * (2^(wj) - 1)/(2^w - 1), just above 2^(wj - 1): four digits of eight
    bits have room for -2^31, as the int32 that has it needs, and not for 32 bits of magnitude.
    """
    count, reach = 1, 1 << (window - 1)
    while reach < most:
        count, reach = count + 1, (reach << window) + (1 << (window - 1))
    return count


def pippenger_cost(m: int, k: int, most: int, window: int) -> float:
    """Group products: one a base and window (four fifths of one in logarithmic form), two a bucket; then the host's
    digits, inversions and dot products.
    """
    jobs = m * signed_windows(most, window)
    slices = slices_for(jobs, k)
    buckets = 1 << (window - 1)
    return groups_of(jobs) * slices * (0.97 * -(-k // slices) + 2.5 * buckets) + 4.6 * k / LANES + 250


def slices_for(jobs: int, k: int) -> int:
    """Cut the bases so that a few jobs fill the lanes."""
    return max(1, min(LANES // jobs if jobs else 1, k // 16))


@dataclass(frozen=True, eq=False)
class _Bases:
    """2k rows, the inverse k below; `kind` as the kernel wants it; logarithms where it is SINGLE."""

    rows: Rows
    kind: int
    u: Limbs | None = None
    v: Limbs | None = None


def _prepare(engine: Engine, context: Context, bases: Rows, negative: Signs | None) -> _Bases:
    """Bases and inverses. A base that is no unit rules out logarithms; it is an error for the outputs (m, k) that
    raise it to a negative power.
    """
    if context.kind == SQUARE:
        try:
            return _logarithmic(engine, context, bases)
        except NotInvertibleError as error:
            _refuse(negative, error.indices)
    inverses = bases
    if negative is not None:  # every base, so that the count tells nothing of which
        try:
            inverses = engine.invert(context, bases)
        except NotInvertibleError as error:
            _refuse(negative, error.indices)
            units = np.setdiff1d(np.arange(len(bases)), error.indices)
            inverses = bases.copy()
            inverses[units] = engine.invert(context, np.ascontiguousarray(bases[units]))
    return _Bases(np.concatenate([bases, inverses]), context.kind)


def _refuse(negative: Signs | None, not_units: tuple[int, ...]) -> None:
    if negative is None:
        return
    outputs = tuple(np.flatnonzero(negative[:, list(not_units)].any(axis=1)).tolist())
    if outputs:
        raise NotInvertibleError(
            f"cannot compute {len(outputs)} of {len(negative)} products of powers: a base with a negative exponent "
            "shares a factor with the modulus",
            outputs,
        )


def _logarithmic(engine: Engine, context: Context, bases: Rows) -> _Bases:
    plain, x0, x1 = engine.split_rows(context, bases)
    inverse = engine.invert(plain, x0)
    limbs = -(-plain.value.bit_length() // 64)
    u = engine.export_rows(plain, engine.multiply(plain, x1, inverse), limbs)
    singles = []
    for part in (x0, inverse):  # as elements modulo n^2 with x1 = 0
        rows = empty_rows(len(bases), context.row_words)
        rows[:] = 0
        rows[:, : context.length] = part[:, : context.length]
        singles.append(rows)
    product = engine.multiply(context, singles[0], singles[1])
    v = np.empty((len(bases), limbs), dtype=np.uint64)
    engine._run(batch.logarithms, len(bases), context.length, v, product, context.constants, context.length)
    return _Bases(np.concatenate([x0, inverse]), multiexp.SINGLE, u, v)


def _signed_digits(values: Limbs, negative: Signs, most: int, window: int) -> tuple[NDArray[np.int16], Limbs]:
    """(N, e), (N,) -> (windows, N) digits in [-2^(w-1), 2^(w-1)] of the signed values, whose magnitudes are at most
    `most` < 2^bits; and, as limbs of bits + 1 bits (N, e'), the sum of |d|*2^(w*i) over negative d. Arithmetic alone,
    no branch on the values.

    |d| < 2^w, so the summands of the second result do not overlap; it is at most `most` plus what the digits below the
    first reach, which is less than `most` again: below 2^(bits+1).
    """
    bits, windows = most.bit_length(), signed_windows(most, window)
    digits = window_digits(values, windows * window, window).astype(np.int32)
    half = 1 << (window - 1)
    carry = np.zeros(digits.shape[1], dtype=np.int32)
    sign = np.where(negative, np.int32(-1), np.int32(1))
    out = np.empty(digits.shape, dtype=np.int16)
    owed = np.zeros((digits.shape[1], limbs_for_bits(bits + 1)), dtype=np.uint64)
    for w, digit in enumerate(digits):
        value = digit + carry
        carry = ((value + (half - 1)) >> window).astype(np.int32) if w + 1 < len(digits) else carry * 0
        value = (value - (carry << window)) * sign
        out[w] = value
        at, shift = divmod(w * window, 64)
        debt = np.maximum(-value, 0).astype(np.uint64)
        owed[:, at] |= debt << np.uint64(shift)
        if shift + window > 64 and at + 1 < owed.shape[1]:
            owed[:, at + 1] |= debt >> np.uint64(64 - shift)
    return out, owed


def _pippenger(
    engine: Engine,
    context: Context,
    bases: Rows,
    magnitudes: Limbs,
    negative: Signs | None,
    bits: int,
    most: int | None = None,
) -> Rows:
    m, k, _ = magnitudes.shape
    most = (1 << bits) - 1 if most is None else most
    prepared = _prepare(engine, context, bases, negative)
    signs = np.zeros((m, k), dtype=np.bool_) if negative is None else negative
    window = min(range(2, 13), key=lambda c: pippenger_cost(m, k, most, c))
    rounds = max(1, -(-m * k * signed_windows(most, window) * 2 // DIGIT_BYTES))
    parts = [
        _round(engine, context, prepared, magnitudes[chunk], signs[chunk], most, window)
        for chunk in np.array_split(np.arange(m), min(rounds, m))
    ]
    return np.concatenate(parts)


def _round(
    engine: Engine,
    context: Context,
    bases: _Bases,
    magnitudes: Limbs,
    negative: Signs,
    most: int,
    window: int,
) -> Rows:
    m, k = negative.shape
    bits = max(1, most.bit_length())
    flat = magnitudes.reshape(m * k, -1)
    unit = bases.kind == multiexp.SINGLE
    if unit:
        digits, owed = _signed_digits(flat, negative.reshape(-1), most, window)
        bucket_count = (1 << (window - 1)) + 1
    else:
        raw = window_digits(flat, bits, window).astype(np.int16)
        digits = np.where(negative.reshape(-1), -raw, raw)
        owed, bucket_count = np.zeros((0, 0), dtype=np.uint64), 1 << window
    windows = len(digits)
    jobs = m * windows
    slices = slices_for(jobs, k)
    steps = -(-k // slices)
    groups = groups_of(jobs)
    by_job = digits.reshape(windows, m, k).transpose(1, 0, 2).reshape(jobs, k)
    padded = np.zeros((groups * LANES, slices * steps), dtype=np.int16)
    padded[:jobs, :k] = by_job
    # (slices * groups, steps, LANES)
    arranged = padded.reshape(groups, LANES, slices, steps).transpose(2, 0, 3, 1).reshape(-1, steps, LANES)
    starts = np.repeat(np.arange(slices) * steps, groups)
    sums = empty_rows(slices * groups * LANES, context.row_words)
    shape = (context.constants, context.length, bases.kind)
    contiguous = np.ascontiguousarray(arranged)

    def task(first: int, last: int) -> None:
        buckets = empty_rows(LANES * bucket_count, context.row_words)
        scratch = scratch_vectors(batch.scratch_size(context.length))
        multiexp.pippenger(sums, bases.rows, contiguous, starts, buckets, bucket_count, *shape, first, last, scratch)

    engine.workers.run(slices * groups, task)
    by_slice = sums.reshape(slices, groups * LANES, -1)[:, :jobs].transpose(1, 0, 2)
    per_window = np.ascontiguousarray(engine.product(context, by_slice)).reshape(m, windows, -1)
    out, shape = empty_rows(m, context.row_words), (context.constants, context.length, context.kind)
    engine._run(multiexp.join_windows, m, context.length, out, per_window, window, *shape)
    if unit:
        assert bases.u is not None
        assert bases.v is not None
        ours, debts = _pieces(flat.reshape(m, k, -1), bits), _pieces(owed.reshape(m, k, -1), bits + 1)
        ours *= 1.0 - 2.0 * negative
        debts *= -1.0
        logs = _dot(engine, [(ours, bases.u), (debts, bases.v)])
        n = context.root
        out = engine.encode(context, limbs_from_ints([x % n for x in logs], bases.u.shape[1]), out)
    return out


DOT_TERMS = 1 << 21  # 2^21 products of 16-bit pieces stay below 2^53


def _pieces(weights: Limbs, bits: int) -> Floats:
    """(m, k, limbs) below 2^bits -> (pieces, m, k): 16 bits each, least significant first."""
    words = np.ascontiguousarray(weights).view(np.uint16)[..., : -(-bits // 16)]
    return np.ascontiguousarray(np.moveaxis(words, -1, 0), dtype=np.float64)


def _dot(engine: Engine, terms: Sequence[tuple[Floats, Limbs]]) -> list[int]:
    """sum of weights[i, j] * values[j] over j and all (pieces of signed weights, values), as integers.

    Values have the same limbs in every term. Products of 16-bit pieces are summed in float64, exactly, and the sums in
    columns 16 bits apart: less than 2^32 * len(terms) * pieces * step, and so below 2^62.
    """
    pieces, m, k = max(weights.shape for weights, _ in terms)
    width, step = 4 * terms[0][1].shape[1], min(DOT_TERMS, (1 << 30) // (len(terms) * pieces))
    totals = [0] * m
    for start in range(0, k, step):
        cut = slice(start, start + step)
        columns = np.zeros((m, width + pieces - 1), dtype=np.int64)
        for weights, values in terms:
            left = np.ascontiguousarray(weights[..., cut]).reshape(len(weights) * m, -1)
            right = np.ascontiguousarray(values[cut]).view(np.uint16).astype(np.float64)
            sums = np.zeros((len(left), width))

            def task(first: int, last: int, sums: Floats = sums, left: Floats = left, right: Floats = right) -> None:
                multiexp.add_products(sums[first:last], left[first:last], right)

            engine.workers.run(len(left), task)
            for piece, part in enumerate(sums.reshape(-1, m, width)):
                columns[:, piece : piece + width] += part.astype(np.int64)
        totals = [x + y for x, y in zip(totals, _carry(columns), strict=True)]
    return totals


_LIFT = 1 << 62  # makes a column non-negative


def _carry(columns: NDArray[np.int64]) -> list[int]:
    """Rows of signed columns below 2^62, 16 bits apart -> integers: every fourth column is a word of one integer."""
    m, count = columns.shape
    words = np.full((m, 4, -(-count // 4)), _LIFT, dtype=np.int64)
    for r in range(4):
        words[:, r, : -(-(count - r) // 4)] += columns[:, r::4]
    lifted = sum(_LIFT << (64 * word + 16 * r) for word in range(words.shape[2]) for r in range(4))
    return [
        sum(int.from_bytes(part.tobytes(), "little") << 16 * r for r, part in enumerate(row)) - lifted for row in words
    ]


# -- segmented products --------------------------------------------------------------------------------------------


def segment_product(engine: Engine, context: Context, rows: Rows, segments: NDArray[np.intp], count: int) -> Rows:
    """One product a row and block of segments, whatever the labels: a row of another block goes to bucket 0."""
    out = [
        _segment_block(engine, context, rows, segments, s, min(SEGMENT_BLOCK, count - s))
        for s in range(0, count, SEGMENT_BLOCK)
    ]
    return np.concatenate(out) if out else engine.ones(context, 0)


def _segment_block(
    engine: Engine, context: Context, rows: Rows, segments: NDArray[np.intp], start: int, count: int
) -> Rows:
    inside = (segments >= start) & (segments < start + count)
    labels = np.ascontiguousarray(np.where(inside, segments - start + 1, 0), dtype=np.int64)
    shares = max(1, min(engine.workers.threads, groups_of(len(rows))))
    bucket_count = count + 1
    one = engine.ones(context, 1)
    sets = np.empty((shares, LANES * bucket_count, context.row_words), dtype=np.uint64)
    sets[:] = one
    cuts = [len(rows) * i // shares for i in range(shares + 1)]
    shape = (context.constants, context.length, context.kind)

    def task(first: int, last: int) -> None:
        scratch = scratch_vectors(batch.scratch_size(context.length))
        for i in range(first, last):
            multiexp.bucket_products(sets[i], rows, labels, bucket_count, *shape, cuts[i], cuts[i + 1], scratch)

    engine.workers.run(shares, task)
    buckets = sets.reshape(shares * LANES, bucket_count, -1)[:, 1:].transpose(1, 0, 2)
    return engine.product(context, buckets)
