"""Rows about bare transforms: one residue polynomial, by ring degree and size of prime, beside SEAL's and the floor.

Both sides read one array and write another that they have written before. SEAL transforms a ciphertext, two residue
polynomials modulo one prime, as its bindings offer it; its call is a few microseconds of Python on top, and so is ours.

The floor (`hecore.kernels.cpu.ntt_counts`) is counted in the instructions that the kernels issue, and bound by the
rate of products or by that of all instructions, whichever is slower; it is given as so many products, whose rate the
run measures before every row, by the ratio of both rates measured when the row is prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.bench.ckks_peer import load
from hecore.bench.ckks_plan import PEER, SEAL, CkksPlan
from hecore.bench.contest import Case, Contestant, NotApplicableError, repeated
from hecore.bench.driver import Job
from hecore.bench.peers import PeerUnavailableError
from hecore.bench.results import Work
from hecore.bench.workbench import OURS

Words = NDArray[np.uint64]

DEGREES = tuple(1 << log for log in range(10, 18))
SMALL_DEGREES = (1 << 10,)  # of a run that tests the bench itself
PRIME_BITS = (49, 60)
OURS_DEVICE = "cpu"
ITEM = "transform"
_COMPONENTS = 2  # residue polynomials a call: those of a fresh ciphertext
_ROUND_RESIDUES = 1 << 21  # about what a round of a full run transforms, two milliseconds or so


def jobs(plan: CkksPlan) -> list[Job]:
    """Forward and backward rows of every degree and size of prime."""
    degrees = SMALL_DEGREES if plan.scale == "tiny" else DEGREES
    return [
        Job(operation, f"{degree}, {bits} bits", partial(_case, plan, degree, bits, inverse=inverse))
        for bits in PRIME_BITS
        for operation, inverse in (("ntt", False), ("intt", True))
        for degree in degrees
    ]


def _case(plan: CkksPlan, degree: int, bits: int, *, inverse: bool) -> Case:
    """One row. SEAL's prime serves both, the largest of its size."""
    if plan.device != OURS_DEVICE:
        raise NotApplicableError(f"transforms are measured below the backends, on {OURS_DEVICE} alone")
    basis = RnsBasis(degree, ntt_primes(degree, [bits, bits])[:1])
    values, transformed = _known(basis)
    source, expected = (transformed, values) if inverse else (values, transformed)
    calls = max(1, _ROUND_RESIDUES * plan.calls // (64 * _COMPONENTS * degree))
    ours = repeated(_ours(basis, source, expected, inverse), calls)
    case = Case(ours, ITEM, work=_work(basis, inverse))
    if PEER not in plan.peers:
        return case
    try:
        rival = _seal(degree, bits, basis, inverse)
    except PeerUnavailableError as error:
        return Case(ours, ITEM, absent={SEAL: str(error)}, work=case.work)
    return Case(ours, ITEM, (repeated(rival, max(1, calls // 4)),), work=case.work)


@cache
def _known(basis: RnsBasis) -> tuple[Words, Words]:
    """Random residue polynomials, and their transforms."""
    shape = (_COMPONENTS, basis.ring_degree)
    values = np.random.default_rng(basis.ring_degree).integers(0, basis.moduli[0], shape, dtype=np.uint64)
    return values, _transformed(values, basis)


def _transformed(values: Words, basis: RnsBasis) -> Words:
    """By the one-lane kernel, which shares no code with the one that is measured."""
    from hecore.kernels.cpu.ntt import transform
    from hecore.kernels.cpu.workers import Workers

    out = np.empty_like(values)
    transform(Workers(1), values, basis, inverse=False, out=out, one_lane=True)
    return out


def _difference(found: Words, expected: Words) -> str | None:
    wrong = np.flatnonzero(found.ravel() != expected.ravel())
    return f"{wrong.size} residues are wrong, the first at {wrong[0]}" if wrong.size else None


def _ours(basis: RnsBasis, source: Words, expected: Words, inverse: bool) -> Contestant:
    from hecore.kernels.cpu.context import empty_rows
    from hecore.kernels.cpu.ntt import transform
    from hecore.kernels.cpu.workers import Workers

    workers, shape = Workers(1), (_COMPONENTS, 1, basis.ring_degree)
    data, out = (empty_rows(_COMPONENTS * 8, basis.ring_degree // 8).reshape(shape) for _ in range(2))
    data[:] = source.reshape(shape)

    def run() -> Words:
        transform(workers, data, basis, inverse=inverse, out=out)
        return out

    return Contestant(OURS, _COMPONENTS, run, lambda found: _difference(found, expected))


def _seal(degree: int, bits: int, basis: RnsBasis, inverse: bool) -> Contestant:
    """SEAL's evaluator on a ciphertext of zero; its residues are compared with our one-lane kernel's."""
    api = load("tenseal.sealapi")
    parameters = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(degree)
    moduli = api.CoeffModulus.Create(degree, [bits, bits])
    parameters.set_coeff_modulus(moduli)
    if moduli[0].value() != basis.moduli[0]:
        raise PeerUnavailableError(f"SEAL chose modulus {moduli[0].value()}, not {basis.moduli[0]}")
    context = api.SEALContext(parameters, True, api.SEC_LEVEL_TYPE.NONE)
    key, plain, values = api.PublicKey(), api.Plaintext(), api.Ciphertext(context)
    api.KeyGenerator(context).create_public_key(key)
    api.CKKSEncoder(context).encode(0.0, 1.0, plain)
    api.Encryptor(context, key).encrypt(plain, values)
    evaluator, polynomials = api.Evaluator(context), api.Ciphertext(context)
    evaluator.transform_from_ntt(values, polynomials)
    source, result = (values, api.Ciphertext(context)) if inverse else (polynomials, api.Ciphertext(context))
    coefficients = _residues(polynomials, degree)
    expected = coefficients if inverse else _transformed(coefficients.reshape(_COMPONENTS, degree), basis)
    operation: Callable[..., None] = evaluator.transform_from_ntt if inverse else evaluator.transform_to_ntt

    def run() -> Any:
        operation(source, result)
        return result

    return Contestant(SEAL, _COMPONENTS, run, lambda found: _difference(_residues(found, degree), expected))


def _residues(ciphertext: Any, degree: int) -> Words:
    return np.array([ciphertext[i] for i in range(_COMPONENTS * degree)], dtype=np.uint64)


def _work(basis: RnsBasis, inverse: bool) -> Work | None:
    """The floor as lanes of products; None where no kernel of eight lanes runs."""
    from hecore.kernels.cpu.floor import measure_peak
    from hecore.kernels.cpu.ntt_counts import measure_issue, transform
    from hecore.kernels.cpu.vector import LANES

    count = transform(basis.moduli[0], basis.ring_degree, inverse=inverse)
    if count is None:
        return None
    products_an_issue = min(1.0, measure_issue() / measure_peak())
    return Work(LANES * max(count.products, count.all * products_an_issue))
