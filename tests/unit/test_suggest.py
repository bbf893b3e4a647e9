from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from loadkit.cli.blast import blast
from loadkit.cli.options import given as given_options
from loadkit.errors import RecordError
from loadkit.plan.build import build_plan
from loadkit.plan.phases import PhaseKind
from loadkit.plan.target import Target
from loadkit.profile.blast import Arrivals
from loadkit.profile.read import load_profile
from loadkit.profile.spell import as_given, option_words
from loadkit.report.as_text import as_text
from loadkit.report.reading import load
from loadkit.report.record import Advised, Finding, Party, Reason, RunRecord, SloRecord, State, Verdict
from loadkit.report.slo import check, parse_slo
from loadkit.report.suggest import next_command
from loadkit.report.writing import encode
from tests.golden.made_up import (
    ENGINE,
    MS,
    REMOTE,
    RUNS,
    US,
    S,
    changed,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    steady,
    worker,
)
from tests.unit.made_up import made_up_host

DASHED = msgspec.structs.replace(REMOTE, host="-o/etc/passwd")


def _record(rate: tuple[float, float] | None = None, replies: int = 2_000, **more: Any) -> RunRecord:
    """A valid run of 10 s at REMOTE with `replies` from each of two workers; `more` goes to its plan."""
    plan = made_up_plan(None, more.pop("target", REMOTE))
    phases = tuple(
        msgspec.structs.replace(phase, rate_hz=rate if phase.kind in (PhaseKind.WARMUP, PhaseKind.HOLD) else None)
        for phase in plan.load.phases
    )
    samples = steady([MS] * replies, [20 * US] * replies, **more.pop("hold", {}))
    made = made_up_record(changed(plan, phases=phases, **more), samples)
    return msgspec.structs.replace(made, verdict=Verdict("valid"))


def _judged(record: RunRecord, state: State, code: str, party: Party = "loadkit") -> RunRecord:
    return msgspec.structs.replace(record, verdict=Verdict(state, (Reason(code, "", party),)))


def _refused(record: RunRecord) -> RunRecord:
    """The record with a connect that was refused."""
    return msgspec.structs.replace(record, errors=(Advised("ramp", "connect", "ECONNREFUSED", 1, ""),))


def _held_against(record: RunRecord, *objectives: str, **options: Any) -> RunRecord:
    """The record with these objectives, which were among its options."""
    given = msgspec.structs.replace(record.given, options={"slo": objectives, **options})
    return msgspec.structs.replace(record, given=given, slo=check([parse_slo(text) for text in objectives], record))


FLAT, RAMP = (400.0, 400.0), (100.0, 1_000.0)
EVERYTHING = {
    "connections": "10k",
    "duration": "30s",
    "rate": "20k",
    "workers": "2",
    "size": "4KiB",
    "depth": "4",
    "connect_rate": "5k",
    "lifetime": "20ms",
    "source": ("10.0.1.0/28", "10.0.2.0/28"),
    "timeout": "2s",
    "warmup": "0s",
    "close": "fin",
    "check": False,
    "engine": "uvloop",
    "pin": True,
    "slo": ("latency.p99<5ms", "errors==0"),
}
ALL_WORDS = (
    "-c 10k -d 30s -R {rate} -w 2 -s 4KiB -p 4 --connect-rate 5k --lifetime 20ms --source 10.0.1.0/28 "
    "--source 10.0.2.0/28 --timeout 2s --warmup 0s --close fin --no-check "
    "--slo 'latency.p99<5ms' --slo errors==0 --engine uvloop --pin"
)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        pytest.param(
            _record(),
            "loadkit blast db.example:7000 -R 200 -o open.json",
            id="a closed loop: latency at half of its 400/s",
        ),
        pytest.param(
            _record(replies=40_000), "loadkit blast db.example:7000 -R 4000 -o open.json", id="half of 8,000/s"
        ),
        pytest.param(
            _record(replies=6_173), "loadkit blast db.example:7000 -R 610 -o open.json", id="half of 1,234.6/s, rounded"
        ),
        pytest.param(
            _record(FLAT), "loadkit blast db.example:7000 -R 800 -o higher.json", id="an open loop: twice the rate"
        ),
        pytest.param(
            _record(FLAT, replies=1_995),
            "loadkit blast db.example:7000 -R 800 -o higher.json",
            id="twice the rate that was asked, not what came of it",
        ),
        pytest.param(
            _record((0.004, 0.004)),
            "loadkit blast db.example:7000 -R 0.008 -o higher.json",
            id="a rate far below one per second",
        ),
        pytest.param(
            _record(RAMP),
            "loadkit blast db.example:7000 -R 1000 -o flat.json",
            id="a ramp that was kept: flat at its highest",
        ),
        pytest.param(
            _judged(_record(RAMP), "suspect", "peer-behind"),
            "loadkit blast db.example:7000 -R 400 -o flat.json",
            id="a ramp that was not: flat at what came of it",
        ),
        pytest.param(
            _judged(_record(FLAT), "suspect", "saturated"),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="a worker without time to spare: half",
        ),
        pytest.param(
            msgspec.structs.replace(_record(FLAT), findings=(Finding("peer-behind", ""),)),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="a target that is slower, though the run is valid: half",
        ),
        pytest.param(
            _record(FLAT, hold={"waited": 100}),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="5 % had to wait for room: half",
        ),
        pytest.param(
            _record((1_000.0, 1_000.0), hold={"intended": 3_000, "unsent": 3_000}),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="more than half was never sent: half of the 400/s that came back",
        ),
        pytest.param(
            _judged(_record(FLAT), "suspect", "blast-bound"),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="an open loop at this end's limit",
        ),
        pytest.param(
            _judged(_record(FLAT), "suspect", "stood-still"),
            "loadkit blast db.example:7000 -o run.json",
            id="disturbed: the same again",
        ),
        pytest.param(
            _judged(_record(), "suspect", "blast-bound"),
            "loadkit blast db.example:7000 -R 200 -o open.json",
            id="a closed loop at this end's limit: a rate below it",
        ),
        pytest.param(
            _judged(_record(), "suspect", "run-delay"),
            "loadkit blast db.example:7000 -o run.json",
            id="a closed loop that was disturbed: no rate made of it",
        ),
    ],
)
def test_the_rate_that_comes_next(record: RunRecord, command: str) -> None:
    assert next_command(record)[0] == command


def test_a_closed_loop_that_thinks_says_nothing_of_what_the_target_can_do() -> None:
    record = _record(think="exp:2s", seed=7)
    assert next_command(record) == (
        "loadkit blast db.example:7000 --journey -o journey.json",
        "where the time of a message goes",
    )


@pytest.mark.parametrize(
    ("state", "command"),
    [
        pytest.param("suspect", "loadkit blast db.example:7000 --seed 7 -o run.json", id="the same"),
        pytest.param("valid", "loadkit blast db.example:7000 -R 800 -o higher.json", id="another rate"),
    ],
)
def test_a_run_that_is_repeated_has_the_same_random_values(state: State, command: str) -> None:
    record = _judged(_record(FLAT, arrivals=Arrivals.EXP, seed=7), state, "run-delay")
    assert next_command(record)[0] == command


@pytest.mark.parametrize(
    ("record", "command"),
    [
        pytest.param(
            _judged(_refused(_record()), "invalid", "incomplete"),
            "loadkit doctor -c 100 db.example:7000",
            id="connections are missing",
        ),
        pytest.param(
            _judged(_record(), "invalid", "incomplete"),
            "loadkit blast db.example:7000 -o run.json",
            id="connections are missing, and none failed",
        ),
        pytest.param(
            _judged(
                _refused(_record(options={"source": ("10.0.1.0/28",), "rate": "5"})), "invalid", "connections-missing"
            ),
            "loadkit doctor -c 100 --source 10.0.1.0/28 db.example:7000",
            id="from these sources",
        ),
        pytest.param(
            _judged(_record(FLAT), "invalid", "exhausted", "machine"),
            "loadkit doctor -c 100 db.example:7000",
            id="a limit of this machine",
        ),
        pytest.param(
            msgspec.structs.replace(_record(FLAT), findings=(Finding("connections-missing", ""),)),
            "loadkit blast db.example:7000 -R 800 -o higher.json",
            id="a few missing connections stop nothing",
        ),
        pytest.param(
            msgspec.structs.replace(
                _record(FLAT),
                verdict=Verdict("invalid", (Reason("schedule-missed", ""), Reason("stood-still", "", "machine"))),
            ),
            "loadkit blast db.example:7000 -o run.json",
            id="a schedule missed because of a standstill: no rate helps",
        ),
        pytest.param(
            msgspec.structs.replace(
                _record(FLAT), verdict=Verdict("invalid", (Reason("rate-missed", ""), Reason("stood-still", "")))
            ),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="a rate that the target did not follow, whatever stood still",
        ),
        pytest.param(
            _judged(_record(FLAT, hold={"waited": 900}), "suspect", "run-delay", "machine"),
            "loadkit blast db.example:7000 -o run.json",
            id="messages waited while other processes had a core: the rate may be kept without them",
        ),
        pytest.param(
            _judged(_record(FLAT, hold={"intended": 9_000, "unsent": 9_000}), "invalid", "worker-died"),
            "loadkit blast db.example:7000 -o run.json",
            id="a worker died: no rate helps",
        ),
        pytest.param(
            _judged(_record(FLAT, hold={"intended": 9_000, "unsent": 9_000}), "invalid", "something-later"),
            "loadkit blast db.example:7000 -o run.json",
            id="invalid for another reason",
        ),
        pytest.param(
            _judged(_record((9_000.0, 9_000.0)), "invalid", "schedule-missed", "target"),
            "loadkit blast db.example:7000 -R 200 -o lower.json",
            id="invalid because the rate was too high",
        ),
        pytest.param(
            _judged(_record(replies=0), "invalid", "no-replies", "target"),
            "loadkit ping db.example:7000",
            id="not one reply: does it echo?",
        ),
        pytest.param(
            _judged(_record(replies=0, target=DASHED), "invalid", "no-replies", "target"),
            "loadkit ping -- -o/etc/passwd:7000",
            id="a target that would be an option",
        ),
        pytest.param(
            _judged(_record((9_000.0, 9_000.0), target=DASHED), "invalid", "schedule-missed", "target"),
            "loadkit blast -R 200 -o lower.json -- -o/etc/passwd:7000",
            id="a target that would be an option, with options",
        ),
        pytest.param(
            _refused(_judged(_record(target=DASHED), "invalid", "incomplete", "target")),
            "loadkit doctor -c 100 -- -o/etc/passwd:7000",
            id="a target that would be an option of the doctor",
        ),
        pytest.param(
            RUNS["interrupted"](), "loadkit blast db.example:7000 -o run.json", id="interrupted: again, to its end"
        ),
        pytest.param(
            msgspec.structs.replace(_record(FLAT), partial=True),
            "loadkit blast db.example:7000 -o run.json",
            id="interrupted in its window",
        ),
    ],
)
def test_what_stands_in_the_way_comes_before_another_rate(record: RunRecord, command: str) -> None:
    assert next_command(record)[0] == command


@pytest.mark.parametrize(
    ("record", "command"),
    [
        pytest.param(
            _held_against(_record(FLAT), "latency.p50<1us"),
            "-R 200 --slo 'latency.p50<1us' -o lower.json",
            id="missed: a lower rate, never a higher one",
        ),
        pytest.param(
            _held_against(_record(RAMP), "latency.p50<1us"),
            "-R 400 --slo 'latency.p50<1us' -o flat.json",
            id="missed in a ramp: flat at what came of it",
        ),
        pytest.param(
            _held_against(_record(), "latency.p50<1us"),
            "-R 200 --slo 'latency.p50<1us' -o open.json",
            id="missed in a closed loop",
        ),
        pytest.param(
            _held_against(_record(FLAT), "replies_per_s>=900"),
            "--journey --slo 'replies_per_s>=900' -o journey.json",
            id="too few replies: no lower rate brings more",
        ),
        pytest.param(
            _held_against(_record(FLAT, replies=450), "latency.p99<5ms", duration="10s"),
            "-d 13s --slo 'latency.p99<5ms' -o longer.json",  # 900 of 1,000 in 10 s, and a tenth more: 12.2 s
            id="too few for the percentile: longer",
        ),
        pytest.param(
            _held_against(_record(FLAT, replies=450, messages=900), "latency.p99.9<5ms", messages="900"),
            "-n 11000 --slo 'latency.p99.9<5ms' -o longer.json",
            id="too few for the percentile: more messages",
        ),
        pytest.param(
            _held_against(_record(FLAT, replies=450, phased=("duration", "warmup")), "latency.p99<5ms"),
            "--slo 'latency.p99<5ms' -o again.json",
            id="too few, and the profile says how long",
        ),
        pytest.param(
            _held_against(_record(FLAT), "connect.max<1us"),
            "--connect-rate 50 --slo 'connect.max<1us' -o slower.json",  # 100 in 1 s
            id="slow connects: fewer at a time",
        ),
        pytest.param(
            _held_against(_record(FLAT), "latency.p99<5ms"),
            "-R 800 --slo 'latency.p99<5ms' -o higher.json",
            id="met: twice the rate",
        ),
        pytest.param(
            _held_against(_record(), "latency.p99<5ms", "replies_per_s>=300", "received_bytes_per_s>12800B"),
            "-R 200 --slo 'latency.p99<5ms' -o open.json",  # 200 x 64 B = 12,800 B/s
            id="an objective that the new rate cannot meet is left out",
        ),
        pytest.param(
            _held_against(_record(), "replies_per_s>=200", "received_bytes_per_s>=12800B", "connects_per_s>=90"),
            "-R 200 --slo 'replies_per_s>=200' --slo 'received_bytes_per_s>=12800B' --slo 'connects_per_s>=90' "
            "-o open.json",
            id="one that it can meet stays",
        ),
    ],
)
def test_the_objectives_say_what_comes_next(record: RunRecord, command: str) -> None:
    assert next_command(record)[0] == f"loadkit blast db.example:7000 {command}"


def test_an_objective_of_a_later_loadkit_that_was_missed_asks_for_a_lower_rate() -> None:
    later = msgspec.structs.replace(_record(FLAT), slo=(SloRecord("error_ratio<1%", 0.02, False),))
    assert next_command(later)[0] == "loadkit blast db.example:7000 -R 200 -o lower.json"


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        pytest.param({}, "--profile burst -R 800 -o higher.json", id="a profile without rates by phase"),
        pytest.param(
            {"phased": ("rate", "duration", "warmup")},
            "--profile burst --journey -o journey.json",
            id="rates by phase: no -R",
        ),
        pytest.param(
            {"phased": ("rate",), "journey": True, "options": {"journey": True}},
            "--profile burst --journey -o again.json",
            id="with its journey already",
        ),
    ],
)
def test_the_profile_is_kept_and_not_overruled(changes: dict[str, Any], command: str) -> None:
    assert next_command(_record(FLAT, profile="burst", **changes))[0] == f"loadkit blast db.example:7000 {command}"


def test_churn_without_a_schedule_is_given_no_rate() -> None:
    command, what_for = next_command(_record(lifetime_ns=0, options={"lifetime": "0"}))
    assert command == "loadkit blast db.example:7000 --lifetime 0 --journey -o journey.json"
    assert what_for == "where the time of a message goes"


@pytest.mark.parametrize(
    ("record", "rate", "output"),
    [
        pytest.param(_record(FLAT, options=EVERYTHING), "800", "higher.json", id="a higher rate"),
        pytest.param(
            _judged(_record(FLAT, options=EVERYTHING), "suspect", "saturated"), "200", "lower.json", id="a lower rate"
        ),
        pytest.param(
            _judged(_record(FLAT, options=EVERYTHING), "suspect", "late"), "20k", "run.json", id="the same again"
        ),
    ],
)
def test_everything_else_that_was_given_is_given_again(record: RunRecord, rate: str, output: str) -> None:
    words = ALL_WORDS.format(rate=rate)
    assert next_command(record)[0] == f"loadkit blast db.example:7000 {words} -o {output}"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param(Target("::1", ("::1",), 7), "'[::1]:7' ", id="brackets, which a shell reads as a pattern"),
        pytest.param(Target("a b;rm", ("10.0.0.1",), 7), "'a b;rm:7' ", id="a name that a shell would run"),
        pytest.param(Target("embedded", ("127.0.0.1",), 7, embedded=True), "", id="an embedded server is not named"),
    ],
)
def test_the_target_is_quoted(target: Target, words: str) -> None:
    assert next_command(_record(FLAT, target=target))[0] == f"loadkit blast {words}-R 800 -o higher.json"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("run.json", "run.json"),
        ("my run.json", "'my run.json'"),
        ("it's.json", "'it'\"'\"'s.json'"),
        ("-q.json", "./-q.json"),
    ],
)
def test_the_command_that_reads_the_record_again_is_quoted(path: str, word: str) -> None:
    assert f"record: {path}   again: loadkit report {word}\n" in as_text(_record(FLAT), path)


def test_a_record_that_was_written_and_read_suggests_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for made in (_record(FLAT, options=EVERYTHING, profile="steady"), _record(RAMP), RUNS["saturated"]()):
        path.write_text(encode(made))
        assert next_command(load(str(path))) == next_command(made)


def test_options_that_are_none_are_refused_when_the_record_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(encode(_record(FLAT)).replace('"options": {}', '"options": {"slo": 5}'))
    with pytest.raises(RecordError, match=r"not a whole record: .*options"):
        load(str(path))


# -- what was given


def _read(words: list[str]) -> dict[str, Any]:
    """The options as the command line hands them on."""
    found: dict[str, Any] = {}
    context = blast.make_context("blast", [*words, "--dry-run"])
    names = load_profile(None, {})[0].__struct_fields__
    found |= {name: value for name, value in given_options(context.params).items() if name in names}
    return found


_GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "connections": st.integers(1, 10**6).map(str),
        "duration": st.integers(1, 10**4).map(lambda value: f"{value}s"),
        "rate": st.sampled_from(["400", "1k:10k", "0.5"]),
        "workers": st.sampled_from(["auto", "2"]),
        "source": st.lists(st.sampled_from(["10.0.1.0/28", "fd00::/64"]), min_size=1, max_size=3).map(tuple),
        "slo": st.lists(st.sampled_from(["latency.p99<5ms", "errors==0"]), min_size=1, max_size=3).map(tuple),
        "close": st.sampled_from(["rst", "fin"]),
        "check": st.sampled_from(["exact", "none", "starts:OK"]),
        "edge_triggered": st.booleans(),
        "engine": st.sampled_from(["native", "asyncio"]),
    },
)


@given(_GIVEN)
def test_the_words_of_options_are_read_as_the_same_options(options: dict[str, Any]) -> None:
    assert _read(option_words(as_given(options))) == options


def test_values_of_a_program_become_text_that_is_read_as_the_same() -> None:
    given_by_program = {"connections": 500, "rate": 2000.0, "size": 64, "check": False, "slo": ["errors==0"]}
    kept = as_given(given_by_program)
    assert kept == {"connections": "500", "rate": "2000", "size": "64", "check": False, "slo": ("errors==0",)}
    profile = load_profile(None, given_by_program)[0]
    assert load_profile(None, kept)[0] == profile
    typed = {name: getattr(profile, name) for name in ("rate", "timeout", "close", "depth")}
    assert load_profile(None, as_given(typed))[0] == load_profile(None, typed)[0]


def test_an_option_of_a_later_loadkit_is_left_out() -> None:
    assert option_words({"connections": "5", "levitate": "1ms"}) == ["-c", "5"]


@pytest.mark.parametrize("name", ["burst", "closed-loop", "c10k", "ramp", "churn"])
def test_no_suggestion_after_a_shipped_profile_is_refused(name: str) -> None:
    options = {"timeout": "3s"}
    profile, sources = load_profile(name, options)
    plan = build_plan(profile, sources, made_up_host(), REMOTE, ENGINE, name=name, options=as_given(options))
    hold = [exchanged([MS] * 2_000) if phase.kind is PhaseKind.HOLD else page() for phase in plan.load.phases[1:]]
    samples = made_up_samples(worker(0, ramp(), *hold), window_end_ns=1_002 * S + sum(_holds(plan.load.phases)))
    record = made_up_record(changed(plan, highest_ns=made_up_plan().load.highest_ns), samples)
    for state in ("valid", "suspect", "invalid"):
        judged = _judged(record, state, "late")
        words = shlex.split(next_command(judged)[0])
        assert words[:5] == ["loadkit", "blast", "db.example:7000", "--profile", name]
        load_profile(name, _read(words[5:]))
        assert "--timeout" in words


def _holds(phases: Any) -> list[int]:
    return [phase.duration_ns for phase in phases if phase.kind is PhaseKind.HOLD]


def test_the_environment_is_among_what_was_given() -> None:
    env = {"LOADKIT_BLAST_DURATION": "1s", "LOADKIT_BLAST_SLO": "errors==0"}
    done = CliRunner(env=env).invoke(blast, ["-c", "3", "--dry-run"], auto_envvar_prefix="LOADKIT_BLAST")
    assert done.exit_code == 0, done.output
    plan = msgspec.json.decode(done.output)
    assert plan["given"]["options"] == {"connections": "3", "duration": "1s", "slo": ["errors==0"]}
