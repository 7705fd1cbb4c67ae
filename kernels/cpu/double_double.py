"""Fourier transforms of complex numbers in double-double arithmetic: about 104 bits where a double has 53.

A number is an unevaluated sum hi + lo of two doubles with |lo| <= ulp(hi)/2. With u = 2^-53 a sum is off by at most
3u^2 and a product by 4u^2 or so, relative (Joldes, Muller, Popescu: "Tight and rigorous error bounds for basic building
blocks of double-word arithmetic", ACM TOMS 44(2), 2017, algorithms 6 and 12). These hold as long as the compiler keeps
every rounding: no fast-math here.

Arrays are (4, n) float64: hi and lo of the real parts, hi and lo of the imaginary parts. Encoded values pass through
here; the operations are the same for all of them, floating-point units may take longer for subnormal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, kernel

_TWO_32 = 4294967296.0
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@intrinsic
def _fma(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a*b + c with one rounding."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@inner
def _two_sum(a, b):
    """Knuth: a + b exactly as a double and the rest."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@inner
def _fast_two_sum(a, b):
    """Dekker: the same for |a| >= |b|, or a = 0."""
    s = a + b
    return s, b - (s - a)


@inner
def _add(ah, al, bh, bl):
    sh, sl = _two_sum(ah, bh)
    th, tl = _two_sum(al, bl)
    sh, sl = _fast_two_sum(sh, sl + th)
    return _fast_two_sum(sh, sl + tl)


@inner
def _mul(ah, al, bh, bl):
    p = ah * bh
    return _fast_two_sum(p, _fma(ah, bl, _fma(al, bh, _fma(ah, bh, -p))))


@inner
def _complex_mul(arh, arl, aih, ail, brh, brl, bih, bil):
    ph, pl = _mul(arh, arl, brh, brl)
    qh, ql = _mul(aih, ail, bih, bil)
    xh, xl = _add(ph, pl, -qh, -ql)
    ph, pl = _mul(arh, arl, bih, bil)
    qh, ql = _mul(aih, ail, brh, brl)
    yh, yl = _add(ph, pl, qh, ql)
    return xh, xl, yh, yl


@kernel
def multiply(a, b, factor_hi, factor_lo):
    """a *= b * factor elementwise; a and b (4, n), the factor one real number."""
    for i in range(a.shape[1]):
        xh, xl, yh, yl = _complex_mul(a[0, i], a[1, i], a[2, i], a[3, i], b[0, i], b[1, i], b[2, i], b[3, i])
        a[0, i], a[1, i] = _mul(xh, xl, factor_hi, factor_lo)
        a[2, i], a[3, i] = _mul(yh, yl, factor_hi, factor_lo)


@kernel
def from_natural(a, twiddles):
    """sum_t a_t * w^(k*t) at position brv(k), in place: Gentleman and Sande, natural to bit-reversed order.

    `twiddles` (4, n-1) holds w_(2h)^j for j < h at h-1+j, for h = 1, 2, 4, …, w_(2h) a primitive 2h-th root of unity.
    """
    n = a.shape[1]
    h = n >> 1
    while h:
        for start in range(0, n, 2 * h):
            for j in range(h):
                x, y, t = start + j, start + h + j, h - 1 + j
                drh, drl = _add(a[0, x], a[1, x], -a[0, y], -a[1, y])
                dih, dil = _add(a[2, x], a[3, x], -a[2, y], -a[3, y])
                a[0, x], a[1, x] = _add(a[0, x], a[1, x], a[0, y], a[1, y])
                a[2, x], a[3, x] = _add(a[2, x], a[3, x], a[2, y], a[3, y])
                a[0, y], a[1, y], a[2, y], a[3, y] = _complex_mul(
                    drh, drl, dih, dil, twiddles[0, t], twiddles[1, t], twiddles[2, t], twiddles[3, t]
                )
        h >>= 1


@kernel
def to_natural(a, twiddles):
    """sum_t a_t * w^(k*t) at position k, where a_t stands at brv(t), in place: Cooley and Tukey."""
    n = a.shape[1]
    h = 1
    while h < n:
        for start in range(0, n, 2 * h):
            for j in range(h):
                x, y, t = start + j, start + h + j, h - 1 + j
                prh, prl, pih, pil = _complex_mul(
                    a[0, y], a[1, y], a[2, y], a[3, y], twiddles[0, t], twiddles[1, t], twiddles[2, t], twiddles[3, t]
                )
                a[0, y], a[1, y] = _add(a[0, x], a[1, x], -prh, -prl)
                a[2, y], a[3, y] = _add(a[2, x], a[3, x], -pih, -pil)
                a[0, x], a[1, x] = _add(a[0, x], a[1, x], prh, prl)
                a[2, x], a[3, x] = _add(a[2, x], a[3, x], pih, pil)
        h <<= 1


@kernel
def from_limbs(out, magnitudes, negative, factor_hi, factor_lo):
    """out (2, n) = factor * (±magnitudes) for limbs (n, L), little-endian, and signs (n,)."""
    for i in range(out.shape[1]):
        hi, lo = 0.0, 0.0
        for k in range(magnitudes.shape[1] - 1, -1, -1):
            limb = magnitudes[i, k]
            hi, lo = _add(hi * _TWO_32 * _TWO_32, lo * _TWO_32 * _TWO_32, np.float64(limb >> _HALF) * _TWO_32, 0.0)
            hi, lo = _add(hi, lo, np.float64(limb & _LOW), 0.0)
        hi, lo = _mul(hi, lo, factor_hi, factor_lo)
        out[0, i] = -hi if negative[i] else hi
        out[1, i] = -lo if negative[i] else lo
