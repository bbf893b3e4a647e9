r"""What a peer that is not an echo server seems to be, by its first bytes; and those bytes, made printable.

The signs are the greetings, and the complaints about a message that makes no sense, of servers as they are found on
port numbers typed by mistake. A peer may imitate them: it "looks like" one.
"""

from __future__ import annotations

import re

__all__ = ["guess", "quote", "recognise", "show"]

# In order: what is more special comes first. Each pattern begins at the first byte.
_SIGNS = (
    ("HTTP", rb"HTTP/[12]\.[0-9] "),
    ("HTTP/2", rb"\x00\x00[\x00-\xff]\x04[\x00\x01]\x00{4}"),  # a SETTINGS frame of stream 0 (RFC 9113, 6.5)
    ("RTSP", rb"RTSP/[12]\.[0-9] "),
    ("SIP", rb"SIP/2\.0 "),
    ("SSH", rb"SSH-[12]\.[0-9]+-"),
    ("TLS", rb"[\x15\x16]\x03[\x00-\x04]"),  # an alert, or a handshake (RFC 8446, 5.1)
    ("memcached", rb"(?:CLIENT_|SERVER_)?ERROR(?: [ -~]*)?\r\n"),
    ("POP3", rb"\+OK (?=[ -~]*(?:POP|[Rr]eady|Dovecot|<[^>\r\n]+>))"),
    ("IMAP", rb"\* (?:OK|PREAUTH|BYE|BAD)\b"),
    ("SMTP", rb"(?:220|421|5[05]0)[ -][ -~]*SMTP"),
    ("FTP", rb"(?:220|421|5[03]0)[ -][ -~]*(?i:ftp)"),
    ("SMTP or FTP", rb"220[ -][ -~]+\r?\n"),
    ("NNTP", rb"20[01] [ -~]*(?:NNTP|InterNetNews|news)"),
    # A packet's length in three bytes, its number 0, then version 10 and the server's in words; or an error packet.
    ("MySQL", rb"[\x00-\xff]{2}\x00\x00\x0a[0-9]+\.[ -~]*\x00|[\x00-\xff]{2}\x00[\x00-\x02]\xff[\x00-\xff]{2}#?[ -~]"),
    ("PostgreSQL", rb"E\x00\x00[\x00-\xff]{2}S(?:FATAL|ERROR|PANIC)\x00|EFATAL: "),
    ("AMQP", rb"AMQP[\x00-\x03]\x00?[\x00-\x09]"),
    ("NATS", rb"INFO \{|-ERR '"),
    ("Redis", rb"-(?:[A-Z]+) [ -~]*\r\n|-(?:ERR|NOAUTH|DENIED|LOADING|MISCONF|WRONGPASS)\b|\+(?:OK|PONG)\r\n|\$-1\r\n"),
    ("Beanstalkd", rb"(?:UNKNOWN_COMMAND|BAD_FORMAT|EXPECTED_CRLF)\r\n"),
    ("VNC", rb"RFB [0-9]{3}\.[0-9]{3}\n"),
    ("Telnet", rb"\xff[\xfb-\xfe][\x00-\xff]"),
    ("LDAP", rb"0[\x00-\xff]{1,6}\x02\x01\x00x"),  # an ExtendedResponse with message 0 (RFC 4511, 4.4)
    ("Cassandra", rb"[\x83-\x85]\x00[\x00-\xff]{0,2}\x00\x00\x00[\x00-\xff]"),
    ("IRC", rb"(?::[!-~]+ )?NOTICE (?:AUTH|\*) "),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _SIGNS)
_ESCAPES = {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r", 0x5C: r"\\", 0x60: r"\x60"}
_SHOWN = 60


def recognise(first_bytes: bytes) -> str | None:
    """Returns the name of the protocol that bytes which begin so look like, None where they are not known."""
    return next((name for name, pattern in _PATTERNS if pattern.match(first_bytes)), None)


def guess(first_bytes: bytes) -> str:
    """Returns what to say of a peer whose reply to an echo message begins so, and is not the message."""
    protocol = recognise(first_bytes)
    return f"this looks like {protocol}" if protocol else "it is not an echo server"


def quote(first_bytes: bytes) -> str:
    """Returns the beginning of what came between backticks, and what it looks like, if that is known."""
    protocol = recognise(first_bytes)
    return f"`{show(first_bytes)}`" + (f", this looks like {protocol}" if protocol else "")


def show(first_bytes: bytes, most: int = _SHOWN) -> str:
    r"""Returns the beginning of the bytes as one line of printable ASCII, `…` at its end where there are more of them.

    It ends with the first line, if that is one of text, and without the end of a line; what cannot be printed, and what
    would end a quotation between backticks, is written as in Python: `\x00`.
    """
    line = re.match(rb"[\t -~]+(?=\r?\n)", first_bytes)
    part = line[0] if line else first_bytes.rstrip(b"\r\n") or first_bytes
    rest = first_bytes[len(part) :].strip(b"\r\n")
    pieces = [_ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in part]
    text = ""
    for piece in pieces:
        if len(text) + len(piece) > most:
            return text + "…"
        text += piece
    return text + ("…" if rest else "")
