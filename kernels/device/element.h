/* Residues modulo n (SQUARE = 0), or modulo n^2 as x = x0 + x1*n (SQUARE = 1), in Montgomery form: the residue a is held
   as a*R, R = 2^(RADIX W) >= 64 n.

   Modulo n. Values are lazy: below 2n. REDC(v) = (v + m*n)/R with m < R is below v/R + n, so that the product of
   x < A n and y < B n is below (A*B/64 + 1) n: lazy again whenever A*B <= 64.

   Modulo n^2, five half-size products instead of eight. Let m = -x0*y0/n mod R and t = (x0*y0 + m*n)/R, which is what a
   Montgomery product modulo n computes. Then x0*y0 = t*R - m*n exactly, so that modulo n^2

       x*y/R = (x0*y0 + (x0*y1 + x1*y0)*n)/R = t + n * (x0*y1 + x1*y0 - m)/R

   and the bracket counts modulo n only: one reduction of a sum of two products. -m is non-negative as (R - 1 - m) + c with
   c = -(R - 1) mod n: R - 1 - m has the digits 2^RADIX - 1 - m_j, and c is a constant that comes with n. The bracket is
   below 2AB n^2 + R + n for components below A n and B n, so that z1 < (2AB/64 + 1 + 1/64) n + 1: lazy whenever AB <= 30,
   and t as above. A square needs x0*x0, m*n, 2 x0*x1 and m'*n: four half-size products. (The symmetric half of x0*x0
   cannot be saved: which register a row begins at would change with the row.)

   Columns. A pass adds at most three terms of W products: x0*y1, x1*y0 and m*n; a square's 2 x0*x1 counts twice. Digits of
   operands are therefore almost normal always, as everything below leaves them. */

/* What a lane knows of its integer and the modulus. `n`, `c`: this lane's digits. */
typedef struct {
    LOCAL u32* slots; /* of the block */
    LOCAL u32* y0;    /* this integer's slots; a product's second operand is read here */
    LOCAL u32* y1;
    LOCAL u32* m;
    LOCAL const u32* n;
    LOCAL const u32* c;
    LOCAL const u32* modulus; /* all digits of n */
    u32 inverse;              /* -1/n mod 2^RADIX */
} Group;

#define WORKSPACE                                 \
    LOCAL_ARRAY u32 slots[SLOTS * SLOT_DISTANCE]; \
    LOCAL_ARRAY u32 held[PARTS * W];

DEVICE Group group_of(LOCAL u32* slots, LOCAL u32* held, GLOBAL const u32* modulus, u32 inverse) {
    Group g;
    for (u32 k = 0; k < PARTS * W; k += BLOCK)
        if (k + THREAD_ID < PARTS * W) held[k + THREAD_ID] = modulus[k + THREAD_ID];
    BARRIER();
    g.slots = slots;
    g.y0 = slots + INTEGER * PITCH;
    g.y1 = g.y0 + SQUARE * SLOT_DISTANCE;
    g.m = g.y1 + SQUARE * SLOT_DISTANCE;
    g.modulus = held;
    g.n = held + LANE * DIGITS;
    g.c = g.n + SQUARE * W;
    g.inverse = inverse;
    return g;
}

/* Elements between device memory and the slots y0, y1, or the registers x (x0 then x1). */
DEVICE void fetch_element(const Group* g, GLOBAL const u32* rows, u32 choice, GLOBAL const u32* index, u32 count) {
    fetch(g->slots, rows, choice, index, ROW, 0, count);
    if (SQUARE) fetch(g->slots + SLOT_DISTANCE, rows, choice, index, ROW, W, count);
}

DEVICE void element_from_slots(const Group* g, u32* x) {
    from_slot(x, g->y0);
    if (SQUARE) from_slot(x + DIGITS, g->y1);
}

/* The slots' earlier readers have passed, and its later ones see all lanes' digits. */
DEVICE void element_to_slots(const Group* g, const u32* x) {
    LANE_BARRIER();
    to_slot(g->y0, x);
    if (SQUARE) to_slot(g->y1, x + DIGITS);
    LANE_BARRIER();
}

DEVICE void deliver_element(const Group* g, GLOBAL u32* rows, const u32* x, u32 count) {
    element_to_slots(g, x);
    deliver(rows, g->slots, ROW, 0, count);
    if (SQUARE) deliver(rows, g->slots + SLOT_DISTANCE, ROW, W, count);
}

#if SQUARE
/* Between the two passes: x0 <- t, kept in m's slot where the second pass needs no registers for it, and acc <- c - m + R - 1.
   Every lane has seen all of m, and reads and writes its own digits alone. */
DEVICE void turn(const Group* g, u64* acc) {
    u32 t[DIGITS];
    carry_columns(t, acc);
    LANE_BARRIER();
    clear(acc);
    UNROLL for (u32 j = 0; j < DIGITS; j++) acc[ROWS + j] = (u64)(MASK - g->m[LANE * DIGITS + j]) + g->c[j];
    to_slot(g->m, t);
}
#endif

/* x <- x*y/R with y in the slots, where it stays. */
LONG_DEVICE void multiply_element(const Group* g, u32* x) {
    u64 acc[COLUMNS];
    clear(acc);
    LANE_BARRIER();
    pass(acc, 1, x, g->y0, x, g->y0, 1, g->n, g->inverse, SQUARE, g->m);
#if SQUARE
    turn(g, acc);
    pass(acc, 2, x, g->y1, x + DIGITS, g->y0, 1, g->n, g->inverse, 0, g->m);
    carry_columns(x + DIGITS, acc);
    from_slot(x, g->m);
#else
    carry_columns(x, acc);
#endif
}

/* x <- x*x/R; the slots are overwritten. */
LONG_DEVICE void square_element(const Group* g, u32* x) {
    u64 acc[COLUMNS];
    clear(acc);
    element_to_slots(g, x);
    pass(acc, 1, x, g->y0, x, g->y0, 1, g->n, g->inverse, SQUARE, g->m);
#if SQUARE
    turn(g, acc);
    UNROLL for (u32 j = 0; j < DIGITS; j++) x[j] += x[j];
    pass(acc, 1, x, g->y1, x, g->y1, 1, g->n, g->inverse, 0, g->m);
    carry_columns(x + DIGITS, acc);
    from_slot(x, g->m);
#else
    carry_columns(x, acc);
#endif
}

/* x <- x/R, out of Montgomery form: components at most n and, of a square, n + 1. */
LONG_DEVICE void reduce_element(const Group* g, u32* x) {
    u64 acc[COLUMNS];
    start_from(acc, x);
    LANE_BARRIER();
    pass(acc, 0, x, g->y0, x, g->y0, 1, g->n, g->inverse, SQUARE, g->m);
#if SQUARE
    turn(g, acc);
    UNROLL for (u32 j = 0; j < DIGITS; j++) acc[ROWS + j] += x[DIGITS + j];
    pass(acc, 0, x, g->y0, x, g->y0, 1, g->n, g->inverse, 0, g->m);
    carry_columns(x + DIGITS, acc);
    from_slot(x, g->m);
#else
    carry_columns(x, acc);
#endif
}

/* x <- x + y with y in the slots, a digit at a time; components below 2^(RADIX W). */
DEVICE void add_element(const Group* g, u32* x) {
    UNROLL for (u32 j = 0; j < DIGITS; j++) x[j] += g->y0[LANE * DIGITS + j];
    settle(x);
#if SQUARE
    UNROLL for (u32 j = 0; j < DIGITS; j++) x[DIGITS + j] += g->y1[LANE * DIGITS + j];
    settle(x + DIGITS);
#endif
}

/* x <- the residue itself, canonical: x0 below n, x1 below n, normal digits. Of a square, x0 = n (which the reduction may
   leave for 0) becomes 0 and carries into x1 <= n + 1, so that one subtraction of n is enough there too. */
DEVICE void canonical_element(const Group* g, u32* x) {
    reduce_element(g, x);
    normalise(x);
    const u32 carried = subtract_once(x, g->n);
#if SQUARE
    x[DIGITS] += carried & (u32)(LANE == 0);
    normalise(x + DIGITS);
    subtract_once(x + DIGITS, g->n);
#else
    (void)carried;
#endif
}
