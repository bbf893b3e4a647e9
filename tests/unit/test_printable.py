from __future__ import annotations

import json
import shlex
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.printable import cleaned, json_page, page, printable, shell_line, shell_word, shortened, wrapped
from tests.hostile.texts import HOSTILE, is_obeyed, is_seen

ANY = st.text(st.characters(exclude_categories=()), max_size=30) | HOSTILE


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, with µ and …", "plain, with µ and …"),
        (" two\nlines\tand \r\n more ", "two lines and more"),
        ("\x00\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
        ("a\u202eb\u2028c\ufeff", "a\\u202eb c\\ufeff"),
        ("\udcff\ufffe\U0010ffff", "\\udcff\\ufffe\\U0010ffff"),
        ("x ##[add-mask]y ##vso[task.complete]z ###[", "x \\x23#[add-mask]y \\x23#vso[task.complete]z #\\x23#["),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, line: str) -> None:
    assert printable(text) == line


@given(ANY)
def test_a_printable_text_is_one_line_and_stays_what_it_is(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    assert "##[" not in line
    assert printable(line) == line


@pytest.mark.parametrize(
    ("line", "short"),
    [
        pytest.param("x" * 400, "x" * 400, id="a word that is not cut"),
        pytest.param(f"a: {'x' * 401} b", f"a: {'x' * 250}…{'x' * 100} b", id="a word"),
        pytest.param(f"got '{'x ' * 198}x'; b", f"got '{'x ' * 198}x'; b", id="a text that is not cut"),
        pytest.param(f"got '{'x ' * 200}'; b", f"got '{'x ' * 124}x…{' x' * 49} '; b", id="a text in quotation marks"),
        pytest.param(
            f"it's {'x ' * 300}, isn't it", f"it's {'x ' * 300}, isn't it", id="apostrophes are no quotation marks"
        ),
        pytest.param("x " * 2_001, f"{'x ' * 1_250}…{'x ' * 500}", id="a line"),
    ],
)
def test_what_is_very_long_is_cut_in_the_middle(line: str, short: str) -> None:
    assert shortened(line) == short


@given(ANY)
def test_no_line_stays_longer_than_the_most(text: str) -> None:
    for line in (printable(text * 500), repr(printable(text * 500))):
        assert len(shortened(line)) <= 4_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\n::error::b", "a\n\\x3a:error::b", id="a command"),
        pytest.param(" \t ::add-mask::b", " \t \\x3a:add-mask::b", id="a command behind blanks"),
        pytest.param("at ::1, [::1]:7000", "at ::1, [::1]:7000", id="an address"),
        pytest.param("a ##[error]b", "a \\x23#[error]b", id="a command within a line"),
        pytest.param("a\r\x1b]0;b\x07", "a\\r\\x1b]0;b\\x07", id="what a terminal obeys"),
        pytest.param("a\x85::error::", "a\\x85::error::", id="an end of a line to some"),
    ],
)
def test_no_line_of_a_page_is_obeyed(text: str, shown: str) -> None:
    assert page(text) == shown


@given(ANY)
def test_a_page_keeps_its_lines(text: str) -> None:
    shown = page(text)
    assert len(shown.split("\n")) == len(text.split("\n"))
    for line in shown.split("\n"):
        assert is_seen(line.replace("\t", "")), line
        assert not is_obeyed(line), line
    assert page(shown) == shown


@given(st.lists(st.integers(1, 12), max_size=20), st.integers(12, 40))
def test_an_address_stands_behind_a_word_where_a_text_is_broken_into_lines(lengths: list[int], width: int) -> None:
    text = " ".join(f"{'x' * length} ::1" for length in lengths)
    lines = wrapped(text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    assert " ".join(" ".join(lines).split()) == text
    assert page("\n".join(lines)) == "\n".join(lines)


class _Value(msgspec.Struct, frozen=True):
    name: str
    parts: tuple[str, ...]
    more: dict[str, object]


def test_each_text_of_a_value_is_cleaned_and_nothing_else_is_changed() -> None:
    value = _Value("a\nb", ("c\x1b", "d"), {"e\t": ["f\u2028g", 1, None, 2.5, True]})
    assert cleaned(value) == _Value("a b", ("c\\x1b", "d"), {"e": ["f g", 1, None, 2.5, True]})


@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.sampled_from(["##[a]", "\x7f\u202e\U0010ffff"])
)
def test_json_has_the_same_values_and_nothing_that_cannot_be_seen(text: str) -> None:
    value = {text: [text, {"a": 1}]}
    written = json_page(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    assert json.loads(written) == msgspec.json.decode(written) == value
    assert all(is_seen(line) and not is_obeyed(line) for line in written.split("\n"))


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain", "plain"),
        ("two words", "'two words'"),
        ("it's", "'it'\"'\"'s'"),
        ("a\nb'\x1b\\", "$'a\\x0ab\\x27\\x1b\\x5c'"),
        ("caf\udce9", "$'caf\\xe9'"),
        ("##[add-mask]", "$'\\x23\\x23[add-mask]'"),
        ("µ\u202e", "$'µ\\xe2\\x80\\xae'"),
    ],
)
def test_a_word_is_quoted_for_a_shell(word: str, quoted: str) -> None:
    assert shell_word(word) == quoted
    assert printable(quoted) == quoted


def test_bash_reads_the_very_words() -> None:
    words = [
        "plain",
        "two words",
        "it's",
        "a\nb'\x1b\\",
        "caf\udce9",
        "##[x]",
        "µ\u202e\u2028",
        "",
        "-x",
        "$HOME",
        "$'a'",
    ]
    script = f"printf '%s\\0' {shell_line(words)}"
    assert script.isprintable()
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(lambda word: "##" not in word)))
def test_words_that_can_be_seen_are_quoted_as_everywhere(words: list[str]) -> None:
    assert shell_line(words) == shlex.join(words)
