r"""Bytes written as text in an option, of what is sent and of what is expected: `get 1\r\n`, `\x00\x01`."""

from __future__ import annotations

import re

__all__ = ["escape", "unescape"]

_ONE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "'": b"'", '"': b'"'}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.?))", re.DOTALL)
_KNOWN = r"\r \n \t \0 \\ \' \" and \xHH are known"


def unescape(text: str) -> bytes:
    """Returns the bytes of a text in UTF-8, its escapes replaced. Raises ValueError for an escape that is not known."""
    parts, at = [], 0
    for found in _ESCAPE.finditer(text):
        parts.append(text[at : found.start()].encode())
        at = found.end()
        if found[1]:
            parts.append(bytes([int(found[1], 16)]))
        elif found[2] in _ONE:
            parts.append(_ONE[found[2]])
        else:
            raise ValueError(f"unknown escape {found[0]} in {text!r}: {_KNOWN}")
    return b"".join([*parts, text[at:].encode()])


def escape(content: bytes) -> str:
    """Returns bytes as the text that `unescape` reads as them, in printable ASCII."""
    named = {value[0]: f"\\{letter}" for letter, value in _ONE.items() if letter not in "'\""}
    return "".join(
        named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F and byte != 0x27 else f"\\x{byte:02x}") for byte in content
    )
