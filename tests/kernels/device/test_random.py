"""ChaCha20 and what is drawn from it, as C++ of the host; `tests/backends/test_kernel_random.py` has them on OpenCL."""

from __future__ import annotations

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs
from tests.kernels.device import random_model as model
from tests.kernels.device.host import COMPILER, Guarded, HostProgram, signatures, text_of

KEY = np.frombuffer(model.KEY, dtype=np.uint32)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> HostProgram:
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    folder, defines = tmp_path_factory.mktemp("host"), {"BLOCK": 32, "LANES": 1}
    return HostProgram(folder, "random", text_of("random"), signatures("random"), defines)


@pytest.mark.parametrize("name", model.VECTORS)
def test_published_vectors(program: HostProgram, name: str) -> None:
    key, counter, nonce, expected = model.VECTORS[name]
    out, words = Guarded(16), np.frombuffer(bytes.fromhex(key), dtype=np.uint32)
    program.launch("stream", 1, out.words, words, *model.state_of(counter, nonce), 1)
    assert out.checked().tobytes().hex() == expected


def test_exponents(program: HostProgram) -> None:
    for bits in (1, 32, 65, 512, 1100):
        limbs = -(-bits // 64)
        out, threads = Guarded(2 * limbs * 40), 40 * -(-2 * limbs // 16)
        program.launch("random_bits", threads, out.words, KEY, 2 * limbs, bits, 40)
        found = out.checked().view(np.uint64).reshape(40, limbs)
        assert ints_from_limbs(found) == model.exponents(40, 2 * limbs, bits)


@pytest.mark.parametrize("count", [16, 224, 8192])
def test_small_polynomials(program: HostProgram, count: int) -> None:
    for kernel, each, expected in (("ternary", 220, model.ternary), ("binomial", 12, model.errors)):
        out = Guarded(2 * count)
        program.launch(kernel, -(-count // each), out.words, KEY, count)
        assert np.array_equal(out.checked().view(np.int64), expected(count))
