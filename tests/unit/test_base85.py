"""Bytes as text: Python's own encoder of the same base says what is right."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadkit.report import base85


@given(some.binary(max_size=99))
def test_bytes_are_as_python_has_them_with_a_comma_for_what_ends_a_block(data: bytes) -> None:
    text = base85.encode(data)
    assert text == base64.b85encode(data).decode().replace("<", ",")
    assert base85.decode(text.encode()) == data


@pytest.mark.parametrize("text", [b"<", b"00 00", b"\xff", b"~~~~~"])
def test_another_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not of base 85"):
        base85.decode(text)
