"""The serve end: its workers, restarted when they die, and the `serve` command's life around them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from loadkit.engine.registry import get_engine
from loadkit.errors import Interrupted, LoadkitError, WorkerError
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.kernel import difference, read_kernel
from loadkit.measure.names import STEPS, OwnError
from loadkit.measure.run_samples import ServeRun, ServeSamples, WorkerEnd
from loadkit.measure.samples import WorkerSamples, read_board
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import split_serve
from loadkit.report.families import View
from loadkit.run.exposed import view_of_serve_end
from loadkit.run.forker import Forker
from loadkit.run.places import hold_place
from loadkit.run.sampler import Sampler
from loadkit.run.serve_rows import ServeRows
from loadkit.run.signals import Interrupts, entered
from loadkit.run.watch import Watch
from loadkit.run.workers import Worker, end_all, let_go, start_workers
from loadkit.units import NS_PER_S

__all__ = ["ServeGroup", "run_serve"]

# If workers die this soon, this often in a row, the serve end gives up and says why.
_YOUNG_S = 1.0
_YOUNG_DEATHS = 5


class ServeGroup:
    """The workers of a serve end and the place they share: its `port` is known once they are ready (run/places.py)."""

    def __init__(self, plan: ServePlan, forker: Forker) -> None:
        self._forker = forker
        self.plan = plan
        self.restarts = 0
        self._young_deaths = 0
        self._ends: list[WorkerEnd] = []
        self.died_last: tuple[WorkerEnd, ...] = ()  # of the last workers, those that did not end well
        self._is_stopping = False
        with contextlib.ExitStack() as undo:
            self._place = undo.enter_context(contextlib.closing(hold_place(plan)))
            self.port: int = self._place.port
            self._shards = split_serve(plan, self.port)
            self.board = undo.enter_context(contextlib.closing(Board(BoardLayout.of_serve(plan))))
            self.workers = start_workers(forker, self._shards, self.board, *self._place.inherited)
            undo.callback(let_go, self.workers)
            self.watch = Watch(self.workers)
            undo.pop_all()
        self._born = [time.monotonic()] * plan.workers

    @property
    def sentinels(self) -> list[int]:
        """File descriptors, one per living worker, that are readable when the worker has ended."""
        return [worker.sentinel for worker in self.workers if not worker.is_gone()]

    def mend(self, *, replace: bool = True) -> list[WorkerEnd]:
        """Replaces the workers that died since it was last called, and returns how those ended.

        Call it when `watch` is readable. Without `replace` dead workers are only noted. Raises WorkerError if new
        workers die again and again.
        """
        dead = []
        for worker in self.watch.ended(time.monotonic_ns()):
            if self._is_stopping or not replace:
                continue
            at, end = worker.index, worker.end()
            self._young_deaths = self._young_deaths + 1 if time.monotonic() - self._born[at] < _YOUNG_S else 0
            if self._young_deaths >= _YOUNG_DEATHS:
                raise WorkerError(f"serve worker {worker.index} dies again and again: {end.died or 'it ended'}")
            slot = self.board.slots[at]
            if self.board.tokens:
                self.board.tokens.note_death(at)
            slot.set("generation", slot.get("generation") + 1)
            slot.set("open", 0)
            if slot.get("sequence") % 2:
                slot.set("sequence", slot.get("sequence") + 1)
            try:
                self.workers[at] = Worker(self._forker, self._shards[at], self.board, *self._place.inherited)
                self.watch.add(self.workers[at])
            except Interrupted:
                break  # the whole serve end stops now
            self._born[at] = time.monotonic()
            self.restarts += 1
            dead.append(end)
            self._ends.append(end)
            worker.close()
        if self.board.tokens:
            self.board.tokens.give_back()  # if not now, then the next time
        return dead

    def read(self) -> tuple[WorkerSamples, ...]:
        """Reads the board as it is now."""
        return read_board(self.board)

    def view(self) -> View:
        """Returns what a scrape is shown; from any thread, also after the end."""
        return view_of_serve_end(self.plan, self.port, self.board, self.restarts)

    def turned_away(self, number: int) -> int:
        """Returns how many connections could not be accepted so far, for this errno."""
        return int(self.board.errors[:, :, STEPS.index("connect"), number].sum())

    def stop(self) -> None:
        """Tells the workers to stop accepting, and to end when their connections have ended."""
        self._is_stopping = True
        self._place.leave()
        for worker in self.workers:
            worker.say("stop")

    def leave(self) -> None:
        """Tells the workers to end at once."""
        self._is_stopping = True
        self._place.leave()
        for worker in self.workers:
            worker.say("leave")

    def close(self, patience_s: float) -> tuple[WorkerEnd, ...]:
        """Waits for the workers, kills those that do not end, and frees the port. Returns how each of them ended."""
        end_all(self.workers, patience_s)
        for worker in self.workers:
            if worker.died():  # it could not count them itself
                slot = self.board.slots[worker.index]
                slot.pages[0].add_error("close", OwnError.CUT, slot.get("open"))
                slot.set("open", 0)
        self._ends += (last := [worker.end() for worker in self.workers])
        self._let_go()
        self.died_last = tuple(end for end in last if end.died)
        return tuple(self._ends)

    def _let_go(self) -> None:
        self.watch.close()
        for worker in self.workers:
            worker.close()
        self._place.close()
        self.board.close()
        self.workers = []

    def samples(
        self, at_start: tuple[WorkerSamples, ...], at_end: tuple[WorkerSamples, ...], ends: tuple[WorkerEnd, ...]
    ) -> ServeSamples:
        """Returns the serve end's part of a run's samples."""
        version = get_engine(self.plan.engine).version()
        return ServeSamples(
            at_start,
            at_end,
            self.read(),
            ends,
            self.restarts,
            version,
            counts_bytes=self.plan.app is None,
            port=None if self.plan.is_unix else self.port,
        )


def run_serve(
    plan: ServePlan,
    on_ready: Callable[[ServeGroup], None],
    on_change: Callable[[list[WorkerEnd], ServeGroup], None],
    interrupts: Interrupts | None = None,
    on_stop: Callable[[], None] = lambda: None,
) -> ServeRun:
    """Serves until a signal, or until `interrupts` is asked to stop, and returns what was served.

    `on_ready` is called once all workers listen, `on_change` once a second with the workers that died since, `on_stop`
    before any of them stops listening. The signals are those of `interrupts`, which the caller has entered, else those
    that an Interrupts of its own takes. Raises PreflightError or WorkerError if it cannot start, and Interrupted when a
    signal came before all workers listened. If it cannot go on, what it returns has the `failure`.
    """
    with entered(interrupts) as interrupts, Forker(interrupts) as forker:
        group = ServeGroup(plan, forker)
        try:
            before, kernel = group.read(), read_kernel()
            started_s, begin = time.time(), time.monotonic_ns()
            series = ServeRows(group.board, counts_bytes=plan.app is None)
            sampler = Sampler(series, begin)
            on_ready(group)
            failure = None
            try:
                while not interrupts.count:
                    interrupts.wait([group.watch], sampler.left_s(time.monotonic_ns()))
                    sampler.look(time.monotonic_ns())
                    on_change(group.mend(), group)
            except LoadkitError as error:
                failure = error
            on_stop()
            if failure:
                group.leave()
            else:
                group.stop()
                _wait_for_end(group, interrupts)
        except BaseException:
            group.leave()
            group.close(1.0)
            raise
        sampler.close(time.monotonic_ns())
        ends = group.close(1.0 if failure or interrupts.count > 1 else 5.0)
        after = read_kernel()
        return ServeRun(
            plan=group.plan,
            samples=group.samples(before, group.read(), ends),
            started_s=started_s,
            span_ns=time.monotonic_ns() - begin,
            rows=tuple(series.rows),
            kernel=difference(kernel, after) if kernel and after else None,
            died_last=() if failure else group.died_last,
            failure=failure,
        )


def _wait_for_end(group: ServeGroup, interrupts: Interrupts) -> None:
    """Gives the workers the grace of the plan; a second signal ends it."""
    deadline = time.monotonic() + group.plan.grace_ns / NS_PER_S + 2.0
    while group.sentinels and time.monotonic() < deadline:
        if interrupts.count > 1:
            group.leave()
            return
        interrupts.wait(group.sentinels, 0.5)
