"""The pytest plugin: a server to load, a load to put on it, and tests that fail by an SLO.

It is imported by every pytest run where loadkit is installed, so it imports nothing of loadkit until a fixture is asked
for. docs/python.md shows its use.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import fcntl
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

import pytest
from _pytest.outcomes import Failed  # pytest.fail.Exception, which has no public name to derive from

if TYPE_CHECKING:
    from loadkit.library.blast import Target
    from loadkit.library.keywords import BlastOptions
    from loadkit.library.server import Server
    from loadkit.report.record import RunRecord

__all__ = ["BlastResult", "Blaster", "InvalidRun"]

_RECORD_DIR = "--loadkit-record-dir"
# What becomes of a test whose run is invalid.
_POLICIES = ("error", "skip", "allow")
# A file name takes 255 bytes, and a number and a suffix come behind.
_NAME_BYTES = 150
# Names in a test's user properties: they reach the summary through pytest-xdist, and JUnit reports.
_RUN, _MISSED, _RECORD = "loadkit", "loadkit missed", "loadkit record"


class InvalidRun(Failed):
    """A run that proves nothing: this machine could not do it, or not all of it happened, and the server is not why.

    The test is reported as an error, as one whose setup failed, and not as a failure: nothing is known of the server.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, pytrace=False)


@dataclass(frozen=True)
class BlastResult:
    """What a blast came to: its record, and the file that has it (None: none was asked for)."""

    record: RunRecord
    path: Path | None
    _note: Callable[[str, str], None]

    def check(self, *objectives: str) -> None:
        """Fails the test, with a short report, unless all objectives are met: `r.check("latency.p99<20ms")`.

        Raises OptionError for what is no objective.
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
            self._note(_MISSED, missed)
            report = as_short_text(msgspec.structs.replace(self.record, slo=rows))
            kept = f"\n\nrecord: {self.path}" if self.path else ""
            _fail(f"SLO missed: {missed}\n\n{report}{kept}")

    def __str__(self) -> str:
        """The report, as `loadkit blast` prints it."""
        from loadkit.report.as_text import as_text

        return as_text(self.record, str(self.path) if self.path else None)


class Blaster:
    """The `blast` fixture: `r = blast(port, connections=200, rate="2k", duration="3s")`."""

    def __init__(self, request: pytest.FixtureRequest, lock: Path | None) -> None:
        self._item = request.node
        self._lock = lock
        config = request.config
        self._folder = _record_folder(config)
        # A test that runs again (pytest-rerunfailures) has those of the time before, which its report has told of.
        properties = self._item.user_properties
        properties[:] = [one for one in properties if one[0] not in (_RUN, _MISSED, _RECORD)]
        self._defaults: dict[str, Any] = {"invalid": config.getini("loadkit_invalid")}
        for mark in reversed(list(self._item.iter_markers("loadkit"))):
            _check_mark(mark)
            self._defaults |= mark.kwargs

    def __call__(self, target: Target = None, **options: Any) -> BlastResult:
        """Runs `loadkit.sync.blast` with the marker's options and these, and returns what it came to.

        Objectives among them (`slo=[…]`) are checked at once.
        `invalid` says what becomes of a run that proves nothing: "error", "skip" or "allow". One that the server broke,
        by no reply or by connections that it closed, fails the test. Raises InvalidRun, and what `loadkit.sync.blast`
        raises but PreflightError and WorkerError, which are an environment's errors too.
        """
        __tracebackhide__ = True
        from loadkit.library.blast import blast_blocking

        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            raise _stands_in_the_way()
        options, policy = self._merge(options)
        profile: str | None = options.pop("profile", None)
        paths: list[Path | None] = []
        with self._open_lock() as lock:
            while lock and not _take_turn(lock):
                time.sleep(0.05)
            with _environment(policy):
                # A run that Ctrl-C ends is kept too, before it ends the tests.
                record = blast_blocking(
                    target, profile, cast("BlastOptions", options), lambda record: paths.append(self._keep(record))
                )
        return self._take(record, paths[0], policy)

    async def run(self, target: Target = None, **options: Any) -> BlastResult:
        """The same from a coroutine, where the event loop of the test goes on, and with it a server of its own."""
        __tracebackhide__ = True
        from loadkit import blast

        options, policy = self._merge(options)
        with self._open_lock() as lock:
            while lock and not _take_turn(lock):
                await asyncio.sleep(0.05)
            with _environment(policy):
                record = await blast(target, **options)
        return self._take(record, self._keep(record), policy)

    def _open_lock(self) -> AbstractContextManager[TextIO | None]:
        return self._lock.open("w", encoding="utf-8") if self._lock else contextlib.nullcontext()

    def _merge(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        merged = {**self._defaults, **options}
        return merged, _check_policy(merged.pop("invalid"))

    def _take(self, record: RunRecord, path: Path | None, policy: str) -> BlastResult:
        __tracebackhide__ = True
        from loadkit.report.as_text import as_short_text
        from loadkit.report.summary import headline

        self._note(_RUN, headline(record))
        if path:
            self._note(_RECORD, str(path))
        if record.verdict.state == "invalid" and policy != "allow":
            codes = [reason.code for reason in record.verdict.reasons]
            why = f"invalid run ({', '.join(codes)})"
            if {reason.party for reason in record.verdict.reasons} & {"target", "network"}:
                _fail(f"{why}: the server broke it\n\n{as_short_text(record)}")
            _give_up(policy, f"{why}, which says nothing of the server\n\n{as_short_text(record)}")
        result = BlastResult(record, path, self._note)
        if record.slo:
            result.check(*(slo.expr for slo in record.slo))
        return result

    def _keep(self, record: RunRecord) -> Path | None:
        """Writes the record where --loadkit-record-dir says, named after the test, beside those that are there."""
        from loadkit.library.files import keep_new
        from loadkit.report.record import encode

        if self._folder is None:
            return None
        with contextlib.suppress(OSError):  # a test may have removed it; writing says what is wrong
            self._folder.mkdir(parents=True, exist_ok=True)
        # Short, and of letters that every file system has. Names of two tests may come to the same.
        name = re.sub(r"[^\w.-]+", "-", self._item.nodeid, flags=re.ASCII).strip("-")[-_NAME_BYTES:]
        return keep_new(self._folder / f"{name}.json", encode(record))

    def _note(self, name: str, text: str) -> None:
        from loadkit.printable import printable

        self._item.user_properties.append((name, printable(text)))


def _take_turn(lock: TextIO) -> bool:
    """Under pytest-xdist loads go one at a time, for two of them measure each other. Returns whether it is our turn."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stands_in_the_way() -> Exception:
    from loadkit.errors import OptionError

    return OptionError("blast() would stop the event loop that this test runs in: use `await blast.run(…)`")


def _check_policy(policy: str) -> str:
    if policy not in _POLICIES:
        raise pytest.UsageError(f"loadkit: invalid={policy!r}: expected one of {', '.join(_POLICIES)}")
    return policy


def _record_folder(config: pytest.Config) -> Path | None:
    """Returns where records are kept; None: they are not."""
    folder = config.getoption(_RECORD_DIR)
    return None if folder is None else config.invocation_params.dir / folder


def _check_record_folder(config: pytest.Config) -> None:
    """Makes the folder, so that one that cannot be had is said before the first load and not after it."""
    folder = _record_folder(config)
    if folder is None or hasattr(config, "workerinput"):
        return
    if not config.getoption(_RECORD_DIR):
        raise pytest.UsageError(f"{_RECORD_DIR}: give the name of a folder")
    from loadkit.errors import OutputError
    from loadkit.library.files import check_writable

    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(str(folder / "record.json"))
    except (OSError, OutputError) as error:
        reason = f"{folder}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise pytest.UsageError(f"{_RECORD_DIR}: {reason}") from None


def _check_mark(mark: pytest.Mark) -> None:
    """Fails the test in its setup where the marker has what no blast would read."""
    from loadkit.library.keywords import BlastOptions

    known = (*BlastOptions.__annotations__, "profile", "invalid")
    told = "@pytest.mark.loadkit takes options of blast() by their names"
    if mark.args:
        pytest.fail(f"{told}, and nothing reads {', '.join(map(repr, mark.args))}", pytrace=False)
    for name in mark.kwargs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            pytest.fail(f"{told}, and nothing reads {name!r}; {hint}", pytrace=False)
    if "invalid" in mark.kwargs:
        _check_policy(mark.kwargs["invalid"])


@contextlib.contextmanager
def _environment(policy: str) -> Iterator[None]:
    """What this machine cannot do is an invalid run, too: there is no record that could be allowed."""
    from loadkit.errors import PreflightError, WorkerError

    reason = None
    try:
        yield
    except (PreflightError, WorkerError) as error:
        reason = str(error)
    if reason:
        _give_up(policy, f"this machine cannot do the run: {reason}")


def _fail(text: str) -> NoReturn:
    """Fails the test with a page that no terminal and no CI runner obeys: pytest prints it as it is."""
    __tracebackhide__ = True
    from loadkit.printable import page

    pytest.fail(page(text), pytrace=False)


def _give_up(policy: str, text: str) -> NoReturn:
    from loadkit.printable import page

    if policy == "skip":
        pytest.skip(page(text).partition("\n")[0])
    raise InvalidRun(page(text))


# -- fixtures


@pytest.fixture
def loadkit_server() -> Iterator[Server]:
    """An echo server of this test's own: `loadkit_server.port`."""
    from loadkit.sync import serve

    with serve() as server:
        yield server


@pytest.fixture(scope="session")
def loadkit_server_session() -> Iterator[Server]:
    """An echo server for all tests of the session."""
    from loadkit.sync import serve

    with serve() as server:
        yield server


@pytest.fixture
def loadkit_app() -> Iterator[Callable[..., Server]]:
    """An asyncio server of your own, a process a core.

    `server = loadkit_app(MyProtocol)` takes what `loadkit serve --app` does, as the object itself, and the options of
    `loadkit.sync.serve`. It stops when the test ends.
    """
    from loadkit.sync import serve

    with contextlib.ExitStack() as stack:
        yield lambda factory, **options: stack.enter_context(serve(app=factory, **options))


@pytest.fixture
def blast(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blaster:
    """A load to put on a server.

    `r = blast(port, connections=200, rate="2k", duration="3s")`
    """
    is_distributed = hasattr(request.config, "workerinput")
    return Blaster(request, tmp_path_factory.getbasetemp().parent / "loadkit.lock" if is_distributed else None)


# -- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what a session can be told."""
    group = parser.getgroup("loadkit")
    group.addoption(_RECORD_DIR, metavar="DIR", help="keep the record of each blast here, named after its test")
    parser.addini("loadkit_invalid", "a test whose run is invalid: error (the default), skip or allow", default="error")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "loadkit(**options): options of the blasts of this test, and invalid='skip'")
    _check_policy(config.getini("loadkit_invalid"))
    _check_record_folder(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An invalid run is no failure of what was tested: it is reported as a setup that failed is."""
    report = yield
    if call.when == "call" and call.excinfo and isinstance(call.excinfo.value, InvalidRun):
        report.when = "setup"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says of each blast what it came to."""
    reports = [
        report
        for kind in terminalreporter.stats.values()
        for report in kind
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
    ]
    told = [(report.nodeid, report.user_properties) for report in reports]
    lines = [line for test, properties in told for line in _summary(test, properties)]
    if lines:
        terminalreporter.section("loadkit")
        for line in lines:
            terminalreporter.line(line)


def _summary(test: str, properties: list[tuple[str, object]]) -> Iterator[str]:
    words = {_RUN: "", _MISSED: "SLO missed: ", _RECORD: "record: "}
    from loadkit.printable import printable

    found = [f"  {words[name]}{printable(str(value))}" for name, value in properties if name in words]
    if found:
        yield printable(test)
        yield from found
