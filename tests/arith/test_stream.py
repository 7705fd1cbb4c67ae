"""The stream against NIST's vectors; secret streams repeat nothing, not in threads, nor in a forked child."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest

from hecore.arith.stream import Keystream, SecretStream
from hecore.errors import RandomnessReuseError


def test_keystream_is_aes_256_ctr() -> None:
    """NIST SP 800-38A, F.5.5: the four blocks of keystream ("Output Block"), and one block from a later counter."""
    stream = Keystream(bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
    expected = bytes.fromhex(
        "0bdf7df1591716335e9a8b15c860c502" "5a6e699d536119065433863c8f657b94"
        "1bc12c9c01610d5d0d8bd6a3378eca62" "2956e1c8693536b1bee99c73a31576b6"
    )  # fmt: skip
    stream.seek(bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
    assert stream.read(10).tobytes() + stream.read(54).tobytes() == expected
    stream.seek(bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdff01"))
    assert stream.read(16).tobytes() == expected[32:48]


def test_keystream_across_its_pieces() -> None:
    whole, parts = Keystream(bytes(32)), Keystream(bytes(32))
    data = whole.read((1 << 21) + 7)
    assert np.array_equal(data, np.concatenate([parts.read(5), parts.read((1 << 21) + 2)]))
    assert len(np.unique(data[: 1 << 16].view(np.uint64))) == 1 << 13


def test_streams_differ() -> None:
    a, b = SecretStream(), SecretStream()
    pieces = [stream.read(64).tobytes() for stream in (a, a, b)]
    assert len(set(pieces)) == 3
    assert a.read(0).size == 0


def test_a_stream_ends_in_a_forked_child() -> None:
    stream = SecretStream()
    stream.read(1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            stream.read(1)
        except RandomnessReuseError:
            status = 0 if SecretStream().read(16).any() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stream.read(16).any()


def test_a_stream_is_not_copied() -> None:
    stream = SecretStream()
    for how in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(RandomnessReuseError, match="cannot pickle or copy"):
            how(stream)


def test_threads_share_a_stream_without_repetition() -> None:
    stream = SecretStream()
    pieces: list[bytes] = []

    def read() -> None:
        pieces.extend(stream.read(48).tobytes() for _ in range(200))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pieces)) == 800
