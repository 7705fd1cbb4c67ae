"""What to measure, at which sizes, how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hecore.errors import ParameterError

KEY_BITS = (1024, 2048, 3072, 4096)
PEERS = ("phe", "ZPaillier", "IPCL")
SCALES = ("full", "quick", "tiny")

# Items of one round at a 2048-bit key: enough for some tenths of a second, few enough for the slow to finish.
# A prescribed size (10^4 additions, one value) holds for every contestant; a peer's matrix-vector product is
# serial by output, so one or two outputs of the full length give its time a term.
_ITEMS = {
    "hecore": {
        "mod_mul": 2048,
        "mod_exp": 512,
        "mod_exp_public": 64,
        "fixed_base": 1024,
        "encrypt": 2048,
        "encrypt_own": 4096,
        "decrypt": 1024,
        "plain_mul": 2048,
        "pack": 1024,
        "one": 32,
    },
    "gmp": {"mod_mul": 2048, "mod_exp": 64, "mod_exp_public": 8, "fixed_base": 16},
    "phe": {"pack": 2, "encrypt": 24, "decrypt": 96, "plain_mul": 512, "one": 8},
    "ZPaillier": {"encrypt": 256, "decrypt": 96, "plain_mul": 512, "pack": 128, "one": 32},
    "IPCL": {"encrypt": 96, "decrypt": 128, "plain_mul": 512, "pack": 48, "one": 32},
}
_SHRINK = {"full": 1, "quick": 4, "tiny": 10**6}
_LEAST = {"hecore": 16, "gmp": 4, "phe": 2, "ZPaillier": 4, "IPCL": 4}
_ONE = {"full": 1, "quick": 4, "tiny": 16}


@dataclass(frozen=True)
class RunPlan:
    """One run's choices. `suites` are names of the scheme's suites, all where none is named.

    `scale` tiny is for tests of the bench itself. Raises ParameterError for what is unknown.
    """

    scheme: ClassVar[str]
    known_peers: ClassVar[tuple[str, ...]]

    suites: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    scale: str = "full"
    rounds: int = 7
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ParameterError(f"cannot plan a run of scale {self.scale!r}: choose one of {', '.join(SCALES)}")
        if self.rounds < 1:
            raise ParameterError(f"cannot plan {self.rounds} rounds: at least 1")
        unknown = [peer for peer in self.peers if peer not in self.known_peers]
        if unknown:
            raise ParameterError(f"cannot plan peers {', '.join(unknown)}: known are {', '.join(self.known_peers)}")


@dataclass(frozen=True)
class Plan(RunPlan):
    """A run of the Paillier suites (`hecore.bench.suites`)."""

    scheme = "paillier"
    known_peers = PEERS

    peers: tuple[str, ...] = PEERS
    key_bits: tuple[int, ...] = KEY_BITS

    def __post_init__(self) -> None:
        super().__post_init__()
        for bits in self.key_bits:
            if bits < 128 or bits % 2:
                raise ParameterError(f"cannot plan a key of {bits} bits: even, at least 128")

    def items(self, contestant: str, operation: str, key_bits: int) -> int:
        """Items of one round: a product grows with the square of the key, an exponent with the key."""
        base = _ITEMS[contestant][operation]
        if operation == "one":
            return max(1, base // _ONE[self.scale])
        power = 2 if operation in ("mod_mul", "plain_mul") else 3
        scaled = base * (2048 / key_bits) ** power / _SHRINK[self.scale]
        least = _LEAST[contestant]
        return max(least, int(scaled) // least * least)

    @property
    def repeats(self) -> int:
        """Calls of a short operation in a round, so that a round lasts tens of milliseconds."""
        return {"full": 16, "quick": 8, "tiny": 1}[self.scale]

    @property
    def additions(self) -> int:
        return {"full": 10_000, "quick": 10_000, "tiny": 24}[self.scale]

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape of the encrypted matrix-vector product."""
        return {"full": (40, 2000), "quick": (40, 500), "tiny": (3, 12)}[self.scale]
