"""Changes of basis with their transforms, residue by residue: decomposition, key switching, division with rounding.

One residue polynomial is made from the source's coefficients, transformed, and used, while it lies in the second-level
cache; nothing goes to memory but the result. What is made how is the same for every polynomial of a batch and comes
in a table of `steps`, one a residue (`ring_steps.py`); all of it is public.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.cache import inner, kernel
from hecore.kernels.cpu.ntt_rows import call_row
from hecore.kernels.cpu.ring_accumulate import SUMS, accumulate
from hecore.kernels.cpu.ring_convert import narrow_sum, narrow_words, wide_sum, wide_words
from hecore.kernels.cpu.ring_pointwise import (
    narrow_add_multiple,
    narrow_divide,
    prime_of,
    row_of,
    wide_add_multiple,
    wide_divide,
)
from hecore.kernels.cpu.ring_words import (
    FACTOR,
    KIND,
    NARROW,
    constants_at,
    less,
    narrow_word,
    public,
    splat_at,
    wide_word,
)
from hecore.kernels.cpu.vector import LANES, add, and_, load, sign, store, sub

# Columns of a step. A row is OWN: the source's values as they are; DIRECT: the residues of another prime, small enough
# to be transformed as they are; WORD: those reduced; SUM: a base conversion; CENTRED: residues of one prime P, centred,
# as x or x + (p - P mod p), below 4p where P is below 3p, else reduced (CENTRED_WORD).
MODE, SOURCE, COUNT, TABLE, PRIME, NARROW_PRIME, FUNCTION, TWIDDLES = range(8)
OWN, DIRECT, WORD, SUM, CENTRED, CENTRED_WORD = range(6)
PADDING = 576  # bytes between the digits of one unit: not a power of two apart, they fall into different cache sets


@inner
def centred_row(place, x, table, vectors):
    """x for x <= (P-1)/2, else x + (p - P mod p); the table holds (P-1)/2 and that constant."""
    half, other = splat_at(table, 0), splat_at(table, 1)
    for i in range(vectors):
        word = load(x, i)
        store(place, i, add(word, and_(sign(sub(half, word)), other)))


def _make_centred_words(reduce_word):
    @inner
    def centred_words(place, x, table, vectors, prime):
        """As `centred_row`, canonical."""
        c, half, other = constants_at(prime), splat_at(table, 0), splat_at(table, 1)
        for i in range(vectors):
            word = load(x, i)
            addend = and_(sign(sub(half, word)), other)
            store(place, i, less(add(reduce_word(word, c), addend), c[0]))

    return centred_words


_narrow_centred, _wide_centred = _make_centred_words(narrow_word), _make_centred_words(wide_word)


@inner
def make_row(place, y, steps, s, degree, passes, plan):
    """One residue polynomial at `place`, from rows at `y`, by step s of any mode but OWN."""
    mode, narrow = public(steps[s, MODE]), public(steps[s, NARROW_PRIME]) != 0
    source, table, prime = y + public(steps[s, SOURCE]), public(steps[s, TABLE]), public(steps[s, PRIME])
    vectors, begin = degree // LANES, place
    if mode == DIRECT:
        begin = source
    elif mode == CENTRED:
        centred_row(place, source, table, vectors)
    elif mode == SUM and narrow:
        narrow_sum(place, source, public(steps[s, COUNT]), degree * 8, table, vectors, prime)
    elif mode == SUM:
        wide_sum(place, source, public(steps[s, COUNT]), degree * 8, table, vectors, prime)
    elif mode == WORD and narrow:
        narrow_words(place, source, vectors, prime)
    elif mode == WORD:
        wide_words(place, source, vectors, prime)
    elif narrow:
        _narrow_centred(place, source, table, vectors, prime)
    else:
        _wide_centred(place, source, table, vectors, prime)
    function = public(steps[s, FUNCTION])
    if function != 0:
        call_row(function, place, begin, degree, passes, plan, public(steps[s, TWIDDLES]))


@kernel
def raise_digits(out, values, rows, steps, passes, plan, first, last):
    """out (B*d, k', N) from values (B, k, N) and their coefficients in `rows` (B, r, N); steps (d*k', 8)."""
    degree = out.shape[2]
    count = steps.shape[0]  # of one polynomial
    for unit in range(first, last):
        polynomial, s = unit // count, unit % count
        place = out.ctypes.data + unit * degree * 8
        if public(steps[s, MODE]) == OWN:
            x = row_of(values, polynomial, 0) + public(steps[s, SOURCE])
            for i in range(degree // LANES):
                store(place, i, load(x, i))
        else:
            make_row(place, row_of(rows, polynomial, 0), steps, s, degree, passes, plan)


def scratch_size(digits: int, degree: int) -> int:
    """Vectors of scratch memory for `switch_digits`."""
    return digits * (degree + PADDING // 8) // LANES + SUMS + 1


@kernel
def switch_digits(out, values, rows, steps, keys, passes, plan, terms, constants, addresses, scratch, first, last):
    """out[B, c] = sum over digits j of digit j (as in `raise_digits`) times polynomial j from keys[c]: (B*c, k', N).

    keys: the address of the first of d polynomials (k', N) for each component of each key, an even number for each key
    or a single one. Unit u is prime u // B and polynomial u % B: what belongs to one prime, tables and keys, stays
    near. `scratch` holds the digits of one unit and waiting sums, `addresses` where each digit lies.
    """
    degree, width, components = out.shape[2], out.shape[1], keys.shape[0]
    batch, digits, vectors = values.shape[0], addresses.shape[0], degree // LANES
    step, waiting = width * degree * 8, scratch.ctypes.data + digits * (degree * 8 + PADDING)
    for unit in range(first, last):
        position, polynomial = unit // batch, unit % batch
        y, own = row_of(rows, polynomial, 0), row_of(values, polynomial, 0)
        for j in range(digits):
            s = j * width + position
            if public(steps[s, MODE]) == OWN:
                addresses[j] = own + public(steps[s, SOURCE])
            else:
                addresses[j] = scratch.ctypes.data + j * (degree * 8 + PADDING)
                make_row(scratch.ctypes.data + j * (degree * 8 + PADDING), y, steps, s, degree, passes, plan)
        prime, limit = prime_of(constants, position), public(terms[position])
        narrow = public(constants[position, KIND]) == NARROW
        for c in range(0, components, 2):
            place, y = row_of(out, polynomial * components + c, position), public(keys[c]) + position * degree * 8
            other, more = 0, 0
            if c + 1 < components:
                other, more = place + step, public(keys[c + 1]) + position * degree * 8
            accumulate(place, other, addresses, y, more, step, digits, limit, vectors, narrow, prime, waiting)


@kernel
def divide_rows(out, a, rows, steps, factors, passes, plan, constants, plus, added, plus_factors, scratch, first, last):
    """out = (a - r) * factor for each prime, r made by its step from `rows`; units as in `switch_digits`.

    To the first added[1] of each added[0] polynomials the next one of `plus`, times its own factor, is added; none
    where added[1] is 0.
    """
    degree, batch = out.shape[2], out.shape[0]
    rest, vectors = np.intp(scratch.ctypes.data), degree // LANES
    components, some = public(added[0]), public(added[1])
    for unit in range(first, last):
        position, polynomial = unit // batch, unit % batch
        make_row(rest, row_of(rows, polynomial, 0), steps, position, degree, passes, plan)
        x, place = row_of(a, polynomial, position), row_of(out, polynomial, position)
        factor, prime = factors.ctypes.data + position * FACTOR * 8, prime_of(constants, position)
        narrow = public(constants[position, KIND]) == NARROW
        if narrow:
            narrow_divide(place, x, rest, factor, vectors, prime)
        else:
            wide_divide(place, x, rest, factor, vectors, prime)
        if polynomial % components < some:
            y = row_of(plus, polynomial // components * some + polynomial % components, position)
            factor = plus_factors.ctypes.data + position * FACTOR * 8
            if narrow:
                narrow_add_multiple(place, y, factor, vectors, prime)
            else:
                wide_add_multiple(place, y, factor, vectors, prime)
