"""The header of the PROXY protocol: what a proxy says of a connection that it hands on, before its first byte.

As proxy-protocol.txt of HAProxy has it, versions 1 and 2; engine/native/proxy.c does the same in C. A text of version 1
ends with CRLF. Version 2 is a signature, the version and the command, the family and the protocol, and the length of
what follows: addresses, ports, and more (TLVs), which is skipped.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

__all__ = ["HEADER_NS", "LONGEST_V1", "MOST_V2", "BadHeader", "Header", "ProxyProtocol", "make_header", "read_header"]

# Section 2.1: the longest line, with its CRLF.
LONGEST_V1 = 107
# Of what follows the first 16 bytes of version 2: the TLVs of all proxies in use take some hundred bytes.
MOST_V2 = 4096
# Section 2: a receiver waits for 3 s at least, so that a lost segment can be sent again.
HEADER_NS = 5 * 10**9

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct(">BBH")  # version and command, family and protocol, length
_V2 = len(_SIGNATURE) + _FIXED.size
_LOCAL, _PROXY = 0x20, 0x21
_STREAM_V4, _STREAM_V6 = 0x11, 0x21
# Family and protocol -> the bytes of addresses and ports. UNSPEC has none.
_ADDRESSES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class ProxyProtocol(StrEnum):
    """The version of the header that a blast sends, if it sends one."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"


class BadHeader(ValueError):
    """What came cannot be the beginning of a header."""


class Header(NamedTuple):
    """A header of so many bytes. `is_known`: it names the addresses of a TCP connection."""

    length: int
    version: int
    is_known: bool


def make_header(version: ProxyProtocol, source: Sequence[Any] | str, destination: Sequence[Any] | str) -> bytes:
    """Returns the header of a connection, by what getsockname() and getpeername() say of its ends.

    Of a UNIX socket it names no addresses: UNKNOWN, or LOCAL.
    """
    if isinstance(source, str | bytes):
        return b"PROXY UNKNOWN\r\n" if version is ProxyProtocol.V1 else _SIGNATURE + _FIXED.pack(_LOCAL, 0, 0)
    one, other = (ipaddress.ip_address(str(end[0]).partition("%")[0]) for end in (source, destination))
    if version is ProxyProtocol.V1:
        return f"PROXY TCP{one.version} {one} {other} {source[1]} {destination[1]}\r\n".encode()
    ends = one.packed + other.packed + struct.pack(">HH", source[1], destination[1])
    kind = _STREAM_V4 if one.version == 4 else _STREAM_V6
    return _SIGNATURE + _FIXED.pack(_PROXY, kind, len(ends)) + ends


def read_header(data: bytes) -> Header | None:
    """Returns the header that `data` begins with; None if it is not whole. Raises BadHeader if it cannot be one."""
    if data[:1] == b"P":
        return _read_v1(data)
    return _read_v2(data)


def _read_v1(data: bytes) -> Header | None:
    begin = b"PROXY "
    if data[: len(begin)] != begin[: len(data)]:
        raise BadHeader
    line, end, _ = data[:LONGEST_V1].partition(b"\n")
    if not end:
        if len(data) >= LONGEST_V1:
            raise BadHeader
        return None
    if not line.endswith(b"\r") or b"\0" in line:
        raise BadHeader
    length, words = len(line) + 1, line[:-1].split(b" ")
    if words[1] == b"UNKNOWN":  # the rest is to be ignored
        return Header(length, 1, is_known=False)
    family = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}.get(words[1])
    if family is None or len(words) != 6:
        raise BadHeader
    try:
        for address in words[2:4]:
            socket.inet_pton(family, address.decode("ascii"))
    except (OSError, ValueError):
        raise BadHeader from None
    for port in words[4:]:
        if not port.isdigit() or len(port) > 5 or int(port) > 65535 or (port[:1] == b"0" and len(port) > 1):
            raise BadHeader
    return Header(length, 1, is_known=True)


def _read_v2(data: bytes) -> Header | None:
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise BadHeader
    if len(data) < _V2:
        if len(data) > len(_SIGNATURE) and data[len(_SIGNATURE)] not in (_LOCAL, _PROXY):
            raise BadHeader
        return None
    command, kind, length = _FIXED.unpack_from(data, len(_SIGNATURE))
    if command not in (_LOCAL, _PROXY) or length > MOST_V2:
        raise BadHeader
    if command == _PROXY and length < _ADDRESSES.get(kind, MOST_V2 + 1):
        raise BadHeader
    if len(data) < _V2 + length:
        return None
    return Header(_V2 + length, 2, is_known=command == _PROXY and kind in (_STREAM_V4, _STREAM_V6))
