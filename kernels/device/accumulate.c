/* Key switching: the sums of digits times keys, 128 bits each until the last digit is in.

   The digits of a polynomial are transformed one after the other in local memory and never stored; a thread keeps the
   sums of TILE / BLOCK words, for two components. */
#include "ntt.h"

#if COLUMNS_LOG == 0 /* conversion, transform and sums together; degrees this small leave a card idle anyway */
#undef RESIDENT
#define RESIDENT (BLOCK < 256 ? 256 / BLOCK : 1)
#endif

#define WORDS ((TILE + BLOCK - 1) / BLOCK)
#define SUM_FOLD 16 /* digits in [0, 2q) times keys, between two reductions: 2^4 * 2^123, and room for one term before */

#if NARROW /* primes below 2^29: 2^4 * 2^59, and room likewise */
typedef u64 Sum;
DEVICE Sum sum_zero(void) {
    return 0;
}
DEVICE Sum sum_add(Sum sum, u64 x, u64 y) {
    return sum + (u64)(u32)x * (u32)y;
}
DEVICE Sum sum_fold(Sum sum, Prime p) {
    return reduce_word(sum, p);
}
DEVICE u64 sum_reduce(Sum sum, Prime p) {
    return reduce_word(sum, p);
}
#else
typedef Wide Sum;
#define sum_zero wide_zero
#define sum_add wide_multiply_add
#define sum_fold wide_fold
#define sum_reduce wide_reduce
#endif

/* The sums of both components, the key's words `step` apart; 0 where there is one component, whose sum is made twice. */
DEVICE void add_products(Sum* left, Sum* right, u64 x, GLOBAL const u64* RESTRICT factor, u32 step) {
    *left = sum_add(*left, x, factor[0]);
    *right = sum_add(*right, x, factor[step]);
}

/* The last pass of digits 0 … digits - 1 over `width` primes, and out[base + b, c] = sum over j of digit j * key[c, j] for
   components c < components <= 2: out (…, out_components, width, N) from out_first on, key (components, digits, width, N).
   Digit j covers `digit` positions of values (…, values_width, N), or what is left; its own rows are there. Others come
   from rows (size, digits, width, N) of `raise`, or where there are no columns from (size, values_width, N) by `mode`, as
   in `raise`. Block = ((position - start) * TILES + tile) * size + polynomial: keys are read once from far away. */
KERNEL(accumulate)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT values, GLOBAL const u64* RESTRICT rows,
    GLOBAL const u64* RESTRICT matrix, GLOBAL const u64* RESTRICT key, GLOBAL const u64* RESTRICT primes,
    GLOBAL const u64* roots, u32 first, u32 turn, u32 second, u32 mode, u32 digits, u32 digit, u32 values_width, u32 width,
    u32 components, u32 base, u32 start, u32 size
) {
    LOCAL_ARRAY Word tile[TILE_WORDS];
    Share s = share_of(start, size, 1);
    Prime p = prime_at(primes, s.position);
    u32 at = s.tile << TILE_LOG, step = components > 1 ? (digits * width) << DEGREE_LOG : 0;
    u32 own = s.position < values_width ? s.position / digit : digits; /* the digit that has this prime, or none */
    Sum left[WORDS], right[WORDS];
    UNROLL for (u32 i = 0; i < WORDS; i++) left[i] = right[i] = sum_zero();
    if (own < digits) {
        GLOBAL const u64* RESTRICT from = ROW(values, base + s.begin, values_width, s.position) + at;
        GLOBAL const u64* RESTRICT factor = ROW(key, own, width, s.position) + at;
        UNROLL for (u32 i = 0; i < WORDS; i++) {
            u32 word = THREAD_ID + i * BLOCK;
            if (word < TILE) add_products(&left[i], &right[i], from[word], factor + word, step);
        }
    }
    for (u32 j = 0; j < digits; j++) {
        if (j == own) continue;
        Source source;
#if COLUMNS_LOG > 0
        source = plain_source(ROW(rows, (u64)s.begin * digits + j, width, s.position));
#else
        u32 begin = j * digit;
        source.mode = mode;
        source.count = values_width - begin < digit ? values_width - begin : digit;
        source.rows = ROW(rows, s.begin, values_width, begin);
        source.matrix = matrix + ((u64)j * width + s.position) * digit;
        source.weights = matrix;
#endif
        forward_rows(tile, source, s.tile, p, roots_of(roots, first, turn, second, s.position, j));
        GLOBAL const u64* RESTRICT factor = ROW(key, j, width, s.position) + at;
        UNROLL for (u32 i = 0; i < WORDS; i++) {
            u32 word = THREAD_ID + i * BLOCK;
            if (word < TILE) {
                u64 x = less_once(less_once(tile[PLACE(word)], p.q << 2), p.q << 1);
                add_products(&left[i], &right[i], x, factor + word, step);
            }
        }
        if (j % SUM_FOLD == SUM_FOLD - 1) {
            UNROLL for (u32 i = 0; i < WORDS; i++) {
                left[i] = sum_fold(left[i], p);
                right[i] = sum_fold(right[i], p);
            }
        }
        BARRIER();
    }
    GLOBAL u64* RESTRICT place = ROW(out, (u64)(base + s.begin) * components, width, s.position) + at;
    UNROLL for (u32 i = 0; i < WORDS; i++) {
        u32 word = THREAD_ID + i * BLOCK;
        if (word < TILE) {
            place[word] = sum_reduce(left[i], p);
            if (components > 1) place[((u64)width << DEGREE_LOG) + word] = sum_reduce(right[i], p);
        }
    }
}

/* out[b, out_first + c] = sum over j of raised[b, j] * key[c, j] for c < components <= 2: out (…, out_components, width, N)
   from polynomial base on, raised (size, digits, width, N), key (…, digits, width, N) from component key_first on. A thread
   a word; `words` = size * width * N. */
KERNEL(accumulate_raised)(
    GLOBAL u64* RESTRICT out, GLOBAL const u64* RESTRICT raised, GLOBAL const u64* RESTRICT key,
    GLOBAL const u64* RESTRICT primes, u32 digits, u32 width, u32 components, u32 key_first, u32 out_components,
    u32 out_first, u32 base, u64 words
) {
    u64 thread = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    if (thread < words) {
        u32 place = (u32)(thread & (DEGREE - 1)), row = (u32)(thread >> DEGREE_LOG);
        u32 b = row / width, position = row % width;
        Prime p = prime_at(primes, position);
        u64 step = ((u64)digits * width) << DEGREE_LOG;
        Wide left = wide_zero(), right = wide_zero();
        for (u32 j = 0; j < digits; j++) {
            u64 x = ROW(raised, (u64)b * digits + j, width, position)[place];
            GLOBAL const u64* RESTRICT factor = ROW(key, (u64)key_first * digits + j, width, position) + place;
            left = wide_multiply_add(left, x, factor[0]);
            if (components > 1) right = wide_multiply_add(right, x, factor[step]);
            if (j % SUM_FOLD == SUM_FOLD - 1) {
                left = wide_fold(left, p);
                right = wide_fold(right, p);
            }
        }
        GLOBAL u64* to = ROW(out, (u64)(base + b) * out_components + out_first, width, position) + place;
        to[0] = wide_reduce(left, p);
        if (components > 1) to[(u64)width << DEGREE_LOG] = wide_reduce(right, p);
    }
}
