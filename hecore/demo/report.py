"""What a run of the demo may choose, and what it measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hecore.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What a run of the demo may choose. `rows` None means the breast-cancer data, a number synthetic rows."""

    key_bits: int = 2048
    insecure: bool = False
    rows: int | None = None
    epochs: int = 8
    batch: int = 64
    features_guest: int = 10
    features_host: int = 20
    learning_rate: float = 0.15
    l2: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "features_guest", "features_host"):
            if getattr(self, name) < 1:
                raise ParameterError(f"cannot train with {name} = {getattr(self, name)}: at least 1 is needed")
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
class Curve:
    """Held-out scores of one model and the loss of each batch on the way to it (empty where it has none)."""

    name: str
    scores: Floats = field(repr=False)
    losses: list[float] = field(repr=False)


@dataclass(frozen=True)
class Report:
    """What one run measured."""

    options: Options
    dataset: str
    rows: int
    held_out_rows: int
    batches: int
    device: str
    simulated: bool
    auc: float
    auc_floats: float
    auc_sklearn: float | None
    loss: float
    loss_floats: float
    operations: dict[str, int]
    seconds: dict[str, float]
    total_seconds: float
    traffic: dict[str, dict[str, int]]
    curves: tuple[Curve, ...] = field(repr=False)
    labels: Floats = field(repr=False)
    step: ClassVar[str] = "batch"

    @property
    def aucs(self) -> dict[str, float | None]:
        """By the name of the curve."""
        return {"encrypted": self.auc, "floats": self.auc_floats, "scikit-learn": self.auc_sklearn}

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.rows} rows, Paillier {self.options.key_bits} bits"

    def to_text(self) -> str:
        """The numbers, for people."""
        options = self.options
        sklearn = "not installed" if self.auc_sklearn is None else f"{self.auc_sklearn:.4f}"
        insecure = " (INSECURE)" if options.insecure else ""
        simulated = " (simulated: its seconds are no measurement)" if self.simulated else ""
        other = self.total_seconds - sum(self.seconds.values())
        lines = [
            f"Vertical logistic regression on {self.dataset}: {self.rows} rows, "
            f"{options.features_guest} columns at the guest, {options.features_host} at the host",
            f"{options.epochs} epochs of {self.batches} batches, Paillier {options.key_bits} bits{insecure}",
            f"device: {self.device}{simulated}",
            "",
            f"AUC on {self.held_out_rows} held-out rows",
            f"  encrypted     {self.auc:.4f}",
            f"  floats        {self.auc_floats:.4f}  the same algorithm without encryption",
            f"  scikit-learn  {sklearn}  LogisticRegression on all columns in one place",
            f"loss of the last epoch: {self.loss:.6f} encrypted, {self.loss_floats:.6f} in floats",
            "",
            "homomorphic operations",
            *(f"  {name:<14}{number:>14,}" for name, number in sorted(self.operations.items())),
            "",
            "seconds",
            *(f"  {name:<14}{seconds:>14.3f}" for name, seconds in self.seconds.items()),
            f"  {'other':<14}{other:>14.3f}",
            f"  {'total':<14}{self.total_seconds:>14.3f}",
            "",
            "messages and bytes",
            *(f"  {link:<18}{flow['messages']:>10,}{flow['bytes']:>16,}" for link, flow in self.traffic.items()),
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The numbers, without scores and labels."""
        return {
            "options": asdict(self.options),
            "dataset": self.dataset,
            "rows": self.rows,
            "held_out_rows": self.held_out_rows,
            "batches": self.batches,
            "device": self.device,
            "simulated": self.simulated,
            "auc": {"encrypted": self.auc, "floats": self.auc_floats, "scikit_learn": self.auc_sklearn},
            "loss": {"encrypted": self.loss, "floats": self.loss_floats},
            "losses": {curve.name: curve.losses for curve in self.curves if curve.losses},
            "operations": self.operations,
            "seconds": self.seconds,
            "total_seconds": self.total_seconds,
            "traffic": self.traffic,
        }
