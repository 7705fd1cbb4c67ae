"""The self-test that every backend passes against the reference before its first use in a process.

Fixed operands (SHAKE-256 of a label, plus 0, 1 and modulus-1) over several modulus sizes, plain and square, and over
RNS bases of small, middle and large primes; each operation runs at least once, in some milliseconds. The full proof is
the contract suite in `tests/backends`.
"""

from __future__ import annotations

from hashlib import shake_256
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.arith.integers import gcd
from hecore.arith.limbs import limbs_for_bits, limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.backends.protocol import ExponentArray
from hecore.backends.reference import ReferenceBackend
from hecore.backends.ring_protocol import ERROR_BOUND
from hecore.errors import BackendError, SelfTestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hecore.backends.protocol import IntegerBackend
    from hecore.backends.ring_protocol import Backend, RingBackend

# Public test primes = 3 mod 4 made by `random_blum_primes`; their only property is that nothing about them is special.
_P_63, _Q_63 = 0x645E9B8994D031DF, 0x7C732244A306335F
_P_500 = 0xC5148491B78F9FC1353F6974779298FBFEA46B21FF294B8B85BECFAC746247E5647D72AE9B6BC11EFF4F866FC7B5C7D5C433AE725983753B636C58844227F  # noqa: E501
_Q_500 = 0xD5DE25444A1291241566DA430D308791CE54382BFA91F33D14C639189EE57CA5AD5F93E2ABD7DC01220C239199FDE47884CF1CCB94DE63DB08A864AAD6A57  # noqa: E501
_COUNT = 9  # one group of eight lanes and one more
_EXPONENT_BITS = 13
_RING_DEGREES = (16, 64)


def self_test(backend: Backend) -> None:
    """Run every operation on `backend` and on the reference; raise SelfTestError at the first disagreement.

    What keeps a device from computing at all (a compiler's error, no memory, a lost device) is raised as it is.
    """
    reference = ReferenceBackend()
    for modulus in (Modulus(3), Modulus(2**64 - 59), Modulus(_fixed("modulus", 521) | 1 << 520 | 1)):
        _compare(modulus, backend, _plain_results(backend, modulus), _plain_results(reference, modulus))
    for crt in (CrtModulus(_P_63, _Q_63), CrtModulus(_P_500, _Q_500)):
        modulus = crt.n_squared
        _compare(modulus, backend, _plain_results(backend, modulus), _plain_results(reference, modulus))
        _compare(modulus, backend, _square_results(backend, crt), _square_results(reference, crt))
    for degree in _RING_DEGREES:
        basis = RnsBasis(degree, ntt_primes(degree, (60, 45, 60, 30, 51)))
        _compare(basis, backend, _ring_results(backend, basis), _ring_results(reference, basis))
    _check_random_exponents(backend)
    _check_random_polynomials(backend)


def _compare(
    modulus: Modulus | RnsBasis,
    backend: IntegerBackend,
    actual: Iterator[tuple[str, NDArray[Any]]],
    expected: Iterator[tuple[str, NDArray[Any]]],
) -> None:
    for operation, right in expected:
        try:
            _, result = next(actual)
        except BackendError:
            raise
        except Exception as error:
            raise SelfTestError(_message(backend, operation, modulus, f"raised {type(error).__name__}")) from error
        if result.dtype != right.dtype or not np.array_equal(result, right):
            raise SelfTestError(_message(backend, operation, modulus, "disagrees with the reference"))


def _message(backend: IntegerBackend, operation: str, modulus: Modulus | RnsBasis, what: str) -> str:
    where = modulus if isinstance(modulus, Modulus) else f"{len(modulus)} primes at ring degree {modulus.ring_degree}"
    return f"backend {backend.name!r} refuses to work: in its self-test {operation} modulo {where} {what}"


def _plain_results(backend: IntegerBackend, modulus: Modulus) -> Iterator[tuple[str, NDArray[Any]]]:
    """(operation, its result in host form), for every operation that needs no factor of the modulus."""
    m = modulus.value
    values = [0, 1, m - 1] + [_fixed(f"a{i}", modulus.bits + 64) % m for i in range(_COUNT - 3)]
    others = [_fixed(f"b{i}", modulus.bits + 64) % m for i in range(_COUNT)]
    units = [x if gcd(x, m) == 1 else m - 1 for x in others]
    a, b, u = (backend.upload(limbs_from_ints(x, modulus.limbs), modulus) for x in (values, others, units))
    shared = ExponentArray.shared(_fixed("shared", _EXPONENT_BITS), _EXPONENT_BITS)
    own = ExponentArray.from_ints([_fixed(f"e{i}", _EXPONENT_BITS) for i in range(_COUNT)], _EXPONENT_BITS)
    scalars = [_fixed(f"scalar{i}", _EXPONENT_BITS) for i in range(2 * _COUNT - 1)] + [0]
    magnitudes = limbs_from_ints(scalars, limbs_for_bits(_EXPONENT_BITS)).reshape(2, _COUNT, -1)
    negative = np.arange(2 * _COUNT).reshape(2, _COUNT) % 3 == 0
    order = np.arange(_COUNT)[::-1].reshape(3, 3)
    segments = np.arange(_COUNT, dtype=np.intp) * 5 % 4
    yield "download", backend.download(a)
    yield "take", backend.download(backend.take(a, order))
    yield "concatenate", backend.download(backend.concatenate([a, b]))
    yield "collect", backend.download(backend.collect(iter([a, b]), a.size + b.size))
    yield "reshape", backend.download(backend.reshape(a, (3, 3)))
    yield "mod_mul", backend.download(backend.mod_mul(a, b))
    yield "mod_mul (square)", backend.download(backend.mod_mul(a, a))
    yield "mod_exp (shared)", backend.download(backend.mod_exp(a, shared))
    yield "mod_exp", backend.download(backend.mod_exp(a, own))
    yield "mod_exp_vartime (shared)", backend.download(backend.mod_exp_vartime(a, shared))
    yield "mod_exp_vartime", backend.download(backend.mod_exp_vartime(a, own))
    table = backend.fixed_base_table(units[0], modulus, _EXPONENT_BITS, memory_budget=1 << 16)
    yield "fixed_base_exp", backend.download(backend.fixed_base_exp(table, own))
    yield "multi_exp", backend.download(backend.multi_exp(u, magnitudes, negative, _EXPONENT_BITS))
    constant_time = backend.multi_exp(u, magnitudes, negative, _EXPONENT_BITS, constant_time=True)
    yield "multi_exp (constant time)", backend.download(constant_time)
    yield "product", backend.download(backend.product(backend.reshape(b, (3, 3))))
    yield "segment_product", backend.download(backend.segment_product(b, segments, 5))
    yield "batch_invert", backend.download(backend.batch_invert(u))
    yield "gcd_is_one", backend.gcd_is_one(a)


def _square_results(backend: IntegerBackend, crt: CrtModulus) -> Iterator[tuple[str, NDArray[Any]]]:
    """As `_plain_results`, for the operations on n^2, p^2 and q^2."""
    n, n_squared = crt.n, crt.n_squared
    messages = limbs_from_ints([0, n.value - 1, _fixed("message", n.bits + 64) % n.value], n.limbs)
    units = [_fixed(f"unit{i}", n_squared.bits + 64) % n_squared.value for i in range(len(messages))]
    times = backend.upload(limbs_from_ints(units, n_squared.limbs), n_squared)
    encoded = backend.encode(messages, n_squared)
    half_p = backend.reduce(encoded, crt.p_squared)
    half_q = backend.reduce(encoded, crt.q_squared)
    power_p = backend.mod_exp(half_p, ExponentArray.shared(crt.p - 1, crt.p.bit_length()))
    power_q = backend.mod_exp(half_q, ExponentArray.shared(crt.q - 1, crt.q.bit_length()))
    yield "encode", backend.download(encoded)
    yield "encode (times)", backend.download(backend.encode(messages, n_squared, times))
    yield "reduce", backend.download(half_p)
    yield "lift", backend.download(backend.lift(half_p, half_q, crt))
    yield "lift (messages)", backend.download(backend.lift(half_p, half_q, crt, messages))
    yield "decode", backend.decode(power_p, power_q, crt)
    yield "decrypt", backend.decrypt(times, crt)
    if crt.one_factor_decides(5):
        yield "decrypt_bounded", backend.decrypt_bounded(times, crt, 5)


def _ring_results(backend: RingBackend, basis: RnsBasis) -> Iterator[tuple[str, NDArray[Any]]]:
    """(operation, its result in host form), for every operation on polynomials: three residues, two special ones."""
    data, special = basis.take(range(3)), basis.take(range(3, 5))
    a, b, c = (
        backend.ring_upload(_polynomials(label, base), base, ntt=True)
        for label, base in (("a", data), ("b", data), ("c", basis))
    )
    coefficients = backend.ring_upload(_polynomials("a", data), data, ntt=False)
    signed = np.array([_fixed(f"signed{i}", 63) * (-1) ** i for i in range(basis.ring_degree)], dtype=np.int64)
    wide = np.array([_fixed(f"wide{i}", 64) for i in range(3 * len(signed))], dtype=np.uint64).reshape(-1, 3)
    order = np.array([[3, 0], [1, 1]])
    yield "ring_download", backend.ring_download(a)
    yield "ring_encode", backend.ring_download(backend.ring_encode(signed, data))
    yield "ring_encode (transformed)", backend.ring_download(backend.ring_encode(signed, data, ntt=True))
    yield "ring_encode_wide", backend.ring_download(backend.ring_encode_wide(wide, signed < 0, data))
    yield from zip(("ring_decode", "ring_decode (signs)"), backend.ring_decode(a), strict=True)
    yield "ring_take", backend.ring_download(backend.ring_take(a, order))
    yield "ring_concatenate", backend.ring_download(backend.ring_concatenate([a, b]))
    yield "ring_reshape", backend.ring_download(backend.ring_reshape(a, (4,)))
    yield "ring_moduli", backend.ring_download(backend.ring_moduli(a, [2, 0]))
    yield "ntt", backend.ring_download(backend.ntt(coefficients))
    yield "intt", backend.ring_download(backend.intt(a))
    yield "automorphism", backend.ring_download(backend.automorphism(a, 5))
    yield "automorphism (coefficients)", backend.ring_download(backend.automorphism(coefficients, 5))
    yield "automorphism_sum", backend.ring_download(backend.automorphism_sum(a, [5, 2 * basis.ring_degree - 1]))
    yield "residue_add", backend.ring_download(backend.residue_add(a, b))
    yield "residue_sub", backend.ring_download(backend.residue_sub(a, b))
    yield "residue_negate", backend.ring_download(backend.residue_negate(a))
    yield "residue_mul", backend.ring_download(backend.residue_mul(a, b))
    yield "residue_mul_accumulate", backend.ring_download(backend.residue_mul_accumulate(a, b))
    yield "residue_scale", backend.ring_download(backend.residue_scale(a, [q - 2 for q in data.moduli]))
    yield "residue_shift", backend.ring_download(backend.residue_shift(a, [q - 2 for q in data.moduli]))
    yield "tensor_product", backend.ring_download(backend.tensor_product(a, b))
    for exact in (False, True):
        yield "base_convert", backend.ring_download(backend.base_convert(coefficients, special, exact=exact))
    for count in (1, 2):
        yield "divide_round", backend.ring_download(backend.divide_round(c, count))
    for kept in (3, 4):
        plus = backend.ring_moduli(backend.ring_take(c, np.array([[1], [2]])), range(kept))
        yield "divide_round (plus)", backend.ring_download(backend.divide_round(c, 2, plus=plus))
    for digits in ([(0, 1), (1, 2), (2, 3)], [(0, 2), (2, 3)]):
        yield "decompose", backend.ring_download(backend.decompose(a, digits, special))
        keys = backend.ring_take(c, np.arange(2 * len(digits)).reshape(2, -1) % 4)
        switched = backend.decompose_mul_accumulate(a, digits, special, keys)
        yield "decompose_mul_accumulate", backend.ring_download(switched)
        switched = backend.decompose_mul_accumulate(a, digits, special, [keys, keys])
        yield "decompose_mul_accumulate (two)", backend.ring_download(switched)


def _polynomials(label: str, basis: RnsBasis) -> NDArray[np.uint64]:
    """(2, 2, k, N): 0, 1, (q-1)/2, (q+1)/2 and q-1, then what looks random."""
    rows = []
    for row in range(4 * len(basis)):
        q = basis.moduli[row % len(basis)]
        noise = shake_256(f"{label}{row}".encode()).digest(8 * basis.ring_degree)
        rows.append(np.frombuffer(noise, dtype="<u8").astype(np.uint64) % np.uint64(q))
        rows[-1][:5] = 0, 1, q // 2, q // 2 + 1, q - 1
    return np.stack(rows).reshape(2, 2, len(basis), basis.ring_degree)


def _check_random_exponents(backend: IntegerBackend) -> None:
    """Shape and range are right, and two draws of 129 bits differ."""
    first, second = backend.random_exponents((2,), 129), backend.random_exponents((2,), 129)
    for draw in (first, second):
        if draw.bits != 129 or draw.limbs.shape != (2, 3) or bool((draw.limbs[..., -1] > 1).any()):
            raise SelfTestError(
                f"backend {backend.name!r} refuses to work: random_exponents has a wrong shape or range"
            )
    if np.array_equal(first.limbs, second.limbs):
        raise SelfTestError(f"backend {backend.name!r} refuses to work: random_exponents repeats itself")


def _check_random_polynomials(backend: Backend) -> None:
    """256 coefficients lie in their range and fill it, two draws differ; a false alarm has a chance below 2^-47."""
    degree = _RING_DEGREES[-1]
    (q,) = ntt_primes(degree, (30,))
    for operation, largest, usual in (("random_ternary", 1, 1), ("random_errors", ERROR_BOUND, 3)):
        draws: list[NDArray[np.int64]] = []
        for _ in range(2):
            small = getattr(backend, operation)((2, 2), degree)
            words = backend.ring_download(backend.ring_encode(small, RnsBasis(degree, (q,))))
            draws.append(words.astype(np.int64))
        values = np.where(draws[0] > q // 2, draws[0] - q, draws[0])
        fits = values.shape == (2, 2, 1, degree) and bool((np.abs(values) <= largest).all())
        if not fits or values.max() < usual or values.min() > -usual or not (values == 0).any():
            raise SelfTestError(f"backend {backend.name!r} refuses to work: {operation} has a wrong shape or range")
        if np.array_equal(draws[0], draws[1]):
            raise SelfTestError(f"backend {backend.name!r} refuses to work: {operation} repeats itself")


def _fixed(label: str, bits: int) -> int:
    """A fixed integer in [0, 2**bits) that looks random."""
    return int.from_bytes(shake_256(label.encode()).digest(-(-bits // 8)), "little") % (1 << bits)
