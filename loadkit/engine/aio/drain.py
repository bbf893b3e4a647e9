"""How long a worker waits for replies in the end, and how long what is due may still go out. Pure."""

from __future__ import annotations

from loadkit.engine.aio.schedule import NEVER

__all__ = ["Drain"]


class Drain:
    """The end of a worker's traffic, in monotonic ns; NEVER until it begins."""

    __slots__ = ("began_ns", "held_until_ns", "until_ns")

    def __init__(self) -> None:
        self.began_ns = NEVER
        self.until_ns = NEVER  # … and longer by what the worker stood still since it began
        self.held_until_ns = NEVER  # messages that are due may go out; NEVER also once they may not any more

    def begin(self, now: int, longest_ns: int, held_ns: int) -> None:
        """Begins it. A second call can only make it end sooner."""
        self.began_ns = min(self.began_ns, now)
        self.until_ns = min(self.until_ns, now + longest_ns)
        self.held_until_ns = min(self.held_until_ns, now + held_ns)

    def lets_out(self, now: int) -> bool:
        """Whether a message that is due may still go out."""
        return self.held_until_ns != NEVER and self.held_until_ns > now

    def ends_holding(self, now: int) -> bool:
        """Whether messages may go out no longer, from now on; True only once."""
        if self.held_until_ns > now:
            return False
        self.held_until_ns = NEVER
        return True
