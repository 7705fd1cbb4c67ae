"""What a run of the federated demo may choose, and what it measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hecore.demo.report import Curve
from hecore.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FederatedOptions:
    """What a run may choose. `rows` None means the breast-cancer data, else synthetic rows of `features` columns."""

    ring_degree: int = 16384
    insecure: bool = False
    clients: int = 5
    rounds: int = 6
    local_steps: int = 5
    rows: int | None = None
    features: int = 30
    learning_rate: float = 0.5
    l2: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("clients", 1), ("rounds", 1), ("local_steps", 1), ("features", 2)):
            if getattr(self, name) < least:
                raise ParameterError(f"cannot train with {name} = {getattr(self, name)}: at least {least} is needed")
        if self.rows is not None and self.rows < 1:
            raise ParameterError(f"cannot make {self.rows} rows: at least 1 is needed")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.l2 < math.inf:
            raise ParameterError(
                f"cannot train with learning rate {self.learning_rate} and l2 {self.l2}: positive and finite, "
                "not negative and finite are needed"
            )
        if self.seed < 0:
            raise ParameterError(f"cannot use seed {self.seed}: it must not be negative")


@dataclass(frozen=True)
class FederatedReport:
    """What one run measured. `curves` hold the scores of the held-out rows and the loss after each round."""

    options: FederatedOptions
    dataset: str
    rows: int
    columns: int
    held_out_rows: int
    averaging: str
    scoring: str
    device: str
    simulated: bool
    aucs: dict[str, float]
    accuracy: dict[str, float]
    weight_difference: float
    score_difference: float
    operations: dict[str, int]
    seconds: dict[str, float]
    total_seconds: float
    traffic: dict[str, dict[str, int]]
    curves: tuple[Curve, ...] = field(repr=False)
    labels: Floats = field(repr=False)
    step: ClassVar[str] = "round"

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.rows} rows at {self.options.clients} clients, CKKS"

    def to_text(self) -> str:
        """The numbers, for people."""
        options = self.options
        simulated = " (simulated: its seconds are no measurement)" if self.simulated else ""
        other = self.total_seconds - sum(self.seconds.values())
        remarks = {
            "encrypted": "averaged and scored under encryption",
            "floats": "the same averaging and the same polynomial without encryption",
            "scikit-learn": "LogisticRegression on all rows in one place",
        }
        lines = [
            f"Federated logistic regression on {self.dataset}: {self.rows} rows of {self.columns} columns "
            f"at {options.clients} clients",
            f"{options.rounds} rounds of {options.local_steps} local steps; then {self.held_out_rows} held-out rows "
            "scored under encryption",
            f"averaging: {self.averaging}",
            f"scoring: {self.scoring}",
            f"device: {self.device}{simulated}",
            "",
            "held-out rows        AUC   accuracy",
            *(
                f"  {name:<14}{self.aucs[name]:.4f}     {self.accuracy[name]:.4f}  {remarks[name]}"
                for name in self.aucs
            ),
            f"largest difference from the float run: {self.weight_difference:.1e} in a weight, "
            f"{self.score_difference:.1e} in a score",
            "",
            "homomorphic operations, on ciphertexts",
            *(f"  {name:<20}{number:>8,}" for name, number in sorted(self.operations.items())),
            "",
            "seconds",
            *(f"  {name:<14}{seconds:>14.3f}" for name, seconds in self.seconds.items()),
            f"  {'other':<14}{other:>14.3f}",
            f"  {'total':<14}{self.total_seconds:>14.3f}",
            "",
            "messages and bytes",
            *(f"  {link:<26}{flow['messages']:>8,}{flow['bytes']:>16,}" for link, flow in self.traffic.items()),
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The numbers, without scores and labels."""
        return {
            "scheme": "ckks",
            "options": asdict(self.options),
            "dataset": self.dataset,
            "rows": self.rows,
            "columns": self.columns,
            "held_out_rows": self.held_out_rows,
            "averaging": self.averaging,
            "scoring": self.scoring,
            "device": self.device,
            "simulated": self.simulated,
            "auc": self.aucs,
            "accuracy": self.accuracy,
            "weight_difference": self.weight_difference,
            "score_difference": self.score_difference,
            "losses": {curve.name: curve.losses for curve in self.curves if curve.losses},
            "operations": self.operations,
            "seconds": self.seconds,
            "total_seconds": self.total_seconds,
            "traffic": self.traffic,
        }
