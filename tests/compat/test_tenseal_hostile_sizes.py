"""What a context asks for when it is loaded has bounds."""

from __future__ import annotations

import pytest

from hecore.compat import tenseal as ts
from hecore.compat.tenseal import _bytes
from hecore.errors import SerializationError


def test_keys_that_two_bits_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 2048, coeff_mod_bit_sizes=[27, 27])
    context.generate_galois_keys()
    with pytest.warns(ts.InsecureWarning):
        data = context.serialize(save_secret_key=True)
    assert ts.context_from(data).has_galois_keys()
    monkeypatch.setattr(_bytes, "_MAX_MADE_BYTES", 1 << 16)
    with pytest.raises(SerializationError, match="evaluation keys"):
        ts.context_from(data)


def test_a_refused_vector_is_described_in_few_words() -> None:
    context = ts.context(ts.SCHEME_TYPE.CKKS, 2048, coeff_mod_bit_sizes=[27, 27])
    data = b"\x0a\xe8\x07" + b"\x00" * 1000 + b"\x12\x00" * 1000 + b"\x19" + bytes(6) + b"\xf0\x3f"
    with pytest.raises(SerializationError, match="1000 ciphertexts") as caught:
        ts.ckks_vector_from(context, data)
    assert len(str(caught.value)) < 200
