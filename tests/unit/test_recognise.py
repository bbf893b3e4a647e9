from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.echo import echo_script
from loadkit.wire.recognise import recognise, show
from loadkit.wire.script import Stream


@pytest.mark.parametrize(
    ("first_bytes", "name"),
    [
        (b"-ERR unknown command '\x00\x01', with args beginning with: \r\n", "Redis"),
        (b"-ERR Protocol error: unbalanced quotes in request\r\n", "Redis"),
        (b"-NOAUTH Authentication required.\r\n", "Redis"),
        (b"-DENIED Redis is running in protected mode because", "Redis"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "Redis"),
        (b"+OK\r\n", "Redis"),
        (b"+PONG\r\n", "Redis"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n", "HTTP"),
        (b"HTTP/1.0 501 Unsupported method\r\n", "HTTP"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", "HTTP/2"),
        (b"RTSP/1.0 400 Bad Request\r\n", "RTSP"),
        (b"SIP/2.0 400 Bad Request\r\n", "SIP"),
        (b"ERROR\r\n", "memcached"),
        (b"CLIENT_ERROR line too long\r\n", "memcached"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH"),
        (b"220 mail.example.org ESMTP Postfix\r\n", "SMTP"),
        (b"421 4.7.0 mail.example.org ESMTP too busy\r\n", "SMTP"),
        (b"220 (vsFTPd 3.0.3)\r\n", "FTP"),
        (b"220-Welcome to the FTP server\r\n220 ready\r\n", "FTP"),
        (b"220 example.org at your service\r\n", "SMTP or FTP"),
        (b"200 news.example.org InterNetNews NNRP server ready\r\n", "NNTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x32", "TLS"),
        (b"\x16\x03\x03\x00\x7a\x02", "TLS"),
        (b"J\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00", "MySQL"),
        (b"Y\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00", "MySQL"),
        (b"E\x00\x00\x00\xffj\x04Host '10.0.0.7' is not allowed", "MySQL"),
        (b"!\x00\x00\x01\xff\x84\x04#08S01Got packets out of order", "MySQL"),
        (b"E\x00\x00\x00\x8bSFATAL\x00VFATAL\x00C0A000\x00", "PostgreSQL"),
        (b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n", "POP3"),
        (b"+OK Dovecot ready.\r\n", "POP3"),
        (b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", "IMAP"),
        (b"* BAD Error in IMAP command received by server.\r\n", "IMAP"),
        (b"AMQP\x00\x00\x09\x01", "AMQP"),
        (b"AMQP\x03\x01\x00\x00", "AMQP"),
        (b'INFO {"server_id":"NAAA","version":"2.10.1"}\r\n', "NATS"),
        (b"-ERR 'Unknown Protocol Operation'\r\n", "NATS"),
        (b"UNKNOWN_COMMAND\r\n", "Beanstalkd"),
        (b"RFB 003.008\n", "VNC"),
        (b"\xff\xfd\x18\xff\xfd\x20", "Telnet"),
        (b"0$\x02\x01\x00x\x1f\x0a\x01\x02\x04\x00\x04\x00", "LDAP"),
        (b"\x84\x00\x00\x00\x00\x00\x00\x00\x33", "Cassandra"),
        (b":irc.example.org NOTICE * :*** Looking up your hostname\r\n", "IRC"),
    ],
)
def test_a_protocol_is_known_by_its_first_bytes(first_bytes: bytes, name: str) -> None:
    assert recognise(first_bytes) == name


@pytest.mark.parametrize(
    "first_bytes",
    [b"", b"\n", b"hello\r\n", b"-", b"+", b"-ERROR", b"2200 ready\r\n", b"ERRORS\r\n", b"\x00\x00\x00\x00", b"HTTP"],
)
def test_what_is_like_none_of_them_has_no_name(first_bytes: bytes) -> None:
    assert recognise(first_bytes) is None


@pytest.mark.parametrize("size", [1, 64, 251, 4096])
def test_an_echo_is_none_of_them_wherever_it_begins(size: int) -> None:
    stream = Stream(echo_script(size))
    for start in range(len(stream.script.content)):
        assert recognise(bytes(stream.piece(start, min(size, 128)))) is None


@pytest.mark.parametrize(
    ("first_bytes", "shown"),
    [
        (b"-ERR unknown command\r\n", "-ERR unknown command"),
        (b"220 one\r\n220 two\r\n", "220 one…"),
        (b"\x15\x03\x01\x00\x02\x02F", r"\x15\x03\x01\x00\x02\x02F"),
        (b"a\tb\\c`d\n", r"a\tb\\c\x60d"),
        (b"no end of line \xe2\x82\xac", r"no end of line \xe2\x82\xac"),
        (b"-ERR unknown command '\x00'\r\n", r"-ERR unknown command '\x00'"),
        (b"\r\n", r"\r\n"),
        (b"x" * 61, "x" * 60 + "…"),
        (b"x" * 58 + b"\x00", "x" * 58 + "…"),  # an escape is whole or not there
        (b"", ""),
    ],
)
def test_the_bytes_are_shown_as_a_line(first_bytes: bytes, shown: str) -> None:
    assert show(first_bytes) == shown


@given(st.binary(max_size=200))
def test_any_bytes_are_shown_in_printable_characters(first_bytes: bytes) -> None:
    recognise(first_bytes)
    shown = show(first_bytes)
    assert len(shown) <= 61
    assert (shown.isprintable() and shown.removesuffix("…").isascii()) or not first_bytes
    assert "`" not in shown
