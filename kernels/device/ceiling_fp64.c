/* The rate of double-precision multiply-adds, beside `ceiling.c` and apart from it: some devices have no doubles. */

#define CHAINS 8

KERNEL(double_multiply_add)(GLOBAL u64 *RESTRICT out, u32 seed, u32 rounds, u32 count) {
    u32 thread = BLOCK_ID * BLOCK + THREAD_ID;
    double b = 0.5 + 0.25 / (double)(seed | 1u), c = (double)(thread + 1u); /* b < 1: no chain grows without bound */
    double acc[CHAINS], sum = 0.0;
    UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] = (double)(j + 1);
    for (u32 i = 0; i < rounds; i++) {
        UNROLL for (i32 j = 0; j < CHAINS; j++) acc[j] = fma(acc[(j + 1) % CHAINS], b, c);
    }
    UNROLL for (i32 j = 0; j < CHAINS; j++) sum += acc[j];
    if (thread < count) out[thread] = (u64)(i64)sum;
}
