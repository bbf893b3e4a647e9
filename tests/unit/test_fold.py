"""That each field of a record says how it is merged, and what the rules do with two values."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency
from loadkit.report import algebra
from loadkit.report.algebra import (
    ANY,
    COMMON,
    EACH,
    EITHER,
    HELD,
    LEAST,
    MOST,
    NAMES,
    NONE_OF_SEVERAL,
    ROWS,
    SAME,
    SERIES,
    SERVE_END,
    SPAN,
    SUM,
    TOGETHER,
    Rule,
    Way,
    mean_by,
    reason_of,
    rows_by,
    rules_of,
)
from loadkit.report.fold import ONE_RUN, UnlikeError, fold
from loadkit.report.record import (
    Fairness,
    HistogramRecord,
    Interval,
    ProxyHeaders,
    RunRecord,
    SocketSetting,
    Throttling,
)
from tests.golden.made_up import MS, RUNS, S

# The rules that go into the fields of what they merge, which then need rules as well.
_INSIDE = {rule.name for rule in (EACH, EITHER, COMMON, TOGETHER, ROWS, SERIES, SERVE_END)}
# What is added as a whole: counts with the figures that follow from them.
_WHOLE = (HistogramRecord, IntervalLatency, Fairness)


def _structs(hint: object) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in typing.get_args(hint):
        yield from _structs(part)


def _merged_structs(struct: type[msgspec.Struct], seen: set[type]) -> set[type]:
    """The structs whose fields are merged one by one, from that of a whole record on."""
    if struct in seen or struct in _WHOLE:
        return seen
    seen.add(struct)
    hints = typing.get_type_hints(struct)
    for name, rule in rules_of(struct).items():
        if rule.name in _INSIDE:
            for inner in _structs(hints[name]):
                _merged_structs(inner, seen)
    return seen


def test_no_field_of_a_record_is_without_a_merge_rule() -> None:
    found = {struct.__name__ for struct in _merged_structs(RunRecord, set())}
    assert {"RunRecord", "PhaseRecord", "Messages", "Journey", "Tail", "ServerRecord", "Advised", "Interval"} <= found


def test_a_field_without_a_rule_is_found() -> None:
    class Odd(msgspec.Struct):
        count: Annotated[int, SUM]
        other: int

    class Twice(msgspec.Struct):
        count: Annotated[int, SUM, MOST]

    for struct, says in ((Odd, "Odd.other has 0 merge rules"), (Twice, "Twice.count has 2 merge rules")):
        with pytest.raises(TypeError, match=says):
            rules_of(struct)


def test_each_reason_stands_behind_the_field_that_it_is_of() -> None:
    for struct in _merged_structs(RunRecord, set()):
        rules = rules_of(struct)
        names = list(rules)
        for name, rule in rules.items():
            if rule == reason_of(rule.of):
                assert names.index(rule.of) < names.index(name)


class _Row(msgspec.Struct, frozen=True):
    name: Annotated[str, SAME]
    count: Annotated[int, SUM]


def _merged(rule: Rule, left: Any, right: Any, way: Way = Way.AFTER) -> Any:
    struct = msgspec.defstruct("_One", [("x", Annotated[Any, rule])], frozen=True)
    return fold(struct(left), struct(right), way).x


@pytest.mark.parametrize(
    ("rule", "left", "right", "after", "beside"),
    [
        pytest.param(SUM, 2, 3, 5, 5, id="sum"),
        pytest.param(SUM, 2, None, None, None, id="a sum of which a part is unknown"),
        pytest.param(SPAN, 10, 9, 19, 10, id="span"),
        pytest.param(HELD, 10, 9, 10, 19, id="held"),
        pytest.param(HELD, 10, None, 10, None, id="held, and unknown of one"),
        pytest.param(MOST, None, 3, 3, 3, id="most"),
        pytest.param(LEAST, "SIGTERM", "SIGINT", "SIGINT", "SIGINT", id="least"),
        pytest.param(ANY, False, True, True, True, id="any"),
        pytest.param(NAMES, "native, uvloop", "native", "native, uvloop", "native, uvloop", id="names"),
        pytest.param(EACH, {"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 4, "b": 6}, {"a": 4, "b": 6}, id="by name"),
        pytest.param(EITHER, None, 3, 3, 3, id="either"),
        pytest.param(EITHER, 2, 3, 5, 5, id="both"),
        pytest.param(NONE_OF_SEVERAL, 2, 3, None, None, id="none of several"),
    ],
)
def test_a_rule_merges_two_values_whichever_comes_first(
    rule: Rule, left: Any, right: Any, after: Any, beside: Any
) -> None:
    for way, expected in ((Way.AFTER, after), (Way.BESIDE, beside)):
        assert _merged(rule, left, right, way) == _merged(rule, right, left, way) == expected


def test_what_has_to_be_the_same_is_refused_by_name_where_it_is_not() -> None:
    assert _merged(SAME, 3, 3) == 3
    with pytest.raises(UnlikeError, match="records of unlike runs do not merge: x is 3 and 4"):
        _merged(SAME, 3, 4)


def test_rows_of_one_name_are_added_and_the_most_frequent_come_first() -> None:
    left, right = (_Row("a", 1), _Row("b", 2)), (_Row("c", 4), _Row("a", 2))
    added = (_Row("c", 4), _Row("a", 3), _Row("b", 2))
    assert _merged(rows_by("count"), left, right) == _merged(rows_by("count"), right, left) == added


class _Mean(msgspec.Struct, frozen=True):
    samples: Annotated[int, SUM]
    cwnd: Annotated[float | None, mean_by("samples")]


def test_a_mean_weighs_each_by_what_it_is_of() -> None:
    assert fold(_Mean(3, 10.0), _Mean(1, 50.0), Way.BESIDE) == _Mean(4, 20.0)
    assert fold(_Mean(3, 10.0), _Mean(0, None), Way.AFTER) == _Mean(3, 10.0)
    assert fold(_Mean(0, None), _Mean(0, None), Way.AFTER) == _Mean(0, None)


class _Missing(msgspec.Struct, frozen=True):
    once: Annotated[int | None, NONE_OF_SEVERAL] = None
    once_missing: Annotated[str | None, reason_of("once")] = None
    both: Annotated[int | None, SUM] = None
    both_missing: Annotated[str | None, reason_of("both")] = None


@pytest.mark.parametrize(
    ("left", "right", "once", "both"),
    [
        pytest.param(_Missing(), _Missing(), None, None, id="not asked for"),
        pytest.param(_Missing(1), _Missing(2), ONE_RUN, None, id="each has its own"),
        pytest.param(_Missing(1), _Missing(None, "no quota"), ONE_RUN, None, id="one has its own"),
        pytest.param(_Missing(None, ONE_RUN), _Missing(None, "no quota"), ONE_RUN, None, id="one is merged already"),
        pytest.param(_Missing(None, "b"), _Missing(None, "a"), "a", None, id="neither has one"),
        pytest.param(_Missing(both=1), _Missing(both=2), None, None, id="both measured it"),
        pytest.param(_Missing(both=1), _Missing(), None, "merged: not every run measured it", id="one measured it"),
        pytest.param(_Missing(both=1), _Missing(both_missing="why"), None, "why", id="the other says why not"),
    ],
)
def test_what_is_null_in_a_merged_record_has_its_reason(
    left: _Missing, right: _Missing, once: str | None, both: str | None
) -> None:
    for merged in (fold(left, right, Way.AFTER), fold(right, left, Way.BESIDE)):
        assert (merged.once_missing, merged.both_missing) == (once, both)


def test_rows_of_a_series_are_added_as_their_fields_say() -> None:
    def row(from_s: float, t_s: float, replied: int, wakeups: int | None) -> Interval:
        return Interval(from_s, t_s, "hold", 1, replied, 64, 0, IntervalLatency(None, None, None), wakeups)

    both = fold(row(1, 2, 10, 5), row(2, 3, 20, None), Way.AFTER)
    assert (both.from_s, both.t_s, both.replied, both.wakeups) == (1, 3, 30, None)


def test_connections_that_are_open_are_added_side_by_side_and_not_over_time() -> None:
    row = Interval(1, 2, "hold", 1, 1, 64, 0, IntervalLatency(None, None, None), open=30)
    more = msgspec.structs.replace(row, open=50)
    assert fold(row, more, Way.BESIDE).open == 80
    assert fold(row, more, Way.AFTER).open == 50


def test_means_of_a_row_weigh_each_by_what_it_is_of() -> None:
    row = Interval(1, 2, "hold", 1, 1, 64, 0, IntervalLatency(None, None, None))
    left = msgspec.structs.replace(row, tcp_samples=3, cwnd=10.0, cpu_ticks=100, stolen=0.5)
    right = msgspec.structs.replace(row, tcp_samples=1, cwnd=50.0, cpu_ticks=300, stolen=0.1)
    for both in (fold(left, right, Way.AFTER), fold(right, left, Way.BESIDE)):
        assert (both.cwnd, both.stolen) == (20.0, pytest.approx(0.2))


def test_what_both_ends_did_in_a_row_is_added() -> None:
    row = Interval(1, 2, "hold", 1, 1, 64, 2, IntervalLatency(None, None, None), 3, 4, 5, 6, 7, 10.0, 8)
    for way in Way:
        both = fold(row, row, way)
        assert (both.errors, both.wakeups, both.events, both.serve_wakeups, both.serve_events) == (4, 6, 8, 10, 12)
        assert (both.tcp_samples, both.cwnd, both.retransmits) == (14, 10.0, 16)


def test_messages_that_a_journey_leaves_out_are_added() -> None:
    journey = RUNS["journey"]().journey
    assert journey is not None
    left_out = dict.fromkeys(("unanswered", "stepped", "disordered", "unstamped", "lost"), 3)
    both = fold(msgspec.structs.replace(journey, **left_out), msgspec.structs.replace(journey, **left_out), Way.AFTER)
    assert {name: getattr(both, name) for name in left_out} == dict.fromkeys(left_out, 6)
    assert (both.probes, both.count) == (2 * journey.probes, 2 * journey.count)


def test_socket_options_are_of_one_run_and_a_merged_record_says_so() -> None:
    sockets = {"tos": SocketSetting(184, "option")}
    record = msgspec.structs.replace(RUNS["native"](), sockets=sockets, sockets_missing=None)
    both = fold(record, record, Way.AFTER)
    assert (both.sockets, both.sockets_missing) == (None, ONE_RUN)


# What becomes of 3 in one run and 5 in the other, one after another and side by side; of no and yes for `|`.
_BECOMES = {"+": (8, 8), ">": (5, 5), "<": (3, 3), "^": (5, 8), "_": (8, 5), "|": (True, True)}
_FIGURES = {
    "Advised": "count+",
    "Bytes": "sent+ received+",
    "Connecting": "opened+ duration_ns_",
    "Connections": "asked+ opened+ failed+ peak^ closed+ at_start+ lost+",
    "Interval": (
        "from_s< t_s> opened+ replied+ bytes+ errors+ wakeups+ events+ serve_wakeups+ serve_events+ tcp_samples+ "
        "retransmits+ open^ cpu_ticks+"
    ),
    "Journey": "probes+ count+ unanswered+ stepped+ disordered+ unstamped+ lost+",
    "Messages": "intended+ sent+ replied+ failed+ unanswered+ unsent+ waited+",
    "ProxyHeaders": "v1+ v2+ unknown+",
    "RunRecord": "minor> partial| stranded_ns> merged+ in_a_row_ stood+",
    "ServerRecord": "accepted+ restarts+ cpu_ns+ shed+ is_whole_life|",
    "Standstills": "count+ sum_ns+ longest_ns>",
    "Tail": "count+",
    "Throttling": "periods+ throttled_periods+ throttled_ns+",
    "Wakeups": "waits+ wakeups+ events+ blocked_ns+ busy_ns+ probe_wakeups+ probe_events+ beats+",
    "Window": "start_ns< measured_ns_ opened+ sent+ replied+ sent_bytes+ received_bytes+",
    "WorkerWakeups": "waits+ wakeups+ events+ blocked_ns+ busy_ns+ batch_max> busy_max_ns>",
}


def _inside(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        value = [getattr(value, name) for name in value.__struct_fields__]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        yield from _inside(part)


@functools.cache
def _made_up() -> dict[str, msgspec.Struct]:
    """One of each struct, out of runs that never were: the one that has the most to say."""
    row = Interval(1, 2, "hold", 1, 1, 64, 0, IntervalLatency.of(Histogram.of([MS] * 9, 60 * S)), retransmits=1)
    found: dict[str, msgspec.Struct] = {
        "ProxyHeaders": ProxyHeaders(1, 1, 1),
        "Throttling": Throttling(1, 1, 1),
        "Interval": row,
    }
    for name in ("saturated", "native", "journey"):
        for one in _inside(RUNS[name]()):
            found[type(one).__name__] = max(one, found.get(type(one).__name__, one), key=lambda other: len(repr(other)))
    return found


@pytest.mark.parametrize("name", _FIGURES)
def test_each_figure_of_two_runs_becomes_what_it_is_of_both(name: str) -> None:
    """Written down a second time: a rule that is taken for another one changes a merged figure."""
    one = _made_up()[name]
    for figure in _FIGURES[name].split():
        field, (after, beside) = figure[:-1], _BECOMES[figure[-1]]
        small, large = (False, True) if figure[-1] == "|" else (3, 5)
        for pair in ((small, large), (large, small)):
            left, right = (msgspec.structs.replace(one, **{field: value}) for value in pair)
            merged = [getattr(fold(left, right, way), field) for way in (Way.AFTER, Way.BESIDE)]
            assert merged == [after, beside], field


def test_no_figure_that_is_merged_is_left_out_of_these() -> None:
    """Those that are the same in all, worked out anew, or go by another figure are tested by themselves."""
    apart = {algebra.SAME.name, algebra.ANEW.name, algebra.NONE_OF_SEVERAL.name, algebra.WINDOW_END.name}
    apart |= {one("").name for one in (algebra.mean_by, algebra.of_most)}
    found = set()
    for struct in _merged_structs(RunRecord, set()):
        hints = typing.get_type_hints(struct)
        for name, rule in rules_of(struct).items():
            kinds = set(typing.get_args(hints[name]) or (hints[name],)) - {type(None)}
            if kinds <= {int, float, bool} and rule.name not in apart:
                found.add(f"{struct.__name__}.{name}")
    assert found == {f"{name}.{figure[:-1]}" for name, figures in _FIGURES.items() for figure in figures.split()}


# What is known of both if it is known of one; anything else is unknown then.
_OF_ONE = {"RunRecord.window", "RunRecord.connecting", "RunRecord.throttling", "Interval.retransmits"}
# What each run has for itself.
_OF_NONE = {
    *(f"RunRecord.{name}" for name in ("opening", "memory", "closing_ns", "sockets", "kernel", "tcp")),
    *("ServerRecord.sockets", "ServerRecord.port", "WorkerWakeups.busy_p99_ns"),
}
# What makes two of them unlike each other.
_OF_ALL = {
    *("Advised.phase", "Advised.step", "Advised.error", "Interval.phase", "Journey.peer", "Journey.size_bytes"),
    *("PhaseRecord.name", "PhaseRecord.kind", "PhaseRecord.duration_ns", "Tail.from_ns"),
    *("RunRecord.format", "RunRecord.version"),
}


def _fields(*rules: Rule) -> Iterator[tuple[msgspec.Struct, str, str]]:
    """The fields with one of these rules, in a struct that has a value for it: the struct, and its name and theirs."""
    names = {rule.name for rule in rules}
    for name, one in sorted(_made_up().items()):
        if type(one) not in _merged_structs(RunRecord, set()):
            continue
        for field, rule in rules_of(type(one)).items():
            if rule.name in names and getattr(one, field) is not None:
                yield one, name, field


def test_what_is_unknown_of_one_run_is_unknown_of_both_but_for_these() -> None:
    seen = set()
    for one, name, field in _fields(SUM, EACH, EITHER, COMMON):
        if type(None) not in typing.get_args(typing.get_type_hints(type(one))[field]):
            continue
        unknown = msgspec.structs.replace(one, **{field: None})
        known = {getattr(fold(*pair, Way.AFTER), field) is not None for pair in ((one, unknown), (unknown, one))}
        assert known == {f"{name}.{field}" in _OF_ONE}, f"{name}.{field}"
        seen.add(f"{name}.{field}")
    assert {"RunRecord.journey", "RunRecord.wakeups", "RunRecord.standstills", "ServerRecord.wakeups"} <= seen


def test_what_each_run_has_for_itself_is_null_in_a_merged_record() -> None:
    for name in _OF_NONE:
        struct, field = name.split(".")
        known = msgspec.structs.replace(_made_up()[struct], **{field: 3})
        assert getattr(fold(known, known, Way.BESIDE), field) is None, name
    found = {f"{name}.{field}" for _one, name, field in _fields(NONE_OF_SEVERAL)}
    assert found <= _OF_NONE


def test_what_has_to_be_the_same_in_all_is_refused_where_it_is_not() -> None:
    for name in _OF_ALL:
        struct, field = name.split(".")
        one = _made_up()[struct]
        value = getattr(one, field)
        other = msgspec.structs.replace(one, **{field: value + 1 if isinstance(value, int) else f"{value}!"})
        with pytest.raises(UnlikeError, match=field):
            fold(one, other, Way.AFTER)
    assert {f"{name}.{field}" for _one, name, field in _fields(SAME)} == _OF_ALL


# What is merged field by field, because it has figures inside.
_WITHIN = {
    "Interval": "latency",
    "Journey": "stages total tails",
    "PhaseRecord": "connections messages bytes histograms errors wakeups",
    "RunRecord": (
        "tool connections messages bytes errors window connecting histograms disturbed standstills throttling "
        "wakeups unread journey fairness phases server"
    ),
    "ServerRecord": "connections bytes errors wakeups unread fairness proxy_headers",
    "Tail": "stages",
    "Wakeups": "batch flags busy",
}


def test_what_has_figures_inside_has_those_of_both_runs() -> None:
    """That of the first run alone would be what it was."""
    found: dict[str, set[str]] = {}
    for struct in _merged_structs(RunRecord, set()):
        for field, rule in rules_of(struct).items():
            if rule.name in _INSIDE - {SERIES.name} and field != "retransmits":
                found.setdefault(struct.__name__, set()).add(field)
    assert found == {name: set(fields.split()) for name, fields in _WITHIN.items()}
    for name, fields in _WITHIN.items():
        one = _made_up()[name]
        for field in fields.split():
            value = getattr(one, field)
            if any(
                number for part in _inside(value) for number in msgspec.structs.astuple(part) if type(number) is int
            ):
                assert getattr(fold(one, one, Way.AFTER), field) != value, f"{name}.{field}"
