"""Clients, aggregator and key holder of federated averaging under CKKS, and the two sides of encrypted inference.

**Training** (McMahan et al., AISTATS 2017: FedAvg; the aggregation is that of NVFlare's and FATE's HE filters). Each
client holds rows (x, y), y in {-1, +1}, of the same columns. The aggregator holds nothing, the key holder the secret
key and no data. One round:

    1. client              from the model w: some full-batch steps of logistic regression on its own rows -> w_i
    2. client -> aggregator    Enc(w_i), with the public bound |w_i| <= WEIGHT_BOUND
    3. aggregator          Enc(sum_i n_i w_i), n_i the public number of rows of client i: an integer costs no level
    4. aggregator -> key holder    this sum
    5. key holder -> all   sum_i n_i w_i / sum_i n_i, through `decrypt_public`

**Inference.** A user with a key set of its own sends its public and relinearisation keys and one ciphertext a feature,
the rows in its slots. The scorer, who has the published model, returns Enc(p(w.x)), p a polynomial in place of the
sigmoid. The linear part is a weighted sum of ciphertexts: no rotations, so no Galois keys. Columns are clipped to
[-CLIP, CLIP], everywhere and in the float run too, so that the public model bounds |w.x| for any row: the polynomial is
fitted to that interval and never leaves it.

**Who sees what**, all parties being semi-honest and the key holder not conspiring with the aggregator:

- The aggregator sees ciphertexts under a key it cannot open, and how many rows each client has.
- The key holder sees the sum over all clients and, like everybody, the model of each round. Had it a single client's
  ciphertext it would see that client's weights: whoever can listen between client and aggregator must not be the key
  holder, which is why those links are authenticated and encrypted in practice.
- A client sees the model of each round.
- The scorer sees ciphertexts and keys that open nothing; the user sees the model's answers.

**What leaks all the same.** The published models do, by design: a model says something about the rows it was trained
on, and with two clients each learns the other's weights by subtraction. A CKKS result in the clear would moreover carry
the noise of its encryption, from which the secret key follows (IND-CPA-D; docs/public-results.md): so the model leaves
through `decrypt_public`, as many times as there are rounds. The user decrypts for itself alone and says nothing back.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hecore import ckks
from hecore.ckks import polynomial
from hecore.demo.channel import Endpoint
from hecore.demo.clock import Clock
from hecore.errors import PlaintextRangeError, SerializationError

Floats = NDArray[np.float64]

KEY_HOLDER: Final = "key holder"
AGGREGATOR: Final = "aggregator"
USER: Final = "user"
SCORER: Final = "scorer"

WEIGHT_BOUND: Final = 16.0
"""Public bound on the magnitude of each weight a client sends; noise is accounted for with it, so it is checked."""
CLIP: Final = 3.0
"""Columns lie in [-3, 3]: three standard deviations."""
SIGMOID_DEGREE: Final = 15
"""Of the polynomial in place of the sigmoid: four levels."""
MODEL_BITS: Final = 20
"""Published models are multiples of 2^-20."""

_COUNT = struct.Struct(">Q")


@dataclass(frozen=True)
class Training:
    """What the clients agree on: `steps` full-batch steps a round at this rate, l2 not on the bias (column 0)."""

    learning_rate: float
    l2: float
    steps: int

    def step(self, weights: Floats, x: Floats, y: Floats) -> Floats:
        """One step down the gradient of the mean logistic loss."""
        margin = y * (x @ weights)
        gradient = -(x.T @ (y / (1.0 + np.exp(np.clip(margin, -500.0, 500.0))))) / len(x)
        penalty = self.l2 * weights
        penalty[0] = 0.0
        return np.asarray(weights - self.learning_rate * (gradient + penalty), dtype=np.float64)

    def run(self, weights: Floats, x: Floats, y: Floats) -> Floats:
        """One client's part of one round."""
        for _ in range(self.steps):
            weights = self.step(weights, x, y)
        return weights


def client_name(index: int) -> str:
    return f"client {index + 1}"


class Client:
    """Has rows of its own and the public key; learns the model of each round."""

    def __init__(self, endpoint: Endpoint, x: Floats, y: Floats, training: Training, clock: Clock) -> None:
        self._endpoint = endpoint
        self._x = x
        self._y = y
        self._training = training
        self._clock = clock
        self._public_key: ckks.PublicKey | None = None
        self.weights: Floats = np.zeros(x.shape[1])

    @property
    def public_key(self) -> ckks.PublicKey:
        assert self._public_key is not None, "receive_key comes first"
        return self._public_key

    def receive_key(self, *, allow_insecure: bool) -> None:
        """Read the key holder's public key, and say how many rows there are."""
        data = self._endpoint.receive(KEY_HOLDER, "public key")
        with self._clock.phase("serialise"):
            self._public_key = ckks.PublicKey.from_bytes(data, allow_insecure=allow_insecure)
        self._endpoint.send(AGGREGATOR, "rows", _COUNT.pack(len(self._x)))

    def send_update(self) -> None:
        """Steps 1 and 2. Raises PlaintextRangeError where the training left the declared bound."""
        with self._clock.phase("train"):
            update = self._training.run(self.weights, self._x, self._y)
        if not np.all(np.abs(update) <= WEIGHT_BOUND):  # NaN fails this too
            raise PlaintextRangeError(
                f"cannot send an update: a weight is not finite or exceeds {WEIGHT_BOUND:g} in magnitude; "
                "if the training diverges, lower the learning rate"
            )
        with self._clock.phase("encrypt"):
            encrypted = self.public_key.encrypt(update, bound=WEIGHT_BOUND)
        with self._clock.phase("serialise"):
            payload = encrypted.to_bytes()
        self._endpoint.send(AGGREGATOR, "update", payload)

    def receive_model(self) -> None:
        """Step 5."""
        self.weights = read_model(self._endpoint.receive(KEY_HOLDER, "model"), len(self.weights))


class Aggregator:
    """Adds ciphertexts; holds no key that opens any, and no data."""

    def __init__(self, endpoint: Endpoint, clients: Sequence[str], columns: int, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._columns = columns
        self._clock = clock
        self._rows: list[int] = []
        self._public_key: ckks.PublicKey | None = None

    def receive_key(self, *, allow_insecure: bool) -> None:
        """Read the public key and how many rows each client has; tell the key holder how many there are in all."""
        data = self._endpoint.receive(KEY_HOLDER, "public key")
        with self._clock.phase("serialise"):
            self._public_key = ckks.PublicKey.from_bytes(data, allow_insecure=allow_insecure)
        self._rows = [read_count(self._endpoint.receive(client, "rows")) for client in self._clients]
        self._endpoint.send(KEY_HOLDER, "rows", _COUNT.pack(sum(self._rows)))

    def aggregate(self) -> None:
        """Steps 3 and 4."""
        assert self._public_key is not None, "receive_key comes first"
        payloads = [self._endpoint.receive(client, "update") for client in self._clients]
        with self._clock.phase("serialise"):
            updates = [ckks.EncryptedTensor.from_bytes(payload, self._public_key) for payload in payloads]
        for update in updates:
            if update.shape != (self._columns,):
                raise SerializationError(
                    f"cannot aggregate an update of shape {update.shape}: the model has {self._columns} weights"
                )
        with self._clock.phase("aggregate"):
            total = ckks.weighted_sum(updates, self._rows)
        with self._clock.phase("serialise"):
            payload = total.to_bytes()
        self._endpoint.send(KEY_HOLDER, "aggregate", payload)


class KeyHolder:
    """Holds the secret key, opens sums over all clients for everybody, `rounds` times at most."""

    def __init__(
        self, endpoint: Endpoint, keys: ckks.Keys, clients: Sequence[str], columns: int, rounds: int, clock: Clock
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._clients = clients
        self._columns = columns
        self._rounds = rounds
        self._clock = clock
        self._rows = 0

    def publish_key(self) -> None:
        """Send the public key to all, without the evaluation keys that averaging does not need."""
        key = ckks.PublicKey(
            self._keys.parameters,
            self._keys.public_key.key_id,
            self._keys.public_key.polynomials,
            seed=self._keys.public_key.seed,
        )
        with self._clock.phase("serialise"):
            data = key.to_bytes()
        for recipient in (*self._clients, AGGREGATOR):
            self._endpoint.send(recipient, "public key", data)

    def receive_rows(self) -> None:
        """How many rows the sum is to be divided by."""
        self._rows = read_count(self._endpoint.receive(AGGREGATOR, "rows"))
        if self._rows < 1:
            raise SerializationError("cannot average over no rows")

    def publish_model(self) -> None:
        """Step 5. The sum is rounded so finely that its mean is to within 2^-MODEL_BITS."""
        payload = self._endpoint.receive(AGGREGATOR, "aggregate")
        with self._clock.phase("serialise"):
            total = ckks.EncryptedTensor.from_bytes(payload, self._keys.public_key)
        if total.shape != (self._columns,):
            raise SerializationError(f"cannot open a sum of shape {total.shape}: the model has {self._columns} weights")
        with self._clock.phase("decrypt"):
            opened = self._keys.secret_key.decrypt_public(total, MODEL_BITS, queries=self._rounds)
        data = (opened / self._rows).astype("<f8").tobytes()
        for client in (*self._clients, SCORER):
            self._endpoint.send(client, "model", data)


class User:
    """Has rows to be scored and a key set of its own; learns their scores."""

    def __init__(self, endpoint: Endpoint, keys: ckks.Keys, x: Floats, clock: Clock) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._x = x
        self._clock = clock

    def send_request(self) -> None:
        """Keys, then a ciphertext for each column but that of ones, which the scorer knows. Seeded: half the bytes."""
        with self._clock.phase("serialise"):
            key = self._keys.public_key.to_bytes()
        self._endpoint.send(SCORER, "keys", key)
        self._endpoint.send(SCORER, "columns", _COUNT.pack(self._x.shape[1] - 1))
        for column in self._x.T[1:]:
            with self._clock.phase("encrypt"):
                encrypted = self._keys.secret_key.encrypt(column, bound=CLIP)
            with self._clock.phase("serialise"):
                payload = encrypted.to_bytes()
            self._endpoint.send(SCORER, "column", payload)

    def receive_scores(self) -> Floats:
        """A probability a row, for the user alone."""
        payload = self._endpoint.receive(SCORER, "scores")
        with self._clock.phase("serialise"):
            scores = ckks.EncryptedTensor.from_bytes(payload, self._keys.public_key)
        with self._clock.phase("decrypt"):
            values = self._keys.secret_key.decrypt(scores)
        return np.asarray(values, dtype=np.float64)


class Scorer:
    """Has the published model; sees ciphertexts only."""

    def __init__(self, endpoint: Endpoint, columns: int, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self.weights: Floats = np.zeros(columns)

    def receive_model(self) -> None:
        """The model of a round, public."""
        self.weights = read_model(self._endpoint.receive(KEY_HOLDER, "model"), len(self.weights))

    def answer(self, *, allow_insecure: bool) -> None:
        """p(w.x) of every row, under the user's key."""
        data = self._endpoint.receive(USER, "keys")
        with self._clock.phase("serialise"):
            key = ckks.PublicKey.from_bytes(data, allow_insecure=allow_insecure)
        count = read_count(self._endpoint.receive(USER, "columns"))
        if count != len(self.weights) - 1:
            raise SerializationError(f"cannot score {count} columns: the model has {len(self.weights) - 1} and a bias")
        columns = []
        for _ in range(count):
            payload = self._endpoint.receive(USER, "column")
            with self._clock.phase("serialise"):
                columns.append(ckks.EncryptedTensor.from_bytes(payload, key))
        with self._clock.phase("score"):
            bound = score_bound(self.weights)
            scaled = self.weights / bound  # into [-1, 1], the home of Chebyshev polynomials
            scores = ckks.weighted_sum(columns, scaled[1:].tolist()) + float(scaled[0])
            scores = polynomial.chebyshev(scores, sigmoid(bound))
        with self._clock.phase("serialise"):
            payload = scores.to_bytes()
        self._endpoint.send(USER, "scores", payload)


def score_bound(weights: Floats) -> float:
    """The most |w.x| can be for columns in [-CLIP, CLIP] and a bias, and a little more for rounding; at least 1."""
    return max(1.0, float(np.abs(weights[0]) + CLIP * np.sum(np.abs(weights[1:])))) * (1 + 2.0**-20)


def sigmoid(bound: float) -> Floats:
    """Chebyshev coefficients on [-1, 1] of 1 / (1 + exp(-bound*u)), interpolated at Chebyshev's points."""
    points = np.polynomial.chebyshev.chebpts1(SIGMOID_DEGREE + 1)
    values = 1.0 / (1.0 + np.exp(-bound * points))
    return np.asarray(np.polynomial.chebyshev.chebfit(points, values, SIGMOID_DEGREE), dtype=np.float64)


def read_model(payload: bytes, columns: int) -> Floats:
    """Inverse of what the key holder sends. Raises SerializationError."""
    if len(payload) != 8 * columns:
        raise SerializationError(f"cannot read a model of {columns} weights from {len(payload)} bytes")
    model = np.frombuffer(payload, dtype="<f8").astype(np.float64)
    if not np.all(np.isfinite(model)):
        raise SerializationError("cannot read a model: a weight is not finite")
    return model


def read_count(payload: bytes) -> int:
    """A number that a party sent. Raises SerializationError."""
    if len(payload) != _COUNT.size:
        raise SerializationError(f"cannot read a number from {len(payload)} bytes: {_COUNT.size} are needed")
    (count,) = _COUNT.unpack(payload)
    return int(count)
