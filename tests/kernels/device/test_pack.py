"""Limbs to digits and back, rows moved and words set: on the host's fibers and on an OpenCL device."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.device.host import Guarded, HostProgram, signatures, text_of
from tests.kernels.device.lab import OpenClRunner, Runner

U64 = np.uint64


@pytest.fixture(scope="module", params=["host", "opencl"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    defines = {"BLOCK": 8, "LANES": 1}
    if request.param == "opencl":
        return OpenClRunner("pack", defines)
    return HostProgram(tmp_path_factory.mktemp("pack"), "pack", text_of("pack"), signatures("pack"), defines)


@pytest.mark.parametrize(("limbs", "radix"), [(1, 27), (1, 28), (2, 28), (7, 27), (17, 28), (64, 27), (5, 32), (3, 1)])
def test_digits_and_limbs(pack: Runner, limbs: int, radix: int) -> None:
    count, digits = 5, -(-64 * limbs // radix) + 1
    values = [0, 1, (1 << 64 * limbs) - 1, 1 << 64 * limbs - 1, (1 << 64 * limbs) // 3]
    given = np.array([[value >> 64 * k & (1 << 64) - 1 for k in range(limbs)] for value in values], dtype=U64)
    out, back = Guarded(count * digits), np.full_like(given, 5)
    pack.launch("digits_from_limbs", count * digits, out.words, given, limbs, digits, radix, count)
    expected = [[value >> radix * k & (1 << radix) - 1 for k in range(digits)] for value in values]
    assert out.checked().reshape(count, digits).tolist() == expected
    pack.launch("limbs_from_digits", count * limbs, back, out.words.copy(), digits, limbs, radix, count)
    assert (back == given).all()


def test_fewer_digits_than_limbs_hold(pack: Runner) -> None:
    given = np.array([[(1 << 64) - 1, 1], [0, 0]], dtype=U64)
    out, back = Guarded(6), np.full((2, 3), 7, dtype=U64)
    pack.launch("digits_from_limbs", 6, out.words, given, 2, 3, 28, 2)
    assert out.checked().tolist() == [(1 << 28) - 1, (1 << 28) - 1, (1 << 9) - 1, 0, 0, 0]
    pack.launch("limbs_from_digits", 6, back, out.words.copy(), 3, 3, 28, 2)
    assert back.tolist() == [[(1 << 64) - 1, 1, 0], [0, 0, 0]]


def test_rows(pack: Runner) -> None:
    rows = np.arange(21, dtype=np.uint32).reshape(7, 3)
    index = np.array([6, 0, 0, 3, 5], dtype=np.uint32)
    out = Guarded(15)
    pack.launch("gather", 15, out.words, rows, index, 3, 5)
    assert (out.checked().reshape(5, 3) == rows[index]).all()
    pack.launch("fill", 13, out.words, 9, 13)
    assert out.checked().tolist() == [9] * 13 + rows[5][1:].tolist()
