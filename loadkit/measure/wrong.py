"""The first reply of a worker that ended where it should and did not say what it should: how it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loadkit.measure.board import Slot
from loadkit.measure.names import WRONG_WORDS

__all__ = ["find_wrong", "note_wrong"]

_BYTES = 8 * (WRONG_WORDS - 1)


def note_wrong(slot: Slot, reply: bytes) -> None:
    """Writes the beginning of a reply to the slot, unless there is one."""
    if slot.get("wrong_0"):
        return
    padded = reply[:_BYTES].ljust(_BYTES, b"\0")
    for at in range(WRONG_WORDS - 1):
        slot.set(f"wrong_{at + 1}", int.from_bytes(padded[8 * at : 8 * at + 8], "little", signed=True))
    slot.set("wrong_0", len(reply))


def find_wrong(states: Iterable[Mapping[str, int]]) -> bytes | None:
    """Returns how the first wrong reply of a worker begins; None if no worker had one."""
    for state in states:
        length = state["wrong_0"]
        if length > 0:
            words = (state[f"wrong_{at}"] for at in range(1, WRONG_WORDS))
            return b"".join(word.to_bytes(8, "little", signed=True) for word in words)[:length]
    return None
