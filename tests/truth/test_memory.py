"""What a worker takes does not grow with what cannot be sent, or with the size of a message."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from loadkit.measure.memory import process_memory
from tests.conftest import Serve, Served

from .conftest import Run, assert_adds_up

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]

MIB = 2**20
MOST_MORE = 20 * MIB
MOST_WORKER_BYTES = 5e6  # `make bench-scale` asks for 4e6, with a hundred of them


def peak(blast: Blast, *options: str) -> tuple[Run, int]:
    """Returns a run, and the most memory that a process of either end took."""
    run = blast("-c", "10", "-w", "1", "--warmup", "0s", "--timeout", "5s", *options)
    assert run.end() in (0, 4), run.err
    assert_adds_up(run.record)
    ends = [*run.record["workers"], *run.record["server"]["workers"]]
    return run, max(worker["max_rss_bytes"] for worker in ends)


@pytest.mark.parametrize("engine", ["native", pytest.param("uvloop", marks=pytest.mark.lengthy), "asyncio"])
def test_neither_a_backlog_nor_a_long_message_takes_memory(blast: Blast, engine: str) -> None:
    _run, usual = peak(blast, "--engine", engine, "-R", "1k", "-d", "300ms")
    # Each of the two connections sends one message of 64 MiB in that time, or a few.
    run, most = peak(blast, "--engine", engine, "-R", "5m", "-d", "300ms", "-s", "64MiB", "-c", "2")
    messages = run.record["messages"]
    assert messages["sent"] + messages["unsent"] == 1_500_000
    assert messages["replied"] > 0
    assert most - usual < MOST_MORE


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_a_worker_that_gets_no_more_memory_says_so_in_one_line(blast: Blast, engine: str) -> None:
    # A message in the warm-up, and then soon more than can be sent: 65,536 may wait, which takes 1 MiB.
    run = blast("-c", "50", "-w", "1", "-R", "1:5m", "-d", "2s", "--warmup", "2s", "--engine", engine)
    [worker] = run.workers("loadkit-blast-0")
    run.wait_until_open(worker, 50)
    pages, *_ = Path(f"/proc/{worker}/statm").read_text().split()
    limit = int(pages) * resource.getpagesize()
    resource.prlimit(worker, resource.RLIMIT_AS, (limit, limit))
    assert run.end() == 4
    assert run.err == ""
    [died] = [one["died"] for one in run.record["workers"]]
    # uvloop itself may read through NULL then, and says nothing: the limit is named all the same.
    said = ("it could not get the memory that it needs; ", "killed by SIGSEGV; it may have got no more memory: ")
    assert died.startswith(said if engine == "uvloop" else said[0])
    assert "`ulimit -v` is " in died
    assert "\n" not in died
    reason = run.record["verdict"]["reasons"][0]
    assert (reason["code"], reason["party"]) == ("worker-died", "machine")


@pytest.mark.parametrize(
    ("limit", "most", "number", "died"),
    [
        (
            resource.RLIMIT_AS,
            2**33,
            signal.SIGSEGV,
            "killed by SIGSEGV; it may have got no more memory: `ulimit -v` is 8 GiB per process: raise it, or use "
            "fewer connections or workers",
        ),
        (
            resource.RLIMIT_CPU,
            10_000,
            signal.SIGXCPU,
            "killed by SIGXCPU; it may have used up its CPU time: `ulimit -t` is 10,000 s per process: raise it",
        ),
    ],
    ids=["memory", "CPU time"],
)
def test_a_worker_that_dies_under_a_limit_names_it_as_what_may_be_the_cause(
    blast: Blast, limit: int, most: int, number: signal.Signals, died: str
) -> None:
    run = blast("-c", "20", "-w", "1", "-R", "100", "-d", "60s", "--warmup", "0s")
    [worker] = run.workers("loadkit-blast-0")
    run.wait_until_open(worker, 20)
    resource.prlimit(worker, limit, (most, most))
    os.kill(worker, number)
    assert run.end() == 4
    assert [one["died"] for one in run.record["workers"]] == [died]


@pytest.mark.lengthy
@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_a_rate_far_above_what_both_ends_can_do_is_held_for_as_long_as_asked(blast: Blast, engine: str) -> None:
    _run, usual = peak(blast, "--engine", engine, "-R", "1k", "-d", "1s")
    run, crowded = peak(blast, "--engine", engine, "-R", "5m", "-d", "4s")
    messages, intervals = run.record["messages"], run.record["intervals"]
    assert messages["sent"] + messages["unsent"] == 20_000_000
    assert crowded - usual < MOST_MORE
    # The run is over soon after the window, however much is left.
    assert intervals[-1]["t_s"] * 1e9 - run.record["window"]["end_ns"] < 2e9


def pss_of(served: Served) -> int:
    """Returns the proportional set size of all its workers, in bytes."""
    found = [process_memory(pid) for pid in served.workers]
    return sum(memory.pss_bytes for memory in found if memory)


def test_an_extra_worker_of_serve_takes_what_it_writes_alone(serve: Serve) -> None:
    few, many = pss_of(serve("-w", "4")), pss_of(serve("-w", "24"))
    assert 1e6 < (many - few) / 20 < MOST_WORKER_BYTES
