"""The wire between the demo's parties: bytes only, in order, counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.demo.channel import Channel, Message, Traffic, pack_integers, unpack_integers
from hecore.errors import OperandTypeError, ProtocolError, SerializationError


def test_messages_arrive_in_order_and_are_counted() -> None:
    seen: list[Message] = []
    channel = Channel(seen.append)
    guest, host = channel.endpoint("guest"), channel.endpoint("host")
    guest.send("host", "a", b"one")
    guest.send("host", "b", b"three")
    host.send("guest", "c", b"")
    assert host.receive("guest", "a") == b"one"
    assert host.receive("guest", "b") == b"three"
    assert guest.receive("host", "c") == b""
    assert channel.traffic == {("guest", "host"): Traffic(2, 8), ("host", "guest"): Traffic(1, 0)}
    assert [message.subject for message in seen] == ["a", "b", "c"]


@pytest.mark.parametrize("payload", [bytearray(b"x"), memoryview(b"x"), np.zeros(1), "x", None, [1], object()])
def test_nothing_but_bytes_passes(payload: object) -> None:
    channel = Channel()
    with pytest.raises(OperandTypeError, match="only bytes pass"):
        channel.endpoint("guest").send("host", "a", payload)  # type: ignore[arg-type]
    assert not channel.traffic
    with pytest.raises(ProtocolError, match="nothing was sent"):
        channel.endpoint("host").receive("guest", "a")


def test_a_subclass_of_bytes_could_carry_more_than_bytes() -> None:
    class Smuggler(bytes):
        plaintext = 42

    with pytest.raises(OperandTypeError, match="Smuggler"):
        Channel().endpoint("guest").send("host", "a", Smuggler(b"x"))


def test_an_unexpected_subject_is_an_error() -> None:
    channel = Channel()
    channel.endpoint("guest").send("host", "gradient", b"")
    with pytest.raises(ProtocolError, match="host expected 'batch' from guest, 'gradient' arrived"):
        channel.endpoint("host").receive("guest", "batch")


def test_a_message_shows_no_payload() -> None:
    assert "secret" not in repr(Message("guest", "host", "a", b"secret"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(1 << 300), 1 << 300)))
def test_integers_round_trip(values: list[int]) -> None:
    assert unpack_integers(pack_integers(values), len(values)) == values


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 5))
def test_any_bytes_are_integers_or_an_error(data: bytes, count: int) -> None:
    try:
        values = unpack_integers(data, count)
    except SerializationError:
        return
    assert len(values) == count


def test_truncated_integers_and_a_wrong_count() -> None:
    data = pack_integers([1, -(1 << 90)])
    for length in range(len(data)):
        with pytest.raises(SerializationError):
            unpack_integers(data[:length], 2)
    with pytest.raises(SerializationError, match="cannot read 3 integers"):
        unpack_integers(data, 3)
