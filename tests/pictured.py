"""Runs that never were, for pages: a minute, an hour, a million connections, one reply and none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency
from loadkit.report.histograms import histogram_record
from loadkit.report.record import Connections, Interval, Opening, RunRecord
from loadkit.report.slo import check, parse_slo
from loadkit.report.verdict import judged
from tests.golden.made_up import (
    HIGHEST_NS,
    MS,
    RUNS,
    US,
    S,
    awkward,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    serve_end,
    steady,
    woken,
    worker,
)

__all__ = ["PICTURED", "rows_of", "with_series"]

_PER_S = 2_000


def rows_of(seconds: int, step_s: int, per_s: int, seed: int = 1) -> tuple[list[Interval], Histogram]:
    """Returns the rows of a hold of so many seconds, with a second that stalls in every minute, and all latencies."""
    chance = np.random.default_rng(seed)
    rows, whole = [], Histogram.empty(HIGHEST_NS)
    for start in range(2, 2 + seconds, step_s):
        count = per_s * step_s
        values = chance.lognormal(np.log(60 * US), 0.15, count)
        is_slow = chance.random(count) < 0.01
        values[is_slow] = chance.lognormal(np.log(1.2 * MS), 0.5, int(is_slow.sum()))
        if start % 60 < step_s:  # a stall of a hundredth of a second: the later a message, the less it waits
            values[: per_s // 100] = np.linspace(10 * MS, MS, per_s // 100)
        one = Histogram.of(values.astype(np.int64).tolist(), HIGHEST_NS)
        whole = whole.merge(one)
        latency = IntervalLatency.of(one)
        rows.append(Interval(float(start), float(start + step_s), "hold", 0, count, 64 * count, 0, latency))
    return rows, whole


def with_series(record: RunRecord, rows: Sequence[Interval], whole: Histogram) -> RunRecord:
    """Returns the record with these rows in its hold, and the latencies that they add up to."""
    latency, hold = histogram_record(whole, 0), record.phases[2]
    seconds = len(rows) and round(sum(row.t_s - row.from_s for row in rows))
    same = {"intended": latency.count, "sent": latency.count, "replied": latency.count}
    messages = msgspec.structs.replace(record.messages, **same)
    window = record.window and msgspec.structs.replace(
        record.window,
        start_ns=2 * S,
        end_ns=(2 + seconds) * S,
        measured_ns=seconds * S,
        sent=latency.count,
        replied=latency.count,
    )
    opening = Interval(0.0, 1.0, "ramp", 100, 100, 6_400, 0, IntervalLatency(None, None, None))
    histograms = record.histograms | {"latency": latency, "service": latency}
    hold = msgspec.structs.replace(hold, messages=messages, histograms=hold.histograms | {"latency": latency})
    phases = (*record.phases[:2], hold, *record.phases[3:])
    rates = msgspec.structs.replace(record.rates, replies_per_s=latency.count / max(1, seconds))
    whole_run = judged(
        msgspec.structs.replace(
            record,
            histograms=histograms,
            messages=messages,
            phases=phases,
            window=window,
            rates=rates,
            intervals=(opening, *rows),
        )
    )
    objectives = check([parse_slo(slo.expr) for slo in record.slo], whole_run)
    return msgspec.structs.replace(whole_run, slo=objectives)


def _minute() -> RunRecord:
    samples = steady([200 * US] * 10, [10 * US] * 10, **woken([1] * 300 + [20] * 85))
    serve = serve_end(batches=([3] * 10, [*[3] * 10, *[2] * 900, 200]))
    samples = made_up_samples(*samples.workers, serve=serve, engine="native in uvloop 0.22.1")
    plan = made_up_plan(float(_PER_S), slo=("latency.p99<5ms", "latency.p99.9<2ms", "errors==0"))
    return with_series(made_up_record(plan, samples), *rows_of(60, 1, _PER_S))


def _disturbed() -> RunRecord:
    """A minute whose workers wait for their cores, as on a machine with other work.

    It takes as much to write as a real one does: 2,000 messages of a second have 1,500 latencies to three digits.
    """
    chance = np.random.default_rng(2)
    record, rows, whole = _minute(), [], Histogram.empty(HIGHEST_NS)
    for start in range(2, 62):
        median = chance.lognormal(np.log(60 * MS), 0.4)
        one = Histogram.of(chance.lognormal(np.log(median), 0.6, _PER_S).astype(np.int64).tolist(), HIGHEST_NS)
        whole = whole.merge(one)
        rows.append(
            Interval(float(start), start + 1.0, "hold", 0, _PER_S, 64 * _PER_S, 0, IntervalLatency.of(one), open=100)
        )
    wide = {
        name: histogram_record(
            Histogram.of(chance.lognormal(np.log(at), 1.0, whole.count).astype(np.int64).tolist(), HIGHEST_NS), 0
        )
        for name, at in (("service", 5 * MS), ("lateness", 40 * MS), ("held", 10 * MS))
    }
    found = with_series(record, rows, whole)
    hold = msgspec.structs.replace(found.phases[2], histograms=found.phases[2].histograms | wide)
    return msgspec.structs.replace(
        found,
        histograms=found.histograms | wide,
        phases=(*found.phases[:2], hold, *found.phases[3:]),
        disturbed=found.histograms["latency"],
    )


def _hour() -> RunRecord:
    return with_series(_minute(), *rows_of(3600, 6, _PER_S))


def _million() -> RunRecord:
    """A million connections in 400 workers, most of which say nothing."""
    workers = [worker(index, ramp(), page(), exchanged([MS] * 20), page(closed=50)) for index in range(40)]
    samples = made_up_samples(*workers, serve=serve_end(accepted=tuple(24_600 + 37 * (at % 23) for at in range(40))))
    record = made_up_record(made_up_plan(80.0, workers=40), samples)
    million = Connections(1_000_000, 1_000_000, 0, 1_000_000, 1_000_000, 1_000_000, 0)
    quick = Interval(0.0, 1.0, "ramp", 20_000, 20_000, 1_280_000, 0, IntervalLatency(None, None, None))
    rows = [msgspec.structs.replace(quick, from_s=float(at), t_s=at + 1.0, open=20_000 * (at + 1)) for at in range(50)]
    deciles = tuple(20_000.0 - 40 * at * at for at in range(10))
    opening = Opening(1_000_000, 50 * S, deciles)
    return judged(msgspec.structs.replace(record, connections=million, opening=opening, intervals=tuple(rows)))


def _replies(count: int) -> RunRecord:
    """One connection, so many replies, and a message more that never came back."""
    hold = exchanged([150 * US] * count, intended=1, sent=1, unanswered=1)
    return made_up_record(made_up_plan(1.0), made_up_samples(worker(0, ramp(1), page(), hold, page(closed=1))))


def _idle() -> RunRecord:
    """Connections that are held open, and no message after the first of each."""
    workers = [worker(index, ramp(), page(), page(), page(closed=50)) for index in (0, 1)]
    return made_up_record(made_up_plan(0.0), made_up_samples(*workers, serve=serve_end()))


PICTURED: dict[str, Callable[[], RunRecord]] = {
    **RUNS,
    "awkward": awkward,
    "disturbed": _disturbed,
    "hour": _hour,
    "idle": _idle,
    "million": _million,
    "minute": _minute,
    "no reply": lambda: _replies(0),
    "one reply": lambda: _replies(1),
}
