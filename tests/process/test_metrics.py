"""`--metrics`: what is scraped while a run goes on, and what becomes of the run if it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import parser

import loadkit
import loadkit.sync
from loadkit.report.reading import load
from loadkit.report.record import RunRecord
from tests.conftest import Serve
from tests.pages import blocks, chapter
from tests.ports import free_port

from .prometheus import prometheus, require

pytestmark = pytest.mark.slow

# The expressions of docs/metrics.md. They have the bucket of an objective of 4 ms.
_SHOWN = [line for block in blocks(chapter("metrics", "What there is")) for line in block.text.splitlines()]
QUICK = ("-c", "4", "-w", "1", "-R", "400", "-d", "500ms", "--warmup", "0s", "--no-progress")
_URL = re.compile(r"metrics at (http://\S+/metrics)\n")

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def values(text: str) -> Found:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in parser.text_string_to_metric_families(text)
        for one in family.samples
    }


def total(found: Found, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (one, its), value in found.items() if one == name and wanted <= its)


class Blast:
    """A `loadkit blast --metrics` that goes on."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder
        assert process.stderr
        self._said = process.stderr
        self.url = self.wait_for(_URL)[1]

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Returns the first line on stderr that matches."""
        for line in self._said:
            if found := pattern.search(line):
                return found
        raise AssertionError(f"no line matches {pattern.pattern}")

    def wait_until_over(self) -> RunRecord:
        """Returns the record, once the endpoint lingers."""
        self.wait_for(re.compile("metrics stay for"))
        return load(str(self._folder / "run.json"))


@contextlib.contextmanager
def blast(folder: Path, *options: str) -> Iterator[Blast]:
    command = [sys.executable, "-m", "loadkit", "blast", "--metrics", "127.0.0.1:0", "-o", "run.json", *options]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield Blast(process, folder)
    finally:
        process.kill()
        process.communicate()


def test_prometheus_scrapes_a_run_and_answers_what_the_record_says(tmp_path: Path) -> None:
    require("prometheus")
    options = ("-c", "20", "-R", "1k", "-d", "2s", "--warmup", "0s", "--slo", "latency.p99<4ms", "--no-progress")
    with blast(tmp_path, *options, "--tag", 'build="1"\\', "--metrics-linger", "10m") as run:
        with prometheus(tmp_path, run.url.split("/")[2]) as server:
            record = run.wait_until_over()
            server.wait_for("loadkit_verdict == 1")
            [(_labels, replied)] = server.wait_for('loadkit_messages_replied_total{phase="hold"}')
            assert replied == record.messages.replied > 0
            [(_labels, opened)] = server.wait_for("sum(loadkit_connects_opened_total)")
            assert opened == record.connections.opened
            latency = record.histograms["latency"]
            assert latency
            [(_labels, count)] = server.wait_for('loadkit_latency_seconds_count{phase="hold"}')
            assert count == latency.count
            [(_labels, in_time)] = server.wait_for('loadkit_latency_seconds_bucket{phase="hold",le="0.004"}')
            median = latency.percentiles["50"]
            assert median
            assert (in_time >= 0.5 * latency.count) == (median <= 4_000_000)
            [(labels, met)] = server.wait_for("loadkit_slo_met")
            assert (labels["slo"], met) == ("latency.p99<4ms", int(record.slo[0].ok))
            [(labels, state)] = server.wait_for("loadkit_verdict == 1")
            assert (labels["state"], state) == (record.verdict.state, 1)
            for expression in _SHOWN:
                assert server.wait_for(expression)
            [(labels, _one)] = server.wait_for("loadkit_tag_info")
            assert (labels["key"], labels["value"]) == ("build", '"1"\\')
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=60) in (0, 3, 4)  # as the run went, and not 130


def test_promtool_finds_nothing_wrong_with_the_names(tmp_path: Path) -> None:
    require("promtool")
    with blast(tmp_path, *QUICK, "--slo", "errors==0", "--metrics-linger", "10m") as run:
        while "loadkit_messages_sent_total" not in (going_on := scrape(run.url)):
            pass
        run.wait_until_over()
        over = scrape(run.url)
    for text in (going_on, over):
        lint(text)


def lint(text: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_counter_goes_back_and_the_last_scrape_has_the_totals(tmp_path: Path) -> None:
    with blast(tmp_path, *QUICK, "-d", "2s", "--metrics-linger", "10m") as run:
        before: Found = {}
        seen = 0
        while not total(before, "loadkit_record_info"):
            found = values(scrape(run.url))
            counters = {key for key in before if not key[0].endswith(("_connections", "_active"))}
            assert [key for key in counters if found.get(key, 0) < before[key]] == []
            seen += total(found, "loadkit_messages_replied_total", phase="hold") > 0
            before = found
        record = run.wait_until_over()
        assert seen > 1
        for state in ("intended", "sent", "replied", "failed", "unanswered", "unsent"):
            expected = getattr(record.messages, state)
            assert total(before, f"loadkit_messages_{state}_total", phase="hold") == expected
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(timeout=60) in (0, 4)


def test_a_run_that_is_ended_by_a_signal_does_not_linger(tmp_path: Path) -> None:
    with blast(tmp_path, *QUICK, "-d", "10m", "--metrics-linger", "10m") as run:
        while not total(values(scrape(run.url)), "loadkit_messages_replied_total", phase="hold"):
            pass
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=60) == 130
    assert load(str(tmp_path / "run.json")).partial


def test_scrapers_that_hang_send_garbage_or_leave_touch_neither_the_others_nor_the_run(tmp_path: Path) -> None:
    with blast(tmp_path, *QUICK, "-d", "1s", "--metrics-linger", "10m") as run:
        place = ("127.0.0.1", int(run.url.split(":")[2].split("/")[0]))
        with contextlib.ExitStack() as held:
            for _ in range(3):  # fewer than may be served at once
                held.enter_context(socket.create_connection(place))
            garbage = held.enter_context(socket.create_connection(place))
            garbage.sendall(b"\x16\x03\x01\x00\xee" * 1000 + b"\r\n\r\n")
            socket.create_connection(place).close()
            while "loadkit_messages_sent_total" not in scrape(run.url):
                pass
            for _ in range(100):
                held.enter_context(socket.create_connection(place))
            record = run.wait_until_over()
        assert record.messages.replied == record.messages.sent
        run.process.send_signal(signal.SIGINT)
        assert "Traceback" not in (run.process.communicate(timeout=60)[1] or "")


def _blast(folder: Path, *options: str, python: tuple[str, ...] = ("-m", "loadkit")) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *python, "blast", *QUICK, *options], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_refused_before_the_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = _blast(tmp_path, "--metrics", str(port), "-o", "run.json")
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith(f"loadkit: --metrics: cannot listen on 127.0.0.1:{port}: Address already in use; ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "status", "names"),
    [
        pytest.param(("--metrics", "192.0.2.1:9464"), 1, ["--metrics", "192.0.2.1:9464", "ip addr"], id="not-ours"),
        pytest.param(("--metrics", "no-such.invalid:9464"), 1, ["--metrics", "no-such.invalid"], id="no-such-name"),
        pytest.param(("--metrics", "70000"), 2, ["--metrics", "65535"], id="no-such-port"),
        pytest.param(("--metrics", "here"), 2, ["--metrics", "HOST:PORT", "'here'"], id="no-port"),
        pytest.param(("--metrics", "x" * 5000), 2, ["--metrics", "[HOST:]PORT"], id="too-long"),
        pytest.param(("--metrics-linger", "9s"), 2, ["--metrics-linger", "--metrics PORT"], id="nothing-to-linger"),
        pytest.param(("--metrics", "0", "--metrics-linger", "2h"), 2, ["--metrics-linger", "3,600 s"], id="for-ever"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, options: tuple[str, ...], status: int, names: list[str]
) -> None:
    ended, said = _blast(tmp_path, *options)
    assert (ended, said.count("\n")) == (status, 1), said
    assert [name for name in names if name not in said] == []


def test_without_the_extra_one_line_says_which_it_is_and_without_metrics_it_is_not_imported(tmp_path: Path) -> None:
    run = "import runpy; runpy.run_module('loadkit', run_name='__main__', alter_sys=True)"
    missing = f"import sys; sys.modules['prometheus_client'] = None; {run}"
    status, said = _blast(tmp_path, "--metrics", "0", python=("-c", missing))
    assert (status, said.count("\n")) == (1, 1)
    assert "prometheus-client is not installed" in said
    assert "'.[metrics]'" in said
    status, said = _blast(tmp_path, python=("-c", missing))
    assert status in (0, 4)
    assert "prometheus" not in said


def test_prometheus_scrapes_a_server_and_promtool_finds_nothing_wrong_with_its_names(
    serve: Serve, tmp_path: Path
) -> None:
    require("prometheus")
    port = free_port()
    served = serve("-w", "1", "--metrics", str(port))
    with prometheus(tmp_path, f"127.0.0.1:{port}") as server, socket.socket() as one:
        one.connect(("127.0.0.1", served.port))
        one.sendall(b"hello")
        assert one.recv(5) == b"hello"
        server.wait_for("loadkit_serve_connections_opened_total == 1")
        server.wait_for("loadkit_serve_sent_bytes_total == 5")
        server.wait_for('sum(loadkit_worker_open_connections{end="serve"}) == 1')
        lint(scrape(f"http://127.0.0.1:{port}/metrics"))


def test_a_server_shows_what_it_has_served_and_that_it_replaced_a_worker(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    served = serve("-w", "2", "--metrics", str(port))
    url = f"http://127.0.0.1:{port}/metrics"
    with socket.create_connection(("127.0.0.1", served.port)) as one:
        one.sendall(b"hello")
        assert one.recv(5) == b"hello"
        while total(found := values(scrape(url)), "loadkit_worker_open_connections", end="serve") != 1:
            pass
        assert total(found, "loadkit_serve_connections_opened_total") == 1
    while total(values(scrape(url)), "loadkit_serve_connections_closed_total") != 1:
        pass
    assert total(found := values(scrape(url)), "loadkit_serve_sent_bytes_total") == 5
    os.kill(served.workers[0], signal.SIGKILL)
    while total(again := values(scrape(url)), "loadkit_serve_restarts_total") != 1:
        pass
    assert total(again, "loadkit_serve_connections_opened_total") == 1
    served.signal(signal.SIGTERM)
    status, _out, err = served.end()
    assert status == 0
    assert f"loadkit: metrics at {url}\n" in err


def test_a_library_call_has_them_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(loadkit.PreflightError, match="Address already in use"):
            loadkit.sync.blast(connections=1, messages=1, metrics=port)

    def look() -> None:
        text = ""
        while not total(values(text), "loadkit_messages_replied_total", phase="hold"):
            with contextlib.suppress(OSError):
                text = scrape(f"http://127.0.0.1:{port}/metrics")

    async def run() -> None:
        run = asyncio.ensure_future(loadkit.blast(connections=1, duration=600, warmup=0, workers=1, metrics=port))
        await asyncio.to_thread(look)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(run())
    with pytest.raises(OSError, match="refused"):
        scrape(f"http://127.0.0.1:{port}/metrics")
