"""Fields of message texts: what they write, how long they are, and what is refused."""

from __future__ import annotations

import random
import re
import uuid
from statistics import fmean

import pytest

from loadkit.wire.fields import Fresh, Written, field_of
from loadkit.wire.texts import Slot, TextError

_FILES = {"words": b"alpha\nbe\r\n\ngamma three\n", "empty": b"", "blank": b"\n\r\n\n"}


def _field(spec: str) -> Fresh | Written:
    return field_of(Slot(spec, 5), _FILES)


@pytest.mark.parametrize(
    ("spec", "pattern"),
    [
        ("rand:7-7", b"7"),
        ("rand:0-9", b"[0-9]"),
        ("rand:1-1000:04", b"[01][0-9]{3}"),
        ("rand:1-1000:4", b"[01][0-9]{3}"),
        ("hex:1", b"[0-9a-f]"),
        ("hex:16", b"[0-9a-f]{16}"),
        ("uuid", b"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("bytes:16", b"(?s:.{16})"),
        ("bytes:1KiB", b"(?s:.{1024})"),
        ("choice:words", b"alpha|be|gamma three"),
    ],
)
def test_what_is_written_before_the_run(spec: str, pattern: bytes) -> None:
    field = _field(spec)
    assert isinstance(field, Written)
    chance = random.Random(1)
    written = [field.write(chance) for _ in range(2000)]
    assert all(re.fullmatch(pattern, text) for text in written)
    assert max(map(len, written)) == field.length.most
    assert fmean(map(len, written)) == pytest.approx(field.length.mean, rel=0.1)


@pytest.mark.parametrize(
    ("spec", "lengths"),
    # 9 numbers of one digit and 2 of two; 1 of one, 90 of two, 1 of three.
    [("rand:1-11", (9 + 2 * 2) / 11), ("rand:9-100", (1 + 90 * 2 + 3) / 92), ("rand:9-100:03", 3), ("rand:0-0", 1)],
)
def test_the_mean_length_of_a_number_is_exact(spec: str, lengths: float) -> None:
    field = _field(spec)
    assert isinstance(field, Written)
    assert field.length.mean == pytest.approx(lengths)


def test_every_value_comes_and_none_outside() -> None:
    number, choice = _field("rand:3-6"), _field("choice:words")
    assert isinstance(number, Written)
    assert isinstance(choice, Written)
    chance = random.Random(2)
    assert {number.write(chance) for _ in range(200)} == {b"3", b"4", b"5", b"6"}
    assert {choice.write(chance) for _ in range(200)} == {b"alpha", b"be", b"gamma three"}


def test_a_uuid_is_of_version_4() -> None:
    field = _field("uuid")
    assert isinstance(field, Written)
    assert uuid.UUID(field.write(random.Random(3)).decode()).version == 4


@pytest.mark.parametrize(
    ("spec", "fresh"),
    [
        ("n", Fresh(0, 10)),
        ("n:08", Fresh(0, 8)),
        ("n:19", Fresh(0, 19)),
        ("conn", Fresh(1, 8)),
        ("worker:1", Fresh(2, 1)),
        ("now_ns", Fresh(3, 19)),
    ],
)
def test_what_is_fresh_in_each_message_has_a_fixed_number_of_digits(spec: str, fresh: Fresh) -> None:
    assert _field(spec) == fresh


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "unknown field {}: there are {n} {conn} {worker} {now_ns} {rand:a-b}"),
        ("nn", "unknown field {nn}: there are"),
        ("rand", "{rand}: expected two whole numbers, such as {rand:1-1000}, or with digits {rand:1-1000:04}"),
        ("rand:9-1", "{rand:9-1}: 9 is above 1"),
        ("rand:-5-1", "{rand:-5-1}: expected two whole numbers"),
        ("rand:1-1000:03", "{rand:1-1000:03}: 1000 has more than 3 digits"),
        ("rand:1-9:0", "{rand:1-9:0}: expected a number of digits from 1 to 19, such as :08"),
        (f"rand:1-{2**63}", "the most is 9223372036854775807"),
        (f"rand:1-{'9' * 5000}", "the most is 9223372036854775807"),
        ("n:0", "{n:0}: expected a number of digits from 1 to 19, such as :08"),
        ("n:20", "{n:20}: expected a number of digits"),
        ("n:", "{n:}: expected a number of digits"),
        ("n:٣", "expected a number of digits"),
        (f"n:{'9' * 5000}", "expected a number of digits"),
        ("hex", "{hex}: expected a number of hexadecimal digits from 1 to 4096, such as {hex:16}"),
        ("hex:0", "{hex:0}: expected a number of hexadecimal digits"),
        ("hex:4097", "{hex:4097}: expected a number of hexadecimal digits"),
        ("uuid:4", "{uuid:4}: {uuid} takes nothing more"),
        ("bytes:0", "{bytes:0}: the size has to be from 1 B to 1 GiB"),
        ("bytes:2GiB", "{bytes:2GiB}: the size has to be from 1 B to 1 GiB"),
        ("bytes:x", "{bytes:x}: expected a size such as 64B"),
        ("choice", "{choice}: expected the name of a file whose lines are the choices"),
        ("choice:empty", "{choice:empty}: the file has no line with anything in it"),
        ("choice:blank", "{choice:blank}: the file has no line with anything in it"),
    ],
)
def test_what_cannot_be_says_why_and_where(spec: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        _field(spec)
    assert message in str(caught.value)
    assert str(caught.value).startswith("column 5: ")
