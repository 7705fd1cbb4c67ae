/* Sorting for Pippenger's buckets: keys from the magnitudes of public or own operands, then a counting sort of each row of
   keys. Addresses depend on keys; what runs depends on sizes alone.

   A row is one window of one output, its positions are the bases: row t*outputs + o holds digit t of output o's
   magnitudes. Keys are below `buckets`. */

DEVICE u64 global_thread(void) { return (u64)BLOCK_ID * BLOCK + THREAD_ID; }

/* The `window` bits of a magnitude from bit `at` on, window <= 32; above its last word they are 0. */
DEVICE u32 bits_at(GLOBAL const u32* magnitude, u32 words, u32 at, u32 window) {
    const u32 word = at / 32, shift = at % 32;
    u64 pair = word < words ? magnitude[word] : 0;
    if (word + 1 < words) pair |= (u64)magnitude[word + 1] << 32;
    return (u32)(pair >> shift & (((u64)1 << window) - 1));
}

/* keys[row][j] = digit + 2^window * sign, of magnitudes (outputs, positions, words) and signs (outputs, positions), which
   are absent where has_signs is 0. A thread a key. */
KERNEL(keys_from_magnitudes)(GLOBAL u32* keys, GLOBAL const u32* magnitudes, GLOBAL const u8* negative, u32 has_signs, u32 words,
                   u32 window, u32 positions, u32 outputs, u64 count) {
    const u64 thread = global_thread();
    if (thread >= count) return;
    const u32 row = (u32)(thread / positions);
    const u64 scalar = (u64)(row % outputs) * positions + thread % positions;
    const u32 digit = bits_at(magnitudes + scalar * words, words, row / outputs * window, window);
    keys[thread] = digit + (has_signs ? (u32)negative[scalar] << window : 0);
}

/* counts[row][key] goes up by the number of its keys, and ranks[i] is how many were counted before key i. */
KERNEL(rank)(GLOBAL u32* counts, GLOBAL u32* ranks, GLOBAL const u32* keys, u32 positions, u32 buckets, u64 count) {
    const u64 thread = global_thread();
    if (thread < count) ranks[thread] = ATOMIC_INCREMENT(&counts[thread / positions * buckets + keys[thread]]);
}

/* Each row of counts becomes its exclusive sums: where each bucket starts. A block a row, a thread a stretch of it. */
KERNEL(scan)(GLOBAL u32* counts, u32 buckets) {
    LOCAL_ARRAY u32 sums[BLOCK];
    GLOBAL u32* row = counts + (u64)BLOCK_ID * buckets;
    const u32 stretch = (buckets + BLOCK - 1) / BLOCK;
    u32 first = THREAD_ID * stretch, last = first + stretch;
    if (first > buckets) first = buckets;
    if (last > buckets) last = buckets;
    u32 sum = 0;
    for (u32 b = first; b < last; b++) sum += row[b];
    sums[THREAD_ID] = sum;
    BARRIER();
    u32 start = 0;
    for (u32 t = 0; t < THREAD_ID; t++) start += sums[t];
    for (u32 b = first; b < last; b++) {
        const u32 held = row[b];
        row[b] = start;
        start += held;
    }
}

/* order[row] lists the row's positions by key, sorted[row] their keys. A thread a key. */
KERNEL(scatter)(GLOBAL u32* order, GLOBAL u32* sorted, GLOBAL const u32* keys, GLOBAL const u32* ranks,
                GLOBAL const u32* starts, u32 positions, u32 buckets, u64 count) {
    const u64 thread = global_thread();
    if (thread >= count) return;
    const u64 row = thread / positions;
    const u32 key = keys[thread];
    const u64 at = row * positions + starts[row * buckets + key] + ranks[thread];
    order[at] = (u32)(thread % positions);
    sorted[at] = key;
}
