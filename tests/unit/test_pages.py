"""The pages hold together: links and anchors lead somewhere, and the README stays a front door."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.pages import PAGES, ROOT, page, prose

MOST_WORDS = 1200


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


def test_nothing_is_wider_than_a_terminal() -> None:
    wide = [
        f"{path.name}:{number}"
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 150
    ]
    assert wide == []
