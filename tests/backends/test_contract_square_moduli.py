"""Contract suite: the operations that know the factors of a Paillier modulus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.integers import powmod
from hecore.arith.limbs import less_than, limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.backends.protocol import ExponentArray
from hecore.backends.reference import ReferenceBackend
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from hecore.backends.protocol import Limbs, ResidueArray
    from tests.backends.conftest import Lab


def messages_of(lab: Lab, crt: CrtModulus, count: int) -> list[int]:
    """Below n: 0, 1, n-1, around n/2, multiples of p and of q, then random."""
    p, q, n = crt.p, crt.q, crt.n.value
    special = [0, 1, n - 1, n // 2, n // 2 + 1, p, q, n - p, n - q]
    return (special + lab.values(crt.n, max(0, count - len(special)), "m"))[:count]


def as_limbs(messages: list[int], crt: CrtModulus, shape: tuple[int, ...] | None = None) -> Limbs:
    limbs = limbs_from_ints(messages, crt.n.limbs)
    return limbs if shape is None else limbs.reshape(*shape, crt.n.limbs)


def ciphertexts(lab: Lab, crt: CrtModulus, messages: list[int]) -> list[int]:
    """(1 + m*n) * r**n mod n^2, the textbook form."""
    n, n_squared = crt.n.value, crt.n_squared.value
    units = lab.units(crt.n, len(messages))
    return [(1 + m * n) * powmod(r, n, n_squared) % n_squared for m, r in zip(messages, units, strict=True)]


def halves(lab: Lab, crt: CrtModulus, values: list[int]) -> tuple[ResidueArray, ResidueArray]:
    """c**(p-1) mod p^2 and c**(q-1) mod q^2, by Python integers."""
    p2, q2 = crt.p_squared, crt.q_squared
    a_p = lab.up([powmod(c, crt.p - 1, p2.value) for c in values], p2)
    return a_p, lab.up([powmod(c, crt.q - 1, q2.value) for c in values], q2)


@pytest.mark.parametrize("count", [0, 1, 9, 33])
def test_reduce_to_a_factors_square(lab: Lab, crt: CrtModulus, count: int) -> None:
    for factor in (crt.p_squared, crt.q_squared):
        f = factor.value
        k = crt.n_squared.value // f
        edges = [f - 1, f, f + 1, (k - 1) * f - 1, (k - 1) * f, crt.n_squared.value - f]
        x = [*edges, *lab.values(crt.n_squared, 33)][:count]
        lab.same(lab.backend.reduce(lab.up(x, crt.n_squared), factor), [i % f for i in x], factor, (count,))


def test_reduce_to_any_divisor(lab: Lab, crt: CrtModulus) -> None:
    x = lab.values(crt.n_squared, 9)
    a = lab.up(x, crt.n_squared)
    for divisor in (crt.n, Modulus(crt.p), Modulus(crt.q), Modulus(crt.p * crt.n.value), crt.n_squared):
        lab.same(lab.backend.reduce(a, divisor), [i % divisor.value for i in x], divisor, (9,))


def test_reduce_refuses_what_does_not_divide(lab: Lab, some_crt: CrtModulus) -> None:
    a = lab.up(lab.values(some_crt.n_squared, 3), some_crt.n_squared)
    for other in (Modulus(some_crt.p + 2), Modulus.square(some_crt.q + 2), Modulus(some_crt.n.value**3)):
        with pytest.raises(ParameterError):
            lab.backend.reduce(a, other)


def test_lift_is_right_modulo_both_squares(lab: Lab, crt: CrtModulus) -> None:
    p2, q2 = crt.p_squared, crt.q_squared
    x, y = lab.values(p2, 9), lab.values(q2, 9, "b")
    lifted = lab.backend.lift(lab.up(x, p2, (3, 3)), lab.up(y, q2, (3, 3)), crt)
    assert lifted.shape == (3, 3)
    assert lifted.modulus == crt.n_squared
    result = lab.down(lifted)
    assert [i % p2.value for i in result] == x
    assert [i % q2.value for i in result] == y
    assert all(i < crt.n_squared.value for i in result)


@pytest.mark.parametrize("count", [0, 1, 8, 33])
def test_lift_undoes_reduce(lab: Lab, crt: CrtModulus, count: int) -> None:
    x = lab.values(crt.n_squared, count)
    a = lab.up(x, crt.n_squared)
    lifted = lab.backend.lift(lab.backend.reduce(a, crt.p_squared), lab.backend.reduce(a, crt.q_squared), crt)
    lab.same(lifted, x, crt.n_squared, (count,))


@pytest.mark.parametrize("count", [0, 1, 8, 33])
def test_messages_are_lifted_with_their_halves(lab: Lab, crt: CrtModulus, count: int) -> None:
    n, n2 = crt.n.value, crt.n_squared
    x, messages = lab.values(n2, count), messages_of(lab, crt, count)
    a = lab.up(x, n2)
    a_p, a_q = lab.backend.reduce(a, crt.p_squared), lab.backend.reduce(a, crt.q_squared)
    expected = [(1 + m * n) * i % n2.value for m, i in zip(messages, x, strict=True)]
    lab.same(lab.backend.lift(a_p, a_q, crt, as_limbs(messages, crt)), expected, n2, (count,))


def test_lift_keeps_the_shape_and_refuses_bad_messages(lab: Lab, some_crt: CrtModulus) -> None:
    n, n2 = some_crt.n, some_crt.n_squared
    a_p, a_q = halves(lab, some_crt, [1] * 6)
    a_p, a_q = lab.backend.reshape(a_p, (2, 3)), lab.backend.reshape(a_q, (2, 3))
    messages = messages_of(lab, some_crt, 6)
    lifted = lab.backend.lift(a_p, a_q, some_crt, as_limbs(messages, some_crt, (2, 3)))
    lab.same(lifted, [1 + m * n.value for m in messages], n2, (2, 3))
    with pytest.raises(ParameterError):
        lab.backend.lift(a_p, a_q, some_crt, as_limbs([n.value] * 6, some_crt, (2, 3)))
    with pytest.raises(ShapeError):
        lab.backend.lift(a_p, a_q, some_crt, as_limbs(messages, some_crt))
    with pytest.raises(ShapeError):
        lab.backend.lift(a_p, a_q, some_crt, np.zeros((2, 3, n.limbs + 1), dtype=np.uint64))
    with pytest.raises(OperandTypeError):
        lab.backend.lift(a_p, a_q, some_crt, as_limbs(messages, some_crt, (2, 3)).astype(np.int64))


def test_what_was_lifted_can_be_used(lab: Lab, crt: CrtModulus) -> None:
    p2, q2, n2 = crt.p_squared, crt.q_squared, crt.n_squared
    x = lab.values(n2, 9)
    a = lab.up(x, n2)
    lifted = lab.backend.lift(lab.backend.reduce(a, p2), lab.backend.reduce(a, q2), crt)
    lab.same(lab.backend.mod_mul(lifted, a), [i * i % n2.value for i in x], n2, (9,))
    reduced = lab.backend.reduce(lab.backend.mod_mul(lifted, a), p2)
    lab.same(lab.backend.mod_mul(reduced, reduced), [i**4 % p2.value for i in x], p2, (9,))


@pytest.mark.parametrize("count", [0, 1, 8, 9, 33])
def test_encode(lab: Lab, crt: CrtModulus, count: int) -> None:
    n, n2 = crt.n.value, crt.n_squared
    messages = messages_of(lab, crt, count)
    expected = [1 + m * n for m in messages]
    lab.same(lab.backend.encode(as_limbs(messages, crt), n2), expected, n2, (count,))
    times = lab.values(n2, count)
    result = lab.backend.encode(as_limbs(messages, crt), n2, lab.up(times, n2))
    lab.same(result, [e * t % n2.value for e, t in zip(expected, times, strict=True)], n2, (count,))


@pytest.mark.parametrize("shape", [(), (2, 0), (2, 3)])
def test_encode_keeps_the_shape(lab: Lab, some_crt: CrtModulus, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape, dtype=np.int64))
    n, n2 = some_crt.n.value, some_crt.n_squared
    messages, times = messages_of(lab, some_crt, count), lab.units(n2, count)
    limbs = as_limbs(messages, some_crt, shape)
    lab.same(lab.backend.encode(limbs, n2), [1 + m * n for m in messages], n2, shape)
    result = lab.backend.encode(limbs, n2, lab.up(times, n2, shape))
    lab.same(result, [(1 + m * n) * t % n2.value for m, t in zip(messages, times, strict=True)], n2, shape)


def test_encode_works_modulo_any_square(lab: Lab, some_crt: CrtModulus) -> None:
    p, p2 = some_crt.p, some_crt.p_squared
    messages = lab.values(Modulus(p), 9)
    limbs = limbs_from_ints(messages, Modulus(p).limbs)
    lab.same(lab.backend.encode(limbs, p2), [1 + m * p for m in messages], p2, (9,))


def test_encode_refuses_bad_operands(lab: Lab, some_crt: CrtModulus) -> None:
    n, n2 = some_crt.n, some_crt.n_squared
    good = as_limbs([1, 2], some_crt)
    encode = lab.backend.encode
    for bad in {n.value, (1 << 64 * n.limbs) - 1}:
        with pytest.raises(ParameterError):
            encode(as_limbs([0, bad], some_crt), n2)
    with pytest.raises(ParameterError):  # the modulus does not know its root
        encode(good, Modulus(n2.value))
    with pytest.raises(ParameterError):
        encode(good, n2, lab.up([1, 1], n))
    with pytest.raises(ParameterError):
        encode(good, n2, lab.up([1, 1], Modulus(n2.value)))
    with pytest.raises(ShapeError):
        encode(good, n2, lab.up([1], n2))
    with pytest.raises(ShapeError):
        encode(np.zeros((2, n.limbs + 1), dtype=np.uint64), n2)
    with pytest.raises(OperandTypeError):
        encode(good.astype(np.int64), n2)
    stranger = ReferenceBackend().upload(limbs_from_ints([1, 1], n2.limbs), n2)
    with pytest.raises(BackendMismatchError):
        encode(good, n2, stranger)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 33])
def test_decode_undoes_encode(lab: Lab, crt: CrtModulus, count: int) -> None:
    messages = messages_of(lab, crt, count)
    a_p, a_q = halves(lab, crt, [1 + m * crt.n.value for m in messages])
    result = lab.backend.decode(a_p, a_q, crt)
    assert result.shape == (count, crt.n.limbs)
    lab.same_ints(result, messages)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_decrypt(lab: Lab, crt: CrtModulus, count: int) -> None:
    messages = messages_of(lab, crt, count)
    result = lab.backend.decrypt(lab.up(ciphertexts(lab, crt, messages), crt.n_squared), crt)
    assert result.shape == (count, crt.n.limbs)
    lab.same_ints(result, messages)


@pytest.mark.parametrize("count", [3, 4, 5, 7, 8, 16, 17, 200])
def test_decrypt_of_batches_that_share_lanes_or_do_not(lab: Lab, some_crt: CrtModulus, count: int) -> None:
    messages = messages_of(lab, some_crt, count)
    result = lab.backend.decrypt(lab.up(ciphertexts(lab, some_crt, messages), some_crt.n_squared), some_crt)
    lab.same_ints(result, messages)


@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3), (17,)])
def test_decrypt_keeps_the_shape(lab: Lab, some_crt: CrtModulus, shape: tuple[int, ...]) -> None:
    messages = messages_of(lab, some_crt, int(np.prod(shape, dtype=np.int64)))
    values = ciphertexts(lab, some_crt, messages)
    result = lab.backend.decrypt(lab.up(values, some_crt.n_squared, shape), some_crt)
    assert result.shape == (*shape, some_crt.n.limbs)
    lab.same_ints(result, messages)
    a_p, a_q = halves(lab, some_crt, values)
    parts = lab.backend.reshape(a_p, shape), lab.backend.reshape(a_q, shape)
    result = lab.backend.decode(*parts, some_crt)
    assert result.shape == (*shape, some_crt.n.limbs)
    lab.same_ints(result, messages)


def test_decrypt_is_its_parts_in_one_call(lab: Lab, crt: CrtModulus) -> None:
    backend, p2, q2 = lab.backend, crt.p_squared, crt.q_squared
    a = lab.up(ciphertexts(lab, crt, messages_of(lab, crt, 9)), crt.n_squared)
    a_p = backend.mod_exp(backend.reduce(a, p2), ExponentArray.shared(crt.p - 1, crt.p.bit_length()))
    a_q = backend.mod_exp(backend.reduce(a, q2), ExponentArray.shared(crt.q - 1, crt.q.bit_length()))
    assert np.array_equal(backend.decode(a_p, a_q, crt), backend.decrypt(a, crt))


def largest_bound(crt: CrtModulus) -> int:
    """That one factor decides; -1 where there is none."""
    return ((-(-crt.p >> 128)) - 2) // 2


@pytest.mark.parametrize("count", [0, 1, 2, 9, 33])
def test_decrypt_bounded(lab: Lab, crt: CrtModulus, count: int) -> None:
    largest, n = largest_bound(crt), crt.n.value
    with pytest.raises(ParameterError, match="redundancy"):
        lab.backend.decrypt_bounded(lab.up([1], crt.n_squared), crt, largest + 1)
    for bound in {0, 1, largest // 3, largest} if largest >= 1 else ():
        special = [0, bound, -bound, 1 - bound, bound - 1, min(1, bound), bound + 1, -bound - 1]
        special += [n // 2, -(n // 2), crt.p - bound - 1, crt.p + bound + 1, crt.q]
        messages = [*special, *messages_of(lab, crt, 33)][:count]
        residues = lab.up(ciphertexts(lab, crt, [m % n for m in messages]), crt.n_squared)
        result = lab.backend.decrypt_bounded(residues, crt, bound)
        assert result.shape == (count, Modulus(crt.p).limbs)
        lab.same_ints(result, [(m + bound) % crt.p for m in messages])
        for message, shifted in zip(special, result, strict=False):  # none of these is near a multiple of p
            assert bool(less_than(shifted, 2 * bound + 1)) == (abs(message) <= bound)


@pytest.mark.parametrize("count", [3, 4, 5, 7, 8, 16, 17, 200])
def test_decrypt_bounded_of_batches_that_fill_groups_or_do_not(lab: Lab, long_crt: CrtModulus, count: int) -> None:
    messages = [(-1) ** i * i**3 for i in range(count)]
    residues = lab.up(ciphertexts(lab, long_crt, [m % long_crt.n.value for m in messages]), long_crt.n_squared)
    lab.same_ints(lab.backend.decrypt_bounded(residues, long_crt, 1 << 40), [m + (1 << 40) for m in messages])


@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_decrypt_bounded_keeps_the_shape(lab: Lab, long_crt: CrtModulus, shape: tuple[int, ...]) -> None:
    messages = list(range(int(np.prod(shape, dtype=np.int64))))
    residues = lab.up(ciphertexts(lab, long_crt, messages), long_crt.n_squared, shape)
    result = lab.backend.decrypt_bounded(residues, long_crt, 5)
    assert result.shape == (*shape, Modulus(long_crt.p).limbs)
    lab.same_ints(result, [m + 5 for m in messages])


def test_decrypt_bounded_refuses_bad_operands(lab: Lab, long_crt: CrtModulus) -> None:
    bounded, n2 = lab.backend.decrypt_bounded, long_crt.n_squared
    for bound in (-1, largest_bound(long_crt) + 1, long_crt.p, long_crt.n.value):
        with pytest.raises(ParameterError, match="redundancy"):
            bounded(lab.up([1], n2), long_crt, bound)
    with pytest.raises(ParameterError):
        bounded(lab.up([1], long_crt.p_squared), long_crt, 1)
    with pytest.raises(BackendMismatchError):
        bounded(ReferenceBackend().upload(limbs_from_ints([1], n2.limbs), n2), long_crt, 1)


def test_a_sum_and_a_difference_decrypt(lab: Lab, some_crt: CrtModulus) -> None:
    """Enc(m) * Enc(m') = Enc(m + m') and Enc(m)**-1 = Enc(-m): what the scheme above does."""
    backend, n, n2 = lab.backend, some_crt.n.value, some_crt.n_squared
    x, y = messages_of(lab, some_crt, 9), messages_of(lab, some_crt, 9)[::-1]
    a, b = (lab.up(ciphertexts(lab, some_crt, m), n2) for m in (x, y))
    lab.same_ints(backend.decrypt(backend.mod_mul(a, b), some_crt), [(i + j) % n for i, j in zip(x, y, strict=True)])
    difference = backend.mod_mul(a, backend.batch_invert(b))
    lab.same_ints(backend.decrypt(difference, some_crt), [(i - j) % n for i, j in zip(x, y, strict=True)])
    rows = [[5, -7, 0, 1, -1, 2, 3, -(2**20), 2**20 - 1]]
    dot = backend.multi_exp(a, lab.magnitudes(rows, 9, 21), lab.signs(rows, 9), 21)
    lab.same_ints(backend.decrypt(dot, some_crt), [sum(i * j for i, j in zip(x, rows[0], strict=True)) % n])


def test_halves_of_another_modulus_are_refused(lab: Lab, some_crt: CrtModulus) -> None:
    backend, p2, q2 = lab.backend, some_crt.p_squared, some_crt.q_squared
    a_p, a_q = halves(lab, some_crt, [1, 1])
    for operation in (backend.lift, backend.decode):
        with pytest.raises(ParameterError):
            operation(a_q, a_p, some_crt)
        with pytest.raises(ParameterError):
            operation(lab.up([1, 1], Modulus(p2.value)), a_q, some_crt)  # the modulus does not know its root
        with pytest.raises(ShapeError):
            operation(a_p, lab.up([1], q2), some_crt)
        with pytest.raises(BackendMismatchError):
            operation(a_p, ReferenceBackend().upload(limbs_from_ints([1, 1], q2.limbs), q2), some_crt)
    with pytest.raises(ParameterError):
        backend.decrypt(a_p, some_crt)
    stranger = ReferenceBackend().upload(limbs_from_ints([1], some_crt.n_squared.limbs), some_crt.n_squared)
    with pytest.raises(BackendMismatchError):
        backend.decrypt(stranger, some_crt)
