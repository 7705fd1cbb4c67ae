"""Trains by federated averaging under CKKS and in floats, scores under encryption, and compares.

The protocol, what each party learns and what leaks are in `federated_parties.py`. This file sets the parties up, calls
them in turn (it passes them no data: that goes through the channel), and measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hecore import ckks
from hecore.backends import registry
from hecore.counting import operation_counter
from hecore.demo import data
from hecore.demo.channel import Channel, Message
from hecore.demo.clock import Clock
from hecore.demo.federated_parties import (
    AGGREGATOR,
    CLIP,
    KEY_HOLDER,
    SCORER,
    USER,
    Aggregator,
    Client,
    KeyHolder,
    Scorer,
    Training,
    User,
    client_name,
    score_bound,
    sigmoid,
)
from hecore.demo.federated_report import FederatedOptions, FederatedReport
from hecore.demo.logistic import area_under_curve
from hecore.demo.report import Curve
from hecore.errors import MissingExtraError

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

BREAST_CANCER_COLUMNS = 30
# Sums of models: one multiplication by an integer, no level lost. The scale is large because what is published goes
# through decrypt_public, whose noise must drown the worst case and still leave the bits of the model.
AVERAGING_BITS, AVERAGING_SCALE = (60, 60, 60), 2.0**80
# One level for w.x, four for the polynomial and one to spare for its coefficients.
SCORING_BITS, SCORING_SCALE = (60, *(40,) * 6, 60), 2.0**40


def run(
    options: FederatedOptions | None = None,
    *,
    progress: Progress | None = None,
    observer: Callable[[Message], None] | None = None,
) -> FederatedReport:
    """Train under encryption on the current device and in floats, score under encryption, and compare.

    `progress(what, done, total)` is called after each round; `observer` sees every message between the parties.
    Raises ParameterError for options out of range, InsecureParametersError for a ring below 128 bits of security
    without `options.insecure`, MissingExtraError for the breast-cancer data without scikit-learn.
    """
    options = options or FederatedOptions()
    progress = progress or (lambda what, done, total: None)
    averaging, scoring = (
        _parameters(options, bits, scale)
        for bits, scale in ((AVERAGING_BITS, AVERAGING_SCALE), (SCORING_BITS, SCORING_SCALE))
    )
    dataset = _dataset(options)
    training = Training(options.learning_rate, options.l2, options.local_steps)
    backend = registry.current()
    clock, channel = Clock(), Channel(observer)
    start = time.perf_counter()
    with operation_counter() as operations:
        weights, scorer, losses = _train(options, averaging, dataset, training, channel, clock, progress)
        scores = _score(options, scoring, dataset, scorer, channel, clock)
        progress("encrypted inference", 1, 1)
    total_seconds = time.perf_counter() - start

    weights_floats, losses_floats = train_in_floats(options, dataset, training)
    bound = score_bound(weights_floats)
    logits = dataset.held_out @ weights_floats
    scores_floats = np.asarray(np.polynomial.chebyshev.chebval(logits / bound, sigmoid(bound)), dtype=np.float64)
    labels = dataset.held_out_labels
    curves = [Curve("encrypted", scores, losses), Curve("floats", scores_floats, losses_floats)]
    try:
        decisions = data.sklearn_decisions(*dataset.joined(), dataset.held_out)
        curves.append(Curve("scikit-learn", 1.0 / (1.0 + np.exp(-decisions)), []))
    except MissingExtraError:
        if options.rows is None:  # its data was asked for, so it must be there
            raise
    return FederatedReport(
        options=options,
        dataset=dataset.name,
        rows=dataset.rows,
        columns=dataset.held_out.shape[1] - 1,
        held_out_rows=len(labels),
        averaging=repr(averaging),
        scoring=repr(scoring),
        device=backend.device,
        simulated=backend.simulated,
        aucs={curve.name: area_under_curve(curve.scores, labels) for curve in curves},
        accuracy={curve.name: float(np.mean((curve.scores > 0.5) == (labels > 0))) for curve in curves},
        weight_difference=float(np.max(np.abs(weights - weights_floats))),
        score_difference=float(np.max(np.abs(scores - scores_floats))),
        operations=dict(operations),
        seconds=dict(clock.seconds),
        total_seconds=total_seconds,
        traffic=_traffic(channel),
        curves=tuple(curves),
        labels=labels,
    )


def _parameters(options: FederatedOptions, bits: tuple[int, ...], scale: float) -> ckks.Parameters:
    make = ckks.Parameters.insecure if options.insecure else ckks.Parameters
    return make(ring_degree=options.ring_degree, moduli_bits=bits, scale=scale)


def _dataset(options: FederatedOptions) -> data.RowShares:
    half = BREAST_CANCER_COLUMNS // 2
    if options.rows is None:
        dataset = data.breast_cancer(half, BREAST_CANCER_COLUMNS - half, 1, options.seed)
    else:
        half = options.features // 2
        dataset = data.synthetic(options.rows, half, options.features - half, options.rows, options.seed)
    return data.by_rows(dataset, options.clients, CLIP)


def _train(
    options: FederatedOptions,
    parameters: ckks.Parameters,
    dataset: data.RowShares,
    training: Training,
    channel: Channel,
    clock: Clock,
    progress: Progress,
) -> tuple[Floats, Scorer, list[float]]:
    """All parties through all rounds: the model, the scorer who has it, and the loss after each round."""
    names = [client_name(index) for index in range(options.clients)]
    columns = dataset.held_out.shape[1]
    with clock.phase("keygen"):
        keys = ckks.generate_keys(parameters)
    holder = KeyHolder(channel.endpoint(KEY_HOLDER), keys, names, columns, options.rounds, clock)
    aggregator = Aggregator(channel.endpoint(AGGREGATOR), names, columns, clock)
    clients = [
        Client(channel.endpoint(name), x, y, training, clock)
        for name, (x, y) in zip(names, dataset.shares, strict=True)
    ]
    scorer = Scorer(channel.endpoint(SCORER), columns, clock)

    holder.publish_key()
    for client in clients:
        client.receive_key(allow_insecure=options.insecure)
    aggregator.receive_key(allow_insecure=options.insecure)
    holder.receive_rows()
    losses = []
    for step in range(options.rounds):
        for client in clients:
            client.send_update()
        aggregator.aggregate()
        holder.publish_model()
        for client in clients:
            client.receive_model()
        scorer.receive_model()
        losses.append(mean_loss(scorer.weights, dataset))
        progress("federated rounds", step + 1, options.rounds)
    return scorer.weights, scorer, losses


def _score(
    options: FederatedOptions,
    parameters: ckks.Parameters,
    dataset: data.RowShares,
    scorer: Scorer,
    channel: Channel,
    clock: Clock,
) -> Floats:
    """The held-out rows, scored without being seen."""
    with clock.phase("keygen"):
        keys = ckks.generate_keys(parameters)
    user = User(channel.endpoint(USER), keys, dataset.held_out, clock)
    user.send_request()
    scorer.answer(allow_insecure=options.insecure)
    return user.receive_scores()


def train_in_floats(
    options: FederatedOptions, dataset: data.RowShares, training: Training
) -> tuple[Floats, list[float]]:
    """The same averaging in float64: the model, and the loss after each round."""
    weights, losses = np.zeros(dataset.held_out.shape[1]), []
    for _ in range(options.rounds):
        updates = [len(y) * training.run(weights, x, y) for x, y in dataset.shares]
        weights = np.sum(updates, axis=0) / dataset.rows
        losses.append(mean_loss(weights, dataset))
    return weights, losses


def mean_loss(weights: Floats, dataset: data.RowShares) -> float:
    """Mean logistic loss over all rows: a yardstick that no party could compute alone."""
    total = sum(float(np.sum(np.logaddexp(0.0, -y * (x @ weights)))) for x, y in dataset.shares)
    return total / dataset.rows


def _traffic(channel: Channel) -> dict[str, dict[str, int]]:
    """Per link, all clients taken together."""
    found: dict[str, dict[str, int]] = {}
    for (sender, recipient), link in sorted(channel.traffic.items()):
        ends = ["clients" if end.startswith("client") else end for end in (sender, recipient)]
        flow = found.setdefault(" -> ".join(ends), {"messages": 0, "bytes": 0})
        flow["messages"] += link.messages
        flow["bytes"] += link.payload_bytes
    return found
