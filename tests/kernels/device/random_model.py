"""What the kernels of random.c draw under a fixed key, from OpenSSL's ChaCha20 and Python integers."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

KEY = bytes(range(100, 132))

# RFC 8439: (key, counter, nonce of 96 bits, block). Section 2.3.2, and the first two vectors of appendix A.1.
VECTORS = {
    "2.3.2": (
        bytes(range(32)).hex(),
        1,
        "000000090000004a00000000",
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
    ),
    "A.1 #1": (
        "00" * 32,
        0,
        "00" * 12,
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
    ),
    "A.1 #2": (
        "00" * 32,
        1,
        "00" * 12,
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
    ),
}


def state_of(counter: int, nonce: str) -> tuple[int, int, int]:
    """A vector's counter of 64 bits and nonce of two words, as `stream` takes them."""
    low, middle, high = (int(word) for word in np.frombuffer(bytes.fromhex(nonce), dtype="<u4"))
    return low << 32 | counter, middle, high


def block(counter: int, nonce: tuple[int, int]) -> bytes:
    """One block under KEY."""
    state = b"".join(word.to_bytes(size, "little") for word, size in ((counter, 8), (nonce[0], 4), (nonce[1], 4)))
    return Cipher(algorithms.ChaCha20(KEY, state), None).encryptor().update(bytes(64))


def stream(count: int) -> bytes:
    """Blocks 0 … count-1 under KEY."""
    return Cipher(algorithms.ChaCha20(KEY, bytes(16)), None).encryptor().update(bytes(64 * count))


def exponents(count: int, words: int, bits: int) -> list[int]:
    """What `random_bits` draws."""
    size = 64 * -(-words // 16)
    data = stream(count * size // 64)
    return [int.from_bytes(data[size * i : size * (i + 1)], "little") % (1 << bits) for i in range(count)]


def ternary(count: int) -> NDArray[np.int64]:
    """(count,), what `ternary` draws."""
    threads = -(-count // 220)
    data, digits = stream(threads), np.empty((220, threads), dtype=np.int64)
    for t in range(threads):
        rest = int.from_bytes(data[64 * t : 64 * (t + 1)], "little") * 3**220 >> 512
        for i in reversed(range(220)):
            rest, digits[i, t] = divmod(rest, 3)
    return digits.reshape(-1)[:count] - 1


def errors(count: int) -> NDArray[np.int64]:
    """(count,), what `binomial` draws."""
    threads = -(-count // 12)
    words = np.frombuffer(stream(threads), dtype="<u8").reshape(threads, 4, 2).tolist()
    samples = [
        [sample.bit_count() - 21 for a, b in pairs for sample in (a % 2**42, b % 2**42, (a >> 42) + (b >> 44 << 22))]
        for pairs in words
    ]
    return np.array(samples, dtype=np.int64).T.reshape(-1)[:count]
