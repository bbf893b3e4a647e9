"""A reply that says how long it is, in a number near its beginning: most binary protocols.

The words are Netty's (LengthFieldBasedFrameDecoder): DNS over TCP is Prefixed(0, 2), Kafka Prefixed(0, 4), a packet of
MySQL Prefixed(0, 3, is_little=True, adjust=1), a message of PostgreSQL Prefixed(1, 4, adjust=-4), MQTT Prefixed(1, 0).
A reply of PostgreSQL is several messages, up to one of type Z: Prefixed(1, 4, adjust=-4, until=b"Z").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from loadkit.wire.protocol import BAD_LENGTH, MOST_REPLY_BYTES, TOO_LONG, Unexpected

__all__ = ["Prefixed", "PrefixedFraming"]

# Of seven bits each, the lowest first, each but the last with the eighth bit: MQTT, protobuf, LEB128.
_MOST_VARINT_BYTES = 9


class Prefixed(msgspec.Struct, frozen=True, tag="prefixed"):
    """Behind `offset` bytes stands a number of `width` bytes (1 to 8; 0: a varint), and behind that as many bytes.

    `adjust` is added to the number: it may count the header too, or leave out what stands between them. `most` is how
    many bytes that may be, header included. With `until`, a byte, a reply is as many of these as come, up to the first
    that begins with that byte.
    """

    says_hello: ClassVar[bool] = False

    offset: int
    width: int
    is_little: bool = False
    adjust: int = 0
    most: int = MOST_REPLY_BYTES
    until: bytes = b""


class PrefixedFraming:
    """The progress: the header as far as it has come, and None; or the header's first byte, and how many are left."""

    begin: tuple[bytes, int | None] = (b"", None)

    def __init__(self, rule: Prefixed) -> None:
        self._rule = rule
        self._until = rule.until
        self._header = rule.offset + rule.width if rule.width else 0

    def feed(self, progress: tuple[bytes, int | None], chunk: bytes) -> tuple[tuple[bytes, int | None], Sequence[int]]:
        """Takes bytes. Raises Unexpected for a length that cannot be one, or that is too much."""
        header, left = progress
        ends: list[int] = []
        at = 0
        while at < len(chunk):
            if left is None:
                # A varint ends where its bytes say; a header of a known length is taken at once.
                wanted = self._header - len(header) if self._header else 1
                header += chunk[at : at + wanted]
                at += min(wanted, len(chunk) - at)
                left = self._left(header, ends)
                if left is None:
                    continue
            taken = min(left, len(chunk) - at)
            at += taken
            left -= taken
            if not left:
                if not self._until or header[:1] == self._until:
                    ends.append(at)
                header, left = b"", None
        # A message that ended without the last one's type leaves the reply under way.
        return (header if left is None else header[:1], left), ends

    def _left(self, header: bytes, ends: Sequence[int]) -> int | None:
        """Returns how many bytes are to come behind a header, None if it is not whole yet."""
        rule, field = self._rule, header[self._rule.offset :]
        if not field or not self._is_whole(field, ends):
            return None
        if rule.width:
            number = int.from_bytes(field, "little" if rule.is_little else "big")
        else:
            number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(field))
        if number > MOST_REPLY_BYTES:
            raise Unexpected(TOO_LONG, ends)
        left = number + rule.adjust
        if left < 0:
            raise Unexpected(BAD_LENGTH, ends)
        if len(header) + left > rule.most:
            raise Unexpected(TOO_LONG, ends)
        return left

    def _is_whole(self, field: bytes, ends: Sequence[int]) -> bool:
        if self._rule.width:
            return len(field) == self._rule.width
        if len(field) > _MOST_VARINT_BYTES:
            raise Unexpected(BAD_LENGTH, ends)
        return field[-1] < 0x80
