"""What the contract suite cannot see of residues on `KernelBackend`: memory, what is left there, what is launched."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hecore.backends.reference import ReferenceBackend
from hecore.errors import BackendError, DeviceMemoryError
from tests.backends.ring_lab import RingLab, basis_named, noise, switched
from tests.backends.watched_device import WatchedBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.backends.ring_protocol import Words

BASIS = basis_named("60+40+50-", 64)
POLYNOMIAL = 3 * 64 * 8  # bytes
MAGNITUDES, NEGATIVE = noise("wide", (9, 64, 4)), noise("signs", (9, 64), 1).astype(np.bool_)
SMALL = noise("small", (9, 64), 60).view(np.int64)


@pytest.fixture
def backend() -> WatchedBackend:
    return WatchedBackend()


def launched(backend: WatchedBackend, operation: Callable[[], object]) -> Counter[str]:
    """The kernels of an operation."""
    first = len(backend.watched.launches)
    operation()
    return Counter(kernel for kernel, _ in backend.watched.launches[first:])


# -- memory ---------------------------------------------------------------------------------------------------


def everything(backend: WatchedBackend) -> None:
    """What takes memory of its own beside its operands and its result."""
    lab, other = RingLab(backend), RingLab(ReferenceBackend())
    words = lab.words(BASIS, (3, 3))
    for ntt in (False, True):
        expected = other.backend.ring_decode(other.up(words, BASIS, ntt=ntt))
        for got, wanted in zip(lab.backend.ring_decode(lab.up(words, BASIS, ntt=ntt)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    wide = other.backend.ring_download(other.backend.ring_encode_wide(MAGNITUDES, NEGATIVE, BASIS))
    lab.same(backend.ring_encode_wide(MAGNITUDES, NEGATIVE, BASIS), wide, BASIS, (9,), ntt=False)
    small = other.backend.ring_download(other.backend.ring_encode(SMALL, BASIS))
    lab.same(backend.ring_encode(SMALL, BASIS), small, BASIS, (9,), ntt=False)


def test_a_small_budget_means_many_parts() -> None:
    backend = WatchedBackend(memory_budget=1)
    assert launched(backend, lambda: everything(backend))["compose"] == 18


def test_refused_memory_means_smaller_parts(backend: WatchedBackend) -> None:
    """All but what decoding and wide magnitudes take for the whole batch fits."""
    with backend.watched.refusing(9 * POLYNOMIAL):
        kernels = launched(backend, lambda: everything(backend))
    assert 2 < kernels["compose"] < 18
    assert kernels["encode_wide"] == 3
    assert kernels["encode"] == 1


def test_where_nothing_can_be_cut_an_error_says_so_and_nothing_is_lost(backend: WatchedBackend) -> None:
    lab = RingLab(backend)
    words = lab.words(BASIS, ())
    a = lab.up(words, BASIS, ntt=False)
    with backend.watched.refusing(POLYNOMIAL):
        for operation in (
            lambda: backend.ring_decode(a),  # even one needs more beside it
            lambda: backend.ring_take(a, np.zeros(2, dtype=np.intp)),
            lambda: backend.ring_encode(SMALL, BASIS),
        ):
            with pytest.raises(DeviceMemoryError):
                operation()
    lab.same(a, words, BASIS, (), ntt=False)
    everything(backend)


def test_small_polynomials_are_added_in_parts() -> None:
    backend = WatchedBackend(memory_budget=1)
    small = backend.random_errors((9,), 64)
    expected = backend.residue_add(backend.ring_encode(SMALL, BASIS), backend.ring_encode(small, BASIS))
    found = backend.ring_encode(SMALL, BASIS, plus=small)
    np.testing.assert_array_equal(backend.ring_download(found), backend.ring_download(expected))


def test_changes_of_basis_in_parts(backend: WatchedBackend) -> None:
    """By a budget of one polynomial, and where no more memory is to be had than the result takes."""
    extra, digits, size = basis_named("59", 64), [(0, 1), (1, 3)], 5
    expected = switched(ReferenceBackend(), BASIS, extra, digits, size)
    small = WatchedBackend(memory_budget=1)
    for mine, theirs in zip(switched(small, BASIS, extra, digits, size), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert Counter(kernel for kernel, _ in small.watched.launches)["accumulate_raised"] == size
    lab, whole, thirds = RingLab(backend), BASIS.join(extra), [(0, 1), (1, 2), (2, 3)]
    a, key = lab.up(lab.words(BASIS, (size,)), BASIS), lab.up(lab.words(whole, (1, 3), "b"), whole)
    result = size * len(whole) * 64 * 8

    def with_two_keys() -> Words:  # digits are stored for more than one: three times what one key's result takes
        return backend.ring_download(backend.decompose_mul_accumulate(a, thirds, extra, [key, key]))

    right, before = with_two_keys(), len(backend.watched.launches)
    with backend.watched.refusing(2 * result):
        np.testing.assert_array_equal(with_two_keys(), right)
    assert Counter(kernel for kernel, _ in backend.watched.launches[before:])["accumulate_raised"] > 2
    operations: list[Callable[[], object]] = [
        lambda: backend.intt(a),
        lambda: backend.divide_round(a, 1),
        lambda: backend.decompose(a, thirds, extra),
        lambda: backend.decompose_mul_accumulate(a, thirds, extra, key),
    ]
    with backend.watched.refusing(POLYNOMIAL // 2):
        for operation in operations:
            with pytest.raises(DeviceMemoryError):
                operation()
    np.testing.assert_array_equal(with_two_keys(), right)


# -- secrets --------------------------------------------------------------------------------------------------


def left_behind(backend: WatchedBackend, first: int) -> list[int]:
    """Numbers of the buffers given since `first` that hold more than zeros, all handles being let go."""
    gc.collect()
    return [first + i for i, data in enumerate(backend.watched.contents(first)) if any(data)]


def test_nothing_of_messages_is_left_in_memory(backend: WatchedBackend) -> None:
    lab = RingLab(backend)
    arrays = [lab.up(lab.words(BASIS, (3,)), BASIS, ntt=ntt) for ntt in (False, True)]

    def cross() -> None:
        backend.ring_encode(SMALL, BASIS)
        backend.ring_encode_wide(MAGNITUDES, NEGATIVE, BASIS)
        for a in arrays:
            backend.ring_decode(a)

    cross()  # tables are there now, and public
    first = len(backend.watched.buffers)
    cross()
    assert len(backend.watched.buffers) > first + 6
    assert left_behind(backend, first) == []
    for launch in range(sum(launched(backend, cross).values())):
        with backend.watched.failing(launch), pytest.raises(BackendError, match="the test says so"):
            cross()
        assert left_behind(backend, first) == []


# -- what is launched -----------------------------------------------------------------------------------------


def test_one_launch_an_operation_and_none_where_nothing_moves(backend: WatchedBackend) -> None:
    lab = RingLab(backend)
    a, b = lab.up(lab.words(BASIS, (2, 1, 2)), BASIS), lab.up(lab.words(BASIS, (3, 2)), BASIS)
    flat = lab.up(lab.words(BASIS, (2,)), BASIS, ntt=False)
    operations: dict[str, tuple[Callable[[], object], dict[str, int]]] = {
        "add": (lambda: backend.residue_add(a, b), {"combine": 1}),
        "subtract": (lambda: backend.residue_sub(a, b), {"combine": 1}),
        "negate": (lambda: backend.residue_negate(a), {"negate": 1}),
        "multiply": (lambda: backend.residue_mul(a, b), {"multiply": 1}),
        "accumulate": (lambda: backend.residue_mul_accumulate(a, b), {"multiply_accumulate": 1}),
        "tensor": (lambda: backend.tensor_product(a, b), {"tensor": 1}),
        "scale": (lambda: backend.residue_scale(a, [1, 2, 3]), {"scale": 1}),
        "shift": (lambda: backend.residue_shift(a, [1, 2, 3]), {"shift": 1}),
        "automorphism": (lambda: backend.automorphism(a, 5), {"permute": 1}),
        "of coefficients": (lambda: backend.automorphism(flat, 5), {"permute_signed": 1}),
        "automorphisms": (lambda: backend.automorphism_sum(a, [3, 5, 7, 9]), {"permute_sum": 1}),
        "convert": (lambda: backend.base_convert(flat, basis_named("59", 64), exact=True), {"convert": 1}),
        "take": (lambda: backend.ring_take(a, np.array([2, 0])), {"move": 1}),
        "take unevenly": (lambda: backend.ring_take(a, np.array([2, 0, 1])), {"gather_rows": 1}),
        "take all": (lambda: backend.ring_take(a, np.arange(4)), {}),
        "concatenate": (lambda: backend.ring_concatenate([a, b]), {"move": 2}),
        "concatenate one": (lambda: backend.ring_concatenate([a]), {}),
        "reshape": (lambda: backend.ring_reshape(a, (4,)), {}),
        "moduli": (lambda: backend.ring_moduli(a, [0, 1]), {"move": 1}),
        "all moduli": (lambda: backend.ring_moduli(a, [0, 1, 2]), {}),
        "encode": (lambda: backend.ring_encode(SMALL, BASIS), {"encode": 1}),
        "decode": (lambda: backend.ring_decode(flat), {"compose": 1}),
    }
    for name, (operation, expected) in operations.items():
        assert launched(backend, operation) == expected, name


def test_a_failed_launch_leaves_the_backend_usable(backend: WatchedBackend) -> None:
    for launch in range(sum(launched(backend, lambda: everything(backend)).values())):
        with backend.watched.failing(launch), pytest.raises(BackendError, match="the test says so"):
            everything(backend)
    everything(backend)
