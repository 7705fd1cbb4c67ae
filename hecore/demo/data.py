"""Rows split by columns: scikit-learn's breast-cancer data, or synthetic rows of any number.

Rows come in batches, made or cut when asked for, so that nothing here grows with the number of synthetic rows.
The only file that imports scikit-learn, inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hecore.errors import MissingExtraError, ParameterError

Floats = NDArray[np.float64]

_LARGEST_HELD_OUT = 20_000
_BASELINE_ROWS = 100_000


class Columns(Protocol):
    """One party's columns of all rows."""

    @property
    def count(self) -> int:
        """Number of columns."""

    def batch(self, index: int) -> Floats:
        """Rows of training batch `index`, shape (rows, count)."""

    def held_out(self) -> Floats:
        """Rows kept from training, shape (rows, count)."""


class Labels(Protocol):
    """The labels of all rows, each -1 or +1."""

    def batch(self, index: int) -> Floats:
        """Labels of training batch `index`, shape (rows,)."""

    def held_out(self) -> Floats:
        """Labels kept from training, shape (rows,)."""


@dataclass(frozen=True)
class Dataset:
    """Aligned rows, split by columns between guest (who has the labels and a column of ones) and host."""

    name: str
    rows: int
    held_out_rows: int
    batches: int
    guest: Columns
    host: Columns
    labels: Labels

    @property
    def smallest_batch(self) -> int:
        """Rows of the smallest batch; the largest has at most one more."""
        return self.rows // self.batches

    def joined(self, index: int) -> tuple[Floats, Floats]:
        """Batch `index` with all columns, and its labels: what no party of the protocol ever sees."""
        return np.hstack([self.guest.batch(index), self.host.batch(index)]), self.labels.batch(index)


@dataclass(frozen=True)
class _Table:
    """Rows in memory, cut into batches of nearly equal size: a short last batch would leak (see parties.py)."""

    values: Floats
    rows: int
    batches: int

    @property
    def count(self) -> int:
        return int(self.values.shape[1])

    def batch(self, index: int) -> Floats:
        return self.values[slice(*_bounds(index, self.rows, self.batches))]

    def held_out(self) -> Floats:
        return self.values[self.rows :]


@dataclass(frozen=True)
class _TableLabels:
    """Labels in memory, cut as `_Table` is."""

    values: Floats
    rows: int
    batches: int

    def batch(self, index: int) -> Floats:
        return self.values[slice(*_bounds(index, self.rows, self.batches))]

    def held_out(self) -> Floats:
        return self.values[self.rows :]


@dataclass(frozen=True)
class _Synthetic:
    """Independent standard normal columns, made again from a seed at each request.

    The generator is NumPy's: these rows stand for nobody's data and protect nothing.
    """

    seed: int
    party: int
    features: int
    ones: bool
    rows: int
    held_out_rows: int
    batches: int

    @property
    def count(self) -> int:
        return self.features + self.ones

    def batch(self, index: int) -> Floats:
        start, stop = _bounds(index, self.rows, self.batches)
        return self._make(index, stop - start)

    def held_out(self) -> Floats:
        return self._make(self.batches, self.held_out_rows)

    def _make(self, index: int, rows: int) -> Floats:
        values = np.random.default_rng([self.seed, self.party, index]).standard_normal((rows, self.features))
        return np.hstack([np.ones((rows, 1)), values]) if self.ones else values


@dataclass(frozen=True)
class _SyntheticLabels:
    """+1 with probability 1 / (1 + exp(-x.w)) for hidden weights w of all columns."""

    guest: _Synthetic
    host: _Synthetic

    def batch(self, index: int) -> Floats:
        return self._make(index, self.guest.batch(index), self.host.batch(index))

    def held_out(self) -> Floats:
        return self._make(self.guest.batches, self.guest.held_out(), self.host.held_out())

    def _make(self, index: int, guest: Floats, host: Floats) -> Floats:
        x = np.hstack([guest, host])
        hidden = np.random.default_rng([self.guest.seed, 2]).standard_normal(x.shape[1])
        score = 3.0 * (x @ hidden) / np.sqrt(x.shape[1])
        chance = np.random.default_rng([self.guest.seed, 3, index]).random(len(x))
        return np.where(chance < 1 / (1 + np.exp(-score)), 1.0, -1.0)


def breast_cancer(features_guest: int, features_host: int, batch: int, seed: int) -> Dataset:
    """scikit-learn's breast-cancer rows, the first columns to the guest and the next to the host.

    A fifth of the rows is held out, drawn by the seed; each column is standardised by the mean and deviation of its
    training rows, which its owner can do alone.

    Raises MissingExtraError without scikit-learn, ParameterError for more columns than there are.
    """
    loaded = _sklearn("datasets").load_breast_cancer()
    x = np.asarray(loaded.data, dtype=np.float64)
    y = np.where(np.asarray(loaded.target) == 1, 1.0, -1.0)
    if features_guest + features_host > x.shape[1]:
        raise ParameterError(
            f"cannot split {features_guest} + {features_host} columns: the breast-cancer data has {x.shape[1]}"
        )
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order], y[order]
    rows = len(x) * 4 // 5
    x = (x - x[:rows].mean(axis=0)) / x[:rows].std(axis=0)
    batches = _batches(rows, batch)
    guest = np.hstack([np.ones((len(x), 1)), x[:, :features_guest]])
    host = x[:, features_guest : features_guest + features_host]
    return Dataset(
        name="breast cancer (scikit-learn)",
        rows=rows,
        held_out_rows=len(x) - rows,
        batches=batches,
        guest=_Table(guest, rows, batches),
        host=_Table(host, rows, batches),
        labels=_TableLabels(y, rows, batches),
    )


def synthetic(rows: int, features_guest: int, features_host: int, batch: int, seed: int) -> Dataset:
    """`rows` training rows drawn from a logistic model, and a quarter as many held out (20 000 at most)."""
    held_out = max(2, min(rows // 4, _LARGEST_HELD_OUT))
    batches = _batches(rows, batch)
    guest = _Synthetic(seed, 0, features_guest, True, rows, held_out, batches)
    host = _Synthetic(seed, 1, features_host, False, rows, held_out, batches)
    return Dataset("synthetic", rows, held_out, batches, guest, host, _SyntheticLabels(guest, host))


@dataclass(frozen=True)
class RowShares:
    """Rows split among parties: each has all columns (the first is of ones) of its own rows, and their labels."""

    name: str
    shares: tuple[tuple[Floats, Floats], ...]
    held_out: Floats
    held_out_labels: Floats

    @property
    def rows(self) -> int:
        return sum(len(labels) for _, labels in self.shares)

    def joined(self) -> tuple[Floats, Floats]:
        """All rows, as no party of the protocol ever sees them."""
        return np.vstack([x for x, _ in self.shares]), np.concatenate([y for _, y in self.shares])


def by_rows(dataset: Dataset, parties: int, clip: float) -> RowShares:
    """The rows of a dataset in nearly equal parts, columns clipped to [-clip, clip]. Raises ParameterError."""
    if not 1 <= parties <= dataset.rows:
        raise ParameterError(f"cannot split {dataset.rows} rows among {parties}: from 1 to {dataset.rows}")
    batches = [dataset.joined(index) for index in range(dataset.batches)]
    x, y = np.clip(np.vstack([x for x, _ in batches]), -clip, clip), np.concatenate([y for _, y in batches])
    held_out = np.clip(np.hstack([dataset.guest.held_out(), dataset.host.held_out()]), -clip, clip)
    parts = np.array_split(np.arange(len(x)), parties)
    return RowShares(dataset.name, tuple((x[p], y[p]) for p in parts), held_out, dataset.labels.held_out())


def sklearn_scores(dataset: Dataset) -> Floats:
    """Scores of the held-out rows by scikit-learn's LogisticRegression on the joined columns.

    It has to hold its rows in memory, so it gets the first 100 000 at most. Raises MissingExtraError.
    """
    taken, labels, rows = [], [], 0
    for index in range(dataset.batches):
        x, y = dataset.joined(index)
        taken.append(x)
        labels.append(y)
        rows += len(x)
        if rows >= _BASELINE_ROWS:
            break
    held_out = np.hstack([dataset.guest.held_out(), dataset.host.held_out()])
    return sklearn_decisions(np.vstack(taken), np.concatenate(labels), held_out)


def sklearn_decisions(x: Floats, y: Floats, held_out: Floats) -> Floats:
    """Scores of `held_out` by LogisticRegression on x, y; column 0 is of ones. Raises MissingExtraError."""
    model = _sklearn("linear_model").LogisticRegression(max_iter=5000)
    model.fit(x[:, 1:], y)  # it has an intercept of its own
    return np.asarray(model.decision_function(held_out[:, 1:]), dtype=np.float64)


def _batches(rows: int, batch: int) -> int:
    """As many batches as leave none below `batch` rows."""
    if batch > rows:
        raise ParameterError(f"cannot cut {rows} rows into batches of {batch}")
    return rows // batch


def _bounds(index: int, rows: int, batches: int) -> tuple[int, int]:
    """First row and end of a batch. A number that another party sent may be any."""
    if not 0 <= index < batches:
        raise ParameterError(f"cannot read batch {index}: there are {batches}")
    return rows * index // batches, rows * (index + 1) // batches


def _sklearn(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtraError("scikit-learn is not installed: pip install hecore[demo]") from error
