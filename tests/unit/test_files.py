"""Files are replaced whole or not at all, and never through a name that another process could have put there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadkit.errors import OptionError, OutputError
from loadkit.library import files
from loadkit.library.files import ReadyFile, add_to, check_names, check_writable, keep, keep_new, write_whole
from loadkit.limits import open_descriptors

IN_C = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture
def umask() -> Iterator[None]:
    """One that takes the group's right to write, and all of the others'."""
    former = os.umask(0o027)
    yield
    os.umask(former)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# -- writing


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("the old one, which is longer")
    with path.open() as old:
        check_writable(str(path))
        assert path.read_text() == "the old one, which is longer"
        write_whole(str(path), "new")
        assert path.read_text() == "new"
        assert old.read() == "the old one, which is longer"
    assert names(tmp_path) == {"run.json"}


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_mode_of_the_umask_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.touch()
    for mode in (0o600, 0o664, 0o444):
        old.chmod(mode)
        for path in (new, old):
            write_whole(str(path), "text")
        assert (mode_of(new), mode_of(old)) == (0o640, mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_replaced_file_stays_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    os.chown(path, 65534, 65534)
    write_whole(str(path), "new")
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (65534, 65534, "new")


def test_a_symbolic_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "run.json"
    victim.write_text("precious")
    link.symlink_to(victim)
    check_writable(str(link))
    write_whole(str(link), "new")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "new", False)


def test_the_name_until_then_cannot_be_guessed_and_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    opened = os.open

    def look(path: str, flags: int, mode: int = 0o777) -> int:
        seen.append((Path(path).name, flags))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", look)
    for _ in range(2):
        write_whole(str(tmp_path / "run.json"), "new")
    monkeypatch.undo()
    (one, flags), (other, _) = seen
    assert one != other
    assert flags & os.O_EXCL
    assert flags & os.O_NOFOLLOW
    # What is guessed all the same is in the way, and nothing is written through it.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files, "_beside", lambda path: str(tmp_path / "guessed"))
    (tmp_path / "guessed.part").symlink_to(victim)
    with pytest.raises(OutputError, match="File exists"):
        write_whole(str(tmp_path / "run.json"), "newer")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_whatever_fails_leaves_the_old_file_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError) as caught:
        write_whole(str(path), "new")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert (names(tmp_path), path.read_text()) == ({"run.json"}, "old")


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "run.json", []

    def look(fd: int) -> None:
        synced.append((os.fstat(fd).st_size, path.exists()))
        raise OSError(errno.EINVAL, "a file system without fsync()")

    monkeypatch.setattr(os, "fsync", look)
    write_whole(str(path), "text")
    assert synced == [(4, False)]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for call in ("fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_whole(str(tmp_path / "run.json"), "new")
        assert names(tmp_path) == set()


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = r"from loadkit.library.files import write_whole; write_whole('run.md', '\u00b5 \udcff')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=IN_C, check=True, timeout=60)
    assert (tmp_path / "run.md").read_bytes() == b"\xc2\xb5 ?"
    add_to(str(tmp_path / "run.md"), " \u00b5")
    assert (tmp_path / "run.md").read_bytes() == b"\xc2\xb5 ? \xc2\xb5"


# -- before the run


def refused(path: str) -> str:
    """Returns why the file is refused, which is one line, and nothing is left of the attempt."""
    with pytest.raises(OutputError) as caught:
        check_writable(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.mkdir()
    assert refused(str(path)) == "is a directory; give a file name"
    with pytest.raises(OutputError, match=r"run\.json: cannot be written: "):
        write_whole(str(path), "new")
    assert (names(tmp_path), names(path)) == ({"run.json"}, set())


def test_a_directory_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    for write in (check_writable, lambda path: write_whole(path, "new")):
        with pytest.raises(OutputError, match="No such file or directory") as caught:
            write(str(tmp_path / "no" / "run.json"))
        assert "\n" not in str(caught.value)


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        assert refused(str(tmp_path / name)) == "is a device, pipe or socket; give a file name"
    (tmp_path / "stream").symlink_to("/proc/self/fd/1")
    assert refused(str(tmp_path / "stream")) == "is not a file name; give one"
    assert names(tmp_path) == {"pipe", "link", "stream"}
    assert refused("/dev/null") == "is a device, pipe or socket; give a file name"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("x" * 251 + ".json", "File name too long", id="too long"),
        pytest.param("\u00e9" * 126 + ".json", "File name too long", id="too long in bytes"),
        pytest.param("a/" * 2100 + "run.json", "File name too long", id="too long a path"),
        pytest.param("a\0b.json", "embedded null byte", id="a byte that no name has"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_before_the_run(tmp_path: Path, name: str, why: str) -> None:
    assert why in refused(str(tmp_path / name))
    assert names(tmp_path) == set()


def test_a_name_that_is_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    check_writable(str(path))
    assert names(tmp_path) == set()
    write_whole(str(path), "text")
    assert names(tmp_path) == {path.name}


def test_a_name_that_the_locale_lacks_is_refused_before_the_run(tmp_path: Path) -> None:
    code = (
        "from loadkit.library.files import check_writable\n"
        "from loadkit.errors import OutputError\n"
        r"try: check_writable('\u00e9.json')" + "\n"
        "except OutputError as error: print(ascii(str(error)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=IN_C, check=True, timeout=60, capture_output=True, text=True)
    assert "lacks a character of it" in done.stdout
    assert names(tmp_path) == set()


def test_a_full_disk_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", fail)
    assert "No space left on device" in refused(str(tmp_path / "run.json"))
    assert names(tmp_path) == set()


def test_names_are_given_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_names([("--ready-file", "a.json"), ("--output", "b.json")])
    with pytest.raises(OptionError, match=r"--ready-file: give the name of a file"):
        check_names([("--ready-file", "")])
    with pytest.raises(OptionError, match=r"--ready-file and --output: \./a\.json is named twice"):
        check_names([("--ready-file", str(tmp_path / "a.json")), ("--output", "./a.json")])


def test_a_file_that_is_mounted_by_itself_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mounts = tmp_path / "a folder", tmp_path / "mountinfo"
    folder.mkdir()
    mounted = str(folder / "run.json").replace(" ", "\\040").encode()
    mounts.write_bytes(b"1 0 0:1 / /\xff rw - ext4 a rw\n2 1 0:2 /run.json %b rw - ext4 b rw\n" % mounted)
    monkeypatch.setattr(files, "MOUNTS", mounts)
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
    with pytest.raises(OutputError, match="it belongs to another user"):
        check_writable(str(path))
    tmp_path.chmod(0o777)
    check_writable(str(path))


# -- records


def test_a_record_goes_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.json").mkdir()
    (tmp_path / "now").mkdir()
    monkeypatch.chdir(tmp_path / "now")
    for path, folder in ((str(tmp_path / "run.json"), tmp_path), (str(tmp_path / "no/run.json"), Path())):
        with pytest.raises(OutputError) as caught:
            keep(path, "the record")
        where = Path(str(caught.value).rpartition("; the record is in ")[2])
        assert where.parent == folder
        assert where.read_text() == "the record"


def test_new_files_stand_beside_those_of_the_same_name(tmp_path: Path) -> None:
    kept = [keep_new(tmp_path / "run.json", text) for text in "abc"]
    assert [path.name for path in kept] == ["run.json", "run-2.json", "run-3.json"]
    assert [path.read_text() for path in kept] == ["a", "b", "c"]
    assert names(tmp_path) == {path.name for path in kept}


def test_a_new_file_that_fails_leaves_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(path: str, text: str) -> None:
        raise OutputError(f"{path}: cannot be written: a test")

    monkeypatch.setattr(files, "write_whole", fail)
    with pytest.raises(OutputError, match="a test; no other folder takes the record"):
        keep_new(tmp_path / "run.json", "text")
    assert names(tmp_path) == set()


# -- ready files


def test_a_ready_file_is_there_only_between_writing_and_closing(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("of an earlier start")
    ready = ReadyFile(str(path))
    ready.prepare()
    assert names(tmp_path) == set()
    ready.write("ready")
    assert path.read_text() == "ready"
    ready.close()
    assert names(tmp_path) == set()
    ready.close()


def test_a_ready_file_of_a_later_process_is_left_alone(tmp_path: Path) -> None:
    ours, theirs = (ReadyFile(str(tmp_path / "ready.json")) for _ in range(2))
    ours.write("ours")
    theirs.prepare()
    theirs.write("theirs")
    ours.close()
    assert (tmp_path / "ready.json").read_text() == "theirs"
    theirs.close()
    assert names(tmp_path) == set()


def test_a_ready_file_is_rewritten_as_long_as_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    ready = ReadyFile(str(path))
    ready.write("1")
    before = open_descriptors()
    ready.rewrite("2")
    assert path.read_text() == "2"
    assert open_descriptors() == before
    path.unlink()
    ready.rewrite("3")
    assert names(tmp_path) == set()
    path.write_text("theirs")
    ready.rewrite("4")
    ready.close()
    assert path.read_text() == "theirs"


def test_without_a_ready_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ready = ReadyFile(None)
    ready.prepare()
    ready.write("ready")
    ready.close()
    assert names(tmp_path) == set()
