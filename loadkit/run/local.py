"""The crew of a run on this machine: the forker, the workers and their board, and the run's own serve end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from loadkit.errors import LoadkitError
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.memory import Room, read_room
from loadkit.measure.names import COUNTERS, PROOFS, STATE
from loadkit.measure.run_samples import ServeSamples
from loadkit.measure.samples import PhaseSamples, WorkerSamples, read_board, read_worker
from loadkit.measure.so_far import SoFar
from loadkit.plan.build import Plan
from loadkit.plan.split import split
from loadkit.report.conditions import parse_condition
from loadkit.report.families import View
from loadkit.run.abort import wanted_of
from loadkit.run.crew import CrewSamples, Look, Totals, Word, Words, WorkerTotals, closing_ns
from loadkit.run.exposed import errors_by_kind, view_of_run
from loadkit.run.forker import Forker
from loadkit.run.intervals import Series
from loadkit.run.pool import attach, pool_of, shared
from loadkit.run.sampler import Sampler
from loadkit.run.serve import ServeGroup
from loadkit.run.sights import Sights
from loadkit.run.signals import HasFileno, Interrupts
from loadkit.run.surroundings import Surroundings
from loadkit.run.watch import Watch
from loadkit.run.workers import Worker, end_all, let_go, start_workers
from loadkit.units import NS_PER_S
from loadkit.wire.script import Script

__all__ = ["LocalCrew", "look_at"]

# A worker that has not ended this long after it was told to leave hangs, and is killed.
_LEAVE_NS = 2 * NS_PER_S
_ASKED, _FAILED = COUNTERS.index("asked"), COUNTERS.index("failed_connects")
_OPENED, _REPLIED = COUNTERS.index("opened"), COUNTERS.index("replied")
_SENT = [COUNTERS.index(name) for name in ("sent", "replied", "failed", "unanswered")]
_WAITS = [COUNTERS.index(name) for name in ("busy_ns", "blocked_ns", "wakeups", "events")]
_SETTLED, _SETTLED_NS = STATE.index("settled"), STATE.index("settled_ns")
_FINISHED_NS, _STRANDED_NS = STATE.index("finished_ns"), STATE.index("stranded_ns")
_PROVED, _OPEN, _PHASE = STATE.index("proved"), STATE.index("open"), STATE.index("phase")


class LocalCrew:
    """Worker processes of this machine.

    `room` returns how much memory is left. Make it before any process of the run: it reads how much there is then.
    """

    def __init__(self, plan: Plan, interrupts: Interrupts, room: Callable[[], Room | None] = read_room) -> None:
        self._plan = plan
        self._interrupts = interrupts
        self._surroundings = Surroundings(plan.load.connections, room)
        self._undo = contextlib.ExitStack()
        self._group: ServeGroup | None = None
        self._serve_edges: list[tuple[tuple[WorkerSamples, ...], int]] = []  # its board, and when that was read
        self._running = 0  # workers, as of the last look
        self._has_deaths = False
        self._is_opening = False
        self._start_ns = 0
        self._script = plan.load.wire.script

    def start(self) -> int:
        """Starts the serve end, then the workers. Returns the target's port: an embedded server chooses its own."""
        forker = self._undo.enter_context(Forker(self._interrupts))
        load, here, port = self._plan.load, self._plan.here, self._plan.target.port
        if here.serve:
            self._group = ServeGroup(here.serve, forker)
            self._undo.callback(self._close_group, self._group)
            port = self._group.port
        self._board = self._undo.enter_context(contextlib.closing(Board(BoardLayout.of_blast(load, here))))
        shards = split(load, here, port, self._plan.setup)
        self._workers = start_workers(forker, shards, self._board, *self._make_pool())
        self._undo.callback(let_go, self._workers)  # they have ended by then, unless the run could not begin
        self._watch = Watch(self._workers)
        self._undo.callback(self._watch.close)
        self._running = len(self._workers)
        self._series = Series(self._board, self._group.board if self._group else None)
        self._sampler = Sampler(self._series)  # from the start of the run
        conditions = [parse_condition(text) for text in self._plan.given.abort_on]
        self._sights = Sights(self._board, wanted_of(conditions, load))
        self._surroundings.ready([forker.pid, *_pids(self._workers), *_pids(self._serving())])
        return port

    def _make_pool(self) -> list[int]:
        """Returns the file descriptor of the pool of messages, if there is one."""
        script = pool_of(self._plan.load)
        if script is None:
            return []
        fd = self._undo.enter_context(shared(script))
        self._script = attach(fd)
        return [fd]

    def end(self) -> None:
        """Ends and closes everything that was started."""
        self._undo.close()

    def say(self, word: Word) -> None:
        """Sends it to the workers, or does what concerns this machine alone."""
        if word.said is Words.OPENED:
            self._measure_opened()
        elif word.said in (Words.BEGIN, Words.END):
            self._pass_edge()
        elif word.said is Words.FIRST:
            self._start_ns = word.at_ns or 0
            self._workers[0].say("start", word.at_ns)
        elif word.said is Words.RAMP:
            first, *others = self._workers
            first.say("ramp", word.at_ns)
            for worker in others:
                worker.say("start", word.at_ns)
        else:
            for worker in self._workers:
                worker.say(word.said.value, *([] if word.at_ns is None else [word.at_ns]))
        self._is_opening = word.said in (Words.RAMP, Words.ENOUGH)

    def look(self, now: int) -> Look:
        """Reads the board, after it has checked which processes have ended."""
        ended = self._watch.ended(now)
        self._running -= len(ended)
        self._has_deaths = self._has_deaths or any(worker.died() for worker in ended)
        is_served = self._mend()
        self._sampler.look(now - self._start_ns)
        return look_at(
            self._board,
            running=self._running,
            has_deaths=self._has_deaths,
            is_served=is_served,
            room=self._surroundings.room(now) if self._is_opening else None,
            seen=self._sights.look(now),
        )

    def _mend(self) -> bool:
        """Replaces dead workers of the serve end. Returns False if it cannot go on; the record says how each died."""
        if self._group:
            try:
                self._group.mend(replace=not self._interrupts.count)
            except LoadkitError:
                return False
        return True

    def wakers(self) -> Sequence[HasFileno]:
        """Returns one per end: readable when a worker has sent something or has ended."""
        return [self._watch, self._group.watch] if self._group else [self._watch]

    def totals(self) -> Totals:
        """Adds the board up."""
        board = self._board
        return Totals(
            phase=int(board.states[:, _PHASE].max()),
            open=int(board.states[:, _OPEN].sum()),
            replied=int(board.counters[:, :, _REPLIED].sum()),
            errors=int(board.errors.sum()),
            row=self._series.last,
            replies_per_s=self._series.replies_per_s(),
            under_way=self._under_way(),
            workers=_waits_of(board),
            serving=_waits_of(self._group.board) if self._group else (),
            kinds=errors_by_kind(board.errors.sum(axis=(0, 1))),
        )

    def _under_way(self) -> int:
        counts: list[int] = self._board.counters[:, :, _SENT].sum(axis=(0, 1)).tolist()
        return max(0, counts[0] - sum(counts[1:]))

    def view(self) -> View:
        """Reads the boards."""
        group = self._group
        return view_of_run(self._plan, self._board, group.board if group else None, group.restarts if group else 0)

    def leave(self) -> int:
        """Tells the workers to end at once and waits for them."""
        self.say(Word(Words.LEAVE))
        end_all(self._workers, self._closing_s())
        end_ns = time.monotonic_ns()
        self._sampler.close(end_ns - self._start_ns)
        return end_ns

    def samples(self) -> CrewSamples:
        """Ends the serve end and reads both boards whole."""
        serve = self._serve_samples()
        return CrewSamples(
            workers=read_board(self._board),
            ends=tuple(worker.end() for worker in self._workers),
            intervals=self._series.rows.by_time(),
            serve=serve,
            memory=self._surroundings.memory,
            kernel=self._surroundings.kernel(),
            kernel_of_ramp=self._surroundings.kernel_of_ramp(),
            throttling=self._surroundings.throttling(),
        )

    def so_far(self) -> CrewSamples:
        """Reads the board whole."""
        return CrewSamples(
            workers=read_board(self._board),
            ends=tuple(worker.end() for worker in self._workers),
            intervals=self._series.rows.by_time(),
            serve=None,
            memory=None,
            kernel=None,
            kernel_of_ramp=None,
            throttling=None,
        )

    def first(self) -> tuple[PhaseSamples, bytes, Script]:
        """Returns what the worker of the first connection counted, and what it said of that one once it had failed.

        And the run's script, as that connection sent it.
        """
        worker = self._workers[0]
        worker.listen()
        return read_worker(self._board, 0).phases[0], worker.came, self._script

    def _serve_samples(self) -> ServeSamples | None:
        group = self._group
        if group is None:
            return None
        edges = self._serve_edges
        at_start, at_end = [*(samples for samples, _ns in edges), *(group.read() for _ in range(2 - len(edges)))]
        group.stop()
        samples = group.samples(at_start, at_end, group.close(self._closing_s()))
        return replace(samples, span_ns=edges[1][1] - edges[0][1] if len(edges) == 2 else 0)

    def _pass_edge(self) -> None:
        self._surroundings.pass_edge()
        if self._group:
            self._serve_edges.append((self._group.read(), time.monotonic_ns()))

    def _measure_opened(self) -> None:
        opened = int(self._board.states[:, _OPEN].sum())
        boards = [self._board, *([self._group.board] if self._group else [])]
        resident = sum(board.resident_bytes for board in boards)
        self._surroundings.opened(opened, _pids(self._workers), _pids(self._serving()), resident)

    def _serving(self) -> Sequence[Worker]:
        return self._group.workers if self._group else []

    def _closing_s(self) -> float:
        return closing_ns(_LEAVE_NS, self._plan.load.connections) / NS_PER_S

    def _close_group(self, group: ServeGroup) -> None:
        group.leave()
        group.close(self._closing_s())


def look_at(
    board: Board,
    *,
    running: int,
    has_deaths: bool,
    is_served: bool,
    room: Room | None,
    seen: Mapping[int, SoFar] | None = None,
) -> Look:
    """Returns what the board shows, and what else was seen.

    The processes first, then this: what a worker that has ended wrote is on it.
    """
    states = board.states.T.tolist()
    finished, stranded = states[_FINISHED_NS], states[_STRANDED_NS]
    unfinished = [since for since, done in zip(stranded, finished, strict=True) if not done]
    return Look(
        proof=PROOFS[states[_PROVED][0]],
        asked=int(board.counters[:, 0, _ASKED].sum()),
        failed=int(board.counters[:, 0, _FAILED].sum()),
        settled=sum(states[_SETTLED]),
        settled_ns=max(states[_SETTLED_NS]),
        open=sum(states[_OPEN]),
        opened=int(board.counters[:, :, _OPENED].sum()),
        unopened=int(board.counters[:, :, _FAILED].sum()),
        finished_ns=max(finished) if all(finished) else 0,
        stranded_ns=max(unfinished) if unfinished and all(unfinished) else 0,
        running=running,
        has_deaths=has_deaths,
        is_served=is_served,
        room=room,
        seen=seen,
    )


def _waits_of(board: Board) -> tuple[WorkerTotals, ...]:
    return tuple(WorkerTotals(*row) for row in board.counters[:, :, _WAITS].sum(axis=1).tolist())


def _pids(workers: Sequence[Worker]) -> list[int]:
    return [worker.pid for worker in workers]
