from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadkit.sockets import (
    LOOPBACK_ADDRESSES,
    MOST_SOCKETS,
    Sockets,
    can_bind,
    count_loopback,
    find_obstacle,
    find_source,
    read_sockets,
)
from tests.namespaces import own_network

# Rows as Linux 6.18 writes them. 1B58 is port 7000, C350 is 50000.
_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
_REST = "00000000:00000000 00:00000000 00000000     0        0 45250528 2 000000007b26a3a2 20 0 0 10 -1"
_ANY, _ANY_V6 = "00000000:0000", f"{'0' * 32}:0000"
_SOCKSTAT = "sockets: used 10\nTCP: inuse 4 orphan 0 tw 1 alloc 7 mem 6\nUDP: inuse 9 mem 0\n"
_MAPPED = "0000000000000000FFFF0000"

pytestmark = pytest.mark.skipif(sys.byteorder == "big", reason="the rows are of a little-endian machine")


def _proc(root: Path, v4: list[str], v6: list[str] | None = None, sockstat: str = _SOCKSTAT) -> Path:
    net = root / "net"
    net.mkdir()
    (net / "sockstat").write_text(sockstat)
    for name, rows in (("tcp", v4), ("tcp6", v6)):
        if rows is not None:
            (net / name).write_text(_HEAD + "".join(f"{n:4}: {row} {_REST}\n" for n, row in enumerate(rows)))
    return root


def test_sockets_to_the_port_are_counted_by_pair_in_any_state(tmp_path: Path) -> None:
    rows = [
        "0100007F:C350 0100007F:1B58 01",  # established
        "0100007F:C351 0100007F:1B58 06",  # TIME_WAIT
        "0100007F:C352 0100007F:1B58 02",  # SYN_SENT
        "0100007F:C353 0200007F:1B58 06",
        "0100000A:C350 08070605:1B58 08",  # CLOSE_WAIT
        "0100007F:1B58 0100007F:C350 01",  # the other end of the first
        "0100007F:C354 0100007F:1B59 01",  # another port
    ]
    sockets = read_sockets(7000, proc=_proc(tmp_path, rows))
    assert sockets is not None
    assert sockets.used == {
        ("127.0.0.1", "127.0.0.1"): 3,
        ("127.0.0.1", "127.0.0.2"): 1,
        ("10.0.0.1", "5.6.7.8"): 1,
    }
    assert sockets.waiting == {("127.0.0.1", "127.0.0.1"): 1, ("127.0.0.1", "127.0.0.2"): 1}
    assert (sockets.bound, sockets.listeners) == (frozenset(), frozenset())


def test_ipv6_is_read_and_an_ipv4_address_inside_one_is_ipv4(tmp_path: Path) -> None:
    v4 = ["0100007F:C350 0500007F:1B58 01"]
    v6 = [
        f"{_MAPPED}0100007F:C351 {_MAPPED}0500007F:1B58 06",
        f"{'0' * 24}01000000:C352 {'0' * 24}01000000:1B58 01",
        "B80D0120000000000000000001000000:C353 B80D0120000000000000000002000000:1B58 01",
    ]
    sockets = read_sockets(7000, proc=_proc(tmp_path, v4, v6))
    assert sockets is not None
    assert sockets.used == {
        ("127.0.0.1", "127.0.0.5"): 2,
        ("::1", "::1"): 1,
        ("2001:db8::1", "2001:db8::2"): 1,
    }
    assert sockets.waiting == {("127.0.0.1", "127.0.0.5"): 1}


def test_ports_that_are_listened_on_are_bound_whatever_their_address(tmp_path: Path) -> None:
    v4 = [f"00000000:1B58 {_ANY} 0A", f"0100007F:C350 {_ANY} 0A", f"0200007F:1B58 {_ANY} 0A"]
    v6 = [f"{'0' * 32}:C351 {_ANY_V6} 0A"]
    sockets = read_sockets(7000, proc=_proc(tmp_path, v4, v6))
    assert sockets == Sockets({}, {}, frozenset({7000, 50_000, 50_001}), frozenset({"0.0.0.0", "127.0.0.2"}))


def test_only_ports_of_the_range_are_held_and_listeners_are_seen_all_the_same(tmp_path: Path) -> None:
    v4 = [
        f"00000000:1B58 {_ANY} 0A",
        f"00000000:C351 {_ANY} 0A",
        "0100007F:C34F 0100007F:1B58 01",  # 49,999
        "0100007F:C350 0100007F:1B58 01",
        "0100007F:C352 0100007F:1B58 01",
        "0100007F:C353 0100007F:1B58 06",  # 50,003
    ]
    sockets = read_sockets(7000, port_range=(50_000, 50_002), proc=_proc(tmp_path, v4))
    assert sockets == Sockets({("127.0.0.1", "127.0.0.1"): 2}, {}, frozenset({50_001}), frozenset({"0.0.0.0"}))


@pytest.mark.parametrize(
    ("listeners", "answer"),
    [
        pytest.param({"0.0.0.0"}, True, id="IPv4"),
        pytest.param({"::"}, True, id="both families"),
        pytest.param({"0.0.0.0", "::"}, True, id="one each"),
        pytest.param({"0.0.0.0", "127.0.0.1"}, True, id="one address beside it"),
        pytest.param({"::", "::1"}, True, id="one address of IPv6 beside it"),
        pytest.param({"::", "127.0.0.1"}, False, id="IPv6 alone, beside one address of IPv4"),
        pytest.param({"127.0.0.1", "127.0.0.2"}, False, id="two addresses"),
        pytest.param({"::1"}, False, id="one address of IPv6"),
        pytest.param(set(), False, id="none"),
    ],
)
def test_a_wildcard_is_told_from_single_addresses(listeners: set[str], answer: bool) -> None:
    assert Sockets({}, {}, frozenset(), frozenset(listeners)).listens_on_wildcard is answer


def test_a_row_nobody_understands_is_passed_over(tmp_path: Path) -> None:
    rows = ["", "xyz:C350 0100007F:1B58 01", "0100007F:C350 0100007F:1B58 ", "0100007F:C350 0100007F:1B58 01"]
    sockets = read_sockets(7000, proc=_proc(tmp_path, rows))
    assert sockets is not None
    assert sum(sockets.used.values()) == 1


@pytest.mark.parametrize("missing", ["net/sockstat", "net/tcp"])
def test_what_cannot_be_read_is_none(tmp_path: Path, missing: str) -> None:
    proc = _proc(tmp_path, [])
    assert read_sockets(7000, proc=proc) is not None
    (proc / missing).unlink()
    assert read_sockets(7000, proc=proc) is None


@pytest.mark.parametrize(
    ("v4", "v6", "answers"),
    [
        pytest.param("TCP: inuse 150000 orphan 7 tw 50000 alloc 9 mem 6", "", True, id="just so many"),
        pytest.param("TCP: inuse 150000 orphan 7 tw 50001 alloc 9 mem 6", "", False, id="TIME_WAIT counts"),
        pytest.param("TCP: inuse 150000 orphan 7 tw 0 alloc 9 mem 6", "TCP6: inuse 50001", False, id="IPv6 counts"),
        pytest.param(
            "UDP: inuse 900000 mem 0\nTCP: inuse 1 orphan 900000 tw 1 alloc 900000", "", True, id="UDP does not"
        ),
    ],
)
def test_above_200000_sockets_nobody_looks(tmp_path: Path, v4: str, v6: str, answers: bool) -> None:
    assert MOST_SOCKETS == 200_000
    proc = _proc(tmp_path, [], sockstat=f"sockets: used 9\n{v4}\n")
    (proc / "net/sockstat6").write_text(f"{v6}\nUDP6: inuse 900000\n")
    assert (read_sockets(7000, proc=proc) is not None) is answers


def test_the_kernel_connects_to_all_of_loopback_from_127_0_0_1() -> None:
    assert [find_source(address, 7000) for address in ("127.0.0.1", "127.0.0.5", "127.9.8.7")] == ["127.0.0.1"] * 3
    assert find_source("127.255.255.255", 7000) is None  # broadcast


def test_the_kernels_choice_for_a_destination_stands_under_none_too(tmp_path: Path) -> None:
    rows = ["0100007F:C350 0500007F:1B58 01", "0100007F:C351 0500007F:1B58 06", "0200007F:C351 0500007F:1B58 01"]
    sockets = read_sockets(7000, ["127.0.0.5", "127.0.0.6"], proc=_proc(tmp_path, rows))
    assert sockets is not None
    assert {pair: count for pair, count in sockets.used.items() if pair[0] is None} == {(None, "127.0.0.5"): 2}
    assert sockets.waiting == {("127.0.0.1", "127.0.0.5"): 1, (None, "127.0.0.5"): 1}


@contextlib.contextmanager
def _listener(address: str) -> Iterator[tuple[socket.socket, int]]:
    """Yields a listener on a port on which there is no other, and no TIME_WAIT of one before."""
    with own_network(), socket.create_server((address, 0)) as server:
        yield server, server.getsockname()[1]


def _read(port: int) -> Sockets:
    sockets = read_sockets(port, most=10**7)
    assert sockets is not None
    return sockets


@pytest.mark.parametrize(("address", "wildcard"), [("0.0.0.0", True), ("127.0.0.3", False)])
def test_a_real_listener_is_seen_where_it_listens(address: str, wildcard: bool) -> None:
    with _listener(address) as (_, port):
        sockets = _read(port)
    assert sockets.listeners == {address}
    assert sockets.listens_on_wildcard is wildcard
    assert port in sockets.bound


def test_real_connections_are_counted_and_so_is_their_time_wait() -> None:
    with _listener("0.0.0.0") as (server, port):
        for source, destination in [("127.0.0.1", "127.0.0.4"), ("127.0.0.1", "127.0.0.4"), ("127.0.0.6", "127.0.0.1")]:
            with socket.create_connection((destination, port), source_address=(source, 0)) as blast:
                accepted, _ = server.accept()
                before = _read(port)
                blast.shutdown(socket.SHUT_WR)
                assert accepted.recv(1) == b""
                accepted.close()  # only now is ours in TIME_WAIT: it was the first to close
                assert blast.recv(1) == b""
            assert before.used[source, destination] == before.waiting.get((source, destination), 0) + 1
        after = _read(port)
    assert after.used == {("127.0.0.1", "127.0.0.4"): 2, ("127.0.0.6", "127.0.0.1"): 1}
    assert after.waiting == after.used


def test_an_error_that_says_nothing_of_the_address_is_no_reason_to_refuse_it() -> None:
    assert can_bind("127.0.0.1")
    assert not can_bind("192.0.2.77")  # RFC 5737: of no machine
    assert not can_bind("fe80::1%nope")
    assert can_bind("fe80::1")  # EINVAL: a link has to be named with it


# Rows of Linux 6.18, cut: fd00:8::/64 and fd00:9::1 are local, the default route is not.
_V6_ROUTES = f"""\
fd000008000000000000000000000000 40 {"0" * 32} 00 {"0" * 32} 00000400 00000001 00000000 80200001       lo
fd000009000000000000000000000001 80 {"0" * 32} 00 {"0" * 32} 00000000 00000003 00000000 80200001       v0
{"0" * 32} 00 {"0" * 32} 00 {"0" * 32} ffffffff 00000001 00000000 00200200       lo
"""


@pytest.mark.parametrize(
    ("source", "destination", "number"),
    [
        pytest.param(None, "127.0.0.1", None, id="loopback"),
        pytest.param("127.0.0.1", "127.0.0.1", None, id="loopback to itself"),
        pytest.param("192.0.2.77", "127.0.0.1", errno.EADDRNOTAVAIL, id="of no machine (RFC 5737)"),
        pytest.param(None, "255.255.255.255", errno.EACCES, id="to all"),
        pytest.param("fe80::1", "::1", errno.EINVAL, id="a link that is not named"),
        pytest.param("fe80::1%nope", "::1", errno.ENODEV, id="a link that is none"),
        pytest.param("fd00:8::7", "::1", errno.EADDRNOTAVAIL, id="IPv6 of no interface"),
    ],
)
def test_a_way_that_is_barred_is_known_by_its_errno(source: str | None, destination: str, number: int | None) -> None:
    assert find_obstacle(source, destination, 7000) == number


@pytest.mark.parametrize(
    ("source", "number"),
    [("::1", errno.EADDRNOTAVAIL), ("fd00:8::7", None), ("fd00:9::1", None), ("fd00:9::2", errno.EADDRNOTAVAIL)],
)
def test_an_ipv6_source_takes_a_local_route(
    source: str, number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with net.ipv6.ip_nonlocal_bind, where bind() takes them all.
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)
    (tmp_path / "net").mkdir()
    (tmp_path / "net/ipv6_route").write_text(_V6_ROUTES)
    assert find_obstacle(source, "::1", 7000, tmp_path) == number


def test_an_error_that_says_nothing_of_the_addresses_bars_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOBUFS, "no room")

    monkeypatch.setattr(socket.socket, "connect", fail)
    assert find_obstacle(None, "127.0.0.1", 7000) is None


def test_all_of_loopback_is_this_machine_s_as_a_rule() -> None:
    assert count_loopback() == LOOPBACK_ADDRESSES
