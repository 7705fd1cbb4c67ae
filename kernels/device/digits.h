/* Integers as digits without carries: their shape, their way between memory and lanes, their normal forms.

   An integer has W = LANES * DIGITS digits of RADIX bits; lane l of the LANES neighbouring threads that share it holds
   digits l*DIGITS .. l*DIGITS + DIGITS - 1 in registers. A digit is *almost normal* when it is at most
   D = 2^RADIX + 2^9, *normal* below 2^RADIX. Sums of values below R = 2^(RADIX W) with non-negative digits never carry
   out of the last lane: a carry out would be worth R.

   A block works on INTEGERS integers. Each has SLOTS rows of W digits in LOCAL memory (slot s of integer i at
   slots + (s*INTEGERS + i)*PITCH), where digits are read by all lanes, one row after the other, and through which rows
   of device memory pass, so that neighbouring threads touch neighbouring words there. */
#define W (LANES * DIGITS)
#define PARTS (1 + SQUARE)
#define ELEMENT (PARTS * DIGITS) /* words of an element in one lane */
#define ROW ((u64)(PARTS * W))   /* words of an element in memory */
#define INTEGERS (BLOCK / LANES)
#define SLOTS (1 + 2 * SQUARE) /* y0, y1 and m: see element.h */
#define SLOT_DISTANCE (INTEGERS * PITCH)
/* Threads of a warp read the same digit of different integers: an odd pitch, or one whose lanes lie at odd DIGITS,
   spreads them over the banks. */
#if LANES == 1
#define PITCH (W | 1)
#else
#define PITCH W
#endif
#define MASK ((u32)((1u << RADIX) - 1))

#if LANES > 1 && DIGITS < 4
#error "the carry that enters a lane runs over three digits"
#endif
#if ROWS > DIGITS || (LANES * DIGITS) % ROWS != 0
#error "ROWS divides W and is at most DIGITS"
#endif
#if BLOCK % LANES != 0
#error "a block holds whole integers"
#endif

/* Registers must leave room for so many blocks of 128 threads on a multiprocessor. */
#undef RESIDENT
#define RESIDENT (DIGITS < 20 ? 4 : 3)

/* Which row of a buffer belongs to integer i: row i, row index[i], or row 0 for all. */
#define OWN 0
#define INDEXED 1
#define SHARED 2

#define LANE (THREAD_ID % LANES)
#define INTEGER (THREAD_ID / LANES)

/* Words of a block that a thread moves at a time: enough to wait for memory once for several, few enough for registers. */
#define BATCH 4

/* Slot 0 <- W words at `offset` of each integer's row of `stride` words. Integers from `count` on repeat the last. */
DEVICE void fetch(LOCAL u32* slots, GLOBAL const u32* rows, u32 choice, GLOBAL const u32* index, u64 stride, u64 offset,
                  u32 count) {
    BARRIER();
    ROLLED for (u32 step = 0; step < DIGITS; step += BATCH) { /* a block has INTEGERS*W = BLOCK*DIGITS words */
        u32 moved[BATCH];
        UNROLL for (u32 b = 0; b < BATCH; b++) {
            const u32 k = (step + b) * BLOCK + THREAD_ID, integer = k / W, word = k % W;
            u32 i = BLOCK_ID * INTEGERS + integer;
            if (i >= count) i = count - 1;
            if (step + b < DIGITS) {
                const u64 row = choice == INDEXED ? index[i] : choice == SHARED ? 0 : i;
                moved[b] = rows[row * stride + offset + word];
            }
        }
        UNROLL for (u32 b = 0; b < BATCH; b++) {
            const u32 k = (step + b) * BLOCK + THREAD_ID, integer = k / W, word = k % W;
            if (step + b < DIGITS) slots[integer * PITCH + word] = moved[b];
        }
    }
    BARRIER();
}

/* W words at `offset` of each integer's row of `stride` words <- slot 0; integers from `count` on have no row. */
DEVICE void deliver(GLOBAL u32* rows, LOCAL const u32* slots, u64 stride, u64 offset, u32 count) {
    BARRIER();
    ROLLED for (u32 step = 0; step < DIGITS; step++) {
        const u32 k = step * BLOCK + THREAD_ID, integer = k / W, word = k % W;
        const u32 i = BLOCK_ID * INTEGERS + integer;
        if (i < count) rows[(u64)i * stride + offset + word] = slots[integer * PITCH + word];
    }
    BARRIER();
}

/* Registers <- this lane's digits of a slot of this integer, and back. The other lanes' view needs a barrier. */
DEVICE void from_slot(u32* x, LOCAL const u32* slot) {
    UNROLL for (u32 j = 0; j < DIGITS; j++) x[j] = slot[LANE * DIGITS + j];
}

DEVICE void to_slot(LOCAL u32* slot, const u32* x) {
    UNROLL for (u32 j = 0; j < DIGITS; j++) slot[LANE * DIGITS + j] = x[j];
}

/* Adds `carry` (below 2^31) to this lane's digits, each below 2^31, and makes them normal; returns the carry out. */
DEVICE u32 carry_through(u32* x, u32 carry) {
    UNROLL for (u32 j = 0; j < DIGITS; j++) {
        carry += x[j];
        x[j] = carry & MASK;
        carry >>= RADIX;
    }
    return carry;
}

/* The same digits, made normal through all lanes: the carries of LANES - 1 lanes may follow one from another. */
DEVICE void normalise(u32* x) {
    u32 carry = carry_through(x, 0);
    for (u32 round = 1; round < LANES; round++) carry = carry_through(x, (u32)SHUFFLE_FROM_PREVIOUS((u64)carry));
}

/* Digits below 2^31 made almost normal, cheaply: each lane carries once, and what leaves it (less than 2^4) stays in
   the next lane's digit 0. */
DEVICE void settle(u32* x) {
    const u32 carry = carry_through(x, 0);
    x[0] += (u32)SHUFFLE_FROM_PREVIOUS((u64)carry);
}

/* For normal x and n: x <- x - n where x >= n. Returns all ones where it did, else 0, in every lane. */
DEVICE u32 subtract_once(u32* x, LOCAL const u32* n) {
    u32 borrow = 0, entering = 0;
    for (u32 round = 0; round < LANES; round++) { /* the borrow that enters lane l is right from round l on */
        entering = round == 0 ? 0 : (u32)SHUFFLE_FROM_PREVIOUS((u64)borrow);
        borrow = entering;
        UNROLL for (u32 j = 0; j < DIGITS; j++) borrow = (x[j] - n[j] - borrow) >> 31;
    }
    const u32 subtracts = SHUFFLE(borrow, LANES - 1) - 1;
    borrow = entering & subtracts;
    UNROLL for (u32 j = 0; j < DIGITS; j++) {
        const u32 difference = x[j] - (n[j] & subtracts) - borrow;
        x[j] = difference & MASK;
        borrow = difference >> 31;
    }
    return subtracts;
}

/* All ones where every digit of the integer is 0, else 0, in every lane. */
DEVICE u32 is_zero(const u32* x) {
    u32 any = 0, all = 0;
    UNROLL for (u32 j = 0; j < DIGITS; j++) any |= x[j];
    for (u32 lane = 0; lane < LANES; lane++) all |= SHUFFLE(any, lane);
    return ((all | (0u - all)) >> 31) - 1;
}
