"""A record, as the text of its file."""

from __future__ import annotations

from typing import Any

import msgspec

from loadkit.printable import json_page

__all__ = ["encode", "encode_line"]


def encode(record: msgspec.Struct) -> str:
    """Returns the record as JSON text, indented, ending in a newline; what cannot be seen stands in escapes."""
    return json_page(msgspec.json.format(_as_json(record), indent=2).decode()) + "\n"


def encode_line(value: Any) -> str:
    """Returns a value of a record in the same way, on one line."""
    return json_page(_as_json(value).decode()) + "\n"


def _as_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # the name of a profile is bytes, which need not be text in this locale, or in any
        return msgspec.json.encode(_readable(msgspec.to_builtins(value)))


def _readable(value: Any) -> Any:
    """Returns plain values with the bytes that stand in their texts (PEP 383) read as UTF-8, as far as they are."""
    if isinstance(value, dict):
        return {_readable(key): _readable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(one) for one in value]
    if not isinstance(value, str):
        return value
    try:
        written = value.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a character, which no system gave us
        written = value.encode(errors="replace")
    return written.decode(errors="replace")
