/* Products of the runs of equal keys in sorted rows, for any number of runs in work that the sizes alone decide.

   Integers as in integer.c, which see; out buffers may not be operands here. */
#include "digits.h"
#include "montgomery.h"
#include "element.h"

#if SHORT_STEPS /* which take registers, as the walk does */
#undef RESIDENT
#define RESIDENT 3
#endif

/* Registers <- the element at `row`, and back, by the lanes themselves: seldom enough that it need not go through slots. */
DEVICE void load_element(u32* x, GLOBAL const u32* rows, u64 row) {
    GLOBAL const u32* from = rows + row * ROW + LANE * DIGITS;
    UNROLL for (u32 j = 0; j < DIGITS; j++) {
        x[j] = from[j];
        if (SQUARE) x[DIGITS + j] = from[W + j];
    }
}

DEVICE void store_element(GLOBAL u32* rows, u64 row, const u32* x) {
    GLOBAL u32* to = rows + row * ROW + LANE * DIGITS;
    UNROLL for (u32 j = 0; j < DIGITS; j++) {
        to[j] = x[j];
        if (SQUARE) to[W + j] = x[DIGITS + j];
    }
}

/* The slots of every integer of the block <- the element at the row that its first lane chose. */
DEVICE void fetch_chosen(const Group* g, LOCAL u32* chosen, GLOBAL const u32* rows, u32 row) {
    BARRIER();
    if (LANE == 0) chosen[INTEGER] = row;
    BARRIER();
    ROLLED for (u32 step = 0; step < ELEMENT; step += BATCH) { /* as in `fetch` */
        u32 moved[BATCH];
        UNROLL for (u32 b = 0; b < BATCH; b++) {
            const u32 k = (step + b) * BLOCK + THREAD_ID, integer = k / (PARTS * W), word = k % (PARTS * W);
            if (step + b < ELEMENT) moved[b] = rows[chosen[integer] * ROW + word];
        }
        UNROLL for (u32 b = 0; b < BATCH; b++) {
            const u32 k = (step + b) * BLOCK + THREAD_ID, integer = k / (PARTS * W), word = k % (PARTS * W), part = word / W;
            if (step + b < ELEMENT) g->slots[part * SLOT_DISTANCE + integer * PITCH + word - part * W] = moved[b];
        }
    }
    BARRIER();
}

/* A run's product to the carries, as number i with its key, where `kept`; else to its bucket. */
DEVICE void store_run(GLOBAL u32* rows, GLOBAL u32* carry_keys, u32 kept, u32 i, u64 bucket, u32 key, const u32* x) {
    store_element(rows, kept ? i : bucket, x);
    if (kept && LANE == 0) carry_keys[i] = key;
}

/* `keys`: rows of `positions` keys below bucket_count, sorted. Key i of a row belongs to element order[row][i] of `values`,
   or to element row*positions + i where ordered = 0. A row is cut into `chunks` chunks of `chunk` positions, a group each,
   which walks through them with one product a position: at a run's end the running product starts at 1 again.

   The product of a run that starts within a chunk goes to buckets[row][key], where no other goes: runs are in order, so
   that each starts once. The run that a chunk begins with may have started before: its product goes to carry[row][chunk]
   and its key to carry_keys, sorted again, for another round. Where chunks = 1 it goes to the buckets too. Buckets whose
   key no run has keep what they held. */
KERNEL(segment_chunks)(GLOBAL u32* buckets, GLOBAL u32* carry, GLOBAL u32* carry_keys, GLOBAL const u32* values,
                       GLOBAL const u32* order, u32 ordered, GLOBAL const u32* keys, u32 positions, u32 chunk, u32 chunks,
                       u32 bucket_count, GLOBAL const u32* one, GLOBAL const u32* modulus, u32 inverse, u32 count) {
    WORKSPACE
    LOCAL_ARRAY u32 chosen[INTEGERS];
    const Group g = group_of(slots, held, modulus, inverse);
    u32 i = BLOCK_ID * INTEGERS + INTEGER;
    const u32 writes = i < count;
    if (i >= count) i = count - 1;
    const u32 row = i / chunks, begin = i % chunks * chunk;
    const u64 start = (u64)row * positions;
    u32 steps = positions - begin, key = keys[start + begin], kept = chunks > 1;
    if (steps > chunk) steps = chunk;
    u32 x[ELEMENT];
    load_element(x, one, 0);
    for (u32 s = 0; s < chunk; s++) { /* all groups of a block together; past its last step a group's x means nothing */
        const u64 at = start + begin + (s < steps ? s : 0);
        if (s < steps && keys[at] != key) {
            if (writes) store_run(kept ? carry : buckets, carry_keys, kept, i, (u64)row * bucket_count + key, key, x);
            kept = 0;
            key = keys[at];
            load_element(x, one, 0);
        }
        fetch_chosen(&g, chosen, values, ordered ? order[at] : (u32)at);
        multiply_element(&g, x);
        if (s + 1 == steps && writes)
            store_run(kept ? carry : buckets, carry_keys, kept, i, (u64)row * bucket_count + key, key, x);
    }
}
