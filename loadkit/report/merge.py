"""Several records of the same plan, to one: counts are added, histograms too, percentiles never averaged.

The windows follow one another as if it had been one longer run: rates are totals over the sum of the windows, the
series are put end to end. Merging is associative, and commutative but for the order of the series.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.report.build import histogram_record, rate
from loadkit.report.record import (
    Advised,
    Bytes,
    Connections,
    CpuPerReply,
    HistogramRecord,
    Histograms,
    Messages,
    PhaseRecord,
    Rates,
    RunRecord,
    ServerRecord,
    Verdict,
    Window,
)
from loadkit.report.slo import check, parse_slo

__all__ = ["merge_records"]

# What may differ between runs of the same plan: where it ran, not what was asked.
_MAY_DIFFER = ("target", "serve", "cores", "profile", "routes")
_STATES = ("valid", "suspect", "invalid")


def merge_records(records: Sequence[RunRecord]) -> RunRecord:
    """Returns one record of them all. Raises RecordError naming the first key that differs, with both values."""
    merged = reduce(_merge, records)
    return msgspec.structs.replace(merged, slo=check([parse_slo(slo.expr) for slo in merged.slo], merged))


def _merge(left: RunRecord, right: RunRecord) -> RunRecord:
    _refuse_unlike(left, right)
    window = _window(left.window, right.window)
    messages = _add(left.messages, right.messages)
    moved = _span(left)
    return msgspec.structs.replace(
        left,
        partial=left.partial or right.partial,
        merged=left.merged + right.merged,
        started=min(left.started, right.started),
        verdict=_worse(left.verdict, right.verdict),
        connections=_add_connections(left.connections, right.connections),
        messages=messages,
        bytes=_add(left.bytes, right.bytes),
        errors=_add_errors(left.errors, right.errors),
        window=window,
        rates=_rates(left, right, messages, window),
        cpu_per_reply_ns={
            end: _cpu(left.cpu_per_reply_ns[end], left.messages, right.cpu_per_reply_ns[end], right.messages)
            for end in left.cpu_per_reply_ns
        },
        histograms=_add_histograms(left.histograms, right.histograms),
        phases=tuple(_add_phases(one, other) for one, other in zip(left.phases, right.phases, strict=True)),
        workers=(*left.workers, *right.workers),
        intervals=(
            *left.intervals,
            *(msgspec.structs.replace(row, t_s=round(row.t_s + moved, 3)) for row in right.intervals),
        ),
        server=_add_servers(left.server, right.server),
    )


def _refuse_unlike(left: RunRecord, right: RunRecord) -> None:
    for key in sorted({*left.plan, *right.plan} - set(_MAY_DIFFER)):
        one, other = (record.plan[key].value if key in record.plan else None for record in (left, right))
        if one != other:
            raise RecordError(
                f"records of different plans do not merge: {key} is {_short(one)} in one, {_short(other)} in another"
            )
    for key in ("loadkit", "engine"):
        if getattr(left.tool, key) != getattr(right.tool, key):
            raise RecordError(
                f"records of different tools do not merge: {key} is {getattr(left.tool, key)} in one, "
                f"{getattr(right.tool, key)} in another"
            )


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}…"


def _add(left: Any, right: Any) -> Any:
    """Adds two structs of counts field by field."""
    return type(left)(**{name: getattr(left, name) + getattr(right, name) for name in left.__struct_fields__})


def _add_connections(left: Connections, right: Connections) -> Connections:
    """Adds the counts; the peak is that of the run that had more open."""
    peaks = [peak for peak in (left.peak, right.peak) if peak is not None]
    return Connections(
        left.asked + right.asked,
        left.opened + right.opened,
        left.failed + right.failed,
        max(peaks) if peaks else None,
        left.closed + right.closed,
    )


def _add_errors(left: Sequence[Advised], right: Sequence[Advised]) -> tuple[Advised, ...]:
    total: dict[tuple[str, str, str], Advised] = {}
    for row in (*left, *right):
        key = (row.phase, row.step, row.error)
        known = total.get(key)
        total[key] = msgspec.structs.replace(row, count=row.count + known.count) if known else row
    return tuple(sorted(total.values(), key=lambda row: (-row.count, row.phase, row.step, row.error)))


def _add_histograms(left: Histograms, right: Histograms) -> Histograms:
    return {name: _add_histogram(name, left[name], right[name]) for name in left}


def _add_histogram(name: str, left: HistogramRecord, right: HistogramRecord) -> HistogramRecord:
    try:
        both = Histogram.decode(left.hdr, left.sum).merge(Histogram.decode(right.hdr, right.sum))
    except ValueError as error:
        raise RecordError(f"histogram {name} cannot be merged: {error}") from None
    # The encoding knows the extremes to three digits only; the record has them exactly.
    exact = {
        "min_ns": min([one.min for one in (left, right) if one.min is not None], default=0),
        "max_ns": max([one.max for one in (left, right) if one.max is not None], default=0),
    }
    total = Histogram(both.highest_ns, both.counts, left.sum + right.sum, **exact)
    return histogram_record(total, left.dropped + right.dropped)


def _add_phases(left: PhaseRecord, right: PhaseRecord) -> PhaseRecord:
    return msgspec.structs.replace(
        left,
        connections=_add_connections(left.connections, right.connections),
        messages=_add(left.messages, right.messages),
        bytes=_add(left.bytes, right.bytes),
        histograms=_add_histograms(left.histograms, right.histograms),
    )


def _window(left: Window | None, right: Window | None) -> Window | None:
    if left is None or right is None:
        return left or right
    return Window(left.start_ns, left.end_ns + right.end_ns - right.start_ns)


def _span(record: RunRecord) -> float:
    return record.intervals[-1].t_s if record.intervals else 0.0


def _rates(left: RunRecord, right: RunRecord, messages: Messages, window: Window | None) -> Rates:
    span_ns = window.end_ns - window.start_ns if window else 0
    whole: Bytes = _add(left.bytes, right.bytes)
    connects = [
        (record.rates.connects_per_s, record.merged)
        for record in (left, right)
        if record.rates.connects_per_s is not None
    ]
    runs = sum(weight for _rate, weight in connects)
    return Rates(
        connects_per_s=sum(value * weight for value, weight in connects) / runs if runs else None,
        replies_per_s=rate(messages.replied, span_ns),
        sent_bytes_per_s=rate(whole.sent, span_ns),
        received_bytes_per_s=rate(whole.received, span_ns),
    )


def _cpu(
    left: CpuPerReply | None, of_left: Messages, right: CpuPerReply | None, of_right: Messages
) -> CpuPerReply | None:
    replied = of_left.replied + of_right.replied
    if left is None or right is None or not replied:
        return left or right
    return CpuPerReply(
        (left.user_ns * of_left.replied + right.user_ns * of_right.replied) / replied,
        (left.system_ns * of_left.replied + right.system_ns * of_right.replied) / replied,
    )


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
        bytes=_add(left.bytes, right.bytes),
        errors=_add_errors(left.errors, right.errors),
        workers=(*left.workers, *right.workers),
        restarts=left.restarts + right.restarts,
    )


def _worse(left: Verdict, right: Verdict) -> Verdict:
    state = max(left.state, right.state, key=_STATES.index)
    reasons = dict.fromkeys((*left.reasons, *right.reasons))
    return Verdict(state, tuple(reasons))
