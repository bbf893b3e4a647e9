"""The options that only TCP has: of a UNIX socket they are refused, each by its name."""

from __future__ import annotations

import msgspec

from loadkit.errors import OptionError
from loadkit.profile.option import default_of, options_of

__all__ = ["OF_TCP", "refuse_tcp_options"]

# Option -> why a UNIX socket has it not.
OF_TCP = {
    "source": "its connections come from no address",
    "keepalive": "the kernel knows when a peer has ended",
    "close": "there is one way to close it",
    "journey": "the kernel stamps nothing on it",
    "probes": "the kernel stamps nothing on it, so no peer has probes",
    "stamps": "the kernel stamps nothing on it",
    "rcvbuf": "what was sent waits in the buffer of the sender (--sndbuf)",
    "congestion": "it has no congestion control",
    "nodelay": "it holds nothing back",
    "tos": "it has no packets",
}


def refuse_tcp_options(profile: msgspec.Struct, where: str) -> None:
    """Raises OptionError for the first option of TCP that a profile has; `where` is the UNIX socket."""
    kind = type(profile)
    options = options_of(kind)
    for name, why in OF_TCP.items():
        if name in options and getattr(profile, name) != default_of(kind, name):
            raise OptionError(
                f"{options[name].flag}: only TCP has it, and {where} is a UNIX socket: {why}; leave it out"
            )
