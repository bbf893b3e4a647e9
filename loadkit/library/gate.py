"""A record held against objectives after the run."""

from __future__ import annotations

from loadkit.report.record import RunRecord, SloRecord
from loadkit.report.slo import check as check_parsed
from loadkit.report.slo import check_possible, parse_slo

__all__ = ["check"]


def check(record: RunRecord, *objectives: str) -> tuple[SloRecord, ...]:
    """Returns each objective, such as "latency.p99<5ms", with its value and whether the record meets it (`ok`).

    Raises OptionError for a text that is not an objective, and for a figure that this run cannot have.
    """
    parsed = [parse_slo(text) for text in objectives]
    check_possible(
        parsed, [phase.name for phase in record.phases], {name for name, found in record.histograms.items() if found}
    )
    return check_parsed(parsed, record)
