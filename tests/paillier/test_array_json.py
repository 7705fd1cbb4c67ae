"""Arrays as the peer's JSON, and foreign JSON as arrays."""

from __future__ import annotations

import json

import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.errors import CiphertextError, HeadroomError, HecoreError, ParameterError, SerializationError
from hecore.paillier import EncryptedArray, FixedPoint, FloatsPerElement, PublicKey, SecretKey

pytestmark = pytest.mark.usefixtures("on_reference")

Keys = tuple[PublicKey, SecretKey]
VALUES = np.array([[0.5, -3.25], [0.0, 100.0]])


@pytest.mark.parametrize("encoding", [None, FixedPoint(-7), FixedPoint(3), FloatsPerElement()])
def test_round_trip(insecure_keys: Keys, encoding: FixedPoint | FloatsPerElement | None) -> None:
    public_key, secret_key = insecure_keys
    values = VALUES * 64
    text = public_key.encrypt(values, encoding=encoding).to_json()
    assert [sorted(json.loads(line)) for line in text.splitlines()] == [["e", "v"]] * 4
    x = EncryptedArray.from_json(text, public_key)
    np.testing.assert_array_equal(secret_key.decrypt(x), values.ravel())
    with pytest.raises(HeadroomError):
        x + x
    y = EncryptedArray.from_json(text, public_key, bits=300)
    np.testing.assert_array_equal(secret_key.decrypt(y + y), 2 * values.ravel())


def test_integers_stay_integers(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    x = EncryptedArray.from_json(public_key.encrypt([3, -4]).to_json(), public_key)
    assert x.encoding.kind == "integer"
    assert secret_key.decrypt(x).tolist() == [3, -4]


def test_the_peer_reads_ours_and_we_read_the_peers(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    their_public = phe.PaillierPublicKey(public_key.n)
    their_secret = phe.PaillierPrivateKey(their_public, secret_key.crt.p, secret_key.crt.q)
    ours = [json.loads(line) for line in public_key.encrypt(VALUES).to_json().splitlines()]
    numbers = [phe.EncryptedNumber(their_public, int(o["v"]), o["e"]) for o in ours]
    assert [their_secret.decrypt(number) for number in numbers] == VALUES.ravel().tolist()
    theirs = [their_public.encrypt(value) for value in (7, -0.1, 1e20)]
    text = "\n".join(json.dumps({"v": str(c.ciphertext()), "e": c.exponent}) for c in theirs)
    assert secret_key.decrypt(EncryptedArray.from_json(text, public_key)).tolist() == [7, -0.1, 1e20]


def test_results_are_rerandomised(insecure_keys: Keys) -> None:
    x = insecure_keys[0].encrypt([1, 2])
    assert x.to_json() == x.to_json()  # randomised once, when it was encrypted
    result = x + 1
    assert result.to_json() != result.to_json()
    assert result.to_json(raw=True) == result.to_json(raw=True)


@pytest.mark.parametrize("text", ["", "\n", "[]", "{}", '{"v": "5"}', '{"v": "5", "e": 262145}', '{"v": "5", "e": 0'])
def test_malformed(insecure_keys: Keys, text: str) -> None:
    with pytest.raises(SerializationError):
        EncryptedArray.from_json(text, insecure_keys[0])


def test_ciphertexts_and_sizes_out_of_range(insecure_keys: Keys) -> None:
    public_key, secret_key = insecure_keys
    for bad in (0, public_key.n**2, public_key.n**3, public_key.n, secret_key.crt.p):
        with pytest.raises(CiphertextError):
            EncryptedArray.from_json(f'{{"v": "{bad}", "e": 0}}', public_key)
    good = public_key.encrypt(1).to_json()
    with pytest.raises(HeadroomError):
        EncryptedArray.from_json(good, public_key, bits=512)
    with pytest.raises(ParameterError):
        EncryptedArray.from_json(good, public_key, bits=0)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_fuzz_edited_text(insecure_keys: Keys, data: st.DataObject) -> None:
    text = '{"v": "1234567890", "e": -3}\n{"v": "77", "e": 2}\n'
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(st.text(max_size=5)) + text[start + data.draw(st.integers(0, 5)) :]
    try:
        x = EncryptedArray.from_json(text, insecure_keys[0])
    except HecoreError:
        return
    assert x.ndim == 1
