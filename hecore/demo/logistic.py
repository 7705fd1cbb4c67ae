"""Trains vertical logistic regression under encryption and in floats, and compares the two.

The protocol, what each party learns and what leaks are in `parties.py`. This file sets the parties up, calls them in
turn (it passes them no data: that goes through the channel), and measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hecore import paillier
from hecore.backends import registry
from hecore.demo import data
from hecore.demo.channel import Channel, Message
from hecore.demo.clock import Clock
from hecore.demo.parties import ARBITER, GUEST, HOST, Arbiter, Guest, Host, Settings
from hecore.demo.report import Curve, Options, Report
from hecore.errors import MissingExtraError, ParameterError, ShapeError

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


def run(
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    observer: Callable[[Message], None] | None = None,
) -> Report:
    """Train under encryption on the current device, then in floats, and compare.

    `progress(what, done, total)` is called after each batch; `observer` sees every message between the parties.
    Raises ParameterError for options out of range and for batches that would leak, InsecureParametersError for a
    key below 2048 bits without `options.insecure`, MissingExtraError for the breast-cancer data without scikit-learn.
    """
    options = options or Options()
    progress = progress or (lambda what, done, total: None)
    if options.rows is None:
        dataset = data.breast_cancer(options.features_guest, options.features_host, options.batch, options.seed)
    else:
        dataset = data.synthetic(
            options.rows, options.features_guest, options.features_host, options.batch, options.seed
        )
    backend = registry.current()
    clock = Clock()
    channel = Channel(observer)
    start = time.perf_counter()
    with paillier.operation_counter() as operations:
        guest, host = _train(options, dataset, channel, clock, progress)
    total_seconds = time.perf_counter() - start
    host.send_scores()
    scores = guest.receive_scores()

    plain_scores, plain_losses = train_in_floats(options, dataset, progress)
    labels = dataset.labels.held_out()
    curves = [Curve("encrypted", scores, guest.losses), Curve("floats", plain_scores, plain_losses)]
    auc_sklearn = None
    try:
        curves.append(Curve("scikit-learn", data.sklearn_scores(dataset), []))
        auc_sklearn = area_under_curve(curves[-1].scores, labels)
    except MissingExtraError:
        if options.rows is None:  # its data was asked for, so it must be there
            raise
    last = -dataset.batches
    return Report(
        options=options,
        dataset=dataset.name,
        rows=dataset.rows,
        held_out_rows=dataset.held_out_rows,
        batches=dataset.batches,
        device=backend.device,
        simulated=backend.simulated,
        auc=area_under_curve(scores, labels),
        auc_floats=area_under_curve(plain_scores, labels),
        auc_sklearn=auc_sklearn,
        loss=float(np.mean(guest.losses[last:])),
        loss_floats=float(np.mean(plain_losses[last:])),
        operations=dict(operations),
        seconds=dict(clock.seconds),
        total_seconds=total_seconds,
        traffic={
            f"{sender} -> {recipient}": {"messages": link.messages, "bytes": link.payload_bytes}
            for (sender, recipient), link in sorted(channel.traffic.items())
        },
        curves=tuple(curves),
        labels=labels,
    )


def _train(
    options: Options, dataset: data.Dataset, channel: Channel, clock: Clock, progress: Progress
) -> tuple[Guest, Host]:
    """All parties through all batches of all epochs."""
    settings = Settings(
        learning_rate=options.learning_rate,
        l2=options.l2,
        batch=dataset.smallest_batch,
        clock=clock,
        allow_insecure=options.insecure,
    )
    guest = Guest(channel.endpoint(GUEST), dataset.guest, dataset.labels, **settings)
    host = Host(channel.endpoint(HOST), dataset.host, **settings)
    with clock.phase("keygen"):
        generate = paillier.generate_insecure_keypair if options.insecure else paillier.generate_keypair
        _, secret_key = generate(options.key_bits)
    arbiter = Arbiter(channel.endpoint(ARBITER), secret_key, clock)

    arbiter.publish_key()
    guest.receive_key()
    host.receive_key()
    total = options.epochs * dataset.batches
    for step in range(total):
        guest.begin_batch(step % dataset.batches)
        host.send_forward()
        guest.send_residual()
        guest.request_gradient()
        host.request_gradient()
        arbiter.answer(GUEST)
        arbiter.answer(HOST)
        guest.finish_batch()
        host.finish_batch()
        progress("encrypted training", step + 1, total)
    return guest, host


def train_in_floats(options: Options, dataset: data.Dataset, progress: Progress) -> tuple[Floats, list[float]]:
    """The same algorithm on the joined columns in float64: held-out scores and the loss of each batch."""
    weights = np.zeros(dataset.guest.count + dataset.host.count)
    penalised = np.ones(len(weights))
    penalised[0] = 0.0  # the bias
    losses = []
    total = options.epochs * dataset.batches
    for step in range(total):
        x, y = dataset.joined(step % dataset.batches)
        score = x @ weights
        losses.append(float(np.mean(np.log(2) - y * score / 2 + score**2 / 8)))
        gradient = x.T @ (score / 4 - y / 2) / len(x)
        weights = weights - options.learning_rate * (gradient + options.l2 * penalised * weights)
        progress("training in floats", step + 1, total)
    return np.hstack([dataset.guest.held_out(), dataset.host.held_out()]) @ weights, losses


def area_under_curve(scores: Floats, labels: Floats) -> float:
    """Probability that a row labelled +1 scores above one labelled -1, ties counting half (Mann–Whitney).

    Raises ShapeError where the lengths differ, ParameterError where one of the labels is missing.
    """
    if scores.shape != labels.shape:
        raise ShapeError(f"cannot compare scores of shape {scores.shape} with labels of shape {labels.shape}")
    positive = labels > 0
    pairs = int(positive.sum()) * int((~positive).sum())
    if pairs == 0:
        raise ParameterError("cannot compute an AUC: the rows carry one label only")
    _, rank, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of each group of equal scores
    positives = int(positive.sum())
    return float((middle[rank][positive].sum() - positives * (positives + 1) / 2) / pairs)
