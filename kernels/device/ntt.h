/* Negacyclic transforms of residue polynomials (N = 2^DEGREE_LOG words): tiles in local memory, butterflies in registers.

   Stage s of a transform (0 first, forwards) has 2^s blocks of N/2^s residues, and block i meets root 2^s + i of the
   bit-reversed powers of psi. A polynomial is a matrix of 2^COLUMNS_LOG rows of 2^ROWS_LOG neighbours. The first
   COLUMNS_LOG stages pair residues of one column, the others residues of one row: two passes over memory, or one where
   COLUMNS_LOG is 0. Backwards the rows come first.

   A block of threads holds a tile of 2^TILE_LOG words in local memory: whole rows, or all of some columns. A thread takes
   a group of up to 2^RADIX_LOG of them to registers, runs that many stages, puts them back, and after a barrier takes
   others. The groups of a row go to and from local memory; columns lie far apart in memory but beside each other, so that
   their first and last groups go to and from memory itself.

   Words of a group lie 1, 16 or 256 apart in a row. One word of padding after each 16 keeps the 16 threads that are
   served at once in different banks. Columns of a tile are neighbours, 8 or more, and need none.

   Ranges (Harvey). Forwards (x, y) -> (x + y*w, x - y*w), y any word and y*w in [0, 2q): a stage adds 2q to the bound of
   all words, so that from [0, 4q) two stages lead to [0, 8q), and only every other stage asks for x to be reduced.
   Backwards (x, y) -> (x + y, (x - y)*w) with x, y in [0, 4q): a word that was a product one stage ago is in [0, 2q), so
   that its sum needs no reduction; others are reduced from [0, 8q) to [0, 4q). Between groups and passes words are in
   [0, 8q) forwards, in [0, 4q) backwards.

   Per butterfly: 10 multiply-adds of 32 bits (4 in the high word of y*w', 3 in each low word), and about 8 additions.

   NARROW: the primes of a launch are below 2^29, so that 8q < 2^32 and all of the above holds in words of 32 bits: 3
   multiplications and 4 additions a butterfly, and half the local memory. Quotients are the high halves of those in the
   tables, since floor(floor(w * 2^64 / q) / 2^32) = floor(w * 2^32 / q). Polynomials stay words of 64 bits in memory. */
#include "modular.h"

#if NARROW
typedef u32 Word;
#define QUOTIENT(quotient) ((u32)((quotient) >> 32))
#define WORD_HIGH(x, y) ((u32)((u64)(x) * (y) >> 32))
#else
typedef u64 Word;
#define QUOTIENT(quotient) (quotient)
#define WORD_HIGH(x, y) MUL_HIGH(x, y)
#endif

/* x - limit where x >= limit, else x. */
DEVICE Word word_less_once(Word x, Word limit) {
    return x >= limit ? x - limit : x;
}

/* x*w in [0, 2q) for any word x and a constant w < q with its quotient, a pair of a table. */
DEVICE Word word_multiply(Word x, u64x2 w, Word q) {
    return x * (Word)w.x - WORD_HIGH(x, QUOTIENT(w.y)) * q;
}

#include "ntt_source.h"

#undef RESIDENT
#define RESIDENT (BLOCK < 512 ? 512 / BLOCK : 1) /* 128 registers a thread */

#define DEGREE ((u64)1 << DEGREE_LOG)
#define ROWS_LOG (DEGREE_LOG - COLUMNS_LOG)
#define TILE (1u << TILE_LOG)
#define TILES (1u << (DEGREE_LOG - TILE_LOG))
#define RADIX (1u << RADIX_LOG)
#define WIDTH_LOG (TILE_LOG - COLUMNS_LOG) /* columns of a tile */
#define LANE_STAGES 3

/* Local memory of a kernel, in words. */
#define PLACE(i) ((i) + ((i) >> 4))
#define TILE_WORDS (TILE + (TILE >> 4))

#if ROWS_LOG > TILE_LOG || TILE_LOG > DEGREE_LOG || (COLUMNS_LOG > 0 && WIDTH_LOG < 3)
#error "a tile holds whole rows of one polynomial, and 8 columns or more"
#endif

/* A row or column is cut into as few groups of stages as there can be, of about one size. */
#define ROW_GROUPS ((ROWS_LOG + RADIX_LOG - 1) / RADIX_LOG)
#define ROW_CUT(g) (ROWS_LOG * (g) / ROW_GROUPS)
#define COLUMN_GROUPS ((COLUMNS_LOG + RADIX_LOG - 1) / RADIX_LOG)
#define COLUMN_CUT(g) (COLUMNS_LOG * (g) / (COLUMN_GROUPS ? COLUMN_GROUPS : 1))
#if ROW_GROUPS > 4 || COLUMN_GROUPS > 3
#error "at most four groups of stages a row, and three a column"
#endif

/* Where the primes of a basis lie in a chain of tables: the first `turn` from `first` on, the others from `second` on.
   Half of `b`'s range is enough for the polynomials of a batch, and b >> 31 is 0, which the compiler does not know: it
   reads the roots anew for each, from the nearest cache, instead of giving them registers for the whole loop. */
DEVICE GLOBAL const u64x2* roots_of(GLOBAL const u64* roots, u32 first, u32 turn, u32 second, u32 position, u32 b) {
    u32 slot = (position < turn ? first + position : second + (position - turn)) + (b >> 31);
    return (GLOBAL const u64x2*)roots + ((u64)slot << DEGREE_LOG);
}

/* The root of block node * 2^t + part of stage `stage`, part < 2^t. The last LANE_STAGES stages of a table lie by group
   (`kernel_tables.lane_order`). */
DEVICE u64x2 root_at(GLOBAL const u64x2* roots, u32 stage, u32 t, u32 node, u32 part) {
    u32 late = stage + LANE_STAGES - DEGREE_LOG, mask = (1u << (late & 3)) - 1;
    GLOBAL const u64x2* row;
    if (stage + LANE_STAGES < DEGREE_LOG) {
        row = roots + (node << t);
        return row[part];
    }
    if (late <= t) { /* `part` alone is known before the thread is */
        row = roots + (node << (t - late));
        return row[((part & mask) << (DEGREE_LOG - LANE_STAGES)) + (part >> late) + (mask << (DEGREE_LOG - LANE_STAGES))];
    }
    u32 index = (node << t) + part;
    return roots[((mask + (index & mask)) << (DEGREE_LOG - LANE_STAGES)) + (index >> late)];
}

/* -- butterflies in registers --------------------------------------------------------------------------------------- */

/* `stages` stages from stage `stage` on, of words that are one block there; `node` is the index of its root. `bound` is 4
   or 8: [0, bound*q) to [0, 8q). */
DEVICE void forward_butterflies(
    Word* x, u32 stages, u32 bound, u32 stage, u32 node, GLOBAL const u64x2* roots, Word q
) {
    UNROLL for (u32 t = 0; t < stages; t++) {
        u32 apart = stages - 1 - t; /* x and y of a pair lie 2^apart words apart */
        UNROLL for (u32 pair = 0; pair < 1u << (stages - 1); pair++) {
            u32 part = pair >> apart;
            u32 i = (part << (apart + 1)) + (pair & ((1u << apart) - 1)), j = i + (1u << apart);
            u64x2 w = root_at(roots, stage + t, t, node, part);
            /* the bound is 4, 6, 8 (reduced), 6, 8 times q, or 8 (reduced), 6, 8 (reduced), 6, 8 */
            Word low = t % 2 == 0 && (t > 0 || bound == 8) ? word_less_once(x[i], q << 2) : x[i];
            Word high = word_multiply(x[j], w, q);
            x[i] = low + high;
            x[j] = low + (q << 1) - high;
        }
    }
}

/* The same stages undone, the last first, and of them `count`; [0, 4q) to [0, 4q). */
DEVICE void inverse_butterflies(
    Word* x, u32 stages, u32 count, u32 stage, u32 node, GLOBAL const u64x2* roots, Word q
) {
    UNROLL for (u32 back = 0; back < count; back++) {
        ORDER();
        u32 t = stages - 1 - back;
        UNROLL for (u32 pair = 0; pair < 1u << (stages - 1); pair++) {
            u32 part = pair >> back;
            u32 i = (part << (back + 1)) + (pair & ((1u << back) - 1)), j = i + (1u << back);
            u64x2 w = root_at(roots, stage + t, t, node, part);
            Word sum = x[i] + x[j];
            Word difference = x[i] + (q << 2) - x[j];
            /* both were products one stage ago where the bit before is set */
            x[i] = back > 0 && (pair >> (back - 1)) & 1 ? sum : word_less_once(sum, q << 2);
            x[j] = word_multiply(difference, w, q);
        }
    }
}

/* Stages `stages` - 1 down to 0, where the transform ends, each word times a constant s: [0, 4q) to [0, q). `scale` has
   s and its quotient, then s times the root of stage 0 and its quotient. */
DEVICE void last_butterflies(
    Word* x, u32 stages, GLOBAL const u64x2* roots, GLOBAL const u64* RESTRICT scale, Word q
) {
    u32 far = 1u << (stages - 1);
    inverse_butterflies(x, stages, stages - 1, 0, 1, roots, q);
    u64x2 plain, turned;
    plain.x = scale[0];
    plain.y = scale[1];
    turned.x = scale[2];
    turned.y = scale[3];
    UNROLL for (u32 i = 0; i < far; i++) {
        Word sum = x[i] + x[i + far];
        Word difference = x[i] + (q << 2) - x[i + far];
        x[i] = word_less_once(word_multiply(sum, plain, q), q);
        x[i + far] = word_less_once(word_multiply(difference, turned, q), q);
    }
}

/* -- tiles ---------------------------------------------------------------------------------------------------------- */

/* Group u of a tile where words of a group lie 2^stride_log apart: its first word, and its node past that of group 0. */
DEVICE u32 group_outer(u32 u, u32 stride_log) {
    return u >> stride_log;
}

DEVICE u32 group_start(u32 u, u32 stride_log, u32 stages) {
    return ((u >> stride_log) << (stride_log + stages)) + (u & ((1u << stride_log) - 1));
}

/* The bits of `start` from stride_log to stride_log + stages - 1 are zero, so that PLACE goes by summands. */
DEVICE void load_tile(Word* x, LOCAL const Word* tile, u32 start, u32 stride_log, u32 stages) {
    LOCAL const Word* from = tile + PLACE(start);
    UNROLL for (u32 j = 0; j < 1u << stages; j++) x[j] = from[PLACE(j << stride_log)];
}

DEVICE void store_tile(LOCAL Word* tile, const Word* x, u32 start, u32 stride_log, u32 stages) {
    LOCAL Word* to = tile + PLACE(start);
    UNROLL for (u32 j = 0; j < 1u << stages; j++) to[PLACE(j << stride_log)] = x[j];
}

DEVICE void store_memory(GLOBAL u64* RESTRICT to, const Word* x, u32 apart_log, u32 stages) {
    UNROLL for (u32 j = 0; j < 1u << stages; j++) to[j << apart_log] = x[j];
}

/* Where a tile's word lies in the polynomial: tiles of rows are neighbours, tiles of columns are cut from all rows. */
DEVICE u32 column_place(u32 tile_index, u32 word) {
    return ((word >> WIDTH_LOG) << ROWS_LOG) + (tile_index << WIDTH_LOG) + (word & ((1u << WIDTH_LOG) - 1));
}

/* One group of stages of a tile of rows, from a source (g = 0) or local memory, to local memory. */
DEVICE void forward_rows_step(
    LOCAL Word* tile, u32 g, Source source, u32 tile_index, Prime p, GLOBAL const u64x2* roots
) {
    u32 first = ROW_CUT(g), stages = ROW_CUT(g + 1) - first, stride_log = ROWS_LOG - first - stages;
    u32 node = ((1u << COLUMNS_LOG) + (tile_index << (TILE_LOG - ROWS_LOG))) << first;
    for (u32 u = THREAD_ID; u < TILE >> stages; u += BLOCK) {
        Word x[RADIX];
        u32 start = group_start(u, stride_log, stages);
        if (g == 0)
            load_source(x, stages, source, (tile_index << TILE_LOG) + start, stride_log, p);
        else
            load_tile(x, tile, start, stride_log, stages);
        u32 bound = g + COLUMNS_LOG == 0 ? 4 : 8;
        forward_butterflies(x, stages, bound, COLUMNS_LOG + first, node + group_outer(u, stride_log), roots, (Word)p.q);
        store_tile(tile, x, start, stride_log, stages);
    }
    BARRIER();
}

/* The rows of a tile, from a source in [0, 4q) where there are no columns, else [0, 8q), to local memory, [0, 8q): word i
   of the tile at PLACE(i). Ends with a barrier, and wants one before local memory is written again. */
DEVICE void forward_rows(
    LOCAL Word* tile, Source source, u32 tile_index, Prime p, GLOBAL const u64x2* roots
) {
    forward_rows_step(tile, 0, source, tile_index, p, roots);
    if (ROW_GROUPS > 1) forward_rows_step(tile, 1, source, tile_index, p, roots);
    if (ROW_GROUPS > 2) forward_rows_step(tile, 2, source, tile_index, p, roots);
    if (ROW_GROUPS > 3) forward_rows_step(tile, 3, source, tile_index, p, roots);
}

/* Backwards from local memory to local memory, or (g = 0) to `out`, the polynomial. */
DEVICE void inverse_rows_step(
    LOCAL Word* tile, u32 g, GLOBAL u64* RESTRICT out, u32 tile_index, GLOBAL const u64* RESTRICT scale, Word q,
    GLOBAL const u64x2* roots
) {
    u32 first = ROW_CUT(g), stages = ROW_CUT(g + 1) - first, stride_log = ROWS_LOG - first - stages;
    u32 node = ((1u << COLUMNS_LOG) + (tile_index << (TILE_LOG - ROWS_LOG))) << first;
    for (u32 u = THREAD_ID; u < TILE >> stages; u += BLOCK) {
        Word x[RADIX];
        u32 start = group_start(u, stride_log, stages);
        load_tile(x, tile, start, stride_log, stages);
        if (g + COLUMNS_LOG == 0)
            last_butterflies(x, stages, roots, scale, q);
        else
            inverse_butterflies(x, stages, stages, COLUMNS_LOG + first, node + group_outer(u, stride_log), roots, q);
        if (g == 0) {
            store_memory(out + (tile_index << TILE_LOG) + start, x, stride_log, stages);
        } else
            store_tile(tile, x, start, stride_log, stages);
    }
    BARRIER();
}

/* The rows of a tile in local memory, [0, 4q), after a barrier, to `out`: [0, 4q), or where there are no columns scaled
   and canonical. Ends with a barrier. */
DEVICE void inverse_rows(
    LOCAL Word* tile, GLOBAL u64* RESTRICT out, u32 tile_index, GLOBAL const u64* RESTRICT scale, Word q,
    GLOBAL const u64x2* roots
) {
    if (ROW_GROUPS > 3) inverse_rows_step(tile, 3, out, tile_index, scale, q, roots);
    if (ROW_GROUPS > 2) inverse_rows_step(tile, 2, out, tile_index, scale, q, roots);
    if (ROW_GROUPS > 1) inverse_rows_step(tile, 1, out, tile_index, scale, q, roots);
    inverse_rows_step(tile, 0, out, tile_index, scale, q, roots);
}

#if COLUMNS_LOG > 0
/* One group of stages of a tile of columns: the first from a source, the last to `out`. */
DEVICE void forward_columns_step(
    LOCAL Word* tile, u32 g, GLOBAL u64* RESTRICT out, Source source, u32 tile_index, Prime p,
    GLOBAL const u64x2* roots
) {
    u32 first = COLUMN_CUT(g), stages = COLUMN_CUT(g + 1) - first, stride_log = TILE_LOG - first - stages;
    for (u32 u = THREAD_ID; u < TILE >> stages; u += BLOCK) {
        Word x[RADIX];
        u32 start = group_start(u, stride_log, stages), place = column_place(tile_index, start);
        u32 apart_log = stride_log - WIDTH_LOG + ROWS_LOG;
        if (g == 0)
            load_source(x, stages, source, place, apart_log, p);
        else
            load_tile(x, tile, start, stride_log, stages);
        u32 node = (1u << first) + group_outer(u, stride_log);
        forward_butterflies(x, stages, g == 0 ? 4 : 8, first, node, roots, (Word)p.q);
        if (g == COLUMN_GROUPS - 1) {
            store_memory(out + place, x, apart_log, stages);
        } else
            store_tile(tile, x, start, stride_log, stages);
    }
    BARRIER();
}

/* The columns of a tile, from a source in [0, 4q) to `out`, the polynomial, [0, 8q). Ends with a barrier. */
DEVICE void forward_columns(
    LOCAL Word* tile, GLOBAL u64* RESTRICT out, Source source, u32 tile_index, Prime p,
    GLOBAL const u64x2* roots
) {
    forward_columns_step(tile, 0, out, source, tile_index, p, roots);
    if (COLUMN_GROUPS > 1) forward_columns_step(tile, 1, out, source, tile_index, p, roots);
    if (COLUMN_GROUPS > 2) forward_columns_step(tile, 2, out, source, tile_index, p, roots);
}

DEVICE void inverse_columns_step(
    LOCAL Word* tile, u32 g, GLOBAL u64* data, u32 tile_index, GLOBAL const u64* RESTRICT scale, Word q,
    GLOBAL const u64x2* roots
) {
    u32 first = COLUMN_CUT(g), stages = COLUMN_CUT(g + 1) - first, stride_log = TILE_LOG - first - stages;
    for (u32 u = THREAD_ID; u < TILE >> stages; u += BLOCK) {
        Word x[RADIX];
        u32 start = group_start(u, stride_log, stages), place = column_place(tile_index, start);
        u32 apart_log = stride_log - WIDTH_LOG + ROWS_LOG;
        if (g == COLUMN_GROUPS - 1) {
            GLOBAL const u64* from = data + place;
            UNROLL for (u32 j = 0; j < 1u << stages; j++) x[j] = (Word)from[j << apart_log];
        } else
            load_tile(x, tile, start, stride_log, stages);
        if (g == 0) {
            last_butterflies(x, stages, roots, scale, q);
            store_memory(data + place, x, apart_log, stages);
        } else {
            inverse_butterflies(x, stages, stages, first, (1u << first) + group_outer(u, stride_log), roots, q);
            store_tile(tile, x, start, stride_log, stages);
        }
    }
    BARRIER();
}

/* The columns of a tile of `data`, the polynomial, in place: [0, 4q) to canonical, scaled. Ends with a barrier. */
DEVICE void inverse_columns(
    LOCAL Word* tile, GLOBAL u64* data, u32 tile_index, GLOBAL const u64* RESTRICT scale, Word q,
    GLOBAL const u64x2* roots
) {
    if (COLUMN_GROUPS > 2) inverse_columns_step(tile, 2, data, tile_index, scale, q, roots);
    if (COLUMN_GROUPS > 1) inverse_columns_step(tile, 1, data, tile_index, scale, q, roots);
    inverse_columns_step(tile, 0, data, tile_index, scale, q, roots);
}
#endif

/* -- batches -------------------------------------------------------------------------------------------------------- */

/* A block of threads takes one tile of one prime, for some polynomials one after the other: their roots are read once
   from far away. Block = (position * TILES + tile) * ceil(size / together) + share: what has tables in common runs side
   by side. */
typedef struct {
    u32 position, tile, begin, end; /* polynomials begin … end - 1 */
} Share;

DEVICE Share share_of(u32 start, u32 size, u32 together) {
    u32 shares = (size + together - 1) / together, share = BLOCK_ID % shares, rest = BLOCK_ID / shares;
    Share s;
    s.position = start + rest / TILES;
    s.tile = rest % TILES;
    s.begin = share * together;
    s.end = s.begin + together < size ? s.begin + together : size;
    return s;
}

/* Rows are residue polynomials of N words. */
#define ROW(data, polynomial, width, position) ((data) + (((u64)(polynomial) * (width) + (position)) << DEGREE_LOG))
