"""Output files are written whole, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadkit.cli import output
from loadkit.cli.output import FORMATS, check_format, check_writable, find_json, write_record, write_whole
from loadkit.errors import OptionError, OutputError
from loadkit.report.record import load
from tests.golden.made_up import RUNS

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("the old one, which is longer")
    check_writable(str(path))
    assert path.read_text() == "the old one, which is longer"
    write_whole(str(path), "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    target.mkdir()
    with pytest.raises(OutputError, match=r"run\.json: is a directory"):
        check_writable(str(target))
    with pytest.raises(OutputError, match=r"run\.json: cannot be written: "):
        write_whole(str(target), "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
    assert not list(target.iterdir())


def test_a_directory_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    for write in (check_writable, lambda path: write_whole(path, "new")):
        with pytest.raises(OutputError, match="No such file or directory") as caught:
            write(str(tmp_path / "no" / "run.json"))
        assert "\n" not in str(caught.value)


def test_each_format_is_written_beside_the_others(tmp_path: Path) -> None:
    record = load(str(GOLDEN / "saturated.json"))
    write_record(record, [str(tmp_path / f"run{suffix}") for suffix in FORMATS])
    written = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == {".json", ".md", ".xml"}
    assert load(str(tmp_path / "run.json")) == record
    for suffix in (".md", ".xml"):
        assert written[suffix] == (GOLDEN / f"saturated{suffix}").read_text()


def test_what_cannot_be_written_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_record(RUNS["open_loop"](), [str(tmp_path / name) for name in ("no/a.json", "b.md", "no/c.xml")])
    assert [path.name for path in tmp_path.iterdir()] == ["b.md"]
    assert "no/a.json: cannot be written" in str(caught.value)
    assert "no/c.xml: cannot be written" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["run", "run.txt", "run.json.gz", "run.JSON", ".md"])
def test_a_suffix_that_is_no_format_is_answered_with_those_that_are(path: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_format(path)
    assert str(caught.value) == (f"--output: {path}: the suffix says the format, and it is none of .json, .md, .xml")


def test_the_record_among_the_outputs_is_the_one_to_be_read_again() -> None:
    assert find_json(["run.md", "a.json", "b.json"]) == "a.json"
    assert find_json(["run.md"]) is None


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = r"from loadkit.cli.output import write_whole; write_whole('run.md', '\u00b5')"
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=60)
    assert (tmp_path / "run.md").read_bytes() == b"\xc2\xb5"


def test_a_file_that_is_mounted_by_itself_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mounts = tmp_path / "a folder", tmp_path / "mountinfo"
    folder.mkdir()
    mounted = str(folder / "run.json").replace(" ", "\\040")
    mounts.write_text(f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 /run.json {mounted} rw - ext4 b rw\n")
    monkeypatch.setattr(output, "MOUNTS", mounts)
    for name in ("run.json", "other.json"):
        (folder / name).write_text("")
    check_writable(str(folder / "other.json"))
    with pytest.raises(OutputError, match="it is mounted by itself, and only a mounted folder can take a new file"):
        check_writable(str(folder / "run.json"))


def test_somebody_elses_file_in_a_sticky_folder_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("")
    tmp_path.chmod(0o1777)
    check_writable(str(path))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(OutputError, match="it is somebody else's"):
        check_writable(str(path))
    tmp_path.chmod(0o777)
    check_writable(str(path))
