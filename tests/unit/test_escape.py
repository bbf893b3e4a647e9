from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from markdown_it import MarkdownIt

from loadkit.printable import printable
from loadkit.report.escape import markdown, markdown_code, workflow_message, workflow_property, xml

ANY = st.text(st.characters(exclude_categories=()), max_size=30) | st.text("|\\`*_<>&;#[]{}~ a1\n\x00", max_size=20)


def _cell(markup: str) -> str:
    """What a reader sees in a table cell, read as GitHub reads it; fails where the row is not one cell."""
    page = (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"| a |\n| --- |\n| {markup} |\n| end |\n")
    )
    rows = etree.fromstring(f"<all>{page}</all>").findall(".//td")
    assert [row.text for row in rows[1:]] == ["end"], page
    return "".join(rows[0].itertext())


@given(ANY)
def test_markdown_shows_the_text_and_nothing_of_it_is_markup(text: str) -> None:
    # Backticks make code, which is the one markup that our own texts have: the reader sees the text without them, and
    # without the blanks beside them.
    bare = str.maketrans("", "", "` ")
    assert _cell(markdown(text)).translate(bare) == printable(text).translate(bare)


@given(ANY)
def test_markdown_code_shows_the_text(text: str) -> None:
    assert _cell(markdown_code(text)) == printable(text)


def test_what_stands_between_backticks_is_code() -> None:
    assert markdown("see `a*b` and a*b") == "see `a*b` and a\\*b"


def test_an_underscore_inside_a_word_is_left_alone() -> None:
    assert markdown("WRONG_BYTES _x_") == "WRONG_BYTES \\_x\\_"


@given(ANY)
def test_xml_reads_back_as_the_text(text: str) -> None:
    read = etree.fromstring(f'<a b="{xml(text)}">{xml(text)}</a>'.encode())
    assert (read.text or "") == read.get("b") == printable(text)


def test_a_workflow_command_keeps_its_lines_and_its_percent_signs() -> None:
    assert workflow_message("50%: a, b\r\n::error::no\x1b") == "50%25: a, b%0A::error::no\\x1b"
    assert workflow_property("50%: a, b") == "50%25%3A a%2C b"


@given(ANY)
def test_a_workflow_command_is_one_line_and_its_property_ends_where_it_should(text: str) -> None:
    command = f"::error title={workflow_property(text)}::{workflow_message(text)}"
    assert len(command.splitlines()) == 1
    title, _, message = command.removeprefix("::error title=").partition("::")
    assert not set(title) & set(":,")
    undone = message.replace("%0A", "\n").replace("%25", "%")
    assert undone == "\n".join(printable(line) for line in text.splitlines())
