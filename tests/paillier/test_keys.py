"""Keys: generation, every constructor's refusals, reports, and what must never show."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from math import gcd

import numpy as np
import pytest

from hecore.arith.number_theory import jacobi
from hecore.arith.primes import is_prime
from hecore.errors import (
    HecoreError,
    InsecureParametersError,
    MalformedKeyError,
    OperandTypeError,
    ParameterError,
    PlaintextRangeError,
)
from hecore.paillier import PublicKey, SecretKey, generate_insecure_keypair, generate_keypair, validation
from hecore.paillier.params import MAX_KEY_BITS, min_randomness_bits, security_bits

P, Q = 1019, 1543  # both 3 mod 4, gcd(P-1, Q-1) = 2
N = P * Q
H = N - pow(5, 2, N)
PRIME = 2**127 - 1


@pytest.fixture(scope="module")
def secure_keys() -> tuple[PublicKey, SecretKey]:
    return generate_keypair(2048)


def blum_prime(bits: int, below: int = 0) -> int:
    """A prime = 3 mod 4 just below 2**bits - `below`."""
    candidate = (1 << bits) - 1 - below
    candidate -= (candidate - 3) % 4
    while not is_prime(candidate):
        candidate -= 4
    return candidate


# -- generation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_bits", [16, 18, 64, 130, 512])
def test_generated_keys_are_what_djn_asks_for(key_bits: int) -> None:
    public_key, secret_key = generate_insecure_keypair(key_bits)
    p, q, n, h = secret_key.crt.p, secret_key.crt.q, public_key.n, public_key.h
    assert h is not None
    assert p * q == n
    assert n.bit_length() == public_key.key_bits == key_bits
    assert p % 4 == q % 4 == 3
    assert gcd(p - 1, q - 1) == 2
    assert jacobi(h, p) == jacobi(h, q) == -1  # a non-residue times a square: -x**2
    assert public_key.hs == pow(h, n, n * n)
    assert public_key.n_squared.value == n * n
    assert public_key.n_squared.square_of is not None
    assert public_key.randomness_bits == key_bits // 2


def test_two_keys_differ() -> None:
    assert generate_insecure_keypair(128)[0] != generate_insecure_keypair(128)[0]


def test_a_key_at_the_floor(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    public_key, secret_key = secure_keys
    assert public_key.key_bits == 2048
    assert public_key.randomness_bits == 1024
    assert public_key.validate(strict=True).passed
    assert PublicKey(public_key.n, public_key.h) == public_key
    assert SecretKey(PublicKey(public_key.n), secret_key.crt.q, secret_key.crt.p).crt.p == secret_key.crt.p


@pytest.mark.parametrize("key_bits", [-2, 0, 16, 1024, 2046, 2047])
def test_no_key_below_the_floor(key_bits: int) -> None:
    with pytest.raises(InsecureParametersError, match="generate_insecure_keypair"):
        generate_keypair(key_bits)


@pytest.mark.parametrize("key_bits", [2049, MAX_KEY_BITS + 2])
def test_no_key_of_odd_or_excessive_size(key_bits: int) -> None:
    with pytest.raises(ParameterError, match="even and at most"):
        generate_keypair(key_bits)


@pytest.mark.parametrize("key_bits", [-16, 0, 14, 17, MAX_KEY_BITS + 2])
def test_not_even_an_insecure_key_of_that_size(key_bits: int) -> None:
    with pytest.raises(ParameterError):
        generate_insecure_keypair(key_bits)


@pytest.mark.parametrize("key_bits", [2048.0, "2048", None, True, np.bool_(True)])
@pytest.mark.parametrize("generate", [generate_keypair, generate_insecure_keypair])
def test_a_size_is_an_integer(generate: Callable[..., object], key_bits: object) -> None:
    with pytest.raises(OperandTypeError, match="key_bits"):
        generate(key_bits)


def test_a_numpy_size_is_an_integer_too() -> None:
    assert generate_insecure_keypair(np.int64(64))[0].key_bits == 64  # type: ignore[arg-type]


# -- randomness length -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("key_bits", "strength"), [(16, 0), (1024, 80), (2048, 112), (3072, 128), (4096, 152)])
def test_strengths(key_bits: int, strength: int) -> None:
    assert security_bits(key_bits) == strength
    assert min_randomness_bits(key_bits) <= key_bits // 2


def test_a_shorter_exponent_is_explicit_and_bounded(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    n, h = secure_keys[0].n, secure_keys[0].h
    assert PublicKey(n, h, randomness_bits=224).randomness_bits == 224
    assert PublicKey(n, h, randomness_bits=224) != secure_keys[0]  # it rests on another assumption
    with pytest.raises(InsecureParametersError, match="224"):
        PublicKey(n, h, randomness_bits=223)
    with pytest.raises(ParameterError, match="add nothing"):
        PublicKey(n, h, randomness_bits=2049)
    with pytest.raises(OperandTypeError):
        PublicKey(n, h, randomness_bits=512.0)  # type: ignore[arg-type]
    with pytest.raises(InsecureParametersError):
        generate_insecure_keypair(64, randomness_bits=0)


# -- public keys: refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "requirement"),
    [
        (-N, "at least 15"),
        (0, "at least 15"),
        (1, "at least 15"),
        (9, "at least 15"),
        ((1 << MAX_KEY_BITS) + 1, "at most"),
        (2 * N, "odd"),
        (1 << 64, "odd"),
        (PRIME, "composite"),
        (17, "composite"),
        (P**2, "perfect power"),
        (P**3, "perfect power"),
        (N**2, "perfect power"),
        (3**40, "perfect power"),
    ],
)
def test_malformed_moduli(n: int, requirement: str) -> None:
    with pytest.raises(MalformedKeyError, match=requirement):
        PublicKey.insecure(n)


def test_malformed_moduli_of_full_size(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    p, q, n = secure_keys[1].crt.p, secure_keys[1].crt.q, secure_keys[0].n
    prime = blum_prime(2048)
    for modulus, requirement in [(n + 1, "odd"), (prime, "composite"), (p * p << 2, "odd"), (n * n, "perfect power")]:
        with pytest.raises(MalformedKeyError, match=requirement):
            PublicKey(modulus)
    with pytest.raises((MalformedKeyError, InsecureParametersError)):
        PublicKey(max(p, q) ** 2)


@pytest.mark.parametrize(
    ("h", "requirement"),
    [
        (0, "(1, n-1)"),
        (1, "(1, n-1)"),
        (N - 1, "(1, n-1)"),
        (N, "(1, n-1)"),
        (H + N, "(1, n-1)"),
        (-5, "(1, n-1)"),
        (P, "gcd"),
        (3 * Q, "gcd"),
        (next(h for h in range(2, N) if jacobi(h, N) == -1), "Jacobi"),
    ],
)
def test_malformed_generators(h: int, requirement: str) -> None:
    with pytest.raises(MalformedKeyError, match=requirement.replace("(", r"\(").replace(")", r"\)")):
        PublicKey.insecure(N, h)


def test_a_generator_needs_a_modulus_that_can_be_blum() -> None:
    assert PublicKey.insecure(1019 * 1033).h is None  # 3 mod 4 times 1 mod 4
    with pytest.raises(MalformedKeyError, match="1 mod 4"):
        PublicKey.insecure(1019 * 1033, 4)


@pytest.mark.parametrize("value", [None, 15.0, "15", b"15", True, [N]])
def test_numbers_of_a_key_are_integers(value: object) -> None:
    with pytest.raises(OperandTypeError, match="integer"):
        PublicKey.insecure(value)  # type: ignore[arg-type]
    if value is not None:
        with pytest.raises(OperandTypeError, match="integer"):
            PublicKey.insecure(N, value)  # type: ignore[arg-type]


def test_a_small_modulus_needs_the_insecure_name() -> None:
    with pytest.raises(InsecureParametersError, match="PublicKey.insecure"):
        PublicKey(N, H)
    assert PublicKey.insecure(N, H).key_bits == N.bit_length()


# -- validation ------------------------------------------------------------------------------------------


def test_the_report_names_what_fails_and_what_nobody_can_check(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    report = secure_keys[0].validate()
    assert report.passed
    assert report.failures == ()
    assert "needs a proof" in str(report)
    assert str(report).count("ok") >= len(report.checks)

    assert len(report.not_checked) == 3
    assert len(PublicKey(secure_keys[0].n).validate().not_checked) == 1

    small = PublicKey.insecure(N, H).validate()
    assert not small.passed
    assert [text for text in small.failures if "2048 bits" in text]
    with pytest.raises(MalformedKeyError, match="2048 bits"):
        PublicKey.insecure(N, H).validate(strict=True)


def test_the_report_finds_small_factors() -> None:
    key = PublicKey(blum_prime(20) * blum_prime(2040))
    assert any("no prime factor" in text for text in key.validate().failures)
    with pytest.raises(MalformedKeyError, match="no prime factor"):
        key.validate(strict=True)


def test_the_report_finds_an_h_that_hides_nothing() -> None:
    """3 divides 7-1, and 16 is 1 mod 3 and of order 3 mod 7: its 21st power mod 441 is 1, every message would show."""
    key = PublicKey.insecure(21, 16)
    assert key.hs == 1
    assert any("neither 1 nor -1" in text for text in key.validate().failures)


# -- secret keys: refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "h", "p", "q", "requirement"),
    [
        (N, H, P, 1549, "p * q = n"),
        (N, H, N, 1, "odd, distinct"),
        (N, H, -P, -Q, "odd, distinct"),
        (N, H, 2, N, "odd, distinct"),
        (N, H, P, P, "odd, distinct"),
        (3 * 5 * 7 * 11, None, 15, 77, "prime"),
        (3 * 7, None, 3, 7, "gcd(n, (p-1)*(q-1)) = 1"),
        (13 * 17, 4, 13, 17, "3 mod 4"),
        (7 * 19, 133 - 4, 7, 19, "gcd(p-1, q-1) = 2"),
        (N, 4, P, Q, "h = -x**2"),
    ],
)
def test_malformed_secret_keys(n: int, h: int | None, p: int, q: int, requirement: str) -> None:
    with pytest.raises(MalformedKeyError) as caught:
        SecretKey(PublicKey.insecure(n, h), p, q)
    assert requirement in str(caught.value)


def test_secret_keys_of_the_wrong_types() -> None:
    public_key = PublicKey.insecure(N, H)
    for arguments in [(N, P, Q), (public_key, float(P), Q), (public_key, P, str(Q)), (public_key, P, None)]:
        with pytest.raises(OperandTypeError):
            SecretKey(*arguments)  # type: ignore[arg-type]


def test_a_full_size_modulus_of_bad_shape() -> None:
    close = blum_prime(1024), blum_prime(1024, below=1 << 20)
    with pytest.raises(MalformedKeyError, match="Fermat"):
        SecretKey(PublicKey(close[0] * close[1]), *close)
    lopsided = blum_prime(1000), blum_prime(1050)
    with pytest.raises(MalformedKeyError, match="lengths"):
        SecretKey(PublicKey(lopsided[0] * lopsided[1]), *lopsided)


# -- what shows, and what is copied ----------------------------------------------------------------------


def leaks(text: str, *numbers: int) -> bool:
    """Whether the text carries a number, or a good part of one, in decimal or hexadecimal."""
    return any(form[:12] in text or form[-12:] in text for number in numbers for form in (str(number), f"{number:x}"))


def test_secrets_never_show(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    public_key, secret_key = secure_keys
    p, q = secret_key.crt.p, secret_key.crt.q
    for thing in (secret_key, secret_key.crt, public_key, secret_key.crt.p_squared, secret_key.crt.q_squared):
        assert not leaks(repr(thing) + str(thing) + f"{thing}", p, q, p * p, q * q)
    assert leaks(f"{p}", p)


def test_errors_about_secrets_carry_none_of_them(secure_keys: tuple[PublicKey, SecretKey]) -> None:
    public_key, secret_key = secure_keys
    p, q = secret_key.crt.p, secret_key.crt.q
    other = PublicKey.insecure(N, H)
    attempts: list[tuple[object, object, object]] = [
        (other, p, q),
        (public_key, p, q + 2),
        (public_key, p * 3, q),
        (public_key, str(p), q),
        (public_key, p, float(2**1023)),
        (p, p, q),
        (PublicKey(p * blum_prime(1024)), p, q),
    ]
    for arguments in attempts:
        with pytest.raises(HecoreError) as caught:
            SecretKey(*arguments)  # type: ignore[arg-type]
        assert not leaks(repr(caught.value) + str(caught.value), p, q, q + 2, p * 3)


def test_a_secret_key_is_neither_pickled_nor_copied() -> None:
    secret_key = SecretKey(PublicKey.insecure(N, H), P, Q)
    attempts: list[Callable[[], object]] = [
        *(lambda protocol=protocol: pickle.dumps(secret_key, protocol) for protocol in range(6)),
        lambda: copy.copy(secret_key),
        lambda: copy.deepcopy(secret_key),
        lambda: pickle.dumps([secret_key]),
        lambda: pickle.dumps(secret_key.encrypt),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="hecore.keystore"):
            attempt()
    with pytest.raises(TypeError, match="hecore.keystore"):
        pickle.dumps(secret_key.crt)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_public_key_survives_pickle(protocol: int) -> None:
    for key in (PublicKey.insecure(N, H), PublicKey.insecure(N), PublicKey.insecure(N, H, randomness_bits=10)):
        twin = pickle.loads(pickle.dumps(key, protocol))  # our own bytes
        assert twin == key
        assert twin.randomness_bits == key.randomness_bits
        assert copy.deepcopy(key) == key


def test_short_exponents_are_read_only_where_their_assumption_is_taken() -> None:
    key, _ = generate_insecure_keypair(256)
    n, h = key.n, key.h
    data = PublicKey.insecure(n, h, randomness_bits=100).to_bytes()
    pickled = pickle.dumps(PublicKey.insecure(n, h, randomness_bits=100))
    for read in (lambda: PublicKey.from_bytes(data, allow_insecure=True), lambda: pickle.loads(pickled)):
        for _ in range(2):
            with pytest.raises(InsecureParametersError, match="discrete logarithms.*allow_short_randomness"):
                read()
    short = PublicKey.from_bytes(data, allow_insecure=True, allow_short_randomness=True)
    assert short.randomness_bits == 100
    assert pickle.loads(pickled) is short  # the assumption was taken in this process
    with pytest.raises(InsecureParametersError, match="discrete logarithms"):  # from_bytes wants to hear it each time
        PublicKey.from_bytes(data, allow_insecure=True)
    assert any("100 bits" in text for text in short.validate().not_checked)
    assert not any("logarithm" in text for text in key.validate().not_checked)
    assert not any("logarithm" in text for text in PublicKey.insecure(n, randomness_bits=100).validate().not_checked)


def test_the_owner_of_short_exponents_is_not_asked_again() -> None:
    _, secret_key = generate_insecure_keypair(64, randomness_bits=20)
    twin = SecretKey.from_bytes_unprotected(secret_key.to_bytes_unprotected(), allow_insecure=True)
    assert twin.public_key.randomness_bits == 20


def test_equality_and_hash_are_by_all_that_is_sent() -> None:
    key = PublicKey.insecure(N, H)
    assert key != PublicKey.insecure(N, H, randomness_bits=9)
    assert key == PublicKey.insecure(N, H)
    assert hash(key) == hash(PublicKey.insecure(N, H))
    assert key != PublicKey.insecure(N)
    assert key != PublicKey.insecure(N, N - 4)
    assert key != N
    secret_key = SecretKey(key, P, Q)
    assert secret_key == SecretKey(key, Q, P)
    assert hash(secret_key) == hash(SecretKey(key, Q, P))
    assert secret_key != SecretKey(PublicKey.insecure(N), P, Q)
    assert secret_key != key


def test_fingerprints_tell_keys_apart_and_nothing_else() -> None:
    keys = [PublicKey.insecure(N, H), PublicKey.insecure(N), PublicKey.insecure(N, N - 4), PublicKey.insecure(7 * 11)]
    assert len({key.fingerprint for key in keys}) == len(keys)
    assert keys[0].fingerprint == PublicKey.insecure(N, H, randomness_bits=10).fingerprint  # half of n's 21
    assert keys[0].fingerprint != PublicKey.insecure(N, H, randomness_bits=11).fingerprint
    assert all(len(bytes.fromhex(key.fingerprint)) == 16 for key in keys)
    assert keys[0].fingerprint in repr(keys[0])
    assert keys[0].fingerprint in repr(SecretKey(keys[0], P, Q))


# -- use -------------------------------------------------------------------------------------------------


def test_the_unrandomised_form_hides_nothing_and_says_so() -> None:
    key = PublicKey.insecure(N, H)
    for message in (0, 1, 12345, N - 1):
        assert (key.raw_encrypt_unrandomised_insecure(message) - 1) // N == message
    for message in (-1, N, N + 1):
        with pytest.raises(PlaintextRangeError) as caught:
            key.raw_encrypt_unrandomised_insecure(message)
        assert not leaks(str(caught.value), message)
    with pytest.raises(OperandTypeError):
        key.raw_encrypt_unrandomised_insecure(1.0)  # type: ignore[arg-type]


def test_integer_coercion() -> None:
    gmpy2 = pytest.importorskip("gmpy2")
    assert validation.as_integer("x", gmpy2.mpz(7)) == 7
    assert type(validation.as_integer("x", np.uint64(7))) is int
