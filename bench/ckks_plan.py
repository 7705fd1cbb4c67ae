"""What to measure of CKKS, at which parameters, how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hecore.bench.plan import RunPlan
from hecore.errors import ParameterError

PEER = "TenSEAL"
SEAL = "SEAL"  # the library inside TenSEAL, called through its bindings where TenSEAL itself has no such operation
SCALE = 2.0**40
_SMALL_SLOTS = 512  # a ring below the smallest secure one, for tests of the bench itself


@dataclass(frozen=True)
class ParameterSet:
    """A ring degree and the bits of its moduli, the last one special; its name is what a row calls its size."""

    ring_degree: int
    moduli_bits: tuple[int, ...]

    @property
    def name(self) -> str:
        """As in "8192 [60,40,40,60]"; runs of equal moduli are counted: "16384 [60,40×6,60]"."""
        runs: list[list[int]] = []
        for bits in self.moduli_bits:
            if runs and runs[-1][0] == bits:
                runs[-1][1] += 1
            else:
                runs.append([bits, 1])
        words = [f"{bits}×{count}" if count > 2 else ",".join([str(bits)] * count) for bits, count in runs]
        return f"{self.ring_degree} [{','.join(words)}]"

    @classmethod
    def parse(cls, text: str) -> ParameterSet:
        """Inverse of `name`; "x" may stand for "×". ParameterError for anything else."""
        if not re.fullmatch(r"\d+ ?\[\d+([×x]\d+)?(,\d+([×x]\d+)?)*\]", text):
            raise ParameterError(
                f"cannot read parameters {text!r}: they look like 8192 [60,40,40,60] or 16384 [60,40x6]"
            )
        degree, _, moduli = text.removesuffix("]").partition("[")
        bits: list[int] = []
        for word in moduli.replace("x", "×").split(","):
            size, _, count = word.partition("×")
            bits += [int(size)] * int(count or 1)
        return cls(int(degree), tuple(bits))

    @property
    def slots(self) -> int:
        return self.ring_degree // 2

    @property
    def levels(self) -> int:
        """Rescalings until the first modulus alone is left; the last modulus is special."""
        return len(self.moduli_bits) - 2

    @property
    def insecure(self) -> bool:
        """Whether this can only be a test of the bench."""
        return self.slots <= _SMALL_SLOTS


MAIN = ParameterSet.parse("8192 [60,40,40,60]")
DEEP = ParameterSet.parse("16384 [60,40×6,60]")
PAYLOAD = ParameterSet.parse("8192 [60,40,40]")


@dataclass(frozen=True)
class CkksPlan(RunPlan):
    """A run of the CKKS suites (`hecore.bench.ckks_suites`); no `parameters` means each row's own."""

    scheme = "ckks"
    known_peers = (PEER,)

    peers: tuple[str, ...] = (PEER,)
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.parameters:
            ParameterSet.parse(text)

    @property
    def calls(self) -> int:
        """Calls of a short operation in a round, so that a round lasts some milliseconds."""
        return {"full": 64, "quick": 16, "tiny": 1}[self.scale]

    @property
    def few_calls(self) -> int:
        """Calls of a middling operation in a round."""
        return {"full": 8, "quick": 2, "tiny": 1}[self.scale]

    @property
    def repetitions(self) -> int:
        """Fresh encryptions behind an error that is reported."""
        return {"full": 16, "quick": 8, "tiny": 1}[self.scale]
