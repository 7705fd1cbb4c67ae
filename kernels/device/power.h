/* Fixed windows of an exponent and tables of an element's powers. The lookup reads every entry: which one it keeps
   shows in no branch and no address. */

/* Bits position .. position + window - 1 of an exponent of `words` words, without those from bit `bits` on. */
DEVICE u32 window_at(GLOBAL const u32* exponent, u32 words, u32 bits, u32 position, u32 window) {
    const u32 word = position / 32, width = bits - position < window ? bits - position : window;
    u64 both = 0;
    if (word < words) both = exponent[word];
    if (word + 1 < words) both |= (u64)exponent[word + 1] << 32;
    return (u32)(both >> position % 32) & ((1u << width) - 1);
}

/* x <- entry `digit` of `entries`; this lane's digit j of part p stands at table[e*entry + p*part + j*step]. */
DEVICE void look_up(u32* x, GLOBAL const u32* table, u32 entries, u64 entry, u64 part, u32 step, u32 digit) {
    UNROLL for (u32 p = 0; p < PARTS; p++) {
        GLOBAL const u32* row = table + p * part;
        UNROLL for (u32 j = 0; j < DIGITS; j++) x[p * DIGITS + j] = 0;
        for (u32 e = 0; e < entries; e++) {
            const u32 difference = e ^ digit; /* below 2^31: its negative has the top bit exactly where it is not 0 */
            const u32 mask = ((0u - difference) >> 31) - 1;
            UNROLL for (u32 j = 0; j < DIGITS; j++) x[p * DIGITS + j] |= row[j * step] & mask;
            row += entry;
        }
    }
}

#if SQUARE
/* Logarithmic form: t = t0 + t1*n is t0 * (1 + u*n) modulo n^2 with u = t1/t0 modulo n, kept as (t0, u), u below n in
   normal digits. A product of such elements is the product of their t0 times 1 + n * (the sum of their u): of the five
   half products of an element's product one is saved, for an addition. A sum of SUMMED of them stays below 64 n <= R. */
#define SUMMED 60

/* x <- x*t0/R with t0 in the slot y0: the product of `element.h` with y1 = 0. */
LONG_DEVICE void multiply_single(const Group* g, u32* x) {
    u64 acc[COLUMNS];
    clear(acc);
    LANE_BARRIER();
    pass(acc, 1, x, g->y0, x, g->y0, 1, g->n, g->inverse, 1, g->m);
    turn(g, acc);
    pass(acc, 1, x + DIGITS, g->y0, x, g->y0, 1, g->n, g->inverse, 0, g->m);
    carry_columns(x + DIGITS, acc);
    from_slot(x, g->m);
}

/* x <- x * (1 + sum*n), the sum below 64 n in almost normal digits: x1 grows by x0*sum, as one reduction of x0*(sum*R) and
   x1*R. `constants`: R^2 mod n, then 1 as an element, whose x0 is R mod n. The slots are overwritten; x1 waits in one while
   registers are short. */
LONG_DEVICE void multiply_one_plus(const Group* g, u32* x, u32* sum, GLOBAL const u32* constants, u32 count) {
    u64 acc[COLUMNS];
    fetch(g->slots, constants, SHARED, constants, W, 0, count);
    to_slot(g->y1, x + DIGITS);
    clear(acc);
    pass(acc, 1, sum, g->y0, sum, g->y0, 1, g->n, g->inverse, 0, g->m);
    carry_columns(sum, acc);
    from_slot(x + DIGITS, g->y1);
    fetch(g->slots + SLOT_DISTANCE, constants, SHARED, constants, ROW, W, count);
    to_slot(g->y0, sum);
    LANE_BARRIER();
    clear(acc);
    pass(acc, 2, x, g->y0, x + DIGITS, g->y1, 1, g->n, g->inverse, 0, g->m);
    carry_columns(x + DIGITS, acc);
}
#endif

/* A block's scratch: word k of thread t in entry e at (e*ELEMENT + k)*BLOCK + t, so that neighbours touch neighbours. */
DEVICE void keep_entry(GLOBAL u32* scratch, u32 e, const u32* x) {
    GLOBAL u32* row = scratch + (u64)e * (ELEMENT * BLOCK);
    UNROLL for (u32 k = 0; k < ELEMENT; k++) row[k * BLOCK] = x[k];
}

DEVICE void entry_at(u32* x, GLOBAL const u32* scratch, u32 e) {
    GLOBAL const u32* row = scratch + (u64)e * (ELEMENT * BLOCK);
    UNROLL for (u32 k = 0; k < ELEMENT; k++) x[k] = row[k * BLOCK];
}

DEVICE void power_entry(u32* x, GLOBAL const u32* scratch, u32 entries, u32 digit, u32 vartime) {
    if (vartime)
        entry_at(x, scratch, digit);
    else
        look_up(x, scratch, entries, ELEMENT * BLOCK, DIGITS * BLOCK, BLOCK, digit);
}

/* x <- a^exponent for this group's row of `a`: `window` squarings and a product for every window but the first, and
   2^window - 2 products for the table. The exponent's windows are taken from the top. */
DEVICE void raise_element(const Group* g, u32* x, GLOBAL const u32* a, GLOBAL const u32* exponents, u32 words, u32 shared,
                          u32 bits, u32 window, GLOBAL const u32* one, GLOBAL u32* scratch, u32 count, u32 vartime) {
    const u32 entries = 1u << window;
    const u32 last = bits == 0 ? 0 : (bits - 1) / window * window;
    u32 i = BLOCK_ID * INTEGERS + INTEGER;
    if (i >= count) i = count - 1;
    GLOBAL const u32* exponent = exponents + (shared ? 0 : (u64)i * words);
    GLOBAL u32* table = scratch + (u64)BLOCK_ID * entries * (ELEMENT * BLOCK) + THREAD_ID;
    fetch_element(g, one, SHARED, one, count);
    element_from_slots(g, x);
    keep_entry(table, 0, x);
    fetch_element(g, a, OWN, a, count);
    element_from_slots(g, x);
    keep_entry(table, 1, x);
    for (u32 e = 2; e < entries; e++) {
        multiply_element(g, x);
        keep_entry(table, e, x);
    }
    power_entry(x, table, entries, window_at(exponent, words, bits, last, window), vartime);
    for (u32 position = last; position > 0;) {
        u32 y[ELEMENT];
        position -= window;
        for (u32 k = 0; k < window; k++) square_element(g, x);
        power_entry(y, table, entries, window_at(exponent, words, bits, position, window), vartime);
        element_to_slots(g, y);
        multiply_element(g, x);
    }
}
