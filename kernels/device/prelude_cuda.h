/* CUDA C++ for NVRTC, from compute capability 7.0 on: lanes of one integer are neighbours in a warp. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef ulonglong2 u64x2; /* .x and .y; aligned to 16 bytes, loaded at once */

#define RESIDENT 1 /* blocks that registers must leave room for on one multiprocessor; a program may say more */
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT) name
#define DEVICE static __device__ __forceinline__
#define LONG_DEVICE DEVICE
#define GLOBAL
#define LOCAL
#define LOCAL_ARRAY __shared__
#define CONSTANT_TABLE static __constant__ const
#define RESTRICT __restrict__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1") /* a loop that stays one */
#define UNROLL_TWICE _Pragma("unroll 2")

#define BLOCK_ID ((u32)blockIdx.x)
#define THREAD_ID ((u32)threadIdx.x)
#define BARRIER() __syncthreads()
#define LANE_BARRIER() __syncwarp()
#define ORDER() asm volatile("" ::: "memory") /* loads stay on their side: fetched early they only take registers */

#define MUL_HIGH(a, b) __umul64hi((u64)(a), (u64)(b))
/* acc += a * b, 32 by 32 bits into 64: one IMAD.WIDE. Written `acc += (u64)a * b` in C, it comes out as IMAD.WIDE and an
 * addition (of a zero, where a conversion moved out of a loop; of the whole product, from PTX's own mad.wide). */
DEVICE void multiply_add(u64 &acc, u32 a, u32 b) {
    u32 low = (u32)acc, high = (u32)(acc >> 32);
    asm("mad.lo.cc.u32 %0, %2, %3, %0;\n\tmadc.hi.u32 %1, %2, %3, %1;" : "+r"(low), "+r"(high) : "r"(a), "r"(b));
    acc = (u64)high << 32 | low;
}
#define MULTIPLY(a, b) ((u64)(a) * (b))
#define MULTIPLY_ADD(acc, a, b) multiply_add(acc, a, b)
#define DOUBLE_BITS(x) ((u64)__double_as_longlong(x))
#define ATOMIC_INCREMENT(pointer) atomicAdd(pointer, 1u)

#if LANES == 1
#define SHUFFLE(value, lane) (value)
#define SHUFFLE_FROM_NEXT(value) ((value) * 0)
#define SHUFFLE_FROM_PREVIOUS(value) ((value) * 0)
#else
/* Every thread of a warp takes part (no kernel returns early). The last lane gets 0 from its next, the first from its previous. */
#define SHUFFLE(value, lane) __shfl_sync(0xffffffffu, value, lane, LANES)
DEVICE u64 shuffle_from_next(u64 value) {
    u64 moved = __shfl_down_sync(0xffffffffu, value, 1, LANES);
    return THREAD_ID % LANES == LANES - 1 ? 0 : moved;
}
DEVICE u64 shuffle_from_previous(u64 value) {
    u64 moved = __shfl_up_sync(0xffffffffu, value, 1, LANES);
    return THREAD_ID % LANES == 0 ? 0 : moved;
}
#define SHUFFLE_FROM_NEXT(value) shuffle_from_next(value)
#define SHUFFLE_FROM_PREVIOUS(value) shuffle_from_previous(value)
#endif
