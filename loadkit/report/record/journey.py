"""Where the time of a message went."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.report import algebra
from loadkit.report.record.times import HistogramRecord

__all__ = ["Journey", "Tail"]


class Journey(msgspec.Struct, frozen=True):
    """Where the time of a message goes, measured by probes: extra connections next to the others.

    `peer` says what answered them. `same_clock`: a serve end of loadkit on this machine. `other_clock`: one on another
    machine; what lies between the two ends is one stage, network. `foreign`: any echo server; all of its end is one
    stage, peer. `stages` are in the order of the way, and add up to `total`, message by message. `shares` are their
    parts of the time of all messages, and `slowest_shares` of the time of the slowest `slowest_count` messages, which
    took `slowest_from_ns` or more (null if there are too few). `tails` has the same by totals, for other percentiles.

    Left out were messages during which a clock was set (`stepped`), whose stamps were not in order (`disordered`), or
    that the kernel did not stamp on all of their way (`unstamped`). `lost` counts probes that ended before the run did.
    """

    peer: Annotated[str, algebra.SAME]
    probes: Annotated[int, algebra.SUM]
    size_bytes: Annotated[int, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    unanswered: Annotated[int, algebra.SUM]
    stepped: Annotated[int, algebra.SUM]
    disordered: Annotated[int, algebra.SUM]
    unstamped: Annotated[int, algebra.SUM]
    lost: Annotated[int, algebra.SUM]
    stages: Annotated[dict[str, HistogramRecord], algebra.TOGETHER]
    total: Annotated[HistogramRecord, algebra.EACH]
    shares: Annotated[dict[str, float], algebra.ANEW]
    slowest_shares: Annotated[dict[str, float] | None, algebra.ANEW]
    slowest_from_ns: Annotated[int | None, algebra.ANEW]
    slowest_count: Annotated[int | None, algebra.ANEW]
    tails: Annotated[tuple[Tail, ...], algebra.ROWS]
    diagnosis: Annotated[str | None, algebra.ANEW] = None


class Tail(msgspec.Struct, frozen=True):
    """Journeys with a total from `from_ns` to that of the next row: their number, and the sum of each stage in ns."""

    from_ns: Annotated[int, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    stages: Annotated[dict[str, int], algebra.TOGETHER]
