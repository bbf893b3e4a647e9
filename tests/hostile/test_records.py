"""A record may come from anywhere: no output obeys it, and what is no record is refused in one line.

`make fuzz-records` tries as many as an hour has room for; here it is a sample, the same each time.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from prometheus_client.openmetrics import parser as openmetrics

from loadkit.cli.app import run
from loadkit.errors import LoadkitError, TargetError
from loadkit.report.as_annotations import as_annotations
from loadkit.report.as_csv import as_csv
from loadkit.report.as_hgrm import as_hgrm
from loadkit.report.as_hlog import as_hlog
from loadkit.report.as_html import as_html
from loadkit.report.as_jsonl import as_jsonl
from loadkit.report.as_junit import as_junit
from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_openmetrics import as_openmetrics
from loadkit.report.as_table import as_table, table_row
from loadkit.report.as_text import as_short_text, as_text
from loadkit.report.merge import merge_records
from loadkit.report.reading import load
from loadkit.report.record import RunRecord
from loadkit.report.serve import join, load_serve
from loadkit.report.writing import encode
from loadkit.wire.recognise import show
from tests.golden.made_up import RUNS, again
from tests.hostile.records import golden, mutated, served, with_texts
from tests.hostile.texts import HOSTILE, is_obeyed, is_seen

pytestmark = pytest.mark.slow

IS_LONG = settings.get_current_profile_name() == "fuzz-records"


def sample(examples: int) -> Callable[[Any], Any]:
    """So many examples, always the same; all that the profile has in `make fuzz-records`."""
    if IS_LONG:
        return settings()
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


FORMATS: dict[str, Callable[[RunRecord], str]] = {
    "csv": lambda record: as_csv(record).replace("\r\n", "\n"),
    "table": lambda record: as_table([table_row(record, "=::evil\x1b.json")]).replace("\r\n", "\n"),
    "interval log": as_hlog,
    "spectrum": as_hgrm,
    "text": lambda record: as_text(record, "::evil\x1b.json"),
    "short text": as_short_text,
    "markdown": as_markdown,
    "junit": as_junit,
    "page": as_html,
    "json lines": as_jsonl,
    "json": encode,
    "openmetrics": as_openmetrics,
}
SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "unit/junit.xsd")))


OURS = ("::error title=", "::warning title=", "::notice title=")


def _assert_tame(output: str) -> None:
    for line in output.split("\n"):
        assert is_seen(line), line
        assert not is_obeyed(line), line


def _assert_each_format_is_tame(record: RunRecord) -> None:
    for name, write in FORMATS.items():
        text = write(record)
        _assert_tame(text)
        if name == "junit":
            SCHEMA.assertValid(etree.fromstring(text.encode()))
        if name == "openmetrics":
            assert list(openmetrics.text_string_to_metric_families(text))
    for line in as_annotations(record):
        assert is_seen(line), line
        assert line.startswith(OURS), line
        title, _, message = line.partition(" title=")[2].partition("::")
        assert not set(title) & set(":,"), line
        assert "##[" not in message, line


@sample(12)
@given(st.sampled_from(sorted(RUNS)), st.lists(HOSTILE, min_size=1, max_size=7))
def test_no_output_obeys_a_record_in_which_each_text_is_hostile(name: str, texts: list[str]) -> None:
    fields = with_texts(golden(name), texts)
    record = _loaded(fields)
    _assert_each_format_is_tame(record)
    # The record is what it was: JSON has the same texts in another spelling.
    assert json.loads(encode(record))["host"] == fields["host"]


@sample(4)
@given(st.sampled_from(sorted(RUNS)), st.lists(HOSTILE, min_size=1, max_size=7))
def test_neither_does_a_fresh_one_with_bytes_that_are_no_text(name: str, texts: list[str]) -> None:
    texts = [f"{text}\udcff\ud800" for text in texts]
    fields = with_texts(golden(name), texts)
    for text in texts:
        fields["load"].pop(text, None)  # what is not in a struct cannot be in a fresh one
    _assert_each_format_is_tame(msgspec.convert(fields, RunRecord))


def _loaded(fields: dict[str, Any]) -> RunRecord:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        path.write_text(json.dumps(fields))
        return load(str(path))


@sample(40)
@given(mutated())
def test_a_record_with_any_value_in_any_place_is_reported_or_refused_in_one_line(fields: dict[str, Any]) -> None:
    try:
        record = _loaded(fields)
        _assert_each_format_is_tame(record)
        merge_records([record])
    except LoadkitError as error:
        _assert_is_one_line(error)


@sample(25)
@given(mutated(), st.booleans())
def test_such_records_are_merged_or_refused_in_one_line(fields: dict[str, Any], is_first: bool) -> None:
    try:
        record = _loaded(fields)
        other = again(record, 5)
        _assert_tame(as_text(merge_records([record, other] if is_first else [other, record])))
    except LoadkitError as error:
        _assert_is_one_line(error)


@sample(20)
@given(mutated(is_serve=True))
def test_the_record_of_a_serve_end_is_joined_or_refused_in_one_line(fields: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.json"
        path.write_text(json.dumps(fields))
        try:
            joined = join(_loaded(golden("open_loop")), load_serve(str(path)), str(path))
            _assert_each_format_is_tame(joined)
            merge_records([joined, again(joined, 5)])
        except LoadkitError as error:
            _assert_is_one_line(error)


@sample(4)
@given(st.lists(HOSTILE, min_size=1, max_size=7))
def test_neither_does_the_report_of_a_serve_end_with_hostile_texts(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.json"
        path.write_text(json.dumps(with_texts(served(), texts)))
        record = load_serve(str(path))
    for write in (as_text, as_markdown):
        _assert_tame(write(record))


def test_such_a_record_is_joined_as_it_is() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.json"
        path.write_text(json.dumps(served()))
        joined = join(_loaded(golden("open_loop")), load_serve(str(path)), str(path))
    assert joined.cpu_per_reply_ns["serve"]


def _assert_is_one_line(error: LoadkitError) -> None:
    assert str(error).isprintable()
    _assert_tame(str(error))


@sample(100)
@given(st.text(st.characters(exclude_categories=())) | HOSTILE)
def test_an_error_is_one_line_whatever_it_quotes(text: str) -> None:
    _assert_is_one_line(LoadkitError(f"{text}: cannot be read: {text}"))


@sample(100)
@given(st.binary() | HOSTILE.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_so_is_one_that_shows_what_a_target_replied(first_bytes: bytes) -> None:
    _assert_is_one_line(TargetError(f"replied `{show(first_bytes)}` to an echo message"))


@pytest.fixture
def loadkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command in this process; returns its exit status, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loadkit", *arguments])
        with pytest.raises(SystemExit) as left:
            run()
        return (int(left.value.code or 0), *capsys.readouterr())

    return command


EVIL = "x\n::error file=a.py,line=1::\x1b]0;b\x07\u202e##[add-mask]"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("report", EVIL), id="a file that is not there"),
        pytest.param(("report", "run.json", "-o", EVIL), id="an output of no format"),
        pytest.param(("report", "run.json", "-o", f"{EVIL}/run.md"), id="an output in no folder"),
        pytest.param(("blast", EVIL), id="a target"),
        pytest.param(("blast", f"{EVIL}:7000"), id="a host"),
        pytest.param(("blast", "--profile", EVIL), id="a profile's name"),
        pytest.param(("blast", "--profile", f"{EVIL}.toml"), id="a profile's file"),
        pytest.param(("blast", "--slo", EVIL), id="an objective"),
        pytest.param(("blast", "--rate", EVIL), id="a quantity"),
        pytest.param(("blast", "--source", EVIL), id="a network"),
        pytest.param(("blast", "--engine", EVIL), id="a choice"),
        pytest.param(("blast", f"--{EVIL}"), id="an option"),
        pytest.param((EVIL,), id="a command"),
        pytest.param(("serve", "--app", f"{EVIL}:f"), id="an app"),
        pytest.param(("doctor", "-c", EVIL), id="a count for the doctor"),
        pytest.param(("ping", EVIL), id="a target to ping"),
        pytest.param(("profiles", "show", EVIL), id="a profile to show"),
    ],
)
def test_a_hostile_argument_makes_one_line_of_error(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text(encode(RUNS["open_loop"]()))
    status, out, err = loadkit(*arguments)
    assert (status in (1, 2), out, err.count("\n")) == (True, "", 1), (status, out, err)
    _assert_tame(err)


def test_a_hostile_variable_makes_one_line_of_warning(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text(encode(RUNS["open_loop"]()))
    monkeypatch.setenv("LOADKIT_REPORT_X\n::error::\x1b", "1")
    status, _out, err = loadkit("report", str(tmp_path / "run.json"))
    assert (status, err.count("\n")) == (0, 1), err
    _assert_tame(err)


def test_the_report_of_a_hostile_record_is_tame_on_stdout_and_in_its_files(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    Path("::evil.json").write_text(json.dumps(with_texts(golden("saturated"), [EVIL])))
    outputs = ["a.json", "a.md", "a.xml"]
    status, out, err = loadkit("report", "::evil.json", "--github", *(f"-o{name}" for name in outputs))
    assert (status, err) == (0, "")
    ours = [line for line in out.splitlines() if line.startswith(OURS)]
    assert ours
    _assert_tame("\n".join(line for line in out.split("\n") if line not in ours))
    for name in (*outputs, "summary.md"):
        _assert_tame(Path(name).read_text())


def test_a_profile_that_is_shown_is_tame(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text('about = "a"\n# \x1b]0;b\x07\u202e\n::error::x\n\tdepth = 1\n')
    status, out, err = loadkit("profiles", "show", "my.toml")
    assert (status, err) == (0, "")
    assert out == 'about = "a"\n# \\x1b]0;b\\x07\\u202e\n\\x3a:error::x\n\tdepth = 1\n'


def test_a_plan_is_tame_json_whatever_its_profile_is_called(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "##[a]\x1b[2J\u202e\udcff.toml"  # the last one is a byte that is no UTF-8
    Path(name).write_text('about = "a"\n')
    status, out, err = loadkit("blast", "--profile", name, "--dry-run")
    assert (status, err) == (0, "")
    assert json.loads(out)["given"]["profile"] == name.replace("\udcff", "\ufffd")
    _assert_tame(out)


PROFILES = {
    "an unknown key": f"{json.dumps(EVIL)} = 1",
    "a wrong value": f"engine = {json.dumps(EVIL)}",
    "a value that looks like a place": 'engine = "x` - at `$.y"',
    "no TOML": EVIL,
    "a list without end": f"slo = {'[' * 100_000}",
    "a number of many digits": f"connections = {'9' * 5_000}",
    "a number beyond floats": f"rate = {'9' * 400}",
    "a text beyond floats": f'rate = "{"9" * 400}"',
    "no number": "rate = nan",
    "infinite": "rate = inf",
    "below 0": "connections = -1",
    "a byte order mark": "\ufeffdepth = 1",
    "too large": "#" * (2**20 + 1),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_hostile_profile_makes_one_line_of_error(
    loadkit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(PROFILES[name])
    status, out, err = loadkit("blast", "--profile", "my.toml", "--dry-run")
    assert (status, out, err.count("\n")) == (1, "", 1), (status, out, err)
    assert err.startswith("loadkit: my.toml: ")
    assert len(err) < 1000
    _assert_tame(err)
