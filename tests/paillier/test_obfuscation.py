"""Obfuscators: that they are random n-th powers, of exactly the stated distribution, and never the same twice."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import gcd, lcm
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs
from hecore.arith.modulus import Modulus
from hecore.backends import registry
from hecore.backends.protocol import ExponentArray
from hecore.backends.reference import ReferenceBackend
from hecore.errors import DeviceLostError, MalformedKeyError, ParameterError
from hecore.paillier import PublicKey, SecretKey, generate_insecure_keypair
from hecore.paillier.obfuscation import (
    LARGE_TABLE_AFTER,
    SMALL_TABLE_BYTES,
    FixedBase,
    own_obfuscators,
    public_obfuscators,
    uniform_below,
)

if TYPE_CHECKING:
    from hecore.backends.protocol import FixedBaseTable, IntegerBackend

# n = 7*11 with gcd(6, 10) = 2: small enough to count every obfuscator there is. lambda = 30.
TINY = SecretKey(PublicKey.insecure(77, 77 - 4), 7, 11)
TINY_TEXTBOOK = SecretKey(PublicKey.insecure(77), 7, 11)


@pytest.fixture(scope="module", params=[info.name for info in registry.devices() if info.available])
def backend(request: pytest.FixtureRequest) -> IntegerBackend:
    return registry.get(request.param)


@cache
def keys(key_bits: int, *, textbook: bool) -> SecretKey:
    public_key, secret_key = generate_insecure_keypair(key_bits)
    if textbook:
        return SecretKey(PublicKey.insecure(public_key.n), secret_key.crt.p, secret_key.crt.q)
    return secret_key


def draw(kind: str, key: SecretKey, count: int, backend: IntegerBackend) -> list[int]:
    if kind == "public":
        residues = public_obfuscators(key.public_key, count, backend)
    else:
        residues = own_obfuscators(key, count, backend)
    assert residues.shape == (count,)
    assert residues.modulus == key.public_key.n_squared
    assert residues.backend is backend
    return ints_from_limbs(backend.download(residues))


@pytest.mark.parametrize("kind", ["public", "own"])
@pytest.mark.parametrize("textbook", [False, True], ids=["djn", "textbook"])
@pytest.mark.parametrize("key_bits", [16, 66, 512])
def test_obfuscators_hide_and_decrypt_to_zero(
    kind: str, textbook: bool, key_bits: int, backend: IntegerBackend
) -> None:
    key = keys(key_bits, textbook=textbook)
    n, p, q = key.public_key.n, key.crt.p, key.crt.q
    values = draw(kind, key, 20, backend)
    for value in values:
        assert 0 < value < n * n
        assert gcd(value, n) == 1
        assert pow(value, lcm(p - 1, q - 1), n * n) == 1  # no factor 1 + m*n with m != 0
    if key_bits > 16:
        assert len(set(values)) == len(values)
        assert not set(values) & set(draw(kind, key, 20, backend))


@pytest.mark.parametrize("kind", ["public", "own"])
@pytest.mark.parametrize("textbook", [False, True], ids=["djn", "textbook"])
def test_no_obfuscators(kind: str, textbook: bool, backend: IntegerBackend) -> None:
    assert draw(kind, keys(66, textbook=textbook), 0, backend) == []


@pytest.mark.parametrize("kind", ["public", "own"])
def test_a_negative_count_is_refused(kind: str, backend: IntegerBackend) -> None:
    with pytest.raises(ParameterError, match="-1"):
        draw(kind, TINY, -1, backend)


# -- distributions ---------------------------------------------------------------------------------------


def is_uniform_on(values: list[int], expected: set[int]) -> bool:
    """Every count within seven standard deviations: a right sampler fails once in ten million runs."""
    counts = Counter(values)
    mean = len(values) / len(expected)
    return set(counts) == expected and all(abs(count - mean) < 7 * mean**0.5 for count in counts.values())


def test_own_obfuscators_are_uniform_powers_of_hs(backend: IntegerBackend) -> None:
    hs = TINY.public_key.hs
    assert hs is not None
    group = {pow(hs, r, 77**2) for r in range(30)}
    assert len(group) == 30
    assert is_uniform_on(draw("own", TINY, 6000, backend), group)


@pytest.mark.parametrize("kind", ["public", "own"])
def test_textbook_obfuscators_are_uniform_nth_powers(kind: str, backend: IntegerBackend) -> None:
    nth_powers = {pow(r, 77, 77**2) for r in range(77) if gcd(r, 77) == 1}
    assert len(nth_powers) == 60
    assert is_uniform_on(draw(kind, TINY_TEXTBOOK, 6000, backend), nth_powers)


def test_public_obfuscators_are_short_powers_of_hs(backend: IntegerBackend) -> None:
    key = PublicKey.insecure(77, 77 - 4, randomness_bits=3)
    assert key.hs is not None
    powers = {pow(key.hs, r, 77**2) for r in range(8)}
    values = ints_from_limbs(backend.download(public_obfuscators(key, 1600, backend)))
    assert is_uniform_on(values, powers)


def test_the_uniformity_test_can_fail() -> None:
    assert is_uniform_on([0, 1] * 1000, {0, 1})
    assert not is_uniform_on([0] * 1300 + [1] * 700, {0, 1})
    assert not is_uniform_on([0] * 2000, {0, 1})


@pytest.mark.parametrize("bound", [2, 3, 10, 16, 17])
def test_uniform_below(bound: int) -> None:
    assert is_uniform_on(ints_from_limbs(uniform_below(4000, bound)), set(range(bound)))


@pytest.mark.parametrize("bound", [2, 10, 16])
def test_uniform_below_with_a_parity(bound: int) -> None:
    parity = np.arange(8000, dtype=np.uint64) % np.uint64(2)
    values = uniform_below(8000, bound, parity=parity)
    assert is_uniform_on(ints_from_limbs(values[::2]), set(range(0, bound, 2)))
    assert is_uniform_on(ints_from_limbs(values[1::2]), set(range(1, bound, 2)))


@pytest.mark.parametrize("bound", [2**64 - 2, 2**64 + 2, 2**127 - 2, 2**127 + 6, 3 << 1000])
def test_uniform_below_large_bounds(bound: int) -> None:
    limbs = uniform_below(2000, bound)
    values = ints_from_limbs(limbs)
    assert limbs.shape == (2000, -(-bound.bit_length() // 64))
    assert max(values) < bound
    # Each sixteenth of the range gets its share; the mean is 125.
    shares = Counter(value * 16 // bound for value in values)
    assert len(shares) == 16
    assert all(abs(share - 125) < 7 * 125**0.5 for share in shares.values())
    assert uniform_below(0, bound).shape == (0, limbs.shape[1])


# -- tables ----------------------------------------------------------------------------------------------


class Recording(ReferenceBackend):
    """The reference backend, which notes the budget of every table it builds."""

    def __init__(self) -> None:
        self.budgets: list[int | None] = []

    def fixed_base_table(
        self, base: int, modulus: Modulus, exponent_bits: int, *, memory_budget: int | None = None
    ) -> FixedBaseTable:
        self.budgets.append(memory_budget)
        return super().fixed_base_table(base, modulus, exponent_bits, memory_budget=memory_budget)


def test_a_table_is_small_at_first_and_built_once_more_for_many_values() -> None:
    backend = Recording()
    modulus = Modulus.square(77)
    base = FixedBase(3, modulus, 20, backend)
    exponents = [0, 1, 2**20 - 1, 12345]
    for _ in range(LARGE_TABLE_AFTER // len(exponents) + 10):
        residues = base.power(ExponentArray.from_ints(exponents, 20))
        assert ints_from_limbs(backend.download(residues)) == [pow(3, e, 77**2) for e in exponents]
    assert backend.budgets == [SMALL_TABLE_BYTES, None]


def test_a_large_batch_gets_the_large_table_at_once() -> None:
    backend = Recording()
    base = FixedBase(3, Modulus.square(77), 20, backend)
    base.power(ExponentArray.from_ints([1] * (LARGE_TABLE_AFTER + 1), 20))
    base.prepare()
    assert backend.budgets == [None]


def test_a_key_keeps_one_table_a_backend() -> None:
    backend = Recording()
    key = SecretKey(PublicKey.insecure(77, 73), 7, 11)
    for _ in range(3):
        public_obfuscators(key.public_key, 2, backend)
        own_obfuscators(key, 2, backend)
    assert len(backend.budgets) == 3  # n^2, p^2, q^2
    public_obfuscators(key.public_key, 2, ReferenceBackend())
    assert len(backend.budgets) == 3


def test_tables_belong_to_keys_with_h() -> None:
    backend = ReferenceBackend()
    with pytest.raises(MalformedKeyError, match="no h"):
        TINY_TEXTBOOK.public_key.fixed_base(backend)
    with pytest.raises(MalformedKeyError, match="no h"):
        TINY_TEXTBOOK.fixed_bases(backend)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(TINY.public_key.fixed_base(backend))


# -- threads and forks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["public", "own"])
def test_threads_share_a_key(kind: str, backend: IntegerBackend) -> None:
    key = generate_insecure_keypair(130)[1]
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda _: draw(kind, key, 25, backend), range(16)))
    assert len({value for batch in batches for value in batch}) == 16 * 25


@pytest.mark.parametrize("kind", ["public", "own"])
@pytest.mark.parametrize("textbook", [False, True], ids=["djn", "textbook"])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_draws_its_own_or_nothing(kind: str, textbook: bool, backend: IntegerBackend) -> None:
    """No driver of a card or of OpenCL survives a fork: there the child gets a typed error."""
    key = keys(130, textbook=textbook)
    draw(kind, key, 5, backend)  # tables and whatever else a process keeps are there before the fork
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, pickle.dumps(draw(kind, key, 50, backend)))
            status = 0
        except DeviceLostError:
            os.write(writer, pickle.dumps([]))
            status = 0 if backend.name in ("cuda", "opencl") else 2
        finally:
            os._exit(status)
    os.close(writer)
    mine = draw(kind, key, 50, backend)
    with os.fdopen(reader, "rb") as pipe:
        theirs = pickle.loads(pipe.read())  # our own child
    assert os.waitpid(child, 0)[1] == 0
    assert len(theirs) == (0 if backend.name in ("cuda", "opencl") else 50)
    assert len(set(mine) | set(theirs)) == 50 + len(theirs)
