"""The peers, each behind the same few operations: python-paillier (`phe`), two schemas of `sf-heu`, and GMP.

Every doubt is decided for the peer: its operands are encoded before the clock starts and its results are
decoded after it stops, while hecore's rows include both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

from hecore.arith.integers import gmpy2
from hecore.bench.contest import Contestant
from hecore.bench.data import first_difference
from hecore.errors import HecoreError

# Large results are checked at this many evenly spaced positions (hecore's own are checked everywhere).
SAMPLE = 64
# Operands of a large addition repeat this many fresh ciphertexts: encrypting 10^4 would take a slow peer minutes.
DISTINCT = 64

Integers = Sequence[int]


class PeerUnavailableError(HecoreError, RuntimeError):
    """A peer is not installed, or refuses the key size; the message says which."""


class Peer(Protocol):
    """One peer with one key. Each method prepares its operands and returns a contestant, or says why it cannot."""

    name: str

    def encrypt(self, values: Integers) -> Contestant:
        """A batch in one call."""

    def encrypt_one(self, values: Integers) -> Contestant:
        """One call a value."""

    def decrypt(self, values: Integers) -> Contestant:
        """A batch in one call."""

    def decrypt_one(self, values: Integers) -> Contestant:
        """One call a value."""

    def add(self, left: Integers, right: Integers, count: int) -> Contestant:
        """`count` sums ct+ct, operands repeated to that length."""

    def add_one(self, left: Integers, right: Integers) -> Contestant:
        """One call a sum."""

    def plain_mul(self, values: Integers, scalars: Integers) -> Contestant:
        """ct * scalar, elementwise."""

    def matvec(self, matrix: Sequence[Integers], values: Integers) -> Contestant:
        """Plain matrix times encrypted vector; an item is a term."""

    def pack(self, values: Integers) -> Contestant:
        """Encrypt several values in each plaintext; an item is a value."""


def open_peer(name: str, key_bits: int) -> Peer:
    """The named peer with a fresh key; PeerUnavailableError where it cannot run."""
    return PhePeer(key_bits) if name == "phe" else HeuPeer(name, key_bits)


class PhePeer:
    """python-paillier: Python integers, one value a call, GMP underneath."""

    name = "phe"

    def __init__(self, key_bits: int) -> None:
        module = _load("phe.paillier", "pip install phe")
        start = time.perf_counter()
        self.public, self.private = module.generate_paillier_keypair(n_length=key_bits)
        self.setup = {"key": time.perf_counter() - start}

    def encrypt(self, values: Integers) -> Contestant:
        return self._contestant(len(values), lambda: [self.public.encrypt(v) for v in values], values)

    encrypt_one = encrypt  # its batch is a loop

    def decrypt(self, values: Integers) -> Contestant:
        ciphertexts = [self.public.encrypt(v) for v in values]
        return Contestant(
            self.name,
            len(values),
            lambda: [self.private.decrypt(c) for c in ciphertexts],
            lambda result: first_difference(result, values),
            self.setup,
        )

    decrypt_one = decrypt

    def add(self, left: Integers, right: Integers, count: int) -> Contestant:
        xs, ys = ([self.public.encrypt(v) for v in vs[:DISTINCT]] for vs in (left, right))
        pairs = [(xs[i % len(xs)], ys[i % len(ys)]) for i in range(count)]
        sums = [left[i % len(xs)] + right[i % len(ys)] for i in range(count)]
        return self._contestant(count, lambda: [x + y for x, y in pairs], sums)

    def add_one(self, left: Integers, right: Integers) -> Contestant:
        return self.add(left, right, len(left))

    def plain_mul(self, values: Integers, scalars: Integers) -> Contestant:
        ciphertexts = _repeat([self.public.encrypt(v) for v in values[:DISTINCT]], len(scalars))
        products = [v * s for v, s in zip(_repeat(values[:DISTINCT], len(scalars)), scalars, strict=True)]
        pairs = list(zip(ciphertexts, scalars, strict=True))
        return self._contestant(len(scalars), lambda: [c * s for c, s in pairs], products)

    def matvec(self, matrix: Sequence[Integers], values: Integers) -> Contestant:
        vector = _repeat([self.public.encrypt(v) for v in values[:DISTINCT]], len(values))
        plain = _repeat(values[:DISTINCT], len(values))

        def run() -> list[Any]:
            out = []
            for row in matrix:
                total = vector[0] * row[0]
                for c, w in zip(vector[1:], row[1:], strict=True):
                    total = total + c * w
                out.append(total)
            return out

        return self._contestant(len(matrix) * len(values), run, [_dot(row, plain) for row in matrix])

    def pack(self, values: Integers) -> Contestant:
        raise PeerUnavailableError("phe has no packing")

    def _contestant(self, items: int, run: Callable[[], list[Any]], expected: Integers) -> Contestant:
        def check(result: list[Any]) -> str | None:
            positions = _sample(len(result))
            return first_difference(
                [self.private.decrypt(result[i]) for i in positions], [expected[i] for i in positions]
            )

        return Contestant(self.name, items, run, check, self.setup)


class HeuPeer:
    """SecretFlow's HEU, one schema: arrays in C++, its own thread pool held to one thread by the environment."""

    def __init__(self, schema: str, key_bits: int) -> None:
        self.name = schema
        phe = _load("heu.phe", "pip install --pre sf-heu")
        numpy = _load("heu.numpy", "pip install --pre sf-heu")
        kind = getattr(phe.SchemaType, schema, None)
        if kind is None:
            raise PeerUnavailableError(f"this build of sf-heu has no schema {schema}")
        start = time.perf_counter()
        try:
            self.kit = numpy.setup(kind, key_bits)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]  # its first lines are paths of its build
            raise PeerUnavailableError(f"sf-heu refuses {key_bits} bits for {schema} ({last})") from error
        self.setup = {"key and table": time.perf_counter() - start}
        self.encryptor, self.decryptor, self.evaluator = (
            self.kit.encryptor(),
            self.kit.decryptor(),
            self.kit.evaluator(),
        )
        self.encoder = self.kit.integer_encoder(1)

    def encrypt(self, values: Integers) -> Contestant:
        plain = self._plain(values)
        return self._contestant(len(values), lambda: self.encryptor.encrypt(plain), values)

    def encrypt_one(self, values: Integers) -> Contestant:
        encrypt = self.encryptor.phe.encrypt_raw
        return self._scalars(lambda: [encrypt(v) for v in values], values)

    def decrypt(self, values: Integers) -> Contestant:
        ciphertexts = self.encryptor.encrypt(self._plain(values))
        return Contestant(
            self.name,
            len(values),
            lambda: self.decryptor.decrypt(ciphertexts),
            lambda result: first_difference(self._decode(result), values),
            self.setup,
        )

    def decrypt_one(self, values: Integers) -> Contestant:
        decrypt = self.decryptor.phe.decrypt_raw
        ciphertexts = [self.encryptor.phe.encrypt_raw(v) for v in values]
        return Contestant(
            self.name,
            len(values),
            lambda: [decrypt(c) for c in ciphertexts],
            lambda result: first_difference(result, values),
            self.setup,
        )

    def add(self, left: Integers, right: Integers, count: int) -> Contestant:
        x, y = (self._repeated(values, count) for values in (left, right))
        sums = [a + b for a, b in zip(*(_repeat(v[:DISTINCT], count) for v in (left, right)), strict=True)]
        return self._contestant(count, lambda: self.evaluator.add(x, y), sums)

    def add_one(self, left: Integers, right: Integers) -> Contestant:
        encrypt, add = self.encryptor.phe.encrypt_raw, self.evaluator.phe.add
        pairs = [(encrypt(a), encrypt(b)) for a, b in zip(left, right, strict=True)]
        return self._scalars(lambda: [add(x, y) for x, y in pairs], [a + b for a, b in zip(left, right, strict=True)])

    def plain_mul(self, values: Integers, scalars: Integers) -> Contestant:
        x, s = self._repeated(values, len(scalars)), self._plain(scalars)
        products = [v * w for v, w in zip(_repeat(values[:DISTINCT], len(scalars)), scalars, strict=True)]
        return self._contestant(len(scalars), lambda: self.evaluator.mul(x, s), products)

    def matvec(self, matrix: Sequence[Integers], values: Integers) -> Contestant:
        vector, weights = self._repeated(values, len(values)), self._plain(matrix)
        plain = _repeat(values[:DISTINCT], len(values))
        expected = [_dot(row, plain) for row in matrix]
        items = len(matrix) * len(values)
        return self._contestant(items, lambda: self.evaluator.matmul(weights, vector), expected)

    def pack(self, values: Integers) -> Contestant:
        """HEU packs exactly two values a plaintext."""
        pairs = list(zip(values[0::2], values[1::2], strict=True))
        encoder = self.kit.batch_integer_encoder()
        plain = self.kit.array(pairs, encoder)
        return Contestant(
            self.name,
            len(values),
            lambda: self.encryptor.encrypt(plain),
            lambda result: first_difference(self.decryptor.decrypt(result).to_numpy(encoder), pairs),
            self.setup,
        )

    def _plain(self, values: Any) -> Any:
        return self.kit.array(values, self.encoder)

    def _repeated(self, values: Integers, count: int) -> Any:
        """`count` ciphertexts, copies of at most DISTINCT fresh ones."""
        fresh = self.encryptor.encrypt(self._plain(values[:DISTINCT]))
        return fresh[[i % min(len(values), DISTINCT) for i in range(count)]]

    def _decode(self, plaintexts: Any) -> Any:
        return plaintexts.to_numpy(self.kit.bigint_encoder())

    def _contestant(self, items: int, run: Callable[[], Any], expected: Integers) -> Contestant:
        def check(result: Any) -> str | None:
            positions = _sample(len(expected))
            decrypted = self._decode(self.decryptor.decrypt(result[positions]))
            return first_difference(decrypted, [expected[i] for i in positions])

        return Contestant(self.name, items, run, check, self.setup)

    def _scalars(self, run: Callable[[], list[Any]], expected: Integers) -> Contestant:
        def check(result: list[Any]) -> str | None:
            return first_difference([self.decryptor.phe.decrypt_raw(c) for c in result], expected)

        return Contestant(self.name, len(expected), run, check, self.setup)


def gmp(run: Callable[[], list[Any]], expected: Sequence[int]) -> Contestant:
    """GMP through gmpy2, for rows about bare modular arithmetic."""
    return Contestant("gmp", len(expected), run, lambda result: first_difference(result, expected))


def mpz(values: Sequence[int]) -> list[Any]:
    """The values as GMP integers."""
    if gmpy2 is None:
        raise PeerUnavailableError("gmpy2 is not installed: pip install gmpy2")
    return [gmpy2.mpz(v) for v in values]


def _load(module: str, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise PeerUnavailableError(f"{module.split('.')[0]} is not installed: {install}") from error


def _repeat(values: Sequence[Any], count: int) -> list[Any]:
    return [values[i % len(values)] for i in range(count)]


def _sample(count: int) -> list[int]:
    """At most SAMPLE evenly spaced positions, first and last among them."""
    if count <= SAMPLE:
        return list(range(count))
    return [i * (count - 1) // (SAMPLE - 1) for i in range(SAMPLE)]


def _dot(row: Integers, values: Integers) -> int:
    return sum(w * v for w, v in zip(row, values, strict=True))
