"""Keys and ciphertexts as JSON, in the forms that the peer's `pheutil` reads and writes.

Public   {"kty":"DAJ","alg":"PAI-GN1","key_ops":["encrypt"],"n":...,"kid":...}, and our "h" where the key has one:
         readers of JWK ignore members that they do not know (RFC 7517, section 4).
Private  {"kty":"DAJ","key_ops":["decrypt"],"p":...,"q":...,"pub":{public},"kid":...}
Number   {"v": ciphertext in decimal, "e": exponent}

Integers in keys are unpadded base64url of their big-endian bytes (RFC 7518, section 2: Base64urlUInt).
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from hecore.errors import OperandTypeError, SerializationError
from hecore.paillier.params import MAX_KEY_BITS

MAX_TEXT_BYTES = 1 << 16
_MAX_BASE64 = -(-MAX_KEY_BITS // 6)  # characters
_MAX_DECIMAL = MAX_KEY_BITS * 2 * 302 // 1000  # digits of n^2, by log10(2) < 0.302
_MAX_EXPONENT = 1 << 18  # in base 16: whoever scales a number by its exponent computes 16**e, 2**20 bits at most
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]*")
# Python refuses to convert decimals of more than 4300 digits at once (CVE-2020-10735): longer ones go in pieces.
_PIECE_DIGITS = 4000
_PIECE = 10**_PIECE_DIGITS


def write_public(n: int, h: int | None, kid: str) -> str:
    """The public key as JSON."""
    return json.dumps(_public(n, h, kid))


def read_public(text: str | bytes) -> tuple[int, int | None]:
    """(n, h or None) from a public key's JSON, unchecked as numbers. Raises SerializationError."""
    return _read_public(_parse(text))


def write_secret_unprotected(n: int, h: int | None, p: int, q: int, kid: str) -> str:
    """The secret key as JSON, in the clear."""
    return json.dumps(
        {
            "kty": "DAJ",
            "key_ops": ["decrypt"],
            "p": _to_base64(p),
            "q": _to_base64(q),
            "pub": _public(n, h, kid),
            "kid": kid,
        }
    )


def read_secret_unprotected(text: str | bytes) -> tuple[int, int | None, int, int]:
    """(n, h or None, p, q) from a private key's JSON, unchecked as numbers. Raises SerializationError."""
    data = _parse(text)
    _expect(data, "kty", "DAJ")
    _expect(data, "key_ops", ["decrypt"])
    public = data.get("pub")
    if not isinstance(public, dict):
        raise SerializationError("cannot read the private key: it has no public key in 'pub'")
    n, h = _read_public(public)
    return n, h, _integer(data, "p"), _integer(data, "q")


def write_ciphertext(ciphertext: int, exponent: int) -> str:
    """One encrypted number as JSON."""
    return json.dumps({"v": _to_decimal(ciphertext), "e": exponent})


def read_ciphertext(text: str | bytes) -> tuple[int, int]:
    """(ciphertext, exponent) from JSON; the ciphertext is non-negative and not yet checked against a key.

    Raises SerializationError.
    """
    data = _parse(text)
    digits, exponent = data.get("v"), data.get("e")
    if not isinstance(digits, str) or len(digits) > _MAX_DECIMAL or not _DECIMAL.fullmatch(digits):
        raise SerializationError(f"cannot read the ciphertext: 'v' must be at most {_MAX_DECIMAL} decimal digits")
    if type(exponent) is not int or abs(exponent) > _MAX_EXPONENT:
        raise SerializationError(f"cannot read the ciphertext: 'e' must be an integer within ±{_MAX_EXPONENT}")
    return _from_decimal(digits), exponent


def _public(n: int, h: int | None, kid: str) -> dict[str, Any]:
    numbers = {"n": _to_base64(n)} if h is None else {"n": _to_base64(n), "h": _to_base64(h)}
    return {"kty": "DAJ", "alg": "PAI-GN1", "key_ops": ["encrypt"], **numbers, "kid": kid}


def _read_public(data: dict[str, Any]) -> tuple[int, int | None]:
    _expect(data, "kty", "DAJ")
    _expect(data, "alg", "PAI-GN1")
    _expect(data, "key_ops", ["encrypt"])
    return _integer(data, "n"), _integer(data, "h") if "h" in data else None


def _parse(text: str | bytes) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise OperandTypeError(f"cannot read JSON from {type(text).__name__}: str or bytes are needed")
    if len(text) > MAX_TEXT_BYTES:
        raise SerializationError(f"cannot read {len(text)} characters of JSON: at most {MAX_TEXT_BYTES} are allowed")
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except SerializationError:
        raise
    except (ValueError, RecursionError):  # ValueError: malformed JSON, bytes that are no text, an endless number
        # The parser's own message may quote a secret.
        raise SerializationError("cannot read these bytes: they are not well-formed JSON") from None
    if not isinstance(data, dict):
        raise SerializationError("cannot read the JSON: an object is needed")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise SerializationError("cannot read the JSON: a member occurs twice")
    return data


def _expect(data: dict[str, Any], member: str, value: object) -> None:
    if data.get(member) != value:
        raise SerializationError(f"cannot read the key: {member!r} must be {value!r}")


def _integer(data: dict[str, Any], member: str) -> int:
    text = data.get(member)
    if isinstance(text, str) and len(text) <= _MAX_BASE64 and _BASE64URL.fullmatch(text) and len(text) % 4 != 1:
        value = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
        if _to_base64(value) == text:  # one form a number: no leading zeros, no stray bits in the last character
            return value
    raise SerializationError(
        f"cannot read the key: {member!r} must be the shortest base64url of at most {MAX_KEY_BITS} bits"
    )


def _to_base64(value: int) -> str:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _to_decimal(value: int) -> str:
    high, low = divmod(value, _PIECE)
    return f"{_to_decimal(high)}{low:0{_PIECE_DIGITS}d}" if high else str(low)


def _from_decimal(digits: str) -> int:
    value = 0
    for start in range(0, len(digits), _PIECE_DIGITS):
        piece = digits[start : start + _PIECE_DIGITS]
        value = value * 10 ** len(piece) + int(piece)
    return value
