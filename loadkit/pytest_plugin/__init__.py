"""The pytest plugin: a server to load, a load to put on it, and tests that fail by an SLO.

Here are the fixtures and the hooks, which pytest finds by their names; `marks.py` is what the marker may say,
`blaster.py` what the `blast` fixture gives, `outcome.py` how a run becomes an outcome of a test, `records.py` where
records are kept, and `summary.py` what stands at the end of a session.

Every pytest run of an environment with loadkit imports this package. So nothing else of loadkit is imported until a
fixture is asked for. docs/python.md shows its use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest

from loadkit.pytest_plugin.blaster import Blaster, BlastResult
from loadkit.pytest_plugin.marks import find_unread
from loadkit.pytest_plugin.outcome import InvalidRun, check_policy
from loadkit.pytest_plugin.records import RECORD_DIR, check_record_folder
from loadkit.pytest_plugin.summary import summary_lines

if TYPE_CHECKING:
    from loadkit.library.server import Server

__all__ = ["BlastResult", "Blaster", "InvalidRun"]


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
    """An asyncio server of your own, in one process per core.

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the plugin's options and settings."""
    group = parser.getgroup("loadkit")
    group.addoption(RECORD_DIR, metavar="DIR", help="keep the record of each blast here, named after its test")
    parser.addini("loadkit_invalid", "a test whose run is invalid: error (the default), skip or allow", default="error")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known, and refuses settings that no test could use."""
    config.addinivalue_line("markers", "loadkit(**options): options of the blasts of this test, and invalid='skip'")
    check_policy(config.getini("loadkit_invalid"))
    check_record_folder(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Reports an invalid run, and a marker that nothing has read, as a setup that failed.

    Neither is a failure of what was tested.
    """
    report = yield
    if report.when == "call" and report.passed and (unread := find_unread(item)):
        report.when, report.outcome, report.longrepr = "setup", "failed", unread
    if call.when == "call" and call.excinfo and isinstance(call.excinfo.value, InvalidRun):
        report.when = "setup"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what each blast came to."""
    reports = [
        report
        for kind in terminalreporter.stats.values()
        for report in kind
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
    ]
    lines = [line for report in reports for line in summary_lines(report.nodeid, report.user_properties)]
    if lines:
        terminalreporter.section("loadkit")
        for line in lines:
            terminalreporter.line(line)
