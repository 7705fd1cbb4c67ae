"""Federated averaging under CKKS trains what floats train, and its parties see what they may see."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.demo import data, federated, plot
from hecore.demo.channel import Channel, Message
from hecore.demo.clock import Clock
from hecore.demo.federated_parties import (
    AGGREGATOR,
    CLIP,
    KEY_HOLDER,
    MODEL_BITS,
    SCORER,
    USER,
    WEIGHT_BOUND,
    Aggregator,
    Client,
    KeyHolder,
    Scorer,
    Training,
    client_name,
    read_count,
    read_model,
    score_bound,
    sigmoid,
)
from hecore.demo.federated_report import FederatedOptions, FederatedReport
from hecore.errors import (
    InsecureParametersError,
    KeyMismatchError,
    MissingExtraError,
    ParameterError,
    PlaintextRangeError,
    QueryBudgetError,
    SerializationError,
)

TINY = FederatedOptions(ring_degree=64, insecure=True, clients=3, rounds=2, rows=90, features=4)


@pytest.fixture(autouse=True)
def on_the_reference() -> Iterator[None]:
    """Toy rings need no kernels, and nothing here depends on the device."""
    with hecore.use("reference"):
        yield


@pytest.fixture(scope="module")
def tiny() -> tuple[FederatedReport, list[Message]]:
    messages: list[Message] = []
    with hecore.use("reference"):
        return federated.run(TINY, observer=messages.append), messages


class Stage:
    """All parties of the averaging, stepped by hand."""

    def __init__(self, clients: int = 2, rounds: int = 2) -> None:
        shares = data.by_rows(data.synthetic(40, 2, 2, 40, seed=0), clients, CLIP)
        self.columns = shares.held_out.shape[1]
        self.channel = Channel()
        clock, training = Clock(), Training(0.5, 0.01, 3)
        parameters = ckks.Parameters.insecure(
            ring_degree=64, moduli_bits=federated.AVERAGING_BITS, scale=federated.AVERAGING_SCALE
        )
        self.keys = ckks.generate_keys(parameters)
        names = [client_name(i) for i in range(clients)]
        self.holder = KeyHolder(self.channel.endpoint(KEY_HOLDER), self.keys, names, self.columns, rounds, clock)
        self.aggregator = Aggregator(self.channel.endpoint(AGGREGATOR), names, self.columns, clock)
        self.clients = [
            Client(self.channel.endpoint(name), x, y, training, clock)
            for name, (x, y) in zip(names, shares.shares, strict=True)
        ]

    def start(self) -> None:
        self.holder.publish_key()
        for client in self.clients:
            client.receive_key(allow_insecure=True)
        self.aggregator.receive_key(allow_insecure=True)
        self.holder.receive_rows()

    def round(self) -> None:
        for client in self.clients:
            client.send_update()
        self.aggregator.aggregate()
        self.holder.publish_model()
        for client in self.clients:
            client.receive_model()


# -- the result --------------------------------------------------------------------------------------------


def test_encrypted_averaging_is_averaging(tiny: tuple[FederatedReport, list[Message]]) -> None:
    report, _ = tiny
    assert report.weight_difference < 2.0**-MODEL_BITS
    assert report.score_difference < 1e-3
    assert report.aucs["encrypted"] == pytest.approx(report.aucs["floats"], abs=1e-3)
    encrypted, floats = report.curves[:2]
    np.testing.assert_allclose(encrypted.losses, floats.losses, atol=1e-5)
    assert encrypted.losses[-1] < encrypted.losses[0] < np.log(2)


@pytest.mark.slow
def test_breast_cancer_at_real_parameters() -> None:
    with hecore.use("auto"):
        report = federated.run(FederatedOptions(rounds=3))
    assert round(report.aucs["encrypted"], 3) == round(report.aucs["floats"], 3)
    assert report.aucs["encrypted"] > 0.98
    assert abs(report.aucs["scikit-learn"] - report.aucs["encrypted"]) < 0.02


def test_operations_seconds_and_traffic_are_counted(tiny: tuple[FederatedReport, list[Message]]) -> None:
    report, messages = tiny
    clients, rounds, columns, chunks = TINY.clients, TINY.rounds, TINY.features, 1
    assert report.held_out_rows <= TINY.ring_degree // 2
    assert report.operations["encrypt"] == clients * rounds + columns * chunks
    assert report.operations["decrypt"] == rounds + chunks
    assert report.operations["multiply"] >= 4  # a polynomial of degree 15
    assert {"train", "encrypt", "aggregate", "decrypt", "score", "serialise", "keygen"} <= set(report.seconds)
    assert sum(report.seconds.values()) <= report.total_seconds
    assert sum(flow["bytes"] for flow in report.traffic.values()) == sum(len(m.payload) for m in messages)
    assert report.traffic["clients -> aggregator"]["messages"] == clients * (rounds + 1)


def test_report_as_text_and_json(tiny: tuple[FederatedReport, list[Message]]) -> None:
    report, _ = tiny
    text = report.to_text()
    for part in ("3 clients", "2 rounds", "INSECURE", "AUC", "accuracy", "encrypt", "seconds", "clients -> aggregator"):
        assert part in text
    document = json.loads(json.dumps(report.to_json()))
    assert document["scheme"] == "ckks"
    assert document["auc"] == report.aucs
    assert document["options"]["clients"] == 3


def test_plot(tiny: tuple[FederatedReport, list[Message]]) -> None:
    pytest.importorskip("matplotlib")
    assert plot.plot(tiny[0]).startswith(b"\x89PNG")


# -- who sees what -----------------------------------------------------------------------------------------


def test_only_these_messages_pass(tiny: tuple[FederatedReport, list[Message]]) -> None:
    _, messages = tiny
    passed = {
        (*("client" if end.startswith("client") else end for end in (m.sender, m.recipient)), m.subject)
        for m in messages
    }
    assert passed == {
        (KEY_HOLDER, "client", "public key"),
        (KEY_HOLDER, AGGREGATOR, "public key"),
        ("client", AGGREGATOR, "rows"),
        (AGGREGATOR, KEY_HOLDER, "rows"),
        ("client", AGGREGATOR, "update"),
        (AGGREGATOR, KEY_HOLDER, "aggregate"),
        (KEY_HOLDER, "client", "model"),
        (KEY_HOLDER, SCORER, "model"),
        (USER, SCORER, "keys"),
        (USER, SCORER, "columns"),
        (USER, SCORER, "column"),
        (SCORER, USER, "scores"),
    }


def test_the_aggregator_gets_fresh_ciphertexts_and_keys_that_open_nothing(
    tiny: tuple[FederatedReport, list[Message]],
) -> None:
    _, messages = tiny
    updates = [m.payload for m in messages if m.subject == "update"]
    assert len(set(updates)) == len(updates)
    keys = [m.payload for m in messages if m.subject in ("public key", "keys")]
    for payload in keys:
        key = ckks.PublicKey.from_bytes(payload, allow_insecure=True)
        assert len(key.evaluation_keys.galois_keys) == 0


def test_the_published_model_is_rounded(tiny: tuple[FederatedReport, list[Message]]) -> None:
    """Multiples of 2^-20 of the sum: nothing of the ciphertexts' noise is left."""
    _, messages = tiny
    for message in messages:
        if message.subject == "model":
            total = read_model(message.payload, TINY.features + 1) * 90 * 2.0**MODEL_BITS
            np.testing.assert_allclose(total, np.rint(total), atol=1e-4)


def test_no_more_models_than_rounds_are_opened() -> None:
    stage = Stage(rounds=1)
    stage.start()
    stage.round()
    with pytest.raises(QueryBudgetError):
        stage.round()


# -- bad input ---------------------------------------------------------------------------------------------


def test_updates_beyond_the_declared_bound_are_not_sent() -> None:
    stage = Stage()
    stage.start()
    stage.clients[0].weights = np.full(stage.columns, 2 * WEIGHT_BOUND)
    with pytest.raises(PlaintextRangeError, match="exceeds 16 in magnitude"):
        stage.clients[0].send_update()


def test_an_update_of_another_shape_is_refused() -> None:
    stage = Stage()
    stage.start()
    first, second = stage.clients
    first.send_update()
    wrong = second.public_key.encrypt(np.zeros(stage.columns + 1), bound=1.0).to_bytes()
    stage.channel.endpoint(client_name(1)).send(AGGREGATOR, "update", wrong)
    with pytest.raises(SerializationError, match="the model has 5 weights"):
        stage.aggregator.aggregate()


def test_an_update_under_another_key_is_refused() -> None:
    stage, other = Stage(), Stage()
    stage.start()
    stage.clients[0].send_update()
    foreign = other.keys.public_key.encrypt(np.zeros(stage.columns), bound=1.0).to_bytes()
    stage.channel.endpoint(client_name(1)).send(AGGREGATOR, "update", foreign)
    with pytest.raises(KeyMismatchError):
        stage.aggregator.aggregate()


@pytest.mark.parametrize("payload", [b"", b"\0" * 39, b"\0" * 41, np.full(5, np.nan).tobytes()])
def test_a_malformed_model_is_refused(payload: bytes) -> None:
    with pytest.raises(SerializationError):
        read_model(payload, 5)


def test_a_malformed_number_is_refused() -> None:
    with pytest.raises(SerializationError, match="8 are needed"):
        read_count(b"\0" * 7)


def test_a_request_of_other_columns_is_refused() -> None:
    channel = Channel()
    scorer = Scorer(channel.endpoint(SCORER), 5, Clock())
    user = channel.endpoint(USER)
    user.send(SCORER, "keys", Stage().keys.public_key.to_bytes())
    user.send(SCORER, "columns", (7).to_bytes(8, "big"))
    with pytest.raises(SerializationError, match="the model has 4 and a bias"):
        scorer.answer(allow_insecure=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": 0}, "clients = 0"),
        ({"rounds": 0}, "rounds = 0"),
        ({"local_steps": 0}, "local_steps = 0"),
        ({"features": 1}, "at least 2"),
        ({"rows": 0}, "0 rows"),
        ({"learning_rate": float("nan")}, "learning rate"),
        ({"l2": -1.0}, "l2"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        FederatedOptions(**changes)  # type: ignore[arg-type]


def test_more_clients_than_rows() -> None:
    with pytest.raises(ParameterError, match="cannot split 90 rows among 91"):
        federated.run(FederatedOptions(ring_degree=64, insecure=True, clients=91, rows=90, features=4))


def test_a_small_ring_needs_the_word() -> None:
    with pytest.raises(InsecureParametersError):
        federated.run(FederatedOptions(ring_degree=8192, rows=40))


def test_without_scikit_learn_synthetic_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError("scikit-learn is not installed")

    monkeypatch.setattr(data, "_sklearn", missing)
    report = federated.run(FederatedOptions(ring_degree=64, insecure=True, clients=1, rounds=1, rows=40, features=2))
    assert set(report.aucs) == {"encrypted", "floats"}
    with pytest.raises(MissingExtraError):
        federated.run(FederatedOptions(ring_degree=64, insecure=True))


# -- the polynomial ----------------------------------------------------------------------------------------


def test_the_bound_holds_for_all_clipped_columns() -> None:
    weights = np.array([0.5, -1.0, 2.0])
    corners = np.array([[1.0, a, b] for a in (-CLIP, CLIP) for b in (-CLIP, CLIP)])
    assert np.max(np.abs(corners @ weights)) == pytest.approx(score_bound(weights), rel=1e-5)
    assert np.max(np.abs(corners @ weights)) < score_bound(weights)
    assert score_bound(np.zeros(3)) == pytest.approx(1.0, rel=1e-5)


def test_the_polynomial_is_the_sigmoid() -> None:
    u = np.linspace(-1, 1, 101)
    exact = 1 / (1 + np.exp(-8 * u))
    assert np.max(np.abs(np.polynomial.chebyshev.chebval(u, sigmoid(8.0)) - exact)) < 2e-3
