"""JSON keys and ciphertexts: ours, the peer's, and broken ones."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hecore.errors import (
    HecoreError,
    InsecureParametersError,
    MalformedKeyError,
    OperandTypeError,
    ParameterError,
    SerializationError,
)
from hecore.paillier import PublicKey, SecretKey, generate_insecure_keypair, jwk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N, P, Q = 1019 * 1543, 1019, 1543
PUBLIC = PublicKey.insecure(N, N - 25)
SECRET = SecretKey(PUBLIC, P, Q)


def read_public(text: str | bytes) -> PublicKey:
    return PublicKey.from_jwk(text, allow_insecure=True)


def read_secret(text: str | bytes) -> SecretKey:
    return SecretKey.from_jwk_unprotected(text, allow_insecure=True)


def secret_jwk(key: SecretKey, kid: str = "kid") -> str:
    return jwk.write_secret_unprotected(key.public_key.n, key.public_key.h, key.crt.p, key.crt.q, kid)


# -- our own ---------------------------------------------------------------------------------------------


def test_the_documented_form() -> None:
    """base64url of the big-endian bytes 17fddd, 17fdc4, 03fb, 0607 by coreutils' basenc."""
    public = {"kty": "DAJ", "alg": "PAI-GN1", "key_ops": ["encrypt"], "n": "F_3d", "h": "F_3E", "kid": "mine"}
    assert json.loads(PUBLIC.to_jwk(kid="mine")) == public
    secret = {"kty": "DAJ", "key_ops": ["decrypt"], "p": "A_s", "q": "Bgc", "pub": public, "kid": "mine"}
    assert json.loads(secret_jwk(SECRET, "mine")) == secret
    without = json.loads(PublicKey.insecure(N).to_jwk())
    assert "h" not in without
    assert without["kid"] == PublicKey.insecure(N).fingerprint


@pytest.mark.parametrize("key_bits", [16, 64, 512])
def test_keys_survive(key_bits: int) -> None:
    public_key, secret_key = generate_insecure_keypair(key_bits)
    for key in (public_key, PublicKey.insecure(public_key.n)):
        assert read_public(key.to_jwk()) == key
        assert read_public(key.to_jwk().encode()) == key
    assert read_secret(secret_jwk(secret_key)) == secret_key


def test_a_short_key_needs_the_insecure_name() -> None:
    with pytest.raises(InsecureParametersError):
        PublicKey.from_jwk(PUBLIC.to_jwk())
    with pytest.raises(InsecureParametersError):
        SecretKey.from_jwk_unprotected(secret_jwk(SECRET))


@given(st.integers(0, 2**16384 - 1), st.integers(-(2**18), 2**18))
@settings(deadline=None)
@example(0, 0)
@example(10**4000 - 1, 1)
@example(10**4000, -1)
@example(2**16384 - 1, 0)
def test_ciphertexts_survive(value: int, exponent: int) -> None:
    assert jwk.read_ciphertext(jwk.write_ciphertext(value, exponent)) == (value, exponent)


def test_a_ciphertext_has_the_documented_form() -> None:
    assert jwk.write_ciphertext(1234, -32) == '{"v": "1234", "e": -32}'


# -- the peer's ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pheutil() -> Callable[..., None]:
    pytest.importorskip("phe")
    command = importlib.import_module("phe.command_line").cli
    runner = pytest.importorskip("click.testing").CliRunner()

    def run(*arguments: str | Path) -> None:
        result = runner.invoke(command, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output

    return run


def test_the_peer_reads_our_keys(pheutil: Callable[..., None], tmp_path: Path) -> None:
    public_key, secret_key = generate_insecure_keypair(256)
    files = {name: tmp_path / name for name in ("public", "secret", "cipher", "sum", "plain")}
    files["public"].write_text(public_key.to_jwk())
    files["secret"].write_text(secret_jwk(secret_key))
    pheutil("encrypt", files["public"], "3.5", "--output", files["cipher"])
    pheutil("add", files["public"], files["cipher"], "1.25", "--output", files["sum"])
    pheutil("decrypt", files["secret"], files["sum"], "--output", files["plain"])
    assert float(files["plain"].read_text()) == 4.75

    value, exponent = jwk.read_ciphertext(files["sum"].read_bytes())
    crt, n = secret_key.crt, public_key.n
    totient = (crt.p - 1) * (crt.q - 1)
    message = (pow(value, totient, n * n) - 1) // n * pow(totient, -1, n) % n
    assert message * 16.0**exponent == 4.75


def test_we_read_the_peers_keys(pheutil: Callable[..., None], tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("public", "secret", "cipher", "plain")}
    pheutil("genpkey", "--keysize", "256", files["secret"])
    pheutil("extract", files["secret"], files["public"])
    public_key = read_public(files["public"].read_bytes())
    secret_key = read_secret(files["secret"].read_text())
    assert public_key.h is None  # nobody knows the shape of this modulus
    assert secret_key.public_key == public_key
    assert public_key.key_bits == 256

    # What we write of it is what the peer wrote, and the peer decrypts what we made.
    kid = json.loads(files["public"].read_text())["kid"]
    assert json.loads(public_key.to_jwk(kid=kid)) == json.loads(files["public"].read_text())
    obfuscator = pow(2, public_key.n, public_key.n**2)
    ciphertext = public_key.raw_encrypt_unrandomised_insecure(7) * obfuscator % public_key.n**2
    files["cipher"].write_text(jwk.write_ciphertext(ciphertext, -1))
    pheutil("decrypt", files["secret"], files["cipher"], "--output", files["plain"])
    assert float(files["plain"].read_text()) == 7 / 16


# -- broken ----------------------------------------------------------------------------------------------


def changed(text: str, **members: Any) -> str:
    """The JSON object with members replaced, or dropped where None is given."""
    data = {**json.loads(text), **members}
    return json.dumps({name: value for name, value in data.items() if value is not None})


@pytest.mark.parametrize(
    "members",
    [
        {"kty": None},
        {"kty": "RSA"},
        {"alg": None},
        {"alg": "PAI-GN2"},
        {"key_ops": None},
        {"key_ops": ["decrypt"]},
        {"key_ops": "encrypt"},
        {"n": None},
        {"n": 5},
        {"n": ""},
        {"n": "F_3d="},
        {"n": "F/3d"},
        {"n": "F+3d"},
        {"n": " F_3d"},
        {"n": "F_3d\n"},
        {"n": "F_3dA"},
        {"n": "F_3d\u0661"},
        {"n": "AA"},
        {"n": "AF_3d"},
        {"n": "BgcD" * 342},
        {"h": 5},
        {"h": ""},
        {"h": "****"},
    ],
    ids=str,
)
def test_malformed_public_keys(members: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        read_public(changed(PUBLIC.to_jwk(), **members))


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "RSA"},
        {"key_ops": ["encrypt"]},
        {"p": None},
        {"q": 1543},
        {"q": "B"},
        {"pub": None},
        {"pub": "F_3d"},
        {"pub": {}},
    ],
    ids=str,
)
def test_malformed_private_keys(members: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        read_secret(changed(secret_jwk(SECRET), **members))


def test_well_formed_bad_keys() -> None:
    for n in ("F_3e", "EQ", "__________8"):  # even, 17, 2**64 - 1 with h = 1
        with pytest.raises(MalformedKeyError):
            read_public(changed(PUBLIC.to_jwk(), n=n, h="AQ"))
    with pytest.raises(MalformedKeyError, match=r"p \* q = n"):
        read_secret(changed(secret_jwk(SECRET), q="Bgk"))


@pytest.mark.parametrize(
    "members",
    [
        {"v": None},
        {"v": 1234},
        {"v": ""},
        {"v": "-1"},
        {"v": "+1"},
        {"v": "012"},
        {"v": "1_000"},
        {"v": " 1"},
        {"v": "1\n"},
        {"v": "\u0661"},
        {"v": "1" * 5000},
        {"e": None},
        {"e": "0"},
        {"e": 0.5},
        {"e": True},
        {"e": 2**18 + 1},
    ],
    ids=str,
)
def test_malformed_ciphertexts(members: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        jwk.read_ciphertext(changed(jwk.write_ciphertext(1234, 0), **members))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"n"',
        "[" * 60000,
        "1" * 60000,
        b"\xff\xfe",
        b"\x00",
        '{"n": "F_3d", "n": "F_3d"}',
        " " * 70000,
    ],
    ids=lambda text: repr(text[:20]),
)
@pytest.mark.parametrize("parse", [read_public, read_secret, jwk.read_ciphertext])
def test_what_is_no_object(parse: Callable[[str | bytes], object], text: str | bytes) -> None:
    with pytest.raises(SerializationError):
        parse(text)


@pytest.mark.parametrize("parse", [read_public, read_secret, jwk.read_ciphertext])
def test_only_text_is_read(parse: Callable[[Any], object]) -> None:
    for thing in (None, 7, {"n": "F_3d"}, ["F_3d"]):
        with pytest.raises(OperandTypeError):
            parse(thing)


def test_errors_quote_no_secret() -> None:
    text = secret_jwk(SECRET)
    for broken in (text[:-1], changed(text, p="A_s*"), changed(text, q="B"), changed(text, p="A_t")):
        with pytest.raises(HecoreError) as caught:
            read_secret(broken)
        assert "A_" not in str(caught.value)
        assert "Bgc" not in str(caught.value)
        assert caught.value.__cause__ is None


PARSERS = [
    pytest.param(read_public, PUBLIC.to_jwk(), id="public"),
    pytest.param(read_secret, secret_jwk(SECRET), id="secret"),
    pytest.param(jwk.read_ciphertext, jwk.write_ciphertext(123456789, -32), id="ciphertext"),
]


@pytest.mark.parametrize(("parse", "text"), PARSERS)
def test_truncated_at_every_offset(parse: Callable[[str | bytes], object], text: str) -> None:
    parse(text)
    for end in range(len(text)):
        with pytest.raises(SerializationError):
            parse(text[:end])
        with pytest.raises(SerializationError):
            parse(text[end + 1 :])


@pytest.mark.parametrize(("parse", "text"), PARSERS)
def test_every_bit_flipped(parse: Callable[[str | bytes], object], text: str) -> None:
    """JSON carries no checksum: a flipped digit may be another number, but it is never another kind of error."""
    refused = 0
    for bit in range(8 * len(text)):
        altered = bytearray(text.encode())
        altered[bit // 8] ^= 1 << bit % 8
        try:
            parse(bytes(altered))
        except (SerializationError, MalformedKeyError, ParameterError):
            refused += 1
    assert refused > 4 * len(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_fuzz_text(text: str | bytes) -> None:
    for parse in (read_public, read_secret, jwk.read_ciphertext):
        with pytest.raises(SerializationError):
            parse(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["F_3d", "F_3E", "DAJ"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "p", "kty"]), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["kty", "alg", "key_ops", "n", "h", "p", "q", "pub", "kid", "v", "e"]), JSON)
def test_fuzz_members(member: str, value: object) -> None:
    for parse, text in (
        (read_public, PUBLIC.to_jwk()),
        (read_secret, secret_jwk(SECRET)),
        (jwk.read_ciphertext, jwk.write_ciphertext(1234, 5)),
    ):
        try:
            result = parse(json.dumps({**json.loads(text), member: value}))
        except HecoreError:
            continue
        assert isinstance(result, PublicKey | SecretKey | tuple)
