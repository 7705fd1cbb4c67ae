/* C++ for the host, in tests alone: a block's threads are fibers of one thread, and warps of them run in lockstep.

   A fiber runs until it meets others: at a shuffle or LANE_BARRIER those of its warp, at BARRIER those of its block. There
   it waits with the line where it stands. Once all of them wait at the same line, they exchange their values and go on; if
   they wait at different lines, or if some have ended, the kernel has diverged: the run stops and says where each stood.
   Between two meetings fibers run one after the other, in either direction, so that what a missing barrier would leave to
   chance goes wrong in one of the two. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define WARP (BLOCK < 32 ? BLOCK : 32)
#define STACK_BYTES (256 * 1024)

namespace host {

enum Meeting { NONE, SHUFFLE_ANY, NEXT, PREVIOUS, LANES_ONLY, ALL_THREADS, ENDED };

struct Fiber {
    jmp_buf place;
    Meeting meeting;
    const char *file;
    u32 line, lane;
    u64 value;
};

static Fiber fibers[BLOCK];
static ucontext_t beginning, unused;
static jmp_buf scheduler;
static u32 block_id, thread_id;
static void (*body)(void);
static char message[256];
static u64 wide; /* multiply-adds of 32 by 32 into 64 bits since the program was loaded */

static inline u64 meet(Meeting meeting, const char *file, u32 line, u64 value, u32 lane) {
    Fiber *self = &fibers[thread_id];
    self->meeting = meeting;
    self->file = file;
    self->line = line;
    self->value = value;
    self->lane = lane;
    if (!_setjmp(self->place)) _longjmp(scheduler, 1);
    return fibers[thread_id].value;
}

static void run_fiber(void) {
    body();
    meet(ENDED, "its end", 0, 0, 0);
}

/* Contexts give a fiber its stack; from there on jumps do, which change no signal mask and cost no system call. */
static void go_on(u32 t, char *stacks) {
    thread_id = t;
    if (_setjmp(scheduler)) return;
    if (fibers[t].file) _longjmp(fibers[t].place, 1);
    getcontext(&beginning);
    beginning.uc_stack.ss_sp = stacks + (size_t)t * STACK_BYTES;
    beginning.uc_stack.ss_size = STACK_BYTES;
    makecontext(&beginning, run_fiber, 0);
    swapcontext(&unused, &beginning);
}

static bool together(u32 first, u32 count) {
    const Fiber *leader = &fibers[first];
    for (u32 t = first + 1; t < first + count; t++)
        if (fibers[t].meeting != leader->meeting || fibers[t].line != leader->line || strcmp(fibers[t].file, leader->file))
            return false;
    return true;
}

static void exchange(u32 first, u32 count) {
    u64 values[BLOCK];
    for (u32 t = first; t < first + count; t++) values[t] = fibers[t].value;
    for (u32 t = first; t < first + count; t++) {
        const u32 lane = t % LANES;
        Fiber *fiber = &fibers[t];
        if (fiber->meeting == SHUFFLE_ANY) fiber->value = values[t - lane + fiber->lane % LANES];
        if (fiber->meeting == NEXT) fiber->value = lane == LANES - 1 ? 0 : values[t + 1];
        if (fiber->meeting == PREVIOUS) fiber->value = lane == 0 ? 0 : values[t - 1];
        fiber->meeting = NONE;
    }
}

/* Ends all meetings that are complete. False where there is none: nobody could ever go on. */
static bool meetings_end(void) {
    bool any = false;
    if (fibers[0].meeting == ALL_THREADS && together(0, BLOCK)) {
        exchange(0, BLOCK);
        return true;
    }
    for (u32 first = 0; first < BLOCK; first += WARP) {
        const Meeting meeting = fibers[first].meeting;
        if (meeting == ALL_THREADS || meeting == ENDED || !together(first, WARP)) continue;
        exchange(first, WARP);
        any = true;
    }
    return any;
}

static int diverged(void) {
    u32 other = 0; /* a fiber of thread 0's warp, else of the block, that stands elsewhere */
    while (other + 1 < BLOCK && fibers[other].line == fibers[0].line && !strcmp(fibers[other].file, fibers[0].file)) other++;
    snprintf(message, sizeof message, "block %u diverged: thread 0 waits at %s:%u, thread %u at %s:%u", block_id,
             fibers[0].file, fibers[0].line, other, fibers[other].file, fibers[other].line);
    return 1;
}

static int run_block(char *stacks, bool backwards) {
    memset(fibers, 0, sizeof fibers);
    for (;;) {
        for (u32 k = 0; k < BLOCK; k++) {
            const u32 t = backwards ? BLOCK - 1 - k : k;
            if (fibers[t].meeting == NONE) go_on(t, stacks);
        }
        if (fibers[0].meeting == ENDED && together(0, BLOCK)) return 0;
        if (!meetings_end()) return diverged();
    }
}

/* 0, or 1 with a message. */
static int run(void (*kernel)(void), u32 blocks, bool backwards) {
    char *stacks = (char *)malloc((size_t)BLOCK * STACK_BYTES);
    int failed = 0;
    body = kernel;
    for (block_id = 0; block_id < blocks && !failed; block_id++) failed = run_block(stacks, backwards);
    free(stacks);
    return failed;
}

} // namespace host

extern "C" const char *host_message(void) { return host::message; }
extern "C" u64 host_wide(void) { return host::wide; }

#define KERNEL(name) static void name
#define DEVICE static inline
#define LONG_DEVICE DEVICE
#define GLOBAL
#define LOCAL
#define LOCAL_ARRAY static /* one block runs at a time */
#define CONSTANT_TABLE static const
#define RESTRICT __restrict__
#define UNROLL
#define ROLLED
#define UNROLL_TWICE

#define BLOCK_ID (host::block_id)
#define THREAD_ID (host::thread_id)
#define BARRIER() ((void)host::meet(host::ALL_THREADS, __FILE__, __LINE__, 0, 0))
#define ORDER()

typedef struct alignas(16) { u64 x, y; } u64x2;
static inline u64 DOUBLE_BITS(double x) {
    u64 bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
#define fma(a, b, c) __builtin_fma(a, b, c)
#define MUL_HIGH(a, b) ((u64)(((unsigned __int128)(u64)(a) * (u64)(b)) >> 64))
#define MULTIPLY(a, b) (host::wide++, (u64)(a) * (b)) /* counted: what they cost is what a product costs */
#define MULTIPLY_ADD(acc, a, b) (host::wide++, (acc) += (u64)(a) * (b))
#define ATOMIC_INCREMENT(pointer) ((*(pointer))++)

#if LANES == 1
#define LANE_BARRIER() ((void)0)
#define SHUFFLE(value, lane) (value)
#define SHUFFLE_FROM_NEXT(value) ((value) * 0)
#define SHUFFLE_FROM_PREVIOUS(value) ((value) * 0)
#else
#define LANE_BARRIER() ((void)host::meet(host::LANES_ONLY, __FILE__, __LINE__, 0, 0))
#define SHUFFLE(value, lane) ((u32)host::meet(host::SHUFFLE_ANY, __FILE__, __LINE__, (u32)(value), lane))
#define SHUFFLE_FROM_NEXT(value) host::meet(host::NEXT, __FILE__, __LINE__, value, 0)
#define SHUFFLE_FROM_PREVIOUS(value) host::meet(host::PREVIOUS, __FILE__, __LINE__, value, 0)
#endif
