/* The device functions below the kernels of `integer`, one at a time, for tests. An integer has a row of W words or columns. */
DEVICE u64 own_digits(void) { return ((u64)BLOCK_ID * INTEGERS + INTEGER) * W + LANE * DIGITS; }

/* columns <- (columns + x*u + y*v + m*n)/R, low <- m; see `pass`. */
KERNEL(run_pass)(u64* columns, const u32* x, const u32* u, const u32* y, const u32* v, u32* low, u32 products, u32 reduce,
                 u32 keep, const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    const Group g = group_of(slots, held, modulus, inverse);
    u64 acc[COLUMNS];
    clear(acc);
    for (u32 j = 0; j < DIGITS; j++) acc[ROWS + j] = columns[own_digits() + j];
    fetch(slots, u, OWN, u, W, 0, count);
    fetch(slots + SLOT_DISTANCE, v, OWN, v, W, 0, count);
    pass(acc, products, x + own_digits(), g.y0, y + own_digits(), g.y1, reduce, g.n, inverse, keep, g.m);
    for (u32 j = 0; j < DIGITS; j++) columns[own_digits() + j] = acc[ROWS + j];
    if (keep) deliver(low, slots + 2 * SLOT_DISTANCE, W, 0, count);
}

KERNEL(run_carry_columns)(u32* out, const u64* columns) {
    u64 acc[COLUMNS];
    clear(acc);
    for (u32 j = 0; j < DIGITS; j++) acc[ROWS + j] = columns[own_digits() + j];
    carry_columns(out + own_digits(), acc);
}

KERNEL(run_normalise)(u32* x) { normalise(x + own_digits()); }

KERNEL(run_settle)(u32* x) { settle(x + own_digits()); }

/* flags: what each lane was told */
KERNEL(run_subtract_once)(u32* x, u32* flags, const u32* modulus) {
    flags[BLOCK_ID * BLOCK + THREAD_ID] = subtract_once(x + own_digits(), modulus + LANE * DIGITS);
}

KERNEL(run_is_zero)(u32* flags, const u32* x) { flags[BLOCK_ID * BLOCK + THREAD_ID] = is_zero(x + own_digits()); }

/* Rows there and back through slots and registers. */
KERNEL(run_move)(u32* out, const u32* rows, u32 choice, const u32* index, u32 stride, u32 offset, u32 count) {
    LOCAL_ARRAY u32 slots[SLOTS * SLOT_DISTANCE];
    u32 x[DIGITS];
    fetch(slots, rows, choice, index, stride, offset, count);
    from_slot(x, slots + INTEGER * PITCH);
    LANE_BARRIER();
    to_slot(slots + INTEGER * PITCH, x);
    deliver(out, slots, stride, offset, count);
}

/* A kernel that goes wrong as asked: 1, some lanes leave early; 2, some go another way; 3, one warp skips a barrier. */
KERNEL(run_wrong)(u32* out, u32 wrong) {
    if (wrong == 1 && LANE == 1) return;
    if (wrong == 2 && LANE == 0)
        LANE_BARRIER();
    else
        LANE_BARRIER();
    if (wrong != 3 || THREAD_ID < 32) BARRIER();
    out[BLOCK_ID * BLOCK + THREAD_ID] = SHUFFLE(THREAD_ID, LANES - 1);
}
