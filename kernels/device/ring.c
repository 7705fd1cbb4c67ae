/* Residue polynomials point by point: sums, products, constants, automorphisms, and moving them about. Arrays are words
 * (polynomials, moduli, N), each residue in [0, q); `primes` holds the constants of modular.h, one row a modulus. */
#include "modular.h"
#include "rows.h"

#define ADD 0

/* out = a + b or a - b. */
KERNEL(combine)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b,
    GLOBAL const u64 *RESTRICT primes, u32 operation, u32 extent0, u32 extent1, u32 a0, u32 a1, u32 a2, u32 b0, u32 b1,
    u32 b2, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli, position = row - p * moduli;
    u64 at = pair_of(thread, degree_log);
    u64 x_row = (u64)meeting(p, extent0, extent1, a0, a1, a2) * moduli + position;
    u64 y_row = (u64)meeting(p, extent0, extent1, b0, b1, b2) * moduli + position;
    u64x2 x = CONST_PAIRS(a)[row_start(x_row, degree_log) + at], y = CONST_PAIRS(b)[row_start(y_row, degree_log) + at];
    u64 q = prime_at(primes, position).q;
    x.x = operation == ADD ? mod_add(x.x, y.x, q) : mod_subtract(x.x, y.x, q);
    x.y = operation == ADD ? mod_add(x.y, y.y, q) : mod_subtract(x.y, y.y, q);
    PAIRS(out)[thread] = x;
}

/* out = -a. */
KERNEL(negate)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT primes, u32 moduli,
    u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u64 q = prime_at(primes, row % moduli).q;
    u64x2 x = CONST_PAIRS(a)[thread];
    x.x = mod_negate(x.x, q);
    x.y = mod_negate(x.y, q);
    PAIRS(out)[thread] = x;
}

/* out = a * b. */
KERNEL(multiply)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b,
    GLOBAL const u64 *RESTRICT primes, u32 extent0, u32 extent1, u32 a0, u32 a1, u32 a2, u32 b0, u32 b1, u32 b2,
    u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli, position = row - p * moduli;
    u64 at = pair_of(thread, degree_log);
    u64 x_row = (u64)meeting(p, extent0, extent1, a0, a1, a2) * moduli + position;
    u64 y_row = (u64)meeting(p, extent0, extent1, b0, b1, b2) * moduli + position;
    u64x2 x = CONST_PAIRS(a)[row_start(x_row, degree_log) + at], y = CONST_PAIRS(b)[row_start(y_row, degree_log) + at];
    Prime prime = prime_at(primes, position);
    x.x = mod_multiply(x.x, y.x, prime);
    x.y = mod_multiply(x.y, y.y, prime);
    PAIRS(out)[thread] = x;
}

/* out = sum over j < terms of a[pa + j] * b[pb + j] for the polynomials pa and pb that meet. */
KERNEL(multiply_accumulate)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b,
    GLOBAL const u64 *RESTRICT primes, u32 terms, u32 extent0, u32 extent1, u32 a0, u32 a1, u32 a2, u32 b0, u32 b1,
    u32 b2, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log), room = WIDE_TERMS;
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli, position = row - p * moduli;
    u64 at = pair_of(thread, degree_log), next = row_start(moduli, degree_log);
    u64 x_row = (u64)meeting(p, extent0, extent1, a0, a1, a2) * moduli + position;
    u64 y_row = (u64)meeting(p, extent0, extent1, b0, b1, b2) * moduli + position;
    GLOBAL const u64x2 *RESTRICT x = CONST_PAIRS(a) + row_start(x_row, degree_log) + at;
    GLOBAL const u64x2 *RESTRICT y = CONST_PAIRS(b) + row_start(y_row, degree_log) + at;
    Prime prime = prime_at(primes, position);
    Wide first = wide_zero(), second = wide_zero();
    for (u32 j = 0; j < terms; j++) {
        if (room == 0) {
            first = wide_fold(first, prime);
            second = wide_fold(second, prime);
            room = WIDE_TERMS - 1;
        }
        u64x2 left = x[j * next], right = y[j * next];
        first = wide_multiply_add(first, left.x, right.x);
        second = wide_multiply_add(second, left.y, right.y);
        room--;
    }
    u64x2 total;
    total.x = wide_reduce(first, prime);
    total.y = wide_reduce(second, prime);
    PAIRS(out)[thread] = total;
}

/* x0 y1 + x1 y0 in [0, q). */
DEVICE u64 cross_product(u64 x0, u64 x1, u64 y0, u64 y1, Prime prime) {
    return wide_reduce(wide_multiply_add(wide_multiply_add(wide_zero(), x0, y1), x1, y0), prime);
}

/* (a0, a1), (b0, b1) -> (a0 b0, a0 b1 + a1 b0, a1 b1): rows are those of one component. */
KERNEL(tensor)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT b,
    GLOBAL const u64 *RESTRICT primes, u32 extent0, u32 extent1, u32 a0, u32 a1, u32 a2, u32 b0, u32 b1, u32 b2,
    u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli, position = row - p * moduli;
    u64 at = pair_of(thread, degree_log), next = row_start(moduli, degree_log);
    u64 x_row = (u64)meeting(p, extent0, extent1, a0, a1, a2) * moduli + position;
    u64 y_row = (u64)meeting(p, extent0, extent1, b0, b1, b2) * moduli + position;
    GLOBAL const u64x2 *RESTRICT x = CONST_PAIRS(a) + row_start(x_row, degree_log) + at;
    GLOBAL const u64x2 *RESTRICT y = CONST_PAIRS(b) + row_start(y_row, degree_log) + at;
    GLOBAL u64x2 *RESTRICT place = PAIRS(out) + row_start((u64)p * 3 * moduli + position, degree_log) + at;
    Prime prime = prime_at(primes, position);
    u64x2 x0 = x[0], x1 = x[next], y0 = y[0], y1 = y[next], z;
    z.x = cross_product(x0.x, x1.x, y0.x, y1.x, prime);
    z.y = cross_product(x0.y, x1.y, y0.y, y1.y, prime);
    place[next] = z;
    z.x = mod_multiply(x0.x, y0.x, prime);
    z.y = mod_multiply(x0.y, y0.y, prime);
    place[0] = z;
    z.x = mod_multiply(x1.x, y1.x, prime);
    z.y = mod_multiply(x1.y, y1.y, prime);
    place[2 * next] = z;
}

/* out = a * factor, `factors` (moduli, 2): the constant and its quotient. */
KERNEL(scale)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT factors,
    GLOBAL const u64 *RESTRICT primes, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 position = row % moduli;
    u64 q = prime_at(primes, position).q;
    u64x2 x = CONST_PAIRS(a)[thread], factor = CONST_PAIRS(factors)[position];
    x.x = shoup(x.x, factor.x, factor.y, q);
    x.y = shoup(x.y, factor.x, factor.y, q);
    PAIRS(out)[thread] = x;
}

/* out = a + an addend, one a modulus: everywhere for values, to the first of coefficients. */
KERNEL(shift)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT addends,
    GLOBAL const u64 *RESTRICT primes, u32 values, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 position = row % moduli;
    u64 q = prime_at(primes, position).q, addend = addends[position];
    u64x2 x = CONST_PAIRS(a)[thread];
    x.x = mod_add(x.x, values || pair_of(thread, degree_log) == 0 ? addend : 0, q);
    x.y = mod_add(x.y, values ? addend : 0, q);
    PAIRS(out)[thread] = x;
}

/* A residue, or its negative where the mask is all ones. */
DEVICE u64 with_sign(u64 x, u64 mask, u64 q) {
    return x ^ (mask & (x ^ mod_negate(x, q)));
}

/* A word in two's complement to a residue. */
DEVICE u64 reduce_signed(u64 x, Prime prime) {
    u64 mask = 0 - (x >> 63);
    return with_sign(reduce_word((x ^ mask) - mask, prime), mask, prime.q);
}

/* Signed words (polynomials, N) to residues, from polynomial `first` of `out` on; where `added` is set, with those of
 * polynomial first and further of `plus` added to them: no sum is beyond a word. */
KERNEL(encode)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT coefficients, GLOBAL const u64 *RESTRICT plus,
    GLOBAL const u64 *RESTRICT primes, u32 added, u32 first, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli;
    u64 at = pair_of(thread, degree_log);
    Prime prime = prime_at(primes, row - p * moduli);
    u64x2 x = CONST_PAIRS(coefficients)[row_start(p, degree_log) + at];
    if (added) {
        u64x2 y = CONST_PAIRS(plus)[row_start((u64)first + p, degree_log) + at];
        x.x += y.x;
        x.y += y.y;
    }
    x.x = reduce_signed(x.x, prime);
    x.y = reduce_signed(x.y, prime);
    PAIRS(out)[row_start((u64)first * moduli, degree_log) + thread] = x;
}

/* A magnitude to a residue, by Horner's rule in 2^64: a residue times 2^64 and a limb are the two words of a sum. */
DEVICE u64 reduce_limbs(GLOBAL const u64 *RESTRICT magnitude, u32 limbs, Prime prime) {
    Wide residue = wide_zero();
    for (u32 i = limbs; i-- > 0;) {
        residue.high = residue.low;
        residue.low = magnitude[i];
        residue = wide_fold(residue, prime);
    }
    return residue.low;
}

/* Magnitudes (polynomials, N, limbs) with signs (polynomials, N), 0 or 1, to residues, from polynomial `first` of `out`
 * on. */
KERNEL(encode_wide)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT magnitudes, GLOBAL const u8 *RESTRICT negative,
    GLOBAL const u64 *RESTRICT primes, u32 limbs, u32 first, u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli;
    Prime prime = prime_at(primes, row - p * moduli);
    u64 source = 2 * (row_start(p, degree_log) + pair_of(thread, degree_log));
    u64x2 x;
    x.x = with_sign(reduce_limbs(magnitudes + source * limbs, limbs, prime), 0 - (u64)negative[source], prime.q);
    source++;
    x.y = with_sign(reduce_limbs(magnitudes + source * limbs, limbs, prime), 0 - (u64)negative[source], prime.q);
    PAIRS(out)[row_start((u64)first * moduli, degree_log) + thread] = x;
}

/* Automorphisms of values (`arith.rns.galois_permutation`). Place i holds the value at exponent e = 2 brv(i) + 1 of the
 * root, and its image under X -> X^element is the value at e * element. Places 2i and 2i + 1 belong to e and e + N;
 * times the odd element these still differ by N, modulo 2N: a pair comes from a pair, turned or not. (Eight neighbours
 * likewise come from eight, so that reads are whole sectors of memory.) */
DEVICE u32 reversed(u32 x, u32 bits) {
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    x = (x >> 8 & 0x00ff00ffu) | (x & 0x00ff00ffu) << 8;
    return (x >> 16 | x << 16) >> (32 - bits);
}

/* The exponent at the first place of a pair, modulo N: the pair's number is brv(i) without its top bit. */
DEVICE u32 exponent_of(u32 pair, u32 degree_log) {
    return 2 * reversed(pair, degree_log - 1) + 1;
}

/* The pair of a row that e = exponent * element < 2^32, modulo 2N, is in; turned where e is beyond N. */
DEVICE u64x2 pair_at(GLOBAL const u64x2 *RESTRICT row, u32 e, u32 degree_log) {
    u64x2 x = row[reversed(e >> 1 & ((1u << (degree_log - 1)) - 1), degree_log - 1)];
    if (e >> degree_log & 1) {
        u64 first = x.x;
        x.x = x.y;
        x.y = first;
    }
    return x;
}

/* Values under X -> X^element. */
KERNEL(permute)(GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, u32 element, u32 degree_log, u32 rows) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log), e = exponent_of(pair_of(thread, degree_log), degree_log) * element;
    if (row >= rows) {
        return;
    }
    PAIRS(out)[thread] = pair_at(CONST_PAIRS(a) + row_start(row, degree_log), e, degree_log);
}

/* out[s, c] = sum over j < terms of the values a[s, j, c] under X -> X^(element j), added to what `out` holds where `onto`
 * is set. Polynomial (s, j, c) of `a` is first + s * outer_step + j * term_step + c. */
KERNEL(permute_sum)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT primes, u32 terms, u32 element0,
    u32 element1, u32 element2, u32 element3, u32 onto, u32 first, u32 outer_step, u32 term_step, u32 components,
    u32 moduli, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log), exponent = exponent_of(pair_of(thread, degree_log), degree_log);
    if (row >= rows) {
        return;
    }
    u32 p = row / moduli, position = row - p * moduli, outer = p / components, component = p - outer * components;
    u64 polynomial = (u64)first + outer * outer_step + component, q = prime_at(primes, position).q;
    GLOBAL const u64x2 *RESTRICT source = CONST_PAIRS(a) + row_start(polynomial * moduli + position, degree_log);
    u64x2 total;
    total.x = total.y = 0;
    if (onto) {
        total = CONST_PAIRS(out)[thread];
    }
    for (u32 j = 0; j < terms; j++) {
        u32 element = j == 0 ? element0 : j == 1 ? element1 : j == 2 ? element2 : element3;
        u64x2 term = pair_at(source, exponent * element, degree_log);
        total.x = mod_add(total.x, term.x, q);
        total.y = mod_add(total.y, term.y, q);
        source += row_start((u64)term_step * moduli, degree_log);
    }
    PAIRS(out)[thread] = total;
}

/* The coefficient of X^place in the image under an automorphism, `inverse` that of its element modulo 2N: it comes from
 * X^i with i * element = place, i = place * inverse modulo 2N; from N on that is -X^(i-N), for the element is odd. */
DEVICE u64 signed_at(GLOBAL const u64 *RESTRICT row, u32 place, u32 inverse, u32 degree_log, u64 q) {
    u32 i = place * inverse;
    u64 x = row[i & ((1u << degree_log) - 1)];
    return i >> degree_log & 1 ? mod_negate(x, q) : x;
}

/* Coefficients under X -> X^element. */
KERNEL(permute_signed)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT primes, u32 inverse, u32 moduli,
    u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log), place = 2 * pair_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    GLOBAL const u64 *RESTRICT source = a + 2 * row_start(row, degree_log);
    u64 q = prime_at(primes, row % moduli).q;
    u64x2 x;
    x.x = signed_at(source, place, inverse, degree_log, q);
    x.y = signed_at(source, place + 1, inverse, degree_log, q);
    PAIRS(out)[thread] = x;
}

/* Rows that lie evenly: row r < width of unit u from row first + r * step + (what `meeting` gives for u), to row
 * out_first + u * width + r. Steps may be negative, modulo 2^32. */
KERNEL(move)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, u32 out_first, u32 first, u32 step, u32 width, u32 extent0,
    u32 extent1, u32 unit0, u32 unit1, u32 unit2, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 unit = row / width, r = row - unit * width;
    u32 source = first + meeting(unit, extent0, extent1, unit0, unit1, unit2) + r * step;
    u64 from = row_start(source, degree_log) + pair_of(thread, degree_log);
    PAIRS(out)[row_start(out_first, degree_log) + thread] = CONST_PAIRS(a)[from];
}

/* Rows by a public table: row r < width of unit u from row index[u] * width + r, or, where `within` is set, from row
 * u * unit_rows + index[r]. */
KERNEL(gather_rows)(
    GLOBAL u64 *RESTRICT out, GLOBAL const u64 *RESTRICT a, GLOBAL const u64 *RESTRICT index, u32 within, u32 unit_rows,
    u32 width, u32 degree_log, u32 rows
) {
    u64 thread = thread_index();
    u32 row = row_of(thread, degree_log);
    if (row >= rows) {
        return;
    }
    u32 unit = row / width, r = row - unit * width;
    u32 source = within ? unit * unit_rows + (u32)index[r] : (u32)index[unit] * width + r;
    PAIRS(out)[thread] = CONST_PAIRS(a)[row_start(source, degree_log) + pair_of(thread, degree_log)];
}
