"""`--stamps rx`: how long bytes lay in the receive buffer, by every engine at both ends."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable

import pytest

from loadkit.engine import stamps
from loadkit.engine.aio.stamping import Stamping
from loadkit.engine.compiled import native_missing
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import STAMP_SOURCES
from loadkit.measure.samples import read_worker
from loadkit.profile.both import Stamps

from .conftest import Blast, Peer, Server, run, wait_for

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)


def unread(board: Board) -> Histogram:
    return read_worker(board, 0).phases[0].histograms["unread"]


def source_of(board: Board) -> str:
    return STAMP_SOURCES[board.slots[0].get("stamp_source")]


def test_a_read_in_sixteen_is_noted_at_both_ends(server: Server, blast: Blast) -> None:
    port, board, _ = server(stamps=Stamps.RX)
    blasting = blast(port, connections="10", messages="1600", stamps="rx")
    run(blasting)
    assert source_of(board) == source_of(blasting.board) == "rx"
    # 1,600 messages and 10 first ones, each read by itself; what else is read (a loop's own pipes) adds some.
    for count in (unread(board).count, blasting.whole().histograms["unread"].count):
        assert 80 <= count <= 120
    assert blasting.whole().counters["replied"] == 1610


def test_without_being_asked_nothing_is_stamped(server: Server, blast: Blast) -> None:
    port, board, _ = server()
    blasting = blast(port, connections="10", messages="400")
    run(blasting)
    assert source_of(board) == source_of(blasting.board) == "none"
    assert unread(board).count == blasting.whole().histograms["unread"].count == 0


def test_what_lies_there_is_found_to_have_lain_there(blast: Blast, peer: Peer) -> None:
    """Replies that come while the worker is kept from reading: 32 of them, of which two are looked at."""

    def late(sock: socket.socket, number: int) -> None:
        while chunk := sock.recv(65536):
            sock.sendall(chunk)

    blasting = blast(peer(late), connections="4", messages="3200", stamps="rx")
    run(blasting)
    histogram = blasting.whole().histograms["unread"]
    assert histogram.count >= 150
    latency = blasting.whole().histograms["latency"]
    # Nothing can lie there longer than its message took.
    assert histogram.max_ns <= latency.max_ns
    # The middle, not the mean: of one in sixteen a single standstill of a busy machine is most of the sum.
    unread_ns, latency_ns = histogram.percentiles([50])[50], latency.percentiles([50])[50]
    assert unread_ns is not None
    assert latency_ns is not None
    assert 0 < unread_ns < latency_ns


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_does_stamp", lambda: False)


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "native_missing", lambda: "it is not there")


@pytest.mark.parametrize(("force", "source"), [(refuse, "refused"), (hide, "no_hook")])
def test_where_it_cannot_be_had_the_run_goes_on_without(
    force: Callable[[pytest.MonkeyPatch], None],
    source: str,
    server: Server,
    blast: Blast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    force(monkeypatch)
    port, board, _ = server(stamps=Stamps.RX)
    blasting = blast(port, connections="4", messages="100", stamps="rx")
    run(blasting)
    assert source_of(board) == source_of(blasting.board) == source
    assert blasting.whole().counters["replied"] == 104


@pytest.mark.parametrize("library", [None, "/nowhere/libnone.so"], ids=["built in", "not loaded"])
def test_a_hook_that_finds_no_entry_says_so(library: str | None) -> None:
    board = Board(BoardLayout(1, 1, 10**9))
    stamping = Stamping(Stamps.RX, board.slots[0], library, by_recv=True)
    assert not stamping.is_on
    stamping.close()
    assert source_of(board) == "no_hook"
    board.close()


def test_pipes_are_read_as_ever_while_the_hook_is_there() -> None:
    """The hook of read() is libuv's, which reads its own eventfds by it, too: those are no sockets."""
    import asyncio

    import uvloop
    from uvloop import loop as libuv

    board = Board(BoardLayout(1, 1, 10**9))
    stamping = Stamping(Stamps.RX, board.slots[0], libuv.__file__, by_recv=False)
    assert stamping.is_on
    loop = uvloop.new_event_loop()
    woken = []

    async def wake_often() -> None:
        for _ in range(100):
            done = asyncio.Event()
            loop.call_soon_threadsafe(done.set)
            await done.wait()
            woken.append(1)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('x' * 100_000)", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert out == b"x" * 100_000 + b"\n"

    try:
        loop.run_until_complete(asyncio.wait_for(wake_often(), 30))
    finally:
        stamping.close()
        loop.close()
        board.close()
    assert len(woken) == 100


def lay_there(theirs: socket.socket, ours: socket.socket) -> bool:
    """Whether the kernel stamps what comes when it comes: it begins to a moment after it was first asked to."""
    theirs.sendall(b"?")
    time.sleep(0.01)
    _, notes, _, _ = ours.recvmsg(1, 256)
    stamps_ns = [seconds * 10**9 + ns for *_, note in notes for seconds, ns in [struct.unpack_from("qq", note)]]
    return any(time.time_ns() - stamp_ns >= 10**7 for stamp_ns in stamps_ns)


def test_a_reader_that_is_kept_away_reads_old_bytes() -> None:
    """asyncio's way, by hand: recv of a socket whose bytes came a while ago."""
    import _socket

    board = Board(BoardLayout(1, 1, 10**10))
    library = getattr(_socket, "__file__", None)
    if library is None:
        pytest.skip("_socket is built into this interpreter")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        stamps.stamp_received(ours)
        wait_for(lambda: lay_there(theirs, ours))
        stamping = Stamping(Stamps.RX, board.slots[0], library, by_recv=True)
        try:
            theirs.sendall(b"x" * 16)
            time.sleep(0.05)
            assert b"".join(ours.recv(1) for _ in range(15)) == b"x" * 15
            assert ours.recv(1) == b"x"
        finally:
            stamping.close()
    seen = unread(board)
    assert seen.count == 1
    assert seen.min_ns >= 0.045e9
    board.close()
