"""Rows of CKKS, everything resident: products, rotations, encryption and decryption of batches of ciphertexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore import ckks
from hecore.backends import registry
from hecore.bench.gpu_device import traffic
from hecore.bench.gpu_results import Work
from hecore.bench.gpu_rows import Case, Job
from hecore.ckks import evaluator, rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_inputs import Inputs
    from hecore.ckks.ciphertext import Ciphertext

DEGREE, QUICK_DEGREE = 1 << 14, 1 << 10
MODULI = (60, *[40] * 7, 60)  # 340 bits and a special prime
QUICK_MODULI = (50, 40, 40, 50)
BATCH, QUICK_BATCH = 32, 4
STEPS = (1, 2, 3, 4, 5, 6, 7, 8)
SCALE = 2.0**40
TOLERANCE = 2.0**-12
MULTIPLY = "ckks multiply, relinearise, rescale"


@dataclass(frozen=True)
class _Operands:
    """A batch of ciphertexts that fill all slots, and what they hold."""

    keys: ckks.Keys
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    x: ckks.EncryptedTensor
    y: ckks.EncryptedTensor


class CkksRows:
    """Keys are made on the device at the first row that asks for them."""

    def __init__(self, backend: Backend, inputs: Inputs) -> None:
        self.backend = backend
        self.inputs = inputs
        self._keys: ckks.Keys | None = None

    def jobs(self, *, quick: bool) -> Iterator[Job]:
        degree, moduli, most = (QUICK_DEGREE, QUICK_MODULI, QUICK_BATCH) if quick else (DEGREE, MODULI, BATCH)
        make = ckks.Parameters.insecure if quick else ckks.Parameters
        self._parameters = make(ring_degree=degree, moduli_bits=moduli, scale=SCALE)
        size = f"N={degree}, {len(moduli) - 1}+1 primes, batch {{}}"
        each = 8 * degree * len(moduli) * 64
        rows: tuple[tuple[str, str, Callable[[int], Case]], ...] = (
            (MULTIPLY, "ciphertext", self._multiply),
            ("ckks rotations, hoisted", "rotation", self._rotate),
            ("ckks multiply by plain, rescale", "ciphertext", self._multiply_plain),
            ("ckks add", "ciphertext", self._add),
            ("ckks encrypt", "ciphertext", self._encrypt),
            ("ckks decrypt", "ciphertext", self._decrypt),
        )
        for operation, item, build in rows:
            yield Job(operation, size.format(most), item, build, most, most, each)
        yield Job(MULTIPLY, size.format(1), "ciphertext", self._multiply, 1, 1, each)
        if hasattr(self.backend, "record"):
            yield Job(f"{MULTIPLY}, recorded", size.format(1), "ciphertext", self._recorded, 1, 1, each)

    # -- rows --------------------------------------------------------------------------------------------

    def _multiply(self, batch: int) -> Case:
        o = self._operands(batch)
        run = self._here(lambda: evaluator.multiply_rescale(o.x.ciphertext, o.y.ciphertext))
        return self._case(run, lambda result: self._compare(o, result, o.a * o.b), batch)

    def _recorded(self, batch: int) -> Case:
        """The same sequence of kernels as one command, and the same bits."""
        o = self._operands(batch)
        run = self._here(lambda: evaluator.multiply_rescale(o.x.ciphertext, o.y.ciphertext))
        eager = self.backend.ring_download(run().polynomials)
        record: Any = getattr(self.backend, "record")  # noqa: B009  # of backends that have it
        recording = record(run)

        def check(result: Ciphertext) -> str:
            same = np.array_equal(self.backend.ring_download(result.polynomials), eager)
            return "" if same else "a replay gives other residues than the operations one by one"

        return Case(recording.replay, check, self._work(run, batch))

    def _rotate(self, batch: int) -> Case:
        o = self._operands(batch)
        run = self._here(lambda: rotation.rotate_hoisted(o.x.ciphertext, STEPS))

        def check(result: list[Ciphertext]) -> str:
            rows = o.a.reshape(batch, -1)
            wrong = [
                self._compare(o, rotated, np.roll(rows, -step, axis=1))
                for step, rotated in zip(STEPS, result, strict=True)
            ]
            return next(filter(None, wrong), "")

        return self._case(run, check, batch * len(STEPS))

    def _multiply_plain(self, batch: int) -> Case:
        o = self._operands(batch)
        rows = o.b.reshape(batch, -1)
        plain = ckks.encode(rows, self._parameters, bound=1.0, backend=self.backend)
        run = self._here(lambda: evaluator.multiply_rescale(o.x.ciphertext, plain))
        return self._case(run, lambda result: self._compare(o, result, o.a * o.b), batch)

    def _add(self, batch: int) -> Case:
        o = self._operands(batch)
        run = self._here(lambda: evaluator.add(o.x.ciphertext, o.y.ciphertext))
        return self._case(run, lambda result: self._compare(o, result, o.a + o.b), batch)

    def _encrypt(self, batch: int) -> Case:
        o = self._operands(batch)
        run = self._here(lambda: o.keys.public_key.encrypt(o.a, bound=1.0))
        note = "numbers are encoded by the host within the time"
        return self._case(run, lambda result: self._compare(o, result.ciphertext, o.a), batch, note)

    def _decrypt(self, batch: int) -> Case:
        o = self._operands(batch)
        run = self._here(lambda: o.keys.secret_key.decrypt(o.x))
        note = "numbers are decoded by the host within the time"
        return self._case(run, lambda result: _difference(result, o.a), batch, note)

    def _case(self, run: Callable[[], Any], check: Callable[[Any], str], items: int, note: str = "") -> Case:
        return Case(run, check, self._work(run, items), counted=items, note=note)

    def _work(self, run: Callable[[], Any], items: int) -> Work | None:
        run()  # what is made once
        moved = traffic(self.backend, run)
        return None if moved is None else Work(bytes=moved / items)

    # -- operands and results ------------------------------------------------------------------------------

    def _operands(self, batch: int) -> _Operands:
        with registry.use(self.backend):
            if self._keys is None:
                self._keys = ckks.generate_keys(self._parameters, galois=STEPS)
            count = batch * self._parameters.slots
            a, b = (np.random.default_rng(seed).uniform(-1.0, 1.0, count) for seed in (1, 2))
            x, y = (self._keys.public_key.encrypt(values, bound=1.0) for values in (a, b))
        return _Operands(self._keys, a, b, x, y)

    def _here(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """On this backend, whatever is current."""

        def run() -> Any:
            with registry.use(self.backend):
                return function()

        return run

    def _compare(self, o: _Operands, result: Ciphertext, expected: NDArray[np.float64]) -> str:
        return _difference(np.asarray(o.keys.secret_key.decrypt(result)).real, expected)


def _difference(found: NDArray[Any], expected: NDArray[np.float64]) -> str:
    """Empty where all values are near enough. Prints none."""
    far = ~(np.abs(found.ravel() - expected.ravel()) <= TOLERANCE)  # NaN is wrong, too
    return f"{int(far.sum())} of {far.size} values are wrong" if far.any() else ""
