/* Rows of words on their way from one place to another, and the index lists that other kernels follow.

   Place i of a pattern (inner, outer, step) is (i / inner) * outer + (i % inner) * step: a stretch, a transpose, one half
   of each group and a row repeated are all of them patterns. Everything here is public but the words moved. */

DEVICE u64 global_thread(void) { return (u64)BLOCK_ID * BLOCK + THREAD_ID; }

/* 64-bit division is a long routine on GPUs, and few buffers need it. */
DEVICE u64 quotient(u64 a, u32 b) { return a >> 32 == 0 ? (u64)((u32)a / b) : a / b; }

/* out row out_at + i = in row in_at + place i, rows of `words` words; a thread a word. */
KERNEL(move_rows)(GLOBAL u32* out, u64 out_at, GLOBAL const u32* in, u64 in_at, u32 inner, u32 outer, u32 step, u32 words,
             u64 count) {
    const u64 thread = global_thread();
    if (thread >= count * words) return;
    const u64 i = quotient(thread, words), word = thread - i * words;
    const u64 group = quotient(i, inner), within = i - group * inner;
    out[out_at * words + thread] = in[(in_at + group * outer + within * step) * words + word];
}

/* out[i] = first + place i, modulo 2^32. */
KERNEL(places)(GLOBAL u32* out, u32 first, u32 inner, u32 outer, u32 step, u32 count) {
    const u64 thread = global_thread();
    if (thread >= count) return;
    const u32 i = (u32)thread;
    out[i] = first + i / inner * outer + i % inner * step;
}
