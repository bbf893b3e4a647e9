"""A reply that says how long it is, in a number near its beginning: most binary protocols.

The words are Netty's (LengthFieldBasedFrameDecoder): DNS over TCP is Prefixed(0, 2), Kafka Prefixed(0, 4), a packet of
MySQL Prefixed(0, 3, is_little=True, adjust=1), a message of PostgreSQL Prefixed(1, 4, adjust=-4), MQTT Prefixed(1, 0).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from loadkit.wire.protocol import BAD_LENGTH, MOST_REPLY_BYTES, TOO_LONG, Unexpected

__all__ = ["Prefixed", "PrefixedFraming"]

# Of seven bits each, the lowest first, each but the last with the eighth bit: MQTT, protobuf, LEB128.
_MOST_VARINT_BYTES = 9


class Prefixed(msgspec.Struct, frozen=True, tag="prefixed"):
    """Behind `offset` bytes stands a number of `width` bytes (1 to 8; 0: a varint), and behind that as many bytes.

    `adjust` is added to the number: it may count the header too, or leave out what stands between them. `most` is how
    many bytes a reply may have, header included.
    """

    says_hello: ClassVar[bool] = False

    offset: int
    width: int
    is_little: bool = False
    adjust: int = 0
    most: int = MOST_REPLY_BYTES


class PrefixedFraming:
    """The progress: the header as far as it has come, and None; or how many bytes are left behind it."""

    begin: tuple[bytes, int | None] = (b"", None)

    def __init__(self, rule: Prefixed) -> None:
        self._rule = rule

    def feed(self, progress: tuple[bytes, int | None], chunk: bytes) -> tuple[tuple[bytes, int | None], int]:
        """Takes bytes. Raises Unexpected for a length that cannot be one, or that is too much."""
        header, left = progress
        at = replies = 0
        while at < len(chunk):
            if left is None:
                header += chunk[at : at + 1]
                at += 1
                left = self._left(header, replies)
            taken = min(left or 0, len(chunk) - at)
            at += taken
            if left is not None:
                left -= taken
            if left == 0:
                header, left, replies = b"", None, replies + 1
        return (header if left is None else b"", left), replies

    def _left(self, header: bytes, replies: int) -> int | None:
        """Returns how many bytes are to come behind a header, None if it is not whole yet."""
        rule, field = self._rule, header[self._rule.offset :]
        if not field or not self._is_whole(field, replies):
            return None
        if rule.width:
            number = int.from_bytes(field, "little" if rule.is_little else "big")
        else:
            number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(field))
        if number > MOST_REPLY_BYTES:
            raise Unexpected(TOO_LONG, replies)
        left = number + rule.adjust
        if left < 0:
            raise Unexpected(BAD_LENGTH, replies)
        if len(header) + left > rule.most:
            raise Unexpected(TOO_LONG, replies)
        return left

    def _is_whole(self, field: bytes, replies: int) -> bool:
        if self._rule.width:
            return len(field) == self._rule.width
        if len(field) > _MOST_VARINT_BYTES:
            raise Unexpected(BAD_LENGTH, replies)
        return field[-1] < 0x80
