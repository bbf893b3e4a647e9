"""What is said on a connection before its first message: steps, one after the other, the same on every connection."""

from __future__ import annotations

import msgspec

from loadkit.wire.check import NOTHING, Judging
from loadkit.wire.wires import Rule

__all__ = ["Step"]


class Step(msgspec.Struct, frozen=True):
    """Bytes to send, and the rule that the reply keeps to; None: the next step follows without one.

    What is sent may be empty: then something is waited for that the peer says by itself. `judging` is what the reply
    has to say beside ending where it should.
    """

    sends: bytes
    rule: Rule | None
    judging: Judging = NOTHING
