"""Guest, host and arbiter of vertical logistic regression under Paillier.

FATE's coordinated protocol (Hardy et al., arXiv:1711.10677, sections 3.3 and 4; FATE's `coordinated_lr`), for rows
that guest and host have already aligned. The guest holds the labels y in {-1, +1} and some columns X_g (with a
column of ones), the host other columns X_h of the same rows, the arbiter the secret key and no data. With
w.x = w_g.x_g + w_h.x_h the logistic loss is replaced by its second-order Taylor polynomial,

    log(1 + exp(-y w.x))  ~  log 2 - y w.x / 2 + (w.x)^2 / 8,     gradient  d x  with  d = w.x / 4 - y / 2,

so that everything the two must add across the line between them is linear. One batch of b rows:

    1. guest -> host      which batch
    2. host  -> guest     Enc(u_h) for u_h = X_h w_h / 4, and Enc(sum u_h^2)
    3. guest -> host      Enc(u_g) for u_g = X_g w_g / 4 - y / 2                (d = u_g + u_h)
    4. guest              Enc(X_g^T u_h) = X_g^T Enc(u_h);  host: Enc(X_h^T u_g) = X_h^T Enc(u_g)
       guest              Enc(loss part) = 2 u_g . Enc(u_h) + Enc(sum u_h^2)
    5. both  -> arbiter   these, each value plus its own fresh random mask
    6. arbiter -> both    the masked values, decrypted
    7. both               take the mask off, add X_g^T u_g (host: X_h^T u_h), divide by b, step

(FATE adds the term of step 7 under encryption; a party may as well add to its own result what it knows itself.)

Numbers are exact integers under encryption: columns in units of 2^-20, u in units of 2^-32.

**Who sees what**, all parties being semi-honest (they follow the protocol and look at what they get) and the arbiter
not conspiring with either:

- The arbiter sees masked values only. A mask is uniform over a range 2^80 times that of the value below it, so each
  value it decrypts is within 2^-80 of the same distribution for any data. It learns the shape of the work: how many
  columns each party has, how many batches.
- The host sees ciphertexts under a key it cannot open, and the gradient of its own weights, batch by batch.
- The guest sees ciphertexts likewise, the gradient of its own weights, and the loss of each batch.
- Whoever watches the network sees ciphertexts, sizes, and the masked values.

**What leaks all the same**, by the design of the protocol and not by its encryption:

- A gradient is a set of linear equations over the other's data: k columns give k equations in the b unknowns u.
  With b <= k a batch would be solved at once, so such batches are refused. Larger ones are not proved safe: at the
  first step w is zero and the host learns X_h^T y exactly, k equations in unknowns known to be +1 or -1, which lattice
  methods solve for small batches of many columns. Over epochs the equations for one batch add up.
- The loss of a batch is one more equation for the guest.
- Scoring (after training) sends the host's partial scores of the held-out rows in the clear: the guest, who must learn
  the total, would get them by subtraction however they were sent.
- A party that departs from the protocol can have the arbiter decrypt what it likes: nothing here withstands that.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from hecore import paillier
from hecore.arith.random import random_below
from hecore.demo.channel import Endpoint, pack_integers, unpack_integers
from hecore.demo.clock import Clock
from hecore.errors import ParameterError, PlaintextRangeError, SerializationError

if TYPE_CHECKING:
    from hecore.demo.data import Columns, Labels

Floats = NDArray[np.float64]

GUEST: Final = "guest"
HOST: Final = "host"
ARBITER: Final = "arbiter"

COLUMN_BITS: Final = 20
"""Columns are rounded to multiples of 2**-20."""
COLUMN_RANGE_BITS: Final = 26
"""and lie below 2**6 in magnitude: 64 standard deviations. Each bit is work in the matrix product."""
ACTIVATION_BITS: Final = 32
"""u is rounded to multiples of 2**-32 and encrypted as an integer of ACTIVATION_RANGE_BITS with its sign."""
ACTIVATION_RANGE_BITS: Final = 48
STATISTICAL_SECURITY: Final = 80
"""A mask exceeds the value it hides by this many bits."""

_BATCH = struct.Struct(">Q")


class Arbiter:
    """Holds the secret key and decrypts masked values; has no data and learns nothing of it."""

    def __init__(self, endpoint: Endpoint, secret_key: paillier.SecretKey, clock: Clock) -> None:
        self._endpoint = endpoint
        self._secret_key = secret_key
        self._clock = clock

    def publish_key(self) -> None:
        """Send the public key to guest and host."""
        data = self._secret_key.public_key.to_bytes()
        for recipient in (GUEST, HOST):
            self._endpoint.send(recipient, "public key", data)

    def answer(self, party: str) -> None:
        """Decrypt the masked values of `party` and send them back, masked as they are (steps 5 and 6)."""
        payload = self._endpoint.receive(party, "masked values")
        with self._clock.phase("serialise"):
            masked = paillier.EncryptedArray.from_bytes(payload, self._secret_key.public_key)
        with self._clock.phase("decrypt"):
            values = self._secret_key.decrypt(masked, exact=True)
        self._endpoint.send(party, "masked values", pack_integers([int(value) for value in values.flat]))


class Settings(TypedDict):
    """What guest and host agree on. `batch` is the smallest number of rows a batch has."""

    learning_rate: float
    l2: float
    batch: int
    clock: Clock
    allow_insecure: bool


class DataParty:
    """What guest and host have in common: columns, weights, the public key, and a masked way to the arbiter."""

    def __init__(self, endpoint: Endpoint, columns: Columns, **settings: Unpack[Settings]) -> None:
        batch = settings["batch"]
        if batch <= columns.count + 1:
            raise ParameterError(
                f"cannot train with batches of {batch} rows: the gradient of {columns.count} columns would determine "
                f"the other party's values; at least {columns.count + 2} rows are needed"
            )
        self._endpoint = endpoint
        self._columns = columns
        self._learning_rate = settings["learning_rate"]
        self._l2 = settings["l2"]
        self._clock = settings["clock"]
        self._allow_insecure = settings["allow_insecure"]
        self._public_key: paillier.PublicKey | None = None
        self._x = np.zeros((0, columns.count), dtype=np.int64)
        self._u = np.zeros(0, dtype=np.int64)
        self._masks: list[int] = []
        self._bounds: list[int] = []
        self.weights: Floats = np.zeros(columns.count)

    @property
    def public_key(self) -> paillier.PublicKey:
        assert self._public_key is not None, "receive_key comes first"
        return self._public_key

    def receive_key(self) -> None:
        """Read the arbiter's public key."""
        self._public_key = paillier.PublicKey.from_bytes(
            self._endpoint.receive(ARBITER, "public key"), allow_insecure=self._allow_insecure
        )
        self._public_key.validate(strict=not self._allow_insecure)

    def _load(self, batch: int) -> None:
        """Read the columns of a batch, rounded to the grid."""
        with self._clock.phase("plain"):
            self._x = quantise(self._columns.batch(batch), COLUMN_BITS, COLUMN_RANGE_BITS, "a column")

    def _encrypt(self, values: NDArray[np.int64]) -> bytes:
        with self._clock.phase("encrypt"):
            encrypted = self.public_key.encrypt(values, encoding=paillier.Integers(bits=ACTIVATION_RANGE_BITS))
        with self._clock.phase("serialise"):
            return encrypted.to_bytes()

    def _decode(self, payload: bytes, shape: tuple[int, ...], bits: int) -> paillier.EncryptedArray:
        """Integers below 2**bits of that shape, nothing else: the masks' length is derived from the bound."""
        with self._clock.phase("serialise"):
            array = paillier.EncryptedArray.from_bytes(payload, self.public_key)
        if array.shape != shape or array.encoding.kind != "integer" or array.bound != (1 << bits) - 1:
            raise SerializationError(
                f"cannot use {array.encoding.kind} ciphertexts of shape {array.shape} and {array.bound.bit_length()} "
                f"bits: the protocol has integers of shape {shape} and {bits} bits here"
            )
        return array

    def _transposed(self) -> paillier.Plain:
        return paillier.plain(self._x.T, bits=COLUMN_RANGE_BITS)

    def _send_masked(self, values: list[paillier.EncryptedArray]) -> None:
        """Step 5. Each value gets a mask of its own, 80 bits longer than the public bound on the value.

        With fresh encryption randomness mixed in, the ciphertext tells no more than what it decrypts to.
        """
        self._masks, self._bounds = [], []
        masked = []
        with self._clock.phase("mask"):
            for array in values:
                bits = array.bound.bit_length() + STATISTICAL_SECURITY
                masks = [random_below(1 << (bits + 1)) - (1 << bits) for _ in range(array.size)]
                masked.append(array + paillier.plain(np.array(masks, dtype=object), bits=bits + 1))
                self._masks += masks
                self._bounds += [array.bound] * array.size
            joined = paillier.concatenate(masked).rerandomize()
        with self._clock.phase("serialise"):
            payload = joined.to_bytes()
        self._endpoint.send(ARBITER, "masked values", payload)

    def _receive_unmasked(self) -> list[int]:
        """Step 7, first half."""
        answers = unpack_integers(self._endpoint.receive(ARBITER, "masked values"), len(self._masks))
        values = [answer - mask for answer, mask in zip(answers, self._masks, strict=True)]
        if any(abs(value) > bound for value, bound in zip(values, self._bounds, strict=True)):
            raise SerializationError("cannot use the arbiter's answer: a value exceeds the bound of what was sent")
        return values

    def _step(self, cross: list[int], penalised: Floats) -> None:
        """Step 7, second half: w -= rate * (X^T d / b + l2 w), X^T d from the other's part and the party's own."""
        with self._clock.phase("plain"):
            x = self._x / 2.0**COLUMN_BITS
            own = x.T @ (self._u / 2.0**ACTIVATION_BITS)
            other = np.array([math.ldexp(value, -COLUMN_BITS - ACTIVATION_BITS) for value in cross])
            self.weights -= self._learning_rate * ((own + other) / len(x) + self._l2 * penalised * self.weights)


class Host(DataParty):
    """Has columns and no labels."""

    def send_forward(self) -> None:
        """Steps 1 and 2."""
        payload = self._endpoint.receive(GUEST, "batch")
        if len(payload) != _BATCH.size:
            raise SerializationError(f"cannot read a batch number from {len(payload)} bytes: {_BATCH.size} are needed")
        self._load(*_BATCH.unpack(payload))
        with self._clock.phase("plain"):
            self._u = quantise(
                self._x @ self.weights / (4 * 2.0**COLUMN_BITS), ACTIVATION_BITS, ACTIVATION_RANGE_BITS, "w.x / 4"
            )
            squares = sum(int(u) ** 2 for u in self._u)
        self._endpoint.send(GUEST, "forward", self._encrypt(self._u))
        with self._clock.phase("encrypt"):
            encoding = paillier.Integers(bits=_square_bits(len(self._u)))
            encrypted = self.public_key.encrypt(np.array([squares], dtype=object), encoding=encoding)
        with self._clock.phase("serialise"):
            payload = encrypted.to_bytes()
        self._endpoint.send(GUEST, "sum of squares", payload)

    def request_gradient(self) -> None:
        """Steps 4 and 5."""
        residual = self._decode(self._endpoint.receive(GUEST, "residual"), self._u.shape, ACTIVATION_RANGE_BITS)
        with self._clock.phase("multiply"):
            gradient = self._transposed() @ residual
        self._send_masked([gradient])

    def finish_batch(self) -> None:
        """Step 7."""
        self._step(self._receive_unmasked(), np.ones(len(self.weights)))

    def send_scores(self) -> None:
        """Send X_h w_h of the held-out rows in the clear; see "what leaks all the same"."""
        scores = self._columns.held_out() @ self.weights
        self._endpoint.send(GUEST, "scores", scores.astype("<f8").tobytes())


class Guest(DataParty):
    """Has columns and the labels, leads the training, learns loss and scores."""

    def __init__(self, endpoint: Endpoint, columns: Columns, labels: Labels, **settings: Unpack[Settings]) -> None:
        super().__init__(endpoint, columns, **settings)
        self._labels = labels
        self._y: Floats = np.zeros(0)
        self.losses: list[float] = []

    def begin_batch(self, batch: int) -> None:
        """Step 1."""
        self._endpoint.send(HOST, "batch", _BATCH.pack(batch))
        self._load(batch)
        self._y = self._labels.batch(batch)

    def send_residual(self) -> None:
        """Step 3."""
        with self._clock.phase("plain"):
            score = self._x @ self.weights / 2.0**COLUMN_BITS
            self._u = quantise(score / 4 - self._y / 2, ACTIVATION_BITS, ACTIVATION_RANGE_BITS, "w.x / 4 - y / 2")
        self._endpoint.send(HOST, "residual", self._encrypt(self._u))

    def request_gradient(self) -> None:
        """Steps 4 and 5: the gradient, and the part of the loss that needs the host.

        With s = w_g.x_g and w_h.x_h = 4 u_h:  -y w.x / 2 + (w.x)^2 / 8 = (-y s / 2 + s^2 / 8) + 4 u_g u_h + 2 u_h^2.
        """
        forward = self._decode(self._endpoint.receive(HOST, "forward"), self._u.shape, ACTIVATION_RANGE_BITS)
        squares = self._decode(self._endpoint.receive(HOST, "sum of squares"), (1,), _square_bits(len(self._u)))
        with self._clock.phase("multiply"):
            gradient = self._transposed() @ forward
            factors = paillier.plain(2 * self._u[np.newaxis, :], bits=ACTIVATION_RANGE_BITS + 1)
            loss = factors @ forward + squares
        self._send_masked([gradient, loss])

    def finish_batch(self) -> None:
        """Step 7."""
        *cross, loss = self._receive_unmasked()
        score = self._x @ self.weights / 2.0**COLUMN_BITS
        own = float(np.sum(score**2 / 8 - self._y * score / 2))
        self.losses.append(math.log(2) + (own + math.ldexp(loss, 1 - 2 * ACTIVATION_BITS)) / len(score))
        penalised = np.ones(len(self.weights))
        penalised[0] = 0.0  # the bias
        self._step(cross, penalised)

    def receive_scores(self) -> Floats:
        """The model's scores of the held-out rows."""
        own = self._columns.held_out() @ self.weights
        payload = self._endpoint.receive(HOST, "scores")
        if len(payload) != 8 * len(own):
            raise SerializationError(f"cannot read {len(own)} scores from {len(payload)} bytes")
        return np.asarray(own + np.frombuffer(payload, dtype="<f8"), dtype=np.float64)


def _square_bits(rows: int) -> int:
    """Bits of a sum of u^2 over so many rows."""
    return 2 * ACTIVATION_RANGE_BITS + rows.bit_length()


def quantise(values: Floats, fraction_bits: int, range_bits: int, what: str) -> NDArray[np.int64]:
    """round(values * 2**fraction_bits). Raises PlaintextRangeError where the result needs more than `range_bits`."""
    scaled = np.rint(values * 2.0**fraction_bits)
    if not np.all(np.abs(scaled) < 2.0**range_bits):  # NaN fails this too
        limit = 2.0 ** (range_bits - fraction_bits)
        raise PlaintextRangeError(
            f"cannot encode {what}: a value is not finite or reaches {limit:g} in magnitude; "
            "if the training diverges, lower the learning rate"
        )
    return scaled.astype(np.int64)
