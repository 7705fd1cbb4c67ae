"""The only way from one party of a demo to another: messages of bytes, counted.

A message is a sender, a recipient, a subject that both sides expect, and a payload of type `bytes`. Nothing else
passes, so whatever a party learns of another is in the payloads; `observer` shows each one to a test.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hecore.errors import OperandTypeError, ProtocolError, SerializationError

_INTEGERS = struct.Struct(">II")  # count, bytes per integer


@dataclass(frozen=True)
class Message:
    """One message as the network sees it."""

    sender: str
    recipient: str
    subject: str
    payload: bytes = field(repr=False)


@dataclass
class Traffic:
    """What went over one link in one direction."""

    messages: int = 0
    payload_bytes: int = 0


class Channel:
    """In-process network: per-link queues in order of sending, with counts."""

    def __init__(self, observer: Callable[[Message], None] | None = None) -> None:
        self.traffic: defaultdict[tuple[str, str], Traffic] = defaultdict(Traffic)
        self._queues: defaultdict[tuple[str, str], deque[Message]] = defaultdict(deque)
        self._observer = observer

    def endpoint(self, name: str) -> Endpoint:
        """What the party called `name` holds of the network."""
        return Endpoint(self, name)

    def deliver(self, message: Message) -> None:
        """Queue one message. Raises OperandTypeError for a payload that is not bytes."""
        if type(message.payload) is not bytes:
            raise OperandTypeError(
                f"cannot send {message.subject!r} from {message.sender} to {message.recipient}: "
                f"the payload is a {type(message.payload).__name__}, only bytes pass between parties"
            )
        link = (message.sender, message.recipient)
        self.traffic[link].messages += 1
        self.traffic[link].payload_bytes += len(message.payload)
        self._queues[link].append(message)
        if self._observer is not None:
            self._observer(message)

    def collect(self, sender: str, recipient: str, subject: str) -> bytes:
        """The oldest message of a link. Raises ProtocolError where there is none or its subject is another."""
        queue = self._queues[(sender, recipient)]
        if not queue:
            raise ProtocolError(f"{recipient} expected {subject!r} from {sender}, nothing was sent")
        message = queue.popleft()
        if message.subject != subject:
            raise ProtocolError(f"{recipient} expected {subject!r} from {sender}, {message.subject!r} arrived")
        return message.payload


@dataclass(frozen=True)
class Endpoint:
    """One party's end of a channel: it sends as itself and receives what is addressed to it."""

    channel: Channel = field(repr=False)
    name: str

    def send(self, recipient: str, subject: str, payload: bytes) -> None:
        """Send `payload` to `recipient`."""
        self.channel.deliver(Message(self.name, recipient, subject, payload))

    def receive(self, sender: str, subject: str) -> bytes:
        """The next message from `sender`, which must be about `subject`."""
        return self.channel.collect(sender, self.name, subject)


def pack_integers(values: Sequence[int]) -> bytes:
    """Signed integers of any size as bytes: count, width, then two's complement, big-endian, all of one width."""
    width = max((value.bit_length() // 8 + 1 for value in values), default=1)
    return _INTEGERS.pack(len(values), width) + b"".join(value.to_bytes(width, signed=True) for value in values)


def unpack_integers(data: bytes, count: int) -> list[int]:
    """Inverse of `pack_integers`, for exactly `count` integers. Raises SerializationError for anything else."""
    if len(data) < _INTEGERS.size:
        raise SerializationError(f"cannot read integers from {len(data)} bytes: the header has {_INTEGERS.size}")
    given, width = _INTEGERS.unpack_from(data)
    body = data[_INTEGERS.size :]
    if given != count or width < 1 or len(body) != count * width:
        raise SerializationError(
            f"cannot read {count} integers: the message says {given} of {width} bytes and carries {len(body)}"
        )
    return [int.from_bytes(body[i : i + width], signed=True) for i in range(0, len(body), width)]
