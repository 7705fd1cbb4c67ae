/* Secret randomness, made where it is used and never seen elsewhere.
 *
 * Every launch has a key of its own from the operating system, so that counters begin at 0 and nonces are 0: two
 * launches share no stream, a retried launch repeats nothing, and a forked process has nothing that it could repeat.
 * Each thread takes one block of 512 bits. No branch and no address depends on a key or on what is drawn. */

#include "chacha.h"

#define GLOBAL_ID ((u64)BLOCK_ID * BLOCK + THREAD_ID)

/* Blocks first … first+count-1 of a stream, 16 words each: to check it against published vectors. */
KERNEL(stream)(
    GLOBAL u32 *RESTRICT out, GLOBAL const u32 *RESTRICT key, u64 first, u32 nonce_low, u32 nonce_high, u32 count
) {
    u64 thread = GLOBAL_ID;
    u32 x[16];
    u32 i;
    if (thread < count) {
        chacha20_block(x, key, first + thread, nonce_low, nonce_high);
        UNROLL
        for (i = 0; i < 16; i++) {
            out[16 * thread + i] = x[i];
        }
    }
}

/* out[e] = words e*16*B … of the stream as an integer of `words` words, cut to its low `bits` bits, B = ceil(words / 16):
 * uniform in [0, 2^bits) for bits <= 32 * words. Thread e*B + b makes words 16*b … of element e from block e*B + b. */
KERNEL(random_bits)(
    GLOBAL u32 *RESTRICT out, GLOBAL const u32 *RESTRICT key, u32 words, u32 bits, u32 count
) {
    u64 thread = GLOBAL_ID;
    u32 blocks = (words + 15) / 16; /* of an element */
    u64 element = thread / blocks;
    u32 start = (u32)(thread % blocks) * 16;
    u32 x[16];
    u32 i;
    if (element < count) {
        chacha20_block(x, key, thread, 0, 0);
        UNROLL
        for (i = 0; i < 16; i++) {
            u32 at = start + i;
            if (at < words) {
                u32 below = bits > 32 * at ? bits - 32 * at : 0; /* bits of the integer from this word on */
                u32 mask = below >= 32 ? 0xffffffffu : (1u << below) - 1;
                out[element * words + at] = x[i] & mask;
            }
        }
    }
}

/* Digits in {-1, 0, 1}. A block is a fraction U / 2^512 in [0, 1). Multiplying it by 3^10 splits off an integer, which
 * is 10 ternary digits, and leaves a fraction for the next 10: 22 times, 220 digits in all, the ternary expansion of
 * X = floor(U * 3^220 / 2^512).
 *
 * Each X in [0, 3^220) comes from floor or ceil(2^512 / 3^220) of the 2^512 equally likely U, so that its probability is
 * off 3^-220 by less than 2^-512. X stands for exactly one sequence of digits. All 220 together, and so whatever is
 * computed from them, are thus within a statistical distance of 3^220 * 2^-512 / 2 < 2^-164 of independent and exactly
 * uniform digits, those of 2^36 blocks (2^43 coefficients) within 2^-128. Rejection, which would be exact, has no bound
 * on its tries; cut off after a fixed number of them it has such a distance too, and takes more random bits.
 *
 * The digits of a value v < 3^10, highest first, come from a fraction of 32 bits in the same way. With
 * 72736 = 2^32 / 3^10 + e, 0 < e < 1, it is f = 72736*v = 2^32 * v / 3^10 + e*v, too large by less than one unit of the
 * last digit, 2^32 / 3^10 > 3^10 > e*v, so that every digit is right; and f <= 72736 * (3^10 - 1) < 2^32.
 *
 * Digit d of thread t goes to out[d*T + t], T = ceil(count / 220) threads: neighbours write side by side. */
#define TERNARY_DIGITS 10
#define TERNARY_GROUPS 22
#define TERNARY_POWER 59049u /* 3^10 */
#define TERNARY_SCALE 72736u /* floor(2^32 / 3^10) + 1 */

KERNEL(ternary)(GLOBAL i64 *RESTRICT out, GLOBAL const u32 *RESTRICT key, u64 count) {
    u64 thread = GLOBAL_ID;
    u64 threads = (count + TERNARY_DIGITS * TERNARY_GROUPS - 1) / (TERNARY_DIGITS * TERNARY_GROUPS);
    u64 at = thread;
    u32 x[16];
    u32 group;
    u32 i;
    if (thread < threads) {
        chacha20_block(x, key, thread, 0, 0);
        for (group = 0; group < TERNARY_GROUPS; group++) {
            u32 value = 0;
            UNROLL
            for (i = 0; i < 16; i++) {
                u64 product = (u64)x[i] * TERNARY_POWER + value;
                x[i] = (u32)product;
                value = (u32)(product >> 32);
            }
            value *= TERNARY_SCALE;
            UNROLL
            for (i = 0; i < TERNARY_DIGITS; i++) {
                u64 product = (u64)value * 3;
                if (at < count) {
                    out[at] = (i64)(product >> 32) - 1;
                }
                value = (u32)product;
                at += threads;
            }
        }
    }
}

/* How many bits are set, by sums of neighbours: no prelude has to know an instruction for it. */
DEVICE i64 bits_set(u64 word) {
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (i64)(word * 0x0101010101010101u >> 56);
}

/* Centred binomials: how many of 42 bits are set, less 21. Of the block's eight 64-bit words each gives a sample by its
 * low 42 bits, and each two neighbours one more by 22 of their other bits and 20: 12 samples of 504 bits.
 *
 * Sample s of thread t goes to out[s*T + t], T = ceil(count / 12) threads. */
#define BINOMIAL_SAMPLES 12
#define LOW_42 0x3ffffffffffu

KERNEL(binomial)(GLOBAL i64 *RESTRICT out, GLOBAL const u32 *RESTRICT key, u64 count) {
    u64 thread = GLOBAL_ID;
    u64 threads = (count + BINOMIAL_SAMPLES - 1) / BINOMIAL_SAMPLES;
    u64 at = thread;
    u32 x[16];
    u32 pair;
    if (thread < threads) {
        chacha20_block(x, key, thread, 0, 0);
        UNROLL
        for (pair = 0; pair < 4; pair++) {
            u64 a = (u64)x[4 * pair + 1] << 32 | x[4 * pair];
            u64 b = (u64)x[4 * pair + 3] << 32 | x[4 * pair + 2];
            if (at < count) {
                out[at] = bits_set(a & LOW_42) - 21;
            }
            if (at + threads < count) {
                out[at + threads] = bits_set(b & LOW_42) - 21;
            }
            if (at + 2 * threads < count) {
                out[at + 2 * threads] = bits_set(a >> 42 | b >> 44 << 22) - 21;
            }
            at += 3 * threads;
        }
    }
}
