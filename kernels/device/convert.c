/* Residues modulo some primes to residues modulo others, and to the integers that they stand for.
 *
 * With y_i = x_i (Q / q_i)^-1 mod q_i the sum of y_i (Q / q_i) is x + u Q, 0 <= u < k. The centred representative is that
 * less v Q, v the sum of y_i / q_i rounded, in fixed point: (2^55 + sum floor(y_i w_i / 2^b_i)) >> 56 with b_i the bits of
 * q_i and w_i = floor(2^(56 + b_i) / q_i). For k = 1, v = 1 where y > (q - 1) / 2.
 *
 * Of the source primes: `primes` as in modular.h; `inverses` (k, 2), (Q / q_i)^-1 and its quotient; `weights` (k, 2),
 * 64 - b_i and w_i, or, for k = 1, 0 and (q - 1) / 2. */
#include "modular.h"

#define FIXED_BITS 56
#define FIXED_HALF ((u64)1 << (FIXED_BITS - 1))

DEVICE u64 cofactor(u64 x, u32 i, GLOBAL const u64 *RESTRICT primes, GLOBAL const u64 *RESTRICT inverses) {
    return shoup(x, inverses[2 * i], inverses[2 * i + 1], prime_at(primes, i).q);
}

/* y / q in units of 2^-56: the bits of (y w) >> b are the high word of (y << (64 - b)) w. */
DEVICE u64 fraction(u64 y, u32 i, GLOBAL const u64 *RESTRICT weights) {
    return MUL_HIGH(y << weights[2 * i], weights[2 * i + 1]);
}

/* v from the sum of the fractions and 2^55, or, for a single source, from y. */
DEVICE u64 rounded(u64 fixed, u64 y, u32 k, GLOBAL const u64 *RESTRICT weights) {
    return k == 1 ? (weights[1] - y) >> 63 : fixed >> FIXED_BITS;
}

/* How many target primes a thread serves: their sums stay in registers, and each y is made once for all of them. */
#define TARGETS 8

/* A thread makes `group` <= TARGETS of the `count` residues of one coefficient; `groups` = ceil(count / group) threads
 * share it, and `units` counts polynomials times groups. `matrix` (count, k + 1): Q / q_i modulo each target prime, last
 * -Q. */
KERNEL(convert)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT primes,
    GLOBAL const u64 *RESTRICT inverses, GLOBAL const u64 *RESTRICT weights, GLOBAL const u64 *RESTRICT targets,
    GLOBAL const u64 *RESTRICT matrix, u32 k, u32 exact, u32 count, u32 group, u32 groups, u32 degree_log, u32 units
) {
    u64 thread = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    u32 unit = (u32)(thread >> degree_log), place = (u32)thread & ((1u << degree_log) - 1);
    if (unit >= units) {
        return;
    }
    u32 p = unit / groups, first = (unit - p * groups) * group, room = WIDE_TERMS;
    u32 members = count - first < group ? count - first : group;
    u64 x = (((u64)p * k) << degree_log) + place, y = 0, fixed = FIXED_HALF;
    Wide sum[TARGETS];
    UNROLL
    for (u32 t = 0; t < TARGETS; t++) {
        sum[t] = wide_zero();
    }
    for (u32 i = 0; i < k + exact; i++) {
        if (room == 0) {
            UNROLL
            for (u32 t = 0; t < TARGETS; t++) {
                if (t < members) {
                    sum[t] = wide_fold(sum[t], prime_at(targets, first + t));
                }
            }
            room = WIDE_TERMS - 1;
        }
        if (i < k) {
            y = cofactor(a[x + ((u64)i << degree_log)], i, primes, inverses);
            fixed += fraction(y, i, weights);
        } else {
            y = rounded(fixed, y, k, weights);
        }
        UNROLL
        for (u32 t = 0; t < TARGETS; t++) {
            if (t < members) {
                sum[t] = wide_multiply_add(sum[t], y, matrix[(first + t) * (k + 1) + i]);
            }
        }
        room--;
    }
    u64 to = (((u64)p * count + first) << degree_log) + place;
    UNROLL
    for (u32 t = 0; t < TARGETS; t++) {
        if (t < members) {
            out[to + ((u64)t << degree_log)] = wide_reduce(sum[t], prime_at(targets, first + t));
        }
    }
}

/* Coefficients, from polynomial `first` of `a` on, to centred integers: magnitudes (polynomials, N, limbs) and signs
 * (polynomials, N), 1 for negative.
 *
 * A thread a coefficient. Its y and v first, then the sum of y_i (Q / q_i) and v (-Q), limb by limb, modulo 2^(64 D), in
 * two's complement; D limbs keep the sign of twice the sum. That is x in (-Q/2, Q/2) or, where x is next to an end and v
 * one off, x + Q or x - Q: beside each limb go half - x and half + x, half = (Q - 1) / 2, and the one that the sign of x
 * picks tells. A magnitude beyond half then gives way to Q less it, with the other sign.
 *
 * `scratch`: planes of `threads` words, k for y and D for x. `table`: rows of D limbs, Q / q_i for each source, -Q, half
 * and Q. */
KERNEL(compose)(
    GLOBAL u64 *RESTRICT magnitudes, GLOBAL u8 *RESTRICT negative, GLOBAL u64 *RESTRICT scratch,
    GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT primes, GLOBAL const u64 *RESTRICT inverses,
    GLOBAL const u64 *RESTRICT weights, GLOBAL const u64 *RESTRICT table, u32 first, u32 k, u32 digits, u32 limbs,
    u32 degree_log, u64 threads
) {
    u64 thread = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    if (thread >= threads) {
        return;
    }
    u64 place = thread & (((u64)1 << degree_log) - 1), x = (((thread >> degree_log) + first) * k << degree_log) + place;
    u64 y = 0, fixed = FIXED_HALF;
    for (u32 i = 0; i < k; i++) {
        y = cofactor(a[x + ((u64)i << degree_log)], i, primes, inverses);
        fixed += fraction(y, i, weights);
        scratch[i * threads + thread] = y;
    }
    u64 v = rounded(fixed, y, k, weights);
    u64 sum = k * threads + thread, middle = (u64)(k + 1) * digits, whole = middle + digits;
    u64 column0 = 0, column1 = 0, column2 = 0, limb = 0, borrow = 0, carry = 0, below = 0, above = 0;
    for (u32 j = 0; j < digits; j++) {
        for (u32 i = 0; i <= k; i++) {
            u64 word = i < k ? scratch[i * threads + thread] : v, factor = table[(u64)i * digits + j];
            u64 low = word * factor, high = MUL_HIGH(word, factor);
            column0 += low;
            high += column0 < low; /* a product's high word is at most 2^64 - 2 */
            column1 += high;
            column2 += column1 < high;
        }
        limb = column0;
        column0 = column1;
        column1 = column2;
        column2 = 0;
        scratch[sum + j * threads] = limb;
        u64 limit = table[middle + j], difference = limit - limb, total = limit + limb;
        below = difference - borrow;
        borrow = (u64)(limit < limb) | (u64)(difference < borrow);
        above = total + carry;
        carry = (u64)(total < limb) | (u64)(above < carry);
    }
    u64 sign = 0 - (limb >> 63), beyond = 0 - (((sign & above) | (~sign & below)) >> 63);
    carry = sign & 1;
    borrow = 0;
    for (u32 j = 0; j < limbs; j++) {
        u64 magnitude = (scratch[sum + j * threads] ^ sign) + carry;
        carry = (u64)(magnitude < carry);
        u64 difference = table[whole + j] - magnitude, other = difference - borrow;
        borrow = (u64)(table[whole + j] < magnitude) | (u64)(difference < borrow);
        magnitudes[thread * limbs + j] = magnitude ^ (beyond & (magnitude ^ other));
    }
    negative[thread] = (u8)((sign ^ beyond) & 1);
}
