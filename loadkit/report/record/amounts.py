"""How much there was of everything, and in what time."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.report import algebra

__all__ = ["Bytes", "Connecting", "Connections", "CpuPerReply", "Messages", "Rates", "Window"]


class Connections(msgspec.Struct, frozen=True):
    """Connects of the run or of a phase. `peak` is the most that were open at once (null for a phase).

    `asked` counts the connects that began. For a whole run it is at least the planned number: connections that did not
    begin, because the ramp was cut short, count as requested too. `at_start` counts the connections that were open,
    with a first reply, when the window began. `lost` counts those that broke later and were not reopened. Both are null
    for a phase, and if the run has no window.
    """

    asked: Annotated[int, algebra.SUM]
    opened: Annotated[int, algebra.SUM]
    failed: Annotated[int, algebra.SUM]
    peak: Annotated[int | None, algebra.HELD]
    closed: Annotated[int, algebra.SUM]
    at_start: Annotated[int | None, algebra.AT_START] = None
    lost: Annotated[int | None, algebra.SUM] = None


class Messages(msgspec.Struct, frozen=True):
    """intended = sent + unsent; sent = replied + failed + unanswered. `waited` counts messages that waited for room.

    Messages count in the phase in which they were intended. In an open loop only scheduled messages count, so the first
    message of each connection does not.
    """

    intended: Annotated[int, algebra.SUM]
    sent: Annotated[int, algebra.SUM]
    replied: Annotated[int, algebra.SUM]
    failed: Annotated[int, algebra.SUM]
    unanswered: Annotated[int, algebra.SUM]
    unsent: Annotated[int, algebra.SUM]
    waited: Annotated[int, algebra.SUM]


class Bytes(msgspec.Struct, frozen=True):
    """Bytes of messages and of replies."""

    sent: Annotated[int, algebra.SUM]
    received: Annotated[int, algebra.SUM]


class Window(msgspec.Struct, frozen=True):
    """The measured stretch, in monotonic ns from the common start of the run.

    Rates are divided by `measured_ns`: the stretch without the phases in it that a profile leaves unmeasured. The
    counts are of what happened between its edges, whatever phase a message belongs to. `opened` counts connections.
    """

    start_ns: Annotated[int, algebra.LEAST]
    end_ns: Annotated[int, algebra.WINDOW_END]
    measured_ns: Annotated[int, algebra.SPAN]
    opened: Annotated[int, algebra.SUM]
    sent: Annotated[int, algebra.SUM]
    replied: Annotated[int, algebra.SUM]
    sent_bytes: Annotated[int, algebra.SUM]
    received_bytes: Annotated[int, algebra.SUM]


class Connecting(msgspec.Struct, frozen=True):
    """What `connects_per_s` is made of: the connections that opened, and the time that they took.

    In churn that is the window. Else it is the ramp, until its last connection had opened or failed. The run's first
    connection is not among them, because it is open when the ramp begins.
    """

    opened: Annotated[int, algebra.SUM]
    duration_ns: Annotated[int, algebra.SPAN]


class Rates(msgspec.Struct, frozen=True):
    """Per second of the window. `connects_per_s` is `connecting.opened` divided by `connecting.duration_ns`."""

    connects_per_s: float | None
    replies_per_s: float | None
    sent_bytes_per_s: float | None
    received_bytes_per_s: float | None


class CpuPerReply(msgspec.Struct, frozen=True):
    """CPU time of an end in the window, divided by the replies in it."""

    user_ns: float
    system_ns: float
