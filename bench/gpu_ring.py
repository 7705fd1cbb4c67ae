"""Rows of transforms and products of residue polynomials, in batches that no cache holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.rns import RnsBasis, bit_reversal, ntt_primes, primitive_root
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.kernel_ring_counts import transform_bytes
from hecore.bench.gpu_results import Work
from hecore.bench.gpu_rows import Case, Job, wrong

if TYPE_CHECKING:
    from hecore.backends.ring_protocol import Backend, PolynomialArray, Words
    from hecore.bench.gpu_inputs import Inputs

DEGREE_LOGS = (16, 12, 13, 14, 15)
QUICK_DEGREE_LOGS = (10,)
BATCH_BYTES = 512 << 20
QUICK_BATCH_BYTES = 4 << 20
WIDE, NARROW = (60, 60, 60, 60), (28, 28, 28, 28)  # bits of primes; the second are transformed in 32-bit words
_KNOWN = 4  # different polynomials among the batch
_WORD = 8


class RingRows:
    """Batches from a few polynomials, over and over: transforms take as long for all residues."""

    def __init__(self, backend: Backend, inputs: Inputs) -> None:
        self.backend = backend
        self.inputs = inputs

    def jobs(self, *, quick: bool) -> Iterator[Job]:
        total = QUICK_BATCH_BYTES if quick else BATCH_BYTES
        for degree_log in QUICK_DEGREE_LOGS if quick else DEGREE_LOGS:
            for operation in ("ntt", "intt"):
                yield self._transform(operation, 1 << degree_log, total, WIDE)
        yield self._transform("ntt", 1 << (QUICK_DEGREE_LOGS if quick else DEGREE_LOGS)[0], total, NARROW)
        degree = 1 << (QUICK_DEGREE_LOGS[0] if quick else 14)
        yield self._product(degree, total)
        for operation in ("ring_upload", "ring_download"):
            yield self._transfer(operation, degree, total // 4)

    def _basis(self, degree: int, moduli: tuple[int, ...] = WIDE) -> RnsBasis:
        return RnsBasis(degree, ntt_primes(degree, moduli))

    def _batch(self, basis: RnsBasis, size: int, *, ntt: bool) -> tuple[Words, PolynomialArray]:
        """`_KNOWN` polynomials, and `size` polynomials of which the i-th is number i % _KNOWN."""
        known = self.inputs.polynomials(f"ring {basis.ring_degree}", _KNOWN, basis)
        some = self.backend.ring_upload(known, basis, ntt=ntt)
        return known, self.backend.ring_take(some, np.arange(size, dtype=np.intp) % _KNOWN)

    def _transform(self, operation: str, degree: int, total: int, moduli: tuple[int, ...]) -> Job:
        basis, forward = self._basis(degree, moduli), operation == "ntt"
        each = len(basis) * degree * _WORD

        def make(size: int) -> Case:
            known, a = self._batch(basis, size, ntt=not forward)

            def check(result: PolynomialArray) -> str:
                """The transform is evaluation at odd powers of a root: a few of them by Horner's rule."""
                last = size - 1
                words = self.backend.ring_download(self.backend.ring_take(result, np.array([last])))[0]
                coefficients, values = (known[last % _KNOWN], words) if forward else (words, known[last % _KNOWN])
                at = [0, 1, degree // 2 + 5, degree - 1]
                k = len(basis) - 1
                found = [int(values[k, i]) for i in at]
                return wrong(operation, found, [_value(coefficients[k], basis, k, i) for i in at])

            run = self.backend.ntt if forward else self.backend.intt
            return Case(lambda: run(a), check, self._transform_work(degree), counted=size * len(basis))

        most = max(1, total // each)
        size = f"N={degree}, {_megabytes(most * each)}" + (f", {moduli[0]}-bit primes" if moduli != WIDE else "")
        return Job(operation, size, "transform", make, 1, most, 3 * each, most)

    def _transform_work(self, degree: int) -> Work | None:
        if not isinstance(self.backend, KernelBackend):
            return None
        return Work(bytes=transform_bytes(self.backend._device.facts, degree))

    def _product(self, degree: int, total: int) -> Job:
        basis = self._basis(degree)
        each = len(basis) * degree * _WORD

        def make(size: int) -> Case:
            known, a = self._batch(basis, size, ntt=True)

            def check(result: PolynomialArray) -> str:
                words = self.backend.ring_download(self.backend.ring_take(result, np.array([size - 1])))[0]
                source, q = known[(size - 1) % _KNOWN][-1], basis.moduli[-1]
                return wrong("products", words[-1].tolist(), [int(x) ** 2 % q for x in source])

            run = self.backend.residue_mul
            return Case(lambda: run(a, a), check, Work(bytes=2 * _WORD * degree), counted=size * len(basis))

        most = max(1, total // each)
        size = f"N={degree}, {_megabytes(most * each)}"
        return Job("residue_mul (square)", size, "polynomial", make, 1, most, 3 * each, most)

    def _transfer(self, operation: str, degree: int, total: int) -> Job:
        """Between pageable memory of the host and the device."""
        basis, up = self._basis(degree), operation == "ring_upload"
        each = len(basis) * degree * _WORD

        def make(size: int) -> Case:
            known = self.inputs.polynomials(f"ring {degree}", _KNOWN, basis)
            words = known[np.arange(size) % _KNOWN]
            there = self.backend.ring_upload(words, basis, ntt=True)

            def check(result: PolynomialArray | Words) -> str:
                back = result if isinstance(result, np.ndarray) else self.backend.ring_download(result)
                return "" if np.array_equal(back, words) else "residues are not those that were sent"

            def run() -> PolynomialArray | Words:
                return self.backend.ring_upload(words, basis, ntt=True) if up else self.backend.ring_download(there)

            return Case(run, check, counted=size * len(basis), note=f"{_WORD * degree} bytes each")

        most = max(1, total // each)
        return Job(operation, f"N={degree}, {_megabytes(most * each)}", "polynomial", make, 1, most, 3 * each)


def _value(coefficients: Words, basis: RnsBasis, k: int, position: int) -> int:
    """The polynomial at psi^(2*brv(position)+1) modulo the k-th prime."""
    q, degree = basis.moduli[k], basis.ring_degree
    point = pow(primitive_root(q, degree), 2 * int(bit_reversal(degree)[position]) + 1, q)
    value = 0
    for coefficient in coefficients[::-1].tolist():
        value = (value * point + coefficient) % q
    return value


def _megabytes(nbytes: int) -> str:
    return f"{nbytes >> 20} MiB"
