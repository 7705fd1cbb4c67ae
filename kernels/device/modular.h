/* Arithmetic modulo one prime q < 2^61 in words of 64 bits. Everything here is constant time.

   A residue is canonical in [0, q) or lazy, in a range that is said: 8q < 2^64 leaves room. The table of a basis has
   PRIME_WORDS words a prime (`hecore/backends/kernel_tables.py`):

       q,  floor(2^64 / q),  2^64 mod q,  its quotient,  b - 2,  floor(2^(62+b) / q),  1/N mod q,  its quotient

   b the bits of q, N the ring degree. The quotient of a constant w < q is w' = floor(w * 2^64 / q) (Shoup). For every
   word x the product x*w is floor(x*w' / 2^64) * q plus something in [0, 2q), because w*2^64/q - 1 < w' makes the
   quotient of x*w too small by less than x/2^64 + 1 < 2; so

       x*w - floor(x*w' / 2^64) * q   lies in [0, 2q)   for 0 <= x < 2^64,

   and only the low word of either product is needed (D. Harvey, "Faster arithmetic for number-theoretic transforms",
   2014, section 3). For w = 1 the quotient is floor(2^64 / q): a word is reduced by one product less. */

#define PRIME_WORDS 8

typedef struct {
    u64 q, one_quotient, carry, carry_quotient, shift, product_quotient;
} Prime;

DEVICE Prime prime_at(GLOBAL const u64* RESTRICT primes, u32 index) {
    GLOBAL const u64* RESTRICT row = primes + (u64)index * PRIME_WORDS;
    Prime p;
    p.q = row[0];
    p.one_quotient = row[1];
    p.carry = row[2];
    p.carry_quotient = row[3];
    p.shift = row[4];
    p.product_quotient = row[5];
    return p;
}

/* x - limit where x >= limit, else x. */
DEVICE u64 less_once(u64 x, u64 limit) {
    return x >= limit ? x - limit : x;
}

/* [0, 4q) to [0, q). */
DEVICE u64 settle_4q(u64 x, u64 q) {
    return less_once(less_once(x, q + q), q);
}

/* [0, 8q) to [0, q). */
DEVICE u64 settle_8q(u64 x, u64 q) {
    return settle_4q(less_once(x, q << 2), q);
}

/* Canonical operands and results. Lazily a sum is a + b, and a difference a + m - b for any multiple m >= b of q. */
DEVICE u64 mod_add(u64 a, u64 b, u64 q) {
    return less_once(a + b, q);
}

DEVICE u64 mod_subtract(u64 a, u64 b, u64 q) {
    return a >= b ? a - b : a - b + q;
}

DEVICE u64 mod_negate(u64 a, u64 q) {
    return less_once(q - a, q);
}

/* x*w in [0, 2q) for any word x and a constant w < q with its quotient. */
DEVICE u64 shoup_lazy(u64 x, u64 w, u64 quotient, u64 q) {
    return x * w - MUL_HIGH(x, quotient) * q;
}

/* The same in [0, q). */
DEVICE u64 shoup(u64 x, u64 w, u64 quotient, u64 q) {
    return less_once(shoup_lazy(x, w, quotient, q), q);
}

/* Any word to [0, 2q). */
DEVICE u64 reduce_word_lazy(u64 x, Prime p) {
    return x - MUL_HIGH(x, p.one_quotient) * p.q;
}

/* Any word to [0, q). */
DEVICE u64 reduce_word(u64 x, Prime p) {
    return less_once(reduce_word_lazy(x, p), p.q);
}

/* x*y in [0, 2q) for canonical x and y (Barrett). P = x*y < 2^(2b), h = floor(P / 2^(b-2)) < 2^(b+2) <= 2^63, and
   u = floor(2^(62+b) / q) <= 2^63. The quotient floor(h*u / 2^64) is too small by less than u/2^64 for what h lost,
   h/2^64 for what u lost, and one for the floor: by less than 2 in all. b >= 2. */
DEVICE u64 mod_multiply_lazy(u64 x, u64 y, Prime p) {
    u64 low = x * y;
    u64 high = MUL_HIGH(x, y);
    /* b - 2 lies in [1, 59]: moduli are 1 mod 32 at least, so that b >= 5 */
    u64 h = (high << (64 - p.shift)) | (low >> p.shift);
    return low - MUL_HIGH(h, p.product_quotient) * p.q;
}

/* The same in [0, q). */
DEVICE u64 mod_multiply(u64 x, u64 y, Prime p) {
    return less_once(mod_multiply_lazy(x, y, p), p.q);
}

/* Sums of products in 128 bits: 64 products of canonical residues fit. */
#define WIDE_TERMS 64

typedef struct {
    u64 high, low;
} Wide;

DEVICE Wide wide_zero(void) {
    Wide sum;
    sum.high = 0;
    sum.low = 0;
    return sum;
}

/* sum + x*y. */
DEVICE Wide wide_multiply_add(Wide sum, u64 x, u64 y) {
    u64 low = x * y;
    sum.low += low;
    sum.high += MUL_HIGH(x, y) + (sum.low < low);
    return sum;
}

/* Any 128 bits to [0, 4q): high * (2^64 mod q) and low each to [0, 2q). */
DEVICE u64 wide_reduce_lazy(Wide sum, Prime p) {
    return shoup_lazy(sum.high, p.carry, p.carry_quotient, p.q) + reduce_word_lazy(sum.low, p);
}

/* The same in [0, q). */
DEVICE u64 wide_reduce(Wide sum, Prime p) {
    return settle_4q(wide_reduce_lazy(sum, p), p.q);
}

/* The sum as one small term of itself, so that WIDE_TERMS - 1 more fit. */
DEVICE Wide wide_fold(Wide sum, Prime p) {
    sum.low = wide_reduce(sum, p);
    sum.high = 0;
    return sum;
}
