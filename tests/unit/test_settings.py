from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadkit.engine.settings import apply_settings, check_settings, setting_values
from loadkit.errors import OptionError
from loadkit.measure import settings
from loadkit.measure.board import Board, BoardLayout, Slot
from loadkit.measure.names import MOST_SETTINGS, STATE
from loadkit.measure.settings import SETTINGS, Setting, note_settings, read_settings
from loadkit.profile.sockets import SocketOptions

# Options that the tests make up.
_MADE_UP = (
    Setting("linger", socket.IPPROTO_TCP, socket.TCP_LINGER2),
    Setting("hops", socket.IPPROTO_IP, socket.IP_TTL),
    Setting("hops", socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, family=socket.AF_INET6),
    Setting("unheard_of", socket.IPPROTO_TCP, 9999, way_out=lambda: "take another one"),
)


@pytest.fixture
def slot() -> Iterator[Slot]:
    with contextlib.closing(Board(BoardLayout(1, 1, 10**9))) as board:
        yield board.slots[0]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SETTINGS", _MADE_UP)
    monkeypatch.setattr("loadkit.engine.settings.SETTINGS", _MADE_UP)


def state_of(slot: Slot) -> dict[str, int]:
    return {name: slot.get(name) for name in STATE}


def test_each_socket_option_has_a_row_and_each_row_has_room_on_the_board() -> None:
    assert {setting.option for setting in SETTINGS} == set(SocketOptions.__struct_fields__)
    assert len(SETTINGS) <= MOST_SETTINGS


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(("family", "hops"), [(socket.AF_INET, 9), (socket.AF_INET6, 9)], ids=["IPv4", "IPv6"])
def test_what_was_set_is_read_back_by_the_family_s_own_name(slot: Slot, family: int, hops: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        apply_settings(sock, {"hops": hops, "linger": 7})
        note_settings(slot, sock)
    assert read_settings(state_of(slot)) == {"linger": 7, "hops": hops}


@pytest.mark.usefixtures("made_up")
def test_without_a_connection_nothing_is_known(slot: Slot) -> None:
    assert read_settings(state_of(slot)) == {}


@pytest.mark.usefixtures("made_up")
def test_what_the_kernel_refuses_is_refused_with_the_way_out() -> None:
    check_settings({"hops": 9})
    with pytest.raises(OptionError, match=r"--unheard_of: the kernel refuses 1 \(.*\); take another one"):
        check_settings({"unheard_of": 1})


@pytest.mark.usefixtures("made_up")
def test_the_core_is_told_every_row_and_the_values_that_are_given() -> None:
    rows = setting_values({"hops": 9})
    assert [row["value"] for row in rows] == [b"", b"\t\0\0\0", b"\t\0\0\0", b""]
    assert [row["family"] for row in rows] == [0, 0, socket.AF_INET6, 0]


@pytest.mark.parametrize("name", ["nosuch", "a-name-that-is-longer-than-sixteen", ""])
def test_a_congestion_control_that_is_not_there_is_answered_with_those_that_are(name: str) -> None:
    there = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().strip()
    with pytest.raises(OptionError) as refused:
        check_settings({"congestion": name})
    assert str(refused.value).startswith("--congestion: the kernel refuses ")
    assert f"it has {there}, and " in str(refused.value)
