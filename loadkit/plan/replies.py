"""What is asked of replies: which options fit together, and what follows from them."""

from __future__ import annotations

from loadkit.errors import OptionError
from loadkit.profile.blast import Profile
from loadkit.wire.check import EXACT
from loadkit.wire.echo import Echo
from loadkit.wire.unmarked import Closed, Quiet

__all__ = ["check_fits", "content_of"]


def content_of(profile: Profile) -> str | None:
    """Returns what the content of each reply is compared with; None if it is not. Raises OptionError."""
    asked = profile.check
    is_echo = isinstance(profile.expect.rule, Echo)
    if asked is None:
        return EXACT if is_echo else None
    if is_echo and asked not in (EXACT, "none"):
        raise OptionError(f"--check {asked}: the reply of an echo is the message: exact or none, or another --expect")
    if not is_echo and asked == EXACT:
        raise OptionError(
            f"--check exact: only the reply of an echo is known to the byte; with --expect {profile.expect} there are "
            f"starts:TEXT, contains:TEXT, same and none"
        )
    return None if asked == "none" else str(asked)


def check_fits(profile: Profile, open_loop: bool) -> None:
    """Raises OptionError for a framing that the other options do not go with."""
    rule, expected = profile.expect.rule, f"--expect {profile.expect}"
    if isinstance(rule, Closed | Quiet) and profile.depth > 1:
        raise OptionError(f"--depth {profile.depth}: with {expected} replies can be told apart one at a time alone")
    if isinstance(rule, Closed) and profile.lifetime is not None:
        raise OptionError(f"--lifetime: with {expected} the target ends each connection after one exchange")
    if isinstance(rule, Closed) and profile.think is not None:
        raise OptionError(f"--think: with {expected} a connection has one message, and no next one to pause for")
    if isinstance(rule, Closed) and open_loop:
        raise OptionError(f"--rate: with {expected} a connection has one exchange and keeps no schedule; leave it out")
