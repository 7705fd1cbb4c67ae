"""Kernels of residues as C++ of the host: what they compute, that they write where they should and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.rns import RnsBasis, galois_permutation
from hecore.backends.kernel_composition import composition, digits_of
from hecore.backends.kernel_tables import FIXED_BITS, pair, prime_words
from tests.backends.ring_lab import basis_named, column, noise, objects
from tests.kernels.device.host import COMPILER, HostProgram, signatures, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

DEGREE, LOG = 16, 4
BLOCK = 64  # threads: more than half of them are beyond the last row now and then
NAMES = ("61-+50-+20", "61-", "+".join(["61-"] * 3))
CANARY = 0xDEADBEEFDEADBEEF
Words = NDArray[np.uint64]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], HostProgram]:
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    folder, made = tmp_path_factory.mktemp("ring"), {}

    def compiled(name: str) -> HostProgram:
        if name not in made:
            made[name] = HostProgram(folder, name, text_of(name), signatures(name), {"BLOCK": BLOCK, "LANES": 1})
        return made[name]

    return compiled


@pytest.fixture(params=NAMES)
def basis(request: pytest.FixtureRequest) -> RnsBasis:
    return basis_named(request.param, DEGREE)


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def backwards(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def residues(basis: RnsBasis, count: int, label: str) -> Words:
    """(count, k, N), the largest residue everywhere in the first polynomial."""
    words = noise(label, (count, len(basis), DEGREE)) % column(basis).astype(np.uint64)
    words[0] = (column(basis) - 1).astype(np.uint64)
    return words


def primes(basis: RnsBasis) -> Words:
    return np.array([prime_words(q, DEGREE) for q in basis.moduli], dtype=np.uint64)


def run(
    program: HostProgram, kernel: str, shape: tuple[int, ...], threads: int, *arguments: Any, **options: Any
) -> Any:
    """What a kernel writes to its first argument, between words that it must not touch."""
    size = int(np.prod(shape))
    memory = np.full(size + 64, CANARY, dtype=np.uint64)
    at = 32 + (memory[32:].ctypes.data // 8 & 1)  # pairs are aligned
    out: Any = memory[at : at + size]
    program.launch(kernel, threads, out, *arguments, **options)
    assert (memory[:at] == CANARY).all()
    assert (memory[at + size :] == CANARY).all()
    return out.reshape(shape).copy()


def test_pointwise(program: Callable[[str], HostProgram], basis: RnsBasis, backwards: bool) -> None:
    """Three axes: (2, 3, 2) of one operand against (3, 1) of the other."""
    ring, k = program("ring"), len(basis)
    x, y = residues(basis, 12, "x"), residues(basis, 3, "y")
    meeting = (2, 3, 1, 2, 6, 0, 1, 0)  # extents, steps of x, steps of y
    q, left, right = column(basis), objects(x), objects(y)[[0, 0, 1, 1, 2, 2] * 2]
    tail = (k, LOG, 12 * k)
    threads = 12 * k * DEGREE // 2
    for operation, expected in ((0, left + right), (1, left - right)):
        got = run(
            ring, "combine", x.shape, threads, x, y, primes(basis), operation, *meeting, *tail, backwards=backwards
        )
        np.testing.assert_array_equal(got, expected % q)
    got = run(ring, "multiply", x.shape, threads, x, y, primes(basis), *meeting, *tail, backwards=backwards)
    np.testing.assert_array_equal(got, left * right % q)
    got = run(ring, "negate", x.shape, threads, x, primes(basis), *tail)
    np.testing.assert_array_equal(got, -left % q)


@pytest.mark.parametrize("terms", [0, 1, 63, 64, 65, 127, 128])
def test_sums_of_products(program: Callable[[str], HostProgram], basis: RnsBasis, terms: int) -> None:
    """Around what a sum may hold, of the largest residues."""
    k = len(basis)
    x, y = residues(basis, 2 * terms + 1, "x"), residues(basis, terms + 1, "y")
    x[:], y[:terms] = x[0], y[0]
    meeting = (0, 0, terms, 0, 0, 0, 0, 0)
    tail = (terms, *meeting, k, LOG, 2 * k)
    got = run(program("ring"), "multiply_accumulate", (2, k, DEGREE), k * DEGREE, x, y, primes(basis), *tail)
    expected = [sum(objects(x[p * terms + j]) * objects(y[j]) for j in range(terms)) % column(basis) for p in range(2)]
    np.testing.assert_array_equal(got, np.array(expected) + objects(np.zeros_like(got)))


@pytest.mark.parametrize("element", [1, 3, 5, 9, 15, 17, 31])
def test_automorphisms(program: Callable[[str], HostProgram], basis: RnsBasis, element: int) -> None:
    ring, k = program("ring"), len(basis)
    x = residues(basis, 3, "x")
    threads, rows, places = 3 * k * DEGREE // 2, 3 * k, galois_permutation(DEGREE, element)
    np.testing.assert_array_equal(run(ring, "permute", x.shape, threads, x, element, LOG, rows), x[..., places])
    expected = np.zeros_like(objects(x))
    for i in range(DEGREE):
        expected[..., i * element % DEGREE] = (-1) ** (i * element // DEGREE) * objects(x)[..., i]
    inverse = pow(element, -1, 2 * DEGREE)
    got = run(ring, "permute_signed", x.shape, threads, x, primes(basis), inverse, k, LOG, rows)
    np.testing.assert_array_equal(got, expected % column(basis))


def sources(basis: RnsBasis) -> tuple[Words, Words, Words]:
    """Primes, inverses and weights, as kernel_tables.py makes them."""
    cofactors = [basis.product // q for q in basis.moduli]
    inverses = [pair(pow(c, -1, q), q) for c, q in zip(cofactors, basis.moduli, strict=True)]
    weights = [(64 - q.bit_length(), (1 << FIXED_BITS + q.bit_length()) // q) for q in basis.moduli]
    if len(basis) == 1:
        weights = [(0, basis.product >> 1)]
    return primes(basis), np.array(inverses, dtype=np.uint64), np.array(weights, dtype=np.uint64)


@pytest.mark.parametrize("exact", [0, 1])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_change_of_basis(program: Callable[[str], HostProgram], basis: RnsBasis, exact: int, count: int) -> None:
    """Small integers of either sign, whose representative is known: 0 <= u < k multiples of Q are added, or none."""
    k, target = len(basis), basis_named("+".join(["60", "59", "40", "61-", "33", "52", "45", "58"][:count]), DEGREE)
    values = np.array([0, 1, -1, 12345, -12345, *range(100, 111)], dtype=object)[None, None]
    x = np.ascontiguousarray((values % column(basis)).astype(np.uint64))
    matrix = [[basis.product // q % p for q in basis.moduli] + [-basis.product % p] for p in target.moduli]
    tables = (*sources(basis), primes(target), np.array(matrix, dtype=np.uint64))
    group = min(count, 5)
    groups = -(-count // group)
    tail = (k, exact, count, group, groups, LOG, groups)
    got = run(program("convert"), "convert", (count, DEGREE), groups * DEGREE, x, *tables, *tail)
    candidates = [(values[0] + u * basis.product) % column(target) for u in (range(k) if not exact else (0,))]
    found = np.zeros(DEGREE, dtype=bool)
    for candidate in candidates:
        found |= (got == candidate.astype(np.uint64)).all(axis=0)
    if exact or k > 1:
        assert found.all()
    else:
        np.testing.assert_array_equal(got, objects(x)[0] % column(target))


def test_integers(program: Callable[[str], HostProgram], basis: RnsBasis, backwards: bool) -> None:
    """The integers next to 0 and to both ends of (-Q/2, Q/2), and any."""
    product, k, digits = basis.product, len(basis), digits_of(basis)
    limbs = -(-basis.bits // 64)
    half = product // 2
    any_ = [int.from_bytes(noise(str(i), (limbs,)).tobytes(), "little") % product - half for i in range(6)]
    values = np.array([0, 1, -1, half, -half, half - 1, 1 - half, half // 2, -half // 2, 7, *any_], dtype=object)
    x = np.ascontiguousarray((values % column(basis)).astype(np.uint64))
    signs, scratch = np.zeros(2 * DEGREE, dtype=np.uint8), np.zeros((k + digits) * DEGREE, dtype=np.uint64)
    both = np.concatenate([x[None], x[None]])  # the second polynomial is asked for
    arguments = (signs, scratch, both, *sources(basis), composition(basis), 1, k, digits, limbs, LOG, DEGREE)
    got = run(program("convert"), "compose", (DEGREE, limbs), DEGREE, *arguments, backwards=backwards)
    np.testing.assert_array_equal(got, limbs_from_ints([abs(v) for v in values], limbs))
    assert [bool(sign) for sign in signs] == [v < 0 for v in values] + [False] * DEGREE
    assert ints_from_limbs(got) == [abs(v) for v in values]
