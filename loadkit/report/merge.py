"""Several records of the same load, to one: counts are added, histograms too, percentiles never averaged.

The windows follow one another as if it had been one longer run: rates are totals over the sum of the windows, the
series are put end to end. Merging is associative, and commutative but for the order of the series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec

from loadkit.errors import OptionError, RecordError
from loadkit.report.build import cpu_per_reply, make_rates
from loadkit.report.histograms import decoded, histogram_record
from loadkit.report.journey import diagnose, with_shares
from loadkit.report.mergeable import check_mergeable, ids_of, spans_of, started_at
from loadkit.report.record import (
    Advised,
    Connections,
    HistogramRecord,
    Histograms,
    Journey,
    PhaseRecord,
    RunId,
    RunRecord,
    ServerRecord,
    Standstills,
    Tail,
    Wakeups,
    Window,
)
from loadkit.report.slo import Slo, check, parse_slo
from loadkit.report.verdict import judged

__all__ = ["merge_records"]

# Of the run alone that it is from: no sum and no mean of several says anything.
_ONE_RUN = "merged: each of the runs has its own"
_DROPPED = ("opening", "memory", "closing", "kernel", "tcp")


def merge_records(records: Sequence[RunRecord], names: Sequence[str] | None = None) -> RunRecord:
    """Returns one record of them all; `names` are their files, for errors.

    Raises RecordError for a run that is there twice, for unlike runs, naming the first key that differs with both
    values, for runs side by side, and for damaged histograms.
    """
    if len(records) == 1:
        return records[0]
    check_mergeable(names or [f"run {number + 1}" for number in range(len(records))], records)
    merged = reduce(_merge, records)
    merged = msgspec.structs.replace(merged, journey=_diagnosed(merged))
    merged = judged(merged)
    objectives = [_known(slo.expr) for slo in merged.slo]
    return msgspec.structs.replace(merged, slo=check(objectives, merged))


def _known(expr: str) -> Slo:
    try:
        return parse_slo(expr)
    except OptionError:
        raise RecordError(f"records with the objective {expr!r} cannot be merged here: upgrade loadkit") from None


def _merge(left: RunRecord, right: RunRecord) -> RunRecord:
    window = _window(left.window, right.window)
    connecting = _add(left.connecting, right.connecting) if left.connecting and right.connecting else None
    connecting = connecting or left.connecting or right.connecting
    workers, server = (*left.workers, *right.workers), _add_servers(left.server, right.server)
    shift_s = _span(left)
    return msgspec.structs.replace(
        left,
        partial=left.partial or right.partial,
        interrupted=left.interrupted or right.interrupted,
        stranded_ns=left.stranded_ns if right.stranded_ns is None else right.stranded_ns,
        merged=left.merged + right.merged,
        run=_add_ids(left, right),
        started=min(left, right, key=started_at).started,
        connections=_add_connections(left.connections, right.connections),
        messages=_add(left.messages, right.messages),
        bytes=_add(left.bytes, right.bytes),
        errors=_add_errors(left.errors, right.errors),
        window=window,
        rates=make_rates(window, connecting),
        connecting=connecting,
        cpu_per_reply_ns={
            "blast": cpu_per_reply(workers, window),
            "serve": cpu_per_reply(server.workers, window) if server and _has_cpu(left, right) else None,
        },
        histograms=_add_histograms(left.histograms, right.histograms),
        histograms_missing=left.histograms_missing | right.histograms_missing,
        disturbed=_add_known_histogram("disturbed", left.disturbed, right.disturbed),
        stood=_add_known(left.stood, right.stood),
        standstills=_add_standstills(left.standstills, right.standstills),
        # Without a quota nothing was throttled.
        throttling=_add(left.throttling, right.throttling)
        if left.throttling and right.throttling
        else left.throttling or right.throttling,
        phases=tuple(_add_phases(one, other) for one, other in zip(left.phases, right.phases, strict=True)),
        workers=workers,
        intervals=(
            *left.intervals,
            *(msgspec.structs.replace(row, t_s=round(row.t_s + shift_s, 3)) for row in right.intervals),
        ),
        server=server,
        **_of_one_run(left, right),
        **_measured_of_both(left, right),
    )


def _of_one_run(left: RunRecord, right: RunRecord) -> dict[str, Any]:
    """Leaves out what is of one run each, and says so where one of them had it."""
    values: dict[str, Any] = {"opening": None, "memory": None, "closing_ns": None, "kernel": None, "tcp": None}
    for name in _DROPPED:
        field = "closing_ns" if name == "closing" else name
        missing = [getattr(one, f"{name}_missing") for one in (left, right)]
        was_there = any(getattr(one, field) is not None for one in (left, right))
        values[f"{name}_missing"] = _ONE_RUN if was_there or _ONE_RUN in missing else _first(missing)
    return values


def _measured_of_both(left: RunRecord, right: RunRecord) -> dict[str, Any]:
    """Adds what both measured; what one did not measure, the sum is not either, and says why."""
    sums: dict[str, Any] = {
        "wakeups": _add_wakeups(left.wakeups, right.wakeups),
        "unread": _add_known_histogram("unread", left.unread, right.unread),
        "journey": _add_journeys(left.journey, right.journey),
    }
    missing = {
        f"{name}_missing": None if value is not None else _why_missing(name, left, right)
        for name, value in sums.items()
    }
    return sums | missing


def _why_missing(name: str, left: RunRecord, right: RunRecord) -> str | None:
    """Returns a run's own reason; None where neither was asked to measure it."""
    reason = _first([getattr(one, f"{name}_missing") for one in (left, right)])
    if reason or (getattr(left, name) is None and getattr(right, name) is None):
        return reason
    if getattr(left, name) is not None and getattr(right, name) is not None:
        return "merged: the probes of the runs had other kinds of peers"
    return "merged: not every run measured it"


def _first(reasons: Sequence[str | None]) -> str | None:
    """Returns one of the reasons, whichever record comes first."""
    return min((reason for reason in reasons if reason), default=None)


def _add_ids(left: RunRecord, right: RunRecord) -> RunId:
    of = tuple(sorted((*ids_of(left), *ids_of(right))))
    spans = sorted((*spans_of(left), *spans_of(right)), key=lambda span: (span.start, span.end))
    return RunId(hashlib.sha256(" ".join(of).encode()).hexdigest()[:16], of, tuple(spans))


def _add_standstills(left: Standstills | None, right: Standstills | None) -> Standstills | None:
    if left is None or right is None:
        return None
    longest = max(left, right, key=lambda one: (one.longest_ns or 0, one.longest_at_ns or 0, one.worker or 0))
    return msgspec.structs.replace(longest, count=left.count + right.count, sum_ns=left.sum_ns + right.sum_ns)


def _add(left: Any, right: Any) -> Any:
    """Adds two structs of counts field by field."""
    return type(left)(**{name: getattr(left, name) + getattr(right, name) for name in left.__struct_fields__})


def _open_at_start(connections: Connections) -> int | None:
    """Returns how many were open when the window began; of a run without one, the most that ever were."""
    return connections.peak if connections.at_start is None else connections.at_start


def _add_connections(left: Connections, right: Connections) -> Connections:
    """Adds the counts; the peak is that of the run that had more open."""
    peaks = [peak for peak in (left.peak, right.peak) if peak is not None]
    return Connections(
        left.asked + right.asked,
        left.opened + right.opened,
        left.failed + right.failed,
        max(peaks) if peaks else None,
        left.closed + right.closed,
        _add_known(_open_at_start(left), _open_at_start(right)),
        _add_known(left.lost, right.lost),
    )


def _add_errors(left: Sequence[Advised], right: Sequence[Advised]) -> tuple[Advised, ...]:
    total: dict[tuple[str, str, str], Advised] = {}
    for row in (*left, *right):
        key = (row.phase, row.step, row.error)
        known = total.get(key)
        total[key] = msgspec.structs.replace(row, count=row.count + known.count) if known else row
    return tuple(sorted(total.values(), key=lambda row: (-row.count, row.phase, row.step, row.error)))


def _add_histograms(left: Histograms, right: Histograms) -> Histograms:
    return {name: _add_known_histogram(name, one, right[name]) for name, one in left.items() if name in right}


def _add_histogram(name: str, left: HistogramRecord, right: HistogramRecord) -> HistogramRecord:
    try:
        both = decoded(left).merge(decoded(right))
    except ValueError as error:
        raise RecordError(f"histogram {name} cannot be merged: {error}") from None
    return histogram_record(both, left.dropped + right.dropped, left.unit)


def _add_phases(left: PhaseRecord, right: PhaseRecord) -> PhaseRecord:
    return msgspec.structs.replace(
        left,
        connections=_add_connections(left.connections, right.connections),
        messages=_add(left.messages, right.messages),
        bytes=_add(left.bytes, right.bytes),
        histograms=_add_histograms(left.histograms, right.histograms),
        errors=_add_errors(left.errors, right.errors),
        wakeups=None,
    )


def _window(left: Window | None, right: Window | None) -> Window | None:
    """Returns a window as long as both: from the earlier start on."""
    if left is None or right is None:
        return left or right
    start_ns = min(left.start_ns, right.start_ns)
    spans_ns = left.end_ns - left.start_ns + right.end_ns - right.start_ns
    counts = ("measured_ns", "opened", "sent", "replied", "sent_bytes", "received_bytes")
    return Window(
        start_ns, start_ns + spans_ns, **{name: getattr(left, name) + getattr(right, name) for name in counts}
    )


def _span(record: RunRecord) -> float:
    return record.intervals[-1].t_s if record.intervals else 0.0


def _add_servers(left: ServerRecord | None, right: ServerRecord | None) -> ServerRecord | None:
    if left is None or right is None:
        return left or right
    return msgspec.structs.replace(
        left,
        accepted=left.accepted + right.accepted,
        connections=_add_connections(left.connections, right.connections),
        balance=max(
            (one for one in (left.balance, right.balance) if one), key=lambda one: one.max_over_mean, default=None
        ),
        bytes=_add(left.bytes, right.bytes) if left.bytes and right.bytes else None,
        errors=_add_errors(left.errors, right.errors),
        workers=(*left.workers, *right.workers),
        restarts=left.restarts + right.restarts,
        cpu_ns=_add_known(left.cpu_ns, right.cpu_ns),
        shed=_add_known(left.shed, right.shed),
        wakeups=_add_wakeups(left.wakeups, right.wakeups),
        unread=_add_known_histogram("server.unread", left.unread, right.unread),
    )


def _add_wakeups(left: Wakeups | None, right: Wakeups | None) -> Wakeups | None:
    """Adds what both measured; what one did not measure, the sum is not either."""
    if left is None or right is None:
        return None
    return Wakeups(
        left.source,
        waits=left.waits + right.waits,
        wakeups=_add_known(left.wakeups, right.wakeups),
        events=left.events + right.events,
        batch=_add_known_histogram("wakeups.batch", left.batch, right.batch),
        busy=_add_known_histogram("wakeups.busy", left.busy, right.busy),
        blocked_ns=_add_known(left.blocked_ns, right.blocked_ns),
        busy_ns=_add_known(left.busy_ns, right.busy_ns),
        probe_wakeups=_add_known(left.probe_wakeups, right.probe_wakeups),
        beats=_add_known(left.beats, right.beats),
        probe_events=_add_known(left.probe_events, right.probe_events),
        flags={flag: _add_known(left.flags[flag], right.flags.get(flag)) for flag in left.flags},
    )


def _add_journeys(left: Journey | None, right: Journey | None) -> Journey | None:
    """Adds what both measured, where the same kind of peer answered."""
    if left is None or right is None or left.peer != right.peer or left.stages.keys() != right.stages.keys():
        return None
    counts = ("probes", "count", "unanswered", "stepped", "disordered", "unstamped", "lost")
    tails: dict[int, Tail] = {}
    for tail in (*left.tails, *right.tails):
        known = tails.get(tail.from_ns)
        sums = {name: value + known.stages[name] for name, value in tail.stages.items()} if known else tail.stages
        tails[tail.from_ns] = Tail(tail.from_ns, tail.count + known.count if known else tail.count, sums)
    return with_shares(
        msgspec.structs.replace(
            left,
            **{name: getattr(left, name) + getattr(right, name) for name in counts},
            stages={name: _add_histogram(name, one, right.stages[name]) for name, one in left.stages.items()},
            total=_add_histogram("journey.total", left.total, right.total),
            tails=tuple(tails[at] for at in sorted(tails)),
        )
    )


def _diagnosed(record: RunRecord) -> Journey | None:
    return record.journey and msgspec.structs.replace(record.journey, diagnosis=diagnose(record))


def _add_known_histogram(
    name: str, left: HistogramRecord | None, right: HistogramRecord | None
) -> HistogramRecord | None:
    return None if left is None or right is None else _add_histogram(name, left, right)


def _add_known(left: int | None, right: int | None) -> int | None:
    """Adds what both measured; what one did not measure, the sum is not either."""
    return None if left is None or right is None else left + right


def _has_cpu(*records: RunRecord) -> bool:
    """Whether the serve end's CPU time belongs to the window in all of them that had a reply."""
    return all(record.cpu_per_reply_ns["serve"] or not record.messages.replied for record in records)
