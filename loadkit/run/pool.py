"""The pool of messages that all workers of a run send from: a sealed memfd, which each of them maps.

Layout: the words of _HEAD, then the ends of the messages and the patches, a word each, then the content. It is written
once, before the workers are there. Its seals keep it as it is: no process can write to it, or change its size.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from array import array
from collections.abc import Iterator

from loadkit.errors import OptionError
from loadkit.limits import setting_up
from loadkit.plan.load import Load
from loadkit.plan.messages import facts_of, script_of
from loadkit.profile.contents import read_contents
from loadkit.units import format_size
from loadkit.wire.script import Script

__all__ = ["attach", "pool_of", "shared"]

# How many bytes of content, ends and patches there are, and the script's block and starts.
_HEAD = struct.Struct("=5q")
_WORD = 8
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def pool_of(load: Load) -> Script | None:
    """Writes what is in the pool of a load; None if it has none.

    Raises OptionError for a file of its messages that cannot be read, or is another one than when the run was planned.
    """
    if load.pool is None:
        return None
    contents = read_contents("--send", [file.name for file in load.files])
    for file in load.files:
        if facts_of(file.name, contents[file.name]) != file:
            raise OptionError(f"--send: {file.name} has changed since the run was planned; run again")
    return script_of(load.send, contents, load.order, load.sizes, load.pool, load.seed or 0)


@contextlib.contextmanager
def shared(script: Script) -> Iterator[int]:
    """Writes a script, and returns the file descriptor of the pool, which is closed in the end.

    Raises PreflightError if there is no room for it.
    """
    ends, patches = array("q", script.ends), array("q", script.patches)
    head = _HEAD.pack(len(script.content), len(ends), len(patches), script.block, script.starts)
    with setting_up(f"make the pool of messages of {format_size(len(script.content))}"):
        fd = os.memfd_create("loadkit-pool", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with setting_up(f"make the pool of messages of {format_size(len(script.content))}"):
            for part in (head, ends, patches, script.content):
                _write(fd, memoryview(part).cast("B"))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, part: memoryview) -> None:
    while part:
        part = part[os.write(fd, part) :]


def attach(fd: int) -> Script:
    """Returns the script of a pool, as it is there: nothing is copied."""
    content = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
    length, ends, patches, block, starts = _HEAD.unpack_from(content)
    at = _HEAD.size
    places = at, at + _WORD * ends, at + _WORD * (ends + patches)
    return Script(
        content[places[2] : places[2] + length],
        content[places[0] : places[1]].cast("q"),
        content[places[1] : places[2]].cast("q"),
        block=block,
        starts=starts,
    )
