"""Random words -> samples: uniform residues, ternary digits, centred binomials; and BLAKE2Xb's blocks.

`trits` and `binomial` see secrets: fixed loops of arithmetic. `accept_below` and `accept_bytes` reject words
that are out of range and close the gaps: where a rejection happened shows in their addresses and branches, and that
says nothing of the words that stay, each of which is uniform and independent of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hecore.kernels.cpu.cache import inner, kernel

_TRITS = np.uint8(243)  # 3^5: a byte below it holds five ternary digits
_MASK_42 = np.uint64((1 << 42) - 1)


@intrinsic
def _population(_typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def codegen(_context: Any, b: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        return b.ctpop(args[0])

    return types.int64(types.uint64), codegen


@kernel
def accept_below(out, filled, words, mask, bound):
    """Append each word & mask that is below `bound`, in order, to out[filled:], as far as there is room.

    Returns how much of `out` is filled now. The words that are out of range are rare for a prime just below 2^b, so
    the first loop copies as if there were none and counts them.
    """
    room = min(out.size - filled, words.size)
    rejected = 0
    for i in range(room):
        word = words[i] & mask
        out[filled + i] = word
        rejected += word >= bound
    if rejected == 0:
        return filled + room
    end = out.size
    for i in range(words.size):
        if filled == end:
            break
        word = words[i] & mask
        out[filled] = word
        filled += word < bound
    return filled


@kernel
def accept_bytes(out, data):
    """The bytes below 243, in order, at the front of `out`, which is one longer than asked; returns their number."""
    filled = 0
    last = out.size - 1
    for i in range(data.size):
        out[filled] = data[i]
        filled = min(filled + (data[i] < _TRITS), last)
    return filled


@kernel
def trits(out, digits):
    """out[k*M + j] = the k-th ternary digit, lowest first, of digits[j] < 243, less 1; M = digits.size >= out.size/5.

    `digits` is used up. x*171 >> 9 is x // 3 for x < 512.
    """
    columns = digits.size
    for k in range(5):
        start = k * columns
        for j in range(max(0, min(columns, out.size - start))):
            value = np.uint32(digits[j])
            third = (value * np.uint32(171)) >> np.uint32(9)
            digits[j] = np.uint8(third)
            out[start + j] = np.int64(value) - np.int64(3) * np.int64(third) - np.int64(1)


@kernel
def binomial(out, words):
    """Centred binomials of 42 random bits each: how many are set, less 21. out.size = 4*M, words.size = 3*M.

    Three words give four samples: the low 42 bits of each, and 22 + 20 of the bits above them.
    """
    columns = words.size // 3
    for j in range(columns):
        a, b, c = words[j], words[columns + j], words[2 * columns + j]
        out[j] = _population(a & _MASK_42) - 21
        out[columns + j] = _population(b & _MASK_42) - 21
        out[2 * columns + j] = _population(c & _MASK_42) - 21
        out[3 * columns + j] = _population((a >> np.uint64(42)) | ((b >> np.uint64(44)) << np.uint64(22))) - 21


# -- BLAKE2b (RFC 7693), the one block that a node of BLAKE2Xb needs -----------------------------------------

_IV = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    dtype=np.uint64,
)
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    dtype=np.int64,
)


@inner
def _rotate(word, count):
    return (word >> np.uint64(count)) | (word << np.uint64(64 - count))


@inner
def _mix(v, a, b, c, d, x, y):
    """RFC 7693, section 3.1: the function G."""
    v[a] += v[b] + x
    v[d] = _rotate(v[d] ^ v[a], 32)
    v[c] += v[d]
    v[b] = _rotate(v[b] ^ v[c], 24)
    v[a] += v[b] + y
    v[d] = _rotate(v[d] ^ v[a], 16)
    v[c] += v[d]
    v[b] = _rotate(v[b] ^ v[c], 63)


@kernel
def blake2x_nodes(out, roots, xof_bytes):
    """The output blocks of BLAKE2Xb: out (count, blocks, 8) words from root digests (count, 8), xof_bytes = 64*blocks.

    Node i is BLAKE2b of the root digest with fanout and depth 0, leaf length and inner length 64 and
    node offset i, and the whole length in the next word (BLAKE2X, section 2).
    """
    v = np.empty(16, np.uint64)
    h = np.empty(8, np.uint64)
    m = np.zeros(16, np.uint64)
    for c in range(out.shape[0]):
        m[:8] = roots[c]
        for i in range(out.shape[1]):
            h[:] = _IV
            h[0] ^= np.uint64(64) | (np.uint64(64) << np.uint64(32))  # digest length, leaf length
            h[1] ^= np.uint64(i) | (np.uint64(xof_bytes) << np.uint64(32))
            h[2] ^= np.uint64(64) << np.uint64(8)  # node depth 0, inner length
            v[:8] = h
            v[8:] = _IV
            v[12] ^= np.uint64(64)  # bytes hashed
            v[14] = ~v[14]  # the last block
            for step in range(12):
                s = _SIGMA[step % 10]
                for k in range(4):
                    _mix(v, k, 4 + k, 8 + k, 12 + k, m[s[2 * k]], m[s[2 * k + 1]])
                for k in range(4):
                    x, y = m[s[8 + 2 * k]], m[s[9 + 2 * k]]
                    _mix(v, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4, x, y)
            for k in range(8):
                out[c, i, k] = h[k] ^ v[k] ^ v[k + 8]
