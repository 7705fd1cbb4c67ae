/* OpenCL C 1.2. PoCL and most drivers offer no shuffles, so that here one thread holds a whole integer (LANES = 1). */
#if LANES != 1
#error "cooperating threads need shuffles: LANES must be 1 in OpenCL"
#endif

typedef uchar u8;
typedef uint u32;
typedef ulong u64;
typedef int i32;
typedef long i64;
typedef ulong2 u64x2; /* .x and .y; aligned to 16 bytes, loaded at once */

#define KERNEL(name) __kernel __attribute__((reqd_work_group_size(BLOCK, 1, 1))) void name
#define DEVICE static inline __attribute__((always_inline)) /* PoCL loses barriers of functions that stay calls */
#if BLOCK == 1 /* a processor's: three long functions that stay calls halve the time to compile */
#define LONG_DEVICE static __attribute__((noinline))
#else
#define LONG_DEVICE DEVICE
#endif
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_ARRAY __local
#define CONSTANT_TABLE __constant
#define RESTRICT restrict
#define UNROLL
#define ROLLED
#define UNROLL_TWICE

#define BLOCK_ID ((u32)get_group_id(0))
#define THREAD_ID ((u32)get_local_id(0))
#if BLOCK == 1 /* nobody to wait for: without barriers a compiler need not cut its kernels into regions */
#define BARRIER()
#else
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#endif
#define LANE_BARRIER() /* the lanes of one integer see each other's local memory: one lane has nothing to wait for */
#define ORDER()

#define MUL_HIGH(a, b) mul_hi((u64)(a), (u64)(b))
#define MULTIPLY(a, b) ((u64)(a) * (b)) /* 32 by 32 bits into 64 */
#define MULTIPLY_ADD(acc, a, b) ((acc) += (u64)(a) * (b))
#define DOUBLE_BITS(x) as_ulong(x)
#define ATOMIC_INCREMENT(pointer) atomic_inc(pointer)

#define SHUFFLE(value, lane) (value)
#define SHUFFLE_FROM_NEXT(value) ((value) * 0)
#define SHUFFLE_FROM_PREVIOUS(value) ((value) * 0)
