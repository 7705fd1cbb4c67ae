/* ChaCha20's block function: RFC 8439, sections 2.1 to 2.3.
 *
 * Words 12 and 13 of the state are one 64-bit block counter and words 14 and 15 the nonce, as in Bernstein's original;
 * RFC 8439 reads the same four words as a counter of 32 bits and a nonce of 96. Additions, exclusive-ors and rotations
 * by constants only. The state stays in registers: every index below is a constant. */

#define ROTATE_LEFT(x, n) ((x) << (n) | (x) >> (32 - (n)))

#define QUARTER_ROUND(a, b, c, d) \
    a += b; d ^= a; d = ROTATE_LEFT(d, 16); \
    c += d; b ^= c; b = ROTATE_LEFT(b, 12); \
    a += b; d ^= a; d = ROTATE_LEFT(d, 8); \
    c += d; b ^= c; b = ROTATE_LEFT(b, 7);

/* x[0 … 15] = block `counter` of the stream of key[0 … 7]. */
DEVICE void chacha20_block(u32 *x, GLOBAL const u32 *key, u64 counter, u32 nonce_low, u32 nonce_high) {
    u32 round;
    u32 i;
    x[0] = 0x61707865; /* "expand 32-byte k" */
    x[1] = 0x3320646e;
    x[2] = 0x79622d32;
    x[3] = 0x6b206574;
    UNROLL
    for (i = 0; i < 8; i++) {
        x[4 + i] = key[i];
    }
    x[12] = (u32)counter;
    x[13] = (u32)(counter >> 32);
    x[14] = nonce_low;
    x[15] = nonce_high;
    for (round = 0; round < 20; round += 2) {
        QUARTER_ROUND(x[0], x[4], x[8], x[12])
        QUARTER_ROUND(x[1], x[5], x[9], x[13])
        QUARTER_ROUND(x[2], x[6], x[10], x[14])
        QUARTER_ROUND(x[3], x[7], x[11], x[15])
        QUARTER_ROUND(x[0], x[5], x[10], x[15])
        QUARTER_ROUND(x[1], x[6], x[11], x[12])
        QUARTER_ROUND(x[2], x[7], x[8], x[13])
        QUARTER_ROUND(x[3], x[4], x[9], x[14])
    }
    x[0] += 0x61707865;
    x[1] += 0x3320646e;
    x[2] += 0x79622d32;
    x[3] += 0x6b206574;
    UNROLL
    for (i = 0; i < 8; i++) {
        x[4 + i] += key[i];
    }
    x[12] += (u32)counter;
    x[13] += (u32)(counter >> 32);
    x[14] += nonce_low;
    x[15] += nonce_high;
}
