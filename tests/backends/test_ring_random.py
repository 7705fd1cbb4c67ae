"""Ring contract: secrets and errors have the distributions that the protocol names, and no two draws agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hecore.backends.reference import ReferenceBackend
from hecore.backends.ring_protocol import ERROR_BOUND, ERROR_VARIANCE, SmallArray, secrecy
from hecore.errors import BackendMismatchError, ParameterError, ShapeError
from tests.backends.ring_lab import TWO, basis_named, composed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hecore.arith.rns import RnsBasis
    from hecore.backends.ring_protocol import Backend

    Draw = Callable[[tuple[int, ...], int], SmallArray]

SIGMAS = 7  # of a statistic's own deviation: a false alarm in 10^11 runs
CHANCES = np.array([math.comb(42, 21 + x) / 2**42 for x in range(-21, 22)])


def values_of(backend: Backend, small: SmallArray, basis: RnsBasis | None = None) -> NDArray[np.int64]:
    """The coefficients, by way of a basis."""
    basis = basis_named("20", small.ring_degree) if basis is None else basis
    words = backend.ring_download(backend.ring_encode(small, basis))
    whole = composed(words, basis)
    return np.where(whole > basis.product // 2, whole - basis.product, whole).astype(np.int64)


@pytest.fixture(params=["random_ternary", "random_errors"])
def draw(backend: Backend, request: pytest.FixtureRequest) -> Draw:
    found: Draw = getattr(backend, request.param)
    return found


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (0,), (2, 0, 3)])
@pytest.mark.parametrize("degree", [16, 1024])
def test_shape(backend: Backend, draw: Draw, shape: tuple[int, ...], degree: int) -> None:
    small = draw(shape, degree)
    assert (small.shape, small.ring_degree, small.backend) == (shape, degree, backend)
    encoded = backend.ring_encode(small, basis_named(TWO, degree))
    assert (encoded.shape, encoded.ntt) == (shape, False)


def test_ternary(backend: Backend) -> None:
    values = values_of(backend, backend.random_ternary((4, 2), 1024))
    assert set(np.unique(values)) == {-1, 0, 1}
    for digit in (-1, 0, 1):
        assert abs((values == digit).mean() - 1 / 3) < SIGMAS * math.sqrt(2 / 9 / values.size)


def test_errors(backend: Backend) -> None:
    values = values_of(backend, backend.random_errors((4, 2), 1024))
    assert np.abs(values).max() <= ERROR_BOUND
    counts = np.bincount((values + ERROR_BOUND).reshape(-1), minlength=43)
    deviation = np.sqrt(values.size * CHANCES * (1 - CHANCES)) + 1
    assert (np.abs(counts - values.size * CHANCES) < SIGMAS * deviation).all()
    assert abs(values.var() - ERROR_VARIANCE) < SIGMAS * ERROR_VARIANCE * math.sqrt(2 / values.size)


@pytest.mark.parametrize(("name", "variance"), [("random_ternary", 2 / 3), ("random_errors", ERROR_VARIANCE)])
def test_neighbours_are_independent(backend: Backend, name: str, variance: float) -> None:
    """At short distances, and at those at which one thread of a device writes (kernels/device/random.c)."""
    values = values_of(backend, getattr(backend, name)((4,), 2048)).reshape(-1)
    assert abs(values.mean()) < SIGMAS * math.sqrt(variance / values.size)
    for distance in [*range(1, 80), 683, 2 * 683, 1024, 2048]:
        product = values[distance:] * values[:-distance]
        assert abs(product.mean()) < SIGMAS * variance / math.sqrt(product.size)


def test_draws_differ(backend: Backend, draw: Draw) -> None:
    first, second = (values_of(backend, draw((2,), 64)) for _ in range(2))
    rows = {row.tobytes() for values in (first, second) for row in values}
    assert len(rows) == 4


@pytest.mark.parametrize("ntt", [False, True])
def test_one_draw_is_the_same_over_every_basis(backend: Backend, draw: Draw, ntt: bool) -> None:
    small = draw((2, 1), 64)
    values = values_of(backend, small)
    for name in ("20", "30+40+40", "61-+61-+60"):
        basis = basis_named(name, 64)
        assert np.array_equal(values_of(backend, small, basis), values)
        encoded, expected = (backend.ring_encode(x, basis, ntt=ntt) for x in (small, values))
        assert encoded.ntt is ntt
        assert np.array_equal(backend.ring_download(encoded), backend.ring_download(expected))


@pytest.mark.parametrize("ntt", [False, True])
def test_added_to_coefficients(backend: Backend, draw: Draw, ntt: bool) -> None:
    basis, small = basis_named(TWO, 64), draw((2, 1), 64)
    for coefficients in (np.arange(128).reshape(2, 1, 64) - 2**61, small):
        other = coefficients if isinstance(coefficients, np.ndarray) else values_of(backend, small)
        expected = backend.ring_encode(other + values_of(backend, small), basis, ntt=ntt)
        found = backend.ring_encode(coefficients, basis, ntt=ntt, plus=small)
        assert (found.shape, found.ntt) == ((2, 1), ntt)
        assert np.array_equal(backend.ring_download(found), backend.ring_download(expected))
    with pytest.raises(ShapeError, match="shape"):
        backend.ring_encode(np.zeros((2, 64), dtype=np.int64), basis, plus=small)


def test_refusals(backend: Backend, draw: Draw) -> None:
    for degree in (0, 15, 24, -16):
        with pytest.raises(ParameterError):
            draw((), degree)
    with pytest.raises(ShapeError, match="shape"):
        draw((2, -1), 16)
    with pytest.raises(ShapeError, match="degree"):
        backend.ring_encode(draw((), 32), basis_named(TWO, 16))
    stranger: Any = ReferenceBackend()
    with pytest.raises(BackendMismatchError, match="draw"):
        backend.ring_encode(stranger.random_ternary((), 16), basis_named(TWO, 16))


def test_it_prints_no_coefficient(draw: Draw) -> None:
    assert "data" not in repr(draw((), 16))


def test_secrecy_changes_no_result(backend: Backend) -> None:
    basis = basis_named(TWO, 16)
    ones = np.ones((3, 16), dtype=np.int64)
    plain = backend.residue_add(*[backend.ring_encode(ones, basis, ntt=True)] * 2)
    with secrecy(backend):
        hidden = backend.residue_add(*[backend.ring_encode(ones, basis, ntt=True)] * 2)
        with secrecy(backend):
            again = backend.ring_take(hidden, np.array([0, 1, 2]))
    for other in (hidden, again):
        assert np.array_equal(backend.ring_download(other), backend.ring_download(plain))
