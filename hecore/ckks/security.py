"""How long a modulus may be: the tables of the homomorphic encryption community.

The security of CKKS is that of RLWE with the longest modulus anything is encrypted under, the special primes of key
switching included. The tables give, per ring degree, the most bits of that modulus for which the best known
classical attacks cost 2^128, 2^192 or 2^256, for secrets uniform in {-1, 0, 1} and errors of standard deviation
3.19 or more. Sparser secrets have no entry: the guidelines do not recommend them, and so they get no level here.
"""

from __future__ import annotations

import enum

LEVELS = (128, 192, 256)


class SecurityTable(enum.Enum):
    """Which limits hold. STANDARD_2018 exists for contexts of peers, whose own default chains exceed GUIDELINES_2024.

    GUIDELINES_2024: Bossuat et al., "Security Guidelines for Implementing Homomorphic Encryption" (IACR CiC 1(4),
    2024), table 5.2. STANDARD_2018: Albrecht et al., "Homomorphic Encryption Standard" (2018), table 1, whose lines
    end at 32768; beyond, the limits of 2024.
    """

    GUIDELINES_2024 = "2024"
    STANDARD_2018 = "2018"


# Most bits of the whole modulus at (128, 192, 256) bits of security, classical; 0: no modulus is short enough.
_LIMITS: dict[SecurityTable, dict[int, tuple[int, int, int]]] = {
    SecurityTable.GUIDELINES_2024: {
        1 << 10: (26, 0, 0),
        1 << 11: (53, 36, 27),
        1 << 12: (106, 73, 56),
        1 << 13: (214, 147, 114),
        1 << 14: (430, 297, 230),
        1 << 15: (868, 597, 462),
        1 << 16: (1747, 1199, 929),
        1 << 17: (3523, 2411, 1866),
    },
    SecurityTable.STANDARD_2018: {
        1 << 10: (27, 19, 14),
        1 << 11: (54, 37, 29),
        1 << 12: (109, 75, 58),
        1 << 13: (218, 152, 118),
        1 << 14: (438, 305, 237),
        1 << 15: (881, 611, 476),
        1 << 16: (1747, 1199, 929),
        1 << 17: (3523, 2411, 1866),
    },
}


def max_modulus_bits(
    ring_degree: int, security: int = 128, table: SecurityTable = SecurityTable.GUIDELINES_2024
) -> int:
    """Most bits of all moduli together for `security` in (128, 192, 256) bits; 0 where there are none."""
    limits = _LIMITS[table].get(ring_degree)
    return limits[LEVELS.index(security)] if limits else 0


def security_bits(
    ring_degree: int,
    modulus_bits: int,
    *,
    table: SecurityTable = SecurityTable.GUIDELINES_2024,
    secret_weight: int | None = None,
) -> int:
    """256, 192, 128, or 0 where the table promises less; `modulus_bits` counts every modulus, special ones included.

    A secret of fixed Hamming weight (`secret_weight`) is sparser than the tables assume: 0.
    """
    if secret_weight is not None:
        return 0
    reached = [level for level in LEVELS if modulus_bits <= max_modulus_bits(ring_degree, level, table)]
    return max(reached, default=0)
