"""The tables, entry by entry where a number decides, and what has no level."""

from __future__ import annotations

import pytest

from hecore.ckks.security import LEVELS, SecurityTable, max_modulus_bits, security_bits

DEGREES = [1 << i for i in range(10, 18)]


@pytest.mark.parametrize(
    ("ring_degree", "limits_2024", "limits_2018"),
    [
        (1024, (26, 0, 0), (27, 19, 14)),
        (2048, (53, 36, 27), (54, 37, 29)),
        (4096, (106, 73, 56), (109, 75, 58)),
        (8192, (214, 147, 114), (218, 152, 118)),
        (16384, (430, 297, 230), (438, 305, 237)),
        (32768, (868, 597, 462), (881, 611, 476)),
        (65536, (1747, 1199, 929), (1747, 1199, 929)),
        (131072, (3523, 2411, 1866), (3523, 2411, 1866)),
    ],
)
def test_the_tables(ring_degree: int, limits_2024: tuple[int, ...], limits_2018: tuple[int, ...]) -> None:
    """Read off a second time from the guidelines of 2024 (table 5.2) and the standard of 2018 (table 1)."""
    assert tuple(max_modulus_bits(ring_degree, level) for level in LEVELS) == limits_2024
    old = SecurityTable.STANDARD_2018
    assert tuple(max_modulus_bits(ring_degree, level, old) for level in LEVELS) == limits_2018


@pytest.mark.parametrize("ring_degree", DEGREES)
@pytest.mark.parametrize("table", list(SecurityTable))
def test_levels_change_just_past_the_limit(ring_degree: int, table: SecurityTable) -> None:
    for level in LEVELS:
        limit = max_modulus_bits(ring_degree, level, table)
        if limit:
            assert security_bits(ring_degree, limit, table=table) >= level
        assert security_bits(ring_degree, limit + 1, table=table) < level


def test_larger_rings_and_shorter_moduli_are_never_less_secure() -> None:
    for table in SecurityTable:
        for level in LEVELS:
            limits = [max_modulus_bits(degree, level, table) for degree in DEGREES]
            assert limits == sorted(limits)
        for degree in DEGREES:
            limits = [max_modulus_bits(degree, level, table) for level in LEVELS]
            assert limits == sorted(limits, reverse=True)


def test_the_peers_default_chains_exceed_the_limits_of_2024() -> None:
    for ring_degree, bits in ((8192, 218), (16384, 438), (32768, 881)):
        assert security_bits(ring_degree, bits, table=SecurityTable.STANDARD_2018) == 128
        assert security_bits(ring_degree, bits) == 0


def test_no_level_for_small_rings_and_sparse_secrets() -> None:
    assert security_bits(512, 20) == 0
    assert max_modulus_bits(512) == 0
    assert security_bits(1 << 16, 100) == 256
    assert security_bits(1 << 16, 100, secret_weight=192) == 0
