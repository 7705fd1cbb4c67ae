/* Signed scalars for Straus's method: signs without branches, and digits laid out as one long exponent an output. */

#define PLUS_PART 0
#define MINUS_PART 1
#define SHIFTED 2

DEVICE u64 global_thread(void) { return (u64)BLOCK_ID * BLOCK + THREAD_ID; }

/* Values of out_words words from magnitudes below 2^bits of `words` words and their signs; a thread a value.
   PLUS_PART: x where the sign is plus, else 0. MINUS_PART: |x| where it is minus, else 0. SHIFTED: x + 2^bits >= 0. */
KERNEL(signed_values)(GLOBAL u32* out, GLOBAL const u32* magnitudes, GLOBAL const u8* negative, u32 words, u32 out_words,
                      u32 form, u32 bits, u64 count) {
    const u64 thread = global_thread();
    if (thread >= count) return;
    const u32 minus = 0u - negative[thread];
    const u32 keep = form == SHIFTED ? 0xffffffffu : form == MINUS_PART ? minus : ~minus;
    const u32 flip = form == SHIFTED ? minus : 0; /* -x = ~x + 1 */
    u64 carry = flip & 1;
    for (u32 k = 0; k < out_words; k++) {
        const u32 word = k < words ? magnitudes[thread * words + k] & keep : 0;
        carry += word ^ flip;
        if (form == SHIFTED && k == bits / 32) carry += (u64)1 << bits % 32;
        out[thread * out_words + k] = (u32)carry;
        carry >>= 32;
    }
}

/* out[t*outputs + o]: digit t of output o's values at positions first .. first + positions - 1, `window` bits each, side by
   side. values (outputs, stride, words); window divides 32; a thread a packed word. */
KERNEL(packed_digits)(GLOBAL u32* out, GLOBAL const u32* values, u32 words, u32 window, u32 first, u32 positions, u32 stride,
                      u32 outputs, u32 packed, u64 count) {
    const u64 thread = global_thread();
    if (thread >= count) return;
    const u32 row = (u32)(thread / packed), each = 32 / window;
    const u32 at = row / outputs * window, place = (u32)(thread % packed) * each;
    GLOBAL const u32* digits = values + ((u64)(row % outputs) * stride + first) * words + at / 32;
    u32 sum = 0;
    for (u32 k = 0; k < each; k++) {
        if (place + k < positions && at / 32 < words) {
            const u32 digit = digits[(u64)(place + k) * words] >> at % 32 & (u32)(((u64)1 << window) - 1);
            sum |= digit << k * window;
        }
    }
    out[thread] = sum;
}
