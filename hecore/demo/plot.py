"""Loss and ROC curves of one run as a picture. The only file of the demo that imports matplotlib, inside a function."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from hecore.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hecore.demo.federated_report import FederatedReport
    from hecore.demo.report import Report


def load_matplotlib() -> type[Figure]:
    """matplotlib's Figure (without pyplot: no display, no global state). Raises MissingExtraError without it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib is not installed: pip install hecore[demo]") from error
    return Figure


def plot(report: Report | FederatedReport) -> bytes:
    """PNG: the loss of each step under encryption and in floats, and the ROC curve of each model.

    Raises MissingExtraError without matplotlib.
    """
    figure = load_matplotlib()(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = {"encrypted": "-", "floats": "--", "scikit-learn": ":"}
    for curve in report.curves:
        if curve.losses:
            left.plot(np.arange(1, len(curve.losses) + 1), curve.losses, styles[curve.name], label=curve.name)
        order = np.argsort(-curve.scores, kind="stable")
        positive = report.labels[order] > 0
        right.plot(
            np.concatenate([[0.0], np.cumsum(~positive) / np.sum(~positive)]),
            np.concatenate([[0.0], np.cumsum(positive) / np.sum(positive)]),
            styles[curve.name],
            label=f"{curve.name}, AUC {report.aucs[curve.name]:.4f}",
        )
    left.set(xlabel=report.step, ylabel="logistic loss", title="Training loss")
    right.set(xlabel="false positive rate", ylabel="true positive rate", title="Held-out rows")
    left.legend()
    right.legend(loc="lower right")
    figure.suptitle(report.title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
