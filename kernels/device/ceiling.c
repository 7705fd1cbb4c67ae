/* What a device can do at best, in the instructions that everything else here is made of: `python -m hecore.bench gpu`
 * divides what it times by these rates. Nothing of the library launches them.
 *
 * Arithmetic: CHAINS independent chains a thread, `rounds` times over. No product is the same in two rounds, so that no
 * compiler may move one out of the loop; the machine code for compute capability 9.0 was looked at.
 * Memory: STRIDES words a thread, a whole launch apart, so that neighbours read neighbours and several loads are under
 * way at once. */

#define CHAINS 8
#define STRIDES 4

DEVICE u32 global_thread(void) { return BLOCK_ID * BLOCK + THREAD_ID; }

/* CHAINS * rounds times acc += (u64)a * b with 32-bit a and b, the step of `integer`: a row of a product a round. b wraps
 * around, so that the products are no arithmetic progression that additions could replace. */
KERNEL(multiply_add_wide)(GLOBAL u64 *RESTRICT out, u32 seed, u32 rounds, u32 count) {
    u32 thread = global_thread(), b = seed + thread, step = seed | 1u;
    u32 a[CHAINS];
    u64 acc[CHAINS];
    UNROLL for (i32 j = 0; j < CHAINS; j++) {
        a[j] = (seed ^ thread) * (2u * (u32)j + 3u);
        acc[j] = 0;
    }
    for (u32 i = 0; i < rounds; i++) {
        UNROLL for (i32 j = 0; j < CHAINS; j++) MULTIPLY_ADD(acc[j], a[j], b);
        b += step;
    }
    UNROLL for (i32 j = 1; j < CHAINS; j++) acc[0] ^= acc[j];
    if (thread < count) out[thread] = acc[0];
}

/* 32-bit products: acc += a * b. */
KERNEL(multiply_add_narrow)(GLOBAL u64 *RESTRICT out, u32 seed, u32 rounds, u32 count) {
    u32 thread = global_thread(), b = seed | 1u;
    u32 acc[CHAINS];
    UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] = seed * (thread + 1u) + (u32)j;
    for (u32 i = 0; i < rounds; i++) {
        UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] += acc[(j + 1) % CHAINS] * b;
    }
    UNROLL for (i32 j = 1; j < CHAINS; j++) acc[0] ^= acc[j];
    if (thread < count) out[thread] = acc[0];
}

/* The high half of a 64-bit product, and an addition: the step of a butterfly. */
KERNEL(multiply_high)(GLOBAL u64 *RESTRICT out, u32 seed, u32 rounds, u32 count) {
    u32 thread = global_thread();
    u64 b = (u64)seed << 32 | (seed ^ 0x9E3779B9u);
    u64 acc[CHAINS];
    UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] = b * (thread + 1u) + (u64)j;
    for (u32 i = 0; i < rounds; i++) {
        UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] += MUL_HIGH(acc[(j + 1) % CHAINS], b);
    }
    UNROLL for (i32 j = 1; j < CHAINS; j++) acc[0] ^= acc[j];
    if (thread < count) out[thread] = acc[0];
}

/* out = in, for `count` words. */
KERNEL(copy)(GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT in, u64 count, u64 threads) {
    u64 first = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    u64 word[STRIDES];
    UNROLL for (i32 j = 0; j < STRIDES; j++) {
        u64 at = first + (u64)j * threads;
        word[j] = in[at < count ? at : 0];
    }
    UNROLL for (i32 j = 0; j < STRIDES; j++) {
        u64 at = first + (u64)j * threads;
        if (at < count) out[at] = word[j];
    }
}

/* out = a + 3 b: two words read for each that is written. */
KERNEL(triad)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b, u64 count, u64 threads) {
    u64 first = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    u64 word[STRIDES];
    UNROLL for (i32 j = 0; j < STRIDES; j++) {
        u64 at = first + (u64)j * threads;
        word[j] = a[at < count ? at : 0] + 3 * b[at < count ? at : 0];
    }
    UNROLL for (i32 j = 0; j < STRIDES; j++) {
        u64 at = first + (u64)j * threads;
        if (at < count) out[at] = word[j];
    }
}
