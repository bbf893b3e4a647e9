"""Limits of a process other than files and processes: its address space, its data, and the size of a file.

They are `ulimit -v`, `-d` and `-f` of a shell. Nothing is found where they are not set, as on most machines.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import NamedTuple

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.limits import TO_RUN_BYTES, Ulimit
from loadkit.plan.memory import (
    LEAST_READ,
    PARENT_DATA_BYTES,
    PARENT_SPACE_BYTES,
    USER_BYTES,
    WORKER_DATA_BYTES,
    WORKER_SPACE_BYTES,
)
from loadkit.profile.engines import EngineName
from loadkit.units import format_size

__all__ = ["AS_ROOT", "ULIMIT_CODES", "check_ulimits"]

AS_ROOT = " (as root)"
_CODES = {"v": "address-space", "d": "data-size", "f": "file-size"}
ULIMIT_CODES = tuple(_CODES.values())
# Another Python, libc or numpy maps more or less than those that were measured: with less than the first part of the
# calculation a run is refused, with less than the second it may fail.
_SURE, _ENOUGH = 0.85, 1.15
_PAGE = 4096
_RLIMITS = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA}


class _Need(NamedTuple):
    """What the largest process needs of a limit: the calculation in bytes, in words, and what is refused below."""

    total: int
    words: str
    least: int
    enough: int
    why: str


def check_ulimits(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on those of `ulimit -v`, `-d` and `-f` that are set."""
    for one in demand.ulimits:
        yield _judge(one, _file_size(demand) if one.letter == "f" else _memory(demand, one.letter))


def _judge(limit: Ulimit, need: _Need) -> Finding:
    code = _CODES[limit.letter]
    seen, needed = f"`ulimit -{limit.letter}` is {format_size(limit.soft)}", need.words
    if limit.soft >= need.enough:
        return Finding(code, Level.OK, seen, needed)
    level = Level.FAIL if limit.soft < need.least else Level.WARN
    return Finding(code, level, seen, needed, need.why, _raise_to(limit, need.enough))


def _raise_to(limit: Ulimit, wanted: int) -> str:
    wanted = -(-wanted // _PAGE) * _PAGE
    root = AS_ROOT if limit.hard is not None and limit.hard < wanted else ""
    if limit.letter == "v":  # docker has no option for it
        return f"ulimit -v {wanted // 1024}{root}, or systemd LimitAS={wanted}"
    if limit.letter == "d":
        return (
            f"ulimit -d {wanted // 1024}{root}, or docker run --ulimit data={wanted}:{wanted}, "
            f"or systemd LimitDATA={wanted}"
        )
    # Shells count it in blocks of 512 or of 1,024 bytes.
    return f"ulimit -f unlimited{root}, or docker run --ulimit fsize={wanted}:{wanted}, or systemd LimitFSIZE={wanted}"


def _memory(demand: Demand, letter: str) -> _Need:
    """Returns the need of the process that starts the workers, or of a worker if that is more."""
    boards = demand.blast_board_bytes + demand.serve_board_bytes
    is_space = letter == "v"
    times = 2 if is_space else 1  # mapped, and read at the end
    parent = (PARENT_SPACE_BYTES if is_space else PARENT_DATA_BYTES) + times * boards
    # What no run has recorded is not read: a run with the fewest kinds of times takes so much less.
    unread = round(boards * (1 - LEAST_READ))
    users, board, each = _largest_worker(demand)
    worker = (WORKER_SPACE_BYTES + board if is_space else WORKER_DATA_BYTES) + users * each
    if parent >= worker:
        total = parent
        words = (
            f"about {format_size(total)} = {format_size(parent - times * boards)} of the process that starts the "
            f"workers + {f'{times} x ' * is_space}{format_size(boards)} of shared memory, in which they count"
        )
    else:
        total = worker
        words = (
            f"about {format_size(total)} = {format_size(worker - users * each)} of a worker + {users:,} connections x "
            f"{each:,} B"
        )
    least = max(round(max(parent - unread, worker) * _SURE), TO_RUN_BYTES[_RLIMITS[letter]])
    enough = max(round(total * _ENOUGH), least)
    what = "address space" if is_space else "data"
    return _Need(total, words, least, enough, f"beyond it a process gets no more {what}, and the run ends")


def _largest_worker(demand: Demand) -> tuple[int, int, int]:
    """Returns the connections of the worker that takes most memory, its board, and the bytes of a connection."""
    blast_bytes, serve_bytes = USER_BYTES.get(demand.engine, USER_BYTES[EngineName.NATIVE])
    blast = (-(-demand.connections // max(1, demand.blast_workers)), demand.blast_board_bytes, blast_bytes)
    serve = (-(-demand.connections // max(1, demand.serve_workers)), demand.serve_board_bytes, serve_bytes)
    ends = [end for end, workers in ((blast, demand.blast_workers), (serve, demand.serve_workers)) if workers]
    return max(ends, key=lambda end: end[0] * end[2] + end[1], default=(0, 0, 0))


def _file_size(demand: Demand) -> _Need:
    """Returns the need of the larger board: it is a file in memory, and larger than the files that a run writes."""
    largest = max(demand.blast_board_bytes, demand.serve_board_bytes)
    words = f"{format_size(largest)} of shared memory, in which the workers count"
    why = "the limit is for files in memory too: the board cannot be made (EFBIG)"
    return _Need(largest, words, largest, largest, why)
