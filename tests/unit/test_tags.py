"""What a person says of a run, from the command line to the reports and through a merge."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadkit.errors import LoadkitError, OptionError, ProfileError
from loadkit.library.options import read_blast_options
from loadkit.profile.read import load_profile
from loadkit.profile.tags import Tag, tags_of
from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_text
from loadkit.report.fold import UNLIKE_TAGS
from loadkit.report.merge import merge_records
from loadkit.report.record import RunId, RunRecord
from tests.golden.made_up import RUNS
from tests.unit.test_report_merge import _record


def tagged(number: int, **tags: str) -> RunRecord:
    """Returns a run of its own with these tags."""
    record = RUNS["closed_loop"]()
    return msgspec.structs.replace(record, run=RunId(f"{number:016x}"), tags=tags)


def test_the_value_may_be_empty_and_have_an_equals_sign() -> None:
    assert tags_of([Tag.parse("a=1=2"), Tag.parse("build.id-2="), Tag.parse("_x=ü 3")]) == {
        "a": "1=2",
        "build.id-2": "",
        "_x": "ü 3",
    }


@pytest.mark.parametrize(
    "text", ["", "build", "=1", "1a=2", "a b=1", "a" * 65 + "=1", "a=\x1b[31m", "a=1\n2", "a=" + "x" * 257, 3]
)
def test_what_is_no_tag_is_refused_in_one_line_that_names_the_option(text: object) -> None:
    with pytest.raises(OptionError, match=r"^--tag: ") as refused:
        load_profile(None, {"tag": (text,)})
    assert "\n" not in str(refused.value)


def test_a_key_is_given_once() -> None:
    with pytest.raises(OptionError, match=r"^--tag: build is given twice, as '1' and '2'"):
        tags_of([Tag("build=1"), Tag("build=2")])


def test_a_profile_and_a_keyword_have_tags_too(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('tag = ["build=1", "host=a"]')
    assert tags_of(load_profile(str(path), {})[0].tag) == {"build": "1", "host": "a"}
    assert tags_of(load_profile(str(path), read_blast_options({"tag": "build=2"}))[0].tag) == {"build": "2"}
    path.write_text('tag = ["build"]')
    with pytest.raises(ProfileError, match=r"my\.toml: tag\[0\]: expected KEY=VALUE") as refused:
        load_profile(str(path), {})
    assert isinstance(refused.value, LoadkitError)


def test_the_reports_have_them() -> None:
    record = tagged(1, build="4f2a91c", note="new kernel")
    assert any(
        line.split() == ["tags", "build=4f2a91c,", "note=new", "kernel"] for line in as_text(record).splitlines()
    )
    assert "build=4f2a91c, note=new kernel" in as_markdown(record)
    assert "tags" not in as_text(tagged(1)).split()


def test_a_merged_record_keeps_the_tags_that_all_of_its_runs_have_and_says_which_it_lacks() -> None:
    runs = [
        msgspec.structs.replace(_record([1_000_000] * 10), tags=tags)
        for tags in (
            {"build": "1", "host": "a", "note": "x"},
            {"build": "1", "host": "b", "note": "x"},
            {"build": "1", "host": "a"},
        )
    ]
    whole = merge_records(runs)
    assert whole.tags == {"build": "1"}
    assert whole.tags_missing == {"host": UNLIKE_TAGS, "note": UNLIKE_TAGS}
    assert "build=1; not the same in all runs: host, note" in as_text(whole)
    part = merge_records([merge_records(runs[1:]), runs[0]])
    assert (part.tags, part.tags_missing) == (whole.tags, whole.tags_missing)
