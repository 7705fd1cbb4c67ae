/* Transforms of batches of residue polynomials. */
#include "ntt.h"

#if COLUMNS_LOG > 0
/* First pass of out = NTT(in): (size, width, N) canonical to lazy. */
KERNEL(columns_forward)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT in, GLOBAL const u64* RESTRICT primes,
    GLOBAL const u64* roots, u32 first, u32 turn, u32 second, u32 width, u32 start, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, together);
    Prime p = prime_at(primes, s.position);
    for (u32 b = s.begin; b < s.end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, s.position, b);
        Source source = plain_source(ROW(in, b, width, s.position));
        forward_columns(tile, ROW(out, b, width, s.position), source, s.tile, p, table);
    }
}

/* Second pass backwards, in place: (size, width, N) lazy to canonical, times a constant a prime, scales (width, 4). */
KERNEL(columns_inverse)(
    GLOBAL u64* data, GLOBAL const u64* RESTRICT primes, GLOBAL const u64* roots,
    GLOBAL const u64* RESTRICT scales, u32 first, u32 turn, u32 second, u32 width, u32 start, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, together);
    u64 q = prime_at(primes, s.position).q;
    for (u32 b = s.begin; b < s.end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, s.position, b);
        inverse_columns(tile, ROW(data, b, width, s.position), s.tile, scales + 4 * s.position, (Word)q, table);
    }
}
#endif

/* Second pass, or the only one: (size, width, N) to canonical values; `out` may be `in`. */
KERNEL(rows_forward)(
    GLOBAL u64* out, GLOBAL const u64* in, GLOBAL const u64* RESTRICT primes, GLOBAL const u64* roots,
    u32 first, u32 turn, u32 second, u32 width, u32 start, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, together);
    Prime p = prime_at(primes, s.position);
    for (u32 b = s.begin; b < s.end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, s.position, b);
        forward_rows(tile, plain_source(ROW(in, b, width, s.position)), s.tile, p, table);
        GLOBAL u64* place = ROW(out, b, width, s.position) + (s.tile << TILE_LOG);
        UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK) place[i] = settle_8q(tile[PLACE(i)], p.q);
        BARRIER();
    }
}

/* First pass backwards, or the only one, of residues `at` … at + width - 1 of polynomials base … base + size - 1 of
   (…, in_width, N), to (size, width, N); what remains to do of `columns_inverse` is done where there are no columns.

   Where plus_width > 0, what is transformed is in + R*plus, in the first plus_width positions and the first `some` of
   each `components` polynomials: plus (…, some, plus_rows, N) from position plus_at on, and R for each position a pair
   of factors. */
KERNEL(rows_inverse)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT in, GLOBAL const u64* RESTRICT plus,
    GLOBAL const u64* RESTRICT factors, GLOBAL const u64* RESTRICT primes, GLOBAL const u64* roots,
    GLOBAL const u64* RESTRICT scales, u32 first, u32 turn, u32 second, u32 in_width, u32 at, u32 width, u32 plus_rows,
    u32 plus_at, u32 plus_width, u32 components, u32 some, u32 base, u32 start, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, together);
    u64 q = prime_at(primes, s.position).q;
    for (u32 b = s.begin; b < s.end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, s.position, b);
        GLOBAL const u64* RESTRICT x = ROW(in, base + b, in_width, at + s.position) + (s.tile << TILE_LOG);
        if (s.position < plus_width && (base + b) % components < some) {
            u32 other = (base + b) / components * some + (base + b) % components;
            GLOBAL const u64* RESTRICT y = ROW(plus, other, plus_rows, plus_at + s.position) + (s.tile << TILE_LOG);
            u64 factor = factors[2 * s.position], quotient = factors[2 * s.position + 1];
            UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK)
                tile[PLACE(i)] = (Word)(x[i] + shoup_lazy(y[i], factor, quotient, q));
        } else {
            UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK) tile[PLACE(i)] = (Word)x[i];
        }
        BARRIER();
        inverse_rows(tile, ROW(out, b, width, s.position), s.tile, scales + 4 * s.position, (Word)q, table);
    }
}
