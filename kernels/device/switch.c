/* Changes of basis with their transforms: digits raised to more primes (mod-up), and division by primes (mod-down).

   Digit j of a run covers positions start + j*digit … of a basis, `digit` of them or what is left before `stop`. Where a
   target prime is one of its own ("own" rows), it is the residue there, transformed already. A launch raises to the
   primes target … target + targets - 1. */
#include "ntt.h"

typedef struct {
    u32 number, position, begin, count; /* of the digit; of the target prime; of the digit's primes */
} Digit;

DEVICE Digit digit_of(u32 row, u32 target, u32 targets, u32 start, u32 digit, u32 stop) {
    Digit d;
    d.number = row / targets;
    d.position = target + row % targets;
    d.begin = start + d.number * digit;
    d.count = stop - d.begin < digit ? stop - d.begin : digit;
    return d;
}

DEVICE u32 is_own(Digit d) {
    return d.position >= d.begin && d.position < d.begin + d.count;
}

/* A tile of `forward_rows`, canonical. Ends with a barrier. */
DEVICE void store_rows(GLOBAL u64* place, LOCAL const Word* tile, u64 q) {
    UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK) place[i] = settle_8q(tile[PLACE(i)], q);
    BARRIER();
}

DEVICE void copy_rows(GLOBAL u64* place, GLOBAL const u64* RESTRICT from) {
    UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK) place[i] = from[i];
}

/* First pass, or the only one, of out[base + b, out_first + j] over `width` primes, out (…, out_digits, width, N), for the
   digits j of a run: from `rows` (size, rows_width, N) by `mode`, with the constants of digit j and target t at
   matrix[(j * width + t) * matrix_step]. `own`: rows of a digit's own primes are those of values (…, values_width, N),
   which the last pass copies. */
KERNEL(raise)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT values, GLOBAL const u64* RESTRICT rows,
    GLOBAL const u64* RESTRICT matrix, GLOBAL const u64* RESTRICT weights, GLOBAL const u64* RESTRICT primes,
    GLOBAL const u64* roots, u32 first, u32 turn, u32 second, u32 mode, u32 start, u32 digit, u32 stop, u32 own,
    u32 matrix_step, u32 rows_width, u32 values_width, u32 out_digits, u32 out_first, u32 width, u32 base,
    u32 values_base, u32 target, u32 targets, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(0, size, together);
    Digit d = digit_of(s.position, target, targets, start, digit, stop);
    Prime p = prime_at(primes, d.position);
    Source source;
    source.mode = mode;
    source.count = d.count;
    source.matrix = matrix + (u64)(d.number * width + d.position) * matrix_step;
    source.weights = weights;
    u32 end = own && is_own(d) ? s.begin : s.end;
    for (u32 b = s.begin; b < end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, d.position, b);
        GLOBAL u64* place = ROW(out, (u64)(base + b) * out_digits + out_first + d.number, width, d.position);
        source.rows = ROW(rows, b, rows_width, d.begin);
#if COLUMNS_LOG > 0
        forward_columns(tile, place, source, s.tile, p, table);
    }
#else
        forward_rows(tile, source, s.tile, p, table);
        store_rows(place + (s.tile << TILE_LOG), tile, p.q);
    }
    for (u32 b = end; b < s.end; b++) {
        u64 at = s.tile << TILE_LOG;
        copy_rows(
            ROW(out, (u64)(base + b) * out_digits + out_first + d.number, width, d.position) + at,
            ROW(values, values_base + b, values_width, d.position) + at
        );
    }
#endif
}

#if COLUMNS_LOG > 0
/* Second pass of `raise`, in place. */
KERNEL(raise_rows)(
    GLOBAL u64* out, GLOBAL const u64* RESTRICT values, GLOBAL const u64* RESTRICT primes, GLOBAL const u64* roots,
    u32 first, u32 turn, u32 second, u32 start, u32 digit, u32 stop, u32 values_width, u32 out_digits, u32 out_first,
    u32 width, u32 base, u32 values_base, u32 target, u32 targets, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(0, size, together);
    Digit d = digit_of(s.position, target, targets, start, digit, stop);
    Prime p = prime_at(primes, d.position);
    u64 at = s.tile << TILE_LOG;
    u32 end = is_own(d) ? s.begin : s.end;
    for (u32 b = s.begin; b < end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, d.position, b);
        GLOBAL u64* place = ROW(out, (u64)(base + b) * out_digits + out_first + d.number, width, d.position);
        forward_rows(tile, plain_source(place), s.tile, p, table);
        store_rows(place + at, tile, p.q);
    }
    for (u32 b = end; b < s.end; b++)
        copy_rows(
            ROW(out, (u64)(base + b) * out_digits + out_first + d.number, width, d.position) + at,
            ROW(values, values_base + b, values_width, d.position) + at
        );
}
#endif

/* (x - r) * factor + y * other, canonical; x and y canonical, r in [0, 4q). */
DEVICE u64 divided(u64 x, u64 r, GLOBAL const u64* RESTRICT factor, u64 q) {
    return shoup(x + (q << 2) - r, factor[0], factor[1], q);
}

/* Last pass of a division: out (…, width, N) = (a - r) * factor [+ plus * other] in values, a (…, a_width, N), factors and
   others (width, 2). r is transformed from `rows`: (size, width, N) from `raise`, or where there are no columns
   (size, rows_width, N) by `mode`. To the first `some` of each `components` polynomials those of plus
   (…, some, plus_width, N) are added. */
KERNEL(divide)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT a, GLOBAL const u64* RESTRICT rows,
    GLOBAL const u64* RESTRICT matrix, GLOBAL const u64* RESTRICT weights, GLOBAL const u64* RESTRICT factors,
    GLOBAL const u64* RESTRICT plus, GLOBAL const u64* RESTRICT others, GLOBAL const u64* RESTRICT primes,
    GLOBAL const u64* roots, u32 first, u32 turn, u32 second, u32 mode, u32 count, u32 matrix_step, u32 rows_width,
    u32 a_width, u32 plus_width, u32 components, u32 some, u32 width, u32 base, u32 start, u32 size, u32 together
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, together);
    Prime p = prime_at(primes, s.position);
    u64 at = s.tile << TILE_LOG, q = p.q;
    for (u32 b = s.begin; b < s.end; b++) {
        GLOBAL const u64x2* table = roots_of(roots, first, turn, second, s.position, b);
        Source source;
#if COLUMNS_LOG > 0
        source = plain_source(ROW(rows, b, width, s.position));
#else
        source.mode = mode;
        source.count = count;
        source.rows = ROW(rows, b, rows_width, 0);
        source.matrix = matrix + (u64)s.position * matrix_step;
        source.weights = weights;
#endif
        forward_rows(tile, source, s.tile, p, table);
        GLOBAL const u64* RESTRICT x = ROW(a, base + b, a_width, s.position) + at;
        GLOBAL const u64* RESTRICT factor = factors + 2 * s.position;
        GLOBAL u64* RESTRICT place = ROW(out, base + b, width, s.position) + at;
        u32 component = (base + b) % components;
        if (component < some) {
            u64 number = (u64)((base + b) / components) * some + component;
            GLOBAL const u64* RESTRICT y = ROW(plus, number, plus_width, s.position) + at;
            GLOBAL const u64* RESTRICT other = others + 2 * s.position;
            UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK) {
                u64 quotient = divided(x[i], less_once(tile[PLACE(i)], q << 2), factor, q);
                place[i] = mod_add(quotient, shoup(y[i], other[0], other[1], q), q);
            }
        } else {
            UNROLL for (u32 i = THREAD_ID; i < TILE; i += BLOCK)
                place[i] = divided(x[i], less_once(tile[PLACE(i)], q << 2), factor, q);
        }
        BARRIER();
    }
}

/* The same of coefficients, without `plus`: `rows` (size, rows_width, N) from position rows_at on. A thread a word; `words`
   = size * width * N. */
KERNEL(divide_coefficients)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT a, GLOBAL const u64* RESTRICT rows,
    GLOBAL const u64* RESTRICT matrix, GLOBAL const u64* RESTRICT weights, GLOBAL const u64* RESTRICT factors,
    GLOBAL const u64* RESTRICT primes, u32 mode, u32 count, u32 matrix_step, u32 rows_width, u32 rows_at, u32 a_width,
    u32 width, u32 base, u64 words
) {
    u64 thread = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    if (thread < words) {
        u32 place = (u32)(thread & (DEGREE - 1)), row = (u32)(thread >> DEGREE_LOG);
        u32 b = row / width, position = row % width;
        Prime p = prime_at(primes, position);
        Source source;
        source.mode = mode;
        source.count = count;
        source.rows = ROW(rows, b, rows_width, rows_at);
        source.matrix = matrix + (u64)position * matrix_step;
        source.weights = weights;
        Word r[1];
        load_source(r, 0, source, place, 0, p);
        u64 x = ROW(a, base + b, a_width, position)[place];
        ROW(out, base + b, width, position)[place] = divided(x, r[0], factors + 2 * position, p.q);
    }
}

/* out (size, width, N) = residues at … at + width - 1 of polynomials base … of a (…, a_width, N), times factors (width, 2).
   A thread a word. */
KERNEL(cofactors)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT a, GLOBAL const u64* RESTRICT factors,
    GLOBAL const u64* RESTRICT primes, u32 a_width, u32 at, u32 width, u32 base, u64 words
) {
    u64 thread = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    if (thread < words) {
        u32 place = (u32)(thread & (DEGREE - 1)), row = (u32)(thread >> DEGREE_LOG);
        u32 b = row / width, position = row % width;
        u64 q = prime_at(primes, position).q, x = ROW(a, base + b, a_width, at + position)[place];
        out[thread] = shoup(x, factors[2 * position], factors[2 * position + 1], q);
    }
}
