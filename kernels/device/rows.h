/* How threads share residue polynomials: a thread takes two neighbouring places of one row of N residues, which it loads
 * and stores at once, and neighbouring threads take neighbouring pairs. N >= 16 is a power of two, `degree_log` its
 * logarithm; there are fewer than 2^32 rows (polynomials * moduli). Addresses count pairs. */
#define ITEMS 2

#define PAIRS(buffer) ((GLOBAL u64x2 *)(buffer))
#define CONST_PAIRS(buffer) ((GLOBAL const u64x2 *)(buffer))

DEVICE u64 thread_index(void) {
    return (u64)BLOCK_ID * BLOCK + THREAD_ID;
}

/* The row of a thread, and its pair there. */
DEVICE u32 row_of(u64 thread, u32 degree_log) {
    return (u32)(thread >> (degree_log - 1));
}

DEVICE u32 pair_of(u64 thread, u32 degree_log) {
    return (u32)thread & ((1u << (degree_log - 1)) - 1);
}

/* Where row `row` begins. */
DEVICE u64 row_start(u64 row, u32 degree_log) {
    return row << (degree_log - 1);
}

/* Which polynomial of an operand meets polynomial p of the result. The axes of the result, neighbours joined where the
 * operands run through both evenly, have extents extent0 (the last), extent1 and whatever is left; the operand takes
 * step0, step1, step2 along them, 0 where it is repeated. An extent of 0 says that there is no further axis. */
DEVICE u32 meeting(u32 p, u32 extent0, u32 extent1, u32 step0, u32 step1, u32 step2) {
    if (extent0 == 0) {
        return p * step0;
    }
    u32 rest = p / extent0, at = (p - rest * extent0) * step0;
    if (extent1 == 0) {
        return at + rest * step1;
    }
    u32 last = rest / extent1;
    return at + (rest - last * extent1) * step1 + last * step2;
}
