"""The record of a run, version 2: its values. The run comes first, then what it is made of.

Names are a promise: what comes later is added, with a higher `minor`, and nothing is renamed. "Not measured" is null,
never 0. Times are integers of nanoseconds, rates floats per second, sizes bytes. Each field has the rule by which it is
merged (algebra.py). reading.py and whole.py read a file of one and refuse other files, writing.py writes it, and
docs/record.md is made from these structs.
"""

from __future__ import annotations

from loadkit.report.record.amounts import Bytes, Connecting, Connections, CpuPerReply, Messages, Rates, Window
from loadkit.report.record.journey import Journey, Tail
from loadkit.report.record.machine import Kernel, Memory, Opening, TcpRecord, Throttling
from loadkit.report.record.outcome import STATES, Aborted, Advised, Finding, Party, Reason, SloRecord, State, Verdict
from loadkit.report.record.processes import (
    Balance,
    Fairness,
    ProxyHeaders,
    ServerRecord,
    SocketSetting,
    Standstills,
    Wakeups,
    WorkerRecord,
    WorkerWakeups,
)
from loadkit.report.record.run import FORMAT, MINOR, VERSION, RunId, RunRecord, Span, Tool
from loadkit.report.record.series import Interval, PhaseRecord
from loadkit.report.record.times import OF_A_SCHEDULE, OF_A_SETUP, PERCENTILES, HistogramRecord, Histograms, measured

__all__ = [
    "FORMAT",
    "MINOR",
    "OF_A_SCHEDULE",
    "OF_A_SETUP",
    "PERCENTILES",
    "STATES",
    "VERSION",
    "Aborted",
    "Advised",
    "Balance",
    "Bytes",
    "Connecting",
    "Connections",
    "CpuPerReply",
    "Fairness",
    "Finding",
    "HistogramRecord",
    "Histograms",
    "Interval",
    "Journey",
    "Kernel",
    "Memory",
    "Messages",
    "Opening",
    "Party",
    "PhaseRecord",
    "ProxyHeaders",
    "Rates",
    "Reason",
    "RunId",
    "RunRecord",
    "ServerRecord",
    "SloRecord",
    "SocketSetting",
    "Span",
    "Standstills",
    "State",
    "Tail",
    "TcpRecord",
    "Throttling",
    "Tool",
    "Verdict",
    "Wakeups",
    "Window",
    "WorkerRecord",
    "WorkerWakeups",
    "measured",
]
