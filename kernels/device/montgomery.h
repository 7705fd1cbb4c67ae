/* Products in columns, with Montgomery's reduction between the rows (P. Montgomery 1985; the digit-wise choice of m is
   "FIOS" in Koc, Acar and Kaliski 1996), spread over LANES threads.

   Between two steps of ROWS rows, register acc[ROWS + j] of lane l holds the column l*DIGITS + j above the lowest that is
   left. A step moves everything ROWS columns down, adds x[j]*u[i + r] into acc[j + r], lets lane 0 choose each m_r, and
   adds n[j]*m_r likewise. Every lane then carries through its columns 0 .. ROWS-1, so that a digit is left of each. Lane
   0's are 0, which is what m was chosen for; every other lane's belong to the lane below, as its columns DIGITS ..
   DIGITS + ROWS - 1. They are passed around in a ring, where the last lane gets lane 0's zeros.

   No column overflows. It gathers at most W products of each term; a term is x*u with digits up to D each, or m*n. The
   terms of one pass, counted with multiplicity where digits were doubled or added, are at most three, and start values
   and carries from below add less than 2^39:  3 W D^2 + 2^39 < 2^64  holds for W <= 84 at RADIX = 28 and W <= 336 at
   RADIX = 27.

   A product of W by W digits costs W^2 wide multiply-adds, a reduction as many; and per integer W choices of m. */
#if (RADIX == 28 && LANES * DIGITS > 84) || (RADIX == 27 && LANES * DIGITS > 336) || RADIX > 28 || RADIX < 27
#error "columns of 64 bits do not hold that many products"
#endif
#define COLUMNS (DIGITS + ROWS)

/* Where a step is short, two of them leave a compiler room to move columns by naming other registers. */
#define SHORT_STEPS (ROWS < 3 && DIGITS < 20)
#if SHORT_STEPS
#define STEPS UNROLL_TWICE
#else
#define STEPS ROLLED
#endif

/* acc[j] += x[j]*digit. The highest column is new in every row but the first: a product, not a sum. */
DEVICE void add_row(u64* acc, const u32* x, u32 digit, u32 new_column) {
    UNROLL for (u32 j = 0; j < DIGITS - 1; j++) MULTIPLY_ADD(acc[j], x[j], digit);
    if (new_column)
        acc[DIGITS - 1] = MULTIPLY(x[DIGITS - 1], digit);
    else
        MULTIPLY_ADD(acc[DIGITS - 1], x[DIGITS - 1], digit);
}

/* acc <- (acc + x*u + y*v + m*n) / R for products = 2; without y*v for 1; without x*u as well for 0. `low` (where
   keep = 1) gets the digits of m. With reduce = 0 there is no m*n, the quotient is rounded down, and `low` gets the W
   digits of the remainder. u, v and low are whole slots; x, y and n are this lane's digits. */
DEVICE void pass(u64* acc, u32 products, const u32* x, LOCAL const u32* u, const u32* y, LOCAL const u32* v, u32 reduce,
                 LOCAL const u32* n, u32 inverse, u32 keep, LOCAL u32* low) {
    STEPS for (u32 i = 0; i < W; i += ROWS) {
        u32 m[ROWS];
        UNROLL for (u32 j = 0; j < DIGITS; j++) acc[j] = acc[j + ROWS];
        UNROLL for (u32 r = 0; r < ROWS; r++) {
            acc[DIGITS + r] = 0;
            if (products > 0) add_row(acc + r, x, u[i + r], r > 0);
        }
        UNROLL for (u32 r = 0; r < ROWS; r++)
            if (products > 1) add_row(acc + r, y, v[i + r], 0);
        /* Lane 0's lowest columns need only n's lowest digits before the next m can be chosen. */
        UNROLL for (u32 r = 0; r < ROWS; r++) {
            if (reduce) {
                m[r] = SHUFFLE(((u32)acc[r] * inverse) & MASK, 0);
                UNROLL for (u32 q = 0; q < ROWS - r; q++) MULTIPLY_ADD(acc[q + r], n[q], m[r]);
            }
            acc[r + 1] += acc[r] >> RADIX;
            if (keep && LANE == 0) low[i + r] = reduce ? m[r] : (u32)acc[r] & MASK;
        }
        if (reduce) {
            UNROLL for (u32 q = 1; q < ROWS; q++) {
                const u32 digit = n[q];
                UNROLL for (u32 r = ROWS - q; r < ROWS; r++) MULTIPLY_ADD(acc[q + r], digit, m[r]);
            }
            UNROLL for (u32 q = ROWS; q < DIGITS; q++) {
                const u32 digit = n[q];
                UNROLL for (u32 r = 0; r < ROWS; r++) MULTIPLY_ADD(acc[q + r], digit, m[r]);
            }
        }
#if LANES > 1
        UNROLL for (u32 r = 0; r < ROWS; r++) {
            const u32 digit = reduce || LANE != 0 ? (u32)acc[r] & MASK : 0;
            acc[DIGITS + r] += SHUFFLE(digit, LANE + 1);
        }
#endif
    }
}

DEVICE void clear(u64* acc) {
    UNROLL for (u32 j = 0; j < COLUMNS; j++) acc[j] = 0;
}

/* acc <- an integer's digits */
DEVICE void start_from(u64* acc, const u32* x) {
    clear(acc);
    UNROLL for (u32 j = 0; j < DIGITS; j++) acc[ROWS + j] = x[j];
}

/* Almost normal digits of what a pass leaves: each lane carries through its columns, and what leaves it, less than
   2^(64 - RADIX), goes to the next lane's digits 0 and 1. Digits 0 and 1 are made normal again; digit 2 gets at most 1, so
   that no digit exceeds 2^RADIX. */
DEVICE void carry_columns(u32* x, const u64* acc) {
    u64 carry = 0;
    UNROLL for (u32 j = 0; j < DIGITS; j++) {
        carry += acc[ROWS + j];
        x[j] = (u32)carry & MASK;
        carry >>= RADIX;
    }
#if LANES > 1
    carry = SHUFFLE_FROM_PREVIOUS(carry);
    u32 sum = x[0] + ((u32)carry & MASK);
    x[0] = sum & MASK;
    sum = x[1] + (u32)(carry >> RADIX) + (sum >> RADIX);
    x[1] = sum & MASK;
    x[2] += sum >> RADIX;
#endif
}
