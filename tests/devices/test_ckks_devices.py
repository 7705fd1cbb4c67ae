"""CKKS whole on a device: numbers within the noise, and the very residues of the CPU wherever nothing random enters."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hecore
from hecore import ckks
from hecore.ckks import Ciphertext, EncryptedTensor, evaluator, polynomial, rotation, seal_wire
from hecore.ckks.encoding import encode
from hecore.ckks.public_decryption import surviving_bits
from hecore.errors import BackendMismatchError, SerializationError
from hecore.ring.prng import SeedKind
from tests.ckks.evaluation import CHAINS, DEGREE, SLOTS, agrees, keys, numbers

A, B = numbers(SLOTS, seed=1), numbers(SLOTS, seed=2)


def words(x: EncryptedTensor | Ciphertext) -> Any:
    ciphertext = x.ciphertext if isinstance(x, EncryptedTensor) else x
    return ciphertext.backend.ring_download(ciphertext.polynomials)


def like(result: Any, expected: Any, device: str) -> None:
    """`result` is what the CPU made, residue by residue, and lives on `device`."""
    assert result.device == device
    assert result.shape == expected.shape
    assert (result.level, result.scale) == (expected.level, expected.scale)
    np.testing.assert_array_equal(words(result), words(expected))


def cpu(values: Any, chain: str = "gadget") -> EncryptedTensor:
    """Encrypted on the CPU, with keys that live there."""
    with hecore.use("cpu"):
        return keys(chain).public_key.encrypt(values, bound=1.0)


@pytest.fixture(params=["gadget", "hybrid"])
def chain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def keys_on_the_cpu() -> None:
    """Keys are made once and cached: where, must not depend on which test comes first."""
    with hecore.use("cpu"):
        for chain in ("gadget", "hybrid"):
            keys(chain)


# -- what is random: the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", CHAINS)
def test_keys_made_on_the_device(device: str, chain: str) -> None:
    parameters = keys_parameters(chain)
    galois = [-1, 3] if parameters.special else None
    made = ckks.generate_keys(parameters, galois=galois, conjugation=parameters.special is not None)
    for key in (made.public_key, made.secret_key):
        x = key.encrypt(A, bound=1.0)
        assert x.device == device
        np.testing.assert_allclose(made.secret_key.decrypt(x), A, atol=x.ciphertext.noise / float(x.scale))
    if galois:
        y = (x * x).roll(1).conj()
        np.testing.assert_allclose(made.secret_key.decrypt(y), np.roll(A * A, 1), atol=1e-4)


def keys_parameters(chain: str) -> ckks.Parameters:
    return ckks.Parameters.insecure(ring_degree=DEGREE, scale=2**40, **CHAINS[chain])


def test_encryption_in_all_its_forms(device: str, chain: str) -> None:
    made = keys(chain)
    for key in (made.public_key, made.secret_key):
        for values in (A, numbers(3, 50), 0.25, A[:5] + 1j * B[:5]):
            x = key.encrypt(values, bound=2.0)
            assert x.device == device
            assert agrees(x, values, chain)
    again = [words(made.public_key.encrypt(A)) for _ in range(2)]
    assert (again[0] != again[1]).any(axis=-1).all()


@pytest.mark.parametrize("kind", SeedKind)
def test_a_seed_stands_for_its_half(device: str, kind: SeedKind) -> None:
    x = keys().secret_key.encrypt(A, bound=1.0, seed_kind=kind)
    assert agrees(x, A)
    assert x.ciphertext.seed is not None
    if kind is SeedKind.AES_CTR:
        sent = x.to_bytes()
        with hecore.use("cpu"):
            like(EncryptedTensor.from_bytes(sent, keys().public_key), x, "cpu")


def test_publication(device: str) -> None:
    parameters = ckks.Parameters.insecure(ring_degree=128, moduli_bits=[60, 60, 60, 60], scale=2**80)
    made = ckks.generate_keys(parameters)
    x = made.public_key.encrypt(A, bound=1.0)
    total = ckks.weighted_sum([x, x], [2, 3])
    bits = surviving_bits(total.ciphertext.noise / float(total.scale), total.size)
    assert bits > 30
    assert np.abs(made.secret_key.decrypt_public(total, bits) - 5 * A).max() <= 2.0**-bits


# -- what is not: the residues -------------------------------------------------------------------------------------

EVALUATIONS: dict[str, Callable[[Ciphertext, Ciphertext], Ciphertext]] = {
    "add": evaluator.add,
    "subtract": evaluator.subtract,
    "negate": lambda x, y: evaluator.negate(x),
    "add a number": lambda x, y: evaluator.add(x, 0.5),
    "multiply": evaluator.multiply,
    "square": lambda x, y: evaluator.square(x),
    "multiply by a number": lambda x, y: evaluator.multiply_rescale(x, 0.3),
    "multiply by an integer": lambda x, y: evaluator.multiply_rescale(x, 3),
    "add a plaintext": lambda x, y: evaluator.add(x, encode(B, x.parameters, bound=1.0)),
    "multiply by a plaintext": lambda x, y: evaluator.multiply_rescale(x, encode(B, x.parameters, bound=1.0)),
    "relinearize": lambda x, y: evaluator.relinearize(evaluator.multiply(x, y)),
    "rescale": lambda x, y: evaluator.rescale(evaluator.multiply(x, y)),
    "multiply, relinearize, rescale": evaluator.multiply_rescale,
    "drop": lambda x, y: evaluator.drop_to_level(x, 1),
    "rotate": lambda x, y: rotation.rotate(x, 5),
    "conjugate": lambda x, y: rotation.conjugate(x),
    "sum of rotations": lambda x, y: rotation.sum_of_rotations({1: x, -2: y}),
    "inner sum": lambda x, y: rotation.inner_sum(x, 8),
    "polynomial": lambda x, y: polynomial.evaluate(x, [0.5, 1.0, -0.25, 2.0]),
    "Chebyshev": lambda x, y: polynomial.chebyshev(x, [0.1, 0.4, 0.2, -0.3]),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_gives_the_residues_of_the_cpu(device: str, chain: str, name: str) -> None:
    x, y = cpu(A, chain).ciphertext, cpu(B, chain).ciphertext
    evaluate = EVALUATIONS[name]
    with hecore.use("cpu"):
        expected = evaluate(x, y)
    result = evaluate(x.to(device), y.to(device))
    like(result, expected, device)
    np.testing.assert_array_equal(keys(chain).secret_key.decrypt(result), keys(chain).secret_key.decrypt(expected))


def test_hoisted_rotations(device: str, chain: str) -> None:
    x = cpu(numbers(3, SLOTS), chain).ciphertext
    steps = [1, -4, 0, 7]
    for result, expected in zip(
        rotation.rotate_hoisted(x.to(device), steps), rotation.rotate_hoisted(x, steps), strict=True
    ):
        like(result, expected, device)


TENSORS: dict[str, Callable[[Any, Any], Any]] = {
    "expression": lambda x, y: (2 * x - y * 0.5 + numbers(SLOTS)) * x,
    "power": lambda x, y: x**3,
    "matrix on the right": lambda x, y: x.reshape(SLOTS) @ numbers(SLOTS, 6, seed=3),
    "matrix on the left": lambda x, y: numbers(7, SLOTS, seed=4) @ x,
    "dot": lambda x, y: x @ y,
    "sum": lambda x, y: x.sum(),
    "mean": lambda x, y: (x * y).mean(),
    "roll": lambda x, y: x.roll(3),
    "batch": lambda x, y: (ckks.stack([x, y, x + y])[::2] @ numbers(SLOTS, 3, seed=5)).sum(axis=0),
    "rows": lambda x, y: numbers(2, 3, seed=6) @ ckks.stack([x, y, x]),
    "weighted sum": lambda x, y: ckks.weighted_sum([x, y], [3, 5]),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_expression_gives_the_residues_of_the_cpu(device: str, chain: str, name: str) -> None:
    x, y = cpu(A, chain), cpu(B, chain)
    expression = TENSORS[name]
    with hecore.use("cpu"):
        expected = expression(x, y)
    result = expression(x.to(device), y.to(device))
    like(result, expected, device)
    assert result.padding == expected.padding


LONG: list[Callable[[EncryptedTensor], EncryptedTensor]] = [
    lambda x: x * x + 0.5,
    lambda x: x.sum(),
    lambda x: x.ravel() @ numbers(150, 3, seed=9),
]


def test_values_of_several_chunks(device: str) -> None:
    values = numbers(3, 50)
    x = cpu(values)
    with hecore.use("cpu"):
        expected = [operation(x) for operation in LONG]
    for operation, right in zip(LONG, expected, strict=True):
        like(operation(x.to(device)), right, device)


# -- moving, and bytes ---------------------------------------------------------------------------------------------


def test_bytes_go_from_device_to_cpu_and_back(device: str, chain: str) -> None:
    made = keys(chain)
    x = made.public_key.encrypt(A, bound=1.0) * 0.5
    sent = x.to_bytes()
    assert sent == x.to("cpu").to_bytes()
    with hecore.use("cpu"):
        there = EncryptedTensor.from_bytes(sent, made.public_key)
        assert there.device == "cpu"
        reply = (there + there).to_bytes()
    back = EncryptedTensor.from_bytes(reply, made.public_key)
    assert back.device == device
    assert agrees(back, A, chain)
    assert agrees(back.to("cpu"), A, chain)
    unpickled = pickle.loads(pickle.dumps(x.ciphertext))
    like(unpickled, x.ciphertext, device)


def test_keys_travel(device: str) -> None:
    """Keys made on a device, read on the CPU; keys read on a device."""
    made = ckks.generate_keys(keys_parameters("gadget"), galois=[1, -1])
    sent = made.public_key.to_bytes()
    with hecore.use("cpu"):
        theirs = ckks.PublicKey.from_bytes(sent, allow_insecure=True)
        x = (theirs.encrypt(A, bound=1.0) * 0.5).roll(-1)
        reply = x.to_bytes()
    got = EncryptedTensor.from_bytes(reply, made.public_key)
    assert got.device == device
    np.testing.assert_allclose(made.secret_key.decrypt(got), np.roll(A / 2, -1), atol=1e-4)
    ours = ckks.PublicKey.from_bytes(sent, allow_insecure=True)
    assert ours.to_bytes() == sent
    y = ours.encrypt(B, bound=1.0)
    np.testing.assert_allclose(made.secret_key.decrypt(y * y), B * B, atol=1e-4)


def test_seal_bytes(device: str) -> None:
    made, parameters = keys(), keys().public_key.parameters
    x = made.public_key.encrypt(A, bound=1.0).ciphertext
    written = seal_wire.write_ciphertexts(x)
    assert written == seal_wire.write_ciphertexts(x.to("cpu"))
    back = seal_wire.read_ciphertexts(written, parameters, made.public_key.key_id)
    like(back, x, device)
    key = seal_wire.write_secret_key_unprotected(made.secret_key)
    theirs = seal_wire.read_secret_key(key, parameters)
    assert theirs.polynomial.backend.name == device
    np.testing.assert_array_equal(theirs.digits(), made.secret_key.digits())


def test_a_tensor_stays_where_it_is(device: str) -> None:
    x = keys().public_key.encrypt(A, bound=1.0)
    with hecore.use("reference"):
        y = x * x + A
        assert y.device == device
        assert agrees(y, A * A + A)
        elsewhere = keys().public_key.encrypt(A, bound=1.0)
    if device != "reference":
        with pytest.raises(BackendMismatchError, match=rf"'{device}'.*\.to\("):
            x + elsewhere
        with pytest.raises(BackendMismatchError):
            ckks.stack([x, elsewhere])


def test_hostile_bytes_meet_the_same_errors(device: str) -> None:
    x = keys().public_key.encrypt(A, bound=1.0)
    sent = bytearray(x.to_bytes())
    sent[len(sent) // 2] ^= 1
    with pytest.raises(SerializationError):
        EncryptedTensor.from_bytes(bytes(sent), keys().public_key)
