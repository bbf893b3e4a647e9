"""Since when a run has no connection, and whether another one is still to be expected."""

from __future__ import annotations

from loadkit.plan.load import Load
from loadkit.run.crew import Look

__all__ = ["Alone"]


class Alone:
    """What looks show of a run whose target is gone. `since_ns` is None while a connection is open.

    Each worker knows when it has no connection left and opens no other (Look.stranded_ns). As long as connects are due,
    a later one may succeed; but a ramp, or a phase that opens more, may take hours. So the run is over once one of them
    has failed, and none was open for longer than --timeout, which is how long a reply may take. In churn a duration
    goes on, because a target that is started again is found; workers behind the ramp know all of it themselves.
    """

    def __init__(self, load: Load) -> None:
        self.since_ns: int | None = None
        self._timeout_ns = load.timeout_ns
        self._is_churn, self._is_endless = load.lifetime_ns is not None, load.is_endless
        self._opened = self._failed = 0  # connects, when a connection was open last
        self._has_failed = False  # one, since then
        self._seen_ns = self._waited_ns = 0

    def note(self, look: Look, now: int, stood_ns: int) -> None:
        """Notes a look. `stood_ns` is how long this process, and perhaps the workers with it, stood still before it."""
        if look.open or look.opened != self._opened:
            self.since_ns, self._opened, self._failed = None, look.opened, look.unopened
        elif self.since_ns is None:
            self.since_ns, self._waited_ns = now, 0
        else:
            self._waited_ns += now - self._seen_ns - stood_ns
        self._has_failed = look.unopened > self._failed
        self._seen_ns = now

    def is_for_good(self, in_ramp: bool) -> bool:
        """Whether there is nothing left to wait for."""
        if self.since_ns is None or (self._is_churn and not (in_ramp and self._is_endless)):
            return False
        return self._has_failed and self._waited_ns > self._timeout_ns
