"""Rows of the demo: splits, batches that never leak, streaming, and what happens without scikit-learn."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

from hecore.demo import data
from hecore.errors import MissingExtraError, ParameterError


def test_breast_cancer_is_split_by_columns_and_standardised() -> None:
    dataset = data.breast_cancer(10, 20, batch=64, seed=0)
    guest = np.vstack([dataset.guest.batch(i) for i in range(dataset.batches)])
    host = np.vstack([dataset.host.batch(i) for i in range(dataset.batches)])
    labels = np.concatenate([dataset.labels.batch(i) for i in range(dataset.batches)])
    assert guest.shape == (455, 11)
    assert host.shape == (455, 20)
    assert set(labels) == {-1.0, 1.0}
    assert np.all(guest[:, 0] == 1)
    joined = np.hstack([guest[:, 1:], host])
    np.testing.assert_allclose(joined.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(joined.std(axis=0), 1, atol=1e-12)
    assert len(dataset.guest.held_out()) == len(dataset.host.held_out()) == len(dataset.labels.held_out()) == 114


@pytest.mark.parametrize(("rows", "batch"), [(455, 64), (100, 99), (100, 100), (64, 7), (1000, 33)])
def test_no_batch_is_smaller_than_asked(rows: int, batch: int) -> None:
    dataset = data.synthetic(rows, 2, 3, batch, seed=1)
    sizes = [len(dataset.labels.batch(i)) for i in range(dataset.batches)]
    assert sum(sizes) == rows
    assert min(sizes) == dataset.smallest_batch >= batch


def test_more_rows_a_batch_than_rows() -> None:
    with pytest.raises(ParameterError, match="20 rows into batches of 21"):
        data.synthetic(20, 2, 2, 21, seed=0)


def test_more_columns_than_the_data_has() -> None:
    with pytest.raises(ParameterError, match="has 30"):
        data.breast_cancer(20, 11, 64, 0)


def test_synthetic_rows_are_the_same_each_time_and_learnable() -> None:
    dataset = data.synthetic(4000, 3, 3, 1000, seed=5)
    for part in (dataset.guest, dataset.host, dataset.labels):
        np.testing.assert_array_equal(part.batch(1), part.batch(1))
        assert not np.array_equal(part.batch(1), part.batch(2))
    other = data.synthetic(4000, 3, 3, 1000, seed=6)
    assert not np.array_equal(dataset.host.batch(0), other.host.batch(0))
    assert not np.array_equal(dataset.host.batch(0), dataset.guest.batch(0)[:, 1:])
    x, y = dataset.joined(0)
    solved, *_ = np.linalg.lstsq(x, y, rcond=None)
    for x, y in (
        dataset.joined(3),
        (np.hstack([dataset.guest.held_out(), dataset.host.held_out()]), dataset.labels.held_out()),
    ):
        assert np.mean(np.sign(x @ solved) == y) > 0.75


def test_rows_beyond_memory_are_streamed() -> None:
    tracemalloc.start()
    try:
        dataset = data.synthetic(10**10, 10, 20, 1000, seed=0)
        for index in (0, 10**6, dataset.batches - 1):
            x, y = dataset.joined(index)
            assert x.shape == (1000, 31)
            assert y.shape == (1000,)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtraError, match=r"pip install hecore\[demo\]"):
        data.breast_cancer(10, 20, 64, 0)
    with pytest.raises(MissingExtraError, match=r"pip install hecore\[demo\]"):
        data.sklearn_scores(data.synthetic(100, 2, 2, 50, 0))
