"""The pages hold together: links and anchors lead somewhere, and the README stays a front door."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.pages import PAGES, ROOT, page, prose

MOST_WORDS = 1200
# Of a sentence, or of a part of one that ends with a colon or a semicolon.
MOST_OF_A_SENTENCE = 40


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(name: str, text: str) -> list[str]:
    """Returns the links of a page that lead nowhere; those to other sites are taken as they are."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        file = (PAGES[name].parent / path).resolve() if path else PAGES[name]
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert broken(name, page(name)) == []


def test_a_broken_link_is_seen() -> None:
    text = "[a](docs/none.md) [b](docs/report.md#none) [c](#none) [d](https://example.org/x) [e](docs/report.md#slos)"
    assert broken("README", text) == ["docs/none.md", "docs/report.md#none", "#none"]


def test_the_readme_is_a_front_door() -> None:
    assert len(page("README").split()) <= MOST_WORDS


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((?:docs/)?([\w-]+)\.md[)#]", page("README")))
    assert set(PAGES) - {"README"} == linked


def test_every_file_that_the_pages_name_is_there() -> None:
    named = {
        path
        for name in set(PAGES) - {"CHANGELOG"}
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|c|h|md|json|toml))`", prose(page(name)))
    }
    assert {"report/figures.py", "profile/blast.py", "engine/native/rows.py", "wire/echo.py"} <= named
    assert [path for path in named if not any((root / path).exists() for root in (ROOT, ROOT / "loadkit"))] == []


def test_the_layers_that_contributors_read_are_all_of_them() -> None:
    rows = re.findall(r"^\| (`.*?) \|", page("CONTRIBUTING"), re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    packages = {path.parent.name for path in (ROOT / "loadkit").glob("*/__init__.py")}
    assert packages <= named


def test_no_line_runs_far_beyond_the_others() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if len(line) > 130 and not line.startswith("|")] == []


def sentences(text: str) -> list[str]:
    """Returns the sentences of a page's prose, and their parts around colons and semicolons; tables are left out."""
    plain = re.sub(r"^(\||#|\s*<!--).*$", "", prose(text), flags=re.MULTILINE)
    parts = re.split(r"(?<=[.;:?!])\s+|\n\s*\n|\n\s*- ", plain)
    return [" ".join(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG"])
def test_the_sentences_of_a_page_are_short(name: str) -> None:
    assert [text for text in sentences(page(name)) if len(text.split()) > MOST_OF_A_SENTENCE] == []


def test_a_sentence_ends_with_its_paragraph_or_list_item_and_may_run_over_lines() -> None:
    found = sentences("One two\nthree. Four: five\n\n- six\n- seven\neight\n\n| nine |\n\nten")
    assert found == ["One two three.", "Four:", "five", "- six", "seven eight", "ten"]
