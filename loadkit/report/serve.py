"""The serve end's own record, `loadkit serve -o FILE`, and how it joins the blast end's."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from loadkit.endpoint import is_unix
from loadkit.errors import RecordError
from loadkit.host import Host
from loadkit.measure.run_samples import ServeRun
from loadkit.measure.series import ServeInterval
from loadkit.plan.serve import ServePlan
from loadkit.report.kernel import kernel_record
from loadkit.report.rates import cpu_missing
from loadkit.report.reading import as_struct, format_of, parse, parse_fields, read
from loadkit.report.record import CpuPerReply, Kernel, RunRecord, ServerRecord, Tool, Window
from loadkit.report.server import server_record
from loadkit.report.tool import tool_record
from loadkit.report.verdict import judged
from loadkit.report.whole import check_whole, complete_histograms, start_problem
from loadkit.units import NS_PER_S, format_duration

__all__ = ["FORMAT", "ServeRecord", "build_serve_record", "join", "load_either", "load_serve"]

FORMAT = "loadkit-serve-record"
VERSION = 1
MINOR = 2  # goes up by one when fields are added to the version
# How far the clocks of two machines may differ, and one second, which is the length of a row.
_SLACK_S = 2.0
_NO_WHOLE_ROW = "no second of the serve end's record lies in the window as a whole"


class ServeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A serve end, from its start to its end. `intervals` are of the last hour."""

    format: str = FORMAT
    version: int = VERSION
    minor: int = MINOR
    started: str
    duration_ns: int
    tool: Tool
    plan: ServePlan
    host: dict[str, Any]
    server: ServerRecord
    kernel: Kernel | None
    intervals: tuple[ServeInterval, ...]


def build_serve_record(run: ServeRun, host: Host) -> ServeRecord:
    """Returns the record of a serve end that has ended."""
    window = Window(0, run.span_ns, run.span_ns, 0, 0, 0, 0, 0)
    return ServeRecord(
        started=datetime.datetime.fromtimestamp(run.started_s, datetime.UTC).isoformat(timespec="milliseconds"),
        duration_ns=run.span_ns,
        tool=tool_record(run.samples.engine),
        plan=run.plan,
        host=asdict(host),
        server=msgspec.structs.replace(
            server_record(run.samples, window, run.plan.is_hashed, run.plan.socket_origins), is_whole_life=True
        ),
        kernel=None if run.plan.is_unix else kernel_record(run.kernel, run.span_ns, is_local=False),
        intervals=run.rows,
    )


def load_either(path: str) -> RunRecord | ServeRecord:
    """Reads the record of a run or of a serve end. Raises RecordError."""
    text = read(path)
    return _parse_serve(path, text) if format_of(text) == FORMAT else parse(path, text)


def load_serve(path: str) -> ServeRecord:
    """Reads a serve record. Raises RecordError, in one line, for what is missing, damaged, foreign or newer."""
    return _parse_serve(path, read(path))


def _parse_serve(path: str, text: bytes) -> ServeRecord:
    fields = parse_fields(path, text, FORMAT, VERSION, "`loadkit serve -o serve.json` writes one")
    record = as_struct(path, fields, ServeRecord)
    check_whole(path, (*filter(None, [start_problem(record.started)]), *_problems(record)))
    complete_histograms(path, record)
    return record


def _problems(record: ServeRecord) -> Iterator[str]:
    if record.server.port is None and not record.plan.is_unix:
        yield "server.port is missing"


def join(record: RunRecord, serve: ServeRecord, path: str) -> RunRecord:
    """Returns a blast end's record with the serve end in it.

    The serve end's figures are of its whole life, but the CPU time per reply is of the seconds of the window, by the
    clocks of both machines. Raises RecordError if the two are not of one run, or if the record has a serve end already.
    """
    if record.server is not None:
        raise RecordError(f"{path}: the record has its serve end already: it was embedded, or joined before")
    asked, served = _place(record.target.addresses, record.target.port), _place(serve.plan.addresses, serve.server.port)
    if asked != served:
        raise RecordError(f"{path}: not of this run: it served on {served}, and the run went to {asked}")
    start_s = datetime.datetime.fromisoformat(record.started).timestamp()
    begun_s = datetime.datetime.fromisoformat(serve.started).timestamp()
    ended_s = begun_s + serve.duration_ns / NS_PER_S
    if not begun_s - _SLACK_S <= start_s <= ended_s + _SLACK_S:
        raise RecordError(
            f"{path}: not of this run: it served from {serve.started} for {format_duration(serve.duration_ns)}, and "
            f"the run began at {record.started}"
        )
    cpu = {**record.cpu_per_reply_ns, "serve": _cpu_per_reply(record, serve, start_s)}
    joined = msgspec.structs.replace(
        record,
        server=serve.server,
        cpu_per_reply_ns=cpu,
        cpu_per_reply_missing=cpu_missing(cpu, record.window, _NO_WHOLE_ROW),
    )
    return judged(joined)


def _place(addresses: Sequence[str], port: int | None) -> str:
    """Returns what both ends know of a place: the port, for an address has several names; of a UNIX socket the path."""
    return addresses[0] if is_unix(addresses[0]) else f"port {port}"


def _cpu_per_reply(record: RunRecord, serve: ServeRecord, start_s: float) -> CpuPerReply | None:
    """CPU time of the whole seconds in the window, divided by the replies that the window has in such a time."""
    if record.window is None or not record.window.replied:
        return None
    begin, end = (start_s + at / NS_PER_S for at in (record.window.start_ns, record.window.end_ns))
    rows = [
        (row, row.t_s - before.t_s)
        for before, row in zip(serve.intervals, serve.intervals[1:], strict=False)
        if begin <= before.t_s and row.t_s <= end
    ]
    seconds = sum(span for _row, span in rows)
    if seconds <= 0:
        return None
    replies = record.window.replied * seconds * NS_PER_S / (record.window.end_ns - record.window.start_ns)
    return CpuPerReply(
        sum(row.cpu_user_ns for row, _span in rows) / replies, sum(row.cpu_system_ns for row, _span in rows) / replies
    )
