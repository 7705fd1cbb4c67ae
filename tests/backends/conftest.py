"""The contract suite runs every test once for every backend that works here.

HECORE_TEST_DEVICE=name runs it on that backend alone, and then fails if no test passed on it (`tests/conftest.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.integers import gcd
from hecore.arith.limbs import ints_from_limbs, limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.primes import is_prime
from hecore.backends import registry
from hecore.backends.protocol import ExponentArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hecore.backends.protocol import IntegerBackend, Limbs, ResidueArray

WANTED = os.environ.get("HECORE_TEST_DEVICE", "")
NAMES = [WANTED] if WANTED else [info.name for info in registry.devices() if info.available]


# Whatever device is wanted.
ON_THE_HOST = ("test_kernel_lanes.py", "test_kernel_ring_counts.py", "test_kernel_transforms.py", "test_tuned.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run for one device leaves out what runs on none: every other run has that."""
    left_out = [item for item in items if WANTED and item.path.name in ON_THE_HOST]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def fixed(label: str, bits: int) -> int:
    """A fixed integer in [0, 2**bits) that looks random: failures repeat."""
    return int.from_bytes(shake_256(label.encode()).digest(-(-bits // 8)), "little") % (1 << bits)


def odd(bits: int) -> int:
    return fixed(f"modulus {bits}", bits) | 1 << (bits - 1) | 1


@cache
def prime(label: str, bits: int) -> int:
    """A fixed prime = 3 mod 4 of exactly `bits` bits, its two top bits set."""
    candidate = fixed(f"prime {label} {bits}", bits) | 3 << (bits - 2) | 3
    while not is_prime(candidate):
        candidate -= 4
    return candidate


@cache
def crt_of(n_bits: int) -> CrtModulus:
    if n_bits == LOPSIDED:
        return CrtModulus(prime("p", 61), prime("q", 200))
    return CrtModulus(prime("p", n_bits // 2), prime("q", n_bits // 2))


LOPSIDED = 261
PLAIN = {
    "3": 3,
    "5": 5,
    "2^52-1": 2**52 - 1,
    "2^52+1": 2**52 + 1,
    "2^64-59": 2**64 - 59,
    "2^64+13": 2**64 + 13,
    "100 bits": odd(100),
    "2^104-1": 2**104 - 1,
    "2^104+1": 2**104 + 1,
    "521 bits": odd(521),
    "1000 bits": odd(1000),
    "2^1040-1": 2**1040 - 1,
    "1043 bits": odd(1043),
    "2048 bits": odd(2048),
    "4096 bits": odd(4096),
    "2^8192-1": 2**8192 - 1,
    "8192 bits": odd(8192),
}
N_BITS = (16, 52, 62, 64, 104, 130, LOPSIDED, 512, 1000, 1042, 2048)
SLOW_N_BITS = pytest.param(4096, id="n 4096 bits", marks=pytest.mark.slow)


def _modulus(name: str) -> Modulus:
    return crt_of(int(name.removeprefix("n^2 of "))).n_squared if name.startswith("n^2") else Modulus(PLAIN[name])


@dataclass(frozen=True)
class Lab:
    """A backend with helpers that speak Python integers."""

    backend: IntegerBackend

    def up(self, values: Sequence[int], modulus: Modulus, shape: tuple[int, ...] | None = None) -> ResidueArray:
        limbs = limbs_from_ints(values, modulus.limbs)
        return self.backend.upload(limbs.reshape(*shape, modulus.limbs) if shape is not None else limbs, modulus)

    def down(self, a: ResidueArray) -> list[int]:
        return ints_from_limbs(self.backend.download(a))

    def values(self, modulus: Modulus, count: int, label: str = "a") -> list[int]:
        """`count` values, the awkward ones first: 0, 1, modulus-1, all-ones limbs, one limb, one radix-52 digit."""
        m = modulus.value
        awkward = [0, 1, m - 1, (1 << 64 * (modulus.limbs - 1)) - 1, 2**64 - 1, 2**52, (1 << modulus.bits - 1) - 1]
        special = [x % m for x in awkward]
        if label != "a":  # a second operand should not pair 0 with 0 and 1 with 1 only
            special = special[::-1]
        random = [fixed(f"{label}{i}", modulus.bits + 64) % m for i in range(max(0, count - len(special)))]
        return (special + random)[:count]

    def units(self, modulus: Modulus, count: int, label: str = "u") -> list[int]:
        """`count` values with an inverse, 1 and modulus-1 among them."""
        found = [1, modulus.value - 1]
        i = 0
        while len(found) < count:
            x = fixed(f"{label}{i}", modulus.bits + 64) % modulus.value
            if gcd(x, modulus.value) == 1:
                found.append(x)
            i += 1
        return found[:count]

    def exponents(self, bits: int, count: int) -> list[int]:
        """0, all ones, 1, the top bit alone, then random."""
        special = [0, (1 << bits) - 1, 1, 1 << bits - 1]
        return (special + [fixed(f"e{i}", bits) for i in range(max(0, count - len(special)))])[:count]

    def own(self, values: Sequence[int], bits: int, shape: tuple[int, ...] | None = None) -> ExponentArray:
        flat = ExponentArray.from_ints(values, bits)
        return flat if shape is None else ExponentArray(flat.limbs.reshape(*shape, limbs_for_bits(bits)), bits)

    def magnitudes(self, rows: Sequence[Sequence[int]], k: int, bits: int) -> Limbs:
        flat = limbs_from_ints([abs(x) for row in rows for x in row], limbs_for_bits(bits))
        return flat.reshape(len(rows), k, limbs_for_bits(bits))

    def signs(self, rows: Sequence[Sequence[int]], k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.array([x < 0 for row in rows for x in row], dtype=np.bool_).reshape(len(rows), k)

    def same(self, a: ResidueArray, expected: Sequence[int], modulus: Modulus, shape: tuple[int, ...]) -> None:
        """`a` is exactly this: backend, modulus, shape, canonical values; says where it is not."""
        assert a.backend is self.backend
        assert a.modulus == modulus
        assert a.shape == shape
        limbs = self.backend.download(a)
        assert limbs.shape == (*shape, modulus.limbs)
        self.same_ints(limbs, expected, str(modulus))

    def same_ints(self, limbs: Limbs, expected: Sequence[int], what: str = "") -> None:
        assert limbs.dtype == np.uint64
        actual = ints_from_limbs(limbs)
        assert len(actual) == len(expected)
        wrong = [i for i, (x, y) in enumerate(zip(actual, expected, strict=True)) if x != y]
        if wrong:
            i = wrong[0]
            pytest.fail(
                f"{self.backend.device}, {what}: {len(wrong)} of {len(expected)} wrong, at flat {wrong[:16]}\n"
                f"first: got  {actual[i]:#x}\n       want {expected[i]:#x}\n"
                f"       xor  {actual[i] ^ expected[i]:#x}"
            )


@pytest.fixture(scope="session", params=NAMES)
def backend(request: pytest.FixtureRequest) -> IntegerBackend:
    """Not by `registry.get`: where the self-test fails, the tests of the operation concerned should say so."""
    return registry._create(registry._find(request.param))


@pytest.fixture(scope="session")
def lab(backend: IntegerBackend) -> Lab:
    return Lab(backend)


@pytest.fixture(params=[*PLAIN, *(f"n^2 of {bits}" for bits in N_BITS)])
def modulus(request: pytest.FixtureRequest) -> Modulus:
    return _modulus(request.param)


@pytest.fixture(params=["3", "2^64-59", "2^104-1", "521 bits", "n^2 of 130", "n^2 of 1000"])
def some_modulus(request: pytest.FixtureRequest) -> Modulus:
    """For what is expensive, or does not depend on the size."""
    return _modulus(request.param)


@pytest.fixture(params=["2^64-59", "n^2 of 130"])
def small_modulus(request: pytest.FixtureRequest) -> Modulus:
    return _modulus(request.param)


@pytest.fixture(params=[*(pytest.param(bits, id=f"n {bits} bits") for bits in N_BITS), SLOW_N_BITS])
def crt(request: pytest.FixtureRequest) -> CrtModulus:
    return crt_of(request.param)


@pytest.fixture
def long_crt() -> CrtModulus:
    """Factors long enough for one alone to decide small plaintexts."""
    return crt_of(512)


@pytest.fixture(params=[62, 512])
def some_crt(request: pytest.FixtureRequest) -> CrtModulus:
    return crt_of(request.param)
