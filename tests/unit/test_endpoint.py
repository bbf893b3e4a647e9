"""Addresses and their zones, connections to themselves, and what the system says of an error, in words."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from loadkit.endpoint import (
    address_in,
    bare,
    family_of,
    is_v6,
    meets_itself,
    refuse_itself,
    say_error,
    sockaddr_of,
    zone_of,
)


def test_a_zone_becomes_the_scope_and_comes_back() -> None:
    index, name = socket.if_nameindex()[0]
    for text in (f"fe80::1%{name}", f"fe80::1%{index}"):
        assert sockaddr_of(text, 7) == ("fe80::1", 7, 0, index)
    assert address_in(("fe80::1", 7, 0, index)) == f"fe80::1%{name}"
    assert address_in(("fe80::1", 7, 0, 2**31 - 1)) == f"fe80::1%{2**31 - 1}"  # no interface any more
    assert bare(f"fe80::1%{name}") == "fe80::1"
    assert zone_of(f"fe80::1%{name}") == name
    assert zone_of("fe80::1") == ""


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1", False), ("::1", True), ("fe80::1%eth0", True), ("a.example", False)]
)
def test_the_family_is_told_by_the_text(address: str, expected: bool) -> None:
    assert is_v6(address) is expected
    assert family_of(address) is (socket.AF_INET6 if expected else socket.AF_INET)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "2001:db8::7"])
def test_an_address_without_a_zone_stays_as_it_is(address: str) -> None:
    assert sockaddr_of(address, 7) == (address, 7)
    assert address_in((address, 7, 0, 0)) == address_in((address, 7)) == bare(address) == address


def test_a_zone_that_is_no_interface_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="interface"):
        sockaddr_of("fe80::1%nope", 7)


def _connected_to_itself(address: str) -> socket.socket:
    """Connects a socket to its own end, as a connect that draws the target's port does."""
    sock = socket.socket(family_of(address))
    sock.bind((address, 0))
    sock.connect(sock.getsockname())
    sock.sendall(b"hello")
    assert sock.recv(5) == b"hello", "it echoes"
    return sock


# An address of its own: at 127.0.0.1 the kernel may give the port to a connection of another test before it is bound.
@pytest.mark.parametrize("address", ["127.77.1.1", "::1"])
def test_a_connection_to_itself_is_found_and_its_port_is_free_once_it_is_closed(address: str) -> None:
    with _connected_to_itself(address) as sock:
        place = sock.getsockname()
        assert meets_itself(sock)
    # SO_REUSEADDR, which create_server sets, does not help against a connection; TIME_WAIT would hold a plain bind off.
    with socket.socket(sock.family) as server:
        server.bind(place)
        server.listen()


def test_it_is_refused_as_a_port_is_that_no_process_listens_at() -> None:
    with _connected_to_itself("127.0.0.1") as sock, pytest.raises(ConnectionRefusedError, match="Connection refused"):
        refuse_itself(sock)


def test_an_ordinary_connection_and_one_that_is_none_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as unconnected:
        with socket.create_connection(listener.getsockname()) as ours:
            theirs, _address = listener.accept()
            with theirs:
                refuse_itself(ours)
                refuse_itself(theirs)
                ours.sendall(b"x")
                assert theirs.recv(1) == b"x"
                ours.close()
                assert theirs.recv(1) == b"", "it ends by FIN, as it would have"
        refuse_itself(unconnected)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), os.strerror(errno.ECONNREFUSED)),
        (OSError(errno.ECONNREFUSED, ""), os.strerror(errno.ECONNREFUSED)),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("bad things"), "bad things"),
        (OSError(), "OSError"),
    ],
)
def test_an_error_is_said_in_the_system_s_words(error: OSError, says: str) -> None:
    assert say_error(error) == says


def test_a_number_of_getaddrinfo_is_not_taken_for_an_errno() -> None:
    with socket.socket(socket.AF_INET) as sock, pytest.raises(socket.gaierror) as caught:
        sock.connect_ex(("::1", 7))
    assert caught.value.errno is not None
    assert caught.value.errno < 0
    assert "Unknown error" not in say_error(caught.value)
