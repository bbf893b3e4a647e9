"""What TCP_INFO says of the connections, into a record and in words."""

from __future__ import annotations

from typing import NamedTuple

from loadkit.measure.samples import PhaseSamples
from loadkit.report.histograms import histogram_record
from loadkit.report.record import Finding, HistogramRecord, Party, TcpRecord
from loadkit.units import format_duration, format_ratio, plural

__all__ = ["TCP_RULES", "TcpRule", "tcp_line", "tcp_record"]

# A share of the time with unacknowledged bytes. Beyond it, a buffer is measured and not the network.
LIMITED = 0.1


class TcpRule(NamedTuple):
    """A finding about what held connections back for more than LIMITED of their time, which {share} in `text` is."""

    code: str
    kind: str
    counter: str
    text: str
    party: Party = "machine"


TCP_RULES = (
    TcpRule(
        "receive-window",
        "TCP_INFO: the peer's receive window held connections back",
        "tcp_rwnd_limited_us",
        "connections with bytes in flight waited {share:.0%} of the time for the peer's receive window: it reads too "
        "slowly, or its net.ipv4.tcp_rmem is too small",
    ),
    TcpRule(
        "send-buffer",
        "TCP_INFO: the send buffer held connections back",
        "tcp_sndbuf_limited_us",
        "connections with bytes in flight waited {share:.0%} of the time for room in their own send buffer. Raise "
        "net.ipv4.tcp_wmem, or lower --depth",
    ),
)


def tcp_record(hold: PhaseSamples) -> TcpRecord | None:
    """Returns what was seen of the connections in the measured phases; None if no connection could be asked."""
    counters = hold.counters
    samples = counters["tcp_samples"]
    if not samples:
        return None
    busy, watched = counters["tcp_busy_us"], counters["tcp_watched"]
    limited = {rule.counter: counters[rule.counter] / busy if busy else None for rule in TCP_RULES}
    return TcpRecord(
        samples=samples,
        rtt=_record(hold, "rtt"),
        rttvar=_record(hold, "rttvar"),
        min_rtt=_record(hold, "min_rtt"),
        delivery_rate=_record(hold, "delivery_rate", "bytes/s"),
        watched=watched,
        retransmits_per_connection=counters["tcp_retransmits"] / watched if watched else None,
        rwnd_limited_share=limited["tcp_rwnd_limited_us"],
        sndbuf_limited_share=limited["tcp_sndbuf_limited_us"],
        findings=tuple(
            Finding(rule.code, rule.text.format(share=share), rule.party)
            for rule in TCP_RULES
            if (share := limited[rule.counter]) and share > LIMITED
        ),
    )


def _record(hold: PhaseSamples, name: str, unit: str = "ns") -> HistogramRecord | None:
    histogram = hold.histograms[name]
    return histogram_record(histogram, hold.dropped[name], unit) if histogram.count else None


def tcp_line(tcp: TcpRecord) -> str:
    """Says what the kernel saw on the way: round trips, retransmissions, and what held the sender back."""
    parts = []
    if tcp.rtt:
        p50, p99 = tcp.rtt.percentiles["50"], tcp.rtt.percentiles["99"]
        late = f", p99 {format_duration(p99)}" if p99 is not None else ""
        least = f", min {format_duration(tcp.min_rtt.min)}" if tcp.min_rtt and tcp.min_rtt.min is not None else ""
        parts.append(f"round trip p50 {format_duration(p50 or 0)}{late}{least}")
    if tcp.retransmits_per_connection is not None:
        parts.append(f"{format_ratio(tcp.retransmits_per_connection)} retransmissions per connection")
    if tcp.rwnd_limited_share is not None and tcp.sndbuf_limited_share is not None:
        parts.append(
            f"limited by the peer's window {tcp.rwnd_limited_share:.0%} of the time, by the send buffer "
            f"{tcp.sndbuf_limited_share:.0%}"
        )
    of = f"; counts of {plural(tcp.watched, 'connection')}" if tcp.watched else ""
    return f"{'; '.join(parts)} ({plural(tcp.samples, 'sample')} of TCP_INFO{of})"
