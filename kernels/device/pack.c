/* Rows of 64-bit limbs to rows of digits of `radix` (1 to 32) bits and back, both least significant first; rows moved; words set. */

DEVICE u64 global_thread(void) { return (u64)BLOCK_ID * BLOCK + THREAD_ID; }

/* A thread a digit: bits radix*d .. radix*d + radix - 1 lie in one limb or two; above the last limb they are 0. */
KERNEL(digits_from_limbs)(GLOBAL u32* digits, GLOBAL const u64* limbs, u32 limb_count, u32 digit_count, u32 radix,
                          u64 count) {
    const u64 thread = global_thread();
    if (thread >= count * digit_count) return;
    const u64 value = thread / digit_count, bit = (thread % digit_count) * radix;
    const u64 limb = bit / 64;
    const u32 offset = (u32)(bit % 64);
    u64 window = 0;
    if (limb < limb_count) window = limbs[value * limb_count + limb] >> offset;
    if (offset + radix > 64 && limb + 1 < limb_count) window |= limbs[value * limb_count + limb + 1] << (64 - offset);
    digits[thread] = (u32)(window & (((u64)1 << radix) - 1));
}

/* A thread a limb: the digits that reach into bits 64*k .. 64*k + 63, each below 2^radix. */
KERNEL(limbs_from_digits)(GLOBAL u64* limbs, GLOBAL const u32* digits, u32 digit_count, u32 limb_count, u32 radix,
                          u64 count) {
    const u64 thread = global_thread();
    if (thread >= count * limb_count) return;
    const u64 value = thread / limb_count, bit = (thread % limb_count) * 64;
    u64 limb = 0;
    for (u64 d = bit / radix; d < digit_count && d * radix < bit + 64; d++) {
        const u64 digit = digits[value * digit_count + d];
        limb |= d * radix >= bit ? digit << (d * radix - bit) : digit >> (bit - d * radix);
    }
    limbs[thread] = limb;
}

/* out[i] = in[index[i]], rows of `words` words; a thread a word. */
KERNEL(gather)(GLOBAL u32* out, GLOBAL const u32* in, GLOBAL const u32* index, u32 words, u64 count) {
    const u64 thread = global_thread();
    if (thread < count * words) out[thread] = in[(u64)index[thread / words] * words + thread % words];
}

KERNEL(fill)(GLOBAL u32* out, u32 value, u64 count) {
    const u64 thread = global_thread();
    if (thread < count) out[thread] = value;
}
