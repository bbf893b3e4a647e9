"""Random peers, seeded: whatever they send, the serve end and the reader of trailers keep their books.

LOADKIT_FUZZ (`make fuzz`) is how many seeds are tried; `make sanitize` has the same run with the sanitizers looking on.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import time

import pytest

from loadkit.engine import probes
from loadkit.engine.compiled import native_missing
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.names import STAGE, STAGES
from loadkit.measure.samples import read_worker
from tests.receiving import receive

from .conftest import LOOPBACK, Server, wait_for

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)

from loadkit.engine.native import _core

pytestmark = pytest.mark.slow

SEEDS = range(int(os.environ.get("LOADKIT_FUZZ", "1")))
ACTIONS = 400
_SIZES = (0, 1, 47, 63, 64, 65, 1448, 16383, 16384, 16385, 2**31, 2**32 - 1)
_LENGTHS = (1, 7, 47, 64, 1000, 16384, 65536, 300_000)


def some_hello(fuzz: random.Random) -> bytes:
    """A hello, right or nearly, whole or cut, with more behind it or not."""
    hello = bytearray(_core.HELLO_TEXT.encode() + struct.pack("<I", fuzz.choice(_SIZES)) + fuzz.randbytes(4))
    if fuzz.random() < 0.2:
        hello[fuzz.randrange(len(hello))] ^= 1 << fuzz.randrange(8)
    if fuzz.random() < 0.2:
        del hello[fuzz.randrange(1, len(hello)) :]
    if fuzz.random() < 0.2:
        hello += fuzz.randbytes(fuzz.choice(_LENGTHS))
    return bytes(hello)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def act(fuzz: random.Random, sock: socket.socket) -> bool:
    """Does something to a connection; whether it is still open."""
    dice = fuzz.random()
    if dice < 0.25:
        sock.send(some_hello(fuzz))
    elif dice < 0.55:
        sock.send(fuzz.randbytes(fuzz.choice(_LENGTHS)))
    elif dice < 0.6:
        sock.send(b"u", socket.MSG_OOB)
    elif dice < 0.8:
        sock.recv(fuzz.choice((1, 57, 100, 70_000, 2**20)))
    elif dice < 0.87:
        sock.shutdown(fuzz.choice((socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR)))
    else:
        (reset if dice < 0.94 else socket.socket.close)(sock)
        return False
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_peers_do_the_serve_end_lets_go_of_all_of_them_and_counts_them(server: Server, seed: int) -> None:
    fuzz = random.Random(seed)
    port, board, _control = server(max_connections=60)
    open_ = list[socket.socket]()
    for _ in range(ACTIONS):
        if len(open_) < 5 or (len(open_) < 80 and fuzz.random() < 0.2):
            sock = socket.socket()
            if fuzz.random() < 0.3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(OSError):
                sock.connect((LOOPBACK, port))
            sock.setblocking(False)
            open_.append(sock)
            continue
        sock = fuzz.choice(open_)
        with contextlib.suppress(OSError):
            if not act(fuzz, sock):
                open_.remove(sock)
    for sock in open_:
        sock.close()
    wait_for(lambda: is_served(port))  # turned away while those before it, probes too, are still there
    wait_for(lambda: is_balanced(board))
    worker = read_worker(board, 0)
    counters = worker.phases[0].counters
    assert counters["sent_bytes"] <= counters["received_bytes"]
    known = {("connect", "AT_LIMIT"), ("send", "EPIPE"), ("send", "ECONNRESET"), ("receive", "EPIPE")}
    assert set(worker.phases[0].errors) <= known


def is_served(port: int) -> bool:
    with contextlib.suppress(ConnectionError), socket.create_connection((LOOPBACK, port), timeout=30) as sock:
        sock.sendall(b"!")
        return sock.recv(1) == b"!"
    return False


def is_balanced(board: Board) -> bool:
    counters = read_worker(board, 0).phases[0].counters
    return counters["opened"] == counters["closed"]


_FAR = (-(2**63), 1 - 2**63, 2**63 - 1, 0, 1, -1, 2**62, -(2**62), 2**61, -(2**61), 2**61 + 1)


def some_trailer(fuzz: random.Random, moved_by: int) -> bytes:
    """A trailer whose times are near, far or anywhere, in any order."""
    now = time.time_ns()
    near = [now + fuzz.randrange(-(10**5), 10**3) for _ in range(5)]
    if fuzz.random() < 0.7:
        near.sort()
    times = [fuzz.choice((*_FAR, fuzz.randrange(-(2**63), 2**63))) if fuzz.random() < 0.3 else time for time in near]
    moves = moved_by if fuzz.random() < 0.8 else fuzz.randrange(2**64)
    words = [(moves + time) % 2**64 for time in times]
    return struct.pack("<7Q", *words, fuzz.choice((0, 0, 0, 0, 1, 2, 3, 2**64 - 1)), 0x6C6F61646B697401)


@pytest.mark.parametrize(
    "kind", [probes.SAME_CLOCK, probes.OTHER_CLOCK, probes.FOREIGN], ids=["same", "other", "foreign"]
)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"native {seed}")
def test_whatever_a_trailer_says_its_stages_add_up_or_it_is_left_out(kind: int, seed: int) -> None:
    fuzz = random.Random(seed)
    key = probes.machine_key()
    board = Board(BoardLayout(1, 2, 10**10, True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _address = listener.accept()
    ours.setblocking(False)
    theirs.settimeout(30)
    period_ns = 100_000
    with theirs, contextlib.closing(board):
        prober = _core.Prober(
            words=board.slots[0].words, phases=2, probes=(64, period_ns, key, ((ours.detach(), kind),))
        )
        with contextlib.closing(prober):
            came = select.poll()
            came.register(prober.fileno(), select.POLLIN)
            now = time.monotonic_ns()
            prober.begin_phase(1, now)
            prober.start(now)
            for number in range(1, ACTIONS + 1):
                time.sleep(period_ns * 1.5 / 1e9)  # until it is due
                prober.send_due()
                message = receive(theirs, 64)
                assert len(message) == 64
                moved_by = _core.connection_number(key, theirs.fileno(), True, number)
                theirs.sendall(message if kind == probes.FOREIGN else message + some_trailer(fuzz, moved_by))
                assert came.poll(30_000)
                woken = time.monotonic_ns()
                prober.receive(woken - 1000, woken, 1)
        hold = read_worker(board, 0).phases[1]
    counters, total = hold.counters, hold.histograms[f"{STAGE}total"]
    left_out = counters["journeys_stepped"] + counters["journeys_unstamped"] + counters["journeys_disordered"]
    assert total.count + left_out == ACTIONS
    assert total.count > 0
    assert kind == probes.FOREIGN or left_out > 0
    # The stages of each message add up to its total, and none was below 0: those are dropped by a histogram.
    assert (hold.tails[:, 1:-1].sum(axis=1) == hold.tails[:, -1]).all()
    assert (hold.tails >= 0).all()
    assert sum(hold.dropped[STAGE + name] for name in STAGES) == 0
