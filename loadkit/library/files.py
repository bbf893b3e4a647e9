"""Files that are written: found writable before the run, then replaced whole or not at all.

A file is made under a random name in the same folder, and renamed (rename(2)) once it is on the disk. If the name could
be guessed, another process could put a symbolic link there, and two containers with our process as number 1 share it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadkit.errors import OptionError, OutputError
from loadkit.procfs import text_of
from loadkit.run.signals import hold

__all__ = [
    "NOWHERE",
    "ReadyFile",
    "add_to",
    "check_names",
    "check_writable",
    "keep",
    "keep_new",
    "remove_old_ready_file",
    "rescue",
    "write_whole",
]

# proc(5): the fifth field is where it is mounted, with octal escapes.
MOUNTS = Path("/proc/self/mountinfo")

NOWHERE = "no other folder takes the record"

# A new file of ours, or no file.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_READY = 2**20  # bytes; a worker takes some 40
# As a shell has it: the umask removes bits from it, and a default ACL of the folder applies.
_MODE = 0o666


# -- before the run


def check_names(named: Sequence[tuple[str, str]]) -> None:
    """Raises OptionError when a name is empty, or two are of one file; `named` has (option, path) of each output."""
    seen: dict[str, str] = {}
    for option, path in named:
        if not path or path.endswith("/"):
            raise OptionError(f"{option}: give the name of a file")
        where = str(Path(os.path.realpath(Path(path).parent)) / Path(path).name)
        if where in seen:
            also = option if seen[where] == option else f"{seen[where]} and {option}"
            raise OptionError(f"{also}: {path} is named twice, and one would replace the other; give each its own name")
        seen[where] = option


@hold()  # a signal would leave what it makes
def check_writable(path: str) -> None:
    """Raises OutputError now rather than after the run, by making a file of that name in a new folder beside it."""
    try:
        there = _find_status(path)
        reason = _find_hindrance(path, there) if there else None
        if reason:
            raise OutputError(f"{path}: {reason}")
        _try_name(path)
    except (OSError, ValueError) as error:
        advice = "make its directory, or give another" if isinstance(error, FileNotFoundError) else "give another"
        raise OutputError(f"{path}: cannot be written: {_say(error)}; {advice}") from None


def _find_hindrance(path: str, there: os.stat_result) -> str | None:
    """Returns why rename() would not replace what is there, though another file can be made beside it: rename(2).

    EBUSY if it is a mount point, as docker's -v of a single file makes it; EPERM if it is another user's, in a
    directory with the sticky bit, such as /tmp. A device or pipe could be replaced, and must not be.
    """
    meant = there
    if stat.S_ISLNK(there.st_mode):
        # /dev/stdout leads to /proc/self/fd/1: what it leads to cannot be replaced there.
        if str(Path(path).readlink()).startswith(("/proc/", "/dev/")):
            return "is not a file name; give one"
        with contextlib.suppress(OSError):
            meant = os.stat(path)  # noqa: PTH116
    if stat.S_ISDIR(meant.st_mode):
        return "is a directory; give a file name"
    if not stat.S_ISREG(meant.st_mode) and not stat.S_ISLNK(meant.st_mode):
        return "is a device, pipe or socket; give a file name"
    folder = Path(path).absolute().parent
    name = str(folder.resolve() / Path(path).name).replace("\\", "\\134").replace(" ", "\\040")
    if any(line.split()[4:5] == [name] for line in text_of(MOUNTS).splitlines()):
        why = "it is mounted by itself, and only a mounted folder can take a new file"
        return f"cannot be replaced: {why}; give another name"
    owners = (0, there.st_uid, folder.stat().st_uid)
    if folder.stat().st_mode & stat.S_ISVTX and os.geteuid() not in owners:
        return "cannot be replaced: it belongs to another user; give another name"
    return None


def _try_name(path: str) -> None:
    """Makes a file of that very name in a new folder: the file system says whether the name is possible.

    It may be too long, or have bytes that this file system does not take. Raises OSError or ValueError.
    """
    folder = _beside(path)
    os.mkdir(folder, 0o700)  # noqa: PTH102
    try:
        inside = Path(folder) / Path(path).name
        fd = os.open(inside, _NEW, _MODE)
        try:
            os.write(fd, b"\n")  # is the disk full?
        finally:
            os.close(fd)
            inside.unlink()
    finally:
        Path(folder).rmdir()


# -- afterwards


@hold()
def write_whole(path: str, text: str) -> None:
    """Writes a new file and renames it to `path`: a reader sees the old file or the new one.

    It has the mode of the file that it replaces, and its owner where that is allowed. Raises OutputError; then nothing
    has changed.
    """
    try:
        temporary = f"{_beside(path)}.part"
        with _removed_if_it_fails(temporary, os.open(temporary, _NEW, _MODE)) as fd:
            _take_after(fd, path)
            data = memoryview(text.encode("utf-8", "replace"))
            while data:
                data = data[os.write(fd, data) :]
            _sync(fd)
            os.rename(temporary, path)  # noqa: PTH104
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {_say(error)}") from None


def add_to(path: str, text: str) -> None:
    """Adds the text to the end of a file, which is made if it is not there. Raises OutputError."""
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be added to: {_say(error)}") from None


def keep(path: str, text: str) -> None:
    """Writes a record to `path`, or else to a folder that takes it. Raises OutputError then, which says where it is."""
    try:
        write_whole(path, text)
    except OutputError as error:
        raise OutputError(f"{error}; {rescue(text, [path]) or NOWHERE}") from None


def keep_new(path: Path, text: str) -> Path:
    """Does the same without replacing a file of that name: as `run-2.json`. Returns where. Raises OutputError."""
    free = path
    for number in itertools.count(2):
        try:
            # The name is ours once there is an empty file of it, whatever other processes do.
            os.close(os.open(free, _NEW, _MODE))
            break
        except FileExistsError:
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        except (OSError, ValueError) as error:
            raise OutputError(f"{free}: cannot be written: {_say(error)}; {rescue(text, []) or NOWHERE}") from None
    try:
        keep(str(free), text)
    except BaseException:
        free.unlink(missing_ok=True)
        raise
    return free


def rescue(text: str, paths: Sequence[str]) -> str | None:
    """Writes a record to the first folder that takes it, and says which file that is; None if there is none.

    Those of the paths come first, then the current one and the one for temporary files.
    """
    import tempfile

    folders = [os.path.dirname(path) for path in paths]  # noqa: PTH120
    with contextlib.suppress(OSError):
        folders += ["", tempfile.gettempdir()]
    for folder in dict.fromkeys(folders):
        path = str(Path(folder) / f"loadkit-{os.urandom(4).hex()}.json")
        with contextlib.suppress(OutputError):
            write_whole(path, text)
            return f"the record is in {path}"
    return None


class ReadyFile:
    """A file that exists while something is ready, and neither before nor after. Without a path there is no file."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._ours: int | None = None  # open, so that no other file can get its inode number

    def prepare(self) -> None:
        """Removes what an earlier process has left. Raises OutputError, also for what could not be written later."""
        if self._path is None:
            return
        check_writable(self._path)
        try:
            Path(self._path).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be removed: {_say(error)}; give another name") from None

    def write(self, text: str) -> None:
        """Writes the file: it is ready now. Raises OutputError."""
        if self._path is not None:
            write_whole(self._path, text)
            with contextlib.suppress(OSError):
                self._ours = os.open(self._path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def rewrite(self, text: str) -> None:
        """Writes another text. A file that is gone, or that another process has replaced, is left alone.

        Raises OutputError.
        """
        if self._is_there():
            self._let_go()
            self.write(text)

    def close(self) -> None:
        """Removes the file. A file that another process has put in its place is left alone."""
        if self._path is not None and self._is_there():
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
        self._let_go()

    def _is_there(self) -> bool:
        """Whether the file of that name is the one that we wrote."""
        with contextlib.suppress(OSError):
            if self._path is not None and self._ours is not None:
                return os.path.samestat(os.fstat(self._ours), os.lstat(self._path))
        return False

    def _let_go(self) -> None:
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None


def remove_old_ready_file(path: str | None) -> None:
    """Removes what an earlier process has left there, where no ReadyFile can be made of it. No other file is touched.

    A path from options that make no sense may be anyone's, so a file goes only if it says where something listens.
    """
    with contextlib.suppress(OSError, ValueError):
        if path and stat.S_ISREG(os.lstat(path).st_mode):
            listening = json.loads(Path(path).read_bytes()[:_LONGEST_READY])
            if isinstance(listening, dict) and {"pid", "port"} <= listening.keys():
                Path(path).unlink()


def _beside(path: str) -> str:
    """Returns a name in the folder of `path` that cannot be guessed. The path, which may be long, is not in it."""
    return str(Path(path).parent / f".loadkit-{os.urandom(8).hex()}")


@contextlib.contextmanager
def _removed_if_it_fails(path: str, fd: int) -> Iterator[int]:
    try:
        yield fd
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _sync(fd: int) -> None:
    """Waits until it is on the disk: a full disk may show only now. Some file systems have no fsync()."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _take_after(fd: int, path: str) -> None:
    """Gives a new file the owner and the mode of the file that it is to replace, as far as the system lets us."""
    there = _find_status(path)
    if there and stat.S_ISREG(there.st_mode):
        with contextlib.suppress(OSError):
            os.fchown(fd, there.st_uid, there.st_gid)
        with contextlib.suppress(OSError):
            os.fchmod(fd, stat.S_IMODE(there.st_mode) & 0o777)


def _find_status(path: str) -> os.stat_result | None:
    """Returns what is there, a symbolic link itself and not what it leads to. Raises OSError or ValueError."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _say(error: OSError | ValueError) -> str:
    """Returns what is wrong, in a few words."""
    if isinstance(error, UnicodeError):
        return "the file system's encoding, which the locale says, lacks a character of it"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
