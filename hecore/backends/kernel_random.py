"""Secret randomness on a device: ChaCha20 in `kernels/device/random.c`, drawn where it is used and never sent.

Every launch has a 256-bit key of its own from the operating system, in a buffer that is wiped behind it, so that no
two launches share a stream: not two calls, not a call that ran out of memory and its retry, and not a process and its
forked child, which has no key to repeat. What is drawn is wiped when the last array that holds it is let go.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.limbs import limbs_for_bits
from hecore.backends import checks, ring_checks
from hecore.backends.kernel_base import KernelBase
from hecore.backends.protocol import DeviceExponents
from hecore.backends.ring_protocol import SmallArray
from hecore.errors import SelfTestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.device import Argument, Buffer
    from hecore.backends.protocol import Limbs

    Words = NDArray[np.uint32]

_KEY_WORDS = 8
_BLOCK_WORDS = 16
_TERNARY_BLOCK = 220
"""Coefficients that `ternary` makes of one block."""
_BINOMIAL_BLOCK = 12
_WORDS_A_LIMB = 2

# RFC 8439, section 2.3.2: key 00 01 … 1f, block counter 1, nonce 00000009 0000004a 00000000.
_KNOWN_COUNTER = 0x09000000 << 32 | 1
_KNOWN_NONCE = (0x4A000000, 0)
_KNOWN_BLOCK = bytes.fromhex(
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)


class KernelRandom(KernelBase):
    """The random operations of both protocols."""

    _stream_known = False

    def random_exponents(self, shape: tuple[int, ...], bits: int) -> DeviceExponents:
        checks.check_bits(bits)
        count, limbs = math.prod(shape), limbs_for_bits(bits)
        words = _WORDS_A_LIMB * limbs
        buffer = self._secret(4 * words * count).buffer
        scalars = np.uint32(words), np.uint32(bits), np.uint32(count)
        self._draw("random_bits", -(-words // _BLOCK_WORDS) * count, buffer, *scalars)

        def fetch() -> Limbs:
            return self._to_host(buffer, (*shape, limbs), np.uint64)

        return DeviceExponents(self._whole(), shape, bits, buffer, fetch)

    def random_ternary(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        return self._small("ternary", _TERNARY_BLOCK, shape, ring_degree)

    def random_errors(self, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        return self._small("binomial", _BINOMIAL_BLOCK, shape, ring_degree)

    def _small(self, kernel: str, block: int, shape: tuple[int, ...], ring_degree: int) -> SmallArray:
        """`data` is a buffer of i64, like that of coefficients from the host."""
        ring_checks.check_sampling(shape, ring_degree)
        count = math.prod(shape) * ring_degree
        buffer = self._secret(8 * count).buffer
        self._draw(kernel, -(-count // block), buffer, np.uint64(count))
        return SmallArray(self._whole(), ring_degree, shape, buffer)

    def _draw(self, kernel: str, blocks: int, *arguments: Argument) -> None:
        """A kernel over that many blocks of a new stream: its first argument, then the key, then the others."""
        if not self._stream_known:
            self._check_stream()
        self._with_key(np.frombuffer(os.urandom(4 * _KEY_WORDS), dtype=np.uint32), kernel, blocks, *arguments)

    def _with_key(self, key: Words, kernel: str, threads: int, out: Argument, *arguments: Argument) -> None:
        defines = {"BLOCK": self._device.facts.block, "LANES": 1}
        with self._secret(key.nbytes) as buffer:
            self._device.write(buffer, key)
            self._launch("random", kernel, defines, threads, out, buffer, *arguments)

    def _check_stream(self) -> None:
        """The published block comes out, before a number is drawn: a bad stream looks as random as a good one."""
        key = np.arange(4 * _KEY_WORDS, dtype=np.uint8).view(np.uint32)
        out: Buffer = self._empty(_BLOCK_WORDS, np.uint32)
        nonce = (np.uint32(word) for word in _KNOWN_NONCE)
        self._with_key(key, "stream", 1, out, np.uint64(_KNOWN_COUNTER), *nonce, np.uint32(1))
        if self._to_host(out, (_BLOCK_WORDS,), np.uint32).tobytes() != _KNOWN_BLOCK:
            raise SelfTestError(
                f"backend {self.name!r} refuses to work: its ChaCha20 on {self.device} disagrees with RFC 8439"
            )
        self._stream_known = True
