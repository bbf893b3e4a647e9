"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import datetime
import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

# What every test of an inner run begins with: short loads, whose last messages are waited for on a busy machine too.
_START = """
import asyncio
import sys

import pytest

pytestmark = pytest.mark.loadkit(connections=10, messages=300, workers=1)
"""


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    """Runs the tests of the source in a process of their own."""
    pytester.makepyfile(test_load=_START + source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_objectives_decide_and_the_summary_says_what_was_measured(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_met(blast, loadkit_server):
    r = blast(loadkit_server.port, messages=2_000)
    r.check("latency.p50<10s", "errors==0")
    assert r.record.messages.replied == 2_000
    assert str(r).startswith(("valid", "suspect"))

def test_missed(blast, loadkit_server):
    blast(loadkit_server, slo=["errors==0", "latency.p50<1ns"])

def test_nothing_to_check(blast, loadkit_server):
    blast(loadkit_server).check()
""",
        "--loadkit-record-dir=kept",
    )
    result.assert_outcomes(passed=1, failed=2)
    # The objective with its value is in the first line, which is also that of the short summary.
    result.stdout.fnmatch_lines(
        [
            "SLO missed: latency.p50<1ns (*s)",
            "*0 errors, 1 SLO missed",
            "SLO met     errors==0  (0)",
            "SLO MISSED  latency.p50<1ns  (*s)",
            "target *",
            "latency  *",
            "record: *test_load.py-test_missed.json",
            "*OptionError: check() has nothing to check*",
            "*= loadkit =*",
            "test_load.py::test_met",
            "  *replies, latency p50 *, 0 errors",
            "  record: *test_load.py-test_met.json",
            "test_load.py::test_missed",
            "  SLO missed: latency.p50<1ns (*s)",
            "FAILED test_load.py::test_missed - Failed: SLO missed: latency.p50<1ns (*s)",
        ]
    )
    # No line of the plugin's own code stands between a reader and that.
    assert "pytest_plugin/" not in result.stdout.str().partition("test_nothing_to_check")[0]
    assert {path.name for path in (pytester.path / "kept").iterdir()} == {
        "test_load.py-test_met.json",
        "test_load.py-test_missed.json",
        "test_load.py-test_nothing_to_check.json",
    }
    record = json.loads((pytester.path / "kept/test_load.py-test_met.json").read_text())
    assert record["messages"]["replied"] == 2_000


def test_an_invalid_run_is_an_error_of_the_environment_and_no_failure(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
# At depth 1 the server might be what is slow, which is not this end's fault.
beyond = {
    "connections": 20, "depth": 1000, "rate": "500k", "messages": "100m", "duration": "500ms", "engine": "asyncio"
}

def test_error(blast):
    blast(**beyond).check("errors==0")

@pytest.mark.loadkit(invalid="skip")
def test_skipped(blast):
    blast(**beyond)

def test_allowed(blast):
    assert blast(**beyond, invalid="allow").record.verdict.state == "invalid"

def test_cannot(blast):
    blast(connections="100m", invalid="allow")

def test_mistaken(blast):
    blast(invalid="never")
""",
        "--junitxml=junit.xml",
    )
    result.assert_outcomes(passed=1, skipped=1, errors=2, failed=1)
    result.stdout.fnmatch_lines(["*invalid run (*), which says nothing of the server", "invalid: *"])
    result.stdout.fnmatch_lines(["*this machine cannot do the run: *", "*expected one of error, skip, allow*"])
    found = {
        case.get("name"): [child.tag for child in case if child.tag != "properties"]
        for case in ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
    }
    assert found == {
        "test_error": ["error"],
        "test_skipped": ["skipped"],
        "test_allowed": [],
        "test_cannot": ["error"],
        "test_mistaken": ["failure"],
    }


def test_servers_of_a_test_of_a_session_and_of_one_s_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
ports = set()

class Shout(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

class Wrong(Shout):
    extra = b""  # the first reply is right, or the target would be refused

    def data_received(self, data):
        self.transport.write(data + self.extra)
        self.extra = b"!"

@pytest.mark.parametrize("time", range(2))
def test_each(time, loadkit_server, loadkit_server_session):
    ports.update({("own", loadkit_server.port), ("session", loadkit_server_session.port)})

def test_how_many():
    assert sorted(name for name, _ in ports) in (["own", "own", "session"], ["own", "session"])

def test_app(blast, loadkit_app):
    server = loadkit_app(Shout, workers=1)
    blast(server, messages=500).check("errors==0", "replied==500")

def test_wrong_app(blast, loadkit_app):
    blast(loadkit_app(Wrong, workers=1), messages=50, slo=["errors==0"])

def test_in_the_loop_of_the_test(blast):
    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)

    async def test():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Exception, match="await blast.run"):
                blast(port)
            (await blast.run(port, messages=500)).check("replied==500")

    asyncio.run(test())
""",
    )
    result.assert_outcomes(passed=5, failed=1)
    # Its replies do not add up, and every connection broke: that is the app's fault, and none of the machine's.
    result.stdout.fnmatch_lines(["invalid run (*): the server broke it", "invalid: *"])


def test_under_xdist_loads_take_turns_and_the_summary_has_them_all(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.mark.parametrize("load", range(4))
def test_load(load, blast):
    blast(rate="100", messages=30).check("errors==0")
""",
        "-n2",
        "--loadkit-record-dir=kept",
    )
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("replies, latency") == 4
    spans = sorted(span_of(path) for path in (pytester.path / "kept").iterdir())
    assert len(spans) == 4
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


# A plugin as pytest-rerunfailures is: it runs a test again and reports each time.
_AGAIN = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for time in range(2 if item.name == "test_twice" else 1):
        item._initrequest()
        for report in runtestprotocol(item, log=False, nextitem=nextitem):
            if time == 0 and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


def test_each_blast_makes_a_file_and_is_listed_once(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(_AGAIN)
    result = run(
        pytester,
        """
times = []

def test_twice(blast, loadkit_server):
    for _ in range(2):
        blast(loadkit_server, messages=20)
    times.append(0)
    assert len(times) > 1

@pytest.mark.parametrize("name", ["a/b", "a-b", "\u00e9" * 300], ids=["a/b", "a-b", "e" * 300])
def test_alike(name, blast, loadkit_server):
    blast(loadkit_server, messages=20)
""",
        "--loadkit-record-dir=kept",
    )
    kept = {path.name for path in (pytester.path / "kept").iterdir()}
    listed = [line.removeprefix("  record: ") for line in result.outlines if line.startswith("  record: ")]
    assert sorted(Path(path).name for path in listed) == sorted(kept)
    assert len(kept) == 2 * 2 + 3
    assert {
        "test_load.py-test_twice.json",
        "test_load.py-test_alike-a-b.json",
        "test_load.py-test_alike-a-b-2.json",
    } <= kept
    assert all(json.loads((pytester.path / "kept" / name).read_text())["messages"]["replied"] == 20 for name in kept)
    assert sum("replies, latency" in line for line in result.outlines) == len(kept)


def test_records_of_an_earlier_session_are_not_replaced(pytester: pytest.Pytester) -> None:
    for number in (1, 2):
        run(pytester, "def test_it(blast):\n    blast(messages=20)\n", "--loadkit-record-dir=kept").assert_outcomes(
            passed=1
        )
        assert len(list((pytester.path / "kept").iterdir())) == number


@pytest.mark.parametrize(
    ("folder", "said"),
    [("", "give the name of a folder"), ("test_load.py/kept", "Not a directory")],
    ids=["empty", "in a file"],
)
def test_a_record_folder_that_cannot_be_had_is_said_before_the_first_load(
    pytester: pytest.Pytester, folder: str, said: str
) -> None:
    result = run(pytester, "def test_it(blast):\n    blast()\n", f"--loadkit-record-dir={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --loadkit-record-dir: *{said}*"])


def test_a_marker_that_no_blast_would_read_is_refused(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.mark.loadkit(conections=5)
def test_misspelt(blast):
    pass

@pytest.mark.loadkit("steady")
def test_without_a_name(blast):
    pass

@pytest.mark.loadkit(invalid="never")
def test_no_policy(blast):
    pass

@pytest.mark.loadkit(profile="smoke", invalid="skip", slo=["errors==0"])
def test_read(blast):
    pass

@pytest.mark.loadkit(conections=5)
def test_misspelt_without_a_blast():
    pass

@pytest.mark.loadkit(connections=5, rate="1k")
def test_without_a_blast(tmp_path):
    pass

@pytest.mark.loadkit(connections=5)
def test_that_may_ask_for_it(request):
    request.getfixturevalue("blast")

@pytest.mark.loadkit
def test_with_the_module_s_alone():
    pass

@pytest.mark.loadkit(conections=5)
@pytest.mark.skip
def test_skipped(blast):
    pass

@pytest.mark.loadkit(connections=5)
class TestSome:
    def test_with(self, blast):
        pass

    def test_without(self):
        pass
""",
    )
    result.assert_outcomes(passed=5, errors=5, skipped=1)
    takes = "@pytest.mark.loadkit takes options of blast() by their names, and nothing reads"
    result.stdout.fnmatch_lines([f"{takes} 'conections'; did you mean 'connections'[?]"])
    result.stdout.fnmatch_lines([f"{takes} 'steady'"])
    unread = "nothing has read it, for this test has no `blast` fixture"
    result.stdout.fnmatch_lines([f"@pytest.mark.loadkit(conections=5): {unread}"])
    result.stdout.fnmatch_lines([f"@pytest.mark.loadkit(connections=5, rate='1k'): {unread}"])
    result.stdout.fnmatch_lines(["*expected one of error, skip, allow*"])


def span_of(path: Path) -> tuple[float, float]:
    """Returns when a run began to connect, and when its measured time ended, in seconds."""
    record = json.loads(path.read_text())
    started = datetime.datetime.fromisoformat(record["started"]).timestamp()
    return started, started + record["window"]["end_ns"] / 1e9


def test_an_error_that_the_reader_can_fix_comes_without_the_frames_of_loadkit(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_no_server(blast):
    blast("127.0.0.1:1")

def test_misspelt(blast):
    async def test():
        await blast.run(conections=5)
    asyncio.run(test())

def test_expected(blast):
    import loadkit
    with pytest.raises(loadkit.TargetError, match="refused"):
        blast("127.0.0.1:1")
""",
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E  *UnreachableError: 127.0.0.1:1: the first connection failed: *",
            "E  *OptionError: conections: unknown key; did you mean 'connections'?",
        ]
    )
    result.stdout.no_fnmatch_line("*loadkit/library*")
    result.stdout.no_fnmatch_line("*loadkit/run*")


def test_it_is_inert_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_nothing():
    loaded = {name for name in sys.modules if name.partition(".")[0] in ("loadkit", "numpy", "uvloop", "msgspec")}
    assert {name for name in loaded if not name.startswith("loadkit.pytest_plugin")} == {"loadkit"}
""",
    )
    result.assert_outcomes(passed=1)
    assert "= loadkit =" not in result.stdout.str()


def test_a_mistake_in_the_configuration_is_said_at_once(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nloadkit_invalid = sometimes\n")
    result = run(pytester, "def test_nothing():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: loadkit: invalid='sometimes': expected one of error, skip, allow"])


def test_ctrl_c_keeps_the_partial_record(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import os, pathlib, signal, threading, time

def test_long(blast):
    def interrupt():
        children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
        while not any(map(has_connected, children.read_text().split())):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    blast(duration="10m", messages="100m")

def has_connected(pid):
    # Whether a worker of this forker has all its connections: a descriptor each.
    workers = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(
        "loadkit-blast" in pathlib.Path(f"/proc/{worker}/comm").read_text()
        and sum("socket" in str(file.readlink()) for file in pathlib.Path(f"/proc/{worker}/fd").iterdir()) > 10
        for worker in workers
    )
""",
        "--loadkit-record-dir=kept",
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    [kept] = (pytester.path / "kept").iterdir()
    record = json.loads(kept.read_text())
    assert (record["partial"], record["interrupted"]) == (True, "SIGINT")


def test_a_run_that_a_condition_ended_fails_its_test_and_says_why(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_aborted(blast, loadkit_server):
    blast(loadkit_server, messages=None, duration="60s", warmup="0s", abort_on="replied>0", invalid="allow")
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["aborted: replied>0 was met * after the start: replied so far was *"])
    result.stdout.fnmatch_lines(["*test_aborted", "  *partial: *", "  aborted: replied>0 was met *"])
