/* Where the first pass of a forward transform takes its words from: residues as they are, or a change of basis that is
   made on the way.

   A base conversion of residues x_i modulo q_i, with y_i = x_i * (Q/q_i)^-1 mod q_i, is the sum of y_i * (Q/q_i) modulo
   the target p, less v*Q where it is exact: v = (2^55 + sum floor(y_i * w_i / 2^b_i)) >> 56, w_i = floor(2^(56+b_i) / q_i),
   b_i the bits of q_i; for one modulus v = 1 where x > (q-1)/2. The y_i come with the inverse transform before, whose
   constant factor they share. All give [0, 4p). */

#define SOURCE_PLAIN 0   /* words in [0, 4p), such as residues of a prime that is no more than 4p */
#define SOURCE_WORD 1    /* residues of one prime, reduced */
#define SOURCE_SUM 2     /* a fast conversion from `count` primes */
#define SOURCE_CENTRED 3 /* residues of one prime, from -(q-1)/2 to (q-1)/2 */
#define SOURCE_EXACT 4   /* an exact conversion from `count` primes */

#define SOURCE_TOGETHER 4 /* words whose sums a thread keeps at a time */
#define SOURCE_FOLD 32    /* terms between two reductions of a sum: WIDE_TERMS leaves room for one more, and v*Q */

typedef struct {
    u32 mode, count;
    GLOBAL const u64* rows;    /* (count, N): x, or y_i */
    GLOBAL const u64* matrix;  /* Q/q_i modulo p; for exact modes last -Q */
    GLOBAL const u64* weights; /* 64 - b_i and w_i; centred: 0 and (q-1)/2 */
} Source;

DEVICE Source plain_source(GLOBAL const u64* rows) {
    Source s;
    s.mode = SOURCE_PLAIN;
    s.count = 1;
    s.rows = rows;
    s.matrix = rows;
    s.weights = rows;
    return s;
}

/* 2^stages words from `place` on, 2^apart_log apart. */
DEVICE void load_source(Word* x, u32 stages, Source s, u32 place, u32 apart_log, Prime p) {
    GLOBAL const u64* RESTRICT rows = s.rows + place;
    if (s.mode == SOURCE_PLAIN) {
        UNROLL for (u32 j = 0; j < 1u << stages; j++) x[j] = (Word)rows[j << apart_log];
        return;
    }
    if (s.mode == SOURCE_WORD) {
        UNROLL for (u32 j = 0; j < 1u << stages; j++) x[j] = (Word)reduce_word_lazy(rows[j << apart_log], p);
        return;
    }
    if (s.mode == SOURCE_CENTRED) {
        u64 limit = s.weights[1], other = s.matrix[1];
        UNROLL for (u32 j = 0; j < 1u << stages; j++) {
            u64 y = rows[j << apart_log];
            x[j] = (Word)(reduce_word_lazy(y, p) + (y > limit ? other : 0));
        }
        return;
    }
    u32 exact = s.mode == SOURCE_EXACT;
    u32 together = stages < 2 ? 1u << stages : SOURCE_TOGETHER;
    UNROLL for (u32 begin = 0; begin < 1u << stages; begin += together) {
        Wide sum[SOURCE_TOGETHER];
        u64 fixed[SOURCE_TOGETHER];
        UNROLL for (u32 j = 0; j < together; j++) {
            sum[j] = wide_zero();
            fixed[j] = (u64)1 << 55;
        }
        for (u32 i = 0; i < s.count; i++) {
            u64 factor = s.matrix[i];
            GLOBAL const u64* RESTRICT row = rows + ((u64)i << DEGREE_LOG);
            if (i > 0 && i % SOURCE_FOLD == 0) {
                UNROLL for (u32 j = 0; j < together; j++) sum[j] = wide_fold(sum[j], p);
            }
            u64 y[SOURCE_TOGETHER];
            UNROLL for (u32 j = 0; j < together; j++) y[j] = row[(begin + j) << apart_log];
            UNROLL for (u32 j = 0; j < together; j++) sum[j] = wide_multiply_add(sum[j], y[j], factor);
            if (exact) {
                u64 shift = s.weights[2 * i], weight = s.weights[2 * i + 1];
                UNROLL for (u32 j = 0; j < together; j++) fixed[j] += MUL_HIGH(y[j] << shift, weight);
            }
        }
        UNROLL for (u32 j = 0; j < together; j++) {
            if (exact) sum[j] = wide_multiply_add(sum[j], fixed[j] >> 56, s.matrix[s.count]);
            x[begin + j] = (Word)wide_reduce_lazy(sum[j], p);
        }
    }
}
