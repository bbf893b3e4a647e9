"""Workers as one file descriptor to wait for, with stand-ins whose ends the test holds."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from multiprocessing import connection
from typing import cast

import pytest

from loadkit.run.watch import Watch
from loadkit.run.workers import Worker

S = 10**9


class StandIn:
    """A worker, as far as it is watched. Its process has ended when the test says so."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pipe, self.theirs = connection.Pipe()
        self.sentinel, self.status = os.pipe()
        self.heard: list[object] = []
        self.has_ended = False

    def listen(self) -> None:
        while self.pipe.poll():
            self.heard.append(self.pipe.recv())

    def is_gone(self) -> bool:
        return self.has_ended

    def end(self) -> None:
        """The forker says how it has ended."""
        self.has_ended = True
        os.write(self.status, b"!")


@pytest.fixture
def workers() -> Iterator[list[StandIn]]:
    workers = [StandIn(index) for index in range(3)]
    yield workers
    for worker in workers:
        worker.pipe.close()
        worker.theirs.close()
        os.close(worker.sentinel)
        os.close(worker.status)


@pytest.fixture
def watch(workers: list[StandIn]) -> Iterator[Watch]:
    watch = Watch(cast("list[Worker]", workers))
    watch.ended(0)
    yield watch
    watch.close()


def ended(watch: Watch, now: int = 0) -> list[int]:
    """Returns the indices of those that have ended."""
    return [worker.index for worker in watch.ended(now)]


def is_readable(watch: Watch) -> bool:
    poller = select.poll()
    poller.register(watch.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def test_what_a_worker_says_makes_it_readable_until_it_was_taken_in(watch: Watch, workers: list[StandIn]) -> None:
    assert not is_readable(watch)
    for word in ("one", "two"):
        workers[1].theirs.send(word)
    assert is_readable(watch)
    assert ended(watch) == []
    assert [worker.heard for worker in workers] == [[], ["one", "two"], []]
    assert not is_readable(watch)


def test_workers_that_have_ended_are_told_once_in_their_order(watch: Watch, workers: list[StandIn]) -> None:
    workers[2].end()
    workers[0].end()
    assert is_readable(watch)
    assert ended(watch) == [0, 2]
    assert ended(watch) == []
    assert not is_readable(watch)
    workers[1].end()
    assert ended(watch) == [1]


def test_one_that_closes_its_pipe_before_it_ends_does_not_keep_it_readable(
    watch: Watch, workers: list[StandIn]
) -> None:
    workers[0].theirs.close()
    workers[0].listen = lambda: None  # type: ignore[method-assign]  # a Worker takes no EOFError for news
    assert ended(watch) == []
    assert not is_readable(watch)
    workers[0].end()
    assert ended(watch) == [0]


def test_when_the_forker_is_gone_the_process_itself_is_watched(watch: Watch, workers: list[StandIn]) -> None:
    status, (pidfd, their_end) = workers[0].sentinel, os.pipe()
    os.write(workers[0].status, b"!")
    workers[0].sentinel = pidfd
    assert ended(watch) == []
    workers[0].has_ended = True
    os.write(their_end, b"!")
    assert is_readable(watch)
    assert ended(watch) == [0]
    for fd in (status, their_end):
        os.close(fd)


def test_one_of_which_nothing_is_said_is_asked_after_a_second(watch: Watch, workers: list[StandIn]) -> None:
    workers[1].has_ended = True
    assert ended(watch, S - 1) == []
    assert ended(watch, S) == [1]
    assert ended(watch, 3 * S) == []


def test_one_that_took_the_place_of_another_is_watched(watch: Watch, workers: list[StandIn]) -> None:
    workers[0].end()
    watch.ended(0)
    other = StandIn(0)
    watch.add(cast("Worker", other))
    workers.append(other)
    other.end()
    assert ended(watch) == [0]
