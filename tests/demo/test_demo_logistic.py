"""The demo trains under encryption what floats train in the clear, and its parties see what they may see."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import paillier
from hecore.demo import data, logistic, plot
from hecore.demo.channel import Channel, Message, pack_integers, unpack_integers
from hecore.demo.clock import Clock
from hecore.demo.parties import (
    ACTIVATION_BITS,
    ARBITER,
    COLUMN_BITS,
    GUEST,
    HOST,
    STATISTICAL_SECURITY,
    Arbiter,
    Guest,
    Host,
    Settings,
    quantise,
)
from hecore.demo.report import Options, Report
from hecore.errors import (
    InsecureParametersError,
    KeyMismatchError,
    MissingExtraError,
    ParameterError,
    PlaintextRangeError,
    SerializationError,
    ShapeError,
)

TINY = Options(key_bits=256, insecure=True, rows=160, epochs=2, batch=40, features_guest=3, features_host=4)


@pytest.fixture(autouse=True)
def on_the_reference() -> Iterator[None]:
    """Toy keys need no kernels, and nothing here depends on the device."""
    with hecore.use("reference"):
        yield


class Stage:
    """All parties of a tiny run, stepped by hand, with everything that passed between them."""

    def __init__(self, dataset: data.Dataset | None = None) -> None:
        self.dataset = dataset or data.synthetic(160, 3, 4, 40, seed=0)
        self.messages: list[Message] = []
        self.channel = Channel(self.messages.append)
        self.settings = Settings(
            learning_rate=0.15, l2=0.001, batch=self.dataset.smallest_batch, clock=Clock(), allow_insecure=True
        )
        self.public_key, self.secret_key = paillier.generate_insecure_keypair(256)
        self.guest = Guest(self.channel.endpoint(GUEST), self.dataset.guest, self.dataset.labels, **self.settings)
        self.host = Host(self.channel.endpoint(HOST), self.dataset.host, **self.settings)
        self.arbiter = Arbiter(self.channel.endpoint(ARBITER), self.secret_key, self.settings["clock"])
        self.arbiter.publish_key()
        self.guest.receive_key()
        self.host.receive_key()

    def batch(self, index: int) -> None:
        self.guest.begin_batch(index)
        self.host.send_forward()
        self.guest.send_residual()
        self.guest.request_gradient()
        self.host.request_gradient()
        self.arbiter.answer(GUEST)
        self.arbiter.answer(HOST)
        self.guest.finish_batch()
        self.host.finish_batch()

    def payloads(self, sender: str, subject: str) -> list[bytes]:
        return [m.payload for m in self.messages if m.sender == sender and m.subject == subject]

    def read(self, payload: bytes) -> paillier.EncryptedArray:
        return paillier.EncryptedArray.from_bytes(payload, self.public_key)


@pytest.fixture(scope="module")
def tiny_report() -> Report:
    with hecore.use("reference"):
        return logistic.run(TINY)


# -- the result --------------------------------------------------------------------------------------------


def test_auc_of_encrypted_training_is_that_of_floats_on_breast_cancer() -> None:
    report = logistic.run(Options(key_bits=256, insecure=True, epochs=2))
    assert round(report.auc, 4) == round(report.auc_floats, 4)
    assert report.auc > 0.98
    assert report.auc_sklearn is not None
    assert abs(report.auc_sklearn - report.auc) < 0.02
    encrypted, floats, _ = report.curves
    np.testing.assert_allclose(encrypted.losses, floats.losses, atol=1e-6)
    np.testing.assert_allclose(encrypted.scores, floats.scores, atol=1e-4)


def test_synthetic_rows_too(tiny_report: Report) -> None:
    encrypted, floats, _ = tiny_report.curves
    assert round(tiny_report.auc, 4) == round(tiny_report.auc_floats, 4)
    np.testing.assert_allclose(encrypted.losses, floats.losses, atol=1e-6)
    assert tiny_report.loss < math.log(2)


@pytest.mark.slow
def test_the_default_run_on_the_default_device() -> None:
    with hecore.use("auto"):
        report = logistic.run()
    assert report.options.key_bits == 2048
    assert round(report.auc, 4) == round(report.auc_floats, 4)
    assert report.auc > 0.99
    assert not report.simulated


def test_one_batch_is_the_gradient_of_the_taylor_loss() -> None:
    """By finite differences on the joined data, which no party has."""
    stage = Stage()
    rng = np.random.default_rng(3)
    stage.guest.weights[:] = rng.normal(size=4)
    stage.host.weights[:] = rng.normal(size=4)
    before = np.concatenate([stage.guest.weights, stage.host.weights])
    stage.batch(0)
    after = np.concatenate([stage.guest.weights, stage.host.weights])
    x, y = stage.dataset.joined(0)
    penalised = np.array([0.0] + [1.0] * 7)

    def loss(weights: np.ndarray[Any, Any]) -> float:
        score = x @ weights
        return float(np.mean(np.log(2) - y * score / 2 + score**2 / 8))

    def penalty(weights: np.ndarray[Any, Any]) -> float:
        return float(0.001 / 2 * np.sum(penalised * weights**2))

    step = 1e-5
    numeric = [
        (loss(before + step * e) + penalty(before + step * e) - loss(before - step * e) - penalty(before - step * e))
        / (2 * step)
        for e in np.eye(8)
    ]
    np.testing.assert_allclose((before - after) / 0.15, numeric, atol=1e-5)
    assert abs(stage.guest.losses[0] - loss(before)) < 1e-6


def test_operations_are_counted_exactly(tiny_report: Report) -> None:
    rows, batches = 160 * 2, 4 * 2
    assert tiny_report.operations == {
        "encrypt": 2 * rows + batches,  # u_g, u_h and the sum of squares
        "matmul_terms": (4 + 1 + 4) * rows,  # columns of the guest with the ones, its loss, columns of the host
        "add": (4 + 1 + 4 + 1) * batches,  # one mask each, and the sum of squares
        "rerandomize": (4 + 1 + 4) * batches,
        "decrypt": (4 + 1 + 4) * batches,
    }
    assert set(tiny_report.seconds) == {"keygen", "plain", "encrypt", "serialise", "multiply", "mask", "decrypt"}
    assert sum(tiny_report.seconds.values()) <= tiny_report.total_seconds
    assert tiny_report.device


def test_report_as_json_and_text(tiny_report: Report) -> None:
    assert json.loads(json.dumps(tiny_report.to_json()))["auc"]["encrypted"] == tiny_report.auc
    text = tiny_report.to_text()
    assert f"encrypted     {tiny_report.auc:.4f}" in text
    assert "INSECURE" in text
    assert "matmul_terms" in text


def test_plot_is_a_png(tiny_report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plot.plot(tiny_report).startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install hecore\[demo\]"):
        plot.plot(tiny_report)


def test_synthetic_rows_need_no_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    report = logistic.run(Options(key_bits=256, insecure=True, rows=40, epochs=1, batch=40, features_host=2))
    assert report.auc_sklearn is None
    assert "not installed" in report.to_text()
    with pytest.raises(MissingExtraError):
        logistic.run(Options(key_bits=256, insecure=True, epochs=1))


def test_progress_reaches_the_end() -> None:
    calls: list[tuple[str, int, int]] = []
    logistic.run(TINY, progress=lambda what, done, total: calls.append((what, done, total)))
    assert ("encrypted training", 8, 8) in calls
    assert ("training in floats", 8, 8) in calls


# -- who sees what -----------------------------------------------------------------------------------------


def test_the_arbiter_decrypts_nothing_but_masks() -> None:
    """What it decrypts fills the masks' range, 2**80 times the values below, and never repeats for equal data."""
    stage = Stage()
    seen: list[float] = []
    for _ in range(6):
        stage.guest.weights[:] = 0.0  # each round has the very same gradients and loss below its masks
        stage.host.weights[:] = 0.0
        stage.batch(0)
        for party, count in ((GUEST, 5), (HOST, 4)):
            masked = stage.read(stage.payloads(party, "masked values")[-1])
            values = [int(v) for v in stage.secret_key.decrypt(masked, exact=True)]
            assert len(values) == count
            bits = 26 + 48 + 6 + STATISTICAL_SECURITY  # columns, activations, 40 rows, mask
            seen += [value / 2.0**bits for value in values[:4]]  # without the loss
    assert len(set(seen)) == len(seen)
    sizes = np.abs(seen)
    assert sizes.max() < 1.01
    assert sizes.min() > 2.0**-40  # a bare gradient would lie near 2**-90
    assert 0.25 < sizes.mean() < 0.75
    assert 0.2 < np.mean(np.array(seen) > 0) < 0.8


def test_masks_come_off_exactly() -> None:
    stage = Stage()
    stage.batch(0)
    x = quantise(stage.dataset.host.batch(0), COLUMN_BITS, 26, "x")
    residual = stage.secret_key.decrypt(stage.read(stage.payloads(GUEST, "residual")[0]))
    expected = [sum(int(a) * int(b) for a, b in zip(column, residual, strict=True)) for column in x.T]
    masked = unpack_integers(
        next(
            m.payload for m in stage.messages if m.sender == ARBITER and m.recipient == HOST and "masked" in m.subject
        ),
        4,
    )
    assert [value - mask for value, mask in zip(masked, stage.host._masks, strict=True)] == expected


def test_equal_values_are_sent_as_different_ciphertexts() -> None:
    """At the first step the host's u is zero everywhere; an encryption that is not random would show it."""
    stage = Stage()
    stage.batch(0)
    stage.host.weights[:] = 0.0
    stage.batch(0)
    sizes = 0
    ciphertexts: set[bytes] = set()
    for payload in stage.payloads(HOST, "forward"):
        array = stage.read(payload)
        assert not np.any(stage.secret_key.decrypt(array))
        limbs = array.residues.backend.download(array.residues)
        ciphertexts |= {row.tobytes() for row in limbs}
        assert not np.any((limbs[:, 0] == 1) & ~limbs[:, 1:].any(axis=1))  # 1 is zero without randomness
        sizes += array.size
    assert len(ciphertexts) == sizes == 80


def test_what_is_sent_in_the_clear() -> None:
    """Batch numbers, the public key, masked values from the arbiter; after training the host's scores. No more."""
    stage = Stage()
    stage.batch(1)
    stage.host.send_scores()
    kinds = {(m.sender, m.recipient, m.subject) for m in stage.messages}
    assert kinds == {
        (ARBITER, GUEST, "public key"),
        (ARBITER, HOST, "public key"),
        (GUEST, HOST, "batch"),
        (HOST, GUEST, "forward"),
        (HOST, GUEST, "sum of squares"),
        (GUEST, HOST, "residual"),
        (GUEST, ARBITER, "masked values"),
        (HOST, ARBITER, "masked values"),
        (ARBITER, GUEST, "masked values"),
        (ARBITER, HOST, "masked values"),
        (HOST, GUEST, "scores"),
    }
    assert all(type(m.payload) is bytes for m in stage.messages)
    for message in stage.messages:
        if message.subject in ("forward", "sum of squares", "residual") or message.recipient == ARBITER:
            assert stage.read(message.payload).randomised


def test_no_party_holds_another_ones_objects() -> None:
    stage = Stage()
    stage.batch(0)
    guest, host, arbiter = reachable(stage.guest), reachable(stage.host), reachable(stage.arbiter)
    for party, others in (
        (guest, (stage.host, stage.arbiter, stage.secret_key, stage.dataset.host)),
        (host, (stage.guest, stage.arbiter, stage.secret_key, stage.dataset.guest, stage.dataset.labels)),
        (arbiter, (stage.guest, stage.host, stage.dataset.guest, stage.dataset.host, stage.dataset.labels)),
    ):
        assert not party & {id(other) for other in others}
    assert id(stage.dataset.guest) in guest
    assert id(stage.secret_key) in arbiter


def reachable(thing: object) -> set[int]:
    """Everything found by following attributes, except the network and the labels' own source."""
    found: set[int] = set()
    todo = [thing]
    while todo:
        current = todo.pop()
        if id(current) in found or isinstance(current, Channel | data._SyntheticLabels):
            continue
        found.add(id(current))
        todo += list(getattr(current, "__dict__", {}).values())
        if isinstance(current, list | tuple):
            todo += current
    return found


# -- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("features_guest", "features_host"), [(39, 3), (3, 39)])
def test_batches_that_the_gradient_would_solve_are_refused(features_guest: int, features_host: int) -> None:
    with pytest.raises(ParameterError, match="would determine the other party's values"):
        logistic.run(
            Options(
                key_bits=256,
                insecure=True,
                rows=160,
                batch=40,
                features_guest=features_guest,
                features_host=features_host,
            )
        )


def test_a_diverging_run_is_an_error_and_not_a_wrong_number() -> None:
    with pytest.raises(PlaintextRangeError, match="lower the learning rate"):
        logistic.run(Options(key_bits=256, insecure=True, rows=160, batch=40, epochs=20, learning_rate=1e3))


def test_a_key_below_the_floor_needs_the_word() -> None:
    with pytest.raises(InsecureParametersError):
        logistic.run(Options(key_bits=1024, rows=160, batch=40, features_host=2))


def test_a_party_refuses_an_insecure_key_that_it_was_not_told_of() -> None:
    stage = Stage()
    settings = stage.settings.copy()
    settings["allow_insecure"] = False
    wary = Host(stage.channel.endpoint(HOST), stage.dataset.host, **settings)
    stage.arbiter.publish_key()
    with pytest.raises(InsecureParametersError):
        wary.receive_key()


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch": 0},
        {"features_host": 0},
        {"features_guest": -1},
        {"rows": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"l2": -1.0},
        {"seed": -1},
    ],
)
def test_options_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Options(**change)


def test_ciphertexts_of_another_key_are_refused() -> None:
    stage, other = Stage(), Stage()
    stage.guest.begin_batch(0)
    stage.host.send_forward()
    other.guest.begin_batch(0)
    other.guest.send_residual()
    stage.guest.send_residual()
    stage.channel._queues[(GUEST, HOST)] = other.channel._queues[(GUEST, HOST)]
    stage.channel.collect(GUEST, HOST, "batch")
    with pytest.raises(KeyMismatchError):
        stage.host.request_gradient()


def test_altered_and_misshapen_ciphertexts_are_refused() -> None:
    stage = Stage()
    stage.guest.begin_batch(0)
    stage.host.send_forward()
    stage.guest.send_residual()
    payload = stage.channel.collect(GUEST, HOST, "residual")
    altered = payload[:200] + bytes([payload[200] ^ 1]) + payload[201:]
    stage.channel.endpoint(GUEST).send(HOST, "residual", altered)
    with pytest.raises(SerializationError):
        stage.host.request_gradient()
    shorter = stage.read(payload)[:-1].to_bytes()
    stage.channel.endpoint(GUEST).send(HOST, "residual", shorter)
    with pytest.raises(SerializationError, match=r"shape \(39,\) and 48 bits: .* shape \(40,\) and 48 bits"):
        stage.host.request_gradient()
    # A smaller bound than the protocol's would shorten the masks.
    narrow = stage.public_key.encrypt(np.zeros(40, dtype=np.int64), encoding=paillier.Integers(bits=8)).to_bytes()
    stage.channel.endpoint(GUEST).send(HOST, "residual", narrow)
    with pytest.raises(SerializationError, match="8 bits: the protocol has"):
        stage.host.request_gradient()


@pytest.mark.parametrize("payload", [b"", b"\0" * 7, b"\0" * 9, (4).to_bytes(8), (1 << 63).to_bytes(8)])
def test_a_batch_number_that_is_none(payload: bytes) -> None:
    stage = Stage()
    stage.channel.endpoint(GUEST).send(HOST, "batch", payload)
    with pytest.raises((SerializationError, ParameterError), match="batch"):
        stage.host.send_forward()


def test_an_answer_that_cannot_be() -> None:
    stage = Stage()
    stage.guest.begin_batch(0)
    stage.host.send_forward()
    stage.guest.send_residual()
    stage.host.request_gradient()
    stage.channel.endpoint(ARBITER).send(HOST, "masked values", pack_integers([0, 0, 0, 1 << 5000]))
    with pytest.raises(SerializationError, match="exceeds the bound"):
        stage.host.finish_batch()


def test_scores_of_the_wrong_length_are_refused() -> None:
    stage = Stage()
    stage.channel.endpoint(HOST).send(GUEST, "scores", b"\0" * 12)
    with pytest.raises(SerializationError, match="scores from 12 bytes"):
        stage.guest.receive_scores()


@pytest.mark.parametrize("value", [math.nan, math.inf, -64.0, 64.0])
def test_quantise_refuses_what_does_not_fit(value: float) -> None:
    with pytest.raises(PlaintextRangeError, match="64 in magnitude"):
        quantise(np.array([0.0, value]), COLUMN_BITS, 26, "a column")
    assert quantise(np.array([63.5]), ACTIVATION_BITS, 48, "u")[0] == 63.5 * 2**32


# -- area under the curve ----------------------------------------------------------------------------------


def test_auc_is_that_of_scikit_learn_ties_included() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.choice([-1.0, 1.0], size=50)
        scores = np.round(rng.normal(size=50) + 0.5 * labels, 1)
        assert abs(logistic.area_under_curve(scores, labels) - roc_auc_score(labels, scores)) < 1e-12
    assert logistic.area_under_curve(np.zeros(4), np.array([1.0, -1.0, 1.0, -1.0])) == 0.5


def test_auc_needs_both_labels_and_equal_lengths() -> None:
    with pytest.raises(ParameterError, match="one label"):
        logistic.area_under_curve(np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError):
        logistic.area_under_curve(np.zeros(3), np.ones(4))
