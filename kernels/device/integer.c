/* Batches of residues modulo an odd n or its square: a group of LANES threads an element.

   Every kernel ends with `modulus` = the rows [n][c] of W normal digits (see element.h; [n] alone where SQUARE is 0),
   `inverse` = -1/n mod 2^RADIX and `count`, the number of elements. Groups past `count` work on the last element and write
   nothing: no thread leaves before its neighbours. Elements are rows of PARTS*W words, components below 2n, digits almost
   normal; results are the same. `out` may be any operand that is not indexed. */
#include "digits.h"
#include "montgomery.h"
#include "element.h"

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
    u32 x[ELEMENT], y[ELEMENT];
    fetch_element(&g, a, OWN, a, count);
    element_from_slots(&g, x);
    fetch_element(&g, b, OWN, b, count);
    element_from_slots(&g, y);
    add_element(x, y);
    fetch_element(&g, one, SHARED, one, count);
    multiply_element(&g, x);
    deliver_element(&g, out, x, count);
}

/* out[i] = R * E * sum_c x_c R^c from digits of `chunks` chunks of W normal digits an element, the lowest chunk first.
   `constants`: the elements R^2 E, R^2 and R. Horner: z <- z*R + x_c, as products with R^2 and with R^2 E.
   A chunk is below R, not 2n: (x_c, 0) times a lazy element has components below 3n + 2; the sum with a lazy element is
   below 6n, which the next product takes. */
KERNEL(import_rows)(GLOBAL u32* out, GLOBAL const u32* digits, GLOBAL const u32* constants, u32 chunks,
                    GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u32 x[ELEMENT], z[ELEMENT];
    UNROLL for (u32 j = 0; j < ELEMENT; j++) z[j] = 0;
    for (u32 chunk = chunks; chunk-- > 0;) {
        fetch(slots, digits, OWN, digits, (u64)chunks * W, (u64)chunk * W, count);
        from_slot(x, g.y0);
        UNROLL for (u32 j = DIGITS; j < ELEMENT; j++) x[j] = 0;
        fetch_element(&g, constants, SHARED, constants, count);
        multiply_element(&g, x);
        if (chunk + 1 < chunks) {
            fetch_element(&g, constants + ROW, SHARED, constants, count);
            multiply_element(&g, z);
        }
        add_element(z, x);
    }
    fetch_element(&g, constants + 2 * ROW, SHARED, constants, count);
    multiply_element(&g, z);
    deliver_element(&g, out, z, count);
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
