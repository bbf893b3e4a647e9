"""What the `blast` fixture gives: a call that runs a load with the marker's options, and the result of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import pytest

from loadkit.pytest_plugin.marks import read_marks
from loadkit.pytest_plugin.outcome import check_policy, environment, fail, judge
from loadkit.pytest_plugin.records import keep_record, record_folder
from loadkit.pytest_plugin.summary import ABORTED, MISSED, RECORD, RUN, forget, note

if TYPE_CHECKING:
    from loadkit.library.blast import Target
    from loadkit.library.keywords import BlastOptions
    from loadkit.report.record import RunRecord

__all__ = ["BlastResult", "Blaster"]


@dataclass(frozen=True)
class BlastResult:
    """What a blast came to: its record, and the file that has it (None if no folder for records was given)."""

    record: RunRecord
    path: Path | None
    _note: Callable[[str, str], None]

    def check(self, *objectives: str) -> None:
        """Fails the test, with a short report, unless all objectives are met: `r.check("latency.p99<20ms")`.

        Raises OptionError for a text that is not an objective.
        """
        __tracebackhide__ = True
        import msgspec

        from loadkit.errors import OptionError
        from loadkit.library.gate import check
        from loadkit.report.as_text import as_short_text
        from loadkit.report.summary import slo_value

        if not objectives:
            raise OptionError("check() has nothing to check: give objectives, such as 'latency.p99<20ms', 'errors==0'")
        rows = check(self.record, *objectives)
        missed = ", ".join(f"{row.expr} ({slo_value(row)})" for row in rows if not row.ok)
        if missed:
            self._note(MISSED, missed)
            report = as_short_text(msgspec.structs.replace(self.record, slo=rows))
            kept = f"\n\nrecord: {self.path}" if self.path else ""
            fail(f"SLO missed: {missed}\n\n{report}{kept}")

    def __str__(self) -> str:
        """The report, as `loadkit blast` prints it."""
        from loadkit.report.as_text import as_text

        return as_text(self.record, str(self.path) if self.path else None)


class Blaster:
    """The `blast` fixture: `r = blast(port, connections=200, rate="2k", duration="3s")`."""

    def __init__(self, request: pytest.FixtureRequest, lock: Path | None) -> None:
        self._item = request.node
        self._lock = lock
        self._folder = record_folder(request.config)
        forget(self._item)
        self._defaults: dict[str, Any] = {"invalid": request.config.getini("loadkit_invalid"), **read_marks(self._item)}

    def __call__(self, target: Target = None, **options: Any) -> BlastResult:
        """Runs `loadkit.sync.blast` with the marker's options and these, and returns what it came to.

        Objectives among them (`slo=[…]`) are checked at once. `invalid` says what becomes of a run that proves nothing:
        "error", "skip" or "allow". A run that the server broke, by no reply or by connections that it closed, fails the
        test. Raises InvalidRun, and what `loadkit.sync.blast` raises; but PreflightError and WorkerError become
        InvalidRun, because they say nothing about the server.
        """
        __tracebackhide__ = True
        from loadkit.errors import LoadkitError
        from loadkit.library.blast import blast_blocking

        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            raise _stops_the_loop()
        options, policy = self._merge(options)
        profile: str | None = options.pop("profile", None)
        paths: list[Path | None] = []
        with self._open_lock() as lock:
            while lock and not _take_turn(lock):
                time.sleep(0.05)
            try:
                with environment(policy):
                    # A run that Ctrl-C ends is kept too, before it ends the tests.
                    record = blast_blocking(
                        target, profile, cast("BlastOptions", options), lambda record: paths.append(self._keep(record))
                    )
            except LoadkitError as error:
                raise error.with_traceback(None) from None  # its line says all of it, and no frame of loadkit's more
        return self._take(record, paths[0], policy)

    async def run(self, target: Target = None, **options: Any) -> BlastResult:
        """Does the same from a coroutine: the event loop of the test goes on, and with it a server in that loop."""
        __tracebackhide__ = True
        from loadkit import blast
        from loadkit.errors import LoadkitError

        options, policy = self._merge(options)
        with self._open_lock() as lock:
            while lock and not _take_turn(lock):
                await asyncio.sleep(0.05)
            try:
                with environment(policy):
                    record = await blast(target, **options)
            except LoadkitError as error:
                raise error.with_traceback(None) from None
        return self._take(record, self._keep(record), policy)

    def _open_lock(self) -> AbstractContextManager[TextIO | None]:
        return self._lock.open("w", encoding="utf-8") if self._lock else contextlib.nullcontext()

    def _merge(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        merged = {**self._defaults, **options}
        return merged, check_policy(merged.pop("invalid"))

    def _take(self, record: RunRecord, path: Path | None, policy: str) -> BlastResult:
        __tracebackhide__ = True
        from loadkit.report.as_text import as_short_text
        from loadkit.report.summary import aborted_line, headline

        self._note(RUN, headline(record))
        if path:
            self._note(RECORD, str(path))
        judge(record, policy)
        aborted = aborted_line(record)
        if aborted:
            self._note(ABORTED, aborted)
            fail(f"aborted: {aborted}\n\n{as_short_text(record)}")
        result = BlastResult(record, path, self._note)
        if record.slo:
            result.check(*(slo.expr for slo in record.slo))
        return result

    def _keep(self, record: RunRecord) -> Path | None:
        return keep_record(record, self._folder, self._item.nodeid)

    def _note(self, name: str, text: str) -> None:
        note(self._item, name, text)


def _take_turn(lock: TextIO) -> bool:
    """Returns whether it is our turn. Under pytest-xdist loads go one at a time: two would measure each other."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stops_the_loop() -> Exception:
    from loadkit.errors import OptionError

    return OptionError("blast() would stop the event loop that this test runs in: use `await blast.run(…)`")
