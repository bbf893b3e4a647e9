from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loadkit.engine.aio import owing
from loadkit.engine.aio.owing import Owing

MANY = 2 * owing._CHANGED_A_TURN + 100


class Transport:
    """What a loop has of a connection, as far as it is asked here."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.kept = 0
        self.is_read = True

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return self.kept

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_reading(self) -> bool:
        return self.is_read

    def is_closing(self) -> bool:
        return False


class Peer:
    """A connection of the serve end."""

    def __init__(self) -> None:
        self.transport: Any = Transport(self)

    @property
    def is_little(self) -> bool:
        return self.transport.protocol is not self


class Crowd:
    """Many connections, and a loop that has a turn when it is told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.peers = [Peer() for _ in range(MANY)]
        self.owing = Owing(self.loop, lambda: dict.fromkeys(self.peers))
        for peer in self.peers:
            self.owing.begin(peer)

    def owe(self, peer: Peer, kept: int) -> None:
        peer.transport.kept = kept
        self.owing.owe(peer)

    def turn(self) -> int:
        """Has a turn; returns how many are read in small pieces then."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        return self.little()

    def little(self) -> int:
        return sum(peer.is_little for peer in self.peers)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(owing, "MOST_OWED_BYTES", 1000)
    crowd = Crowd()
    yield crowd
    crowd.loop.close()


def test_where_too_much_is_owed_so_many_a_turn_are_read_in_small_pieces_until_all_are(crowd: Crowd) -> None:
    crowd.owe(crowd.peers[0], 1000)
    assert (crowd.little(), crowd.turn()) == (0, 0)
    crowd.owe(crowd.peers[-1], 1)
    some = owing._CHANGED_A_TURN
    assert [crowd.little(), crowd.turn(), crowd.turn()] == [some, 2 * some, MANY]
    # What was paused stays so, and a new one begins as all the others.
    assert [peer.transport.is_read for peer in crowd.peers] == [False, *[True] * (MANY - 2), False]
    late = Peer()
    crowd.owing.begin(late)
    assert late.is_little
    crowd.owing.pay(crowd.peers[0])
    assert [crowd.little(), crowd.turn(), crowd.turn()] == [MANY - some, MANY - 2 * some, 0]
    assert crowd.peers[0].transport.is_read


def test_whichever_way_it_goes_meanwhile_all_are_read_alike_in_the_end(crowd: Crowd) -> None:
    crowd.owe(crowd.peers[0], 2000)
    crowd.owing.forget(crowd.peers[0])  # some have been changed, and the others have not
    crowd.peers.remove(gone := crowd.peers[-1])
    assert [crowd.turn() for _ in range(3)][-1] == 0
    crowd.owe(crowd.peers[0], 2000)
    crowd.owing.forget(crowd.peers[0])
    crowd.owe(crowd.peers[0], 2000)
    assert [crowd.turn() for _ in range(3)][-1] == MANY - 1
    assert not gone.is_little
