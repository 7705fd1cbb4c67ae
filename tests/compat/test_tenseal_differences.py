"""Where `hecore.compat.tenseal` differs from the peer on purpose, as docs/compat-tenseal.md lists it."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hecore.compat import tenseal as ts
from hecore.errors import (
    HecoreError,
    KeyMismatchError,
    OperandTypeError,
    ParameterError,
    PlaintextRangeError,
    ScaleError,
    SerializationError,
)

MODULI = [30, 24, 24, 31]
SCALE = 2.0**24


def new_context(**options: Any) -> ts.Context:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=MODULI, **options)
    context.global_scale = SCALE
    return context


@pytest.fixture(scope="module")
def context() -> ts.Context:
    context = new_context()
    context.generate_galois_keys()
    return context


@pytest.fixture(scope="module")
def other() -> ts.Context:
    return new_context()


@pytest.fixture(scope="module")
def symmetric() -> ts.Context:
    return new_context(encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC)


def close(found: Any, expected: Any, tolerance: float = 0.02) -> bool:
    values = np.asarray(found.decrypt().tolist() if isinstance(found, ts.CKKSTensor) else found.decrypt())
    return values.shape == np.shape(expected) and bool(np.allclose(values, expected, rtol=0, atol=tolerance))


# -- keys --------------------------------------------------------------------------------------------------


def test_tensors_of_two_keys_do_not_mix(context: ts.Context, other: ts.Context) -> None:
    x, y = ts.ckks_vector(context, [1, 2]), ts.ckks_vector(other, [3, 4])
    for operation in (x.add, x.sub, x.mul, x.dot, x.add_, x.mul_):
        with pytest.raises(KeyMismatchError):
            operation(y)
    with pytest.raises(KeyMismatchError):
        ts.ckks_tensor(context, [1, 2]).dot(ts.ckks_tensor(other, [1, 2]))
    with pytest.raises(KeyMismatchError):
        x.decrypt(other.secret_key())
    with pytest.raises(KeyMismatchError):
        context.copy().generate_galois_keys(other.secret_key())
    with pytest.raises(KeyMismatchError):
        x.copy().link_context(other)
    assert close(x, [1, 2])


def test_a_tensor_is_not_read_under_another_key(context: ts.Context, other: ts.Context) -> None:
    with pytest.raises(KeyMismatchError):
        ts.ckks_vector_from(other, ts.ckks_vector(context, [1, 2]).serialize())
    with pytest.raises(KeyMismatchError):
        ts.ckks_tensor_from(other, ts.ckks_tensor(context, [1, 2]).serialize())


def test_copies_and_bytes_of_a_context_stay_of_one_key(context: ts.Context) -> None:
    loaded = ts.context_from(context.serialize())
    total = ts.ckks_vector(context, [1, 2]) + ts.ckks_vector(loaded, [3, 4]) + ts.ckks_vector(context.copy(), [5, 6])
    assert close(total, [9, 12])
    foreign = ts.ckks_vector(loaded, [1, 2])
    foreign.link_context(context)
    assert close(foreign, [1, 2])


def test_a_public_context_decrypts_nothing(context: ts.Context) -> None:
    public = context.copy()
    assert public.decryptor().data is not None
    public.make_context_public()
    with pytest.raises(ts.ContextError):
        public.decryptor()
    with pytest.raises(ValueError, match="doesn't hold a secret_key"):
        ts.ckks_vector(public, [1]).decrypt()
    assert context.is_private()


def test_other_parameters(context: ts.Context) -> None:
    small = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[30, 30])
    small.global_scale = SCALE
    x = ts.ckks_vector(context, [1.0])
    with pytest.raises(ValueError, match="different contexts"):
        x.add(ts.ckks_vector(small, [1.0]))
    with pytest.raises(ParameterError):
        x.link_context(small)
    with pytest.raises(ParameterError):
        x.decrypt(small.secret_key())


# -- scales and levels ---------------------------------------------------------------------------------------


def test_scales_are_exact(context: ts.Context) -> None:
    """Routes of several lengths to one level meet there; the peer is off by the ratio of prime and scale."""
    x = ts.ckks_vector(context, [0.5, -1.0, 1.5])
    value = np.array([0.5, -1.0, 1.5])
    assert close(x * x + x * 0.5 + x + [1, 2, 3] + 1, value**2 + value * 1.5 + [2, 3, 4], 2e-3)
    assert close(x * x * x - x * x + x, value**3 - value**2 + value, 2e-2)
    squared = x * x
    first, second = squared.ciphertext()[0].scale, (x * [1, 1, 1]).ciphertext()[0].scale
    assert first == second != SCALE
    assert squared.scale() == SCALE


def test_primes_of_another_size_than_the_scale() -> None:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 30, 60])
    context.global_scale = 2**40
    x = ts.ckks_vector(context, [1, 2, 3])
    assert close(x * x, [1, 4, 9], 1e-4)
    with pytest.raises(ScaleError, match="scale out of bounds"):
        (x * x) * (x * x)


def test_errors_in_the_peers_words_have_a_cause_that_helps(context: ts.Context) -> None:
    x = ts.ckks_vector(context, [1, 2])
    bottom = x * x * x
    with pytest.raises(ValueError, match="^scale out of bounds$") as caught:
        bottom.mul(bottom)
    assert isinstance(caught.value.__cause__, HecoreError)
    assert "moduli_bits" in str(caught.value.__cause__)
    strict = context.copy()
    strict.auto_rescale = False
    y = ts.ckks_vector(strict, [1, 2])
    with pytest.raises(ValueError, match="^scale mismatch$"):
        (y * y).add(y)


def test_operands_never_change(context: ts.Context) -> None:
    x = ts.ckks_vector(context, [1, 2, 3])
    low = x * x
    before = x.ciphertext()[0].coeff_modulus_size()
    for operation in (low.add, low.mul):
        operation(x)
    ts.ckks_vector(context, [1, 2]).sum().mul(x)
    assert x.ciphertext()[0].coeff_modulus_size() == before == 3


def test_flags(context: ts.Context) -> None:
    lazy = context.copy()
    lazy.auto_relin = False
    x = ts.ckks_vector(lazy, [1.5, -2])
    product = x * x
    assert product.ciphertext()[0].size() == 3
    # Rescaling three parts leaves d * s^2, with d(slot) ~ sqrt(N / 24) and |s(slot)|^2 exponential about 2 N / 3: 0.002
    # at this scale in a key's average slot, fifteen times that in one slot of a million.
    assert close(product + product, [4.5, 8], 0.3)
    assert close(product * x, [3.375, -8], 0.5)
    assert close(product.sum(), [6.25], 0.5)
    strict = context.copy()
    strict.auto_mod_switch = False
    y = ts.ckks_vector(strict, [1.5, -2])
    calls: list[Callable[[], Any]] = [lambda: y * y + y, lambda: (y * y).mul(y), lambda: y * y + 1]
    for call in calls:
        with pytest.raises(ValueError, match="parameter mismatch"):
            call()
    public = context.copy()
    public.make_context_public()
    public.auto_relin = False
    assert not public.auto_relin


# -- what the peer gets wrong --------------------------------------------------------------------------------


def test_plain_summands_take_part_in_matrix_products(context: ts.Context) -> None:
    matrix = np.arange(9).reshape(3, 3) / 8
    total = ts.ckks_vector(context, [1, 2, 3]) + [10, 20, 30]
    assert close(total.mm(matrix), np.array([11, 22, 33]) @ matrix, 0.1)


@pytest.mark.parametrize("reload", [False, True])
def test_vectors_whose_slots_do_not_repeat(context: ts.Context, reload: bool) -> None:
    """After a sum, from bytes that do not say so, or rotated: broadcasting, packing and products are right."""

    def through(vector: ts.CKKSVector) -> ts.CKKSVector:
        if not reload:
            return vector
        data = vector.serialize()
        return ts.ckks_vector_from(context, data[: data.rindex(b"\xc2\x3e")])  # without our own field

    values = np.array([0.5, -1.0, 2.0])
    x = through(ts.ckks_vector(context, values))
    total = through(x.sum())
    assert close(total, [1.5])
    assert close(through(ts.ckks_vector(context, [2.0])) * x, 2 * values, 0.05)
    assert close(total + x, values + 1.5, 0.05)
    packed = ts.CKKSVector.pack_vectors([x, through(ts.ckks_vector(context, values + 1)), x])
    assert close(packed, [*values, *(values + 1), *values], 0.1)
    for shape in ((3, 3), (3, 1), (3, 2), (3, 8)):
        matrix = np.arange(shape[0] * shape[1]).reshape(shape) / 16
        assert close(x.mm(matrix), values @ matrix, 0.05)
    four = through(ts.ckks_vector(context, [1, 2, 3, 4.0]))
    for columns in (1, 2, 4, 7):
        matrix = np.arange(4 * columns).reshape(4, columns) / 16
        assert close(four.mm(matrix), np.array([1, 2, 3, 4]) @ matrix, 0.1)


def test_a_matrix_that_fills_the_slots(context: ts.Context) -> None:
    """Blocks before the first slot and at the last one share slots."""
    values = np.linspace(-1, 1, 2047)
    matrix = np.sin(np.arange(2047 * 3)).reshape(2047, 3) / 64
    assert close(ts.ckks_vector(context, values).mm(matrix), values @ matrix, 0.2)


def test_unbatched_and_batched_tensors(context: ts.Context) -> None:
    values = np.arange(6).reshape(2, 3) / 2
    batched, flat = ts.ckks_tensor(context, values, batch=True), ts.ckks_tensor(context, [1.0, 2, 3])
    for left, right in ((batched, flat), (flat, batched)):
        assert close(left * right, values * [1, 2, 3], 0.05)
    with pytest.raises(ValueError, match="different batches"):
        batched.add(ts.ckks_tensor(context, np.ones((3, 3)), batch=True))
    assert close(batched**0, np.ones((2, 3)))
    assert close(batched.dot(flat), values @ [1, 2, 3], 0.05)
    assert close(batched.sum_batch(), values.sum(0), 0.05)


def test_kernels_of_any_shape(context: ts.Context) -> None:
    image = np.arange(20).reshape(4, 5) / 20
    kernel = np.array([[1.0, -2, 3], [0.5, 1, -1]])
    encrypted, windows = ts.im2col_encoding(context, ts.plain_tensor(image), 2, 3, 1)
    expected = [(image[i : i + 2, j : j + 3] * kernel).sum() for i in range(3) for j in range(3)]
    assert windows == 9
    assert close(encrypted.conv2d_im2col(kernel, windows), expected, 0.1)
    with pytest.raises(ValueError, match="window"):
        ts.im2col_encoding(context, image, 5, 1, 1)
    matrix = ts.enc_matmul_encoding(context, ts.plain_tensor(image))
    assert close(matrix.enc_matmul_plain(image[0], 4), image @ image[0], 0.1)


def test_indices(context: ts.Context) -> None:
    values = np.arange(6).reshape(2, 3) / 2
    tensor = ts.ckks_tensor(context, values)
    for index, expected in (
        (-1, values[1:]),
        (slice(None, None, 2), values[::2]),
        ((0, slice(1, None)), values[:1, 1:]),
    ):
        assert close(tensor[index], expected)
    rows: Any = tensor
    assert len(list(rows)) == 2
    outside: list[Any] = [2, -3, slice(5, 9), (0, 0, 0)]
    for index in outside:
        with pytest.raises(IndexError):
            tensor[index]
    with pytest.raises(TypeError):
        tensor["a"]


def test_lazy_tensors_need_their_context(context: ts.Context) -> None:
    lazy = ts.lazy_ckks_vector_from(ts.ckks_vector(context, [1, 2]).serialize())
    for call in (lazy.size, lazy.neg, lazy.decrypt, lazy.ciphertext, lambda: lazy + 1, lambda: lazy.shape):
        with pytest.raises(ts.ContextError, match="missing context"):
            call()
    twin = copy.deepcopy(lazy)
    assert lazy.serialize() == twin.serialize()
    twin.link_context(context)
    assert close(twin, [1, 2])


def test_contexts_without_their_public_key(context: ts.Context) -> None:
    loaded = ts.context_from(context.serialize(save_public_key=False, save_galois_keys=False))
    assert not loaded.has_public_key()
    assert ts.context_from(loaded.serialize()).has_relin_keys()
    with pytest.raises(TypeError, match="public key"):
        loaded.public_key()
    with pytest.raises(ValueError, match="support encryption"):
        loaded.encryptor()
    assert context.encryptor().data is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 2**2000])
def test_global_scale(value: float) -> None:
    with pytest.raises((ScaleError, OperandTypeError)):
        new_context().global_scale = value


def test_scales_below_one_lose_everything(context: ts.Context) -> None:
    with pytest.raises(ScaleError):
        ts.ckks_vector(context, [1], 0.5)


def test_a_product_with_zero_is_a_fresh_encryption(context: ts.Context) -> None:
    x = ts.ckks_vector(context, [1, 2])
    for factor in (0, 0.0, [0, 0], 1e-30):
        first, second = x * factor, x * factor
        assert close(first, [0, 0])
        assert first.serialize() != second.serialize()
        assert close(first + x * x, [1, 4], 0.05)
    tensor = ts.ckks_tensor(context, [1.0, 2.0, 3.0])
    partly = tensor * [1, 0, 2]
    assert close(partly, [1, 0, 6], 0.05)
    assert partly[1:2].serialize() != (tensor * [1, 0, 2])[1:2].serialize()
    public = ts.context_from(context.serialize(save_public_key=False))
    with pytest.raises(ts.ContextError):
        ts.ckks_vector_from(public, x.serialize()).mul(0)


# -- what the peer refuses -----------------------------------------------------------------------------------


def test_numpy_on_either_side(context: ts.Context) -> None:
    values = np.array([0.5, -1.0, 2.0])
    x = ts.ckks_vector(context, values)
    for number in (np.float32(2), np.float64(2), np.int64(2), np.int8(2), np.array(2.0), np.bool_(True), 2**40 / 2**39):
        factor = float(number)
        assert close(x * number, values * factor, 0.05)
        assert close(number * x, values * factor, 0.05)
        assert close(number - x, factor - values, 0.05)
    row = np.array([1.0, 2.0, 3.0])
    assert isinstance(row + x, ts.CKKSVector)
    assert close(row + x, row + values)
    assert close(row - x, row - values)
    assert close(row * x, row * values, 0.05)
    matrix = np.arange(6).reshape(2, 3) / 4
    assert close(matrix @ x, matrix @ values, 0.05)
    tensor = ts.ckks_tensor(context, matrix)
    assert close(matrix - tensor, np.zeros((2, 3)))
    assert close(matrix.T @ tensor, matrix.T @ matrix, 0.05)
    assert close(np.float32(2) * tensor, 2 * matrix, 0.05)
    with pytest.raises(PlaintextRangeError):
        x.add(2**2000)


def test_vector_scale_and_constant_polynomials(context: ts.Context) -> None:
    x = ts.ckks_vector(context, [1, 2], 2**20)
    assert x.scale() == 2**20
    assert close(ts.ckks_vector(context, [1, 2]).polyval([2.5]), [2.5, 2.5])
    assert close(ts.ckks_tensor(context, [1.0, 2]).polyval([2.5]), [2.5, 2.5])


def test_pickles_hold_no_secret_key(context: ts.Context, symmetric: ts.Context) -> None:
    for source in (context, symmetric):
        x, y = ts.ckks_vector(source, [1, 2]), ts.ckks_tensor(source, [[1.0, 2]], batch=True)
        data = pickle.dumps((source, x, y, x))
        loaded, first, second, third = pickle.loads(data)
        assert loaded.is_public()
        assert first is third
        assert first.context().data is second.context().data is loaded.data
        with pytest.raises(ValueError, match="secret_key"):
            first.decrypt()
        assert np.allclose(first.decrypt(source.secret_key()), [1, 2], atol=0.02)
        assert np.allclose(second.decrypt(source.secret_key()).tolist(), [[1, 2]], atol=0.02)
        assert (loaded.global_scale, loaded.auto_relin) == (SCALE, True)
    assert pickle.loads(pickle.dumps(ts.lazy_ckks_vector_from(x.serialize()))).serialize() == x.serialize()
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(context.secret_key())
    with pytest.raises(TypeError, match="never pickled"):
        copy.copy(context.secret_key())


def test_copies_are_independent_and_keep_the_secret_key(context: ts.Context) -> None:
    for twin in (copy.copy(context), copy.deepcopy(context), context.copy()):
        twin.global_scale = 2.0**20
        twin.auto_relin = False
        twin.make_context_public()
        assert (context.global_scale, context.auto_relin, context.is_private()) == (SCALE, True, True)
    x = ts.ckks_vector(context, [1, 2])
    for vector in (copy.copy(x), copy.deepcopy(x), x.copy()):
        vector += 1
        vector.context().make_context_public()
        assert close(x, [1, 2])


def test_saving_the_secret_key_warns(context: ts.Context) -> None:
    with pytest.warns(ts.InsecureWarning, match="in the clear"):
        data = context.serialize(save_secret_key=True)
    with pytest.warns(ts.InsecureWarning):
        small = context.serialize(save_secret_key=True, save_galois_keys=False)
    assert not ts.context_from(small).has_galois_keys()
    loaded = ts.context_from(data)
    assert loaded.is_private()
    assert loaded.has_galois_keys()
    assert loaded.has_relin_keys()
    assert ts.ckks_vector_from(loaded, ts.ckks_vector(context, [3.0]).serialize()).decrypt()[0] == pytest.approx(
        3, abs=0.02
    )
    public = context.copy()
    public.make_context_public()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert public.serialize(save_secret_key=True)


def test_symmetric_bytes_are_half_as_long(context: ts.Context, symmetric: ts.Context) -> None:
    values = np.linspace(-1, 1, 5000)
    full, seeded = ts.ckks_vector(context, values).serialize(), ts.ckks_vector(symmetric, values).serialize()
    assert len(seeded) < 0.55 * len(full)
    loaded = ts.ckks_vector_from(symmetric, seeded)
    assert close(loaded, values)
    tensor = ts.ckks_tensor(symmetric, values[:20].reshape(4, 5))
    assert close(ts.ckks_tensor_from(symmetric, tensor.serialize()), values[:20].reshape(4, 5))
    single = ts.ckks_vector(symmetric, [1.0])
    assert len(ts.ckks_vector_from(symmetric, single.serialize()).serialize()) == pytest.approx(
        len(single.serialize()), rel=0.01
    )
    assert len((single + single).serialize()) > 1.8 * len(single.serialize())


def test_bfv_comes_later(context: ts.Context) -> None:
    calls: list[Any] = [
        lambda: ts.context(ts.SCHEME_TYPE.BFV, 4096, 1032193),
        lambda: ts.bfv_vector(context, [1]),
        lambda: ts.bfv_vector_from(context, b""),
        lambda: ts.lazy_bfv_vector_from(b""),
        lambda: ts.bfv_tensor(context, [1]),
        lambda: ts.bfv_tensor_from(context, b""),
        lambda: ts.lazy_bfv_tensor_from(b""),
        lambda: ts.BFVVector.pack_vectors([]),
    ]
    for call in calls:
        with pytest.raises(ts.SchemeNotSupportedError, match="later release"):
            call()


@pytest.mark.parametrize("length", [0, 1, 20, 200, 5000])
def test_truncated_bytes(context: ts.Context, length: int) -> None:
    vector = ts.ckks_vector(context, [1, 2]).serialize()
    tensor = ts.ckks_tensor(context, [1, 2]).serialize()
    for load, data in (
        (ts.context_from, context.serialize(save_galois_keys=False)),
        (lambda d: ts.ckks_vector_from(context, d), vector),
        (lambda d: ts.ckks_tensor_from(context, d), tensor),
    ):
        with pytest.raises(SerializationError):
            load(data[:length])


def test_insecure_chains_name_the_table() -> None:
    with pytest.raises(ValueError, match="2018"):
        ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[60, 60])


def test_native_objects(context: ts.Context) -> None:
    chain = context.seal_context().data
    assert chain.parameters_set()
    assert chain.using_keyswitching()
    assert chain.last_context_data().total_coeff_modulus_bit_count() == 30
    assert chain.key_context_data().parms().coeff_modulus()[0].bit_length() == 30
    assert context.galois_keys().data.size() == 22
    assert context.galois_keys().data.has_key(3)
    assert context.relin_keys().data.size() == 1
    key_level = chain.key_context_data().parms_id()
    for key in (context.public_key(), context.secret_key(), context.galois_keys(), context.relin_keys()):
        assert key.data.parms_id() == key_level
    with pytest.raises(TypeError, match="must be of type"):
        ts.enc_context.SecretKey(5)
