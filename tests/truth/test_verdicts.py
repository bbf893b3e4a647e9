"""Sound runs and sabotaged ones: none is judged wrongly, and the party named is the right one. `make verdicts`.

A sound run that was disturbed is suspect rightly. It passes if a witness of the machine saw that too: witness.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve

from .conftest import Run, assert_adds_up
from .stage import (
    Maker,
    Stage,
    alone,
    at,
    at_server,
    crowd_out,
    few_ports,
    interrupt,
    kill_peer,
    kill_worker,
    meanwhile,
    one_core,
    quota,
    stop_everything,
    stop_peer,
    stop_worker,
)
from .witness import FIRST, Seen, Witness

pytestmark = pytest.mark.slow

TARGET, OURS, MACHINE, REQUEST = "target", "loadkit", "machine", "request"
# A stop of our own processes looks the same as one by the machine.
OURS_OR_MACHINE = "loadkit machine"


@dataclass(frozen=True)
class Row:
    """How a run is made, and what has to be said of it.

    `says` are the codes that must be there, of reasons or findings, with the parties that each may name. Any other
    reason is wrong, and so is a finding of the target, unless the target is in `says`. `text` stands in what the first
    code says. State None: no record.
    """

    name: str
    make: Maker
    says: Mapping[str, str] = field(default_factory=dict)
    state: str | None = "valid"
    status: int = 0
    text: str = ""
    marks: tuple[pytest.MarkDecorator, ...] = ()


# What makes a run invalid because of the machine.
UNSENT = ("schedule-missed", "saturated")
QUIET, LENGTHY = (pytest.mark.quiet,), (pytest.mark.lengthy,)

PAUSE = """
connections = 10
[[phases]]
name = "before"
duration = "500ms"
rate = 400
[[phases]]
name = "pause"
duration = "300ms"
rate = 0
[[phases]]
name = "after"
duration = "500ms"
rate = 400
"""

FAR_ABOVE = """
connections = 10
[[phases]]
name = "far above"
duration = "700ms"
rate = "20k"
measured = false
[[phases]]
name = "sound"
duration = "3s"  # two messages wait for what the warm-up has under way: of 300 that is no finding
rate = 100
"""

OPEN = "-c 20 -R 500 -d 1s --warmup 0s -w 1"
STOPPED = "-c 20 -d 2s --warmup 0s -w 1 --timeout 500ms"

SOUND = [
    Row("a closed loop at a slow peer, native", at("delay 20", "-c 20 -d 1s --warmup 0s --engine native")),
    Row(
        "a closed loop at a slow peer, uvloop", at("delay 20", "-c 20 -d 1s --warmup 0s --engine uvloop"), marks=LENGTHY
    ),
    Row(
        "a closed loop at a slow peer, asyncio",
        at("delay 20", "-c 20 -d 1s --warmup 0s --engine asyncio"),
        marks=LENGTHY,
    ),
    Row("an open loop, native", at("echo", f"{OPEN} --engine native")),
    Row("an open loop, edge-triggered", at("echo", f"{OPEN} --engine native --edge-triggered"), marks=LENGTHY),
    Row("an open loop, uvloop", at("echo", f"{OPEN} --engine uvloop")),
    Row("an open loop, asyncio", at("echo", f"{OPEN} --engine asyncio"), marks=LENGTHY),
    Row("churn", at("echo", "-c 10 --lifetime 20ms -R 200 -d 1s --warmup 0s")),
    Row("a number of messages in a closed loop", at("delay 20", "-c 10 -n 300")),
    Row("a number of messages at a rate", at("echo", "-c 10 -n 300 -R 400"), {"few-samples": REQUEST}, marks=LENGTHY),
    Row("phases with a pause of rate 0", at("echo", "-w 1", PAUSE), {"few-samples": REQUEST}),
    Row("sixteen messages under way per connection", at("delay 20", "-c 20 -p 16 -d 1s --warmup 0s")),
    Row("messages of 1 MiB", alone("-c 4 -s 1MiB -R 50 -d 1s --warmup 0s"), {"few-samples": REQUEST}),
    Row("IPv6", at_server("-w 1", OPEN, address="[::1]:0"), {"few-samples": REQUEST}),
    Row(
        "a server that was stopped for 0.7 s",
        meanwhile(stop_peer(0.7), "echo", "-c 20 -R 500 -d 3s --warmup 0s -w 1", after=300),
        {"peer-behind": TARGET},
        marks=LENGTHY,
    ),
    Row(
        "one message in 200 is never answered",
        at("drop-every 200", "-c 1000 -R 500 -d 2s --warmup 0s --timeout 1s -w 1"),
        {"messages-lost": TARGET},
        marks=LENGTHY,
    ),
    Row(
        "a peer that holds messages up for 20 ms",
        at("delay-every 20 20", "-c 2 -R 200 -d 1s --warmup 0s -w 1"),
        {"peer-behind": TARGET},
    ),
    Row(
        "two connections and 20 messages per second",
        alone("-c 2 -R 20 -d 3s --warmup 0s"),
        {"few-samples": REQUEST},
        marks=LENGTHY,
    ),
    Row("800 replies", at("echo", "-c 20 -R 800 -d 1s --warmup 0s -w 1"), {"few-samples": REQUEST}),
    Row("10,000 messages of 4 KiB per second", alone("-c 50 -R 10k -s 4KiB -d 2s --warmup 0s"), marks=LENGTHY),
    Row(
        "a run that Ctrl-C ended",
        meanwhile(interrupt(0.5), "echo", "-c 20 -R 1k -d 60s --warmup 0s -w 1", after=1500),
        status=130,
    ),
    Row("a warm-up far above what the peer can do", at("serial 2", "-w 1", FAR_ABOVE), {"few-samples": REQUEST}),
    Row("an embedded server", alone("-c 100 -R 2k -d 1s --warmup 500ms"), marks=LENGTHY),
]

SABOTAGED = [
    *(
        Row(
            f"a worker stopped for a second, {loop}, {engine}",
            meanwhile(stop_worker(1.0), "echo", f"{STOPPED} {rate} --engine {engine}", after=200),
            {"stood-still": OURS_OR_MACHINE},
            "suspect",
            text="worker 0",
            marks=() if engine == "native" and rate else LENGTHY,
        )
        for engine in ("native", "uvloop", "asyncio")
        for loop, rate in (("open loop", "-R 1k"), ("closed loop", ""))
    ),
    Row(
        "each process stopped for a second",
        meanwhile(stop_everything(1.0), "echo", f"{STOPPED} -R 1k", after=200),
        {"stood-still": OURS_OR_MACHINE},
        "suspect",
        marks=LENGTHY,
    ),
    Row(
        "each process stopped for longer than the run",
        meanwhile(stop_everything(9.0), "echo", f"{STOPPED} -R 1k", after=200),
        {"stood-still": OURS_OR_MACHINE, "schedule-missed": OURS_OR_MACHINE},
        "invalid",
        4,
        marks=LENGTHY,
    ),
    Row(
        "a worker killed",
        meanwhile(kill_worker, "echo", STOPPED, after=200),
        {"worker-died": MACHINE},
        "invalid",
        4,
        "SIGKILL",
    ),
    Row(
        "one of two workers killed in an open loop",
        meanwhile(kill_worker, "echo", "-c 20 -R 500 -d 2s --warmup 0s -w 2", after=200),
        {"worker-died": MACHINE},
        "invalid",
        4,
        "SIGKILL",
        marks=LENGTHY,
    ),
    Row(
        "the server killed",
        meanwhile(kill_peer, "echo", OPEN, after=100),
        {"connections-lost": TARGET},
        "invalid",
        4,
    ),
    Row(
        "the server stopped for good",
        meanwhile(stop_peer(None), "echo", f"{STOPPED} -R 500", after=200),
        {"connections-lost": TARGET},
        "invalid",
        4,
        "REPLY_TIMEOUT",
        marks=LENGTHY,
    ),
    Row(
        "churn, and the server killed",
        meanwhile(kill_peer, "echo", "-c 10 --lifetime 20ms -R 200 -d 1s --warmup 0s -w 1", after=100),
        {"connects-failed": TARGET},
        "invalid",
        4,
        "ECONNREFUSED",
    ),
    Row(
        "a rate far above a serial peer",
        at("serial 5", "-c 20 -R 2k -d 1s --warmup 0s -w 1"),
        {"rate-missed": TARGET},
        "invalid",
        4,
    ),
    Row(
        "an app that replies slower than the rate",
        at_server("-w 1 --app tests.apps:late", "-c 10 -R 1k -d 1s --warmup 0s -w 1"),
        {"rate-missed": TARGET},
        "invalid",
        4,
    ),
    Row(
        "a closed loop at its own limit",
        at_server("-w 1 --engine native", "-c 50 -p 8 -d 1s --warmup 0s -w 1 --engine asyncio", behind=FIRST),
        {"blast-bound": OURS},
        "suspect",
        marks=QUIET,
    ),
    Row(
        "a rate above its own limit",
        at_server("-w 1 --engine native", "-c 50 -p 8 -R 1m -d 1s --warmup 0s -w 1 --engine asyncio", behind=FIRST),
        {"saturated": OURS},
        "invalid",
        4,
        marks=QUIET,
    ),
    Row(
        "both ends on one core",
        alone("-c 20 -d 1s --warmup 0s", one_core),
        {"shared-core": OURS},
        "suspect",
        marks=QUIET,
    ),
    Row(
        "a busy loop of the highest nice level on the worker's core",
        meanwhile(crowd_out(1.5), "echo", "-c 20 -d 2s --warmup 0s -w 1 --engine asyncio", after=100),
        {"run-delay": MACHINE},
        "suspect",
        marks=QUIET,
    ),
    Row(
        "a CPU quota",
        at("echo", "-c 20 -d 1s --warmup 0s -w 1 --engine asyncio", around=quota(20_000)),
        {"throttled": MACHINE},
        "suspect",
        marks=QUIET,
    ),
    Row(
        "no local port left",
        alone("-c 20 --lifetime 0 --close fin -d 1s --warmup 0s", few_ports(20_000, 20_999)),
        {"exhausted": MACHINE},
        "invalid",
        4,
        "EADDRNOTAVAIL",
    ),
    Row(
        "a peer that resets",
        at("reset-after 640", OPEN),
        {"connections-lost": TARGET},
        "invalid",
        4,
        "ECONNRESET",
        marks=LENGTHY,
    ),
    Row("wrong bytes", at("wrong-byte 20", OPEN), {"connections-lost": TARGET}, "invalid", 4, "WRONG_BYTES"),
    Row(
        "a byte too many",
        at("extra 20", OPEN),
        {"connections-lost": TARGET},
        "invalid",
        4,
        "EXTRA_BYTES",
        marks=LENGTHY,
    ),
    Row("a close half way", at("half 20", OPEN), {"connections-lost": TARGET}, "invalid", 4, "CLOSED_BY_PEER"),
    Row(
        "no reply after the first",
        at("first", f"{OPEN} --timeout 500ms"),
        {"connections-lost": TARGET},
        "invalid",
        4,
        marks=LENGTHY,
    ),
    Row(
        "an accept queue of one",
        # Slow at accepting, and a time-out that ends before the kernel's first retry after a second.
        at_server(
            "-w 1 --backlog 1 --engine asyncio",
            "-c 2000 --connect-rate 50k -R 1k -d 1s --warmup 0s --timeout 800ms",
        ),
        {"incomplete": TARGET},
        "invalid",
        4,
        "accept queue",
        marks=LENGTHY,
    ),
    Row(
        "fewer connections allowed than asked for",
        at_server("-w 1 --max-connections 10", "-c 20 -R 500 -d 1s --warmup 0s -w 1"),
        {"incomplete": TARGET},
        "invalid",
        4,
        "reset",
    ),
    Row(
        "Ctrl-C before the measured part",
        meanwhile(interrupt(0.0), "echo", "-c 1000 --connect-rate 200 -d 60s -w 1", after=50),
        {"no-window": REQUEST},
        "invalid",
        130,
    ),
    Row("a rate of 0", alone("-R 0 -d 1s"), state=None, status=2),
]


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with contextlib.closing(Witness()) as started:
        yield started


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name, marks=row.marks) for row in (*SOUND, *SABOTAGED)])
def test_a_run_is_judged_rightly(
    row: Row, blast: Any, serve: Serve, tmp_path: Path, witness: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    witness.look()
    run = row.make(Stage(blast, serve, tmp_path))
    seen = witness.look()
    wrong = list(find_wrong(row, run, seen))
    if row.state is not None and run.record:
        assert_adds_up(run.record)
    assert not wrong, f"{'; '.join(wrong)}: {_said(run)}; {seen}\n{run.out}\n{run.err}"
    if run.record and run.record["verdict"]["state"] == "suspect" and row.state == "valid":
        with capsys.disabled():
            print(f" [rightly {_said(run)}; {seen}] ", end="")


def find_wrong(row: Row, run: Run, seen: Seen) -> Iterator[str]:
    """Yields what is wrong with the verdict. What the machine may have caused is right if the witnesses saw it."""
    status = run.process.returncode
    if row.state is None or not run.record:
        if row.state is not None or run.record:
            yield "a record, or none"
        if status != row.status:
            yield f"exit status {status}, not {row.status}"
        return
    verdict, findings = run.record["verdict"], run.record["findings"]
    by_machine = [one for one in verdict["reasons"] if seen.confirms(run.record, one)]
    is_disturbed = row.state == "valid" and bool(by_machine)
    state, expected = "suspect" if is_disturbed else row.state, row.status
    if any(one["code"] in UNSENT for one in by_machine):
        state, expected = "invalid", expected or 4
    if verdict["state"] != state:
        yield f"{verdict['state']}, not {state}"
    if status != expected:
        yield f"exit status {status}, not {expected}"
    parties = {word for said in row.says.values() for word in said.split()}
    for code, allowed in row.says.items():
        said = [one for one in (*verdict["reasons"], *findings) if one["code"] == code]
        # A disturbance that the witnesses saw may be the nearer cause, and is said instead.
        if not said and not by_machine:
            yield f"no {code}"
        for one in said:
            if one["party"] not in allowed.split():
                yield f"{code} names the {one['party']}"
            if code == next(iter(row.says)) and row.text not in one["text"]:
                yield f"{code} does not say {row.text}"
    for reason in verdict["reasons"]:
        if reason not in by_machine and reason["code"] not in row.says:
            yield f"a reason {reason['code']} of the {reason['party']}"
    for finding in findings:
        # Our peers run on this machine: what disturbs us disturbs them.
        if finding["party"] == TARGET not in parties and not seen.confirms(run.record):
            yield f"a finding {finding['code']} of the target"


def _said(run: Run) -> str:
    """Says what the record says."""
    if not run.record:
        return "no record"
    said = (*run.record["verdict"]["reasons"], *run.record["findings"])
    return ", ".join([run.record["verdict"]["state"], *(f"{one['code']} ({one['party']})" for one in said)])
