"""Quotients: rates over the window, and CPU time divided by replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadkit.measure.run_samples import RunSamples
from loadkit.plan.load import Load
from loadkit.report.record import Connecting, CpuPerReply, Rates, Window, WorkerRecord
from loadkit.report.scale import paced_connects
from loadkit.units import NS_PER_S

__all__ = [
    "NOT_JOINED",
    "NO_REPLY",
    "UNMEASURED_PHASES",
    "connecting_of",
    "cpu_missing",
    "cpu_per_reply",
    "has_gaps",
    "make_rates",
]

# Why the CPU time of an end, divided by the replies, is not known.
NO_REPLY = "no reply in the measured time"
NOT_JOINED = "the target is not a server of this run; `loadkit report --server` joins the record of a `loadkit serve`"
UNMEASURED_PHASES = "the serve end's CPU time includes the phases that are not measured"


def make_rates(window: Window | None, connecting: Connecting | None) -> Rates:
    """Returns what happened in the window, divided by its length; None for a window without length."""

    def rate(name: str) -> float | None:
        return _rate(getattr(window, name), window.measured_ns) if window else None

    return Rates(
        connects_per_s=_rate(connecting.opened, connecting.duration_ns) if connecting else None,
        replies_per_s=rate("replied"),
        sent_bytes_per_s=rate("sent_bytes"),
        received_bytes_per_s=rate("received_bytes"),
    )


def _rate(count: int, span_ns: int) -> float | None:
    return count * NS_PER_S / span_ns if span_ns > 0 else None


def connecting_of(load: Load, samples: RunSamples, window: Window | None) -> Connecting | None:
    """Returns the connects that a rate is made of: of the window in churn, because they go on; else of the ramp."""
    if load.lifetime_ns is not None and window:
        return Connecting(window.opened, window.measured_ns)
    paced = paced_connects(samples)
    return Connecting(*paced) if paced else None


def cpu_per_reply(workers: Sequence[WorkerRecord], window: Window | None) -> CpuPerReply | None:
    """Returns the workers' CPU time in the window divided by the replies in it; None if there were no replies."""
    if window is None or not window.replied:
        return None
    return CpuPerReply(
        sum(worker.cpu_user_ns or 0 for worker in workers) / window.replied,
        sum(worker.cpu_system_ns or 0 for worker in workers) / window.replied,
    )


def cpu_missing(cpu: Mapping[str, CpuPerReply | None], window: Window | None, otherwise: str) -> dict[str, str]:
    """Returns why the CPU time per reply is null, by end: there was no reply, or else `otherwise`."""
    reason = otherwise if window and window.replied else NO_REPLY
    return {end: reason for end, one in cpu.items() if one is None}


def has_gaps(window: Window | None) -> bool:
    """Whether a profile leaves phases inside the window unmeasured. The serve end goes on during those."""
    return window is not None and window.measured_ns < window.end_ns - window.start_ns
