"""Bytes as text for a block of data in a page: four bytes are five characters, where base64 has four for three.

It is RFC 1924's alphabet, as in base64.b85encode, with a comma for `<`, which ends a block. That function takes ten
times as long, a fifth of what the page of an hour's run takes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["decode", "encode"]

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~"
_CHARACTERS = np.frombuffer(_ALPHABET, np.uint8)
_BASE = np.uint32(85)
_POWERS = np.array([85**4, 85**3, 85**2, 85, 1], np.int64)


def encode(data: bytes) -> str:
    """Returns the text of bytes."""
    missing = -len(data) % 4
    words = np.frombuffer(data + bytes(missing), ">u4").astype(np.uint32)
    characters = np.empty((words.size, 5), np.uint8)
    for place in (4, 3, 2, 1, 0):
        # To divide by one number takes numpy a twentieth of what a different one for each does.
        upper = words // _BASE
        characters[:, place] = _CHARACTERS[words - upper * _BASE]
        words = upper
    text = characters.tobytes()
    return str(text[: len(text) - missing], "ascii")


def decode(text: bytes) -> bytes:
    """Returns the bytes of a text. Raises ValueError for one that is none."""
    missing = -len(text) % 5
    values = np.full(256, -1)
    values[_CHARACTERS] = np.arange(85)
    digits = values[np.frombuffer(text + _ALPHABET[-1:] * missing, np.uint8)]
    words = digits.reshape(-1, 5) @ _POWERS
    if words.size and (digits.min() < 0 or words.max() >= 2**32):
        raise ValueError("a character, or a number, that is not of base 85")
    data: bytes = words.astype(">u4").tobytes()
    return data[: len(data) - missing]
