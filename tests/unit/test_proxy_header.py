"""Headers of the PROXY protocol: the Python reference, and its twin in C on the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.engine.compiled import native_missing
from loadkit.wire.proxy_header import LONGEST_V1, MOST_V2, BadHeader, Header, ProxyProtocol, make_header, read_header

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V4 = bytes([192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0x01, 0xBB])
_V6 = (bytes(15) + b"\1") * 2 + b"\0\1\0\2"
_LONGEST = b"PROXY UNKNOWN " + b"x" * (LONGEST_V1 - 16) + b"\r\n"

# What a stream begins with -> its header; None: it is none.
HEADERS = {
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n": Header(45, 1, True),
    b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n": Header(36, 1, True),
    b"PROXY UNKNOWN\r\n": Header(15, 1, False),
    b"PROXY UNKNOWN ffff::1 and more\r\n": Header(32, 1, False),
    _LONGEST: Header(LONGEST_V1, 1, False),
    b"PROXY UNKNOWN " + b"x" * LONGEST_V1: None,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n": None,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 65536\r\n": None,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 056 443\r\n": None,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 443\r\n": None,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n": None,
    b"PROXY TCP4 ::1 ::1 1 2\r\n": None,
    b"PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n": None,
    b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n": None,
    b"PROXY TCP4 192.0.2.1\0 198.51.100.7 1 2\r\n": None,
    b"PROXY\r\n": None,
    b"POST / HTTP/1.1\r\n": None,
    b"hello": None,
    _SIGNATURE + b"\x21\x11\x00\x0c" + _V4: Header(28, 2, True),
    _SIGNATURE + b"\x21\x11\x00\x10" + _V4 + b"\x04\x00\x01x": Header(32, 2, True),
    _SIGNATURE + b"\x21\x21\x00\x24" + bytes(36): Header(52, 2, True),
    _SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216): Header(232, 2, False),
    _SIGNATURE + b"\x21\x00\x00\x00": Header(16, 2, False),
    _SIGNATURE + b"\x20\x00\x00\x00": Header(16, 2, False),
    _SIGNATURE + b"\x20\x11\x00\x0c" + _V4: Header(28, 2, False),
    _SIGNATURE + b"\x21\x11\x10\x00" + bytes(MOST_V2): Header(16 + MOST_V2, 2, True),
    _SIGNATURE + b"\x21\x11\x10\x01" + bytes(MOST_V2 + 1): None,
    _SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11): None,
    _SIGNATURE + b"\x21\x44\x00\x0c" + _V4: None,
    _SIGNATURE + b"\x11\x11\x00\x0c" + _V4: None,
    _SIGNATURE + b"\x22\x11\x00\x0c" + _V4: None,
    _SIGNATURE[:-1] + b"X\x21\x11\x00\x0c" + _V4: None,
}


def read(data: bytes) -> Header | str:
    """Returns the header, or `part` or `bad`."""
    try:
        return read_header(data) or "part"
    except BadHeader:
        return "bad"


def read_in_c(data: bytes, piece: int) -> Header | str:
    """The same by the compiled core, which is given so many bytes at a time."""
    from loadkit.engine.native import _core

    state, used, version, is_known = _core.take_header(data, piece)
    return ("part", Header(used, version, is_known), "bad")[state]


@pytest.mark.parametrize("data", HEADERS, ids=lambda data: repr(data[:40]))
def test_a_header_is_read_and_what_is_none_is_refused(data: bytes) -> None:
    wanted = HEADERS[data]
    assert read(data) == (wanted or "bad")
    assert read(data + b"behind it") == (wanted or "bad")
    for length in range(min(len(data), 300)) if wanted else ():
        assert read(data[:length]) == "part"


@pytest.mark.skipif(native_missing() is not None, reason="the compiled engine is not there")
@pytest.mark.parametrize("data", HEADERS, ids=lambda data: repr(data[:40]))
def test_the_core_reads_what_python_reads_in_any_pieces(data: bytes) -> None:
    wanted = HEADERS[data] or "bad"
    for piece in (1, 2, 7, 16, 10_000):
        assert read_in_c(data + b"behind it", piece) == wanted
    assert read_in_c(data[:-1], 1) == read(data[:-1])


@pytest.mark.skipif(native_missing() is not None, reason="the compiled engine is not there")
@given(
    st.sampled_from(sorted(HEADERS)),
    st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=3)), max_size=3),
    st.integers(1, 40),
)
def test_the_core_reads_damaged_headers_as_python_does(
    data: bytes, changes: list[tuple[int, bytes]], piece: int
) -> None:
    for at, new in changes:
        data = data[:at] + new + data[at + len(new) :]
    assert read_in_c(data, piece) == read(data)


@pytest.mark.parametrize(
    ("version", "source", "destination", "header"),
    [
        ("v1", ("192.0.2.1", 56324), ("198.51.100.7", 443), b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"),
        ("v1", ("2001:db8::1", 1, 0, 0), ("fe80::1%lo", 2, 0, 1), b"PROXY TCP6 2001:db8::1 fe80::1 1 2\r\n"),
        ("v1", "", "/run/echo.sock", b"PROXY UNKNOWN\r\n"),
        ("v2", ("192.0.2.1", 56324), ("198.51.100.7", 443), _SIGNATURE + b"\x21\x11\x00\x0c" + _V4),
        (
            "v2",
            ("::1", 1, 0, 0),
            ("::1", 2, 0, 0),
            _SIGNATURE + b"\x21\x21\x00\x24" + (bytes(15) + b"\1") * 2 + b"\0\1\0\2",
        ),
        ("v2", b"\0name", "", _SIGNATURE + b"\x20\x00\x00\x00"),
    ],
)
def test_a_header_names_the_ends_of_a_connection(version: str, source: str, destination: str, header: bytes) -> None:
    assert make_header(ProxyProtocol(version), source, destination) == header
