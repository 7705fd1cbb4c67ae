/* Batches of residues modulo an odd n or its square: a group of LANES threads an element.

   Every kernel ends with `modulus` = the rows [n][c] of W normal digits (see element.h; [n] alone where SQUARE is 0),
   `inverse` = -1/n mod 2^RADIX and `count`, the number of elements. Groups past `count` work on the last element and write
   nothing: no thread leaves before its neighbours. Elements are rows of PARTS*W words, components below 2n, digits almost
   normal; results are the same. `out` may be any operand that is not indexed. */
#include "digits.h"
#include "montgomery.h"
#include "element.h"
#include "power.h"

/* out[i] = a[i or a_index[i]] * b[i, b_index[i], or 0]; `indexed`: 1 for a_index, 2 for b_index, 4 for one b for all. */
KERNEL(multiply)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* a_index, GLOBAL const u32* b,
                 GLOBAL const u32* b_index, u32 indexed, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    fetch_element(&g, a, indexed & 1 ? INDEXED : OWN, a_index, count);
    element_from_slots(&g, x);
    fetch_element(&g, b, indexed & 4 ? SHARED : indexed & 2 ? INDEXED : OWN, b_index, count);
    multiply_element(&g, x);
    deliver_element(&g, out, x, count);
}

/* out[i] = a[i]^2 */
KERNEL(square)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    fetch_element(&g, a, OWN, a, count);
    element_from_slots(&g, x);
    square_element(&g, x);
    deliver_element(&g, out, x, count);
}

/* out[i] = a[i] + b[i]: below 4n, brought below 2n by a product with `one`, R in element form. */
KERNEL(add)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* b, GLOBAL const u32* one, GLOBAL const u32* modulus,
            u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    fetch_element(&g, a, OWN, a, count);
    element_from_slots(&g, x);
    fetch_element(&g, b, OWN, b, count);
    add_element(&g, x);
    fetch_element(&g, one, SHARED, one, count);
    multiply_element(&g, x);
    deliver_element(&g, out, x, count);
}

/* out[i] = R * E * sum_c x_c R^c from digits of `chunks` chunks of W normal digits an element, the lowest chunk first.
   `constants`: the elements R^2 E, R^2 and R. Horner, in Montgomery products: z <- (z + x_c * R^2 E) * R^2 from the highest
   chunk on, and * R after the lowest. A chunk is below R, not 2n: (x_c, 0) times a lazy element has components below
   3n + 2; the sum with a lazy element is below 6n, which the next product takes. z waits in `out`, which is not `digits`,
   while registers hold the chunk. */
KERNEL(import_rows)(GLOBAL u32* out, GLOBAL const u32* digits, GLOBAL const u32* constants, u32 chunks,
                    GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    for (u32 chunk = chunks; chunk-- > 0;) {
        fetch(slots, digits, OWN, digits, (u64)chunks * W, (u64)chunk * W, count);
        from_slot(x, g.y0);
        UNROLL for (u32 j = DIGITS; j < ELEMENT; j++) x[j] = 0;
        fetch_element(&g, constants, SHARED, constants, count);
        multiply_element(&g, x);
        if (chunk + 1 < chunks) { /* a thread reads the words that it wrote itself */
            fetch_element(&g, out, OWN, out, count);
            add_element(&g, x);
        }
        fetch_element(&g, constants + (chunk == 0 ? 2 : 1) * ROW, SHARED, constants, count);
        multiply_element(&g, x);
        deliver_element(&g, out, x, count);
    }
}

/* digits[i] = the residue a[i] as an integer: W normal digits, or the 2W of x0 + x1*n < n^2 modulo a square. */
KERNEL(export_rows)(GLOBAL u32* digits, GLOBAL const u32* a, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    fetch_element(&g, a, OWN, a, count);
    element_from_slots(&g, x);
    canonical_element(&g, x);
#if SQUARE
    u64 acc[COLUMNS];
    start_from(acc, x);
    LANE_BARRIER();
    pass(acc, 1, x + DIGITS, g.modulus, x, g.modulus, 0, g.n, inverse, 1, g.m); /* the low half goes to m's slot */
    carry_columns(x, acc);
    normalise(x);
    LANE_BARRIER();
    deliver(digits, slots + 2 * SLOT_DISTANCE, ROW, 0, count);
    to_slot(g.y0, x);
    deliver(digits, slots, ROW, W, count);
#else
    to_slot(g.y0, x);
    deliver(digits, slots, ROW, 0, count);
#endif
}

/* out[i] = a[i]^exponent, exponents of `words` words, the lowest first, of which the lowest `bits` bits count; one for all
   where `shared`. `scratch`: 2^window elements for every integer of every block. */
KERNEL(power)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* exponents, u32 words, u32 shared, u32 bits,
              u32 window, GLOBAL const u32* one, GLOBAL u32* scratch, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    raise_element(&g, x, a, exponents, words, shared, bits, window, one, scratch, count, 0);
    deliver_element(&g, out, x, count);
}

/* The same for public exponents: the table is read where the exponent says. */
KERNEL(power_vartime)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* exponents, u32 words, u32 shared, u32 bits,
                      u32 window, GLOBAL const u32* one, GLOBAL u32* scratch, GLOBAL const u32* modulus, u32 inverse,
                      u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    raise_element(&g, x, a, exponents, words, shared, bits, window, one, scratch, count, 1);
    deliver_element(&g, out, x, count);
}

/* out[i] = prod_k table[k][window k of exponent i]: the table has 2^window elements for each of ceil(bits/window) windows,
   the lowest first, and is read whole. */
KERNEL(fixed_base)(GLOBAL u32* out, GLOBAL const u32* RESTRICT table, GLOBAL const u32* exponents, u32 words, u32 bits,
                   u32 window, GLOBAL const u32* one, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    const u32 entries = 1u << window;
    u32 x[ELEMENT], y[ELEMENT];
    u32 i = BLOCK_ID * INTEGERS + INTEGER;
    if (i >= count) i = count - 1;
    GLOBAL const u32* exponent = exponents + (u64)i * words;
    GLOBAL const u32* entry = table + LANE * DIGITS;
    if (bits == 0) {
        fetch_element(&g, one, SHARED, one, count);
        element_from_slots(&g, x);
    } else {
        look_up(x, entry, entries, ROW, W, 1, window_at(exponent, words, bits, 0, window));
    }
    for (u32 position = window; position < bits; position += window) {
        entry += entries * ROW;
        look_up(y, entry, entries, ROW, W, 1, window_at(exponent, words, bits, position, window));
        element_to_slots(&g, y);
        multiply_element(&g, x);
    }
    deliver_element(&g, out, x, count);
}

#if SQUARE
/* The same by a table in logarithmic form (power.h); `constants` as those of `encode`. */
KERNEL(fixed_base_logarithmic)(GLOBAL u32* out, GLOBAL const u32* RESTRICT table, GLOBAL const u32* exponents, u32 words,
                               u32 bits, u32 window, GLOBAL const u32* constants, GLOBAL const u32* modulus, u32 inverse,
                               u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    const u32 entries = 1u << window;
    u32 x[ELEMENT], sum[DIGITS], summed = 1;
    u32 i = BLOCK_ID * INTEGERS + INTEGER;
    if (i >= count) i = count - 1;
    GLOBAL const u32* exponent = exponents + (u64)i * words;
    GLOBAL const u32* entry = table + LANE * DIGITS;
    if (bits == 0) { /* 1, and nothing to add */
        fetch_element(&g, constants + W, SHARED, constants, count);
        element_from_slots(&g, x);
        UNROLL for (u32 j = 0; j < DIGITS; j++) sum[j] = 0;
    } else {
        look_up(x, entry, entries, ROW, W, 1, window_at(exponent, words, bits, 0, window));
        UNROLL for (u32 j = 0; j < DIGITS; j++) {
            sum[j] = x[DIGITS + j];
            x[DIGITS + j] = 0;
        }
    }
    to_slot(g.y1, sum); /* a lane's own digits of the sum wait there, where no product reads */
    for (u32 position = window;; position += window) {
        u32 y[ELEMENT];
        if (summed == SUMMED || position >= bits) {
            from_slot(sum, g.y1);
            multiply_one_plus(&g, x, sum, constants, count);
            if (position >= bits) break;
            LANE_BARRIER();
            UNROLL for (u32 j = 0; j < DIGITS; j++) sum[j] = 0;
            to_slot(g.y1, sum);
            summed = 0;
        }
        entry += entries * ROW;
        look_up(y, entry, entries, ROW, W, 1, window_at(exponent, words, bits, position, window));
        from_slot(sum, g.y1);
        UNROLL for (u32 j = 0; j < DIGITS; j++) sum[j] += y[DIGITS + j];
        settle(sum);
        LANE_BARRIER();
        to_slot(g.y0, y);
        to_slot(g.y1, sum);
        multiply_single(&g, x);
        summed++;
    }
    deliver_element(&g, out, x, count);
}
#endif

#if SQUARE
/* out[i] = (1 + m*n) * times[i], or times 1 without has_times, for messages m of W normal digits: (t0, t1 + t0*m).
   `constants`: the row R^2 mod n, then R as an element, whose x0 is R mod n. With M = m*R mod n, the sum is one reduction of
   t0*M + t1*R. */
KERNEL(encode)(GLOBAL u32* out, GLOBAL const u32* times, u32 has_times, GLOBAL const u32* messages,
               GLOBAL const u32* constants, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    GLOBAL const u32* one = constants + W;
    u32 x[ELEMENT], message[DIGITS];
    fetch(slots, messages, OWN, messages, W, 0, count);
    from_slot(message, g.y0);
    fetch_element(&g, has_times ? times : one, has_times ? OWN : SHARED, one, count);
    element_from_slots(&g, x);
    multiply_one_plus(&g, x, message, constants, count);
    deliver_element(&g, out, x, count);
}

/* digits[i] = (x - 1) // n mod n for the residue x = a[i]: its x1, less 1 modulo n where x0 = 0. n is odd, so that n - 1
   differs from n in digit 0 alone. */
KERNEL(export_quotient)(GLOBAL u32* digits, GLOBAL const u32* a, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT];
    fetch_element(&g, a, OWN, a, count);
    element_from_slots(&g, x);
    canonical_element(&g, x);
    const u32 zero = is_zero(x);
    UNROLL for (u32 j = 0; j < DIGITS; j++) x[DIGITS + j] += (g.n[j] - (u32)(LANE == 0 && j == 0)) & zero;
    normalise(x + DIGITS);
    subtract_once(x + DIGITS, g.n);
    to_slot(g.y0, x + DIGITS);
    deliver(digits, slots, W, 0, count);
}
#endif
