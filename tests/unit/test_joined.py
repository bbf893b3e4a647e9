"""Records that were joined with that of a serve end, and what becomes of it when they are merged."""

from __future__ import annotations

import datetime
from dataclasses import replace

import msgspec
import pytest

from loadkit.errors import RecordError
from loadkit.measure.run_samples import ServeRun
from loadkit.measure.series import ServeInterval
from loadkit.plan.serve import ServePlan
from loadkit.profile.engines import EngineName
from loadkit.report.merge import merge_records
from loadkit.report.record import CpuPerReply, RunRecord, ServerRecord
from loadkit.report.serve import ServeRecord, build_serve_record, join
from tests.golden.made_up import MS, REMOTE, RUNS, S, again, serve_end
from tests.unit.made_up import made_up_host

_RUN = RUNS["open_loop"]()
_REPLIED = _RUN.window.replied if _RUN.window else 0


def _served(cpu_ns: tuple[int, int] = (S, 2 * S)) -> ServeRecord:
    """A serve end that began a second before the run, and went on for ten minutes: a second of it takes 2 x 1 ms."""
    started_s = datetime.datetime.fromisoformat(_RUN.started).timestamp() - 1
    rows = tuple(ServeInterval(started_s + at, 10, 100, 100, MS, MS, 5, 6) for at in range(600))
    plan = ServePlan(("10.0.0.1",), REMOTE.port, EngineName.UVLOOP, 2, (2, 3))
    samples = replace(serve_end(cpu_ns), port=REMOTE.port)
    return build_serve_record(ServeRun(plan, samples, started_s, 600 * S, rows, None), made_up_host())


def _joined(serve: ServeRecord, minutes: int = 0) -> RunRecord:
    return join(again(_RUN, minutes), serve, "serve.json")


def _beside(record: RunRecord, serve: ServeRecord) -> RunRecord:
    """Another run at the time of that one."""
    return msgspec.structs.replace(_joined(serve, 5), started=record.started)


def _server(record: RunRecord) -> ServerRecord:
    assert record.server is not None
    return record.server


def _cpu(record: RunRecord) -> CpuPerReply:
    found = record.cpu_per_reply_ns["serve"]
    assert found is not None
    return found


def test_a_serve_end_that_several_runs_were_joined_with_counts_once() -> None:
    serve = _served()
    runs = [_joined(serve), _joined(serve, 1), _joined(serve, 2)]
    for merged in (merge_records(runs), merge_records([merge_records(runs[:2]), runs[2]])):
        assert _server(merged) == serve.server
        assert (_server(merged).accepted, len(_server(merged).workers)) == (100, 2)
        assert merged.window is not None
        assert merged.window.replied == 3 * _REPLIED


def test_two_serve_ends_are_added() -> None:
    serve, other = _served(), _served((2 * S, 3 * S))
    runs = [_joined(serve), _joined(other, 1), _joined(serve, 2), _joined(other, 3)]
    merged = merge_records(runs)
    assert (_server(merged).accepted, len(_server(merged).workers)) == (200, 4)
    assert set(_server(merged).workers) == {*serve.server.workers, *other.server.workers}


def test_a_serve_end_that_cannot_be_taken_out_of_a_sum_is_refused() -> None:
    serve, other = _served(), _served((2 * S, 3 * S))
    both = merge_records([_joined(serve), _joined(other, 1)])
    for runs in ([both, _joined(serve, 2)], [_joined(serve, 2), _joined(other, 3), both]):
        with pytest.raises(RecordError, match="were joined with the same serve end") as caught:
            merge_records(runs, [f"{number}.json" for number in range(len(runs))])
        assert "merge the records of the single runs instead" in str(caught.value)


def test_the_serve_end_s_cpu_time_a_reply_is_that_of_the_windows_and_not_of_its_life() -> None:
    serve = _served()
    one, later = _joined(serve), _joined(serve, 1)
    # Twice the CPU time of a window, and twice its replies.
    assert _cpu(merge_records([one, later])) == pytest.approx(_cpu(one))
    # The same CPU time, which both runs have, and twice the replies.
    half = CpuPerReply(_cpu(one).user_ns / 2, _cpu(one).system_ns / 2)
    assert _cpu(merge_records([one, _beside(one, serve)])) == pytest.approx(half)
    # Two serve ends at once: twice of both.
    assert _cpu(merge_records([one, _beside(one, _served((2 * S, 3 * S)))])) == pytest.approx(_cpu(one))


def test_of_a_window_without_a_whole_second_of_the_serve_end_the_cpu_time_is_null_with_the_reason() -> None:
    serve = _served()
    # Rows of 12 s each; the window of the run has 10 s.
    slow = msgspec.structs.replace(
        serve,
        intervals=tuple(msgspec.structs.replace(row, t_s=row.t_s + 11 * at) for at, row in enumerate(serve.intervals)),
    )
    record = _joined(slow)
    assert record.cpu_per_reply_ns["serve"] is None
    assert list(record.cpu_per_reply_missing) == ["serve"]
    assert "no second of the serve end's record" in record.cpu_per_reply_missing["serve"]
    both = merge_records([record, _joined(serve, 1)])
    assert both.cpu_per_reply_missing == record.cpu_per_reply_missing
    assert merge_records([_joined(serve), _joined(serve, 1)]).cpu_per_reply_missing == {}


def test_what_is_known_once_the_serve_end_is_joined_has_no_reason_any_more() -> None:
    assert list(_RUN.cpu_per_reply_missing) == ["serve"]
    assert "`loadkit report --server`" in _RUN.cpu_per_reply_missing["serve"]
    assert _joined(_served()).cpu_per_reply_missing == {}
