/* A Montgomery product by double-precision fused multiply-adds, for cards whose FP64 units outrun their integer ones
 * (after Emmart, Zheng, Weems, "Faster modular exponentiation using double precision floating point arithmetic on the
 * GPU", ARITH 2018, with another split that needs no directed rounding). It is a candidate beside `integer.multiply`:
 * `python -m hecore.bench gpu` checks and times both on the card at hand.
 *
 * A residue is W = LANES * DIGITS digits of 51 bits in u64, plain form, R = 2^(51 W), 51 W >= bits(n) + 6.
 *
 * Exact split. For integers 0 <= a, b <= D = 2^51 + 2^12, so that a b < 2^102 + 2^64 < 2^103:
 *   high = fma(a, b, 2^103)                     lies in [2^103, 2^104), where doubles are the multiples of 2^51:
 *                                               high = 2^103 + k 2^51 with |a b - k 2^51| <= 2^50 (round to nearest);
 *   low  = fma(a, b, (2^103 + 3*2^51) - high)   = (a b - k 2^51) + 3*2^51: the bracket is a multiple of 2^51 below 2^53
 *                                               of them and the difference exact; the sum lies in [2^52, 2^53), where
 *                                               doubles are the integers, hence exact as well.
 * Read as integers, the bit patterns are HIGH + k and LOW + (a b - k 2^51) with HIGH the pattern of 2^103 and LOW that of
 * 3*2^51. Columns add up patterns modulo 2^64; the multiples of HIGH and LOW in them depend on positions alone and come
 * off when columns move down. Both have their low 51 bits clear, so that they do not disturb a quotient digit.
 *
 * Column bound: each of the two products of a row adds |low| <= 2^50 and 0 <= k <= 2^51 + 2^13 to a column, over W rows less than
 * 2 W (2^51 + 2^50 + 2^13) < 2^60 for W <= 168 (8562 bits); columns are signed. */

#define RADIX 51
#define W (LANES * DIGITS)
#define MASK (((u64)1 << RADIX) - 1)
#define GROUPS (BLOCK / LANES)
#define COLUMNS (DIGITS + ROWS)

#define TWO_103 10141204801825835211973625643008.0 /* 2^103 */
#define SPLIT 6755399441055744.0                   /* 3 * 2^51 */
#define HIGH ((u64)0x466 << 52)
#define LOW (((u64)0x433 << 52) | ((u64)1 << 51))

/* column[j] += low, column[j + 1] += high, with their patterns' offsets */
DEVICE void add_product(u64 *column, double a, double b) {
    double high = fma(a, b, TWO_103);
    double low = fma(a, b, (TWO_103 + SPLIT) - high);
    column[0] += DOUBLE_BITS(low);
    column[1] += DOUBLE_BITS(high);
}

/* What the offsets add to column c in `rows` rows from row 0 of a pass on, two products a row: one LOW for each row i
 * with 0 <= c - i < DIGITS, one HIGH for each with 0 <= c - 1 - i < DIGITS. Constants after unrolling. */
DEVICE u64 overlap(i32 c, i32 rows) {
    i32 first = c - DIGITS + 1 > 0 ? c - DIGITS + 1 : 0;
    i32 last = c < rows - 1 ? c : rows - 1;
    return last < first ? 0 : (u64)(last - first + 1);
}
DEVICE u64 offset(i32 c, i32 rows) { return 2 * (LOW * overlap(c, rows) + HIGH * overlap(c - 1, rows)); }

/* out = a b / R mod n: out < 2n for a, b < 2n. `inverse` = -n^-1 mod 2^51. Digits of b are shared by LOCAL memory. */
KERNEL(multiply_fp64)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b, GLOBAL const u64 *RESTRICT modulus,
    u64 inverse, u32 count) {
    LOCAL_ARRAY double shared[GROUPS * W];
    u32 lane = THREAD_ID % LANES, group = THREAD_ID / LANES;
    u32 element = BLOCK_ID * GROUPS + group;
    u32 active = element < count;
    u64 at = (u64)(active ? element : count - 1) * W + lane * DIGITS;
    LOCAL double *digits = shared + group * W;
    double x[DIGITS], n[DIGITS];
    u64 column[COLUMNS];
    UNROLL for (i32 j = 0; j < DIGITS; j++) {
        x[j] = (double)a[at + j];
        n[j] = (double)modulus[lane * DIGITS + j];
        digits[lane * DIGITS + j] = (double)b[at + j];
    }
    UNROLL for (i32 j = 0; j < COLUMNS; j++) column[j] = 0;
    LANE_BARRIER();
    for (i32 i = 0; i < W; i += ROWS) {
        UNROLL for (i32 r = 0; r < ROWS; r++) {
            double y = digits[i + r];
            UNROLL for (i32 j = 0; j < DIGITS; j++) add_product(column + j + r, x[j], y);
            u32 quotient_low, quotient_high;
            u64 quotient = column[r] * inverse & MASK;
            quotient_low = SHUFFLE((u32)quotient, 0);
            quotient_high = SHUFFLE((u32)(quotient >> 32), 0);
            double m = (double)((u64)quotient_high << 32 | quotient_low);
            UNROLL for (i32 j = 0; j < DIGITS; j++) add_product(column + j + r, n[j], m);
            /* The first lane's column r is a multiple of 2^51 now and moves into the next; other lanes keep theirs. */
            u64 whole = column[r] - offset(r, r + 1);
            u64 carry = (u64)((i64)whole >> RADIX) & (u64)-(i64)(lane == 0);
            column[r + 1] += carry;
        }
        /* Move down by ROWS columns: the next lane's low columns are this lane's columns DIGITS … DIGITS + ROWS - 1. */
        u64 low[ROWS];
        UNROLL for (i32 r = 0; r < ROWS; r++) low[r] = SHUFFLE_FROM_NEXT(column[r] - offset(r, ROWS));
        UNROLL for (i32 j = 0; j < DIGITS; j++) {
            column[j] = column[j + ROWS] - offset(j + ROWS, ROWS);
            if (j + ROWS >= DIGITS) column[j] += low[j + ROWS - DIGITS];
        }
        UNROLL for (i32 j = DIGITS; j < COLUMNS; j++) column[j] = 0;
    }
    /* Carry within each lane, then through the lanes, one further a round. Columns are signed, and so is what a lane
     * sends; a lane may borrow in one round and be given back in a later one (all of them, for 0). What leaves the last
     * lane adds up to 0, because the product is not negative and below R. Digits end below 2^51. */
    i64 carry = 0;
    ROLLED for (i32 round = 0; round < LANES; round++) {
        if (round) carry = (i64)SHUFFLE_FROM_PREVIOUS((u64)carry);
        UNROLL for (i32 j = 0; j < DIGITS; j++) {
            i64 sum = (i64)column[j] + carry;
            column[j] = (u64)sum & MASK;
            carry = sum >> RADIX;
        }
    }
    UNROLL for (i32 j = 0; j < DIGITS; j++)
        if (active) out[at + j] = column[j];
}
