"""unix:PATH, unix:@NAME and unix:///PATH, to the address of a UNIX socket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from loadkit.endpoint import LONGEST_UNIX_PATH, UNIX, is_unix, unix_path
from loadkit.errors import OptionError, TargetError
from loadkit.plan.target import Target

__all__ = ["kind_of_file", "read_unix", "refuse_other_files"]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a FIFO"),
)


def read_unix(text: str) -> Target | None:
    """Returns the target that `text` names, with its path made absolute; None if it is not a UNIX socket's.

    A path that fits only as it was given, relative, stays so. Raises OptionError for one that no socket can have.
    """
    text = text.strip()
    if not is_unix(text):
        return None
    path = _path_of(text)
    if path.startswith("@"):
        return Target(UNIX + path, (UNIX + path,), 0, is_local=True)
    absolute = str(Path(path).absolute())
    fits = len(os.fsencode(absolute)) <= LONGEST_UNIX_PATH
    return Target(UNIX + path, (UNIX + (absolute if fits else path),), 0, is_local=True)


def _path_of(text: str) -> str:
    path = text.removeprefix(UNIX)
    if path.startswith("//"):
        # A URL: between // and the next / a host would stand.
        path = path.removeprefix("//")
        if not path.startswith(("/", "@")):
            raise OptionError(
                f"{text!r} names a host: a URL of a UNIX socket has three slashes, as in unix:///run/x.sock"
            )
    length = len(os.fsencode(path.removeprefix("@")))
    if not length:
        raise OptionError(f"{text!r} has no path: give unix:/run/x.sock, or unix:@NAME for an abstract name")
    if "\0" in path or not path.isprintable():
        raise OptionError(f"{text!r}: the path has a character that cannot be printed; give another one")
    if length > LONGEST_UNIX_PATH:
        raise OptionError(
            f"{text!r}: the path has {length} bytes, and that of a socket has {LONGEST_UNIX_PATH} at most (unix(7)); "
            f"give a shorter one, or change to its folder and give it relative to that"
        )
    return path


def refuse_other_files(target: Target) -> None:
    """Raises TargetError if what is at the path is not a socket. Nothing there is for connect(2) to say."""
    path = unix_path(target.addresses[0])
    if path is None:
        return
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise TargetError(f"{target.host} is {kind_of_file(mode)}, not a socket; check the path")


def kind_of_file(mode: int) -> str:
    """Returns what a file other than a socket is, from its mode."""
    return next((kind for is_it, kind in _KINDS if is_it(mode)), "a device")
