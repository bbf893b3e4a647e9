from __future__ import annotations

import socket

import pytest

from loadkit.endpoint import family_of
from loadkit.errors import OptionError, TargetError
from loadkit.plan.target import Target
from loadkit.run.target import resolve, resolve_listen
from loadkit.sockets import find_source, is_own_address

# RFC 5737: of no machine.
_ELSEWHERE = "192.0.2.77"


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:7000", True),
        ("127.9.8.7:7000", True),
        ("[::1]:7000", True),
        ("0.0.0.0:7000", True),
        ("7000", True),
        (f"{_ELSEWHERE}:7000", False),
    ],
)
def test_a_target_knows_whether_it_is_on_this_machine(text: str, is_local: bool) -> None:
    [target] = resolve(text)
    assert target.is_local is is_local


def test_an_address_of_an_interface_is_this_machine_s_too() -> None:
    own = find_source(_ELSEWHERE, 7000)
    if own is None or own.startswith("127."):
        pytest.skip("a machine without a network")
    assert is_own_address(own, 7000)
    [target] = resolve(f"{own}:7000")
    assert target.is_local


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *found: tuple[str, int]) -> None:
    """Has a name resolve to these addresses, each with the number of an interface, 0 for none."""

    def answer(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [
            (family_of(one), socket.SOCK_STREAM, 6, "", (one, port, 0, scope) if ":" in one else (one, port))
            for one, scope in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def _addresses(*targets: Target) -> list[tuple[str, ...]]:
    return [target.addresses for target in targets]


def test_a_name_is_a_target_for_each_address_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolves_to(monkeypatch, ("::1", 0), ("127.0.0.1", 0), ("::1", 0))
    targets = resolve("name:7000")
    assert _addresses(*targets) == [("::1",), ("127.0.0.1",)]
    assert {target.host for target in targets} == {"name"}


@pytest.mark.parametrize(
    ("networks", "kept"),
    [
        pytest.param(["127.0.0.2"], [("127.0.0.1",)], id="IPv4"),
        pytest.param(["fd00::/64"], [("::1",)], id="IPv6"),
        pytest.param(["fd00::/64", "127.0.0.2"], [("::1",), ("127.0.0.1",)], id="none fits: the plan says why"),
    ],
)
def test_sources_leave_the_addresses_of_their_family(
    networks: list[str], kept: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolves_to(monkeypatch, ("::1", 0), ("127.0.0.1", 0))
    assert _addresses(*resolve("name:7000", networks)) == kept


def test_serve_listens_on_each_address_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolves_to(monkeypatch, (_ELSEWHERE, 0), ("127.0.0.2", 0), ("127.0.0.1", 0))
    assert resolve_listen("name:0").addresses == ("127.0.0.2", "127.0.0.1")
    _resolves_to(monkeypatch, (_ELSEWHERE, 0))
    assert resolve_listen("name:0").addresses == (_ELSEWHERE,)  # and bind() says what is wrong with it


def test_an_address_of_one_link_keeps_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    index, name = socket.if_nameindex()[0]
    _resolves_to(monkeypatch, ("fe80::1", index))
    assert _addresses(*resolve("[fe80::1%1]:7000"), resolve_listen("[fe80::1%1]:0")) == [(f"fe80::1%{name}",)] * 2


def test_an_address_of_one_link_without_the_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for find in (resolve, resolve_listen):
        with pytest.raises(OptionError, match=r"^fe80::1 is a link-local address, .* as in \[fe80::1%eth0\]:7000$"):
            find("[fe80::1]:7000")
    _resolves_to(monkeypatch, ("fe80::1", 0), ("127.0.0.1", 0))
    assert _addresses(*resolve("name:7000")) == [("127.0.0.1",)]


def test_a_zone_that_is_no_interface_is_said() -> None:
    with pytest.raises(TargetError, match=r"^'fe80::1%nope' does not resolve: .* behind % .* `ip link` lists them$"):
        resolve("[fe80::1%nope]:7000")
