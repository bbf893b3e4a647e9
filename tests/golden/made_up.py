"""Runs that never were: plans and samples made by hand, for records whose every figure is known."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from loadkit.measure.board import TAIL_ROWS
from loadkit.measure.histogram import Histogram
from loadkit.measure.memory import MemorySamples
from loadkit.measure.names import COUNTERS, HISTOGRAMS, JOURNEY_SOURCES, STAGE, STAGES, STATE, WAKEUP_SOURCES
from loadkit.measure.run_samples import AbortSample, RunSamples, ServeSamples, WorkerEnd
from loadkit.measure.samples import PhaseSamples, WorkerSamples
from loadkit.measure.series import IntervalLatency, IntervalSample
from loadkit.plan.build import Given, Origins, Plan
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.load import Load, Said
from loadkit.plan.origins import origins_of
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.placement import Placement
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import EMBEDDED, Route, Target
from loadkit.profile.blast import Close
from loadkit.profile.both import Stamps
from loadkit.profile.engines import EngineName
from loadkit.report.build import build_record
from loadkit.report.journey import tail_from
from loadkit.report.record import Advised, Finding, Reason, RunId, RunRecord, SloRecord, Tool, Verdict
from loadkit.report.writing import encode
from tests.unit.made_up import made_up_host

S = 10**9
MS = 10**6
US = 10**3
HIGHEST_NS = 60 * S
# The common start of every made-up run, monotonic; the hold begins 2 s later and lasts 10 s.
START_NS = 1_000 * S
HOLD_NS = START_NS + 2 * S
HOLD = 2  # the place of `hold` in the phases

_EMBEDDED = Target(EMBEDDED, ("127.0.0.1",), 0, embedded=True)
ENGINE = ChosenEngine(EngineName.UVLOOP)
REMOTE = Target("db.example", ("10.0.0.1",), 7000)


def made_up_plan(rate_hz: float | None = None, target: Target = _EMBEDDED, **changes: Any) -> Plan:
    """A plan of 100 connections, 2 workers, ramp 1 s, warm-up 1 s, hold 10 s; `rate_hz` makes an open loop."""
    pace = None if rate_hz is None else (rate_hz, rate_hz)
    phases = (
        PhasePlan("ramp", PhaseKind.RAMP, S, 100),
        PhasePlan("warm-up", PhaseKind.WARMUP, S, 100, pace),
        PhasePlan("hold", PhaseKind.HOLD, 10 * S, 100, pace),
        PhasePlan("drain", PhaseKind.DRAIN, 10 * S, 100),
    )
    load = Load(
        connections=100,
        connect_rate_hz=100.0,
        phases=phases,
        messages=None,
        size_bytes=64,
        depth=1,
        lifetime_ns=None,
        timeout_ns=10 * S,
        connect_timeout_ns=5 * S,
        opening=4096,
        keepalive_ns=None,
        close=Close.RST,
        check=True,
        journey=False,
        stamps=Stamps.OFF,
        highest_ns=HIGHEST_NS,
    )
    placement = Placement(
        engine=EngineName.UVLOOP,
        edge_triggered=False,
        workers=2,
        cores=(0, 1),
        lanes=2,
        stays_awake=True,
        routes=(Route(None, target.addresses[0], 100),),
        serve=ServePlan(("127.0.0.1",), 0, EngineName.UVLOOP, 2, (2, 3)) if target.embedded else None,
    )
    sources = {"connections": "option", "depth": "profile"} | ({"rate": "option"} if rate_hz else {})
    plan = Plan(target=target, load=load, placements=(placement,), origins=_origins(sources, target), given=Given())
    return changed(plan, **changes)


def _origins(sources: Mapping[str, str], target: Target) -> Origins:
    return Origins(
        target="default" if target.embedded else sources.get("target", "option"),
        profile=sources.get("profile", "default"),
        slo=sources.get("slo", "default"),
        load=origins_of(Load, sources),
        placement=origins_of(Placement, sources),
    )


def changed(plan: Plan, **changes: Any) -> Plan:
    """The plan with these values, wherever in it they stand; `sources` are where the options came from."""
    if "sources" in changes:
        plan = msgspec.structs.replace(plan, origins=_origins(changes.pop("sources"), plan.target))

    def taken(struct: Any) -> Any:
        return msgspec.structs.replace(
            struct, **{name: changes.pop(name) for name in struct.__struct_fields__ if name in changes}
        )

    parts = {"load": taken(plan.load), "placements": (taken(plan.here),), "given": taken(plan.given)}
    return msgspec.structs.replace(plan, **parts | changes)


def page(
    histograms: Mapping[str, Iterable[int]] | None = None,
    errors: Mapping[tuple[str, str], int] | None = None,
    dropped: Mapping[str, int] | None = None,
    **counters: int,
) -> PhaseSamples:
    """One phase of one worker: the counters given, the others 0."""
    assert set(counters) <= set(COUNTERS)
    values = histograms or {}
    return PhaseSamples(
        counters=dict.fromkeys(COUNTERS, 0) | counters,
        errors=dict(errors or {}),
        histograms={
            name: Histogram.of(values[name], HIGHEST_NS) if name in values else Histogram.empty(HIGHEST_NS)
            for name in HISTOGRAMS
        },
        dropped=dict.fromkeys(HISTOGRAMS, 0) | dict(dropped or {}),
        tails=np.zeros((0, 1 + len(STAGES)), np.int64),
    )


def travelled(page_: PhaseSamples, journeys: list[dict[str, int]], **counters: int) -> PhaseSamples:
    """The same phase with these journeys in it: of each, the stages and their times."""
    tails = np.zeros((TAIL_ROWS, 1 + len(STAGES)), np.int64)
    times: dict[str, list[int]] = {name: [] for name in STAGES}
    for journey in journeys:
        whole = journey | {"total": sum(journey.values())}
        row = max(row for row in range(TAIL_ROWS) if tail_from(row) <= whole["total"])
        tails[row, 0] += 1
        for name, time in whole.items():
            times[name].append(time)
            tails[row, 1 + STAGES.index(name)] += time
    stages = {STAGE + name: Histogram.of(values, HIGHEST_NS) for name, values in times.items()}
    return replace(
        page_,
        counters={**page_.counters, **counters},
        histograms={**page_.histograms, **stages},
        dropped={**page_.dropped, **dict.fromkeys(stages, 0)},
        tails=tails,
    )


def exchanged(latencies: list[int], lateness: list[int] | None = None, **more: Any) -> PhaseSamples:
    """A phase in which each message was replied to, after these latencies (ns); `more` adds to it.

    What is `sent` beside them went out on time.
    """
    count, late = len(latencies), lateness or [0] * len(latencies)
    counters: dict[str, Any] = {"intended": count, "sent": count, "replied": count, "sent_bytes": 64 * count}
    counters["received_bytes"] = counters["sent_bytes"]
    counters |= {"window_sent": count, "window_replied": count}
    for name in set(more) & set(counters):
        counters[name] += more.pop(name)
    service = [latency - wait for latency, wait in zip(latencies, late, strict=True)]
    on_time = [0] * (counters["sent"] - count)
    histograms = {"latency": latencies, "service": service, "lateness": late + on_time, "held": [0] * count + on_time}
    histograms |= more.pop("histograms", {})
    return page(histograms, **counters, **more)


def ramp(opened: int = 50, **more: Any) -> PhaseSamples:
    """The ramp of one worker: each connection opens within 1 ms and gets the reply to one message."""
    connect = {"connect": [300 * US + 10 * US * k for k in range(opened)], "first_byte": [200 * US] * opened}
    return exchanged([200 * US] * opened, histograms=connect, **{"asked": opened, "opened": opened, **more})


def worker(index: int, *phases: PhaseSamples, **state: int) -> WorkerSamples:
    """A worker's slot, all its connections settled 1 s after the start."""
    known = {"peak": 50, "settled": 50, "settled_ns": START_NS + S, "core": index, "max_rss_bytes": 35 * 2**20}
    if any(phase.counters["waits"] for phase in phases):
        known["wakeup_source"] = WAKEUP_SOURCES.index("native")
    return WorkerSamples(index, dict.fromkeys(STATE, 0) | known | state, phases)


def woken(batches: list[int], busy_ns: int = 9 * S) -> dict[str, Any]:
    """Counters and histogram of wake-ups with these many events each, and one wait in vain; blocked for 1 s."""
    counts = {"waits": len(batches) + 1, "wakeups": len(batches), "events": sum(batches), "events_in": sum(batches)}
    # As long as each other, all turns.
    busy = [busy_ns // len(batches)] * len(batches)
    return {**counts, "blocked_ns": S, "busy_ns": busy_ns, "histograms": {"batch": batches, "busy": busy}}


def serve_end(cpu_ns: tuple[int, int] = (S, 2 * S), accepted: tuple[int, ...] = (52, 48), **more: Any) -> ServeSamples:
    """A serve end whose workers each spent `cpu_ns` (user, system) in the window; 100 bytes went each way.

    `batches` are the wake-ups before the window, and those by its end.
    """
    before_and_after = more.get("batches", ([], []))

    def look(spent: tuple[int, int], batches: list[int], busy_ns: int) -> tuple[WorkerSamples, ...]:
        return tuple(
            worker(
                index,
                page(
                    opened=count,
                    closed=count,
                    sent_bytes=100,
                    received_bytes=100,
                    cpu_user_ns=spent[0],
                    cpu_system_ns=spent[1],
                    errors=more.get("errors") if not index else None,
                    **(woken(batches, busy_ns) if batches else {}),
                ),
                peak=count,
                core=index + 2,
            )
            for index, count in enumerate(accepted)
        )

    before = (7 * S, 5 * S)
    after = look((before[0] + cpu_ns[0], before[1] + cpu_ns[1]), before_and_after[1], 10 * S)
    ends = tuple(WorkerEnd(index, 200 + index, index + 2, None) for index in range(len(accepted)))
    return ServeSamples(
        look(before, before_and_after[0], S),
        after,
        after,
        more.get("ends", ends),
        more.get("restarts", 0),
        "uvloop 0.22.1",
        port=40_000,
    )


def made_up_samples(*workers: WorkerSamples, **changes: Any) -> RunSamples:
    """What was measured, over the whole window unless `changes` say otherwise."""
    known: dict[str, Any] = {
        "started": "2026-01-02T03:04:05.678+00:00",
        "start_ns": START_NS,
        "ramp_ns": START_NS + 10 * MS,
        "window_start_ns": HOLD_NS,
        "window_end_ns": HOLD_NS + 10 * S,
        "end_ns": HOLD_NS + 11 * S,
        "engine": "uvloop 0.22.1",
        "workers": workers,
        "ends": tuple(WorkerEnd(one.index, 100 + one.index, one.index, None) for one in workers),
        "intervals": (),
        "interrupted": None,
        "serve": None,
    }
    return RunSamples(**known | changes)


def steady(latencies: list[int], lateness: list[int] | None = None, **more: Any) -> RunSamples:
    """Two workers alike: a ramp, no warm-up, a hold of these latencies, an empty drain. `more` goes to the hold."""
    cpu = {"cpu_user_ns": S, "cpu_system_ns": 2 * S, "run_delay_ns": S // 10}
    workers = [
        worker(index, ramp(), page(), exchanged(latencies, lateness, **cpu | more), page(closed=50)) for index in (0, 1)
    ]
    return made_up_samples(*workers)


def made_up_record(plan: Plan, samples: RunSamples) -> RunRecord:
    """The record, as the same tool on the same host would always have made it."""
    record = msgspec.structs.replace(
        build_record(plan, made_up_host(), samples),
        run=RunId(""),
        tool=Tool("0.1.0", "3.11.7", "0.22.1", samples.engine),
    )
    # Not a random id, or no two golden files were alike.
    return msgspec.structs.replace(record, run=RunId(hashlib.sha256(encode(record).encode()).hexdigest()[:16]))


def again(record: RunRecord, minutes: int = 1) -> RunRecord:
    """The same run once more, so much later: what it measured is the same, what it is called is not."""
    started = datetime.datetime.fromisoformat(record.started) + datetime.timedelta(minutes=minutes)
    return msgspec.structs.replace(
        record, started=started.isoformat(timespec="milliseconds"), run=RunId(f"{record.run.id}+{minutes}")
    )


def _spread(count: int, low: int = 100 * US, high: int = 2 * MS) -> list[int]:
    return [low + (high - low) * k // count for k in range(count)]


def _closed_loop() -> RunRecord:
    samples = steady(_spread(20_000))
    latency = Histogram.of(_spread(4_000), HIGHEST_NS)
    series = tuple(
        IntervalSample(second * S, (second + 1) * S, HOLD, 0, 4_000, 256_000, 0, IntervalLatency.of(latency))
        for second in (2, 3)
    )
    samples = made_up_samples(*samples.workers, intervals=series, serve=serve_end())
    return made_up_record(made_up_plan(), samples)


def _saturated() -> RunRecord:
    """Worker 0 has no time left and sends late, worker 1 is killed: both make the run invalid."""
    late = [20 * MS] * 2_000
    hold = exchanged(
        [30 * MS] * 2_000,
        late,
        errors={("receive", "ECONNRESET"): 1, ("receive", "WRONG_BYTES"): 1},
        intended=102,
        sent=2,
        failed=2,
        unsent=100,
        closed=2,
        cpu_user_ns=4 * S,
        cpu_system_ns=6 * S,
    )
    refused = ramp(49, asked=50, failed_connects=1, errors={("connect", "ECONNREFUSED"): 1})
    # Killed with two messages under way and one not yet sent: only the parent can count them.
    killed = exchanged([MS] * 500, intended=3, sent=2)
    workers = (
        worker(0, refused, page(), hold, page(), peak=49),
        worker(1, ramp(), page(), killed, page()),
    )
    ends = (WorkerEnd(0, 100, 0, None), WorkerEnd(1, 101, 1, "killed by SIGKILL", mid_fold=True))
    plan = made_up_plan(1_000.0, slo=("latency.p99<5ms", "errors==0", "latency.p99.999<1s", "replies_per_s>=200"))
    return made_up_record(plan, made_up_samples(*workers, ends=ends, serve=serve_end(accepted=(300, 100))))


def _interrupted() -> RunRecord:
    """Ended by SIGINT in the ramp: nothing was measured, and nothing is 0 that is not known; not the native engine."""
    workers = [worker(index, ramp(20), page(), page(), page(), settled_ns=0, settled=20, peak=20) for index in (0, 1)]
    samples = made_up_samples(*workers, window_start_ns=None, window_end_ns=None, interrupted="SIGINT")
    return made_up_record(made_up_plan(500.0, REMOTE, slo=("latency.p50<5ms",), fallback="no compiler"), samples)


def _aborted() -> RunRecord:
    """Ended by --abort-on 3 s into its hold: valid, and partial."""
    plan = made_up_plan(400.0, REMOTE, slo=("errors==0",), abort_on=("error_ratio>1%", "latency.p99>1ms for 2s"))
    samples = steady(_spread(600), [20 * US] * 600)
    end_ns = HOLD_NS + 3 * S
    aborted = AbortSample("latency.p99>1ms for 2s", end_ns - 10 * MS, 1_970_000, None)
    return made_up_record(plan, made_up_samples(*samples.workers, window_end_ns=end_ns, end_ns=end_ns, aborted=aborted))


def _open_loop() -> RunRecord:
    """On schedule against a remote server: valid."""
    plan = made_up_plan(400.0, REMOTE, depth=4, slo=("latency.p99<5ms", "received_bytes_per_s>=1KiB"))
    return made_up_record(plan, steady(_spread(2_000), [20 * US] * 2_000))


def _set_up() -> RunRecord:
    """A remote server that greets, and wants a login before the first message."""
    said = (Said("", "line"), Said("*** (9 B, sha256 c0ffee00)", "line-code"))
    plan = made_up_plan(400.0, REMOTE, setup=said, slo=("handshake.p90<5ms",))
    shaken = {"handshake": [700 * US + 10 * US * k for k in range(50)]}
    workers = [
        WorkerSamples(one.index, one.state, (_with(one.phases[0], shaken), *one.phases[1:]))
        for one in steady(_spread(2_000), [20 * US] * 2_000).workers
    ]
    return made_up_record(plan, made_up_samples(*workers))


def _with(part: PhaseSamples, times: Mapping[str, list[int]]) -> PhaseSamples:
    """Returns the phase with further times."""
    return replace(
        part, histograms={**part.histograms, **{name: Histogram.of(of, HIGHEST_NS) for name, of in times.items()}}
    )


def _native() -> RunRecord:
    """The compiled engine, which counts its wake-ups, at both ends."""
    samples = steady(_spread(2_000), **woken([1] * 300 + [20] * 85))
    before = [3] * 10
    serve = serve_end(batches=(before, [*before, *[2] * 900, 200]))
    samples = made_up_samples(*samples.workers, serve=serve, engine="native in uvloop 0.22.1")
    return made_up_record(made_up_plan(engine=EngineName.NATIVE, edge_triggered=True), samples)


def _crowd() -> RunRecord:
    """More workers than cores, and 10,000 connections: what opening, holding and closing them took."""
    base = made_up_plan(200.0)
    phases = tuple(msgspec.structs.replace(phase, connections=10_000) for phase in base.load.phases)
    plan = made_up_plan(200.0, connections=10_000, phases=phases, workers=4, lanes=2, engine=EngineName.NATIVE)
    state = {"peak": 2_500, "settled": 2_500, "settled_ns": START_NS + 10 * MS + S}
    workers = [
        worker(index, ramp(2_500), page(), exchanged(_spread(500), [20 * US] * 500), page(closed=2_500), **state)
        for index in range(4)
    ]
    samples = made_up_samples(
        *workers,
        serve=serve_end(accepted=(5_100, 4_900)),
        tenths_ns=tuple(round(S * (0.08 * tenth + 0.002 * tenth * tenth)) for tenth in range(1, 11)),
        memory=MemorySamples(10_000, 89_000_000, 1_750_000, 500_000, 60_000_000),
        closing_ns=350 * MS,
        engine="native in uvloop 0.22.1",
    )
    return made_up_record(plan, samples)


def journeys(count: int, of_which_slow: int, usual: dict[str, int], slow: dict[str, int]) -> list[dict[str, int]]:
    """So many journeys, of which some are slow: each with its stages."""
    return [slow if k < of_which_slow else usual for k in range(count)]


BOTH_ENDS = {
    "held": 0,
    "late": 15 * US,
    "send": 6 * US,
    "queue": 2 * US,
    "there": 2 * US,
    "serve_busy": 0,
    "serve_wake": 30 * US,
    "serve_batch": 4 * US,
    "serve_code": 4 * US,
    "back": 10 * US,
    "busy": 0,
    "wake": 25 * US,
    "batch": 3 * US,
    "read": 2 * US,
}


def _journey() -> RunRecord:
    """Probes at a serve end of ours whose loop is now and then busy with others."""
    slow = BOTH_ENDS | {"serve_busy": 600 * US, "serve_batch": 900 * US}
    samples = steady(_spread(2_000), **woken([1] * 300 + [20] * 85))
    probed = journeys(1_000, 20, BOTH_ENDS, slow)
    workers = [
        replace(
            one,
            state={**one.state, "journey_source": JOURNEY_SOURCES.index("same_clock")},
            phases=tuple(
                travelled(phase, probed if at == 2 else [], probes=4 * (at == 0), journeys_stepped=at == 2)
                for at, phase in enumerate(one.phases)
            ),
        )
        for one in samples.workers
    ]
    serve = serve_end(batches=([3] * 10, [*[3] * 10, *[2] * 900, 200]))
    samples = made_up_samples(*workers, serve=serve, engine="native in uvloop 0.22.1")
    return made_up_record(made_up_plan(engine=EngineName.NATIVE, journey=True), samples)


RUNS = {
    "aborted": _aborted,
    "closed_loop": _closed_loop,
    "crowd": _crowd,
    "interrupted": _interrupted,
    "journey": _journey,
    "native": _native,
    "open_loop": _open_loop,
    "saturated": _saturated,
    "set_up": _set_up,
}


def awkward() -> RunRecord:
    """Names that pipes, tags, escapes and control characters are in, as a profile or a later loadkit may have them."""
    name = "ho|ld \\| <b>&amp; `x` *y* ]]>\x1b[31m\x00\u202e"
    record = made_up_record(
        made_up_plan(400.0, Target(name, ("10.0.0.1",), 7000), profile=name), steady(_spread(2_000), [0] * 2_000)
    )
    return msgspec.structs.replace(
        record,
        verdict=Verdict("suspect", (Reason("name", f"phase {name} did this, see `loadkit doctor -c 100`"),)),
        slo=(SloRecord(f"{name} < 5ms", None, False, f"no {name}"), SloRecord("errors==0", 0, True)),
        errors=(Advised(name, "connect", "ECONNREFUSED", 1_234, f"look at {name}"),),
        findings=(Finding("retransmits", f"12 of 1,000 segments were sent again at {name}", "network"),),
    )
