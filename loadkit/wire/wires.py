"""The wires: what goes out is a script, and what comes back follows a rule. Rules in a table, each with its framing."""

from __future__ import annotations

from typing import Any

import msgspec

from loadkit.wire.check import NOTHING, Judging
from loadkit.wire.coded import Coded, CodedFraming
from loadkit.wire.delimited import Delimited, DelimitedFraming
from loadkit.wire.echo import Echo, EchoFraming
from loadkit.wire.fixed import Fixed, FixedFraming
from loadkit.wire.prefixed import Prefixed, PrefixedFraming
from loadkit.wire.protocol import Framing
from loadkit.wire.script import Script, Stream
from loadkit.wire.unmarked import Closed, Quiet, Silent, UnmarkedFraming

__all__ = ["RULES", "Rule", "Wire", "framing_of"]

Rule = Echo | Fixed | Delimited | Prefixed | Coded | Closed | Quiet | Silent
# In the order of native/wire.h, by the name that they have there.
RULES: dict[str, type[Rule]] = {
    "echo": Echo,
    "fixed": Fixed,
    "delimited": Delimited,
    "prefixed": Prefixed,
    "coded": Coded,
    "closed": Closed,
    "quiet": Quiet,
    "silent": Silent,
}


class Wire(msgspec.Struct, frozen=True):
    """What connections send, what they take for replies, and what these have to say."""

    script: Script
    rule: Rule
    judging: Judging = NOTHING


def framing_of(rule: Rule, stream: Stream) -> Framing[Any]:
    """Returns the framing of a rule; `stream` is what the connections send."""
    match rule:
        case Echo():
            return EchoFraming(rule, stream)
        case Fixed():
            return FixedFraming(rule)
        case Delimited():
            return DelimitedFraming(rule)
        case Prefixed():
            return PrefixedFraming(rule)
        case Coded():
            return CodedFraming(rule)
        case Closed() | Quiet() | Silent():
            return UnmarkedFraming(rule)
