"""Output files are written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadkit.cli.output import check_writable, write_whole
from loadkit.errors import OutputError


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
