from __future__ import annotations

import datetime
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.errors import RecordError
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Route, Target
from loadkit.profile.blast import Close
from loadkit.profile.engines import EngineName
from loadkit.report.merge import merge_records
from loadkit.report.mergeable import _meeting
from loadkit.report.reading import load
from loadkit.report.record import RunRecord
from loadkit.report.writing import encode as encoded
from tests.golden.made_up import (
    HOLD_NS,
    MS,
    REMOTE,
    RUNS,
    S,
    again,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    worker,
)


def _run(started: str = "2026-01-02T03:00:00.000+00:00", window: tuple[int, int] = (0, 10), **plan: Any) -> RunRecord:
    """A run against REMOTE, measured from so many seconds after its start until so many."""
    begin, end = (HOLD_NS - 2 * S + at * S for at in window)
    one = worker(0, ramp(), page(), exchanged([MS]), page())
    samples = made_up_samples(one, started=started, window_start_ns=begin, window_end_ns=end)
    return made_up_record(made_up_plan(target=plan.pop("target", REMOTE), **plan), samples)


def _refusal(*records: RunRecord, names: tuple[str, ...] = ("a.json", "b.json", "c.json")) -> str:
    with pytest.raises(RecordError) as caught:
        merge_records(records, names[: len(records)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- the same run twice


def test_the_same_run_twice_is_refused_naming_both_files_and_the_run() -> None:
    one = _run()
    says = _refusal(one, one)
    assert (
        says
        == f"a.json and b.json have the same run in them, {one.run.id}: it would count twice; leave one of them out"
    )


def test_a_run_that_is_in_a_merged_record_already_is_refused() -> None:
    one, two, three = _run(), again(_run()), again(_run(), 2)
    both = merge_records([one, two])
    assert f"b.json have the same run in them, {two.run.id}:" in _refusal(both, two)
    assert _refusal(three, two, both).startswith("b.json and c.json have the same run in them")
    other = merge_records([two, three])
    assert f"the same run in them, {two.run.id}:" in _refusal(both, other)


# -- load and target


_SERVE = ServePlan(("127.0.0.1",), 0, EngineName.UVLOOP, 2, (4,))
_EMBEDDED = Target("embedded", ("127.0.0.1",), 0, embedded=True)
_PHASES = made_up_plan().load.phases


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"depth": 4}, "load.depth is 1 in a.json, 4 in b.json;", id="depth"),
        pytest.param({"size_bytes": 128}, "load.size_bytes is 64 in a.json, 128 in b.json;", id="size"),
        pytest.param({"connections": 50}, "load.connections is 100 in a.json, 50 in b.json;", id="connections"),
        pytest.param({"connect_rate_hz": 50.0}, "load.connect_rate_hz is 100.0 in a.json, 50.0", id="connect rate"),
        pytest.param({"messages": 5}, "load.messages is null in a.json, 5 in b.json;", id="messages"),
        pytest.param({"lifetime_ns": 0}, "load.lifetime_ns is null in a.json, 0 in b.json;", id="lifetime"),
        pytest.param({"timeout_ns": 5}, "load.timeout_ns is 10000000000 in a.json, 5 in b.json;", id="timeout"),
        pytest.param({"connect_timeout_ns": 5}, "load.connect_timeout_ns", id="connect timeout"),
        pytest.param({"close": Close.FIN}, 'load.close is "rst" in a.json, "fin" in b.json;', id="close"),
        pytest.param({"check": False}, "load.check is true in a.json, false in b.json;", id="check"),
        pytest.param({"opening": 1}, "load.opening is 4096 in a.json, 1 in b.json;", id="opening"),
        pytest.param({"journey": True}, "load.journey is false", id="journey"),
        pytest.param(
            {"target": Target("db.example", ("10.0.0.1",), 7001)},
            "target.port is 7000 in a.json, 7001 in b.json;",
            id="another port: through a proxy, say",
        ),
        pytest.param(
            {"target": Target("proxy", ("10.0.0.1",), 7000)},
            'target.host is "db.example" in a.json, "proxy" in b.json;',
            id="another name",
        ),
        pytest.param(
            {"target": Target("db.example", ("10.0.0.2",), 7000)},
            'target.addresses[0] is "10.0.0.1" in a.json, "10.0.0.2" in b.json;',
            id="another address of the same name",
        ),
        pytest.param(
            {"target": _EMBEDDED, "serve": _SERVE},
            'target.addresses is ["10.0.0.1"] in a.json, null',
            id="embedded or not",
        ),
        pytest.param(
            {
                "phases": tuple(
                    msgspec.structs.replace(phase, rate_hz=(4.0, 9.0)) if phase.kind is PhaseKind.HOLD else phase
                    for phase in _PHASES
                )
            },
            "load.phases[2].rate_hz is null in a.json, [4.0,9.0] in b.json;",
            id="the rate of a phase",
        ),
        pytest.param(
            {"phases": tuple(msgspec.structs.replace(phase, name=f"{phase.name}!") for phase in _PHASES)},
            'load.phases[0].name is "ramp" in a.json, "ramp!" in b.json;',
            id="the name of a phase",
        ),
    ],
)
def test_another_load_or_target_is_refused_naming_key_and_values(changes: dict[str, Any], says: str) -> None:
    text = _refusal(_run(), again(_run(**changes)))
    assert text.startswith("records of unlike runs do not merge: ")
    assert text.endswith("`loadkit report` each by itself")
    assert says in text
    assert text.count("a.json") == text.count("b.json") == 1


def test_the_third_record_is_compared_too() -> None:
    assert " is 1 in a.json, 4 in c.json;" in _refusal(_run(), again(_run()), again(_run(depth=4), 2))


def test_runs_of_other_engines_and_loadkits_merge_and_all_are_named() -> None:
    one, other, third = _run(), again(_run()), again(_run(), 2)
    others = {"engine": "asyncio", "loadkit": "9.9", "python": "3.99.0", "uvloop": None}
    other = msgspec.structs.replace(other, tool=msgspec.structs.replace(other.tool, **others))
    for records in ([one, other, third], [other, third, one]):
        tool = merge_records(records).tool
        assert tool.engine == ", ".join(sorted(("asyncio", one.tool.engine)))
        assert tool.loadkit == ", ".join(sorted(("9.9", one.tool.loadkit)))
        assert tool.python == ", ".join(sorted(("3.99.0", one.tool.python)))
        assert tool.uvloop == one.tool.uvloop


def test_of_long_values_the_part_that_differs_is_shown() -> None:
    phases = tuple(PhasePlan(f"p{at}", PhaseKind.HOLD, S, 100) for at in range(40))
    more = (*phases[:20], PhasePlan("the odd one", PhaseKind.HOLD, S, 100), *phases[20:])
    one = again(_run())
    sides = [
        again(msgspec.structs.replace(one, load=msgspec.structs.replace(one.load, phases=names)), minutes)
        for minutes, names in enumerate((phases, more))
    ]
    text = _refusal(*sides)
    left, right = re.fullmatch(r".*: load\.phases is (.*) in a\.json, (.*) in b\.json; .*", text).groups()  # type: ignore[union-attr]
    assert '"p20"' in left
    assert '"the odd one"' in right
    for part in (left, right):
        assert part[0] == part[-1] == "…"
        assert len(part) < 200


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cores": (7,)}, id="the cores"),
        pytest.param({"workers": 1, "lanes": 1}, id="the workers"),
        pytest.param({"stays_awake": False}, id="whether they stay awake"),
        pytest.param({"routes": (Route("10.0.1.1", "10.0.0.1", 100, (40_000, 50_000)),)}, id="the routes"),
        pytest.param({"profile": "steady", "phased": ("rate",)}, id="a profile that asks for the same"),
        pytest.param({"options": {"connections": "100"}}, id="the same, said in other words"),
        pytest.param({"slo": ("errors==0",)}, id="held against other objectives"),
        pytest.param({"sources": {"connections": "environment"}}, id="where the values came from"),
        pytest.param({"edge_triggered": True}, id="how its sockets were watched"),
        pytest.param({"target": Target("db.example", ("10.0.0.2", "10.0.0.1"), 7000)}, id="the order of its addresses"),
    ],
)
def test_another_run_of_the_same_load_merges_wherever_it_ran(changes: dict[str, Any]) -> None:
    target = Target("db.example", ("10.0.0.1", "10.0.0.2"), 7000) if "target" in changes else REMOTE
    merged = merge_records([_run(target=target), again(_run(**changes))])
    assert merged.messages.replied == 2


def test_an_embedded_server_is_the_same_wherever_it_listens() -> None:
    target = Target("embedded", ("127.0.0.1", "127.0.0.2"), 0, embedded=True)
    serve = ServePlan(("127.0.0.1", "127.0.0.2"), 0, EngineName.UVLOOP, 1, (5,), is_apart=True)
    one = _run(target=_EMBEDDED, serve=_SERVE)
    assert merge_records([one, again(_run(target=target, serve=serve))]).merged == 2


def test_a_record_that_was_written_and_read_merges_with_a_fresh_one(tmp_path: Any) -> None:
    path = tmp_path / "run.json"
    for fresh in (_run(), RUNS["open_loop"](), RUNS["crowd"]()):
        path.write_text(encoded(fresh))
        assert merge_records([load(str(path)), again(fresh)]).merged == 2


# -- one after another, side by side, or neither


@pytest.mark.parametrize(
    ("started", "window", "becomes"),
    [
        # The first is measured from 03:00:00 to 03:00:10.
        pytest.param("2026-01-02T03:00:00.000+00:00", (0, 10), "one larger load", id="at the same time"),
        pytest.param(
            "2026-01-02T03:00:09.000+00:00", (0, 10), "one longer run", id="1 of 10 s: 10 % are not more than 10 %"
        ),
        pytest.param("2026-01-02T03:00:08.900+00:00", (0, 10), "neither", id="1.1 of 10 s"),
        pytest.param("2026-01-02T03:00:01.000+00:00", (0, 10), "neither", id="9 of 10 s: not more than 90 %"),
        pytest.param("2026-01-02T03:00:00.900+00:00", (0, 10), "one larger load", id="9.1 of 10 s"),
        pytest.param("2026-01-02T03:00:09.000+00:00", (0, 5), "neither", id="1 s of the shorter one's 5"),
        pytest.param("2026-01-02T03:00:05.000+00:00", (5, 15), "one longer run", id="in the ramp of the second"),
        pytest.param("2026-01-02T05:00:00.000+02:00", (0, 10), "one larger load", id="at the same time elsewhere"),
        pytest.param("2026-01-02T03:00:00.000+02:00", (0, 10), "one longer run", id="two hours before"),
        pytest.param("2026-01-02T02:59:58.000+00:00", (0, 20), "one larger load", id="all of it within the other"),
    ],
)
def test_what_runs_become_goes_by_the_time_that_their_windows_share(
    started: str, window: tuple[int, int], becomes: str
) -> None:
    one, other = _run(), again(_run(started, window), 0)  # another run, whenever it was
    for runs in ([one, other], [other, one]):
        if becomes == "neither":
            assert "they overlap by" in _refusal(*runs)
        else:
            merged = merge_records(runs)
            assert (merged.merged, merged.in_a_row) == (2, {"one longer run": 2, "one larger load": 1}[becomes])


def test_the_refusal_says_when_each_of_them_was_measured() -> None:
    assert _refusal(_run(), _run("2026-01-02T03:00:04.500+00:00", (1, 11))) == (
        "a.json was measured from 2026-01-02 03:00:00.000 to 2026-01-02 03:00:10.000 UTC, b.json from 2026-01-02 "
        "03:00:05.500 to 2026-01-02 03:00:15.500 UTC: they overlap by 45% of the shorter; runs can be added up if "
        "they followed one another (up to 10%) or ran side by side (more than 90%); `loadkit report` each by itself"
    )


def test_a_run_within_a_merged_record_has_its_own_time() -> None:
    merged = merge_records([_run(), _run("2026-01-02T04:00:00.000+00:00")])
    # Between the two, where a single window as long as both would not be.
    between = _run("2026-01-02T03:00:12.000+00:00")
    assert merge_records([merged, between]).merged == 3
    beside = _run("2026-01-02T04:00:05.000+00:00")
    assert "a.json was measured from 2026-01-02 04:00:00.000 to" in _refusal(merged, beside)
    assert "b.json was measured" not in _refusal(merged, beside)


def test_runs_beside_one_another_are_put_together_before_what_followed_them() -> None:
    later = "2026-01-02T04:00:00.000+00:00"
    a, b, c, d = (again(_run(started), n) for n, started in enumerate((_run().started, _run().started, later, later)))
    b, d = (msgspec.structs.replace(one, started=other.started) for one, other in ((b, a), (d, c)))
    whole = merge_records([a, c, d, b])
    assert (whole.merged, whole.in_a_row, len(whole.run.spans)) == (4, 2, 4)
    for pairs in (([a, b], [c, d]), ([a, c], [b, d]), ([a, d], [c, b])):
        in_pairs = merge_records([merge_records(pair) for pair in pairs])
        assert (in_pairs.merged, in_pairs.in_a_row, in_pairs.window) == (4, 2, whole.window)


def test_a_merged_record_of_which_a_part_ran_beside_a_run_is_refused() -> None:
    a, b, c = _run(), again(_run()), again(_run(), 60)
    b = msgspec.structs.replace(b, started=a.started)
    says = (
        "ran side by side in part: what a.json has from 2026-01-02 04:00:00.000 to 2026-01-02 04:00:10.000 UTC had no"
    )
    assert says in _refusal(merge_records([a, c]), b)
    assert merge_records([a, b, c]).in_a_row == 2


def test_runs_without_a_window_overlap_with_none() -> None:
    one = RUNS["interrupted"]()
    assert merge_records([one, msgspec.structs.replace(again(one), started=one.started)]).merged == 2


def test_a_start_that_is_no_date_is_refused_by_its_file() -> None:
    odd = msgspec.structs.replace(again(_run()), started="yesterday")
    assert _refusal(_run(), odd).startswith("b.json: not a whole record: it does not say when the run was: ")


_INSTANTS = st.integers(0, 20).map(lambda second: datetime.datetime(2026, 1, 1, 0, 0, second, tzinfo=datetime.UTC))
_SPANS = st.lists(st.tuples(_INSTANTS, _INSTANTS).map(lambda two: (min(two), max(two))), max_size=8)


@given(_SPANS, _SPANS)
def test_spans_that_share_time_are_found_without_a_look_at_each_pair(
    some: list[tuple[datetime.datetime, datetime.datetime]], others: list[tuple[datetime.datetime, datetime.datetime]]
) -> None:
    shared = [(one, two) for one in some for two in others if min(one[1], two[1]) > max(one[0], two[0])]
    found = [(one, two) for one, two in _meeting(some, others) if min(one[1], two[1]) > max(one[0], two[0])]
    assert sorted(found) == sorted(shared)
