"""The metrics of a command or a library call: their endpoint, from before the run until it has lingered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loadkit.errors import OptionError, PreflightError, TargetError
from loadkit.imports import importing
from loadkit.profile.both import BothEnds
from loadkit.units import NS_PER_S

if TYPE_CHECKING:
    from loadkit.report.families import View
    from loadkit.report.record import RunRecord
    from loadkit.run.metrics import Endpoint
    from loadkit.run.signals import Interrupts

__all__ = ["MetricsAsked", "RunMetrics", "run_metrics"]


@dataclass(frozen=True, slots=True)
class MetricsAsked:
    """Where metrics are to be served, None nowhere, and for how long after the end."""

    place: str | None
    linger_ns: int

    @classmethod
    def of(cls, profile: BothEnds) -> MetricsAsked:
        """Reads the options. Raises OptionError for a linger without an endpoint."""
        if profile.metrics_linger and profile.metrics is None:
            raise OptionError("--metrics-linger: there is no endpoint that could stay; give --metrics PORT too")
        return cls(profile.metrics, int(profile.metrics_linger or 0))


class RunMetrics:
    """The endpoint of a run, or what does nothing where none was asked for. `url` is where it is."""

    def __init__(self, asked: MetricsAsked, endpoint: Endpoint | None) -> None:
        self.url = endpoint.url if endpoint else None
        self.linger_s = asked.linger_ns / NS_PER_S if endpoint else 0.0
        self._endpoint = endpoint
        self._view: Callable[[], View] | None = None

    def show(self, view: Callable[[], View]) -> None:
        """Has scrapes be shown what `view` returns."""
        self._view = view
        if self._endpoint:
            self._endpoint.show(view)

    def end(self, record: RunRecord) -> None:
        """Has scrapes be shown the totals of a run that is over, its verdict and its objectives."""
        if self._endpoint is None or self._view is None or not self.linger_s:
            return
        from loadkit.report.as_openmetrics import view_of_record

        # What its own serve end has counted is of its whole life here, and of the window in the record.
        totals = view_of_record(record)
        last = replace(self._view(), phase=None, phases=totals.phases, more=totals.more)
        self._endpoint.show(lambda: last)

    def linger(self, interrupts: Interrupts) -> None:
        """Waits as long as was asked, or until a signal."""
        if self.linger_s:
            interrupts.linger(self.linger_s)


@contextlib.contextmanager
def run_metrics(asked: MetricsAsked) -> Iterator[RunMetrics]:
    """Yields the endpoint, which listens already, so that nothing has been lost where it cannot.

    Raises OptionError, TargetError or PreflightError then.
    """
    if asked.place is None:
        yield RunMetrics(asked, None)
        return
    try:
        with importing():
            from loadkit.run.metrics import Endpoint
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise PreflightError(
            "--metrics: prometheus-client is not installed; install loadkit with its extra `metrics`, as in pip "
            "install '.[metrics]', or pip install prometheus-client"
        ) from None
    try:
        endpoint = Endpoint(asked.place)
    except (OptionError, TargetError) as error:
        raise type(error)(f"--metrics: {error}") from None
    with endpoint:
        yield RunMetrics(asked, endpoint)
