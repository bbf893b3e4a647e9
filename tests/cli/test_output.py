"""The formats of a record, and which outputs a run may have. How files are written: test_files.py."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadkit.cli.output import check_outputs, find_json, write_record
from loadkit.errors import OptionError, OutputError
from loadkit.report.formats import FORMATS, Format, check_format
from loadkit.report.reading import load

GOLDEN = Path(__file__).parents[1] / "golden"


def test_each_format_is_written_beside_the_others(tmp_path: Path) -> None:
    record = load(str(GOLDEN / "saturated.json"))
    write_record(record, [str(tmp_path / f"run{suffix}") for suffix in FORMATS])
    written = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == set(FORMATS)
    assert load(str(tmp_path / "run.json")) == record
    for suffix in (".md", ".xml"):
        assert written[suffix] == (GOLDEN / f"saturated{suffix}").read_text()


def test_what_cannot_be_written_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    record = load(str(GOLDEN / "saturated.json"))
    with pytest.raises(OutputError) as caught:
        write_record(record, [str(tmp_path / name) for name in ("b.md", "no/a.xml", "c.json", "no/d.md")])
    assert {path.name for path in tmp_path.iterdir()} == {"b.md", "c.json"}
    assert str(caught.value) == "; ".join(
        f"{tmp_path}/{name}: cannot be written: No such file or directory" for name in ("no/a.xml", "no/d.md")
    )


def test_a_record_that_cannot_be_written_where_it_should_is_put_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = load(str(GOLDEN / "saturated.json"))
    for outputs in (["no/a.json"], ["no/a.md"], ["no/a.json", "b.md"]):
        with pytest.raises(OutputError) as caught:
            write_record(record, outputs)
        said, _, where = str(caught.value).rpartition("; the record is in ")
        assert said == f"{outputs[0]}: cannot be written: No such file or directory"
        assert load(where) == record


def test_an_output_that_fails_to_be_made_does_not_cost_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setitem(FORMATS, ".md", Format("Markdown", fail))
    record = load(str(GOLDEN / "saturated.json"))
    with pytest.raises(RuntimeError):
        write_record(record, [str(tmp_path / "run.md"), str(tmp_path / "run.json")])
    assert load(str(tmp_path / "run.json")) == record
    with pytest.raises(RuntimeError) as caught:
        write_record(record, [str(tmp_path / "run.md")])
    [note] = caught.value.__notes__
    assert load(note.removeprefix("the record is in ")) == record


def test_a_format_of_a_damaged_histogram_says_so_beside_the_others(tmp_path: Path) -> None:
    record = load(str(GOLDEN / "saturated.json"))
    latency = record.histograms["latency"]
    assert latency
    damaged = {**record.histograms, "latency": msgspec.structs.replace(latency, hdr="HISTFAAA")}
    record = msgspec.structs.replace(record, histograms=damaged)
    with pytest.raises(OutputError) as caught:
        write_record(record, [str(tmp_path / name) for name in ("a.hgrm", "b.jsonl", "c.json")])
    assert str(caught.value).startswith(f"{tmp_path}/a.hgrm: histograms.latency cannot be read: ")
    assert {path.name for path in tmp_path.iterdir()} == {"b.jsonl", "c.json"}


def test_a_page_counts_as_the_record_that_it_has(tmp_path: Path) -> None:
    record = load(str(GOLDEN / "saturated.json"))
    page, missing = str(tmp_path / "run.html"), str(tmp_path / "no" / "run.md")
    with pytest.raises(OutputError) as caught:
        write_record(record, [missing, page])
    assert "the record is in" not in str(caught.value)
    assert load(page) == record
    assert find_json([missing, page]) == page
    assert find_json([page, "run.json"]) == "run.json"


@pytest.mark.parametrize(
    ("paths", "summary", "said"),
    [
        pytest.param(["run.json", "./run.json"], None, "--output: ./run.json is named twice", id="twice"),
        pytest.param(["run.md"], "run.md", "--output and GITHUB_STEP_SUMMARY: run.md is named twice", id="the summary"),
        pytest.param(["a/run.json", "link/run.json"], None, "--output: link/run.json is named twice", id="a link"),
        pytest.param(["folder.json/"], None, "--output: give the name of a file", id="no name"),
    ],
)
def test_outputs_that_are_one_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], summary: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OptionError, match=said):
        check_outputs(paths, {"GITHUB_STEP_SUMMARY": summary})
    check_outputs(["run.json", "run.md", "a/run.json"], {"GITHUB_STEP_SUMMARY": "summary.md"})


@pytest.mark.parametrize("path", ["run", "run.txt", "run.json.gz", "run.JSON", ".md"])
def test_a_suffix_that_is_no_format_is_answered_with_those_that_are(path: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_format(path)
    assert str(caught.value) == (f"--output: {path}: the suffix chooses the format; use one of {', '.join(FORMATS)}")


def test_the_record_among_the_outputs_is_the_one_to_be_read_again() -> None:
    assert find_json(["run.md", "a.json", "b.json"]) == "a.json"
    assert find_json(["run.md"]) is None
