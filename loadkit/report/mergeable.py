"""Whether runs may be added up: each once, the same load on the same target, one after another or side by side.

The load is what is requested of the target: connections, rates, phases, messages. The sum is checked against the
objectives of all. What ran it and where may differ: the engine, workers, cores, the ports and addresses that
connections came from, the place of an embedded server, which each run starts anew, and the seed of random values.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from loadkit.errors import RecordError
from loadkit.plan.target import Target
from loadkit.report.record import RunRecord, Span
from loadkit.report.server import shared_workers
from loadkit.units import NS_PER_S

__all__ = ["check_mergeable", "groups_of", "ids_of", "spans_of"]

# Parts of the shorter window. Windows that share at most the first followed one another, and windows that share more
# than the second went on side by side: starts are not more exact than that. In between, neither gives right rates.
_AFTER, _BESIDE = 0.1, 0.9
_MOST_SHOWN, _SHOWN_BEFORE = 160, 60


def check_mergeable(names: Sequence[str], records: Sequence[RunRecord]) -> None:
    """Raises RecordError, in one line, for two records of the same run, and for unlike runs.

    `names` are the files of the records, or other names for them.
    """
    runs = list(zip(names, records, strict=True))
    for (name, record), (other_name, other) in itertools.combinations(runs, 2):
        _refuse_same(name, record, other_name, other)
        _refuse_shared(name, record, other_name, other)
    first_name, first = runs[0]
    for name, record in runs[1:]:
        _refuse_unlike(first_name, first, name, record)
    for name, record in runs:
        _read_spans(name, record)


def groups_of(names: Sequence[str], records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Returns the records in groups that ran side by side, in the order in which they are given.

    Raises RecordError, in one line, for windows that overlap and are not side by side, naming both.
    """
    spans = [_read_spans(name, record) for name, record in zip(names, records, strict=True)]
    group = list(range(len(records)))  # of each record, the first one that ran beside it
    for one, other in itertools.combinations(range(len(records)), 2):
        if _are_beside((names[one], spans[one]), (names[other], spans[other])):
            group[other] = min(group[one], group[other])
    found: dict[int, list[RunRecord]] = {}
    for number, record in zip(group, records, strict=True):
        found.setdefault(number, []).append(record)
    return list(found.values())


def ids_of(record: RunRecord) -> tuple[str, ...]:
    """Returns the runs that are in a record: its own, or those it was merged from."""
    return record.run.of or (record.run.id,)


def _started_at(record: RunRecord) -> datetime.datetime:
    return datetime.datetime.fromisoformat(record.started).astimezone(datetime.UTC)


def spans_of(record: RunRecord) -> tuple[Span, ...]:
    """Returns when its runs were measured. Raises ValueError if the record's start is not a date."""
    if record.run.of:
        return record.run.spans
    if record.window is None:
        return ()
    started, window = _started_at(record), record.window
    begin, end = (started + datetime.timedelta(seconds=at / NS_PER_S) for at in (window.start_ns, window.end_ns))
    return (Span(begin.isoformat(timespec="milliseconds"), end.isoformat(timespec="milliseconds")),)


def _refuse_same(name: str, record: RunRecord, other_name: str, other: RunRecord) -> None:
    others = set(ids_of(other))
    both = [one for one in ids_of(record) if one in others]
    if both:
        raise RecordError(
            f"{name} and {other_name} have the same run in them, {both[0]}: it would count twice; leave one of them out"
        )


def _refuse_shared(name: str, record: RunRecord, other_name: str, other: RunRecord) -> None:
    """Refuses two records that were joined with the same serve end, if one of them has another serve end as well.

    What both have cannot be taken out of that sum. A serve end that is all they have counts once.
    """
    shared = shared_workers(record.server, other.server)
    if shared and any(len(one.server.workers) > len(shared) for one in (record, other) if one.server):
        raise RecordError(
            f"{name} and {other_name} were joined with the same serve end, and one of them is a sum with another one: "
            f"the same would count twice; merge the records of the single runs instead"
        )


# -- the load


def _refuse_unlike(name: str, record: RunRecord, other_name: str, other: RunRecord) -> None:
    found = _find_difference("", _identity(record), _identity(other))
    if found:
        key, one, two = found
        raise RecordError(
            f"records of unlike runs do not merge: {key} is {_shown(one, two)} in {name}, {_shown(two, one)} in "
            f"{other_name}; `loadkit report` each by itself"
        )


def _identity(record: RunRecord) -> dict[str, Any]:
    """What runs must have in common, as plain values by name."""
    plain: dict[str, Any] = msgspec.to_builtins({"load": record.load, "target": _target(record.target)})
    del plain["load"]["seed"]  # what follows from it at random is different in each run, unless one is repeated
    return plain


def _target(target: Target) -> dict[str, Any]:
    """A name's addresses come in any order, and an embedded server is as good as another."""
    if target.embedded:
        return {"embedded": True}
    return {"host": target.host, "port": target.port, "addresses": sorted(target.addresses)}


def _find_difference(path: str, one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """Returns the first key at which two values differ, such as `load.phases[2].rate_hz[0]`, and what each has."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            found = _find_difference(f"{path}.{key}" if path else key, one.get(key), other.get(key))
            if found:
                return found
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            found = _find_difference(f"{path}[{index}]", left, right)
            if found:
                return found
    return path, one, other


def _shown(value: object, other: object) -> str:
    """Prints a value; of a long one the part in which it differs from the other."""
    text, other_text = (msgspec.json.encode(one).decode() for one in (value, other))
    if len(text) <= _MOST_SHOWN:
        return text
    differs = next((at for at, (a, b) in enumerate(zip(text, other_text, strict=False)) if a != b), len(other_text))
    begin = max(0, min(differs - _SHOWN_BEFORE, len(text) - _MOST_SHOWN))
    end = begin + _MOST_SHOWN
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


# -- the time

_Times = tuple[datetime.datetime, datetime.datetime]


def _read_spans(name: str, record: RunRecord) -> list[_Times]:
    try:
        _started_at(record)
        return list(_times(record))
    except (ValueError, OverflowError) as error:
        raise RecordError(f"{name}: not a whole record: it does not say when the run was: {error}") from None


def _times(record: RunRecord) -> Iterator[_Times]:
    for span in spans_of(record):
        start, end = (datetime.datetime.fromisoformat(at).astimezone(datetime.UTC) for at in (span.start, span.end))
        yield start, end


def _meeting(some: Sequence[_Times], others: Sequence[_Times]) -> Iterator[tuple[_Times, _Times]]:
    """Yields each span of `some` with each of `others` that began before its end and ended after its start."""
    open_spans: tuple[list[_Times], list[_Times]] = ([], [])
    for span, is_other in sorted([(span, False) for span in some] + [(span, True) for span in others]):
        facing = [one for one in open_spans[not is_other] if one[1] > span[0]]
        open_spans[not is_other][:] = facing
        yield from ((one, span) if is_other else (span, one) for one in facing)
        open_spans[is_other].append(span)


def _are_beside(one: tuple[str, list[_Times]], other: tuple[str, list[_Times]]) -> bool:
    """Whether two records ran side by side: all the windows of both did, each with one of the other's."""
    (name, some), (other_name, others) = one, other
    beside: tuple[set[_Times], set[_Times]] = (set(), set())
    for span, other_span in _meeting(some, others):
        share = _shared(span, other_span)
        if _AFTER < share <= _BESIDE:
            raise RecordError(
                f"{name} was measured {_said(span)}, {other_name} {_said(other_span)}: they overlap by {share:.0%} of "
                f"the shorter; runs can be added up if they followed one another (up to 10%) or ran side by side (more "
                f"than 90%); `loadkit report` each by itself"
            )
        if share > _BESIDE:
            beside[0].add(span)
            beside[1].add(other_span)
    if not beside[0]:
        return False
    for (file, spans), found in zip((one, other), beside, strict=True):
        alone = next((span for span in spans if span not in found), None)
        if alone:
            against = other_name if file == name else name
            raise RecordError(
                f"{name} and {other_name} ran side by side in part: what {file} has {_said(alone)} had no run of "
                f"{against} beside it; merge the records of the single runs instead"
            )
    return True


def _shared(one: _Times, other: _Times) -> float:
    """Returns the time that two windows share, divided by the shorter one; 0 if that has no length."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    shorter = min(one[1] - one[0], other[1] - other[0])
    return shared / shorter if shorter > datetime.timedelta(0) else 0.0


def _said(span: _Times) -> str:
    start, end = (at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00") for at in span)
    return f"from {start} to {end} UTC"
