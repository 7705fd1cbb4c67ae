"""CPU kernels: Numba over LLVM vector intrinsics, one text for AVX-512 IFMA and for machines without it."""
