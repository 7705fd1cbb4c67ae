"""Foreign ciphertexts: each bad one is refused before arithmetic and named by its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.backends import registry
from hecore.backends.reference import ReferenceBackend
from hecore.errors import CiphertextError, OperandTypeError, ShapeError
from hecore.paillier import generate_insecure_keypair
from hecore.paillier.validation import Check, ValidationReport, check_ciphertexts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.protocol import IntegerBackend, Limbs, ResidueArray

KEY, SECRET = generate_insecure_keypair(256)
N, LIMBS = KEY.n, KEY.n_squared.limbs


@pytest.fixture(scope="module", params=[info.name for info in registry.devices() if info.available])
def backend(request: pytest.FixtureRequest) -> IntegerBackend:
    return registry.get(request.param)


def good(count: int) -> list[int]:
    return [pow(3 + i, N, N * N) for i in range(count)]


def limbs(values: list[int]) -> Limbs:
    return limbs_from_ints(values, LIMBS)


def test_ciphertexts_come_out_as_residues(backend: IntegerBackend) -> None:
    values = [1, N * N - 1, *good(4)]
    residues = check_ciphertexts(limbs(values).reshape(2, 3, LIMBS), KEY, backend)
    assert residues.shape == (2, 3)
    assert residues.modulus == KEY.n_squared
    assert residues.backend is backend
    assert ints_from_limbs(backend.download(residues)) == values


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_no_ciphertexts(shape: tuple[int, ...], backend: IntegerBackend) -> None:
    assert check_ciphertexts(np.zeros((*shape, LIMBS), dtype=np.uint64), KEY, backend).shape == shape


def test_one_ciphertext_without_an_axis(backend: IntegerBackend) -> None:
    assert check_ciphertexts(limbs(good(1))[0], KEY, backend).shape == ()
    with pytest.raises(CiphertextError, match="flat indices 0$"):
        check_ciphertexts(limbs([0])[0], KEY, backend)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (0, "outside"),
        (N * N, "outside"),
        (N * N + 1, "outside"),
        ((1 << 64 * LIMBS) - 1, "outside"),
        (N, "share a factor"),
        (5 * N, "share a factor"),
        (SECRET.crt.p, "share a factor"),
        (SECRET.crt.q**2, "share a factor"),
    ],
    ids=["0", "n^2", "n^2+1", "all ones", "n", "5n", "p", "q^2"],
)
@pytest.mark.parametrize("places", [[0], [6], [1, 4]])
def test_bad_ciphertexts_are_named(bad: int, problem: str, places: list[int], backend: IntegerBackend) -> None:
    values = good(7)
    for place in places:
        values[place] = bad
    with pytest.raises(CiphertextError) as caught:
        check_ciphertexts(limbs(values), KEY, backend)
    assert problem in str(caught.value)
    assert str(caught.value).endswith(", ".join(map(str, places)))


def test_many_bad_ciphertexts_are_counted(backend: IntegerBackend) -> None:
    with pytest.raises(CiphertextError, match="0, 1, 2, 3, 4, 5, 6, 7 and 92 more"):
        check_ciphertexts(limbs([0] * 100), KEY, backend)


class Counting(ReferenceBackend):
    """The reference backend, which counts its gcd batches."""

    batches = 0

    def gcd_is_one(self, a: ResidueArray) -> NDArray[np.bool_]:
        self.batches += 1
        return super().gcd_is_one(a)


def test_one_gcd_batch_is_enough() -> None:
    backend = Counting()
    check_ciphertexts(limbs(good(50)), KEY, backend)
    assert backend.batches == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([[1] * LIMBS], OperandTypeError),
        (b"\x01" * 8 * LIMBS, OperandTypeError),
        (np.ones((2, LIMBS), dtype=np.int64), OperandTypeError),
        (np.ones((2, LIMBS), dtype=object), OperandTypeError),
        (np.ones((2, LIMBS + 1), dtype=np.uint64), ShapeError),
        (np.ones((2, LIMBS - 1), dtype=np.uint64), ShapeError),
        (np.array(7, dtype=np.uint64), ShapeError),
    ],
    ids=["list", "bytes", "int64", "object", "wide", "narrow", "scalar"],
)
def test_wrong_types_and_shapes(data: Any, error: type[Exception], backend: IntegerBackend) -> None:
    with pytest.raises(error, match="cannot read ciphertexts"):
        check_ciphertexts(data, KEY, backend)


def test_a_report_passes_when_every_check_does() -> None:
    assert ValidationReport((Check("a", passed=True),), ()).passed
    report = ValidationReport((Check("a", passed=True), Check("b", passed=False)), ("c",))
    assert not report.passed
    assert report.failures == ("b",)
    assert str(report) == "ok    a\nFAIL  b\nnot checked: c"
