"""Merges several records of the same load: counts and histograms are added, percentiles are never averaged.

Runs whose windows followed one another become one longer run: rates are totals divided by the sum of the windows. Runs
that went on side by side become one larger load: rates are totals divided by the longer window. Each field says how it
is merged (record/). What follows from the others, such as rates and the verdict, is worked out anew from the sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

import msgspec

from loadkit.errors import OptionError, RecordError
from loadkit.report.algebra import Way
from loadkit.report.diagnosis import diagnose
from loadkit.report.fold import NOT_ALL, fold
from loadkit.report.journey import with_shares
from loadkit.report.mergeable import check_mergeable, groups_of, ids_of, spans_of
from loadkit.report.rates import NO_REPLY, cpu_missing, cpu_per_reply, make_rates
from loadkit.report.record import CpuPerReply, Interval, RunId, RunRecord
from loadkit.report.series import bounded
from loadkit.report.server import shared_workers
from loadkit.report.slo import Slo, check, parse_slo
from loadkit.report.verdict import judged

__all__ = ["merge_records"]


def merge_records(records: Sequence[RunRecord], names: Sequence[str] | None = None) -> RunRecord:
    """Returns one record of all; `names` are their files, for errors.

    Runs that went on side by side are put together first, and then what followed one another. Raises RecordError for a
    run that is there twice, for unlike runs, naming the first key that differs with both values, for windows that
    neither followed one another nor went on together, for a serve end that would count twice, and for damaged
    histograms.
    """
    if len(records) == 1:
        return records[0]
    names = names or [f"run {number + 1}" for number in range(len(records))]
    check_mergeable(names, records)
    together = [reduce(_beside, group) for group in groups_of(names, records)]
    merged = reduce(_after, together)
    merged = msgspec.structs.replace(merged, intervals=bounded(merged.intervals, _merge_rows))
    if merged.journey:
        journey = with_shares(merged.journey)
        merged = msgspec.structs.replace(merged, journey=journey)
        merged = msgspec.structs.replace(merged, journey=msgspec.structs.replace(journey, diagnosis=diagnose(merged)))
    merged = judged(merged)
    objectives = dict.fromkeys(slo.expr for slo in merged.slo)
    return msgspec.structs.replace(merged, slo=check([_known(expr) for expr in objectives], merged))


def _beside(left: RunRecord, right: RunRecord) -> RunRecord:
    return _merge(left, right, Way.BESIDE)


def _after(left: RunRecord, right: RunRecord) -> RunRecord:
    return _merge(left, right, Way.AFTER)


def _merge(left: RunRecord, right: RunRecord, way: Way) -> RunRecord:
    """Returns both in one, but for what needs the whole of a merge: verdict, objectives and diagnosis."""
    both = fold(left, right, way)
    cpu = {
        "blast": cpu_per_reply(both.workers, both.window),
        "serve": _serve_cpu(left, right, both, way) if _has_cpu(left) and _has_cpu(right) else None,
    }
    reasons = {reason for one in (left, right) for reason in one.cpu_per_reply_missing.values()} - {NO_REPLY}
    seed = left.load.seed if left.load.seed == right.load.seed else None
    return msgspec.structs.replace(
        both,
        load=msgspec.structs.replace(both.load, seed=seed),
        run=_ids(left, right),
        rates=make_rates(both.window, both.connecting),
        cpu_per_reply_ns=cpu,
        cpu_per_reply_missing=cpu_missing(cpu, both.window, min(reasons, default=NOT_ALL)),
    )


def _merge_rows(left: Interval, right: Interval) -> Interval:
    return fold(left, right, Way.AFTER)


def _known(expr: str) -> Slo:
    try:
        return parse_slo(expr)
    except OptionError:
        raise RecordError(f"records with the objective {expr!r} cannot be merged here: upgrade loadkit") from None


def _ids(left: RunRecord, right: RunRecord) -> RunId:
    of = tuple(sorted((*ids_of(left), *ids_of(right))))
    spans = sorted((*spans_of(left), *spans_of(right)), key=lambda span: (span.start, span.end))
    return RunId(hashlib.sha256(" ".join(of).encode()).hexdigest()[:16], of, tuple(spans))


def _serve_cpu(left: RunRecord, right: RunRecord, both: RunRecord, way: Way) -> CpuPerReply | None:
    """Returns the CPU time of the serve end in both windows, divided by the replies in them.

    The workers of a joined serve end have the CPU time of their whole life, so what they took in a window is worked out
    from the quotient. In windows side by side the same serve end worked for both runs, and its time counts once.
    """
    if both.server is None or both.window is None or not both.window.replied:
        return None
    if not both.server.is_whole_life:
        return cpu_per_reply(both.server.workers, both.window)
    is_same_time = way is Way.BESIDE and shared_workers(left.server, right.server)
    user, system = (
        max(parts) if is_same_time else sum(parts) for parts in zip(_joined_cpu(left), _joined_cpu(right), strict=True)
    )
    return CpuPerReply(user / both.window.replied, system / both.window.replied)


def _joined_cpu(record: RunRecord) -> tuple[float, float]:
    """Returns the CPU time of a joined serve end in the window, user and system, in ns."""
    cpu, replied = record.cpu_per_reply_ns["serve"], record.window.replied if record.window else 0
    return (cpu.user_ns * replied, cpu.system_ns * replied) if cpu else (0.0, 0.0)


def _has_cpu(record: RunRecord) -> bool:
    """Whether the serve end's CPU time belongs to the window, or there was no reply to divide it by."""
    return record.cpu_per_reply_ns["serve"] is not None or not record.messages.replied
